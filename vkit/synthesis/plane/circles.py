"""Angles in circles: central and inscribed angles, cyclic quadrilaterals, tangents."""

from __future__ import annotations

import math
import random

from vkit.synthesis.claims import IsOnCircle, IsTangent
from vkit.synthesis.exact import pleasant, sqrt
from vkit.synthesis.facts import Fact, angle, length, tangent
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import TRIPLES, UNITS, crossing, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family

_HALF = "An inscribed angle is half of the central angle over the same arc"


def circle_of(directions: dict[str, float], radius: float = 1.0, *, center: bool = True) -> Figure:
    """A circle around O with points in those directions."""
    figure = Figure()
    figure.point("O", 0, 0, dot=center, letter=center)
    for name, degrees in directions.items():
        figure.point(name, *on_ray(degrees, radius))
    figure.circle("O", radius)
    return figure


def on_circle(*names: str) -> Fact:
    """Points lie on the circle around O: seen in the figure, said by the description, measured here."""
    return Fact(
        f"{', '.join(names[:-1])} and {names[-1]} lie on the circle with center O",
        claims=tuple(IsOnCircle(name) for name in names),
    )


@family("inscribed angles", "plane")
def inscribed_angles(rng: random.Random) -> Problem:
    """Central and inscribed angles over an arc, the angle in a semicircle, crossing chords."""
    return rng.choice((_with_radius, _semicircle, _crossing_chords, _cyclic, _central_from_two))(rng)


def _described(names: list[str], more: str = "") -> str:
    text = f"The points {', '.join(names[:-1])} and {names[-1]} lie on the circle with center O."
    return f"{text} {more}" if more else text


def _with_radius(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    p = rng.randint(22, 68)
    q = rng.randint(12, 60)
    # ∠ACB = p over the arc AB of 2p; ∠OAC = q.
    start = 270 - p
    where_c = start - (180 - 2 * q)
    need(2 * p + 40 < 360 - (180 - 2 * q) and q + 12 < 90)
    figure = circle_of({a: start, b: start + 2 * p, c: where_c})
    figure.segment(a, c, b)
    figure.segment(a, "O", b)
    figure.segment("O", c, dashed=True)
    pose(figure, rng)
    need(q + 10 < p)
    return Problem(
        form="angles at the center and the circle",
        description=_described([a, b, c], f"The radii O{a}, O{b} and O{c} are drawn."),
        facts=(angle(a, "O", b, 2 * p, name="w"), angle(c, a, "O", q, name="q")),
        question=f"Find ∠O{c}{b}.",
        figure=figure,
        steps=(
            Step("p", f"∠{a}{c}{b}", "w / 2", f"{_HALF}.", "°"),
            Step("r", f"∠{a}{c}O", "q", f"O{a} = O{c}, so triangle {a}{c}O is isosceles.", "°"),
            Step("x", f"∠O{c}{b}", "p - r", f"O{c} cuts ∠{a}{c}{b} into two parts.", "°"),
        ),
        mistakes=(
            Mistake("w - q", "the central angle is not halved"),
            Mistake("p", "the whole inscribed angle"),
            Mistake("p + q", "the parts are added"),
            Mistake("90 - p", "a base angle of another triangle"),
            Mistake("180 - w", "the supplement"),
        ),
        unit="°",
    )


def _semicircle(rng: random.Random) -> Problem:
    a, b, c, d = letters(rng, 4)
    p = rng.randint(22, 68)
    q = rng.randint(18, 72)
    # AB is a diameter, C above, D below it.
    figure = circle_of({a: 180, b: 0, c: 2 * p, d: -2 * q})
    need(abs(p - q) > 3)
    figure.segment(a, "O", b)
    figure.segment(a, c, b), figure.segment(a, d, b)
    pose(figure, rng)
    return Problem(
        form="semicircle",
        description=_described(
            [a, b, c, d], f"{a}{b} is a diameter; {c} and {d} lie on different sides of it."
        ),
        facts=(angle(b, a, c, p, name="p"), angle(b, a, d, q, name="q")),
        question=f"Find ∠{c}{b}{d}.",
        figure=figure,
        steps=(
            Step(
                "r", f"∠{c}{b}{a}", "90 - p", f"∠{a}{c}{b} is a right angle, over the diameter {a}{b}.", "°"
            ),
            Step(
                "s", f"∠{a}{b}{d}", "90 - q", f"∠{a}{d}{b} is a right angle, over the diameter {a}{b}.", "°"
            ),
            Step("x", f"∠{c}{b}{d}", "r + s", f"{b}{a} cuts ∠{c}{b}{d} into two parts.", "°"),
        ),
        mistakes=(
            Mistake("p + q", "the angle at the other end"),
            Mistake("90 - p", "only one part"),
            Mistake("90 - q", "only one part"),
            Mistake("360 - p - q", "a quadrilateral with two angles"),
            Mistake("2 * (p + q)", "the central angle"),
            Mistake("90", "a right angle is supposed"),
        ),
        unit="°",
    )


def _crossing_chords(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(20, 65), rng.randint(20, 65)
    # Chords AC and BD cross at E; arc BC is 2p (seen from A), arc AD is 2q (seen from B).
    start = rng.randint(0, 40)
    gap = (360 - 2 * p - 2 * q) * rng.uniform(0.35, 0.65)
    need(p + q < 150 and gap > 35)
    directions = {b: start, c: start + 2 * p}
    directions[d] = directions[c] + gap
    directions[a] = directions[d] + 2 * q
    figure = circle_of(directions)
    figure.point(e, *crossing(figure, (a, c), (b, d)))
    need(math.dist(figure.at("O"), figure.at(e)) > 0.22)
    figure.segment(a, e, c), figure.segment(b, e, d), figure.segment(a, b)
    pose(figure, rng)
    return Problem(
        form="crossing chords",
        description=_described(
            [a, b, c, d], f"The chords {a}{c} and {b}{d} cross at {e}, and {a}{b} is drawn."
        ),
        facts=(angle(b, a, c, p, name="p"), angle(a, b, d, q, name="q")),
        question=f"Find ∠{b}{e}{c}.",
        figure=figure,
        steps=(
            Step(
                "x",
                f"∠{b}{e}{c}",
                "p + q",
                f"∠{b}{e}{c} is an exterior angle of triangle {a}{b}{e}.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("180 - p - q", "the interior angle"),
            Mistake("2 * (p + q)", "the central angles"),
            Mistake("(p + q) / 2", "half of the inscribed angles"),
            Mistake("2 * p", "a central angle"),
            Mistake("2 * q", "a central angle"),
        ),
        unit="°",
    )


def _cyclic(rng: random.Random) -> Problem:
    a, b, c, d, e = letters(rng, 5)
    p, q = rng.randint(55, 125), rng.randint(35, 90)
    # ∠DAB = p, so arc BCD is 2p and ∠BCD = 180 - p; ∠CBD = q - cut of it by the diagonal.
    arc_cd = 2 * q
    arc_bc = 2 * p - arc_cd
    rest = 360 - 2 * p
    need(arc_bc > 40 and arc_cd > 40 and rest > 80)
    arc_ab = rest * rng.uniform(0.4, 0.6)
    directions = {a: 150.0}
    directions[b] = 150 + arc_ab
    directions[c] = directions[b] + arc_bc
    directions[d] = directions[c] + arc_cd
    figure = circle_of(directions)
    figure.polygon(a, b, c, d)
    figure.segment(b, d)
    need(figure.distance_to_line("O", b, d) > 0.14)
    pose(figure, rng)
    return Problem(
        form="cyclic quadrilateral",
        description=_described(
            [a, b, c, d], f"{a}{b}{c}{d} is a quadrilateral, and its diagonal {b}{d} is drawn."
        ),
        facts=(angle(d, a, b, p, name="p"), angle(c, b, d, q, name="q")),
        question=f"Find ∠{b}{d}{c}.",
        figure=figure,
        steps=(
            Step(
                "r",
                f"∠{b}{c}{d}",
                "180 - p",
                "Opposite angles of a quadrilateral in a circle sum to 180°.",
                "°",
            ),
            Step("x", f"∠{b}{d}{c}", "180 - q - r", "The angles of a triangle sum to 180°.", "°"),
        ),
        mistakes=(
            Mistake("r", "the solution stops too early"),
            Mistake("180 - p - q", "the angles of two triangles are mixed up"),
            Mistake("p / 2", "half of the given angle"),
            Mistake("90 - q", "a right angle is supposed"),
            Mistake("180 - 2 * q", "the triangle is supposed to be isosceles"),
            Mistake("p + q", "the angles are added"),
        ),
        unit="°",
    )


def _central_from_two(rng: random.Random) -> Problem:
    a, b, c = letters(rng, 3)
    p, q = rng.randint(25, 80), rng.randint(25, 80)
    r = 180 - p - q
    need(25 <= r <= 80 and max(p, q) < 85)
    # Arcs: BC = 2p, CA = 2q, AB = 2r.
    figure = circle_of({a: 90, b: 90 + 2 * r, c: 90 + 2 * r + 2 * p})
    figure.polygon(a, b, c)
    figure.segment(a, "O", b)
    pose(figure, rng)
    need(abs(2 * r - 180) > 8)
    return Problem(
        form="triangle in a circle",
        description=_described([a, b, c], f"The radii O{a} and O{b} are drawn."),
        facts=(angle(b, a, c, p, name="p"), angle(a, b, c, q, name="q")),
        question=f"Find ∠{a}O{b}.",
        figure=figure,
        steps=(
            Step("r", f"∠{a}{c}{b}", "180 - p - q", "The angles of a triangle sum to 180°.", "°"),
            Step(
                "x",
                f"∠{a}O{b}",
                "2 * r",
                "The central angle is twice the inscribed angle over the same arc.",
                "°",
            ),
        ),
        mistakes=(
            Mistake("r", "the inscribed angle"),
            Mistake("r / 2", "half of the inscribed angle"),
            Mistake("p + q", "the sum of the given angles"),
            Mistake("2 * p", "another central angle"),
            Mistake("2 * q", "another central angle"),
            Mistake("360 - 2 * r", "the reflex angle"),
        ),
        unit="°",
    )


@family("tangents", "plane")
def tangents(rng: random.Random) -> Problem:
    """Lengths and angles at tangents."""
    return rng.choice((_tangent_length, _two_tangents, _incircle, _tangent_chord))(rng)


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
    figure.segment("O", a), figure.segment(p, a), figure.segment("O", b, p)
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
    figure.segment(p, a), figure.segment(p, b), figure.segment(a, c, b)
    pose(figure, rng)
    touches = Fact(
        f"{p}{a} and {p}{b} are tangents to the circle with center O at {a} and {b}",
        claims=(IsTangent(a, p), IsTangent(b, p)),
    )
    return Problem(
        form="angle over two tangents",
        description=_described(
            [a, b, c], f"{p} lies outside of the circle, on the other side of {a}{b} than {c}."
        ),
        facts=(touches, angle(a, p, b, w, name="w")),
        question=f"Find ∠{a}{c}{b}.",
        figure=figure,
        steps=(
            Step(
                "v",
                f"∠{a}O{b}",
                "180 - w",
                f"The radii are perpendicular to the tangents, so ∠{a}O{b} and ∠{a}{p}{b} sum to 180°.",
                "°",
            ),
            Step("x", f"∠{a}{c}{b}", "v / 2", f"{_HALF}.", "°"),
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
    # D on AB, E on BC, F on CA: B lies between the directions of D and E, C between E and F, A between F and D.
    figure.point(b, *on_ray(at_b / 2, math.hypot(y, radius)))
    figure.point(a, *on_ray(-at_a / 2, math.hypot(x, radius)))
    figure.point(c, *on_ray((at_b + 360 - at_a) / 2, math.hypot(z, radius)))
    figure.segment(a, d, b), figure.segment(b, e, c), figure.segment(c, f, a)
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
        mistakes = ("x + y + z", "3 * (x + y + z)", "2 * x + y + z", "2 * (x + y)", "x + 2 * y + 2 * z")
        facts, form = given, "perimeter around a circle"
    else:
        whole = length(b, c, y + z, unit, name="s")
        facts, form = (given[0], given[1], _dimension(whole, b, c)), "side around a circle"
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


def _dimension(fact: Fact, first: str, second: str) -> Fact:
    """The length of a side that a touching point cuts, marked off it."""
    from vkit.synthesis.marks import Dimension, Length

    (mark,) = fact.marks
    assert isinstance(mark, Length)
    return Fact(fact.text, (Dimension(first, second, mark.text),), fact.claims, fact.values)


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
        description=_described([a, b, c], f"{d} lies outside, on the same side of {a}{c} as {b}."),
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
