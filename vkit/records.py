"""The records that flow through everything: a problem, and where it is in its file.

    for sample in read_samples(Path("problems.jsonl")):
        image = sample.open_image()
    for pair in read_pairs(Path("pairs.jsonl")):          # twins of a problem, and the response to both
        image = pair.vision_rich.open_image()

A file of samples or pairs is JSON Lines, one record a line. Image paths are relative to the file's folder and
never leave it. Unknown keys belong in ``meta``; a key that is not known is refused, so that a misspelt one is
never taken for an absent one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from PIL import Image

from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside
from vkit.jsonl import parse_object, refuse_half_characters, text_lines, write_bytes, write_chunks


@dataclass(frozen=True)
class Sample:
    """A visual mathematics problem.

    id: unique in its file.
    question: the problem's text; may be empty where the picture says it all.
    choices: the options in order (A, B, ...); empty for free-form questions.
    answer: a choice's letter where there are choices, else the value as text; None where unknown.
    image: path relative to ``folder``; None for a text-only problem.
    rationale: a worked solution.
    meta: whatever the source says beside (versions, literals, precise values).
    folder: where the image path starts; set by whoever reads the record, never written.
    """

    id: str
    question: str
    choices: tuple[str, ...] = ()
    answer: str | None = None
    image: str | None = None
    rationale: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    folder: Path = field(default=Path(), compare=False)

    def open_image(self) -> Image.Image:
        """The picture in RGB. Raises `VkitError` naming the record."""
        if self.image is None:
            raise VkitError(f"record {self.id!r} has no image; give it an 'image' path")
        try:
            return open_image(resolve_inside(self.folder, self.image))
        except VkitError as error:
            raise VkitError(f"record {self.id!r}: {error}") from error

    def to_json(self) -> str:
        """One line of JSON; empty fields are left out."""
        return json.dumps(_written(self), ensure_ascii=False)


@dataclass(frozen=True)
class Pair:
    """Two versions of a problem that carry the same information, and the response that is right for both.

    text_rich, vision_rich: the twin with more of the information in its text, and the one with more of it in
        its picture (Math-PUMA, Data Construction); their ids are the pair's.
    """

    id: str
    text_rich: Sample
    vision_rich: Sample
    response: str

    def to_json(self) -> str:
        """One line of JSON; the twins leave out their id and empty fields."""
        record: dict[str, Any] = {"id": self.id}
        for name in _TWINS:
            record[name] = _written(getattr(self, name))
            del record[name]["id"]
        return json.dumps({**record, "response": self.response}, ensure_ascii=False)


_TWINS = ("text_rich", "vision_rich")
_KNOWN = tuple(f.name for f in fields(Sample) if f.name != "folder")


def _written(sample: Sample) -> dict[str, Any]:
    values = {name: getattr(sample, name) for name in _KNOWN}
    return {name: value for name, value in values.items() if value not in (None, (), {})}


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used: where it stands (``file:line`` or a folder) and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def scan_samples(path: Path) -> Iterator[Sample | BadRecord]:
    """Every record of a JSON Lines file in order, the bad ones as `BadRecord`.

    Raises:
        VkitError: the file is missing, is not text, or holds no record.
    """
    return scan_records(path, parse_sample)


def scan_pairs(path: Path) -> Iterator[Pair | BadRecord]:
    """Every pair of a JSON Lines file in order, the bad ones as `BadRecord`; raises as `scan_samples`."""
    return scan_records(path, parse_pair)


class _Named(Protocol):
    @property
    def id(self) -> str: ...


Parsed = TypeVar("Parsed", bound=_Named)


def scan_records(
    path: Path, parse: Callable[[str, Path], Parsed], *, unique: bool = True
) -> Iterator[Parsed | BadRecord]:
    """What ``parse`` makes of each line and the file's folder, in order.

    Args:
        unique: a second record of an id is bad.

    Raises as `scan_samples`.
    """
    seen: set[str] = set()
    number = 0
    for number, line in text_lines(path):
        try:
            record = parse(line, path.parent)
            if unique and record.id in seen:
                raise VkitError(f"id {record.id!r} stands twice; make ids unique")
        except VkitError as error:
            yield BadRecord(f"{path}:{number}", str(error))
        else:
            seen.add(record.id)
            yield record
    if number == 0:
        raise VkitError(f"{path} holds no records; check the file")


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a JSON Lines file in order.

    Raises:
        VkitError: as `scan_samples`, and at the first bad record; names file, line and reason.
    """
    return only_good(scan_samples(path))


def read_pairs(path: Path) -> Iterator[Pair]:
    """The pairs of a JSON Lines file in order; raises as `read_samples`."""
    return only_good(scan_pairs(path))


Record = TypeVar("Record")


def only_good(records: Iterable[Record | BadRecord]) -> Iterator[Record]:
    """The good records, refusing the first bad one."""
    for record in records:
        if isinstance(record, BadRecord):
            raise VkitError(f"{record}; `vkit data check` lists every bad record")
        yield record


def write_samples(path: Path, records: Iterable[Sample | Pair]) -> None:
    """Write a JSON Lines file of samples or pairs, complete or not at all."""
    write_chunks(path, (f"{record.to_json()}\n".encode() for record in records))


def copy_picture(sample: Sample, digest: str, folder: Path) -> str:
    """Copy a problem's picture to ``folder``/images, named by its bytes; returns the path in ``folder``.

    So the folder stands on its own, and what the data's folder becomes later does not matter.

    Args:
        digest: sha256 of the picture's file.

    Raises:
        VkitError: the picture is not the one that ``digest`` was made of.
    """
    source = resolve_inside(sample.folder, str(sample.image))
    name = f"images/{digest[:32]}{source.suffix.lower()}"
    there = folder / name
    if not (there.is_file() and hashlib.sha256(there.read_bytes()).hexdigest() == digest):
        data = source.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise VkitError(f"record {sample.id!r}: its image changed while it was read; run again")
        write_bytes(there, data)
    return name


def parse_sample(line: str, folder: Path) -> Sample:
    """A sample from its line of JSON.

    >>> parse_sample('{"id": "1", "question": "Find x.", "choises": ["3"]}', Path())
    Traceback (most recent call last):
    vkit.errors.VkitError: unknown key 'choises'; known: id, question, choices, answer, image, rationale, meta
    """
    record = parse_whole(line)
    return _sample(record, folder)


def parse_pair(line: str, folder: Path) -> Pair:
    """A pair from its line of JSON. Raises `VkitError` with the reason.

    >>> parse_pair('{"id": "1", "text_rich": {"question": "Find x."}, "response": "3"}', Path())
    Traceback (most recent call last):
    vkit.errors.VkitError: key 'vision_rich' is missing; add it
    """
    record = parse_whole(line)
    for key in record:
        if key not in ("id", *_TWINS, "response"):
            raise VkitError(f"unknown key {key!r}; known: id, text_rich, vision_rich, response")
    pair_id = record_id(record)
    for key in (*_TWINS, "response"):
        if key not in record:
            raise VkitError(f"key {key!r} is missing; add it")
    if not isinstance(record["response"], str) or not record["response"].strip():
        raise VkitError("'response' must be text that is not empty")
    twins = {}
    for name in _TWINS:
        if not isinstance(record[name], dict):
            raise VkitError(f"{name!r} must be an object, not {json.dumps(record[name])[:40]}")
        if "id" in record[name]:
            raise VkitError(f"{name!r} has an id of its own; the pair's is enough")
        try:
            twins[name] = _sample({"id": pair_id, **record[name]}, folder)
        except VkitError as error:
            raise VkitError(f"{name}: {error}") from error
    if twins["vision_rich"].image is None:
        raise VkitError("vision_rich has no image; a pair's vision-rich twin needs one")
    return Pair(pair_id, **twins, response=record["response"])


def parse_whole(line: str) -> dict[str, Any]:
    r"""The object on one line of UTF-8 text. Raises `VkitError` where it is none, or holds half a character.

    >>> parse_whole(r'{"id": "\uD800"}')
    Traceback (most recent call last):
    vkit.errors.VkitError: a text holds \ud800, half a character; write the whole character
    """
    record = parse_object(line)
    if "\\u" in line:  # UTF-8 itself has no half characters, and to look for them takes as long as to parse
        refuse_half_characters(record)
    return record


def record_id(record: dict[str, Any]) -> str:
    """A record's id as text; whole numbers serve too.

    >>> record_id({"id": 7})
    '7'
    """
    if "id" not in record:
        raise VkitError("key 'id' is missing; add it")
    value = record["id"]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise VkitError(f"'id' must be text, not {json.dumps(value)[:40]}")
    if not value:
        raise VkitError("'id' is empty; give every record an id")
    return value


def _sample(record: dict[str, Any], folder: Path) -> Sample:
    for key in record:
        if key not in _KNOWN:
            raise VkitError(f"unknown key {key!r}; known: {', '.join(_KNOWN)}")
    record["id"] = record_id(record)
    if "question" not in record:
        raise VkitError("key 'question' is missing; add it")
    for key in ("answer", "image", "rationale"):
        if record.get(key) is None:
            record.pop(key, None)
    for key in ("question", "answer", "image", "rationale"):
        if not isinstance(record.get(key, ""), str):
            raise VkitError(f"{key!r} must be text, not {json.dumps(record[key])[:40]}")
    choices = record.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise VkitError("'choices' must be a list of texts")
    if len(choices) > 26:
        raise VkitError(f"{len(choices)} choices have no letters; give at most 26")
    if not isinstance(record.get("meta", {}), dict):
        raise VkitError("'meta' must be an object")
    answer = record.get("answer")
    if choices and answer is not None and (len(answer) != 1 or not 0 <= ord(answer) - 65 < len(choices)):
        raise VkitError(f"'answer' must be the letter of one of the {len(choices)} choices, not {answer!r}")
    return Sample(**{**record, "choices": tuple(choices), "folder": folder})
