"""Inequalities solved with a graph: where a graph lies over or under an axis, a height, another graph."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate
from vkit.synthesis.functions.lines import through_two_points
from vkit.synthesis.functions.parabolas import draw_parabola, vertex_form
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_FACTORS: tuple[Exact, ...] = (1, Fraction(1, 2), 2)
_MORE_FACTORS: tuple[Exact, ...] = (1, Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), 2)


@family("inequalities", "functions")
def inequalities(rng: random.Random) -> Problem:
    """Intervals, their ends, lengths and whole numbers, from graphs."""
    return one_of(rng, _interval, _whole_numbers, _length, _line, _two_graphs, _absolute)


def _opening(a: Exact) -> str:
    """To which side a parabola with the factor a opens."""
    return "upwards" if a > 0 else "downwards"


def _interval(rng: random.Random) -> Problem:
    """f(x) < g(x) for a parabola and a line that meet at read points: the x between them."""
    read = rng.random() < 0.5
    reach = 5 if read else 20
    p, r, b, d = (rng.randint(-reach, reach) for _ in range(4))
    a = rng.choice(_FACTORS) * rng.choice([1, -1])
    need(2 <= r - p <= (7 if read else 15) and abs(d - b) <= 3 * (r - p))
    need(abs(a) * (r - p) ** 2 / 4 >= 0.3 * max(abs(d - b), r - p), "the parabola hugs the line")
    m = Fraction(d - b, r - p)
    middle = Fraction(p + r, 2)
    figure = frame(
        [(p, b), (r, d), (middle, b + m * (middle - p) + a * (middle - p) * (middle - r))],
        read=read,
        square=read,
    )
    graph(figure, "f", lambda x: b + float(m) * (x - p) + float(a) * (x - p) * (x - r))
    graph(figure, "g", lambda x: b + float(m) * (x - p))
    facts = (
        point(figure, "A", p, b, names="p_", on="f", read=read),
        point(figure, "B", r, d, names="r_", on="g", read=read),
    )
    under = "under" if a > 0 else "over"
    return Problem(
        form=f"parabola {under} a line",
        description=f"A parabola, open {_opening(a)}, and a straight line meet at the marked points A and B.",
        facts=facts,
        question=f"For which x is the parabola {under} the line AB? Give the ends of the interval as (p, q).",
        figure=figure,
        steps=(
            Step(
                "t",
                "(p, q)",
                "(p, r)",
                f"The parabola lies {under} the line between A and B, which gives the x of both.",
            ),
        ),
        mistakes=(
            Mistake("(-r, -p)", "the signs are lost"),
            Mistake(f"({b}, {d})" if b < d else f"({d}, {b})", "the heights instead of the x-coordinates"),
            Mistake("(p - 1, r - 1)", "a square miscounted"),
            Mistake("(p, r + 1)", "a square miscounted"),
            Mistake("(p + 1, r + 1)", "a square miscounted"),
            Mistake("(0, r - p)", "the length of the interval"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _whole_numbers(rng: random.Random) -> Problem:
    read = rng.random() < 0.5
    p, r = rng.randint(-15, 10), rng.randint(-10, 15)
    k = rng.choice([0, rng.randint(-6, 6)])
    a = rng.choice(_MORE_FACTORS) * rng.choice([1, -1])
    need(2 <= r - p <= 20)
    h = Fraction(p + r, 2)
    values: dict[str, Exact] = {
        "a": a,
        "h": h,
        "k": evaluate("k - a * (r - h)**2", {"a": a, "h": h, "r": r, "k": k}),
    }
    need(abs(values["k"]) < 30)
    figure = draw_parabola(values, [(p, k), (r, k)], read=read)
    axes = figure.axes
    assert axes is not None
    if k:
        figure.segment((axes.left, k), (axes.right, k), dashed=True, thin=True)
    facts = (
        point(figure, "A", p, k, names="p_", on="f", read=read),
        point(figure, "B", r, k, names="r_", on="f", read=read),
    )
    sign = "<" if a > 0 else ">"
    closed = rng.random() < 0.5
    sign = {"<": "≤", ">": "≥"}[sign] if closed else sign
    return Problem(
        form="whole numbers, with the ends" if closed else "whole numbers, without the ends",
        description=f"A parabola, open {_opening(a)}, passes through the equally high points A and B.",
        facts=facts,
        question=f"The parabola is the graph of f. How many whole numbers x satisfy f(x) {sign} {k}?",
        figure=figure,
        steps=(
            Step(
                "n",
                "the number",
                "r - p + 1" if closed else "r - p - 1",
                f"It holds between A and B, {'the ends included' if closed else 'without the ends'}.",
            ),
        ),
        mistakes=(
            Mistake("r - p", "the length of the interval is taken for the number"),
            Mistake("r - p - 1" if closed else "r - p + 1", "the ends are treated the wrong way"),
            Mistake("r", "counted from 0"),
            Mistake("abs(p)", "counted to 0"),
            Mistake("n + 2", "two ends too many"),
            Mistake("n + 3", "a slip in the counting"),
        ),
        transforms="stretch",
    )


def _length(rng: random.Random) -> Problem:
    """How long f(x) lies under a height, from vertex and a point."""
    read = rng.random() < 0.5
    values = vertex_form(rng)
    u = values["h"] + rng.choice([-3, -2, -1, 1, 2, 3, 4])
    v = evaluate("a * (u - h)**2 + k", {**values, "u": u})
    need(isinstance(v, int) and abs(v - values["k"]) <= (8 if read else 25))
    t = values["k"] + rng.randint(1, 24) * (1 if values["a"] > 0 else -1)
    need(t != v)
    figure = draw_parabola(values, [(u, v)], read=read)
    facts = (
        point(figure, "S", values["h"], values["k"], names="hk", on="f", read=read),
        point(figure, "P", u, v, names="uv", on="f", read=read),
    )
    sign = "<" if values["a"] > 0 else ">"
    return Problem(
        form="length of an interval",
        description="The graph of the function f is a parabola with the vertex S; the point P lies on it.",
        facts=facts,
        question=f"The parabola with the vertex S is that of f. How long is the interval of f(x) {sign} {t}?",
        figure=figure,
        steps=(
            Step("a", "a", "(v - k) / (u - h)**2", "P lies on y = a(x - h)² + k."),
            Step("s", "half of the length", f"sqrt(({t} - k) / a)", f"At the ends a(x - h)² + k = {t}."),
            Step("l", "the length", "2 * s", "The interval reaches to both sides of the axis."),
        ),
        mistakes=(
            Mistake("s", "only one side of the axis"),
            Mistake("2 * s**2", "the root is forgotten"),
            Mistake("s**2", "the root is forgotten, and one side"),
            Mistake(f"2 * sqrt(abs({t} - k))", "the factor a is forgotten"),
            Mistake("4 * s", "doubled twice"),
            Mistake("abs(v - k)", "the height of P over S"),
        ),
        transforms="stretch",
    )


def _line(rng: random.Random) -> Problem:
    figure, facts, values = through_two_points(rng)
    t = rng.randint(-15, 15)
    need(t not in (values["b"], values["d"]))
    sign = "≥" if values["m"] > 0 else "≤"
    return Problem(
        form="line",
        description="The graph of the function f is a straight line through the marked points A and B.",
        facts=facts,
        question=f"The line through A and B is the graph of f. f(x) {sign} {t} holds where x ≥ q. Find q.",
        figure=figure,
        steps=(
            Step(
                "m", "the slope", "(d - b) / (c - a)", "The slope is the rise over the run between A and B."
            ),
            Step("q", "q", f"a + ({t} - b) / m", f"It is the x where f(x) = {t}."),
        ),
        mistakes=(
            Mistake(f"b + m * ({t} - a)", f"f({t}) instead of the x where f is {t}"),
            Mistake(f"a - ({t} - b) / m", "the sign of the slope is lost"),
            Mistake(f"a + ({t} - b) * m", "multiplied by the slope"),
            Mistake("-q", "the sign is lost"),
            Mistake("q + 1", "a square miscounted"),
            Mistake(f"{t}", "the height instead of x"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _two_graphs(rng: random.Random) -> Problem:
    """x² + bx + c < mx + n, from the equations."""
    p, r, m, n = rng.randint(-8, 5), rng.randint(-5, 8), rng.randint(-4, 4), rng.randint(-12, 12)
    need(2 <= r - p <= 9 and m != 0 and n != 0)
    b, c = m - p - r, n + p * r
    need(b != 0 and c != 0 and abs(c) < 40)
    figure = frame(
        [(p, m * p + n), (r, m * r + n), (Fraction(-b, 2), c - Fraction(b * b, 4))], read=False, square=False
    )
    graph(figure, "f", lambda x: x * x + b * x + c, corners=(-b / 2,))
    graph(figure, "g", lambda x: m * x + n)
    dot(figure, "A", p, m * p + n), dot(figure, "B", r, m * r + n)
    facts = (
        equation(figure, "f", terms((1, "x²"), (b, "x"), (c, "")), "x**2 + b * x + c", {"b": b, "c": c}),
        equation(figure, "g", terms((m, "x"), (n, "")), "m * x + n", {"m": m, "n": n}),
    )
    return Problem(
        form="two graphs",
        description="The graphs of the quadratic function f and the linear function g meet at A and B.",
        facts=facts,
        question="For which x is f(x) < g(x)? Give the ends of the interval as (p, q).",
        figure=figure,
        steps=(
            Step(
                "d",
                "the discriminant",
                "(b - m)**2 - 4 * (c - n)",
                "f(x) = g(x) says x² + (b - m)x + (c - n) = 0.",
            ),
            Step("p", "p", "(m - b - sqrt(d)) / 2", "It is the smaller solution."),
            Step("q", "q", "(m - b + sqrt(d)) / 2", "It is the larger solution."),
            Step("t", "(p, q)", "(p, q)", "Between them the parabola, open upwards, lies under the line."),
        ),
        mistakes=(
            Mistake("(-q, -p)", "the signs are lost"),
            Mistake("(2 * p, 2 * q)", "the half is forgotten"),
            Mistake("(p + 1, q + 1)", "a slip in the arithmetic"),
            Mistake("(p - 1, q)", "a slip in the arithmetic"),
            Mistake("(0, q - p)", "the length of the interval"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _absolute(rng: random.Random) -> Problem:
    """a|x - h| + k < t, from corner and point."""
    read = rng.random() < 0.5
    a = Fraction(rng.randint(1, 4), rng.choice([1, 1, 2, 3])) * rng.choice([1, -1])
    h, k = rng.randint(-6, 6), rng.randint(-6, 6)
    u = h + rng.choice([-1, 1]) * rng.randint(1, 6)
    v = evaluate("a * abs(u - h) + k", {"a": a, "u": u, "h": h, "k": k})
    need(isinstance(v, int) and abs(v) <= (6 if read else 15))
    t = k + rng.randint(1, 18) * (1 if a > 0 else -1)
    need(t != v)
    figure = frame([(h, k), (u, v), (2 * h - u, v)], read=read, square=read)
    graph(figure, "f", lambda x: float(a) * abs(x - h) + k, corners=(h,))
    facts = (
        point(figure, "S", h, k, names="hk", on="f", read=read),
        point(figure, "P", u, v, names="uv", on="f", read=read),
    )
    sign = "<" if a > 0 else ">"
    return Problem(
        form="absolute value",
        description="The graph of f consists of two rays from the corner S; the point P lies on it.",
        facts=facts,
        question=(
            f"The graph of f(x) = a|x - h| + k has the corner S and the point P. Where is f(x) {sign} {t}? "
            "Give the ends of the interval as (p, q)."
        ),
        figure=figure,
        steps=(
            Step("a", "a", "(v - k) / abs(u - h)", "P lies on y = a|x - h| + k."),
            Step("s", "half of the length", f"({t} - k) / a", f"At the ends a|x - h| + k = {t}."),
            Step("i", "(p, q)", "(h - s, h + s)", "The interval reaches to both sides of the corner."),
        ),
        mistakes=(
            Mistake("(-h - s, -h + s)", "the sign of h is lost"),
            Mistake("(-s, s)", "the corner is supposed on the y-axis"),
            Mistake("(h, h + s)", "only one side of the corner"),
            Mistake(f"(h - abs({t} - k), h + abs({t} - k))", "the factor is forgotten"),
            Mistake("(h - 2 * s, h + 2 * s)", "twice the length"),
        ),
        sizes=False,
        transforms="stretch",
    )
