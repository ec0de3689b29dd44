"""Trapezoids: area, midsegment and legs."""

from __future__ import annotations

import random

from vkit.synthesis.facts import Fact, equal, length, parallel, perpendicular
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Length
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, foot, letters, need, pose
from vkit.synthesis.plane.quadrilaterals import squared, stated
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("trapezoids", "plane")
def trapezoids(rng: random.Random) -> Problem:
    """Area, midsegment and legs of trapezoids."""
    return one_of(rng, _trapezoid_area, _midsegment, _isosceles_trapezoid)


def _trapezoid_area(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    unit = rng.choice(UNITS)
    bottom, top, height = rng.randint(8, 60), rng.randint(4, 45), rng.randint(4, 40)
    need(0.3 * bottom <= top <= 0.85 * bottom and 0.25 < height / bottom < 0.9)
    left = (bottom - top) * rng.uniform(0.25, 0.75)
    figure = Figure()
    figure.point(a, 0, 0), figure.point(b, bottom, 0)
    figure.point(c, left + top, height), figure.point(d, left, height), figure.point(e, left, 0)
    figure.polygon(a, b, c, d)
    figure.segment(d, e, dashed=True)
    pose(figure, rng)
    facts = (parallel((a, b), (d, c)), perpendicular((d, e), (a, b), (d, e, b)))
    description = (
        f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The point {e} lies on {a}{b}."
    )
    base = length(a, b, bottom, unit, name="p", dimension=True)
    upper, high = length(d, c, top, unit, name="q"), length(d, e, height, unit, name="h")
    rule = "The area of a trapezoid is half of the sum of its parallel sides, times its height."
    if rng.random() < 0.5:
        return Problem(
            form="area",
            description=description,
            facts=(*facts, base, upper, high),
            question=f"Find the area of {a}{b}{c}{d}.",
            figure=figure,
            steps=(Step("t", "the area", "(p + q) * h / 2", rule, squared(unit)),),
            mistakes=(
                Mistake("(p + q) * h", "the half is forgotten"),
                Mistake("p * h", "the area of a rectangle"),
                Mistake("(p - q) * h / 2", "the sides are subtracted"),
                Mistake("p * q / 2", "the height is forgotten"),
                Mistake("q * h", "only the upper side"),
                Mistake("p * h / 2", "the area of a triangle"),
            ),
            unit=squared(unit),
        )
    need((bottom + top) * height % 2 == 0)
    return Problem(
        form="height from area",
        description=description,
        facts=(
            *facts,
            base,
            upper,
            stated(f"the area of {a}{b}{c}{d}", (bottom + top) * height // 2, squared(unit), "t"),
        ),
        question=f"Find {d}{e}.",
        figure=figure,
        steps=(Step("h", f"{d}{e}", "2 * t / (p + q)", rule, unit),),
        mistakes=(
            Mistake("t / (p + q)", "the half is forgotten"),
            Mistake("t / p", "the area of a rectangle"),
            Mistake("2 * t / (p - q)", "the sides are subtracted"),
            Mistake("2 * t / p", "the area of a triangle"),
            Mistake("4 * t / (p + q)", "a factor too many"),
            Mistake("(p - q) / 2", "half of the difference of the sides"),
        ),
        unit=unit,
    )


def _midsegment(rng: random.Random) -> Problem:
    a, b, c, d, e, f = letters(rng, 6)
    unit = rng.choice(UNITS)
    bottom, top = rng.randint(8, 90), rng.randint(4, 70)
    need(0.3 * bottom <= top <= 0.85 * bottom)
    height = bottom * rng.uniform(0.5, 0.7)
    left = (bottom - top) * rng.uniform(0.2, 0.8)
    figure = Figure()
    (
        figure.point(a, 0, 0),
        figure.point(b, bottom, 0),
        figure.point(c, left + top, height),
        figure.point(d, left, height),
    )
    figure.point(e, left / 2, height / 2), figure.point(f, (bottom + left + top) / 2, height / 2)
    figure.polygon(a, b, c, d)
    figure.segment(e, f)
    pose(figure, rng)
    facts = (
        parallel((a, b), (d, c)),
        equal((a, e), (e, d)),
        equal((b, f), (f, c), 2),
    )
    description = (
        f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The point {e} lies on {a}{d} and the point {f} on {b}{c}."
    )
    rule = f"{e}{f} joins the midpoints of the legs: it is half of the sum of the parallel sides."
    if rng.random() < 0.4:
        return Problem(
            form="midsegment",
            description=description,
            facts=(*facts, length(a, b, bottom, unit, name="p"), length(d, c, top, unit, name="q")),
            question=f"Find {e}{f}.",
            figure=figure,
            steps=(Step("m", f"{e}{f}", "(p + q) / 2", rule, unit),),
            mistakes=(
                Mistake("p + q", "the half is forgotten"),
                Mistake("(p - q) / 2", "half of the difference"),
                Mistake("p - q", "the difference"),
                Mistake("p / 2", "half of the longer side"),
                Mistake("sqrt(p * q)", "the geometric mean"),
                Mistake("m + 1", "a slip in the arithmetic"),
            ),
            unit=unit,
        )
    need((bottom + top) % 2 == 0)
    return Problem(
        form="base from midsegment",
        description=description,
        facts=(
            *facts,
            length(e, f, (bottom + top) // 2, unit, name="m"),
            length(d, c, top, unit, name="q"),
        ),
        question=f"Find {a}{b}.",
        figure=figure,
        steps=(
            Step("s", f"{a}{b} + {d}{c}", "2 * m", rule, unit),
            Step("p", f"{a}{b}", "s - q", "The given side is taken off.", unit),
        ),
        mistakes=(
            Mistake("2 * m", "the other side is not taken off"),
            Mistake("m + q", "the lengths are added"),
            Mistake("(m + q) / 2", "a mean of the given lengths"),
            Mistake("2 * q", "the shorter side is doubled"),
            Mistake("m - q / 2", "the half is taken twice"),
        ),
        unit=unit,
    )


def _isosceles_trapezoid(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    unit = rng.choice(UNITS)
    x, height, leg = rng.choice(TRIPLES[:6])
    if rng.random() < 0.4:
        x, height = height, x
    factor = rng.randint(1, 4)
    x, height, leg = x * factor, height * factor, leg * factor
    top = rng.randint(4, 40)
    bottom = top + 2 * x
    need(0.25 < height / bottom < 0.9 and top > 0.2 * bottom and x > 0.1 * bottom)
    figure = Figure()
    (
        figure.point(a, 0, 0),
        figure.point(b, bottom, 0),
        figure.point(c, x + top, height),
        figure.point(d, x, height),
    )
    figure.point(e, *foot(figure, d, a, b))
    figure.polygon(a, b, c, d)
    figure.segment(d, e, dashed=True)
    pose(figure, rng)
    legs = equal((a, d), (b, c))
    shown = f"{leg} {unit}".strip()
    return Problem(
        form="isosceles",
        description=f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. "
        f"The point {e} lies on {a}{b}.",
        facts=(
            parallel((a, b), (d, c)),
            perpendicular((d, e), (a, b), (d, e, b)),
            Fact(
                f"{a}{d} = {b}{c} = {shown}",
                (Length(b, c, shown), *legs.marks),
                (*legs.claims, *length(a, d, leg, name="s").claims),
                {"s": leg},
            ),
            length(a, b, bottom, unit, name="p", dimension=True),
            length(d, c, top, unit, name="q"),
        ),
        question=f"Find {d}{e}.",
        figure=figure,
        steps=(
            Step("x", f"{a}{e}", "(p - q) / 2", "An isosceles trapezoid is symmetric.", unit),
            Step(
                "h",
                f"{d}{e}",
                "sqrt(s**2 - x**2)",
                f"By the Pythagorean theorem in triangle {a}{e}{d},",
                unit,
            ),
        ),
        mistakes=(
            Mistake("x", "the solution stops too early"),
            Mistake("sqrt(s**2 + x**2)", "the squares are added"),
            Mistake("s - x", "the sides are subtracted, not their squares"),
            Mistake("(p + q) / 2", "the midsegment"),
            Mistake("p - q", "the difference of the parallel sides"),
        ),
        unit=unit,
    )
