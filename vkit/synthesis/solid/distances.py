"""Distances and angles in boxes: diagonals, midpoints, the shortest way over two faces."""

from __future__ import annotations

import random

from vkit.synthesis.claims import IsOnLine
from vkit.synthesis.exact import evaluate, pleasant, sqrt
from vkit.synthesis.facts import Fact
from vkit.synthesis.marks import Length, RightAngle, Ticks
from vkit.synthesis.plane.drawing import UNITS, need
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of
from vkit.synthesis.solid.bodies import box
from vkit.synthesis.solid.drawing import Solid, boxlike
from vkit.synthesis.solid.facts import given, solid_problem

_BOX = "ABCD is the bottom and EFGH the top of a rectangular box; E, F, G and H stand over A, B, C and D."
_PYTHAGORAS = "Pythagoras' theorem holds in triangle {}."
# Boxes whose diagonal is whole.
_QUADRUPLES = (
    (1, 2, 2), (2, 3, 6), (1, 4, 8), (4, 4, 7), (2, 6, 9), (6, 6, 7), (3, 4, 12), (2, 5, 14), (2, 10, 11),
    (1, 12, 12), (8, 9, 12), (8, 11, 16), (6, 10, 15), (4, 13, 16), (3, 14, 18), (12, 15, 16), (9, 12, 20),
)  # fmt: skip


@family("distances in boxes", "solid")
def distances(rng: random.Random) -> Problem:
    """Space diagonals, face diagonals, midpoints, and ways over the surface."""
    return one_of(rng, _diagonal, _diagonal, _face, _edge, _midpoint, _tangent, _way)


def _sizes(rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < 0.4:
        sides = list(rng.choice(_QUADRUPLES))
        rng.shuffle(sides)
        factor = rng.randint(1, 12)
        a, b, c = (side * factor for side in sides)
    else:
        a, b, c = rng.randint(2, 30), rng.randint(2, 30), rng.randint(2, 30)
    need(max(a, b, c) <= 2.8 * min(a, b, c))
    return a, b, c


def _figure(rng: random.Random, a: int, b: int, c: int) -> Solid:
    figure = Solid.seen(boxlike(rng))
    body = box(a, b, c)
    figure.add(body)
    figure.corners("ABCDEFGH", body)
    return figure


def _facts(figure: Solid, unit: str, **values: int) -> tuple[Fact, ...]:
    right = figure.view.toward[0] > 0
    ends = {"a": "AB", "b": "BC" if right else "AD", "c": "AE" if right else "BF"}
    return tuple(
        given(f"{ends[name]} =", ends[name][0], ends[name][1], value, unit, name=name)
        for name, value in values.items()
    )


def _diagonal(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    need(pleasant(sqrt(a * a + b * b + c * c)) and pleasant(sqrt(a * a + b * b)))
    unit = rng.choice(UNITS)
    figure = _figure(rng, a, b, c)
    x, y, base = rng.choice((("A", "G", "AC"), ("B", "H", "BD")))
    figure.line(x, y)
    figure.line(*base)
    figure.draw()
    return solid_problem(
        asked=f"length {x} {y}",
        measured=figure.length(x, y),
        form="space diagonal",
        description=_BOX,
        facts=_facts(figure, unit, a=a, b=b, c=c),
        question=f"Find the diagonal {x}{y} of the box.",
        figure=figure,
        steps=(
            Step("d", base, "sqrt(a**2 + b**2)", f"{base} is the diagonal of the rectangle ABCD.", unit),
            Step(
                "e", x + y, "sqrt(d**2 + c**2)", f"Triangle {base}{y} has a right angle at {base[1]}.", unit
            ),
        ),
        mistakes=(
            Mistake("d", "the diagonal of the bottom"),
            Mistake("a + b + c", "the edges are added"),
            Mistake("sqrt(b**2 + c**2)", "the diagonal of a wall"),
            Mistake("sqrt(a**2 + c**2)", "the diagonal of a wall"),
            Mistake("d + c", "diagonal and height are added"),
        ),
        unit=unit,
    )


def _face(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    figure = _figure(rng, a, b, c)
    ends, first, second = rng.choice(
        (("AC", "a", "b"), ("AF", "a", "c"), ("BE", "a", "c"), ("BG", "b", "c"), ("AH", "b", "c"))
    )
    figure.line(*ends)
    figure.draw()
    other = ({"a", "b", "c"} - {first, second}).pop()
    facts = tuple(
        Fact(f.text, f.marks, f.claims, f.values, red_herring=other in f.values)
        for f in _facts(figure, unit, a=a, b=b, c=c)
    )
    return solid_problem(
        asked=f"length {ends[0]} {ends[1]}",
        measured=figure.length(*ends),
        form=f"face diagonal {ends}",
        description=_BOX,
        facts=facts,
        question=f"Find {ends}.",
        figure=figure,
        steps=(
            Step(
                "d",
                ends,
                f"sqrt({first}**2 + {second}**2)",
                f"{ends} is the diagonal of a face with these sides.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("sqrt(a**2 + b**2 + c**2)", "the diagonal of the box"),
            Mistake(f"{first} + {second}", "the sides are added"),
            Mistake(f"sqrt({first}**2 + {other}**2)", "the diagonal of another face"),
            Mistake(f"sqrt({second}**2 + {other}**2)", "the diagonal of another face"),
            Mistake(f"sqrt(abs({first}**2 - {second}**2))", "the squares are subtracted"),
        ),
        unit=unit,
    )


def _edge(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    d = sqrt(a * a + b * b + c * c)
    need(pleasant(d))
    unit = rng.choice(UNITS)
    figure = _figure(rng, a, b, c)
    figure.line("A", "G")
    figure.draw()
    height = "AE" if figure.view.toward[0] > 0 else "BF"
    return solid_problem(
        asked=f"length {height[0]} {height[1]}",
        measured=figure.length(*height),
        form="edge from the diagonal",
        description=_BOX,
        facts=(*_facts(figure, unit, a=a, b=b), given("AG =", "A", "G", d, unit, name="d")),
        question=f"Find {height}.",
        figure=figure,
        steps=(
            Step("g", "AC²", "a**2 + b**2", "AC is the diagonal of the rectangle ABCD."),
            Step(
                "c",
                height,
                "sqrt(d**2 - g)",
                f"Triangle ACG has a right angle at C, and CG = {height}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("sqrt(d**2 + g)", "the squares are added"),
            Mistake("sqrt(d**2 - a**2)", "only one edge is taken off"),
            Mistake("sqrt(d**2 - b**2)", "only one edge is taken off"),
            Mistake("2 * d - a - b", "lengths are subtracted"),
            Mistake("sqrt(g)", "the diagonal of the bottom"),
        ),
        unit=unit,
        extra_marks=(Length(height[0], height[1], "?"),),
    )


def _midpoint(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    unit = rng.choice(UNITS)
    middle = evaluate("c / 2", {"c": c})
    length = sqrt(evaluate("a**2 + b**2 + m**2", {"a": a, "b": b, "m": middle}))
    need(pleasant(length))
    figure = _figure(rng, a, b, c)
    start, up = rng.choice((("A", "CG"), ("B", "DH"), ("D", "BF")))
    x, y, _ = figure.space[up[0]]
    figure.point("M", x, y, c / 2, dot=True)
    figure.line(start, "M")
    figure.draw()
    ticks = Fact(
        f"M is the midpoint of {up}",
        (Ticks(up[0], "M"), Ticks("M", up[1])),
        (IsOnLine("M", *up),),
    )
    return solid_problem(
        asked=f"length {start} M",
        measured=figure.length(start, "M"),
        form="distance to a midpoint",
        description=_BOX,
        facts=(*_facts(figure, unit, a=a, b=b, c=c), ticks),
        question=f"Find {start}M.",
        figure=figure,
        steps=(
            Step("m", f"{up[0]}M", "c / 2", f"M is the midpoint of {up}.", unit),
            Step(
                "d",
                f"{start}M",
                "sqrt(a**2 + b**2 + m**2)",
                f"{up[0]}M is perpendicular to the bottom.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("sqrt(a**2 + b**2 + c**2)", "the edge is not halved"),
            Mistake("sqrt(a**2 + b**2 + c**2) / 2", "the diagonal of the box is halved"),
            Mistake("sqrt(a**2 + b**2)", "the diagonal of the bottom"),
            Mistake("sqrt(b**2 + m**2)", "an edge is forgotten"),
            Mistake("a + b + m", "the lengths are added"),
        ),
        unit=unit,
    )


def _tangent(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    need(pleasant(evaluate("c / sqrt(a**2 + b**2)", {"a": a, "b": b, "c": c}), denominator=99))
    unit = rng.choice(UNITS)
    figure = _figure(rng, a, b, c)
    figure.line("A", "G")
    figure.line("A", "C")
    figure.draw()
    return solid_problem(
        asked="tangent of GAC",
        measured=figure.length("C", "G") / figure.length("A", "C"),
        form="angle of the diagonal with the bottom",
        description=_BOX,
        facts=_facts(figure, unit, a=a, b=b, c=c),
        question="Find the tangent of ∠GAC.",
        figure=figure,
        steps=(
            Step("d", "AC", "sqrt(a**2 + b**2)", _PYTHAGORAS.format("ABC"), unit),
            Step("t", "tan ∠GAC", "c / d", "The tangent is opposite side / adjacent side in triangle ACG."),
        ),
        mistakes=(
            Mistake("c / a", "a side is taken for the diagonal"),
            Mistake("c / b", "a side is taken for the diagonal"),
            Mistake("d / c", "the ratio is turned around"),
            Mistake("c / (a + b)", "the sides are added"),
            Mistake("b / a", "another angle"),
        ),
        extra_marks=(RightAngle("A", "C", "G"),),
    )


def _way(rng: random.Random) -> Problem:
    a, b, c = _sizes(rng)
    way = sqrt(a * a + (b + c) ** 2)
    need(pleasant(way))
    unit = rng.choice(UNITS)
    figure = _figure(rng, a, b, c)
    # The straight way over the front face and the top crosses EF where the two faces, laid flat, are crossed.
    share = c / (b + c)
    start, end, across = ("A", "G", share * a) if rng.random() < 0.5 else ("B", "H", a - share * a)
    figure.point("K", across, 0, c, letter=False)
    figure.line(start, "K", end)
    figure.draw()
    return solid_problem(
        asked=f"way {start} K {end}",
        measured=figure.length(start, "K") + figure.length("K", end),
        form="shortest way over two faces",
        description=_BOX,
        facts=_facts(figure, unit, a=a, b=b, c=c),
        question=(
            f"Find the length of the shortest way from {start} to {end} that goes over the faces "
            "ABFE and EFGH only."
        ),
        figure=figure,
        steps=(
            Step(
                "s",
                "the width of both faces together",
                "c + b",
                "The faces are laid flat side by side.",
                unit,
            ),
            Step(
                "w",
                "the way",
                "sqrt(a**2 + s**2)",
                "It is the diagonal of the rectangle that they make.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("sqrt(a**2 + b**2 + c**2)", "the way through the inside"),
            Mistake("a + b + c", "the way along the edges"),
            Mistake("sqrt(a**2 + c**2) + b", "a diagonal and an edge"),
            Mistake("sqrt(b**2 + (a + c)**2)", "the way over two other faces"),
            Mistake("sqrt(c**2 + (a + b)**2)", "the way over two other faces"),
        ),
        unit=unit,
    )
