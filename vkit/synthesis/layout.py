"""Places the labels of a figure: every letter and value beside what it belongs to, none over another.

    layout = lay_out(figure, marks, size=336)       # or Rejected: too narrow an angle, no room for a label
    layout.strokes, layout.labels                   # in pixels, for `vkit.synthesis.render`

Letters are placed as if all marks were drawn, so that they stand at the same place in every version of a
problem. A label is tried at several places, from where a textbook would put it outwards, and takes the first
that is free of lines and labels; where none is free the drawing is rejected.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from vkit.synthesis import marks as m
from vkit.synthesis import pixels as px
from vkit.synthesis.figure import Figure, Rejected
from vkit.synthesis.pixels import Box, Pixel
from vkit.synthesis.strokes import SHARES, Canvas, Stroke, steps
from vkit.synthesis.typeset import typeset_size

FONT_SHARE = 0.05  # of the picture's side
NEAREST_POINTS = 0.055  # of the picture's side


@dataclass(frozen=True)
class PlacedLabel:
    """A text and its box; mark: None for letters and axes; halo: the grid is cleared behind it."""

    text: str
    box: Box
    font_size: int
    mark: m.Mark | None = None
    halo: bool = False


@dataclass(frozen=True)
class Layout:
    """What is drawn: areas, the grid, strokes and dots, labels, in this order.

    mark_strokes: with the mark that they belong to.
    """

    size: int
    areas: list[tuple[Pixel, ...]]
    grid: list[Stroke]
    strokes: list[Stroke]
    mark_strokes: list[tuple[m.Mark, Stroke]]
    dots: list[Pixel]
    labels: list[PlacedLabel]

    def height(self) -> tuple[float, float]:
        """The rows between which everything is drawn."""
        strokes = [*self.grid, *self.strokes, *(stroke for _, stroke in self.mark_strokes)]
        rows = [y for stroke in strokes for _, y in stroke.points]
        rows += [row for label in self.labels for row in (label.box[1], label.box[3])]
        return min(rows), max(rows)


def lay_out(figure: Figure, marks: Iterable[m.Mark], size: int = 336) -> Layout:
    """Place a figure with its marks in a square picture of ``size`` pixels.

    Raises:
        Rejected: points are too near, a marked angle too small, or a label has no free place.
    """
    marks = tuple(marks)
    canvas = Canvas(figure, size)
    _refuse_near_points(canvas)
    canvas.draw_figure()
    for mark in marks:
        canvas.draw_mark(mark)
    labels = _Labels(canvas)
    labels.put_axes()
    labels.put(mark for mark in marks if isinstance(mark, m.Angle))  # they have the least room
    labels.put_letters()
    for kind in (m.Length, m.Dimension, m.Label):
        labels.put(mark for mark in marks if isinstance(mark, kind))
    return Layout(
        size,
        canvas.areas,
        canvas.grid,
        canvas.strokes,
        canvas.mark_strokes,
        canvas.dots,
        labels.placed,
    )


def _refuse_near_points(canvas: Canvas) -> None:
    shown = [(name, canvas.pixel(name)) for name in canvas.figure.letters]
    for (name, place), (other, at) in itertools.combinations(shown, 2):
        if math.dist(place, at) < NEAREST_POINTS * canvas.size:
            raise Rejected(f"{name} and {other} are too near")


class _Labels:
    """Puts labels on a canvas, each where it is free of lines and of the labels before it."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.unit = canvas, canvas.unit
        self.font_size = max(8, round(FONT_SHARE * canvas.size))
        self.placed: list[PlacedLabel] = []

    def put(self, marks: Iterable[m.Mark]) -> None:
        """The texts of marks of one kind."""
        for mark in marks:
            if isinstance(mark, (m.Angle, m.Length, m.Dimension, m.Label)) and mark.text:
                self._put(mark.text, self._places(mark), mark)

    def _places(self, mark: m.Angle | m.Length | m.Dimension | m.Label) -> Iterator[Pixel]:
        if isinstance(mark, m.Angle):
            return self._in_angle(mark)
        if isinstance(mark, m.Length):
            return self._beside_segment(mark)
        return self._beside_dimension(mark) if isinstance(mark, m.Dimension) else self._near(mark)

    def put_letters(self) -> None:
        """The letters of points, first of all where no line leads to."""
        figure = self.canvas.figure
        for name, text in figure.letters.items():
            place, size = self.canvas.pixel(name), self._size(text)
            free = self._free_direction(place)
            places: list[Pixel] = []
            for gap in (6, 10, 15, 20) if name in figure.dots else (3, 6, 10, 15, 20):
                ring = px.around(place, size, gap * self.unit)
                places += sorted(ring, key=lambda p: px.turn_between(px.direction(place, p), free))
            self._put(text, places, None)

    def put_axes(self) -> None:
        """The letters and numbers of axes: lines pass behind them."""
        axes, unit = self.canvas.figure.axes, self.unit
        if axes is None:
            return
        small = max(8, round(0.78 * self.font_size))
        (x, y), (u, v) = self.canvas.axis_ends()
        origin = self.canvas.pixel((0, 0))
        self._put_on_axis("x", (x + 2 * unit, y + 12 * unit), self.font_size)
        self._put_on_axis("y", (u - 11 * unit, v + unit), self.font_size)
        self._put_on_axis("O", (origin[0] - 8 * unit, origin[1] + 9 * unit), small)
        if not axes.numbers:
            return
        for value in steps(axes.left, axes.right, axes.step_x):
            if abs(value) > 1e-9:
                x, y = self.canvas.pixel((value, 0))
                self._put_on_axis(_number(value), (x, y + 10 * unit), small)
        for value in steps(axes.bottom, axes.top, axes.step_y):
            if abs(value) > 1e-9:
                x, y = self.canvas.pixel((0, value))
                off = _text_size(_number(value), small)[0] / 2 + 5 * unit
                self._put_on_axis(_number(value), (x - off, y), small)

    # Where a label may stand, best first.

    def _in_angle(self, mark: m.Angle) -> Iterator[Pixel]:
        vertex, low, high = self.canvas.rays(mark)
        width, height = self._size(mark.text)
        start = self.canvas.angle_radius(high - low) + 4 * (mark.arcs - 1) * self.unit
        for further in range(3, 63, 3):
            for aside in (0.0, 0.12, -0.12, 0.24, -0.24):
                degrees = (low + high) / 2 + aside * (high - low)
                x, y = px.on_circle((0.0, 0.0), 1.0, degrees)
                edge = (width * abs(x) + height * abs(y)) / 2
                yield px.on_circle(vertex, start + further * self.unit + edge, degrees)

    def _beside_segment(self, mark: m.Length) -> Iterator[Pixel]:
        start, end = self.canvas.pixel(mark.first), self.canvas.pixel(mark.second)
        across = px.normal(start, end)
        width, height = self._size(mark.text)
        edge = (width * abs(across[0]) + height * abs(across[1])) / 2
        middle, center = px.along(start, end, 0.5), self.canvas.center()
        outwards = (middle[0] - center[0]) * across[0] + (middle[1] - center[1]) * across[1] > 0
        for gap in (4, 8, 12):
            for side in (1, -1) if outwards else (-1, 1):
                for share in SHARES:
                    yield px.moved(px.along(start, end, share), across, side * (edge + gap * self.unit))

    def _beside_dimension(self, mark: m.Dimension) -> Iterator[Pixel]:
        across = px.normal(self.canvas.pixel(mark.first), self.canvas.pixel(mark.second))
        width, height = self._size(mark.text)
        edge = (width * abs(across[0]) + height * abs(across[1])) / 2
        for gap in (4, 8):
            for side in (1, -1):
                yield px.moved(self.canvas.dimension_middles[mark], across, side * (edge + gap * self.unit))

    def _near(self, mark: m.Label) -> Iterator[Pixel]:
        places = [self.canvas.pixel(where) for where in (mark.at, *mark.elsewhere)]
        size = (0.0, 0.0) if mark.inside else self._size(mark.text)
        for gap in range(0, 30, 5) if mark.inside else range(3, 40, 4):
            for place in places:
                yield from px.around(place, size, gap * self.unit)

    def _free_direction(self, place: Pixel) -> float:
        """The middle of the widest angle at a place that no line enters, degrees."""
        ends = set()
        for start, end in self.canvas.obstacles:
            if px.distance_to_segment(place, start, end) < 1.5 * self.unit:
                ends |= {round(px.direction(place, p), 1) for p in (start, end) if math.dist(place, p) > 1.5}
        if not ends:
            return px.direction(self.canvas.center(), place)
        turns = sorted(ends)
        gaps = [(round((b - a) % 360, 1) or 360.0, a) for a, b in zip(turns, [*turns[1:], turns[0]])]
        gap, start_at = max(gaps)
        return start_at + gap / 2

    # Putting.

    def _put(self, text: str, places: Iterable[Pixel], mark: m.Mark | None) -> None:
        size = self._size(text)
        for place in places:
            box = px.box_around(place, size)
            if self._is_free(box) and not (isinstance(mark, m.Length) and self._is_apart(box, mark)):
                self.placed.append(PlacedLabel(text, box, self.font_size, mark))
                return
        raise Rejected(f"there is no free place for {text!r}")

    def _is_free(self, box: Box) -> bool:
        if min(box[:2]) < 2 or max(box[2:]) > self.canvas.size - 2:
            return False
        wide = px.grown(box, 2 * self.unit, 2 * self.unit)
        if any(px.boxes_overlap(wide, label.box) for label in self.placed):
            return False
        wide = px.grown(box, 2, 1)
        return not any(px.crosses(wide, start, end) for start, end in self.canvas.obstacles)

    def _is_apart(self, box: Box, mark: m.Length) -> bool:
        """Whether a line stands between a length and its own segment: it would be taken for that one's."""
        own = self.canvas.pixel(mark.first), self.canvas.pixel(mark.second)
        label = min(px.border(box), key=lambda place: px.distance_to_segment(place, *own))
        foot = px.nearest_on_segment(label, *own)
        return any(
            px.segments_cross(label, foot, start, end)
            for stroke in self.canvas.strokes
            for start, end in px.segments(stroke.points)
            if max(px.distance_to_segment(p, *own) for p in (start, end)) > self.unit
        )

    def _put_on_axis(self, text: str, center: Pixel, font_size: int) -> None:
        box = px.box_around(center, _text_size(text, font_size))
        self.placed.append(PlacedLabel(text, box, font_size, halo=True))

    def _size(self, text: str) -> tuple[int, int]:
        return _text_size(text, self.font_size)


@lru_cache(maxsize=4096)
def _text_size(text: str, font_size: int) -> tuple[int, int]:
    return typeset_size(text, width=40 * font_size, font_size=font_size)


def _number(value: float) -> str:
    return str(round(value)) if abs(value - round(value)) < 1e-9 else f"{value:g}"
