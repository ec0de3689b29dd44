"""Spheres and hemispheres: volume, surface, radius, and a sphere cast into another solid."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import Exact, as_float, evaluate
from vkit.synthesis.facts import Fact
from vkit.synthesis.marks import Length
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step, with_space
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid import rules
from vkit.synthesis.solid.bodies import Ball, Round
from vkit.synthesis.solid.drawing import Solid, axonometric
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared, stated


@family("spheres", "solid")
def spheres(rng: random.Random) -> Problem:
    """Spheres and hemispheres."""
    return one_of(rng, _sphere, _sphere_back, _hemisphere, _hemisphere, _melted, _melted, _melted)


def draw_ball(
    rng: random.Random, r: Exact, *, half: bool = False, diameter: bool = False
) -> tuple[Solid, Ball]:
    """A sphere with its equator, or a hemisphere, with center O and the radius OA or diameter BA."""
    size = as_float(r)
    view = (
        axonometric(0, rng.uniform(14, 22))
        if not half or rng.random() < 0.6
        else axonometric(0, -20).rolled(180)
    )
    figure = Solid.seen(view)
    body = Ball((0.0, 0.0, 0.0), size, 0.0 if half else -size, size)
    figure.add(body, bottom=half)
    if not half:
        figure.ring(0, size)
    figure.point("O", 0, 0, 0, letter=False, dot=not diameter)
    figure.point("A", size, 0, 0, letter=False)
    figure.point("B", -size, 0, 0, letter=False)
    figure.line(*("BOA" if diameter else "OA"))
    return figure, body


def _sphere(rng: random.Random) -> Problem:
    r: Exact = (
        rng.randint(2, 19)
        if rng.random() < 0.4
        else evaluate("n / d", {"n": rng.randint(3, 199), "d": rng.randint(2, 6)})
    )
    unit = rng.choice(UNITS)
    diameter = rng.random() < 0.5
    what = rng.choice(("volume", "surface"))
    figure, body = draw_ball(rng, r, diameter=diameter)
    figure.draw()
    size = cubed(unit) if what == "volume" else squared(unit)
    fact = (
        given("its diameter is", "B", "A", 2 * r, unit, name="d")
        if diameter
        else radius(figure, "its radius is", "OA", r, unit)
    )
    volume = what == "volume"
    return solid_problem(
        asked=what,
        measured=body.volume() if volume else body.side(),
        form=f"{what} of a sphere" + (" by diameter" if diameter else ""),
        description="The solid is a sphere.",
        facts=(fact,),
        question=f"Find its {'volume' if volume else 'surface area'}.",
        figure=figure,
        steps=(
            *(
                (Step("r", "the radius", "d / 2", "The radius is half of the diameter.", unit),)
                if diameter
                else ()
            ),
            Step("v", "the volume", "4 * pi * r**3 / 3", rules.SPHERE, size)
            if volume
            else Step("s", "the surface area", "4 * pi * r**2", rules.SPHERE_SURFACE, size),
        ),
        mistakes=(
            Mistake(
                "32 * pi * r**3 / 3" if volume else "16 * pi * r**2", "the diameter is taken for the radius"
            ),
            Mistake("4 * pi * r**3" if volume else "pi * r**2", "a factor is forgotten"),
            Mistake("4 * pi * r**2" if volume else "4 * pi * r**3 / 3", "volume and surface are mixed up"),
            Mistake("pi * r**3 / 3" if volume else "2 * pi * r**2", "another factor"),
            Mistake("2 * pi * r**3 / 3" if volume else "3 * pi * r**2", "half a sphere"),
        ),
        unit=size,
    )


def _sphere_back(rng: random.Random) -> Problem:
    r: Exact = (
        rng.randint(2, 60)
        if rng.random() < 0.4
        else evaluate("n / d", {"n": rng.randint(3, 199), "d": rng.randint(2, 6)})
    )
    unit = rng.choice(UNITS)
    figure, body = draw_ball(rng, r)
    figure.draw()
    to_volume = rng.random() < 0.4
    surface = evaluate("4 * pi * r**2", {"r": r})
    return solid_problem(
        asked="volume" if to_volume else "length O A",
        measured=body.volume() if to_volume else figure.length("O", "A"),
        form=f"{'volume' if to_volume else 'radius'} of a sphere by surface",
        description="The solid is a sphere.",
        facts=(stated("its surface area is", surface, squared(unit), body.side(), name="s"),),
        question="Find its volume." if to_volume else "Find its radius r.",
        figure=figure,
        steps=(
            Step("r", "r", "sqrt(s / (4 * pi))", rules.SPHERE_SURFACE, unit),
            *(
                (Step("v", "the volume", "4 * pi * r**3 / 3", rules.SPHERE, cubed(unit)),)
                if to_volume
                else ()
            ),
        ),
        mistakes=tuple(
            Mistake(wrong, "the formula is turned around wrongly")
            for wrong in (
                ("32 * pi * r**3 / 3", "4 * pi * r**3", "pi * r**3 / 3", "2 * pi * r**3 / 3", "s / 3")
                if to_volume
                else ("2 * r", "s / (4 * pi)", "r / 2", "4 * r", "s / (8 * pi)")
            )
        ),
        unit=cubed(unit) if to_volume else unit,
        extra_marks=(Length("O", "A", "r"),),
    )


def _melted(rng: random.Random) -> Problem:
    size, r = rng.randint(2, 90), rng.randint(2, 90)
    unit = rng.choice(UNITS)
    shape = rng.choice(("cone", "cylinder"))
    cone = shape == "cone"
    height = evaluate("4 * R**3 / r**2" if cone else "4 * R**3 / (3 * r**2)", {"R": size, "r": r})
    need(0.3 * r <= as_float(height) <= 12 * r)
    figure, body = draw_ball(rng, size)
    figure.draw()
    return solid_problem(
        asked=f"height of the {shape}",
        measured=body.volume() / Round(0, r, 1, 0 if cone else r).volume(),
        form=f"sphere melted to a {shape}",
        description="The solid is a sphere.",
        facts=(
            given("its radius is", "O", "A", size, unit, name="R"),
            Fact(
                f"it is melted and cast into a {shape} whose base has the radius {r}{with_space(unit)}",
                values={"r": r},
            ),
        ),
        question=f"Find the height of the {shape}.",
        figure=figure,
        steps=(
            Step("v", "the volume of the sphere", "4 * pi * R**3 / 3", rules.SPHERE, cubed(unit)),
            Step(
                "h",
                "the height",
                "3 * v / (pi * r**2)" if cone else "v / (pi * r**2)",
                f"The volume stays the same. {rules.CONE if cone else rules.CYLINDER}",
                unit,
            ),
        ),
        mistakes=(
            Mistake("v / (pi * r**2)" if cone else "3 * v / (pi * r**2)", "cone and cylinder are mixed up"),
            Mistake("h / 4", "the diameter is taken for the radius"),
            Mistake("h / 2", "half of the sphere is melted"),
            Mistake("2 * h", "a factor too many"),
            Mistake("3 * h / 4", "the factor of the sphere is forgotten"),
        ),
        unit=unit,
    )


def _hemisphere(rng: random.Random) -> Problem:
    r: Exact = (
        rng.randint(2, 24)
        if rng.random() < 0.4
        else evaluate("n / d", {"n": rng.randint(3, 199), "d": rng.randint(2, 6)})
    )
    unit = rng.choice(UNITS)
    what = rng.choice(("volume", "surface", "side"))
    diameter = rng.random() < 0.4
    figure, body = draw_ball(rng, r, half=True, diameter=diameter)
    figure.draw()
    size = cubed(unit) if what == "volume" else squared(unit)
    measured = body.volume() if what == "volume" else body.side()
    if what == "surface":
        measured += math.pi * as_float(r) ** 2
    fact = (
        given("its diameter is", "B", "A", 2 * r, unit, name="d")
        if diameter
        else radius(figure, "its radius is", "OA", r, unit)
    )
    dome = Step(
        "m", "the curved surface area", "2 * pi * r**2", "It is half of a sphere's surface 4πr².", size
    )
    steps = {
        "volume": (
            Step("v", "the volume", "2 * pi * r**3 / 3", "It is half of a sphere's volume 4/3 × πr³.", size),
        ),
        "side": (dome,),
        "surface": (
            dome,
            Step("t", "the total surface area", "m + pi * r**2", "The flat circle is added.", size),
        ),
    }[what]
    typical = {
        "volume": (
            "4 * pi * r**3 / 3",
            "2 * pi * r**3",
            "16 * pi * r**3 / 3",
            "pi * r**3 / 3",
            "3 * pi * r**2",
        ),
        "side": ("4 * pi * r**2", "3 * pi * r**2", "pi * r**2", "8 * pi * r**2", "2 * pi * r**3 / 3"),
        "surface": ("2 * pi * r**2", "4 * pi * r**2", "12 * pi * r**2", "5 * pi * r**2", "2 * pi * r**3 / 3"),
    }[what]
    asked = {
        "volume": "volume",
        "side": "curved surface area",
        "surface": "total surface area, with the flat circle",
    }
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} of a hemisphere" + (" by diameter" if diameter else ""),
        description="The solid is a hemisphere.",
        facts=(fact,),
        question=f"Find its {asked[what]}.",
        figure=figure,
        steps=(
            *(
                (Step("r", "the radius", "d / 2", "The radius is half of the diameter.", unit),)
                if diameter
                else ()
            ),
            *steps,
        ),
        mistakes=tuple(
            Mistake(wrong, "a wrong part of the sphere, or the diameter for the radius") for wrong in typical
        ),
        unit=size,
    )
