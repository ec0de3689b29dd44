"""Chords of circles: length, distance from the center, products of parts."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import as_float, pleasant, sqrt
from vkit.synthesis.facts import length, perpendicular
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.circles import circle_of
from vkit.synthesis.plane.drawing import UNITS, letters, need, on_ray, pose, whole_sides
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("chords", "plane")
def chords(rng: random.Random) -> Problem:
    """Chords and their distance from the center; products of the parts of crossing chords."""
    return one_of(rng, _distance_of_chord, _chord_length, _sagitta, _product_of_parts)


def _chord(rng: random.Random, a: str, b: str, m: str) -> tuple[Figure, int, int, int, str]:
    """A chord AB with its midpoint M: (figure, half of it, distance, radius, unit), all whole."""
    half, distance, radius = whole_sides(rng)
    need(half > 0.35 * radius)
    return _drawn(a, b, m, half, distance, radius), half, distance, radius, rng.choice(UNITS)


def _drawn(a: str, b: str, m: str, half: float, distance: float, radius: float) -> Figure:
    """The chord below the center."""
    need(0.22 < distance / radius < 0.9)
    figure = circle_of({}, radius)
    figure.point(a, -half, -distance), figure.point(b, half, -distance), figure.point(m, 0, -distance)
    figure.segment(a, m, b)
    figure.segment("O", m)
    return figure


def _leg(radius: int, other: int) -> float:
    """Of a right triangle with that hypotenuse."""
    exact = sqrt(radius**2 - other**2)
    need(pleasant(exact))
    return as_float(exact)


def _distance_of_chord(rng: random.Random) -> Problem:
    a, b, m = letters(rng, 3)
    figure, half, _, radius, unit = _chord(rng, a, b, m)
    if rng.random() < 0.6:
        half = rng.randint(3, 60)
        radius = rng.randint(half + 1, 2 * half)
        figure = _drawn(a, b, m, half, _leg(radius, half), radius)
    figure.segment("O", a)
    pose(figure, rng)
    return Problem(
        form="distance of a chord",
        description=f"{a}{b} is a chord of the circle with center O, and {m} lies on {a}{b}.",
        facts=(
            perpendicular(("O", m), (a, b), ("O", m, a)),
            length("O", a, radius, unit, name="r"),
            length(a, b, 2 * half, unit, name="s", dimension=True),
        ),
        question=f"Find O{m}.",
        figure=figure,
        steps=(
            Step("h", f"{a}{m}", "s / 2", "The perpendicular from the center bisects a chord.", unit),
            Step("d", f"O{m}", "sqrt(r**2 - h**2)", f"By the Pythagorean theorem in triangle O{m}{a},", unit),
        ),
        mistakes=(
            Mistake("h", "the solution stops too early"),
            Mistake("r - h", "the lengths are subtracted, not their squares"),
            Mistake("r / 2", "half of the radius"),
            Mistake("sqrt(abs(s**2 - r**2))", "the chord is not halved"),
            Mistake("sqrt(r**2 + h**2)", "the squares are added"),
        ),
        unit=unit,
    )


def _chord_length(rng: random.Random) -> Problem:
    a, b, m = letters(rng, 3)
    figure, _, distance, radius, unit = _chord(rng, a, b, m)
    if rng.random() < 0.6:
        distance = rng.randint(2, 50)
        radius = rng.randint(distance + 1, 4 * distance)
        figure = _drawn(a, b, m, _leg(radius, distance), distance, radius)
    figure.segment("O", a)
    pose(figure, rng)
    return Problem(
        form="length of a chord",
        description=f"{a}{b} is a chord of the circle with center O, and {m} lies on {a}{b}.",
        facts=(
            perpendicular(("O", m), (a, b), ("O", m, a)),
            length("O", a, radius, unit, name="r"),
            length("O", m, distance, unit, name="d"),
        ),
        question=f"Find {a}{b}.",
        figure=figure,
        steps=(
            Step(
                "h", f"{a}{m}", "sqrt(r**2 - d**2)", f"By the Pythagorean theorem in triangle O{m}{a},", unit
            ),
            Step("s", f"{a}{b}", "2 * h", "The perpendicular from the center bisects a chord.", unit),
        ),
        mistakes=(
            Mistake("h", "half of the chord"),
            Mistake("2 * sqrt(r**2 + d**2)", "the squares are added"),
            Mistake("2 * (r - d)", "the lengths are subtracted, not their squares"),
            Mistake("2 * r", "the diameter"),
            Mistake("r + d", "the lengths are added"),
        ),
        unit=unit,
    )


def _sagitta(rng: random.Random) -> Problem:
    a, b, m, c = letters(rng, 4)
    figure, half, distance, radius, unit = _chord(rng, a, b, m)
    figure.lines.pop()
    figure.point(c, 0, -radius)
    figure.segment(m, c)
    figure.segment("O", m, dashed=True)
    figure.segment("O", a, dashed=True)
    need(radius - distance > 0.2 * radius)
    pose(figure, rng)
    return Problem(
        form="radius from the height of an arc",
        description=f"{a}{b} is a chord of the circle with center O; the radius O{c} meets it at {m}.",
        facts=(
            perpendicular(("O", c), (a, b), ("O", m, a)),
            length(a, m, half, unit, name="h"),
            length(m, c, radius - distance, unit, name="t"),
        ),
        question="Find the radius of the circle.",
        figure=figure,
        steps=(
            Step(
                "r",
                "the radius r",
                "(h**2 + t**2) / (2 * t)",
                f"In triangle O{m}{a}, r² = {a}{m}² + (r - {m}{c})².",
                unit,
            ),
        ),
        mistakes=(
            Mistake("(4 * h**2 + t**2) / (2 * t)", "the whole chord is taken for its half"),
            Mistake("h + t", "the lengths are added"),
            Mistake("(h**2 + t**2) / t", "the diameter"),
            Mistake("r - t", "the distance of the chord"),
            Mistake("sqrt(h**2 + t**2)", "the chord of half of the arc"),
        ),
        unit=unit,
    )


def _product_of_parts(rng: random.Random) -> Problem:
    a, b, c, d, p = letters(rng, 5)
    unit = rng.choice(UNITS)
    x, y, z = rng.randint(2, 60), rng.randint(2, 60), rng.randint(2, 60)
    need(x * y % z == 0 and z not in (x, y))
    w = x * y // z
    need(
        0.3 * max(x, y) < min(x, y)
        and 0.3 * max(z, w) < min(z, w)
        and max(x + y, z + w) < 1.6 * min(x + y, z + w)
    )
    # P at the origin, AB level, CD at an angle: the circle through A, B and C passes D.
    tilt = rng.uniform(55, 125)
    places = {a: (-x, 0.0), b: (float(y), 0.0), c: on_ray(tilt, z), d: on_ray(tilt + 180, w)}
    center_x = (y - x) / 2
    (u, v) = places[c]
    center_y = ((u - center_x) ** 2 + v * v - (y - center_x) ** 2) / (2 * v)
    radius = math.dist((center_x, center_y), places[b])
    need(math.dist((center_x, center_y), (0, 0)) > 0.18 * radius)
    figure = Figure()
    for name, place in places.items():
        figure.point(name, *place)
    figure.point(p, 0, 0)
    figure.point("O", center_x, center_y, letter=False)
    figure.circle("O", radius)
    figure.segment(a, p, b)
    figure.segment(c, p, d)
    pose(figure, rng)
    return Problem(
        form="crossing chords",
        description=f"The chords {a}{b} and {c}{d} of a circle cross at {p}.",
        facts=(
            length(a, p, x, unit, name="x"),
            length(p, b, y, unit, name="y"),
            length(c, p, z, unit, name="z"),
        ),
        question=f"Find {p}{d}.",
        figure=figure,
        steps=(
            Step(
                "w",
                f"{p}{d}",
                "x * y / z",
                f"The products of the parts of crossing chords are equal: {a}{p} × {p}{b} = {c}{p} × {p}{d}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("x + y - z", "the sums are supposed to be equal"),
            Mistake("x * z / y", "other parts are multiplied"),
            Mistake("y * z / x", "other parts are multiplied"),
            Mistake("x + y", "the whole chord"),
            Mistake("z", "the chord is supposed to be bisected"),
            Mistake("w + 2", "a slip in the arithmetic"),
        ),
        unit=unit,
    )
