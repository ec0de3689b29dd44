"""Angles of lines: on a straight line, at a crossing."""

from __future__ import annotations

import random

from vkit.synthesis.facts import angle, bisector
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import letters, need, on_ray, pose
from vkit.synthesis.plane.equations import equal_in, sum_to, terms_in_x
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

STRAIGHT = "Angles on a straight line sum to 180°"


@family("angles on a line", "plane")
def angles_on_a_line(rng: random.Random) -> Problem:
    """Rays from a point of a line: an angle, the unknown in two, or a bisected one is asked."""
    return one_of(rng, _three_angles, _line_equation, _line_bisector)


def _star(rng: random.Random, directions: dict[str, float], length: float = 1.0) -> Figure:
    """Rays from O in those directions; the first and the last are one line where they are opposite."""
    figure = Figure()
    figure.point("O", 0, 0)
    for name, degrees in directions.items():
        figure.point(name, *on_ray(degrees, length))
        figure.segment("O", name)
    pose(figure, rng)
    return figure


def _three_angles(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p, q = rng.randint(20, 110), rng.randint(20, 110)
    need(p + q <= 160)
    figure = _star(rng, {a: 180, c: 180 - p, d: q, b: 0})
    return Problem(
        form="three angles",
        description=f"The point O lies on the line {a}{b}; "
        f"the rays O{c} and O{d} start at O, on one side of it.",
        facts=(angle(a, "O", c, p, name="p"), angle(d, "O", b, q, name="q")),
        question=f"Find ∠{c}O{d}.",
        figure=figure,
        steps=(Step("r", f"∠{c}O{d}", "180 - p - q", f"{STRAIGHT}.", "°"),),
        mistakes=(
            Mistake("p + q", "the given angles are added and not taken from 180°"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - p - q", "a full turn instead of a straight line"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _line_equation(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    x, first, second = terms_in_x(rng, 180)
    figure = _star(rng, {a: 180, c: 180 - first[0] * x - first[1], b: 0})
    return sum_to(
        180,
        "line equation",
        STRAIGHT,
        x,
        (first, second),
        ((a, "O", c), (c, "O", b)),
        figure,
        f"The point O lies on the line {a}{b}, and the ray O{c} starts at O.",
    )


def _line_bisector(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(25, 90), rng.randint(20, 80)
    half = (180 - p - q) / 2
    need(half >= 18 and (p + q) % 2 == 0)
    figure = _star(rng, {a: 180, d: 180 - half, c: 180 - 2 * half, e: p, b: 0})
    return Problem(
        form="bisector on a line",
        description=f"The point O lies on the line {a}{b}; the rays O{d}, O{c} and O{e} start at O, "
        f"in this order from {a} to {b}.",
        facts=(
            bisector(a, "O", c, d),
            angle(c, "O", e, q, name="q"),
            angle(e, "O", b, p, name="p"),
        ),
        question=f"Find ∠{a}O{d}.",
        figure=figure,
        steps=(
            Step("whole", f"∠{a}O{c}", "180 - q - p", f"{STRAIGHT}.", "°"),
            Step("half", f"∠{a}O{d}", "whole / 2", f"O{d} bisects ∠{a}O{c}.", "°"),
        ),
        mistakes=(
            Mistake("whole", "the angle is not bisected"),
            Mistake("(p + q) / 2", "the other angle is bisected"),
            Mistake("(180 - p) / 2", "one given angle is forgotten"),
            Mistake("(180 - q) / 2", "one given angle is forgotten"),
            Mistake("180 - whole / 2", "the rest of the line"),
        ),
        unit="°",
    )


@family("crossing lines", "plane")
def crossing_lines(rng: random.Random) -> Problem:
    """Lines through one point: vertical angles."""
    return one_of(rng, _vertical_equation, _three_lines, _vertical_bisector)


def _vertical_equation(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    x, first, second = terms_in_x(rng, None)
    need(first[0] > second[0] and second[1] != 0)
    angle_size = first[0] * x + first[1]
    figure = _star(rng, {a: 180, c: 180 - angle_size, b: 0, d: -angle_size})
    return equal_in(
        "vertical equation",
        "Vertical angles are equal",
        x,
        (first, second),
        ((a, "O", c), (b, "O", d)),
        figure,
        f"The lines {a}{b} and {c}{d} cross at O.",
    )


def _three_lines(rng: random.Random) -> Problem:
    a, b, c, d, e, f = letters(rng, 6)
    p, q = rng.randint(22, 110), rng.randint(22, 110)
    need(180 - p - q >= 22)
    figure = _star(rng, {a: 180, c: 180 - p, e: 180 - p - q, b: 0, d: -p, f: -p - q})
    return Problem(
        form="three lines",
        description=f"The lines {a}{b}, {c}{d} and {e}{f} cross at O; around O stand, in this order, "
        f"the rays O{a}, O{c}, O{e}, O{b}, O{d} and O{f}.",
        facts=(angle(a, "O", c, p, name="p"), angle(d, "O", f, q, name="q")),
        question=f"Find ∠{e}O{b}.",
        figure=figure,
        steps=(
            Step("v", f"∠{c}O{e}", "q", f"∠{c}O{e} and ∠{d}O{f} are vertical angles.", "°"),
            Step("r", f"∠{e}O{b}", "180 - p - v", f"{STRAIGHT}.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the sum of the given angles"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - 2 * p - 2 * q", "the rest of the turn is not halved"),
            Mistake("90 - p / 2", "the angle is halved"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _vertical_bisector(rng: random.Random) -> Problem:
    a, b, c, d, e, f = letters(rng, 6)
    p, q = 2 * rng.randint(18, 70), rng.randint(20, 70)
    need(p // 2 + q + 15 <= 180 - p // 2 and abs(p // 2 + q - (180 - p // 2)) > 15)
    # A at 180, C clockwise from it by p, the bisector between; F beyond C by q.
    figure = _star(rng, {a: 180, e: 180 - p / 2, c: 180 - p, b: 0, d: -p, f: 180 - p - q})
    need(180 - p - q >= 15)
    return Problem(
        form="vertical bisector",
        description=f"The lines {a}{b} and {c}{d} cross at O. The ray O{e} lies between O{a} and O{c}, "
        f"the ray O{f} between O{c} and O{b}.",
        facts=(
            angle(b, "O", d, p, name="p"),
            bisector(a, "O", c, e),
            angle(c, "O", f, q, name="q"),
        ),
        question=f"Find ∠{e}O{f}.",
        figure=figure,
        steps=(
            Step("v", f"∠{a}O{c}", "p", f"∠{a}O{c} and ∠{b}O{d} are vertical angles.", "°"),
            Step("h", f"∠{e}O{c}", "v / 2", f"O{e} bisects ∠{a}O{c}.", "°"),
            Step("r", f"∠{e}O{f}", "h + q", f"∠{e}O{f} is made of ∠{e}O{c} and ∠{c}O{f}.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the bisector is overlooked"),
            Mistake("p / 2", "only the half of the angle"),
            Mistake("abs(p / 2 - q)", "the parts are subtracted"),
            Mistake("180 - p - q", "the rest of the line"),
            Mistake("180 - p / 2", "the other side of the line"),
        ),
        unit="°",
    )
