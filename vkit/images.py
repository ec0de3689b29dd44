"""Opens the images of records: whole, upright, in RGB, and never outside their folder.

image = open_image(resolve_inside(folder, "images/11.png"))
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vkit.errors import VkitError

# Pillow only warns at this size and raises at twice of it; we refuse at once.
PIXEL_LIMIT = 89_478_485
# Pictures of data sets. Pillow knows more kinds, of which one (EPS) starts another program.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")


def resolve_inside(folder: Path, relative: str) -> Path:
    """The file that a record names, refused where it lies outside ``folder`` (links included).

    >>> resolve_inside(Path("."), "../secret.png")
    Traceback (most recent call last):
    vkit.errors.VkitError: image '../secret.png' lies outside its folder .; use a path inside it
    """
    refusal = VkitError(f"image {relative!r} lies outside its folder {folder}; use a path inside it")
    if "\0" in relative or os.path.isabs(relative):
        raise refusal
    root = os.path.realpath(folder)
    try:
        path = os.path.realpath(os.path.join(root, relative))
    except ValueError as error:  # half a surrogate pair
        raise VkitError(f"image {relative!r} is no path ({error}); correct it") from error
    if os.path.commonpath([root, path]) != root:
        raise refusal
    return Path(path)


def open_image(path: Path, *, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
    """The image at ``path`` in RGB, transparent parts on white, turned as its EXIF orientation says.

    Its kind is told by its content, never by its name, and is one of `FORMATS`.

    Raises:
        VkitError: the file is missing, is no image, is cut short, or has more than ``pixel_limit`` pixels.
    """
    if not os.path.isfile(path):  # a name too long for the disk is missing too
        raise VkitError(f"image {path} is missing; check the record's path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit comes next
            file = Image.open(path, formats=_formats())
        with file:
            width, height = file.size
            if width * height > pixel_limit:
                raise VkitError(
                    f"image {path} has {width} x {height} pixels, over the limit of {pixel_limit}; "
                    "scale it down"
                )
            image: Image.Image = _in_8_bits(ImageOps.exif_transpose(file), file.format, path)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                return Image.alpha_composite(white, image).convert("RGB")
            return image.convert("RGB")
    except Image.DecompressionBombError as error:  # Pillow's own, higher limit, before it tells the size
        raise VkitError(f"image {path} is over the limit of {pixel_limit} pixels; scale it down") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise VkitError(f"image {path} cannot be read ({error}); replace the file") from error


def png_bytes(image: Image.Image, *, dpi: float | None = None) -> bytes:
    """The image as PNG, the same bytes every time; with ``dpi`` it knows its size in print."""
    buffer = BytesIO()
    options = {} if dpi is None else {"dpi": (dpi, dpi)}
    image.save(buffer, "PNG", **options)  # a third smaller if optimised, in ten times the time
    return buffer.getvalue()


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _in_8_bits(image: Image.Image, kind: str | None, path: Path) -> Image.Image:
    """A grey picture of 16 bits in 8, which Pillow would clip to white; no other depth says what white is."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise VkitError(f"image {path} has 32 bits a pixel, whose white is not known; convert it to 8 or 16")
    return image
