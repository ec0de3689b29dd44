"""What is written into a picture beside its lines: lengths, angles, signs of right angles and parallels.

    Length("A", "B", "5 cm"), Angle("A", "B", "C", "60°"), RightAngle("A", "B", "C")

A fact of a problem names its marks; a version whose values stand in the picture draws them, the others do
not.
"""

from __future__ import annotations

from dataclasses import dataclass

from vkit.synthesis.figure import Where


@dataclass(frozen=True)
class Length:
    """A text beside the middle of a segment."""

    first: Where
    second: Where
    text: str


@dataclass(frozen=True)
class Dimension:
    """A text beside a thin line with end strokes, along a segment and off it: for a whole that is cut."""

    first: Where
    second: Where
    text: str


@dataclass(frozen=True)
class Angle:
    """An arc between two rays, less than 180 degrees, with a text inside them; no text: the arc alone.

    arcs: how many, to tell equal angles apart.
    """

    first: Where
    vertex: Where
    second: Where
    text: str = ""
    arcs: int = 1


@dataclass(frozen=True)
class RightAngle:
    """The small square of a right angle."""

    first: Where
    vertex: Where
    second: Where


@dataclass(frozen=True)
class Ticks:
    """Short strokes across a segment; segments with the same number of strokes are equal."""

    first: Where
    second: Where
    count: int = 1


@dataclass(frozen=True)
class Arrows:
    """Arrow heads on a segment; segments with the same number of heads are parallel."""

    first: Where
    second: Where
    count: int = 1


@dataclass(frozen=True)
class Label:
    """A text near a place: an equation beside its curve, a size within a region.

    inside: the text stands on the place itself; else beside it.
    elsewhere: other places that are as good (further points of the curve), tried where the first is taken.
    """

    at: Where
    text: str
    inside: bool = False
    elsewhere: tuple[Where, ...] = ()


Mark = Length | Dimension | Angle | RightAngle | Ticks | Arrows | Label
