"""Text for pictures: a font of any size, and a spelling that it can show.

>>> font = load_font(24)
>>> printable("find x\\u202e in 三", font)
'find x\\\\u202e in \\\\u4e09'

A character without a glyph is spelt as its Unicode escape instead of an empty box. Pillow's own font covers
English and little else, so DejaVu Sans or its like, which knows é, ° and ∠, is taken where it is installed.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import ImageFont

from vkit.errors import VkitError

Font = ImageFont.FreeTypeFont
WIDE_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf")  # found by name wherever the system keeps its fonts
_NO_CHARACTER = "\uffff"  # never assigned, so every font draws its "missing" glyph
_EM = 1000  # pixels at which hinting moves no width


@lru_cache(maxsize=64)
def load_font(size: float, path: Path | str | None = None) -> Font:
    """A TrueType font of ``size`` pixels; None: one of `WIDE_FONTS` if installed, else Pillow's own.

    Raises:
        VkitError: ``path`` is no font.
    """
    path = _installed_font() if path is None else path
    try:
        font = ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
    except OSError as error:
        raise VkitError(f"font {path} cannot be read ({error}); give a TrueType file") from error
    assert isinstance(font, Font), "Pillow without FreeType has only a bitmap font"
    return font


@lru_cache(maxsize=1)
def _installed_font() -> str | None:
    for name in WIDE_FONTS:
        try:
            return str(ImageFont.truetype(name).path)
        except OSError:  # not installed
            continue
    return None


def font_source() -> bytes:
    """The TrueType file of the font that `load_font` takes by itself, for documents that embed it."""
    source = load_font(24).path
    if isinstance(source, str):
        return Path(source).read_bytes()
    assert isinstance(source, BytesIO), "Pillow keeps its own font in memory"
    return source.getvalue()


def em_width(text: str) -> float:
    """Width of ``text`` at font size 1, each character by itself: no hinting, no kerning, as in a PDF."""
    return sum(map(_advance, text))


@lru_cache(maxsize=4096)
def _advance(character: str) -> float:
    return load_font(_EM).getlength(character) / _EM


def printable(text: str, font: Font) -> str:
    """``text`` with control characters, bidirectional marks and missing glyphs spelt as escapes."""
    return "".join(character if _has_glyph(character, font) else _escape(character) for character in text)


@lru_cache(maxsize=4096)
def _has_glyph(character: str, font: Font) -> bool:
    if character == " ":
        return True
    if not character.isprintable() or 0xD800 <= ord(character) <= 0xDFFF:
        return False
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
