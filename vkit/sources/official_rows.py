"""The rows of a benchmark's release, whichever way it is packed: JSON, JSON Lines or parquet.

    for where, row, picture in rows(Path("MathVista/data/testmini.json")): ...
    holds_rows(Path("MathVista"), {"pid", "question_type", "answer_type"})

A release is one file, or a folder with ``testmini*`` files in it or in its ``data`` folder: the JSON ones,
and where there is none, those in parquet, which need pyarrow (``pip install 'vkit[parquet]'``). Pictures that
stand in parquet are unpacked beside it, into ``<file>.images``, once: records name pictures as files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.jsonl import parse_object, read_json, refuse_half_characters, text_lines, write_bytes
from vkit.records import BadRecord, Sample
from vkit.sources.json_array import array_items, is_array

Row: TypeAlias = dict[str, Any]
# A row and its picture, as a path that is relative to the folder beside it, to a sample.
Parse: TypeAlias = Callable[[Row, "str | None", Path], Sample]

_PATTERNS = ("*testmini*.json", "*testmini*.jsonl", "*testmini*.parquet")
_BATCH = 32  # rows of parquet at a time, with their pictures


def scan_rows(
    path: Path, keys: set[str], image_key: str, parse: Parse, *, pictures: bool = True
) -> Iterator[Sample | BadRecord]:
    """Every row of a release as a sample, the bad ones as `BadRecord`.

    Args:
        keys: that a row of this benchmark has. image_key: names the row's picture.
        pictures: False leaves embedded pictures where they are, and the samples without one.

    Raises:
        VkitError: no file holds such rows, or a file cannot be read.
    """
    seen: set[str] = set()
    files = _files(path, keys)
    if not files:
        names = ", ".join(sorted(keys))
        raise VkitError(f"{path} holds no rows with {names}; give the release's folder or file")
    for file in files:
        folder = path if path.is_dir() else file.parent
        for number, (where, row) in enumerate(rows(file, pictures=pictures), 1):
            try:
                if isinstance(row, VkitError):
                    raise row
                missing = sorted(keys - set(row))
                if missing:
                    raise VkitError(f"{missing[0]!r} is missing; take the row from the release")
                sample = parse(row, _picture(row, image_key, file, folder, number), folder)
                if sample.id in seen:
                    raise VkitError(f"id {sample.id!r} stands twice; read one file at a time")
            except VkitError as error:
                yield BadRecord(where, str(error))
            else:
                seen.add(sample.id)
                yield sample


def holds_rows(path: Path, keys: set[str]) -> bool:
    """Whether a release's file or folder begins with a row that has ``keys``."""
    return bool(_files(path, keys))


def rows(path: Path, *, pictures: bool = True) -> Iterator[tuple[str, Row | VkitError]]:
    """Where each row stands, and the row; an error in its place where a line is no JSON.

    A JSON file is an array of rows, or one object with a row under each id (MathVista), which the row then
    gets as ``pid``.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path, pictures)
    elif is_array(path):
        for number, item in array_items(path):
            where = f"{path}, item {number}"
            yield where, _whole(item)
    elif _first_line(path) is not None or path.suffix == ".jsonl":
        for number, line in text_lines(path):
            try:
                row: Row | VkitError = _whole(parse_object(line))
            except VkitError as error:
                row = error
            yield f"{path}:{number}", row
    else:
        for name, item in read_json(path).items():
            row = _whole(item)
            yield f"{path}, {name!r}", row if isinstance(row, VkitError) else {"pid": name, **row}


def text(row: Row, key: str, *, empty: bool = False) -> str:
    """A row's text. Raises `VkitError` where it is no text, or is blank."""
    value = row.get(key)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise VkitError(
            f"{key!r} must be text{'' if empty else ' that is not empty'}, not {str(value)[:40]!r}"
        )
    return value


def kept(row: Row, keys: tuple[str, ...]) -> Row:
    """The keys of a row that say something."""
    found = {key: row[key] for key in keys if row.get(key) not in (None, "", {}, [])}
    for name, value in found.items():
        if _with_bytes(value):
            raise VkitError(f"{name!r} holds bytes, where text or numbers are due; convert the column")
    return found


def _with_bytes(value: Any) -> bool:
    """Whether a value of parquet holds bytes anywhere, which no record can be written with."""
    if isinstance(value, dict):
        return any(map(_with_bytes, value.values()))
    return any(map(_with_bytes, value)) if isinstance(value, list) else isinstance(value, bytes)


def _files(path: Path, keys: set[str]) -> list[Path]:
    if path.is_file():
        return [path] if _has_keys(path, keys) else []
    for patterns in (_PATTERNS[:2], _PATTERNS[2:]):
        found = {file for pattern in patterns for part in ("", "data/") for file in path.glob(part + pattern)}
        if files := [file for file in sorted(found) if file.is_file() and _has_keys(file, keys)]:
            return files
    return []


def _has_keys(path: Path, keys: set[str]) -> bool:
    if path.suffix == ".parquet":
        with _telling_damage(path):
            return keys <= set(_parquet(path).schema_arrow.names)
    if path.suffix not in (".json", ".jsonl"):
        return False
    try:
        first = next(rows(path), None)
    except VkitError:
        return False  # whoever reads the file says what is wrong with it
    return first is not None and isinstance(first[1], dict) and keys <= set(first[1])


def _whole(item: Any) -> Row | VkitError:
    if not isinstance(item, dict):
        return VkitError(f"not an object but {type(item).__name__}; take the file from the release")
    try:
        refuse_half_characters(item)
    except VkitError as error:
        return error
    return item


def _first_line(path: Path) -> Row | None:
    """The object on the first line, where it is whole."""
    _, line = next(text_lines(path), (0, ""))
    try:
        row = parse_object(line)
    except VkitError:
        return None
    # One object of rows may stand on one line, too.
    return None if row and all(isinstance(value, dict) for value in row.values()) else row


def _picture(row: Row, key: str, file: Path, folder: Path, number: int) -> str | None:
    """The path of a row's picture, relative to ``folder``: where it is, or where it should be."""
    for value in row.values():
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return _unpacked(value["bytes"], file, number).relative_to(folder).as_posix()
    name = row.get(key)
    if isinstance(name, dict):  # a picture's place in parquet, without one
        name = name.get("path")
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise VkitError(f"{key!r} must be a path, not {json.dumps(name)[:40]}")
    for start in ("", "images", "data", "data/images"):
        place = Path(start, name).as_posix()
        if os.path.isfile(resolve_inside(folder, place)):
            return place
    return name


def _unpacked(data: bytes, file: Path, number: int) -> Path:
    folder = file.with_name(f"{file.name}.images")
    target = folder / f"{number}.png"  # whatever its kind: pictures are told by their content
    if not target.is_file() or target.read_bytes() != data:
        try:
            folder.mkdir(exist_ok=True)
            write_bytes(target, data)
        except OSError as error:
            raise VkitError(
                f"{target} cannot be written ({error.strerror}); copy {file.name} to a folder of yours"
            ) from error
    return target


def _parquet_rows(path: Path, pictures: bool) -> Iterator[tuple[str, Row]]:
    number = 0
    with _telling_damage(path):
        file = _parquet(path)
        schema = file.schema_arrow
        columns = [name for name in schema.names if pictures or not _holds_bytes(schema.field(name).type)]
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    return types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields))


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise VkitError(
            f"{path} is parquet, which needs pyarrow; pip install 'vkit[parquet]', or give the JSON release"
        ) from error
    return parquet.ParquetFile(path)


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    """What Arrow raises on a damaged file, at once or at a later row, as a `VkitError` that names it."""
    try:
        yield
    except VkitError:
        raise
    except Exception as error:  # Arrow's own, Python's for its values, and those of its codecs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise VkitError(f"{path} cannot be read as parquet ({reason}); replace the file") from error
