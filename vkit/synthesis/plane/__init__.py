"""Families of plane geometry; importing the package registers them."""

from vkit.synthesis.plane import (
    chords,
    circles,
    isosceles,
    lines,
    parallelograms,
    parallels,
    polygons,
    ratios,
    rectangles,
    right_triangles,
    sectors,
    similarity,
    tangents,
    trapezoids,
    triangles,
)

__all__ = [
    "chords",
    "circles",
    "isosceles",
    "lines",
    "parallelograms",
    "parallels",
    "polygons",
    "ratios",
    "rectangles",
    "right_triangles",
    "sectors",
    "similarity",
    "tangents",
    "trapezoids",
    "triangles",
]
