"""Sine and cosine curves: amplitude, middle line, period, factor of x, phase, values at special angles."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

from vkit.synthesis.claims import IsOnGraph
from vkit.synthesis.exact import Exact, as_float, evaluate, pi, show
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import beside, frame, graph, need, point, terms
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("trigonometric functions", "functions")
def trigonometric_functions(rng: random.Random) -> Problem:
    """From a crest and a trough, in radians or in degrees on a grid; values and extrema from the equation."""
    return one_of(rng, _amplitude, _middle, _period, _factor, _phase, _value, _value, _largest)


def _wave(
    rng: random.Random, names: tuple[str, str]
) -> tuple[Figure, tuple[Fact, Fact], dict[str, Exact], bool]:
    """A sine curve with a crest or trough A (p, q) and the next trough or crest B (r, s).

    ``names``: which of these the steps use. Half of them stand on a grid with x in degrees, the others have
    their coordinates, in radians, beside them.
    """
    read = rng.random() < 0.5
    reach = 20 if read else 30
    q, s = rng.randint(-reach, reach), rng.randint(-reach, reach)
    need(abs(q - s) >= 2 and abs(q - s) >= 0.25 * (max(q, s, 0) - min(q, s, 0)), "the wave is too flat")
    if read:
        step = rng.choice([30, 45, 60, 90])
        start = rng.randint(0, 4) * step
        half: Exact = rng.choice([1, 2, 3, 4]) * step
        need(start + half <= 9 * step)
        p: Exact = start
    else:
        step = 1
        bottom = rng.choice([2, 3, 4, 6, 8, 12])
        p, half = (
            pi(Fraction(rng.randint(0, 2 * bottom), bottom)),
            pi(Fraction(rng.randint(1, 8), rng.choice([1, 2, 3, 4, 5, 6]))),
        )
        need(as_float(p) < 2 * as_float(half))
    r = p + half
    middle, size, start_x, width = (q + s) / 2, (q - s) / 2, as_float(p), as_float(half)
    more = [(max(-0.3 * width, -1.0 * step), middle), (as_float(r) + (0.5 if read else 0.9) * width, middle)]
    places = [(as_float(p), q), (as_float(r), s), (0, max(q, s)), (0, min(q, s)), *more]
    unit = next(
        (u for u in (1, 2, 5) if q % u == 0 and s % u == 0 and max(q, s, 0) - min(q, s, 0) <= 9 * u), 0
    )
    need(not read or unit > 0)
    figure = frame(places, read=read, step_x=step, step_y=unit or 1, square=False)
    graph(figure, "f", lambda x: middle + size * math.cos(math.pi * (x - start_x) / width))
    facts = (
        point(figure, "A", p, q, names=names[0], on="f", read=read),
        point(figure, "B", r, s, names=names[1], on="f", read=read),
    )
    return figure, facts, {"p": p, "q": q, "r": r, "s": s}, read


def _described(values: dict[str, Exact], degrees: bool) -> str:
    """What A and B are."""
    first, second = ("highest", "lowest") if values["q"] > values["s"] else ("lowest", "highest")
    unit = " x is measured in degrees." if degrees else ""
    return f"A is a {first} point of the sine curve f, and B is the next {second} point.{unit}"


def _from_points(
    rng: random.Random,
    names: tuple[str, str],
    form: str,
    question: str,
    steps: tuple[Step, ...],
    mistakes: str,
) -> Problem:
    """A problem about a crest and a trough; ``mistakes``: expressions and reasons, a line each."""
    figure, facts, values, degrees = _wave(rng, names)
    lines = [line.strip().split(": ", 1) for line in mistakes.strip().splitlines()]
    described = _described(values, degrees)
    return Problem(
        form=f"{form}, in degrees" if degrees and "p" in names[0] else form,
        description="The graph of the function f is a sine curve through the marked points A and B.",
        facts=facts,
        question=f"{described} {question}",
        figure=figure,
        steps=steps,
        mistakes=tuple(Mistake(expression, why) for expression, why in lines),
        unit="°" if degrees and form in ("period", "phase") else "",
        sizes=form != "middle line",
        transforms="stretch",
    )


def _amplitude(rng: random.Random) -> Problem:
    return _from_points(
        rng,
        ("_q", "_s"),
        "amplitude",
        "Find the amplitude of f.",
        (
            Step(
                "t",
                "the amplitude",
                "abs(q - s) / 2",
                "It is half of the height between highest and lowest points.",
            ),
        ),
        """
        abs(q - s): the half is forgotten
        abs(q): the height of A
        abs(s): the height of B
        abs(q + s) / 2: the middle line instead of the amplitude
        abs(q - s) / 4: a half too many
        t + 1: a square miscounted
        """,
    )


def _middle(rng: random.Random) -> Problem:
    return _from_points(
        rng,
        ("_q", "_s"),
        "middle line",
        "The curve swings around the line y = d. Find d.",
        (Step("d", "d", "(q + s) / 2", "The middle line lies midway between highest and lowest points."),),
        """
        abs(q - s) / 2: the amplitude instead of the middle line
        q + s: the half is forgotten
        s: the height of B
        q: the height of A
        d + 1: a square miscounted
        -d: the sign is lost
        """,
    )


def _period(rng: random.Random) -> Problem:
    return _from_points(
        rng,
        ("p_", "r_"),
        "period",
        "Find the period of f.",
        (
            Step(
                "t",
                "the period",
                "2 * (r - p)",
                "From a highest to the next lowest point it is half of a period.",
            ),
        ),
        """
        r - p: half of the period
        4 * (r - p): a quarter is supposed between A and B
        r: the x-coordinate of B
        (r - p) / 2: halved and not doubled
        2 * r: counted from the y-axis
        r + p: a sum for a difference
        """,
    )


def _factor(rng: random.Random) -> Problem:
    figure, facts, values, degrees = _wave(rng, ("p_", "r_"))
    turn = "360" if degrees else "2 * pi"
    return Problem(
        form="factor of x, in degrees" if degrees else "factor of x",
        description="The graph of the function f is a sine curve through the marked points A and B.",
        facts=facts,
        question=f"{_described(values, degrees)} f(x) = a · sin(bx + c) + d with b > 0. Find b.",
        figure=figure,
        steps=(
            Step(
                "t",
                "the period",
                "2 * (r - p)",
                "From a highest to the next lowest point it is half of a period.",
            ),
            Step("b", "b", f"{turn} / t", f"b periods make {'360°' if degrees else '2π'}."),
        ),
        mistakes=(
            Mistake("2 * b", "half of the period is taken for the period"),
            Mistake("b / 2", "the period is doubled twice"),
            Mistake("1 / b", "divided the wrong way around"),
            Mistake("t", "the period instead of the factor"),
            Mistake("4 * b", "a quarter of the period is taken for the period"),
        ),
        transforms="stretch",
    )


def _phase(rng: random.Random) -> Problem:
    """f(x) = a sin(b(x - c)) + d with a crest at A; c lies a quarter of a period before it."""
    bottom, b = rng.choice([3, 4, 6, 8, 12]), rng.choice([1, 1, 2, 3, 4])
    p = pi(Fraction(rng.randint(1, 2 * bottom), bottom))
    a, d = rng.randint(1, 9), rng.randint(-9, 9)
    need(2 * a >= 0.25 * (abs(d) + a), "the wave is too flat")
    c = evaluate(f"p - pi / (2 * {b})", {"p": p})
    need(0.1 < as_float(c) < 2 * math.pi / b - 0.1)
    right = as_float(p) + 2.4 / b
    figure = frame([(p, d + a), (-0.2 * right, d), (right, d - a), (0, d + a)], read=False, square=False)
    graph(figure, "f", lambda x: d + a * math.cos(b * (x - as_float(p))))
    fact = point(figure, "A", p, d + a, names="p_", on="f", read=False)
    inside = "x - c" if b == 1 else f"{b}(x - c)"
    return Problem(
        form="phase",
        description="The graph of the function f is a sine curve; the point A lies on it.",
        facts=(fact,),
        question=(
            f"A is the first highest point of f(x) = a · sin({inside}) + d right of x = c, "
            f"where a > 0 and 0 < c < {show(pi(Fraction(2, b)))}. Find c."
        ),
        figure=figure,
        steps=(Step("c", "c", f"p - pi / {2 * b}", f"The sine is highest first where {inside} = π/2."),),
        mistakes=(
            Mistake("p", "the sine is supposed to start at its highest point"),
            Mistake(f"p + pi / {2 * b}", "added and not subtracted"),
            Mistake(f"p - pi / {4 * b}", "an eighth of a period for a quarter"),
            Mistake(f"2 * pi / {b} - c", "the sign is lost"),
            Mistake("p / 2", "divided and not subtracted"),
        ),
        transforms="stretch",
    )


def _with_equation(rng: random.Random, wide: bool) -> tuple[Figure, Fact, dict[str, Exact], str]:
    """The graph of a · sin(bx) + d or with cos."""
    word = rng.choice(["sin", "cos"])
    values: dict[str, Exact] = {
        "a": rng.randint(1, 15) * rng.choice([1, 1, -1]),
        "b": rng.choice([1, 1, 2, 3]),
        "d": rng.randint(-20, 20),
    }
    a, b, d = (values[name] for name in "abd")
    need(2 * abs(a) >= 0.25 * (abs(d) + abs(a)), "the wave is too flat")
    run = 2 * math.pi / b
    figure = frame(
        [(-0.15 * run, d - abs(a)), (run * (1.15 if wide else 1.0), d + abs(a))], read=False, square=False
    )
    wave: Callable[[float], float] = math.sin if word == "sin" else math.cos
    graph(figure, "f", lambda x: a * wave(b * x) + d)
    inside = terms((b, "x"))
    right = terms((a, f" · {word}({inside})" if abs(a) != 1 else f"{word}({inside})"), (d, ""))
    special = ((pi(Fraction(degrees, 180)), f"a * {word}(b * {degrees}) + d") for degrees in _SPECIAL)
    claims = tuple(IsOnGraph("f", x, evaluate(expression, values)) for x, expression in special)
    return (
        figure,
        Fact(f"f(x) = {right}", (beside(figure, "f", f"f(x) = {right}"),), claims, values),
        values,
        word,
    )


_SPECIAL = (0, 30, 45, 90, 120)  # degrees where the drawing is checked


def _value(rng: random.Random) -> Problem:
    figure, fact, _, word = _with_equation(rng, True)
    degrees = rng.choice([30, 45, 60, 90, 120, 135, 150, 180, 210, 225, 240, 270, 300, 315, 330])
    other = "cos" if word == "sin" else "sin"
    x = show(pi(Fraction(degrees, 180)))
    return Problem(
        form=f"value of the {word}",
        description=f"The graph of the function f is a {'sine' if word == 'sin' else 'cosine'} curve.",
        facts=(fact,),
        question=f"The curve is the graph of f. Find the exact value f({x}).",
        figure=figure,
        steps=(
            Step(
                "w",
                "the angle",
                f"b * {degrees}",
                f"x = {x} is {degrees}°, and the factor multiplies it.",
                "°",
            ),
            Step("v", f"f({x})", f"a * {word}(w) + d", f"The {word} of this angle is known exactly."),
        ),
        mistakes=(
            Mistake(f"a * {other}(w) + d", f"{other} instead of {word}"),
            Mistake(f"-a * {word}(w) + d", "the sign is lost"),
            Mistake(f"a * {word}(w)", "the shift upwards is forgotten"),
            Mistake(f"a * {word}({degrees}) + d", "the factor of x is forgotten"),
            Mistake(f"{word}(w) + d", "the amplitude is forgotten"),
            Mistake(f"a * {word}(w) - d", "the shift has the wrong sign"),
            Mistake("a + d", "the largest value of the curve"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _largest(rng: random.Random) -> Problem:
    figure, fact, values, word = _with_equation(rng, False)
    largest = rng.random() < 0.5
    sign, other, name = ("+", "-", "largest") if largest else ("-", "+", "smallest")
    plain = Fact(fact.text, fact.marks, fact.claims, {key: values[key] for key in "ad"})
    return Problem(
        form=f"{name} value",
        description=f"The graph of the function f is a {'sine' if word == 'sin' else 'cosine'} curve.",
        facts=(plain,),
        question=f"The curve is the graph of f. Find the {name} value of f.",
        figure=figure,
        steps=(Step("v", f"the {name} value", f"d {sign} abs(a)", f"The {word} runs from -1 to 1."),),
        mistakes=(
            Mistake(f"d {other} abs(a)", "the other end of the curve"),
            Mistake("abs(a)", "the shift upwards is forgotten"),
            Mistake("d", "the middle line"),
            Mistake("-abs(a)", "the shift upwards is forgotten"),
            Mistake("a * d", "multiplied and not added"),
        ),
        sizes=False,
        transforms="stretch",
    )
