"""Geometry3K's score (Lu et al. 2021, Inter-GPS): the right choice of four, and the value without choices.

    extract("... Answer: C", sample)                   # Reading(answer="C", by="rules")
    says_value("so x = 8.7. Answer: 8.7", sample)      # True, where the precise value is 8.66025...

A choice is read by its letter; an output that gives a value instead says the choice whose ``precise_value``
it is, as Inter-GPS chooses. The free-form measure asks for the right choice's value and takes no letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vkit.evaluate.choices import extract_choice
from vkit.evaluate.scoring import Mark, Reading, Shares
from vkit.evaluate.values import final_answer, final_number, value_of
from vkit.records import Sample

_DECIMALS = re.compile(r"\.(\d+)$")


def extract(output: str, sample: Sample) -> Reading | None:
    """The choice that an output names, or the only one whose value it gives; None where it does neither."""
    letter = extract_choice(output, sample.choices)
    if letter is None:
        letter = extract_choice(final_answer(output) or "", sample.choices)
    if letter is None and (number := final_number(output)) is not None:
        values = enumerate(sample.meta.get("precise_value", []))
        near = [chr(65 + i) for i, value in values if equals(number, value)]
        letter = near[0] if len(near) == 1 else None
    return None if letter is None else Reading(letter, "rules")


def is_right(answer: str, sample: Sample) -> bool:
    """Whether the letter is the right one."""
    return answer.strip("() .").upper() == sample.answer


def equals(answer: str, value: float) -> bool:
    r"""Whether an answer says a value: exactly, or rounded to as many decimals, one or more, as it has.

    >>> [equals(answer, 75**0.5) for answer in (r"5\sqrt{3}", "8.66", "8.7 cm", "9", "8.6")]
    [True, True, True, False, False]
    """
    said = value_of(answer)
    if said is None:
        return False
    decimals = _DECIMALS.search(f"{said:.10g}")
    near = 0.5 * 10.0 ** -len(decimals[1]) if decimals and len(decimals[1]) < 6 else 1e-6 * max(1, abs(value))
    return abs(said - value) <= near + 1e-9


def says_value(output: str, sample: Sample) -> bool | None:
    """Whether an output's final answer is the right choice's value; None where it gives no value."""
    answer = final_number(output)
    if answer is None or "precise_value" not in sample.meta:
        return None
    return equals(answer, sample.meta["precise_value"][ord(str(sample.answer)) - 65])


def groups(sample: Sample) -> dict[str, tuple[str, ...]]:
    """What is drawn and what is asked for, as the release says, and its split."""
    names = {"graph": "problem_type_graph", "goal": "problem_type_goal", "split": "data_type"}
    found = {name: sample.meta.get(key) for name, key in names.items()}
    return {
        name: tuple(value) if isinstance(value, list | tuple) else (str(value),)
        for name, value in found.items()
        if value
    }


def figures(marks: Sequence[Mark]) -> dict[str, Shares]:
    """``choice`` and ``free-form`` accuracy."""
    return {
        "choice": {mark.id: (float(mark.correct), 1) for mark in marks},
        "free-form": {mark.id: (float(mark.details["value"] is True), 1) for mark in marks},
    }


def more(marks: Sequence[Mark]) -> dict[str, Any]:
    """``without_value``: how many outputs give no value, and count as wrong in the free-form measure; ids."""
    ids = [mark.id for mark in marks if mark.details["value"] is None]
    return {"without_value": {"count": len(ids), "ids": ids}}
