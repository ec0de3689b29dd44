"""Renders and augments whole files of records: one pass, resumed where it was interrupted.

    summary = render_file(Path("problems.jsonl"), Path("pairs"))           # pairs/pairs.jsonl and images
    summary = augment_file(Path("pairs/pairs.jsonl"), Path("more"), copies=3, seed=0)

A record is added to the file when its pictures are on the disk, so that a kill leaves whole records only. The
same input, settings and seed give the same bytes, whether interrupted or not.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.jsonl import JsonlStore, parse_object, read_json, text_lines, write_bytes, write_json
from vkit.records import BadRecord, Pair, Sample, scan_pairs, scan_samples
from vkit.synthesis.augment import augment_sample
from vkit.synthesis.augment_text import text_to_pair

Record = Sample | Pair
Made = tuple[Record, dict[str, bytes]]  # a record, and its pictures by their path
Job = tuple[str, Callable[[], Made]]  # the id of a record, and what makes it
FOLDER_SIZE = 1000  # records whose pictures share a folder


def render_file(
    path: Path,
    folder: Path,
    *,
    width: int = 336,
    font_size: int = 16,
    skip_bad: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Write ``folder/pairs.jsonl``: `text_to_pair` of every sample in a JSON Lines file.

    Args:
        width, font_size: of the pictures, pixels.
        skip_bad: report bad records and leave them out, rather than stop at the first.
        report: called with the line that tells of a record left out.
        progress: wraps the records, as `tqdm` does.

    Returns:
        The file's path, how many records it holds, and how many were left out.

    Raises:
        VkitError: a bad record, by file and line or by id; the folder holds the result of other settings.
    """

    def jobs(index: int, sample: Sample) -> Iterator[Job]:
        make = partial(text_to_pair, sample, stem=_stem(index), width=width, font_size=font_size)
        yield sample.id, make

    settings = {"command": "render", "width": width, "font_size": font_size}
    with _Output(path, folder, "pairs.jsonl", settings, skip_bad, report) as output:
        output.add(progress(scan_samples(path)), jobs)
    return output.summary


def augment_file(
    path: Path,
    folder: Path,
    *,
    copies: int,
    seed: int,
    skip_bad: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Write ``copies`` augmented copies of every pair or sample in a JSON Lines file, and not the records
    themselves, to ``folder/pairs.jsonl`` or ``folder/problems.jsonl``.

    Ids end in "~1", "~2", ...; texts, answers and responses are the record's; ``meta["augmentation"]`` says
    what was done to the picture. Other arguments, result and errors are those of `render_file`.
    """
    pairs = _holds_pairs(path)

    def jobs(index: int, record: Record) -> Iterator[Job]:
        for copy in range(1, copies + 1):
            make = partial(_copy, record, f"{record.id}~{copy}", f"{_stem(index)}-{copy}", f"{seed}/{copy}")
            yield f"{record.id}~{copy}", make

    settings = {"command": "augment", "copies": copies, "seed": seed}
    name = "pairs.jsonl" if pairs else "problems.jsonl"
    with _Output(path, folder, name, settings, skip_bad, report) as output:
        output.add(progress(scan_pairs(path) if pairs else scan_samples(path)), jobs)
    return output.summary


def _copy(record: Record, new_id: str, stem: str, seed: str) -> Made:
    """One augmented copy; the pictures of a pair's twins are changed each by its own draw."""
    if isinstance(record, Sample):
        return _copy_sample(record, new_id, f"{stem}.png", f"{seed}/{record.id}")
    twins: dict[str, Sample] = {}
    pictures: dict[str, bytes] = {}
    for name, twin in (("text", record.text_rich), ("vision", record.vision_rich)):
        if twin.image is None:
            twins[name] = replace(twin, id=new_id)
        else:
            twins[name], made = _copy_sample(twin, new_id, f"{stem}-{name}.png", f"{seed}/{name}/{record.id}")
            pictures.update(made)
    return Pair(new_id, twins["text"], twins["vision"], record.response), pictures


def _copy_sample(sample: Sample, new_id: str, image: str, seed: str) -> tuple[Sample, dict[str, bytes]]:
    picture, done = augment_sample(sample, random.Random(seed))
    meta = {**sample.meta, "augmentation": done}
    return replace(sample, id=new_id, image=image, meta=meta), {image: png_bytes(picture)}


def _holds_pairs(path: Path) -> bool:
    """Whether the first record that can be read is a pair."""
    for _, line in text_lines(path):
        try:
            return "text_rich" in parse_object(line)
        except VkitError:
            continue  # told, by its line, when the records are read
    return False


class _Output:
    """A folder that grows by whole records and knows with which settings it was made."""

    def __init__(
        self,
        source: Path,
        folder: Path,
        name: str,
        settings: dict[str, Any],
        skip_bad: bool,
        report: Callable[[str], None],
    ) -> None:
        settings = {**settings, "source": _fingerprint(source)}
        if folder.resolve() == source.parent.resolve():
            raise VkitError(f"{folder} holds {source.name} and its pictures; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._skip_bad, self._report = folder, skip_bad, report
        kept = folder / "settings.json"
        if not kept.exists() and (folder / name).exists():
            raise VkitError(f"{folder / name} was not made by this command; choose another --out")
        if kept.exists() and (old := read_json(kept)) != settings:
            changed = ", ".join(k for k in sorted({*old, *settings}) if old.get(k) != settings.get(k))
            raise VkitError(f"{folder} was made with another {changed}; choose another --out, or remove it")
        write_json(kept, settings)
        self._store = JsonlStore(folder / name)
        self._done = {item["id"] for item in self._store.items}
        self._folders: set[Path] = set()
        self._bad = 0

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.__exit__()

    @property
    def summary(self) -> dict[str, Any]:
        return {"path": str(self._store.path), "records": len(self._done), "bad": self._bad}

    def add(self, records: Iterable[Any], jobs: Callable[[int, Any], Iterator[Job]]) -> None:
        """Make and keep what is not there yet."""
        for index, record in enumerate(records):
            try:
                if isinstance(record, BadRecord):
                    raise VkitError(str(record))
                for made_id, make in jobs(index, record):
                    if made_id not in self._done:
                        self._keep(*make())
            except VkitError as error:
                if not self._skip_bad:
                    raise VkitError(f"{error} (or leave bad records out with --skip-bad)") from error
                self._bad += 1
                self._report(f"left out: {error}")

    def _keep(self, made: Record, pictures: dict[str, bytes]) -> None:
        for name, data in pictures.items():
            path = self._folder / name
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
            write_bytes(path, data)
        self._store.append(json.loads(made.to_json()))
        self._done.add(made.id)


def _stem(index: int) -> str:
    """Where the pictures of a record stand: ids may hold what a file name may not."""
    return f"images/{index // FOLDER_SIZE:04d}/{index:07d}"


def _fingerprint(path: Path) -> str:
    """Tells a changed input from the same one."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error
