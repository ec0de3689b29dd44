"""SMART-101 in miniature by another way: answers from what a row's Note says, and facts from its picture."""

import operator
import re
from collections import Counter, deque
from datetime import datetime, timedelta
from itertools import cycle, islice

import numpy as np
from PIL import Image
from scipy import ndimage

from vkit.synthesis.smart_mini_sheet import COLOURS

COLOUR = r"\b(red|blue|green|yellow|purple)\b"


def solve(puzzle: int, question: str, facts: dict) -> str:
    """The answer to a question, from the facts."""
    return SOLVERS[puzzle](question, facts)


def see(puzzle: int, picture: Image.Image) -> dict | None:
    """What of the facts can be measured in the picture; None: print alone, which is not read here."""
    return EYES[puzzle](np.asarray(picture).astype(int)) if puzzle in EYES else None


def what_can_be_seen(puzzle: int, facts: dict) -> dict:
    """The part of the facts that `see` measures: all of them, but for the shapes of marks."""
    if puzzle == 2:
        return dict(Counter(colour for _, colour, _ in facts["marks"]))
    return facts["shelves"] if puzzle == 62 else facts


def _line(question, facts):
    items = dict(enumerate(("star", "heart", "moon", "flag", "tree")))
    return items[facts["ends"][re.search(COLOUR, question)[1]]]


def _count(question, facts):
    return str(sum(mark[1] == re.search(COLOUR, question)[1] for mark in facts["marks"]))


def _order(question, facts):
    bars, order = dict(enumerate(facts["ranks"], 1)), []
    while bars:
        order.append((min if "from the shortest" in question else max)(bars, key=bars.__getitem__))
        del bars[order[-1]]
    return "-".join(map(str, order))


def _time(question, facts):
    half = "AM" if "morning" in question else "PM"
    start = datetime.strptime(f"{facts['hour']} {half}", "%I %p")
    end = start + timedelta(hours=1 if "later" in question else -1)
    assert end.date() == start.date()
    return end.strftime("%I:00 %p").lstrip("0")


def _covered(question, facts):
    return str(facts["rows"][re.search(COLOUR, question)[1]][1])


def _sum(question, facts):
    dots = []
    for colour in re.findall(COLOUR, question):
        dots += [colour] * facts["dice"][colour]
    return str(len(dots))


def _steps(question, facts):
    place, steps = facts["lanes"][re.search(COLOUR, question)[1]], 0
    goal = 0 if "star" in question else 6
    while place != goal:
        place += 1 if goal > place else -1
        steps += 1
    return str(steps)


def _operation(question, facts):
    sign, apply = {
        "addition": ("+", operator.add),
        "subtraction": ("-", operator.sub),
        "multiplication": ("x", operator.mul),
        "division": ("/", operator.truediv),
    }[question.split()[1]]
    left, right = facts["steps"][re.search(COLOUR, question)[1]]
    start, end = (left, right) if "from the dots on the left" in question else (right, left)
    (digit,) = [digit for digit in range(1, 10) if apply(start, digit) == end]
    return f"{sign}{digit}"


def _shelf(question, facts):
    by_shelf = {shelf: colour for colour, shelf in facts["shelves"].items()}
    shelves = deque(by_shelf.get(shelf) for shelf in range(1, 6))
    shelves.rotate(1 if "down" in question else -1)
    return str(shelves.index(re.search(COLOUR, question)[1]) + 1)


def _bead(question, facts):
    row, place = facts["row"], int(re.search(r"bead (\d+)", question)[1])
    # The shortest row that makes this one when it is repeated.
    period = next(p for p in range(1, 7) if list(islice(cycle(row[:p]), 6)) == row)
    return dict(zip(COLOURS, "ABCDE"))[next(islice(cycle(row[:period]), place - 1, None))]


def _road(question, facts):
    start, end = (facts["houses"][colour] for colour in re.findall(COLOUR, question))
    return f"{len(range(start, end))} km"


def _point(question, facts):
    regions = ("red circle only", "both circles", "blue circle only", "in no circle", "outside")
    (letter,) = [letter for where, letter in zip(regions, facts["letters"]) if where in question]
    return letter


def _word(question, facts):
    cells = re.findall(r"([AB])([12])", question)
    return "".join(facts["board"][int(row) - 1]["AB".index(column)] for column, row in cells)


SOLVERS = {
    1: _line,
    2: _count,
    18: _order,
    25: _time,
    28: _covered,
    43: _sum,
    54: _steps,
    58: _operation,
    62: _shelf,
    83: _bead,
    93: _road,
    95: _point,
    100: _word,
}


def _masks(pixels) -> dict[str, np.ndarray]:
    """Where each colour is, for those that are more than specks."""
    masks = {name: np.abs(pixels - colour).sum(-1) < 60 for name, colour in COLOURS.items()}
    return {name: mask for name, mask in masks.items() if mask.mean() > 0.004}


def _middle(mask) -> tuple[float, float]:
    """x and y of the middle of a mask, in hundredths of the side."""
    y, x = np.nonzero(mask)
    return 100 * x.mean() / mask.shape[1], 100 * y.mean() / mask.shape[0]


def _dots(mask) -> int:
    """How many separate parts, but for specks such as the tips of stars."""
    return int((np.bincount(ndimage.label(mask)[0].ravel())[1:] > 20).sum())


def _see_lines(pixels):
    starts, ends = {}, {}
    for name, mask in _masks(pixels).items():
        columns = np.nonzero(mask.any(0))[0]
        first, last = (100 * np.nonzero(mask[:, x])[0].mean() / len(mask) for x in (columns[2], columns[-3]))
        starts[name], ends[name] = first, round((last - 11) / 19.5)
    return {"starts": sorted(starts, key=starts.get), "ends": ends}


def _see_counts(pixels):
    return {name: _dots(mask) for name, mask in _masks(pixels).items()}


def _see_bars(pixels):
    (mask,) = _masks(pixels).values()
    boxes = ndimage.find_objects(ndimage.label(mask)[0])
    heights = [box[0].stop - box[0].start for box in sorted(boxes, key=lambda box: box[1].start)]
    return {"ranks": [sorted(heights).index(height) + 1 for height in heights]}


def _see_clock(pixels):
    (ring,) = _masks(pixels).values()
    x, y = _middle(ring)
    ys, xs = np.mgrid[: len(pixels), : len(pixels)] * 100 / len(pixels)
    u, v = _middle((pixels < 60).all(-1) & (np.hypot(xs - x, ys - y) < 32))
    return {"hour": round(np.degrees(np.arctan2(u - x, y - v)) / 30) % 12}


def _see_rows(pixels):
    found = {}
    black = (pixels < 60).all(-1)
    for name, mask in _masks(pixels).items():
        row = slice(*(int((_middle(mask)[1] + off) * len(mask) / 100) for off in (-17, 17)))
        left, right = int(0.33 * len(mask)), int(0.64 * len(mask))
        beside, total = _dots(black[row, left : int(0.53 * len(mask))]), _dots(black[row, right:])
        found[name] = [beside, total - beside]
    return {"rows": found}


def _see_dice(pixels):
    found = {}
    white = (pixels > 200).all(-1)
    for name, mask in _masks(pixels).items():
        rows, columns = (np.nonzero(mask.any(axis))[0] for axis in (1, 0))
        found[name] = _dots(white[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return {"dice": found}


def _see_lanes(pixels):
    return {"lanes": {name: round((_middle(mask)[0] - 8) / 14) for name, mask in _masks(pixels).items()}}


def _see_steps(pixels):
    middle = pixels.shape[1] // 2
    halves = {name: (mask[:, :middle], mask[:, middle:]) for name, mask in _masks(pixels).items()}
    return {"steps": {name: [_dots(half) for half in both] for name, both in halves.items()}}


def _see_shelves(pixels):
    return {name: round((_middle(mask)[1] + 7.5) / 19) for name, mask in _masks(pixels).items()}


def _see_row(pixels):
    places = [(int(0.30 * len(pixels)), int((10 + 16 * i) * len(pixels) / 100)) for i in range(6)]
    return {"row": [min(COLOURS, key=lambda n: np.abs(pixels[at] - COLOURS[n]).sum()) for at in places]}


def _see_road(pixels):
    road = np.nonzero(((pixels > 100) & (pixels < 140)).all(-1).any(0))[0][0] * 100 / len(pixels)
    places = {name: (_middle(mask)[0] - road - 2) / 10.5 for name, mask in _masks(pixels).items()}
    return {"houses": {name: round(place) for name, place in places.items()}}


EYES = {
    1: _see_lines,
    2: _see_counts,
    18: _see_bars,
    25: _see_clock,
    28: _see_rows,
    43: _see_dice,
    54: _see_lanes,
    58: _see_steps,
    62: _see_shelves,
    83: _see_row,
    93: _see_road,
}
