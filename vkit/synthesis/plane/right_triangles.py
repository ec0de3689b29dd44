"""Right triangles by the theorem of Pythagoras."""

from __future__ import annotations

import random

from vkit.synthesis.exact import as_float, pleasant, sqrt
from vkit.synthesis.facts import length, perpendicular, right_angle
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import UNITS, foot, letters, need, pose, whole_sides
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

PYTHAGORAS = "By the Pythagorean theorem,"


def right_triangle(rng: random.Random, names: list[str], a: float, b: float) -> Figure:
    """Triangle ABC with the right angle at C, BC = a and CA = b."""
    figure = Figure()
    figure.point(names[2], 0, 0), figure.point(names[1], float(a), 0), figure.point(names[0], 0, float(b))
    figure.polygon(*names)
    need(0.28 < float(a) / float(b) < 3.6)
    return figure


@family("Pythagoras", "plane")
def pythagoras(rng: random.Random) -> Problem:
    """The third side, its altitude, or an area from two sides of a right triangle."""
    return one_of(rng, _hypotenuse, _leg, _altitude, _leg_area)


def _legs(rng: random.Random) -> tuple[int, int]:
    if rng.random() < 0.5:
        a, b, _ = whole_sides(rng)
        return a, b
    return rng.randint(2, 80), rng.randint(2, 80)


def _hypotenuse(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    x, y = _legs(rng)
    need(pleasant(sqrt(x * x + y * y)))
    figure = right_triangle(rng, [a, b, c], x, y)
    pose(figure, rng)
    return Problem(
        form="hypotenuse",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(right_angle(a, c, b), length(b, c, x, unit, name="a"), length(a, c, y, unit, name="b")),
        question=f"Find {a}{b}.",
        figure=figure,
        steps=(Step("c", f"{a}{b}", "sqrt(a**2 + b**2)", PYTHAGORAS, unit),),
        mistakes=(
            Mistake("a + b", "the sides are added, not their squares"),
            Mistake("sqrt(abs(a**2 - b**2))", "the squares are subtracted"),
            Mistake("(a + b) / 2", "the mean of the sides"),
            Mistake("a**2 + b**2", "the root is forgotten"),
            Mistake("a * b / 2", "the area"),
            Mistake("2 * a", "one side is doubled"),
        ),
        unit=unit,
    )


def _leg(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    x, y = _legs(rng)
    z = sqrt(x * x + y * y)
    if not isinstance(z, int):
        z = rng.randint(x + 1, 3 * x)
    other = sqrt(z * z - x * x)
    need(pleasant(other))
    figure = right_triangle(rng, [a, b, c], x, as_float(other))
    pose(figure, rng)
    return Problem(
        form="leg",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(right_angle(a, c, b), length(b, c, x, unit, name="a"), length(a, b, z, unit, name="c")),
        question=f"Find {a}{c}.",
        figure=figure,
        steps=(Step("b", f"{a}{c}", "sqrt(c**2 - a**2)", PYTHAGORAS, unit),),
        mistakes=(
            Mistake("sqrt(c**2 + a**2)", "the squares are added"),
            Mistake("c - a", "the sides are subtracted, not their squares"),
            Mistake("c + a", "the sides are added"),
            Mistake("c**2 - a**2", "the root is forgotten"),
            Mistake("a * c / 2", "an area"),
        ),
        unit=unit,
    )


def _leg_area(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    x, y, z = whole_sides(rng)
    figure = right_triangle(rng, [a, b, c], x, y)
    pose(figure, rng)
    of_area = rng.random() < 0.5
    square = f"{unit}²" if unit else ""
    last = (
        Step(
            "t",
            f"the area of triangle {a}{b}{c}",
            "a * b / 2",
            "The area is half of the product of the legs.",
            square,
        )
        if of_area
        else Step(
            "t",
            f"the perimeter of triangle {a}{b}{c}",
            "a + b + c",
            "The perimeter is the sum of the sides.",
            unit,
        )
    )
    return Problem(
        form="area from hypotenuse" if of_area else "perimeter from hypotenuse",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(right_angle(a, c, b), length(b, c, x, unit, name="a"), length(a, b, z, unit, name="c")),
        question=f"Find the {'area' if of_area else 'perimeter'} of triangle {a}{b}{c}.",
        figure=figure,
        steps=(Step("b", f"{a}{c}", "sqrt(c**2 - a**2)", PYTHAGORAS, unit), last),
        mistakes=(
            Mistake("a * c / 2", "the hypotenuse is taken for a leg"),
            Mistake("a * b", "the half is forgotten"),
            Mistake("b * c / 2", "the hypotenuse is taken for a leg"),
            Mistake("a * c", "the product of the given sides"),
        )
        if of_area
        else (
            Mistake("a + c", "the third side is forgotten"),
            Mistake("2 * c", "the legs are supposed to make the hypotenuse"),
            Mistake("a * b / 2", "the area"),
            Mistake("a + b", "the hypotenuse is forgotten"),
            Mistake("a + 2 * c", "a leg is taken for the hypotenuse"),
        ),
        unit=square if of_area else unit,
    )


def _altitude(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    unit = rng.choice(UNITS)
    x, y, _ = whole_sides(rng)
    figure = right_triangle(rng, [a, b, c], x, y)
    figure.point(d, *foot(figure, c, a, b))
    figure.segment(c, d)
    pose(figure, rng)
    return Problem(
        form="altitude",
        description=f"In triangle {a}{b}{c}, the point {d} lies on {a}{b}.",
        facts=(
            right_angle(a, c, b),
            perpendicular((c, d), (a, b), (c, d, a)),
            length(b, c, x, unit, name="a"),
            length(a, c, y, unit, name="b"),
        ),
        question=f"Find {c}{d}.",
        figure=figure,
        steps=(
            Step("c", f"{a}{b}", "sqrt(a**2 + b**2)", PYTHAGORAS, unit),
            Step(
                "h",
                f"{c}{d}",
                "a * b / c",
                f"The area is {a}{c} × {b}{c} / 2 and also {a}{b} × {c}{d} / 2.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("c / 2", "half of the hypotenuse"),
            Mistake("a * b / (2 * c)", "a half too many"),
            Mistake("(a + b) / 2", "the mean of the legs"),
            Mistake("a * a / c", "a part of the hypotenuse"),
            Mistake("b * b / c", "a part of the hypotenuse"),
            Mistake("c", "the hypotenuse"),
        ),
        unit=unit,
    )
