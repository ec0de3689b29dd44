"""Families of functions and their graphs; importing the package registers them."""

from vkit.synthesis.functions import lines

__all__ = ["lines"]
