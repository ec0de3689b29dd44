"""Convex bodies in space, the parts that solids are made of: what they hide, and how much they hold.

    can = Round(0, 5, 12, 5)                       # a cylinder: radius 5 at height 0 and at height 12
    can.volume(), can.side()                       # 300π and 120π as floats, integrated
    can.ray((0, 0, 6), (1, 0, 0))                  # (-5.0, 5.0): where a line through a point is inside

A line of sight is inside a convex body for one interval; what lies before that interval ends is hidden.
Volumes and areas are integrated over the body's own shape: they do not repeat the formulas of the problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

Vector = tuple[float, float, float]
Interval = tuple[float, float]
Curve = Callable[[float], Vector]  # from 0 to 1
NOTHING: Interval = (math.inf, -math.inf)


@dataclass(frozen=True)
class Polyhedron:
    """A convex polyhedron: its corners, and its faces as indices of corners in turn."""

    corners: tuple[Vector, ...]
    faces: tuple[tuple[int, ...], ...]

    @cached_property
    def planes(self) -> tuple[tuple[Vector, float], ...]:
        """Each face as (unit normal outwards, its distance from the origin)."""
        middle = _mean(self.corners)
        planes = []
        for face in self.faces:
            normal = _normal([self.corners[index] for index in face])
            offset = dot(normal, self.corners[face[0]])
            if dot(normal, middle) > offset:
                normal, offset = (-normal[0], -normal[1], -normal[2]), -offset
            planes.append((normal, offset))
        return tuple(planes)

    @cached_property
    def edges(self) -> tuple[tuple[Vector, Vector], ...]:
        """Each edge once."""
        pairs = {tuple(sorted(pair)) for face in self.faces for pair in zip(face, (*face[1:], face[0]))}
        return tuple((self.corners[first], self.corners[second]) for first, second in sorted(pairs))

    def ray(self, start: Vector, direction: Vector) -> Interval:
        """The part of a line that is inside, as multiples of ``direction`` from ``start``."""
        low, high = -math.inf, math.inf
        for normal, offset in self.planes:
            speed, room = dot(normal, direction), offset - dot(normal, start)
            if abs(speed) < 1e-12:
                if room < 1e-9:
                    return NOTHING
            elif speed > 0:
                high = min(high, room / speed)
            else:
                low = max(low, room / speed)
        return low, high

    def volume(self) -> float:
        """Cones from the middle to every face."""
        middle = _mean(self.corners)
        return sum(
            area * (offset - dot(normal, middle)) / 3
            for (normal, offset), area in zip(self.planes, self.areas())
        )

    def areas(self) -> list[float]:
        """The area of every face."""
        return [_norm(_cross_sum([self.corners[i] for i in face])) / 2 for face in self.faces]


@dataclass(frozen=True)
class Round:
    """An upright cylinder, cone or frustum: its radius changes evenly from one height to the other."""

    low: float
    low_radius: float
    high: float
    high_radius: float
    axis: tuple[float, float] = (0.0, 0.0)

    def radius(self, z: float) -> float:
        """The radius at a height."""
        share = (z - self.low) / (self.high - self.low)
        return self.low_radius + share * (self.high_radius - self.low_radius)

    def ray(self, start: Vector, direction: Vector) -> Interval:
        """The part of a line that is inside, as multiples of ``direction`` from ``start``."""
        low, high = _slab(start, direction, self.low, self.high)
        if low >= high:
            return NOTHING
        slope = (self.high_radius - self.low_radius) / (self.high - self.low)
        x, y, r = start[0] - self.axis[0], start[1] - self.axis[1], self.radius(start[2])
        u, v, w = direction[0], direction[1], slope * direction[2]
        a, b, c = u * u + v * v - w * w, x * u + y * v - r * w, x * x + y * y - r * r
        if abs(a) < 1e-12:
            parts = [NOTHING] if abs(b) < 1e-12 else [_half_line(-c / (2 * b), b < 0)]
        elif b * b - a * c <= 0:
            parts = [NOTHING] if a > 0 else [(-math.inf, math.inf)]
        else:
            root = math.sqrt(b * b - a * c)
            first, second = sorted(((-b - root) / a, (-b + root) / a))
            # A steep line is inside both halves of the double cone; the slab holds one of them.
            parts = [(first, second)] if a > 0 else [(-math.inf, first), (second, math.inf)]
        clipped = [(max(low, begin), min(high, end)) for begin, end in parts]
        return max(clipped, key=lambda part: part[1] - part[0])

    def volume(self) -> float:
        """Its discs, summed."""
        return integral(lambda z: math.pi * self.radius(z) ** 2, self.low, self.high)

    def side(self) -> float:
        """The area of its curved surface."""
        slope = (self.high_radius - self.low_radius) / (self.high - self.low)
        return integral(
            lambda z: 2 * math.pi * self.radius(z) * math.sqrt(1 + slope * slope), self.low, self.high
        )


@dataclass(frozen=True)
class Ball:
    """A ball around a place on an upright axis, or the part of it between two heights."""

    center: Vector
    size: float
    low: float
    high: float

    def radius(self, z: float) -> float:
        """The radius at a height."""
        return math.sqrt(max(0.0, self.size**2 - (z - self.center[2]) ** 2))

    def ray(self, start: Vector, direction: Vector) -> Interval:
        """The part of a line that is inside, as multiples of ``direction`` from ``start``."""
        low, high = _slab(start, direction, self.low, self.high)
        off = subtract(start, self.center)
        a, b, c = dot(direction, direction), dot(off, direction), dot(off, off) - self.size**2
        if b * b - a * c <= 0 or low >= high:
            return NOTHING
        root = math.sqrt(b * b - a * c)
        return max(low, (-b - root) / a), min(high, (-b + root) / a)

    def volume(self) -> float:
        """Its discs, summed."""
        return integral(lambda z: math.pi * self.radius(z) ** 2, self.low, self.high)

    def side(self) -> float:
        """The area of its curved surface: rings of the sphere, by the angle from its pole."""
        first, second = (math.acos((z - self.center[2]) / self.size) for z in (self.high, self.low))
        return integral(lambda a: 2 * math.pi * self.size**2 * math.sin(a), first, second)


Body = Polyhedron | Round | Ball


def integral(f: Callable[[float], float], start: float, end: float) -> float:
    """Simpson's rule over 200 parts."""
    step = (end - start) / 400
    inner = sum((4 if index % 2 else 2) * f(start + index * step) for index in range(1, 400))
    return (f(start) + inner + f(end)) * step / 3


def box(length: float, width: float, height: float, corner: Vector = (0.0, 0.0, 0.0)) -> Polyhedron:
    """A box along the axes. Corners 0 to 3 go around the bottom from the front left, 4 to 7 stand on them."""
    return prism(((0, 0), (length, 0), (length, width), (0, width)), height, corner)


def prism(base: Sequence[tuple[float, float]], height: float, corner: Vector = (0.0, 0.0, 0.0)) -> Polyhedron:
    """An upright prism on a convex polygon; the top's corners follow the bottom's."""
    count, (x, y, z) = len(base), corner
    corners = [(x + u, y + v, z + w) for w in (0.0, float(height)) for u, v in base]
    sides = [(i, (i + 1) % count, (i + 1) % count + count, i + count) for i in range(count)]
    return Polyhedron(tuple(corners), (tuple(range(count)), tuple(range(count, 2 * count)), *sides))


def lying_prism(profile: Sequence[tuple[float, float]], depth: float) -> Polyhedron:
    """A prism whose convex end (x, z) stands in front; the corners of the back end follow the front's."""
    count = len(profile)
    corners = [(float(x), y, float(z)) for y in (0.0, float(depth)) for x, z in profile]
    sides = [(i, (i + 1) % count, (i + 1) % count + count, i + count) for i in range(count)]
    return Polyhedron(tuple(corners), (tuple(range(count)), tuple(range(count, 2 * count)), *sides))


def pyramid(base: Sequence[tuple[float, float]], apex: Vector, z: float = 0.0) -> Polyhedron:
    """A pyramid on a convex polygon at a height; its apex is the last corner."""
    count = len(base)
    corners = (*((float(x), float(y), float(z)) for x, y in base), apex)
    return Polyhedron(corners, (tuple(range(count)), *((i, (i + 1) % count, count) for i in range(count))))


def dot(first: Sequence[float], second: Sequence[float]) -> float:
    """The scalar product."""
    return sum(a * b for a, b in zip(first, second))


def subtract(first: Vector, second: Vector) -> Vector:
    """From the second place to the first."""
    return first[0] - second[0], first[1] - second[1], first[2] - second[2]


def _slab(start: Vector, direction: Vector, low: float, high: float) -> Interval:
    if abs(direction[2]) < 1e-12:
        return (-math.inf, math.inf) if low < start[2] < high else NOTHING
    first, second = sorted(((low - start[2]) / direction[2], (high - start[2]) / direction[2]))
    return first, second


def _half_line(at: float, upwards: bool) -> Interval:
    return (at, math.inf) if upwards else (-math.inf, at)


def _mean(places: Sequence[Vector]) -> Vector:
    x, y, z = (sum(place[axis] for place in places) / len(places) for axis in range(3))
    return x, y, z


def _cross_sum(places: Sequence[Vector]) -> Vector:
    """Twice the area of a plane polygon, as a vector along its normal."""
    total = [0.0, 0.0, 0.0]
    for first, second in pairwise(places[1:]):
        u, v = subtract(first, places[0]), subtract(second, places[0])
        total[0] += u[1] * v[2] - u[2] * v[1]
        total[1] += u[2] * v[0] - u[0] * v[2]
        total[2] += u[0] * v[1] - u[1] * v[0]
    return total[0], total[1], total[2]


def _normal(places: Sequence[Vector]) -> Vector:
    x, y, z = _cross_sum(places)
    size = _norm((x, y, z))
    return x / size, y / size, z / size


def _norm(vector: Vector) -> float:
    return math.sqrt(dot(vector, vector))
