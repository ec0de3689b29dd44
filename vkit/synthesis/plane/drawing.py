"""What the families of plane geometry draw with: letters, poses, triangles from what is known of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vkit.synthesis.figure import Figure, Rejected

UNITS = ("cm", "cm", "m", "mm", "")
TRIPLES = (
    (3, 4, 5),
    (5, 12, 13),
    (8, 15, 17),
    (7, 24, 25),
    (20, 21, 29),
    (9, 40, 41),
    (12, 35, 37),
    (28, 45, 53),
    (33, 56, 65),
    (16, 63, 65),
    (48, 55, 73),
    (36, 77, 85),
    (39, 80, 89),
    (65, 72, 97),
)
_ALPHABET = "ABCDEFGHKLMNPQRSTUVWXYZ"  # O is kept for centers, I and J look like strokes


def letters(rng: random.Random, count: int) -> list[str]:
    """Names for points: mostly neighbours in the alphabet, as in textbooks."""
    if rng.random() < 0.7:
        start = rng.choice([0, 0, 0, 3, 9, 12, 14])
        start = min(start, len(_ALPHABET) - count)
        return list(_ALPHABET[start : start + count])
    return sorted(rng.sample(_ALPHABET, count))


def pose(figure: Figure, rng: random.Random) -> None:
    """Turn a figure: often upright, sometimes not, mirrored half of the time."""
    degrees = rng.choice([0, 0, 0, 0, 90, 180, 270, rng.randrange(360), rng.randrange(-25, 26)])
    figure.turn(degrees, mirror=rng.random() < 0.5)


def whole_sides(rng: random.Random, longest: int = 360) -> tuple[int, int, int]:
    """Legs and hypotenuse of a right triangle, whole numbers up to ``longest``."""
    x, y, z = rng.choice(TRIPLES)
    k = rng.randint(1, longest // z)
    return (x * k, y * k, z * k) if rng.random() < 0.5 else (y * k, x * k, z * k)


def on_ray(degrees: float, distance: float = 1.0, start: Sequence[float] = (0.0, 0.0)) -> tuple[float, float]:
    """The place at a distance from a start in a direction."""
    angle = math.radians(degrees)
    return start[0] + distance * math.cos(angle), start[1] + distance * math.sin(angle)


def apex(alpha: float, beta: float, base: float = 1.0) -> tuple[float, float]:
    """The third corner of a triangle on (0, 0) and (base, 0) with those angles, in degrees."""
    a, b = math.tan(math.radians(alpha)), math.tan(math.radians(beta))
    x = base * b / (a + b) if abs(alpha - 90) > 1e-9 else 0.0
    y = x * a if abs(alpha - 90) > 1e-9 else base * b
    return (x, y) if abs(beta - 90) > 1e-9 else (base, base * a)


def corner(a: float, b: float, c: float) -> tuple[float, float]:
    """Where C lies for A (0, 0), B (c, 0) and the sides a = BC, b = CA, c = AB."""
    x = (b * b + c * c - a * a) / (2 * c)
    return x, math.sqrt(max(0.0, b * b - x * x))


def foot(figure: Figure, point: str, start: str, end: str) -> tuple[float, float]:
    """The foot of the perpendicular from a point to a line."""
    (x, y), (u, v), (p, q) = figure.at(start), figure.at(end), figure.at(point)
    share = ((p - x) * (u - x) + (q - y) * (v - y)) / ((u - x) ** 2 + (v - y) ** 2)
    return x + share * (u - x), y + share * (v - y)


def crossing(figure: Figure, first: tuple[str, str], second: tuple[str, str]) -> tuple[float, float]:
    """Where two lines cross."""
    (a, b), (c, d) = figure.at(first[0]), figure.at(first[1])
    (e, f), (g, h) = figure.at(second[0]), figure.at(second[1])
    along = ((e - a) * (h - f) - (f - b) * (g - e)) / ((c - a) * (h - f) - (d - b) * (g - e))
    return a + along * (c - a), b + along * (d - b)


def need(condition: bool, why: str = "the numbers make no good figure") -> None:
    """Reject numbers."""
    if not condition:
        raise Rejected(why)


def linear(factor: int, constant: int, unknown: str = "x") -> str:
    """A linear term as it is printed in an angle.

    >>> linear(3, -10), linear(1, 0)
    ('(3x - 10)°', 'x°')
    """
    head = f"{'' if factor == 1 else factor}{unknown}"
    if constant == 0:
        return f"{head}°"
    return f"({head} {'+' if constant > 0 else '-'} {abs(constant)})°"
