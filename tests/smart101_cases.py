"""A small SMART-101 in the official layout, with every quirk of the release.

root = write_smart101(tmp_path)                 # <root>/<puzzle>/puzzle_<puzzle>.csv and <root>/<puzzle>/img
"""

import csv
from pathlib import Path

from PIL import Image

COLUMNS = ["id", "Question", "image", "A", "B", "C", "D", "E", "Answer", "Note"]

# Puzzle -> five options as the release writes them. Row r has the letter of r modulo 5 as its answer.
OPTIONS = {
    1: ["feline", "book", "marine animal", "bunny ears", "numbers"],
    2: ["3", " 5 ", "7 ", "8", "12"],
    16: ["1 and 2", "2 and 3", "3, 4 and 5", "3, 5, and 6", "4"],
    18: ["5-2-3-1-4", "5-2-3-4-1", "4-5-2-3-1", "5-3-2-1-4", "1-2-3-4-5"],
    21: ["2 hours ", "3 hours", "1 hour", "5 hours", "6 hours"],
    22: ["40 cm", "45 cm", "50 cm", "55 cm", "60 cm"],
    25: ["1:00 AM", "2:00 PM", "5:00 PM", "11:00 AM", "12:00 PM"],
    32: ["R", "L", "K", "N", "O"],
    35: ["A", "B and C", "A, B and D", "E", "C, D, and E"],
    39: ["KNAO", "KNGO", "KNR", "ARGO", "KAO"],
    44: ["", "", "", "", ""],
    58: ["-3", "/8", "+2", "x6", "/6"],
    62: ["1", "2", "3", "4", "5"],
    63: ["only 5", "2, 3, or 4", "only 3", "only 1 or 3", "1, 3, or 5"],
    90: ["5", "8", "10", "12", "Impossible"],
    93: ["7 km", "9 km", "11 km", "16 km", "18 km"],
    100: ["MAZE", "MASK", "MILK", "MATE", "MATH"],
}


def write_smart101(root: Path, rows: int = 5, options: dict[int, list[str]] = OPTIONS) -> Path:
    """Write ``rows`` rows of each puzzle below ``root``; puzzle 62's file has the release's wrong name."""
    for puzzle, texts in options.items():
        write_table(root, puzzle, [row_of(puzzle, number, texts) for number in range(rows)])
    return root


def row_of(puzzle: int, number: int, options: list[str]) -> list[str]:
    answer = "ABCDE"[number % 5] + (" " if number % 2 else "")
    return [str(number + 1), f"What is in picture {number}? ", f"{puzzle}_{number}.png", *options, answer, ""]


def table_of(root: Path, puzzle: int) -> Path:
    return root / str(puzzle) / f"puzzle_{63 if puzzle == 62 else puzzle}.csv"


def write_table(root: Path, puzzle: int, rows: list[list[str]]) -> Path:
    """Write a puzzle's table, and a picture for each row that names one."""
    table = table_of(root, puzzle)
    (table.parent / "img").mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    for row in rows:
        picture = table.parent / "img" / row[2]
        if row[2] and not picture.exists():
            Image.new("RGB", (8, 6), (puzzle, 0, 0)).save(picture)
    return table
