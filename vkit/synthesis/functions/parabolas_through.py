"""Parabolas from marked points: axis, factor, equation, y-intercept, extremum."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.parabolas import draw_parabola, vertex_form
from vkit.synthesis.functions.plots import need, point
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_FACTORS: tuple[Exact, ...] = (1, 2, Fraction(1, 2))
_MORE_FACTORS: tuple[Exact, ...] = (1, 2, 3, Fraction(1, 2), Fraction(1, 3))


@family("parabolas through points", "functions")
def parabolas_through_points(rng: random.Random) -> Problem:
    """Parabolas given by vertex and point, by zeros and y-intercept, or by two equally high points."""
    return one_of(rng, _axis, _factor, _height, _coefficients, _extremum_from_zeros)


def _axis(rng: random.Random) -> Problem:
    read = rng.random() < 0.5
    p, r, y = rng.randint(-9, 8), rng.randint(-7, 12), rng.randint(-8, 8)
    a = rng.choice(_FACTORS) * rng.choice([1, -1])
    need(2 <= r - p <= 9 and p + r != 0 and y != 0)
    h = Fraction(p + r, 2)
    k = y - a * (r - h) ** 2
    need(abs(k) < 14)
    figure = draw_parabola({"a": a, "h": h, "k": k}, [(p, y), (r, y)], read=read)
    facts = (
        point(figure, "A", p, y, names="p_", on="f", read=read),
        point(figure, "B", r, y, names="r_", on="f", read=read),
    )
    return Problem(
        form="axis",
        description="The graph of the function f is a parabola through the marked points A and B.",
        facts=facts,
        question="The axis of symmetry of the parabola through A and B is the line x = h. Find h.",
        figure=figure,
        steps=(
            Step("h", "h", "(p + r) / 2", "A and B are equally high, so the axis lies midway between them."),
        ),
        mistakes=(
            Mistake("(r - p) / 2", "half of the distance"),
            Mistake("p + r", "the half is forgotten"),
            Mistake("r - p", "the distance of the points"),
            Mistake("-(p + r) / 2", "the sign is lost"),
            Mistake("h + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


_A = Step(
    "a",
    "a",
    "(v - k) / (u - h)**2",
    "P lies on y = a(x - h)² + k, so a is its height over S by the square of the step.",
)


def _vertex_and_point(
    rng: random.Random, most: int = 5
) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    read = rng.random() < 0.5
    values = vertex_form(rng)
    step = rng.choice([1, 2, 3, 4, 5, 6]) * rng.choice([1, -1])
    u = values["h"] + step
    v = evaluate("a * (u - h)**2 + k", {**values, "u": u})
    need(isinstance(v, int) and abs(v - values["k"]) <= (8 if read else 30) and abs(step) <= most)
    figure = draw_parabola(values, [(u, v)], read=read)
    facts = (
        point(figure, "S", values["h"], values["k"], names="hk", on="f", read=read),
        point(figure, "P", u, v, names="uv", on="f", read=read),
    )
    return figure, facts, values


_SP = "The graph of the function f is a parabola with the vertex S; the point P lies on it."
_SP_MISTAKES = (
    Mistake("(v - k) / (u - h)", "the square is forgotten"),
    Mistake("-a", "the sign is lost"),
    Mistake("(u - h)**2 / (v - k)", "divided the wrong way around"),
    Mistake("(v - k) / (u + h)**2", "the sign of h is lost"),
    Mistake("2 * a", "a slip in the arithmetic"),
    Mistake("v - k", "the square of the step is forgotten"),
    Mistake("a + 1", "a slip in the arithmetic"),
)


def _factor(rng: random.Random) -> Problem:
    figure, facts, values = _vertex_and_point(rng)
    need(facts[1].values["u"] + values["h"] != 0)
    return Problem(
        form="factor",
        description=_SP,
        facts=facts,
        question="The parabola y = a(x - h)² + k has the vertex S and passes through P. Find a.",
        figure=figure,
        steps=(_A,),
        mistakes=_SP_MISTAKES,
        sizes=False,
        transforms="stretch",
    )


def _height(rng: random.Random) -> Problem:
    figure, facts, values = _vertex_and_point(rng)
    need(values["h"] != 0 and facts[1].values["u"] != 0 and abs(values["c"]) < 60)
    return Problem(
        form="y-intercept",
        description=_SP,
        facts=facts,
        question="The parabola with the vertex S passes through P. At which height does it cross the y-axis?",
        figure=figure,
        steps=(_A, Step("c", "f(0)", "a * (0 - h)**2 + k", "The y-axis is where x = 0.")),
        mistakes=(
            Mistake("-a * h**2 + k", "the sign of a is lost"),
            Mistake("k", "the height of the vertex"),
            Mistake("a * h**2", "the height of the vertex is forgotten"),
            Mistake("a * h + k", "the square is forgotten"),
            Mistake("a * h**2 - k", "the sign of k is lost"),
            Mistake("v - k", "the height of P over S"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _coefficients(rng: random.Random) -> Problem:
    figure, facts, values = _vertex_and_point(rng)
    need(values["h"] != 0)
    return Problem(
        form="equation",
        description=_SP,
        facts=facts,
        question="The parabola y = ax² + bx + c has the vertex S and passes through P. Find (a, b, c).",
        figure=figure,
        steps=(
            _A,
            Step("b", "b", "-2 * a * h", "a(x - h)² + k multiplied out has the middle term -2ahx."),
            Step("c", "c", "a * h**2 + k", "Its constant is ah² + k."),
            Step("t", "(a, b, c)", "(a, b, c)", "The three coefficients make the equation."),
        ),
        mistakes=(
            Mistake("(a, -b, c)", "the sign of h is lost"),
            Mistake("(a, b, k)", "the square of h is forgotten"),
            Mistake("(a, -a * h, c)", "the 2 of the middle term is forgotten"),
            Mistake("(-a, b, c)", "the sign of a is lost"),
            Mistake("(a, h, k)", "the vertex's coordinates are taken for the coefficients"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _extremum_from_zeros(rng: random.Random) -> Problem:
    read = rng.random() < 0.4
    p, r = rng.randint(-8, 6), rng.randint(-6, 8)
    a = rng.choice(_MORE_FACTORS) * rng.choice([1, -1])
    need(2 <= r - p <= 9 and p * r != 0)
    values = {
        "a": a,
        "p": p,
        "r": r,
        "h": Fraction(p + r, 2),
        "c": evaluate("a * p * r", {"a": a, "p": p, "r": r}),
    }
    need(isinstance(values["c"], int))
    values["k"] = evaluate("a * (h - p) * (h - r)", values)
    figure = draw_parabola(values, [(p, 0), (r, 0), (0, values["c"])], read=read)
    facts = (
        point(figure, "A", p, 0, names="p_", on="f", read=read),
        point(figure, "B", r, 0, names="r_", on="f", read=read),
        point(figure, "C", 0, values["c"], names="_c", on="f", read=read),
    )
    word = "smallest" if a > 0 else "largest"
    return Problem(
        form=f"{word} value from zeros",
        description="The graph of f is a parabola; it crosses the x-axis at A and B and the y-axis at C.",
        facts=facts,
        question=f"The parabola through A, B and C is the graph of f. Find the {word} value of f.",
        figure=figure,
        steps=(
            Step("a", "a", "c / (p * r)", "f(x) = a(x - p)(x - q) with the zeros p and q, so f(0) = apq."),
            Step(
                "h",
                "the x-coordinate of the vertex",
                "(p + r) / 2",
                "The vertex lies midway between the zeros.",
            ),
            Step("k", f"the {word} value", "a * (h - p) * (h - r)", "It is the value of f there."),
        ),
        mistakes=(
            Mistake("h", "where the value is taken, not the value"),
            Mistake("c", "the value at 0"),
            Mistake("(h - p) * (h - r)", "the factor a is forgotten"),
            Mistake("-k", "the sign is lost"),
            Mistake("k / 2", "a half too many"),
            Mistake("k + a", "a slip in the arithmetic"),
        ),
        sizes=False,
        transforms="stretch",
    )
