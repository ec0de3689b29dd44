"""Graphs of straight pieces, read off a grid: values, slopes, where a value is taken, areas."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise

from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.functions.plots import frame, graph, need, point
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_Corners = list[tuple[int, int]]


@family("piecewise linear functions", "functions")
def piecewise_linear_functions(rng: random.Random) -> Problem:
    """Questions about a broken line through three to five points of a grid."""
    return one_of(rng, _value, _preimage, _composed, _slope, _area, _mean)


def _broken_line(
    rng: random.Random, used: dict[int, str], lowest: int = -4, count: int = 0
) -> tuple[Figure, tuple[Fact, ...], _Corners]:
    """A broken line f; ``used``: names of the coordinates that the steps use, by the number of the point."""
    count = count or rng.choice([3, 4, 4, 5])
    need(max(used) < count)
    xs = sorted(rng.sample(range(-5, 6), count))
    ys = [rng.randint(lowest, 6) for _ in xs]
    pieces = list(zip(xs, ys, xs[1:], ys[1:]))
    need(all(y != v and abs(v - y) <= 4 * (u - x) for x, y, u, v in pieces))
    slopes = [Fraction(v - y, u - x) for x, y, u, v in pieces]
    need(not any(first == second for first, second in pairwise(slopes)))
    corners = list(zip(xs, ys))
    figure = frame(corners, read=True)

    def f(x: float) -> float:
        index = next((i for i, right in enumerate(xs[1:]) if x <= right + 1e-9), len(xs) - 2)
        return ys[index] + float(slopes[index]) * (x - xs[index])

    graph(figure, "f", f, corners=xs, domain=(xs[0], xs[-1]))
    facts = tuple(
        point(figure, name, x, y, names=used.get(i, ""), on="f", read=True, red_herring=i not in used)
        for i, (name, (x, y)) in enumerate(zip("ABCDE", corners))
    )
    return figure, facts, corners


_DESCRIPTION = "The graph of the function f is a broken line through the marked points, from left to right."


def _piece(rng: random.Random, last: int = 2) -> tuple[int, dict[int, str], str, str]:
    """A piece at random: its number, the names of its ends' coordinates, and the ends' letters."""
    index = rng.randint(0, last)
    return index, {index: "pq", index + 1: "rs"}, "ABCDE"[index], "ABCDE"[index + 1]


def _rule(first: str, second: str) -> str:
    return f"Between {first} and {second} the graph is straight, and its slope is the rise over the run."


def _value(rng: random.Random) -> Problem:
    index, used, first, second = _piece(rng)
    figure, facts, corners = _broken_line(rng, used)
    (x, _), (u, _) = corners[index : index + 2]
    need(u - x >= 2)
    t = rng.randint(x + 1, u - 1)
    return Problem(
        form="value",
        description=_DESCRIPTION,
        facts=facts,
        question=f"The broken line is the graph of f. Find f({t}).",
        figure=figure,
        steps=(
            Step("m", "the slope", "(s - q) / (r - p)", _rule(first, second)),
            Step(
                "v",
                f"f({t})",
                f"q + m * ({t} - p)",
                f"From {first} to x = {t} the graph rises by the slope per unit.",
            ),
        ),
        mistakes=(
            Mistake("q", f"the height of {first}"),
            Mistake("s", f"the height of {second}"),
            Mistake(f"q - m * ({t} - p)", "the sign of the slope is lost"),
            Mistake("m", "the slope instead of the value"),
            Mistake(f"p + (r - p) / (s - q) * ({t} - q)", "x and y are exchanged"),
            Mistake("v + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _preimage(rng: random.Random) -> Problem:
    index, used, first, second = _piece(rng)
    figure, facts, corners = _broken_line(rng, used)
    (_, y), (_, v) = corners[index : index + 2]
    need(abs(v - y) >= 2)
    k = rng.randint(min(y, v) + 1, max(y, v) - 1)
    return Problem(
        form="where a value is taken",
        description=_DESCRIPTION,
        facts=facts,
        question=f"The broken line is the graph of f. Find x between {first} and {second} with f(x) = {k}.",
        figure=figure,
        steps=(
            Step("m", "the slope", "(s - q) / (r - p)", _rule(first, second)),
            Step(
                "x", "x", f"p + ({k} - q) / m", f"From {first} on, x grows by the rise divided by the slope."
            ),
        ),
        mistakes=(
            Mistake(f"q + m * ({k} - p)", f"f({k}) instead of the place where f is {k}"),
            Mistake(f"p - ({k} - q) / m", "the sign of the slope is lost"),
            Mistake("p", f"the x-coordinate of {first}"),
            Mistake("r", f"the x-coordinate of {second}"),
            Mistake(f"p + ({k} - q) * m", "multiplied by the slope"),
            Mistake("x + 1", "a square miscounted"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _composed(rng: random.Random) -> Problem:
    """f(f(t)) where t is a corner's x and f(t) lies within another piece."""
    start = rng.randint(0, 3)
    index = rng.randint(0, 2)
    need(start not in (index, index + 1))
    figure, facts, corners = _broken_line(rng, {start: "_w", index: "pq", index + 1: "rs"})
    t, inner = corners[start]
    need(corners[index][0] < inner < corners[index + 1][0] and t != inner)
    first, second = "ABCDE"[index], "ABCDE"[index + 1]
    return Problem(
        form="value of a value",
        description=_DESCRIPTION,
        facts=facts,
        question=f"The broken line is the graph of f. Find f(f({t})).",
        figure=figure,
        steps=(
            Step("u", f"f({t})", "w", f"It is the height of {'ABCDE'[start]}."),
            Step("m", "the slope", "(s - q) / (r - p)", _rule(first, second)),
            Step(
                "v",
                f"f({inner})",
                "q + m * (u - p)",
                f"From {first} to x = {inner} the graph rises by the slope per unit.",
            ),
        ),
        mistakes=(
            Mistake("u", "f is taken once only"),
            Mistake("u**2", "the value is squared"),
            Mistake("2 * u", "the value is doubled"),
            Mistake("q - m * (u - p)", "the sign of the slope is lost"),
            Mistake("s", f"the height of {second}"),
            Mistake("q", f"the height of {first}"),
            Mistake(f"{t}", "where f is taken"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _slope(rng: random.Random) -> Problem:
    _, used, first, second = _piece(rng)
    figure, facts, _ = _broken_line(rng, used)
    return Problem(
        form="slope of a piece",
        description=_DESCRIPTION,
        facts=facts,
        question=f"The broken line is the graph of f. Find the slope of f between {first} and {second}.",
        figure=figure,
        steps=(Step("m", "the slope", "(s - q) / (r - p)", _rule(first, second)),),
        mistakes=(
            Mistake("-m", "the sign is lost"),
            Mistake("1 / m", "the run over the rise"),
            Mistake("s - q", "the rise alone"),
            Mistake("r - p", "the run alone"),
            Mistake("m + 1", "a square miscounted"),
            Mistake("s", f"the height of {second}"),
        ),
        sizes=False,
        transforms="stretch",
    )


def _trapezoid(first: str, second: str, low: tuple[str, str], high: tuple[str, str], name: str) -> Step:
    return Step(
        name,
        f"the area under {first}{second}",
        f"({low[1]} + {high[1]}) * ({high[0]} - {low[0]}) / 2",
        "Under a straight piece lies a trapezoid: the mean of its heights by its width.",
    )


def _area(rng: random.Random) -> Problem:
    figure, facts, corners = _broken_line(rng, {0: "ab", 1: "cd", 2: "ef"}, lowest=0, count=3)
    figure.shade((corners[0][0], 0), *corners, (corners[-1][0], 0))
    return Problem(
        form="area",
        description=f"{_DESCRIPTION} The region between the graph and the x-axis from A to C is shaded.",
        facts=facts,
        question="Find the area of the shaded region between the broken line ABC and the x-axis.",
        figure=figure,
        steps=(
            _trapezoid("A", "B", ("a", "b"), ("c", "d"), "s"),
            _trapezoid("B", "C", ("c", "d"), ("e", "f"), "t"),
            Step("v", "the area", "s + t", "The pieces lie side by side."),
        ),
        mistakes=(
            Mistake("2 * v", "the half is forgotten"),
            Mistake("(b + f) * (e - a) / 2", "the corner B is skipped"),
            Mistake("s", "only the first piece"),
            Mistake("t", "only the second piece"),
            Mistake("b * (c - a) + d * (e - c)", "the left heights alone"),
            Mistake("v + 1", "a square miscounted"),
        ),
        transforms="stretch",
    )


def _mean(rng: random.Random) -> Problem:
    """The mean rate of change over several pieces."""
    figure, facts, corners = _broken_line(rng, {0: "pq", 2: "rs"})
    need(corners[0][1] != corners[2][1])
    return Problem(
        form="mean rate of change",
        description=_DESCRIPTION,
        facts=facts,
        question="The broken line is the graph of f. Find the mean rate of change of f from A to C.",
        figure=figure,
        steps=(
            Step(
                "m",
                "the mean rate of change",
                "(s - q) / (r - p)",
                "It is the whole rise over the whole run.",
            ),
        ),
        mistakes=(
            Mistake("(r - p) / (s - q)", "the run over the rise"),
            Mistake("-m", "the sign is lost"),
            Mistake("(s + q) / 2", "the mean of the heights"),
            Mistake("s - q", "the rise alone"),
            Mistake("2 * m", "divided by the wrong run"),
            Mistake("r - p", "the run alone"),
        ),
        sizes=False,
        transforms="stretch",
    )
