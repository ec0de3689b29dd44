"""What the families of solids state: sizes that the picture marks, volumes and areas that it holds.

    given("its height is", "P", "Q", 12, "cm", name="h")      # "its height is 12 cm", written beside PQ
    solid_problem(asked="volume", measured=figure.volume(), ...)

Every answer is measured in the solid itself: a problem whose formula and figure disagree is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vkit.synthesis.claims import IsLength
from vkit.synthesis.exact import Exact, as_float, show
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Dimension, Label, Length
from vkit.synthesis.problem import Problem, with_space

_ROOM = 72  # pixels of a radius: a text finds room within its ellipse


@dataclass(frozen=True)
class IsMeasured:
    """A size of a whole solid, integrated over its bodies, is the stated one."""

    what: str
    measured: float
    value: Exact

    def wrong(self, figure: Figure) -> str | None:
        """What is wrong, in one line, or None."""
        if math.isclose(self.measured, as_float(self.value), rel_tol=1e-6):
            return None
        return f"{self.what} measures {self.measured:.6g} and is said to be {show(self.value)}"


def solid_problem(*, asked: str, measured: float, unit: str = "", **parts: Any) -> Problem:
    """A problem whose answer is what is measured in the solid.

    asked: "volume", "surface", "length A B" or another word, kept in meta. The rest is `Problem`'s.

    Raises:
        ValueError: the answer is not what is measured.
    """
    problem = Problem(unit=unit, meta={"asked": asked}, **parts)
    if wrong := IsMeasured(asked, measured, problem.answer).wrong(problem.figure):
        raise ValueError(f"{problem.form}: {wrong}")
    return problem


def given(
    words: str, first: str, second: str, value: Exact, unit: str, *, name: str, dimension: bool = False
) -> Fact:
    """A length in words, written beside a segment: "the radius of the base is 5 cm"."""
    shown = show(value) + with_space(unit)
    mark = Dimension if dimension else Length
    claim = IsLength(first, second, value)
    return Fact(f"{words} {shown}", (mark(first, second, shown),), (claim,), {name: value})


def radius(
    figure: Figure, words: str, ends: str, value: Exact, unit: str, *, name: str = "r", letter: str = "r"
) -> Fact:
    """A radius OA (or a diameter, letter "d") of a drawn figure.

    It is written beside the segment, or as "r = 5 cm" at its end where the circle is too narrow.
    """
    fact = given(words, ends[0], ends[1], value, unit, name=name)
    shown = show(value) + with_space(unit)
    room = _pixels(figure, ends) / (2 if letter == "d" else 1)
    if room >= max(_ROOM, 24 + 9 * len(shown)):
        return fact
    return Fact(fact.text, (Label(ends[1], f"{letter} = {shown}"),), fact.claims, fact.values)


def _pixels(figure: Figure, ends: str) -> float:
    """About how long a segment of a drawn figure is in a picture of 336 pixels."""
    places = [figure.at(place) for line in figure.lines for place in line.points]
    size = max(max(p[axis] for p in places) - min(p[axis] for p in places) for axis in (0, 1))
    return 255 * math.dist(*(figure.at(end) for end in ends)) / size


def stated(words: str, value: Exact, unit: str, measured: float, *, name: str) -> Fact:
    """A size that stands in words only, "the volume is 60π cm³", measured in the solid."""
    shown = show(value) + with_space(unit)
    return Fact(f"{words} {shown}", (), (IsMeasured(words, measured, value),), {name: value})


def squared(unit: str) -> str:
    """The unit of areas."""
    return f"{unit}²" if unit else ""


def cubed(unit: str) -> str:
    """The unit of volumes."""
    return f"{unit}³" if unit else ""
