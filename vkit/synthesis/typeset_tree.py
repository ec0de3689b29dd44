"""The tree between the reading of a text and its layout: what stands in it, not where.

Scripts((Run("x"),), above=(Run("2"),))          # x squared
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Characters of the font."""

    text: str


@dataclass(frozen=True)
class Symbol:
    """One character that is drawn with strokes."""

    character: str


@dataclass(frozen=True)
class Space:
    """Room of so many ems, where a line may be broken."""

    ems: float


@dataclass(frozen=True)
class Break:
    """A new line."""


@dataclass(frozen=True)
class Group:
    """What belongs together: braces of LaTeX."""

    body: tuple[Node, ...]


@dataclass(frozen=True)
class Scripts:
    """A base (empty for one that stands alone) with what stands up and down at its right."""

    base: tuple[Node, ...]
    above: tuple[Node, ...] = ()
    below: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Fraction:
    above: tuple[Node, ...]
    below: tuple[Node, ...]


@dataclass(frozen=True)
class Root:
    body: tuple[Node, ...]
    degree: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Over:
    """A body with one of `typeset_boxes.OVER` drawn above it, as wide as the body."""

    body: tuple[Node, ...]
    mark: str


@dataclass(frozen=True)
class Fence:
    """A body between delimiters as tall as it is; an empty delimiter is not drawn."""

    left: str
    body: tuple[Node, ...]
    right: str


Node = Run | Symbol | Space | Break | Group | Scripts | Fraction | Root | Over | Fence
