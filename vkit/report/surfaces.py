"""Paper to draw on, so that one layout makes a PNG, an SVG or a PDF.

>>> surface = open_surface("svg")
>>> surface.page(120, 24)
>>> surface.text(4, 16, surface.spell("x < 5"), size=8)
>>> b"x &lt; 5</text>" in surface.data()
True

Lengths are units, from the upper left corner: points (1/72 inch) in SVG and PDF, and on a raster whatever
``pixels_per_unit`` makes of them. What is drawn later lies on top. Each surface measures text as it draws it,
so lines end where they should. The same drawing gives the same bytes at any time.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from vkit.errors import VkitError
from vkit.images import PIXEL_LIMIT, png_bytes
from vkit.report.colours import to_hex
from vkit.report.lettering import em_width, font_source, load_font, printable

Colour = Sequence[int] | np.ndarray  # red, green, blue, 0 to 255
Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]

KINDS = ("png", "svg", "pdf")
POINTS_PER_INCH = 72
PRINT_DPI = 300  # the least that publishers ask of a picture
BLACK: Colour = (0, 0, 0)
_LARGEST_PDF = 14_400  # points of a side, beyond which readers refuse a page (ISO 32000-1, annex C)
_NO_TIME = datetime(2000, 1, 1, tzinfo=timezone.utc)  # the format wants a date; ours tells nothing


class Surface(Protocol):
    """What a layout may draw with."""

    def spell(self, text: str) -> str:
        """``text`` with what the font cannot show written as escapes; only such text may be drawn."""

    def measure(self, text: str, size: float) -> float:
        """Width of ``text`` at font size ``size``."""

    def page(self, width: float, height: float) -> None:
        """The white paper; called once, before anything is drawn."""

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, stroke: float = 0.5
    ) -> None:
        """A filled or outlined rectangle; an outline runs along the edge."""

    def line(self, points: Sequence[Point], ink: Colour, stroke: float) -> None:
        """Straight lines from point to point."""

    def text(self, left: float, baseline: float, text: str, *, size: float, ink: Colour = BLACK) -> None:
        """One line of text."""

    def picture_pixels(self, width: float, height: float, native: tuple[int, int]) -> tuple[int, int]:
        """The pixels that a picture of ``native`` pixels should have to be drawn ``width`` by ``height``."""

    def picture(self, image: Image.Image, box: Box) -> None:
        """An RGB picture, stretched over ``box``."""

    def data(self) -> bytes:
        """The file."""


def open_surface(kind: str, *, dpi: float = PRINT_DPI) -> Surface:
    """A surface measured in points.

    Args:
        kind: one of `KINDS`.
        dpi: dots per inch of a PNG; SVG and PDF have none.

    Raises:
        VkitError: ``kind`` is unknown, or the library that it needs is not installed.
    """
    if kind == "png":
        return RasterSurface(pixels_per_unit=dpi / POINTS_PER_INCH, dpi=dpi)
    if kind == "svg":
        return SvgSurface()
    if kind == "pdf":
        return PdfSurface()
    raise VkitError(f"{kind!r} is no kind of figure; choose one of {', '.join(KINDS)}")


class RasterSurface:
    """Pixels, drawn by Pillow.

    Args:
        pixels_per_unit: 1: lengths are pixels.
        font: a TrueType file; None: see `vkit.report.lettering`.
        dpi: written into the PNG, so that documents show it at its size.
    """

    image: Image.Image

    def __init__(
        self, *, pixels_per_unit: float = 1.0, font: Path | str | None = None, dpi: float | None = None
    ) -> None:
        self._scale, self._font, self._dpi = pixels_per_unit, font, dpi

    def spell(self, text: str) -> str:
        return printable(text, load_font(24, self._font))

    def measure(self, text: str, size: float) -> float:
        return load_font(size * self._scale, self._font).getlength(text) / self._scale

    def page(self, width: float, height: float) -> None:
        pixels = self._pixel(width), self._pixel(height)
        if pixels[0] * pixels[1] > PIXEL_LIMIT:
            raise VkitError(
                f"the figure has {pixels[0]} x {pixels[1]} pixels, over the limit of {PIXEL_LIMIT}; "
                "lower its resolution, or choose SVG or PDF"
            )
        self.image = Image.new("RGB", pixels, "white")
        self._draw = ImageDraw.Draw(self.image)

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, stroke: float = 0.5
    ) -> None:
        left, top, right, bottom = map(self._pixel, box)
        whole = (left, top, max(left, right - 1), max(top, bottom - 1))  # Pillow draws the last pixel too
        self._draw.rectangle(
            whole,
            fill=None if fill is None else _rgb(fill),
            outline=None if outline is None else _rgb(outline),
            width=self._stroke(stroke),
        )

    def line(self, points: Sequence[Point], ink: Colour, stroke: float) -> None:
        pixels = [(self._pixel(x), self._pixel(y)) for x, y in points]
        self._draw.line(pixels, fill=_rgb(ink), width=self._stroke(stroke))

    def text(self, left: float, baseline: float, text: str, *, size: float, ink: Colour = BLACK) -> None:
        font = load_font(size * self._scale, self._font)
        self._draw.text(
            (self._pixel(left), self._pixel(baseline)), text, fill=_rgb(ink), font=font, anchor="ls"
        )

    def picture_pixels(self, width: float, height: float, native: tuple[int, int]) -> tuple[int, int]:
        return max(1, self._pixel(width)), max(1, self._pixel(height))

    def picture(self, image: Image.Image, box: Box) -> None:
        left, top, right, bottom = box
        size = self.picture_pixels(right - left, bottom - top, image.size)
        resized = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
        self.image.paste(resized, (self._pixel(left), self._pixel(top)))

    def data(self) -> bytes:
        return png_bytes(self.image, dpi=self._dpi)

    def _pixel(self, length: float) -> int:
        return round(length * self._scale)

    def _stroke(self, stroke: float) -> int:
        return max(1, self._pixel(stroke))


class SvgSurface:
    """Vectors as XML: text stays text, and keeps its width in whatever font a reader has."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def spell(self, text: str) -> str:
        return printable(text, load_font(24))

    def measure(self, text: str, size: float) -> float:
        return em_width(text) * size

    def page(self, width: float, height: float) -> None:
        millimetres = [_number(25.4 * side / POINTS_PER_INCH) for side in (width, height)]
        sides = _number(width), _number(height)
        self._parts = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" '
            f'width="{millimetres[0]}mm" height="{millimetres[1]}mm" viewBox="0 0 {" ".join(sides)}" '
            'font-family="DejaVu Sans, Verdana, Arial, sans-serif">',
            f'<rect width="{sides[0]}" height="{sides[1]}" fill="#ffffff"/>',
        ]

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, stroke: float = 0.5
    ) -> None:
        look = f'fill="{"none" if fill is None else to_hex(fill)}"'
        if outline is not None:
            look += f' stroke="{to_hex(outline)}" stroke-width="{_number(stroke)}"'
        self._parts.append(f"<rect {_place(box)} {look}/>")

    def line(self, points: Sequence[Point], ink: Colour, stroke: float) -> None:
        path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        look = f'fill="none" stroke="{to_hex(ink)}" stroke-width="{_number(stroke)}"'
        self._parts.append(f'<polyline points="{path}" {look}/>')

    def text(self, left: float, baseline: float, text: str, *, size: float, ink: Colour = BLACK) -> None:
        word = text.strip(" ")  # spaces at the ends are places, which no reader can collapse
        if not word:
            return
        left += self.measure(text[: len(text) - len(text.lstrip(" "))], size)
        self._parts.append(
            f'<text x="{_number(left)}" y="{_number(baseline)}" font-size="{_number(size)}" '
            f'fill="{to_hex(ink)}" textLength="{_number(self.measure(word, size))}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(word)}</text>'
        )

    def picture_pixels(self, width: float, height: float, native: tuple[int, int]) -> tuple[int, int]:
        return _print_pixels(width, native)

    def picture(self, image: Image.Image, box: Box) -> None:
        address = "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")
        self._parts.append(f'<image {_place(box)} preserveAspectRatio="none" href="{address}"/>')

    def data(self) -> bytes:
        return ("\n".join([*self._parts, "</svg>"]) + "\n").encode()


class PdfSurface:
    """Vectors as one page of PDF, with the letters of its font inside; needs fpdf2. Arabic is not joined.

    Raises:
        VkitError: fpdf2 is not installed.
    """

    def __init__(self) -> None:
        try:
            from fpdf import FPDF
            from fpdf.bidi import BidiParagraph, TextDirection
        except ImportError as error:
            raise VkitError(
                "a PDF needs fpdf2, which is not installed; run: pip install fpdf2, or choose SVG"
            ) from error
        self._open = FPDF
        # fpdf2 sets letters from left to right as they come; Hebrew is turned around for it.
        self._visual_order = lambda text: BidiParagraph(
            text, base_direction=TextDirection.LTR
        ).get_reordered_string()

    def spell(self, text: str) -> str:
        return printable(text, load_font(24))

    def measure(self, text: str, size: float) -> float:
        return em_width(text) * size

    def page(self, width: float, height: float) -> None:
        if max(width, height) > _LARGEST_PDF:
            raise VkitError(
                f"the figure is {25.4 * height / POINTS_PER_INCH:.0f} mm tall, over the "
                f"{25.4 * _LARGEST_PDF / POINTS_PER_INCH:.0f} mm of a PDF page; "
                "give it more width, or choose SVG"
            )
        # "P" keeps width and height in their order whichever is longer.
        self._pdf = self._open(orientation="P", unit="pt", format=(width, height))
        self._pdf.set_creation_date(_NO_TIME)
        self._pdf.set_auto_page_break(False)
        self._pdf.set_image_filter("FlateDecode")  # lossless: a diagram's lines stay clean
        # fpdf2 reads fonts from files only, and until the end; Pillow's own font is none.
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        file = Path(self._folder.name) / "font.ttf"
        file.write_bytes(font_source())
        self._pdf.add_font("figure", fname=file)
        self._pdf.add_page()

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, outline: Colour | None = None, stroke: float = 0.5
    ) -> None:
        left, top, right, bottom = box
        if fill is not None:
            self._pdf.set_fill_color(*_rgb(fill))
        if outline is not None:
            self._pdf.set_draw_color(*_rgb(outline))
            self._pdf.set_line_width(stroke)
        style = ("D" if outline is not None else "") + ("F" if fill is not None else "")
        self._pdf.rect(left, top, right - left, bottom - top, style=style)

    def line(self, points: Sequence[Point], ink: Colour, stroke: float) -> None:
        self._pdf.set_draw_color(*_rgb(ink))
        self._pdf.set_line_width(stroke)
        self._pdf.polyline(list(points))

    def text(self, left: float, baseline: float, text: str, *, size: float, ink: Colour = BLACK) -> None:
        self._pdf.set_font("figure", size=size)
        self._pdf.set_text_color(*_rgb(ink))
        self._pdf.text(left, baseline, text if text.isascii() else self._visual_order(text))

    def picture_pixels(self, width: float, height: float, native: tuple[int, int]) -> tuple[int, int]:
        return _print_pixels(width, native)

    def picture(self, image: Image.Image, box: Box) -> None:
        left, top, right, bottom = box
        self._pdf.image(image, left, top, right - left, bottom - top)

    def data(self) -> bytes:
        with self._folder:
            return bytes(self._pdf.output())


def _print_pixels(width: float, native: tuple[int, int]) -> tuple[int, int]:
    """All pixels that a picture has, and where they are few as many as print needs."""
    factor = max(1.0, PRINT_DPI * width / POINTS_PER_INCH / native[0])
    return max(1, round(factor * native[0])), max(1, round(factor * native[1]))


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in colour)
    return red, green, blue


def _place(box: Box) -> str:
    left, top, right, bottom = box
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return " ".join(f'{name}="{_number(value)}"' for name, value in sides.items())


def _number(value: float) -> str:
    """Hundredths of a unit, without idle zeros."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
