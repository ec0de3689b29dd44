"""Angles of lines: on a straight line, at a crossing, between parallels."""

from __future__ import annotations

import random

from vkit.synthesis.claims import IsOnLine
from vkit.synthesis.facts import Fact, angle, angle_with_unknown, bisector, parallel
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import letters, linear, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family

_LINE = "Angles on a straight line sum to 180°"


@family("angles on a line", "plane")
def angles_on_a_line(rng: random.Random) -> Problem:
    """Rays from a point of a line: an angle, the unknown in two, or a bisected one is asked."""
    return rng.choice((_three_angles, _line_equation, _line_bisector))(rng)


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
    need(20 <= 180 - p - q)
    figure = _star(rng, {a: 180, c: 180 - p, d: q, b: 0})
    return Problem(
        form="three angles",
        description=f"The point O lies on the line {a}{b}; the rays O{c} and O{d} start at O, on one side of it.",
        facts=(angle(a, "O", c, p, name="p"), angle(d, "O", b, q, name="q")),
        question=f"Find ∠{c}O{d}.",
        figure=figure,
        steps=(Step("r", f"∠{c}O{d}", "180 - p - q", f"{_LINE}.", "°"),),
        mistakes=(
            Mistake("p + q", "the given angles are added and not taken from 180°"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - p - q", "a full turn instead of a straight line"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def terms_in_x(rng: random.Random, total: int | None) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """x and two terms (factor, constant) in it: with that sum, or equal where there is none."""
    x, m, n = rng.randint(6, 45), rng.randint(1, 7), rng.randint(1, 7)
    k = rng.choice([0, rng.randint(3, 60), -rng.randint(3, 40)])
    rest = (total - m * x - k) if total is not None else m * x + k
    l = rest - n * x  # noqa: E741
    need(m != n and abs(l) <= 80 and 25 <= m * x + k <= 150 and 25 <= rest <= 150)
    return x, (m, k), (n, l)


def _signed(name: str, constant: int, sign: int = 1) -> str:
    """A constant's part of an expression, by the name of its size: " + k", " - k" or nothing."""
    return "" if constant == 0 else f" {'+' if constant * sign > 0 else '-'} {name}"


def _sizes(names: str, *terms: tuple[int, int]) -> list[dict[str, int]]:
    """The numbers of terms by name: factor and the constant's size, where there is one."""
    pairs = [(names[2 * i], names[2 * i + 1], term) for i, term in enumerate(terms)]
    return [{f: m} | ({c: abs(k)} if k else {}) for f, c, (m, k) in pairs]


def sum_to(
    total: int,
    form: str,
    rule: str,
    x: int,
    terms: tuple[tuple[int, int], tuple[int, int]],
    angles: tuple[tuple[str, str, str], tuple[str, str, str]],
    figure: Figure,
    description: str,
    more_facts: tuple[Fact, ...] = (),
) -> Problem:
    """Two angles in x that sum to ``total``; x is asked."""
    (m, k), (n, l) = terms  # noqa: E741
    first, second = _sizes("mknl", *terms)
    values = {"x": x}
    texts = linear(m, k), linear(n, l)
    return Problem(
        form=form,
        description=description,
        facts=(
            *more_facts,
            angle_with_unknown(*angles[0], texts[0], m * values["x"] + k, values=first),
            angle_with_unknown(*angles[1], texts[1], n * values["x"] + l, values=second),
        ),
        question="Find the value of x.",
        figure=figure,
        steps=(
            Step("s", "the sum of the factors of x", "m + n", f"{rule}: {texts[0]} + {texts[1]} = {total}°."),
            Step(
                "x",
                "x",
                f"({total}{_signed('k', k, -1)}{_signed('l', l, -1)}) / s",
                "The constants are taken to the other side.",
            ),
        ),
        mistakes=(
            Mistake(
                f"({total}{_signed('k', k)}{_signed('l', l)}) / s", "the signs of the constants are lost"
            ),
            Mistake(f"m * x{_signed('k', k)}", "the first angle instead of x"),
            Mistake(f"n * x{_signed('l', l)}", "the second angle instead of x"),
            Mistake(f"{total} / s", "the constants are forgotten"),
            Mistake(
                f"({360 - total}{_signed('k', k, -1)}{_signed('l', l, -1)}) / s", "another sum of angles"
            ),
            Mistake("x + 5", "a slip in the arithmetic"),
            Mistake("x + 10", "a slip in the arithmetic"),
        ),
    )


def equal_in(
    form: str,
    rule: str,
    x: int,
    terms: tuple[tuple[int, int], tuple[int, int]],
    angles: tuple[tuple[str, str, str], tuple[str, str, str]],
    figure: Figure,
    description: str,
    more_facts: tuple[Fact, ...] = (),
) -> Problem:
    """Two equal angles in x; x is asked. The first has the larger factor."""
    (m, k), (n, l) = terms  # noqa: E741
    first, second = _sizes("mknl", *terms)
    texts = linear(m, k), linear(n, l)
    return Problem(
        form=form,
        description=description,
        facts=(
            *more_facts,
            angle_with_unknown(*angles[0], texts[0], m * x + k, values=first),
            angle_with_unknown(*angles[1], texts[1], n * x + l, values=second),
        ),
        question="Find the value of x.",
        figure=figure,
        steps=(
            Step("d", "the difference of the factors of x", "m - n", f"{rule}: {texts[0]} = {texts[1]}."),
            Step(
                "x",
                "x",
                f"({'l' if l > 0 else '-l'}{_signed('k', k, -1)}) / d",
                "The terms in x are taken to one side.",
            ),
        ),
        mistakes=(
            Mistake(f"({'l' if l > 0 else '-l'}{_signed('k', k)}) / d", "a sign is lost"),
            Mistake(f"m * x{_signed('k', k)}", "the angle instead of x"),
            Mistake(
                f"(180{_signed('k', k, -1)}{_signed('l', l, -1)}) / (m + n)", "the sum is taken for 180°"
            ),
            Mistake(f"abs({'l' if l > 0 else '-l'}{_signed('k', k, -1)}) / (m + n)", "the factors are added"),
            Mistake(f"180 - m * x{_signed('k', k, -1)}", "the neighbouring angle"),
            Mistake("x + 5", "a slip in the arithmetic"),
        ),
    )


def _line_equation(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    x, first, second = terms_in_x(rng, 180)
    figure = _star(rng, {a: 180, c: 180 - first[0] * x - first[1], b: 0})
    return sum_to(
        180,
        "line equation",
        _LINE,
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
            Step("whole", f"∠{a}O{c}", "180 - q - p", f"{_LINE}.", "°"),
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
    return rng.choice((_vertical_equation, _three_lines, _vertical_bisector))(rng)


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
        description=f"The lines {a}{b}, {c}{d} and {e}{f} cross at O.",
        facts=(angle(a, "O", c, p, name="p"), angle(d, "O", f, q, name="q")),
        question=f"Find ∠{e}O{b}.",
        figure=figure,
        steps=(
            Step("v", f"∠{c}O{e}", "q", f"∠{c}O{e} and ∠{d}O{f} are vertical angles.", "°"),
            Step("r", f"∠{e}O{b}", "180 - p - v", f"{_LINE}.", "°"),
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


@family("parallel lines", "plane")
def parallel_lines(rng: random.Random) -> Problem:
    """Parallels and what crosses them."""
    return rng.choice((_transversal, _transversal, _zigzag, _triangle_between))(rng)


def _transversal(rng: random.Random) -> Problem:
    a, b, c, d, e, f, g, h = letters(rng, 8)
    kind = rng.choice(("alternate", "corresponding", "co-interior"))
    x, first, second = terms_in_x(rng, 180 if kind == "co-interior" else None)
    need(kind == "co-interior" or (first[0] > second[0] and second[1] != 0))
    size = first[0] * x + first[1]  # of the angle on the upper line
    need(35 <= size <= 145)
    figure = Figure()
    # The upper line AB with G, the lower CD with H; ∠AGH or ∠EGB or ∠BGH is the first angle.
    lean = 180 - size if kind == "co-interior" else size
    shift = 0.9 * on_ray(lean)[0] / on_ray(lean)[1]
    for name, x_, y in ((a, -1.3, 0.9), (b, 1.3, 0.9), (g, shift / 2, 0.9), (c, -1.3, 0), (d, 1.3, 0)):
        figure.point(name, x_, y)
    figure.point(h, -shift / 2, 0)
    for name, y in ((e, 1.55), (f, -0.65)):
        figure.point(name, shift / 0.9 * (y - 0.45), y)
    for start, middle, end in ((a, g, b), (c, h, d)):
        figure.segment(start, middle, end)
    figure.segment(e, g, h, f)
    need(abs(figure.at(e)[0]) < 1.6)
    pose(figure, rng)
    parallels = parallel((a, b), (c, d))
    where = f"The line {e}{f} crosses the lines {a}{b} and {c}{d} at {g} and {h}."
    if kind == "co-interior":
        return sum_to(
            180,
            "co-interior",
            "Co-interior angles between parallels sum to 180°",
            x,
            (first, second),
            ((b, g, h), (g, h, d)),
            figure,
            where,
            (parallels,),
        )
    if kind == "alternate":
        pair, rule = ((a, g, h), (g, h, d)), "Alternate angles at parallels are equal"
    else:
        pair, rule = ((e, g, b), (g, h, d)), "Corresponding angles at parallels are equal"
    return equal_in(kind, rule, x, (first, second), pair, figure, where, (parallels,))


def _zigzag(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(20, 70), rng.randint(20, 70)
    figure = Figure()
    top, bottom = on_ray(p), on_ray(-q)
    lower = rng.uniform(0.7, 1.3)
    figure.point(e, 0, 0)
    figure.point(b, *top), figure.point(a, top[0] - 1.8, top[1])
    (
        figure.point(d, bottom[0] * lower, bottom[1] * lower),
        figure.point(c, bottom[0] * lower - 1.8, bottom[1] * lower),
    )
    figure.segment(a, b, e, d, c)
    pose(figure, rng)
    return Problem(
        form="zigzag",
        description=f"The point {e} lies between the lines {a}{b} and {c}{d}; the segments {b}{e} and {e}{d} are drawn.",
        facts=(
            parallel((a, b), (c, d)),
            angle(a, b, e, p, name="p"),
            angle(c, d, e, q, name="q"),
        ),
        question=f"Find ∠{b}{e}{d}.",
        figure=figure,
        steps=(
            Step(
                "r",
                f"∠{b}{e}{d}",
                "p + q",
                f"The parallel to {a}{b} through {e} cuts ∠{b}{e}{d} into two angles, alternate to the given ones.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("180 - p - q", "the rest of a triangle"),
            Mistake("180 - p", "a co-interior angle"),
            Mistake("180 - q", "a co-interior angle"),
            Mistake("360 - p - q", "the reflex angle"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _triangle_between(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(28, 90), rng.randint(28, 90)
    need(180 - p - q >= 25)
    height = 1.0
    left, right = on_ray(180 + p), on_ray(-q)
    figure = Figure()
    figure.point(e, 0, 0, dot=False)
    (
        figure.point(c, left[0] / -left[1] * height, -height),
        figure.point(d, right[0] / -right[1] * height, -height),
    )
    width = figure.length(c, d)
    need(0.6 <= width <= 4)
    figure.point(a, -max(0.8, width / 2), 0), figure.point(b, max(0.8, width / 2), 0)
    figure.segment(a, e, b)
    figure.polygon(e, c, d)
    pose(figure, rng)
    return Problem(
        form="triangle between parallels",
        description=f"The point {e} lies on the line {a}{b}; {e}, {c} and {d} are the corners of a triangle.",
        facts=(
            Fact(*_on_line_parallel(a, b, c, d, e)),
            angle(a, e, c, p, name="p"),
            angle(e, d, c, q, name="q"),
        ),
        question=f"Find ∠{c}{e}{d}.",
        figure=figure,
        steps=(
            Step(
                "s", f"∠{e}{c}{d}", "p", f"∠{a}{e}{c} and ∠{e}{c}{d} are alternate angles at parallels.", "°"
            ),
            Step("r", f"∠{c}{e}{d}", "180 - s - q", "The angles of a triangle sum to 180°.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the sum of the given angles"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - p - q", "the sum of a quadrilateral"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _on_line_parallel(a: str, b: str, c: str, d: str, e: str) -> tuple:
    fact = parallel((a, b), (c, d))
    return fact.text, fact.marks, (*fact.claims, IsOnLine(e, a, b))
