"""Plane geometry: what a family answers is what its drawing measures."""

import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.synthesis.exact import as_float
from vkit.synthesis.figure import Rejected
from vkit.synthesis.layout import lay_out
from vkit.synthesis.marks import Length, Ticks
from vkit.synthesis.registry import families
from vkit.synthesis.versions import every_mark

FAMILIES = {family.name: family for family in families("plane")}


def draw(name, seed):
    """The first problem of a family that is not rejected."""
    rng = random.Random(seed)
    for _ in range(500):
        try:
            return FAMILIES[name].draw(rng)
        except Rejected:
            pass
    raise AssertionError(f"{name} rejects everything from seed {seed}")


def measured(problem):
    """The answer by measuring the figure, knowing the question only."""
    figure, question = problem.figure, problem.question
    if found := re.fullmatch(r"Find ∠(\w)(\w)(\w)\.", question):
        return figure.angle(*found.groups())
    if found := re.fullmatch(r"Find ∠(\w)\.", question):
        return measured_corner(problem, found[1])
    if found := re.fullmatch(r"Find (\w)(\w)\.", question):
        return figure.length(*found.groups())
    if found := re.fullmatch(r"Find (sin|cos|tan) (\w)\.", question):
        return getattr(math, found[1])(math.radians(measured_corner(problem, found[2])))
    if found := re.fullmatch(r"Find the perimeter of (?:the polygon |triangle )?(\w{3,})\.", question):
        return sum(figure.length(a, b) for a, b in zip(found[1], found[1][1:] + found[1][0]))
    if found := re.fullmatch(
        r"Find the area of (?:the polygon |triangle |the quadrilateral )?(\w{3,})\.", question
    ):
        return figure.area(*found[1]) * stated_area_scale(problem)
    if question == "Find the value of x.":
        return measured_x(problem)
    return measured_circle(problem)


def measured_corner(problem, corner):
    """The angle of the polygon at a corner, from the lines that end there."""
    ends = set()
    for line in problem.figure.lines:
        for first, second in zip(line.points, line.points[1:]):
            if corner in (first, second):
                ends.add(second if first == corner else first)
    assert len(ends) == 2, ends
    first, second = ends
    return problem.figure.angle(first, corner, second)


def stated_area_scale(problem):
    """How many of the stated units of area one unit of the figure is."""
    for fact in problem.facts:
        if found := re.match(r"the area of triangle (\w+) is (\d+)", fact.text):
            return int(found[2]) / problem.figure.area(*found[1])
    return 1


def measured_x(problem):
    """The x for which a printed term is the angle in the figure."""
    found = []
    for fact in problem.facts:
        if term := re.fullmatch(r"∠(\w)(\w)(\w) = \(?(\d*)x(?: ([+-]) (\d+)\))?°", fact.text):
            a, b, c, factor, sign, constant = term.groups()
            size = problem.figure.angle(a, b, c)
            found.append((size - (-1 if sign == "-" else 1) * int(constant or 0)) / int(factor or 1))
    assert len(found) == 2
    assert found[0] == pytest.approx(found[1])
    return found[0]


def measured_circle(problem):
    """Arcs, sectors, segments, rings and radii."""
    figure, question = problem.figure, problem.question
    if question == "Find the radius of the circle.":
        return figure.circles["circle"][1]
    if "ring" in question:
        return math.pi * (figure.circles["outer"][1] ** 2 - figure.circles["inner"][1] ** 2)
    first, second = sorted(name for name in figure.letters if name != "O")
    radius, angle = figure.length("O", first), math.radians(figure.angle(first, "O", second))
    if "shaded" in question:  # a thousand slices of the region between chord and arc
        half, slices = angle / 2, 1000
        width = radius * (1 - math.cos(half)) / slices
        heights = (radius - (i + 0.5) * width for i in range(slices))
        return sum(2 * math.sqrt(radius**2 - h**2) * width for h in heights)
    arc = radius * angle
    if "arc" in question:
        return arc
    return arc + 2 * radius if "perimeter" in question else arc * radius / 2


def test_there_are_at_least_twelve_families():
    assert len(FAMILIES) >= 12


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_answer_is_what_the_figure_measures(name):
    for seed in range(25):
        problem = draw(name, seed)
        tolerance = 1e-3 if "shaded" in problem.question else 1e-6
        assert as_float(problem.answer) == pytest.approx(measured(problem), rel=tolerance), problem


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(FAMILIES)), seed=st.integers(0, 2**32))
def test_any_seed_gives_a_sound_problem(name, seed):
    problem = draw(name, seed)
    tolerance = 1e-3 if "shaded" in problem.question else 1e-6
    assert as_float(problem.answer) == pytest.approx(measured(problem), rel=tolerance)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_has_several_forms_and_many_problems(name):
    problems = [draw(name, seed) for seed in range(120)]
    assert len({problem.form for problem in problems}) >= 2
    assert len({problem.literals for problem in problems}) >= 110


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_is_described_names_every_letter_of_the_figure(name):
    """Text alone must say where each point is."""
    for seed in range(20):
        problem = draw(name, seed)
        text = f"{problem.description} {problem.given} {problem.question}"
        for letter in problem.figure.letters.values():
            assert re.search(rf"(?<![a-z]){letter}", text), (letter, text)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_form_finds_room_in_a_picture(name):
    """Else the form is never seen: its candidates are thrown away."""
    placed = {}
    for seed in range(40):
        problem = draw(name, seed)
        if placed.get(problem.form) is True:
            continue
        try:
            lay_out(problem.figure, every_mark(problem), 336)
            placed[problem.form] = True
        except Rejected:
            placed[problem.form] = placed.get(problem.form, 0) + 1
    assert all(found is True or found < 4 for found in placed.values()), placed


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_strokes_and_lengths_stand_at_segments_that_no_named_point_cuts(name):
    """At a cut segment they would be read as those of a part."""
    for seed in range(30):
        problem = draw(name, seed)
        figure = problem.figure
        for mark in every_mark(problem):
            if isinstance(mark, (Length, Ticks)):
                whole = figure.length(mark.first, mark.second)
                for name_of in set(figure.letters) - {mark.first, mark.second}:
                    way = figure.length(mark.first, name_of) + figure.length(name_of, mark.second)
                    assert way > 1.0001 * whole, (problem.form, mark, name_of)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_is_said_is_whole_sentences(name):
    for seed in range(20):
        problem = draw(name, seed)
        text = f"{problem.description} {problem.given} {problem.question} {problem.rationale('A')}"
        assert not re.search(r"[.?!]\s+(?!sin|cos|tan)[a-z]{2,}", text), text
        assert "theorem. " not in text


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        ("crossing lines", "three lines", "in this order, the rays"),
        ("parallel lines", "co-interior", "on the same side of"),
        ("parallel lines", "zigzag", "on the same side of"),
        ("parallel lines", "triangle between parallels", "on different sides of"),
        ("inscribed angles", "angles at the center and the circle", "O lies inside triangle"),
    ],
)
def test_words_alone_leave_one_figure_only(name, form, words):
    """Where another order of the points would give another answer, the order is said."""
    problem = next(p for p in (draw(name, seed) for seed in range(100)) if p.form == form)
    assert words in problem.description


@pytest.mark.parametrize("name", ["chords", "similar triangles", "parallelograms", "Pythagoras"])
def test_forms_are_about_as_often_as_each_other(name):
    """However many of their numbers are rejected."""
    forms = [draw(name, seed).form for seed in range(120)]
    assert all(forms.count(form) >= 5 for form in set(forms))
    assert len(set(forms)) >= 4
