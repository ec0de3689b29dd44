"""Parabolas from their equation: vertex, extremum, zeros; and what all families draw parabolas with."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate, pleasant
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_FACTORS: tuple[Exact, ...] = (1, 1, 1, 2, 3, Fraction(1, 2), Fraction(1, 2), Fraction(1, 4))


@family("quadratic functions", "functions")
def quadratic_functions(rng: random.Random) -> Problem:
    """Vertex, extremum and zeros of a parabola from its equation."""
    return one_of(rng, _vertex, _extremum, _zeros_apart, _larger_zero)


def vertex_form(rng: random.Random) -> dict[str, Exact]:
    """The factor a and the vertex (h, k) of a parabola, and b and c of ax² + bx + c."""
    a = rng.choice(_FACTORS) * rng.choice([1, -1])
    values: dict[str, Exact] = {"a": a, "h": rng.randint(-6, 6), "k": rng.randint(-9, 9)}
    values["b"] = evaluate("-2 * a * h", values)
    values["c"] = evaluate("a * h**2 + k", values)
    return values


def draw_parabola(values: dict[str, Exact], more: list[tuple[Exact, Exact]], *, read: bool = False) -> Figure:
    """A frame around the vertex, both arms and more places, and the parabola f in it."""
    a, h, k = float(values["a"]), float(values["h"]), float(values["k"])
    places = [(h, k), *more]
    if not read:
        rise = max([abs(float(y) - k) for _, y in more] + [abs(k), 2.0])
        reach = (rise / abs(a)) ** 0.5
        places += [(h - reach, k), (h + reach, k + (rise if a > 0 else -rise))]
    figure = frame(places, read=read, square=read)
    graph(figure, "f", lambda x: a * (x - h) ** 2 + k, corners=(h,))
    return figure


def standard_form(values: dict[str, Exact]) -> str:
    """The right side ax² + bx + c."""
    return terms((values["a"], "x²"), (values["b"], "x"), (values["c"], ""))


def _equation(figure: Figure, values: dict[str, Exact], used: str) -> Fact:
    fact = equation(figure, "f", standard_form(values), "a * x**2 + b * x + c", {n: values[n] for n in "abc"})
    return Fact(fact.text, fact.marks, fact.claims, {name: values[name] for name in used})


_H = Step(
    "h", "the x-coordinate of the vertex", "-b / (2 * a)", "The vertex of ax² + bx + c lies at x = -b/(2a)."
)
_K = Step("k", "its y-coordinate", "a * h**2 + b * h + c", "Its height is the value of f there.")


def _with_vertex(rng: random.Random) -> tuple[Figure, dict[str, Exact], str]:
    values = vertex_form(rng)
    need(values["b"] != 0)
    figure = draw_parabola(values, [(0, values["c"])])
    dot(figure, "S", values["h"], values["k"])
    return figure, values, "The graph of the function f is a parabola with the vertex S."


def _vertex(rng: random.Random) -> Problem:
    figure, values, description = _with_vertex(rng)
    return Problem(
        form="vertex",
        description=description,
        facts=(_equation(figure, values, "abc"),),
        question="Find the coordinates of the vertex S of the parabola.",
        figure=figure,
        steps=(_H, _K, Step("s", "S", "(h, k)", "Both coordinates make the vertex.")),
        mistakes=(
            Mistake("(-h, a * h**2 - b * h + c)", "the sign of -b/(2a) is lost"),
            Mistake("(-h, k)", "the sign of the x-coordinate is lost"),
            Mistake("(-b / a, c)", "the 2 of -b/(2a) is forgotten"),
            Mistake("(h, c)", "the y-intercept instead of the height of the vertex"),
            Mistake("(k, h)", "the coordinates are exchanged"),
            Mistake("(h, -k)", "the sign of the height is lost"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _extremum(rng: random.Random) -> Problem:
    figure, values, description = _with_vertex(rng)
    word = "smallest" if values["a"] > 0 else "largest"
    return Problem(
        form=f"{word} value",
        description=description,
        facts=(_equation(figure, values, "abc"),),
        question=f"The graph of f is a parabola. Find the {word} value of f.",
        figure=figure,
        steps=(_H, _K),
        mistakes=(
            Mistake("h", "where the value is taken, not the value"),
            Mistake("a * h**2 - b * h + c", "the sign of -b/(2a) is lost"),
            Mistake("c", "the value at 0"),
            Mistake("-k", "the sign is lost"),
            Mistake("a * h**2 + c", "the middle term is forgotten"),
            Mistake("k + a", "a slip in the arithmetic"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _with_zeros(rng: random.Random) -> tuple[Figure, dict[str, Exact], str]:
    values = vertex_form(rng)
    need(values["a"] * values["k"] < 0)
    values["d"] = evaluate("b**2 - 4 * a * c", values)
    half = evaluate("sqrt(d) / (2 * abs(a))", values)
    need(pleasant(half) and float(half) < 5.5)
    left, right = (values["h"] + sign * half for sign in (-1, 1))
    figure = draw_parabola(values, [(left, 0), (right, 0), (values["h"], -values["k"] / 2)])
    dot(figure, "A", left, 0), dot(figure, "B", right, 0)
    return (
        figure,
        values,
        "The graph of the function f is a parabola; it crosses the x-axis at A and, right of it, at B.",
    )


_D = Step("d", "b² - 4ac", "b**2 - 4 * a * c", "The zeros of ax² + bx + c depend on b² - 4ac.")


def _zeros_apart(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    need(values["b"] != 0)
    return Problem(
        form="distance of the zeros",
        description=description,
        facts=(_equation(figure, values, "abc"),),
        question="The parabola f crosses the x-axis at A and B. Find the distance AB.",
        figure=figure,
        steps=(
            _D,
            Step("l", "AB", "sqrt(d) / abs(a)", "The zeros (-b ± √(b² - 4ac))/(2a) lie so far apart."),
        ),
        mistakes=(
            Mistake("sqrt(d) / (2 * abs(a))", "half of the distance"),
            Mistake("d / abs(a)", "the root is forgotten"),
            Mistake("sqrt(d) * abs(a)", "multiplied by a and not divided"),
            Mistake("abs(b / a)", "the sum of the zeros"),
            Mistake("2 * sqrt(d) / abs(a)", "twice the distance"),
            Mistake("abs(c / a)", "the product of the zeros"),
        ),
        transforms="stretch",
    )


def _larger_zero(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    need(values["b"] != 0)
    upper = "(-b + sqrt(d)) / (2 * a)" if values["a"] > 0 else "(-b - sqrt(d)) / (2 * a)"
    return Problem(
        form="larger zero",
        description=description,
        facts=(_equation(figure, values, "abc"),),
        question="The parabola f crosses the x-axis at A and, right of it, at B. Find the x-coordinate of B.",
        figure=figure,
        steps=(_D, Step("z", "the larger zero", upper, "It is the larger of (-b ± √(b² - 4ac))/(2a).")),
        mistakes=(
            Mistake("-b / a - z", "the smaller zero"),
            Mistake("z + b / a", "the sign of b is lost"),
            Mistake("-z", "the sign is lost"),
            Mistake("2 * z", "the 2 of the formula is forgotten"),
            Mistake("-b / (2 * a)", "the axis instead of the zero"),
        ),
        sizes=False,
        transforms="stretch",
    )
