"""Shifted, stretched and mirrored graphs, and inverse functions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from vkit.synthesis.claims import IsOnGraph
from vkit.synthesis.exact import Exact, as_float, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.lines import through_two_points
from vkit.synthesis.functions.plots import (
    beside,
    dot,
    equation,
    frame,
    graph,
    less,
    named,
    need,
    point,
    terms,
)
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@dataclass(frozen=True)
class IsTransformed:
    """The graph of g is that of a · f(x - h) + k."""

    a: Exact
    h: Exact
    k: Exact

    def wrong(self, figure: Figure) -> str | None:
        f, g = figure.functions["f"], figure.functions["g"]
        for x in range(-5, 6):
            expected = as_float(self.a) * f(x - self.h) + self.k
            if abs(g(x) - expected) > 1e-6:
                return f"g({x}) is {g(x):.6g} in the figure and {expected:.6g} in the problem"
        return None


@family("transformed graphs", "functions")
def transformed_graphs(rng: random.Random) -> Problem:
    """The shift between two graphs; the image of a point, or a value, of a · f(x - h) + k."""
    return one_of(rng, _shift, _image, _value)


_SHAPES: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("parabola", lambda x: x * x / 2),
    ("parabola", lambda x: -x * x / 3),
    ("parabola", lambda x: x * x),
    ("angle", lambda x: 2 * abs(x)),
    ("angle", lambda x: -abs(x)),
)


def _shift(rng: random.Random) -> Problem:
    read = rng.random() < 0.6
    reach = 5 if read else 12
    a, b, c, d = (rng.randint(-reach, reach) for _ in range(4))
    need(abs(c - a) >= 2 and abs(d - b) >= 1)
    shape, f = rng.choice(_SHAPES)
    sign = 1 if f(1) > 0 else -1
    top = max(b, d) if sign > 0 else min(b, d)
    more = [(min(a, c), top + 3 * sign), (max(a, c), top + 3 * sign)]
    figure = frame([(a, b), (c, d), *more], read=read)
    graph(figure, "f", lambda x: f(x - a) + b, corners=(a,))
    graph(figure, "g", lambda x: f(x - c) + d, corners=(c,), dashed=True)
    facts = (
        point(figure, "S", a, b, names="ab", on="f", read=read),
        point(figure, "T", c, d, names="cd", on="g", read=read),
        Fact(
            "the dashed graph is that of f, shifted so that S comes to T",
            claims=(IsTransformed(1, c - a, d - b),),
        ),
    )
    named(figure, "f"), named(figure, "g")
    word = "vertex" if shape == "parabola" else "corner"
    return Problem(
        form="shift",
        description=f"The graph of f has the {word} S; the dashed one of g is like it, with the {word} T.",
        facts=facts,
        question="The dashed graph has the equation g(x) = f(x - h) + k. Find the pair (h, k).",
        figure=figure,
        steps=(
            Step("h", "h", "c - a", "The graph is shifted to the right from the x of S to that of T."),
            Step("k", "k", "d - b", "It is shifted upwards from the y of S to that of T."),
            Step("s", "(h, k)", "(h, k)", "Both make the shift."),
        ),
        mistakes=(
            Mistake("(-h, k)", "the sign of the shift to the right is lost"),
            Mistake("(-h, -k)", "shifted from T to S"),
            Mistake("(k, h)", "x and y are exchanged"),
            Mistake("(h, -k)", "the sign of the shift upwards is lost"),
            Mistake("(c, d)", "the place of T instead of the shift"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _transformed(rng: random.Random, names: str) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact], str]:
    """f with P (p, q) on it, and g(x) = a · f(x - h) + k; ``names``: of a, h, k, p, q those that are used."""
    read = rng.random() < 0.4
    reach = 5 if read else 9
    a: Exact = rng.choice([1, 1, -1, 2, -2, 3, Fraction(1, 2)])
    p, q, h, k = (
        rng.randint(-reach, reach),
        rng.randint(-reach, reach),
        rng.randint(-5, 5),
        rng.randint(-6, 6),
    )
    need(q != 0 and (a != 1 or h != 0 or k != 0) and (h != 0 or k != 0))
    u, v = p + h, evaluate("a * q + k", {"a": a, "q": q, "k": k})
    s = p + rng.choice([-2, -1, 1, 2])  # the vertex of f lies beside P
    _, shape = rng.choice(_SHAPES)
    b = q - shape(p - s)
    places = [(s, b), (p, q), (u, v), (s + h, float(a) * b + k)]
    need(abs(p - u) + abs(q - v) >= 2)
    figure = frame(places, read=read)
    graph(figure, "f", lambda x: shape(x - s) + b, corners=(s,))
    graph(figure, "g", lambda x: float(a) * (shape(x - h - s) + b) + k, corners=(s + h,), dashed=True)
    given = point(figure, "P", p, q, names="pq" if "p" in names else "_q", on="f", read=read)
    inside = "f" + (less("x", h) if h else "(x)")
    text = f"g(x) = {terms((a, inside), (k, ''))}"
    values: dict[str, Exact] = {"a": a, "h": h, "k": k}
    used = {name: values[name] for name in "ahk" if name in names}
    fact = Fact(text, (beside(figure, "g", text),), (IsOnGraph("g", u, v), IsTransformed(a, h, k)), used)
    named(figure, "f")
    return figure, (given, fact), {**values, "p": p, "q": q, "u": u, "v": v}, text


_G = "The point P lies on the graph of f; the dashed graph of g comes from it."


def _image(rng: random.Random) -> Problem:
    figure, facts, values, _ = _transformed(rng, "ahkpq")
    dot(figure, "Q", values["u"], values["v"])
    return Problem(
        form="image of a point",
        description=f"{_G} The point P comes to Q.",
        facts=facts,
        question="The graph of f becomes the dashed graph of g, and P comes to Q. Find the coordinates of Q.",
        figure=figure,
        steps=(
            Step("u", "the x-coordinate of Q", "p + h", "f(x - h) takes the values of f further right by h."),
            Step(
                "v",
                "its y-coordinate",
                "a * q + k",
                "The height is multiplied by the factor, then k is added.",
            ),
            Step("w", "Q", "(u, v)", "Both coordinates make the point."),
        ),
        mistakes=(
            Mistake("(p - h, v)", "shifted to the wrong side"),
            Mistake("(u, a * q - k)", "shifted the wrong way up"),
            Mistake("(u, q + k)", "the factor is forgotten"),
            Mistake("(u, a * (q + k))", "added before the height is multiplied"),
            Mistake("(p + k, a * q + h)", "the two shifts are exchanged"),
            Mistake("(v, u)", "the coordinates are exchanged"),
            Mistake("(u, -v)", "the sign is lost"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _value(rng: random.Random) -> Problem:
    figure, facts, values, text = _transformed(rng, "akq")
    t, p, h = values["u"], values["p"], values["h"]
    return Problem(
        form="value of the image",
        description=_G,
        facts=facts,
        question=f"P lies on the graph of f, and the dashed graph is that of g. Find g({t}).",
        figure=figure,
        steps=(
            Step(
                "v",
                f"g({t})",
                "a * q + k",
                f"{text} and {t if h == 0 else f'{t} - ({h})' if h < 0 else f'{t} - {h}'} = {p}, the x of P.",
            ),
        ),
        mistakes=(
            Mistake("q", "the value of f"),
            Mistake("a * q - k", "shifted the wrong way up"),
            Mistake("q + k", "the factor is forgotten"),
            Mistake("a * (q + k)", "added before the height is multiplied"),
            Mistake("a * q", "the shift upwards is forgotten"),
            Mistake("-v", "the sign is lost"),
            Mistake("v + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


@family("inverse functions", "functions")
def inverse_functions(rng: random.Random) -> Problem:
    """Values, slope and equation of the inverse of a line, and where a line meets its inverse."""
    return one_of(rng, _inverse_value, _inverse_slope, _inverse_equation, _fixed_point)


_AB = "The graph of the function f is a straight line through the marked points A and B."
_M = Step("m", "the slope of f", "(d - b) / (c - a)", "The slope is the rise over the run between A and B.")


def _inverse_value(rng: random.Random) -> Problem:
    figure, facts, values = through_two_points(rng)
    t = rng.choice([-1, 1]) * rng.randint(1, 20)
    need(t not in (values["b"], values["d"]))
    return Problem(
        form="value of the inverse",
        description=_AB,
        facts=facts,
        question=f"The line through A and B is the graph of f, and g is the inverse of f. Find g({t}).",
        figure=figure,
        steps=(_M, Step("x", f"g({t})", f"a + ({t} - b) / m", f"It is the x where f(x) = {t}.")),
        mistakes=(
            Mistake(f"b + m * ({t} - a)", f"f({t}) instead of the inverse"),
            Mistake(
                f"1 / (b + m * ({t} - a))" if values["b"] + values["m"] * (t - values["a"]) else "m",
                "one over the value of f",
            ),
            Mistake(f"a - ({t} - b) / m", "the sign of the slope is lost"),
            Mistake(f"a + ({t} - b) * m", "multiplied by the slope"),
            Mistake("-x", "the sign is lost"),
            Mistake("x + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _inverse_slope(rng: random.Random) -> Problem:
    figure, facts, _ = through_two_points(rng)
    return Problem(
        form="slope of the inverse",
        description=_AB,
        facts=facts,
        question="The line through A and B is the graph of f. Find the slope of its inverse function.",
        figure=figure,
        steps=(
            _M,
            Step("p", "the slope of the inverse", "1 / m", "Mirrored at y = x, rise and run are exchanged."),
        ),
        mistakes=(
            Mistake("m", "the slope of f"),
            Mistake("-1 / m", "the slope of a perpendicular"),
            Mistake("-m", "the sign is changed only"),
            Mistake("c - a", "the run alone"),
            Mistake("p + 1", "a slip in the arithmetic"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _line(rng: random.Random) -> dict[str, Exact]:
    m = Fraction(rng.randint(1, 12), rng.choice([1, 1, 2, 3, 4, 5])) * rng.choice([1, 1, -1])
    return {"m": evaluate("m", {"m": m}), "n": rng.randint(1, 30) * rng.choice([1, -1])}


def _with_inverse(rng: random.Random) -> tuple[Figure, Fact, dict[str, Exact], Exact]:
    """A line f, its mirror image g at the dashed line y = x, and where they meet."""
    values = _line(rng)
    m, n = float(values["m"]), values["n"]
    need(abs(m) != 1 and 0.25 <= abs(m) <= 4)
    x = evaluate("n / (1 - m)", values)
    figure = frame([(x, x), (0, n), (n, 0), (1.4 * x, 1.4 * x), (-x / 4, -x / 4)], read=False)
    graph(figure, "f", lambda t: m * t + n)
    graph(figure, "g", lambda t: (t - n) / m)
    axes = figure.axes
    assert axes is not None
    low, high = max(axes.left, axes.bottom), min(axes.right, axes.top)
    figure.segment((low, low), (high, high), dashed=True, thin=True)
    fact = equation(figure, "f", terms((values["m"], "x"), (n, "")), "m * x + n", values)
    return figure, fact, values, x


_MIRRORED = (
    "The graph of the inverse function g is that of the linear function f, mirrored at the dashed line y = x."
)


def _inverse_equation(rng: random.Random) -> Problem:
    figure, fact, _, _ = _with_inverse(rng)
    named(figure, "g")
    return Problem(
        form="equation of the inverse",
        description=_MIRRORED,
        facts=(fact,),
        question="The inverse function of f is g(x) = px + q. Find the pair (p, q).",
        figure=figure,
        steps=(
            Step("p", "p", "1 / m", "y = mx + n is solved for x: x = (y - n) / m."),
            Step("q", "q", "-n / m", "The constant is divided by m too."),
            Step("t", "(p, q)", "(p, q)", "Both make the equation."),
        ),
        mistakes=(
            Mistake("(p, -n)", "the constant is not divided"),
            Mistake("(p, n / m)", "the sign of the constant is lost"),
            Mistake("(-m, -n)", "the signs are changed only"),
            Mistake("(p, 1 / n)", "each number is turned upside down"),
            Mistake("(q, p)", "slope and constant are exchanged"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _fixed_point(rng: random.Random) -> Problem:
    figure, fact, _, x = _with_inverse(rng)
    dot(figure, "S", x, x)
    named(figure, "g")
    return Problem(
        form="meeting the inverse",
        description=f"{_MIRRORED} They meet at S.",
        facts=(fact,),
        question="The graphs of f and of its inverse function g meet at S. Find the x-coordinate of S.",
        figure=figure,
        steps=(Step("x", "x", "n / (1 - m)", "They meet on y = x, where mx + n = x."),),
        mistakes=(
            Mistake("n / (1 + m)", "the sign of x is lost"),
            Mistake("-n / m", "the zero of f"),
            Mistake("n / (m - 1)", "the sign is lost"),
            Mistake("n", "the y-intercept of f"),
            Mistake("(1 - m) / n", "divided the wrong way around"),
        ),
        sizes=False,
        transforms="stretch",
    )
