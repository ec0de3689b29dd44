"""Plane sections: parallel to the base, through the axis, through a diagonal, across a sphere."""

from __future__ import annotations

import math
import random

from vkit.synthesis.claims import IsArea
from vkit.synthesis.exact import as_float, pleasant, sqrt
from vkit.synthesis.facts import Fact
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import Ball, Round
from vkit.synthesis.solid.boxes import box_edges, draw_box
from vkit.synthesis.solid.drawing import Solid, axonometric
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared
from vkit.synthesis.solid.rounds import draw_cylinder


@family("sections of solids", "solid")
def sections(rng: random.Random) -> Problem:
    """Sections through an axis or a diagonal, and across a sphere."""
    return one_of(rng, _diagonal, _axial, _axial_of_cone, _across_ball, _across_ball)


def _diagonal(rng: random.Random) -> Problem:
    a, b, c = rng.randint(2, 40), rng.randint(2, 40), rng.randint(2, 40)
    if rng.random() < 0.5:
        a, b = (v * k for k in [rng.randint(1, 9)] for v in rng.choice(TRIPLES[:5])[:2])
    need(max(a, b, c) <= 2.6 * min(a, b, c))
    d = sqrt(a * a + b * b)
    need(pleasant(d) and pleasant(d * c))
    unit = rng.choice(UNITS)
    figure, _ = draw_box(rng, a, b, c)
    plane = "0264" if rng.random() < 0.5 else "1375"
    figure.line(plane[0], plane[1])
    figure.line(plane[3], plane[2])
    figure.shade(*plane)
    figure.draw()
    edges = box_edges(figure)
    return solid_problem(
        asked="section",
        measured=figure.area(*plane),
        form="diagonal section of a box",
        description="A rectangular box is cut by the plane through two opposite upright edges.",
        facts=tuple(
            given(f"its {word} is", *edges[word], value, unit, name=name)
            for word, value, name in (("length", a, "a"), ("width", b, "b"), ("height", c, "c"))
        ),
        question="Find the area of the shaded section of the box.",
        figure=figure,
        steps=(
            Step("d", "the diagonal of the base", "sqrt(a**2 + b**2)", "The base is a rectangle.", unit),
            Step(
                "s",
                "the area of the section",
                "d * c",
                "The section is a rectangle on the diagonal.",
                squared(unit),
            ),
        ),
        mistakes=(
            Mistake("d * c / 2", "the section is taken for a triangle"),
            Mistake("(a + b) * c", "the sides are added, not their squares"),
            Mistake("sqrt(b**2 + c**2) * a", "another diagonal section"),
            Mistake("sqrt(a**2 + c**2) * b", "another diagonal section"),
            Mistake("a * b * c", "the volume"),
        ),
        unit=squared(unit),
    )


def _axial(rng: random.Random) -> Problem:
    r, h = rng.randint(2, 45), rng.randint(2, 90)
    need(0.7 * r <= h <= 4 * r)
    unit = rng.choice(UNITS)
    figure, body = draw_cylinder(rng, r, h)
    low = [figure.rim(f"l{right}", body, right=right, letter=False) for right in (True, False)]
    high = [figure.rim(f"h{right}", body, right=right, top=True, letter=False) for right in (False, True)]
    figure.shade(*low, *high)
    figure.line(*low)
    figure.line(*high)
    figure.draw()
    by_area = rng.random() < 0.5
    shown = "The shaded section goes through the axis of the cylinder."
    height = given("its height is", "P", "Q", h, unit, name="h")
    steps: tuple[Step, ...]
    if by_area:
        area = Fact(
            f"the area of the shaded section is {2 * r * h}{' ' + squared(unit) if unit else ''}",
            values={"s": 2 * r * h},
            claims=(IsArea((*low, *high), 2 * r * h),),
        )
        facts: tuple[Fact, ...] = (area, height)
        steps = (
            Step("r", "the radius", "s / (2 * h)", "The section is a rectangle, diameter × height.", unit),
            Step(
                "v", "the volume", "pi * r**2 * h", "The volume of a cylinder is base × height.", cubed(unit)
            ),
        )
        typical = ("4 * pi * r**2 * h", "pi * r**2 * h / 3", "pi * s", "2 * pi * r * h", "s * h")
    else:
        facts = (radius(figure, "the radius of the base is", "OA", r, unit), height)
        steps = (
            Step(
                "s",
                "the area of the section",
                "2 * r * h",
                "The section is a rectangle, diameter × height.",
                squared(unit),
            ),
        )
        typical = ("r * h", "pi * r * h", "4 * r * h", "2 * pi * r * h", "2 * (2 * r + h)")
    return solid_problem(
        asked="volume" if by_area else "section",
        measured=body.volume() if by_area else figure.area(*low, *high),
        form="volume from axial section" if by_area else "axial section of a cylinder",
        description=f"The solid is a cylinder. {shown}",
        facts=facts,
        question=f"{shown} Find {'the volume of the cylinder' if by_area else 'its area'}.",
        figure=figure,
        steps=steps,
        mistakes=tuple(
            Mistake(wrong, "radius and diameter are mixed up, or another formula") for wrong in typical
        ),
        unit=cubed(unit) if by_area else squared(unit),
    )


def _axial_of_cone(rng: random.Random) -> Problem:
    r, h = rng.randint(2, 45), rng.randint(2, 90)
    need(1.1 * r <= h <= 3.2 * r)
    unit = rng.choice(UNITS)
    figure = Solid.seen(axonometric(0, rng.uniform(13, 18)))
    body = Round(0, r, h, 0)
    figure.add(body)
    figure.point("V", 0, 0, h, letter=False)
    figure.point("O", 0, 0, 0, letter=False, dot=True)
    # Turned aside, so that its sides do not fall upon the outline.
    turn = math.radians(rng.choice((-1, 1)) * rng.uniform(40, 55))
    figure.point("A", r * math.cos(turn), r * math.sin(turn), 0, letter=False)
    figure.point("B", -r * math.cos(turn), -r * math.sin(turn), 0, letter=False)
    figure.shade("V", "A", "B")
    figure.line("A", "O", "B")
    figure.line("V", "O")
    figure.line("A", "V", "B")
    figure.draw()
    shown = "The shaded section goes through the axis of the cone."
    return solid_problem(
        asked="section",
        measured=figure.area("V", "A", "B"),
        form="axial section of a cone",
        description=f"The solid is a cone. {shown}",
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            given("the height of the cone is", "V", "O", h, unit, name="h"),
        ),
        question=f"{shown} Find its area.",
        figure=figure,
        steps=(
            Step("d", "the diameter", "2 * r", "The section stands on a diameter.", unit),
            Step("s", "the area of the section", "d * h / 2", "The section is a triangle.", squared(unit)),
        ),
        mistakes=(
            Mistake("d * h", "the half of the triangle is forgotten"),
            Mistake("r * h / 2", "the radius is taken for the diameter"),
            Mistake("pi * r * h", "a lateral surface"),
            Mistake("d * h / 3", "a third instead of a half"),
            Mistake("pi * r**2 * h / 3", "the volume"),
        ),
        unit=squared(unit),
    )


def _across_ball(rng: random.Random) -> Problem:
    size, off = rng.randint(4, 80), rng.randint(1, 60)
    if rng.random() < 0.4:
        off, _, size = (v * k for k in [rng.randint(1, 9)] for v in rng.choice(TRIPLES[:6]))
    need(0.3 * size <= off <= 0.7 * size)
    rho = sqrt(size * size - off * off)
    need(pleasant(rho))
    unit = rng.choice(UNITS)
    figure = Solid.seen(axonometric(0, rng.uniform(15, 22)))
    figure.add(Ball((0.0, 0.0, 0.0), size, -size, size), bottom=False, top=False)
    figure.ring(off, as_float(rho))
    figure.shade(*figure.disc(off, as_float(rho)))
    figure.point("O", 0, 0, 0, dot=True)
    figure.point("P", 0, 0, off, dot=True)
    figure.point("A", rho, 0, off)
    figure.line("O", "P", "A", "O")
    figure.draw()
    what = rng.choice(("radius", "area", "distance", "sphere"))
    known = {
        "R": given("the radius of the sphere is", "O", "A", size, unit, name="R"),
        "d": given("the distance of the section from the center is", "O", "P", off, unit, name="d"),
        "r": given("the radius of the section is", "P", "A", rho, unit, name="r"),
    }
    rule = "OPA is a right triangle with the radius of the sphere as hypotenuse."
    leg = Step("r", "PA", "sqrt(R**2 - d**2)", rule, unit)
    steps, pair, typical, words, measured = {
        "radius": (
            (leg,),
            "Rd",
            ("sqrt(R**2 + d**2)", "R - d", "R + d", "R**2 - d**2", "sqrt(R * d)"),
            "radius PA of the section",
            figure.length("P", "A"),
        ),
        "area": (
            (
                leg,
                Step("s", "the area of the section", "pi * r**2", "The section is a circle.", squared(unit)),
            ),
            "Rd",
            ("pi * R**2", "pi * (R - d)**2", "pi * (R**2 + d**2)", "2 * pi * r", "4 * pi * R**2"),
            "area of the shaded section",
            math.pi * figure.length("P", "A") ** 2,
        ),
        "distance": (
            (Step("d", "OP", "sqrt(R**2 - r**2)", rule, unit),),
            "Rr",
            ("R - r", "sqrt(R**2 + r**2)", "R + r", "R / 2", "2 * R - r"),
            "distance OP of the section from the center",
            figure.length("O", "P"),
        ),
        "sphere": (
            (
                Step("R", "OA", "sqrt(r**2 + d**2)", rule, unit),
                Step(
                    "s",
                    "the surface area of the sphere",
                    "4 * pi * R**2",
                    "The surface of a sphere is 4 × π × radius².",
                    squared(unit),
                ),
            ),
            "rd",
            (
                "pi * R**2",
                "4 * pi * r**2",
                "4 * pi * (r + d)**2",
                "4 * pi * abs(r**2 - d**2)",
                "2 * pi * R**2",
            ),
            "surface area of the sphere",
            4 * math.pi * figure.length("O", "A") ** 2,
        ),
    }[what]
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} by a section of a sphere",
        description=(
            "A sphere with center O is cut by a plane; P is the center of the section and A lies on its rim."
        ),
        facts=tuple(known[name] for name in pair),
        question=f"Find the {words}.",
        figure=figure,
        steps=steps,
        mistakes=tuple(Mistake(wrong, "Pythagoras' theorem is used wrongly") for wrong in typical),
        unit=unit if what in ("radius", "distance") else squared(unit),
    )
