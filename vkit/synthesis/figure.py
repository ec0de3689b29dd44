"""A figure in its own coordinates: what a problem's picture shows, measurable before it is drawn.

    figure = Figure()
    figure.point("A", 0, 0), figure.point("B", 4, 0), figure.point("C", 4, 3)
    figure.polygon("A", "B", "C")
    figure.length("A", "C")            # 5.0
    figure.angle("A", "B", "C")        # 90.0 degrees

The figure holds lines and letters only. Values stand in marks (`vkit.synthesis.marks`), so that the same
figure is drawn with them and without. y points upwards. A solid's points lie in space and are projected; what
is measured of them is measured in space. A function's figure has axes and may scale x and y differently.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Point = tuple[float, ...]
Where = str | tuple[float, float]  # a named point, or a place


class Rejected(Exception):
    """This drawing or these numbers are no good problem; the family draws again."""


@dataclass(frozen=True)
class Line:
    """A polyline through places or named points."""

    points: tuple[Where, ...]
    dashed: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Arc:
    """A part of a circle, counter-clockwise from ``start`` to ``end`` degrees."""

    center: Where
    radius: float
    start: float = 0.0
    end: float = 360.0
    dashed: bool = False


@dataclass(frozen=True)
class Region:
    """A shaded area within an outline of places or named points."""

    outline: tuple[Where, ...]


@dataclass(frozen=True)
class Axes:
    """Coordinate axes over a window; ``step_x`` and ``step_y`` lie between ticks with numbers."""

    left: float
    right: float
    bottom: float
    top: float
    step_x: float = 1.0
    step_y: float = 1.0
    grid: bool = True
    numbers: bool = True


@dataclass
class Figure:
    """Points, lines, circles, curves and axes.

    free_scale: x and y are scaled apart to fill the picture (graphs only: angles are not kept).
    project: from space to the plane, for solids.
    places: where each point is drawn; space: where a solid's points are; letters: the names that are shown;
    dots: the points drawn as dots; circles: radius and center by name; functions: y by x, by name.
    """

    free_scale: bool = False
    project: Callable[[Point], tuple[float, float]] | None = None
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    space: dict[str, Point] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    dots: set[str] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    arcs: list[Arc] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    circles: dict[str, tuple[str, float]] = field(default_factory=dict)
    functions: dict[str, Callable[[float], float]] = field(default_factory=dict)
    axes: Axes | None = None

    # Building: each adds one thing.

    def point(self, name: str, *at: float, letter: str | bool = True, dot: bool = False) -> str:
        """A named point, in the plane (x, y) or in space (x, y, z); returns its name.

        letter: what is written beside it: its name (True), nothing (False) or another text.
        """
        if len(at) == 3:
            if self.project is None:
                raise ValueError(f"point {name!r} lies in space: give the figure a projection")
            self.space[name] = tuple(float(value) for value in at)
            self.places[name] = self.project(self.space[name])
        else:
            self.places[name] = (float(at[0]), float(at[1]))
        if letter:
            self.letters[name] = name if letter is True else letter
        if dot:
            self.dots.add(name)
        return name

    def segment(self, *points: Where, dashed: bool = False, thin: bool = False) -> None:
        """A line through two or more points."""
        self.lines.append(Line(points, dashed, thin))

    def polygon(self, *points: Where, dashed: bool = False) -> None:
        """A closed line."""
        self.lines.append(Line((*points, points[0]), dashed))

    def circle(self, center: str, radius: float, name: str = "circle") -> None:
        """A whole circle around a named point; ``name`` is for measuring only."""
        self.circles[name] = (center, float(radius))
        self.arcs.append(Arc(center, float(radius)))

    def arc(self, center: Where, radius: float, start: float, end: float, *, dashed: bool = False) -> None:
        """A part of a circle, counter-clockwise, in degrees."""
        self.arcs.append(Arc(center, float(radius), start, end, dashed))

    def ellipse(
        self,
        center: tuple[float, float],
        radius_x: float,
        radius_y: float,
        start: float = 0.0,
        end: float = 360.0,
        *,
        dashed: bool = False,
    ) -> None:
        """A part of an ellipse with level axes (a solid's circle seen aslant), in degrees of its circle."""
        steps = max(8, round(abs(end - start) / 5))
        angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
        points = tuple(
            (center[0] + radius_x * math.cos(a), center[1] + radius_y * math.sin(a)) for a in angles
        )
        self.lines.append(Line(points, dashed))

    def function(
        self, name: str, f: Callable[[float], float], start: float, end: float, *, dashed: bool = False
    ) -> None:
        """The graph of ``f`` over an interval; clipped to the axes' window where there are axes."""
        self.functions[name] = f
        xs = [start + (end - start) * i / 160 for i in range(161)]
        run: list[Where] = []
        for x in xs:
            y = f(x)
            if self.axes is None or self.axes.bottom <= y <= self.axes.top:
                run.append((x, y))
            else:
                if len(run) > 1:
                    self.lines.append(Line(tuple(run), dashed))
                run = []
        if len(run) > 1:
            self.lines.append(Line(tuple(run), dashed))

    def shade(self, *outline: Where) -> None:
        """A shaded region within an outline."""
        self.regions.append(Region(outline))

    def sector_outline(self, center: Where, radius: float, start: float, end: float) -> list[Where]:
        """The outline of a sector for `shade`: the center, then along its arc."""
        x, y = self.at(center)
        steps = max(4, round(abs(end - start) / 4))
        angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
        return [(x, y), *((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)]

    def turn(self, degrees: float, *, mirror: bool = False) -> None:
        """Turn the whole figure around the origin, after mirroring it left to right where asked.

        For figures of named points, circles and arcs around them; not for solids, graphs or bare places.
        """
        if self.space or self.functions or self.axes or self.regions:
            raise ValueError("only plane figures without shading, graphs or axes are turned")
        angle = math.radians(degrees)
        for name, (x, y) in self.places.items():
            x = -x if mirror else x
            self.places[name] = (
                x * math.cos(angle) - y * math.sin(angle),
                x * math.sin(angle) + y * math.cos(angle),
            )
        self.arcs = [
            Arc(
                arc.center,
                arc.radius,
                (180 - arc.end if mirror else arc.start) + degrees,
                (180 - arc.start if mirror else arc.end) + degrees,
                arc.dashed,
            )
            for arc in self.arcs
        ]

    # Measuring: in space where the points lie there, else in the plane.

    def at(self, where: Where) -> tuple[float, float]:
        """Where something is drawn."""
        return self.places[where] if isinstance(where, str) else where

    def real(self, where: Where) -> Point:
        """Where something truly is: in space for a solid's points."""
        return self.space[where] if isinstance(where, str) and where in self.space else self.at(where)

    def length(self, first: Where, second: Where) -> float:
        """The distance of two points."""
        return math.dist(self.real(first), self.real(second))

    def angle(self, first: Where, vertex: Where, second: Where) -> float:
        """The angle at ``vertex``, 0 to 180 degrees."""
        u, v = self.vector(vertex, first), self.vector(vertex, second)
        return math.degrees(math.acos(max(-1.0, min(1.0, _dot(u, v) / (_norm(u) * _norm(v))))))

    def angle_of_lines(self, first: tuple[Where, Where], second: tuple[Where, Where]) -> float:
        """The angle between two lines, 0 to 90 degrees: 0 where they are parallel, 90 perpendicular."""
        u, v = self.vector(*first), self.vector(*second)
        return math.degrees(math.acos(min(1.0, abs(_dot(u, v)) / (_norm(u) * _norm(v)))))

    def distance_to_line(self, point: Where, start: Where, end: Where) -> float:
        """How far a point lies from the line through two others."""
        u, v = self.vector(start, end), self.vector(start, point)
        along = _dot(u, v) / _dot(u, u)
        return _norm(tuple(b - along * a for a, b in zip(u, v)))

    def area(self, *points: Where) -> float:
        """The area of a plane polygon, wherever it lies."""
        origin = self.real(points[0])
        total = [0.0, 0.0, 0.0]
        for first, second in itertools.pairwise(points[1:]):
            u = [b - a for a, b in zip(origin, self.real(first))]
            v = [b - a for a, b in zip(origin, self.real(second))]
            u, v = [*u, 0.0][:3], [*v, 0.0][:3]
            total[0] += u[1] * v[2] - u[2] * v[1]
            total[1] += u[2] * v[0] - u[0] * v[2]
            total[2] += u[0] * v[1] - u[1] * v[0]
        return _norm(total) / 2

    def vector(self, start: Where, end: Where) -> Point:
        """From one point to another."""
        return tuple(b - a for a, b in zip(self.real(start), self.real(end)))


def _dot(u: Sequence[float], v: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(u, v))


def _norm(u: Sequence[float]) -> float:
    return math.sqrt(_dot(u, u))
