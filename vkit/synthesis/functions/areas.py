"""Areas: under a line, between a line and the axes, between two lines, between a parabola and the x-axis."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.lines import two_points
from vkit.synthesis.functions.plots import dot, equation, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("areas", "functions")
def areas(rng: random.Random) -> Problem:
    """Areas that graphs enclose, from points or from equations."""
    return one_of(rng, _under_line, _with_axes, _between_lines, _above_axis, _under_parabola)


def _under_line(rng: random.Random) -> Problem:
    """The trapezoid under a line, between two read points."""
    read = rng.random() < 0.6
    a, b, c, d = two_points(rng, read, reach=12)
    need(b > 0 and d > 0)
    figure = frame([(a, b), (c, d)], read=read, square=read)
    graph(figure, "f", lambda x: b + (d - b) * (x - a) / (c - a))
    facts = (
        point(figure, "A", a, b, names="ab", on="f", read=read),
        point(figure, "B", c, d, names="cd", on="f", read=read),
    )
    figure.shade((a, 0), (a, b), (c, d), (c, 0))
    figure.segment((a, 0), (a, b), thin=True)
    figure.segment((c, 0), (c, d), thin=True)
    return Problem(
        form="under a line",
        description="The region between the line through A and B and the x-axis, from A to B, is shaded.",
        facts=facts,
        question="Find the area of the shaded region between the line AB and the x-axis.",
        figure=figure,
        steps=(
            Step("w", "the width", "c - a", "The region reaches from the x of A to the x of B."),
            Step(
                "t", "the area", "(b + d) * w / 2", "It is a trapezoid: the mean of its heights by its width."
            ),
        ),
        mistakes=(
            Mistake("(b + d) * w", "the half is forgotten"),
            Mistake("b * w", "a rectangle as high as A"),
            Mistake("d * w", "a rectangle as high as B"),
            Mistake("abs(d - b) * w / 2", "the triangle above alone"),
            Mistake("(b + d) * abs(c + a) / 2", "a sum for the width"),
            Mistake("t + w", "a row of squares too many"),
        ),
        transforms="stretch",
    )


def _line(rng: random.Random) -> dict[str, Exact]:
    m = Fraction(rng.randint(1, 9), rng.choice([1, 1, 2, 3, 4])) * rng.choice([1, -1])
    return {"m": evaluate("m", {"m": m}), "n": rng.randint(1, 40) * rng.choice([1, -1])}


def _with_axes(rng: random.Random) -> Problem:
    values = _line(rng)
    zero = evaluate("-n / m", values)
    need(abs(zero) <= 30)
    beyond = zero * -rng.uniform(0.1, 0.6), values["n"] * -rng.uniform(0.1, 0.6)
    figure = frame([(zero, 0), (0, values["n"]), beyond], read=False, square=False)
    m, n = float(values["m"]), values["n"]
    graph(figure, "f", lambda x: m * x + n)
    figure.shade((0, 0), (zero, 0), (0, n))
    return Problem(
        form="with the axes",
        description="The triangle between the graph of the linear function f and the two axes is shaded.",
        facts=(equation(figure, "f", terms((values["m"], "x"), (n, "")), "m * x + n", values),),
        question="Find the area of the shaded triangle between the line f and the axes.",
        figure=figure,
        steps=(
            Step(
                "z",
                "the side on the x-axis",
                "abs(n / m)",
                "f(x) = 0 gives the zero -n / m, so far from the origin.",
            ),
            Step("t", "the area", "z * abs(n) / 2", "It is a right triangle with the other leg |n|."),
        ),
        mistakes=(
            Mistake("z * abs(n)", "the half is forgotten"),
            Mistake("n**2 * abs(m) / 2", "multiplied by the slope"),
            Mistake("abs(m * n) / 2", "the slope is taken for a side"),
            Mistake("z + abs(n)", "the legs are added"),
            Mistake("t / 2", "a half too many"),
        ),
        transforms="stretch",
    )


def _two_lines(rng: random.Random) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact]]:
    """f(x) = mx + n and g(x) = px + q, which meet at S right of the y-axis."""
    first, second = _line(rng), _line(rng)
    values: dict[str, Exact] = {**first, "p": second["m"], "q": second["n"]}
    need(values["m"] != values["p"] and values["n"] != values["q"])
    x = evaluate("(q - n) / (m - p)", values)
    need(isinstance(x, int) or x.denominator == 2)
    y = evaluate("m * x + n", {**values, "x": x})
    need(1 <= x <= 12 and abs(values["n"] - values["q"]) >= 3)
    spread = max(abs(values["n"]), abs(values["q"]), abs(y))
    need(abs(values["n"] - values["q"]) >= 0.25 * spread)
    figure = frame(
        [(0, values["n"]), (0, values["q"]), (x, y), (x * 1.4, y), (-x / 4, 0)], read=False, square=False
    )
    m, n, p, q = (float(values[name]) for name in "mnpq")
    graph(figure, "f", lambda t: m * t + n)
    graph(figure, "g", lambda t: p * t + q)
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
    return figure, facts, {**values, "x": x, "y": y}


_X = Step("x", "the x-coordinate of S", "(q - n) / (m - p)", "At S both values are equal: mx + n = px + q.")


def _between_lines(rng: random.Random) -> Problem:
    figure, facts, values = _two_lines(rng)
    dot(figure, "S", values["x"], values["y"])
    figure.shade((0, values["n"]), (0, values["q"]), (values["x"], values["y"]))
    return Problem(
        form="between two lines",
        description="The lines f and g cross at S; the triangle between them and the y-axis is shaded.",
        facts=facts,
        question="Find the area of the shaded triangle between the lines f and g and the y-axis.",
        figure=figure,
        steps=(
            _X,
            Step("s", "the side on the y-axis", "abs(n - q)", "The lines cross the y-axis at n and q."),
            Step(
                "t",
                "the area",
                "s * x / 2",
                "The height of the triangle on this side is the x-coordinate of S.",
            ),
        ),
        mistakes=(
            Mistake("s * x", "the half is forgotten"),
            Mistake("s * abs(m * x + n) / 2", "the y-coordinate of S is taken for the height"),
            Mistake("abs(n + q) * x / 2", "a sum for the side"),
            Mistake("abs(n) * x / 2", "the triangle under one line"),
            Mistake("t / 2", "a half too many"),
        ),
        transforms="stretch",
    )


def _above_axis(rng: random.Random) -> Problem:
    """The triangle of two lines and the x-axis."""
    m = evaluate("m", {"m": Fraction(rng.randint(1, 5), rng.choice([1, 1, 2, 3]))})
    p = -evaluate("m", {"m": Fraction(rng.randint(1, 5), rng.choice([1, 1, 2, 3]))})
    left, right = rng.randint(-12, 6), rng.randint(-6, 12)
    values: dict[str, Exact] = {"m": m, "n": evaluate("-m * z", {"m": m, "z": left}), "p": p}
    values["q"] = evaluate("-p * z", {"p": p, "z": right})
    need(right - left >= 3 and all(isinstance(values[k], int) and values[k] != 0 for k in "nq"))
    x = evaluate("(q - n) / (m - p)", values)
    y = evaluate("m * x + n", {**values, "x": x})
    need(abs(x) * 5 > right - left or x == 0)
    figure = frame([(left, 0), (right, 0), (x, y), (x, -y / 5)], read=False, square=False)
    graph(figure, "f", lambda t: float(m) * (t - left))
    graph(figure, "g", lambda t: float(p) * (t - right))
    figure.shade((left, 0), (right, 0), (x, y))
    dot(figure, "S", x, y)
    facts = (
        equation(figure, "f", terms((m, "x"), (values["n"], "")), "m * x + n", {k: values[k] for k in "mn"}),
        equation(figure, "g", terms((p, "x"), (values["q"], "")), "p * x + q", {k: values[k] for k in "pq"}),
    )
    return Problem(
        form="two lines and the x-axis",
        description="The lines f and g cross at S; the triangle between them and the x-axis is shaded.",
        facts=facts,
        question="Find the area of the shaded triangle between the lines f and g and the x-axis.",
        figure=figure,
        steps=(
            _X,
            Step("y", "its y-coordinate", "m * x + n", "It is the value of f there."),
            Step("s", "the side on the x-axis", "n / m - q / p", "The zeros are -n / m and -q / p."),
            Step(
                "t",
                "the area",
                "s * y / 2",
                "The height of the triangle on this side is the y-coordinate of S.",
            ),
        ),
        mistakes=(
            Mistake("s * y", "the half is forgotten"),
            Mistake("s * abs(x) / 2", "the x-coordinate of S is taken for the height"),
            Mistake("abs(n - q) * y / 2", "the side on the y-axis is taken"),
            Mistake("abs(n / m + q / p) * y / 2", "the sum of the zeros for their distance"),
            Mistake("t / 2", "a half too many"),
        ),
        transforms="stretch",
    )


def _under_parabola(rng: random.Random) -> Problem:
    a = Fraction(rng.randint(1, 4), rng.choice([1, 1, 2, 3])) * rng.choice([1, -1])
    p, r = rng.randint(-8, 6), rng.randint(-6, 8)
    need(2 <= r - p <= 9 and p != 0 != r and p + r != 0)
    values: dict[str, Exact] = {"a": evaluate("a", {"a": a}), "p": p, "r": r}
    values["b"], values["c"] = evaluate("-a * (p + r)", values), evaluate("a * p * r", values)
    need(isinstance(values["b"], int) and isinstance(values["c"], int))
    h = (p + r) / 2
    k = float(a) * (h - p) * (h - r)
    figure = frame([(p, 0), (r, 0), (h, k), (h, -k / 3)], read=False, square=False)
    graph(figure, "f", lambda x: float(a) * (x - p) * (x - r), corners=(h,))
    figure.shade(*((x, figure.functions["f"](x)) for x in (p + (r - p) * i / 60 for i in range(61))))
    dot(figure, "A", p, 0), dot(figure, "B", r, 0)
    given = {name: values[name] for name in "abc"}
    right = terms((a, "x²"), (values["b"], "x"), (values["c"], ""))
    return Problem(
        form="under a parabola",
        description="The parabola f crosses the x-axis at A and B; the region between the two is shaded.",
        facts=(equation(figure, "f", right, "a * x**2 + b * x + c", given),),
        question="Find the exact area of the shaded region between the parabola f and the x-axis.",
        figure=figure,
        steps=(
            Step("d", "b² - 4ac", "b**2 - 4 * a * c", "The zeros of ax² + bx + c depend on b² - 4ac."),
            Step("w", "AB", "sqrt(d) / abs(a)", "The zeros lie so far apart."),
            Step(
                "t",
                "the area",
                "abs(a) * w**3 / 6",
                "The integral of a(x - p)(x - q) from p to q is |a|(q - p)³/6 in size.",
            ),
        ),
        mistakes=(
            Mistake("abs(a) * w**3 / 4", "the rectangle around the region"),
            Mistake("abs(a) * w**3 / 8", "the triangle within the region"),
            Mistake("abs(a) * w**3 / 3", "twice the area"),
            Mistake("w**3 / 6", "the factor a is forgotten"),
            Mistake("abs(a) * w**3 / 12", "a half too many"),
        ),
        transforms="stretch",
    )
