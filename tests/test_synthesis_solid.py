"""Solid geometry: every answer is found again from the solid, and every picture shows what is hidden."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import pytest

from vkit.synthesis.drawn import VERSIONS
from vkit.synthesis.exact import as_float, evaluate, show
from vkit.synthesis.figure import Rejected
from vkit.synthesis.layout import lay_out
from vkit.synthesis.marks import Dimension, Label, Length
from vkit.synthesis.problem import Problem
from vkit.synthesis.registry import Family, families
from vkit.synthesis.solid.bodies import Ball, Body, Polyhedron, Round, box, pyramid
from vkit.synthesis.solid.drawing import Solid, axonometric, cabinet
from vkit.synthesis.solid.facts import given, solid_problem
from vkit.synthesis.versions import draw_versions, every_mark, plan

FAMILIES = families("solid")
SEEDS = 24


@lru_cache(maxsize=1)
def problems() -> tuple[tuple[Family, Problem], ...]:
    """Some problems of every family."""
    found = []
    for family in FAMILIES:
        rng = random.Random(f"tests/{family.name}")
        count = 0
        while count < SEEDS:
            try:
                found.append((family, family.draw(rng)))
            except Rejected:
                continue
            count += 1
    return tuple(found)


def quarters(a: tuple, b: tuple, c: tuple, times: int) -> Iterator[tuple]:
    """A triangle cut into four, so many times."""
    if times == 0:
        yield a, b, c
        return
    p, q, r = (tuple((u + v) / 2 for u, v in zip(x, y)) for x, y in ((b, c), (c, a), (a, b)))
    for corners in ((a, r, q), (b, p, r), (c, q, p), (p, q, r)):
        yield from quarters(*corners, times - 1)


def triangles(body: Body, fineness: int = 60) -> Iterator[tuple]:
    """A mesh of a body's surface, made without the package's own formulas."""
    if isinstance(body, Polyhedron):
        for face in body.faces:
            corners = [body.corners[index] for index in face]
            for b, c in pairwise(corners[1:]):
                yield from quarters(corners[0], b, c, 4)
        return
    if isinstance(body, Round):
        axis, rows = body.axis, [(body.low_radius, body.low), (body.high_radius, body.high)]
    else:
        axis = body.center[:2]
        tilts = [math.asin((z - body.center[2]) / body.size) for z in (body.low, body.high)]
        steps = [tilts[0] + (tilts[1] - tilts[0]) * i / fineness for i in range(fineness + 1)]
        rows = [(body.size * math.cos(t), body.center[2] + body.size * math.sin(t)) for t in steps]
    rows = [(0.0, rows[0][1]), *rows, (0.0, rows[-1][1])]

    def place(row: tuple[float, float], turn: int) -> tuple[float, float, float]:
        angle = 2 * math.pi * turn / (2 * fineness)
        return axis[0] + row[0] * math.cos(angle), axis[1] + row[0] * math.sin(angle), row[1]

    for low, high in pairwise(rows):
        for turn in range(2 * fineness):
            a, b, c, d = place(low, turn), place(low, turn + 1), place(high, turn + 1), place(high, turn)
            yield a, b, c
            yield a, c, d


def mesh_volume(body: Body) -> float:
    """By the divergence theorem: pyramids from a place inside to every triangle."""
    corners = [corner for triangle in triangles(body) for corner in triangle]
    middle = [sum(c[axis] for c in corners) / len(corners) for axis in range(3)]
    total = 0.0
    for a, b, c in triangles(body):
        u, v, w = ([p[axis] - middle[axis] for axis in range(3)] for p in (a, b, c))
        total += abs(
            u[0] * (v[1] * w[2] - v[2] * w[1])
            - u[1] * (v[0] * w[2] - v[2] * w[0])
            + u[2] * (v[0] * w[1] - v[1] * w[0])
        )
    return total / 6


def triangle_area(a: tuple, b: tuple, c: tuple) -> float:
    sides = math.dist(a, b), math.dist(b, c), math.dist(c, a)
    half = sum(sides) / 2
    return math.sqrt(max(0.0, half * math.prod(half - side for side in sides)))


def is_in(body: Body, place: tuple[float, float, float]) -> bool:
    """Whether a place is strictly inside, seen along two lines."""
    rays = (body.ray(place, direction) for direction in ((0.31, 0.17, 0.94), (1.0, 0.2, 0.1)))
    return all(low < 0 < high for low, high in rays)


def exposed_area(bodies: list[Body]) -> float:
    """The mesh's area that lies in or on no other body: a union's surface."""
    total = 0.0
    for body in bodies:
        for a, b, c in triangles(body, 24):
            middle = tuple((p + q + r) / 3 for p, q, r in zip(a, b, c))
            others = [other for other in bodies if other is not body]
            # A place on a joint is inside the other body when it is pushed a little along some axis.
            pushed = [
                tuple(m + push * (axis == k) for k, m in enumerate(middle))
                for axis in range(3)
                for push in (1e-4, -1e-4)
            ]
            if not any(is_in(other, place) for other in others for place in pushed):
                total += triangle_area(a, b, c)
    return total


def of_solids(asked: str) -> list[Problem]:
    return [p for _, p in problems() if p.meta["asked"] == asked and isinstance(p.figure, Solid)]


def test_there_are_at_least_eight_families_with_several_forms() -> None:
    forms: dict[str, set[str]] = {}
    for family, problem in problems():
        forms.setdefault(family.name, set()).add(problem.form)
    assert len(forms) >= 12
    assert all(len(names) >= 3 for names in forms.values()), forms


def test_volumes_are_those_of_a_mesh_of_the_bodies_less_their_holes() -> None:
    asked = of_solids("volume")
    assert len(asked) > 50
    for problem in asked:
        figure = problem.figure
        measured = sum(map(mesh_volume, figure.bodies)) - sum(map(mesh_volume, figure.holes))
        assert measured == pytest.approx(as_float(problem.answer), rel=0.005), problem.form


def test_surfaces_are_the_exposed_parts_of_a_mesh() -> None:
    seen: set[str] = set()
    for problem in of_solids("surface"):
        if problem.form in seen or problem.form == "surface of a cut cube":  # its joints cut the mesh
            continue
        seen.add(problem.form)
        measured = exposed_area(problem.figure.bodies)
        assert measured == pytest.approx(as_float(problem.answer), rel=0.01), problem.form
    assert len(seen) >= 10


def test_asked_lengths_are_distances_in_space() -> None:
    asked = [p for _, p in problems() if p.meta["asked"].startswith("length ")]
    assert len(asked) > 30
    for problem in asked:
        _, first, second = problem.meta["asked"].split()
        distance = math.dist(problem.figure.space[first], problem.figure.space[second])
        assert distance == pytest.approx(as_float(problem.answer)), problem.form


def test_nets_fold_to_the_area_that_is_drawn() -> None:
    """The surface from a net is the area of the drawn polygons and circles, each drawn once."""
    nets = [p for f, p in problems() if f.name == "nets" and "cone" not in p.form]
    asked = [p for p in nets if p.meta["asked"] == "surface"]
    assert len(asked) >= 4
    for problem in asked:
        figure = problem.figure
        area = sum(math.pi * radius**2 for _, radius in figure.circles.values())
        outlines = [line.points for line in figure.lines if not line.dashed]
        for points in outlines:
            if points[0] == points[-1] and len(points) == 5:
                area += figure.area(*points[:-1])
            elif len(points) == 3:
                area += figure.area(*points)
            elif len(points) == 9:  # the star of a pyramid's triangles
                area += sum(figure.area(*points[i : i + 3]) for i in range(0, 8, 2))
        assert area == pytest.approx(as_float(problem.answer)), problem.form


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_facts_stand_in_the_figure_and_the_figure_is_measured(family: Family) -> None:
    """A given length that is changed by a tenth is caught in space, before the projection."""
    caught = 0
    for found, problem in problems():
        if found is not family:
            continue
        for fact in problem.facts:
            assert fact.text
            for claim in fact.claims:
                assert claim.wrong(problem.figure) is None
                if hasattr(claim, "first"):
                    wrong = type(claim)(claim.first, claim.second, claim.value * Fraction(11, 10))
                    caught += wrong.wrong(problem.figure) is not None
    assert caught > 10


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_problem_has_a_positive_answer_and_three_other_choices(family: Family) -> None:
    for found, problem in problems():
        if found is family:
            shown = {show(value) for value, _ in problem.wrong_answers}
            assert len(shown) == 3
            assert show(problem.answer) not in shown
            assert as_float(problem.answer) > 0
            assert all(as_float(value) > 0 for value, _ in problem.wrong_answers)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_rich_in_problems(family: Family) -> None:
    drawn = [problem.literals for found, problem in problems() if found is family]
    assert len(set(drawn)) >= 0.85 * len(drawn)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_version_conveys_every_fact(family: Family) -> None:
    for found, problem in problems():
        if found is not family:
            continue
        for version in VERSIONS:
            said = plan(problem, version, ("A", "B", "C", "D"))
            words = f"{said.text} {said.written}".lower()
            for fact in problem.facts:
                in_words = fact.text.lower() in words
                in_marks = bool(fact.marks) and said.marks is not None and set(fact.marks) <= set(said.marks)
                assert in_words or in_marks, (problem.form, version, fact.text)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_all_versions_are_drawn_the_same_from_the_same_seed(family: Family) -> None:
    def draw() -> list[tuple[str, bytes | None]]:
        rng = random.Random(f"bytes/{family.name}")
        while True:
            try:
                drawn = draw_versions(family.draw(rng), family, rng)
            except Rejected:
                continue
            assert drawn.response.rstrip().endswith(f"Answer: {drawn.answer}")
            return [(version.text, version.picture) for version in drawn.versions.values()]

    first = draw()
    assert first == draw()
    assert [picture is None for _, picture in first] == [True, False, False, False, False]


def test_every_form_finds_room_in_a_picture() -> None:
    """Else the form is never seen: its candidates are thrown away."""
    tried: dict[str, list[bool]] = {}
    for _, problem in problems():
        results = tried.setdefault(problem.form, [])
        if not any(results) and len(results) < 6:
            try:
                lay_out(problem.figure, every_mark(problem), 336)
                results.append(True)
            except Rejected:
                results.append(False)
    assert not [form for form, results in tried.items() if len(results) >= 6 and not any(results)]


def test_what_is_a_cube_is_said_in_every_version() -> None:
    """A picture does not tell it from a box."""
    named = [p for _, p in problems() if "cube" in p.form and p.form != "cubes that fill a box"]
    assert len(named) > 10
    for problem in named:
        assert "cube" in problem.question, problem.form


def test_sentences_begin_with_a_capital() -> None:
    for _, problem in problems():
        for version in VERSIONS:
            said = plan(problem, version, ())
            for text in filter(None, (said.text, said.written)):
                assert not re.search(r"(^|[.?!] )[a-z]{2,}", text), text


def test_values_in_the_picture_are_marks_and_never_the_answer() -> None:
    for _, problem in problems():
        for fact in problem.facts:
            for mark in fact.marks:
                if isinstance(mark, (Length, Dimension, Label)):
                    assert show(problem.answer) != mark.text.split()[0]
        assert set(problem.figure.letters.values()) <= set("ABCDEFGHMOPVKQRSX")


def test_a_box_hides_three_edges_and_a_corner() -> None:
    figure = Solid.seen(cabinet(45))
    figure.add(box(6, 4, 3))
    figure.draw()
    hidden = [line for line in figure.lines if line.dashed]
    assert (len(figure.lines), len(hidden)) == (12, 3)
    corner = figure.view.project((0, 4, 0))
    assert all(any(math.dist(place, corner) < 1e-9 for place in line.points) for line in hidden)


def test_a_square_pyramid_seen_from_above_hides_the_far_edges() -> None:
    figure = Solid.seen(axonometric(25, 18))
    figure.add(pyramid(((-2, -2), (2, -2), (2, 2), (-2, 2)), (0.0, 0.0, 5.0)))
    figure.draw()
    assert sum(line.dashed for line in figure.lines) == 3


def test_the_far_half_of_a_cylinders_bottom_is_dashed_and_its_top_is_not() -> None:
    figure = Solid.seen(axonometric(0, 20))
    figure.add(Round(0, 3, 5, 3))
    figure.draw()
    dashed = [place for line in figure.lines if line.dashed for place in line.points]
    rise = math.sin(math.radians(20))
    assert max(y for _, y in dashed) == pytest.approx(3 * rise)
    assert min(y for _, y in dashed) == pytest.approx(0, abs=1e-3)
    assert max(x for x, _ in dashed) == pytest.approx(3, abs=1e-3)


def test_the_sides_of_a_cone_touch_its_base() -> None:
    """In the picture, the outline is tangent to the ellipse of the base."""
    figure = Solid.seen(axonometric(0, 20))
    cone = Round(0, 3, 6, 0)
    figure.add(cone)
    figure.rim("A", cone)
    x, y = figure.places["A"]
    apex, flat = 6 * math.cos(math.radians(20)), 3 * math.sin(math.radians(20))
    assert x * x / 9 + y * y / flat**2 == pytest.approx(1)
    assert y * apex / flat**2 == pytest.approx(1)  # the polar of the apex goes through the point


def test_a_sphere_is_a_circle_in_the_picture() -> None:
    figure = Solid.seen(axonometric(0, 20))
    figure.add(Ball((0.0, 0.0, 0.0), 4, -4, 4))
    figure.draw()
    assert all(math.hypot(*place) == pytest.approx(4) for line in figure.lines for place in line.points)


def test_a_dome_hides_what_stands_behind_it() -> None:
    figure = Solid.seen(axonometric(25, 20))
    figure.add(box(4, 4, 4))
    figure.add(Ball((2.0, 2.0, 4.0), 2.0, 4.0, 6.0))
    assert figure.is_hidden((2.0 + 2.0 * math.sin(math.radians(205)), 3.99, 4.0))
    assert not figure.is_hidden((4.0, 0.0, 4.0))


def test_an_answer_that_the_solid_does_not_have_is_refused() -> None:
    problem = next(p for f, p in problems() if p.form == "volume of a box")
    parts = {
        name: getattr(problem, name)
        for name in ("form", "description", "facts", "question", "figure", "steps", "mistakes")
    }
    assert solid_problem(asked="volume", measured=as_float(problem.answer), **parts).answer == problem.answer
    with pytest.raises(ValueError, match="volume of a box: volume measures"):
        solid_problem(asked="volume", measured=as_float(problem.answer) * 1.01, **parts)


def test_a_corner_upon_another_is_rejected() -> None:
    figure = Solid.seen(cabinet(45))
    figure.add(box(math.sqrt(2), 4, math.sqrt(2)))
    with pytest.raises(Rejected, match="upon"):
        figure.draw()


def test_a_given_length_measures_the_solid_in_space() -> None:
    figure = Solid.seen(cabinet(45))
    figure.point("A", 0, 0, 0)
    figure.point("B", 0, 4, 0)
    assert given("its width is", "A", "B", 4, "cm", name="b").claims[0].wrong(figure) is None
    assert given("its width is", "A", "B", 2, "cm", name="b").claims[0].wrong(figure) is not None


def test_bodies_hold_what_their_formulas_say() -> None:
    assert Round(0, 3, 4, 0).volume() == pytest.approx(as_float(evaluate("pi * 12", {})))
    assert Round(0, 3, 4, 0).side() == pytest.approx(15 * math.pi)
    assert Ball((0.0, 0.0, 0.0), 3, 0, 3).side() == pytest.approx(18 * math.pi)
    assert box(2, 3, 4).volume() == pytest.approx(24)
