"""Marks that several figures share, drawn on any surface.

>>> from vkit.report.surfaces import SvgSurface
>>> shorten(SvgSurface(), "as long as it takes", size=8, width=40)
'as lo...'
"""

from __future__ import annotations

import numpy as np

from vkit.report.surfaces import Box, Colour, Surface


def hatch(surface: Surface, box: Box, *, step: float, ink: Colour, outline: Colour) -> None:
    """Diagonal lines that end at the edges of ``box``, within an outline: a value that is undefined."""
    left, top, right, bottom = box
    surface.rectangle(box, fill=(255, 255, 255))
    total = left + top + step  # x + y of a line's points
    while total < right + bottom:
        start = max(left, total - bottom), min(bottom, total - left)
        end = min(right, total - top), max(top, total - right)
        surface.line([start, end], ink, step / 10)
        total += step
    surface.rectangle(box, outline=outline)


def colour_bar(surface: Surface, box: Box, colours: np.ndarray, *, outline: Colour) -> None:
    """The colours, (n, 3), from left to right within an outline.

    Each reaches to the right end and is covered by the next: side by side they would show hairlines.
    """
    left, top, right, bottom = box
    for number, colour in enumerate(colours):
        start = left + (right - left) * number / len(colours)
        surface.rectangle((start, top, right, bottom), fill=colour)
    surface.rectangle(box, outline=outline)


def shorten(surface: Surface, text: str, size: float, width: float) -> str:
    """Spelt ``text``, cut with three dots where it is wider than ``width``."""
    if surface.measure(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = surface.measure(text[:middle] + "...", size) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low] + "..."
