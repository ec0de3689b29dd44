"""Angles at parallels: a transversal, a zigzag, a triangle between."""

from __future__ import annotations

import random

from vkit.synthesis.claims import IsOnLine
from vkit.synthesis.facts import Fact, angle, parallel
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import letters, need, on_ray, pose
from vkit.synthesis.plane.equations import equal_in, sum_to, terms_in_x
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("parallel lines", "plane")
def parallel_lines(rng: random.Random) -> Problem:
    """Parallels and what crosses them."""
    return one_of(rng, _transversal, _transversal, _zigzag, _triangle_between)


def _transversal(rng: random.Random) -> Problem:
    a, b, c, d, e, f, g, h = letters(rng, 8)
    kind = rng.choice(("alternate", "corresponding", "co-interior"))
    x, first, second = terms_in_x(rng, 180 if kind == "co-interior" else None)
    need(kind == "co-interior" or (first[0] > second[0] and second[1] != 0))
    size = first[0] * x + first[1]  # of the angle on the upper line
    need(35 <= size <= 145)
    figure = Figure()
    # The upper line AB with G, the lower CD with H; ∠AGH or ∠EGB or ∠BGH is the first angle.
    lean = 180 - size if kind == "co-interior" else size
    shift = 0.9 * on_ray(lean)[0] / on_ray(lean)[1]
    for name, x_, y in ((a, -1.3, 0.9), (b, 1.3, 0.9), (g, shift / 2, 0.9), (c, -1.3, 0), (d, 1.3, 0)):
        figure.point(name, x_, y)
    figure.point(h, -shift / 2, 0)
    for name, y in ((e, 1.55), (f, -0.65)):
        figure.point(name, shift / 0.9 * (y - 0.45), y)
    for start, middle, end in ((a, g, b), (c, h, d)):
        figure.segment(start, middle, end)
    figure.segment(e, g, h, f)
    need(abs(figure.at(e)[0]) < 1.6)
    pose(figure, rng)
    parallels = parallel((a, b), (c, d))
    where = (
        f"The line {e}{f} crosses the line {a}{b} at {g} and the line {c}{d} at {h}; "
        f"{g} lies between {e} and {h}, and {a} and {c} on the same side of {e}{f}."
    )
    if kind == "co-interior":
        return sum_to(
            180,
            "co-interior",
            "Co-interior angles between parallels sum to 180°",
            x,
            (first, second),
            ((b, g, h), (g, h, d)),
            figure,
            where,
            (parallels,),
        )
    if kind == "alternate":
        pair, rule = ((a, g, h), (g, h, d)), "Alternate angles at parallels are equal"
    else:
        pair, rule = ((e, g, b), (g, h, d)), "Corresponding angles at parallels are equal"
    return equal_in(kind, rule, x, (first, second), pair, figure, where, (parallels,))


def _zigzag(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(20, 70), rng.randint(20, 70)
    figure = Figure()
    top, bottom = on_ray(p), on_ray(-q)
    lower = rng.uniform(0.7, 1.3)
    figure.point(e, 0, 0)
    figure.point(b, *top), figure.point(a, top[0] - 1.8, top[1])
    (
        figure.point(d, bottom[0] * lower, bottom[1] * lower),
        figure.point(c, bottom[0] * lower - 1.8, bottom[1] * lower),
    )
    figure.segment(a, b, e, d, c)
    pose(figure, rng)
    return Problem(
        form="zigzag",
        description=f"The point {e} lies between the lines {a}{b} and {c}{d}; "
        f"the segments {b}{e} and {e}{d} are drawn. {a} and {c} lie on the same side of the line {b}{d}.",
        facts=(
            parallel((a, b), (c, d)),
            angle(a, b, e, p, name="p"),
            angle(c, d, e, q, name="q"),
        ),
        question=f"Find ∠{b}{e}{d}.",
        figure=figure,
        steps=(
            Step(
                "r",
                f"∠{b}{e}{d}",
                "p + q",
                f"The parallel to {a}{b} through {e} cuts ∠{b}{e}{d} into two angles, "
                "alternate to the given ones.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("180 - p - q", "the rest of a triangle"),
            Mistake("180 - p", "a co-interior angle"),
            Mistake("180 - q", "a co-interior angle"),
            Mistake("360 - p - q", "the reflex angle"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _triangle_between(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(28, 90), rng.randint(28, 90)
    need(180 - p - q >= 25)
    height = 1.0
    left, right = on_ray(180 + p), on_ray(-q)
    figure = Figure()
    figure.point(e, 0, 0, dot=False)
    (
        figure.point(c, left[0] / -left[1] * height, -height),
        figure.point(d, right[0] / -right[1] * height, -height),
    )
    width = figure.length(c, d)
    need(0.6 <= width <= 4)
    figure.point(a, -max(0.8, width / 2), 0), figure.point(b, max(0.8, width / 2), 0)
    figure.segment(a, e, b)
    figure.polygon(e, c, d)
    pose(figure, rng)
    return Problem(
        form="triangle between parallels",
        description=f"The point {e} lies on the line {a}{b}; {e}, {c} and {d} are the corners of a triangle, "
        f"and {a} and {d} lie on different sides of {e}{c}.",
        facts=(
            Fact(*_on_line_parallel(a, b, c, d, e)),
            angle(a, e, c, p, name="p"),
            angle(e, d, c, q, name="q"),
        ),
        question=f"Find ∠{c}{e}{d}.",
        figure=figure,
        steps=(
            Step(
                "s", f"∠{e}{c}{d}", "p", f"∠{a}{e}{c} and ∠{e}{c}{d} are alternate angles at parallels.", "°"
            ),
            Step("r", f"∠{c}{e}{d}", "180 - s - q", "The angles of a triangle sum to 180°.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the sum of the given angles"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("360 - p - q", "the sum of a quadrilateral"),
            Mistake("abs(p - q)", "the difference of the given angles"),
        ),
        unit="°",
    )


def _on_line_parallel(a: str, b: str, c: str, d: str, e: str) -> tuple:
    fact = parallel((a, b), (c, d))
    return fact.text, fact.marks, (*fact.claims, IsOnLine(e, a, b))
