"""Families of functions and their graphs; importing the package registers them."""

from vkit.synthesis.functions import (
    absolute,
    areas,
    exponentials,
    inequalities,
    intersections,
    lines,
    parabolas,
    parabolas_through,
    piecewise,
    transformations,
    trigonometric,
)

__all__ = [
    "absolute",
    "areas",
    "exponentials",
    "inequalities",
    "intersections",
    "lines",
    "parabolas",
    "parabolas_through",
    "piecewise",
    "transformations",
    "trigonometric",
]
