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
from PIL import Image

from vkit.errors import VkitError
from vkit.report.colours import ramp, text_colour
from vkit.report.marks import colour_bar, hatch, shorten
from vkit.report.surfaces import BLACK, Colour, Point, RasterSurface, Surface

_GREY = (110, 110, 110)
_HATCH = (200, 200, 200)
_LINE = 1.75  # from line to line, in font sizes
_CELL = 1.45  # height of a token's colour, in font sizes
_NARROWEST = 12  # font sizes, for the legend
_LEGEND = 0.8  # size of the legend's letters, in font sizes
_BAR = 6  # largest width of the legend's ramp, in sizes of its letters


@dataclass(frozen=True)
class _Cell:
    """A token, or the part of it that fits a line, at its place."""

    token: int
    text: str
    left: float
    line: int
    width: float
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
    surface = RasterSurface(font=font)
    heatmap_on(
        surface,
        tokens,
        values,
        width=width,
        margin=font_size,
        colour=colour,
        font_size=font_size,
        label=label,
    )
    return surface.image


def heatmap_on(
    surface: Surface,
    tokens: Sequence[str],
    values: Sequence[float | None],
    *,
    width: float,
    margin: float,
    colour: str = "oranges",
    font_size: float = 8,
    label: str = "attention ratio",
) -> None:
    """The heat-map of `draw_heatmap` on any surface; lengths are the surface's units."""
    if len(tokens) != len(values):
        raise VkitError(f"{len(tokens)} tokens but {len(values)} values; give one value a token")
    if width < _NARROWEST * font_size:
        raise VkitError(
            f"width {width} is too small for font size {font_size}; give at least {_NARROWEST * font_size}"
        )
    strengths = normalise(values)
    inner = width - 2 * margin
    cells = _lay_out([_lines(surface, token) for token in tokens], surface, font_size, inner)
    lines = cells[-1].line + 1 if cells else 1
    legend = _lay_legend(surface, values, label, _LEGEND * font_size, inner)
    body = margin + (lines - 1) * _LINE * font_size + _CELL * font_size
    rule = body + 0.75 * font_size
    legend_height = (1 + 1.6 * legend[-1].line) * _LEGEND * font_size
    surface.page(width, rule + 0.5 * font_size + legend_height + margin)
    for cell in cells:
        corner = (margin + cell.left, margin + cell.line * _LINE * font_size)
        _draw_cell(surface, cell, corner, font_size, strengths[cell.token], colour)
    surface.line([(margin, rule), (width - margin, rule)], _HATCH, font_size / 16)
    _draw_legend(surface, legend, (margin, rule + 0.5 * font_size), _LEGEND * font_size, colour)


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


def _lines(surface: Surface, token: str) -> list[str]:
    """The lines of a token; all but the last end with a line break."""
    return [surface.spell(line) for line in re.split(r"\r\n|\n|\r", token)]


def _lay_out(tokens: list[list[str]], surface: Surface, size: float, width: float) -> list[_Cell]:
    """Places for all tokens, broken where a word begins, or anywhere within a word wider than ``width``."""
    space = surface.measure(" ", size)
    parts = [
        (index, text, number < len(lines))
        for index, lines in enumerate(tokens)
        for number, text in enumerate(lines, 1)
        if text
        or number < len(lines)
        or number == 1  # nothing is drawn for what follows a token's last break
    ]
    cells: list[_Cell] = []
    left, line = 0.0, 0
    for word in _words(parts):
        # Of a very long word its beginning tells that it is too wide.
        word_width = sum(
            surface.measure(text[: int(8 * width / size)], size) + 2 * space * newline
            for _, text, newline in word
        )
        if left and left + word_width > width:
            left, line = 0.0, line + 1
            index, text, newline = word[0]
            word[0] = (index, text.lstrip(" ") or text, newline)
        for index, text, newline in word:
            while (fits := _fitting(text, surface, size, width - left)) < len(text):
                fits = fits or (0 if left else 1)
                if fits:
                    cells.append(_Cell(index, text[:fits], left, line, surface.measure(text[:fits], size)))
                text, left, line = text[fits:], 0.0, line + 1
            if text or not newline:
                cell_width = surface.measure(text, size) or space
                cells.append(_Cell(index, text, left, line, cell_width))
                left += cell_width
            if newline:
                cells.append(_Cell(index, "", left, line, 2 * space, newline=True))
                left, line = 0.0, line + 1
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


def _fitting(text: str, surface: Surface, size: float, width: float) -> int:
    """How many of the first characters fit into ``width``; of a line, not of all that follows it."""
    low, high = 0, min(len(text), 8 + int(8 * width / size))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if surface.measure(text[:middle], size) <= width else (low, middle - 1)
    return low


def _draw_cell(
    surface: Surface, cell: _Cell, corner: Point, size: float, strength: float | None, colour: str
) -> None:
    left, top = corner
    gap = size / 20  # keeps neighbours apart
    box = (left, top, left + max(gap, cell.width - gap), top + _CELL * size)
    ink: Colour = BLACK
    if strength is None:
        hatch(surface, box, step=size / 4, ink=_HATCH, outline=_GREY)
    else:
        background = ramp(colour, strength)
        ink = text_colour(background)
        surface.rectangle(box, fill=background)
    if cell.newline:
        _draw_return(surface, (left + (cell.width - gap) / 2, top + _CELL * size / 2), size / 4, ink)
    else:
        surface.text(left - gap / 2, top + (_CELL / 2 + 1 / 3) * size, cell.text, size=size, ink=ink)


def _draw_return(surface: Surface, centre: Point, arm: float, ink: Colour) -> None:
    """The return arrow, drawn by lines since few fonts hold it."""
    x, y = centre
    stroke = arm / 4
    surface.line([(x + arm, y - arm), (x + arm, y), (x - arm, y)], ink, stroke)
    surface.line([(x - arm / 3, y - arm / 2), (x - arm, y), (x - arm / 3, y + arm / 2)], ink, stroke)


@dataclass(frozen=True)
class _Mark:
    """A piece of the legend at its place: a text, the ramp, or the hatching."""

    what: str  # "text", "ramp" or "hatch"
    text: str
    left: float
    line: int
    width: float


def _lay_legend(
    surface: Surface, values: Sequence[float | None], label: str, size: float, width: float
) -> list[_Mark]:
    """The label, the ramp between its two numbers, and what hatching means where it occurs.

    They stand in one line, or below each other where that is too narrow.
    """
    defined = [value for value in values if value is not None]
    if not defined:
        groups = [[("text", f"{label}:")], [("text", "undefined for every token" if values else "no token")]]
    else:
        low, high = f"{min(defined):.3g}", f"{max(defined):.3g}"
        groups = [
            [("text", f"{label}, this answer's lowest to highest:")],
            [("text", low), ("ramp", ""), ("text", high)],
        ]
        if len(defined) < len(values):
            groups.append([("hatch", ""), ("text", "undefined")])
    marks: list[_Mark] = []
    left, line = 0.0, 0
    for group in groups:
        texts = [shorten(surface, surface.spell(text), size, width) for _, text in group]
        widths = [surface.measure(text, size) if text else size for text in texts]
        gaps = size / 2 * (len(group) - 1)
        bar = max(size, min(_BAR * size, width - sum(widths) - gaps + size))
        widths = [bar if what == "ramp" else wide for (what, _), wide in zip(group, widths)]
        if left and left + sum(widths) + gaps > width:
            left, line = 0.0, line + 1
        for (what, _), text, wide in zip(group, texts, widths):
            marks.append(_Mark(what, text, left, line, wide))
            left += wide + size / 2
        left += size / 2
    return marks


def _draw_legend(surface: Surface, marks: list[_Mark], corner: Point, size: float, colour: str) -> None:
    for mark in marks:
        left, top = corner[0] + mark.left, corner[1] + 1.6 * mark.line * size
        if mark.what == "text":
            surface.text(left, top + 0.85 * size, mark.text, size=size)
        elif mark.what == "ramp":
            colours = ramp(colour, np.linspace(0, 1, 96))
            colour_bar(surface, (left, top, left + mark.width, top + size), colours, outline=_GREY)
        else:
            hatch(surface, (left, top, left + size, top + size), step=size / 3, ink=_HATCH, outline=_GREY)
