"""The data engine: draws pairs, and problems for testing, into a folder.

    synthesize(Path("puma"), pairs=120_000, seed=0, workers=2, tests=1000)

    puma/manifest.json      settings and counts
    puma/pairs.jsonl        `vkit.records.Pair`, one a line
    puma/test.jsonl         `vkit.records.Sample`: five versions of each held-out problem
    puma/images/...         at most a thousand in a folder

Same seed, same bytes, however many workers draw. A run that was killed goes on where it stood; a finished
folder may be asked for more pairs or tests, and keeps what it has.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vkit import __version__
from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, write_json
from vkit.synthesis.candidates import Candidate, Recipe, digest
from vkit.synthesis.drawn import VERSIONS
from vkit.synthesis.lanes import Draw, Lane, candidates_in_turn, drawing
from vkit.synthesis.pairs import to_pair, to_sample


def synthesize(
    folder: Path, *, pairs: int, tests: int = 0, workers: int = 1, progress: bool | None = None, **recipe: Any
) -> dict[str, Any]:
    """Draw a data set into ``folder``, or finish or enlarge the one that is there; returns its manifest.

    Args:
        pairs: in pairs.jsonl. tests: held-out problems in test.jsonl, five records each.
        workers: processes that draw; 1 draws in this one. What is drawn does not depend on it.
        progress: a bar on stderr; None: where stderr is a terminal.
        recipe: fields of `vkit.synthesis.candidates.Recipe`: seed, subjects, families, size, versions,
            preset.

    Raises:
        VkitError: the folder holds something else, the recipe is impossible, or the families have no further
            problems.
    """
    for name, value, least in (("pairs", pairs, 1), ("tests", tests, 0), ("workers", workers, 1)):
        if value < least:
            raise VkitError(f"{name} must be {least} or more, not {value}")
    plan = Recipe(**recipe)
    plan.check()
    manifest = _claim(folder, plan, {"pairs": pairs, "tests": tests})
    with drawing(plan, workers) as (draw, ahead):
        for part in (_PAIRS, _TESTS):
            if wanted := manifest["wanted"][part.name]:
                manifest[part.name] = _fill(folder, plan, part, wanted, draw, ahead, progress)
    write_json(folder / "manifest.json", manifest | {"complete": True})
    return manifest | {"complete": True}


@dataclass(frozen=True)
class _Part:
    """A file of the data set; records: of each problem; folder: problems to a folder of images."""

    name: str
    split: str
    file: str
    records: int
    folder: int


_BLOCK = 100  # problems that are put on the disk together
_KEPT = ("subject", "family", "version", "candidate", "problem")  # keys of meta
_PAIRS = _Part("pairs", "train", "pairs.jsonl", 1, 500)
_TESTS = _Part("tests", "test", "test.jsonl", len(VERSIONS), 250)


def _claim(folder: Path, plan: Recipe, wanted: dict[str, int]) -> dict[str, Any]:
    """Write the manifest of an unfinished data set into the folder; refuse a folder with another."""
    path = folder / "manifest.json"
    lanes = {lane: [family.name for family in plan.families_of(lane) if family] for lane in plan.lanes}
    settings = json.loads(json.dumps({**asdict(plan), "lanes": lanes, "vkit": __version__}))
    if path.exists():
        there = read_json(path)
        for name, value in settings.items():
            if (old := there.get("settings", {}).get(name)) != value:
                raise VkitError(f"{path} was made with {name} {old!r}, not {value!r}; choose another folder")
        for name, count in wanted.items():
            if count < (old := there.get("wanted", {}).get(name, 0)):
                raise VkitError(f"{path} was made for {old} {name}, not {count}; choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise VkitError(f"{folder} holds something else and no manifest.json; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"settings": settings, "wanted": wanted, "complete": False}
    write_json(path, manifest)
    return manifest


def _fill(
    folder: Path, plan: Recipe, part: _Part, wanted: int, draw: Draw, ahead: int, progress: bool | None
) -> dict[str, Any]:
    """Bring one file to its number of problems; returns its counts."""
    from tqdm import tqdm

    lanes = [Lane(name, len(plan.families_of(name))) for name in plan.lanes]
    counts = _Counts()
    with JsonlStore(folder / part.file, keep=_brief) as store:
        whole, begun = divmod(len(store.items), part.records)
        for index, item in enumerate(store.items[: whole * part.records]):
            counts.add(item)
            if index % part.records == 0:
                meta = item.get("text_rich", item)["meta"]
                lanes[index // part.records % len(lanes)].replay(meta["candidate"], meta["problem"])
        store.items.clear()
        disable = None if progress is None else not progress
        with tqdm(total=wanted, initial=whole, desc=part.name, unit=" problems", disable=disable) as bar:
            todo = range(whole, wanted)
            found = candidates_in_turn(part.split, lanes, todo, draw, ahead)
            drawn: list[dict[str, Any]] = []
            try:
                for problem, (number, candidate) in zip(todo, found):
                    items = _items(folder, plan, part, problem, number, candidate)
                    for item in items:
                        counts.add(item)
                    drawn += items[begun:]
                    begun = 0
                    if problem % _BLOCK == _BLOCK - 1:
                        _put(store, drawn)
                    bar.update()
            finally:
                _put(store, drawn)
    return {"problems": wanted, "dropped_as_seen": sum(lane.dropped for lane in lanes), **counts.as_dict()}


def _put(store: JsonlStore, drawn: list[dict[str, Any]]) -> None:
    """Add records to their file once their pictures are safe on the disk; to wait for each takes longest."""
    if drawn and hasattr(os, "sync"):
        os.sync()
    store.extend(drawn)
    drawn.clear()


def _brief(item: dict[str, Any]) -> dict[str, Any]:
    """What counting and going on need of a record: the meta of it, or of its twins."""
    twins: dict[str, Any] = {twin: _kept(item[twin]) for twin in ("text_rich", "vision_rich") if twin in item}
    return twins or _kept(item)


def _kept(sample: dict[str, Any]) -> dict[str, Any]:
    return {"meta": {key: sample["meta"][key] for key in _KEPT if key in sample["meta"]}}


def _items(
    folder: Path, plan: Recipe, part: _Part, problem: int, number: int, candidate: Candidate
) -> list[dict[str, Any]]:
    """Write the pictures of a problem; returns its records."""
    drawn = candidate.drawn
    drawn.meta.update(problem=digest(drawn.key), candidate=number)
    name = f"{plan.seed}-{problem:06d}" if part is _PAIRS else f"{plan.seed}-test-{problem:06d}"
    inside = f"images/{part.name}-{problem // part.folder:04d}"
    images: dict[str, str | None] = {}
    (folder / inside).mkdir(parents=True, exist_ok=True)
    for version in candidate.names:
        picture = drawn.versions[version].picture
        images[version] = None if picture is None else f"{inside}/{name}-{version}.png"
        if picture is not None:
            (folder / f"{inside}/{name}-{version}.png").write_bytes(picture)  # no record names it yet
    if part is _PAIRS:
        text_rich, vision_rich = candidate.names
        records: list[Any] = [to_pair(name, drawn, (text_rich, vision_rich), images)]
    else:
        records = [to_sample(f"{name}/{version}", drawn, version, images[version]) for version in VERSIONS]
    return [json.loads(record.to_json()) for record in records]


class _Counts:
    """How often each subject, family and version occurs in a file."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {
            "subject": Counter(),
            "family": Counter(),
            "version": Counter(),
        }

    def add(self, item: Mapping[str, Any]) -> None:
        """Count a pair once by subject and family, and by its two versions together."""
        twins = [item[twin]["meta"] for twin in ("text_rich", "vision_rich") if twin in item] or [
            item["meta"]
        ]
        self._counts["subject"][twins[0]["subject"]] += 1
        self._counts["family"][twins[0]["family"]] += 1
        self._counts["version"][" + ".join(meta["version"] for meta in twins)] += 1

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {f"by_{name}": dict(sorted(counter.items())) for name, counter in self._counts.items()}
