"""Cylinders, cones, spheres and hemispheres: volume, surface, radius, height and slant height."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, as_float, evaluate, pleasant, sqrt, tidy
from vkit.synthesis.marks import Length, RightAngle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid import rules
from vkit.synthesis.solid.bodies import Round
from vkit.synthesis.solid.drawing import Solid, upright
from vkit.synthesis.solid.facts import cubed, given, radius, solid_problem, squared, stated


@family("cylinders", "solid")
def cylinders(rng: random.Random) -> Problem:
    """A cylinder from its radius, its diameter or its volume."""
    return one_of(rng, _cylinder, _cylinder, _cylinder_back, _rolled)


@family("cones", "solid")
def cones(rng: random.Random) -> Problem:
    """A cone from two of radius, height and slant height."""
    return one_of(rng, _cone_volume, _cone_by_slant, _cone_by_slant, _cone_height)


def draw_cylinder(rng: random.Random, r: Exact, h: Exact, *, diameter: bool = False) -> tuple[Solid, Round]:
    """A cylinder with the radius OA (or diameter BA) on its visible end, and its height PQ."""
    figure = Solid.seen(upright(rng))
    body = Round(0, as_float(r), as_float(h), as_float(r))
    figure.add(body)
    top = figure.view.toward[2] > 0
    figure.point("O", 0, 0, h if top else 0, letter=False, dot=not diameter)
    figure.rim("A", body, top=top, letter=False)
    figure.rim("B", body, top=top, right=False, letter=False)
    figure.rim("P", body, right=False, letter=False)
    figure.rim("Q", body, right=False, top=True, letter=False)
    figure.line("B" if diameter else "O", "A")
    return figure, body


def _cylinder_sizes(rng: random.Random) -> tuple[int, int]:
    r, h = rng.randint(2, 30), rng.randint(2, 60)
    need(0.9 * r <= h <= 4.5 * r)
    return r, h


def _cylinder(rng: random.Random) -> Problem:
    r, h = _cylinder_sizes(rng)
    unit = rng.choice(UNITS)
    diameter = rng.random() < 0.35
    what = rng.choice(("volume", "surface", "side"))
    figure, body = draw_cylinder(rng, r, h, diameter=diameter)
    figure.draw()
    words = "the diameter of the base is" if diameter else "the radius of the base is"
    size = cubed(unit) if what == "volume" else squared(unit)
    square = squared(unit)
    steps = {
        "volume": (
            Step("g", "the area of the base", "pi * r**2", "The base is a circle.", square),
            Step("v", "the volume", "g * h", rules.CYLINDER, size),
        ),
        "side": (Step("s", "the lateral surface area", "2 * pi * r * h", rules.CYLINDER_SIDE, size),),
        "surface": (
            Step("s", "the lateral surface area", "2 * pi * r * h", rules.CYLINDER_SIDE, size),
            Step("t", "the total surface area", "s + 2 * pi * r**2", "Both bases are added.", size),
        ),
    }[what]
    half = (Step("r", "the radius", "d / 2", "The radius is half of the diameter.", unit),)
    asked = {"volume": "volume", "side": "lateral surface area", "surface": "total surface area"}[what]
    measured = {
        "volume": body.volume(),
        "side": body.side(),
        "surface": body.side() + 2 * figure.length("O", "A") ** 2 * math.pi,
    }[what]
    typical = {
        "volume": (
            Mistake("pi * (2 * r)**2 * h", "the diameter is taken for the radius")
            if diameter
            else Mistake("pi * r**2 * h / 3", "the third of a cone"),
            Mistake("2 * pi * r * h", "the lateral surface"),
            Mistake("pi * r * h", "the radius is not squared"),
            Mistake("2 * pi * r * (r + h)", "the surface"),
            Mistake("pi * r**2 * h / 3", "the third of a cone"),
            Mistake("pi * r * h**2", "the height is squared"),
        ),
        "side": (
            Mistake("4 * pi * r * h" if diameter else "pi * r * h", "radius and diameter are mixed up"),
            Mistake("2 * pi * r * h + 2 * pi * r**2", "the bases are counted too"),
            Mistake("pi * r**2 * h", "the volume"),
            Mistake("2 * pi * r * h + pi * r**2", "one base is counted too"),
        ),
        "surface": (
            Mistake("s + pi * r**2", "one base is forgotten"),
            Mistake("s", "both bases are forgotten"),
            Mistake("2 * pi * r * h + 8 * pi * r**2", "the diameter is taken for the radius"),
            Mistake("pi * r**2 * h", "the volume"),
            Mistake("pi * r * h + 2 * pi * r**2", "half of the lateral surface"),
        ),
    }[what]
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} of a cylinder" + (" by diameter" if diameter else ""),
        description="The solid is a cylinder.",
        facts=(
            radius(figure, words, "BA", 2 * r, unit, name="d", letter="d")
            if diameter
            else radius(figure, words, "OA", r, unit),
            given("its height is", "P", "Q", h, unit, name="h"),
        ),
        question=f"Find its {asked}.",
        figure=figure,
        steps=(*(half if diameter else ()), *steps),
        mistakes=typical,
        unit=size,
    )


def _cylinder_back(rng: random.Random) -> Problem:
    r, h = _cylinder_sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_cylinder(rng, r, h)
    figure.draw()
    by_side = rng.random() < 0.5
    find_radius = rng.random() < 0.5
    volume = stated(
        "its volume is", evaluate("pi * r**2 * h", {"r": r, "h": h}), cubed(unit), body.volume(), name="v"
    )
    side = stated(
        "its lateral surface area is",
        evaluate("2 * pi * r * h", {"r": r, "h": h}),
        squared(unit),
        body.side(),
        name="s",
    )
    known = (
        given("its height is", "P", "Q", h, unit, name="h")
        if find_radius
        else radius(figure, "the radius of the base is", "OA", r, unit)
    )
    steps: tuple[Step, ...]
    if find_radius and by_side:
        steps = (Step("r", "r", "s / (2 * pi * h)", rules.CYLINDER_SIDE, unit),)
        typical = ("s / (pi * h)", "sqrt(s / (pi * h))", "s / (4 * pi * h)", "2 * r + h", "s / (2 * pi)")
    elif find_radius:
        steps = (
            Step("g", "the area of the base", "v / h", rules.CYLINDER, squared(unit)),
            Step("r", "r", "sqrt(g / pi)", "The base is a circle.", unit),
        )
        typical = ("2 * r", "g / pi", "g / (2 * pi)", "sqrt(3 * v / (pi * h))", "r / 2")
    elif by_side:
        steps = (Step("h", "h", "s / (2 * pi * r)", rules.CYLINDER_SIDE, unit),)
        typical = (
            "s / (pi * r)",
            "s / (pi * r**2)",
            "s / (4 * pi * r)",
            "(s - 2 * pi * r**2) / (2 * pi * r)",
            "2 * h + r",
        )
    else:
        steps = (
            Step("g", "the area of the base", "pi * r**2", "The base is a circle.", squared(unit)),
            Step("h", "h", "v / g", rules.CYLINDER, unit),
        )
        typical = ("3 * v / g", "v / (2 * pi * r)", "v / (4 * g)", "v / (pi * r)", "2 * h")
    return solid_problem(
        asked="length O A" if find_radius else "length P Q",
        measured=figure.length(*("OA" if find_radius else "PQ")),
        form=(
            f"{'radius' if find_radius else 'height'} of a cylinder from its "
            f"{'side' if by_side else 'volume'}"
        ),
        description="The solid is a cylinder.",
        facts=(known, side if by_side else volume),
        question="Find the radius r of its base." if find_radius else "Find its height h.",
        figure=figure,
        steps=steps,
        mistakes=tuple(Mistake(wrong, "the formula is turned around wrongly") for wrong in typical),
        unit=unit,
        extra_marks=(Length("O", "A", "r") if find_radius else Length("P", "Q", "h"),),
    )


def _rolled(rng: random.Random) -> Problem:
    r, h = _cylinder_sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_cylinder(rng, r, h)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a cylinder from its lateral surface",
        description="The solid is a cylinder.",
        facts=(
            radius(figure, "the radius of the base is", "OA", r, unit),
            stated(
                "its lateral surface area is",
                evaluate("2 * pi * r * h", {"r": r, "h": h}),
                squared(unit),
                body.side(),
                name="s",
            ),
        ),
        question="Find its volume.",
        figure=figure,
        steps=(
            Step("h", "the height", "s / (2 * pi * r)", rules.CYLINDER_SIDE, unit),
            Step("v", "the volume", "pi * r**2 * h", rules.CYLINDER, cubed(unit)),
        ),
        mistakes=(
            Mistake("s * r", "the half is forgotten"),
            Mistake("pi * r**2 * h / 3", "the third of a cone"),
            Mistake("s * r / 4", "radius and diameter are mixed up"),
            Mistake("pi * r * h", "the radius is not squared"),
            Mistake("s + 2 * pi * r**2", "the surface"),
        ),
        unit=cubed(unit),
    )


def draw_cone(
    rng: random.Random, r: Exact, h: Exact, *, diameter: bool = False, axis: bool = True
) -> tuple[Solid, Round]:
    """A cone with its apex V over O, the radius OA, and B opposite A; VA and VL are its outline."""
    figure = Solid.seen(upright(rng))
    body = Round(0, as_float(r), as_float(h), 0)
    figure.add(body)
    figure.point("O", 0, 0, 0, letter=False, dot=True)
    figure.point("V", 0, 0, h, letter=False)
    figure.rim("A", body, letter=False)
    x, y, _ = figure.space["A"]
    figure.point("B", -x, -y, 0, letter=False)
    figure.rim("L", body, right=False, letter=False)
    figure.line(*("BOA" if diameter else "OA"))
    if axis:
        figure.line("O", "V")
    return figure, body


def _cone_volume(rng: random.Random) -> Problem:
    r, h = rng.randint(2, 60), rng.randint(2, 99)
    need(0.9 * r <= h <= 3.5 * r)
    unit = rng.choice(UNITS)
    diameter = rng.random() < 0.4
    figure, body = draw_cone(rng, r, h, diameter=diameter)
    figure.draw()
    first = (
        given("the diameter of the base is", "B", "A", 2 * r, unit, name="d", dimension=True)
        if diameter
        else radius(figure, "the radius of the base is", "OA", r, unit)
    )
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a cone" + (" by diameter" if diameter else ""),
        description="The solid is a cone.",
        facts=(first, given("its height is", "O", "V", h, unit, name="h")),
        question="Find its volume.",
        figure=figure,
        steps=(
            *(
                (Step("r", "the radius", "d / 2", "The radius is half of the diameter.", unit),)
                if diameter
                else ()
            ),
            Step("g", "the area of the base", "pi * r**2", "The base is a circle.", squared(unit)),
            Step("v", "the volume", "g * h / 3", rules.CONE, cubed(unit)),
        ),
        mistakes=(
            Mistake("g * h", "the third is forgotten"),
            Mistake("pi * (2 * r)**2 * h / 3", "the diameter is taken for the radius")
            if diameter
            else Mistake("g * h / 2", "a half instead of a third"),
            Mistake("2 * pi * r * h / 3", "the circumference is taken for the base"),
            Mistake("g * h / 2", "a half instead of a third"),
            Mistake("pi * r * h", "the radius is not squared, the third is forgotten"),
        ),
        unit=cubed(unit),
    )


def _cone_triple(rng: random.Random) -> tuple[Exact, Exact, Exact]:
    """Radius, height and slant height, all rational."""
    x, y, z = rng.choice(TRIPLES)
    if rng.random() < 0.4:
        x, y = y, x
    k = Fraction(rng.randint(1, 60), rng.choice((1, 2, 2, 3)))
    need(0.7 * x <= y <= 3.6 * x)
    return tidy(x * k), tidy(y * k), tidy(z * k)


def _cone_by_slant(rng: random.Random) -> Problem:
    r, h, s = _cone_triple(rng)
    unit = rng.choice(UNITS)
    what = rng.choice(("volume", "side", "surface"))
    by_height = what != "volume" and rng.random() < 0.5
    figure, body = draw_cone(rng, r, h, axis=by_height or what == "volume")
    figure.draw()
    size = cubed(unit) if what == "volume" else squared(unit)
    pair = {
        "h": given("its height is", "O", "V", h, unit, name="h"),
        "s": given("its slant height is", "V", "L", s, unit, name="s"),
    }
    first = (
        (Step("h", "the height", "sqrt(s**2 - r**2)", rules.SLANT, unit),)
        if what == "volume"
        else (Step("s", "the slant height", "sqrt(r**2 + h**2)", rules.SLANT, unit),)
        if by_height
        else ()
    )
    side = Step("m", "the lateral surface area", "pi * r * s", rules.CONE_SIDE, size)
    last = {
        "volume": (Step("v", "the volume", "pi * r**2 * h / 3", rules.CONE, size),),
        "side": (side,),
        "surface": (side, Step("t", "the total surface area", "m + pi * r**2", "The base is added.", size)),
    }[what]
    typical = {
        "volume": ("pi * r**2 * s / 3", "pi * r**2 * h", "pi * r**2 * s", "pi * r * s", "pi * r * h / 3"),
        "side": (
            "pi * r * h" if by_height else "2 * pi * r * s",
            "pi * r * s + pi * r**2",
            "2 * pi * r * s",
            "pi * r**2 * s / 3",
            "pi * s**2",
        ),
        "surface": (
            "m",
            "pi * r * h + pi * r**2" if by_height else "2 * pi * r * s + pi * r**2",
            "m + 2 * pi * r**2",
            "2 * pi * r * (r + s)",
            "pi * r**2 * s / 3",
        ),
    }[what]
    why = {
        "pi * r**2 * s / 3": "the slant height is taken for the height",
        "pi * r * h": "the height is taken for the slant height",
        "pi * r * h + pi * r**2": "the height is taken for the slant height",
        "pi * r**2 * h": "the third is forgotten",
        "m": "the base is forgotten",
        "m + 2 * pi * r**2": "a cone has one base only",
    }
    base = {"volume": 0.0, "side": 0.0, "surface": math.pi * r * r}[what]
    asked = {"volume": "volume", "side": "lateral surface area", "surface": "total surface area"}[what]
    return solid_problem(
        asked=what,
        measured=body.volume() if what == "volume" else body.side() + base,
        form=f"{what} of a cone by {'height' if by_height else 'slant height'}",
        description="The solid is a cone.",
        facts=(radius(figure, "the radius of the base is", "OA", r, unit), pair["h" if by_height else "s"]),
        question=f"Find its {asked}.",
        figure=figure,
        steps=(*first, *last),
        mistakes=tuple(Mistake(wrong, why.get(wrong, "the formula is wrong")) for wrong in typical),
        unit=size,
    )


def _cone_height(rng: random.Random) -> Problem:
    unit = rng.choice(UNITS)
    by_volume = rng.random() < 0.5
    if by_volume:
        r, h = rng.randint(2, 60), rng.randint(2, 99)
        need(0.9 * r <= h <= 3.5 * r)
    else:
        r, s = rng.randint(2, 60), rng.randint(4, 99)
        need(s > r)
        h = sqrt(s * s - r * r)
        need(pleasant(h) and 0.9 * r <= as_float(h) <= 3.5 * r)
    figure, body = draw_cone(rng, r, h)
    figure.draw()
    base = radius(figure, "the radius of the base is", "OA", r, unit)
    steps: tuple[Step, ...]
    if by_volume:
        volume = evaluate("pi * r**2 * h / 3", {"r": r, "h": h})
        facts = (base, stated("its volume is", volume, cubed(unit), body.volume(), name="v"))
        steps = (
            Step("g", "the area of the base", "pi * r**2", "The base is a circle.", squared(unit)),
            Step("h", "h", "3 * v / g", rules.CONE, unit),
        )
        typical = ("v / g", "2 * v / g", "3 * v / (2 * pi * r)", "3 * v / (4 * g)", "sqrt(h**2 + r**2)")
    else:
        facts = (base, given("its slant height is", "V", "L", s, unit, name="s"))
        steps = (Step("h", "h", "sqrt(s**2 - r**2)", rules.SLANT, unit),)
        typical = ("sqrt(s**2 + r**2)", "s - r", "s + r", "sqrt(4 * r**2 + s**2)", "2 * s - r")
    return solid_problem(
        asked="length O V",
        measured=figure.length("O", "V"),
        form=f"height of a cone by {'volume' if by_volume else 'slant height'}",
        description="The solid is a cone.",
        facts=facts,
        question="Find its height h.",
        figure=figure,
        steps=steps,
        mistakes=tuple(Mistake(wrong, "the formula is turned around wrongly") for wrong in typical),
        unit=unit,
        extra_marks=(Length("O", "V", "h"), RightAngle("V", "O", "A")),
    )
