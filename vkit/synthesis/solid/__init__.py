"""Families of solid geometry; importing the package registers them."""

from vkit.synthesis.solid import (
    boxes,
    composites,
    cubes,
    distances,
    hollows,
    nets,
    prisms,
    pyramids,
    rounds,
    sections,
    similar_sections,
    spheres,
)

__all__ = [
    "boxes",
    "composites",
    "cubes",
    "distances",
    "hollows",
    "nets",
    "prisms",
    "pyramids",
    "rounds",
    "sections",
    "similar_sections",
    "spheres",
]
