"""Parallelograms, rectangles, rhombi and trapezoids."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, equal, length, parallel, perpendicular, right_angle
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Length
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, crossing, foot, letters, need, on_ray, pose
from vkit.synthesis.plane.lines import equal_in, sum_to, terms_in_x
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family


def _squared(unit: str) -> str:
    return f"{unit}²" if unit else ""


def _stated(text: str, value: int, unit: str, name: str) -> Fact:
    """A quantity that no mark can show, in words."""
    return Fact(f"{text} is {value}{' ' + unit if unit else ''}", values={name: value})


def _parallelogram(names: list[str], base: float, side: float, degrees: float) -> Figure:
    """ABCD with the angle at A."""
    a, b, c, d = names
    figure = Figure()
    x, y = on_ray(degrees, side)
    figure.point(a, 0, 0), figure.point(b, base, 0), figure.point(c, base + x, y), figure.point(d, x, y)
    figure.polygon(a, b, c, d)
    return figure


def _is_parallelogram(a: str, b: str, c: str, d: str) -> Fact:
    first, second = parallel((a, b), (d, c)), parallel((a, d), (b, c), 2)
    return Fact(
        f"{a}{b}{c}{d} is a parallelogram", (*first.marks, *second.marks), (*first.claims, *second.claims)
    )


@family("parallelograms", "plane")
def parallelograms(rng: random.Random) -> Problem:
    """Angles, perimeter and area of parallelograms."""
    return rng.choice((_angles_of_parallelogram, _perimeter_of_parallelogram, _height_of_parallelogram))(rng)


def _angles_of_parallelogram(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    opposite = rng.random() < 0.5
    x, first, second = terms_in_x(rng, None if opposite else 180)
    need(not opposite or (first[0] > second[0] and second[1] != 0))
    size = first[0] * x + first[1]
    need(40 <= size <= 140)
    figure = _parallelogram(names, 1.0, rng.uniform(0.65, 0.9), size)
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
    figure = _parallelogram(names, base, side, rng.choice((55, 60, 65, 70, 110, 120)))
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
            _stated(f"the perimeter of {a}{b}{c}{d}", 2 * (base + side), unit, "u"),
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
                f"By the Pythagorean theorem in triangle {a}{e}{d}.",
                unit,
            ),
            Step(
                "t",
                "the area",
                "g * h",
                f"The area is base times height, and {a}{b} = {d}{c}.",
                _squared(unit),
            ),
        ),
        mistakes=(
            Mistake("g * s", "a side is taken for the height"),
            Mistake("g * h / 2", "the area of a triangle"),
            Mistake("g * x", "the part of the base is taken for the height"),
            Mistake("(g - x) * h", "a part of the base only"),
            Mistake("2 * (g + s)", "the perimeter"),
        ),
        unit=_squared(unit),
    )


@family("rectangles and rhombi", "plane")
def rectangles_and_rhombi(rng: random.Random) -> Problem:
    """Diagonals, sides and areas."""
    return rng.choice((_rectangle_diagonal, _rectangle_area, _rhombus, _rhombus, _rectangle_angle))(rng)


def _is_rectangle(a: str, b: str, c: str, d: str) -> Fact:
    rights = [right_angle(d, a, b), right_angle(a, b, c), right_angle(b, c, d), right_angle(c, d, a)]
    return Fact(
        f"{a}{b}{c}{d} is a rectangle",
        tuple(mark for fact in rights for mark in fact.marks),
        tuple(claim for fact in rights for claim in fact.claims),
    )


def _rectangle(names: list[str], width: float, height: float) -> Figure:
    return _parallelogram(names, width, height, 90)


def _rectangle_diagonal(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    unit = rng.choice(UNITS)
    width, height = rng.randint(3, 60), rng.randint(3, 60)
    if rng.random() < 0.5:
        width, height, _ = rng.choice(TRIPLES)
        factor = rng.randint(1, 6)
        width, height = width * factor, height * factor
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
            _stated(f"the perimeter of {a}{b}{c}{d}", 2 * (width + height), unit, "u"),
        ),
        question=f"Find {a}{c}.",
        figure=figure,
        steps=(
            Step("q", f"{b}{c}", "u / 2 - p", "Opposite sides of a rectangle are equal.", unit),
            Step(
                "d",
                f"{a}{c}",
                "sqrt(p**2 + q**2)",
                f"By the Pythagorean theorem in triangle {a}{b}{c}.",
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
    width, height, diagonal = rng.choice(TRIPLES)
    factor = rng.randint(1, 9)
    width, height, diagonal = width * factor, height * factor, diagonal * factor
    need(0.3 < width / height < 3.4)
    if rng.random() < 0.5:
        width, height = height, width
    figure = _rectangle(names, width, height)
    figure.segment(a, c)
    pose(figure, rng)
    of_area = rng.random() < 0.5
    last = (
        Step("t", "the area", "p * q", "The area is the product of the sides.", _squared(unit))
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
                f"By the Pythagorean theorem in triangle {a}{b}{c}.",
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
        unit=_squared(unit) if of_area else unit,
    )


def _rectangle_angle(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p = rng.randint(19, 71)
    need(p != 45)
    width = 1.0
    figure = _rectangle([a, b, c, d], width, width * math.tan(math.radians(p)))
    figure.point(e, *crossing(figure, (a, c), (b, d)))
    figure.segment(a, c), figure.segment(b, d)
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
        half, other, _ = rng.choice(TRIPLES)
        factor = rng.randint(1, 6)
        half, other = half * factor, other * factor
    else:
        half, other = rng.randint(2, 40), rng.randint(2, 40)
    need(0.35 < half / other < 2.8 and half != other)
    side = sqrt(half**2 + other**2)
    need(pleasant(4 * side) and pleasant(2 * half * other))
    figure = Figure()
    figure.point(a, -half, 0), figure.point(b, 0, -other), figure.point(c, half, 0), figure.point(d, 0, other)
    figure.point(e, 0, 0)
    figure.polygon(a, b, c, d)
    figure.segment(a, e, c), figure.segment(b, e, d)
    pose(figure, rng)
    sides = [equal((a, b), pair) for pair in ((b, c), (c, d), (d, a))]
    shape = Fact(
        f"{a}{b}{c}{d} is a rhombus",
        tuple(dict.fromkeys(mark for fact in sides for mark in fact.marks)),
        tuple(claim for fact in sides for claim in fact.claims),
    )
    asked = rng.choice(("side", "perimeter", "area"))
    square = _squared(unit)
    cross = "The diagonals of a rhombus are perpendicular and bisect each other."
    steps = {
        "side": [Step("s", f"{a}{b}", "sqrt(p**2 + q**2)", f"{cross} By the Pythagorean theorem.", unit)],
        "perimeter": [
            Step("s", f"{a}{b}", "sqrt(p**2 + q**2)", f"{cross} By the Pythagorean theorem.", unit),
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


@family("trapezoids", "plane")
def trapezoids(rng: random.Random) -> Problem:
    """Area, midsegment and legs of trapezoids."""
    return rng.choice((_trapezoid_area, _midsegment, _isosceles_trapezoid))(rng)


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
    description = f"{a}, {b}, {c} and {d} are the corners of a quadrilateral, in this order. The point {e} lies on {a}{b}."
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
            steps=(Step("t", "the area", "(p + q) * h / 2", rule, _squared(unit)),),
            mistakes=(
                Mistake("(p + q) * h", "the half is forgotten"),
                Mistake("p * h", "the area of a rectangle"),
                Mistake("(p - q) * h / 2", "the sides are subtracted"),
                Mistake("p * q / 2", "the height is forgotten"),
                Mistake("q * h", "only the upper side"),
                Mistake("p * h / 2", "the area of a triangle"),
            ),
            unit=_squared(unit),
        )
    need((bottom + top) * height % 2 == 0)
    return Problem(
        form="height from area",
        description=description,
        facts=(
            *facts,
            base,
            upper,
            _stated(f"the area of {a}{b}{c}{d}", (bottom + top) * height // 2, _squared(unit), "t"),
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
                f"By the Pythagorean theorem in triangle {a}{e}{d}.",
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
