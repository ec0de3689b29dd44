"""The measured answers of a run folder as arrays, for comparisons.

run = load_run(Path("runs/cot"), "cot")
run.answers["11"].ratio      # (n,), one value per output token
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.names import SHARES
from vkit.attention.run_folder import read_details, read_items, read_summary
from vkit.errors import VkitError
from vkit.jsonl import refuse_half_characters

_SLACK = 1e-3  # of a share: masses are float32, and files keep seven digits


@dataclass(frozen=True)
class Answer:
    """What one item of a run says. n: output tokens; K: stored image columns.

    problem: question, choices and answer, to tell whether two runs mean the same by an id.
    measured: it has tokens, and each has a ratio; the study leaves other answers out.
    ratio, image, text: (n,) ratio, V and P. shares: (n,) by name.
    image_columns, text_columns: columns on either side; None in older runs, as is ``strongest``.
    first_column: the side that the sequence's first column belongs to, or None.
    strongest: (K,) the image columns that draw most. strongest_attention: (n, K) what each token pays them.
    """

    record_id: str
    problem: tuple[str, tuple[str, ...], str | None]
    correct: bool | None
    pieces: list[str]
    measured: bool
    ratio: np.ndarray
    image: np.ndarray
    text: np.ndarray
    shares: dict[str, np.ndarray]
    image_columns: int | None
    text_columns: int | None
    first_column: str | None
    strongest: np.ndarray | None
    strongest_attention: np.ndarray | None

    @property
    def tokens(self) -> int:
        return len(self.ratio)


@dataclass(frozen=True)
class Run:
    """A run folder under the name that a comparison gives it. answers: by id, in the folder's order."""

    folder: Path
    name: str
    summary: dict[str, Any]
    span_policy: str
    row_convention: str
    answers: dict[str, Answer]

    @property
    def measured(self) -> list[Answer]:
        return [answer for answer in self.answers.values() if answer.measured]


def load_run(folder: Path, name: str) -> Run:
    """Read a run folder.

    Raises:
        VkitError: as `read_summary`, `read_items` and `read_details`; no item; an id twice; no word on how
            columns and rows were chosen; a measured answer whose figures cannot be; half a character.
    """
    summary = read_summary(folder)
    try:
        refuse_half_characters({**summary, "folder": str(folder.resolve())})
    except VkitError as error:
        raise VkitError(f"{str(folder)!r}: its name or its summary.json: {error}") from error
    answers: dict[str, Answer] = {}
    policies: set[tuple[str, str]] = set()
    for item in read_items(folder):
        if item["id"] in answers:
            raise VkitError(f"{folder} holds item {item['id']!r} twice; measure into a new folder")
        answers[item["id"]] = _answer(folder, item)
        policies.add((str(item.get("span_policy") or ""), str(item.get("row_convention") or "")))
    if not answers:
        raise VkitError(f"{folder} holds no item; run attn-ratio into it first")
    span_policy, row_convention = policies.pop()
    if policies or not (span_policy and row_convention):
        raise VkitError(
            f"{folder}: items do not agree on, or do not say, span_policy and row_convention; measure again"
        )
    return Run(folder, name, summary, span_policy, row_convention, answers)


def _answer(folder: Path, item: dict[str, Any]) -> Answer:
    measured = item["reduced"] is not None
    if measured:
        _refuse_impossible(folder, item)
    details = read_details(folder, item) if measured else None
    return Answer(
        record_id=item["id"],
        problem=(item["question"], tuple(item["choices"]), item["answer"]),
        correct=item["correct"],
        pieces=item["output_tokens"],
        measured=measured,
        ratio=np.array(item["ratio"], dtype=float),
        image=np.array(item["V"], dtype=float),
        text=np.array(item["P"], dtype=float),
        shares={name: np.array(item["shares"][name], dtype=float) for name in SHARES} if measured else {},
        image_columns=item.get("image_columns"),
        text_columns=item.get("text_columns"),
        first_column=item.get("first_column"),
        strongest=None if details is None else details.columns,
        strongest_attention=None if details is None else details.column_attention,
    )


def _refuse_impossible(folder: Path, item: dict[str, Any]) -> None:
    """Refuse a measured answer that would make a figure NaN, or lie: every mean runs over its numbers."""
    weights = np.array([item["V"], item["P"], *item["shares"].values()], dtype=float)  # None becomes NaN
    ratio = np.array(item["ratio"], dtype=float)
    sound = ratio.size and ((weights >= 0) & (weights <= 1 + _SLACK)).all()
    if not (sound and np.allclose(ratio * weights[1], weights[0], rtol=1e-5, atol=0)):
        raise VkitError(
            f"{folder}: item {item['id']!r} is called measured, but a weight is not between 0 and 1 or a "
            "ratio is not V / P; run attn-ratio again into a new folder"
        )
