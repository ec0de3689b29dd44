"""Exponential functions c · bˣ: base, initial value, values, equation."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate, show
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import IsAt, dot, equation, frame, graph, need, point
from vkit.synthesis.marks import Label
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_BASES = (
    2,
    2,
    3,
    4,
    5,
    Fraction(1, 2),
    Fraction(1, 3),
    Fraction(3, 2),
    Fraction(2, 3),
    Fraction(5, 2),
    Fraction(1, 4),
)


@family("exponential functions", "functions")
def exponential_functions(rng: random.Random) -> Problem:
    """Base, initial value, equation or a value from two points; where a value is taken, from the equation."""
    return one_of(rng, _base, _initial, _coefficients, _value, _exponent)


def _through_points(
    rng: random.Random, names: tuple[str, str] = ("_q", "_s")
) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    """The graph of c · bˣ through A (p, q) and B (r, s); ``names``: which of these the steps use."""
    values: dict[str, Exact] = {"b": rng.choice(_BASES), "c": rng.randint(1, 60)}
    values["p"] = rng.randint(-1, 3)
    values["r"] = values["p"] + rng.choice([1, 2])
    values["q"], values["s"] = (evaluate(f"c * b**{name}", values) for name in "pr")
    low, high = sorted((values["q"], values["s"]))
    need(all(isinstance(values[name], int) for name in "qs") and low >= 1 and high <= 400)
    steps = [
        step
        for step in (1, 2, 5, 10, 20)
        if values["q"] % step == values["s"] % step == 0 and high <= 10 * step
    ]
    read = bool(steps) and rng.random() < 0.7
    places = [(values["p"], values["q"]), (values["r"], values["s"]), (-1, 0), (values["r"] + 1, 0)]
    figure = frame(places, read=read, step_y=min(steps, default=1), square=read)
    graph(figure, "f", lambda x: float(values["c"]) * float(values["b"]) ** x)
    facts = (
        point(figure, "A", values["p"], values["q"], names=names[0], on="f", read=read),
        point(figure, "B", values["r"], values["s"], names=names[1], on="f", read=read),
    )
    return figure, facts, values


_CURVE = "The graph of an exponential function f passes through the marked points A and B."


def _base_step(values: dict[str, Exact]) -> Step:
    """The base from the values at A and B, which lie one unit or two apart."""
    if values["r"] - values["p"] == 1:
        return Step("b", "b", "s / q", "B lies one unit right of A, and there values are multiplied by b.")
    return Step(
        "b", "b", "sqrt(s / q)", "B lies two units right of A, and there values are multiplied by b²."
    )


def _base(rng: random.Random) -> Problem:
    figure, facts, values = _through_points(rng)
    return Problem(
        form="base",
        description=_CURVE,
        facts=facts,
        question="The curve through A and B has the equation y = c · b^x. Find b.",
        figure=figure,
        steps=(_base_step(values),),
        mistakes=(
            Mistake("1 / b", "the factor from B to A"),
            Mistake(f"(s - q) / {values['r'] - values['p']}", "the slope of a straight line"),
            Mistake("b**2 / 2", "divided by two where a root is taken"),
            Mistake("b**2", "the root is forgotten"),
            Mistake("s - q", "the difference instead of the factor"),
            Mistake("b + 1", "a slip in the arithmetic"),
        ),
        transforms="stretch",
    )


def _initial(rng: random.Random) -> Problem:
    figure, facts, values = _through_points(rng, ("pq", "_s"))
    need(values["p"] != 0 and values["r"] != 0)
    return Problem(
        form="initial value",
        description=_CURVE,
        facts=facts,
        question="The curve through A and B has the equation y = c · b^x. Find c.",
        figure=figure,
        steps=(
            _base_step(values),
            Step("c", "c", "q / b**p", "A lies on the curve: its height is c · b to its x."),
        ),
        mistakes=(
            Mistake("q", "the height of A"),
            Mistake("q * b**p", "multiplied and not divided"),
            Mistake(f"q - p * (s - q) / {values['r'] - values['p']}", "a straight line instead of the curve"),
            Mistake("b", "the base"),
            Mistake(f"q / b**{values['r']}", "the x of B for that of A"),
            Mistake("2 * c", "a slip in the arithmetic"),
        ),
        transforms="stretch",
    )


def _coefficients(rng: random.Random) -> Problem:
    figure, facts, values = _through_points(rng, ("pq", "_s"))
    return Problem(
        form="equation",
        description=_CURVE,
        facts=facts,
        question="The curve through A and B has the equation y = c · b^x. Find the pair (c, b).",
        figure=figure,
        steps=(
            _base_step(values),
            Step("c", "c", "q / b**p", "A lies on the curve: its height is c · b to its x."),
            Step("t", "(c, b)", "(c, b)", "Both make the equation."),
        ),
        mistakes=(
            Mistake("(b, c)", "the base and the initial value are exchanged"),
            Mistake("(c, 1 / b)", "the factor from B to A"),
            Mistake("(q, b)", "the height of A for the initial value"),
            Mistake("(c, s - q)", "the difference instead of the factor"),
            Mistake("(c, b**2)", "the root is forgotten"),
            Mistake("(c, b + 1)", "a slip in the arithmetic"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _value(rng: random.Random) -> Problem:
    figure, facts, values = _through_points(rng, ("_q", "rs"))
    t = values["r"] + rng.randint(1, 3)
    return Problem(
        form="value",
        description=_CURVE,
        facts=facts,
        question=f"The curve through A and B is the graph of f(x) = c · b^x. Find f({t}).",
        figure=figure,
        steps=(
            _base_step(values),
            Step("v", f"f({t})", f"s * b**({t} - r)", "From B on, values are multiplied by b for each unit."),
        ),
        mistakes=(
            Mistake(
                f"s + (s - q) * ({t} - r) / {values['r'] - values['p']}",
                "a straight line instead of the curve",
            ),
            Mistake(f"s * b * ({t} - r)", "multiplied where a power is taken"),
            Mistake(f"s * b**({t} - r - 1)", "a unit too few"),
            Mistake(f"s * b**({t} - r + 1)", "a unit too many"),
            Mistake("s + b", "added and not multiplied"),
            Mistake(f"q * b**({t} - r)", "counted from A"),
        ),
        transforms="stretch",
    )


def _exponent(rng: random.Random) -> Problem:
    values: dict[str, Exact] = {"b": rng.choice([2, 3, 4, 5, 6, 10]), "c": rng.randint(1, 200)}
    x = rng.randint(2, 5)
    y = evaluate(f"c * b**{x}", values)
    need(y <= 9999)
    figure = frame([(x, y), (-1, 0), (x + 0.4, 1.3 * y)], read=False, square=False)
    graph(figure, "f", lambda t: values["c"] * float(values["b"]) ** t)
    dot(figure, "P", x, y)
    figure.segment((0, y), "P", dashed=True, thin=True)
    factor = "" if values["c"] == 1 else f"{values['c']} · "
    fact = equation(figure, "f", f"{factor}{values['b']}^x", "c * b**x", values)
    height = Fact(f"the y-coordinate of P is {y}", (Label((0, y), show(y)),), (IsAt("P", x, y),), {"y": y})
    return Problem(
        form="exponent",
        description="The point P lies on the graph of an exponential function f.",
        facts=(fact, height),
        question="P lies on the graph of f. Find the x-coordinate of P.",
        figure=figure,
        steps=(
            Step("q", "the power", "y / c", "At P the equation is divided by its first factor."),
            Step("x", "x", "log(b, q)", "The x-coordinate is the exponent of this power."),
        ),
        mistakes=(
            Mistake("q / b", "divided by the base and not the exponent taken"),
            Mistake("x + 1", "an exponent too many"),
            Mistake("x - 1", "an exponent too few"),
            Mistake("q", "the power instead of its exponent"),
            Mistake("y / b", "divided by the base"),
        ),
        transforms="stretch",
    )
