"""Sets text with mathematics into pictures: wrapped, readable, with Pillow's own font and nothing else.

    typeset(r"In △ABC, $AB = 5\\sqrt{3}$. Find \\frac{AB}{2}.", width=336).save("problem.png")

Math-PUMA turns text problems into pairs by rendering their text to an image (Data Construction, Data
Augmentation). What is read is plain Unicode and the small part of LaTeX that `typeset_latex` lists; what
cannot be drawn is refused by name. Same text, same pixels.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from PIL import Image, ImageDraw

from vkit.errors import VkitError
from vkit.synthesis.typeset_boxes import Box, Glyphs, Stroke, lay_out
from vkit.synthesis.typeset_glyphs import font
from vkit.synthesis.typeset_latex import parse

FINE = 4  # drawn at so many times the size, then scaled down: smooth strokes and even letters
ASCENT, DEPTH, LEADING = 0.74, 0.22, 0.3  # of a line, and the room between two, ems

TALLEST = 8192  # pixels; nobody reads more from one picture


def typeset(
    text: str,
    *,
    width: int = 336,
    font_size: int = 16,
    margin: int = 8,
    ink: str = "black",
    paper: str = "white",
) -> Image.Image:
    """A picture of the text, ``width`` pixels wide and as high as it needs, RGB.

    Lines are wrapped at spaces, words wider than a line are broken, line breaks are kept.

    Args:
        text: plain text, Unicode mathematics ("5√3", "x²") or LaTeX ("\\frac{1}{2}", "$x_1$").
        width, margin: pixels; the margin is kept free on all sides.
        font_size: pixels; scripts are smaller.

    Raises:
        VkitError: the text is empty, holds what cannot be drawn, or a formula wider than the picture.

    >>> typeset("Find x^2.", width=120).size
    (120, 34)
    """
    if not text.strip():
        raise VkitError("there is no text to set; give some")
    size = typeset_size(text, width=width - 2 * margin, font_size=font_size)
    picture = Image.new("RGB", (width, size[1] + 2 * margin), paper)
    typeset_into(picture, (margin, margin), text, width=width - 2 * margin, font_size=font_size, ink=ink)
    return picture


def typeset_size(text: str, *, width: int, font_size: int = 16) -> tuple[int, int]:
    """Width and height in pixels that `typeset_into` needs for the text, wrapped at ``width``."""
    lines, _, height = _lines(text, width, font_size)
    return ceil(max(line.advance for line in lines)), height


def typeset_into(
    picture: Image.Image,
    place: tuple[int, int],
    text: str,
    *,
    width: int,
    font_size: int = 16,
    ink: str = "black",
) -> tuple[int, int]:
    """Draw the text into a picture, its left upper corner at ``place``; returns what `typeset_size` says.

    Raises:
        VkitError: as `typeset`, or the text does not fit into the picture there.
    """
    lines, baselines, height = _lines(text, width, font_size)
    across = ceil(max(line.advance for line in lines))
    if min(place) < 0 or place[0] + across > picture.width or place[1] + height > picture.height:
        raise VkitError(
            f"text of {across} x {height} pixels at {place} leaves its picture of {picture.width} x "
            f"{picture.height}; give it more room"
        )
    # A pen's half width may reach over the box; it is drawn with a border and pasted with the same.
    border = ceil(font_size / 4)
    mask = Image.new("L", ((across + 2 * border) * FINE, (height + 2 * border) * FINE), 0)
    drawing = ImageDraw.Draw(mask)
    for line, baseline in zip(lines, baselines):
        for mark in line.moved(border, border + baseline):
            _draw(drawing, mark)
    mask = mask.resize((across + 2 * border, height + 2 * border), Image.Resampling.BOX)
    picture.paste(ink, (place[0] - border, place[1] - border), mask)
    return across, height


@lru_cache(maxsize=256)  # a text is measured, then drawn
def _lines(text: str, width: int, font_size: int) -> tuple[tuple[Box, ...], tuple[float, ...], int]:
    """The lines, the baseline of each from the top, and the height of all; a tall line takes more room."""
    if width < 2 * font_size or font_size < 6:
        raise VkitError(
            f"a font of {font_size} pixels in a width of {width} cannot be read; "
            "take 6 pixels or more, and a width of two letters"
        )
    lines = lay_out(parse(text), width=width, size=font_size)
    baselines, y = [], 0.0
    for line in lines:
        y += max(line.height, ASCENT * font_size)
        baselines.append(float(round(y)))  # on a whole pixel: letters of all lines look alike
        y = baselines[-1] + max(line.depth, DEPTH * font_size) + LEADING * font_size
    height = ceil(y - LEADING * font_size)
    if height > TALLEST:
        raise VkitError(
            f"the text is {height} pixels high, over {TALLEST}; give more width or a smaller font"
        )
    return tuple(lines), tuple(baselines), height


def _draw(drawing: ImageDraw.ImageDraw, mark: Glyphs | Stroke) -> None:
    if isinstance(mark, Glyphs):
        place = (mark.x * FINE, mark.y * FINE)
        drawing.text(place, mark.text, fill=255, font=font(round(mark.size * FINE)), anchor="ls")
        return
    points = [(x * FINE, y * FINE) for x, y in mark.points]
    pen = mark.pen * FINE
    if len(points) > 1:
        drawing.line(points, fill=255, width=round(pen), joint="curve")
    for x, y in (points[0], points[-1]):
        drawing.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
