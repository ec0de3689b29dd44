"""SMART-101 in miniature: puzzles of our own in the official layout, to train and test without the data set.

    write_smart_mini(Path("mini"), rows=300, seed=0)

    mini/manifest.json              settings, counts and a digest of everything below
    mini/2/puzzle_2.csv             id, Question, image, A, B, C, D, E, Answer, Note
    mini/2/img/puzzle_2_1.png       a picture, of which two neighbouring rows ask

Thirteen puzzles stand under the numbers of official ones of the same skill and kind of answer: all eight
skills and `order`, icon classes (1), hours (25), operators (58), lengths (93), letters (95) and sequences
(18, 100). Note holds what the picture shows, as JSON.

Both sides are needed. Two neighbouring rows ask different questions of the same picture, and their answers
differ: without the text no more than half of the answers can be right. Without the picture the most frequent
answer to each question is right for no more than 30 in 100 rows of any puzzle, and 20 in 100 of all. A small
model learns them from a few hundred rows: each has two to six questions, and what one asks for always stands
at the same places or in the same colours. So the same facts recur in other pictures, at other pixels.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vkit import __version__
from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.jsonl import read_json, write_json
from vkit.synthesis.smart_mini_marks import PUZZLES as OF_MARKS
from vkit.synthesis.smart_mini_numbers import PUZZLES as OF_NUMBERS
from vkit.synthesis.smart_mini_puzzle import LETTERS, Asked, Facts, Puzzle, ask_twice
from vkit.synthesis.smart_mini_sheet import Sheet

PUZZLES = tuple(sorted((*OF_MARKS, *OF_NUMBERS), key=lambda puzzle: puzzle.number))
COLUMNS = ("id", "Question", "image", *LETTERS, "Answer", "Note")
MOST_ROWS, SIZES = 2000, (64, 1024)  # of a puzzle, as officially; smallest and largest side, pixels


def write_smart_mini(
    folder: Path, *, rows: int = 300, seed: int = 0, size: int = 128, progress: bool | None = None
) -> dict[str, Any]:
    """Draw ``rows`` rows of each puzzle into ``folder``; returns the manifest.

    Same seed, same bytes, for the same Pillow; more rows begin with the same rows. The folder is complete or
    absent; where it is there already, as asked, nothing is drawn.

    Args:
        rows: of each puzzle, 2 to 2000. Multiples of ten keep a picture's two rows together in a split
            60:20:20 and have all answer letters equally often.
        size: side of the pictures, pixels, 64 to 1024.
        progress: a bar on stderr; None: where stderr is a terminal.

    Raises:
        VkitError: rows or size out of range, or the folder holds something else.
    """
    for name, value, (least, most) in (("rows", rows, (2, MOST_ROWS)), ("size", size, SIZES)):
        if not least <= value <= most:
            raise VkitError(f"{name} must be {least} to {most}, not {value}")
    settings = {
        "source": "vkit data smart-mini",
        "vkit": __version__,
        "rows": rows,
        "seed": seed,
        "size": size,
    }
    folder = folder.resolve()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        return _finished(folder, settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    try:
        pictures = _write_puzzles(part, rows, seed, size, progress)
        counts = {
            "puzzles": {str(puzzle.number): puzzle.skill for puzzle in PUZZLES},
            "pictures": pictures,
            "sha256": _digest(part),
        }
        write_json(part / "manifest.json", settings | counts)
        if hasattr(os, "sync"):
            os.sync()  # once for all: to wait for each file takes longest
        if folder.is_dir():
            folder.rmdir()  # empty, which not every system replaces
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return settings | counts


def draw_rows(puzzle: Puzzle, seed: int, size: int) -> Iterator[tuple[dict[str, str], bytes | None]]:
    """Rows of one puzzle without end, and the PNG of each row's picture where it is new."""
    rng, letters = random.Random(f"smart-mini/{seed}/{puzzle.number}"), answer_letters(seed, puzzle.number)
    seen: set[bytes] = set()
    while True:
        wanted = next(letters), next(letters)
        facts, asked = _ask_for(puzzle, wanted, rng)
        picture = _new_picture(puzzle, facts, size, seen, rng)
        image = f"puzzle_{puzzle.number}_{len(seen)}.png"
        for turn, (question, letter) in enumerate(zip(asked, wanted)):
            options = list(LETTERS) if puzzle.lettered else question.options(letter, rng)
            place = str(2 * len(seen) - 1 + turn)
            row = dict(zip(COLUMNS, (place, question.question, image, *options, letter, json.dumps(facts))))
            yield row, None if turn else picture


def answer_letters(seed: int, number: int) -> Iterator[str]:
    """Letters of the right answers of a puzzle, without end: each once in five, and neighbours differ.

    >>> from itertools import islice
    >>> "".join(islice(answer_letters(0, 2), 10))
    'AECDBCDBAE'
    """
    rng, last = random.Random(f"smart-mini/{seed}/{number}/letters"), ""
    while True:
        five = rng.sample(LETTERS, 5)
        if five[0] != last:
            yield from five
            last = five[-1]


def _ask_for(
    puzzle: Puzzle, letters: tuple[str, str], rng: random.Random
) -> tuple[Facts, tuple[Asked, Asked]]:
    """Facts, and two questions of them whose answers suit the letters."""
    while True:
        facts = puzzle.draw(rng)
        asked = ask_twice(puzzle, facts, rng)
        if asked and (not puzzle.lettered or letters == (asked[0].answer, asked[1].answer)):
            return facts, asked


def _new_picture(puzzle: Puzzle, facts: Facts, size: int, seen: set[bytes], rng: random.Random) -> bytes:
    """The facts on paper, as PNG; where the very same pixels were drawn before, once more elsewhere."""
    while True:
        sheet = Sheet(size, rng)
        puzzle.paint(sheet, facts)
        picture = png_bytes(sheet.image())
        digest = hashlib.sha256(picture).digest()
        if digest not in seen:
            seen.add(digest)
            return picture


def _write_puzzles(part: Path, rows: int, seed: int, size: int, progress: bool | None) -> int:
    """Write each puzzle's CSV and pictures; returns how many pictures."""
    from tqdm import tqdm

    pictures = 0
    disable = None if progress is None else not progress
    with tqdm(
        total=rows * len(PUZZLES), desc="smart-mini", unit=" rows", leave=False, disable=disable
    ) as bar:
        for puzzle in PUZZLES:
            inside = part / str(puzzle.number)
            (inside / "img").mkdir(parents=True)
            text = io.StringIO()
            table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            table.writeheader()
            for _, (row, picture) in zip(range(rows), draw_rows(puzzle, seed, size)):
                table.writerow(row)
                if picture is not None:
                    (inside / "img" / row["image"]).write_bytes(picture)
                    pictures += 1
                bar.update()
            (inside / f"puzzle_{puzzle.number}.csv").write_bytes(text.getvalue().encode())
    return pictures


def _finished(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a folder that holds what is asked for, untouched; any other is refused."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise VkitError(f"{folder} holds something else and no manifest.json; choose another folder")
    manifest = read_json(path)
    for name, value in settings.items():
        if (old := manifest.get(name)) != value:
            raise VkitError(f"{path} was made with {name} {old!r}, not {value!r}; choose another folder")
    if manifest.get("sha256") != _digest(folder):
        raise VkitError(f"{folder} was changed since it was drawn; choose another folder, or remove this one")
    return manifest


def _digest(folder: Path) -> str:
    """SHA-256 over the name and bytes of every file but the manifest, in the order of their names."""
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        if name != "manifest.json":
            data = files[name].read_bytes()
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
