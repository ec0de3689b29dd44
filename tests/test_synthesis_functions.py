"""Functions: what a family answers is what its graphs measure, and every version says what is given."""

import math
import random
import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.synthesis.exact import as_float
from vkit.synthesis.figure import Line, Rejected
from vkit.synthesis.functions.plots import IsAt, IsReadable, ReadOff, frame, graph, less, point, terms
from vkit.synthesis.registry import families
from vkit.synthesis.versions import draw_versions

FAMILIES = {family.name: family for family in families("functions")}


def draw(name, seed):
    """The first problem of a family that is not rejected."""
    rng = random.Random(seed)
    for _ in range(100):
        try:
            return FAMILIES[name].draw(rng)
        except Rejected:
            pass
    raise AssertionError(f"{name} rejects everything from seed {seed}")


def drawable(name, seed):
    """The first problem of a family whose labels all find room."""
    for attempt in range(10):
        problem = draw(name, f"{seed}/{attempt}")
        try:
            draw_versions(problem, FAMILIES[name], random.Random(0), only=["vision-dominant"])
        except Rejected:
            continue
        return problem
    raise AssertionError(f"{name} finds no room for its labels")


# The oracle knows the drawn curves, the question and the marked points; it never sees the steps.


def bisect(f, low, high):
    """Where f changes its sign."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (f(middle) > 0) == (f(low) > 0) else (low, middle)
    return (low + high) / 2


def roots(f, low=-300.0, high=300.0, steps=6000):
    """Every sign change of f, in order; the grid is odd so that it misses whole and half numbers."""
    xs = [low + 0.00123 + (high - low) * i / steps for i in range(steps + 1)]
    return [bisect(f, a, b) for a, b in pairwise(xs) if (f(a) > 0) != (f(b) > 0)]


def turning(f, low=-60.0, high=60.0):
    """Where a curve with one extremum has it, and its value."""
    sign = 1 if f(low) + f(high) > 2 * f((low + high) / 2) else -1
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if sign * f(a) < sign * f(b) else (a, high)
    return (low + high) / 2, f((low + high) / 2)


def integral(f, low, high, steps=4000):
    width = (high - low) / steps
    return sum(f(low + (i + 0.5) * width) for i in range(steps)) * width


def shaded(problem):
    """The area of the shaded polygon."""
    (region,) = problem.figure.regions
    return problem.figure.area(*region.outline)


def angle_of(text):
    """The number that a multiple of pi such as "7π/6" says."""
    top, _, bottom = text.partition("/")
    return float(top.replace("π", "") or 1) * math.pi / float(bottom or 1)


def asked(problem):
    """The number at which a value is asked, or that a graph is compared with."""
    found = re.search(r"(?:[fg]\(|f\(x\) [=<>≤≥] )(-?\d+)", problem.question)
    return float(found[1])


def whole_line(f):
    return f(1) - f(0), f(0)


def where(problem):
    """The ends of the x where the inequality of the question holds."""
    f = problem.figure.functions["f"]
    level = problem.figure.functions["g"] if "(x) <" not in problem.question.replace("f(x) < g", "") else None
    if "g" not in problem.figure.functions or level is None:
        number = asked(problem)
        return roots(lambda x: f(x) - number)
    return roots(lambda x: f(x) - level(x))


def period(problem):
    """From the marked crest to where the curve is as high for the second time, found on the curve alone."""
    f = problem.figure.functions["f"]
    (a, top), (b, bottom) = problem.figure.at("A"), problem.figure.at("B")
    crossings = roots(lambda x: f(x) - (top + bottom) / 2, a, a + 4 * (b - a), 400)
    return crossings[2] - crossings[0]


def extremes(problem):
    f, axes = problem.figure.functions["f"], problem.figure.axes
    values = [f(axes.left + (axes.right - axes.left) * i / 4800) for i in range(4801)]
    return min(values), max(values)


def distance_of_roots(problem):
    low, high = roots(problem.figure.functions["f"])
    return high - low


def meeting(problem):
    f, g = (problem.figure.functions[name] for name in "fg")
    return roots(lambda x: f(x) - g(x))


def wave_value(p, f):
    return f(angle_of(re.search(r"f\(([^)]*)\)\.", p.question)[1]))


def phase(p, f):
    low, high = extremes(p)
    quarter = roots(lambda x: f(x) - (low + high) / 2, p.figure.at("A")[0] - 7, p.figure.at("A")[0], 700)
    return quarter[-1]


def piece(p, f):
    (x, _), (u, _) = (
        p.figure.at(name) for name in re.search(r"between ([A-E]) and ([A-E])", p.question).groups()
    )
    return x + 1e-9, u - 1e-9


def whole_numbers(p, f):
    found = re.search(r"f\(x\) ([<>≤≥]) (-?\d+)", p.question)
    holds = {"<": lambda v, k: v < k - 1e-9, ">": lambda v, k: v > k + 1e-9}
    holds |= {"≤": lambda v, k: v <= k + 1e-9, "≥": lambda v, k: v >= k - 1e-9}
    return sum(holds[found[1]](f(x), float(found[2])) for x in range(-100, 101))


def run_of(f, g):
    low, high = roots(lambda x: f(x) - g(x))
    return math.hypot(high - low, g(high) - g(low))


ORACLES = {
    "linear functions": {
        "slope": lambda p, f: whole_line(f)[0],
        "perpendicular": lambda p, f: -1 / whole_line(f)[0],
        "y-intercept": lambda p, f: f(0),
        "zero": lambda p, f: roots(f)[0],
        "value": lambda p, f: f(asked(p)),
        "equation": lambda p, f: whole_line(f),
        "zero from the equation": lambda p, f: roots(f)[0],
    },
    "quadratic functions": {
        "vertex": lambda p, f: turning(f),
        "smallest value": lambda p, f: turning(f)[1],
        "largest value": lambda p, f: turning(f)[1],
        "distance of the zeros": lambda p, f: distance_of_roots(p),
        "larger zero": lambda p, f: roots(f)[1],
    },
    "parabolas through points": {
        "axis": lambda p, f: turning(f)[0],
        "factor": lambda p, f: (f(1) - 2 * f(0) + f(-1)) / 2,
        "y-intercept": lambda p, f: f(0),
        "equation": lambda p, f: ((f(1) - 2 * f(0) + f(-1)) / 2, (f(1) - f(-1)) / 2, f(0)),
        "smallest value from zeros": lambda p, f: turning(f)[1],
        "largest value from zeros": lambda p, f: turning(f)[1],
    },
    "absolute value functions": {
        "factor": lambda p, f: f(p.figure.at("S")[0] + 1) - f(p.figure.at("S")[0]),
        "value": lambda p, f: f(asked(p)),
        "corner": lambda p, f: turning(f),
        "distance of the zeros": lambda p, f: distance_of_roots(p),
        "zero A": lambda p, f: roots(f)[0],
        "zero B": lambda p, f: roots(f)[1],
        "area": lambda p, f: abs(integral(f, *roots(f))),
    },
    "exponential functions": {
        "base": lambda p, f: f(1) / f(0),
        "initial value": lambda p, f: f(0),
        "equation": lambda p, f: (f(0), f(1) / f(0)),
        "value": lambda p, f: f(asked(p)),
        "exponent": lambda p, f: bisect(lambda x: f(x) - p.facts[1].values["y"], 0, 20),
    },
    "trigonometric functions": {
        "amplitude": lambda p, f: (extremes(p)[1] - extremes(p)[0]) / 2,
        "middle line": lambda p, f: sum(extremes(p)) / 2,
        "period": lambda p, f: period(p),
        "period, in degrees": lambda p, f: period(p),
        "factor of x": lambda p, f: 2 * math.pi / period(p),
        "factor of x, in degrees": lambda p, f: 360 / period(p),
        "phase": phase,
        "value of the sin": wave_value,
        "value of the cos": wave_value,
        "largest value": lambda p, f: extremes(p)[1],
        "smallest value": lambda p, f: extremes(p)[0],
    },
    "piecewise linear functions": {
        "value": lambda p, f: f(asked(p)),
        "where a value is taken": lambda p, f: bisect(lambda x: f(x) - asked(p), *piece(p, f)),
        "value of a value": lambda p, f: f(f(float(re.search(r"f\(f\((-?\d+)\)\)", p.question)[1]))),
        "slope of a piece": lambda p, f: (
            (f(piece(p, f)[1]) - f(piece(p, f)[0])) / (piece(p, f)[1] - piece(p, f)[0])
        ),
        "area": lambda p, f: integral(f, p.figure.at("A")[0], p.figure.at("C")[0]),
        "mean rate of change": lambda p, f: (
            (f(p.figure.at("C")[0]) - f(p.figure.at("A")[0])) / (p.figure.at("C")[0] - p.figure.at("A")[0])
        ),
    },
    "intersections": {
        "two lines": lambda p, f: (meeting(p)[0], f(meeting(p)[0])),
        "distance from the origin": lambda p, f: math.hypot(meeting(p)[0], f(meeting(p)[0])),
        "lines through points": lambda p, f: meeting(p)[0],
        "line and parabola": lambda p, f: meeting(p)[1],
        "length of the chord": lambda p, f: run_of(f, p.figure.functions["g"]),
    },
    "areas": {
        "under a line": lambda p, f: integral(f, p.figure.at("A")[0], p.figure.at("B")[0]),
        "with the axes": lambda p, f: abs(integral(f, 0, roots(f)[0])),
        "between two lines": lambda p, f: abs(
            integral(lambda x: f(x) - p.figure.functions["g"](x), 0, meeting(p)[0])
        ),
        "two lines and the x-axis": lambda p, f: abs(
            integral(f, roots(f)[0], meeting(p)[0])
            + integral(p.figure.functions["g"], meeting(p)[0], roots(p.figure.functions["g"])[0])
        ),
        "under a parabola": lambda p, f: abs(integral(f, *roots(f))),
    },
    "transformed graphs": {
        "shift": lambda p, f: tuple(b - a for a, b in zip(turning(f), turning(p.figure.functions["g"]))),
        "image of a point": lambda p, f: (p.figure.at("Q")[0], p.figure.functions["g"](p.figure.at("Q")[0])),
        "value of the image": lambda p, f: p.figure.functions["g"](asked(p)),
    },
    "inverse functions": {
        "value of the inverse": lambda p, f: bisect(lambda x: f(x) - asked(p), -1000, 1000),
        "slope of the inverse": lambda p, f: 1 / whole_line(f)[0],
        "equation of the inverse": lambda p, f: whole_line(p.figure.functions["g"]),
        "meeting the inverse": lambda p, f: meeting(p)[0],
    },
    "inequalities": {
        "parabola under a line": lambda p, f: tuple(meeting(p)),
        "parabola over a line": lambda p, f: tuple(meeting(p)),
        "two graphs": lambda p, f: tuple(meeting(p)),
        "whole numbers, with the ends": whole_numbers,
        "whole numbers, without the ends": whole_numbers,
        "length of an interval": lambda p, f: float.__sub__(*reversed(roots(lambda x: f(x) - asked(p)))),
        "line": lambda p, f: bisect(lambda x: f(x) - asked(p), -1000, 1000),
        "absolute value": lambda p, f: tuple(roots(lambda x: f(x) - asked(p))),
    },
}


def floats(value):
    return tuple(as_float(part) for part in value) if isinstance(value, tuple) else as_float(value)


def test_there_are_enough_families_with_several_forms_each():
    assert FAMILIES.keys() == ORACLES.keys()
    assert len(FAMILIES) >= 8
    assert all(len(forms) >= 3 for forms in ORACLES.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_answer_is_what_the_graph_measures(name):
    seen = set()
    for seed in range(70):
        problem = draw(name, seed)
        measured = ORACLES[name][problem.form](problem, problem.figure.functions["f"])
        assert floats(problem.answer) == pytest.approx(measured, rel=1e-4, abs=1e-4), (
            problem.form,
            problem.question,
        )
        if problem.figure.regions:
            assert shaded(problem) == pytest.approx(as_float(problem.answer), rel=2e-3)
        seen.add(problem.form)
    assert seen == ORACLES[name].keys()


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_curves_are_drawn_where_their_functions_say_and_within_the_frame(name, seed):
    figure = draw(name, seed).figure
    axes = figure.axes
    for line in figure.lines:
        places = [figure.at(place) for place in line.points]
        assert all(axes.left - 1e-9 <= x <= axes.right + 1e-9 for x, _ in places)
        assert all(axes.bottom - 1e-6 <= y <= axes.top + 1e-6 for _, y in places)
        if not line.thin:
            curves = figure.functions.values()
            assert any(all(abs(f(x) - y) < 1e-9 for x, y in places) for f in curves)
    for name in figure.dots:
        x, y = figure.places[name]
        assert any(abs(f(x) - y) < 1e-6 for f in figure.functions.values()), name


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_points_without_coordinates_beside_them_lie_on_the_numbered_grid(name, seed):
    problem = draw(name, seed)
    read = [mark for fact in problem.facts for mark in fact.marks if isinstance(mark, ReadOff)]
    axes = problem.figure.axes
    assert axes.grid == axes.numbers == bool(read)
    for mark in read:
        x, y = problem.figure.at(mark.at)
        assert x / axes.step_x == pytest.approx(round(x / axes.step_x), abs=1e-9)
        assert y / axes.step_y == pytest.approx(round(y / axes.step_y), abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_version_says_all_that_is_given(name):
    for seed in range(4):
        problem = drawable(name, seed)
        drawn = draw_versions(problem, FAMILIES[name], random.Random(seed))
        versions = drawn.versions
        for fact in problem.facts:
            said = fact.text if fact.marks else fact.text[1:]  # a sentence may start with it
            assert all(
                said in versions[v].text for v in ("text-only", "text-dominant", "text-lite") if fact.marks
            )
            assert bool(fact.marks) != (said in versions["vision-dominant"].text)
        assert versions["vision-only"].text == ""
        assert versions["text-only"].picture is None
        assert len({versions[v].picture for v in versions}) >= 3
        assert drawn == draw_versions(drawable(name, seed), FAMILIES[name], random.Random(seed))


@pytest.mark.parametrize("name", FAMILIES)
def test_choices_are_the_answer_and_three_mistakes(name):
    problem = draw(name, 5)
    wrong = [floats(value) for value, _ in problem.wrong_answers]
    assert len(wrong) == 3
    assert len({*wrong, floats(problem.answer)}) == 4
    assert len(problem.mistakes) >= 4


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_graph_is_caught(name):
    problem = draw(name, 1)
    f = problem.figure.functions["f"]
    problem.figure.functions["f"] = lambda x: f(x) + 0.01
    if "g" in problem.figure.functions:
        g = problem.figure.functions["g"]
        problem.figure.functions["g"] = lambda x: g(x) - 0.01
    with pytest.raises(ValueError, match="the figure is wrong"):
        replace(problem, meta={})


@pytest.mark.parametrize("name", FAMILIES)
def test_problems_are_many(name):
    keys = {draw(name, seed).literals for seed in range(150)}
    assert len(keys) >= 135


def test_a_graph_ends_at_the_edge_of_its_frame():
    figure = frame([(-2, -2), (2, 2)], read=True)
    graph(figure, "f", lambda x: x**3)
    (line,) = figure.lines
    assert isinstance(line, Line)
    assert line.points[0][1] == pytest.approx(figure.axes.bottom)
    assert line.points[-1][1] == pytest.approx(figure.axes.top)


def test_a_graph_that_leaves_the_frame_and_returns_is_drawn_in_parts():
    figure = frame([(-3, 0), (3, 2)], read=True)
    graph(figure, "f", lambda x: 2 * x * x - 8)
    assert len(figure.lines) == 2


def test_a_point_between_the_lines_of_the_grid_cannot_be_read():
    figure = frame([(0, 0), (4, 4)], read=True)
    point(figure, "A", 1, 2, read=True)
    assert IsReadable("A", 1, 2).wrong(figure) is None
    figure.places["A"] = (1.5, 2.0)
    assert "between the lines" in IsReadable("A", Fraction(3, 2), 2).wrong(figure)


def test_a_point_elsewhere_or_outside_is_told():
    figure = frame([(0, 0), (4, 4)], read=True)
    point(figure, "A", 1, 2, read=False)
    assert "not at (1, 3)" in IsAt("A", 1, 3).wrong(figure)
    figure.places["A"] = (100.0, 2.0)
    assert "outside" in IsAt("A", 100, 2).wrong(figure)


def test_axes_have_room_for_their_numbers_or_are_rejected():
    with pytest.raises(Rejected, match="numbers"):
        frame([(-10, -10), (10, 10)], read=True)


def test_equations_are_printed_as_in_a_textbook():
    assert terms((-1, "x²"), (1, "x"), (-3, "")) == "-x² + x - 3"
    assert terms((0, "x")) == "0"
    assert less("x", -2) == "(x + 2)"
