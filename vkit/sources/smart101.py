"""SMART-101 (Cherian et al. 2023) in its official layout: 101 puzzles, 2000 rows of each.

    SMART101-Data/<puzzle>/puzzle_<puzzle>.csv     id, Question, image, A, B, C, D, E, Answer, Note
    SMART101-Data/<puzzle>/img/                    the pictures that the rows name

    items = list(only_good(scan_smart101(Path("SMART101-Data"))))
    training = split_of(items, "train")            # the first 600 of each puzzle's first 1000 rows
    items[0].target, items[0].values               # classes: of the right answer, of the five options

The release's quirks are read as they are: puzzle 62's file is named ``puzzle_63.csv``; answers carry blanks
and units; where a row's options are empty they stand in the picture, as A to E.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from PIL import Image

from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside
from vkit.records import BadRecord, Sample
from vkit.sources.smart101_answers import Value, encode
from vkit.sources.smart101_puzzles import SEQUENCE_END, SKILLS, TEST_PUZZLES, VALIDATION_PUZZLES

LETTERS = "ABCDE"
COLUMNS = ("id", "Question", "image", *LETTERS, "Answer")  # and Note, which says nothing on the problem
PARTS = ("train", "val", "test")
# Per cent of a puzzle's rows in each part, and how many of its first rows take part; None: all.
ROW_SPLITS: dict[str, tuple[tuple[int, int, int], int | None]] = {
    "paper": ((60, 20, 20), 1000),  # SmarterVLM's code
    "merl": ((80, 5, 15), None),
}
SPLITS = (*ROW_SPLITS, "puzzle")

_MISNAMED = {62: "puzzle_63.csv"}


@dataclass(frozen=True, slots=True)
class SmartItem:
    """A row of a puzzle.

    id: "<puzzle>-<id column>". puzzle: 1 to 101. row: the row's place in its file, from 0, bad rows counted.
    question, options: as written, without the blanks around them.
    answer: the right option's letter, A to E.
    values: the classes of the five options, as `encode` gives them.
    image: path relative to ``folder``, which is the one that holds the puzzles' folders.
    """

    id: str
    puzzle: int
    row: int
    question: str
    options: tuple[str, ...]
    answer: str
    values: tuple[Value, ...]
    image: str
    folder: Path = field(default=Path(), compare=False)

    @property
    def target(self) -> Value:
        """The right answer's class; for a sequence puzzle its 10 classes."""
        return self.values[LETTERS.index(self.answer)]

    def open_image(self) -> Image.Image:
        """The picture in RGB. Raises `VkitError` naming the item."""
        try:
            return open_image(resolve_inside(self.folder, self.image))
        except VkitError as error:
            raise VkitError(f"record {self.id!r}: {error}") from error

    def to_sample(self) -> Sample:
        """The problem as a record of any source; ``meta`` keeps source, puzzle and skill."""
        meta = {"source": "smart101", "puzzle": self.puzzle, "skill": SKILLS[self.puzzle]}
        return Sample(
            self.id, self.question, self.options, self.answer, self.image, meta=meta, folder=self.folder
        )


def is_smart101(folder: Path) -> bool:
    """Whether a folder holds puzzles of SMART-101, or the release's folder that holds them."""
    return _root(folder) is not None


def scan_smart101(folder: Path, *, pictures: bool = False) -> Iterator[SmartItem | BadRecord]:
    """Every row in order of puzzle and file, the bad ones as `BadRecord` of ``file:line``.

    Args:
        folder: holds the puzzles' folders, any of the 101, or holds ``SMART101-Data``.
        pictures: open every picture as well, so that a broken one is told by its row.

    Raises:
        VkitError: the folder is missing or holds no puzzle.
    """
    root = _root(folder)
    if root is None:
        raise VkitError(f"{folder} holds no <puzzle>/puzzle_<puzzle>.csv; give the folder SMART101-Data")
    for place in _numbered(root):
        number = int(place.name)
        if number not in SKILLS or place.name != str(number):
            yield BadRecord(str(place), "SMART-101's puzzles are 1 to 101; take this folder away")
        else:
            yield from _scan_puzzle(root, number, pictures)


def scan_smart101_samples(folder: Path, *, pictures: bool = False) -> Iterator[Sample | BadRecord]:
    """The rows of `scan_smart101` as samples."""
    for item in scan_smart101(folder, pictures=pictures):
        yield item if isinstance(item, BadRecord) else item.to_sample()


def split_of(
    items: Iterable[SmartItem], part: str, *, split: str = "paper", rows: int | None = None
) -> list[SmartItem]:
    """The items of one part, in order.

    - "paper" (SmarterVLM's code): of each puzzle the first 1000 rows, 60:20:20 in their order
    - "merl" (the release's default): all rows, 80:5:15 in their order
    - "puzzle" (the release's): 77 whole puzzles to train on, 3 to validate, 21 to test. Its code also takes
      the rows of each part by "merl", and no sequence puzzle; here nothing is taken away.

    A puzzle has as many rows as its last item's row says. Each row is in one part; where the percentages do
    not come out even, the release drops the row between two parts, and here it is the later part's.

    Args:
        part: "train", "val" or "test".
        rows: take the first so many rows of each puzzle in place of the split's own number.

    Raises:
        VkitError: the split or the part is not known, or ``rows`` is not positive.
    """
    if split not in SPLITS:
        raise VkitError(f"split {split!r} is not known; choose one of {', '.join(SPLITS)}")
    if part not in PARTS:
        raise VkitError(f"part {part!r} is not known; choose one of {', '.join(PARTS)}")
    if rows is not None and rows < 1:
        raise VkitError(f"rows must be 1 or more, not {rows}")
    items = list(items)
    if split == "puzzle":
        taken = [item for item in items if rows is None or item.row < rows]
        return [item for item in taken if _part_of_puzzle(item.puzzle) == part]
    shares, first = ROW_SPLITS[split]
    first = rows or first
    count: dict[int, int] = {}
    for item in items:
        seen = max(count.get(item.puzzle, 0), item.row + 1)
        count[item.puzzle] = seen if first is None else min(seen, first)
    at = PARTS.index(part)
    low, high = sum(shares[:at]), sum(shares[: at + 1])
    return [
        item
        for item in items
        if count[item.puzzle] * low // 100 <= item.row < count[item.puzzle] * high // 100
    ]


def _part_of_puzzle(puzzle: int) -> str:
    if puzzle in TEST_PUZZLES:
        return "test"
    return "val" if puzzle in VALIDATION_PUZZLES else "train"


def _root(folder: Path) -> Path | None:
    """The folder that holds the puzzles' folders: this one, or one that the release puts around them."""
    for root in (folder, folder / "SMART101-Data", folder / "SMART101-release-v1" / "SMART101-Data"):
        if root.is_dir() and any(
            _tables(root, int(p.name)) for p in _numbered(root) if int(p.name) in SKILLS
        ):
            return root
    return None


def _numbered(root: Path) -> list[Path]:
    """Folders whose name is a number, in its order."""
    names = (name for name in os.listdir(root) if name.isascii() and name.isdigit())
    return [root / name for name in sorted(names, key=int) if (root / name).is_dir()]


def _tables(root: Path, puzzle: int) -> list[Path]:
    names = (f"puzzle_{puzzle}.csv", _MISNAMED.get(puzzle))
    return [path for name in names if name and (path := root / str(puzzle) / name).is_file()]


def _scan_puzzle(root: Path, puzzle: int, pictures: bool) -> Iterator[SmartItem | BadRecord]:
    tables = _tables(root, puzzle)
    if len(tables) != 1:
        found = " and ".join(table.name for table in tables) or "none"
        yield BadRecord(str(root / str(puzzle)), f"one table puzzle_{puzzle}.csv is expected, not {found}")
        return
    table, images = tables[0], root / str(puzzle) / "img"
    try:
        rows = _read_table(table)
        names = set(os.listdir(images)) if images.is_dir() else set()
    except (OSError, VkitError) as error:
        yield BadRecord(f"{table}:1", str(error))
        return
    end = _largest(puzzle, (texts for _, texts in rows if isinstance(texts, dict)))
    seen: set[str] = set()
    for row, (line, texts) in enumerate(rows):
        try:
            if isinstance(texts, VkitError):
                raise texts
            item = _item(puzzle, row, texts, end, root)
            if item.id in seen:
                raise VkitError(f"id {texts['id']!r} stands twice; make ids unique")
            # os.path: a name too long for the disk is missing too
            if texts["image"] not in names and not os.path.isfile(resolve_inside(images, texts["image"])):
                raise VkitError(f"image {texts['image']!r} is missing in {images}; check the path")
            if pictures:
                item.open_image()
        except VkitError as error:
            yield BadRecord(f"{table}:{line}", str(error))
        else:
            seen.add(item.id)
            yield item


def _read_table(table: Path) -> list[tuple[int, dict[str, str] | VkitError]]:
    """The line on which each row starts, and its texts by column; an error where they cannot be told.

    Raises:
        VkitError: the first line does not name the columns, or there is no row below it.
    """
    lines = _lines(table.read_bytes())
    _, columns = next(lines, (1, []))
    if isinstance(columns, VkitError):
        raise columns
    places = _places(columns)
    rows: list[tuple[int, dict[str, str] | VkitError]] = []
    for line, fields in lines:
        try:
            if isinstance(fields, VkitError):
                raise fields
            rows.append((line, _texts(fields, places, len(columns))))
        except VkitError as error:
            rows.append((line, error))
    if not rows:
        raise VkitError("the table holds no rows; take the file from the release")
    return rows


def _lines(data: bytes) -> Iterator[tuple[int, list[str] | VkitError]]:
    """The line on which each row starts, and its fields; an error where they cannot be told apart."""
    text = data.decode("utf-8-sig", "surrogateescape")  # a row says for itself where it is no text
    # Strict: otherwise a quote that is not closed makes one row of many, and nobody hears of it.
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # also a NUL, in Python 3.10
            last = max(reader.line_num, line)
            yield line, VkitError(f"no row from here to line {last} ({error}); look for a stray quote")
        else:
            if fields:
                yield line, fields


def _places(columns: list[str]) -> dict[str, int]:
    """Where each column that is needed stands."""
    names = [name.strip() for name in columns]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise VkitError(
                f"column {name!r} must stand once in the first line; it names {', '.join(COLUMNS)}, Note"
            )
    return {name: names.index(name) for name in COLUMNS}


def _texts(fields: list[str], places: dict[str, int], width: int) -> dict[str, str]:
    """The row's text in each column, stripped."""
    if not max(places.values()) < len(fields) <= width:
        raise VkitError(f"{len(fields)} fields for {width} columns; look for a stray quote or comma")
    texts = {name: fields[place].strip() for name, place in places.items()}
    joined = "".join(texts.values())
    if "\0" in joined:
        raise VkitError("the row holds a NUL byte; take the file from the release")
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise VkitError("the row is not UTF-8 text; convert the file") from error
    return texts


def _largest(puzzle: int, rows: Iterable[dict[str, str]]) -> int | None:
    """The largest value among the right answers, where the puzzle's end class is that."""
    if SEQUENCE_END.get(puzzle, 0) is not None:
        return None
    largest = 0
    for texts in rows:
        try:
            value = encode(puzzle, texts[_answer(texts)])
        except VkitError:
            continue  # the row is told when its item is made
        largest = max(largest, max(value) if isinstance(value, tuple) else value)
    return largest


def _item(puzzle: int, row: int, texts: dict[str, str], end: int | None, root: Path) -> SmartItem:
    for name in ("id", "Question", "image"):
        if not texts[name]:
            raise VkitError(f"{name} is empty; fill it in")
    answer = _answer(texts)
    options = _options(texts)
    values = []
    for letter, option in zip(LETTERS, options):
        try:
            values.append(encode(puzzle, option, end=end))
        except VkitError as error:
            raise VkitError(f"option {letter}: {error}") from error
    target = values[LETTERS.index(answer)]
    if isinstance(target, int) and target < 0:
        raise VkitError(f"the right answer is {target}, but classes start at 0; correct it")
    image = f"{puzzle}/img/{texts['image']}"
    return SmartItem(
        f"{puzzle}-{texts['id']}", puzzle, row, texts["Question"], options, answer, tuple(values), image, root
    )


def _answer(texts: dict[str, str]) -> str:
    answer = texts["Answer"]
    if len(answer) != 1 or answer not in LETTERS:
        raise VkitError(f"Answer must be a letter from A to E, not {answer[:40]!r}")
    return answer


def _options(texts: dict[str, str]) -> tuple[str, ...]:
    options = tuple(texts[letter] for letter in LETTERS)
    empty = [letter for letter in LETTERS if not texts[letter]]
    if len(empty) == len(LETTERS):  # they stand in the picture
        return tuple(LETTERS)
    if empty:
        raise VkitError(f"option {', '.join(empty)} is empty, others are not; fill in all five or none")
    return options
