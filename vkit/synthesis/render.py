"""Paints a laid-out figure: smooth lines, labels set by `vkit.synthesis.typeset`, the same bytes every time.

picture = paint(lay_out(figure, marks, size=336), shown=marks)
picture_png(picture)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO

from PIL import Image, ImageDraw

from vkit.synthesis.layout import Layout
from vkit.synthesis.marks import Mark
from vkit.synthesis.pixels import Pixel
from vkit.synthesis.strokes import DOT, Stroke
from vkit.synthesis.typeset import typeset_into, typeset_size

FINE = 3  # drawn at so many times the size, then scaled down
SHADE = 205  # gray of shaded regions


def paint(layout: Layout, shown: Collection[Mark]) -> Image.Image:
    """A square RGB picture of the figure with those of its marks that are ``shown``."""
    picture = Image.new("L", (layout.size * FINE,) * 2, 255)
    drawing = ImageDraw.Draw(picture)
    for area in layout.areas:
        drawing.polygon([(x * FINE, y * FINE) for x, y in area], fill=SHADE)
    for stroke in layout.grid:
        _draw(drawing, stroke)
    for label in layout.labels:
        if label.halo:
            drawing.rectangle([side * FINE for side in label.box], fill=255)
    for stroke in (*layout.strokes, *(stroke for mark, stroke in layout.mark_strokes if mark in shown)):
        _draw(drawing, stroke)
    for x, y in layout.dots:
        _dot(drawing, (x, y), DOT * layout.size / 336)
    picture = picture.resize((layout.size,) * 2, Image.Resampling.BOX).convert("RGB")
    for label in layout.labels:
        if label.mark is None or label.mark in shown:
            place = (int(label.box[0]), int(label.box[1]))
            typeset_into(picture, place, label.text, width=40 * label.font_size, font_size=label.font_size)
    return picture


def with_text_below(
    picture: Image.Image, layout: Layout, text: str, choices: Sequence[str] = ()
) -> Image.Image:
    """The figure without its white margins above and below, a text and lettered choices under it."""
    margin = round(layout.size * 0.03)
    first, last = layout.height()
    top, bottom = max(0, math.floor(first) - margin), min(layout.size, math.ceil(last) + margin)
    font_size = max(8, round(layout.size * 0.047))
    width = layout.size - 2 * margin
    below = [(text, margin, bottom - top + margin)]
    y = below[0][2] + typeset_size(text, width=width, font_size=font_size)[1]
    options = [f"{chr(65 + index)}. {choice}" for index, choice in enumerate(choices)]
    sizes = [typeset_size(option, width=width, font_size=font_size) for option in options]
    columns = next((n for n in (4, 2) if all(across < width / n - font_size for across, _ in sizes)), 1)
    for start in range(0, len(options), columns):
        y += font_size // 2
        for column, option in enumerate(options[start : start + columns]):
            below.append((option, margin + column * width // columns, y))
        y += max(height for _, height in sizes[start : start + columns])
    page = Image.new("RGB", (layout.size, y + margin), "white")
    page.paste(picture.crop((0, top, layout.size, bottom)), (0, 0))
    for words, x, at in below:
        typeset_into(page, (x, at), words, width=width, font_size=font_size)
    return page


def picture_png(picture: Image.Image) -> bytes:
    """PNG bytes in gray, without time or comments."""
    buffer = BytesIO()
    picture.convert("L").save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw(drawing: ImageDraw.ImageDraw, stroke: Stroke) -> None:
    points = [(x * FINE, y * FINE) for x, y in stroke.points]
    width = max(1, round(stroke.width * FINE))
    if stroke.dashed:
        for part in _dashes(points, 7 * FINE * stroke.width / 2, 5 * FINE * stroke.width / 2):
            drawing.line(part, fill=stroke.gray, width=width)
        return
    drawing.line(points, fill=stroke.gray, width=width, joint="curve")
    if width > 3:
        for x, y in (points[0], points[-1]):
            drawing.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=stroke.gray)


def _dot(drawing: ImageDraw.ImageDraw, place: Pixel, radius: float) -> None:
    x, y, r = place[0] * FINE, place[1] * FINE, radius * FINE
    drawing.ellipse((x - r, y - r, x + r, y + r), fill=0)


def _dashes(points: list[Pixel], dash: float, gap: float) -> Iterator[list[Pixel]]:
    """The parts of a polyline that a dashed pen draws."""
    part, left, down = [points[0]], dash, True
    for start, end in itertools.pairwise(points):
        length, done = math.dist(start, end), 0.0
        while length - done > left:
            done += left
            share = done / length
            at = (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
            if down:
                yield [*part, at]
            part, down = [at], not down
            left = dash if down else gap
        left -= length - done
        part.append(end)
    if down and len(part) > 1:
        yield part
