"""Problems that ask for x: two angles are terms in it that sum to something, or are equal."""

from __future__ import annotations

import random

from vkit.synthesis.facts import Fact, angle_with_unknown
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import linear, need
from vkit.synthesis.problem import Mistake, Problem, Step


def terms_in_x(rng: random.Random, total: int | None) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """x and two terms (factor, constant) in it: with that sum, or equal where there is none."""
    x, m, n = rng.randint(6, 45), rng.randint(1, 7), rng.randint(1, 7)
    k = rng.choice([0, rng.randint(3, 60), -rng.randint(3, 40)])
    rest = (total - m * x - k) if total is not None else m * x + k
    l = rest - n * x  # noqa: E741
    need(m != n and abs(l) <= 80 and 25 <= m * x + k <= 150 and 25 <= rest <= 150)
    return x, (m, k), (n, l)


def _signed(name: str, constant: int, sign: int = 1) -> str:
    """A constant's part of an expression, by the name of its size: " + k", " - k" or nothing."""
    return "" if constant == 0 else f" {'+' if constant * sign > 0 else '-'} {name}"


def _sizes(names: str, *terms: tuple[int, int]) -> list[dict[str, int]]:
    """The numbers of terms by name: factor and the constant's size, where there is one."""
    pairs = [(names[2 * i], names[2 * i + 1], term) for i, term in enumerate(terms)]
    return [{f: m} | ({c: abs(k)} if k else {}) for f, c, (m, k) in pairs]


def sum_to(
    total: int,
    form: str,
    rule: str,
    x: int,
    terms: tuple[tuple[int, int], tuple[int, int]],
    angles: tuple[tuple[str, str, str], tuple[str, str, str]],
    figure: Figure,
    description: str,
    more_facts: tuple[Fact, ...] = (),
) -> Problem:
    """Two angles in x that sum to ``total``; x is asked."""
    (m, k), (n, l) = terms  # noqa: E741
    first, second = _sizes("mknl", *terms)
    values = {"x": x}
    texts = linear(m, k), linear(n, l)
    return Problem(
        form=form,
        description=description,
        facts=(
            *more_facts,
            angle_with_unknown(*angles[0], texts[0], m * values["x"] + k, values=first),
            angle_with_unknown(*angles[1], texts[1], n * values["x"] + l, values=second),
        ),
        question="Find the value of x.",
        figure=figure,
        steps=(
            Step("s", "the sum of the factors of x", "m + n", f"{rule}: {texts[0]} + {texts[1]} = {total}°."),
            Step(
                "x",
                "x",
                f"({total}{_signed('k', k, -1)}{_signed('l', l, -1)}) / s",
                "The constants are taken to the other side.",
            ),
        ),
        mistakes=(
            Mistake(
                f"({total}{_signed('k', k)}{_signed('l', l)}) / s", "the signs of the constants are lost"
            ),
            Mistake(f"m * x{_signed('k', k)}", "the first angle instead of x"),
            Mistake(f"n * x{_signed('l', l)}", "the second angle instead of x"),
            Mistake(f"{total} / s", "the constants are forgotten"),
            Mistake(
                f"({360 - total}{_signed('k', k, -1)}{_signed('l', l, -1)}) / s", "another sum of angles"
            ),
            Mistake("x + 5", "a slip in the arithmetic"),
            Mistake("x + 10", "a slip in the arithmetic"),
        ),
    )


def equal_in(
    form: str,
    rule: str,
    x: int,
    terms: tuple[tuple[int, int], tuple[int, int]],
    angles: tuple[tuple[str, str, str], tuple[str, str, str]],
    figure: Figure,
    description: str,
    more_facts: tuple[Fact, ...] = (),
) -> Problem:
    """Two equal angles in x; x is asked. The first has the larger factor."""
    (m, k), (n, l) = terms  # noqa: E741
    first, second = _sizes("mknl", *terms)
    texts = linear(m, k), linear(n, l)
    return Problem(
        form=form,
        description=description,
        facts=(
            *more_facts,
            angle_with_unknown(*angles[0], texts[0], m * x + k, values=first),
            angle_with_unknown(*angles[1], texts[1], n * x + l, values=second),
        ),
        question="Find the value of x.",
        figure=figure,
        steps=(
            Step("d", "the difference of the factors of x", "m - n", f"{rule}: {texts[0]} = {texts[1]}."),
            Step(
                "x",
                "x",
                f"({'l' if l > 0 else '-l'}{_signed('k', k, -1)}) / d",
                "The terms in x are taken to one side.",
            ),
        ),
        mistakes=(
            Mistake(f"({'l' if l > 0 else '-l'}{_signed('k', k)}) / d", "a sign is lost"),
            Mistake(f"m * x{_signed('k', k)}", "the angle instead of x"),
            Mistake(
                f"(180{_signed('k', k, -1)}{_signed('l', l, -1)}) / (m + n)", "the sum is taken for 180°"
            ),
            Mistake(f"abs({'l' if l > 0 else '-l'}{_signed('k', k, -1)}) / (m + n)", "the factors are added"),
            Mistake(f"180 - m * x{_signed('k', k, -1)}", "the neighbouring angle"),
            Mistake("x + 5", "a slip in the arithmetic"),
        ),
    )
