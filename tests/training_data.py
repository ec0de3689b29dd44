"""A few miniature problems on the disk, for the tests of training."""

from __future__ import annotations

import random
from pathlib import Path

from vkit.records import Pair, Sample, write_samples
from vkit.synthesis.miniature import draw


def write_pairs(folder: Path, count: int, *, strong: str = "text-only", weak: str = "vision-only") -> Path:
    """``count`` pairs in folder/pairs.jsonl."""
    pairs = []
    for number in range(count):
        drawn = draw(random.Random(number), split="train")
        twins = [_sample(folder, f"p{number}", drawn, version) for version in (strong, weak)]
        pairs.append(Pair(f"p{number}", twins[0], twins[1], drawn.response))
    write_samples(folder / "pairs.jsonl", pairs)
    return folder / "pairs.jsonl"


def write_tests(folder: Path, count: int) -> Path:
    """``count`` problems in all versions in folder/test.jsonl."""
    samples = []
    for number in range(count):
        drawn = draw(random.Random(f"test {number}"), split="test")
        samples += [_sample(folder, f"t{number}/{version}", drawn, version) for version in drawn.versions]
    write_samples(folder / "test.jsonl", samples)
    return folder / "test.jsonl"


def _sample(folder: Path, id_: str, drawn, version: str) -> Sample:
    content = drawn.versions[version]
    image = None
    if content.picture is not None:
        image = f"images/{id_.replace('/', '-')}-{version}.png"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(content.picture)
    return Sample(
        id_,
        content.text,
        drawn.choices,
        drawn.answer,
        image,
        rationale=drawn.response,
        meta={"version": version},
    )
