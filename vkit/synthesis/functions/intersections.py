"""Where two graphs meet: two lines, a line and a parabola."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate, pleasant
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("intersections", "functions")
def intersections(rng: random.Random) -> Problem:
    """The common point of two lines, from equations or points; those of a line and a parabola."""
    return one_of(rng, _lines, _from_origin, _lines_of_points, _parabola, _apart)


def two_lines(rng: random.Random) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    """f(x) = mx + n and g(x) = px + q, which meet at S (x, y)."""
    values: dict[str, Exact] = {}
    values["m"], values["p"] = (
        evaluate("a", {"a": Fraction(rng.randint(-5, 5), rng.choice([1, 1, 1, 2, 3]))}) for _ in range(2)
    )
    need(values["m"] * values["p"] != 0 and abs(values["m"] - values["p"]) >= Fraction(1, 2))
    x, y = (
        Fraction(rng.randint(-12, 12), rng.choice([1, 1, 2])),
        Fraction(rng.randint(-12, 12), rng.choice([1, 1, 2])),
    )
    values["n"], values["q"] = (evaluate("y - m * x", {"m": values[name], "x": x, "y": y}) for name in "mp")
    need(all(isinstance(values[name], int) and 0 < abs(values[name]) <= 20 for name in "nq"))
    need(x != 0 and y != 0)
    figure = frame([(x, y), (1.6 * x, 1.5 * y), (-0.6 * x, 0), (0, -0.4 * y)], read=False, square=False)
    m, n, p, q = (float(values[name]) for name in "mnpq")
    graph(figure, "f", lambda t: m * t + n)
    graph(figure, "g", lambda t: p * t + q)
    dot(figure, "S", x, y)
    facts = (
        equation(
            figure,
            "f",
            terms((values["m"], "x"), (values["n"], "")),
            "m * x + n",
            {k: values[k] for k in "mn"},
        ),
        equation(
            figure,
            "g",
            terms((values["p"], "x"), (values["q"], "")),
            "p * x + q",
            {k: values[k] for k in "pq"},
        ),
    )
    return figure, facts, values


_S = "The graphs of the linear functions f and g cross at the point S."
_X = Step("x", "the x-coordinate of S", "(q - n) / (m - p)", "At S both values are equal: mx + n = px + q.")
_Y = Step("y", "its y-coordinate", "m * x + n", "It is the value of f there.")


def _lines(rng: random.Random) -> Problem:
    figure, facts, _ = two_lines(rng)
    return Problem(
        form="two lines",
        description=_S,
        facts=facts,
        question="The lines f and g cross at S. Find the coordinates of S.",
        figure=figure,
        steps=(_X, _Y, Step("s", "S", "(x, y)", "Both coordinates make the point.")),
        mistakes=(
            Mistake("(-x, m * (-x) + n)", "the sign of x is lost"),
            Mistake("(y, x)", "the coordinates are exchanged"),
            Mistake("(x, m * x - n)", "the sign of n is lost"),
            Mistake("(-x, -y)", "both signs are lost"),
            Mistake("(x, m * x)", "n is forgotten"),
            Mistake("(x, -y)", "the sign of y is lost"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _from_origin(rng: random.Random) -> Problem:
    figure, facts, _ = two_lines(rng)
    return Problem(
        form="distance from the origin",
        description=_S,
        facts=facts,
        question="The lines f and g cross at S. Find the distance of S from the origin O.",
        figure=figure,
        steps=(
            _X,
            _Y,
            Step("l", "OS", "sqrt(x**2 + y**2)", "By the Pythagorean theorem, from the coordinates of S,"),
        ),
        mistakes=(
            Mistake("abs(x) + abs(y)", "the coordinates are added"),
            Mistake("x**2 + y**2", "the root is forgotten"),
            Mistake("abs(y)", "the y-coordinate alone"),
            Mistake("abs(x)", "the x-coordinate alone"),
            Mistake("2 * l", "a slip in the arithmetic"),
            Mistake("abs(x * y)", "the coordinates are multiplied"),
        ),
        transforms="stretch",
    )


def _lines_of_points(rng: random.Random) -> Problem:
    """Two lines through two read points each."""
    a, b, c, d, e, f, g, h = (rng.randint(-5, 5) for _ in range(8))
    need(c - a >= 3 and g - e >= 3 and abs(d - b) <= 3 * (c - a) and abs(h - f) <= 3 * (g - e))
    m, p = Fraction(d - b, c - a), Fraction(h - f, g - e)
    need(abs(m - p) >= Fraction(1, 2))
    x = (f - p * e - b + m * a) / (m - p)
    y = b + m * (x - a)
    need(pleasant((x, y), denominator=7) and abs(x) <= 6 and abs(y) <= 6)
    spots: list[tuple[Exact, Exact]] = [(a, b), (c, d), (e, f), (g, h), (x, y)]
    need(min(abs(s - u) + abs(t - v) for i, (s, t) in enumerate(spots) for u, v in spots[:i]) >= 1)
    figure = frame(spots, read=True)
    graph(figure, "f", lambda t: b + float(m) * (t - a))
    graph(figure, "g", lambda t: f + float(p) * (t - e))
    facts = (
        point(figure, "A", a, b, names="ab", on="f", read=True),
        point(figure, "B", c, d, names="cd", on="f", read=True),
        point(figure, "C", e, f, names="ef", on="g", read=True),
        point(figure, "D", g, h, names="gh", on="g", read=True),
    )
    return Problem(
        form="lines through points",
        description="One straight line passes through the marked points A and B, another through C and D.",
        facts=facts,
        question="Find the x-coordinate of the point where the lines AB and CD cross.",
        figure=figure,
        steps=(
            Step("m", "the slope of AB", "(d - b) / (c - a)", "The slope is the rise over the run."),
            Step("p", "the slope of CD", "(h - f) / (g - e)", "The slope is the rise over the run."),
            Step("n", "the y-intercept of AB", "b - m * a", "A lies on its line."),
            Step("q", "the y-intercept of CD", "f - p * e", "C lies on its line."),
            Step("x", "x", "(q - n) / (m - p)", "Where the lines cross, both heights are equal."),
        ),
        mistakes=(
            Mistake("m * x + n", "the y-coordinate instead of the x-coordinate"),
            Mistake("-x", "the sign is lost"),
            Mistake("(q + n) / (m - p)", "the sign of n is lost"),
            Mistake("(q - n) / (m + p)" if m + p else "q - n", "the sign of a slope is lost"),
            Mistake("q - n", "the division is forgotten"),
            Mistake("x + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _line_and_parabola(rng: random.Random, surd: bool) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    """f(x) = x² + bx + c and g(x) = mx + n, which meet at A and, right of it, at B."""
    if surd:
        b, m, c, n = (rng.randint(-6, 6), rng.randint(-3, 3), rng.randint(-9, 9), rng.randint(-9, 9))
    else:
        left, right, m, n = rng.randint(-7, 5), rng.randint(-5, 7), rng.randint(-3, 3), rng.randint(-9, 9)
        b, c = m - left - right, n + left * right
    values: dict[str, Exact] = {"b": b, "c": c, "m": m, "n": n}
    values["d"] = evaluate("(b - m)**2 - 4 * (c - n)", values)
    need(m != 0 and b != 0 and c != 0 and n != 0 and b != m and 4 <= values["d"] <= 100 and abs(c) < 40)
    left, right = (evaluate(f"(m - b {sign} sqrt(d)) / 2", values) for sign in "-+")
    places = [(x, evaluate("m * x + n", {"m": m, "n": n, "x": x})) for x in (left, right)]
    vertex = (Fraction(-b, 2), c - Fraction(b * b, 4))
    figure = frame([*places, vertex, (0, 0)], read=False, square=False)
    graph(figure, "f", lambda x: x * x + b * x + c, corners=(-b / 2,))
    graph(figure, "g", lambda x: m * x + n)
    dot(figure, "A", *places[0]), dot(figure, "B", *places[1])
    facts = (
        equation(figure, "f", terms((1, "x²"), (b, "x"), (c, "")), "x**2 + b * x + c", {"b": b, "c": c}),
        equation(figure, "g", terms((m, "x"), (n, "")), "m * x + n", {"m": m, "n": n}),
    )
    return figure, facts, values


_AB = "The graphs of the quadratic function f and the linear function g meet at A and, right of it, at B."
_D = Step(
    "d", "the discriminant", "(b - m)**2 - 4 * (c - n)", "f(x) = g(x) says x² + (b - m)x + (c - n) = 0."
)


def _parabola(rng: random.Random) -> Problem:
    figure, facts, _ = _line_and_parabola(rng, surd=rng.random() < 0.3)
    return Problem(
        form="line and parabola",
        description=_AB,
        facts=facts,
        question="The graphs of f and g meet at A and, right of it, at B. Find the x-coordinate of B.",
        figure=figure,
        steps=(_D, Step("x", "the x-coordinate of B", "(m - b + sqrt(d)) / 2", "It is the larger solution.")),
        mistakes=(
            Mistake("(m - b - sqrt(d)) / 2", "the smaller solution"),
            Mistake("(b - m + sqrt(d)) / 2", "the sign of b - m is lost"),
            Mistake("m - b + sqrt(d)", "the half is forgotten"),
            Mistake("m * x + n", "the y-coordinate instead of the x-coordinate"),
            Mistake("-x", "the sign is lost"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _apart(rng: random.Random) -> Problem:
    figure, facts, _ = _line_and_parabola(rng, surd=rng.random() < 0.5)
    return Problem(
        form="length of the chord",
        description=_AB,
        facts=facts,
        question="The graphs of f and g meet at A and B. Find the distance AB.",
        figure=figure,
        steps=(
            _D,
            Step("w", "the run from A to B", "sqrt(d)", "The two solutions lie so far apart."),
            Step(
                "l",
                "AB",
                "sqrt(w**2 + (m * w)**2)",
                "The rise of the line is m times its run. By the Pythagorean theorem,",
            ),
        ),
        mistakes=(
            Mistake("w", "the run alone"),
            Mistake("w + abs(m) * w", "run and rise are added"),
            Mistake("w**2 + (m * w)**2", "the root is forgotten"),
            Mistake("abs(m) * w", "the rise alone"),
            Mistake("l / 2", "a half too many"),
            Mistake("d", "the root is forgotten"),
        ),
        transforms="stretch",
    )
