"""Straight lines: slope, intercepts, equation, values, perpendiculars."""

from __future__ import annotations

import random

from vkit.synthesis.exact import Exact, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_SLOPE = Step("m", "the slope", "(d - b) / (c - a)", "The slope is the rise over the run between A and B.")
_TURNED = Mistake("(c - a) / (d - b)", "the run over the rise")
_SIGN = Mistake("(b - d) / (c - a)", "the sign of the slope is lost")


@family("linear functions", "functions")
def linear_functions(rng: random.Random) -> Problem:
    """Slope, intercepts, equation or a value of a line through two points, or the zero from an equation."""
    return one_of(rng, _slope, _perpendicular, _intercept, _zero, _value, _coefficients, _zero_from_equation)


def two_points(rng: random.Random, read: bool, reach: int = 9) -> tuple[Exact, ...]:
    """Two places (a, b) and (c, d) of a line that is neither level, nor upright, nor hardly tilted."""
    reach = min(reach, 5) if read else reach
    a, c = rng.randint(-reach, reach), rng.randint(-reach, reach)
    b, d = rng.randint(-reach, reach), rng.randint(-reach, reach)
    need(c - a >= 2 and abs(d - b) >= 1 and 0.2 <= abs(d - b) / (c - a) <= 5 and (a, b) != (0, 0) != (c, d))
    return a, b, c, d


def through_two_points(
    rng: random.Random, more: tuple[str, ...] = ()
) -> tuple[Figure, tuple[Fact, ...], dict[str, Exact]]:
    """A line f through A and B; ``more``: places that the frame shows, in a, b, c, d, m and n."""
    read = rng.random() < 0.5
    values: dict[str, Exact] = dict(zip("abcd", two_points(rng, read)))
    values["m"] = evaluate("(d - b) / (c - a)", values)
    values["n"] = evaluate("b - m * a", values)
    a, b, c, d = (values[name] for name in "abcd")
    extra = [evaluate(place, values) for place in more]
    need(all(abs(part) <= 14 for place in extra for part in place))
    figure = frame([(a, b), (c, d), *extra], read=read)
    graph(figure, "f", lambda x: b + (d - b) * (x - a) / (c - a))
    facts = (
        point(figure, "A", a, b, names="ab", on="f", read=read),
        point(figure, "B", c, d, names="cd", on="f", read=read),
    )
    return figure, facts, values


_LINE = "The graph of the function f is a straight line through the marked points A and B."


def _slope(rng: random.Random) -> Problem:
    figure, facts, _ = through_two_points(rng)
    return Problem(
        form="slope",
        description=_LINE,
        facts=facts,
        question="Find the slope of the straight line through A and B.",
        figure=figure,
        steps=(_SLOPE,),
        mistakes=(
            _SIGN,
            _TURNED,
            Mistake(
                "(d + b) / (c + a)" if facts[0].values["a"] + facts[1].values["c"] else "d + b",
                "sums for differences",
            ),
            Mistake("d - b", "the rise alone"),
            Mistake("c - a", "the run alone"),
            Mistake("m + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _perpendicular(rng: random.Random) -> Problem:
    figure, facts, _ = through_two_points(rng)
    return Problem(
        form="perpendicular",
        description=_LINE,
        facts=facts,
        question="Find the slope of a line that is perpendicular to the straight line AB.",
        figure=figure,
        steps=(_SLOPE, Step("p", "the slope of the perpendicular", "-1 / m", "The slopes multiply to -1.")),
        mistakes=(
            Mistake("1 / m", "the sign is not turned"),
            Mistake("-m", "the slope is not turned upside down"),
            Mistake("m", "the slope of a parallel"),
            Mistake("d - b", "the rise alone"),
            Mistake("p - 1", "a slip in the arithmetic"),
        ),
        sizes=False,
        transforms="stretch",
    )


_INTERCEPT = Step(
    "n", "f(0)", "b - m * a", "From A to the y-axis, the line changes by minus the slope times the x of A."
)


def _intercept(rng: random.Random) -> Problem:
    figure, facts, values = through_two_points(rng, ("(0, n)",))
    need(values["a"] * values["c"] != 0, "the intercept is given")
    return Problem(
        form="y-intercept",
        description=_LINE,
        facts=facts,
        question="The line through A and B crosses the y-axis at height n. Find n.",
        figure=figure,
        steps=(_SLOPE, _INTERCEPT),
        mistakes=(
            Mistake("b + m * a", "the sign of the slope is lost"),
            Mistake("a - b / m", "the zero instead of the y-intercept"),
            Mistake("b - a / m", "the run over the rise for the slope"),
            Mistake("m", "the slope instead of the y-intercept"),
            Mistake("-n", "the sign is lost"),
            Mistake("n + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _zero(rng: random.Random) -> Problem:
    figure, facts, values = through_two_points(rng, ("(a - b / m, 0)",))
    need(values["b"] * values["d"] != 0, "the zero is given")
    return Problem(
        form="zero",
        description=_LINE,
        facts=facts,
        question="Find the x-coordinate of the point where the line through A and B crosses the x-axis.",
        figure=figure,
        steps=(
            _SLOPE,
            Step(
                "z",
                "the zero",
                "a - b / m",
                "From A to the x-axis, x changes by minus the height of A over the slope.",
            ),
        ),
        mistakes=(
            Mistake("b - m * a", "the y-intercept instead of the zero"),
            Mistake("a + b / m", "the sign of the step is lost"),
            Mistake("a - b * m", "multiplied by the slope"),
            Mistake("-z", "the sign is lost"),
            Mistake("z + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _value(rng: random.Random) -> Problem:
    figure, facts, values = through_two_points(rng)
    t = rng.choice([rng.randint(7, 30), -rng.randint(7, 30)])
    need(t not in (values["a"], values["c"]))
    return Problem(
        form="value",
        description=_LINE,
        facts=facts,
        question=f"The line through A and B is the graph of f. Find f({t}).",
        figure=figure,
        steps=(
            _SLOPE,
            Step(
                "v",
                f"f({t})",
                f"b + m * ({t} - a)",
                f"From A to x = {t} the line rises by the slope per unit.",
            ),
        ),
        mistakes=(
            Mistake(f"b - m * ({t} - a)", "the sign of the slope is lost"),
            Mistake(f"m * {t}", "the y-intercept is forgotten"),
            Mistake(f"b + m * {t}", "the distance is counted from the y-axis"),
            Mistake(f"b + ({t} - a) / m", "the run over the rise for the slope"),
            Mistake("v + m", "a step too many"),
            Mistake("v - m", "a step too few"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _coefficients(rng: random.Random) -> Problem:
    figure, facts, _ = through_two_points(rng, ("(0, n)",))
    return Problem(
        form="equation",
        description=_LINE,
        facts=facts,
        question="The line through A and B has the equation y = mx + n. Find the pair (m, n).",
        figure=figure,
        steps=(_SLOPE, _INTERCEPT, Step("p", "(m, n)", "(m, n)", "Slope and y-intercept make the equation.")),
        mistakes=(
            Mistake("(n, m)", "slope and y-intercept are mixed up"),
            Mistake("(-m, n)", "the sign of the slope is lost"),
            Mistake("(m, -n)", "the sign of the y-intercept is lost"),
            Mistake("(1 / m, n)", "the run over the rise"),
            Mistake("(m, b)", "the height of A instead of the y-intercept"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _zero_from_equation(rng: random.Random) -> Problem:
    m = rng.choice([evaluate(f"{rng.randint(1, 9)} / {rng.randint(1, 5)}", {})]) * rng.choice([1, -1])
    n = rng.randint(1, 40) * rng.choice([1, -1])
    z = evaluate("-n / m", {"m": m, "n": n})
    beyond = z * -rng.uniform(0.1, 0.7), n * -rng.uniform(0.1, 0.7)
    figure = frame([(z, 0), (0, n), beyond], read=False, square=False)
    need(0.15 < abs(m) < 8 and z != n)
    graph(figure, "f", lambda x: float(m) * x + n)
    dot(figure, "P", z, 0)
    return Problem(
        form="zero from the equation",
        description="The graph of the linear function f crosses the x-axis at the point P.",
        facts=(equation(figure, "f", terms((m, "x"), (n, "")), "m * x + n", {"m": m, "n": n}),),
        question="The line f crosses the x-axis at P. Find the x-coordinate of P.",
        figure=figure,
        steps=(Step("z", "x", "-n / m", "At P the value of f is 0, so mx = -n."),),
        mistakes=(
            Mistake("n / m", "the sign is lost"),
            Mistake("n", "the y-intercept instead of the zero"),
            Mistake("-m / n", "divided the wrong way around"),
            Mistake("-n * m", "multiplied and not divided"),
            Mistake("m - n", "subtracted and not divided"),
        ),
        sizes=False,
        transforms="stretch",
    )
