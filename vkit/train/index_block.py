"""What stands in one block of a file of records: where each begins, what it gives, and what is wrong with it.

    reader = BlockReader("pair", recipe)
    block = reader.read(path.parent, data)                # data: whole lines
    block.offsets, block.errors                           # of its records, by row

A block knows nothing of other blocks, so that any number of processes may read a file's blocks and the index
is the same. Brings no torch: such a process starts in a quarter of a second and takes 40 MB.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.sources.opening import PARSERS, has_unique_ids, holders
from vkit.train.recipes import AlignRecipe, SftRecipe
from vkit.train.sides import sides_of


@dataclass(frozen=True)
class Block:
    """Of R records, blank lines left out.

    offsets: (R,) int64, bytes from the block's first. checks: (R,) uint32, `line_check` of each line.
    ids: (R,) uint64, hashes of ids; empty where ids need not be unique.
    given: (R,) uint8, places in ``outcomes``: the sides of the record to learn from, or why there are none.
    errors: by row the record's id (None where it could not be read) and what is wrong; `given` says nothing.
    blank: whether blank lines were left out.
    """

    offsets: np.ndarray
    checks: np.ndarray
    ids: np.ndarray
    given: np.ndarray
    outcomes: list[tuple[int, ...] | str]
    errors: dict[int, tuple[str | None, str]]
    blank: bool


class BlockReader:
    """Reads blocks of files of one kind as a recipe uses them; remembers which pictures there are."""

    def __init__(self, kind: str, recipe: SftRecipe | AlignRecipe) -> None:
        self._parse, self._unique = PARSERS[kind], has_unique_ids(kind)
        self._sides = sides_of(recipe)
        self._folders: dict[Path, _Pictures] = {}

    def read(self, folder: Path, data: bytes) -> Block:
        """The block of some whole lines of a file in ``folder``."""
        if folder not in self._folders:
            self._folders[folder] = _Pictures(folder)
        wanted = _Wanted(self._folders[folder])
        offsets: list[int] = []
        checks: list[int] = []
        ids: list[int] = []
        given: list[int] = []
        outcomes: dict[tuple[int, ...] | str, int] = {}
        errors: dict[int, tuple[str | None, str]] = {}
        offset, blank = 0, False
        for row, line in _rows(data):
            offset, start = offset + len(line), offset
            if row is None:
                blank = True
                continue
            offsets.append(start)
            checks.append(line_check(line))
            name, id_hash, code = None, 0, 0
            try:
                record = self._parse(line_text(line), folder)
                name = record.id
                id_hash = _hash(name) if self._unique else 0
                for holder in holders(record):
                    wanted.add(row, name, str(holder.image))
                sides = self._sides(record)
                code = outcomes.setdefault(sides if isinstance(sides, str) else tuple(sides), len(outcomes))
            except VkitError as error:
                errors[row] = name, str(error)
            if self._unique:
                ids.append(id_hash)
            given.append(code)
        errors.update(wanted.missing())  # a missing picture is told before what else a good record lacks
        return Block(
            np.array(offsets, dtype=np.int64),
            np.array(checks, dtype=np.uint32),
            np.array(ids, dtype=np.uint64),
            np.array(given, dtype=np.uint8),
            list(outcomes),
            errors,
            blank,
        )


def line_text(line: bytes) -> str:
    """A line as text. Raises `VkitError` where it is none."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise VkitError(f"not UTF-8 text ({error.reason}); convert the file") from error


def line_check(line: bytes) -> int:
    """32 bits that tell a line from what may stand in its place later."""
    return zlib.crc32(line.rstrip(b"\r\n"))


def _rows(data: bytes) -> Any:
    """Row, None for a blank line, and line."""
    row = 0
    for line in io.BytesIO(data):
        if line.isspace():
            yield None, line
        else:
            yield row, line
            row += 1


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class _Wanted:
    """The pictures of a block's records, looked for together."""

    def __init__(self, pictures: _Pictures) -> None:
        self._pictures = pictures
        self._found: list[tuple[int, str, str]] = []  # row, id, path
        self._by_folder: dict[str, tuple[list[int], list[int]]] = {}  # places in it, hashes of names

    def add(self, row: int, id_: str, image: str) -> None:
        cut = image.rfind("/") + 1
        places, names = self._by_folder.setdefault(image[:cut], ([], []))
        places.append(len(self._found))
        names.append(hash(image[cut:]))
        self._found.append((row, id_, image))

    def missing(self) -> dict[int, tuple[str | None, str]]:
        """By row, its id and what is wrong with the first of its pictures that is not there."""
        suspects: list[int] = []
        for folder, (places, names) in self._by_folder.items():
            known = self._pictures.known(folder, np.array(names, dtype=np.int64))
            suspects += np.array(places)[~known].tolist()
        errors: dict[int, tuple[str | None, str]] = {}
        for place in sorted(suspects):
            row, id_, image = self._found[place]
            if row not in errors and (reason := self._pictures.reason(image)) is not None:
                errors[row] = id_, reason
        return errors


class _Pictures:
    """Which pictures are there, by their paths in a folder.

    A folder that is asked for often is listed once: on a disk in the network, asking for every picture by
    itself would take longer than all the rest. Of its names 64 bits are kept; where two share them, a missing
    picture is found when it is opened.
    """

    _OFTEN = 8  # listing a folder costs about as much as asking for so many pictures

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: dict[str, int] = {}
        self._listed: dict[str, np.ndarray] = {}

    def known(self, folder: str, names: np.ndarray) -> np.ndarray:
        """Of each hash of a name whether such a file stands in ``folder``; False: ask for `reason`."""
        if folder not in self._listed:
            self._asked[folder] = self._asked.get(folder, 0) + len(names)
            if self._asked[folder] < self._OFTEN:
                return np.zeros(len(names), dtype=bool)
            self._listed[folder] = self._list(folder)
        listed = self._listed[folder]
        if not len(listed):
            return np.zeros(len(names), dtype=bool)
        places = np.searchsorted(listed, names)
        return listed[np.minimum(places, len(listed) - 1)] == names

    def reason(self, image: str) -> str | None:
        """What is wrong with a picture's path; None where its file is there."""
        try:
            if os.path.isfile(resolve_inside(self._folder, image)):
                return None
        except VkitError as error:
            return str(error)
        return f"image {image} is missing; check the record's path"

    def _list(self, folder: str) -> np.ndarray:
        """Sorted hashes of the names of files that are no links; of none where the folder is refused."""
        try:
            with os.scandir(resolve_inside(self._folder, folder)) as entries:
                names = (hash(entry.name) for entry in entries if entry.is_file(follow_symlinks=False))
                return np.sort(np.fromiter(names, dtype=np.int64))
        except (VkitError, OSError):  # each picture's own reason is told
            return np.empty(0, dtype=np.int64)
