"""Draws solids as textbooks do: a parallel projection, circles as ellipses, what the solid hides dashed.

    figure = Solid.seen(upright(rng))
    figure.add(Round(0, 5, 12, 5))
    figure.point("O", 0, 0, 0)
    figure.point("A", 5, 0, 0)
    figure.line("O", "A")                # dashed: it lies on the bottom
    figure.draw()

A solid is a union of convex bodies. Every curve is cut where its visibility changes, found from the bodies in
space; nothing is hidden or shown by hand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vkit.synthesis.figure import Figure, Rejected, Where
from vkit.synthesis.solid.bodies import Ball, Body, Curve, Polyhedron, Round, Vector, dot

Place = tuple[float, float]

NEAREST_CORNERS = 0.06  # share of the drawing's larger side
NEAREST_EDGE = 0.03
LINE_PIECES, CURVE_PIECES = 24, 48  # in which visibility is looked for; where it changes is then bisected


@dataclass(frozen=True)
class View:
    """A parallel projection: what lies to the right, upwards, and towards the reader."""

    right: Vector
    up: Vector
    toward: Vector

    def project(self, place: Sequence[float]) -> tuple[float, float]:
        """Where a place in space is drawn."""
        return dot(self.right, place), dot(self.up, place)

    def rolled(self, degrees: float) -> View:
        """The same view with the page turned, counter-clockwise: solids that lie on their side."""
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        right = tuple(c * r - s * u for r, u in zip(self.right, self.up))
        up = tuple(s * r + c * u for r, u in zip(self.right, self.up))
        return View(right, up, self.toward)  # type: ignore[arg-type]


def cabinet(degrees: float = 45.0, depth: float = 0.5) -> View:
    """The front true to scale, depth aslant and shortened; more than 90 degrees: seen from the left."""
    x, z = depth * math.cos(math.radians(degrees)), depth * math.sin(math.radians(degrees))
    return View((1.0, x, 0.0), (0.0, z, 1.0), (x, -1.0, z))


def axonometric(turn: float, elevation: float) -> View:
    """Turned around the upright axis and seen from above (negative: from below), in degrees."""
    t, e = math.radians(turn), math.radians(elevation)
    return View(
        (math.cos(t), math.sin(t), 0.0),
        (-math.sin(t) * math.sin(e), math.cos(t) * math.sin(e), math.cos(e)),
        (math.sin(t) * math.cos(e), -math.cos(t) * math.cos(e), math.sin(e)),
    )


def boxlike(rng: random.Random) -> View:
    """A view for solids with a front: mostly cabinet, from the right or from the left."""
    if rng.random() < 0.6:
        degrees = rng.choice((30, 35, 40, 45, 50))
        return cabinet(degrees if rng.random() < 0.7 else 180 - degrees, rng.choice((0.45, 0.5, 0.55)))
    return cornered(rng)


def cornered(rng: random.Random) -> View:
    """A view over a corner, from above."""
    return axonometric(rng.choice((-1, 1)) * rng.uniform(18, 38), rng.uniform(14, 26))


def upright(rng: random.Random, *, lying: bool = True) -> View:
    """A view for round solids: mostly upright, sometimes on the side or upside down."""
    elevation = rng.uniform(13, 23)
    kind = rng.random()
    if kind < 0.7 or not lying:
        return axonometric(0, elevation)
    if kind < 0.8:
        return axonometric(0, -elevation).rolled(180)
    return axonometric(0, rng.choice((-1, 1)) * elevation).rolled(rng.choice((-90, 90)))


@dataclass
class Solid(Figure):
    """A figure in space. ``bodies`` make the solid; ``holes`` are drawn within it and hide nothing.

    whole: the bodies all of whose edges are drawn. curves: what is drawn, with the number of pieces in which
    its visibility is looked for. inner: the ends of the straight lines added by name.
    """

    view: View = field(default_factory=cabinet)
    bodies: list[Body] = field(default_factory=list)
    holes: list[Body] = field(default_factory=list)
    whole: list[Body] = field(default_factory=list)
    curves: list[tuple[Curve, int]] = field(default_factory=list)
    inner: list[tuple[Vector, Vector]] = field(default_factory=list)

    @classmethod
    def seen(cls, view: View) -> Solid:
        """An empty figure seen in a view."""
        return cls(project=view.project, view=view)

    def add(
        self,
        body: Body,
        *,
        hole: bool = False,
        bottom: bool = True,
        top: bool = True,
        edges: bool = True,
    ) -> None:
        """A part of the solid; ``bottom``, ``top``, ``edges``: whether those lines of it are drawn."""
        (self.holes if hole else self.bodies).append(body)
        if isinstance(body, Polyhedron):
            if edges:
                self.whole.append(body)
                self.curves += [(_straight(*edge), LINE_PIECES) for edge in body.edges]
            return
        self.curves += [
            (curve, CURVE_PIECES if isinstance(body, Ball) else LINE_PIECES)
            for curve in self._silhouette(body)
        ]
        for z, drawn in ((body.low, bottom), (body.high, top)):
            if drawn and body.radius(z) > 1e-9 * (body.high - body.low):
                self.ring(z, body.radius(z), _axis(body))

    def ring(self, z: float, radius: float, axis: tuple[float, float] = (0.0, 0.0)) -> None:
        """A level circle."""
        # It starts beside the reader's left, so that the seam is no end of a hidden part.
        start = math.atan2(self.view.toward[1], self.view.toward[0])
        self.curves.append((_circle((axis[0], axis[1], z), radius, start), CURVE_PIECES))

    def disc(self, z: float, radius: float) -> list[Where]:
        """The outline of a level disc around the axis, for shading."""
        angles = (math.radians(degrees) for degrees in range(0, 360, 6))
        return [self.view.project((radius * math.cos(a), radius * math.sin(a), z)) for a in angles]

    def line(self, *names: str) -> None:
        """A line through named points, dashed where it is hidden."""
        for first, second in pairwise(names):
            u, v = self.space[first], self.space[second]
            ends = (u[0], u[1], u[2]), (v[0], v[1], v[2])
            self.inner.append(ends)
            self.curves.append((_straight(*ends), LINE_PIECES))

    def corners(self, names: Sequence[str], body: Polyhedron, *, letters: bool = True) -> None:
        """Names for the corners of a polyhedron, in its order."""
        for name, place in zip(names, body.corners):
            self.point(name, *place, letter=letters)

    def rim(
        self, name: str, body: Round, *, right: bool = True, top: bool = False, letter: bool = True
    ) -> str:
        """A named point of a rim on the outline of a round body, on the right or the left of its axis."""
        ends = [curve(1.0 if top else 0.0) for curve in self._silhouette(body)]
        # Which end is to the right of the body's own axis, however the page is turned.
        ends.sort(key=lambda place: place[0] * -self.view.toward[1] + place[1] * self.view.toward[0])
        return self.point(name, *ends[1 if right else 0], letter=letter)

    def beside(self, name: str, z: float, *, right: bool = False) -> str:
        """A point at a height, left or right of the bodies: an end for a dimension line."""
        x, y, _ = self.view.right
        reaches = [
            self.view.project(place)[0]
            for body in self.bodies
            for place in (body.corners if isinstance(body, Polyhedron) else _sides(body, (x, y)))
        ]
        reach = (max(reaches) if right else min(reaches)) / (x * x + y * y)
        return self.point(name, reach * x, reach * y, z, letter=False)

    def spread(self, names: Sequence[str]) -> None:
        """Refuse a view in which two of the named points fall upon one another.

        Raises:
            Rejected: they do.
        """
        places = [self.places[name] for name in names]
        size = max(math.dist(first, second) for first in places for second in places)
        for index, place in enumerate(places):
            if any(math.dist(place, other) < 0.7 * NEAREST_CORNERS * size for other in places[:index]):
                raise Rejected("two corners fall upon one another in this view")

    def draw(self) -> None:
        """Draw all curves, dashed where a body hides them.

        Raises:
            Rejected: corners or edges fall upon one another in this view.
        """
        self._refuse_coincidences()
        for curve, pieces in self.curves:
            alone = pieces == LINE_PIECES and len(self.bodies) == 1
            for points, hidden in self._runs(curve, 1 if alone else pieces):
                self.segment(*points, dashed=hidden)

    def is_hidden(self, place: Vector) -> bool:
        """Whether a body stands between a place and the reader."""
        size = max(abs(part) for part in place) + 1.0
        for body in self.bodies:
            low, high = body.ray(place, self.view.toward)
            if high - max(low, 0.0) > 1e-6 * size:
                return True
        return False

    def _runs(self, curve: Curve, pieces: int) -> list[tuple[list[tuple[float, float]], bool]]:
        """The curve cut where its visibility changes: places on the page, and whether they are hidden."""
        middles = [(index + 0.5) / pieces for index in range(pieces)]
        hidden = [self.is_hidden(curve(t)) for t in middles]
        changes = [i for i in range(1, pieces) if hidden[i] != hidden[i - 1]]
        cuts = [0.0, *(self._change(curve, middles[i - 1], middles[i]) for i in changes), 1.0]
        runs = []
        for start, end, first in zip(cuts, cuts[1:], [0, *changes]):
            inner = [i / pieces for i in range(1, pieces) if start < i / pieces < end]
            runs.append(([self.view.project(curve(t)) for t in (start, *inner, end)], hidden[first]))
        return runs

    def _change(self, curve: Curve, start: float, end: float) -> float:
        """Where visibility changes between two parameters."""
        hidden = self.is_hidden(curve(start))
        for _ in range(20):
            middle = (start + end) / 2
            if self.is_hidden(curve(middle)) == hidden:
                start = middle
            else:
                end = middle
        return (start + end) / 2

    def _silhouette(self, body: Round | Ball) -> list[Curve]:
        """The lines where a round surface turns away from the reader."""
        x, y, z = self.view.toward
        level = math.hypot(x, y)
        if isinstance(body, Ball):
            return [_outline(body, self.view)]
        slope = (body.low_radius - body.high_radius) / (body.high - body.low)
        if abs(slope * z) >= level:
            raise Rejected("the reader sees the round solid from its end")
        middle, off = math.atan2(y, x), math.acos(-slope * z / level)
        lines = []
        for angle in (middle - off, middle + off):
            foot, head = (
                (
                    body.axis[0] + body.radius(h) * math.cos(angle),
                    body.axis[1] + body.radius(h) * math.sin(angle),
                    h,
                )
                for h in (body.low, body.high)
            )
            lines.append(_straight(foot, head))
        return lines

    def _drawn(self, first: Vector, second: Vector) -> tuple[Place, Place]:
        return self.view.project(first), self.view.project(second)

    def _refuse_coincidences(self) -> None:
        polyhedra = [body for body in self.whole if isinstance(body, Polyhedron)]
        corners = list(dict.fromkeys(corner for body in polyhedra for corner in body.corners))
        drawn = [self.view.project(corner) for corner in corners]
        if not drawn:
            return
        size = max(max(p[axis] for p in drawn) - min(p[axis] for p in drawn) for axis in (0, 1))
        for index, place in enumerate(drawn):
            if any(math.dist(place, other) < NEAREST_CORNERS * size for other in drawn[:index]):
                raise Rejected("two corners fall upon one another in this view")
            for edge in (edge for body in polyhedra for edge in body.edges if corners[index] not in edge):
                if _distance(place, *self._drawn(*edge)) < NEAREST_EDGE * size:
                    raise Rejected("a corner falls upon an edge in this view")
        for line in self.inner:
            for edge in (edge for body in polyhedra for edge in body.edges):
                if _run_together(self._drawn(*line), self._drawn(*edge), 0.05 * size):
                    raise Rejected("a line runs along an edge in this view")
            ends = self._drawn(*line)
            for place in drawn:
                if (
                    min(math.dist(place, end) for end in ends) > 1e-9 * size
                    and _distance(place, *ends) < 0.02 * size
                ):
                    raise Rejected("a line runs through a corner in this view")


def _axis(body: Round | Ball) -> tuple[float, float]:
    return body.axis if isinstance(body, Round) else (body.center[0], body.center[1])


def _sides(body: Round | Ball, right: Place) -> list[Vector]:
    """The places of a round body that are furthest to the left and to the right."""
    widest = max(body.radius(body.low), body.radius(body.high))
    size = math.hypot(*right)
    x, y = _axis(body)
    u, v = widest * right[0] / size, widest * right[1] / size
    return [(x - u, y - v, 0.0), (x + u, y + v, 0.0)]


def _straight(first: Vector, second: Vector) -> Curve:
    def at(t: float) -> Vector:
        x, y, z = (a + t * (b - a) for a, b in zip(first, second))
        return x, y, z

    return at


def _circle(center: Vector, radius: float, start: float) -> Curve:
    def at(t: float) -> Vector:
        angle = start + 2 * math.pi * t
        return center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle), center[2]

    return at


def _outline(ball: Ball, view: View) -> Curve:
    """The great circle across the line of sight, or the part of it between the ball's heights."""
    x, y, z = view.toward
    level, size = math.hypot(x, y), math.sqrt(x * x + y * y + z * z)
    side = (-y / level, x / level, 0.0)
    up = (-x * z / (level * size), -y * z / (level * size), level / size)
    # The height of the great circle's point at angle a is sin(a) times the upward part.
    low, high = ((h - ball.center[2]) / (ball.size * up[2]) for h in (ball.low, ball.high))
    if low <= -1 and high >= 1:
        start, end = 0.0, 2 * math.pi
    elif high >= 1:
        start, end = math.asin(low), math.pi - math.asin(low)
    elif low <= -1:
        start, end = math.pi - math.asin(high), 2 * math.pi + math.asin(high)
    else:
        raise ValueError("a ball cut at both ends is not drawn")

    def at(t: float) -> Vector:
        a = start + t * (end - start)
        c, s = ball.size * math.cos(a), ball.size * math.sin(a)
        x, y, z = (m + c * u + s * v for m, u, v in zip(ball.center, side, up))
        return x, y, z

    return at


def _distance(place: Place, start: Place, end: Place) -> float:
    u, v = end[0] - start[0], end[1] - start[1]
    along = ((place[0] - start[0]) * u + (place[1] - start[1]) * v) / (u * u + v * v)
    along = max(0.0, min(1.0, along))
    return math.dist(place, (start[0] + along * u, start[1] + along * v))


def _run_together(line: tuple[Place, Place], edge: tuple[Place, Place], near: float) -> bool:
    """Whether a line's middle lies near an edge of nearly its direction."""
    (a, b), (c, d) = line, edge
    turn = math.atan2(b[1] - a[1], b[0] - a[0]) - math.atan2(d[1] - c[1], d[0] - c[0])
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    return abs(math.sin(turn)) < 0.14 and _distance(middle, c, d) < near
