"""Angles of polygons; sides, perimeters and areas of regular ones."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.claims import AreEqual, AreEqualAngles, IsLength
from vkit.synthesis.exact import Exact, as_float, evaluate, sqrt, tidy
from vkit.synthesis.facts import Fact, angle, length, with_unit
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Length, Mark, RightAngle, Ticks
from vkit.synthesis.plane.drawing import UNITS, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

_NAMES = {
    3: "an equilateral triangle",
    4: "a square",
    5: "a regular pentagon",
    6: "a regular hexagon",
    8: "a regular octagon",
    9: "a regular nonagon",
    10: "a regular decagon",
}


@family("angles of polygons", "plane")
def angles_of_polygons(rng: random.Random) -> Problem:
    """The missing angle of a quadrilateral or pentagon."""
    count = rng.choice((4, 4, 5))
    names = letters(rng, count)
    inner = [rng.randint(55, 150) for _ in range(count - 1)]
    total = 180 * (count - 2)
    last = total - sum(inner)
    need(50 <= last <= 155)
    figure = _polygon(rng, names, [*inner, last])
    pose(figure, rng)
    given = [
        angle(names[i - 1], names[i], names[(i + 1) % count], inner[i], name="pqrs"[i], label=f"∠{names[i]}")
        for i in range(count - 1)
    ]
    asked, sum_of = names[-1], " + ".join("pqrs"[: count - 1])
    minus = " - ".join("pqrs"[: count - 1])
    return Problem(
        form=f"{count} corners",
        description=f"{', '.join(names[:-1])} and {asked} are the corners of a "
        f"{'quadrilateral' if count == 4 else 'pentagon'}, in this order.",
        facts=tuple(given),
        question=f"Find ∠{asked}.",
        figure=figure,
        steps=(
            Step(
                "t",
                "the sum of the angles",
                f"({count} - 2) * 180",
                f"A polygon with {count} corners is cut into triangles.",
                "°",
            ),
            Step("x", f"∠{asked}", f"t - {minus}", "The given angles are taken off.", "°"),
        ),
        mistakes=(
            Mistake(f"t + 180 - {minus}", "one triangle too many"),
            Mistake(f"t - 180 - {minus}", "one triangle too few"),
            Mistake(
                "180 - s" if count == 5 else "180 - r", "neighbouring angles are supposed to sum to 180°"
            ),
            Mistake("180 - p", "opposite angles are supposed to sum to 180°"),
            Mistake(f"({sum_of}) / {count - 1}", "the mean of the given angles"),
            Mistake("x + 10", "a slip in the arithmetic"),
            Mistake("x - 10", "a slip in the arithmetic"),
        ),
        unit="°",
    )


def _polygon(rng: random.Random, names: list[str], inner: list[int]) -> Figure:
    """A convex polygon with those angles; the last two sides close it."""
    count = len(names)
    directions, turn = [], 0.0
    for index in range(count):
        directions.append(turn)
        turn += 180 - inner[(index + 1) % count]
    x = y = 0.0
    places = [(0.0, 0.0)]
    for degrees in directions[: count - 2]:
        x, y = on_ray(degrees, rng.uniform(0.8, 1.25), (x, y))
        places.append((x, y))
    (a, b), (c, d) = on_ray(directions[-2]), on_ray(directions[-1])
    # s (a, b) + t (c, d) leads back to the start.
    determinant = a * d - b * c
    s, t = (-x * d + y * c) / determinant, (-a * y + b * x) / determinant
    need(0.55 < s < 1.8 and 0.55 < t < 1.8)
    places.append((x + s * a, y + s * b))
    figure = Figure()
    for name, place in zip(names, places):
        figure.point(name, *place)
    figure.polygon(*names)
    return figure


@family("regular polygons", "plane")
def regular_polygons(rng: random.Random) -> Problem:
    """Perimeter, area and side of regular polygons around a center."""
    return one_of(
        rng, _regular_area, _regular_area, _regular_area, _regular_apothem, _regular_apothem, _regular_angle
    )


def _regular(names: list[str], radius: float) -> Figure:
    """A regular polygon around O, its first side level below."""
    count = len(names)
    figure = Figure()
    figure.point("O", 0, 0, dot=True)
    for index, name in enumerate(names):
        figure.point(name, *on_ray(-90 - 180 / count + 360 * index / count, radius))
    figure.polygon(*names)
    return figure


def _is_regular(names: list[str], *, cut: bool = False) -> tuple[Fact, Fact]:
    """The shape, by strokes (and squares) where they say all of it; its center, which only words can say.

    cut: a point lies on the first side, where a stroke would seem to be that of a part.
    """
    count = len(names)
    sides = [(names[i], names[(i + 1) % count]) for i in range(count)]
    corners = [(names[i - 1], names[i], names[(i + 1) % count]) for i in range(count)]
    shown: tuple[Mark, ...] = tuple(Ticks(*side) for side in sides[cut:])
    if count == 4:
        shown += tuple(RightAngle(*corner) for corner in corners)
    elif count > 4 or cut:
        shown = ()  # the strokes alone would not make it regular
    shape = Fact(
        f"{''.join(names)} is {_NAMES[count]}",
        shown,
        (
            *(AreEqual(sides[0], side) for side in sides[1:]),
            *(AreEqualAngles(corners[0], other) for other in corners[1:]),
        ),
    )
    center = tuple(AreEqual(("O", names[0]), ("O", name)) for name in names[1:])
    return shape, Fact(
        "O is its center" if not shown else f"O is the center of {''.join(names)}", claims=center
    )


def _described(names: list[str]) -> str:
    return (
        f"{', '.join(names[:-1])} and {names[-1]} are the corners of a polygon, in this order; O lies inside."
    )


# Of a polygon with n sides of length 1: radius, apothem and area.
_OF_SIDE = {
    3: ("1 / sqrt(3)", "sqrt(3) / 6", "sqrt(3) / 4"),
    4: ("sqrt(2) / 2", "1 / 2", "1"),
    6: ("1", "sqrt(3) / 2", "3 * sqrt(3) / 2"),
}


def _size(rng: random.Random) -> Exact:
    return tidy(Fraction(rng.randint(4, 240), rng.choice((1, 2, 2, 3))))


def _regular_area(rng: random.Random) -> Problem:
    count = rng.choice((3, 4, 6, 6))
    names = letters(rng, count)
    unit = rng.choice(UNITS)
    square = f"{unit}²" if unit else ""
    radius = _size(rng) * rng.choice((1, 1, sqrt(2) if count == 4 else sqrt(3)))
    figure = _regular(names, as_float(radius))
    a, b = names[0], names[1]
    figure.segment("O", a, dashed=True)
    pose(figure, rng)
    of_area = rng.random() < 0.6
    side = {3: "r * sqrt(3)", 4: "r * sqrt(2)", 6: "r"}[count]
    reason = {
        3: "The side of an equilateral triangle is √3 times its radius.",
        4: "The side of a square is √2 times its radius.",
        6: "A regular hexagon is made of six equilateral triangles around its center.",
    }[count]
    area = {3: "s**2 * sqrt(3) / 4", 4: "s**2", 6: "6 * s**2 * sqrt(3) / 4"}[count]
    last = (
        Step("t", "the area", area, {
            3: "The area of an equilateral triangle is √3 / 4 times the square of its side.",
            4: "The area of a square is the square of its side.",
            6: "Each triangle has √3 / 4 times the square of its side as area.",
        }[count], square)
        if of_area
        else Step("t", "the perimeter", f"{count} * s", "All sides are equal.", unit)
    )  # fmt: skip
    return Problem(
        form=f"{'area' if of_area else 'perimeter'} of {count} corners from radius",
        description=_described(names),
        facts=(*_is_regular(names), length("O", a, radius, unit, name="r")),
        question=f"Find the {'area' if of_area else 'perimeter'} of the polygon {''.join(names)}.",
        figure=figure,
        steps=(Step("s", f"{a}{b}", side, reason, unit), last),
        mistakes=(
            Mistake("t / 2", "only half of the polygon"),
            Mistake("t * 2", "a factor too many"),
            Mistake("r**2", "the square of the radius") if of_area else Mistake("s", "only one side"),
            Mistake(f"{count} * r" if not of_area else "3 * r**2", "the radius is taken for the side"),
            Mistake(f"t / {count}", "only one part"),
            Mistake("t * sqrt(3)", "a wrong factor"),
            Mistake("t * sqrt(2)", "a wrong factor"),
        ),
        unit=square if of_area else unit,
    )


def _regular_apothem(rng: random.Random) -> Problem:
    """The area from side and apothem."""
    count = rng.choice((3, 4, 6))
    names = letters(rng, count + 1)
    *names, m = names
    unit = rng.choice(UNITS)
    square = f"{unit}²" if unit else ""
    side = _size(rng)
    radius_of, apothem_of, _ = _OF_SIDE[count]
    figure = _regular(names, as_float(side) * as_float(evaluate(radius_of, {})))
    a, b = names[0], names[1]
    (x, y), (u, v) = figure.at(a), figure.at(b)
    figure.point(m, (x + u) / 2, (y + v) / 2)
    figure.segment("O", m, dashed=True)
    pose(figure, rng)
    apothem = evaluate(f"s * ({apothem_of})", {"s": side})
    shown, parts = with_unit(side, unit), f"The center cuts it into {count} such triangles."
    return Problem(
        form=f"area of {count} corners from side",
        description=f"{_described(names)} The point {m} is the midpoint of {a}{b}.",
        facts=(
            *_is_regular(names, cut=True),
            # Written at another side, which is equal: at this one the apothem ends.
            Fact(f"{a}{b} = {shown}", (Length(b, names[2], shown),), (IsLength(a, b, side),), {"s": side}),
            length("O", m, apothem, unit, name="d"),
        ),
        question=f"Find the area of the polygon {''.join(names)}.",
        figure=figure,
        steps=(
            Step("p", f"the area of triangle {a}{b}O", "s * d / 2", f"O{m} is its height.", square),
            Step("t", "the area of the polygon", f"{count} * p", parts, square),
        ),
        mistakes=(
            Mistake(f"{count} * s * d", "the half of each triangle is forgotten"),
            Mistake("p", "only one triangle"),
            Mistake(f"{count} * s", "the perimeter"),
            Mistake("t / 2", "a half too many"),
            Mistake("s * d", "only one rectangle"),
            Mistake("s**2", "the square of the side"),
        ),
        unit=square,
    )


def _regular_angle(rng: random.Random) -> Problem:
    count = rng.choice((5, 6, 8, 9, 10))
    names = letters(rng, count)
    figure = _regular(names, 1.0)
    i = rng.randrange(count)
    steps_on = rng.randint(2, count - 3)
    a, b, c = names[i], names[(i + steps_on) % count], names[(i + 1) % count]
    figure.segment(a, b)
    pose(figure, rng)
    between = steps_on - 1
    arcs = f"The circle around the polygon is cut into {count} equal arcs."
    over = f"It is an inscribed angle over {between} of these arcs."
    return Problem(
        form=f"angle of side and diagonal, {count} corners, {steps_on} on",
        description=f"{_described(names)} The diagonal {a}{b} is drawn.",
        facts=_is_regular(names),
        question=f"Find ∠{c}{a}{b}.",
        figure=figure,
        steps=(
            Step("w", "the central angle of a side", f"360 / {count}", arcs, "°"),
            Step("x", f"∠{c}{a}{b}", f"{between} * w / 2" if between > 1 else "w / 2", over, "°"),
        ),
        mistakes=(
            Mistake(f"{between} * w", "the central angle"),
            Mistake("180 - w", "an interior angle"),
            Mistake(f"{steps_on} * w / 2", "one arc too many"),
            Mistake("w / 2 * 5", "arcs are miscounted"),
            Mistake("180 - x", "the supplement"),
            Mistake("90 - w / 2", "half of an interior angle"),
        ),
        unit="°",
    )
