"""Releases that are one JSON array: told apart from JSON Lines, and read item by item in little memory.

for number, record in array_items(Path("release.json")): ...
"""

from __future__ import annotations

import codecs
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vkit.errors import VkitError

CHUNK = 1 << 20  # characters
ITEM_LIMIT = 64 << 20  # characters; what is longer is an item that never ends
_BLANKS = re.compile(r"[ \t\r\n]*")


def is_array(path: Path) -> bool:
    """Whether a file begins as a JSON array does. Raises `VkitError` where it cannot be read."""
    try:
        with path.open("rb") as file:  # as bytes: whether a later line is text is its reader's to tell
            return file.read(CHUNK).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error


def refuse_array(path: Path) -> None:
    """Raise `VkitError` where a JSON array stands for JSON Lines; it says how to convert the file."""
    if is_array(path):
        source, lines = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".lines.jsonl")))
        raise VkitError(f"{path} is one JSON array; write a record a line: jq -c '.[]' {source} > {lines}")


def array_items(path: Path) -> Iterator[tuple[int, Any]]:
    """Number, from 1, and value of each item of the array that a file holds.

    Raises:
        VkitError: the file cannot be read, or is not one JSON array; names the item.
    """
    decode = json.JSONDecoder().raw_decode
    chunks = _chunks(path)
    text = next((left for chunk in chunks if (left := chunk.lstrip())), "")
    if not text.startswith("["):
        raise VkitError(f"{path} is not a JSON array; replace the file")
    place, number = _skip(text, 1), 1
    while True:
        if number == 1 and text.startswith("]", place):
            end = place
            break
        try:
            value, end = decode(text, place)
            end, reason = _skip(text, end), "a comma or the closing bracket is missing behind it"
        except (ValueError, RecursionError) as error:
            end, reason = len(text), str(error)
        if not text.startswith((",", "]"), end):  # cut by the chunk's end, or broken
            more = next(chunks, "")
            if not more or len(text) - place > ITEM_LIMIT:
                raise VkitError(f"{path}, item {number}: not JSON ({reason}); replace the file")
            text = text[place:] + more
            place = _skip(text, 0)
            continue
        yield number, value
        if text[end] == "]":
            break
        place, number = _skip(text, end + 1), number + 1
    if text[end + 1 :].strip() or any(rest.strip() for rest in chunks):
        raise VkitError(f"{path} goes on after its array ends; replace the file")


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    assert match is not None  # it matches nothing too
    return match.end()


def _chunks(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise VkitError(f"{path} is not UTF-8 text ({error.reason}); convert it") from error
