r"""Problems as LLaVA's records, which ``vkit train-sft`` takes, and the files of ``vkit curate questions``.

    conversation(sample)
    {"id": "7-new-1", "image": "images/3f.png", "conversations": [
        {"from": "human", "value": "<image>\nHow many bars are red?\nChoices:\n(A) 3\n(B) 4"},
        {"from": "gpt", "value": "The answer is B."}]}

`vkit.evaluate.answers` reads an answer back from what gpt says, unless it is free text of several lines or
one that speaks of an answer itself: that is said as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vkit.curate.checks import special_token, value_sentence
from vkit.curate.questions import question_with_choices
from vkit.errors import VkitError
from vkit.evaluate.answers import judge
from vkit.jsonl import write_jsonl
from vkit.records import Sample, copy_picture, write_samples
from vkit.sources.llava import IMAGE_TAG, parse_conversation


@dataclass(frozen=True)
class Aside:
    """A question that is not trained on, or a request that brought none: of which problem and kind, and why.

    kind: one of `vkit.curate.questions.KINDS`, or "original" for the problem itself.
    said: the question as it was written, or the whole reply where no question could be read in it.
    """

    id: str
    kind: str
    reason: str
    detail: str = ""
    said: str | None = None


def conversation(sample: Sample) -> dict[str, Any]:
    """A problem with a picture and an answer as LLaVA's record of one turn.

    Where the question is empty the picture says it all, and the user says nothing else.

    >>> found = conversation(Sample("1", "Find x.", ("3", "4"), "B", "1.png", rationale="It is 2 + 2."))
    >>> [turn["value"] for turn in found["conversations"]]
    ['<image>\\nFind x.\\nChoices:\\n(A) 3\\n(B) 4', 'It is 2 + 2.\\nThe answer is B.']
    """
    asked = f"{IMAGE_TAG}\n{question_with_choices(sample)}" if sample.question.strip() else IMAGE_TAG
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": _said(sample)}]
    return {"id": sample.id, "image": sample.image, "conversations": turns}


def why_no_record(sample: Sample) -> Aside | None:
    """Why a problem cannot be a record, or None.

    >>> why_no_record(Sample("1", "Find x.", image="1.png")).reason
    'no_answer'
    """
    if sample.answer is None or not sample.answer.strip():
        return Aside(sample.id, "original", "no_answer")
    texts = (sample.question, *sample.choices, sample.answer, sample.rationale or "")
    if token := special_token(*texts):
        return Aside(sample.id, "original", "special_token", f"{token} is not text to a model")
    try:
        parse_conversation(json.dumps(conversation(sample)), sample.folder)
    except VkitError as error:
        return Aside(sample.id, "original", "no_record", str(error))
    return None


def write_questions(
    folder: Path, problems: Iterable[tuple[Sample, str, list[Sample]]], aside: Iterable[Aside]
) -> int:
    """Write conversations.jsonl, synthesized.jsonl with their pictures in images/, and set-aside.jsonl.

    Each file is complete. Pictures are copied, under names made from their bytes, so that the folder stands
    on its own.

    Args:
        problems: each with its picture's digest and the questions made from it; a problem that can be no
            record is left out, they are not.

    Returns how many conversations there are.
    """
    (folder / "images").mkdir(exist_ok=True)
    written = []
    for problem, digest, made in problems:
        records = [problem, *made] if why_no_record(problem) is None else made
        if records:
            image = copy_picture(problem, digest, folder)
            written.append([replace(each, image=image, folder=folder) for each in records])
    lines = [conversation(each) for records in written for each in records]
    synthesized = (each for records in written for each in records if "synthesized" in each.meta)
    write_jsonl(folder / "conversations.jsonl", lines)
    write_samples(folder / "synthesized.jsonl", synthesized)
    write_jsonl(folder / "set-aside.jsonl", (asdict(each) for each in aside))
    return len(lines)


def _said(sample: Sample) -> str:
    """The rationale, if there is one, and the answer, unless the rationale ends with it."""
    answer = sample.answer or ""
    sentence = value_sentence(answer)
    if judge(sentence, answer, sample.choices) is not True:
        sentence = answer
    if not sample.rationale or not sample.rationale.strip():
        return sentence
    if judge(sample.rationale, answer, sample.choices) is True:
        return sample.rationale
    return f"{sample.rationale.rstrip()}\n{sentence}"
