"""Isosceles triangles: base angles, perimeter, height and area."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, equal, length, perpendicular, with_unit
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Ticks
from vkit.synthesis.plane.drawing import UNITS, apex, corner, letters, need, pose
from vkit.synthesis.plane.triangles import ANGLE_SUM, triangle
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("isosceles triangles", "plane")
def isosceles(rng: random.Random) -> Problem:
    """Base angles, perimeter, height and area of a triangle with two equal sides."""
    return one_of(rng, _base_angle, _split_isosceles, _perimeter, _height)


def _isosceles(rng: random.Random, names: list[str], base_angle: float) -> Figure:
    """A triangle with its apex first."""
    return triangle(rng, [names[1], names[2], names[0]], base_angle, base_angle)


def _base_angle(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    p = rng.randint(26, 130)
    base = (180 - p) / 2
    figure = _isosceles(rng, [a, b, c], base)
    pose(figure, rng)
    given_apex = rng.random() < 0.5 or base != int(base)
    common: dict[str, Any] = dict(
        description=f"{a}, {b} and {c} are the corners of a triangle.", figure=figure, unit="°"
    )
    if given_apex:
        return Problem(
            form="base angle",
            facts=(equal((a, b), (a, c)), angle(b, a, c, p, name="p")),
            question=f"Find ∠{a}{b}{c}.",
            steps=(
                Step("s", "the sum of the base angles", "180 - p", ANGLE_SUM, "°"),
                Step("q", f"∠{a}{b}{c}", "s / 2", f"As {a}{b} = {a}{c}, the base angles are equal.", "°"),
            ),
            mistakes=(
                Mistake("180 - p", "the sum of both base angles"),
                Mistake("180 - 2 * p", "the given angle is taken for a base angle"),
                Mistake("p / 2", "half of the apex"),
                Mistake("90 - p", "a right angle is supposed"),
                Mistake("q + 10", "a slip in the arithmetic"),
                Mistake("q + 5", "a slip in the arithmetic"),
            ),
            **common,
        )
    return Problem(
        form="apex",
        facts=(equal((a, b), (a, c)), angle(a, b, c, int(base), name="q")),
        question=f"Find ∠{b}{a}{c}.",
        steps=(
            Step("r", f"∠{a}{c}{b}", "q", f"As {a}{b} = {a}{c}, the base angles are equal.", "°"),
            Step("p", f"∠{b}{a}{c}", "180 - q - r", ANGLE_SUM, "°"),
        ),
        mistakes=(
            Mistake("180 - q", "only one base angle is taken off"),
            Mistake("(180 - q) / 2", "the given angle is taken for the apex"),
            Mistake("2 * q", "the sum of the base angles"),
            Mistake("90 - q", "a right angle is supposed"),
            Mistake("p + 10", "a slip in the arithmetic"),
        ),
        **common,
    )


def _split_isosceles(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p, q = rng.randint(30, 110), rng.randint(20, 70)
    base = (180 - p) / 2
    need(base == int(base) and 18 <= q <= base - 14)
    figure = _isosceles(rng, [a, b, c], base)
    # D lies on AC so that ∠DBC = q.
    height = apex(q, base)
    figure.point(d, *height)
    figure.segment(b, d)
    pose(figure, rng)
    return Problem(
        form="line through a base corner",
        description=f"In triangle {a}{b}{c}, the point {d} lies on {a}{c}.",
        facts=(
            # In words: D cuts AC, and a stroke would seem to be that of a part.
            replace(equal((a, b), (a, c)), marks=()),
            angle(b, a, c, p, name="p", label=f"∠{a}"),
            angle(d, b, c, q, name="q"),
        ),
        question=f"Find ∠{a}{b}{d}.",
        figure=figure,
        steps=(
            Step("s", f"∠{a}{b}{c}", "(180 - p) / 2", f"As {a}{b} = {a}{c}, the base angles are equal.", "°"),
            Step("r", f"∠{a}{b}{d}", "s - q", f"{b}{d} cuts ∠{a}{b}{c} into two parts.", "°"),
        ),
        mistakes=(
            Mistake("s", "the whole base angle"),
            Mistake("180 - p - q", "the base angle is not halved"),
            Mistake("s + q", "the parts are added"),
            Mistake("abs(p - q)", "the base angle is taken for the apex"),
            Mistake("180 - q - s", "another angle of the figure"),
        ),
        unit="°",
    )


def _perimeter(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    side, base = rng.randint(5, 60), rng.randint(4, 80)
    need(0.35 * side < base < 1.75 * side)
    figure = Figure()
    figure.point(b, 0, 0), figure.point(c, base, 0), figure.point(a, *corner(side, side, base))
    figure.polygon(a, b, c)
    pose(figure, rng)
    perimeter = Fact(
        f"the perimeter of triangle {a}{b}{c} is {with_unit(2 * side + base, unit)}",
        values={"u": 2 * side + base},
    )
    of_side = rng.random() < 0.5
    common: dict[str, Any] = dict(
        description=f"{a}, {b} and {c} are the corners of a triangle.", figure=figure, unit=unit
    )
    if of_side:
        return Problem(
            form="side from perimeter",
            facts=(equal((a, b), (a, c)), length(b, c, base, unit, name="b"), perimeter),
            question=f"Find {a}{b}.",
            steps=(
                Step("s", f"{a}{b} + {a}{c}", "u - b", "The perimeter is the sum of the three sides.", unit),
                Step("a", f"{a}{b}", "s / 2", f"{a}{b} and {a}{c} are equal.", unit),
            ),
            mistakes=(
                Mistake("u - b", "both sides together"),
                Mistake("u - 2 * b", "the given side is taken for a leg"),
                Mistake("u / 3", "the triangle is taken for equilateral"),
                Mistake("u / 2", "the base is forgotten"),
                Mistake("(u + b) / 2", "the base is added"),
            ),
            **common,
        )
    return Problem(
        form="base from perimeter",
        facts=(equal((a, b), (a, c)), length(a, b, side, unit, name="a"), perimeter),
        question=f"Find {b}{c}.",
        steps=(
            Step("s", f"{a}{b} + {a}{c}", "2 * a", f"{a}{b} and {a}{c} are equal.", unit),
            Step("b", f"{b}{c}", "u - s", "The perimeter is the sum of the three sides.", unit),
        ),
        mistakes=(
            Mistake("u - a", "only one side is taken off"),
            Mistake("(u - a) / 2", "the given side is taken for the base"),
            Mistake("u / 3", "the triangle is taken for equilateral"),
            Mistake("2 * a", "both equal sides together"),
            Mistake("u / 2", "the base is taken for half of the perimeter"),
        ),
        **common,
    )


def _height(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    unit = rng.choice(UNITS)
    side, half = rng.randint(4, 40), rng.randint(2, 30)
    need(0.25 * side < half < 0.93 * side)
    h = sqrt(side * side - half * half)
    need(pleasant(h * half))
    figure = Figure()
    figure.point(b, -half, 0), figure.point(c, half, 0), figure.point(d, 0, 0), figure.point(a, 0, float(h))
    figure.polygon(a, b, c)
    figure.segment(a, d)
    pose(figure, rng)
    area = rng.random() < 0.5
    legs = equal((a, b), (a, c))
    sides = Fact(
        f"{a}{b} = {a}{c} = {with_unit(side, unit)}",
        (length(a, b, side, unit, name="a").marks[0], Ticks(a, c), Ticks(a, b)),
        (*length(a, b, side, unit, name="a").claims, *legs.claims),
        {"a": side},
    )
    steps = [
        Step("m", f"{b}{d}", "b / 2", "The height of an isosceles triangle bisects its base.", unit),
        Step("h", f"{a}{d}", "sqrt(a**2 - m**2)", f"By the Pythagorean theorem in triangle {a}{b}{d},", unit),
    ]
    if area:
        square = f"{unit}²" if unit else ""
        steps.append(
            Step(
                "t",
                f"the area of triangle {a}{b}{c}",
                "b * h / 2",
                "The area is half of base times height.",
                square,
            )
        )
    return Problem(
        form="area" if area else "height",
        description=f"In triangle {a}{b}{c}, the point {d} lies on {b}{c}.",
        facts=(
            sides,
            length(b, c, 2 * half, unit, name="b", dimension=True),
            perpendicular((a, d), (b, c), (a, d, b)),
        ),
        question=f"Find the area of triangle {a}{b}{c}." if area else f"Find {a}{d}.",
        figure=figure,
        steps=tuple(steps),
        mistakes=(
            Mistake("b * h", "the half is forgotten"),
            Mistake("a * b / 2", "a side is taken for the height"),
            Mistake("b * h / 4", "only half of the triangle"),
            Mistake("a * m", "a side is taken for the height"),
            Mistake("b * sqrt(a**2 + m**2) / 2", "the squares are added"),
        )
        if area
        else (
            Mistake("sqrt(a**2 + m**2)", "the squares are added"),
            Mistake("abs(a - m)", "the sides are subtracted, not their squares"),
            Mistake("m", "half of the base"),
            Mistake("a - m / 2", "the sides are subtracted"),
            Mistake("2 * h", "the height is doubled"),
            Mistake("a / 2", "half of the side"),
        ),
        unit=(f"{unit}²" if unit else "") if area else unit,
    )
