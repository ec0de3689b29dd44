"""What a fact of a problem claims of its figure, and the check that measures it.

    claim = IsLength("A", "B", 5)
    claim.wrong(figure)        # None, or "AB is 4.2 in the figure and 5 in the problem"

Figures are drawn to scale: lengths are the figure's own units. Exact values are compared as floats, to one
part in a million.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from vkit.synthesis.exact import Exact, as_float, show
from vkit.synthesis.figure import Figure, Where

TOLERANCE = 1e-6


class Claim(Protocol):
    """Something that is true of a figure, or not."""

    def wrong(self, figure: Figure) -> str | None:
        """What is wrong, in one line, or None where the claim holds."""


@dataclass(frozen=True)
class IsLength:
    """The distance of two points."""

    first: Where
    second: Where
    value: Exact

    def wrong(self, figure: Figure) -> str | None:
        return _unequal(f"{self.first}{self.second}", figure.length(self.first, self.second), self.value)


@dataclass(frozen=True)
class IsAngle:
    """The angle at ``vertex``, in degrees, up to 180."""

    first: Where
    vertex: Where
    second: Where
    degrees: Exact

    def wrong(self, figure: Figure) -> str | None:
        name = f"angle {self.first}{self.vertex}{self.second}"
        return _unequal(name, figure.angle(self.first, self.vertex, self.second), self.degrees)


@dataclass(frozen=True)
class AreEqualAngles:
    """Two angles, each three points with the vertex in the middle, have the same size."""

    first: tuple[Where, Where, Where]
    second: tuple[Where, Where, Where]

    def wrong(self, figure: Figure) -> str | None:
        angles = figure.angle(*self.first), figure.angle(*self.second)
        return None if _close(*angles) else f"{self.first} and {self.second} measure {angles} degrees"


@dataclass(frozen=True)
class AreEqual:
    """Two segments have the same length."""

    first: tuple[Where, Where]
    second: tuple[Where, Where]

    def wrong(self, figure: Figure) -> str | None:
        lengths = figure.length(*self.first), figure.length(*self.second)
        return None if _close(*lengths) else f"{self.first} and {self.second} measure {lengths}"


@dataclass(frozen=True)
class AreParallel:
    """Two lines are parallel."""

    first: tuple[Where, Where]
    second: tuple[Where, Where]

    def wrong(self, figure: Figure) -> str | None:
        angle = figure.angle_of_lines(self.first, self.second)
        return None if angle < 1e-4 else f"{self.first} and {self.second} meet at {angle:.4f} degrees"


@dataclass(frozen=True)
class ArePerpendicular:
    """Two lines are perpendicular."""

    first: tuple[Where, Where]
    second: tuple[Where, Where]

    def wrong(self, figure: Figure) -> str | None:
        angle = figure.angle_of_lines(self.first, self.second)
        return None if angle > 90 - 1e-4 else f"{self.first} and {self.second} meet at {angle:.4f} degrees"


@dataclass(frozen=True)
class IsOnLine:
    """A point lies on a line; ``between``: and between its two points."""

    point: Where
    start: Where
    end: Where
    between: bool = True

    def wrong(self, figure: Figure) -> str | None:
        size = figure.length(self.start, self.end)
        if figure.distance_to_line(self.point, self.start, self.end) > TOLERANCE * size:
            return f"{self.point} is not on the line {self.start}{self.end}"
        parts = figure.length(self.start, self.point) + figure.length(self.point, self.end)
        if self.between and not _close(parts, size):
            return f"{self.point} is not between {self.start} and {self.end}"
        return None


@dataclass(frozen=True)
class IsOnCircle:
    """A point lies on a circle."""

    point: Where
    circle: str = "circle"

    def wrong(self, figure: Figure) -> str | None:
        center, radius = figure.circles[self.circle]
        distance = figure.length(center, self.point)
        return None if _close(distance, radius) else f"{self.point} is {distance:.4f} from {center}"


@dataclass(frozen=True)
class IsRadius:
    """The radius of a circle."""

    value: Exact
    circle: str = "circle"

    def wrong(self, figure: Figure) -> str | None:
        return _unequal(f"the radius of {self.circle}", figure.circles[self.circle][1], self.value)


@dataclass(frozen=True)
class IsTangent:
    """A line touches a circle at a point."""

    at: Where
    other: Where
    circle: str = "circle"

    def wrong(self, figure: Figure) -> str | None:
        center, radius = figure.circles[self.circle]
        off = figure.length(center, self.at)
        if not _close(off, radius):
            return f"{self.at} is {off:.4f} from {center}, not on the circle"
        return ArePerpendicular((center, self.at), (self.at, self.other)).wrong(figure)


@dataclass(frozen=True)
class IsArea:
    """The area of a polygon."""

    points: tuple[Where, ...]
    value: Exact

    def wrong(self, figure: Figure) -> str | None:
        return _unequal(f"the area of {self.points}", figure.area(*self.points), self.value)


@dataclass(frozen=True)
class IsOnGraph:
    """A point (x, y) lies on the graph of a function of the figure."""

    function: str
    x: Exact
    y: Exact

    def wrong(self, figure: Figure) -> str | None:
        measured = figure.functions[self.function](as_float(self.x))
        return _unequal(f"{self.function}({show(self.x)})", measured, self.y)


def _unequal(name: str, measured: float, value: Exact) -> str | None:
    if _close(measured, as_float(value)):
        return None
    return f"{name} is {measured:.6g} in the figure and {show(value)} in the problem"


def _close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
