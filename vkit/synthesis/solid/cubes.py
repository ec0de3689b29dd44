"""Cubes: in a row, with a corner cut out, filling a box."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.exact import Exact, as_float, tidy
from vkit.synthesis.facts import Fact
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import box
from vkit.synthesis.solid.boxes import box_facts, draw_box
from vkit.synthesis.solid.drawing import Solid, boxlike
from vkit.synthesis.solid.facts import cubed, given, solid_problem, squared, stated

_BOX = "The solid is a rectangular box."


@family("cubes", "solid")
def cubes(rng: random.Random) -> Problem:
    """A cube, several cubes in a row, and a cube with a smaller one cut from a corner."""
    return one_of(
        rng, _row_of_cubes, _cut_cube, _cut_cube, _cube_edge, _cubes_in_box, _cubes_in_box, _cubes_in_box
    )


def _edge_of_cube(rng: random.Random) -> Exact:
    return tidy(Fraction(rng.randint(3, 80), rng.choice((1, 2, 2))))


def _row_of_cubes(rng: random.Random) -> Problem:
    edge, count = _edge_of_cube(rng), rng.randint(2, 5)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, edge * count, edge, edge)
    for i in range(1, count):
        x = as_float(edge * i)
        ends = [(x, 0, 0), (x, 0, edge), (x, edge, edge)]
        names = [figure.point(f"cut{i}{k}", *end, letter=False) for k, end in enumerate(ends)]
        figure.line(*names)
    figure.draw()
    what = rng.choice(("surface", "volume"))
    surface = what == "surface"
    size = squared(unit) if surface else cubed(unit)
    return solid_problem(
        asked=what,
        measured=sum(body.areas()) if surface else body.volume(),
        form=f"{what} of {count} cubes in a row",
        description=f"{count} equal cubes are glued together in a row.",
        facts=(given("the edge of each cube is", "0", "cut10", edge, unit, name="a"),),
        question=f"Find the {'surface area' if surface else 'volume'} of the solid of {count} equal cubes.",
        figure=figure,
        steps=(
            (
                Step(
                    "s",
                    "the surface area of one cube",
                    "6 * a**2",
                    "A cube has six equal faces.",
                    squared(unit),
                ),
                Step(
                    "j",
                    "the area of the glued faces",
                    f"{2 * (count - 1)} * a**2",
                    "Two faces vanish at each joint.",
                    squared(unit),
                ),
                Step("r", "the surface area", f"{count} * s - j", "The glued faces are taken off.", size),
            )
            if surface
            else (
                Step(
                    "v",
                    "the volume of one cube",
                    "a**3",
                    "The volume of a cube is its edge cubed.",
                    cubed(unit),
                ),
                Step("r", "the volume", f"{count} * v", "The cubes are equal.", size),
            )
        ),
        mistakes=(
            Mistake(f"{count} * 6 * a**2", "the glued faces are counted too"),
            Mistake(f"{6 * count - count + 1} * a**2", "one face instead of two is taken off at a joint"),
            Mistake(f"{count} * a**3" if surface else "a**3", "another size"),
            Mistake(f"{4 * count} * a**2", "both ends are forgotten"),
            Mistake(f"{count * count} * a**3", "all edges are taken for long ones"),
        ),
        unit=size,
    )


def _cut_cube(rng: random.Random) -> Problem:
    edge = rng.randint(3, 40)
    cut = rng.randint(1, edge - 1)
    need(0.3 * edge <= cut <= 0.7 * edge)
    unit = rng.choice(UNITS)
    figure = Solid.seen(boxlike(rng))
    right = figure.view.toward[0] > 0
    # The corner towards the reader is cut out: three boxes remain, and their joints are not drawn.
    keep = edge - cut
    left = 0.0 if right else float(cut)
    parts = (
        box(edge, edge, keep),
        box(edge, keep, cut, (0.0, float(cut), float(keep))),
        box(keep, cut, cut, (left, 0.0, float(keep))),
    )
    for part in parts:
        figure.add(part, edges=False)
    e, k, c = float(edge), float(keep), float(cut)

    def at(x: float, y: float, z: float) -> tuple[float, float, float]:
        return (x, y, z) if right else (e - x, y, z)

    outline = {
        "0": at(0, 0, 0),
        "1": at(e, 0, 0),
        "2": at(e, e, 0),
        "3": at(0, e, 0),
        "4": at(0, 0, e),
        "5": at(k, 0, e),
        "6": at(k, c, e),
        "7": at(e, c, e),
        "8": at(e, e, e),
        "9": at(0, e, e),
        "a": at(k, 0, k),
        "b": at(e, 0, k),
        "c": at(e, c, k),
        "d": at(k, c, k),
    }
    for name, place in outline.items():
        figure.point(name, *place, letter=False)
    for run in ("01230", "4567894", "04", "28", "39", "1b", "5a", "7c", "6d", "abcda"):
        figure.line(*run)
    figure.spread("0123456789abcd")
    figure.draw()
    surface = rng.random() < 0.4
    size = squared(unit) if surface else cubed(unit)
    return solid_problem(
        asked="surface" if surface else "volume",
        measured=6 * figure.length("0", "1") ** 2 if surface else sum(part.volume() for part in parts),
        form="surface of a cut cube" if surface else "volume of a cut cube",
        description="A small cube is cut out of a corner of a large cube.",
        facts=(
            given("the edge of the large cube is", "0", "1", edge, unit, name="a"),
            given("the edge of the small cube is", "7", "c", cut, unit, name="b"),
        ),
        question="A cube is cut out of a larger cube. "
        f"Find the {'surface area' if surface else 'volume'} of the solid that remains.",
        figure=figure,
        steps=(
            (
                Step(
                    "o",
                    "the area that is cut off",
                    "3 * b**2",
                    "Three squares of the small cube lie on the surface.",
                    size,
                ),
                Step(
                    "n",
                    "the area that is new",
                    "3 * b**2",
                    "The other three squares become the walls of the hole.",
                    size,
                ),
                Step("r", "the surface area", "6 * a**2 - o + n", "As much is added as is cut off.", size),
            )
            if surface
            else (
                Step(
                    "v",
                    "the volume of the large cube",
                    "a**3",
                    "The volume of a cube is its edge cubed.",
                    size,
                ),
                Step(
                    "w",
                    "the volume of the small cube",
                    "b**3",
                    "The volume of a cube is its edge cubed.",
                    size,
                ),
                Step("r", "the volume", "v - w", "The small cube is taken off.", size),
            )
        ),
        mistakes=(
            Mistake("6 * a**2 - 3 * b**2" if surface else "a**3", "the cut is seen by halves"),
            Mistake(
                "6 * a**2 - 6 * b**2" if surface else "(a - b)**3",
                "the whole small cube is subtracted wrongly",
            ),
            Mistake("6 * a**2 + 3 * b**2" if surface else "a**3 + b**3", "the new faces are added only"),
            Mistake("a**3 - b**3" if surface else "6 * a**2", "another size"),
            Mistake("6 * a**2 + 6 * b**2" if surface else "a**3 - b**2", "the small cube is counted wrongly"),
        ),
        unit=size,
    )


def _cube_edge(rng: random.Random) -> Problem:
    edge = _edge_of_cube(rng)
    unit = rng.choice(UNITS)
    figure, body = draw_box(rng, edge, edge, edge)
    figure.draw()
    return solid_problem(
        asked="volume",
        measured=body.volume(),
        form="volume of a cube from its surface",
        description="The solid is a cube.",
        facts=(
            stated(
                "the total surface area of the cube is",
                6 * edge**2,
                squared(unit),
                sum(body.areas()),
                name="s",
            ),
        ),
        question="Find the volume of the cube.",
        figure=figure,
        steps=(
            Step("f", "the area of a face", "s / 6", "A cube has six equal faces.", squared(unit)),
            Step("a", "the edge", "sqrt(f)", "A face is a square.", unit),
            Step("v", "the volume", "a**3", "The volume of a cube is its edge cubed.", cubed(unit)),
        ),
        mistakes=(
            Mistake("a**2", "the area of a face"),
            Mistake("3 * a**3", "a factor is added"),
            Mistake("6 * a**3", "the volume is taken six times"),
            Mistake("12 * a", "the edges are added"),
            Mistake("a**3 / 2", "a half is added"),
        ),
        unit=cubed(unit),
    )


def _cubes_in_box(rng: random.Random) -> Problem:
    i, j, k = rng.randint(2, 7), rng.randint(2, 6), rng.randint(2, 6)
    edge = rng.randint(2, 30)
    unit = rng.choice(UNITS)
    a, b, c = i * edge, j * edge, k * edge
    need(max(a, b, c) <= 3 * min(a, b, c))
    figure, body = draw_box(rng, a, b, c)
    figure.draw()
    return solid_problem(
        asked="count",
        measured=body.volume() / edge**3,
        form="cubes that fill a box",
        description=_BOX,
        facts=(
            *box_facts(figure, unit, length=a, width=b, height=c),
            Fact(f"small cubes with edges of {edge}{' ' + unit if unit else ''} fill it", values={"e": edge}),
        ),
        question="How many small cubes fill the box?",
        figure=figure,
        steps=(
            Step("i", "cubes along the length", "a / e", "The length is divided by the edge of a cube."),
            Step("j", "cubes along the width", "b / e", "The width is divided by the edge of a cube."),
            Step("k", "cubes along the height", "c / e", "The height is divided by the edge of a cube."),
            Step("n", "the number of cubes", "i * j * k", "The layers are multiplied."),
        ),
        mistakes=(
            Mistake("a * b * c / e", "the volume is divided by the edge"),
            Mistake("a * b * c / e**2", "the volume is divided by a face"),
            Mistake("i + j + k", "the numbers are added"),
            Mistake("i * j", "one layer only"),
            Mistake("2 * (i * j + j * k + i * k)", "the squares on the surface"),
        ),
    )
