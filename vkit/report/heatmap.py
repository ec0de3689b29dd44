"""Draws a model's output as a heat-map: each token on the colour of its value, ready for print.

>>> draw_heatmap(["x", " =", " 5"], [0.21, None, 0.64], width=400).width
400

As in the study, values are stretched from the lowest to the highest of this one answer, so
colours compare tokens within an answer, never between answers; the legend says which numbers they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vkit.errors import VkitError
from vkit.report.colours import ramp, text_colour
from vkit.report.lettering import Font, load_font, printable

_GREY = (110, 110, 110)
_HATCH = (200, 200, 200)


@dataclass(frozen=True)
class _Cell:
    """A token, or the part of it that fits a line, at its place in pixels."""

    token: int
    text: str
    left: int
    line: int
    width: int
    newline: bool = False  # shown as a return arrow


def draw_heatmap(
    tokens: Sequence[str],
    values: Sequence[float | None],
    *,
    width: int = 1600,
    colour: str = "oranges",
    font_size: int = 32,
    font: Path | str | None = None,
    label: str = "attention ratio",
) -> Image.Image:
    """The tokens as wrapped text, each on the colour of its value, with a legend below.

    Args:
        tokens: the pieces of the output in order; joined they are the text. A line break is drawn as an
            arrow, an empty piece as a narrow cell, a piece wider than the picture goes on in the next line.
        values: one a token, scaled from the lowest (0) to the highest (1); None where undefined: hatched,
            never coloured. Where all are equal they take the ramp's low end.
        width: pixels of the picture; its height follows from the text.
        colour: a ramp of `vkit.report.colours`.
        font_size: pixels.
        font: a TrueType file; None: see `vkit.report.lettering`.
        label: what the values are, for the legend.

    Raises:
        VkitError: the lengths differ, a value is not finite, or ``width`` is too small for the font.
    """
    if len(tokens) != len(values):
        raise VkitError(f"{len(tokens)} tokens but {len(values)} values; give one value a token")
    margin = font_size
    if width < 8 * font_size:
        raise VkitError(
            f"width {width} is too small for font size {font_size}; give at least {8 * font_size}"
        )
    face = load_font(font_size, font)
    cells = _lay_out([printable_lines(token, face) for token in tokens], face, width - 2 * margin)
    line_height = round(1.75 * font_size)
    lines = cells[-1].line + 1 if cells else 1
    body = 2 * margin + lines * line_height
    picture = Image.new("RGB", (width, body + round(1.5 * line_height)), "white")
    draw = ImageDraw.Draw(picture)
    strengths = normalise(values)
    for cell in cells:
        box = (margin + cell.left, margin + cell.line * line_height)
        _draw_cell(picture, draw, cell, box, font_size, face, strengths[cell.token], colour)
    _draw_legend(picture, draw, (margin, body), width - 2 * margin, values, colour, font, font_size, label)
    return picture


def normalise(values: Sequence[float | None]) -> list[float | None]:
    """Min-max of the defined values; all zero where they are equal.

    >>> normalise([2.0, None, 4.0, 3.0]), normalise([7.0])
    ([0.0, None, 1.0, 0.5], [0.0])
    """
    defined = [value for value in values if value is not None]
    if not np.isfinite(defined).all():
        raise VkitError("a value is not finite; give None where a value is undefined")
    low, high = (min(defined), max(defined)) if defined else (0.0, 0.0)
    span = high - low
    return [None if value is None else ((value - low) / span if span > 0 else 0.0) for value in values]


def printable_lines(token: str, font: Font) -> list[str]:
    """The lines of a token; all but the last end with a line break."""
    return [printable(line, font) for line in re.split(r"\r\n|\n|\r", token)]


def _lay_out(tokens: list[list[str]], font: Font, width: int) -> list[_Cell]:
    """Places for all tokens, broken where a word begins, or anywhere within a word wider than ``width``."""
    space = round(font.getlength(" "))
    parts = [
        (index, text, number < len(lines))
        for index, lines in enumerate(tokens)
        for number, text in enumerate(lines, 1)
        if text
        or number < len(lines)
        or number == 1  # nothing is drawn for what follows a token's last break
    ]
    cells: list[_Cell] = []
    left = line = 0
    for word in _words(parts):
        word_width = sum(_width(text[:width], font) + 2 * space * newline for _, text, newline in word)
        if left and left + word_width > width:
            left, line = 0, line + 1
            index, text, newline = word[0]
            word[0] = (index, text.lstrip(" ") or text, newline)
        for index, text, newline in word:
            while (fits := _fitting(text, font, width - left)) < len(text):
                fits = fits or (0 if left else 1)
                if fits:
                    cells.append(_Cell(index, text[:fits], left, line, _width(text[:fits], font)))
                text, left, line = text[fits:], 0, line + 1
            if text or not newline:
                cell_width = _width(text, font) or space
                cells.append(_Cell(index, text, left, line, cell_width))
                left += cell_width
            if newline:
                cells.append(_Cell(index, "", left, line, 2 * space, newline=True))
                left, line = 0, line + 1
    return cells


def _words(parts: list[tuple[int, str, bool]]) -> list[list[tuple[int, str, bool]]]:
    """Parts grouped so that a line may break between groups: before a blank, after one or a line end."""
    words: list[list[tuple[int, str, bool]]] = []
    open_word = False
    for index, text, newline in parts:
        if open_word and not text.startswith(" "):
            words[-1].append((index, text, newline))
        else:
            words.append([(index, text, newline)])
        open_word = not newline and not text.endswith(" ")
    return words


def _width(text: str, font: Font) -> int:
    return round(font.getlength(text))


def _fitting(text: str, font: Font, width: int) -> int:
    """How many of the first characters fit into ``width``; of a line, not of all that follows it."""
    low, high = 0, min(len(text), 8 + 8 * width // int(font.size))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _width(text[:middle], font) <= width else (low, middle - 1)
    return low


def _draw_cell(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: _Cell,
    corner: tuple[int, int],
    size: int,
    font: Font,
    strength: float | None,
    colour: str,
) -> None:
    left, top = corner
    box = (left, top, left + cell.width - 2, top + round(1.45 * size))  # two pixels keep neighbours apart
    if strength is None:
        _hatch(picture, box)
        ink = (0, 0, 0)
    else:
        background = ramp(colour, strength)
        ink = text_colour(background)
        draw.rectangle(box, fill=tuple(background.tolist()))
    middle = (box[1] + box[3]) // 2
    if cell.newline:
        _draw_return(draw, (box[0] + cell.width // 2 - 1, middle), size // 4, ink)
    else:
        draw.text((left - 1, middle + size // 3), cell.text, fill=ink, font=font, anchor="ls")


def _hatch(picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Diagonal lines inside an outline."""
    width, height = max(1, box[2] - box[0] + 1), box[3] - box[1] + 1
    tile = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(tile)
    for start in range(-height, width, 8):
        draw.line((start, height, start + height, 0), fill=_HATCH)
    draw.rectangle((0, 0, width - 1, height - 1), outline=_GREY)
    picture.paste(tile, box[:2])


def _draw_return(
    draw: ImageDraw.ImageDraw, centre: tuple[int, int], arm: int, ink: tuple[int, int, int]
) -> None:
    """The return arrow, drawn by lines since few fonts hold it."""
    x, y = centre
    stroke = max(1, arm // 4)
    draw.line([(x + arm, y - arm), (x + arm, y), (x - arm, y)], fill=ink, width=stroke)
    draw.line(
        [(x - arm // 3, y - arm // 2), (x - arm, y), (x - arm // 3, y + arm // 2)], fill=ink, width=stroke
    )


def _draw_legend(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    width: int,
    values: Sequence[float | None],
    colour: str,
    font: Path | str | None,
    font_size: int,
    label: str,
) -> None:
    """One line: the label, the ramp between its two numbers, and what hatching means where it occurs."""
    size = max(10, round(0.7 * font_size))
    face = load_font(size, font)
    defined = [value for value in values if value is not None]
    left, top = corner
    draw.line((left, top - size // 2, left + width, top - size // 2), fill=_HATCH)
    middle = top + size
    words = f"{label}, this answer's lowest to highest:"
    if _width(words, face) + 22 * size > width:
        words = label
    words = printable(words, face)

    def write(text: str, x: int) -> int:
        draw.text((x, middle), text, fill="black", font=face, anchor="lm")
        return x + _width(text, face) + size // 2

    x = write(words, left)
    if not defined:
        write("undefined for every token", x)
        return
    x = write(f"{min(defined):.3g}", x)
    bar = np.broadcast_to(ramp(colour, np.linspace(0, 1, 6 * size)), (size, 6 * size, 3))
    picture.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, middle - size // 2))
    draw.rectangle((x - 1, middle - size // 2 - 1, x + 6 * size, middle + size // 2), outline=_GREY)
    x = write(f"{max(defined):.3g}", x + 6 * size + size // 2)
    if len(defined) < len(values):
        x += size
        _hatch(picture, (x, middle - size // 2, x + size, middle + size // 2))
        write("undefined", x + 2 * size)
