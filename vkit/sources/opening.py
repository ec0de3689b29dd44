"""One door to every source: a path in, records out.

for sample in scan(Path("problems.jsonl")): ...                # problems alone
for record in scan_whole(Path("pairs.jsonl")): ...             # of any kind, every picture opened
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from vkit.errors import VkitError
from vkit.jsonl import parse_object
from vkit.records import BadRecord, Pair, Sample, parse_pair, parse_sample, scan_records, scan_samples
from vkit.sources.geometry3k import is_geometry3k, scan_geometry3k
from vkit.sources.json_array import refuse_array
from vkit.sources.llava import Conversation, parse_conversation

# What a line of JSON holds, by kind.
PARSERS: dict[str, Callable[[str, Path], Any]] = {
    "sample": parse_sample,
    "pair": parse_pair,
    "conversation": parse_conversation,
}


def scan(path: Path) -> Iterator[Sample | BadRecord]:
    """The problems of a JSON Lines file or of an official folder, the bad ones as `BadRecord`.

    Raises:
        VkitError: nothing is there, it is no source that vkit knows, or it holds records of another kind.
    """
    if _is_folder(path):
        return scan_geometry3k(path)
    if (kind := kind_of(path)) != "sample":
        raise VkitError(f"{path} holds {kind}s, but problems are asked for; give a file of samples")
    return scan_samples(path)


def scan_whole(path: Path) -> Iterator[Sample | Pair | Conversation | BadRecord]:
    """Every record of any kind with its pictures opened, so that a bad one of those is a `BadRecord` too.

    Raises:
        VkitError: nothing is there, or it is no source that vkit knows.
    """
    if _is_folder(path):
        return _opened(path)
    kind = kind_of(path)
    parse = PARSERS[kind]
    return scan_records(
        path, lambda line, folder: _with_pictures(parse(line, folder)), unique=has_unique_ids(kind)
    )


def has_unique_ids(kind: str) -> bool:
    """Whether records of a kind are told apart by their ids; LLaVA's own files repeat the id of a picture."""
    return kind != "conversation"


def kind_of(path: Path) -> str:
    """What a JSON Lines file holds: "sample", "pair" or "conversation", as its first readable record says.

    Raises:
        VkitError: the file is missing, empty, a JSON array, or in Math-PUMA's own format.
    """
    refuse_array(path)
    kind = None
    with path.open("rb") as file:
        for line in filter(bytes.strip, file):
            kind = "sample"
            try:
                record = parse_object(line)
            except VkitError:
                continue  # whoever reads the file tells it by its line
            if "instruction_2" in record or "image_url_2" in record:
                raise VkitError(
                    f"{path} holds Math-PUMA's records; make pairs of them with `vkit data pairs`"
                )
            if "text_rich" in record or "vision_rich" in record:
                return "pair"
            return "conversation" if "conversations" in record else "sample"
    if kind is None:
        raise VkitError(f"{path} holds no records; check the file")
    return kind


def holders(record: Sample | Pair | Conversation) -> list[Sample | Conversation]:
    """What holds the pictures of a record: the twins of a pair, else the record itself, where it has one."""
    both = [record.text_rich, record.vision_rich] if isinstance(record, Pair) else [record]
    return [holder for holder in both if holder.image is not None]


def _is_folder(path: Path) -> bool:
    """Whether the path is a folder that vkit knows, and not a file."""
    if not path.exists():
        raise VkitError(f"{path} does not exist; give a JSON Lines file or a Geometry3K folder")
    if path.is_dir() and not is_geometry3k(path):
        raise VkitError(f"{path} is no folder that vkit knows; give a JSON Lines file or a Geometry3K folder")
    return path.is_dir()


Record = TypeVar("Record", Sample, Pair, Conversation)


def _with_pictures(record: Record) -> Record:
    for holder in holders(record):
        holder.open_image()
    return record


def _opened(folder: Path) -> Iterator[Sample | BadRecord]:
    for record in scan_geometry3k(folder):
        if isinstance(record, Sample):
            try:
                yield _with_pictures(record)
            except VkitError as error:
                yield BadRecord(str((folder / str(record.image)).parent), str(error))
        else:
            yield record
