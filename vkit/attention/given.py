"""Answers that are given, not generated: lines of ``vkit generate``, or any ``{"id": ..., "output": ...}``.

answers, tokens = read_answers(Path("predictions.jsonl"), [sample.id for sample in samples])
run(model, samples, folder, settings, answers=answers, answer_ids=tokens)
"""

from __future__ import annotations

from pathlib import Path

from vkit.errors import VkitError
from vkit.jsonl import read_jsonl, refuse_half_characters


def read_answers(path: Path, ids: list[str]) -> tuple[dict[str, str], dict[str, list[int]]]:
    """The given answers by id, and their tokens where they are told.

    Args:
        ids: of the problems; every one must have an answer.

    Raises:
        VkitError: a line is no answer, an id stands twice, or a problem has no answer; says where.
    """
    answers: dict[str, str] = {}
    tokens: dict[str, list[int]] = {}
    for number, line in read_jsonl(path):
        try:
            refuse_half_characters(line)
        except VkitError as error:
            raise VkitError(f"{path}:{number}: {error}") from error
        record_id, output = line.get("id"), line.get("output")
        if isinstance(record_id, int) and not isinstance(record_id, bool):  # as in the records themselves
            record_id = str(record_id)
        if not isinstance(record_id, str) or not isinstance(output, str):
            raise VkitError(f'{path}:{number}: needs "id" and "output" as texts; write one answer a line')
        if record_id in answers:
            raise VkitError(f"{path}:{number}: id {record_id!r} stands twice; keep one answer for each")
        answers[record_id] = output
        if (told := line.get("ids")) is not None:
            if not isinstance(told, list) or not all(type(token) is int for token in told):
                raise VkitError(
                    f'{path}:{number}: "ids" must be a list of tokens; leave it out, or correct it'
                )
            tokens[record_id] = told
    missing = [record_id for record_id in ids if record_id not in answers]
    if missing:
        raise VkitError(
            f"{path} has no answer for {len(missing)} of {len(ids)} problems, first {missing[0]!r}; add them"
        )
    return answers, tokens
