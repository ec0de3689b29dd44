"""Solids with something taken out of them: pipes, drilled blocks, cavities, a can around a ball."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vkit.synthesis.facts import Fact
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid import rules
from vkit.synthesis.solid.bodies import Ball, Round, box
from vkit.synthesis.solid.composites import draw_radius, radius_and_height, side_height
from vkit.synthesis.solid.drawing import Solid, View, axonometric, upright
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared


@family("hollow solids", "solid")
def hollows(rng: random.Random) -> Problem:
    """Pipes, drilled blocks, cavities, and what a ball leaves of a can."""
    return one_of(rng, _pipe, _pipe, _drilled, _cone_cavity, _bowl, _ball_in_can)


def _pipe(rng: random.Random) -> Problem:
    outer, h = rng.randint(3, 24), rng.randint(3, 50)
    inner = rng.randint(1, outer - 1)
    need(0.45 * outer <= inner <= 0.7 * outer and 0.8 * outer <= h <= 3.5 * outer)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.35
    figure = Solid.seen(_from_above(rng))
    wall, hole = Round(0, outer, h, outer), Round(0, inner, h, inner)
    figure.add(wall)
    figure.add(hole, hole=True)
    figure.point("O", 0, 0, h, letter=False, dot=True)
    turn = math.radians(rng.uniform(20, 50))
    figure.point("A", outer, 0, h, letter=False)
    figure.point("B", -inner * math.cos(turn), -inner * math.sin(turn), h, letter=False)
    side_height(figure, outer, 0, h)
    figure.line("O", "A")
    figure.line("O", "B")
    figure.draw()
    square, cube = squared(unit), cubed(unit)
    return solid_problem(
        asked="surface with hole" if surface else "volume",
        measured=wall.side() + hole.side() + 2 * math.pi * (outer**2 - inner**2)
        if surface
        else wall.volume() - hole.volume(),
        form=f"{'surface' if surface else 'volume'} of a pipe",
        description=(
            "The solid is a hollow cylinder: a cylindrical hole goes through a cylinder along its axis."
        ),
        facts=(
            radius(figure, "the outer radius is", "OA", outer, unit, name="R", letter="R"),
            radius(figure, "the inner radius is", "OB", inner, unit),
            given("the height is", "P", "Q", h, unit, name="h"),
        ),
        question=(
            "The hole goes all the way through. Find the "
            f"{'whole surface area, inside and outside' if surface else 'volume of the solid'}."
        ),
        figure=figure,
        steps=(
            (
                Step(
                    "g",
                    "the area of a ring",
                    "pi * R**2 - pi * r**2",
                    "The hole is taken off the circle.",
                    square,
                ),
                Step(
                    "m",
                    "both lateral surfaces",
                    "2 * pi * R * h + 2 * pi * r * h",
                    "There is one outside and one inside.",
                    square,
                ),
                Step("t", "the surface area", "m + 2 * g", "A ring is added on each end.", square),
            )
            if surface
            else (
                Step(
                    "g",
                    "the area of the ring",
                    "pi * R**2 - pi * r**2",
                    "The hole is taken off the circle.",
                    square,
                ),
                Step("v", "the volume", "g * h", "The volume is base × height.", cube),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m", "the rings are forgotten"),
                    ("m + g", "one ring is forgotten"),
                    ("2 * pi * R * h + 2 * g", "the inside is forgotten"),
                    ("2 * pi * R * h + 2 * pi * R**2", "the hole is forgotten"),
                )
                if surface
                else (
                    ("pi * R**2 * h", "the hole is forgotten"),
                    ("pi * (R - r)**2 * h", "the radii are subtracted, not their squares"),
                    ("pi * R**2 * h + pi * r**2 * h", "the hole is added"),
                    ("pi * r**2 * h", "the hole itself"),
                    ("2 * pi * (R - r) * h", "circumferences are subtracted"),
                )
            )
        ),
        unit=square if surface else cube,
    )


def _from_above(rng: random.Random) -> View:
    return axonometric(0, rng.uniform(20, 28))


def _drilled(rng: random.Random) -> Problem:
    a, h = rng.randint(4, 24), rng.randint(3, 40)
    r = rng.randint(1, 9)
    need(0.28 * a <= r <= 0.42 * a and 0.5 * a <= h <= 2 * a)
    unit = rng.choice(UNITS)
    figure = Solid.seen(axonometric(rng.choice((-1, 1)) * rng.uniform(20, 36), rng.uniform(22, 30)))
    block, hole = box(a, a, h), Round(0, r, h, r, (a / 2, a / 2))
    figure.add(block)
    figure.add(hole, hole=True)
    figure.corners("01234567", block, letters=False)
    x, y, _ = figure.view.right
    figure.point("O", a / 2, a / 2, h, letter=False, dot=True)
    figure.point("A", a / 2 + r * x, a / 2 + r * y, h, letter=False)
    figure.line("O", "A")
    figure.draw()
    right = figure.view.toward[0] > 0
    return solid_problem(
        asked="volume",
        measured=block.volume() - hole.volume(),
        form="volume of a drilled box",
        description="A cylindrical hole is drilled from top to bottom through a box with a square base.",
        facts=(
            given("the side of the square base is", "0", "1", a, unit, name="a"),
            given(
                "the height of the box is", "0" if right else "1", "4" if right else "5", h, unit, name="h"
            ),
            radius(figure, "the radius of the hole is", "OA", r, unit),
        ),
        question="The base is a square, and the hole goes all the way through. Find the volume of the solid.",
        figure=figure,
        steps=(
            Step("v", "the volume of the box", "a**2 * h", "It is base × height.", cubed(unit)),
            Step("w", "the volume of the hole", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
            Step("t", "the volume", "v - w", "The hole is taken off.", cubed(unit)),
        ),
        mistakes=(
            Mistake("v + w", "the hole is added"),
            Mistake("v - 2 * pi * r * h", "the surface of the hole is taken off"),
            Mistake("v - w / 3", "the hole is taken for a cone"),
            Mistake("v - pi * r**2", "the height of the hole is forgotten"),
            Mistake("v - pi * r * h", "the radius is not squared"),
        ),
        unit=cubed(unit),
    )


def _can_with_hole(figure: Solid, r: int, h: int, hole: Round | Ball, *, bottom: bool = False) -> Round:
    can = Round(0, r, h, r)
    figure.add(can)
    figure.add(hole, hole=True, bottom=bottom, top=False)
    side_height(figure, r, 0, h)
    return can


def _can_facts(figure: Solid, r: int, h: int, unit: str) -> Sequence[Fact]:
    return (
        radius(figure, "the radius of the cylinder is", "OA", r, unit),
        given("the height of the cylinder is", "P", "Q", h, unit, name="h"),
    )


def _cone_cavity(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng, 0.9, 3.0)
    unit = rng.choice(UNITS)
    figure = Solid.seen(_from_above(rng))
    hole = Round(0, 0, h, r)
    can = _can_with_hole(figure, r, h, hole)
    draw_radius(figure, r, h)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=can.volume() - hole.volume(),
        form="cylinder without a cone",
        description=(
            "A cone is cut out of a cylinder; its base is the top of the cylinder and its apex "
            "lies on the bottom."
        ),
        facts=(*_can_facts(figure, r, h, unit),),
        question=(
            "The cone has the base and the height of the cylinder and is cut out of it. Find the "
            "volume that remains."
        ),
        figure=figure,
        steps=(
            Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
            Step("w", "the volume of the cone", "pi * r**2 * h / 3", rules.CONE, cubed(unit)),
            Step("t", "the volume that remains", "v - w", "The cone is taken off.", cubed(unit)),
        ),
        mistakes=(
            Mistake("w", "the cone itself"),
            Mistake("v / 2", "a half instead of a third"),
            Mistake("v + w", "the cone is added"),
            Mistake("v", "the cone is forgotten"),
            Mistake("4 * (v - w)", "the diameter is taken for the radius"),
        ),
        unit=cubed(unit),
    )


def _bowl(rng: random.Random) -> Problem:
    r, h = radius_and_height(rng, 1.15, 3.0)
    unit = rng.choice(UNITS)
    figure = Solid.seen(_from_above(rng))
    hole = Ball((0.0, 0.0, float(h)), r, h - r, h)
    can = _can_with_hole(figure, r, h, hole)
    draw_radius(figure, r, h)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=can.volume() - hole.volume(),
        form="cylinder without a hemisphere",
        description="A hemisphere with the radius of the cylinder is cut out of the top of a cylinder.",
        facts=(*_can_facts(figure, r, h, unit),),
        question="The hemisphere is cut out of the cylinder. Find the volume that remains.",
        figure=figure,
        steps=(
            Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
            Step("w", "the volume of the hemisphere", "2 * pi * r**3 / 3", rules.HEMISPHERE, cubed(unit)),
            Step("t", "the volume that remains", "v - w", "The hemisphere is taken off.", cubed(unit)),
        ),
        mistakes=(
            Mistake("v + w", "the hemisphere is added"),
            Mistake("v - 2 * w", "a whole sphere is taken off"),
            Mistake("v - w / 2", "the hemisphere is taken for a cone"),
            Mistake("v", "the hemisphere is forgotten"),
            Mistake("w", "the hemisphere itself"),
        ),
        unit=cubed(unit),
    )


def _ball_in_can(rng: random.Random) -> Problem:
    r = rng.randint(2, 90)
    count = rng.choice((1, 2, 3))
    unit = rng.choice(UNITS)
    n = {1: "One sphere fits", 2: "Two equal spheres fit", 3: "Three equal spheres fit"}[count]
    figure = Solid.seen(upright(rng, lying=False))
    can = Round(0, r, 2 * r * count, r)
    balls = [Ball((0.0, 0.0, float(r * (2 * i + 1))), r, 2 * r * i, 2 * r * (i + 1)) for i in range(count)]
    figure.add(can)
    for ball in balls:
        figure.add(ball, hole=True, bottom=False, top=False)
        figure.ring(ball.center[2], r)
    draw_radius(figure, r, r)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=can.volume() - sum(ball.volume() for ball in balls),
        form=f"{count} in a cylinder",
        description=f"{n} exactly into a cylinder.",
        facts=(
            radius(
                figure, f"the radius of {'the sphere' if count == 1 else 'each sphere'} is", "OA", r, unit
            ),
        ),
        question=f"{n} exactly into the cylinder. Find the volume of the cylinder that is left empty.",
        figure=figure,
        steps=(
            Step(
                "h",
                "the height of the cylinder",
                f"{2 * count} * r",
                "It is as high as the spheres together.",
                unit,
            ),
            Step("v", "the volume of the cylinder", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
            Step(
                "w",
                "the volume of the spheres",
                f"{4 * count} * pi * r**3 / 3",
                "A sphere has 4/3 × π × radius³.",
                cubed(unit),
            ),
            Step("t", "the empty volume", "v - w", "The spheres are taken off.", cubed(unit)),
        ),
        mistakes=(
            Mistake("w", "the spheres themselves"),
            Mistake("v", "the whole cylinder"),
            Mistake("v - w / 2", "half of the spheres is taken off"),
            Mistake("v / 2", "the spheres are taken for half of the cylinder"),
            Mistake("v / 4", "the spheres are taken for three quarters of the cylinder"),
        ),
        unit=cubed(unit),
    )
