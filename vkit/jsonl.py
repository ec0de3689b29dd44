"""JSON Lines that survive a kill at any moment: what was added is whole, a torn last line is dropped.

with JsonlStore(Path("items.jsonl")) as store:
    done = {item["id"] for item in store.items}
    store.append({"id": "12"})
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vkit.errors import VkitError

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs into one folder are then the user's care
    fcntl = None  # type: ignore[assignment]


class JsonlStore:
    """An append-only file of objects, one a line, held by one process at a time.

    items: what the file held when it was opened.

    Raises:
        VkitError: another process holds the file, or a line other than the last is no JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")
        try:
            self._lock()
            self.items, whole = _whole_lines(self._file, path)
            self._file.truncate(whole)
        except BaseException:
            self._file.close()
            raise

    def append(self, item: dict[str, Any]) -> None:
        """Add one object and wait until it is on the disk."""
        self._file.write(json.dumps(item, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> JsonlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise VkitError(
                    f"{self.path} is in use by another run; wait for it or use a new folder"
                ) from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line. Raises `VkitError` naming file and line."""
    for number, line in text_lines(path):
        yield number, _parse(line, path, number)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank. Raises `VkitError` where the file is no text."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise VkitError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `VkitError` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VkitError(f"{path} cannot be read as JSON ({error}); replace the file") from error
    if not isinstance(value, dict):
        raise VkitError(f"{path} holds no object but {type(value).__name__}; replace the file")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write one JSON file, complete or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write one file, complete or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _whole_lines(file: Any, path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects of the file and the byte after the last whole line."""
    file.seek(0)
    items, whole = [], 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break  # a kill in the middle of a write
        items.append(_parse(line, path, number))
        whole += len(line)
    return items, whole


def _parse(line: str | bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise VkitError(f"{path}:{number}: not JSON ({error}); write one object a line") from error
    if not isinstance(item, dict):
        raise VkitError(f"{path}:{number}: not an object but {type(item).__name__}; write one object a line")
    return item
