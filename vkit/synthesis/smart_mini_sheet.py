"""The paper that SMART-101 in miniature is drawn on: large clear marks, in hundredths of the picture's side.

    sheet = Sheet(128, random.Random(0))
    sheet.mark("star", (50, 50), 20, "red")
    sheet.image()                                  # Pillow, 128 x 128, RGB

Everything is drawn three times as large and scaled down, so that edges are smooth. The whole drawing is moved
by up to two hundredths, at random, so that no pixel alone gives an answer away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from vkit.synthesis.pixels import Pixel, on_circle
from vkit.synthesis.typeset_glyphs import font

COLOURS = {
    "red": (214, 39, 40),
    "blue": (31, 90, 220),
    "green": (20, 150, 60),
    "yellow": (250, 200, 0),
    "purple": (165, 70, 200),
}
NAMES = tuple(COLOURS)
THREE = NAMES[:3]
GRAY, LIGHT, BLACK, WHITE = (120, 120, 120), (215, 215, 215), (0, 0, 0), (255, 255, 255)
MARKS = ("circle", "square", "triangle", "star")
ICONS = ("star", "heart", "moon", "flag", "tree")  # of SMART-101's icon classes
_FINE = 3  # pixels drawn for one kept, along each side

Colour = tuple[int, int, int]


class Sheet:
    """A white square; places and sizes in hundredths of its side, x to the right, y down.

    size: of the finished picture, pixels. rng: moves the drawing, and what a puzzle asks to be `loose`.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size, self._rng, self._unit = size, rng, size * _FINE / 100
        self._shift = rng.uniform(-2, 2), rng.uniform(-2, 2)
        self._picture = Image.new("RGB", (size * _FINE, size * _FINE), WHITE)
        self._draw = ImageDraw.Draw(self._picture)

    def image(self) -> Image.Image:
        """The finished picture."""
        return self._picture.resize((self._size, self._size), Image.Resampling.LANCZOS)

    def loose(self, place: Pixel, by: float) -> Pixel:
        """A place moved at random, at most ``by`` along each axis."""
        return place[0] + self._rng.uniform(-by, by), place[1] + self._rng.uniform(-by, by)

    def line(self, points: Sequence[Pixel], colour: Colour, width: float) -> None:
        """A polyline with round joints."""
        pixels = [self._pixel(point) for point in points]
        self._draw.line(pixels, fill=colour, width=round(width * self._unit), joint="curve")

    def polygon(self, points: Sequence[Pixel], colour: Colour) -> None:
        self._draw.polygon([self._pixel(point) for point in points], fill=colour)

    def disc(self, centre: Pixel, radius: float, colour: Colour) -> None:
        self._draw.ellipse(self._box(centre, radius), fill=colour)

    def ring(self, centre: Pixel, radius: float, colour: Colour, width: float) -> None:
        """The edge of a disc, ``width`` thick, inside ``radius``."""
        box = self._box(centre, radius)
        self._draw.ellipse(box, outline=colour, width=round(width * self._unit))

    def glaze(self, centre: Pixel, radius: float, colour: Colour) -> None:
        """A disc through which one sees what lies below."""
        mask = Image.new("L", self._picture.size, 0)
        ImageDraw.Draw(mask).ellipse(self._box(centre, radius), fill=70)
        self._picture.paste(colour, (0, 0), mask)

    def tile(self, centre: Pixel, half: Pixel, colour: Colour, width: float = 0) -> None:
        """A filled rectangle, or its frame where ``width`` is given; half: of width and height."""
        (x, y), (u, v) = centre, half
        box = (*self._pixel((x - u, y - v)), *self._pixel((x + u, y + v)))
        if width:
            self._draw.rectangle(box, outline=colour, width=round(width * self._unit))
        else:
            self._draw.rectangle(box, fill=colour)

    def text(self, centre: Pixel, text: str, height: float, colour: Colour = BLACK) -> None:
        """Bold print; height: of the font."""
        size = round(height * self._unit)
        self._draw.text(
            self._pixel(centre), text, fill=colour, font=font(size), anchor="mm", stroke_width=size // 24
        )

    def mark(self, shape: str, centre: Pixel, radius: float, colour: str) -> None:
        """One of `MARKS` in one of `COLOURS`; all about as large as a circle of the radius."""
        fill = COLOURS[colour]
        if shape == "circle":
            self.disc(centre, radius, fill)
        elif shape == "square":
            self.tile(centre, (radius * 0.88, radius * 0.88), fill)
        elif shape == "triangle":
            self.polygon([on_circle(centre, radius * 1.15, 90 + 120 * i) for i in range(3)], fill)
        else:
            self.polygon(_star(centre, radius * 1.15), fill)

    def icon(self, name: str, centre: Pixel, radius: float) -> None:
        """One of `ICONS`, in black."""
        (x, y), r = centre, radius

        def at(u: float, v: float) -> Pixel:
            return x + u * r, y + v * r

        if name == "star":
            self.polygon(_star(centre, r), BLACK)
        elif name == "heart":
            for side in (-0.45, 0.45):
                self.disc(at(side, -0.3), 0.5 * r, BLACK)
            self.polygon([at(-0.88, -0.05), at(0.88, -0.05), at(0, 0.95)], BLACK)
        elif name == "moon":
            self.disc(centre, 0.9 * r, BLACK)
            self.disc(at(0.45, -0.2), 0.75 * r, WHITE)
        elif name == "flag":
            self.line([at(-0.6, -0.95), at(-0.6, 0.95)], BLACK, 0.2 * r)
            self.polygon([at(-0.6, -0.9), at(0.85, -0.4), at(-0.6, 0.15)], BLACK)
        else:
            self.tile(at(0, 0.65), (0.15 * r, 0.3 * r), BLACK)
            for top, bottom, half in ((-0.95, 0.0, 0.55), (-0.45, 0.5, 0.8)):
                self.polygon([at(0, top), at(-half, bottom), at(half, bottom)], BLACK)

    def _pixel(self, place: Pixel) -> Pixel:
        return (place[0] + self._shift[0]) * self._unit, (place[1] + self._shift[1]) * self._unit

    def _box(self, centre: Pixel, radius: float) -> tuple[float, float, float, float]:
        (x, y), r = self._pixel(centre), radius * self._unit
        return x - r, y - r, x + r, y + r


def _star(centre: Pixel, radius: float) -> list[Pixel]:
    """Five points, deep notches."""
    return [on_circle(centre, radius * (1 if i % 2 == 0 else 0.42), 90 + 36 * i) for i in range(10)]
