"""Draws where one output token looks: its attention to the image tokens, over the picture.

>>> picture = Image.new("RGB", (300, 200), "white")
>>> halves = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
>>> draw_overlay(picture, halves, np.array([0.0001, 0.0002]), scale=STUDY_SCALE).mode
'RGB'

Image tokens may overlap (tiles and a thumbnail of the whole picture), so what is drawn is a density: a token
spreads its attention evenly over its box, and boxes add up. With one grid of equal boxes the density,
times the area of a box, is the token's attention itself, as in the study's pictures.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from vkit.errors import VkitError
from vkit.report.colours import anchors, contrast, ramp
from vkit.report.marks import colour_bar, shorten
from vkit.report.surfaces import Point, RasterSurface, Surface

STUDY_SCALE = 0.0002  # the attention that the study draws at full strength, for 27 x 27 patches
FULL_ALPHA = 0.75  # the picture must stay visible under the strongest attention
SMALLEST_SIDE = 640  # pixels of the longer side; smaller pictures are enlarged so that the grid is legible


def draw_overlay(
    image: Image.Image,
    boxes: np.ndarray,
    weights: np.ndarray,
    *,
    scale: float | None = None,
    colour: str | None = None,
    title: str | None = None,
) -> Image.Image:
    """The picture under one token's attention, with a legend below.

    Args:
        image: the picture; its longer side is enlarged to `SMALLEST_SIDE` pixels where it is shorter.
        boxes: (n, 4) left, top, right, bottom of each image token in fractions of the picture. They may reach
            beyond 0..1 (padding; clipped) and overlap (densities add). A row of NaN has no place.
        weights: (n,) attention of the output token to each image token, >= 0.
        scale: attention per median box that is drawn at full strength; None: the largest drawn here. The
            study's is `STUDY_SCALE`, which also makes pictures of several tokens comparable.
        colour: a ramp of `vkit.report.colours`; None: see `contrasting_ramp`.
        title: a line above the picture, for instance the token.

    Returns:
        An RGB picture: title, picture with overlay, legend.

    Raises:
        VkitError: the shapes disagree, a weight is negative or not finite, or ``scale`` is not positive.
    """
    image = _enlarge(image.convert("RGB"))
    surface = RasterSurface()
    margin = 24
    overlay_on(
        surface,
        image,
        boxes,
        weights,
        width=image.width + 2 * margin,
        height=image.height,
        margin=margin,
        font_size=20,
        scale=scale,
        colour=colour,
        title=title,
    )
    return surface.image


def overlay_on(
    surface: Surface,
    image: Image.Image,
    boxes: np.ndarray,
    weights: np.ndarray,
    *,
    width: float,
    height: float,
    margin: float,
    font_size: float = 8,
    scale: float | None = None,
    colour: str | None = None,
    title: str | None = None,
) -> None:
    """The overlay of `draw_overlay` on any surface; lengths are the surface's units.

    Picture and attention are one raster, at the picture's full resolution or that of print: boxes of vectors
    show hairlines between them in most readers, and printers stumble over transparency.

    Args:
        width: of the whole, margins included.
        height: at most, of the picture alone; a taller one is drawn smaller, in the middle.
    """
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise VkitError(f"scale is {scale}; give a positive attention, for instance {STUDY_SCALE}")
    inner = width - 2 * margin
    shrink = min(inner / image.width, height / image.height)
    wide, high = shrink * image.width, shrink * image.height
    size = surface.picture_pixels(wide, high, image.size)
    image = image.convert("RGB")
    image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    drawn = density(boxes, weights, size)
    full = float(drawn.max(initial=0.0)) if scale is None else scale
    colour = colour or contrasting_ramp(image)
    blended = _blend(image, drawn / full if full > 0 else drawn, colour)

    left = margin + (inner - wide) / 2
    top = margin + (2 * font_size if title else 0)
    legend = top + high + 0.8 * font_size
    surface.page(width, legend + font_size + margin)
    if title:
        line = shorten(surface, surface.spell(title), font_size, inner)
        surface.text(margin, margin + 0.95 * font_size, line, size=font_size)
    surface.picture(blended, (left, top, left + wide, top + high))
    paper = 255 if _is_light(image) else 0
    beyond = full * 1.001 < drawn.max(initial=0.0)
    highest = f"{full:.3g}" + " and above" * bool(beyond)
    _draw_legend(surface, (margin, legend), font_size, inner, colour, highest, paper)


def strongest(boxes: np.ndarray, tokens: Iterable[np.ndarray], size: tuple[int, int]) -> float:
    """The highest density that any of the tokens' weights, each (n,), reach over a picture of ``size``."""
    shrink = min(1.0, SMALLEST_SIDE / max(size))  # enough pixels for any grid of boxes
    small = max(1, round(shrink * size[0])), max(1, round(shrink * size[1]))
    return max((float(density(boxes, weights, small).max(initial=0.0)) for weights in tokens), default=0.0)


def density(boxes: np.ndarray, weights: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Attention per area of the median box (of those inside the picture), at each pixel.

    Args:
        boxes: (n, 4) fractions of the picture, as in `draw_overlay`.
        weights: (n,).
        size: width and height in pixels.

    Returns:
        float64 (height, width). Boxes end at whole pixels, so neighbours leave neither gap nor seam.
    """
    boxes, weights = np.asarray(boxes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or weights.shape != boxes.shape[:1]:
        raise VkitError(f"boxes {boxes.shape} and weights {weights.shape} disagree; give (n, 4) and (n,)")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise VkitError("a weight is negative or not finite; give attention weights")
    if ((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])).any():
        raise VkitError("a box is empty or turned around; give left < right and top < bottom")
    width, height = size
    field = np.zeros((height, width))
    boxes, weights = boxes[inside(boxes)], weights[inside(boxes)]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    if not len(boxes):
        return field
    pixels = np.rint(np.clip(boxes, 0.0, 1.0) * (width, height, width, height)).astype(int)
    for (left, top, right, bottom), value in zip(pixels, weights * np.median(areas) / areas):
        field[top:bottom, left:right] += value
    return field


def inside(boxes: np.ndarray) -> np.ndarray:
    """Which of the (n, 4) boxes reach into the picture: not those without a place, or all in the padding."""
    left, top, right, bottom = np.asarray(boxes).T
    return (left < 1) & (top < 1) & (right > 0) & (bottom > 0)


def contrasting_ramp(image: Image.Image, name: str = "viridis") -> str:
    """A ramp whose high end stands out: dark on a light picture (most diagrams), bright on a dark one.

    >>> contrasting_ramp(Image.new("L", (1, 1), 255)), contrasting_ramp(Image.new("L", (1, 1)), "oranges")
    ('viridis_r', 'oranges_r')
    """
    low, high = (contrast(end, (0, 0, 0)) for end in anchors(name)[[0, -1]])
    return name if _is_light(image) == (high < low) else f"{name}_r"


def _is_light(image: Image.Image) -> bool:
    return bool(np.asarray(image.convert("L")).mean() >= 128)


def _enlarge(image: Image.Image) -> Image.Image:
    """The picture with a longer side of at least `SMALLEST_SIDE` pixels."""
    factor = SMALLEST_SIDE / max(image.size)
    if factor <= 1:
        return image
    return image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.LANCZOS)


def _blend(image: Image.Image, strength: np.ndarray, colour: str) -> Image.Image:
    """The picture under colours that are the stronger, and the more opaque, the higher ``strength``."""
    strength = np.clip(strength, 0.0, 1.0)
    alpha = FULL_ALPHA * strength[..., None]
    blended = (1 - alpha) * np.asarray(image, dtype=np.float64) + alpha * ramp(colour, strength)
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def _draw_legend(
    surface: Surface,
    corner: Point,
    size: float,
    width: float,
    colour: str,
    high: str,
    paper: int,
) -> None:
    """One line: no attention, the colours, and ``high``, the attention of full strength.

    The colours are those over white, or black under a dark picture: what the eye sees, transparency included.
    """
    left, top = corner
    low = "attention 0"
    gap = 0.6 * size
    start = left + surface.measure(low, size) + gap
    stop = min(start + 16 * size, left + width - surface.measure(high, size) - gap)
    position = np.linspace(0, 1, 96)[:, None]
    bar = paper * (1 - FULL_ALPHA * position) + FULL_ALPHA * position * ramp(colour, position[:, 0])
    colour_bar(
        surface, (start, top, max(start + size, stop), top + size), np.rint(bar), outline=(110, 110, 110)
    )
    surface.text(left, top + 0.85 * size, low, size=size)
    surface.text(max(start + size, stop) + gap, top + 0.85 * size, high, size=size)
