"""Families of plane geometry; importing the package registers them."""

from vkit.synthesis.plane import (
    chords,
    circles,
    lines,
    polygons,
    quadrilaterals,
    right_triangles,
    similarity,
    triangles,
)

__all__ = [
    "chords",
    "circles",
    "lines",
    "polygons",
    "quadrilaterals",
    "right_triangles",
    "similarity",
    "triangles",
]
