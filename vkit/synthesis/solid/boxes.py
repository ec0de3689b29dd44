"""Boxes and cubes: volume, surface, edges, what is cut off or filled in."""

from __future__ import annotations

import random

from vkit.synthesis.exact import Exact, as_float
from vkit.synthesis.facts import Fact
from vkit.synthesis.marks import Length
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid import rules
from vkit.synthesis.solid.bodies import Polyhedron, box
from vkit.synthesis.solid.drawing import Solid, boxlike
from vkit.synthesis.solid.facts import cubed, given, solid_problem, squared, stated

_BOX = "The solid is a rectangular box."
_SURFACE = "A box has three pairs of equal faces."


@family("boxes", "solid")
def boxes(rng: random.Random) -> Problem:
    """Volume and surface of a rectangular box, and back to an edge."""
    return one_of(rng, _volume, _surface, _edge_from_volume, _edge_from_surface, _water)


def _sizes(rng: random.Random) -> tuple[int, int, int]:
    a, b, c = rng.randint(2, 30), rng.randint(2, 30), rng.randint(2, 30)
    need(max(a, b, c) <= 3 * min(a, b, c) and a * b * c < 10_000)
    return a, b, c


def draw_box(rng: random.Random, a: Exact, b: Exact, c: Exact) -> tuple[Solid, Polyhedron]:
    """A box with corners named 0 to 7, without letters."""
    figure = Solid.seen(boxlike(rng))
    body = box(as_float(a), as_float(b), as_float(c))
    figure.add(body)
    figure.corners("01234567", body, letters=False)
    return figure, body


def box_edges(figure: Solid) -> dict[str, tuple[str, str]]:
    """The edges at which a textbook writes length, width and height: on the outline, where a reader looks."""
    from_right = figure.view.toward[0] > 0
    return {
        "length": ("0", "1"),
        "width": ("1", "2") if from_right else ("0", "3"),
        "height": ("0", "4") if from_right else ("1", "5"),
    }


def box_facts(figure: Solid, unit: str, **values: Exact) -> tuple[Fact, ...]:
    """The sizes of a box that `draw_box` drew, as facts a (length), b (width) and c (height)."""
    edges = box_edges(figure)
    names = {"length": "a", "width": "b", "height": "c"}
    return tuple(
        given(f"its {word} is", *edges[word], value, unit, name=names[word]) for word, value in values.items()
    )


def _volume(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, a, b, c)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a box",
        description=_BOX,
        facts=box_facts(figure, unit, length=a, width=b, height=c),
        question="Find its volume.",
        figure=figure,
        steps=(Step("v", "the volume", "a * b * c", rules.BOX, cubed(unit)),),
        mistakes=(
            Mistake("2 * (a * b + b * c + a * c)", "the surface area"),
            Mistake("a * b * c / 3", "the third of a pyramid"),
            Mistake("a * b + b * c + a * c", "areas are added"),
            Mistake("4 * (a + b + c)", "the edges are added"),
            Mistake("a * b * c / 2", "half of the box"),
        ),
        unit=cubed(unit),
    )


def _surface(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, a, b, c)
    figure.draw()
    open_top = rng.random() < 0.4
    return solid_problem(
        asked="surface without top" if open_top else "surface",
        measured=sum(body.areas()) - (a * b if open_top else 0),
        form="open box" if open_top else "surface of a box",
        description=_BOX + (" It is open at the top." if open_top else ""),
        facts=box_facts(figure, unit, length=a, width=b, height=c),
        question=(
            "The box has no lid. Find the area of its bottom and its four walls together."
            if open_top
            else "Find its total surface area."
        ),
        figure=figure,
        steps=(
            Step(
                "w",
                "the area of the four walls",
                "2 * (a + b) * c",
                "The walls go once around the base.",
                squared(unit),
            ),
            Step(
                "s",
                "the area",
                "w + a * b" if open_top else "w + 2 * a * b",
                "The bottom is added, and there is no top." if open_top else "Bottom and top are added.",
                squared(unit),
            ),
        ),
        mistakes=(
            Mistake("w + 2 * a * b" if open_top else "w + a * b", "a face too many or too few"),
            Mistake("w", "bottom and top are forgotten"),
            Mistake("a * b + b * c + a * c", "each face is counted once, not twice"),
            Mistake("a * b * c", "the volume"),
            Mistake("4 * (a + b + c)", "the edges are added"),
        ),
        unit=squared(unit),
    )


def _edge_from_volume(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, a, b, c)
    figure.draw()
    return solid_problem(
        asked="length 0 4",
        measured=figure.length("0", "4"),
        form="height of a box from its volume",
        description=_BOX,
        facts=(
            *box_facts(figure, unit, length=a, width=b),
            stated("its volume is", a * b * c, cubed(unit), body.volume(), name="v"),
        ),
        question="Find its height h.",
        figure=figure,
        steps=(
            Step("g", "the area of the base", "a * b", "The base is a rectangle.", squared(unit)),
            Step("h", "h", "v / g", "The volume is base × height.", unit),
        ),
        mistakes=(
            Mistake("3 * v / g", "the box is taken for a pyramid"),
            Mistake("v / (2 * g)", "the base is counted twice"),
            Mistake("v / (a + b)", "the edges of the base are added"),
            Mistake("v / (2 * (a + b))", "the perimeter is taken for the base"),
            Mistake("2 * v / g", "a triangle's formula"),
        ),
        unit=unit,
        extra_marks=(Length(*box_edges(figure)["height"], "h"),),
    )


def _edge_from_surface(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, a, b, c)
    figure.draw()
    return solid_problem(
        asked="length 0 4",
        measured=figure.length("0", "4"),
        form="height of a box from its surface",
        description=_BOX,
        facts=(
            *box_facts(figure, unit, length=a, width=b),
            stated(
                "its total surface area is",
                2 * (a * b + b * c + a * c),
                squared(unit),
                sum(body.areas()),
                name="s",
            ),
        ),
        question="Find its height h.",
        figure=figure,
        steps=(
            Step(
                "w",
                "the area of the four walls",
                "s - 2 * a * b",
                "Bottom and top are taken off.",
                squared(unit),
            ),
            Step("h", "h", "w / (2 * (a + b))", "The walls go once around the base.", unit),
        ),
        mistakes=(
            Mistake("w / (a + b)", "only two walls are counted"),
            Mistake("s / (2 * (a + b))", "bottom and top are not taken off"),
            Mistake("(s - a * b) / (2 * (a + b))", "only the bottom is taken off"),
            Mistake("w / (a * b)", "the walls are divided by the base"),
            Mistake("w / (4 * (a + b))", "a half too many"),
        ),
        unit=unit,
        extra_marks=(Length(*box_edges(figure)["height"], "h"),),
    )


def _water(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(("cm", "dm", "m"))
    share = rng.choice((2, 3, 4, 5))
    need(a * b * c % share == 0)
    figure, body = draw_box(rng, a, b, c)
    level = c / share
    for name, corner in zip("PQRS", body.corners):
        figure.point(name, corner[0], corner[1], level, letter=False)
    figure.line("P", "Q", "R", "S", "P")
    figure.draw()
    figure.shade("P", "Q", "R", "S")
    part = {2: "half", 3: "one third", 4: "one quarter", 5: "one fifth"}[share]
    return solid_problem(
        asked="volume below PQRS",
        measured=body.volume() / share,
        form=f"water up to {part}",
        description="The solid is a rectangular tank with water in it.",
        facts=(
            *box_facts(figure, unit, length=a, width=b, height=c),
            Fact(f"the water stands at {part} of the height", values={"n": share}),
        ),
        question="Find the volume of the water.",
        figure=figure,
        steps=(
            Step("v", "the volume of the tank", "a * b * c", rules.BOX, cubed(unit)),
            Step(
                "w", "the volume of the water", "v / n", "The water is a box on the same base.", cubed(unit)
            ),
        ),
        mistakes=(
            Mistake("v - v / n", "the empty part"),
            Mistake("v", "the whole tank"),
            Mistake("v / n / 3", "the third of a pyramid"),
            Mistake("v / (n + 1)", "the parts are counted wrongly"),
            Mistake("a * b + c / n", "sizes are added"),
        ),
        unit=cubed(unit),
    )
