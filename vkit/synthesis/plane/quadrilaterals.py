"""What the families of quadrilaterals share."""

from __future__ import annotations

from vkit.synthesis.facts import Fact, with_unit
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import on_ray


def squared(unit: str) -> str:
    """The unit of an area."""
    return f"{unit}²" if unit else ""


def stated(text: str, value: int, unit: str, name: str) -> Fact:
    """A quantity that no mark can show, in words."""
    return Fact(f"{text} is {with_unit(value, unit)}", values={name: value})


def quadrilateral(names: list[str], base: float, side: float, degrees: float) -> Figure:
    """A parallelogram ABCD: AB = base, AD = side, and the angle at A."""
    a, b, c, d = names
    figure = Figure()
    x, y = on_ray(degrees, side)
    figure.point(a, 0, 0), figure.point(b, base, 0), figure.point(c, base + x, y), figure.point(d, x, y)
    figure.polygon(a, b, c, d)
    return figure
