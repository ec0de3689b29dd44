"""Nets: solids unfolded to the plane, with their sizes; what does the net fold to?"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vkit.synthesis.exact import as_float, evaluate, pleasant, show
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure
from vkit.synthesis.marks import Label, Length, RightAngle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step, with_space
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import Round, box, lying_prism, pyramid
from vkit.synthesis.solid.facts import IsMeasured, cubed, given, radius, solid_problem, squared

_FOLDED = "The net is folded along its inner lines."


@family("nets", "solid")
def nets(rng: random.Random) -> Problem:
    """Volume and surface of the solid that a net folds to: boxes, prisms, pyramids, cylinders and cones."""
    return one_of(rng, _box_net, _prism_net, _pyramid_net, _cylinder_net, _cone_net)


def _rectangle(
    figure: Figure, x: float, y: float, width: float, height: float, names: Sequence[str] = ()
) -> None:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    for name, corner in zip(names, corners):
        figure.point(name, *corner, letter=False)
    figure.polygon(*corners)


def _box_net(rng: random.Random) -> Problem:
    a, b, c = rng.randint(2, 30), rng.randint(2, 30), rng.randint(2, 30)
    need(max(a, b, c) <= 2.5 * min(a, b, c) and len({a, b, c}) == 3)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.5
    figure = Figure()
    # A strip of four walls of height c; the bottom under a wall of width a, the top over the same or another.
    x = 0.0
    starts = []
    for width in (a, b, a, b):
        starts.append(x)
        _rectangle(figure, x, 0, width, c)
        x += width
    low, high = rng.choice((0, 2)), rng.choice((0, 2))
    _rectangle(figure, starts[low], -b, a, b, ("P", "Q", "R", "S"))
    _rectangle(figure, starts[high], c, a, b, ("T", "U", "V", "W"))
    figure.point("X", 0, 0, letter=False)
    figure.point("Y", 0, c, letter=False)
    body = box(a, b, c)
    size = squared(unit) if surface else cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=sum(body.areas()) if surface else body.volume(),
        form=f"{'surface' if surface else 'volume'} from the net of a box",
        description="The net of a rectangular box consists of four walls in a row, a bottom and a top.",
        facts=(
            given("the length of the bottom is", "P", "Q", a, unit, name="a"),
            given("its width is", "Q", "R", b, unit, name="b"),
            given("the height of the walls is", "X", "Y", c, unit, name="c"),
        ),
        question=f"Find the {'surface area' if surface else 'volume'} of the box with this net.",
        figure=figure,
        steps=(
            (
                Step(
                    "m",
                    "the area of the walls",
                    "2 * (a + b) * c",
                    "The four walls make one rectangle.",
                    size,
                ),
                Step("s", "the surface area", "m + 2 * a * b", "Bottom and top are added.", size),
            )
            if surface
            else (Step("v", "the volume", "a * b * c", f"{_FOLDED} It makes a box with these edges.", size),)
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m", "bottom and top are forgotten"),
                    ("m + a * b", "one face is forgotten"),
                    ("m / 2 + a * b", "each face is counted once"),
                    ("a * b * c", "the volume"),
                )
                if surface
                else (
                    ("2 * (a * b + b * c + a * c)", "the surface"),
                    ("a * b + b * c + a * c", "areas are added"),
                    ("2 * (a + b) * c", "the walls"),
                    ("a * b * c / 3", "the third of a pyramid"),
                )
            )
        ),
        unit=size,
    )


def _prism_net(rng: random.Random) -> Problem:
    p, q, z = rng.choice(TRIPLES[:4])
    if rng.random() < 0.5:
        p, q = q, p
    k, length = rng.randint(1, 12), rng.randint(3, 60)
    p, q, z = p * k, q * k, z * k
    need(0.4 * q <= p <= 2.5 * q and 0.5 * z <= length <= 1.6 * z)
    unit = rng.choice(UNITS)
    surface = rng.random() < 0.5
    figure = Figure()
    # Walls side by side on q, p and the hypotenuse; the triangles hang on the middle wall.
    _rectangle(figure, 0, 0, q, length)
    _rectangle(figure, q, 0, p, length)
    _rectangle(figure, q + p, 0, z, length)
    figure.point("A", q, length, letter=False)
    figure.point("B", q + p, length, letter=False)
    figure.point("C", q, length + q, letter=False)
    figure.point("D", q, 0, letter=False)
    figure.point("E", q + p, 0, letter=False)
    figure.point("F", q, -q, letter=False)
    figure.point("X", 0, 0, letter=False)
    figure.point("Y", 0, length, letter=False)
    figure.segment("A", "C", "B")
    figure.segment("D", "F", "E")
    body = lying_prism(((0, 0), (p, 0), (0, q)), length)
    areas = body.areas()
    size = squared(unit) if surface else cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=sum(areas) if surface else body.volume(),
        form=f"{'surface' if surface else 'volume'} from the net of a prism",
        description=(
            "The net of a right triangular prism consists of three walls in a row and two right triangles."
        ),
        facts=(
            given("one leg of the triangles is", "D", "F", q, unit, name="q"),
            given("the other leg is", "A", "B", p, unit, name="p"),
            given("the length of the walls is", "X", "Y", length, unit, name="l"),
        ),
        question=(
            f"Find the {'surface area' if surface else 'volume'} of the prism with this net, "
            "whose bases are right triangles."
        ),
        figure=figure,
        steps=(
            (
                Step(
                    "z",
                    "the hypotenuse",
                    "sqrt(p**2 + q**2)",
                    "Pythagoras' theorem holds in the triangles.",
                    unit,
                ),
                Step(
                    "m",
                    "the area of the walls",
                    "(p + q + z) * l",
                    "The three walls make one rectangle.",
                    size,
                ),
                Step(
                    "s", "the surface area", "m + p * q", "The two triangles are halves of a rectangle.", size
                ),
            )
            if surface
            else (
                Step(
                    "g", "the area of a triangle", "p * q / 2", "The legs are perpendicular.", squared(unit)
                ),
                Step("v", "the volume", "g * l", "The volume of a prism is base × length.", size),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("m", "the triangles are forgotten"),
                    ("m + p * q / 2", "one triangle is forgotten"),
                    ("m + 2 * p * q", "the half of the triangles is forgotten"),
                    ("(p + q) * l + p * q", "a wall is forgotten"),
                )
                if surface
                else (
                    ("p * q * l", "the half of the triangle is forgotten"),
                    ("g * l / 3", "the prism is taken for a pyramid"),
                    ("p * q * l / 3", "a third instead of a half"),
                    ("(p + q) * l", "walls are added"),
                )
            )
        ),
        unit=size,
        extra_marks=(RightAngle("F", "D", "E"), RightAngle("C", "A", "B")),
    )


def _pyramid_net(rng: random.Random) -> Problem:
    half, h, s = rng.choice(TRIPLES[:6])
    if rng.random() < 0.5:
        half, h = h, half
    k = rng.randint(1, 12)
    half, h, s = half * k, h * k, s * k
    volume = rng.random() < 0.4
    if not volume:
        half, s = rng.randint(1, 24), rng.randint(2, 60)
        need(s > half)
    need(1.2 * half <= s <= 4.5 * half)
    a = 2 * half
    unit = rng.choice(UNITS)
    figure = Figure()
    _rectangle(figure, -half, -half, a, a, "ABCD")
    top = half + s
    for name, (x, y) in zip("EFGH", ((0, -top), (top, 0), (0, top), (-top, 0))):
        figure.point(name, x, y, letter=False)
    figure.segment("A", "E", "B", "F", "C", "G", "D", "H", "A")
    figure.point("M", half, 0, letter=False)
    figure.segment("M", "F", dashed=True)
    figure.point("N", top, -half, letter=False)  # below F: its triangle is too flat for a text
    size = cubed(unit) if volume else squared(unit)
    height = math.sqrt(s * s - half * half)
    body = pyramid(((-half, -half), (half, -half), (half, half), (-half, half)), (0.0, 0.0, height))
    return solid_problem(
        asked="volume" if volume else "surface",
        measured=body.volume() if volume else sum(body.areas()),
        form=f"{'volume' if volume else 'surface'} from the net of a pyramid",
        description=(
            "The net of a pyramid consists of a square and four equal isosceles triangles on its sides."
        ),
        facts=(
            given("the side of the square is", "D", "C", a, unit, name="a"),
            given("the height of a triangle is", "B", "N", s, unit, name="s", dimension=True),
        ),
        question=(
            "A square and four equal triangles make this net. Find the "
            f"{'volume' if volume else 'surface area'} of the pyramid."
        ),
        figure=figure,
        steps=(
            (
                Step(
                    "h",
                    "the height of the pyramid",
                    "sqrt(s**2 - (a / 2)**2)",
                    "It makes a right triangle with s and half of the side.".replace(
                        "s and", f"{show(s)} and"
                    ),
                    unit,
                ),
                Step(
                    "v",
                    "the volume",
                    "a**2 * h / 3",
                    "The volume of a pyramid is a third of base × height.",
                    size,
                ),
            )
            if volume
            else (
                Step("m", "the area of the triangles", "4 * a * s / 2", "There are four of them.", size),
                Step("t", "the surface area", "m + a**2", "The square is added.", size),
            )
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("a**2 * s / 3", "the slant height is taken for the height"),
                    ("a**2 * h", "the third is forgotten"),
                    ("a**2 * s", "the third is forgotten"),
                    ("a**2 + 2 * a * s", "the surface"),
                )
                if volume
                else (
                    ("m", "the square is forgotten"),
                    ("2 * m + a**2", "the half of the triangles is forgotten"),
                    ("m / 4 + a**2", "one triangle is counted"),
                    ("a**2 * s / 3", "a volume"),
                )
            )
        ),
        unit=size,
    )


def _cylinder_net(rng: random.Random) -> Problem:
    r, h = rng.randint(1, 30), rng.randint(2, 90)
    need(1.5 * r <= h <= 5 * r)
    unit = rng.choice(UNITS)
    what = rng.choice(("volume", "surface"))
    by_width = rng.random() < 0.6
    figure = Figure()
    width = 2 * math.pi * r
    _rectangle(figure, 0, 0, width, h, "ABCD")
    x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * width
    figure.point("O", x, h + r, letter=False, dot=True)
    figure.point("P", y, -r, letter=False, dot=True)
    figure.circle("O", r, "top")
    figure.circle("P", r, "bottom")
    figure.point("E", x + r, h + r, letter=False)
    if not by_width:
        figure.segment("O", "E")
    body = Round(0, r, h, r)
    volume = what == "volume"
    size = cubed(unit) if volume else squared(unit)
    around = evaluate("2 * pi * r", {"r": r})
    first = (
        Fact(
            f"the rectangle is {show(around)}{with_space(unit)} wide",
            (Length("A", "B", show(around) + with_space(unit)),),
            (IsMeasured("the width of the rectangle", figure.length("A", "B"), around),),
            {"u": around},
        )
        if by_width
        else radius(figure, "the radius of the circles is", "OE", r, unit)
    )
    return solid_problem(
        asked=what,
        measured=body.volume() if volume else body.side() + 2 * math.pi * r * r,
        form=f"{what} from the net of a cylinder by {'circumference' if by_width else 'radius'}",
        description="The net of a cylinder consists of a rectangle and a circle above and below it.",
        facts=(first, given("the height of the rectangle is", "A", "D", h, unit, name="h")),
        question=f"Find the {'volume' if volume else 'total surface area'} of the cylinder with this net.",
        figure=figure,
        steps=(
            *(
                (Step("r", "the radius", "u / (2 * pi)", "The rectangle goes once around the circle.", unit),)
                if by_width
                else ()
            ),
            *(
                (
                    Step(
                        "v", "the volume", "pi * r**2 * h", "The volume of a cylinder is base × height.", size
                    ),
                )
                if volume
                else (
                    Step(
                        "m",
                        "the area of the rectangle",
                        "u * h" if by_width else "2 * pi * r * h",
                        "It is circumference × height.",
                        size,
                    ),
                    Step("t", "the surface area", "m + 2 * pi * r**2", "Both circles are added.", size),
                )
            ),
        ),
        mistakes=tuple(
            Mistake(*pair)
            for pair in (
                (
                    ("4 * pi * r**2 * h", "the diameter is taken for the radius"),
                    ("2 * pi * r * h", "the rectangle"),
                    ("pi * r**2 * h / 3", "the third of a cone"),
                    ("pi * r * h", "the radius is not squared"),
                    ("2 * pi * r * h + 2 * pi * r**2", "the surface"),
                )
                if volume
                else (
                    ("m + pi * r**2", "one circle is forgotten"),
                    ("m", "the circles are forgotten"),
                    ("m + 8 * pi * r**2", "the diameter is taken for the radius"),
                    ("pi * r**2 * h", "the volume"),
                )
            )
        ),
        unit=size,
    )


def _cone_net(rng: random.Random) -> Problem:
    s = rng.randint(3, 60)
    degrees = rng.choice((90, 120, 135, 144, 150, 160, 180, 216, 225, 240, 270))
    r = evaluate("s * w / 360", {"s": s, "w": degrees})
    need(pleasant(r, denominator=4))
    unit = rng.choice(UNITS)
    what = rng.choice(("radius", "height", "surface", "slant"))
    figure = Figure()
    # The sector opens downwards and its circle hangs below it.
    start = 270 - degrees / 2
    figure.point("V", 0, 0, letter=False, dot=True)
    for name, turn in (("A", start), ("B", start + degrees)):
        angle = math.radians(turn)
        figure.point(name, s * math.cos(angle), s * math.sin(angle), letter=False)
    figure.segment("A", "V", "B")
    figure.arc("V", s, start, start + degrees)
    small = as_float(r)
    figure.point("O", 0, -s - small, letter=False, dot=True)
    figure.point("C", small, -s - small, letter=False)
    figure.circle("O", small)
    if what == "slant":
        figure.segment("O", "C")
    height = math.sqrt(s * s - small * small)
    body = Round(0, small, height, 0)
    angle_fact = Fact(
        f"the angle of the sector is {degrees}°",
        (Label((0.0, -0.45 * s), f"{degrees}°"),),
        (IsMeasured("the angle of the sector", figure.arcs[0].end - figure.arcs[0].start, degrees),),
        {"w": degrees},
    )
    slant = given("the radius of the sector is", "V", "A", s, unit, name="s")
    around = Step(
        "r",
        "the radius of the circle",
        "s * w / 360",
        "The arc of the sector is as long as the circumference.",
        unit,
    )
    facts = (slant, angle_fact)
    if what == "slant":
        facts = (radius(figure, "the radius of the circle is", "OC", r, unit), angle_fact)
    steps, typical, measured, words, size = {
        "radius": (
            (around,),
            ("s * w / 180", "s * w / 720", "s / 2", "s * (360 - w) / 360", "s"),
            small,
            "radius of the base of the cone",
            unit,
        ),
        "height": (
            (
                around,
                Step(
                    "h",
                    "the height",
                    "sqrt(s**2 - r**2)",
                    "Radius, height and slant height make a right triangle.",
                    unit,
                ),
            ),
            ("s", "sqrt(s**2 + r**2)", "s - r", "r", "s / 2"),
            height,
            "height of the cone",
            unit,
        ),
        "surface": (
            (
                around,
                Step(
                    "m",
                    "the area of the sector",
                    "pi * r * s",
                    "The lateral surface is π × radius × slant height.",
                    squared(unit),
                ),
                Step("t", "the surface area", "m + pi * r**2", "The circle is added.", squared(unit)),
            ),
            ("m", "pi * s**2 + pi * r**2", "pi * r**2", "m + 2 * pi * r**2", "2 * m + pi * r**2"),
            body.side() + math.pi * small**2,
            "total surface area of the cone",
            squared(unit),
        ),
        "slant": (
            (
                Step(
                    "s",
                    "the radius of the sector",
                    "r * 360 / w",
                    "The arc of the sector is as long as the circumference.",
                    unit,
                ),
            ),
            ("r * 180 / w", "r * 720 / w", "r * w / 360", "2 * r", "3 * r"),
            figure.length("V", "A"),
            "slant height of the cone, which is the radius of the sector",
            unit,
        ),
    }[what]
    need(pleasant(evaluate("sqrt(s**2 - r**2)", {"s": s, "r": r})))
    return solid_problem(
        asked=what,
        measured=measured,
        form=f"{what} from the net of a cone",
        description="The net of a cone consists of a sector and a circle.",
        facts=facts,
        question=f"The sector and the circle make a cone. Find the {words}.",
        figure=figure,
        steps=steps,
        mistakes=tuple(
            Mistake(wrong, "arc and circumference are compared wrongly, or a part is forgotten")
            for wrong in typical
        ),
        unit=size,
    )
