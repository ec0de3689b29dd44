"""A few geometry problems with exact answers, drawn in a moment, to try vkit without any data.

    write_sketches(Path("problems"), count=6, seed=0)     # problems/problems.jsonl and problems/images/

Each has four choices, three of them typical mistakes, a worked solution, and numbers that stand only in the
picture. The solutions stand in problems/answers.jsonl too, as ``vkit attn-ratio --text`` takes them. Same
seed, same bytes.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.jsonl import write_bytes
from vkit.records import Sample, write_samples

SIDE = 336  # of the picture, pixels
Point = tuple[float, float]


@dataclass(frozen=True)
class Sketch:
    """A problem before its choices are shuffled: the answer first, then the mistakes."""

    question: str
    answer: int
    mistakes: tuple[int, int, int]
    rationale: str
    image: Image.Image


def write_sketches(folder: Path, count: int, seed: int) -> Path:
    """Draw ``count`` problems into ``folder``; returns the path of problems.jsonl.

    Raises:
        VkitError: a problems.jsonl with other problems is there.
    """
    samples, pictures = [], {}
    for index in range(count):
        draw = random.Random(f"{seed}/{index}")
        family = FAMILIES[index % len(FAMILIES)]
        sketch = family(draw)
        options = [sketch.answer, *sketch.mistakes]
        draw.shuffle(options)
        letter = chr(65 + options.index(sketch.answer))
        record_id = f"{seed}-{index}"
        pictures[f"images/{record_id}.png"] = png_bytes(sketch.image)
        samples.append(
            Sample(
                id=record_id,
                question=sketch.question,
                choices=tuple(str(option) for option in options),
                answer=letter,
                image=f"images/{record_id}.png",
                rationale=f"{sketch.rationale} Answer: {letter}",
                meta={"source": "vkit sketch", "family": family.__name__.strip("_")},
            )
        )
    path = folder / "problems.jsonl"
    if path.exists() and path.read_text(encoding="utf-8") != "".join(s.to_json() + "\n" for s in samples):
        raise VkitError(f"{path} is there and holds something else; choose another --out")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        write_bytes(folder / name, data)
    answers = [{"id": sample.id, "output": sample.rationale} for sample in samples]
    write_bytes(folder / "answers.jsonl", "".join(json.dumps(a) + "\n" for a in answers).encode())
    write_samples(path, samples)
    return path


def _third_angle(draw: random.Random) -> Sketch:
    """Two angles of a triangle are given in the picture, the third is asked."""
    alpha = draw.randrange(35, 80)
    beta = draw.choice([angle for angle in range(35, 80) if abs(angle - alpha) > 3])
    gamma = 180 - alpha - beta
    canvas = _Canvas()
    height = 1 / (1 / math.tan(math.radians(alpha)) + 1 / math.tan(math.radians(beta)))
    left, right = (0.0, 0.0), (1.0, 0.0)
    top = (height / math.tan(math.radians(alpha)), height)
    canvas.fit([left, right, top])
    canvas.polygon([left, right, top], "ABC")
    canvas.angle(left, right, top, f"{alpha}°")
    canvas.angle(right, left, top, f"{beta}°")
    return Sketch(
        "In triangle ABC, find the measure of angle C in degrees.",
        gamma,
        _distinct(gamma, 90 - min(alpha, beta), alpha + beta, abs(alpha - beta), 180 - alpha),
        f"The picture shows that angle A is {alpha} degrees and angle B is {beta} degrees. "
        f"The angles of a triangle sum to 180 degrees. "
        f"So angle C is 180 - {alpha} - {beta} = {gamma} degrees.",
        canvas.image,
    )


def _angle_on_line(draw: random.Random) -> Sketch:
    """A ray from a straight line: one angle is given, its neighbour is asked."""
    given = draw.choice([*range(28, 80), *range(102, 150)])
    asked = 180 - given
    canvas = _Canvas()
    middle, start, end = (0.0, 0.0), (-1.0, 0.0), (1.0, 0.0)
    direction = math.radians(180 - given)
    tip = (math.cos(direction), math.sin(direction))
    canvas.fit([start, end, tip])
    canvas.line(start, end)
    canvas.line(middle, tip)
    for point, name in ((start, "P"), (end, "Q"), (tip, "R"), (middle, "O")):
        canvas.name(point, name, away_from=(0.0, 0.35) if name != "R" else middle)
    canvas.angle(middle, start, tip, f"{given}°")
    return Sketch(
        "P, O and Q lie on a line. Find the measure of angle QOR in degrees.",
        asked,
        _distinct(asked, given, abs(90 - given), 360 - given, 90),
        f"The picture shows that angle POR is {given} degrees. Angles on a line sum to 180 degrees. "
        f"So angle QOR is 180 - {given} = {asked} degrees.",
        canvas.image,
    )


def _right_triangle(draw: random.Random) -> Sketch:
    """The legs of a right triangle with whole sides are given, the hypotenuse is asked."""
    a, b, c = draw.choice([(3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29)])
    factor = draw.randrange(1, 5)
    a, b, c = a * factor, b * factor, c * factor
    canvas = _Canvas()
    corner, right, top = (0.0, 0.0), (float(b), 0.0), (0.0, float(a))
    canvas.fit([corner, right, top])
    canvas.polygon([corner, right, top], "CAB")
    canvas.right_angle(corner, right, top)
    canvas.label(corner, right, str(b), inside=top)
    canvas.label(corner, top, str(a), inside=right)
    return Sketch(
        "Angle C is a right angle. Find AB.",
        c,
        _distinct(c, a + b, b - a, c + factor, c - factor),
        f"The picture shows that BC is {a} and AC is {b}. By the Pythagorean theorem AB squared is "
        f"{a}*{a} + {b}*{b} = {a * a + b * b}. So AB is {c}.",
        canvas.image,
    )


def _rectangle(draw: random.Random) -> Sketch:
    """The sides of a rectangle are given, its perimeter is asked."""
    width = draw.randrange(8, 40)
    height = draw.randrange(max(4, width // 2), width)
    perimeter = 2 * (width + height)
    canvas = _Canvas()
    corners = [(0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height))]
    canvas.fit(corners)
    canvas.polygon(corners, "ABCD")
    canvas.label(corners[0], corners[1], str(width), inside=corners[2])
    canvas.label(corners[1], corners[2], str(height), inside=corners[0])
    return Sketch(
        "Find the perimeter of rectangle ABCD.",
        perimeter,
        _distinct(perimeter, width + height, width * height, 2 * width + height, 4 * width),
        f"The picture shows that AB is {width} and BC is {height}. Opposite sides are equal. "
        f"So the perimeter is 2*({width} + {height}) = {perimeter}.",
        canvas.image,
    )


FAMILIES: tuple[Callable[[random.Random], Sketch], ...] = (
    _third_angle,
    _angle_on_line,
    _right_triangle,
    _rectangle,
)


def _distinct(answer: int, *mistakes: int) -> tuple[int, int, int]:
    """The first three mistakes that are positive and differ from the answer and each other."""
    kept: list[int] = []
    for mistake in (*mistakes, answer + 10, answer + 20, answer + 30):
        if mistake > 0 and mistake != answer and mistake not in kept:
            kept.append(mistake)
    return kept[0], kept[1], kept[2]


class _Canvas:
    """Draws in the coordinates of the figure, y upwards, fitted into the picture by `fit`."""

    def __init__(self) -> None:
        # Twice the size, scaled down at the end, so that lines are smooth.
        self._picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
        self._draw = ImageDraw.Draw(self._picture)
        self._font = ImageFont.load_default(34)

    @property
    def image(self) -> Image.Image:
        return self._picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    def fit(self, points: list[Point]) -> None:
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        self._scale = 1.5 * SIDE / max(max(xs) - min(xs), max(ys) - min(ys))
        self._centre = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)
        self._middle = (sum(xs) / len(xs), sum(ys) / len(ys))

    def line(self, start: Point, end: Point) -> None:
        self._draw.line([self._pixel(start), self._pixel(end)], fill="black", width=4)

    def polygon(self, corners: list[Point], names: str) -> None:
        for index, corner in enumerate(corners):
            self.line(corner, corners[(index + 1) % len(corners)])
            self.name(corner, names[index], away_from=self._middle)

    def name(self, point: Point, text: str, *, away_from: Point) -> None:
        """A point's letter, outside the figure."""
        self._text(self._moved(point, away_from, -26), text)

    def label(self, start: Point, end: Point, text: str, *, inside: Point) -> None:
        """A length beside the middle of its line, on the other side than ``inside``."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        across = (start[1] - end[1], end[0] - start[0])
        towards = across[0] * (inside[0] - middle[0]) + across[1] * (inside[1] - middle[1])
        sign = 1 if towards > 0 else -1
        inwards = (middle[0] + sign * across[0], middle[1] + sign * across[1])
        self._text(self._moved(middle, inwards, -34), text)

    def angle(self, vertex: Point, first: Point, second: Point, text: str) -> None:
        """An arc between two rays and its size inside them."""
        rays = ((p[0] - vertex[0], p[1] - vertex[1]) for p in (first, second))
        low, high = sorted(math.degrees(math.atan2(y, x)) % 360 for x, y in rays)
        if high - low > 180:
            low, high = high, low + 360
        x, y = self._pixel(vertex)
        self._draw.arc([x - 50, y - 50, x + 50, y + 50], -high, -low, fill="black", width=3)
        middle = math.radians((low + high) / 2)
        distance = 66 + 900 / max(high - low, 20)  # narrow angles have room only further out
        self._text((x + distance * math.cos(middle), y - distance * math.sin(middle)), text)

    def right_angle(self, vertex: Point, first: Point, second: Point) -> None:
        x, y = self._pixel(vertex)
        self._draw.line([(x + 28, y), (x + 28, y - 28), (x, y - 28)], fill="black", width=3)

    def _pixel(self, point: Point) -> Point:
        return (
            SIDE + (point[0] - self._centre[0]) * self._scale,
            SIDE - (point[1] - self._centre[1]) * self._scale,
        )

    def _moved(self, point: Point, target: Point, pixels: float) -> Point:
        """The pixel of ``point`` moved towards ``target`` (away from it where negative)."""
        (x, y), (u, v) = self._pixel(point), self._pixel(target)
        length = math.hypot(u - x, v - y) or 1.0
        return x + (u - x) / length * pixels, y + (v - y) / length * pixels

    def _text(self, pixel: Point, text: str) -> None:
        self._draw.text(pixel, text, fill="black", font=self._font, anchor="mm")
