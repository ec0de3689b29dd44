"""MathVista's scorer (Lu et al. 2024), by its own rules: what an answer is, and when it is right.

    reading = extract("The answer is (B).", sample)       # Reading(answer="B", by="rules")
    normalize("(B) 45 cm", sample)                        # the second choice's text
    is_right("45 cm", sample)

The official extraction takes an output that is a choice's text, or a whole number or a decimal as the
question asks, and leaves every other to a judge model: of real outputs nearly all. Those are read by vkit's
rules first: a choice by its letter, a number by where it stands (`vkit.evaluate.values`). Of two systems'
published outputs they read 80%. On these the verdict is the official one for all but one of 666 numbers, for
99% of the one system's choices, and for 86% of the other's, which often goes on to a question of its own.

The official normalisation makes a choice of whatever was extracted, the nearest by Levenshtein's distance
where it names none. Decimals on integer questions ("3.4") are cut here, as the published code does; in
published scores some were refused instead, and wrong either way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vkit.evaluate.choices import extract_choice
from vkit.evaluate.scoring import LETTER, Mark, Reading
from vkit.evaluate.values import choice_by_value, final_answer, final_number, value_of
from vkit.records import Sample

_LETTER = re.compile(r"\(([a-zA-Z])\)")
_GROUPS = ("task", "context", "grade", "category", "source", "language", "skills")


def extract(output: str, sample: Sample) -> Reading | None:
    """The answer that an output gives, or None where only a judge could tell.

    An empty output is read as an empty answer, as officially: of choices it names the nearest, the shortest.
    """
    official = _official(output, sample)
    if official is not None:
        return Reading(official, "official")
    if sample.choices:
        answer = (
            extract_choice(output, sample.choices)
            or extract_choice(final_answer(output) or "", sample.choices)
            or choice_by_value(output, sample.choices)
        )
        return None if answer is None else Reading(answer, "rules")
    if sample.meta["answer_type"] == "list":
        found = final_answer(output)
        return None if found is None else Reading(found, "rules")
    value = value_of(final_number(output) or "")
    return None if value is None else Reading(repr(value), "rules")


def normalize(answer: str, sample: Sample) -> str | None:
    """An extracted answer in the form of the right one; None where it has not that form.

    >>> clock = Sample("7", "When?", ("quarter past", "half past"), "B", meta={"answer_type": "text"})
    >>> normalize("(b) half", clock), normalize("halve past", clock)
    ('half past', 'half past')
    >>> normalize("3.456", Sample("1", "x?", answer="3.5", meta={"answer_type": "float", "precision": 1}))
    '3.5'
    """
    if sample.choices:
        answer = answer.strip()
        if letters := _LETTER.findall(answer):
            answer = letters[0].upper()
        if len(answer) == 1 and 0 <= ord(answer) - 65 < len(sample.choices):
            return sample.choices[ord(answer) - 65]
        return min(sample.choices, key=lambda choice: edit_distance(answer, choice))
    kind = sample.meta["answer_type"]
    try:
        if kind == "integer":
            return str(int(float(answer)))
        if kind == "float":
            return str(round(float(answer), sample.meta["precision"]))
    except (ValueError, OverflowError):
        return None
    return answer


def is_right(answer: str, sample: Sample) -> bool:
    """Whether an extracted answer, normalised, is the right one, letter for letter."""
    right = str(sample.answer)
    return normalize(answer, sample) == (sample.choices[ord(right) - 65] if sample.choices else right)


def groups(sample: Sample) -> dict[str, tuple[str, ...]]:
    """The kinds by which the official scorer breaks its score down."""
    said: dict[str, Any] = sample.meta.get("metadata", {})
    found = {name: said.get(name) for name in _GROUPS}
    found |= {name: sample.meta[name] for name in ("question_type", "answer_type")}
    return {
        name: tuple(value) if isinstance(value, list | tuple) else (str(value),)
        for name, value in found.items()
        if value
    }


def more(marks: Sequence[Mark]) -> dict[str, Any]:
    """``empty``: how many outputs say nothing, and ids; the official rule makes a choice of them, too."""
    ids = [mark.id for mark in marks if mark.answer == ""]
    return {"empty": {"count": len(ids), "ids": ids}}


def answer_form(sample: Sample) -> str:
    """In which form a judge should give the answer."""
    if sample.choices:
        return LETTER
    kind = sample.meta["answer_type"]
    if kind == "float":
        return f"a number with {sample.meta['precision']} decimals, without a unit"
    return "a whole number, without a unit" if kind == "integer" else "a list in square brackets"


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance: how many characters to add, drop or change.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return row[-1]


def _official(output: str, sample: Sample) -> str | None:
    if not output:
        return ""
    if sample.choices:
        return output if output in sample.choices else None
    try:
        if sample.meta["answer_type"] == "integer":
            return str(int(output))
        if sample.meta["answer_type"] == "float":
            return str(float(output))
    except ValueError:
        return None
    return None
