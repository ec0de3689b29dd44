"""The strokes of a figure and its marks, in pixels, before any label is placed.

    canvas = Canvas(figure, size=336)
    canvas.draw_figure()
    canvas.draw_mark(RightAngle("A", "B", "C"))
    canvas.strokes, canvas.mark_strokes, canvas.obstacles

Lengths of pens, arcs and arrow heads are given for a picture of 336 pixels and grow with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from vkit.synthesis import marks as m
from vkit.synthesis import pixels as px
from vkit.synthesis.figure import Arc, Axes, Figure, Rejected, Where
from vkit.synthesis.pixels import Pixel

MARGIN_SHARE = 0.12  # of the picture's side, around the figure: room for letters
SMALLEST_ANGLE = 14.0  # degrees, to be marked
DOT = 3.2  # radius of a point's dot
SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)  # where along a segment a mark may stand, best first
_LINE, _THIN, _MARK, _GRID_GRAY = 2.0, 1.2, 1.4, 215


@dataclass(frozen=True)
class Stroke:
    """A polyline in pixels; gray 0 is black."""

    points: tuple[Pixel, ...]
    width: float
    gray: int = 0
    dashed: bool = False


class Canvas:
    """A figure fitted into a square picture, and what has been drawn of it.

    obstacles: segments that labels keep clear of.
    """

    def __init__(self, figure: Figure, size: int) -> None:
        self.figure, self.size, self.unit = figure, size, size / 336
        self.areas: list[tuple[Pixel, ...]] = []
        self.grid: list[Stroke] = []
        self.strokes: list[Stroke] = []
        self.mark_strokes: list[tuple[m.Mark, Stroke]] = []
        self.dots: list[Pixel] = []
        self.obstacles: list[tuple[Pixel, Pixel]] = []
        self.dimension_middles: dict[m.Mark, Pixel] = {}
        self._angles: dict[Pixel, list[tuple[float, float]]] = {}
        xs, ys = zip(*_extent(figure))
        width, height = max(xs) - min(xs), max(ys) - min(ys)
        room = size * (1 - 2 * MARGIN_SHARE)
        alike = room / max(width, height)
        self._scale = (room / width, room / height) if figure.free_scale else (alike, alike)
        self._middle = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)

    def pixel(self, where: Where) -> Pixel:
        """Where something of the figure stands in the picture."""
        x, y = self.figure.at(where)
        half = self.size / 2
        return (
            half + (x - self._middle[0]) * self._scale[0],
            half - (y - self._middle[1]) * self._scale[1],
        )

    def center(self) -> Pixel:
        """The mean of the named points."""
        points = [self.pixel(name) for name in self.figure.places] or [(self.size / 2, self.size / 2)]
        return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)

    # The figure.

    def draw_figure(self) -> None:
        """Areas, axes, lines, arcs and dots."""
        figure, unit = self.figure, self.unit
        self.areas = [tuple(self.pixel(p) for p in region.outline) for region in figure.regions]
        if figure.axes:
            self._draw_axes(figure.axes)
        for line in figure.lines:
            points = px.without_straight([self.pixel(p) for p in line.points])
            self._draw(Stroke(points, (_THIN if line.thin else _LINE) * unit, dashed=line.dashed))
        for arc in figure.arcs:
            points = px.without_straight([self.pixel(p) for p in _on_arc(figure, arc, 3)])
            self._draw(Stroke(points, _LINE * unit, dashed=arc.dashed))
        self.dots = [self.pixel(name) for name in sorted(figure.dots)]
        for x, y in self.dots:
            reach = DOT * unit
            self.obstacles += [((x - reach, y), (x + reach, y)), ((x, y - reach), (x, y + reach))]

    def axis_ends(self) -> tuple[Pixel, Pixel]:
        """The tips of the x axis and the y axis."""
        axes = self.figure.axes
        assert axes is not None
        right, up = self.pixel((axes.right, 0)), self.pixel((0, axes.top))
        return (right[0] + 14 * self.unit, right[1]), (up[0], up[1] - 16 * self.unit)

    def _draw_axes(self, axes: Axes) -> None:
        if axes.grid:
            for x in steps(axes.left, axes.right, axes.step_x):
                line = (self.pixel((x, axes.bottom)), self.pixel((x, axes.top)))
                self.grid.append(Stroke(line, self.unit, _GRID_GRAY))
            for y in steps(axes.bottom, axes.top, axes.step_y):
                line = (self.pixel((axes.left, y)), self.pixel((axes.right, y)))
                self.grid.append(Stroke(line, self.unit, _GRID_GRAY))
        right, up = self.axis_ends()
        for start, end in ((self.pixel((axes.left, 0)), right), (self.pixel((0, axes.bottom)), up)):
            for line in ((start, end), *px.arrow_head(start, end, 6 * self.unit)):
                self._draw(Stroke(line, _MARK * self.unit))

    def _draw(self, stroke: Stroke, mark: m.Mark | None = None) -> None:
        if mark is None:
            self.strokes.append(stroke)
        else:
            self.mark_strokes.append((mark, stroke))
        self.obstacles += px.segments(stroke.points)

    # Marks.

    def draw_mark(self, mark: m.Mark) -> None:
        """The strokes of a mark; lengths and labels have none. Raises `Rejected` where it has no room."""
        if isinstance(mark, m.Angle):
            self._draw_angle(mark)
        elif isinstance(mark, m.RightAngle):
            self._draw_right_angle(mark)
        elif isinstance(mark, m.Ticks):
            self._draw_ticks(mark)
        elif isinstance(mark, m.Arrows):
            self._draw_arrows(mark)
        elif isinstance(mark, m.Dimension):
            self._draw_dimension(mark)

    def rays(self, mark: m.Angle) -> tuple[Pixel, float, float]:
        """The vertex of an angle and the directions of its sides, counter-clockwise, within 180 degrees."""
        vertex = self.pixel(mark.vertex)
        low, high = sorted(px.direction(vertex, self.pixel(p)) for p in (mark.first, mark.second))
        if high - low > 180:
            low, high = high, low + 360
        if high - low < SMALLEST_ANGLE:
            raise Rejected(f"the angle at {mark.vertex} is too small to mark")
        return vertex, low, high

    def angle_radius(self, degrees: float) -> float:
        """Of an angle's arc: larger for small angles, whose label needs room."""
        return (20 if degrees > 55 else 26 if degrees > 30 else 34) * self.unit

    def _draw_angle(self, mark: m.Angle) -> None:
        vertex, low, high = self.rays(mark)
        drawn = self._angles.setdefault(vertex, [])
        ring = sum(px.shared_turn((low, high), other) > 1 for other in drawn)
        drawn.append((low, high))
        radius = self.angle_radius(high - low) + 6 * ring * self.unit
        reach = min(math.dist(vertex, self.pixel(p)) for p in (mark.first, mark.second))
        if radius > 0.75 * reach:
            raise Rejected(f"the sides at {mark.vertex} are too short for its arc")
        for index in range(mark.arcs):
            arc = px.arc(vertex, radius + 4 * index * self.unit, low, high)
            self._draw(Stroke(arc, _MARK * self.unit), mark)

    def _draw_right_angle(self, mark: m.RightAngle) -> None:
        vertex = self.pixel(mark.vertex)
        ends = [self.pixel(p) for p in (mark.first, mark.second)]
        side = 11 * self.unit
        if min(math.dist(vertex, end) for end in ends) < 1.8 * side:
            raise Rejected(f"the sides at {mark.vertex} are too short for its square")
        (a, b), (c, d) = (px.along(vertex, end, 0, side) for end in ends)
        corner = (a + c - vertex[0], b + d - vertex[1])
        self._draw(Stroke(((a, b), corner, (c, d)), _MARK * self.unit), mark)

    def _draw_ticks(self, mark: m.Ticks) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        across, half = px.normal(start, end), 6 * self.unit
        for index in range(mark.count):
            off = (index - (mark.count - 1) / 2) * 5 * self.unit
            at = px.along(start, end, self._free_share(start, end), off)
            tick = (px.moved(at, across, -half), px.moved(at, across, half))
            self._draw(Stroke(tick, _MARK * self.unit), mark)

    def _draw_arrows(self, mark: m.Arrows) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        if (round(end[0], 3), -end[1]) < (round(start[0], 3), -start[1]):
            start, end = end, start  # parallels point the same way
        share = self._free_share(start, end)
        for index in range(mark.count):
            tip = px.along(start, end, share, (index * 7 + 4) * self.unit)
            for head in px.arrow_head(start, tip, 8 * self.unit):
                self._draw(Stroke(head, _MARK * self.unit), mark)

    def _free_share(self, start: Pixel, end: Pixel) -> float:
        """Where along a segment there is room from named points, near its middle."""
        points = [self.pixel(name) for name in self.figure.places]
        room = {
            share: min((math.dist(px.along(start, end, share), p) for p in points), default=0.0)
            for share in SHARES
        }
        best = max(room.values())
        return next(share for share in SHARES if room[share] > 0.8 * best)

    def _draw_dimension(self, mark: m.Dimension) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        middle, across, center = px.along(start, end, 0.5), px.normal(start, end), self.center()
        if math.dist(px.moved(middle, across, 1), center) < math.dist(px.moved(middle, across, -1), center):
            across = (-across[0], -across[1])  # outwards
        off, half = 26 * self.unit, 4 * self.unit
        ends = [px.moved(p, across, off) for p in (start, end)]
        self._draw(Stroke(tuple(ends), self.unit), mark)
        for p in ends:
            self._draw(Stroke((px.moved(p, across, -half), px.moved(p, across, half)), self.unit), mark)
        self.dimension_middles[mark] = px.moved(middle, across, off)


def steps(start: float, end: float, step: float) -> Iterator[float]:
    """The multiples of a step within an interval."""
    for index in range(math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9) + 1):
        yield index * step


def _on_arc(figure: Figure, arc: Arc, step: float) -> Iterator[tuple[float, float]]:
    """Places along an arc in the figure's coordinates, about ``step`` degrees apart."""
    x, y = figure.at(arc.center)
    count = max(8, round((arc.end - arc.start) / step))
    for i in range(count + 1):
        angle = math.radians(arc.start + (arc.end - arc.start) * i / count)
        yield x + arc.radius * math.cos(angle), y + arc.radius * math.sin(angle)


def _extent(figure: Figure) -> Iterator[tuple[float, float]]:
    """Places that the picture must hold."""
    for line in figure.lines:
        yield from (figure.at(p) for p in line.points)
    for arc in figure.arcs:
        yield from _on_arc(figure, arc, 10)
    for name in {*figure.letters, *figure.dots}:
        yield figure.places[name]
    for region in figure.regions:
        yield from (figure.at(p) for p in region.outline)
    if figure.axes:
        yield figure.axes.left, figure.axes.bottom
        yield figure.axes.right, figure.axes.top
