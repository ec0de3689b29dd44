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
from vkit.sources.mathverse import KEYS as MATHVERSE
from vkit.sources.mathverse import scan_mathverse
from vkit.sources.mathvista import KEYS as MATHVISTA
from vkit.sources.mathvista import scan_mathvista
from vkit.sources.official_rows import holds_rows
from vkit.sources.smart101 import is_smart101, scan_smart101_samples
from vkit.sources.wemath import KEYS as WEMATH
from vkit.sources.wemath import scan_wemath

# What a line of JSON holds, by kind.
PARSERS: dict[str, Callable[[str, Path], Any]] = {
    "sample": parse_sample,
    "pair": parse_pair,
    "conversation": parse_conversation,
}

BENCHMARKS = ("Geometry3K", "SMART-101", "MathVista", "MathVerse", "We-Math")

# Releases whose rows tell them apart, in a file or in a folder.
RELEASES = ((MATHVISTA, scan_mathvista), (MATHVERSE, scan_mathverse), (WEMATH, scan_wemath))


def scan(path: Path) -> Iterator[Sample | BadRecord]:
    """The problems of a JSON Lines file or of an official release, the bad ones as `BadRecord`.

    Raises:
        VkitError: nothing is there, it is no source that vkit knows, or it holds records of another kind.
    """
    if (read := _release_reader(path)) is not None:
        return read(path, False)
    if (kind := kind_of(path)) != "sample":
        raise VkitError(f"{path} holds {kind}s, but problems are asked for; give a file of samples")
    return scan_samples(path)


def scan_whole(path: Path) -> Iterator[Sample | Pair | Conversation | BadRecord]:
    """Every record of any kind with its pictures opened, so that a bad one of those is a `BadRecord` too.

    Raises:
        VkitError: nothing is there, or it is no source that vkit knows.
    """
    if (read := _release_reader(path)) is not None:
        return read(path, True)
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


def _release_reader(path: Path) -> Callable[[Path, bool], Iterator[Sample | BadRecord]] | None:
    """What reads a release, with every picture opened or not; None for a file of vkit's own or LLaVA's."""
    give = "give a JSON Lines file, or the release of a benchmark: " + ", ".join(BENCHMARKS)
    if not path.exists():
        raise VkitError(f"{path} does not exist; {give}")
    for keys, scan_release in RELEASES:
        if holds_rows(path, keys):
            return lambda place, pictures: _opened(scan_release(place), pictures)
    if not path.is_dir():
        return None
    if is_geometry3k(path):
        return lambda folder, pictures: _opened(scan_geometry3k(folder), pictures)
    if is_smart101(path):
        return lambda folder, pictures: scan_smart101_samples(folder, pictures=pictures)
    raise VkitError(f"{path} is no folder that vkit knows; {give}")


Record = TypeVar("Record", Sample, Pair, Conversation)


def _with_pictures(record: Record) -> Record:
    for holder in holders(record):
        holder.open_image()
    return record


def _opened(records: Iterator[Sample | BadRecord], pictures: bool) -> Iterator[Sample | BadRecord]:
    """The records, with every picture opened where ``pictures`` says so."""
    for record in records:
        if pictures and isinstance(record, Sample):
            try:
                yield _with_pictures(record)
            except VkitError as error:
                yield BadRecord(str((record.folder / str(record.image)).parent), str(error))
        else:
            yield record
