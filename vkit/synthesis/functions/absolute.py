"""Graphs of a|x - h| + k: factor, corner, zeros, values, the triangle with the x-axis."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("absolute value functions", "functions")
def absolute_value_functions(rng: random.Random) -> Problem:
    """The factor or a value from corner and point; corner, zeros and area from the equation."""
    return one_of(rng, _factor, _value, _corner, _zeros_apart, _zero, _area)


def _numbers(rng: random.Random) -> dict[str, Exact]:
    """a, h and k of a|x - h| + k."""
    a = Fraction(rng.randint(1, 9), rng.choice([1, 1, 1, 2, 3, 4, 5])) * rng.choice([1, -1])
    return {"a": evaluate("a", {"a": a}), "h": rng.randint(-12, 12), "k": rng.randint(-20, 20)}


def _draw(values: dict[str, Exact], more: list[tuple[Exact, Exact]], *, read: bool = False) -> Figure:
    a, h, k = (float(values[name]) for name in "ahk")
    figure = frame([(h, k), *more], read=read, square=read)
    graph(figure, "f", lambda x: a * abs(x - h) + k, corners=(h,))
    return figure


def _equation(figure: Figure, values: dict[str, Exact], used: str = "ahk") -> Fact:
    size, sign = abs(values["h"]), "-" if values["h"] > 0 else "+"
    inside = f"|x {sign} {size}|" if size else "|x|"
    right = terms((values["a"], inside), (values["k"], ""))
    fact = equation(figure, "f", right, "a * abs(x - h) + k", values)
    return Fact(fact.text, fact.marks, fact.claims, {name: values[name] for name in used})


_SP = "The graph of the function f consists of two rays from the corner S; the point P lies on it."
_A = Step(
    "a",
    "a",
    "(v - k) / abs(u - h)",
    "P lies on y = a|x - h| + k, so a is its height over S by the step aside.",
)


def _corner_and_point(rng: random.Random) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    read = rng.random() < 0.5
    values = _numbers(rng)
    u = values["h"] + rng.randint(1, 8) * rng.choice([1, -1])
    v = evaluate("a * abs(u - h) + k", {**values, "u": u})
    need(isinstance(v, int) and abs(v) < 16)
    other = 2 * values["h"] - u
    figure = _draw(values, [(u, v), (other, v)], read=read)
    facts = (
        point(figure, "S", values["h"], values["k"], names="hk", on="f", read=read),
        point(figure, "P", u, v, names="uv", on="f", read=read),
    )
    return figure, facts, {**values, "u": u, "v": v}


def _factor(rng: random.Random) -> Problem:
    figure, facts, _ = _corner_and_point(rng)
    return Problem(
        form="factor",
        description=_SP,
        facts=facts,
        question="The graph with the corner S passes through P; its equation is y = a|x - h| + k. Find a.",
        figure=figure,
        steps=(_A,),
        mistakes=(
            Mistake("-a", "the sign is lost"),
            Mistake("abs(u - h) / (v - k)", "the run over the rise"),
            Mistake("(v - k) / (u - h)**2", "squared as in a parabola"),
            Mistake("v - k", "the rise alone"),
            Mistake("2 * a", "a slip in the arithmetic"),
            Mistake("a + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _value(rng: random.Random) -> Problem:
    figure, facts, values = _corner_and_point(rng)
    t = values["h"] + rng.randint(9, 25) * (1 if values["u"] < values["h"] else -1)
    return Problem(
        form="value",
        description=_SP,
        facts=facts,
        question=f"The graph of f(x) = a|x - h| + k has the corner S and passes through P. Find f({t}).",
        figure=figure,
        steps=(_A, Step("w", f"f({t})", f"a * abs({t} - h) + k", "The equation gives the value.")),
        mistakes=(
            Mistake(f"a * ({t} - h) + k", "the bars are ignored"),
            Mistake(f"a * abs({t} + h) + k", "the sign of h is lost"),
            Mistake(f"a * abs({t} - h)", "the height of the corner is forgotten"),
            Mistake(f"a * abs({t} - h) - k", "the sign of k is lost"),
            Mistake(f"abs({t} - h) + k", "the factor is forgotten"),
            Mistake("w + a", "a step too many"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _with_zeros(rng: random.Random) -> tuple[Figure, dict[str, Exact], str]:
    values = _numbers(rng)
    need(values["a"] * values["k"] < 0 and values["h"] != 0)
    half = evaluate("-k / a", values)
    left, right = values["h"] - half, values["h"] + half
    need(half >= 0.6 and abs(values["h"]) < 4 * half)
    top = -Fraction(values["k"]) / 2
    figure = _draw(values, [(left, 0), (right, 0), (values["h"], top)])
    dot(figure, "A", left, 0), dot(figure, "B", right, 0), dot(figure, "S", values["h"], values["k"])
    text = "The graph of f has the corner S; it crosses the x-axis at A and, right of it, at B."
    return figure, values, text


def _corner(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    return Problem(
        form="corner",
        description=description,
        facts=(_equation(figure, values, "hk"),),
        question="Find the coordinates of the corner S of the graph of f.",
        figure=figure,
        steps=(Step("s", "S", "(h, k)", "The graph turns where the bars are 0."),),
        mistakes=(
            Mistake("(-h, k)", "the sign of h is lost"),
            Mistake("(h, -k)", "the sign of k is lost"),
            Mistake("(k, h)", "the coordinates are exchanged"),
            Mistake("(-h, -k)", "both signs are lost"),
        ),
        sizes=False,
        transforms="stretch",
    )


_HALF = Step("s", "the distance of S from each zero, along x", "-k / a", "At a zero a|x - h| = -k.")


def _zeros_apart(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    return Problem(
        form="distance of the zeros",
        description=description,
        facts=(_equation(figure, values, "ak"),),
        question="The graph of f crosses the x-axis at A and B. Find the distance AB.",
        figure=figure,
        steps=(_HALF, Step("l", "AB", "2 * s", "The zeros lie at both sides of the corner.")),
        mistakes=(
            Mistake("s", "only one side of the corner"),
            Mistake("abs(2 * k)", "the factor is forgotten"),
            Mistake("abs(2 * k * a)", "multiplied by the factor"),
            Mistake("abs(k)", "the depth of the corner"),
            Mistake("abs(a / k)", "divided the wrong way around"),
        ),
        transforms="stretch",
    )


def _zero(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    right = rng.random() < 0.5
    name, sign, other = ("B", "+", "-") if right else ("A", "-", "+")
    return Problem(
        form=f"zero {name}",
        description=description,
        facts=(_equation(figure, values),),
        question=f"Right of A, the graph of f meets the x-axis at B. Find the x-coordinate of {name}.",
        figure=figure,
        steps=(
            _HALF,
            Step("z", f"the x-coordinate of {name}", f"h {sign} s", f"{name} lies so far from the corner."),
        ),
        mistakes=(
            Mistake(f"h {other} s", "the other zero"),
            Mistake(f"-h {sign} s", "the sign of h is lost"),
            Mistake(f"h {sign} abs(k)", "the factor is forgotten"),
            Mistake(f"-h {other} s", "the sign is lost"),
            Mistake("s", "the distance from the corner"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _area(rng: random.Random) -> Problem:
    figure, values, description = _with_zeros(rng)
    left, right = (figure.at(name) for name in "AB")
    figure.shade(left, figure.at("S"), right)
    return Problem(
        form="area",
        description=description,
        facts=(_equation(figure, values, "ak"),),
        question="Find the area of the triangle ASB that the graph of f encloses with the x-axis.",
        figure=figure,
        steps=(
            _HALF,
            Step(
                "t",
                "the area",
                "2 * s * abs(k) / 2",
                "The triangle has the base AB and the depth of S as its height.",
            ),
        ),
        mistakes=(
            Mistake("2 * t", "the half is forgotten"),
            Mistake("t / 2", "only one side of the corner"),
            Mistake("k**2", "the factor is forgotten"),
            Mistake("2 * s", "the base instead of the area"),
            Mistake("abs(a) * k**2", "multiplied by the factor"),
        ),
        transforms="stretch",
    )
