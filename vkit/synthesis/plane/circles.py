"""Angles in circles: central and inscribed angles, cyclic quadrilaterals."""

from __future__ import annotations

import math
import random

from vkit.synthesis.facts import angle
from vkit.synthesis.figure import Figure
from vkit.synthesis.plane.drawing import crossing, letters, need, on_ray, pose
from vkit.synthesis.problem import Mistake, Problem, Step
from vkit.synthesis.registry import family, one_of

HALF = "An inscribed angle is half of the central angle over the same arc"


def circle_of(directions: dict[str, float], radius: float = 1.0, *, center: bool = True) -> Figure:
    """A circle around O with points in those directions."""
    figure = Figure()
    figure.point("O", 0, 0, dot=center, letter=center)
    for name, degrees in directions.items():
        figure.point(name, *on_ray(degrees, radius))
    figure.circle("O", radius)
    return figure


@family("inscribed angles", "plane")
def inscribed_angles(rng: random.Random) -> Problem:
    """Central and inscribed angles over an arc, the angle in a semicircle, crossing chords."""
    return one_of(rng, _with_radius, _semicircle, _crossing_chords, _cyclic, _central_from_two)


def on_the_circle(names: list[str], more: str = "") -> str:
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
        description=on_the_circle(
            [a, b, c], f"O lies inside triangle {a}{b}{c}; the radii O{a}, O{b} and O{c} are drawn."
        ),
        facts=(angle(a, "O", b, 2 * p, name="w"), angle(c, a, "O", q, name="q")),
        question=f"Find ∠O{c}{b}.",
        figure=figure,
        steps=(
            Step("p", f"∠{a}{c}{b}", "w / 2", f"{HALF}.", "°"),
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
    figure.segment(a, c, b)
    figure.segment(a, d, b)
    pose(figure, rng)
    return Problem(
        form="semicircle",
        description=on_the_circle(
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
    directions: dict[str, float] = {b: start, c: start + 2 * p}
    directions[d] = directions[c] + gap
    directions[a] = directions[d] + 2 * q
    figure = circle_of(directions)
    figure.point(e, *crossing(figure, (a, c), (b, d)))
    need(math.dist(figure.at("O"), figure.at(e)) > 0.22)
    figure.segment(a, e, c)
    figure.segment(b, e, d)
    figure.segment(a, b)
    pose(figure, rng)
    return Problem(
        form="crossing chords",
        description=on_the_circle(
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
    a, b, c, d = letters(rng, 4)
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
        description=on_the_circle(
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
        description=on_the_circle([a, b, c], f"The radii O{a} and O{b} are drawn."),
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
