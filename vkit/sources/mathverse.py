r"""MathVerse (Zhang et al. 2024) in its official layouts: testmini and its text-only part.

    for record in scan_mathverse(Path("MathVerse")): ...      # or testmini.json, or testmini.parquet

788 problems in five versions that have a picture (3940 samples), and "Text Only" apart. A sample's id is its
``sample_index``; those of Text Only, whose indices start again, are called ``text-only-<sample_index>``.
``meta["version"]`` is the version as vkit writes it ("text-dominant", ..., "vision-only", "text-only").

Choices, which the release writes under the question ("Choices:\nA:40\nB:60"), become the sample's; in Vision
Only they are in the picture. The release's own prompts stay in ``meta`` as ``query_wo`` and ``query_cot``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample
from vkit.sources.official_rows import Row, kept, scan_rows, text

KEYS = {"sample_index", "problem_index", "problem_version"}
VERSIONS = (
    "text-dominant",
    "text-lite",
    "vision-intensive",
    "vision-dominant",
    "vision-only",
    "text-only",
)

_CHOICE = re.compile(r"^\s*([A-Z])\s*[:.．：]\s*(.*\S)\s*$")


def scan_mathverse(path: Path, *, pictures: bool = True) -> Iterator[Sample | BadRecord]:
    """Every problem in order, the bad ones as `BadRecord`; arguments and errors as `scan_rows` has them."""
    return scan_rows(path, KEYS, "image", _sample, pictures=pictures)


def split_choices(question: str) -> tuple[str, tuple[str, ...]]:
    r"""The question without its choices, and the choices; where they are not A, B, ... a line each, as it is.

    >>> split_choices("Find x.\nChoices:\nA:40\nB:60")
    ('Find x.', ('40', '60'))
    """
    stem, mark, rest = question.rpartition("Choices:")
    found = [_CHOICE.match(line) for line in rest.splitlines() if line.strip()]
    letters = [match[1] for match in found if match]
    if not mark or len(letters) < max(len(found), 2) or letters != [chr(65 + i) for i in range(len(letters))]:
        return question, ()
    return stem.strip(), tuple(match[2] for match in found if match)


def _sample(row: Row, image: str | None, folder: Path) -> Sample:
    version = text(row, "problem_version").strip().lower().replace(" ", "-").replace("_", "-")
    if version not in VERSIONS:
        raise VkitError(f"problem_version {row['problem_version']!r} is not one of {', '.join(VERSIONS)}")
    kind = text(row, "question_type")
    if kind not in ("multi-choice", "free-form"):
        raise VkitError(f"question_type {kind!r} is neither multi-choice nor free-form")
    question = text(row, "question", empty=version == "vision-only")
    choices: tuple[str, ...] = ()
    answer = text(row, "answer", empty=True).strip() or None
    if kind == "multi-choice":
        stem, found = split_choices(question)
        if answer is None or answer in [chr(65 + i) for i in range(len(found))]:
            question, choices = stem, found
    index = str(row["sample_index"])
    meta = kept(row, ("problem_index", "question_type", "metadata", "query_wo", "query_cot"))
    return Sample(
        id=f"text-only-{index}" if version == "text-only" else index,
        question=question,
        choices=choices,
        answer=answer,
        image=image,
        meta={"source": "mathverse", "version": version, **meta, "problem_index": str(row["problem_index"])},
        folder=folder,
    )
