"""Sectors, segments and rings of circles: multiples of pi."""

from __future__ import annotations

import random

from vkit.synthesis.claims import AreEqual, IsOnLine
from vkit.synthesis.facts import Fact, angle, length, with_unit
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import UNITS, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_PART = "A sector is the part of the circle that its angle is of 360°."


@family("sectors and rings", "plane")
def sectors_and_rings(rng: random.Random) -> Problem:
    """Arcs, sectors, segments and rings: multiples of pi."""
    return one_of(rng, _sector, _sector, _segment_of_circle, _ring)


def _sector(rng: random.Random) -> Problem:
    a, b = letters(rng, 2)
    unit = rng.choice(UNITS)
    radius = rng.randint(2, 40)
    degrees = rng.choice((30, 36, 40, 45, 60, 72, 80, 90, 100, 108, 120, 135, 144, 150))
    asked = rng.choice(("area", "arc", "perimeter"))
    figure = Figure()
    figure.point("O", 0, 0), figure.point(a, radius, 0), figure.point(b, *on_ray(degrees, radius))
    figure.segment(a, "O", b)
    figure.arc("O", radius, 0, degrees)
    pose(figure, rng)
    square = f"{unit}²" if unit else ""
    arc = Step("l", f"the arc {a}{b}", "2 * pi * r * w / 360", _PART, unit)
    steps = {
        "area": (Step("t", "the area", "pi * r**2 * w / 360", _PART, square),),
        "arc": (arc,),
        "perimeter": (arc, Step("u", "the perimeter", "l + 2 * r", "Two radii belong to the border.", unit)),
    }[asked]
    mistakes = {
        "area": (
            "2 * pi * r * w / 360",
            "pi * r**2 * w / 180",
            "pi * r**2",
            "pi * r * w / 360",
            "pi * r**2 / w",
        ),
        "arc": ("pi * r**2 * w / 360", "pi * r * w / 360", "2 * pi * r", "pi * r * w / 90", "r * pi"),
        "perimeter": (
            "l",
            "l + r",
            "2 * pi * r + 2 * r",
            "l / 2 + 2 * r",
            "pi * r**2 * w / 360",
            "2 * l + 2 * r",
        ),
    }[asked]
    return Problem(
        form=f"{asked} of a sector",
        description=f"O{a} and O{b} are radii that bound a sector of a circle with center O.",
        facts=(
            angle(a, "O", b, degrees, name="w"),
            Fact(
                f"O{a} = {with_unit(radius, unit)}",
                length("O", a, radius, unit, name="r").marks,
                (*length("O", a, radius, unit, name="r").claims, AreEqual(("O", a), ("O", b))),
                {"r": radius},
            ),
        ),
        question={
            "area": f"Find the area of the sector {a}O{b} in terms of π.",
            "arc": f"Find the length of the arc {a}{b} in terms of π.",
            "perimeter": f"Find the perimeter of the sector {a}O{b} in terms of π.",
        }[asked],
        figure=figure,
        steps=steps,
        mistakes=tuple(Mistake(wrong, "another part of the circle") for wrong in mistakes),
        unit=square if asked == "area" else unit,
    )


def _segment_of_circle(rng: random.Random) -> Problem:
    a, b = letters(rng, 2)
    unit = rng.choice(UNITS)
    radius = rng.randint(2, 60)
    degrees = rng.choice((60, 90, 120))
    figure = Figure()
    figure.point("O", 0, 0, dot=True)
    start = rng.choice((30, 45, -60, 200))
    figure.point(a, *on_ray(start, radius)), figure.point(b, *on_ray(start + degrees, radius))
    figure.circle("O", radius)
    figure.segment("O", a)
    figure.segment("O", b)
    figure.segment(a, b)
    outline = figure.sector_outline("O", radius, start, start + degrees)[1:]
    figure.shade(*outline)
    square = f"{unit}²" if unit else ""
    sine = f"The area is half of O{a} × O{b} times the sine of their angle."
    return Problem(
        form=f"segment of {degrees}",
        description=f"{a}{b} is a chord of the circle with center O. "
        "The region between the chord and its arc is shaded.",
        facts=(
            angle(a, "O", b, degrees, name="w"),
            length("O", a, radius, unit, name="r"),
        ),
        question="Find the area of the shaded region.",
        figure=figure,
        steps=(
            Step("s", f"the area of the sector {a}O{b}", "pi * r**2 * w / 360", _PART, square),
            Step("d", f"the area of triangle {a}O{b}", "r**2 * sin(w) / 2", sine, square),
            Step("t", "the shaded area", "s - d", "The triangle is taken off the sector.", square),
        ),
        mistakes=(
            Mistake("s", "the triangle is not taken off"),
            Mistake("s - 2 * d", "the half of the triangle is forgotten"),
            Mistake("s + d", "the triangle is added"),
            Mistake("pi * r**2 - d", "the whole circle is taken for the sector"),
            Mistake("s - d / 2", "a half too many"),
        ),
        unit=square,
    )


def _ring(rng: random.Random) -> Problem:
    a, b = letters(rng, 2)
    unit = rng.choice(UNITS)
    inner, outer = rng.randint(2, 50), rng.randint(3, 70)
    need(0.3 < inner / outer < 0.82)
    figure = Figure()
    figure.point("O", 0, 0, dot=True)
    figure.point(a, inner, 0), figure.point(b, outer, 0)
    figure.circle("O", outer, "outer")
    figure.circle("O", inner, "inner")
    figure.segment("O", a, b)
    pose(figure, rng)
    square = f"{unit}²" if unit else ""
    return Problem(
        form="ring",
        description=f"Two circles have the center O. {a} lies on the smaller one and on O{b}, "
        f"{b} on the larger one.",
        facts=(
            length("O", a, inner, unit, name="r"),
            Fact(
                f"{a}{b} = {with_unit(outer - inner, unit)}",
                length(a, b, outer - inner, unit, name="w").marks,
                (*length(a, b, outer - inner, unit, name="w").claims, IsOnLine(a, "O", b)),
                {"w": outer - inner},
            ),
        ),
        question="Find the area of the ring between the circles in terms of π.",
        figure=figure,
        steps=(
            Step("s", f"O{b}", "r + w", "The larger radius is made of both parts.", unit),
            Step(
                "t",
                "the area",
                "pi * (s**2 - r**2)",
                "The smaller circle is taken off the larger one.",
                square,
            ),
        ),
        mistakes=(
            Mistake("pi * w**2", "the difference of the radii is squared"),
            Mistake("pi * (s**2 + r**2)", "the areas are added"),
            Mistake("2 * pi * (s - r)", "the circumferences"),
            Mistake("pi * s**2", "the whole circle"),
            Mistake("pi * (s**2 - r**2) / 2", "a half too many"),
        ),
        unit=square,
    )
