"""Cones and pyramids cut parallel to their bases: lengths, areas and volumes by similarity."""

from __future__ import annotations

import math
import random

from vkit.synthesis.exact import evaluate, pleasant
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import Round, pyramid
from vkit.synthesis.solid.drawing import Solid, axonometric
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared
from vkit.synthesis.solid.pyramids import pyramid_view

_SIMILAR = "The section is similar to the base: lengths are as the distances from the apex."


@family("sections parallel to the base", "solid")
def parallel_sections(rng: random.Random) -> Problem:
    """Cones and pyramids cut parallel to the base: lengths, areas and volumes by similarity."""
    return one_of(rng, _of_cone, _of_cone, _of_pyramid, _of_pyramid, _frustum)


def _cut_sizes(rng: random.Random) -> tuple[int, int, int]:
    """A size of the base, the height, and the distance of the cut from the apex."""
    a, h = rng.randint(2, 36), rng.randint(3, 60)
    k = rng.randint(1, h - 1)
    need(0.35 * h <= k <= 0.75 * h)
    return a, h, k


def _of_cone(rng: random.Random) -> Problem:
    r, h, k = _cut_sizes(rng)
    need(1.1 * r <= h <= 3 * r)
    unit = rng.choice(UNITS)
    figure = Solid.seen(axonometric(0, rng.uniform(13, 19)))
    body = Round(0, r, h, 0)
    small = Round(h - k, r * k / h, h, 0)
    figure.add(body)
    figure.ring(h - k, r * k / h)
    figure.shade(*figure.disc(h - k, r * k / h))
    figure.point("V", 0, 0, h)
    figure.point("O", 0, 0, 0)
    figure.point("P", 0, 0, h - k)
    figure.rim("A", body, letter=False)
    figure.line("O", "A")
    figure.line("V", "O")
    figure.beside("W", 0), figure.beside("X", h)
    figure.beside("Y", h - k, right=True), figure.beside("Z", h, right=True)
    figure.draw()
    what = rng.choice(("radius", "area", "volume of the small cone"))
    last = {
        "radius": (Step("x", "the radius of the section", "r * k / h", _SIMILAR, unit),),
        "area": (
            Step("x", "the radius of the section", "r * k / h", _SIMILAR, unit),
            Step("s", "the area of the section", "pi * x**2", "The section is a circle.", squared(unit)),
        ),
        "volume of the small cone": (
            Step("x", "the radius of the section", "r * k / h", _SIMILAR, unit),
            Step(
                "v",
                "the volume of the small cone",
                "pi * x**2 * k / 3",
                "A cone is a third of base × height.",
                cubed(unit),
            ),
        ),
    }[what]
    need(pleasant(evaluate("r * k / h", {"r": r, "k": k, "h": h})))
    typical = {
        "radius": ("r * (h - k) / h", "r * h / k", "r / 2", "k * h / r", "r * k / (h + k)"),
        "area": (
            "pi * r**2 * k / h",
            "pi * r**2 * (h - k)**2 / h**2",
            "2 * pi * x",
            "pi * r**2 / 4",
            "pi * r**2 / 2",
        ),
        "volume of the small cone": (
            "pi * r**2 * h / 3 - pi * x**2 * k / 3",
            "pi * x**2 * k",
            "pi * r**2 * k / 3",
            "pi * x**2 * h / 3",
            "pi * r**2 * k**2 / (3 * h)",
        ),
    }[what]
    size = {"radius": unit, "area": squared(unit)}.get(what, cubed(unit))
    measured = {"radius": small.low_radius, "area": math.pi * small.low_radius**2}.get(what, small.volume())
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} of a cut cone",
        description=(
            "A cone with apex V and center O of the base is cut parallel to its base at the point P of VO."
        ),
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            given("VO =", "W", "X", h, unit, name="h", dimension=True),
            given("VP =", "Y", "Z", k, unit, name="k", dimension=True),
        ),
        question={
            "radius": "The cut is parallel to the base. Find the radius of the section.",
            "area": "The cut is parallel to the base. Find the area of the shaded section.",
        }.get(what, "The cut is parallel to the base. Find the volume of the small cone above the section."),
        figure=figure,
        steps=last,
        mistakes=tuple(
            Mistake(wrong, "the ratio is not squared or cubed, or taken from the wrong end")
            for wrong in typical
        ),
        unit=size,
    )


def _of_pyramid(rng: random.Random) -> Problem:
    a, h, k = _cut_sizes(rng)
    need(0.8 * a <= h <= 2.2 * a)
    unit = rng.choice(UNITS)
    figure = Solid.seen(pyramid_view(rng))
    half, small = a / 2, a / 2 * k / h
    body = pyramid(((-half, -half), (half, -half), (half, half), (-half, half)), (0.0, 0.0, float(h)))
    figure.add(body)
    figure.corners("ABCD", body, letters=False)
    figure.point("V", 0, 0, h)
    figure.point("O", 0, 0, 0)
    figure.point("P", 0, 0, h - k)
    corners = [(-small, -small), (small, -small), (small, small), (-small, small)]
    names = [figure.point(f"s{i}", x, y, h - k, letter=False) for i, (x, y) in enumerate(corners)]
    figure.line(*names, names[0])
    figure.shade(*names)
    figure.line("V", "O")
    figure.beside("W", 0), figure.beside("X", h)
    figure.beside("Y", h - k, right=True), figure.beside("Z", h, right=True)
    figure.draw()
    what = rng.choice(("side", "area", "volume of the small pyramid"))
    side = Step("x", "the side of the section", "a * k / h", _SIMILAR, unit)
    steps = {
        "side": (side,),
        "area": (
            side,
            Step("s", "the area of the section", "x**2", "The section is a square.", squared(unit)),
        ),
    }.get(
        what,
        (
            side,
            Step(
                "v",
                "the volume of the small pyramid",
                "x**2 * k / 3",
                "A pyramid is a third of base × height.",
                cubed(unit),
            ),
        ),
    )
    typical = {
        "side": ("a * (h - k) / h", "a * h / k", "a / 2", "a - k", "a * k / (h + k)"),
        "area": ("a**2 * k / h", "a**2 * (h - k)**2 / h**2", "a**2 / 4", "4 * x", "a**2 / 2"),
    }.get(
        what,
        ("a**2 * h / 3 - x**2 * k / 3", "x**2 * k", "a**2 * k / 3", "x**2 * h / 3", "a**2 * k**2 / (3 * h)"),
    )
    need(pleasant(evaluate("a * k / h", {"a": a, "k": k, "h": h})))
    measured = {"side": 2 * small, "area": figure.area(*names)}.get(
        what, pyramid(corners, (0.0, 0.0, float(h)), h - k).volume()
    )
    edge = ("B", "C") if figure.view.toward[0] > 0 else ("A", "B")
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} of a cut pyramid",
        description=(
            "A right pyramid with apex V stands on a square with center O; it is cut parallel to "
            "its base at the point P of VO."
        ),
        facts=(
            given("the side of the square is", *edge, a, unit, name="a"),
            given("VO =", "W", "X", h, unit, name="h", dimension=True),
            given("VP =", "Y", "Z", k, unit, name="k", dimension=True),
        ),
        question={
            "side": "The cut is parallel to the square base. Find the side of the section.",
            "area": "The cut is parallel to the square base. Find the area of the shaded section.",
        }.get(
            what,
            "The cut is parallel to the square base. Find the volume of the small pyramid above the section.",
        ),
        figure=figure,
        steps=steps,
        mistakes=tuple(
            Mistake(wrong, "the ratio is not squared or cubed, or taken from the wrong end")
            for wrong in typical
        ),
        unit={"side": unit, "area": squared(unit)}.get(what, cubed(unit)),
    )


def _frustum(rng: random.Random) -> Problem:
    r, q, h = rng.randint(3, 24), rng.randint(1, 18), rng.randint(3, 40)
    need(0.35 * r <= q <= 0.75 * r and 0.6 * r <= h <= 2.5 * r)
    unit = rng.choice(UNITS)
    view = axonometric(0, rng.uniform(14, 20)) if rng.random() < 0.6 else axonometric(0, -18).rolled(180)
    figure = Solid.seen(view)
    body = Round(0, r, h, q)
    figure.add(body)
    figure.point("O", 0, 0, 0, letter=False, dot=True)
    figure.point("P", 0, 0, h, letter=False, dot=True)
    figure.point("A", r, 0, 0, letter=False)
    figure.point("B", q, 0, h, letter=False)
    figure.line("O", "A")
    figure.line("P", "B")
    figure.line("O", "P")
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a frustum",
        description="The solid is a frustum of a cone: its two bases are parallel circles.",
        facts=(
            radius(figure, "the radius of the larger base is", "OA", r, unit, name="R", letter="R"),
            radius(figure, "the radius of the smaller base is", "PB", q, unit),
            given("the height is", "O", "P", h, unit, name="h"),
        ),
        question="Find the volume of the frustum.",
        figure=figure,
        steps=(
            Step(
                "k",
                "the height of the whole cone",
                "h * R / (R - r)",
                "Lengths are as the distances from the apex.",
                unit,
            ),
            Step(
                "v",
                "the volume of the whole cone",
                "pi * R**2 * k / 3",
                "A cone is a third of base × height.",
                cubed(unit),
            ),
            Step(
                "w",
                "the volume of the missing cone",
                "pi * r**2 * (k - h) / 3",
                "A cone is a third of base × height.",
                cubed(unit),
            ),
            Step("t", "the volume of the frustum", "v - w", "The missing cone is taken off.", cubed(unit)),
        ),
        mistakes=(
            Mistake("pi * (R**2 + R * r + r**2) * h", "the third is forgotten"),
            Mistake("pi * (R**2 + r**2) * h / 2", "the mean of the bases times the height"),
            Mistake("pi * (R + r)**2 * h / 4", "the mean of the radii is taken"),
            Mistake("pi * (R**2 + r**2) * h / 3", "the middle term is forgotten"),
            Mistake("pi * (R**2 - r**2) * h / 3", "two cones of the same height are subtracted"),
        ),
        unit=cubed(unit),
    )
