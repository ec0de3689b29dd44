"""MathVerse's score (Zhang et al. 2024): five versions of each problem, ALL of them, and Text Only apart.

    extract("... Answer: C", sample)                # Reading(answer="C", by="rules")
    more(marks)["spread"]["gap_percent"]            # Math-PUMA's measure of text against picture

Officially a judge model extracts every answer and compares it. Rules come first here: a choice by its letter
or its value, a value by where it stands (`vkit.evaluate.values`); values are compared as numbers, whatever
their unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vkit.evaluate.choices import extract_choice
from vkit.evaluate.scoring import LETTER, RESAMPLES, SEED, Mark, Reading, Shares, correct_by_problem
from vkit.evaluate.values import choice_by_value, final_answer, final_number, same_value
from vkit.evaluate.versions import spread
from vkit.records import Sample

TEXT_ONLY = "text-only"
_LETTERS = tuple("ABCDEFGH")  # where the choices stand in the picture


def extract(output: str, sample: Sample) -> Reading | None:
    """The answer that an output gives: a letter or a value; None where only a judge could tell."""
    answer = final_number(output) or final_answer(output)
    if sample.meta["question_type"] == "multi-choice":
        choices = sample.choices or _LETTERS
        answer = (
            extract_choice(output, choices)
            or extract_choice(final_answer(output) or "", choices)
            or choice_by_value(output, sample.choices)
        )
    return Reading(answer, "rules") if answer else None


def is_right(answer: str, sample: Sample) -> bool:
    """Whether an answer is the right letter, or the right value."""
    if sample.meta["question_type"] == "multi-choice":
        return answer.strip("() .").upper() == sample.answer
    return same_value(answer, str(sample.answer))


def groups(sample: Sample) -> dict[str, tuple[str, ...]]:
    """By version; those with a picture by subject and its field too."""
    found: dict[str, tuple[str, ...]] = {"version": (sample.meta["version"],)}
    if sample.meta["version"] != TEXT_ONLY:
        said = sample.meta.get("metadata", {})
        found |= {name: (str(said[name]),) for name in ("subject", "subfield") if said.get(name)}
    return found


def figures(marks: Sequence[Mark]) -> dict[str, Shares]:
    """ALL: over the five versions with a picture; Text Only: over that one. Whichever has items."""
    parts = {
        "ALL": [mark for mark in marks if mark.groups["version"] != (TEXT_ONLY,)],
        "Text Only": [mark for mark in marks if mark.groups["version"] == (TEXT_ONLY,)],
    }
    return {name: correct_by_problem(part) for name, part in parts.items() if part}


def more(marks: Sequence[Mark]) -> dict[str, Any]:
    """``spread``: gap_percent, skewness and variation over versions (Math-PUMA, Figure 4), of `spread`.

    ``gap_low`` and ``gap_high`` bound the gap in 95% of draws of whole problems; None where vision-only may
    be all wrong, or where there are fewer than ten problems.
    """
    import numpy as np

    from vkit.evaluate.statistics import MIN_ITEMS, resample_items

    versions: dict[str, list[Mark]] = {}
    for mark in marks:
        versions.setdefault(mark.groups["version"][0], []).append(mark)
    accuracy = {name: sum(mark.correct for mark in found) / len(found) for name, found in versions.items()}
    found = spread(accuracy)
    low = high = None
    text, vision = (correct_by_problem(versions.get(name, ())) for name in ("text-dominant", "vision-only"))
    problems = sorted(set(text) | set(vision))
    if found["gap_percent"] is not None and len(problems) >= MIN_ITEMS:
        weights = resample_items(len(problems), resamples=RESAMPLES, seed=SEED)
        rates = []
        for shares in (text, vision):
            sums = weights @ np.array([shares.get(problem, (0.0, 0)) for problem in problems])  # (draws, 2)
            rates.append(sums[:, 0] / np.maximum(sums[:, 1], 1))
        if rates[1].min() > 0:
            gaps = 100 * (rates[0] - rates[1]) / rates[1]
            low, high = (float(bound) for bound in np.quantile(gaps, (0.025, 0.975)))
    return {"spread": {**found, "gap_low": low, "gap_high": high}}


def answer_form(sample: Sample) -> str:
    """In which form a judge should give the answer."""
    if sample.meta["question_type"] == "multi-choice":
        return LETTER
    return "the value or expression alone, without a unit"
