"""Puzzles of SMART-101 in miniature about hours, amounts and lengths.

    PUZZLES[0].questions({"hour": 9})["The clock shows a time in the morning. What time is it 1 hour later?"]

25: a clock. 28: covered stones. 43: dots of dice. 54: steps to go. 58: the step between two amounts. 93:
lengths of a road. Facts are what stands in the set's column Note.
"""

from __future__ import annotations

import random

from vkit.synthesis.pixels import Pixel, on_circle
from vkit.synthesis.smart_mini_puzzle import Facts, Puzzle
from vkit.synthesis.smart_mini_sheet import BLACK, COLOURS, GRAY, THREE, WHITE, Sheet

# 25 (measure): {"hour": 1 to 11}; noon and midnight, 12 of which half, stay out


def _draw_clock(rng: random.Random) -> Facts:
    return {"hour": rng.randint(1, 11)}


def _ask_clock(facts: Facts) -> dict[str, str]:
    asked = {}
    for half, suffix in (("morning", "AM"), ("afternoon", "PM")):
        for shift, how in ((1, "later"), (-1, "earlier")):
            if 1 <= (hour := facts["hour"] + shift) <= 11:
                question = f"The clock shows a time in the {half}. What time is it 1 hour {how}?"
                asked[question] = f"{hour}:00 {suffix}"
    return asked


def _paint_clock(sheet: Sheet, facts: Facts) -> None:
    centre = (50, 50)
    sheet.ring(centre, 46, COLOURS["blue"], 4)
    for tick in range(12):
        inner = 34 if tick % 3 == 0 else 37
        sheet.line([on_circle(centre, radius, 30 * tick) for radius in (inner, 40)], GRAY, 2)
    sheet.line([centre, on_circle(centre, 38, 90)], GRAY, 2)
    sheet.line([centre, on_circle(centre, 27, 90 - 30 * facts["hour"])], BLACK, 7)
    sheet.disc(centre, 4, BLACK)


# 28 (algebra): {"rows": {colour: [stones beside the bag, stones in it]}}; the sum lies on the right


def _draw_rows(rng: random.Random) -> Facts:
    return {"rows": {colour: [rng.randint(1, 4), rng.randint(1, 5)] for colour in ("red", "blue")}}


def _ask_rows(facts: Facts) -> dict[str, str]:
    return {
        f"How many stones are in the {colour} bag?": str(hidden)
        for colour, (_, hidden) in facts["rows"].items()
    }


def _paint_rows(sheet: Sheet, facts: Facts) -> None:
    for (colour, (beside, hidden)), y in zip(facts["rows"].items(), (27, 73)):
        sheet.tile((12, y), (10, 12), COLOURS[colour])
        sheet.text((12, y), "?", 18, WHITE)
        for x, sign in ((28, "+"), (58, "=")):
            sheet.text((x, y), sign, 16)
        _heap(sheet, (43, y), beside, "black")
        _heap(sheet, (80, y), beside + hidden, "black")


def _heap(sheet: Sheet, centre: Pixel, count: int, colour: str) -> None:
    """Up to nine dots, row by row; up to four in two columns."""
    wide = 2 if count <= 4 else 3
    fill = BLACK if colour == "black" else COLOURS[colour]
    tall = -(-count // wide)
    for index in range(count):
        x = centre[0] + 11 * (index % wide - (wide - 1) / 2)
        sheet.disc((x, centre[1] + 11 * (index // wide - (tall - 1) / 2)), 4.5, fill)


# 43 (math): {"dice": {colour: dots, 1 to 5}}

_DICE: dict[str, Pixel] = {"red": (27, 27), "blue": (73, 27), "green": (50, 73)}
_DOTS: dict[int, tuple[Pixel, ...]] = {
    1: ((0, 0),),
    2: ((-1, -1), (1, 1)),
    3: ((-1, -1), (0, 0), (1, 1)),
    4: ((-1, -1), (1, -1), (-1, 1), (1, 1)),
    5: ((-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)),
}


def _draw_dice(rng: random.Random) -> Facts:
    return {"dice": {colour: rng.randint(1, 5) for colour in _DICE}}


def _ask_dice(facts: Facts) -> dict[str, str]:
    return {
        f"How many dots do the {first} die and the {second} die show together?": str(
            facts["dice"][first] + facts["dice"][second]
        )
        for first, second in (("red", "blue"), ("red", "green"), ("blue", "green"))
    }


def _paint_dice(sheet: Sheet, facts: Facts) -> None:
    for colour, dots in facts["dice"].items():
        x, y = _DICE[colour]
        sheet.tile((x, y), (21, 21), COLOURS[colour])
        for u, v in _DOTS[dots]:
            sheet.disc((x + 12 * u, y + 12 * v), 5.5, WHITE)


# 54 (path): {"lanes": {colour: steps from the star, 1 to 5}}; the flag is six steps from the star

_LENGTH = 6


def _draw_lanes(rng: random.Random) -> Facts:
    return {"lanes": {colour: rng.randint(1, _LENGTH - 1) for colour in THREE}}


def _ask_lanes(facts: Facts) -> dict[str, str]:
    asked = {}
    for colour, steps in facts["lanes"].items():
        asked[f"How many steps is it from the {colour} dot to the star?"] = str(steps)
        asked[f"How many steps is it from the {colour} dot to the flag?"] = str(_LENGTH - steps)
    return asked


def _paint_lanes(sheet: Sheet, facts: Facts) -> None:
    for (colour, steps), y in zip(facts["lanes"].items(), (18, 50, 82)):
        stops = [8 + 14 * place for place in range(_LENGTH + 1)]
        sheet.line([(stops[0], y), (stops[-1], y)], GRAY, 2)
        for x in stops[1:-1]:
            sheet.disc((x, y), 2.5, GRAY)
        for name, x in (("star", stops[0]), ("flag", stops[-1])):
            sheet.disc((x, y), 7, WHITE)
            sheet.icon(name, (x, y), 7)
        sheet.disc((stops[steps], y), 8, COLOURS[colour])


# 58 (math): {"steps": {colour: [dots on the left, dots on the right]}}; a step is one of + - x / and a digit


def _draw_steps(rng: random.Random) -> Facts:
    times, one = rng.randint(2, 6), rng.randint(1, 4)
    few = rng.randint(1, 2) if times <= 4 else 1
    return {"steps": {"red": [one, one + rng.randint(1, 5)], "blue": [few, few * times]}}


def _ask_steps(facts: Facts) -> dict[str, str]:
    (low, high), (few, many) = facts["steps"]["red"], facts["steps"]["blue"]
    ways = (
        "from the dots on the left to those on the right",
        "from the dots on the right to those on the left",
    )
    return {
        f"Which addition leads {ways[0]}, in red?": f"+{high - low}",
        f"Which subtraction leads {ways[1]}, in red?": f"-{high - low}",
        f"Which multiplication leads {ways[0]}, in blue?": f"x{many // few}",
        f"Which division leads {ways[1]}, in blue?": f"/{many // few}",
    }


def _paint_steps(sheet: Sheet, facts: Facts) -> None:
    for (colour, amounts), y in zip(facts["steps"].items(), (27, 73)):
        sheet.line([(41, y), (59, y)], GRAY, 3)
        for x, end in ((46, 41), (54, 59)):
            sheet.polygon([(end, y), (x, y - 5), (x, y + 5)], GRAY)
        for amount, x in zip(amounts, (21, 79)):
            _heap(sheet, (x, y), amount, colour)


# 93 (measure): {"houses": {colour: km from the road's left end, 0 to 8}}


def _draw_road(rng: random.Random) -> Facts:
    return {"houses": dict(zip(THREE, sorted(rng.sample(range(9), 3))))}


def _ask_road(facts: Facts) -> dict[str, str]:
    places = facts["houses"]
    return {
        f"How long is the road from the {a} house to the {b} house?": f"{places[b] - places[a]} km"
        for a, b in (("red", "blue"), ("blue", "green"), ("red", "green"))
    }


def _paint_road(sheet: Sheet, facts: Facts) -> None:
    sheet.line([(6, 62), (94, 62)], GRAY, 3)
    for km in range(9):
        sheet.line([(8 + 10.5 * km, 62), (8 + 10.5 * km, 70)], GRAY, 2)
    sheet.text((13.25, 79), "1 km", 10, GRAY)
    for colour, km in facts["houses"].items():
        x = 8 + 10.5 * km
        sheet.tile((x, 51), (4, 10), COLOURS[colour])
        sheet.polygon([(x - 5, 42), (x + 5, 42), (x, 28)], COLOURS[colour])


PUZZLES = (
    Puzzle(25, "measure", _draw_clock, _ask_clock, _paint_clock),
    Puzzle(28, "algebra", _draw_rows, _ask_rows, _paint_rows),
    Puzzle(43, "math", _draw_dice, _ask_dice, _paint_dice),
    Puzzle(54, "path", _draw_lanes, _ask_lanes, _paint_lanes),
    Puzzle(58, "math", _draw_steps, _ask_steps, _paint_steps),
    Puzzle(93, "measure", _draw_road, _ask_road, _paint_road),
)
