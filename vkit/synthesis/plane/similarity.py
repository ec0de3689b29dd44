"""Similar triangles: a parallel to a side, crossing lines between parallels, ratios of areas."""

from __future__ import annotations

import random
from fractions import Fraction

from vkit.synthesis.claims import AreParallel
from vkit.synthesis.exact import tidy
from vkit.synthesis.facts import Fact, length, parallel, with_unit
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import UNITS, corner, letters, need, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("similar triangles", "plane")
def similar_triangles(rng: random.Random) -> Problem:
    """Lengths and areas of similar triangles."""
    return one_of(rng, _parallel_parts, _parallel_sides, _bow_tie, _areas)


def _cut(rng: random.Random, names: list[str], share: Fraction) -> tuple[Figure, tuple[int, int, int]]:
    """Triangle ABC, cut by DE parallel to BC with AD = share * AB; and its sides AB, AC, BC."""
    a, b, c, d, e = names
    left, right, base = (rng.randint(5, 60) for _ in range(3))
    need(max(left, right, base) < 0.92 * (left + right + base - max(left, right, base)))
    need(min(left, right, base) > 0.45 * max(left, right, base))
    figure = Figure()
    x, y = corner(right, left, base)
    figure.point(a, x, y), figure.point(b, 0, 0), figure.point(c, base, 0)
    s = float(share)
    figure.point(d, x * (1 - s), y * (1 - s)), figure.point(e, x + (base - x) * s, y * (1 - s))
    figure.polygon(a, b, c)
    figure.segment(d, e)
    pose(figure, rng)
    return figure, (left, right, base)


def _share(rng: random.Random) -> Fraction:
    bottom = rng.randint(3, 7)
    share = Fraction(rng.randint(1, bottom - 1), bottom)
    need(Fraction(3, 10) <= share <= Fraction(3, 4))
    return share


def _described(names: list[str]) -> str:
    a, b, c, d, e = names
    return f"In triangle {a}{b}{c}, the point {d} lies on {a}{b} and the point {e} on {a}{c}."


def _parallel_parts(rng: random.Random) -> Problem:
    a, b, c, d, e = names = letters(rng, 5)
    unit = rng.choice(UNITS)
    share = _share(rng)
    figure, (left, right, _) = _cut(rng, names, share)
    ad, db, ae = (tidy(v) for v in (share * left, (1 - share) * left, share * right))
    need(all(isinstance(v, int) for v in (ad, db, ae)))
    return Problem(
        form="parts of the sides",
        description=_described(names),
        facts=(
            parallel((d, e), (b, c)),
            length(a, d, ad, unit, name="p"),
            length(d, b, db, unit, name="q"),
            length(a, e, ae, unit, name="r"),
        ),
        question=f"Find {e}{c}.",
        figure=figure,
        steps=(
            Step(
                "s",
                f"{e}{c}",
                "r * q / p",
                f"As {d}{e} ∥ {b}{c}, the sides are cut in one ratio: {a}{d} / {d}{b} = {a}{e} / {e}{c}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("r * p / q", "the ratio is turned around"),
            Mistake("p * q / r", "other parts are compared"),
            Mistake("r + q - p", "differences are taken for ratios"),
            Mistake("r * (p + q) / p", "the whole side"),
            Mistake("q", "the part of the other side"),
            Mistake("r", "the sides are supposed to be halved"),
        ),
        unit=unit,
    )


def _parallel_sides(rng: random.Random) -> Problem:
    a, b, c, d, e = names = letters(rng, 5)
    unit = rng.choice(UNITS)
    share = _share(rng)
    figure, (left, _, base) = _cut(rng, names, share)
    ad, db, de = (tidy(v) for v in (share * left, (1 - share) * left, share * base))
    need(isinstance(ad, int) and isinstance(de, int))
    asked_long = rng.random() < 0.5
    given = length(d, e, de, unit, name="m") if asked_long else length(b, c, base, unit, name="n")
    return Problem(
        form="long side" if asked_long else "short side",
        description=_described(names),
        facts=(
            parallel((d, e), (b, c)),
            length(a, d, ad, unit, name="p"),
            length(d, b, db, unit, name="q"),
            given,
        ),
        question=f"Find {b}{c}." if asked_long else f"Find {d}{e}.",
        figure=figure,
        steps=(
            Step("w", f"{a}{b}", "p + q", f"{d} lies between {a} and {b}.", unit),
            Step(
                "r",
                f"{b}{c}" if asked_long else f"{d}{e}",
                "m * w / p" if asked_long else "n * p / w",
                f"Triangles {a}{d}{e} and {a}{b}{c} are similar: {d}{e} / {b}{c} = {a}{d} / {a}{b}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("m * q / p", "a part is taken for the whole side"),
            Mistake("m * p / q", "the ratio is turned around"),
            Mistake("m + q", "differences are taken for ratios"),
            Mistake("m * p / w", "the ratio is turned around"),
            Mistake("2 * m", "the sides are supposed to be halved"),
        )
        if asked_long
        else (
            Mistake("n * p / q", "a part is taken for the whole side"),
            Mistake("n * q / w", "the other part is used"),
            Mistake("n - q", "differences are taken for ratios"),
            Mistake("n * q / p", "the ratio is turned around"),
            Mistake("n / 2", "the sides are supposed to be halved"),
        ),
        unit=unit,
    )


def _bow_tie(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    unit = rng.choice(UNITS)
    # AB and CD are parallel; AD and BC cross at E.
    ab, cd, be = rng.randint(4, 40), rng.randint(4, 40), rng.randint(3, 40)
    need(0.4 * ab <= cd <= 2.5 * ab and cd != ab and 0.35 * ab < be < 1.6 * ab)
    ae = ab * rng.uniform(0.6, 1.0)
    need(abs(ae - be) < 0.85 * ab and ae + be > 1.15 * ab)
    x, y = corner(be, ae, ab)
    figure = Figure()
    figure.point(a, 0, 0), figure.point(b, ab, 0), figure.point(e, x, y)
    ratio = cd / ab
    figure.point(d, x + x * ratio, y + y * ratio), figure.point(c, x + (x - ab) * ratio, y + y * ratio)
    figure.segment(a, b)
    figure.segment(c, d)
    figure.segment(a, e, d)
    figure.segment(b, e, c)
    pose(figure, rng)
    return Problem(
        form="crossing lines",
        description=f"The segments {a}{d} and {b}{c} cross at {e}.",
        facts=(
            parallel((a, b), (c, d)),
            length(a, b, ab, unit, name="p"),
            length(c, d, cd, unit, name="q"),
            length(b, e, be, unit, name="r"),
        ),
        question=f"Find {e}{c}.",
        figure=figure,
        steps=(
            Step(
                "s",
                f"{e}{c}",
                "r * q / p",
                f"Triangles {a}{b}{e} and {d}{c}{e} are similar: {e}{c} / {b}{e} = {c}{d} / {a}{b}.",
                unit,
            ),
        ),
        mistakes=(
            Mistake("r * p / q", "the ratio is turned around"),
            Mistake("r", "the segment is supposed to be halved"),
            Mistake("r + q - p", "differences are taken for ratios"),
            Mistake("p * q / r", "other sides are compared"),
            Mistake("r * (p + q) / p", "the whole segment"),
        ),
        unit=unit,
    )


def _areas(rng: random.Random) -> Problem:
    a, b, c, d, e = names = letters(rng, 5)
    unit = rng.choice(UNITS)
    square = f"{unit}²" if unit else ""
    share = _share(rng)
    figure, (left, _, _) = _cut(rng, names, share)
    need(isinstance(tidy(share * left), int))
    small = rng.randint(2, 40) * share.numerator**2
    given = Fact(f"the area of triangle {a}{d}{e} is {with_unit(small, square)}", values={"s": small})
    # The figure keeps the ratio; its own area is not the stated one, which only scales it.
    parallels = parallel((d, e), (b, c))
    whole = rng.random() < 0.5
    last = (
        Step(
            "t",
            f"the area of triangle {a}{b}{c}",
            "s * k**2",
            "Areas grow with the square of lengths.",
            square,
        )
        if whole
        else Step(
            "t", f"the area of {d}{b}{c}{e}", "s * k**2 - s", "Areas grow with the square of lengths.", square
        )
    )
    ratio = Fact(
        f"{a}{d} : {d}{b} = {share.numerator} : {share.denominator - share.numerator}",
        (),
        (AreParallel((d, e), (b, c)),),
        {"p": share.numerator, "q": share.denominator - share.numerator},
    )
    return Problem(
        form="whole area" if whole else "rest of the area",
        description=_described(names),
        facts=(parallels, ratio, given),
        question=f"Find the area of triangle {a}{b}{c}."
        if whole
        else f"Find the area of the quadrilateral {d}{b}{c}{e}.",
        figure=figure,
        steps=(
            Step("k", f"{a}{b} / {a}{d}", "(p + q) / p", f"Triangles {a}{d}{e} and {a}{b}{c} are similar."),
            last,
        ),
        mistakes=(
            Mistake("s * k" if whole else "s * k - s", "the ratio of lengths is taken for that of areas"),
            Mistake("s * q / p", "the ratio of the parts of a side"),
            Mistake("s * (q / p)**2", "the square of the ratio of the parts"),
            Mistake(
                "s * k**2 - s" if whole else "s * k**2", "the quadrilateral and the triangle are mixed up"
            ),
            Mistake("s * k**3", "the cube of the ratio"),
        ),
        unit=square,
    )
