"""Right triangles by the ratios of their sides: the special ones, sine, cosine and tangent."""

from __future__ import annotations

import random

from vkit.synthesis.exact import as_float, show, sqrt
from vkit.synthesis.facts import Fact, angle, length, right_angle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, letters, need, pose, whole_sides
from vkit.synthesis.plane.right_triangles import PYTHAGORAS, right_triangle
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("special right triangles", "plane")
def special(rng: random.Random) -> Problem:
    """Right triangles with 45°, 30° and 60°: sides are surds."""
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    degrees = rng.choice((30, 45, 60))
    # Side BC lies opposite A, which has the given angle; AB is the hypotenuse.
    ratios = {30: ("1", "sqrt(3)", "2"), 45: ("1", "1", "sqrt(2)"), 60: ("sqrt(3)", "1", "2")}[degrees]
    given, asked = rng.sample(range(3), 2)
    value = rng.randint(2, 60) * rng.choice((1, 1, sqrt(2) if degrees == 45 else sqrt(3)))
    scale = as_float(value) / _number(ratios[given])
    need(ratios[given] != ratios[asked])
    figure = right_triangle(rng, [a, b, c], scale * _number(ratios[0]), scale * _number(ratios[1]))
    pose(figure, rng)
    sides = ((b, c), (a, c), (a, b))
    asked_name = "".join(sides[asked])
    rule = {30: "1 : √3 : 2", 45: "1 : 1 : √2", 60: "1 : √3 : 2"}[degrees]
    expression = _ratio(ratios[asked], ratios[given])
    others = [
        f"g * {ratio}" for ratio in ("sqrt(3)", "sqrt(2)", "2", "sqrt(3) / 2", "sqrt(2) / 2", "sqrt(3) / 3")
    ]
    rng.shuffle(others)
    return Problem(
        form=f"{degrees}°: {'abc'[asked]} from {'abc'[given]}",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(
            right_angle(a, c, b),
            _known_angle(b, a, c, degrees),
            length(*sides[given], value, unit, name="g"),
        ),
        question=f"Find {asked_name}.",
        figure=figure,
        steps=(
            Step(
                "r",
                asked_name,
                expression,
                f"The sides of a triangle with {degrees}°, {90 - degrees}° and 90° are as {rule}.",
                unit,
            ),
        ),
        mistakes=tuple(Mistake(wrong, "the sides are put in another ratio") for wrong in others),
        unit=unit,
    )


def _known_angle(b: str, a: str, c: str, degrees: int) -> Fact:
    """An angle that the rule names and no expression uses."""
    fact = angle(b, a, c, degrees, name="w", label=f"∠{a}")
    return Fact(fact.text, fact.marks, fact.claims)


def _ratio(asked: str, given: str) -> str:
    """The given side times the ratio of two sides, shortened by hand for the reader."""
    table = {
        ("sqrt(3)", "1"): "g * sqrt(3)",
        ("sqrt(2)", "1"): "g * sqrt(2)",
        ("2", "1"): "2 * g",
        ("1", "2"): "g / 2",
        ("1", "sqrt(3)"): "g / sqrt(3)",
        ("1", "sqrt(2)"): "g / sqrt(2)",
        ("2", "sqrt(3)"): "2 * g / sqrt(3)",
        ("sqrt(3)", "2"): "g * sqrt(3) / 2",
    }
    return table[asked, given]


def _number(ratio: str) -> float:
    return {"1": 1.0, "2": 2.0, "sqrt(2)": 2**0.5, "sqrt(3)": 3**0.5}[ratio]


@family("ratios of sides", "plane")
def ratios(rng: random.Random) -> Problem:
    """Sine, cosine and tangent in right triangles with whole sides."""
    return one_of(rng, _find_ratio, _use_ratio)


_RATIOS = {"sin": ("a", "c"), "cos": ("b", "c"), "tan": ("a", "b")}


def _find_ratio(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    x, y, z = whole_sides(rng)
    figure = right_triangle(rng, [a, b, c], x, y)
    pose(figure, rng)
    sides = {"a": (b, c, x), "b": (a, c, y), "c": (a, b, z)}
    name = rng.choice(sorted(_RATIOS))
    top, bottom = _RATIOS[name]
    given = rng.sample("abc", 2)
    missing = ({"a", "b", "c"} - set(given)).pop()
    need(missing in (top, bottom))
    how = {"a": "sqrt(c**2 - b**2)", "b": "sqrt(c**2 - a**2)", "c": "sqrt(a**2 + b**2)"}[missing]
    words = {
        "sin": "opposite side / hypotenuse",
        "cos": "adjacent side / hypotenuse",
        "tan": "opposite side / adjacent side",
    }
    return Problem(
        form=f"find {name}",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(
            right_angle(a, c, b),
            *(length(*sides[side][:2], sides[side][2], unit, name=side) for side in sorted(given)),
        ),
        question=f"Find {name} {a}.",
        figure=figure,
        steps=(
            Step(missing, "".join(sides[missing][:2]), how, PYTHAGORAS, unit),
            Step("r", f"{name} {a}", f"{top} / {bottom}", f"{name} = {words[name]}."),
        ),
        mistakes=tuple(
            Mistake(wrong, "other sides are divided")
            for wrong in ("a / c", "b / c", "a / b", "b / a", "c / b", "c / a")
        ),
    )


def _use_ratio(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    unit = rng.choice(UNITS)
    x, y, z = triple = rng.choice(TRIPLES)
    factor = rng.randint(2, 40)
    if rng.random() < 0.5:
        x, y = y, x
        triple = (x, y, z)
    figure = right_triangle(rng, [a, b, c], x * factor, y * factor)
    pose(figure, rng)
    name, top, bottom = rng.choice((("sin", 0, 2), ("cos", 1, 2), ("tan", 0, 1)))
    sides = ((b, c), (a, c), (a, b))
    ratio = f"{triple[top]}/{triple[bottom]}"
    asked, given = (top, bottom) if rng.random() < 0.5 else (bottom, top)
    expression = "g * n / d" if asked == top else "g * d / n"
    wrong = "g * d / n" if asked == top else "g * n / d"
    value = triple[given] * factor
    asked_name = "".join(sides[asked])
    return Problem(
        form=f"use {name}: {'abc'[asked]} from {'abc'[given]}",
        description=f"{a}, {b} and {c} are the corners of a triangle.",
        facts=(
            right_angle(a, c, b),
            Fact(f"{name} {a} = {ratio}", values={"n": triple[top], "d": triple[bottom]}),
            length(*sides[given], value, unit, name="g"),
        ),
        question=f"Find {asked_name}.",
        figure=figure,
        steps=(
            Step(
                "r",
                asked_name,
                expression,
                f"{name} {a} = {''.join(sides[top])} / {''.join(sides[bottom])} = {ratio}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake(wrong, "the ratio is turned around"),
            Mistake(f"g * {triple[3 - top - bottom]} / {triple[bottom]}", "another ratio of the triangle"),
            Mistake(f"g * {triple[3 - top - bottom]} / {triple[top]}", "another ratio of the triangle"),
            Mistake("g * n", "the denominator is forgotten"),
            Mistake("g + d - n", "differences are taken for ratios"),
            Mistake(f"{show(value)} * 2", "the side is doubled"),
        ),
        unit=unit,
    )
