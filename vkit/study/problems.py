"""The problems of a study: those that the plan names, or drawn ones, with a digest of all that they hold.

problems = find_problems(plan, steps)
problems.train, problems.test, problems.test_digest
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.records import Pair, Sample, only_good, read_pairs, read_samples, write_samples
from vkit.sources.geometry3k import is_geometry3k
from vkit.sources.opening import scan
from vkit.study.plan import Miniature, Plan
from vkit.study.steps import Steps


@dataclass(frozen=True)
class Problems:
    """train: to write rationales for; test: to answer. The digests are of their words and pictures.

    suite: the rules that read answers: "geometry3k" for its release, else "records".
    """

    train: list[Sample]
    test: list[Sample]
    train_digest: str
    test_digest: str
    suite: str


def find_problems(plan: Plan, steps: Steps) -> Problems:
    """Read the problems, or draw them once.

    Raises:
        VkitError: a record or picture is bad, or there is nothing to answer, or to look at, or to score by.
    """
    data = plan.data
    suite = "records"
    if data.miniature is not None:
        drawn = data.miniature
        made = ("train.jsonl", "test.jsonl")
        steps.run("data", asdict(drawn), lambda place: _draw(place, drawn), makes=made)
        train = list(read_samples(steps.out / "data" / "train.jsonl"))
        test = list(read_samples(steps.out / "data" / "test.jsonl"))
    else:
        train = [sample for path in data.train for sample in only_good(scan(plan.place(path)))]
        _refuse_twins(train)
        test_place = plan.place(str(data.test))
        test = list(only_good(scan(test_place)))
        suite = "geometry3k" if test_place.is_dir() and is_geometry3k(test_place) else suite
    train, test = list(islice(train, data.train_limit)), list(islice(test, data.test_limit))
    if not test:
        raise VkitError("there is no problem to answer; check data: test")
    for sample in test:
        lacks = "picture" if sample.image is None else "answer" if sample.answer is None else None
        if lacks:
            raise VkitError(
                f"data: test: record {sample.id!r} has no {lacks}; take it out, or give it one: a study "
                "measures the attention on pictures, and counts right answers"
            )
        if not sample.question and (plan.attention.spans == "question" or _adds_no_word(plan)):
            raise VkitError(
                f"data: test: record {sample.id!r} has no question in words, which the ratio compares the "
                "picture with; give versions of problems that have one"
            )
    return Problems(train, test, _digest(train), _digest(test), plan.score.suite or suite)


def _refuse_twins(samples: Iterable[Sample]) -> None:
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise VkitError(f"data: train: the id {sample.id!r} stands in two of the files; make ids unique")
        seen.add(sample.id)


def _adds_no_word(plan: Plan) -> bool:
    return any(variant.prompt == "plain" for variant in plan.variants)


def _draw(place: Path, drawn: Miniature) -> dict[str, Any]:
    """Problems of the miniature as samples: one version of each, with its solution and literals."""
    from vkit.synthesis.engine import synthesize

    versions = ("text-dominant", drawn.version)
    how: dict[str, Any] = {"seed": drawn.seed, "preset": "miniature", "versions": versions}
    synthesize(place / "drawn", pairs=drawn.pairs, tests=drawn.tests, **how)
    train = [
        replace(_moved(pair.vision_rich), rationale=pair.response, meta=_with_literals(pair))
        for pair in read_pairs(place / "drawn" / "pairs.jsonl")
    ]
    every = read_samples(place / "drawn" / "test.jsonl")
    test = [_moved(sample) for sample in every if sample.meta["version"] == drawn.version]
    write_samples(place / "train.jsonl", train)
    write_samples(place / "test.jsonl", [replace(each, id=each.id.partition("/")[0]) for each in test])
    return {"train": len(train), "test": len(test)}


def _moved(sample: Sample) -> Sample:
    return replace(sample, image=f"drawn/{sample.image}")


def _with_literals(pair: Pair) -> dict[str, Any]:
    """The numbers that the picture shows, as literals: its counterpart of Geometry3K's diagram literals."""
    numbers = zip("abcdefgh", pair.text_rich.meta.get("numbers", []))
    return {**pair.vision_rich.meta, "literals": [f"{letter} = {number}" for letter, number in numbers]}


def _digest(samples: Iterable[Sample]) -> str:
    found = hashlib.sha256()
    for sample in samples:
        found.update(sample.to_json().encode())
        if sample.image is not None:
            found.update(resolve_inside(sample.folder, sample.image).read_bytes())
    return found.hexdigest()[:16]
