"""Lays the tree of a text out: every character and stroke gets its place.

    lines = lay_out(parse("Find x^2."), width=336, size=16)

A box is a piece of text with its baseline at y = 0 and y growing downwards, pixels as fractions. Boxes stand
side by side in words, words in lines; a fraction, a root or a script is a box made of smaller ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from vkit.errors import VkitError
from vkit.synthesis.typeset_glyphs import AXIS, PEN, Points, flatten, font, stroke_paths
from vkit.synthesis.typeset_tree import (
    Break,
    Fence,
    Fraction,
    Group,
    Node,
    Over,
    Root,
    Run,
    Scripts,
    Space,
    Symbol,
)

SCRIPT, PART = 0.7, 0.82  # size of scripts, and of a fraction's parts, to what they stand in
SMALLEST = 0.55  # no part is smaller than this much of the text
FINE = 16  # the font is measured at so many times its size, so that sizes scale exactly


@dataclass(frozen=True)
class Glyphs:
    """Characters of the font from (x, baseline y) on, at a size in pixels."""

    x: float
    y: float
    size: float
    text: str


@dataclass(frozen=True)
class Stroke:
    """A line through points, ``pen`` pixels wide with round ends; one point is a dot."""

    points: Points
    pen: float


@dataclass(frozen=True)
class Box:
    """What is drawn, and the room that it takes: advance, height over and depth under the baseline."""

    advance: float
    height: float
    depth: float
    marks: tuple[Glyphs | Stroke, ...]

    def moved(self, dx: float, dy: float) -> tuple[Glyphs | Stroke, ...]:
        """The marks at another place."""
        return tuple(
            Glyphs(mark.x + dx, mark.y + dy, mark.size, mark.text)
            if isinstance(mark, Glyphs)
            else Stroke(tuple((x + dx, y + dy) for x, y in mark.points), mark.pen)
            for mark in self.marks
        )


def lay_out(nodes: tuple[Node, ...], *, width: float, size: float) -> list[Box]:
    """The lines of a text, none wider than ``width`` pixels.

    Raises:
        VkitError: a single piece that cannot be broken, such as a fraction, is wider than that.
    """
    lines: list[list[Box]] = [[]]
    used = room = 0.0
    word: list[Box] = []

    def put() -> None:
        """Set the word on this line, or on the next where it does not fit, or letter by letter."""
        nonlocal used, room
        if lines[-1] and used + room + sum(box.advance for box in word) > width:
            lines.append([])
            used = room = 0.0
        if word and room:
            lines[-1].append(Box(room, 0, 0, ()))
            used += room
        for box in word:
            if used + box.advance > width and lines[-1]:
                lines.append([])
                used = 0.0
            if box.advance > width:
                raise VkitError(
                    f"a formula of {box.advance:.0f} pixels cannot be broken to fit into {width:.0f}; "
                    "give more width or a smaller font"
                )
            lines[-1].append(box)
            used += box.advance
        room = 0.0
        word.clear()

    for node in _unpacked(nodes):
        if isinstance(node, Space):
            if word:
                put()
            room += node.ems * size if lines[-1] else 0.0
        elif isinstance(node, Break):
            put()
            lines.append([])
            used = room = 0.0
        else:
            box = _box(node, size, size)
            if isinstance(node, Run) and box.advance > width:
                word += [_run(character, size) for character in node.text]
            else:
                word.append(box)
    put()
    return [_beside(line) for line in lines]


def _unpacked(nodes: Iterable[Node]) -> Iterable[Node]:
    """A group at the top, such as \\text{...}, is ordinary text, which may be broken."""
    for node in nodes:
        if isinstance(node, Group):
            yield from _unpacked(node.body)
        else:
            yield node


def _beside(boxes: Iterable[Box]) -> Box:
    """Boxes one after the other on the same baseline."""
    x = height = depth = 0.0
    marks: list[Glyphs | Stroke] = []
    for box in boxes:
        marks += box.moved(x, 0)
        x, height, depth = x + box.advance, max(height, box.height), max(depth, box.depth)
    return Box(x, height, depth, tuple(marks))


def _row(nodes: Iterable[Node], size: float, text_size: float) -> Box:
    return _beside(_box(node, size, text_size) for node in nodes)


def _box(node: Node, size: float, text_size: float) -> Box:
    """One node at ``size`` pixels, in a text of ``text_size``."""
    if isinstance(node, Run):
        return _run(node.text, size)
    if isinstance(node, Symbol):
        return _symbol(node.character, size)
    if isinstance(node, Space | Break):
        return Box(node.ems * size if isinstance(node, Space) else 0.25 * size, 0, 0, ())
    if isinstance(node, Group):
        return _row(node.body, size, text_size)
    smaller = max(size * (PART if isinstance(node, Fraction) else SCRIPT), SMALLEST * text_size)
    if isinstance(node, Fraction):
        return _fraction(_row(node.above, smaller, text_size), _row(node.below, smaller, text_size), size)
    if isinstance(node, Scripts):
        above, below = _row(node.above, smaller, text_size), _row(node.below, smaller, text_size)
        return _scripts(_row(node.base, size, text_size), above, below, size)
    body = _row(node.body, size, text_size)
    if isinstance(node, Root):
        return _root(body, _row(node.degree, SMALLEST * size, text_size), size)
    if isinstance(node, Over):
        return _over(body, node.mark, size)
    return _fence(node, body, size)


@lru_cache(maxsize=65536)
def _run(text: str, size: float) -> Box:
    fine = font(round(size * FINE))
    _, top, _, bottom = fine.getbbox(text, anchor="ls")
    return Box(fine.getlength(text) / FINE, -top / FINE, bottom / FINE, (Glyphs(0, 0, size, text),))


def _symbol(character: str, size: float) -> Box:
    advance, paths = stroke_paths(character)
    marks = _strokes(paths, size, PEN * size)
    ys = [y for path in paths for _, y in path]
    reach = PEN / 2
    return Box(advance * size, max(0.0, max(ys) + reach) * size, max(0.0, reach - min(ys)) * size, marks)


def _strokes(
    paths: Iterable[Points], size: float, pen: float, x: float = 0, y: float = 0
) -> tuple[Stroke, ...]:
    """Paths in ems as marks, their origin at (x, y)."""
    return tuple(
        Stroke(tuple((x + px * size, y - py * size) for px, py in path), pen * (1.6 if len(path) == 1 else 1))
        for path in paths
    )


def _fraction(above: Box, below: Box, size: float) -> Box:
    """The bar on the axis, half a letter's gap over and under it."""
    pen, gap, side = 0.065 * size, 0.13 * size, 0.06 * size
    bar = max(above.advance, below.advance) + 2 * side
    axis = -AXIS * size
    up = axis - gap - above.depth  # the baseline of the part above
    down = axis + gap + below.height
    marks = (
        *above.moved(side + (bar - above.advance) / 2, up),
        *below.moved(side + (bar - below.advance) / 2, down),
        Stroke(((side, axis), (side + bar, axis)), pen),
    )
    return Box(bar + 2 * side, above.height - up, below.depth + down, marks)


def _scripts(base: Box, above: Box, below: Box, size: float) -> Box:
    up = -max(0.36 * size, base.height - 0.36 * size)
    down = max(0.18 * size, base.depth + 0.02 * size)
    if above.advance and below.advance:  # keep them apart
        down = max(down, up + above.depth + below.height + 0.08 * size)
    x = base.advance + 0.03 * size
    marks = (*base.marks, *above.moved(x, up), *below.moved(x, down))
    height = max(base.height, above.height - up) if above.advance else base.height
    depth = max(base.depth, below.depth + down) if below.advance else base.depth
    return Box(x + max(above.advance, below.advance) + 0.03 * size, height, depth, marks)


def _root(body: Box, degree: Box, size: float) -> Box:
    """The sign reaches from under the body to the bar over it."""
    height = max(body.height, 0.5 * size) + 0.15 * size
    depth = max(body.depth, 0.02 * size)
    middle = (depth - height) * 0.42 + depth * 0.3
    start = max(0.0, degree.advance - 0.2 * size)
    tick = [(0.03, middle + 0.05 * size), (0.13, middle), (0.27, depth), (0.46, -height)]
    points = [(start + x * size, y) for x, y in tick]
    left = start + 0.52 * size
    points.append((left + body.advance + 0.04 * size, -height))
    marks = (
        *body.moved(left, 0),
        *degree.moved(0, middle - 0.12 * size - degree.depth),
        Stroke(tuple(points), 0.065 * size),
    )
    tall = max(height + 0.04 * size, degree.height - middle + 0.12 * size)
    return Box(left + body.advance + 0.1 * size, tall, depth + 0.04 * size, marks)


# Signs over a body: path in a square of 100, stretched in width only for the first five.
OVER = {
    "bar": "M 0 20 L 100 20",
    "arrow": "M 0 30 L 100 30 M 78 55 L 100 30 L 78 5",
    "arrows": "M 0 30 L 100 30 M 78 55 L 100 30 L 78 5 M 22 55 L 0 30 L 22 5",
    "arc": "M 0 0 C 20 50 80 50 100 0",
    "hat": "M 0 0 L 50 50 L 100 0",
    "tilde": "M 10 10 C 25 60 40 50 50 30 C 60 10 75 0 90 50",
    "caron": "M 15 50 L 50 0 L 85 50",
    "dots": "D 20 20 D 80 20",
    "acute": "M 40 0 L 70 60",
    "grave": "M 60 0 L 30 60",
}


def _over(body: Box, mark: str, size: float) -> Box:
    tall = 0.3 * size  # of a square of 100
    base = -(body.height + 0.09 * size)
    pen = 0.065 * size
    side = 0.04 * size
    across = max(body.advance - 2 * side, 0.2 * size)
    tip = min(1.0, 0.75 * size / across) if mark.startswith("arrow") else 1.0
    marks = []
    for path in flatten(OVER[mark]):
        points = []
        for x, y in path:
            if 0 < x < 1:  # an arrow's head does not grow with its shaft
                x = x * tip if x < 0.5 else 1 - (1 - x) * tip
            points.append((side + x * across, base - y * tall))
        marks.append(Stroke(tuple(points), pen * (1.6 if len(points) == 1 else 1)))
    return Box(body.advance, body.height + 0.09 * size + 0.6 * tall, body.depth, (*body.marks, *marks))


# Delimiters: advance in ems, and a path whose height of 100 is stretched to the body's.
FENCES = {
    "(": (0.3, "M 24 0 C 2 25 2 75 24 100"),
    ")": (0.3, "M 6 0 C 28 25 28 75 6 100"),
    "[": (0.3, "M 24 0 L 9 0 L 9 100 L 24 100"),
    "]": (0.3, "M 6 0 L 21 0 L 21 100 L 6 100"),
    "|": (0.26, "M 13 0 L 13 100"),
    "∥": (0.4, "M 12 0 L 12 100 M 28 0 L 28 100"),
    "{": (0.34, "M 28 0 C 8 0 24 48 6 50 C 24 52 8 100 28 100"),
    "}": (0.34, "M 6 0 C 26 0 10 48 28 50 C 10 52 26 100 6 100"),
}


def _fence(node: Fence, body: Box, size: float) -> Box:
    """The delimiters stand evenly about the axis."""
    half = max(body.height - AXIS * size, body.depth + AXIS * size, 0.45 * size) + 0.04 * size
    top, bottom = -AXIS * size - half, -AXIS * size + half
    parts = []
    for sign in (node.left, "", node.right):
        if sign:
            advance, path = FENCES[sign]
            strokes = tuple(
                Stroke(tuple((x * size, bottom + (top - bottom) * y) for x, y in points), 0.07 * size)
                for points in flatten(path)
            )
            parts.append(Box(advance * size, -top, bottom, strokes))
        elif not parts or parts[-1] is not body:
            parts.append(body)
    return _beside(parts)
