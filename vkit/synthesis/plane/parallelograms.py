"""Parallelograms: angles, perimeter and area."""

from __future__ import annotations

import random

from vkit.synthesis.facts import Fact, length, parallel, perpendicular
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, letters, need, pose
from vkit.synthesis.plane.equations import equal_in, sum_to, terms_in_x
from vkit.synthesis.plane.quadrilaterals import quadrilateral, squared, stated
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


def _is_parallelogram(a: str, b: str, c: str, d: str) -> Fact:
    first, second = parallel((a, b), (d, c)), parallel((a, d), (b, c), 2)
    return Fact(
        f"{a}{b}{c}{d} is a parallelogram", (*first.marks, *second.marks), (*first.claims, *second.claims)
    )


@family("parallelograms", "plane")
def parallelograms(rng: random.Random) -> Problem:
    """Angles, perimeter and area of parallelograms."""
    return one_of(rng, _angles_of_parallelogram, _perimeter_of_parallelogram, _height_of_parallelogram)


def _angles_of_parallelogram(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    opposite = rng.random() < 0.5
    x, first, second = terms_in_x(rng, None if opposite else 180)
    need(not opposite or (first[0] > second[0] and second[1] != 0))
    size = first[0] * x + first[1]
    need(40 <= size <= 140)
    figure = quadrilateral(names, 1.0, rng.uniform(0.65, 0.9), size)
    pose(figure, rng)
    shape = _is_parallelogram(*names)
    description = f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order."
    if opposite:
        rule = "Opposite angles of a parallelogram are equal"
        pair = ((d, a, b), (b, c, d))
        return equal_in("opposite angles", rule, x, (first, second), pair, figure, description, (shape,))
    rule = "Neighbouring angles of a parallelogram sum to 180°"
    return sum_to(
        180,
        "neighbouring angles",
        rule,
        x,
        (first, second),
        ((d, a, b), (a, b, c)),
        figure,
        description,
        (shape,),
    )


def _perimeter_of_parallelogram(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    unit = rng.choice(UNITS)
    base, side = rng.randint(5, 60), rng.randint(4, 50)
    need(0.4 < side / base < 1.6 and side != base)
    figure = quadrilateral(names, base, side, rng.choice((55, 60, 65, 70, 110, 120)))
    pose(figure, rng)
    description = f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order."
    if rng.random() < 0.3:
        return Problem(
            form="perimeter",
            description=description,
            facts=(
                _is_parallelogram(*names),
                length(a, b, base, unit, name="p"),
                length(b, c, side, unit, name="q"),
            ),
            question=f"Find the perimeter of {a}{b}{c}{d}.",
            figure=figure,
            steps=(
                Step(
                    "u", "the perimeter", "2 * (p + q)", "Opposite sides of a parallelogram are equal.", unit
                ),
            ),
            mistakes=(
                Mistake("p + q", "only two sides"),
                Mistake("p * q", "the sides are multiplied"),
                Mistake("2 * p + q", "three sides"),
                Mistake("p + 2 * q", "three sides"),
                Mistake("4 * p", "all sides are supposed to be equal"),
            ),
            unit=unit,
        )
    return Problem(
        form="side",
        description=description,
        facts=(
            _is_parallelogram(*names),
            length(a, b, base, unit, name="p"),
            stated(f"the perimeter of {a}{b}{c}{d}", 2 * (base + side), unit, "u"),
        ),
        question=f"Find {b}{c}.",
        figure=figure,
        steps=(
            Step("h", f"{a}{b} + {b}{c}", "u / 2", "Opposite sides of a parallelogram are equal.", unit),
            Step("q", f"{b}{c}", "h - p", "The given side is taken off.", unit),
        ),
        mistakes=(
            Mistake("u - p", "the perimeter is not halved"),
            Mistake("u - 2 * p", "both unknown sides together"),
            Mistake("u / 4", "all sides are supposed to be equal"),
            Mistake("u / 2", "the given side is forgotten"),
            Mistake("(u - p) / 2", "only one side is taken off"),
            Mistake("(u - p) / 3", "three sides are supposed to be equal"),
        ),
        unit=unit,
    )


def _height_of_parallelogram(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    unit = rng.choice(UNITS)
    x, h, side = rng.choice(TRIPLES[:6])
    if rng.random() < 0.5:
        x, h = h, x
    k = rng.randint(1, 4)
    x, h, side = x * k, h * k, side * k
    base = x + rng.randint(2, 30)
    need(0.3 < h / base < 1.6 and x > 0.18 * base and base - x > 0.12 * base)
    figure = Figure()
    figure.point(a, 0, 0), figure.point(b, base, 0), figure.point(c, base + x, h), figure.point(d, x, h)
    figure.point(e, x, 0)
    figure.polygon(a, b, c, d)
    figure.segment(d, e, dashed=True)
    pose(figure, rng)
    return Problem(
        form="area",
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The point {e} lies on {a}{b}.",
        facts=(
            _is_parallelogram(a, b, c, d),
            perpendicular((d, e), (a, b), (d, e, b)),
            length(d, c, base, unit, name="g"),
            length(a, d, side, unit, name="s"),
            length(a, e, x, unit, name="x"),
        ),
        question=f"Find the area of {a}{b}{c}{d}.",
        figure=figure,
        steps=(
            Step(
                "h",
                f"{d}{e}",
                "sqrt(s**2 - x**2)",
                f"By the Pythagorean theorem in triangle {a}{e}{d},",
                unit,
            ),
            Step(
                "t",
                "the area",
                "g * h",
                f"The area is base times height, and {a}{b} = {d}{c}.",
                squared(unit),
            ),
        ),
        mistakes=(
            Mistake("g * s", "a side is taken for the height"),
            Mistake("g * h / 2", "the area of a triangle"),
            Mistake("g * x", "the part of the base is taken for the height"),
            Mistake("(g - x) * h", "a part of the base only"),
            Mistake("2 * (g + s)", "the perimeter"),
        ),
        unit=squared(unit),
    )
