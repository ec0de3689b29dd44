"""Exact values, figures that are measured, problems that are checked, versions that say the same."""

import functools
import random
import re
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vkit.synthesis import marks
from vkit.synthesis.drawn import VERSIONS
from vkit.synthesis.exact import as_float, evaluate, same, show, spell, sqrt
from vkit.synthesis.facts import angle, length, right_angle
from vkit.synthesis.figure import Axes, Figure, Rejected
from vkit.synthesis.layout import lay_out
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import FAMILIES, families, family
from vkit.synthesis.render import paint
from vkit.synthesis.versions import draw_versions, plan


def right_triangle(**changes):
    """The triangle with the sides 3, 4 and 5."""
    figure = Figure()
    figure.point("A", 0, 3), figure.point("B", 4, 0), figure.point("C", 0, 0)
    figure.polygon("A", "B", "C")
    made = dict(
        form="hypotenuse",
        description="A, B and C are the corners of a triangle.",
        facts=(
            right_angle("A", "C", "B"),
            length("A", "C", 3, "cm", name="b"),
            length("B", "C", 4, "cm", name="a"),
        ),
        question="Find AB.",
        figure=figure,
        steps=(Step("c", "AB", "sqrt(a**2 + b**2)", "By the Pythagorean theorem,", "cm"),),
        mistakes=(
            Mistake("a + b", "added"),
            Mistake("sqrt(a**2 - b**2)", "subtracted"),
            Mistake("a * b / 2", "the area"),
        ),
        unit="cm",
    )
    return Problem(**{**made, **changes})


# Exact values.


@given(a=st.integers(1, 60), b=st.integers(1, 60), c=st.integers(1, 60))
@settings(deadline=None, max_examples=50)
def test_expressions_are_exact(a, b, c):
    values = {"a": a, "b": b, "c": c}
    assert evaluate("(a + b) / c", values) == Fraction(a + b, c)
    assert as_float(evaluate("sqrt(a) * b - pi / c", values)) == pytest.approx(
        a**0.5 * b - 3.141592653589793 / c
    )


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("sqrt(75)", "5√3"),
        ("12 * pi", "12π"),
        ("7 / 2", "7/2"),
        ("sqrt(75) / 2", "5√3/2"),
        ("pi * sqrt(3) * 5", "5π√3"),
        ("32 - 8 * pi", "32 - 8π"),
        ("6 / sqrt(3)", "2√3"),
        ("1 / (1 + sqrt(2))", "√2 - 1"),
        ("(1, -a)", "(1, -3)"),
        ("tan(60)", "√3"),
        ("log(2, 8)", "3"),
        ("a - a", "0"),
    ],
)
def test_values_are_printed_as_in_textbooks(expression, shown):
    assert show(evaluate(expression, {"a": 3})) == shown


def test_an_expression_with_values_keeps_its_meaning():
    """What is printed, read again, has the value of the expression."""
    values = {"a": -3, "b": Fraction(2, 5), "c": 4, "d": 7}
    for expression in ("a - (b - c)", "a * (b + c)", "d / (a * c)", "(a + b)**2", "a**2 / b", "-(a - b) * c"):
        text = spell(expression, values).replace("×", "*").replace("²", "**2")
        assert Fraction(eval(text.replace("/", "* Fraction(1) /"), {"Fraction": Fraction})) == evaluate(
            expression, values
        ), text


def test_floats_never_enter():
    with pytest.raises(ValueError, match="not known"):
        evaluate("a * 1.5", {"a": 2})


def test_equal_values_in_other_clothes_are_equal():
    assert same(sqrt(12), evaluate("2 * sqrt(3)", {}))
    assert not same(sqrt(12), 3)


# A problem is checked when it is made.


def test_a_mutated_figure_is_caught():
    figure = right_triangle().figure
    figure.places["A"] = (0.0, 3.01)
    with pytest.raises(ValueError, match=r"AC is 3\.01 in the figure and 3 in the problem"):
        right_triangle(figure=figure)


def test_a_step_that_uses_what_is_not_known_yet_is_caught():
    with pytest.raises(ValueError, match="before they are known"):
        right_triangle(steps=(Step("c", "AB", "sqrt(a**2 + d**2)", "So."),))


def test_a_number_that_no_step_uses_is_caught():
    with pytest.raises(ValueError, match=r"\['b'\] is used by no step"):
        right_triangle(steps=(Step("c", "AB", "a + 1", "So."),))


def test_a_problem_whose_answer_stands_in_the_picture_is_rejected():
    facts = (*right_triangle().facts[1:], length("A", "B", 5, "cm", name="c"))
    steps = (Step("d", "AB", "a + b - c + 3", "So.", "cm"),)
    with pytest.raises(Rejected, match="stands in the picture"):
        right_triangle(facts=facts, steps=steps)


def test_mistakes_that_are_right_or_alike_or_negative_do_not_count():
    mistakes = (*(Mistake(e, "") for e in ("sqrt(25)", "7", "a + b", "-a")), Mistake("1", ""))
    with pytest.raises(Rejected, match="only 2 mistakes"):
        right_triangle(mistakes=mistakes)


def test_the_rationale_copies_computes_and_answers():
    assert right_triangle().rationale("B") == (
        "Given: ∠ACB = 90°, AC = 3 cm, BC = 4 cm.\n"
        "By the Pythagorean theorem, AB = √(4² + 3²) = 5 cm.\n"
        "Answer: B"
    )


# Placing and painting.


def boxes_overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@functools.cache
def drawable():
    """Two problems of every family of plane geometry, and how they are drawn."""
    found = []
    for each in families("plane"):
        rng = random.Random(0)
        while len(found) % 2 or not found or found[-1][0] is not each:
            try:
                problem = each.draw(rng)
                found.append((each, problem, draw_versions(problem, each, rng)))
            except Rejected:
                pass
    return found


def test_labels_stand_inside_the_picture_and_never_over_one_another():
    for each, problem, _ in drawable():
        facts = [mark for fact in problem.facts for mark in fact.marks]
        labels = lay_out(problem.figure, facts).labels
        for index, label in enumerate(labels):
            assert min(label.box) >= 0, each.name
            assert max(label.box) <= 336, each.name
            assert not any(boxes_overlap(label.box, other.box) for other in labels[:index]), (
                each.name,
                label.text,
            )


def test_labels_stand_on_white():
    """Without the labels, the picture has no ink where they will stand."""
    for each, problem, _ in drawable():
        facts = [mark for fact in problem.facts for mark in fact.marks]
        layout = lay_out(problem.figure, facts)
        picture = paint(replace(layout, labels=[]), facts).convert("L")
        for label in layout.labels:
            assert picture.crop(label.box).getextrema()[0] > 100, (each.name, label.text)


def test_letters_stand_at_the_same_place_with_and_without_values():
    problem = right_triangle()
    facts = [mark for fact in problem.facts for mark in fact.marks]
    layout = lay_out(problem.figure, facts)
    bare, full = paint(layout, ()), paint(layout, facts)
    for label in layout.labels:
        if label.mark is None:
            assert bare.crop(label.box).tobytes() == full.crop(label.box).tobytes()
        else:
            assert bare.crop(label.box).getextrema() == ((255, 255),) * 3


def test_points_that_nearly_coincide_are_rejected():
    figure = Figure()
    figure.point("A", 0, 0), figure.point("B", 10, 0), figure.point("C", 10, 0.2)
    figure.polygon("A", "B", "C")
    with pytest.raises(Rejected, match="too near"):
        lay_out(figure, ())


def test_an_angle_too_small_to_mark_is_rejected():
    figure = Figure()
    figure.point("A", 0, 0), figure.point("B", 10, 0), figure.point("C", 10, 1.5)
    figure.polygon("A", "B", "C")
    with pytest.raises(Rejected, match="too small to mark"):
        lay_out(figure, (marks.Angle("B", "A", "C", "9°"),))


def test_a_label_without_room_is_rejected():
    figure = Figure()
    figure.point("A", 0, 0, letter=False), figure.point("B", 1, 0, letter=False)
    for y in range(-40, 41):
        figure.segment((-0.5, y / 40), (1.5, y / 40))
    with pytest.raises(Rejected, match="no free place"):
        lay_out(figure, (marks.Length("A", "B", "12 cm"),))


def test_a_length_is_not_written_beyond_another_line():
    """It would be read as that line's: here AB runs between two lines that leave no room beside it."""
    figure = Figure()
    for name, y in (("A", 0.0), ("C", 0.8), ("E", -0.8)):
        figure.point(name, 0, y, letter=False), figure.point(name.lower(), 10, y, letter=False)
        figure.segment(name, name.lower())
    lay_out(figure, [marks.Length("C", "c", "10 cm")])
    with pytest.raises(Rejected, match="no free place for '10 cm'"):
        lay_out(figure, [marks.Length("A", "a", "10 cm")])


def test_graphs_and_solids_are_drawn_and_measured():
    graph = Figure(axes=Axes(-2, 6, -2, 6))
    graph.function("f", lambda x: x * x, -2, 6)
    assert max(y for line in graph.lines for _, y in line.points) <= 6
    solid = Figure(project=lambda p: (p[0] + 0.4 * p[1], p[2] + 0.3 * p[1]))
    for name, place in {"A": (0, 0, 0), "B": (3, 0, 0), "C": (3, 4, 0), "D": (3, 4, 12)}.items():
        solid.point(name, *place)
    assert solid.length("A", "D") == pytest.approx(13)
    assert solid.angle("A", "C", "D") == pytest.approx(90)
    assert solid.area("A", "B", "C") == pytest.approx(6)


def test_mirroring_and_turning_keep_what_is_measured():
    figure = Figure()
    figure.point("O", 0, 0), figure.point("A", 2, 0), figure.point("B", 1, 3)
    figure.arc("O", 2, 10, 80)
    before = figure.angle("A", "O", "B"), figure.area("O", "A", "B")
    figure.turn(35, mirror=True)
    assert (figure.angle("A", "O", "B"), figure.area("O", "A", "B")) == pytest.approx(before)
    assert (figure.arcs[0].start, figure.arcs[0].end) == (135, 205)


# The five versions carry the same information.


def test_every_version_conveys_every_fact():
    for each, problem, drawn in drawable():
        for version in VERSIONS:
            said = plan(problem, version, drawn.choices)
            words = f"{said.text} {said.written}"
            for fact in problem.facts:
                in_words = fact.text.lower() in words.lower()
                in_marks = bool(fact.marks) and said.marks is not None and set(fact.marks) <= set(said.marks)
                assert in_words or in_marks, (each.name, version, fact.text)
            assert problem.question in words, (each.name, version)
            assert said.choices == (drawn.choices if version == "vision-only" else ())
            if version == "text-only":
                assert problem.description in words


def test_marks_that_are_planned_are_drawn_with_their_values():
    for each, problem, drawn in drawable():
        shown = plan(problem, "vision-dominant", drawn.choices).marks
        layout = lay_out(problem.figure, shown)
        placed = {label.mark for label in layout.labels} | {mark for mark, _ in layout.mark_strokes}
        assert set(shown) <= placed, each.name


def test_values_stand_in_words_or_in_the_picture_but_not_in_both():
    problem = right_triangle()
    assert plan(problem, "text-dominant", ()).marks == ()
    assert plan(problem, "vision-dominant", ()).text == "Find AB."
    assert plan(problem, "vision-only", ()).text == ""


def test_the_picture_of_values_differs_from_the_one_without():
    for _, problem, drawn in drawable():
        pictures = {name: version.picture for name, version in drawn.versions.items()}
        assert pictures["text-only"] is None
        assert pictures["text-dominant"] == pictures["text-lite"]
        if any(fact.marks for fact in problem.facts):
            assert pictures["vision-dominant"] != pictures["text-dominant"]
        heights = {name: Image.open(BytesIO(p)).size for name, p in pictures.items() if p}
        assert heights["vision-dominant"] == (336, 336)
        assert heights["vision-only"][0] == 336


def test_the_right_choice_is_the_answer_and_the_others_are_not():
    for each, problem, drawn in drawable():
        ending = drawn.response.rsplit("Answer: ", 1)[1]
        assert ending == drawn.answer
        if drawn.choices:
            assert len(set(drawn.choices)) == 4, each.name
            right = drawn.choices[ord(drawn.answer) - 65]
            assert right.startswith(show(problem.answer))
        else:
            assert drawn.answer == show(problem.answer)


def test_the_same_seed_draws_the_same_bytes():
    each = families("plane")[0]

    def once():
        rng = random.Random("again")
        while True:
            try:
                return draw_versions(each.draw(rng), each, rng)
            except Rejected:
                pass

    assert once() == once()


def test_a_fact_without_a_mark_is_written_in_the_picture():
    problem = right_triangle()
    unmarked = replace(problem.facts[1], marks=())
    problem = right_triangle(facts=(problem.facts[0], unmarked, problem.facts[2]))
    assert plan(problem, "vision-dominant", ()).text == "AC = 3 cm. Find AB."
    assert plan(problem, "vision-only", ()).written == "AC = 3 cm. Find AB."


def test_two_families_of_one_name_are_refused():
    name = families("plane")[0].name
    with pytest.raises(ValueError, match="two families"):
        family(name, "plane")(lambda rng: right_triangle())
    assert re.fullmatch(r"[\w ]+", name)
    assert name in FAMILIES


def test_angle_facts_say_what_they_mark():
    fact = angle("A", "B", "C", Fraction(45, 2), name="p")
    assert fact.text == "∠ABC = 45/2°"
    assert fact.marks == (marks.Angle("A", "B", "C", "45/2°"),)
