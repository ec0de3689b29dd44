"""Places a figure and its labels in a picture: every letter and value beside what it belongs to, none over another.

    layout = lay_out(figure, marks, size=336)       # or Rejected: too narrow an angle, no room for a label
    layout.strokes, layout.labels                   # in pixels, for `vkit.synthesis.render`

Letters are placed as if all marks were drawn, so that they stand at the same place in every version of a
problem. A label is tried at several places in turn and takes the one that is free of lines and labels and
lies nearest to where a textbook would put it; where none is free the drawing is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from vkit.synthesis import marks as m
from vkit.synthesis.figure import Arc, Axes, Figure, Rejected, Where

Pixel = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

FONT_SHARE = 0.05  # of the picture's side
MARGIN_SHARE = 0.12
SMALLEST_ANGLE = 14.0  # degrees, between lines at a marked vertex
NEAREST_POINTS = 0.055  # share of the picture's side


@dataclass(frozen=True)
class Stroke:
    """A polyline in pixels; gray 0 is black."""

    points: tuple[Pixel, ...]
    width: float
    gray: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class PlacedLabel:
    """A text and its box; ``mark`` is None for letters and numbers of axes; halo: the grid is cleared behind it."""

    text: str
    box: Box
    font_size: int
    mark: m.Mark | None = None
    halo: bool = False


@dataclass
class Layout:
    """What is drawn: areas under the grid under strokes under labels; strokes of marks stand beside their mark."""

    size: int
    areas: list[tuple[Pixel, ...]] = field(default_factory=list)
    grid: list[Stroke] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    dots: list[Pixel] = field(default_factory=list)
    labels: list[PlacedLabel] = field(default_factory=list)
    mark_strokes: list[tuple[m.Mark, Stroke]] = field(default_factory=list)

    def boxes(self) -> Iterator[Box]:
        """The box of everything, for cutting white margins off."""
        for stroke in [*self.grid, *self.strokes, *(stroke for _, stroke in self.mark_strokes)]:
            xs, ys = zip(*stroke.points)
            yield min(xs), min(ys), max(xs), max(ys)
        for label in self.labels:
            yield label.box


def lay_out(figure: Figure, marks: Iterable[m.Mark], size: int = 336) -> Layout:
    """Place a figure with its marks in a square picture of ``size`` pixels.

    Raises:
        Rejected: points are too near, a marked angle too small, or a label has no free place.
    """
    return _Placing(figure, tuple(marks), size).layout()


class _Placing:
    def __init__(self, figure: Figure, marks: tuple[m.Mark, ...], size: int) -> None:
        self.figure, self.marks, self.size = figure, marks, size
        self.out = Layout(size)
        self.font_size = max(8, round(FONT_SHARE * size))
        self.unit = size / 336  # lengths of pens and gaps are given for 336 pixels
        self.taken: list[Box] = []
        self.obstacles: list[tuple[Pixel, Pixel]] = []
        self._fit()

    def layout(self) -> Layout:
        self._refuse_near_points()
        self._draw_figure()
        self._draw_marks()
        order = (m.Angle, m.Length, m.Dimension)
        self._put_axis_numbers()
        for kind in order[:1]:
            self._put_labels(kind)
        self._put_letters()
        self._put_labels(m.Length)
        self._put_labels(m.Dimension)
        self._put_labels(m.Label)
        return self.out

    # From the figure's coordinates to pixels.

    def _fit(self) -> None:
        xs, ys = zip(*_extent(self.figure))
        width, height = max(xs) - min(xs), max(ys) - min(ys)
        room = self.size * (1 - 2 * MARGIN_SHARE)
        if self.figure.free_scale:
            self.scale = (room / width, room / height)
        else:
            self.scale = (room / max(width, height),) * 2
        self.middle = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)

    def pixel(self, where: Where) -> Pixel:
        x, y = self.figure.at(where)
        half = self.size / 2
        return (
            half + (x - self.middle[0]) * self.scale[0],
            half - (y - self.middle[1]) * self.scale[1],
        )

    # Lines.

    def _refuse_near_points(self) -> None:
        shown = [(name, self.pixel(name)) for name in self.figure.places if name in self.figure.letters]
        for index, (name, place) in enumerate(shown):
            for other, at in shown[:index]:
                if math.dist(place, at) < NEAREST_POINTS * self.size:
                    raise Rejected(f"{name} and {other} are too near")

    def _draw_figure(self) -> None:
        figure, unit = self.figure, self.unit
        self.out.areas = [tuple(self.pixel(p) for p in region.outline) for region in figure.regions]
        if figure.axes:
            self._draw_axes(figure.axes)
        for line in figure.lines:
            points = _without_straight([self.pixel(p) for p in line.points])
            self._stroke(Stroke(points, (1.2 if line.thin else 2) * unit, dashed=line.dashed))
        for arc in figure.arcs:
            self._stroke(Stroke(self._arc_pixels(arc), 2 * unit, dashed=arc.dashed))
        self.out.dots = [self.pixel(name) for name in sorted(figure.dots)]

    def _arc_pixels(self, arc: Arc) -> tuple[Pixel, ...]:
        x, y = self.figure.at(arc.center)
        steps = max(8, round((arc.end - arc.start) / 4))
        angles = (math.radians(arc.start + (arc.end - arc.start) * i / steps) for i in range(steps + 1))
        return tuple(self.pixel((x + arc.radius * math.cos(a), y + arc.radius * math.sin(a))) for a in angles)

    def _stroke(self, stroke: Stroke, mark: m.Mark | None = None) -> None:
        if mark is None:
            self.out.strokes.append(stroke)
        else:
            self.out.mark_strokes.append((mark, stroke))
        self.obstacles += zip(stroke.points, stroke.points[1:])

    def _draw_axes(self, axes: Axes) -> None:
        unit = self.unit
        if axes.grid:
            for x in _steps(axes.left, axes.right, axes.step_x):
                line = (self.pixel((x, axes.bottom)), self.pixel((x, axes.top)))
                self.out.grid.append(Stroke(line, unit, 215))
            for y in _steps(axes.bottom, axes.top, axes.step_y):
                line = (self.pixel((axes.left, y)), self.pixel((axes.right, y)))
                self.out.grid.append(Stroke(line, unit, 215))
        origin = self.pixel((0, 0))
        right, up = self.pixel((axes.right, 0)), self.pixel((0, axes.top))
        right, up = (right[0] + 14 * unit, right[1]), (up[0], up[1] - 16 * unit)
        for start, end in ((self.pixel((axes.left, 0)), right), (self.pixel((0, axes.bottom)), up)):
            self._stroke(Stroke((start, end), 1.4 * unit))
            for head in _arrow_head(start, end, 6 * unit):
                self._stroke(Stroke(head, 1.4 * unit))
        self._put_axis_text("x", (right[0] + 2 * unit, right[1] + 12 * unit), self.font_size)
        self._put_axis_text("y", (up[0] - 11 * unit, up[1] + 1 * unit), self.font_size)
        self._put_axis_text("O", (origin[0] - 8 * unit, origin[1] + 9 * unit), self._small)

    def _put_axis_numbers(self) -> None:
        axes, unit = self.figure.axes, self.unit
        if axes is None or not axes.numbers:
            return
        for x in _steps(axes.left, axes.right, axes.step_x):
            if abs(x) > 1e-9:
                place = self.pixel((x, 0))
                self._put_axis_text(_number(x), (place[0], place[1] + 10 * unit), self._small)
        for y in _steps(axes.bottom, axes.top, axes.step_y):
            if abs(y) > 1e-9:
                place, text = self.pixel((0, y)), _number(y)
                off = _text_size(text, self._small)[0] / 2 + 5 * unit
                self._put_axis_text(text, (place[0] - off, place[1]), self._small)

    # Marks.

    def _draw_marks(self) -> None:
        self.rings: dict[Pixel, list[tuple[float, float]]] = {}
        self.dimension_middles: dict[m.Mark, Pixel] = {}
        for mark in self.marks:
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

    def _rays(self, first: Where, vertex: Where, second: Where) -> tuple[Pixel, float, float]:
        """The vertex, and the two directions in degrees, counter-clockwise from the lower, within 180."""
        x, y = self.pixel(vertex)
        directions = []
        for p in (first, second):
            u, v = self.pixel(p)
            directions.append(math.degrees(math.atan2(y - v, u - x)) % 360)
        low, high = sorted(directions)
        if high - low > 180:
            low, high = high, low + 360
        if high - low < SMALLEST_ANGLE:
            raise Rejected(f"the angle at {vertex} is too small to mark")
        return (x, y), low, high

    def _draw_angle(self, mark: m.Angle) -> None:
        vertex, low, high = self._rays(mark.first, mark.vertex, mark.second)
        drawn = self.rings.setdefault(vertex, [])
        ring = sum(_overlap((low, high), other) > 1 for other in drawn)
        drawn.append((low, high))
        radius = self._angle_radius(high - low) + 6 * ring * self.unit
        reach = min(math.dist(vertex, self.pixel(p)) for p in (mark.first, mark.second))
        if radius > 0.75 * reach:
            raise Rejected(f"the sides at {mark.vertex} are too short for its arc")
        for index in range(mark.arcs):
            arc = _arc(vertex, radius + 4 * index * self.unit, low, high)
            self._stroke(Stroke(arc, 1.4 * self.unit), mark)

    def _angle_radius(self, degrees: float) -> float:
        return (20 if degrees > 55 else 26 if degrees > 30 else 34) * self.unit

    def _draw_right_angle(self, mark: m.RightAngle) -> None:
        vertex = self.pixel(mark.vertex)
        ends = [self.pixel(p) for p in (mark.first, mark.second)]
        side = 11 * self.unit
        if min(math.dist(vertex, end) for end in ends) < 1.8 * side:
            raise Rejected(f"the sides at {mark.vertex} are too short for its square")
        (a, b), (c, d) = (_towards(vertex, end, side) for end in ends)
        corner = (a + c - vertex[0], b + d - vertex[1])
        self._stroke(Stroke(((a, b), corner, (c, d)), 1.4 * self.unit), mark)

    def _draw_ticks(self, mark: m.Ticks) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        for index in range(mark.count):
            off = (index - (mark.count - 1) / 2) * 5 * self.unit
            x, y = _along(start, end, self._free_share(start, end), off)
            u, v = _normal(start, end)
            half = 6 * self.unit
            self._stroke(
                Stroke(((x - u * half, y - v * half), (x + u * half, y + v * half)), 1.4 * self.unit), mark
            )

    def _draw_arrows(self, mark: m.Arrows) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        if (end[0], -end[1]) < (start[0], -start[1]):
            start, end = end, start  # parallels point the same way
        share = self._free_share(start, end)
        for index in range(mark.count):
            tip = _along(start, end, share, (index * 7 + 4) * self.unit)
            for head in _arrow_head(start, tip, 8 * self.unit):
                self._stroke(Stroke(head, 1.6 * self.unit), mark)

    def _free_share(self, start: Pixel, end: Pixel) -> float:
        """Where along a segment there is most room from named points: for strokes and arrow heads."""
        points = [self.pixel(name) for name in self.figure.places]

        def room(share: float) -> float:
            at = _along(start, end, share, 0)
            return min((math.dist(at, p) for p in points), default=0.0)

        best = max(room(share) for share in _SHARES)
        return next(share for share in _SHARES if room(share) > 0.8 * best)

    def _draw_dimension(self, mark: m.Dimension) -> None:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        center = self._center()
        u, v = _normal(start, end)
        middle = _along(start, end, 0.5, 0)
        if (middle[0] + u - center[0]) ** 2 + (middle[1] + v - center[1]) ** 2 < (
            (middle[0] - u - center[0]) ** 2 + (middle[1] - v - center[1]) ** 2
        ):
            u, v = -u, -v
        off, half = 26 * self.unit, 4 * self.unit
        a, b = ((p[0] + u * off, p[1] + v * off) for p in (start, end))
        self._stroke(Stroke((a, b), self.unit), mark)
        for p in (a, b):
            self._stroke(
                Stroke(((p[0] - u * half, p[1] - v * half), (p[0] + u * half, p[1] + v * half)), self.unit),
                mark,
            )
        self.dimension_middles[mark] = (middle[0] + u * off, middle[1] + v * off)

    def _center(self) -> Pixel:
        points = [self.pixel(name) for name in self.figure.places] or [(self.size / 2,) * 2]
        return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)

    # Labels.

    @property
    def _small(self) -> int:
        return max(8, round(0.78 * self.font_size))

    def _put_labels(self, kind: type) -> None:
        for mark in self.marks:
            if isinstance(mark, kind) and getattr(mark, "text", ""):
                places = getattr(self, f"_places_of_{kind.__name__.lower()}")(mark)
                self._place(mark.text, places, mark)

    def _places_of_angle(self, mark: m.Angle) -> Iterator[Pixel]:
        vertex, low, high = self._rays(mark.first, mark.vertex, mark.second)
        width, height = _text_size(mark.text, self.font_size)
        start = self._angle_radius(high - low) + 4 * (mark.arcs - 1) * self.unit
        for further in range(0, 60, 3):
            for aside in (0.0, 0.12, -0.12, 0.24, -0.24):
                direction = math.radians((low + high) / 2 + aside * (high - low))
                reach = (width * abs(math.cos(direction)) + height * abs(math.sin(direction))) / 2
                distance = start + (3 + further) * self.unit + reach
                yield vertex[0] + distance * math.cos(direction), vertex[1] - distance * math.sin(direction)

    def _places_of_length(self, mark: m.Length) -> Iterator[Pixel]:
        start, end = self.pixel(mark.first), self.pixel(mark.second)
        width, height = _text_size(mark.text, self.font_size)
        u, v = _normal(start, end)
        center = self._center()
        middle = _along(start, end, 0.5, 0)
        outwards = (middle[0] - center[0]) * u + (middle[1] - center[1]) * v > 0
        sides = (1, -1) if outwards else (-1, 1)
        off = (width * abs(u) + height * abs(v)) / 2
        for gap in (4, 8, 12):
            for side in sides:
                for share in _SHARES:
                    x, y = _along(start, end, share, 0)
                    distance = side * (off + gap * self.unit)
                    yield x + u * distance, y + v * distance

    def _places_of_dimension(self, mark: m.Dimension) -> Iterator[Pixel]:
        x, y = self.dimension_middles[mark]
        width, height = _text_size(mark.text, self.font_size)
        u, v = _normal(self.pixel(mark.first), self.pixel(mark.second))
        for gap in (4, 8):
            off = (width * abs(u) + height * abs(v)) / 2 + gap * self.unit
            yield x + u * off, y + v * off
            yield x - u * off, y - v * off

    def _places_of_label(self, mark: m.Label) -> Iterator[Pixel]:
        places = [self.pixel(where) for where in (mark.at, *mark.elsewhere)]
        size = (0, 0) if mark.inside else _text_size(mark.text, self.font_size)
        for gap in range(0, 30, 5) if mark.inside else range(3, 40, 4):
            for place in places:
                yield from _around(place, size, gap * self.unit)

    def _put_letters(self) -> None:
        for name, text in self.figure.letters.items():
            place = self.pixel(name)
            size = _text_size(text, self.font_size)
            free = self._free_direction(place)
            places = []
            for gap in (3, 6, 10, 15, 20):
                places += sorted(
                    _around(place, size, gap * self.unit),
                    key=lambda p: _turn(math.atan2(place[1] - p[1], p[0] - place[0]), free),
                )
            self._place(text, places, None)

    def _free_direction(self, place: Pixel) -> float:
        """The middle of the widest angle that no line at a point enters, radians."""
        directions = set()
        for start, end in self.obstacles:
            for near, far in ((start, end), (end, start)):
                if math.dist(near, place) < 1.5 * self.unit:
                    directions.add(round(math.atan2(place[1] - far[1], far[0] - place[0]), 3))
            if _distance(place, start, end) < 1.0 and min(math.dist(place, start), math.dist(place, end)) > 1:
                for far in (start, end):
                    directions.add(round(math.atan2(place[1] - far[1], far[0] - place[0]), 3))
        if not directions:
            center = self._center()
            return math.atan2(center[1] - place[1], place[0] - center[0])
        turns = sorted(directions)
        gaps = [((b - a) % (2 * math.pi) or 2 * math.pi, a) for a, b in zip(turns, [*turns[1:], turns[0]])]
        gap, start_at = max(gaps)
        return start_at + gap / 2

    def _put_axis_text(self, text: str, center: Pixel, font_size: int) -> None:
        """A text of the axes where it belongs; lines pass behind it, other labels keep clear."""
        box = _box(center, _text_size(text, font_size))
        self.taken.append(box)
        self.out.labels.append(PlacedLabel(text, box, font_size, halo=True))

    def _place(self, text: str, places: Iterable[Pixel], mark: m.Mark | None) -> None:
        size = _text_size(text, self.font_size)
        for place in places:
            box = _box(place, size)
            if self._is_free(box):
                self.taken.append(box)
                self.out.labels.append(PlacedLabel(text, box, self.font_size, mark))
                return
        raise Rejected(f"there is no free place for {text!r}")

    def _is_free(self, box: Box) -> bool:
        left, top, right, bottom = box
        if left < 2 or top < 2 or right > self.size - 2 or bottom > self.size - 2:
            return False
        gap = 2 * self.unit
        if any(
            left - gap < b[2] and right + gap > b[0] and top - gap < b[3] and bottom + gap > b[1]
            for b in self.taken
        ):
            return False
        wide = (left - 2, top - 1, right + 2, bottom + 1)
        return not any(_crosses(wide, start, end) for start, end in self.obstacles)


_SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)


@lru_cache(maxsize=4096)
def _text_size(text: str, font_size: int) -> tuple[int, int]:
    from vkit.synthesis.typeset import typeset_size

    return typeset_size(text, width=40 * font_size, font_size=font_size)


def _extent(figure: Figure) -> Iterator[tuple[float, float]]:
    """Places that the picture must hold."""
    for line in figure.lines:
        yield from (figure.at(p) for p in line.points)
    for arc in figure.arcs:
        x, y = figure.at(arc.center)
        steps = max(4, round((arc.end - arc.start) / 10))
        for i in range(steps + 1):
            angle = math.radians(arc.start + (arc.end - arc.start) * i / steps)
            yield x + arc.radius * math.cos(angle), y + arc.radius * math.sin(angle)
    for name in {*figure.letters, *figure.dots}:
        yield figure.places[name]
    for region in figure.regions:
        yield from (figure.at(p) for p in region.outline)
    if figure.axes:
        yield figure.axes.left, figure.axes.bottom
        yield figure.axes.right, figure.axes.top


def _steps(start: float, end: float, step: float) -> Iterator[float]:
    first = math.ceil(start / step - 1e-9)
    for index in range(first, math.floor(end / step + 1e-9) + 1):
        yield index * step


def _number(value: float) -> str:
    return str(round(value)) if abs(value - round(value)) < 1e-9 else f"{value:g}"


def _arc(center: Pixel, radius: float, low: float, high: float) -> tuple[Pixel, ...]:
    steps = max(4, round((high - low) / 6))
    angles = (math.radians(low + (high - low) * i / steps) for i in range(steps + 1))
    return tuple((center[0] + radius * math.cos(a), center[1] - radius * math.sin(a)) for a in angles)


def _without_straight(points: list[Pixel]) -> tuple[Pixel, ...]:
    """A polyline without the points that lie on a straight run, to a twentieth of a pixel."""
    kept, run = [points[0]], []
    for point in points[1:]:
        if run and any(_distance(p, kept[-1], point) > 0.05 for p in run):
            kept.append(run[-1])
            run = []
        run.append(point)
    return (*kept, points[-1])


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The degrees that two angles at a vertex share."""
    return max(
        min(first[1], second[1] + turn) - max(first[0], second[0] + turn) for turn in (-360, 0, 360)
    )


def _towards(start: Pixel, end: Pixel, pixels: float) -> Pixel:
    share = pixels / math.dist(start, end)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _along(start: Pixel, end: Pixel, share: float, pixels: float) -> Pixel:
    """A place at a share of a segment, some pixels further."""
    share += pixels / math.dist(start, end)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _normal(start: Pixel, end: Pixel) -> Pixel:
    length = math.dist(start, end)
    return (end[1] - start[1]) / length, (start[0] - end[0]) / length


def _arrow_head(start: Pixel, tip: Pixel, side: float) -> Iterator[tuple[Pixel, Pixel]]:
    direction = math.atan2(start[1] - tip[1], start[0] - tip[0])
    for turn in (-0.45, 0.45):
        yield tip, (tip[0] + side * math.cos(direction + turn), tip[1] + side * math.sin(direction + turn))


def _around(place: Pixel, size: tuple[float, float], gap: float) -> list[Pixel]:
    """Centers of boxes that stand clear of a place by a gap, in sixteen directions."""
    centers = []
    for index in range(16):
        angle = 2 * math.pi * index / 16
        x, y = math.cos(angle), math.sin(angle)
        # The box's center lies on an ellipse-like path: its edge keeps the gap.
        reach = (
            gap
            + min(
                size[0] / 2 / abs(x) if abs(x) > 1e-9 else math.inf,
                size[1] / 2 / abs(y) if abs(y) > 1e-9 else math.inf,
            )
            if any(size)
            else gap
        )
        centers.append((place[0] + reach * x, place[1] - reach * y))
    return centers


def _turn(first: float, second: float) -> float:
    """How far two directions lie apart, radians, rounded so that ties are ties on every machine."""
    off = abs(first - second) % (2 * math.pi)
    return round(min(off, 2 * math.pi - off), 3)


def _box(center: Pixel, size: tuple[float, float]) -> Box:
    left, top = round(center[0] - size[0] / 2), round(center[1] - size[1] / 2)
    return left, top, left + size[0], top + size[1]


def _crosses(box: Box, start: Pixel, end: Pixel) -> bool:
    """Whether a segment enters a box (Liang and Barsky)."""
    (x, y), (u, v) = start, (end[0] - start[0], end[1] - start[1])
    enter, leave = 0.0, 1.0
    for step, before, after in ((u, box[0] - x, box[2] - x), (v, box[1] - y, box[3] - y)):
        if abs(step) < 1e-12:
            if before > 0 or after < 0:
                return False
            continue
        first, second = sorted((before / step, after / step))
        enter, leave = max(enter, first), min(leave, second)
        if enter > leave:
            return False
    return True


def _distance(place: Pixel, start: Pixel, end: Pixel) -> float:
    """From a place to a segment."""
    u, v = end[0] - start[0], end[1] - start[1]
    square = u * u + v * v
    share = (
        max(0.0, min(1.0, ((place[0] - start[0]) * u + (place[1] - start[1]) * v) / square)) if square else 0
    )
    return math.dist(place, (start[0] + share * u, start[1] + share * v))
