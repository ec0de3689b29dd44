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

import numpy as np
from PIL import Image, ImageDraw

from vkit.errors import VkitError
from vkit.report.colours import ramp
from vkit.report.lettering import load_font, printable

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
    drawn = density(boxes, weights, image.size)
    top = float(drawn.max(initial=0.0)) if scale is None else scale
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise VkitError(f"scale is {scale}; give a positive attention, for instance {STUDY_SCALE}")
    strength = np.clip(drawn / top, 0.0, 1.0) if top > 0 else np.zeros_like(drawn)
    colour = colour or contrasting_ramp(image)
    alpha = FULL_ALPHA * strength[..., None]
    blended = (1 - alpha) * np.asarray(image, dtype=np.float64) + alpha * ramp(colour, strength)
    return _framed(Image.fromarray(np.rint(blended).astype(np.uint8)), colour, top, title)


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


def contrasting_ramp(image: Image.Image) -> str:
    """A ramp whose high end stands out: dark on a light picture (most diagrams), bright on a dark one."""
    return "viridis_r" if np.asarray(image.convert("L")).mean() >= 128 else "viridis"


def _enlarge(image: Image.Image) -> Image.Image:
    """The picture with a longer side of at least `SMALLEST_SIDE` pixels."""
    factor = SMALLEST_SIDE / max(image.size)
    if factor <= 1:
        return image
    return image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.LANCZOS)


def _framed(picture: Image.Image, colour: str, top: float, title: str | None) -> Image.Image:
    """The picture on white paper with a margin, its title above and the legend of its colours below."""
    margin, size = 24, 20
    font = load_font(size)
    head = 2 * size if title else 0
    framed = Image.new("RGB", (picture.width + 2 * margin, picture.height + head + 4 * margin), "white")
    framed.paste(picture, (margin, margin + head))
    draw = ImageDraw.Draw(framed)
    if title:
        draw.text((margin, margin), printable(title, font), fill="black", font=font)
    left, right = "attention 0", f"{top:.3g}"
    start = margin + round(font.getlength(left)) + 12
    stop = max(start + 1, min(start + 320, framed.width - margin - round(font.getlength(right)) - 12))
    middle = margin + head + picture.height + round(1.5 * margin)
    position = np.linspace(0, 1, stop - start)[None, :, None]
    # As over white: the bar shows what the eye sees on a diagram, transparency included.
    bar = 255 * (1 - FULL_ALPHA * position) + FULL_ALPHA * position * ramp(colour, position[..., 0])
    framed.paste(
        Image.fromarray(np.rint(bar).astype(np.uint8)).resize((stop - start, size)),
        (start, middle - size // 2),
    )
    draw.rectangle((start - 1, middle - size // 2 - 1, stop, middle + size // 2), outline=(110, 110, 110))
    draw.text((margin, middle), left, fill="black", font=font, anchor="lm")
    draw.text((stop + 12, middle), right, fill="black", font=font, anchor="lm")
    return framed
