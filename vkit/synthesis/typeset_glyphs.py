"""The characters that pictures can hold: those of Pillow's font, and strokes for those that it lacks.

    has_glyph("é"), has_glyph("中")      # True, False
    stroke_paths("π")                   # (advance, [points of each stroke, ...]), in ems above the baseline

Pillow brings one font, a cut of Aileron with ASCII and a few signs: no Greek letter, no root, no angle. What
mathematics needs beside is drawn here with a pen as wide as the font's stems.
"""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import ImageFont

PEN = 0.075  # width of the font's stems, ems
AXIS = 0.27  # height of minus signs and fraction bars over the baseline, ems

Points = tuple[tuple[float, float], ...]


def has_glyph(character: str) -> bool:
    """Whether one character can be drawn, by the font or by strokes.

    >>> has_glyph("x"), has_glyph("π"), has_glyph("中")
    (True, True, False)
    """
    return character in GLYPHS or in_font(character)


@lru_cache(maxsize=4096)
def in_font(character: str) -> bool:
    """Whether Pillow's font draws the character itself, not the box that stands for what it lacks."""
    if character == " ":
        return True
    missing, found = font(32).getmask("\U0010ffff"), font(32).getmask(character)
    return found.getbbox() is not None and (found.size != missing.size or bytes(found) != bytes(missing))


@lru_cache(maxsize=64)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a size in pixels."""
    loaded = ImageFont.load_default(size_px)
    assert isinstance(loaded, ImageFont.FreeTypeFont)  # else Pillow raises: it was built without FreeType
    return loaded


@lru_cache(maxsize=256)
def stroke_paths(character: str) -> tuple[float, tuple[Points, ...]]:
    """Advance and strokes of one of `GLYPHS`, in ems, y upwards from the baseline. A dot is one point."""
    advance, path = GLYPHS[character]
    return advance / 100, flatten(path)


def flatten(path: str) -> tuple[Points, ...]:
    """The strokes of a path as points, from hundredths of an em to ems.

    M x y starts a stroke, L x y is a line, C a cubic curve (two controls, end), Z closes the stroke,
    O cx cy rx ry is an ellipse, D x y a dot.

    >>> flatten("M 0 0 L 50 100 D 10 20")
    (((0.0, 0.0), (0.5, 1.0)), ((0.1, 0.2),))
    """
    strokes: list[list[tuple[float, float]]] = []
    tokens = path.split()
    while tokens:
        kind = tokens.pop(0)
        if kind == "Z":
            strokes[-1].append(strokes[-1][0])
            continue
        count = {"M": 2, "L": 2, "D": 2, "O": 4, "C": 6}[kind]
        numbers = [float(token) / 100 for token in tokens[:count]]
        del tokens[:count]
        if kind == "O":
            strokes.append(_ellipse(*numbers))
        elif kind == "C":
            strokes[-1] += _cubic(strokes[-1][-1], *zip(numbers[::2], numbers[1::2]))
        elif kind == "L":
            strokes[-1].append((numbers[0], numbers[1]))
        else:
            strokes.append([(numbers[0], numbers[1])])
    return tuple(tuple(stroke) for stroke in strokes)


def _ellipse(x: float, y: float, x_radius: float, y_radius: float) -> list[tuple[float, float]]:
    angles = [2 * math.pi * i / 32 for i in range(33)]
    return [(x + x_radius * math.cos(a), y + y_radius * math.sin(a)) for a in angles]


def _cubic(start: tuple[float, float], *rest: tuple[float, float]) -> list[tuple[float, float]]:
    controls = (start, *rest)
    points = []
    for i in range(1, 13):
        t = i / 12
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x = sum(weight * control[0] for weight, control in zip(weights, controls))
        y = sum(weight * control[1] for weight, control in zip(weights, controls))
        points.append((x, y))
    return points


# Character -> advance and path, hundredths of an em. The font: capitals and digits 69 high, x 53, descent 20.
_TILDE = "M 8 {0} C 15 {1} 22 {1} 29 {2} C 36 {3} 43 {3} 50 {4}"
GLYPHS: dict[str, tuple[float, str]] = {
    # Greek
    "α": (
        59,
        "M 53 53 C 44 20 36 -1 23 -1 C 10 -1 5 12 5 26 "
        "C 5 41 11 54 24 54 C 38 54 44 28 49 9 C 51 3 54 0 58 1",
    ),
    "β": (
        55,
        "M 10 -19 L 10 50 C 10 64 18 71 28 71 C 38 71 45 65 45 55 C 45 46 38 40 26 40 "
        "C 41 40 50 32 50 20 C 50 7 41 -1 29 -1 C 19 -1 12 4 10 10",
    ),
    "γ": (55, "M 2 52 C 11 54 16 46 20 36 L 31 6 M 52 53 L 31 6 C 26 -6 24 -12 24 -20"),
    "δ": (
        56,
        "M 45 66 C 38 72 17 73 17 60 C 17 48 50 46 50 22 C 50 8 41 -1 28 -1 C 15 -1 6 8 6 22 "
        "C 6 36 15 44 27 44 C 33 44 38 42 42 38",
    ),
    "ε": (50, "M 44 46 C 38 56 12 58 11 41 C 11 32 20 28 30 28 C 17 28 8 24 8 14 C 8 -4 36 -5 45 8"),
    "ζ": (46, "M 12 70 L 42 70 C 20 55 8 36 8 18 C 8 -4 42 8 42 -10 C 42 -17 36 -20 30 -18"),
    "η": (55, "M 4 52 C 9 54 10 50 10 44 L 10 0 M 10 36 C 14 48 22 54 31 54 C 42 54 47 47 47 37 L 47 -19"),
    "θ": (57, "O 28 35 22 36 M 6 35 L 50 35"),
    "ι": (24, "M 10 53 L 10 10 C 10 2 14 0 20 1"),
    "κ": (52, "M 10 53 L 10 0 M 46 53 L 10 20 M 22 31 L 48 0"),
    "λ": (52, "M 6 70 C 14 71 17 66 20 58 L 46 0 M 28 40 L 6 0"),
    "μ": (
        58,
        "M 10 -19 L 10 53 M 10 20 C 10 6 16 -1 27 -1 C 38 -1 45 7 45 18 M 45 53 L 45 10 C 45 3 48 0 54 1",
    ),
    "ν": (50, "M 5 53 L 25 0 L 45 53"),
    "ξ": (
        47,
        "M 10 70 L 42 70 C 12 68 6 46 26 40 C 4 38 2 10 22 4 C 34 0 44 0 42 -10 C 41 -17 36 -19 30 -18 "
        "M 26 40 L 38 40",
    ),
    "π": (58, "M 3 50 L 55 50 M 17 50 C 17 26 16 12 12 0 M 41 50 L 41 12 C 41 3 45 0 53 2"),
    "ρ": (
        57,
        "M 10 -19 L 10 26 C 10 43 18 54 31 54 C 44 54 51 43 51 27 C 51 10 44 -1 31 -1 C 20 -1 13 5 10 14",
    ),
    "σ": (58, "O 27 26 21 27 M 27 53 L 56 53"),
    "τ": (50, "M 3 50 L 47 50 M 25 50 L 25 12 C 25 3 30 0 38 2"),
    "φ": (64, "M 32 70 L 32 -19 O 32 26 26 27"),
    "χ": (50, "M 5 53 L 45 -18 M 45 53 L 5 -18"),
    "ψ": (64, "M 6 53 C 6 20 10 0 32 0 C 54 0 58 20 58 53 M 32 70 L 32 -19"),
    "ω": (
        67,
        "M 14 53 C 6 44 4 34 4 22 C 4 8 10 -1 19 -1 C 29 -1 33 8 33 20 L 33 36 "
        "M 33 20 C 33 8 38 -1 47 -1 C 57 -1 62 8 62 22 C 62 34 60 44 52 53",
    ),
    "Γ": (52, "M 48 66 L 10 66 L 10 0"),
    "Δ": (64, "M 5 4 L 32 65 L 59 4 Z"),
    "Θ": (72, "O 36 34.5 31 35 M 22 35 L 50 35"),
    "Λ": (64, "M 4 0 L 32 66 L 60 0"),
    "Ξ": (58, "M 6 66 L 52 66 M 12 35 L 46 35 M 6 4 L 52 4"),
    "Π": (68, "M 10 0 L 10 66 L 58 66 L 58 0"),
    "Σ": (60, "M 54 66 L 10 66 L 36 35 L 10 4 L 55 4"),
    "Φ": (72, "M 36 72 L 36 -3 O 36 35 29 24"),
    "Ψ": (72, "M 8 68 C 8 34 14 20 36 20 C 58 20 64 34 64 68 M 36 70 L 36 0"),
    "Ω": (
        72,
        "M 6 4 L 24 4 C 10 14 6 26 6 38 C 6 58 18 69 36 69 C 54 69 66 58 66 38 C 66 26 62 14 48 4 L 66 4",
    ),
    # operators
    "×": (58, "M 13 11 L 45 43 M 13 43 L 45 11"),
    "÷": (58, "M 8 27 L 50 27 D 29 46 D 29 8"),
    "−": (58, "M 8 27 L 50 27"),
    "∓": (58, "M 8 49 L 50 49 M 8 20 L 50 20 M 29 40 L 29 0"),
    "∘": (34, "O 17 27 10 10"),
    "∑": (66, "M 58 70 L 8 70 L 36 29 L 8 -12 L 60 -12"),
    "∏": (70, "M 4 70 L 66 70 M 14 70 L 14 -14 M 56 70 L 56 -14"),
    "∫": (44, "M 40 74 C 22 84 24 60 22 29 C 20 -2 22 -26 4 -16"),
    "∂": (
        56,
        "M 12 64 C 26 76 50 72 50 34 C 50 12 42 -1 27 -1 "
        "C 14 -1 6 8 6 20 C 6 32 14 42 27 42 C 38 42 46 36 50 28",
    ),
    "∇": (64, "M 5 65 L 32 4 L 59 65 Z"),
    # relations
    "≤": (58, "M 49 53 L 10 34 L 49 15 M 9 2 L 50 2"),
    "≥": (58, "M 9 53 L 48 34 L 9 15 M 9 2 L 50 2"),
    "≠": (58, "M 8 37 L 50 37 M 8 18 L 50 18 M 17 2 L 41 53"),
    "≡": (58, "M 8 44 L 50 44 M 8 27 L 50 27 M 8 10 L 50 10"),
    "∼": (58, _TILDE.format(20, 42, 27, 12, 34)),
    "∽": (58, _TILDE.format(34, 12, 27, 42, 20)),
    "≈": (58, _TILDE.format(31, 48, 37, 26, 43) + " " + _TILDE.format(11, 28, 17, 6, 23)),
    "≅": (58, _TILDE.format(42, 60, 48, 36, 54) + " M 8 25 L 50 25 M 8 8 L 50 8"),
    "∝": (66, "M 60 46 C 44 52 36 8 20 8 C 10 8 5 16 5 27 C 5 38 10 46 20 46 C 36 46 44 2 60 8"),
    "∥": (42, "M 13 -6 L 13 68 M 29 -6 L 29 68"),
    "⊥": (64, "M 6 4 L 58 4 M 32 4 L 32 66"),
    "∈": (58, "M 50 50 L 30 50 C 15 50 8 40 8 27 C 8 14 15 4 30 4 L 50 4 M 8 27 L 48 27"),
    "∉": (58, "M 50 50 L 30 50 C 15 50 8 40 8 27 C 8 14 15 4 30 4 L 50 4 M 8 27 L 48 27 M 18 -6 L 42 60"),
    "⊂": (58, "M 50 50 L 30 50 C 15 50 8 40 8 27 C 8 14 15 4 30 4 L 50 4"),
    "⊆": (58, "M 50 57 L 30 57 C 15 57 8 47 8 37 C 8 26 15 17 30 17 L 50 17 M 8 2 L 50 2"),
    "∪": (62, "M 10 56 L 10 24 C 10 8 18 0 31 0 C 44 0 52 8 52 24 L 52 56"),
    "∩": (62, "M 10 0 L 10 32 C 10 48 18 56 31 56 C 44 56 52 48 52 32 L 52 0"),
    "→": (86, "M 8 27 L 78 27 M 60 43 L 78 27 L 60 11"),
    "←": (86, "M 78 27 L 8 27 M 26 43 L 8 27 L 26 11"),
    "↔": (92, "M 8 27 L 84 27 M 66 43 L 84 27 L 66 11 M 26 43 L 8 27 L 26 11"),
    "⇒": (88, "M 8 36 L 68 36 M 8 18 L 68 18 M 56 50 L 80 27 L 56 4"),
    "⇔": (100, "M 22 36 L 78 36 M 22 18 L 78 18 M 68 50 L 92 27 L 68 4 M 32 50 L 8 27 L 32 4"),
    # geometry and the rest
    "∠": (66, "M 50 62 L 7 4 L 60 4"),
    "∡": (66, "M 50 62 L 7 4 L 60 4 M 26 34 C 36 28 41 18 41 4"),
    "△": (74, "M 6 4 L 37 62 L 68 4 Z"),
    "□": (68, "M 8 4 L 60 4 L 60 56 L 8 56 Z"),
    "▱": (80, "M 5 5 L 23 53 L 75 53 L 57 5 Z"),
    "⊙": (70, "O 35 30 29 29 D 35 30"),
    "○": (70, "O 35 30 29 29"),
    "⌒": (64, "M 6 22 C 16 48 48 48 58 22"),
    "∞": (
        86,
        "M 43 27 C 52 44 60 46 66 46 C 76 46 80 37 80 27 C 80 17 76 8 66 8 C 60 8 52 10 43 27 "
        "C 34 44 26 46 20 46 C 10 46 6 37 6 27 C 6 17 10 8 20 8 C 26 8 34 10 43 27",
    ),
    "∅": (62, "O 31 35 25 28 M 10 4 L 52 66"),
    "∴": (60, "D 30 52 D 12 8 D 48 8"),
    "∵": (60, "D 12 52 D 48 52 D 30 8"),
    "′": (22, "M 14 70 L 8 50"),
    "″": (36, "M 14 70 L 8 50 M 28 70 L 22 50"),
    "•": (40, "O 20 27 5 5 O 20 27 2 2"),
    "⋯": (70, "D 12 27 D 35 27 D 58 27"),
    "–": (50, "M 4 27 L 46 27"),
    "—": (90, "M 4 27 L 86 27"),
    "€": (60, "M 54 60 C 34 78 14 64 14 35 C 14 6 34 -8 54 10 M 4 42 L 44 42 M 4 28 L 42 28"),
    "£": (58, "M 48 58 C 42 74 18 72 18 54 C 18 40 26 22 10 4 L 50 4 M 8 36 L 40 36"),
    "¥": (58, "M 6 68 L 29 36 L 52 68 M 29 36 L 29 0 M 10 34 L 48 34 M 10 18 L 48 18"),
    "¢": (54, "M 46 44 C 34 58 8 56 8 27 C 8 -2 34 -4 46 10 M 28 62 L 28 -10"),
}
