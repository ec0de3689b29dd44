"""Line charts as SVG text, for pages that hold everything themselves: few lines, named at their ends.

    line = Line("1-2-3", "k0", [(0, 92.5), (1, 86.0)])
    chart = Chart([line], x_ticks=[(0, "text"), (1, "vision")], y_ticks=[(0, "0%"), (100, "100%")])
    svg = chart.draw("Accuracy by version", width=720, height=320)

Colours and dashes belong to the page's style, by the class names of the lines; a Content-Security-Policy that
allows one style sheet allows these charts. Each kind of line has a marker of its own where markers are shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vkit.report.markup import escaped

LETTER = 7.2  # pixels of a letter at the 13 px that charts are lettered in, rather too many than too few
TOP = 12  # pixels above the highest tick
LABEL_STEP = 17  # pixels between two names at the ends of lines
MARKERS = {"circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "square": "M-4-4h8v8h-8z"}
MARKERS |= {"diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0z", "triangle": "M0-5L5 4H-5z"}


@dataclass(frozen=True)
class Line:
    """Points from left to right, the class that styles them, and a key of `MARKERS` where they are marked."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    marker: str | None = None


@dataclass(frozen=True)
class Chart:
    """What is drawn; the axes reach from the first tick to the last, and x also over all points.

    x_ticks, y_ticks: places and what stands there; a line feed in a name breaks it.
    log: the y axis is logarithmic; what lies below its first tick is drawn on it.
    """

    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    log: bool = False

    def draw_both(self, description: str) -> str:
        """A drawing for a wide screen and one for a narrow one; the style shows one of them."""
        wide = self.draw(description, width=900, height=340, kind="wide")
        return wide + self.draw(description, width=400, height=320, kind="narrow")

    def draw(self, description: str, *, width: int, height: int, kind: str = "") -> str:
        """The chart as an SVG element with ``kind`` among its classes; a reader hears ``description``."""
        left = 14 + LETTER * max(len(name) for _, name in self.y_ticks)
        right = width - 20 - LETTER * max(len(line.name) for line in self.lines)
        bottom = height - 14 - 17 * max(name.count("\n") + 1 for _, name in self.x_ticks)
        frame = _Frame(self, left, right, bottom)
        parts = [*self._axes(frame), *self._courses(frame)]
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

    def _courses(self, frame: _Frame) -> Iterator[str]:
        """Each line with its markers, its name, and a leader from the line's end to the name."""
        drawn = [line for line in self.lines if line.points]
        ends = [frame.y(line.points[-1][1]) for line in drawn]
        for line, end, level in zip(drawn, ends, spread_labels(ends, TOP, frame.bottom)):
            places = [(frame.x(x), frame.y(y)) for x, y in line.points]
            course = "L".join(f"{x} {y}" for x, y in places)
            markers = "".join(
                f'<path class="marker" d="{MARKERS[line.marker]}" transform="translate({x} {y})"/>'
                for x, y in places
                if line.marker
            )
            yield (
                f'<g class="{line.kind}"><path class="line" d="M{course}"/>{markers}'
                f'<path class="leader" d="M{places[-1][0] + 6} {end}L{frame.right + 4:.1f} {level:.1f}"/>'
                f'<text x="{frame.right + 8:.1f}" y="{level + 4.5:.1f}">{escaped(line.name)}</text></g>'
            )


class _Frame:
    """Where values lie in the drawing, in pixels."""

    def __init__(self, chart: Chart, left: float, right: float, bottom: float) -> None:
        self.left, self.right, self.bottom, self.log = left, right, bottom, chart.log
        xs = [x for line in chart.lines for x, _ in line.points] + [x for x, _ in chart.x_ticks]
        self.first_x, self.span_x = min(xs), (max(xs) - min(xs)) or 1
        self.low, self.high = chart.y_ticks[0][0], chart.y_ticks[-1][0]
        self.inset = 12 if any(line.marker for line in chart.lines) else 0

    def x(self, value: float) -> float:
        room = self.right - self.left - 2 * self.inset
        return round(self.left + self.inset + room * (value - self.first_x) / self.span_x, 1)

    def y(self, value: float) -> float:
        if self.log:
            up = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            up = (value - self.low) / (self.high - self.low)
        return round(self.bottom - up * (self.bottom - TOP), 1)


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
