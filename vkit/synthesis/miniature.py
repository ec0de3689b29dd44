"""Problems that a model of a million parameters can learn in minutes, drawn in 64 x 64 pixels.

    drawn = draw(random.Random(0), split="train")
    drawn.versions["vision-only"].picture         # PNG: a rectangle, 63 under it, 15 beside it, P=? inside
    drawn.response                                # "63+15=78. 2*78=156. Answer: 156"

Four families, all of two given numbers whose sum is needed first: the third angle of a triangle, the third of
three angles on a line, the third of three parts of a right angle, the perimeter of a rectangle. Figures are
schematic: the numbers are printed where they belong, but not drawn to scale. Print stands for what a real
picture says, and reading it is what the miniature's encoder learns first (`practice`). Which numbers are kept
for testing is fixed by the numbers alone, whatever the family, so that no addition is met before.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.synthesis.drawn import Drawn, Version

SIDE = 64  # of the picture, pixels
CELLS = 8  # along each side of the grid of `practice`
LOW, HIGH = 10, 99  # of a given number
GLYPHS = "0123456789ab?P"  # label i + 1 of a cell; 0 where none of them has its centre
SPLITS = ("train", "test")
# What twins are drawn from. Text-lite is among them since a model this small does not generalise to a version
# that it never met; without its picture it does not say which family it is of.
TEXT_RICH = ("text-only", "text-dominant", "text-lite")
VISION_RICH = ("vision-dominant", "vision-only")
_TEST_SHARE = 8  # one of so many pairs of numbers is for testing
_LINE = 120  # gray of lines; print is black

Point = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """A family of problems.

    total: what the two given numbers and the unknown make, None for a perimeter.
    given, asked: the text, around the numbers.
    figure: lines, and the centres of the first number, the second and the unknown, in pixels.
    """

    total: int | None
    given: str
    asked: str
    figure: Callable[[random.Random], tuple[list[tuple[Point, ...]], tuple[Point, Point, Point]]]

    def answer(self, first: int, second: int) -> int:
        return 2 * (first + second) if self.total is None else self.total - first - second

    def response(self, first: int, second: int) -> str:
        """The worked solution: copies the numbers, then computes in two steps."""
        total, answer = first + second, self.answer(first, second)
        step = f"2*{total}={answer}" if self.total is None else f"{self.total}-{total}={answer}"
        return f"{first}+{second}={total}. {step}. Answer: {answer}"


def draw(rng: random.Random, *, split: str = "train", family: str | None = None) -> Drawn:
    """A problem in its five versions, without choices.

    Args:
        split: "train" or "test"; no pair of numbers, in either order, is in both.
        family: one of `FAMILIES`; None draws one.

    Raises:
        VkitError: split or family is none of those.

    >>> drawn = draw(random.Random(0), family="third_angle")
    >>> drawn.versions["text-lite"].text, drawn.response
    ('a = 59, b = 63. Find the unknown value.', '59+63=122. 180-122=58. Answer: 58')
    """
    if split not in SPLITS:
        raise VkitError(f"split must be {' or '.join(SPLITS)}, not {split!r}")
    if family is not None and family not in FAMILIES:
        raise VkitError(f"family {family!r} is not known; known: {', '.join(FAMILIES)}")
    name = family or rng.choice(list(FAMILIES))
    kind = FAMILIES[name]
    first, second = _numbers(kind, split, rng)
    lettered, _ = _paint(kind, ("a", "b", "?"), rng)
    numbered, _ = _paint(kind, (str(first), str(second), "?"), rng)
    with_letters, with_numbers = png_bytes(lettered), png_bytes(numbered)
    text = kind.given.format(a=first, b=second) + kind.asked
    versions = {
        "text-only": Version(text, None),
        "text-dominant": Version(text, with_letters),
        "text-lite": Version(f"a = {first}, b = {second}. Find the unknown value.", with_letters),
        "vision-dominant": Version("Find the unknown value.", with_numbers),
        "vision-only": Version("", with_numbers),
    }
    return Drawn(
        key=f"{name}/{first}/{second}",
        family=name,
        subject="miniature",
        versions=versions,
        choices=(),
        answer=str(kind.answer(first, second)),
        response=kind.response(first, second),
        meta={"numbers": [first, second], "split": split, "transforms": "none"},
    )


def practice(rng: random.Random) -> tuple[Image.Image, np.ndarray]:
    """A picture with its print spelt out: what an encoder learns to read before any problem is solved.

    Figures, letters and numbers are those of `draw`'s training split.

    Returns:
        The picture, and (CELLS, CELLS) uint8: i + 1 where the centre of a glyph ``GLYPHS[i]`` lies, else 0.
    """
    kind = FAMILIES[rng.choice(list(FAMILIES))]
    lettered = rng.random() < 0.1
    labels = ("a", "b") if lettered else tuple(map(str, _numbers(kind, "train", rng)))
    picture, glyphs = _paint(kind, (labels[0], labels[1], "?"), rng)
    return picture, glyph_cells(glyphs)


def glyph_cells(glyphs: list[tuple[str, float, float]]) -> np.ndarray:
    """Labels of the grid, (CELLS, CELLS) uint8, from each glyph and the x and y of its centre in pixels."""
    cells = np.zeros((CELLS, CELLS), dtype=np.uint8)
    for glyph, x, y in glyphs:
        if glyph in GLYPHS:
            row, column = (min(max(int(value * CELLS / SIDE), 0), CELLS - 1) for value in (y, x))
            cells[row, column] = GLYPHS.index(glyph) + 1
    return cells


def split_of(first: int, second: int) -> str:
    """Whether a pair of numbers is for training or for testing; the order does not matter.

    >>> split_of(35, 72) == split_of(72, 35)
    True
    """
    low, high = sorted((first, second))
    test = hashlib.sha256(f"{low}/{high}".encode()).digest()[0] % _TEST_SHARE == 0
    return SPLITS[test]


def _numbers(kind: Family, split: str, rng: random.Random) -> tuple[int, int]:
    while True:
        first, second = rng.randint(LOW, HIGH), rng.randint(LOW, HIGH)
        if kind.answer(first, second) > 1 and first != second and split_of(first, second) == split:
            return first, second


def _paint(
    kind: Family, labels: tuple[str, str, str], rng: random.Random
) -> tuple[Image.Image, list[tuple[str, float, float]]]:
    """The picture, and each printed glyph with the x and y of its centre."""
    picture = Image.new("L", (SIDE, SIDE), 255)
    canvas = ImageDraw.Draw(picture)
    lines, centres = kind.figure(rng)
    for line in lines:
        canvas.line(line, fill=_LINE, width=1)
    glyphs: list[tuple[str, float, float]] = []
    if kind.total is None:
        labels = (labels[0], labels[1], f"P={labels[2]}")
    for label, (x, y) in zip(labels, centres):
        widths = [_font().getlength(glyph) for glyph in label]
        left = min(max(round(x - sum(widths) / 2), 0), int(SIDE - 1 - sum(widths)))
        top = round(y) - 9  # digits stand on pixels 4 to 13 of their line
        for shift in (0, 1):  # struck twice: bold
            canvas.text((left + shift, top), label, fill=0, font=_font())
        for index, glyph in enumerate(label):
            glyphs.append((glyph, left + sum(widths[:index]) + widths[index] / 2, top + 9))
    return picture, glyphs


@cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(14)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise VkitError(
            "this Pillow was built without FreeType, which draws print; install Pillow's own wheel"
        )
    return font


def _ray(start: Point, degrees: float, length: float) -> Point:
    return (
        start[0] + length * math.cos(math.radians(degrees)),
        start[1] - length * math.sin(math.radians(degrees)),
    )


def _triangle(rng: random.Random) -> tuple[list[tuple[Point, ...]], tuple[Point, Point, Point]]:
    """Numbers under the base, the unknown under the top."""
    x, y = rng.randint(-1, 1), rng.randint(-1, 1)
    left, right, top = (5.0 + x, 43.0 + y), (58.0 + x, 43.0 + y), (rng.randint(22, 42) + x, 5.0 + y)
    return [(left, right, top, left)], ((14 + x, 53 + y), (49 + x, 53 + y), (_towards(top[0], 32), 27 + y))


def _towards(value: float, target: float) -> float:
    return value + (target - value) * 0.3


def _on_line(rng: random.Random) -> tuple[list[tuple[Point, ...]], tuple[Point, Point, Point]]:
    """Two rays leave a line: numbers left and right of them, the unknown between."""
    x, y = rng.randint(-1, 1), rng.randint(-1, 1)
    vertex = (32.0 + x, 54.0 + y)
    rays = [_ray(vertex, degrees + rng.uniform(-4, 4), 46) for degrees in (66, 114)]
    base = ((2.0 + x, vertex[1]), (61.0 + x, vertex[1]))
    return [base, *((vertex, end) for end in rays)], ((12 + x, 44 + y), (51 + x, 44 + y), (32 + x, 17 + y))


def _right_angle(rng: random.Random) -> tuple[list[tuple[Point, ...]], tuple[Point, Point, Point]]:
    """Two rays part a right angle: numbers in the upper and the lower part, the unknown in the middle."""
    x, y = rng.randint(-1, 1), rng.randint(-1, 1)
    vertex = (6.0 + x, 58.0 + y)
    ends = [_ray(vertex, degrees, 52) for degrees in (90, 0)]
    ends += [_ray(vertex, degrees + rng.uniform(-2, 2), 52) for degrees in (30, 60)]
    square = ((vertex[0], vertex[1] - 5), (vertex[0] + 5, vertex[1] - 5), (vertex[0] + 5, vertex[1]))
    lines = [(vertex, end) for end in ends]
    return [*lines, square], ((18 + x, 18 + y), (47 + x, 48 + y), (36 + x, 29 + y))


def _rectangle(rng: random.Random) -> tuple[list[tuple[Point, ...]], tuple[Point, Point, Point]]:
    """The width under it, the height beside it, the unknown inside."""
    x, y = rng.randint(-1, 1), rng.randint(-1, 1)
    left, top = 4.0 + x, 6.0 + y + rng.randint(0, 4)
    right, bottom = 40.0 + x, 42.0 + y
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return [corners], ((22 + x, 52 + y), (53 + x, 24 + y), (22 + x, 25 + y))


FAMILIES: dict[str, Family] = {
    "third_angle": Family(
        180,
        "Two angles of a triangle are a = {a} and b = {b} degrees.",
        " Find the third angle in degrees.",
        _triangle,
    ),
    "angle_on_line": Family(
        180,
        "Two of three angles on a line are a = {a} and b = {b} degrees.",
        " Find the third angle in degrees.",
        _on_line,
    ),
    "right_angle": Family(
        90,
        "Two of three parts of a right angle are a = {a} and b = {b} degrees.",
        " Find the third part in degrees.",
        _right_angle,
    ),
    "perimeter": Family(
        None,
        "The sides of a rectangle are a = {a} and b = {b}.",
        " Find its perimeter.",
        _rectangle,
    ),
}
