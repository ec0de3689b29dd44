"""Angles and sides of triangles: the sum of angles, isosceles triangles, the exterior angle."""

from __future__ import annotations

import random

from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, bisector, equal, length, perpendicular
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Ticks
from vkit.synthesis.plane.drawing import UNITS, apex, corner, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family

_SUM = "The angles of a triangle sum to 180°."


@family("triangle angle sum", "plane")
def angle_sum(rng: random.Random) -> Problem:
    """The third angle, also where it is cut by a bisector or by another line through a corner."""
    return rng.choice((_third, _cut_by_bisector, _cut_by_line, _cut_by_line))(rng)


def _triangle(rng: random.Random, names: list[str], alpha: float, beta: float) -> Figure:
    """A triangle with those angles at its first two corners."""
    figure = Figure()
    figure.point(names[0], 0, 0), figure.point(names[1], 1, 0), figure.point(names[2], *apex(alpha, beta))
    figure.polygon(*names)
    return figure


def _third(rng: random.Random) -> Problem:
    p = rng.randint(25, 110)
    q = rng.randint(25, 155 - p)
    names = letters(rng, 3)
    rng.shuffle(names)
    a, b, c = names
    figure = _triangle(rng, names, p, q)
    pose(figure, rng)
    return Problem(
        form="third angle",
        description=f"{', '.join(sorted(names)[:2])} and {max(names)} are the corners of a triangle.",
        facts=(angle(b, a, c, p, name="p"), angle(a, b, c, q, name="q")),
        question=f"Find ∠{a}{c}{b}.",
        figure=figure,
        steps=(Step("r", f"∠{a}{c}{b}", "180 - p - q", _SUM, "°"),),
        mistakes=(
            Mistake("p + q", "the sum of the given angles"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - p - q", "the sum of a quadrilateral"),
            Mistake("90 - p", "a right angle is supposed"),
        ),
        unit="°",
    )


def _cut_by_bisector(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p, q = rng.randint(28, 100), rng.randint(28, 100)
    r = 180 - p - q
    need(r >= 36 and r % 2 == 0)
    figure = _triangle(rng, [b, c, a], p, q)
    # The bisector from A meets BC where it cuts it as the sides are.
    share = figure.length(a, b) / (figure.length(a, b) + figure.length(a, c))
    figure.point(d, share, 0)
    figure.segment(a, d)
    pose(figure, rng)
    return Problem(
        form="bisector",
        description=f"In triangle {a}{b}{c}, the point {d} lies on {b}{c}.",
        facts=(
            bisector(b, a, c, d),
            angle(a, b, c, p, name="p", label=f"∠{b}"),
            angle(a, c, b, q, name="q", label=f"∠{c}"),
        ),
        question=f"Find ∠{a}{d}{b}.",
        figure=figure,
        steps=(
            Step("r", f"∠{b}{a}{c}", "180 - p - q", _SUM, "°"),
            Step("h", f"∠{b}{a}{d}", "r / 2", f"{a}{d} bisects ∠{b}{a}{c}.", "°"),
            Step("s", f"∠{a}{d}{b}", "180 - p - h", f"The angles of triangle {a}{b}{d} sum to 180°.", "°"),
        ),
        mistakes=(
            Mistake("180 - q - h", "the angle on the other side"),
            Mistake("180 - p - r", "the angle is not bisected"),
            Mistake("h", "the solution stops too early"),
            Mistake("r", "the solution stops too early"),
            Mistake("p + h + 10", "a slip in the arithmetic"),
        ),
        unit="°",
    )


def _cut_by_line(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p, q, s = rng.randint(28, 90), rng.randint(25, 80), rng.randint(18, 60)
    need(180 - p - q - s >= 18)
    figure = _triangle(rng, [b, c, a], p, q)
    # D lies on BC so that ∠BAD = s: triangle ABD has the angles p and s.
    x, y = figure.at(a)
    at_d = 180 - p - s
    need(25 <= at_d <= 155)
    direction = apex(p, at_d)
    figure.point(d, y / direction[1], 0)
    figure.segment(a, d)
    pose(figure, rng)
    return Problem(
        form="line through a corner",
        description=f"In triangle {a}{b}{c}, the point {d} lies on {b}{c}.",
        facts=(
            angle(a, b, c, p, name="p", label=f"∠{b}"),
            angle(a, c, b, q, name="q", label=f"∠{c}"),
            angle(b, a, d, s, name="s"),
        ),
        question=f"Find ∠{d}{a}{c}.",
        figure=figure,
        steps=(
            Step("r", f"∠{b}{a}{c}", "180 - p - q", _SUM, "°"),
            Step("t", f"∠{d}{a}{c}", "r - s", f"{a}{d} cuts ∠{b}{a}{c} into two parts.", "°"),
        ),
        mistakes=(
            Mistake("r", "the whole angle"),
            Mistake("s + p", "the exterior angle at the cut"),
            Mistake("180 - p - s", "the other triangle"),
            Mistake("180 - q - s", "an angle of neither triangle"),
            Mistake("s + 5", "the line is taken for a bisector"),
        ),
        unit="°",
    )


@family("isosceles triangles", "plane")
def isosceles(rng: random.Random) -> Problem:
    """Base angles, perimeter, height and area of a triangle with two equal sides."""
    return rng.choice((_base_angle, _split_isosceles, _perimeter, _height))(rng)


def _isosceles(rng: random.Random, names: list[str], base_angle: float) -> Figure:
    """A triangle with its apex first."""
    return _triangle(rng, [names[1], names[2], names[0]], base_angle, base_angle)


def _base_angle(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    p = rng.randint(26, 130)
    base = (180 - p) / 2
    figure = _isosceles(rng, [a, b, c], base)
    pose(figure, rng)
    given_apex = rng.random() < 0.5 or base != int(base)
    common = dict(description=f"{a}, {b} and {c} are the corners of a triangle.", figure=figure, unit="°")
    if given_apex:
        return Problem(
            form="base angle",
            facts=(equal((a, b), (a, c)), angle(b, a, c, p, name="p")),
            question=f"Find ∠{a}{b}{c}.",
            steps=(
                Step("s", "the sum of the base angles", "180 - p", _SUM, "°"),
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
            Step("p", f"∠{b}{a}{c}", "180 - q - r", _SUM, "°"),
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
            equal((a, b), (a, c)),
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
        f"the perimeter of triangle {a}{b}{c} is {2 * side + base}{' ' + unit if unit else ''}",
        values={"u": 2 * side + base},
    )
    of_side = rng.random() < 0.5
    common = dict(description=f"{a}, {b} and {c} are the corners of a triangle.", figure=figure, unit=unit)
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
        f"{a}{b} = {a}{c} = {side}{' ' + unit if unit else ''}",
        (length(a, b, side, unit, name="a").marks[0], Ticks(a, c), Ticks(a, b)),
        (*length(a, b, side, unit, name="a").claims, *legs.claims),
        {"a": side},
    )
    steps = [
        Step("m", f"{b}{d}", "b / 2", "The height of an isosceles triangle bisects its base.", unit),
        Step("h", f"{a}{d}", "sqrt(a**2 - m**2)", f"By the Pythagorean theorem in triangle {a}{b}{d}.", unit),
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


@family("exterior angles", "plane")
def exterior(rng: random.Random) -> Problem:
    """The exterior angle of a triangle is the sum of the two others."""
    return rng.choice((_exterior, _remote, _exterior_bisected))(rng)


def _extended(rng: random.Random, names: list[str], p: float, q: float) -> Figure:
    """Triangle ABC with the angles p at A and q at B; D lies beyond C on the ray BC."""
    a, b, c, d = names
    r = 180 - p - q
    figure = Figure()
    figure.point(b, 0, 0), figure.point(c, 1, 0), figure.point(a, *apex(q, r)), figure.point(d, 1.75, 0)
    figure.polygon(a, b, c)
    figure.segment(c, d)
    return figure


def _exterior(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    p, q = rng.randint(25, 100), rng.randint(25, 100)
    need(180 - p - q >= 22)
    figure = _extended(rng, names, p, q)
    pose(figure, rng)
    return Problem(
        form="exterior angle",
        description=f"In triangle {a}{b}{c}, the side {b}{c} is extended beyond {c} to {d}.",
        facts=(angle(b, a, c, p, name="p", label=f"∠{a}"), angle(a, b, c, q, name="q", label=f"∠{b}")),
        question=f"Find ∠{a}{c}{d}.",
        figure=figure,
        steps=(
            Step(
                "r",
                f"∠{a}{c}{d}",
                "p + q",
                "An exterior angle of a triangle is the sum of the two angles that do not touch it.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("180 - p - q", "the interior angle"),
            Mistake("180 - p", "only one angle is used"),
            Mistake("180 - q", "only one angle is used"),
            Mistake("360 - p - q", "the rest of the turn"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _remote(rng: random.Random) -> Problem:
    a, b, c, d = names = letters(rng, 4)
    p, q = rng.randint(25, 100), rng.randint(25, 100)
    need(180 - p - q >= 22)
    figure = _extended(rng, names, p, q)
    pose(figure, rng)
    return Problem(
        form="remote angle",
        description=f"In triangle {a}{b}{c}, the side {b}{c} is extended beyond {c} to {d}.",
        facts=(angle(a, c, d, p + q, name="e"), angle(a, b, c, q, name="q", label=f"∠{b}")),
        question=f"Find ∠{b}{a}{c}.",
        figure=figure,
        steps=(
            Step(
                "p",
                f"∠{b}{a}{c}",
                "e - q",
                f"The exterior angle ∠{a}{c}{d} is the sum of ∠{b}{a}{c} and ∠{a}{b}{c}.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("180 - e", "the interior angle beside it"),
            Mistake("180 - q", "only one angle is used"),
            Mistake("180 - e + q", "the sum of two angles of the triangle"),
            Mistake("e + q", "the angles are added"),
            Mistake("e / 2", "the others are supposed to be equal"),
        ),
        unit="°",
    )


def _exterior_bisected(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(30, 100), rng.randint(30, 100)
    need(180 - p - q >= 25 and (p + q) % 2 == 0)
    figure = _extended(rng, [a, b, c, d], p, q)
    figure.point(e, *on_ray((p + q) / 2, 0.75, figure.at(c)))
    figure.segment(c, e)
    pose(figure, rng)
    return Problem(
        form="exterior bisector",
        description=f"In triangle {a}{b}{c}, the side {b}{c} is extended beyond {c} to {d}; "
        f"the ray {c}{e} lies between {c}{a} and {c}{d}.",
        facts=(
            bisector(a, c, d, e),
            angle(b, a, c, p, name="p", label=f"∠{a}"),
            angle(a, b, c, q, name="q", label=f"∠{b}"),
        ),
        question=f"Find ∠{e}{c}{d}.",
        figure=figure,
        steps=(
            Step(
                "r",
                f"∠{a}{c}{d}",
                "p + q",
                "An exterior angle of a triangle is the sum of the two angles that do not touch it.",
                "°",
            ),
            Step("h", f"∠{e}{c}{d}", "r / 2", f"{c}{e} bisects ∠{a}{c}{d}.", "°"),
        ),
        mistakes=(
            Mistake("r", "the angle is not bisected"),
            Mistake("(180 - p - q) / 2", "the interior angle is bisected"),
            Mistake("180 - p - q", "the interior angle"),
            Mistake("p / 2", "half of one angle"),
            Mistake("180 - r / 2", "the other side of the line"),
        ),
        unit="°",
    )
