"""The few colours that reports need, without a plotting library: ramps, and text that stays legible on them.

>>> to_hex(ramp("oranges", 0.0)), to_hex(ramp("oranges", 1.0))
('#fff5eb', '#7f2704')

A ramp is a short table of anchor colours, evenly spaced from 0 to 1 and joined by straight lines in sRGB. All
three rise or fall in lightness throughout, so they survive colour blindness and a black-and-white printer.
Oranges is ColorBrewer's (the study's choice for tokens); viridis and cividis are sampled from the published
maps, at most 10 of 255 levels off in one channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vkit.errors import VkitError

RAMPS: dict[str, str] = {
    "oranges": "fff5eb fee6ce fdd0a2 fdae6b fd8d3c f16913 d94801 a63603 7f2704",
    "viridis": "440154 481f70 443983 3b528b 31688e 287c8e 21918c 20a486 35b779 5ec962 90d743 c8e020 fde725",
    "cividis": "00224e 083370 35456c 4f576c 666970 7d7c78 948e77 aea371 c8b866 e5cf52 fee838",
}


def ramp(name: str, position: float | np.ndarray) -> np.ndarray:
    """Colours of a ramp.

    Args:
        name: a key of `RAMPS`; with ``_r`` at its end the ramp runs backwards.
        position: any shape, 0 (low) to 1 (high); values outside are clipped.

    Returns:
        uint8, the shape of ``position`` plus a last axis of three (red, green, blue).

    Raises:
        VkitError: ``name`` is unknown.
    """
    table = anchors(name)
    at = np.clip(np.asarray(position, dtype=np.float64), 0.0, 1.0) * (len(table) - 1)
    channels = [np.interp(at, np.arange(len(table)), table[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def anchors(name: str) -> np.ndarray:
    """The anchor colours of a ramp, uint8 (anchors, 3), low to high."""
    known = name.removesuffix("_r")
    if known not in RAMPS:
        raise VkitError(f"colour {name!r} is unknown; choose one of {', '.join(RAMPS)}, or one with '_r'")
    table = np.array([list(bytes.fromhex(colour)) for colour in RAMPS[known].split()], dtype=np.uint8)
    return table[::-1] if name.endswith("_r") else table


def text_colour(background: Sequence[int] | np.ndarray) -> tuple[int, int, int]:
    """Black or white, whichever contrasts more; always at least 4.58:1, above WCAG 2's AA of 4.5:1.

    >>> text_colour((255, 245, 235)), text_colour((127, 39, 4))
    ((0, 0, 0), (255, 255, 255))
    """
    black, white = (0, 0, 0), (255, 255, 255)
    return max(black, white, key=lambda colour: contrast(colour, background))


def contrast(first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> float:
    """Contrast ratio of two sRGB colours (WCAG 2.2), from 1 to 21."""
    bright, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def to_hex(colour: Sequence[int] | np.ndarray) -> str:
    return "#" + bytes(int(channel) for channel in colour).hex()


def _luminance(colour: Sequence[int] | np.ndarray) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2), 0 to 1."""
    channels = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
