"""Tangents of circles: lengths, angles, the circle in a triangle."""

from __future__ import annotations

import math
import random

from vkit.synthesis.claims import IsTangent
from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, length, tangent
from vkit.synthesis.plane.circles import HALF, circle_of, on_the_circle
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of


@family("tangents", "plane")
def tangents(rng: random.Random) -> Problem:
    """Lengths and angles at tangents."""
    return one_of(rng, _tangent_length, _two_tangents, _incircle, _tangent_chord)


def _tangent_length(rng: random.Random) -> Problem:
    p, a, b = letters(rng, 3)
    unit = rng.choice(UNITS)
    if rng.random() < 0.5:
        radius, other, _ = rng.choice(TRIPLES)
        factor = rng.randint(1, 8)
        radius, other = radius * factor, other * factor
        if rng.random() < 0.5:
            radius, other = other, radius
        far = round(math.hypot(radius, other))
    else:
        radius = rng.randint(2, 40)
        far = rng.randint(radius + 2, 3 * radius)
    other_exact = sqrt(far * far - radius * radius)
    need(1.35 < far / radius < 3.2 and pleasant(other_exact))
    figure = circle_of({}, radius)
    figure.point(p, far, 0)
    figure.point(a, *on_ray(math.degrees(math.acos(radius / far)), radius))
    figure.point(b, radius, 0)
    figure.segment("O", a)
    figure.segment(p, a)
    figure.segment("O", b, p)
    pose(figure, rng)
    touch = tangent(a, p, "O")
    description = f"The segment O{p} meets the circle with center O at {b}; the point {a} lies on the circle."
    if rng.random() < 0.5:
        return Problem(
            form="tangent length",
            description=description,
            facts=(touch, length("O", a, radius, unit, name="r"), length(b, p, far - radius, unit, name="d")),
            question=f"Find {p}{a}.",
            figure=figure,
            steps=(
                Step("s", f"O{p}", "r + d", f"O{b} is a radius, as long as O{a}.", unit),
                Step(
                    "t",
                    f"{p}{a}",
                    "sqrt(s**2 - r**2)",
                    f"The radius O{a} is perpendicular to the tangent.",
                    unit,
                ),
            ),
            mistakes=(
                Mistake("sqrt(s**2 + r**2)", "the squares are added"),
                Mistake("d", "the part outside of the circle"),
                Mistake("s - r / 2", "the lengths are subtracted"),
                Mistake("s", "the distance of the center"),
                Mistake("r + d / 2", "a mean"),
                Mistake("sqrt(d**2 + r**2)", "the part outside is taken for the whole"),
            ),
            unit=unit,
        )
    need(isinstance(other_exact, int))
    return Problem(
        form="distance from tangent",
        description=description,
        facts=(touch, length("O", a, radius, unit, name="r"), length(p, a, other_exact, unit, name="t")),
        question=f"Find {b}{p}.",
        figure=figure,
        steps=(
            Step(
                "s", f"O{p}", "sqrt(r**2 + t**2)", f"The radius O{a} is perpendicular to the tangent.", unit
            ),
            Step("d", f"{b}{p}", "s - r", f"O{b} is a radius, as long as O{a}.", unit),
        ),
        mistakes=(
            Mistake("s", "the radius is not taken off"),
            Mistake("t - r", "the lengths are subtracted"),
            Mistake("s - 2 * r", "the diameter is taken off"),
            Mistake("r + t", "the lengths are added"),
            Mistake("s + r", "the far side of the circle"),
            Mistake("t", "the tangent"),
        ),
        unit=unit,
    )


def _two_tangents(rng: random.Random) -> Problem:
    p, a, b, c = letters(rng, 4)
    w = 2 * rng.randint(17, 55)
    q = rng.randint(15, 75)
    half = w / 2
    far = 1 / math.sin(math.radians(half))
    need(far < 3.0)
    # A and B touch; C lies on the larger arc, so that ∠OBC = q is possible.
    turn = 90 - half
    where_c = -turn - (180 - 2 * q)
    on_larger = turn + 25 < where_c % 360 < 360 - turn - 25
    need(on_larger)
    figure = circle_of({a: turn, b: -turn, c: where_c})
    figure.point(p, far, 0)
    figure.segment(p, a)
    figure.segment(p, b)
    figure.segment(a, c, b)
    pose(figure, rng)
    touches = Fact(
        f"{p}{a} and {p}{b} are tangents to the circle with center O at {a} and {b}",
        claims=(IsTangent(a, p), IsTangent(b, p)),
    )
    described = on_the_circle(
        [a, b, c], f"{p} lies outside of the circle, on the other side of {a}{b} than {c}."
    )
    center = Step(
        "v",
        f"∠{a}O{b}",
        "180 - w",
        f"The radii are perpendicular to the tangents, so ∠{a}O{b} and ∠{a}{p}{b} sum to 180°.",
        "°",
    )
    if q + 14 < 90 - half and rng.random() < 0.8:
        figure.segment(a, "O", b)
        return Problem(
            form="radii at two tangents",
            description=f"{described} The radii O{a} and O{b} are drawn.",
            facts=(touches, angle(a, p, b, w, name="w"), angle("O", b, c, q, name="q")),
            question=f"Find ∠O{a}{c}.",
            figure=figure,
            steps=(
                center,
                Step("s", f"∠{a}{c}{b}", "v / 2", f"{HALF}.", "°"),
                Step(
                    "x",
                    f"∠O{a}{c}",
                    "s - q",
                    f"O{a} = O{c} = O{b}, so ∠O{a}{c} = ∠O{c}{a} and ∠O{b}{c} = ∠O{c}{b}; "
                    f"they sum to ∠{a}{c}{b}.",
                    "°",
                ),
            ),
            mistakes=(
                Mistake("s", "the whole inscribed angle"),
                Mistake("v - q", "the central angle is not halved"),
                Mistake("s + q", "the parts are added"),
                Mistake("w / 2", "half of the given angle"),
                Mistake("90 - q", "an angle at the tangent"),
            ),
            unit="°",
        )
    return Problem(
        form="angle over two tangents",
        description=described,
        facts=(touches, angle(a, p, b, w, name="w")),
        question=f"Find ∠{a}{c}{b}.",
        figure=figure,
        steps=(
            center,
            Step("x", f"∠{a}{c}{b}", "v / 2", f"{HALF}.", "°"),
        ),
        mistakes=(
            Mistake("v", "the central angle"),
            Mistake("w / 2", "half of the given angle"),
            Mistake("180 - x", "an angle over the other arc"),
            Mistake("180 - 2 * w", "the given angle is doubled"),
            Mistake("90 - w", "the half is forgotten"),
            Mistake("x + 10", "a slip in the arithmetic"),
        ),
        unit="°",
    )


def _incircle(rng: random.Random) -> Problem:
    a, b, c, d, e, f = letters(rng, 6)
    unit = rng.choice(UNITS)
    x, y, z = (rng.randint(3, 40) for _ in range(3))
    need(min(x, y, z) > 0.35 * max(x, y, z))
    radius = math.sqrt(x * y * z / (x + y + z))
    # Angles between the radii to the touching points: the corner A is x away from its two.
    at_a, at_b = (2 * math.degrees(math.atan(v / radius)) for v in (x, y))
    figure = circle_of({d: 0, e: at_b, f: at_b + 360 - at_a - at_b}, radius)
    # D on AB, E on BC, F on CA: each corner lies between the directions of its two touching points.
    figure.point(b, *on_ray(at_b / 2, math.hypot(y, radius)))
    figure.point(a, *on_ray(-at_a / 2, math.hypot(x, radius)))
    figure.point(c, *on_ray((at_b + 360 - at_a) / 2, math.hypot(z, radius)))
    figure.segment(a, d, b)
    figure.segment(b, e, c)
    figure.segment(c, f, a)
    pose(figure, rng)
    touches = Fact(
        f"the circle with center O touches {a}{b} at {d}, {b}{c} at {e} and {c}{a} at {f}",
        claims=(IsTangent(d, a), IsTangent(e, b), IsTangent(f, c)),
    )
    given = (
        length(a, d, x, unit, name="x"),
        length(b, e, y, unit, name="y"),
        length(c, f, z, unit, name="z"),
    )
    rule = "The two tangents from a point are equally long"
    if rng.random() < 0.5:
        steps = [
            Step(
                "u",
                f"the perimeter of triangle {a}{b}{c}",
                "2 * (x + y + z)",
                f"{rule}: each given length occurs twice.",
                unit,
            )
        ]
        question = f"Find the perimeter of triangle {a}{b}{c}."
        mistakes: tuple[str, ...] = (
            "x + y + z",
            "3 * (x + y + z)",
            "2 * x + y + z",
            "2 * (x + y)",
            "x + 2 * y + 2 * z",
        )
        facts, form = given, "perimeter around a circle"
    else:
        whole = length(b, c, y + z, unit, name="s", dimension=True)
        facts, form = (given[0], given[1], whole), "side around a circle"
        steps = [
            Step("z", f"{c}{f}", "s - y", f"{rule}: {c}{f} = {c}{e}.", unit),
            Step("u", f"{a}{c}", "x + z", f"{rule}: {a}{f} = {a}{d}.", unit),
        ]
        question = f"Find {a}{c}."
        mistakes = ("x + s", "s - x", "x + y", "z", "s + y", "s - y + 2 * x")
    return Problem(
        form=form,
        description=f"{a}, {b} and {c} are the corners of a triangle around a circle with center O; "
        f"{d}, {e} and {f} lie on the circle.",
        facts=(touches, *facts),
        question=question,
        figure=figure,
        steps=tuple(steps),
        mistakes=tuple(Mistake(wrong, "tangents are counted wrongly") for wrong in mistakes),
        unit=unit,
    )


def _tangent_chord(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p, q = rng.randint(28, 80), rng.randint(28, 80)
    r = 180 - p - q
    need(r >= 28)
    # The tangent touches at A (below); ∠DAB = p is the angle of tangent and chord, ∠ABC = q.
    figure = circle_of({a: -90, b: -90 - 2 * p, c: -90 + 2 * q})
    figure.point(d, -1.5, -1)
    far = figure.point("far end", 1.3, -1, letter=False)
    figure.segment(d, a, far)
    figure.polygon(a, b, c)
    pose(figure, rng)
    touch = Fact(f"{d}{a} is tangent to the circle with center O at {a}", claims=(IsTangent(a, d),))
    return Problem(
        form="tangent and chord",
        description=on_the_circle([a, b, c], f"{d} lies outside, on the same side of {a}{c} as {b}."),
        facts=(touch, angle(d, a, b, p, name="p"), angle(a, b, c, q, name="q")),
        question=f"Find ∠{b}{a}{c}.",
        figure=figure,
        steps=(
            Step(
                "s",
                f"∠{a}{c}{b}",
                "p",
                f"The angle of tangent and chord is the inscribed angle over {a}{b}.",
                "°",
            ),
            Step("x", f"∠{b}{a}{c}", "180 - q - s", "The angles of a triangle sum to 180°.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the sum of the given angles"),
            Mistake("180 - p", "only one angle is taken off"),
            Mistake("180 - q", "only one angle is taken off"),
            Mistake("90 - p", "the tangent is supposed to be perpendicular to the chord"),
            Mistake("180 - 2 * p", "the triangle is supposed to be isosceles"),
            Mistake("180 - 2 * q", "the triangle is supposed to be isosceles"),
        ),
        unit="°",
    )
