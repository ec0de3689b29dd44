"""Angles of triangles: their sum, the exterior angle."""

from __future__ import annotations

import random

from vkit.synthesis.facts import angle, bisector
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import apex, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

ANGLE_SUM = "The angles of a triangle sum to 180°."


@family("triangle angle sum", "plane")
def angle_sum(rng: random.Random) -> Problem:
    """The third angle, also where it is cut by a bisector or by another line through a corner."""
    return one_of(rng, _third, _cut_by_bisector, _cut_by_line, _cut_by_line)


def triangle(rng: random.Random, names: list[str], alpha: float, beta: float) -> Figure:
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
    figure = triangle(rng, names, p, q)
    pose(figure, rng)
    return Problem(
        form="third angle",
        description=f"{', '.join(sorted(names)[:2])} and {max(names)} are the corners of a triangle.",
        facts=(angle(b, a, c, p, name="p"), angle(a, b, c, q, name="q")),
        question=f"Find ∠{a}{c}{b}.",
        figure=figure,
        steps=(Step("r", f"∠{a}{c}{b}", "180 - p - q", ANGLE_SUM, "°"),),
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
    figure = triangle(rng, [b, c, a], p, q)
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
            Step("r", f"∠{b}{a}{c}", "180 - p - q", ANGLE_SUM, "°"),
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
    figure = triangle(rng, [b, c, a], p, q)
    # D lies on BC so that ∠BAD = s: triangle ABD has the angles p and s.
    _, y = figure.at(a)
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
            Step("r", f"∠{b}{a}{c}", "180 - p - q", ANGLE_SUM, "°"),
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


@family("exterior angles", "plane")
def exterior(rng: random.Random) -> Problem:
    """The exterior angle of a triangle is the sum of the two others."""
    return one_of(rng, _exterior, _remote, _exterior_bisected)


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
