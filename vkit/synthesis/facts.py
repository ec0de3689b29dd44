"""The facts of a problem: a sentence, its marks in the picture, and what it claims of the figure.

    length("A", "B", 5, "cm", name="c")     # "AB = 5 cm", written beside the segment, measured in the figure
    parallel("AB", "CD")                    # "AB ∥ CD", arrow heads on both

These helpers make the usual ones; a family may build a `Fact` by hand for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vkit.synthesis import claims, marks
from vkit.synthesis.claims import Claim
from vkit.synthesis.exact import Exact, show
from vkit.synthesis.marks import Mark


@dataclass(frozen=True)
class Fact:
    """Something given.

    text: a clause without a full stop: "AB = 5 cm".
    marks: what says the same in the picture; none: it stands in words in every version.
    claims: what must be true of the figure.
    values: the quantities that it gives, by the names that the steps call them.
    red_herring: given and not needed, on purpose.
    """

    text: str
    marks: tuple[Mark, ...] = ()
    claims: tuple[Claim, ...] = ()
    values: Mapping[str, Exact] = field(default_factory=dict)
    red_herring: bool = False


def length(
    first: str, second: str, value: Exact, unit: str = "", *, name: str, dimension: bool = False
) -> Fact:
    """The length of a segment; ``dimension``: marked off the segment, which other points cut."""
    shown = with_unit(value, unit)
    mark = marks.Dimension if dimension else marks.Length
    return Fact(
        f"{first}{second} = {shown}",
        (mark(first, second, shown),),
        (claims.IsLength(first, second, value),),
        {name: value},
    )


def angle(first: str, vertex: str, second: str, value: Exact, *, name: str, label: str | None = None) -> Fact:
    """The size of an angle in degrees; ``label``: how it is called, "∠ABC" where nothing is said."""
    label = label or f"∠{first}{vertex}{second}"
    return Fact(
        f"{label} = {show(value)}°",
        (marks.Angle(first, vertex, second, f"{show(value)}°"),),
        (claims.IsAngle(first, vertex, second, value),),
        {name: value},
    )


def angle_with_unknown(
    first: str,
    vertex: str,
    second: str,
    text: str,
    degrees: Exact,
    *,
    values: Mapping[str, Exact],
    label: str | None = None,
) -> Fact:
    """An angle given by an unknown, "(3x + 10)°", and how large it is; ``values``: its numbers, by name."""
    label = label or f"∠{first}{vertex}{second}"
    return Fact(
        f"{label} = {text}",
        (marks.Angle(first, vertex, second, text),),
        (claims.IsAngle(first, vertex, second, degrees),),
        values,
    )


def bisector(first: str, vertex: str, second: str, through: str, *, arcs: int = 2) -> Fact:
    """A ray cuts an angle into halves, shown by equal arcs."""
    halves = (first, vertex, through), (through, vertex, second)
    return Fact(
        f"{vertex}{through} bisects ∠{first}{vertex}{second}",
        tuple(marks.Angle(*half, arcs=arcs) for half in halves),
        (claims.AreEqualAngles(*halves),),
    )


def right_angle(first: str, vertex: str, second: str, label: str | None = None) -> Fact:
    """A right angle, shown by its square."""
    return Fact(
        f"{label or f'∠{first}{vertex}{second}'} = 90°",
        (marks.RightAngle(first, vertex, second),),
        (claims.IsAngle(first, vertex, second, 90),),
    )


def perpendicular(first: tuple[str, str], second: tuple[str, str], corner: tuple[str, str, str]) -> Fact:
    """Two lines are perpendicular, shown by a square at ``corner``."""
    return Fact(
        f"{''.join(first)} ⊥ {''.join(second)}",
        (marks.RightAngle(*corner),),
        (claims.ArePerpendicular(first, second),),
    )


def parallel(first: tuple[str, str], second: tuple[str, str], count: int = 1) -> Fact:
    """Two lines are parallel, shown by ``count`` arrow heads on both."""
    return Fact(
        f"{''.join(first)} ∥ {''.join(second)}",
        (marks.Arrows(*first, count), marks.Arrows(*second, count)),
        (claims.AreParallel(first, second),),
    )


def equal(first: tuple[str, str], second: tuple[str, str], count: int = 1) -> Fact:
    """Two segments are equal, shown by ``count`` strokes across both."""
    return Fact(
        f"{''.join(first)} = {''.join(second)}",
        (marks.Ticks(*first, count), marks.Ticks(*second, count)),
        (claims.AreEqual(first, second),),
    )


def tangent(at: str, other: str, center: str, *, circle: str = "circle") -> Fact:
    """A line touches a circle, shown by the right angle with the radius (which the figure must draw)."""
    return Fact(
        f"{other}{at} is tangent to circle {center} at {at}",
        (marks.RightAngle(center, at, other),),
        (claims.IsTangent(at, other, circle),),
    )


def with_unit(value: Exact, unit: str) -> str:
    """A value and its unit, where there is one."""
    return f"{show(value)} {unit}" if unit else show(value)
