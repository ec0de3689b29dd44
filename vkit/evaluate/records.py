"""The score of plain records, with choices or without: is the answer at the end of an output the right one?

    extract("35+72=107. 180-107=73. Answer: 73", sample)      # Reading(answer="73", by="rules")

The rules are those of `vkit.evaluate.answers`; what they cannot read is counted, never guessed.
"""

from __future__ import annotations

from vkit.evaluate import answers
from vkit.evaluate.scoring import LETTER, Reading
from vkit.records import Sample


def extract(output: str, sample: Sample) -> Reading | None:
    """The answer that an output gives: a choice's letter where there are choices, else a value."""
    found = answers.extract(output, sample.choices)
    return None if found is None else Reading(found, "rules")


def is_right(answer: str, sample: Sample) -> bool:
    """Whether an answer, read by the rules or by a judge, is the record's."""
    said = answer.strip() if sample.choices else f"Answer: {answer}"
    return answers.judge(said, str(sample.answer), sample.choices) is True


def problem(sample: Sample) -> str:
    """Versions of a problem share what the data engine calls ``problem``; else each record stands alone."""
    return str(sample.meta.get("problem", sample.id))


def groups(sample: Sample) -> dict[str, tuple[str, ...]]:
    """What the record says of its version, subject and family."""
    names = ("version", "subject", "family")
    return {name: (str(sample.meta[name]),) for name in names if sample.meta.get(name)}


def answer_form(sample: Sample) -> str:
    """In which form a judge should give the answer."""
    return LETTER if sample.choices else "the final value"
