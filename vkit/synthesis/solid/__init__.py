"""Families of solid geometry; importing the package registers them."""

from vkit.synthesis.solid import boxes

__all__ = ["boxes"]
