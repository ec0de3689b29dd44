"""JSON Lines that survive a kill at any moment: what was added is whole, a torn last line is dropped.

with JsonlStore(Path("items.jsonl")) as store:
    done = {item["id"] for item in store.items}
    store.append({"id": "12"})
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from vkit.errors import VkitError

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs into one folder are then the user's care
    fcntl = None  # type: ignore[assignment]


class JsonlStore:
    """An append-only file of objects, one a line, held by one process at a time.

    items: what the file held when it was opened; of each line what ``keep`` makes of it, so that a large
        file need not stand in memory.

    Raises:
        VkitError: another process holds the file, or a line other than the last is no JSON object.
    """

    def __init__(self, path: Path, *, keep: Callable[[dict[str, Any]], Any] = lambda item: item) -> None:
        self.path = path
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            self.items, whole = _whole_lines(path, keep)
            self._file.truncate(whole)
        except BaseException:
            self._file.close()
            raise

    def append(self, item: dict[str, Any]) -> None:
        """Add one object and wait until it is on the disk; where that fails, the file stays as it was."""
        self.extend([item])

    def extend(self, items: Iterable[dict[str, Any]]) -> None:
        """Add several objects and wait once; where that fails, the file stays as it was."""
        lines = b"".join(json.dumps(i, ensure_ascii=False, allow_nan=False).encode() + b"\n" for i in items)
        whole = os.fstat(self._file.fileno()).st_size
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
            os.fsync(self._file.fileno())
        except BaseException as error:
            self._file.truncate(whole)
            _name_file(error, self.path)
            raise

    def cut(self, count: int) -> None:
        """Keep the first ``count`` objects of the file."""
        with self.path.open("rb") as file:
            self._file.truncate(sum(len(line) for line in islice(file, count)))
        self.items = self.items[:count]

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


def write_jsonl(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of objects, one a line, complete or not at all."""
    write_chunks(path, (json.dumps(i, ensure_ascii=False, allow_nan=False).encode() + b"\n" for i in items))


def write_bytes(path: Path, data: bytes) -> None:
    """Write one file, complete or not at all."""
    write_chunks(path, [data])


def write_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """Write one file from what comes, complete or not at all: where ``chunks`` raises, there is no file."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name_file(error, path)
        raise


def _name_file(error: BaseException, path: Path) -> None:
    """A failed write does not know its file, and a failed open of the ``.part`` names the wrong one."""
    if isinstance(error, OSError) and error.errno:
        error.filename, error.filename2 = str(path), None


def _whole_lines(path: Path, keep: Callable[[dict[str, Any]], Any]) -> tuple[list[Any], int]:
    """The objects of the file and the byte after the last whole line."""
    items, whole = [], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # a kill in the middle of a write
            items.append(keep(_parse(line, path, number)))
            whole += len(line)
    return items, whole


def parse_object(line: str | bytes) -> dict[str, Any]:
    """The object on one line. Raises `VkitError` with the reason; the caller knows the place."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:  # also: a number of more than 4300 digits
        raise VkitError(f"not JSON ({error}); write one object a line") from error
    if not isinstance(item, dict):
        raise VkitError(f"not an object but {type(item).__name__}; write one object a line")
    return item


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs in the values of ``new``, in words; empty where nothing does.

    >>> changes({"model": "tiny", "dtype": "auto"}, {"model": "qwen", "dtype": "auto"})
    "model 'tiny' -> 'qwen'"
    """
    return ", ".join(f"{key} {old.get(key)!r} -> {new[key]!r}" for key in new if old.get(key) != new[key])


def refuse_half_characters(item: dict[str, Any]) -> None:
    """Raise `VkitError` where a text holds half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("unicode_escape").decode("ascii")
        raise VkitError(f"a text holds {half}, half a character; write the whole character") from error


def _parse(line: str | bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        return parse_object(line)
    except VkitError as error:
        raise VkitError(f"{path}:{number}: {error}") from error
