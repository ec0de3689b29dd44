"""Rectangles and rhombi: diagonals, sides and areas."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, equal, length, right_angle
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import UNITS, crossing, letters, need, pose, whole_sides
from vkit.synthesis.plane.quadrilaterals import quadrilateral, squared, stated
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("rectangles and rhombi", "plane")
def rectangles_and_rhombi(rng: random.Random) -> Problem:
    """Diagonals, sides and areas."""
    return one_of(rng, _rectangle_diagonal, _rectangle_area, _rhombus, _rhombus, _rectangle_angle)


def _is_rectangle(a: str, b: str, c: str, d: str) -> Fact:
    rights = [right_angle(d, a, b), right_angle(a, b, c), right_angle(b, c, d), right_angle(c, d, a)]
    return Fact(
        f"{a}{b}{c}{d} is a rectangle",
        tuple(mark for fact in rights for mark in fact.marks),
        tuple(claim for fact in rights for claim in fact.claims),
    )


def _rectangle(names: list[str], width: float, height: float) -> Figure:
    return quadrilateral(names, width, height, 90)


def _rectangle_diagonal(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    unit = rng.choice(UNITS)
    width, height = rng.randint(3, 60), rng.randint(3, 60)
    if rng.random() < 0.5:
        width, height, _ = whole_sides(rng)
    diagonal = sqrt(width**2 + height**2)
    need(0.3 < width / height < 3.4 and pleasant(diagonal))
    figure = _rectangle(names, width, height)
    figure.segment(a, c)
    pose(figure, rng)
    return Problem(
        form="diagonal",
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The diagonal {a}{c} is drawn.",
        facts=(
            _is_rectangle(*names),
            length(a, b, width, unit, name="p"),
            stated(f"the perimeter of {a}{b}{c}{d}", 2 * (width + height), unit, "u"),
        ),
        question=f"Find {a}{c}.",
        figure=figure,
        steps=(
            Step("q", f"{b}{c}", "u / 2 - p", "Opposite sides of a rectangle are equal.", unit),
            Step(
                "d",
                f"{a}{c}",
                "sqrt(p**2 + q**2)",
                f"By the Pythagorean theorem in triangle {a}{b}{c},",
                unit,
            ),
        ),
        mistakes=(
            Mistake("p + q", "the sides are added, not their squares"),
            Mistake("sqrt(abs(p**2 - q**2))", "the squares are subtracted"),
            Mistake("q", "the solution stops too early"),
            Mistake("u / 4", "a quarter of the perimeter"),
            Mistake("p * q / 2", "an area"),
        ),
        unit=unit,
    )


def _rectangle_area(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    unit = rng.choice(UNITS)
    width, height, diagonal = whole_sides(rng)
    need(0.3 < width / height < 3.4)
    figure = _rectangle(names, width, height)
    figure.segment(a, c)
    pose(figure, rng)
    of_area = rng.random() < 0.5
    last = (
        Step("t", "the area", "p * q", "The area is the product of the sides.", squared(unit))
        if of_area
        else Step("t", "the perimeter", "2 * (p + q)", "Opposite sides of a rectangle are equal.", unit)
    )
    return Problem(
        form="area from diagonal" if of_area else "perimeter from diagonal",
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The diagonal {a}{c} is drawn.",
        facts=(
            _is_rectangle(*names),
            length(a, b, width, unit, name="p"),
            length(a, c, diagonal, unit, name="d"),
        ),
        question=f"Find the {'area' if of_area else 'perimeter'} of {a}{b}{c}{d}.",
        figure=figure,
        steps=(
            Step(
                "q",
                f"{b}{c}",
                "sqrt(d**2 - p**2)",
                f"By the Pythagorean theorem in triangle {a}{b}{c},",
                unit,
            ),
            last,
        ),
        mistakes=(
            Mistake("p * d", "the diagonal is taken for a side"),
            Mistake("p * q / 2", "the area of a triangle"),
            Mistake("2 * (p + q)", "the perimeter"),
            Mistake("p * (d - p)", "the sides are subtracted, not their squares"),
        )
        if of_area
        else (
            Mistake("2 * (p + d)", "the diagonal is taken for a side"),
            Mistake("p + q", "only two sides"),
            Mistake("p + q + d", "the perimeter of a triangle"),
            Mistake("p * q", "the area"),
        ),
        unit=squared(unit) if of_area else unit,
    )


def _rectangle_angle(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p = rng.randint(19, 71)
    need(p != 45)
    width = 1.0
    figure = _rectangle([a, b, c, d], width, width * math.tan(math.radians(p)))
    figure.point(e, *crossing(figure, (a, c), (b, d)))
    figure.segment(a, c)
    figure.segment(b, d)
    pose(figure, rng)
    asked_top = rng.random() < 0.5
    corner_text = f"∠{a}{e}{b}" if asked_top else f"∠{b}{e}{c}"
    steps = [
        Step(
            "q",
            f"∠{a}{b}{e}",
            "p",
            f"The diagonals of a rectangle are equal and bisect each other: {a}{e} = {b}{e}.",
            "°",
        ),
        Step("r", f"∠{a}{e}{b}", "180 - p - q", "The angles of a triangle sum to 180°.", "°"),
    ]
    if not asked_top:
        steps.append(Step("s", corner_text, "180 - r", "Angles on a straight line sum to 180°.", "°"))
    return Problem(
        form="angle of diagonals" if asked_top else "other angle of diagonals",
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"Its diagonals cross at {e}.",
        facts=(_is_rectangle(a, b, c, d), angle(c, a, b, p, name="p")),
        question=f"Find {corner_text}.",
        figure=figure,
        steps=tuple(steps),
        mistakes=(
            Mistake("90 - p", "the other part of the right angle"),
            Mistake("r" if not asked_top else "180 - r", "the neighbouring angle"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("90", "the diagonals are supposed to be perpendicular"),
            Mistake("90 + p", "an exterior angle"),
        ),
        unit="°",
    )


def _rhombus(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    unit = rng.choice(UNITS)
    if rng.random() < 0.5:
        half, other, _ = whole_sides(rng)
    else:
        half, other = rng.randint(2, 60), rng.randint(2, 60)
    need(0.35 < half / other < 2.8 and half != other)
    side = sqrt(half**2 + other**2)
    need(pleasant(4 * side) and pleasant(2 * half * other))
    figure = Figure()
    figure.point(a, -half, 0), figure.point(b, 0, -other), figure.point(c, half, 0), figure.point(d, 0, other)
    figure.point(e, 0, 0)
    figure.polygon(a, b, c, d)
    figure.segment(a, e, c)
    figure.segment(b, e, d)
    pose(figure, rng)
    sides = [equal((a, b), pair) for pair in ((b, c), (c, d), (d, a))]
    shape = Fact(
        f"{a}{b}{c}{d} is a rhombus",
        tuple(dict.fromkeys(mark for fact in sides for mark in fact.marks)),
        tuple(claim for fact in sides for claim in fact.claims),
    )
    asked = rng.choice(("side", "perimeter", "area"))
    square = squared(unit)
    cross = "The diagonals of a rhombus are perpendicular and bisect each other."
    steps = {
        "side": [Step("s", f"{a}{b}", "sqrt(p**2 + q**2)", f"{cross} By the Pythagorean theorem,", unit)],
        "perimeter": [
            Step("s", f"{a}{b}", "sqrt(p**2 + q**2)", f"{cross} By the Pythagorean theorem,", unit),
            Step("u", "the perimeter", "4 * s", "All sides of a rhombus are equal.", unit),
        ],
        "area": [Step("t", "the area", "2 * p * q", f"{cross} It is made of four right triangles.", square)],
    }[asked]
    mistakes = {
        "side": ("p + q", "sqrt(abs(p**2 - q**2))", "p * q / 2", "2 * sqrt(p**2 + q**2)", "(p + q) / 2"),
        "perimeter": ("s", "4 * (p + q)", "2 * s", "2 * p * q", "2 * (p + q)"),
        "area": ("p * q", "4 * p * q", "p * q / 2", "2 * (p + q)", "4 * (p + q)"),
    }[asked]
    whys = {
        "side": (
            "sides are added",
            "squares are subtracted",
            "an area",
            "a diagonal is not halved",
            "a mean",
        ),
        "perimeter": (
            "only one side",
            "sides are added, not squares",
            "only two sides",
            "the area",
            "two sides added",
        ),
        "area": ("a half is lost", "the diagonals are multiplied", "only one triangle", "a sum", "a sum"),
    }[asked]
    return Problem(
        form=asked,
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"Its diagonals cross at {e}.",
        facts=(shape, length(a, e, half, unit, name="p"), length(b, e, other, unit, name="q")),
        question=f"Find {a}{b}." if asked == "side" else f"Find the {asked} of {a}{b}{c}{d}.",
        figure=figure,
        steps=tuple(steps),
        mistakes=tuple(Mistake(wrong, why) for wrong, why in zip(mistakes, whys)),
        unit=square if asked == "area" else unit,
    )
