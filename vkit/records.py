"""The records that flow through everything: a problem, and where it is in its file.

    for sample in read_samples(Path("problems.jsonl")):
        image = sample.open_image()

A file of samples is JSON Lines, one record a line. Image paths are relative to the file's folder and never
leave it. Unknown keys belong in ``meta``; a key that is not known is refused, so that a misspelt one is
never taken for an absent one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from PIL import Image

from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside


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
        record = asdict(self)
        del record["folder"]
        return json.dumps({k: v for k, v in record.items() if v not in (None, (), {})}, ensure_ascii=False)


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a JSON Lines file in order.

    Raises:
        VkitError: the file is missing, holds no record, or a line is no sample; names file, line and reason.
    """
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            sample = parse_sample(line, path.parent)
            if sample.id in seen:
                raise VkitError(f"id {sample.id!r} stands twice; make ids unique")
        except VkitError as error:
            raise VkitError(f"{path}:{number}: {error}") from error
        seen.add(sample.id)
        yield sample
    if not seen:
        raise VkitError(f"{path} holds no records; check the file")


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a JSON Lines file at once: complete or not at all."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(sample.to_json() + "\n")
    temporary.replace(path)


def parse_sample(line: str, folder: Path) -> Sample:
    """A sample from its line of JSON.

    >>> parse_sample('{"id": "1", "question": "Find x.", "choises": ["3"]}', Path())
    Traceback (most recent call last):
    vkit.errors.VkitError: unknown key 'choises'; known: id, question, choices, answer, image, rationale, meta
    """
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise VkitError(f"not JSON ({error}); write one record a line") from error
    if not isinstance(record, dict):
        raise VkitError(f"not an object but {type(record).__name__}; write one record a line")
    known = [f.name for f in fields(Sample) if f.name != "folder"]
    for key in record:
        if key not in known:
            raise VkitError(f"unknown key {key!r}; known: {', '.join(known)}")
    for key in ("id", "question"):
        if key not in record:
            raise VkitError(f"key {key!r} is missing; add it")
    if isinstance(record["id"], int) and not isinstance(record["id"], bool):
        record["id"] = str(record["id"])
    for key in ("id", "question", "answer", "image", "rationale"):
        if not isinstance(record.get(key, ""), str) and not (
            key not in ("id", "question") and record[key] is None
        ):
            raise VkitError(f"{key!r} must be text, not {json.dumps(record[key])[:40]}")
    if not record["id"]:
        raise VkitError("'id' is empty; give every record an id")
    choices = record.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise VkitError("'choices' must be a list of texts")
    if not isinstance(record.get("meta", {}), dict):
        raise VkitError("'meta' must be an object")
    answer = record.get("answer")
    if choices and answer is not None and (len(answer) != 1 or not 0 <= ord(answer) - 65 < len(choices)):
        raise VkitError(f"'answer' must be the letter of one of the {len(choices)} choices, not {answer!r}")
    return Sample(**{**record, "choices": tuple(choices), "folder": folder})


def _lines(path: Path) -> Iterator[tuple[int, str]]:
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
