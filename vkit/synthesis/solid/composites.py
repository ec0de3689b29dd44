"""Solids put together from two or three, and solids with something taken out of them."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import Exact, as_float
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid import rules
from vkit.synthesis.solid.bodies import Ball, Round, box, pyramid
from vkit.synthesis.solid.drawing import Solid, axonometric, cornered
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared


@family("composite solids", "solid")
def composites(rng: random.Random) -> Problem:
    """Cylinders, cones, hemispheres, boxes and pyramids set upon one another."""
    return one_of(rng, _rocket, _rocket_surface, _silo, _capsule, _top, _top_surface, _tower, _dome_on_cube)


def radius_and_height(rng: random.Random, low: float = 0.8, high: float = 3.0) -> tuple[int, int]:
    """Sizes of a cylinder or cone; ``low`` and ``high``: how many radii high it may be."""
    r, h = rng.randint(2, 18), rng.randint(2, 50)
    need(low * r <= h <= high * r)
    return r, h


def draw_radius(figure: Solid, r: Exact, z: Exact = 0) -> None:
    """The center O of a level circle, and its radius OA."""
    figure.point("O", 0, 0, as_float(z), letter=False, dot=True)
    figure.point("A", as_float(r), 0, as_float(z), letter=False)
    figure.line("O", "A")


def side_height(figure: Solid, r: Exact, low: Exact, high: Exact) -> None:
    """The height PQ at the left side of a cylinder, which draws that line itself."""
    figure.point("P", -as_float(r), 0, as_float(low), letter=False)
    figure.point("Q", -as_float(r), 0, as_float(high), letter=False)


def _rocket_figure(
    rng: random.Random, r: Exact, h: Exact, k: Exact, *, axis: bool
) -> tuple[Solid, Round, Round]:
    figure = Solid.seen(axonometric(0, rng.uniform(13, 19)))
    can, tip = Round(0, r, h, r), Round(h, r, as_float(h + k), 0)
    figure.add(can)
    figure.add(tip, bottom=False)
    draw_radius(figure, r)
    side_height(figure, r, 0, h)
    figure.point("V", 0, 0, h + k, letter=False)
    figure.point("C", 0, 0, h, letter=False)
    figure.rim("L", tip, letter=False)
    if axis:
        figure.line("V", "C")
    figure.draw()
    return figure, can, tip


def _rocket(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng)
    k = rng.randint(2, 40)
    need(0.9 * r <= k <= 2.5 * r)
    unit = rng.choice(UNITS)
    figure, can, tip = _rocket_figure(rng, r, h, k, axis=True)
    return solid_problem(
        asked="volume",
        measured=can.volume() + tip.volume(),
        form="volume of cylinder and cone",
        description="A cone stands on a cylinder with the same base.",
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            given("the height of the cylinder is", "P", "Q", h, unit, name="h"),
            given("the height of the cone is", "V", "C", k, unit, name="k"),
        ),
        question="Find the volume of the whole solid.",
        figure=figure,
        steps=(
            Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
            Step("w", "the volume of the cone", "pi * r**2 * k / 3", rules.CONE, cubed(unit)),
            Step("t", "the whole volume", "v + w", "The parts are added.", cubed(unit)),
        ),
        mistakes=(
            Mistake("v + 3 * w", "the third of the cone is forgotten"),
            Mistake("pi * r**2 * (h + k) / 3", "the whole is taken for a cone"),
            Mistake("v - w", "the cone is taken off"),
            Mistake("v", "the cone is forgotten"),
            Mistake("v + 3 * w / 2", "a half instead of a third"),
        ),
        unit=cubed(unit),
    )


def _rocket_surface(rng: random.Random) -> Problem:
    r, k, s = rng.choice(TRIPLES[:5])
    if rng.random() < 0.4:
        r, k = k, r
    n = rng.randint(1, 6)
    r, k, s = r * n, k * n, s * n
    h = rng.randint(2, 50)
    need(0.7 * r <= k <= 3 * r and 0.6 * r <= h <= 3 * r)
    unit = rng.choice(UNITS)
    figure, can, tip = _rocket_figure(rng, r, h, k, axis=False)
    return solid_problem(
        asked="surface",
        measured=can.side() + tip.side() + math.pi * r * r,
        form="surface of cylinder and cone",
        description="A cone stands on a cylinder with the same base.",
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            given("the height of the cylinder is", "P", "Q", h, unit, name="h"),
            given("the slant height of the cone is", "V", "L", s, unit, name="s"),
        ),
        question="Find the total surface area of the whole solid.",
        figure=figure,
        steps=(
            Step(
                "m",
                "the lateral surface of the cylinder",
                "2 * pi * r * h",
                rules.CYLINDER_SIDE,
                squared(unit),
            ),
            Step("n", "the lateral surface of the cone", "pi * r * s", rules.CONE_SIDE, squared(unit)),
            Step(
                "t",
                "the surface area",
                "m + n + pi * r**2",
                "The base at the bottom is added; the joint is inside.",
                squared(unit),
            ),
        ),
        mistakes=(
            Mistake("m + n", "the base is forgotten"),
            Mistake("m + n + 3 * pi * r**2", "the joint is counted on both sides"),
            Mistake("m + n + 2 * pi * r**2", "a base too many"),
            Mistake("m + 2 * n + pi * r**2", "the cone's surface is doubled"),
            Mistake("m / 2 + n + pi * r**2", "the cylinder's surface is halved"),
        ),
        unit=squared(unit),
    )


def _silo(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.5
    figure = Solid.seen(axonometric(0, rng.uniform(13, 20)))
    can, dome = Round(0, r, h, r), Ball((0.0, 0.0, float(h)), r, h, h + r)
    figure.add(can, top=False)
    figure.add(dome, top=False)
    draw_radius(figure, r)
    side_height(figure, r, 0, h)
    figure.draw()
    square, cube = squared(unit), cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=can.side() + dome.side() + math.pi * r * r if surface else can.volume() + dome.volume(),
        form=f"{'surface' if surface else 'volume'} of cylinder and hemisphere",
        description="A hemisphere stands on a cylinder with the same base.",
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            given("the height of the cylinder is", "P", "Q", h, unit, name="h"),
        ),
        question=f"Find the {'total surface area' if surface else 'volume'} of the whole solid.",
        figure=figure,
        steps=(
            (
                Step(
                    "m", "the lateral surface of the cylinder", "2 * pi * r * h", rules.CYLINDER_SIDE, square
                ),
                Step("n", "the surface of the hemisphere", "2 * pi * r**2", rules.DOME, square),
                Step(
                    "t",
                    "the surface area",
                    "m + n + pi * r**2",
                    "The base at the bottom is added; the joint is inside.",
                    square,
                ),
            )
            if surface
            else (
                Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cube),
                Step("w", "the volume of the hemisphere", "2 * pi * r**3 / 3", rules.HEMISPHERE, cube),
                Step("t", "the whole volume", "v + w", "The parts are added.", cube),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m + n", "the base is forgotten"),
                    ("m + 2 * n + pi * r**2", "a whole sphere is counted"),
                    ("m + n + 2 * pi * r**2", "a base too many"),
                    ("m + n + 3 * pi * r**2", "the joint is counted on both sides"),
                    ("pi * r**2 * h", "a volume"),
                )
                if surface
                else (
                    ("v + 2 * w", "a whole sphere is counted"),
                    ("v", "the hemisphere is forgotten"),
                    ("v + pi * r**3 / 3", "the hemisphere is taken for a cone"),
                    ("v - w", "the hemisphere is taken off"),
                    ("v + 3 * w", "the third is forgotten"),
                )
            )
        ),
        unit=square if surface else cube,
    )


def _capsule(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng, 1.0, 3.5)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.5
    figure = Solid.seen(axonometric(0, rng.uniform(14, 20)).rolled(rng.choice((0, 90, -90))))
    can = Round(0, r, h, r)
    ends = (Ball((0.0, 0.0, 0.0), r, -r, 0), Ball((0.0, 0.0, float(h)), r, h, h + r))
    figure.add(can)
    figure.add(ends[0], bottom=False, top=False)
    figure.add(ends[1], bottom=False, top=False)
    draw_radius(figure, r, h)
    side_height(figure, r, 0, h)
    figure.draw()
    square, cube = squared(unit), cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=can.side() + sum(e.side() for e in ends)
        if surface
        else can.volume() + sum(e.volume() for e in ends),
        form=f"{'surface' if surface else 'volume'} of a capsule",
        description="A cylinder has a hemisphere on each of its ends.",
        facts=(
            radius(figure, "the radius of the hemispheres is", "OA", r, unit),
            given("the height of the cylinder is", "P", "Q", h, unit, name="h"),
        ),
        question=f"Find the {'surface area' if surface else 'volume'} of the whole solid.",
        figure=figure,
        steps=(
            (
                Step(
                    "m", "the lateral surface of the cylinder", "2 * pi * r * h", rules.CYLINDER_SIDE, square
                ),
                Step(
                    "n",
                    "the surface of both hemispheres",
                    "4 * pi * r**2",
                    "Together they are a sphere.",
                    square,
                ),
                Step("t", "the surface area", "m + n", "The joints are inside.", square),
            )
            if surface
            else (
                Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cube),
                Step(
                    "w",
                    "the volume of both hemispheres",
                    "4 * pi * r**3 / 3",
                    "Together they are a sphere.",
                    cube,
                ),
                Step("t", "the whole volume", "v + w", "The parts are added.", cube),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m + n / 2", "one hemisphere is forgotten"),
                    ("m + n + 2 * pi * r**2", "the bases of the cylinder are counted"),
                    ("m + 2 * n", "two spheres are counted"),
                    ("m", "the hemispheres are forgotten"),
                    ("m / 2 + n", "half of the lateral surface"),
                )
                if surface
                else (
                    ("v + w / 2", "one hemisphere is forgotten"),
                    ("v + 2 * w", "two spheres are counted"),
                    ("v", "the hemispheres are forgotten"),
                    ("v + 3 * w", "the third is forgotten"),
                    ("pi * r**2 * (h + 2 * r)", "the whole is taken for a cylinder"),
                )
            )
        ),
        unit=square if surface else cube,
    )


def _top_figure(rng: random.Random, r: Exact, h: Exact, *, axis: bool) -> tuple[Solid, Round, Ball]:
    """A cone on a hemisphere; upside down it is an ice cream."""
    elevation = rng.uniform(13, 18)
    view = axonometric(0, elevation) if rng.random() < 0.5 else axonometric(0, -elevation).rolled(180)
    figure = Solid.seen(view)
    tip, bowl = Round(0, r, h, 0), Ball((0.0, 0.0, 0.0), r, -r, 0)
    figure.add(tip)
    figure.add(bowl, bottom=False, top=False)
    draw_radius(figure, r)
    figure.point("V", 0, 0, h, letter=False)
    figure.rim("L", tip, right=False, letter=False)
    if axis:
        figure.line("V", "O")
    figure.draw()
    return figure, tip, bowl


def _top(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng, 1.1, 3.2)
    unit = rng.choice(UNITS)
    figure, tip, bowl = _top_figure(rng, r, h, axis=True)
    return solid_problem(
        asked="volume",
        measured=tip.volume() + bowl.volume(),
        form="volume of cone and hemisphere",
        description="A cone and a hemisphere are joined at their equal bases.",
        facts=(
            radius(figure, "the radius of the common base is", "OA", r, unit),
            given("the height of the cone is", "V", "O", h, unit, name="h"),
        ),
        question="Find the volume of the whole solid.",
        figure=figure,
        steps=(
            Step("v", "the volume of the cone", "pi * r**2 * h / 3", rules.CONE, cubed(unit)),
            Step("w", "the volume of the hemisphere", "2 * pi * r**3 / 3", rules.HEMISPHERE, cubed(unit)),
            Step("t", "the whole volume", "v + w", "The parts are added.", cubed(unit)),
        ),
        mistakes=(
            Mistake("3 * v + w", "the third of the cone is forgotten"),
            Mistake("v + 2 * w", "a whole sphere is counted"),
            Mistake("v", "the hemisphere is forgotten"),
            Mistake("pi * r**2 * (h + r) / 3", "the whole is taken for a cone"),
            Mistake("3 * v + 2 * w", "two factors are forgotten"),
        ),
        unit=cubed(unit),
    )


def _top_surface(rng: random.Random) -> Problem:
    r, h, s = rng.choice(TRIPLES[:8])
    n = rng.randint(1, 12)
    r, h, s = r * n, h * n, s * n
    need(1.1 * r <= h <= 3.5 * r)
    unit = rng.choice(UNITS)
    by_height = rng.random() < 0.5
    figure, tip, bowl = _top_figure(rng, r, h, axis=by_height)
    known = (
        given("the height of the cone is", "V", "O", h, unit, name="h")
        if by_height
        else given("the slant height of the cone is", "V", "L", s, unit, name="s")
    )
    slant = (
        Step(
            "s",
            "the slant height",
            "sqrt(r**2 + h**2)",
            "Radius, height and slant height make a right triangle.",
            unit,
        ),
    )
    return solid_problem(
        asked="surface",
        measured=tip.side() + bowl.side(),
        form=f"surface of cone and hemisphere by {'height' if by_height else 'slant height'}",
        description="A cone and a hemisphere are joined at their equal bases.",
        facts=(radius(figure, "the radius of the common base is", "OA", r, unit), known),
        question="Find the surface area of the whole solid.",
        figure=figure,
        steps=(
            *(slant if by_height else ()),
            Step("m", "the lateral surface of the cone", "pi * r * s", rules.CONE_SIDE, squared(unit)),
            Step("n", "the surface of the hemisphere", "2 * pi * r**2", rules.DOME, squared(unit)),
            Step("t", "the surface area", "m + n", "The common base is inside.", squared(unit)),
        ),
        mistakes=(
            Mistake("m + 2 * n", "a whole sphere is counted"),
            Mistake("m + n + pi * r**2", "the common base is counted"),
            Mistake(
                "pi * r * h + n" if by_height else "2 * m + n",
                "height and slant height are mixed up, or a factor added",
            ),
            Mistake("m + pi * r**2", "the hemisphere is forgotten"),
            Mistake("m + n + 2 * pi * r**2", "the common base is counted on both sides"),
        ),
        unit=squared(unit),
    )


def _tower(rng: random.Random) -> Problem:
    a, h, k = rng.randint(2, 24), rng.randint(2, 40), rng.randint(2, 30)
    need(0.6 * a <= h <= 2.2 * a and 0.5 * a <= k <= 1.5 * a)
    unit = rng.choice(UNITS)
    figure = Solid.seen(cornered(rng))
    block = box(a, a, h)
    corners = ((0, 0), (a, 0), (a, a), (0, a))
    roof = pyramid(corners, (a / 2, a / 2, float(h + k)), h)
    figure.add(block)
    figure.add(roof, edges=False)
    figure.corners("01234567", block, letters=False)
    figure.point("V", a / 2, a / 2, h + k, letter=False)
    figure.point("C", a / 2, a / 2, h, letter=False, dot=True)
    for corner in "4567":
        figure.line("V", corner)
    figure.line("V", "C")
    figure.draw()
    width = ("1", "2") if figure.view.toward[0] > 0 else ("0", "1")
    side = ("0", "4") if figure.view.toward[0] > 0 else ("1", "5")
    figure.beside("W", h), figure.beside("X", h + k)  # within the roof, edges leave no room
    return solid_problem(
        asked="volume",
        measured=block.volume() + roof.volume(),
        form="volume of box and pyramid",
        description="A pyramid stands on a box with a square base.",
        facts=(
            given("the side of the square base is", *width, a, unit, name="a"),
            given("the height of the box is", *side, h, unit, name="h"),
            given("the height of the pyramid is", "W", "X", k, unit, name="k", dimension=True),
        ),
        question="The base is a square. Find the volume of the whole solid.",
        figure=figure,
        steps=(
            Step("v", "the volume of the box", "a**2 * h", "It is base × height.", cubed(unit)),
            Step(
                "w",
                "the volume of the pyramid",
                "a**2 * k / 3",
                "It is a third of base × height.",
                cubed(unit),
            ),
            Step("t", "the whole volume", "v + w", "The parts are added.", cubed(unit)),
        ),
        mistakes=(
            Mistake("v + 3 * w", "the third is forgotten"),
            Mistake("v + 3 * w / 2", "a half instead of a third"),
            Mistake("a**2 * (h + k) / 3", "the whole is taken for a pyramid"),
            Mistake("v", "the pyramid is forgotten"),
            Mistake("v - w", "the pyramid is taken off"),
        ),
        unit=cubed(unit),
    )


def _dome_on_cube(rng: random.Random) -> Problem:
    a, r = rng.randint(4, 20), rng.randint(1, 9)
    need(0.25 * a <= r <= 0.5 * a)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.4
    figure = Solid.seen(cornered(rng))
    block = box(a, a, a)
    dome = Ball((a / 2, a / 2, float(a)), r, a, a + r)
    figure.add(block)
    figure.add(dome, top=False)
    figure.corners("01234567", block, letters=False)
    x, y, _ = figure.view.right
    figure.point("O", a / 2, a / 2, a, letter=False, dot=True)
    figure.point("A", a / 2 + r * x, a / 2 + r * y, a, letter=False)
    figure.line("O", "A")
    figure.draw()
    square, cube = squared(unit), cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=sum(block.areas()) + dome.side() - math.pi * r * r
        if surface
        else block.volume() + dome.volume(),
        form=f"{'surface' if surface else 'volume'} of cube and hemisphere",
        description="A hemisphere stands on a cube.",
        facts=(
            given("the edge of the cube is", "0", "1", a, unit, name="a"),
            radius(figure, "the radius of the hemisphere is", "OA", r, unit),
        ),
        question=f"Find the {'total surface area' if surface else 'volume'} "
        "of the solid of a cube and a hemisphere.",
        figure=figure,
        steps=(
            (
                Step("m", "the surface of the cube", "6 * a**2", "A cube has six equal faces.", square),
                Step("n", "the surface of the hemisphere", "2 * pi * r**2", rules.DOME, square),
                Step(
                    "t",
                    "the surface area",
                    "m + n - pi * r**2",
                    "The circle under the hemisphere is inside.",
                    square,
                ),
            )
            if surface
            else (
                Step("v", "the volume of the cube", "a**3", "The volume of a cube is its edge cubed.", cube),
                Step("w", "the volume of the hemisphere", "2 * pi * r**3 / 3", rules.HEMISPHERE, cube),
                Step("t", "the whole volume", "v + w", "The parts are added.", cube),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m + n", "the covered circle is not taken off"),
                    ("m + n + pi * r**2", "the circle is added"),
                    ("m + 2 * n - pi * r**2", "a whole sphere is counted"),
                    ("5 * a**2 + n", "the rest of the top is forgotten"),
                )
                if surface
                else (
                    ("v + 2 * w", "a whole sphere is counted"),
                    ("v - w", "the hemisphere is taken off"),
                    ("v + 3 * w", "the third is forgotten"),
                    ("v + w / 2", "the hemisphere is taken for a cone"),
                )
            )
        ),
        unit=square if surface else cube,
    )
