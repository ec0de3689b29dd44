"""What the families of functions draw with: a frame of axes, graphs cut off at it, points, equations.

    figure = frame([(1, 2), (4, 8)], read=True)               # numbered axes and a grid around both points
    graph(figure, "f", lambda x: 2 * x)
    facts = (point(figure, "A", 1, 2, names="ab", read=True), point(figure, "B", 4, 8, names="cd", read=True))

A plot is either *read*, on a grid with numbers, its points on crossings of the grid; or *given*, without grid
and numbers, the coordinates or equations written beside points and curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vkit.synthesis.claims import IsOnGraph
from vkit.synthesis.exact import Exact, as_float, evaluate, names, show
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Axes, Figure, Line, Rejected, Where
from vkit.synthesis.marks import Label

MOST_STEPS = 12  # between the ends of an axis with numbers: more cannot be told apart
FEWEST_STEPS = 6
_DIGITS = 19.0  # that an axis has room for, each 0.6 of a letter's height wide
_PLACES = 24  # across the frame, where an equation may stand beside a graph
_SAMPLES = 240  # of a graph over the frame


@dataclass(frozen=True)
class ReadOff(Label):
    """A point whose coordinates are read off the numbered axes; nothing is written beside it."""

    text: str = ""


@dataclass(frozen=True)
class IsReadable:
    """A point has these coordinates and lies on a crossing of the grid of numbered axes."""

    point: Where
    x: Exact
    y: Exact

    def wrong(self, figure: Figure) -> str | None:
        axes = figure.axes
        if axes is None or not (axes.grid and axes.numbers):
            return f"{self.point} has no grid with numbers"
        for value, step in ((self.x, axes.step_x), (self.y, axes.step_y)):
            if not math.isclose(as_float(value) / step, round(as_float(value) / step), abs_tol=1e-9):
                return f"{self.point} lies between the lines of the grid at {show(value)}"
        return IsAt(self.point, self.x, self.y).wrong(figure)


@dataclass(frozen=True)
class IsAt:
    """A point has these coordinates and lies in the frame."""

    point: Where
    x: Exact
    y: Exact

    def wrong(self, figure: Figure) -> str | None:
        x, y = figure.at(self.point)
        if math.dist((x, y), (as_float(self.x), as_float(self.y))) > 1e-6:
            return f"{self.point} is at ({x:.4g}, {y:.4g}), not at ({show(self.x)}, {show(self.y)})"
        axes = figure.axes
        if axes and not (axes.left <= x <= axes.right and axes.bottom <= y <= axes.top):
            return f"{self.point} lies outside the axes"
        return None


def need(condition: bool, why: str = "the numbers make no good plot") -> None:
    """Reject numbers."""
    if not condition:
        raise Rejected(why)


def frame(
    points: Sequence[tuple[Exact, Exact]],
    *,
    read: bool,
    step_x: float = 1,
    step_y: float = 1,
    square: bool = True,
) -> Figure:
    """A figure with axes around the points and the origin.

    Args:
        read: with a grid and numbers, else bare axes.
        step_x, step_y: between numbers.
        square: x and y at the same scale; with a grid: its cells are squares.

    Raises:
        Rejected: the points lie too far apart to number the axes.
    """
    spans = []
    for values, step in zip(
        zip(*((as_float(x), as_float(y)) for x, y in [*points, (0, 0)])), (step_x, step_y)
    ):
        low, high = min(values), max(values)
        if read:
            spans.append((math.floor(low / step + 1e-9) - 1, math.ceil(high / step - 1e-9) + 1))
        else:
            margin = 0.2 * (high - low)
            need(high > low, "all points lie on an axis")
            spans.append((low - margin, high + margin))
    if read:
        steps = [max(FEWEST_STEPS, high - low) for low, high in spans]
        steps = [max(steps)] * 2 if square else steps
        (left, right), (bottom, top) = (_widened(span, most, 1) for span, most in zip(spans, steps))
        widest = max(len(show(round(end * step_x))) for end in (left, right))
        need(
            max(steps) <= MOST_STEPS and steps[0] * (0.6 * widest + 0.3) <= _DIGITS,
            "the axes have no room for numbers",
        )
        figure = Figure(free_scale=True)
        figure.axes = Axes(left * step_x, right * step_x, bottom * step_y, top * step_y, step_x, step_y)
        return figure
    if square:
        side = max(high - low for low, high in spans)
        need(min(high - low for low, high in spans) > 0.3 * side, "the plot is too flat")
        spans = [_widened(span, side, side / 2) for span in spans]
    figure = Figure(free_scale=not square)
    (left, right), (bottom, top) = spans
    figure.axes = Axes(left, right, bottom, top, grid=False, numbers=False)
    return figure


def _widened(span: tuple[float, float], size: float, unit: float) -> tuple[float, float]:
    """A span grown to a size, by whole units at both sides in turn."""
    low, high = span
    while high - low < size - 1e-9:
        grow = min(unit, size - (high - low))
        low, high = (low - grow, high) if abs(low) <= high else (low, high + grow)
    return low, high


def graph(
    figure: Figure,
    name: str,
    f: Callable[[float], float],
    *,
    corners: Sequence[float] = (),
    domain: tuple[float, float] = (-math.inf, math.inf),
    dashed: bool = False,
) -> None:
    """The graph of ``f`` as far as the frame shows it, up to its very edge; ``corners``: where it bends."""
    axes = figure.axes
    assert axes is not None
    figure.functions[name] = f
    left, right = max(axes.left, domain[0]), min(axes.right, domain[1])
    xs = sorted({*(left + (right - left) * i / _SAMPLES for i in range(_SAMPLES + 1)), *map(float, corners)})

    def inside(x: float) -> bool:
        return axes.bottom <= f(x) <= axes.top

    run: list[Where] = []
    for before, x in zip([None, *xs], xs):
        if before is not None and inside(before) != inside(x):
            edge = _edge(inside, before, x)
            run.append((edge, f(edge)))
        if inside(x):
            run.append((x, f(x)))
        elif run:
            figure.lines.append(Line(tuple(run), dashed))
            run = []
    if len(run) > 1:
        figure.lines.append(Line(tuple(run), dashed))


def _edge(inside: Callable[[float], bool], first: float, second: float) -> float:
    """The last place within the frame between one inside and one outside."""
    inner, outer = (first, second) if inside(first) else (second, first)
    for _ in range(40):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if inside(middle) else (inner, middle)
    return inner


def point(
    figure: Figure,
    name: str,
    x: Exact,
    y: Exact,
    *,
    read: bool,
    names: str = "",
    on: str = "",
    red_herring: bool = False,
) -> Fact:
    """A marked point and the fact that says its coordinates.

    Args:
        names: what the steps call x and y, a letter each; "_" for one that they do not use.
        on: the function on whose graph it lies.
    """
    figure.point(name, as_float(x), as_float(y), dot=True)
    shown = f"({show(x)}, {show(y)})"
    claims = [IsReadable(name, x, y) if read else IsAt(name, x, y)]
    return Fact(
        f"{name} = {shown}",
        (ReadOff(name) if read else Label(name, shown),),
        (*claims, *((IsOnGraph(on, x, y),) if on else ())),
        {} if red_herring else {key: value for key, value in zip(names, (x, y)) if key != "_"},
        red_herring,
    )


def dot(figure: Figure, name: str, x: Exact, y: Exact) -> str:
    """A marked point with its letter, whose coordinates nothing says: one that is asked for."""
    return figure.point(name, as_float(x), as_float(y), dot=True)


def named(figure: Figure, name: str) -> str:
    """The letter of a function beside its graph, where no equation stands there."""
    taken = [figure.places[other] for other in figure.dots]
    axes = figure.axes
    assert axes is not None
    unit_x, unit_y = (axes.right - axes.left) / 10, (axes.top - axes.bottom) / 10
    others = [f for other, f in figure.functions.items() if other != name]

    def room(place: tuple[float, float]) -> float:
        x, y = place
        near = [math.hypot((x - u) / unit_x, (y - v) / unit_y) for u, v in taken]
        near += [abs(y - f(x)) / unit_y for f in others] + [abs(x) / unit_x, abs(y) / unit_y, 1.5]
        return round(min(near), 6)

    best = max(along(figure, name), key=room)
    need(room(best) > 0.5, f"there is no room for the letter {name}")
    return figure.point(name, *best, letter=name)


def equation(figure: Figure, name: str, right: str, expression: str, values: dict[str, Exact]) -> Fact:
    """The equation of a graph, written beside it.

    Args:
        right: the right side as it is printed: "2x + 3".
        expression: the same for `evaluate`, in x and the named values; checked on the graph.
        values: its numbers by the names that the steps call them.
    """
    axes = figure.axes
    assert axes is not None
    text = f"{name}(x) = {right}"
    exact = [round(axes.left + (axes.right - axes.left) * share) for share in (0.2, 0.4, 0.6, 0.8)]
    constants = {key: values[key] for key in values if key in names(expression)}
    return Fact(
        text,
        (beside(figure, name, text),),
        tuple(IsOnGraph(name, x, evaluate(expression, {**constants, "x": x})) for x in exact),
        values,
    )


def beside(figure: Figure, name: str, text: str) -> Label:
    """A text anywhere beside a graph."""
    first, *others = along(figure, name)
    return Label(first, text, elsewhere=tuple(others))


def along(figure: Figure, name: str) -> Iterator[tuple[float, float]]:
    """Places on a function's graph within the frame and clear of the other graphs."""
    axes, f = figure.axes, figure.functions[name]
    assert axes is not None
    height = axes.top - axes.bottom
    others = [figure.functions[other] for other in figure.functions if other != name]
    places = []
    for i in range(1, _PLACES):
        x = axes.left + (axes.right - axes.left) * i / _PLACES
        if axes.bottom <= f(x) <= axes.top and all(abs(f(x) - g(x)) > 0.2 * height for g in others):
            places.append((x, f(x)))
    need(len(places) > 2, f"hardly anything of {name} is in the frame")
    # A textbook writes an equation near the right end of its curve.
    yield from sorted(places, key=lambda place: abs(places.index(place) - 0.82 * len(places)))


def terms(*parts: tuple[Exact, str]) -> str:
    """A sum of multiples as it is printed; parts that are zero are left out.

    >>> from fractions import Fraction
    >>> terms((1, "x²"), (-4, "x"), (3, "")), terms((Fraction(-3, 2), "|x - 1|"), (0, ""))
    ('x² - 4x + 3', '-3|x - 1|/2')
    """
    text = ""
    for coefficient, thing in parts:
        if coefficient == 0:
            continue
        sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
        size = show(abs(coefficient))
        top, slash, bottom = size.partition("/")
        top = "" if top == "1" and thing else top
        text += f"{sign}{top}{thing}{slash}{bottom}"
    return text or "0"


def less(unknown: str, constant: Exact) -> str:
    """The unknown less a constant, in parentheses where it needs them.

    >>> less("x", 3), less("x", -2), less("x", 0)
    ('(x - 3)', '(x + 2)', 'x')
    """
    if constant == 0:
        return unknown
    return f"({unknown} {'-' if constant > 0 else '+'} {show(abs(constant))})"
