"""Puzzles of SMART-101 in miniature about colours, places and letters.

    PUZZLES[0].questions({"starts": ["blue", "red", "green"], "ends": {"blue": 4, "red": 0, "green": 2}})

1: lines to follow. 2: marks to count. 18: bars to put in order. 62: toys that change shelves. 83: a row that
repeats. 95: circles that overlap. 100: words in a code. Facts are what stands in the set's column Note.
"""

from __future__ import annotations

import random

from vkit.synthesis.pixels import Pixel
from vkit.synthesis.smart_mini_puzzle import LETTERS, Facts, Puzzle
from vkit.synthesis.smart_mini_sheet import COLOURS, GRAY, ICONS, LIGHT, MARKS, NAMES, THREE, WHITE, Sheet

# 1 (path): {"starts": [colour of each line, from the top], "ends": {colour: place of its item, from 0}}


def _draw_lines(rng: random.Random) -> Facts:
    starts = rng.sample(THREE, 3)
    return {"starts": starts, "ends": dict(zip(starts, rng.sample(range(len(ICONS)), 3)))}


def _ask_lines(facts: Facts) -> dict[str, str]:
    return {
        f"Which item does the {colour} line reach?": ICONS[facts["ends"][colour]]
        for colour in facts["starts"]
    }


def _paint_lines(sheet: Sheet, facts: Facts) -> None:
    for place, name in enumerate(ICONS):
        sheet.icon(name, (88, 11 + 19.5 * place), 8.5)
    for place, colour in enumerate(facts["starts"]):
        start, end = 22 + 28 * place, 11 + 19.5 * facts["ends"][colour]
        steps = [step / 24 for step in range(25)]
        curve = [(6 + 70 * t, start + (end - start) * t * t * (3 - 2 * t)) for t in steps]
        sheet.line(curve[2:-2], WHITE, 8)  # a gap in the lines that it crosses
        sheet.line(curve, COLOURS[colour], 5)
        sheet.disc(curve[-1], 5, COLOURS[colour])


# 2 (counting): {"marks": [[cell of 16, colour, shape]]}


def _draw_marks(rng: random.Random) -> Facts:
    colours = [colour for colour in THREE for _ in range(rng.randint(1, 5))]
    cells = rng.sample(range(16), len(colours))
    return {"marks": sorted([cell, colour, rng.choice(MARKS)] for cell, colour in zip(cells, colours))}


def _ask_marks(facts: Facts) -> dict[str, str]:
    colours = [colour for _, colour, _ in facts["marks"]]
    return {f"How many {c} marks are in the picture?": str(colours.count(c)) for c in THREE}


def _paint_marks(sheet: Sheet, facts: Facts) -> None:
    for cell, colour, shape in facts["marks"]:
        centre = 14 + 24 * (cell % 4), 14 + 24 * (cell // 4)
        sheet.mark(shape, sheet.loose(centre, 1.5), 8.5, colour)


# 18 (order): {"ranks": [rank of each bar's height, 1 the lowest; bars are numbered from the left]}


def _draw_bars(rng: random.Random) -> Facts:
    return {"ranks": rng.sample(range(1, 6), 5)}


def _ask_bars(facts: Facts) -> dict[str, str]:
    upwards = sorted(range(1, 6), key=lambda number: facts["ranks"][number - 1])
    return {
        f"What is the order of the bars {how}?": "-".join(map(str, order))
        for how, order in (
            ("from the shortest to the tallest", upwards),
            ("from the tallest to the shortest", upwards[::-1]),
        )
    }


def _paint_bars(sheet: Sheet, facts: Facts) -> None:
    for place, rank in enumerate(facts["ranks"]):
        x, height = 14 + 18 * place, 1 + 15 * rank
        sheet.tile((x, 82 - height / 2), (7, height / 2), COLOURS["blue"])
        sheet.text((x, 91), str(place + 1), 14)


# 62 (logic): {"shelves": {colour: shelf, 1 the highest of five}, "shapes": {colour: shape}}


def _draw_shelves(rng: random.Random) -> Facts:
    shelves = dict(zip(THREE, rng.sample(range(1, 6), 3)))
    return {"shelves": shelves, "shapes": {colour: rng.choice(MARKS) for colour in THREE}}


def _ask_shelves(facts: Facts) -> dict[str, str]:
    asked = {}
    for colour, shelf in facts["shelves"].items():
        ends = f"Where is the {colour} toy now?"
        asked[f"All toys move down one shelf, the lowest goes to the top. {ends}"] = str(shelf % 5 + 1)
        asked[f"All toys move up one shelf, the highest goes to the bottom. {ends}"] = str(
            (shelf - 2) % 5 + 1
        )
    return asked


def _paint_shelves(sheet: Sheet, facts: Facts) -> None:
    for shelf in range(5):
        sheet.text((9, 11.5 + 19 * shelf), str(shelf + 1), 13)
        sheet.line([(17, 21 + 19 * shelf), (96, 21 + 19 * shelf)], GRAY, 1.5)
    for colour, shelf in facts["shelves"].items():
        place = sheet.loose((56, 0), 6)[0], 19 * shelf - 7.5
        sheet.mark(facts["shapes"][colour], place, 8, colour)


# 83 (pattern): {"row": [colour of each bead]}; the letters' colours are always the same


def _draw_row(rng: random.Random) -> Facts:
    a, b, c = rng.sample(NAMES, 3)
    period = rng.choice([[a, b], [a, b, c], [a, a, b], [a, b, b]])
    return {"row": period * (6 // len(period))}


def _ask_row(facts: Facts) -> dict[str, str]:
    asked = {}
    for place in (7, 8, 9):  # six beads hold two or three periods, so bead n + 6 is as bead n
        question = f"The row goes on in the same way. Which letter has the colour of bead {place}?"
        asked[question] = LETTERS[NAMES.index(facts["row"][place - 7])]
    return asked


def _paint_row(sheet: Sheet, facts: Facts) -> None:
    sheet.line([(2, 30), (98, 30)], GRAY, 1.5)
    for place, colour in enumerate(facts["row"]):
        sheet.disc((10 + 16 * place, 30), 7.5, COLOURS[colour])
    for letter, colour, x in zip(LETTERS, NAMES, (12, 31, 50, 69, 88)):
        sheet.tile((x, 68), (6, 6), COLOURS[colour])
        sheet.text((x, 84), letter, 14)


# 95 (spatial): {"letters": [letter in each of the five regions]}

_REGIONS: tuple[tuple[str, Pixel], ...] = (
    ("in the red circle only", (17, 38)),
    ("in both circles", (42, 38)),
    ("in the blue circle only", (67, 38)),
    ("in the square but in no circle", (42, 80)),
    ("outside the square", (91, 50)),
)


def _draw_circles(rng: random.Random) -> Facts:
    return {"letters": rng.sample(LETTERS, 5)}


def _ask_circles(facts: Facts) -> dict[str, str]:
    return {f"Which letter is {where}?": letter for (where, _), letter in zip(_REGIONS, facts["letters"])}


def _paint_circles(sheet: Sheet, facts: Facts) -> None:
    sheet.tile((42, 50), (39, 44), GRAY, 2.5)
    for centre, colour in (((30, 38), "red"), ((54, 38), "blue")):
        sheet.glaze(centre, 24, COLOURS[colour])
    for centre, colour in (((30, 38), "red"), ((54, 38), "blue")):
        sheet.ring(centre, 24, COLOURS[colour], 2.5)
    for (_, place), letter in zip(_REGIONS, facts["letters"]):
        sheet.text(place, letter, 19)


# 100 (logic): {"board": [letters of row 1, of row 2]}; columns A and B

_ALPHABET = "LOTXZ"


def _draw_board(rng: random.Random) -> Facts:
    letters = "".join(rng.sample(_ALPHABET, 4))
    return {"board": [letters[:2], letters[2:]]}


def _ask_board(facts: Facts) -> dict[str, str]:
    asked = {}
    for row, word in enumerate(facts["board"], 1):
        asked[f"Which word has the code A{row} B{row}?"] = word
        asked[f"Which word has the code B{row} A{row}?"] = word[::-1]
    return asked


def _paint_board(sheet: Sheet, facts: Facts) -> None:
    for column, x in zip("AB", (37, 77)):
        sheet.text((x, 8), column, 12, GRAY)
    for row, (word, y) in enumerate(zip(facts["board"], (35, 76)), 1):
        sheet.text((7, y), str(row), 12, GRAY)
        for letter, x in zip(word, (37, 77)):
            sheet.tile((x, y), (19, 19), LIGHT, 1.5)
            sheet.text((x, y), letter, 38)


PUZZLES = (
    Puzzle(1, "path", _draw_lines, _ask_lines, _paint_lines),
    Puzzle(2, "counting", _draw_marks, _ask_marks, _paint_marks),
    Puzzle(18, "order", _draw_bars, _ask_bars, _paint_bars),
    Puzzle(62, "logic", _draw_shelves, _ask_shelves, _paint_shelves),
    Puzzle(83, "pattern", _draw_row, _ask_row, _paint_row, lettered=True),
    Puzzle(95, "spatial", _draw_circles, _ask_circles, _paint_circles, lettered=True),
    Puzzle(100, "logic", _draw_board, _ask_board, _paint_board),
)
