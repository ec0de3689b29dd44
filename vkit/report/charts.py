"""Charts as SVG text, for pages that hold everything themselves: few marks, named where they end.

    line = Line("1-2-3", "k0", [(0, 92.5), (1, 86.0)])
    chart = Chart([line], x_ticks=[(0, "text"), (1, "vision")], y_ticks=[(0, "0%"), (100, "100%")])
    svg = chart.draw("Accuracy by version", width=720, height=320)

A chart holds lines, and below them areas, bars and clouds of points, all in one frame. Colours and dashes
belong to the page's style, by the class names of the marks; a Content-Security-Policy that allows one style
sheet allows these charts. Each kind of line has a marker of its own where markers are shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vkit.report.markup import escaped

LETTER = 7.2  # pixels of a letter at the 13 px that charts are lettered in, rather too many than too few
EARLY = 120  # pixels before the right edge: a line that ends further left is named there
TOP = 12  # pixels above the highest tick
LABEL_STEP = 17  # pixels between two names at the ends of lines
# Each begins where the pen is and uses relative steps only, so that many fit into one path.
MARKERS = {"circle": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "square": "m-4-4h8v8h-8z"}
MARKERS |= {"diamond": "m0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z", "triangle": "m0-5l5 9h-10z"}


@dataclass(frozen=True)
class Line:
    """Points from left to right, the class that styles them, and a key of `MARKERS` where they are marked."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    marker: str | None = None


@dataclass(frozen=True)
class Area:
    """A band from left to right, named at its right end. points: (x, lower edge, upper edge)."""

    name: str
    kind: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Bar:
    """A rectangle between two places of each axis."""

    kind: str
    left: float
    right: float
    low: float
    high: float


@dataclass(frozen=True)
class Cloud:
    """Points that no line joins, of one class and one key of `MARKERS`."""

    kind: str
    marker: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """What is drawn; the axes reach from the first tick to the last, and x also over all marks.

    x_ticks, y_ticks: places and what stands there; a line feed in a name breaks it.
    log: the y axis is logarithmic; what lies below its first tick is drawn on it.
    x_title, y_title: what the axes measure, below and above them.
    reach: the x axis goes at least so far, as it does for charts to be read beside this one.
    """

    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    log: bool = False
    areas: Sequence[Area] = ()
    bars: Sequence[Bar] = ()
    clouds: Sequence[Cloud] = ()
    x_title: str = ""
    y_title: str = ""
    reach: float | None = None

    def draw_both(self, description: str) -> str:
        """A drawing for a wide screen and one for a narrow one; the style shows one of them."""
        wide = self.draw(description, width=900, height=340, kind="wide")
        return wide + self.draw(description, width=400, height=320, kind="narrow")

    def draw(self, description: str, *, width: int, height: int, kind: str = "") -> str:
        """The chart as an SVG element with ``kind`` among its classes; a reader hears ``description``."""
        left = 18 + LETTER * max(len(name) for _, name in self.y_ticks)
        names = [line.name for line in self.lines] + [area.name for area in self.areas]
        right = width - 20 - LETTER * max(map(len, names), default=0)
        bottom = height - 14 - 17 * max(name.count("\n") + 1 for _, name in self.x_ticks)
        frame = _Frame(self, left, right, bottom - (19 if self.x_title else 0))
        parts = [*self._axes(frame), *self._titles(frame, height), *self._bands(frame)]
        parts += [*self._bars(frame), *self._clouds(frame), *self._courses(frame)]
        label = escaped(description)
        return (
            f'<svg class="chart {kind}" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">'
            f"{''.join(parts)}</svg>"
        )

    def _axes(self, frame: _Frame) -> Iterator[str]:
        for value, name in self.y_ticks:
            x, y = frame.left, frame.y(value)
            yield f'<path class="grid" d="M{x:.1f} {y}H{frame.right:.1f}"/>'
            yield f'<text x="{x - 8:.1f}" y="{y + 4.5:.1f}" text-anchor="end">{escaped(name)}</text>'
        for value, name in self.x_ticks:
            x, y = frame.x(value), frame.bottom + 20
            rows = (
                f'<tspan x="{x}" y="{y + 16 * row:.1f}">{escaped(part)}</tspan>'
                for row, part in enumerate(name.split("\n"))
            )
            yield f'<text text-anchor="middle">{"".join(rows)}</text>'

    def _titles(self, frame: _Frame, height: int) -> Iterator[str]:
        if self.x_title:
            middle = (frame.left + frame.right) / 2
            yield (
                f'<text class="axis-title" x="{middle:.1f}" y="{height - 6}" text-anchor="middle">'
                f"{escaped(self.x_title)}</text>"
            )
        if self.y_title:
            yield f'<text class="axis-title" x="4" y="{frame.top - 14:.1f}">{escaped(self.y_title)}</text>'

    def _bands(self, frame: _Frame) -> Iterator[str]:
        """Each area, and its name at the height of its right end."""
        drawn = [area for area in self.areas if area.points]
        ends = [frame.y((area.points[-1][1] + area.points[-1][2]) / 2) for area in drawn]
        for area, end, level in zip(drawn, ends, spread_labels(ends, frame.top, frame.bottom)):
            up = [f"{frame.x(x)} {frame.y(high)}" for x, _, high in area.points]
            down = [f"{frame.x(x)} {frame.y(low)}" for x, low, _ in reversed(area.points)]
            yield (
                f'<g class="{area.kind}"><path class="area" d="M{"L".join([*up, *down])}z"/></g>'
                f'<path class="grid" d="M{frame.right + 1:.1f} {end:.1f}L{frame.right + 6:.1f} {level:.1f}"/>'
                f'<text x="{frame.right + 9:.1f}" y="{level + 4.5:.1f}">{escaped(area.name)}</text>'
            )

    def _bars(self, frame: _Frame) -> Iterator[str]:
        for bar in self.bars:
            left, right, top = frame.x(bar.left), frame.x(bar.right), frame.y(bar.high)
            yield (
                f'<rect class="{bar.kind}" fill="currentColor" x="{left}" y="{top}" '
                f'width="{max(right - left - 1, 1):.1f}" height="{frame.y(bar.low) - top:.1f}"/>'
            )

    def _clouds(self, frame: _Frame) -> Iterator[str]:
        for cloud in self.clouds:
            if cloud.points:
                marks = (f"M{frame.x(x)} {frame.y(y)}{MARKERS[cloud.marker]}" for x, y in cloud.points)
                yield f'<path class="marker {cloud.kind}" fill="currentColor" d="{"".join(marks)}"/>'

    def _courses(self, frame: _Frame) -> Iterator[str]:
        """Each line with its markers and its name: at its end, or beside the others' on the right."""
        drawn = [line for line in self.lines if line.points]
        ends = [(frame.x(line.points[-1][0]), frame.y(line.points[-1][1])) for line in drawn]
        # A line that ends early bears its name there; the others' names share the margin.
        margin = [place for place, (x, _) in enumerate(ends) if frame.right - x < EARLY]
        early = [place for place in range(len(ends)) if place not in margin]
        levels: dict[int, float] = {}
        for group in (margin, early):
            levels |= zip(group, spread_labels([ends[k][1] for k in group], frame.top, frame.bottom))
        for place, (line, (end_x, end_y)) in enumerate(zip(drawn, ends)):
            level = levels[place]
            name_x = frame.right + 8 if place in margin else end_x + 12
            places = [(frame.x(x), frame.y(y)) for x, y in line.points]
            course = "L".join(f"{x} {y}" for x, y in places)
            markers = "".join(
                f'<path class="marker" d="{MARKERS[line.marker]}" transform="translate({x} {y})"/>'
                for x, y in places
                if line.marker
            )
            yield (
                f'<g class="{line.kind}"><path class="line" d="M{course}"/>{markers}'
                f'<path class="leader" d="M{end_x + 6} {end_y}L{name_x - 4:.1f} {level:.1f}"/>'
                f'<text x="{name_x:.1f}" y="{level + 4.5:.1f}">{escaped(line.name)}</text></g>'
            )


class _Frame:
    """Where values lie in the drawing, in pixels."""

    def __init__(self, chart: Chart, left: float, right: float, bottom: float) -> None:
        self.left, self.right, self.bottom, self.log = left, right, bottom, chart.log
        self.top = TOP + (20 if chart.y_title else 0)
        xs = [x for line in chart.lines for x, _ in line.points]
        xs += [x for cloud in chart.clouds for x, _ in cloud.points]
        xs += [x for area in chart.areas for x, _, _ in area.points]
        xs += [x for bar in chart.bars for x in (bar.left, bar.right)] + [x for x, _ in chart.x_ticks]
        xs += [] if chart.reach is None else [chart.reach]
        self.first_x, self.span_x = min(xs), (max(xs) - min(xs)) or 1
        self.low, self.high = chart.y_ticks[0][0], chart.y_ticks[-1][0]
        self.inset = 12 if chart.clouds or any(line.marker for line in chart.lines) else 0

    def x(self, value: float) -> float:
        room = self.right - self.left - 2 * self.inset
        return round(self.left + self.inset + room * (value - self.first_x) / self.span_x, 1)

    def y(self, value: float) -> float:
        if self.log:
            up = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            up = (value - self.low) / (self.high - self.low)
        return round(self.bottom - up * (self.bottom - self.top), 1)


def spread_labels(levels: Sequence[float], top: float, bottom: float) -> list[float]:
    """Levels moved as little as one pass down and one up needs, so that none is nearer than `LABEL_STEP`.

    >>> spread_labels([50, 52, 20], 10, 60)
    [43, 60, 20]
    """
    order = sorted(range(len(levels)), key=lambda i: levels[i])
    moved = list(levels)
    for before, here in itertools.pairwise(order):
        moved[here] = max(moved[here], moved[before] + LABEL_STEP)
    limit = bottom
    for here in reversed(order):
        moved[here] = min(moved[here], limit)
        limit = moved[here] - LABEL_STEP
    if order and moved[order[0]] < top:  # more names than room: evenly from the top
        for place, here in enumerate(order):
            moved[here] = top + place * LABEL_STEP
    return moved


def decades(values: Sequence[float], most: int = 5) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis around positive values, at most so many decades below the highest.

    >>> [name for _, name in decades([0.02, 3.0, 0.0])]
    ['0.01', '0.1', '1', '10']
    """
    positive = [value for value in values if value > 0] or [1.0]
    high = math.ceil(math.log10(max(positive)))
    low = max(min(math.floor(math.log10(min(positive))), high - 1), high - most)
    return [(10.0**power, f"{10.0**power:g}") for power in range(low, high + 1)]


def step_ticks(last: int) -> list[tuple[float, str]]:
    """Three or more round places on an axis of steps.

    >>> [name for _, name in step_ticks(450)]
    ['0', '100', '200', '300', '400']
    """
    unit = 10 ** math.floor(math.log10(max(last, 1)))
    step = next(unit * factor for factor in (0.2, 0.5, 1, 2) if last <= 5 * unit * factor)
    step = max(1, round(step))
    return [(float(place), f"{place}") for place in range(0, last + 1, step)]


def even_ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Ticks at round values that hold ``low`` and ``high``, and zero, in about ``most`` steps.

    >>> [name for _, name in even_ticks(0, 1.37)], [name for _, name in even_ticks(-0.03, 0.11)]
    (['0', '0.5', '1', '1.5'], ['−0.05', '0', '0.05', '0.1', '0.15'])
    """
    reach = (max(high, 0) - min(low, 0)) or 1.0
    unit = 10.0 ** math.floor(math.log10(reach / most))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if reach <= most * unit * factor * (1 + 1e-9))
    first, last = math.floor(min(low, 0) / step + 1e-9), max(math.ceil(max(high, 0) / step - 1e-9), 1)
    return [(place * step, f"{place * step:g}".replace("-", "−")) for place in range(first, last + 1)]


def draw_grid(values: Sequence[Sequence[float]], *, levels: int, row_name: str, column_name: str) -> str:
    """A picture of a table of numbers of 0 to 1: a cell each, of class ``h0`` to ``h{levels - 1}``.

    Numbered rows and columns; the caller says in words what is seen and adds `draw_steps` as its legend.
    """
    rows, columns = len(values), len(values[0])
    cell, left, top = min(max(12, 384 // columns), 24), 34, 26
    paths: dict[int, list[str]] = {}
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            level = min(int(value * levels), levels - 1)
            paths.setdefault(level, []).append(f"M{left + cell * column} {top + cell * row}")
    square = f"h{cell - 1}v{cell - 1}h-{cell - 1}z"
    cells = "".join(
        f'<path class="h{level}" d="{"".join(place + square for place in places)}"/>'
        for level, places in sorted(paths.items())
    )
    texts = [f'<text x="2" y="12">{escaped(row_name)} ↓ {escaped(column_name)} →</text>']
    texts += [
        f'<text x="{left - 6}" y="{top + cell * row + cell // 2 + 4}" text-anchor="end">{row}</text>'
        for row in range(0, rows, max(1, -(-rows // 8)))
    ]
    foot = top + cell * rows + 14
    texts += [
        f'<text x="{left + cell * column + cell // 2}" y="{foot}" text-anchor="middle">{column}</text>'
        for column in range(0, columns, max(1, -(-columns // 8)))
    ]
    # Wide enough for its title where there are few columns.
    width, height = max(left + cell * columns + 8, 150), foot + 6
    return (
        f'<svg class="head-grid" role="img" aria-label="{escaped(row_name)} by {escaped(column_name)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-size="13">'
        f"{''.join(texts)}{cells}</svg>"
    )


def draw_steps(levels: int, low: str, high: str) -> str:
    """The legend of `draw_grid`: its classes from left to right between two numbers."""
    swatches = "".join(
        f'<rect class="h{level}" x="{60 + 9 * level}" y="2" width="9" height="12"/>'
        for level in range(levels)
    )
    end = 60 + 9 * levels
    label = f"from {escaped(low)} to {escaped(high)}"
    return (
        f'<svg class="head-legend" role="img" aria-label="{label}" viewBox="0 0 {end + 60} 16" '
        f'width="{end + 60}" height="16" font-size="13">'
        f'<text x="54" y="13" text-anchor="end">{escaped(low)}</text>'
        f'{swatches}<text x="{end + 6}" y="13">{escaped(high)}</text></svg>'
    )


def shortened(name: str, most: int = 18) -> str:
    """A name that leaves a chart its room.

    >>> shortened("a-very-long-name-of-a-run")
    'a-very-lo…-of-a-run'
    """
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2) :]}"
