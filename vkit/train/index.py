"""Where the records of some files begin and what they give, checked: a million in seconds, by all cores.

    index = build_index([Path("part-0.jsonl"), Path("part-1.jsonl")], "pair", recipe)
    index.entries[12]                                     # file, byte offset, side

Files are read and digested once, block by block, by this process; blocks are parsed by others; what they find
is put together in the files' order, so that the index is the same however many there are. Nothing of it is
kept on the disk: an index that could be out of date would have to be checked by reading all of it again.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vkit.errors import VkitError
from vkit.sources.opening import PARSERS, has_unique_ids
from vkit.train.index_block import Block, line_check, line_text
from vkit.train.index_workers import readers
from vkit.train.loader import prefetch
from vkit.train.recipes import AlignRecipe, SftRecipe

BLOCK = 1 << 20  # bytes that are read at once, to the end of a line
_SMALL = 16 << 20  # bytes of files that are indexed before other processes have begun
_MOST_WORKERS = 4  # of 40 MB each; with them a million records are indexed in 200 to 300 MB in all
_AT_ONCE = 1 << 16  # records whose entries are made together

TWICE = "its id stands twice; make ids unique"


@dataclass(frozen=True)
class Refused:
    """A record that is left out, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Index:
    """Of N examples, in the order of the files.

    entries: (N, 3) int64: file, byte offset, side. checks: (N,) uint32, `line_check` of their lines.
    digest: of all records, and of which of them are used.
    refused: bad records. left_out: how many records are of no use, by reason.
    """

    entries: np.ndarray
    checks: np.ndarray
    digest: str
    refused: list[Refused]
    left_out: dict[str, int]


def build_index(
    files: Sequence[Path],
    kind: str,
    recipe: SftRecipe | AlignRecipe,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Index:
    """The index of files of one kind.

    Args:
        skip_bad: list bad records instead of stopping at the first.
        workers: processes that parse; 0: this one; None: as the files are large and cores are there.

    Raises:
        VkitError: a file cannot be read, or a record is bad; names file, record and reason.
    """
    from tqdm import tqdm

    found = _Found(files, kind)
    workers = _workers(files) if workers is None else workers
    with (
        readers(kind, recipe, workers=workers) as read,
        tqdm(desc=f"read {files[0].name}", unit=" records", leave=False, disable=None) as bar,
    ):
        pieces = prefetch(lambda p: (p, read(files[p.file].parent, p.data)), _pieces(files), workers=workers)
        for piece, block in pieces:
            found.add(piece, block)
            bar.set_description_str(f"read {files[piece.file].name}", refresh=False)
            bar.update(len(block.offsets))
            if found.errors and not skip_bad:
                break
        pieces.close()
    return found.index(skip_bad)


class _Piece(NamedTuple):
    """Whole lines of a file, by its number, from a byte on."""

    file: int
    start: int
    data: bytes


def _pieces(files: Sequence[Path]) -> Iterator[_Piece]:
    for number, path in enumerate(files):
        try:
            with path.open("rb") as file:
                start = 0
                while data := file.read(BLOCK):
                    data += file.readline()
                    yield _Piece(number, start, data)
                    start += len(data)
        except OSError as error:
            raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error


def _workers(files: Sequence[Path]) -> int:
    """As many as there are cores for this process, where several share the machine; 0 for few records."""
    if sum(path.stat().st_size for path in files) < _SMALL:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's, on this machine
    return min(own, _MOST_WORKERS) if own > 1 else 0


class _Found:
    """What the blocks say, put together in order.

    errors: by row of all records, the id (None where it could not be read) and what is wrong.
    """

    def __init__(self, files: Sequence[Path], kind: str) -> None:
        self.files, self.kind = files, kind
        self.errors: dict[int, tuple[str | None, str]] = {}
        self._digest = hashlib.sha256()
        self._columns: dict[str, list[np.ndarray]] = {"offsets": [], "checks": [], "ids": [], "given": []}
        self._outcomes: dict[tuple[int, ...] | str, int] = {}
        self._ends = [0] * len(files)  # of each file, the row after its last
        self._count = 0

    def add(self, piece: _Piece, block: Block) -> None:
        """The next block."""
        if block.blank:
            for line in io.BytesIO(piece.data):
                self._digest.update(line if line.strip() else b"")
        else:
            self._digest.update(piece.data)
        places = [self._outcomes.setdefault(outcome, len(self._outcomes)) for outcome in block.outcomes]
        given = np.array([*places, 0], dtype=np.uint8)[block.given]
        new = {"offsets": block.offsets + piece.start, "checks": block.checks, "ids": block.ids}
        for name, values in {**new, "given": given}.items():
            self._columns[name].append(values)
        self.errors.update({self._count + row: error for row, error in block.errors.items()})
        self._count += len(block.offsets)
        self._ends[piece.file :] = [self._count] * (len(self.files) - piece.file)

    def index(self, skip_bad: bool) -> Index:
        """The index. Raises `VkitError` for the first bad record, unless ``skip_bad``."""
        offsets = self._column("offsets")
        checks = self._column("checks")
        self._find_twice(offsets, checks, only_first=not skip_bad)
        if self.errors and not skip_bad:
            raise self._refusal(min(self.errors))
        good = np.ones(self._count, dtype=bool)
        good[list(self.errors)] = False
        given = self._column("given")
        left_out = {
            outcome: count
            for outcome, place in self._outcomes.items()
            if isinstance(outcome, str) and (count := int((good & (given == place)).sum()))
        }
        entries, checks = self._entries(offsets, checks, given, good)
        self._digest.update(entries.reshape(-1).view(np.uint8).data)  # which pictures are missing may change
        refused = [
            Refused(self._place(row) if name is None else name, reason)
            for row, (name, reason) in sorted(self.errors.items())
        ]
        return Index(entries, checks, self._digest.hexdigest()[:16], refused, left_out)

    def _entries(
        self, offsets: np.ndarray, checks: np.ndarray, given: np.ndarray, good: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Entries of the good records, and their checks; filled bit by bit, which takes half the memory."""
        sides = [() if isinstance(outcome, str) else outcome for outcome in self._outcomes] or [()]
        table = np.zeros((len(sides), max(1, *map(len, sides))), dtype=np.int64)
        for place, chosen in enumerate(sides):
            table[place, : len(chosen)] = chosen
        lengths = np.array([len(chosen) for chosen in sides])
        counts = np.where(good, lengths.astype(np.uint8)[given], np.uint8(0))
        total = int(counts.sum())
        entries, chosen_checks = np.empty((total, 3), dtype=np.int64), np.empty(total, dtype=np.uint32)
        filled = 0
        for start in range(0, self._count, _AT_ONCE):
            some = counts[start : start + _AT_ONCE]
            rows = start + np.repeat(np.arange(len(some)), some)
            turn = np.arange(len(rows)) - np.searchsorted(rows, rows)  # which of its record's sides
            part = slice(filled, filled + len(rows))
            entries[part, 0] = self._file_of(rows)
            entries[part, 1] = offsets[rows]
            entries[part, 2] = table[given[rows], turn]
            chosen_checks[part] = checks[rows]
            filled += len(rows)
        return entries, chosen_checks

    def _file_of(self, rows: Any) -> Any:
        """The number of the file in which a row stands, or each of many."""
        return np.searchsorted(self._ends, rows, side="right")

    def _column(self, name: str) -> np.ndarray:
        """One column of all blocks, which are let go."""
        parts = self._columns.pop(name)
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _find_twice(self, offsets: np.ndarray, checks: np.ndarray, *, only_first: bool) -> None:
        """Add to the errors every record whose id an earlier one has.

        Hashes say which may; the ids themselves, read again, say which do.
        """
        ids = self._column("ids")
        if not has_unique_ids(self.kind):
            return
        ids[[row for row, (name, _) in self.errors.items() if name is None]] = 0  # never read
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        same = ordered[1:] == ordered[:-1]
        shared = np.zeros(len(ids), dtype=bool)
        shared[order[1:][same]] = shared[order[:-1][same]] = True
        del order, ordered
        seen: dict[int, set[str]] = {}
        for row in np.flatnonzero(shared).tolist():
            if self.errors.get(row, ("", ""))[0] is None:
                continue
            path = self.files[int(self._file_of(row))]
            name = PARSERS[self.kind](read_line(path, int(offsets[row]), int(checks[row])), path.parent).id
            earlier = seen.setdefault(int(ids[row]), set())
            if name in earlier:
                self.errors[row] = name, TWICE
                if only_first:
                    return
            earlier.add(name)

    def _refusal(self, row: int) -> VkitError:
        name, reason = self.errors[row]
        where = self._place(row) + ("" if name is None else f" ({name!r})")
        return VkitError(f"{where}: {reason}; --skip-bad leaves bad records out")

    def _place(self, row: int) -> str:
        file = int(self._file_of(row))
        first = self._ends[file - 1] if file else 0
        return f"{self.files[file]}, record {row - first + 1}"


def read_line(path: Path, offset: int, check: int) -> str:
    """A record's line, from its place in the index.

    Raises:
        VkitError: the file cannot be read, or another line stands there now.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            line = file.readline()
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if line_check(line) != check:
        raise VkitError(
            f"{path} has changed since it was indexed: another record stands at byte {offset}; put the file"
            " back, or start again"
        )
    return line_text(line)
