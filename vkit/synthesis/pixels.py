"""Plane geometry in a picture's pixels: y points down, angles are counter-clockwise as readers see them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

Pixel = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def on_circle(center: Pixel, radius: float, degrees: float) -> Pixel:
    """The place on a circle in a direction."""
    angle = math.radians(degrees)
    return center[0] + radius * math.cos(angle), center[1] - radius * math.sin(angle)


def arc(center: Pixel, radius: float, low: float, high: float, step: float = 6.0) -> tuple[Pixel, ...]:
    """A polyline along a circle, from one direction to another in degrees."""
    count = max(4, round((high - low) / step))
    return tuple(on_circle(center, radius, low + (high - low) * i / count) for i in range(count + 1))


def direction(start: Pixel, end: Pixel) -> float:
    """Degrees from one place to another, 0 to 360."""
    return math.degrees(math.atan2(start[1] - end[1], end[0] - start[0])) % 360


def turn_between(first: float, second: float) -> float:
    """How far two directions lie apart, degrees, rounded so that ties are ties on every machine."""
    off = abs(first - second) % 360
    return round(min(off, 360 - off), 2)


def shared_turn(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The degrees that two angles at a vertex share; negative where they share none."""
    return max(
        min(first[1], second[1] + turn) - max(first[0], second[0] + turn) for turn in (-360.0, 0.0, 360.0)
    )


def along(start: Pixel, end: Pixel, share: float, pixels: float = 0.0) -> Pixel:
    """A place at a share of a segment, some pixels further on."""
    share += pixels / math.dist(start, end)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def normal(start: Pixel, end: Pixel) -> Pixel:
    """The unit vector across a segment."""
    length = math.dist(start, end)
    return (end[1] - start[1]) / length, (start[0] - end[0]) / length


def moved(place: Pixel, by: Pixel, pixels: float) -> Pixel:
    """A place moved along a unit vector."""
    return place[0] + by[0] * pixels, place[1] + by[1] * pixels


def arrow_head(start: Pixel, tip: Pixel, side: float) -> Iterator[tuple[Pixel, Pixel]]:
    """The two strokes of an arrow head at ``tip``."""
    back = direction(tip, start)
    for turn in (-26.0, 26.0):
        yield tip, on_circle(tip, side, back + turn)


def around(place: Pixel, size: tuple[float, float], gap: float) -> list[Pixel]:
    """Centers of boxes of a size that keep a gap to a place, in sixteen directions."""
    centers = []
    for index in range(16):
        angle = 2 * math.pi * index / 16
        x, y = abs(math.cos(angle)), abs(math.sin(angle))
        edge = min(size[0] / 2 / x if x > 1e-9 else math.inf, size[1] / 2 / y if y > 1e-9 else math.inf)
        centers.append(on_circle(place, gap + edge, 22.5 * index))
    return centers


def box_around(center: Pixel, size: tuple[float, float]) -> Box:
    """The box of a size around a center, on whole pixels."""
    left, top = round(center[0] - size[0] / 2), round(center[1] - size[1] / 2)
    return left, top, left + size[0], top + size[1]


def grown(box: Box, x: float, y: float) -> Box:
    """A box with a margin."""
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def border(box: Box) -> list[Pixel]:
    """The corners of a box and the middles of its sides."""
    left, top, right, bottom = box
    xs, ys = (left, (left + right) / 2, right), (top, (top + bottom) / 2, bottom)
    return [(x, y) for x in xs for y in ys if (x, y) != (xs[1], ys[1])]


def boxes_overlap(first: Box, second: Box) -> bool:
    """Whether two boxes share an area."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def crosses(box: Box, start: Pixel, end: Pixel) -> bool:
    """Whether a segment enters a box (Liang and Barsky's clipping)."""
    left, top, right, bottom = box
    (x, y), (p, q) = start, end
    if (x < left and p < left) or (x > right and p > right) or (y < top and q < top) or (y > bottom < q):
        return False  # all of it lies on one side, as nearly always
    u, v = p - x, q - y
    enter, leave = 0.0, 1.0
    for step, before, after in ((u, left - x, right - x), (v, top - y, bottom - y)):
        if abs(step) < 1e-12:
            if before > 0 or after < 0:
                return False
            continue
        first, second = sorted((before / step, after / step))
        enter, leave = max(enter, first), min(leave, second)
        if enter > leave:
            return False
    return True


def nearest_on_segment(place: Pixel, start: Pixel, end: Pixel) -> Pixel:
    """The place of a segment that is nearest to another place."""
    u, v = end[0] - start[0], end[1] - start[1]
    square = u * u + v * v
    share = ((place[0] - start[0]) * u + (place[1] - start[1]) * v) / square if square else 0.0
    share = max(0.0, min(1.0, share))
    return start[0] + share * u, start[1] + share * v


def distance_to_segment(place: Pixel, start: Pixel, end: Pixel) -> float:
    """From a place to the nearest one of a segment."""
    return math.dist(place, nearest_on_segment(place, start, end))


def segments_cross(a: Pixel, b: Pixel, c: Pixel, d: Pixel) -> bool:
    """Whether two segments cross in their insides.

    >>> segments_cross((0, 0), (2, 2), (0, 2), (2, 0)), segments_cross((0, 0), (1, 0), (0, 1), (1, 1))
    (True, False)
    """

    def side(p: Pixel, q: Pixel, r: Pixel) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def without_straight(points: list[Pixel]) -> tuple[Pixel, ...]:
    """A polyline without the points that lie on a straight run, to a twentieth of a pixel."""
    kept = [points[0]]
    run: list[Pixel] = []
    for point in points[1:]:
        # On a smooth run the middle is furthest off; at a corner the last point is.
        checked = (run[len(run) // 2], run[-1]) if run else ()
        if any(distance_to_segment(p, kept[-1], point) > 0.05 for p in checked):
            kept.append(run[-1])
            run = []
        run.append(point)
    return (*kept, points[-1])


def segments(points: tuple[Pixel, ...]) -> Iterator[tuple[Pixel, Pixel]]:
    """The segments of a polyline."""
    return itertools.pairwise(points)
