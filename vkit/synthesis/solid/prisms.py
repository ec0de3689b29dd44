"""Prisms on triangles, trapezoids and hexagons, lying or upright."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vkit.synthesis.marks import Length, RightAngle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import Polyhedron, lying_prism, prism
from vkit.synthesis.solid.drawing import Solid, axonometric, boxlike
from vkit.synthesis.solid.facts import cubed, given, solid_problem, squared, stated

_VOLUME = "The volume of a prism is the area of its base times its length."


@family("prisms", "solid")
def prisms(rng: random.Random) -> Problem:
    """Volume, surface and length of prisms."""
    return one_of(rng, _right_triangle, _right_triangle, _surface, _roof, _length, _trapezoid, _hexagon)


def _lying(
    rng: random.Random, profile: Sequence[tuple[float, float]], depth: float
) -> tuple[Solid, Polyhedron]:
    """A prism with its end in front; corners 0, 1, ... in front, and as many behind."""
    figure = Solid.seen(boxlike(rng))
    body = lying_prism(profile, depth)
    figure.add(body)
    figure.corners("0123456789ab"[: len(body.corners)], body, letters=False)
    return figure, body


def _depth_edge(figure: Solid, left: int, right: int, count: int) -> tuple[str, str]:
    """The bottom edge along the prism that is on the outline, at a corner of its end."""
    corner = right if figure.view.toward[0] > 0 else left
    return str(corner), str(corner + count)


def _right_triangle(rng: random.Random) -> Problem:
    p, q, length = rng.randint(2, 30), rng.randint(2, 30), rng.randint(3, 40)
    need(0.5 * q <= p <= 2 * q and 0.5 * max(p, q) <= length <= 3 * max(p, q))
    unit = rng.choice(UNITS)
    figure, body = _lying(rng, ((0, 0), (p, 0), (0, q)), length)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume on a right triangle",
        description="The solid is a right prism; its base is a right triangle.",
        facts=(
            given("one leg of the right triangle is", "0", "1", p, unit, name="p"),
            given("the other leg is", "0", "2", q, unit, name="q"),
            given("the length of the prism is", *_depth_edge(figure, 0, 1, 3), length, unit, name="l"),
        ),
        question="Find its volume.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "p * q / 2", "The legs are perpendicular.", squared(unit)),
            Step("v", "the volume", "g * l", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("p * q * l", "the half of the triangle is forgotten"),
            Mistake("g * l / 3", "the prism is taken for a pyramid"),
            Mistake("p * q * l / 3", "a third instead of a half"),
            Mistake("(p + q) * l", "the walls are counted"),
            Mistake("g + p * l + q * l", "areas are added"),
        ),
        unit=cubed(unit),
        extra_marks=(RightAngle("1", "0", "2"),),
    )


def _surface(rng: random.Random) -> Problem:
    p, q, z = rng.choice(TRIPLES[:6])
    if rng.random() < 0.5:
        p, q = q, p
    k, length = rng.randint(1, 9), rng.randint(3, 60)
    p, q, z = p * k, q * k, z * k
    need(0.5 * q <= p <= 2.4 * q and 0.5 * max(p, q) <= length <= 3 * max(p, q))
    unit = rng.choice(UNITS)
    figure, body = _lying(rng, ((0, 0), (p, 0), (0, q)), length)
    figure.draw()
    side = rng.random() < 0.35
    areas = body.areas()
    return solid_problem(
        asked="side" if side else "surface",
        measured=sum(areas[2:]) if side else sum(areas),
        form="lateral surface on a right triangle" if side else "surface on a right triangle",
        description="The solid is a right prism; its base is a right triangle.",
        facts=(
            given("one leg of the right triangle is", "0", "1", p, unit, name="p"),
            given("the other leg is", "0", "2", q, unit, name="q"),
            given("the length of the prism is", *_depth_edge(figure, 0, 1, 3), length, unit, name="l"),
        ),
        question=f"Find its {'lateral' if side else 'total'} surface area.",
        figure=figure,
        steps=(
            Step(
                "z", "the hypotenuse", "sqrt(p**2 + q**2)", "Pythagoras' theorem holds in the triangle.", unit
            ),
            Step(
                "m",
                "the lateral surface area",
                "(p + q + z) * l",
                "The walls go once around the triangle.",
                squared(unit),
            ),
            *(
                ()
                if side
                else (
                    Step(
                        "s",
                        "the total surface area",
                        "m + p * q",
                        "Two triangles of area p × q / 2 are added.".replace("p × q", f"{p} × {q}"),
                        squared(unit),
                    ),
                )
            ),
        ),
        mistakes=(
            Mistake("m + p * q / 2", "one triangle only"),
            Mistake("m + p * q" if side else "m", "the triangles are counted, or forgotten"),
            Mistake("m + 2 * p * q", "the half of a triangle is forgotten"),
            Mistake("(p + q) * l + p * q", "one wall is forgotten"),
            Mistake("p * q * l / 2", "the volume"),
            Mistake("(p + q) * l", "one wall is forgotten"),
        ),
        unit=squared(unit),
        extra_marks=(RightAngle("1", "0", "2"),),
    )


def _roof(rng: random.Random) -> Problem:
    base, height, length = rng.randint(3, 40), rng.randint(2, 30), rng.randint(3, 40)
    need(0.35 * base <= height <= 1.2 * base and 0.5 * base <= length <= 2.5 * base)
    unit = rng.choice(UNITS)
    figure, body = _lying(rng, ((0, 0), (base, 0), (base / 2, height)), length)
    figure.point("H", base / 2, 0, 0, letter=False)
    figure.line("2", "H")
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a roof",
        description="The solid is a right prism with the shape of a tent; its base is an isosceles triangle.",
        facts=(
            given("the side on which the triangle stands is", "0", "1", base, unit, name="b", dimension=True),
            given("the height of the triangle is", "2", "H", height, unit, name="h"),
            given("the length of the prism is", *_depth_edge(figure, 0, 1, 3), length, unit, name="l"),
        ),
        question="Find its volume.",
        figure=figure,
        steps=(
            Step("g", "the area of the triangle", "b * h / 2", "It is half of base × height.", squared(unit)),
            Step("v", "the volume", "g * l", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("b * h * l", "the half of the triangle is forgotten"),
            Mistake("g * l / 3", "the prism is taken for a pyramid"),
            Mistake("b * h * l / 3", "a third instead of a half"),
            Mistake("g * l / 2", "the half is taken twice"),
            Mistake("(b + h) * l", "sizes are added"),
        ),
        unit=cubed(unit),
        extra_marks=(RightAngle("2", "H", "1"),),
    )


def _length(rng: random.Random) -> Problem:
    p, q, length = rng.randint(2, 30), rng.randint(2, 30), rng.randint(3, 40)
    need(0.5 * q <= p <= 2 * q and 0.5 * max(p, q) <= length <= 3 * max(p, q) and p * q % 2 == 0)
    unit = rng.choice(UNITS)
    figure, body = _lying(rng, ((0, 0), (p, 0), (0, q)), length)
    figure.draw()
    edge = _depth_edge(figure, 0, 1, 3)
    return solid_problem(
        asked="length 0 3",
        measured=figure.length("0", "3"),
        form="length from volume",
        description="The solid is a right prism; its base is a right triangle.",
        facts=(
            given("one leg of the right triangle is", "0", "1", p, unit, name="p"),
            given("the other leg is", "0", "2", q, unit, name="q"),
            stated("the volume of the prism is", p * q * length // 2, cubed(unit), body.volume(), name="v"),
        ),
        question="Find the length l of the prism.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "p * q / 2", "The legs are perpendicular.", squared(unit)),
            Step("l", "l", "v / g", _VOLUME, unit),
        ),
        mistakes=(
            Mistake("v / (p * q)", "the half of the triangle is forgotten"),
            Mistake("3 * v / g", "the prism is taken for a pyramid"),
            Mistake("v / (p + q)", "the legs are added"),
            Mistake("3 * v / (p * q)", "the third of a pyramid"),
            Mistake("2 * v / g", "the half is taken twice"),
        ),
        unit=unit,
        extra_marks=(RightAngle("1", "0", "2"), Length(*edge, "l")),
    )


def _trapezoid(rng: random.Random) -> Problem:
    a, c, h, length = rng.randint(6, 40), rng.randint(2, 30), rng.randint(2, 24), rng.randint(3, 40)
    need(0.35 * a <= c <= 0.75 * a and 0.3 * a <= h <= 0.9 * a and 0.5 * a <= length <= 2 * a)
    unit = rng.choice(UNITS)
    even = rng.random() < 0.5
    start = (a - c) / 2 if even else 0
    figure, body = _lying(rng, ((0, 0), (a, 0), (start + c, h), (start, h)), length)
    marks: tuple = ()
    if even:
        figure.point("H", start, 0, 0, letter=False)
        figure.line("3", "H")
        marks = (RightAngle("3", "H", "1"),)
    else:
        marks = (RightAngle("3", "0", "1"),)
    figure.draw()
    height = ("3", "H") if even else ("3", "0")
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume on a trapezoid",
        description="The solid is a right prism; its base is a trapezoid.",
        facts=(
            given(
                "one of the parallel sides of the trapezoid is", "0", "1", a, unit, name="a", dimension=even
            ),
            given("the other one is", "3", "2", c, unit, name="c"),
            given("the height of the trapezoid is", *height, h, unit, name="h"),
            given("the length of the prism is", *_depth_edge(figure, 0, 1, 4), length, unit, name="l"),
        ),
        question="Find its volume.",
        figure=figure,
        steps=(
            Step(
                "g",
                "the area of the trapezoid",
                "(a + c) * h / 2",
                "It is the mean of the parallel sides times the height.",
                squared(unit),
            ),
            Step("v", "the volume", "g * l", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("(a + c) * h * l", "the half of the trapezoid is forgotten"),
            Mistake("a * h * l", "the trapezoid is taken for a rectangle"),
            Mistake("c * h * l", "the trapezoid is taken for a rectangle"),
            Mistake("g * l / 3", "the prism is taken for a pyramid"),
            Mistake("a * c * h * l / 2", "the sides are multiplied"),
        ),
        unit=cubed(unit),
        extra_marks=marks,
    )


def _hexagon(rng: random.Random) -> Problem:
    a, h = rng.randint(2, 20), rng.randint(2, 60)
    need(a <= h <= 3.5 * a)
    sides = rng.choice((3, 6))
    unit = rng.choice(UNITS)
    what = rng.choice(("volume", "surface"))
    radius = a if sides == 6 else a / math.sqrt(3)
    start = rng.choice((0, 30)) if sides == 3 else 0
    base = [
        (
            radius * math.cos(math.radians(start + 360 / sides * i)),
            radius * math.sin(math.radians(start + 360 / sides * i)),
        )
        for i in range(sides)
    ]
    figure = Solid.seen(axonometric(rng.uniform(-25, 25), rng.uniform(14, 24)))
    body = prism(base, h)
    figure.add(body)
    figure.corners("0123456789ab"[: 2 * sides], body, letters=False)
    figure.draw()
    # A visible edge of the bottom, and the upright edge furthest to the right.
    toward = figure.view.toward

    def facing(i: int) -> float:
        return sum((base[i][k] + base[(i + 1) % sides][k]) * toward[k] for k in (0, 1))

    front = max(range(sides), key=facing)
    edge = ("0123456789ab"[front], "0123456789ab"[(front + 1) % sides])
    right = max(range(sides), key=lambda i: figure.places["0123456789ab"[i]][0])
    name, polygon = {
        3: ("an equilateral triangle", "√3/4 × side²"),
        6: ("a regular hexagon", "six equilateral triangles"),
    }[sides]
    area = "sqrt(3) * a**2 / 4" if sides == 3 else "3 * sqrt(3) * a**2 / 2"
    size = cubed(unit) if what == "volume" else squared(unit)
    last = (
        Step("v", "the volume", "g * h", _VOLUME.replace("length", "height"), size)
        if what == "volume"
        else Step(
            "s",
            "the total surface area",
            f"{sides} * a * h + 2 * g",
            "The walls are rectangles; there are two bases.",
            size,
        )
    )
    typical = (
        ("g * h / 3", "a**2 * h", "2 * g * h", f"{sides} * a * h", "g * h / 2")
        if what == "volume"
        else (
            f"{sides} * a * h + g",
            f"{sides} * a * h",
            f"{sides} * a * h + g / 2",
            "g * h",
            "a * h + 2 * g",
        )
    )
    why = {"g * h / 3": "the prism is taken for a pyramid", f"{sides} * a * h": "the walls only"}
    return solid_problem(
        asked=what,
        measured=body.volume() if what == "volume" else sum(body.areas()),
        form=f"{what} on {name}",
        description=f"The solid is a right prism; its base is {name}.",
        facts=(
            given("the side of the base is", *edge, a, unit, name="a"),
            given(
                "the height of the prism is",
                "0123456789ab"[right],
                "0123456789ab"[right + sides],
                h,
                unit,
                name="h",
            ),
        ),
        question=(
            f"The base is {name}. Find the "
            f"{'volume' if what == 'volume' else 'total surface area'} of the prism."
        ),
        figure=figure,
        steps=(
            Step(
                "g",
                "the area of the base",
                area,
                f"The base is {polygon}." if sides == 6 else f"Its area is {polygon}.",
                squared(unit),
            ),
            last,
        ),
        mistakes=tuple(Mistake(wrong, why.get(wrong, "a face is counted wrongly")) for wrong in typical),
        unit=size,
    )
