"""MathVista (Lu et al. 2024) in its official layouts: ``testmini`` in JSON, by problem id, or in parquet.

    for record in scan_mathvista(Path("MathVista")): ...      # or data/testmini.json, or the parquet file

A sample's answer is the letter of the right choice; a free-form problem has the value as text. ``meta`` keeps
``question_type``, ``answer_type``, ``precision`` (decimals of a float), ``unit``, ``metadata`` (task,
context, grade, skills, ...) and ``query``: the release's own prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample
from vkit.sources.official_rows import Row, kept, scan_rows, text

KEYS = {"pid", "question_type", "answer_type"}
ANSWER_TYPES = ("text", "integer", "float", "list")
MOST_DECIMALS = 15  # that a float holds


def scan_mathvista(path: Path, *, pictures: bool = True) -> Iterator[Sample | BadRecord]:
    """Every problem in order, the bad ones as `BadRecord`; arguments and errors as `scan_rows` has them."""
    return scan_rows(path, KEYS, "image", _sample, pictures=pictures)


def _sample(row: Row, image: str | None, folder: Path) -> Sample:
    kind, answer_type = text(row, "question_type"), text(row, "answer_type")
    if kind not in ("multi_choice", "free_form") or answer_type not in ANSWER_TYPES:
        raise VkitError(f"question_type {kind!r} with answer_type {answer_type!r} is not MathVista's")
    choices = row.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise VkitError("'choices' must be a list of texts")
    if (kind == "multi_choice") != bool(choices):
        raise VkitError(f"a {kind} question has {len(choices)} choices; take the row from the release")
    answer = text(row, "answer") if row.get("answer") else None  # the test split keeps its answers to itself
    if answer is not None and choices:
        if answer not in choices:
            raise VkitError(f"answer {answer!r} is none of the choices; take the row from the release")
        answer = chr(65 + choices.index(answer))
    precision = row.get("precision")
    if precision is None and answer_type != "float":
        decimals = None
    elif isinstance(precision, int | float) and 0 <= precision <= MOST_DECIMALS:
        decimals = int(precision)
    else:
        raise VkitError(
            f"'precision' must be decimals from 0 to {MOST_DECIMALS}, which a float answer needs, not"
            f" {str(precision)[:40]!r}"
        )
    meta = kept(row, ("question_type", "answer_type", "unit", "metadata", "query"))
    if decimals is not None:
        meta["precision"] = decimals
    return Sample(
        id=str(row["pid"]),
        question=text(row, "question"),
        choices=tuple(choices),
        answer=answer,
        image=image,
        meta={"source": "mathvista", **meta},
        folder=folder,
    )
