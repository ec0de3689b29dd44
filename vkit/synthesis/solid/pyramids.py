"""Pyramids: volume by a third, slant height and lateral edges by Pythagoras."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import Exact, as_float, evaluate, pleasant, sqrt
from vkit.synthesis.facts import Fact
from vkit.synthesis.marks import Length, RightAngle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import Polyhedron, pyramid
from vkit.synthesis.solid.drawing import Solid, View, axonometric, cabinet
from vkit.synthesis.solid.facts import cubed, given, solid_problem, squared, stated

_VOLUME = "The volume of a pyramid is a third of base × height."
_PYTHAGORAS = "The height, half of a side and the slant height make a right triangle."
_SQUARE = "The solid is a right pyramid; its base is a square."


@family("pyramids", "solid")
def pyramids(rng: random.Random) -> Problem:
    """Pyramids on squares, rectangles and right corners."""
    return one_of(rng, _volume, _rectangle, _by_slant, _by_slant, _height, _edge, _corner)


def pyramid_view(rng: random.Random) -> View:
    """A view in which the four sides are told apart."""
    if rng.random() < 0.5:
        return cabinet(
            rng.choice((30, 35, 40, 45)) if rng.random() < 0.7 else rng.choice((135, 140, 145)), 0.5
        )
    return axonometric(rng.choice((-1, 1)) * rng.uniform(15, 35), rng.uniform(14, 24))


def draw_pyramid(
    rng: random.Random, a: Exact, b: Exact, h: Exact, *, axis: bool = True
) -> tuple[Solid, Polyhedron]:
    """A pyramid on a rectangle around O; corners 0 to 3, apex V, N the middle of the front side."""
    x, y = as_float(a) / 2, as_float(b) / 2
    figure = Solid.seen(pyramid_view(rng))
    body = pyramid(((-x, -y), (x, -y), (x, y), (-x, y)), (0.0, 0.0, as_float(h)))
    figure.add(body)
    figure.corners("0123V", body, letters=False)
    figure.point("O", 0, 0, 0, letter=False, dot=axis)
    figure.point("N", 0, -y, 0, letter=False)
    if axis:
        figure.line("V", "O")
    return figure, body


def _height_fact(figure: Solid, a: Exact, h: Exact, unit: str) -> Fact:
    """The height, written beside VO, or beside the whole where the pyramid is too slim."""
    words = "the height of the pyramid is"
    if as_float(h) < 0.9 * as_float(a):
        return given(words, "V", "O", h, unit, name="h")
    figure.beside("W", 0), figure.beside("X", as_float(h))
    return given(words, "W", "X", h, unit, name="h", dimension=True)


def _depth_edge(figure: Solid) -> tuple[str, str]:
    return ("1", "2") if figure.view.toward[0] > 0 else ("0", "3")


def _volume(rng: random.Random) -> Problem:
    a, h = rng.randint(2, 40), rng.randint(2, 60)
    need(0.6 * a <= h <= 2 * a)
    unit = rng.choice(UNITS)
    figure, body = draw_pyramid(rng, a, a, h)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume on a square",
        description=_SQUARE,
        facts=(
            given("the side of the square is", "0", "1", a, unit, name="a"),
            _height_fact(figure, a, h, unit),
        ),
        question="The base is a square. Find the volume of the pyramid.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "a**2", "The base is a square.", squared(unit)),
            Step("v", "the volume", "g * h / 3", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("g * h", "the third is forgotten"),
            Mistake("g * h / 2", "a half instead of a third"),
            Mistake("a * h / 3", "the side is not squared"),
            Mistake("4 * a * h / 3", "the perimeter is taken for the base"),
            Mistake("a * h**2 / 3", "the height is squared"),
        ),
        unit=cubed(unit),
    )


def _rectangle(rng: random.Random) -> Problem:
    a, b, h = rng.randint(2, 30), rng.randint(2, 30), rng.randint(2, 40)
    need(a != b and 0.5 * a <= b <= 2 * a and 0.6 * max(a, b) <= h <= 2 * min(a, b))
    unit = rng.choice(UNITS)
    figure, body = draw_pyramid(rng, a, b, h)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume on a rectangle",
        description="The solid is a pyramid; its base is a rectangle.",
        facts=(
            given("one side of the rectangle is", "0", "1", a, unit, name="a"),
            given("the other side is", *_depth_edge(figure), b, unit, name="b"),
            _height_fact(figure, a, h, unit),
        ),
        question="The base is a rectangle. Find the volume of the pyramid.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "a * b", "The base is a rectangle.", squared(unit)),
            Step("v", "the volume", "g * h / 3", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("g * h", "the third is forgotten"),
            Mistake("g * h / 2", "a half instead of a third"),
            Mistake("(a + b) * h / 3", "the sides are added"),
            Mistake("2 * (a + b) * h / 3", "the perimeter is taken for the base"),
            Mistake("g * h / 6", "a half too many"),
        ),
        unit=cubed(unit),
    )


def _by_slant(rng: random.Random) -> Problem:
    half, h, s = rng.choice(TRIPLES[:8])
    if rng.random() < 0.5:
        half, h = h, half
    k = rng.randint(1, 12)
    half, h, s = half * k, h * k, s * k
    need(1.1 * half <= h <= 3.6 * half)
    a = 2 * half
    unit = rng.choice(UNITS)
    what = rng.choice(("volume", "surface", "side"))
    by_height = what != "volume" and rng.random() < 0.5
    figure, body = draw_pyramid(rng, a, a, h, axis=by_height)
    if not by_height:
        figure.line("V", "N")  # on the front face, where a text has room
    figure.draw()
    size = cubed(unit) if what == "volume" else squared(unit)
    second = (
        _height_fact(figure, a, h, unit)
        if by_height
        else given("the height of a side face is", "V", "N", s, unit, name="s")
    )
    walls = Step(
        "m",
        "the lateral surface area",
        "2 * a * s",
        "There are four triangles a × s / 2.".replace("a × s", f"{a} × {s}"),
        size,
    )
    steps = {
        "volume": (
            Step("h", "the height", "sqrt(s**2 - (a / 2)**2)", _PYTHAGORAS, unit),
            Step("v", "the volume", "a**2 * h / 3", _VOLUME, size),
        ),
        "side": (walls,),
        "surface": (walls, Step("t", "the total surface area", "m + a**2", "The base is added.", size)),
    }[what]
    first = (
        (Step("s", "the height of a side face", "sqrt(h**2 + (a / 2)**2)", _PYTHAGORAS, unit),)
        if by_height
        else ()
    )
    typical = {
        "volume": (
            ("a**2 * s / 3", "the slant height is taken for the height"),
            ("a**2 * h", "the third is forgotten"),
            ("a**2 * s", "the third is forgotten"),
            ("a**2 * h / 2", "a half instead of a third"),
            ("2 * a * s", "the lateral surface"),
        ),
        "side": (
            (
                "2 * a * h" if by_height else "4 * a * s",
                "height and slant height are mixed up, or the half is forgotten",
            ),
            ("2 * a * s + a**2", "the base is counted too"),
            ("4 * a * s", "the half of the triangles is forgotten"),
            ("a * s", "two sides only"),
            ("a**2 * s / 3", "a volume"),
        ),
        "surface": (
            ("m", "the base is forgotten"),
            ("2 * a * h + a**2" if by_height else "4 * a * s + a**2", "height and slant height are mixed up"),
            ("m + 2 * a**2", "a pyramid has one base only"),
            ("4 * a * s + a**2", "the half of the triangles is forgotten"),
            ("a**2 * s / 3", "a volume"),
        ),
    }[what]
    areas = body.areas()
    side = ("0", "1") if by_height else _depth_edge(figure)
    asked = {"volume": "volume", "side": "lateral surface area", "surface": "total surface area"}[what]
    return solid_problem(
        asked=what,
        measured={"volume": body.volume(), "side": sum(areas[1:]), "surface": sum(areas)}[what],
        form=f"{what} by {'height' if by_height else 'slant height'}",
        description=_SQUARE,
        facts=(given("the side of the square is", *side, a, unit, name="a"), second),
        question=f"The base is a square. Find the {asked} of the pyramid.",
        figure=figure,
        steps=(*first, *steps),
        mistakes=tuple(Mistake(*pair) for pair in typical),
        unit=size,
        extra_marks=() if by_height else (RightAngle("V", "N", "1"),),
    )


def _height(rng: random.Random) -> Problem:
    a, h = rng.randint(2, 30), rng.randint(2, 60)
    need(0.6 * a <= h <= 2 * a)
    unit = rng.choice(UNITS)
    figure, body = draw_pyramid(rng, a, a, h)
    figure.draw()
    return solid_problem(
        asked="length V O",
        measured=figure.length("V", "O"),
        form="height from volume",
        description=_SQUARE,
        facts=(
            given("the side of the square is", "0", "1", a, unit, name="a"),
            stated(
                "the volume of the pyramid is",
                evaluate("a * a * h / 3", {"a": a, "h": h}),
                cubed(unit),
                body.volume(),
                name="v",
            ),
        ),
        question="The base is a square. Find the height h of the pyramid.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "a**2", "The base is a square.", squared(unit)),
            Step("h", "h", "3 * v / g", _VOLUME, unit),
        ),
        mistakes=(
            Mistake("v / g", "the third is forgotten"),
            Mistake("2 * v / g", "a half instead of a third"),
            Mistake("3 * v / (4 * a)", "the perimeter is taken for the base"),
            Mistake("v / (3 * g)", "the third is put on the wrong side"),
            Mistake("6 * v / g", "a half too many"),
        ),
        unit=unit,
        extra_marks=(Length("V", "O", "h"),),
    )


def _edge(rng: random.Random) -> Problem:
    a, h = rng.randint(2, 40), rng.randint(2, 60)
    need(0.6 * a <= h <= 2 * a)
    edge = sqrt(evaluate("h**2 + a**2 / 2", {"a": a, "h": h}))
    need(pleasant(edge))
    unit = rng.choice(UNITS)
    figure, _ = draw_pyramid(rng, a, a, h)
    corner = "1" if figure.view.toward[0] > 0 else "0"
    figure.line("O", corner)
    figure.draw()
    return solid_problem(
        asked=f"length V {corner}",
        measured=figure.length("V", corner),
        form="lateral edge",
        description=_SQUARE,
        facts=(
            given("the side of the square is", *_depth_edge(figure), a, unit, name="a"),
            _height_fact(figure, a, h, unit),
        ),
        question="The base is a square. Find the lateral edge e of the pyramid.",
        figure=figure,
        steps=(
            Step(
                "d",
                "half of the diagonal",
                "a * sqrt(2) / 2",
                "The diagonal of a square is √2 times its side.",
                unit,
            ),
            Step(
                "e",
                "e",
                "sqrt(h**2 + d**2)",
                "The height, half of the diagonal and the edge make a right triangle.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("sqrt(h**2 + (a / 2)**2)", "the height of a side face"),
            Mistake("sqrt(h**2 + a**2)", "the side is taken for half of the diagonal"),
            Mistake("sqrt(h**2 + 2 * a**2)", "the whole diagonal is taken"),
            Mistake("h + a", "the lengths are added"),
            Mistake("h + a / 2", "the lengths are added"),
        ),
        unit=unit,
        extra_marks=(Length("V", corner, "e"),),
    )


def _corner(rng: random.Random) -> Problem:
    a, b, c = rng.randint(2, 30), rng.randint(2, 30), rng.randint(2, 30)
    need(max(a, b, c) <= 2 * min(a, b, c))
    unit = rng.choice(UNITS)
    turn = rng.uniform(48, 62)
    figure = Solid.seen(axonometric(turn, rng.uniform(16, 24)))
    body = pyramid(((0, 0), (a, 0), (0, b)), (0.0, 0.0, float(c)))
    figure.add(body)
    for name, place in zip("OABC", body.corners):
        figure.point(name, *place)
    figure.draw()
    need(math.dist(figure.places["O"], figure.places["A"]) > 0.25 * c)
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a right corner",
        description="The solid is a pyramid OABC whose edges OA, OB and OC are perpendicular to one another.",
        facts=(
            given("OA =", "O", "A", a, unit, name="a"),
            given("OB =", "O", "B", b, unit, name="b"),
            given("OC =", "O", "C", c, unit, name="c"),
        ),
        question="OA, OB and OC are perpendicular to one another. Find the volume of the pyramid.",
        figure=figure,
        steps=(
            Step("g", "the area of triangle OAB", "a * b / 2", "OA and OB are perpendicular.", squared(unit)),
            Step("v", "the volume", "g * c / 3", _VOLUME, cubed(unit)),
        ),
        mistakes=(
            Mistake("a * b * c / 3", "the half of the triangle is forgotten"),
            Mistake("a * b * c / 2", "the third is forgotten"),
            Mistake("a * b * c", "the volume of a box"),
            Mistake("a * b * c / 4", "a wrong part of the box"),
            Mistake("(a + b) * c / 6", "sizes are added"),
        ),
        unit=cubed(unit),
    )
