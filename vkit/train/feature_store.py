"""Blocks of numbers on the disk under content keys: memory-mapped to read, whole or absent after any kill.

    store = FeatureStore(Path("features"))
    with store.writer() as writer:
        writer.add("9f2c", block)                 # (rows, width) float16
        writer.flush()
    store["9f2c"]                                 # the same block, a view of the file

A folder holds shards (safetensors, one tensor of all rows of a width) and ``index.jsonl``, which names the
blocks of a shard once that is whole on the disk. Whatever a kill leaves behind beside these is written over.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, parse_object, write_bytes

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 60.0  # small features take long to fill a shard; a kill should not cost hours
_RESERVE_BYTES = 64 * 2**20  # for the index and for the shard that is being written


class FeatureStore:
    """The blocks of a folder, as they were when it was opened and as its own writer adds to them.

    A block whose shard is gone or cut short is not there; it can be written again.

    Raises:
        VkitError: the index is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "index.jsonl"
        self._places: dict[str, tuple[str, int, int, int]] = {}  # shard, width, first row, rows
        self._mapped: dict[tuple[str, int], np.ndarray] = {}
        for entry in _entries(self._index):
            self._take(entry)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> np.ndarray:
        """(rows, width) float16, read-only, of the file itself."""
        shard, width, start, rows = self._places[key]
        return self._rows_of(shard, width)[start : start + rows]

    def check_space(self, needed_bytes: int) -> None:
        """Raises `VkitError` where the disk has less than ``needed_bytes`` and a small reserve."""
        free = shutil.disk_usage(self.folder).free
        if needed_bytes + _RESERVE_BYTES > free:
            raise VkitError(
                f"{self.folder}: the features need {readable(needed_bytes)}, but {readable(free)} are free;"
                " free space, choose another folder, or leave the token features out"
            )

    @contextmanager
    def writer(
        self, *, shard_bytes: int = SHARD_BYTES, shard_seconds: float = SHARD_SECONDS
    ) -> Iterator[Writer]:
        """Adds blocks; what was added is written when the block of code ends, even where it raises.

        Only one process writes into a folder at a time; blocks that others wrote meanwhile are there.

        Args:
            shard_bytes, shard_seconds: a shard is written once it is so large or so old. A kill costs no
                more than what one shard holds.

        Raises:
            VkitError: another process writes into the folder, or the disk is full.
        """
        with JsonlStore(self._index) as index:
            for entry in index.items:
                self._take(entry)
            writer = Writer(self, index, shard_bytes, shard_seconds)
            try:
                yield writer
            finally:
                writer.flush()

    def _take(self, entry: dict[str, Any]) -> None:
        try:
            shard, size, tensors = str(entry["shard"]), int(entry["bytes"]), entry["tensors"]
            places = {
                key: (shard, int(width), int(start), int(rows))
                for width, (keys, lengths) in tensors.items()
                for key, start, rows in zip(keys, np.cumsum([0, *lengths]), lengths)
            }
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise VkitError(f"{self._index} is no index of features ({error}); delete the folder") from error
        path = self.folder / shard
        if path.name != shard or len(shard) > 100 or "\0" in shard:  # of ours none is such
            raise VkitError(
                f"{self._index} names {shard[:60]!r}, which is no file of its folder; delete the folder"
            )
        if path.is_file() and path.stat().st_size == size:
            self._places.update(places)

    def _rows_of(self, shard: str, width: int) -> np.ndarray:
        """(rows of all its blocks, width) of a shard, mapped into memory."""
        if (shard, width) not in self._mapped:
            self._mapped[shard, width] = _map_tensor(self.folder / shard, str(width))
        return self._mapped[shard, width]


class Writer:
    """Collects blocks and writes them shard by shard; see `FeatureStore.writer`."""

    def __init__(self, store: FeatureStore, index: JsonlStore, shard_bytes: int, shard_seconds: float):
        self._store, self._index = store, index
        self._shard_bytes, self._shard_seconds = shard_bytes, shard_seconds
        self._shards = len(index.items)
        self._blocks: dict[str, np.ndarray] = {}
        self._bytes, self._since = 0, time.monotonic()

    def add(self, key: str, block: np.ndarray) -> None:
        """Keep a block (rows, width) of float16 under ``key``; it is in the store once its shard is."""
        if block.dtype != np.float16 or block.ndim != 2:
            raise ValueError(f"a block is (rows, width) of float16, not {block.shape} of {block.dtype}")
        if key in self._blocks:
            return
        self._blocks[key] = block
        self._bytes += block.nbytes

    def flush_if_due(self) -> None:
        """Write the shard if it is large or old enough."""
        if self._bytes >= self._shard_bytes or time.monotonic() - self._since >= self._shard_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what was added as one shard: first its file, whole, then its line of the index."""
        from safetensors.numpy import save

        blocks, self._blocks, self._bytes = self._blocks, {}, 0  # also where the disk fails: no second try
        if blocks:
            by_width: dict[str, dict[str, np.ndarray]] = {}
            for key, block in blocks.items():
                by_width.setdefault(str(block.shape[1]), {})[key] = block
            data = save({width: np.concatenate(list(b.values())) for width, b in by_width.items()})
            entry = {
                "shard": f"shard-{self._shards:06d}.safetensors",
                "bytes": len(data),
                "tensors": {w: [list(b), [len(block) for block in b.values()]] for w, b in by_width.items()},
            }
            try:
                write_bytes(self._store.folder / str(entry["shard"]), data)
                self._index.append(entry)
            except OSError as error:
                raise VkitError(
                    f"{self._store.folder} cannot be written ({error.strerror}); free space or choose another"
                    " folder, and run again: what is done stays"
                ) from error
            self._shards += 1
            self._store._take(entry)
        self._since = time.monotonic()


def readable(size_bytes: int) -> str:
    """
    >>> readable(3 * 2**30), readable(512)
    ('3.0 GiB', '512 B')
    """
    power = min(3, int(math.log2(max(1, size_bytes)) // 10))
    return f"{size_bytes / 2 ** (10 * power):.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of an index; a last one that another process is writing is left for later."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield parse_object(line)
            except VkitError as error:
                raise VkitError(f"{path}:{number}: {error}") from error


def _map_tensor(path: Path, name: str) -> np.ndarray:
    """A tensor of a safetensors file without reading it: 8 bytes of header length, the header, the data."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        try:
            tensor = json.loads(file.read(min(header_bytes, path.stat().st_size)))[name]
            start, shape = 8 + header_bytes + tensor["data_offsets"][0], tuple(tensor["shape"])
            if len(shape) != 2:
                raise ValueError(f"{name!r} has {len(shape)} axes in place of 2")
            return np.asarray(np.memmap(path, np.float16, mode="r", offset=start, shape=shape))
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError, OSError) as error:
            raise VkitError(f"{path} is damaged ({error}); delete it, and run again") from error
