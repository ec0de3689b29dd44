"""Columns that draw attention whatever is asked, and the ratio without them.

    sinks = find_sinks(run.measured)
    ratio_without(answer, sinks=sinks.columns, first_token=True)     # (n,)

In the study's matrices the five strongest image columns are the same border patches in every problem, and an
eighth of all weight rests on the first column of the sequence. Both are attention sinks: weight is parked
there. A ratio that differs only through them says nothing on looking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from vkit.attention.compare_runs import Answer

SINK_FACTOR = 5  # times an answer's mean V
SINK_ITEMS = 0.5  # of the items
OLD_RUN = "measured by an older vkit; measure again"


@dataclass(frozen=True)
class Sinks:
    """The sinks of a run.

    columns: counted from 0 over all image columns, ascending.
    image_columns: how many the items have that they were found in.
    items: how many those are. left_out: the others, whose columns lie elsewhere in the picture.
    weight: the part of the weight on the image that rests on the sinks, mean over tokens, then items.
    """

    columns: tuple[int, ...]
    image_columns: int
    items: int
    left_out: int
    weight: float


def find_sinks(answers: Sequence[Answer]) -> Sinks | str:
    """The image columns that draw `SINK_FACTOR` times the mean in at least half of the measured answers.

    Only answers that have the most common number of image columns are looked at. Returns the reason in words
    where the answers do not say.
    """
    if not answers:
        return "no answer was measured"
    if any(answer.strongest is None or answer.image_columns is None for answer in answers):
        return OLD_RUN
    usual = Counter(answer.image_columns for answer in answers).most_common(1)[0][0] or 0
    looked = [answer for answer in answers if answer.image_columns == usual]
    seen: Counter[int] = Counter()
    for answer in looked:
        assert answer.strongest is not None
        assert answer.strongest_attention is not None
        paid = answer.strongest_attention.mean(0)
        strong = (paid > 0) & (paid >= SINK_FACTOR * answer.image.mean())
        seen.update(answer.strongest[strong].tolist())
    columns = tuple(sorted(column for column, count in seen.items() if count >= SINK_ITEMS * len(looked)))
    weight = float(np.mean([_part_on(answer, columns) for answer in looked]))
    return Sinks(columns, usual, len(looked), len(answers) - len(looked), weight)


def ratio_without(
    answer: Answer, *, sinks: Collection[int] = (), first_token: bool = False
) -> np.ndarray | None:
    """The ratio of each token, (n,), with those columns taken out of V's or P's sum and count.

    A sink that is not among the answer's stored strongest columns stays in. The first column of the sequence
    is taken from the side that it belongs to, once, even where it is a sink as well. None where nothing is
    left of a side.

    Raises:
        ValueError: the answer does not say how many columns its sides have.
    """
    if answer.image_columns is None or answer.text_columns is None:
        raise ValueError(f"answer {answer.record_id!r} does not say how many columns it has; {OLD_RUN}")
    image, text = answer.image * answer.image_columns, answer.text * answer.text_columns
    image_count, text_count = answer.image_columns, answer.text_columns
    first = answer.shares["first_token"]
    taken = {
        column for column in sinks if not (first_token and answer.first_column == "image" and column == 0)
    }
    sunk, count = _sunk(answer, taken)
    image, image_count = image - sunk, image_count - count
    if first_token and answer.first_column == "image":
        image, image_count = image - first, image_count - 1
    if first_token and answer.first_column == "text":
        text, text_count = text - first, text_count - 1
    if image_count < 1 or text_count < 1 or not (text > 0).all():
        return None
    # The parts were rounded apart: what is left of almost nothing must not turn negative.
    return np.maximum(image, 0) / image_count / (text / text_count)


def first_column_of(answers: Sequence[Answer]) -> str | None:
    """The side of the ratio that the first column of the sequence is on, in any answer; None: neither."""
    return next((answer.first_column for answer in answers if answer.first_column is not None), None)


def _part_on(answer: Answer, columns: Collection[int]) -> float:
    """The part of an answer's weight on the image that rests on ``columns``; a token that pays none: 0."""
    image = answer.image * (answer.image_columns or 0)
    sunk = _sunk(answer, columns)[0]
    return float(np.divide(sunk, image, out=np.zeros_like(sunk), where=image > 0).mean())


def _sunk(answer: Answer, columns: Collection[int]) -> tuple[np.ndarray, int]:
    """What each token pays to the stored ones among ``columns``, (n,), and how many those are."""
    if not columns or answer.strongest is None or answer.strongest_attention is None:
        return np.zeros(answer.tokens), 0
    stored = np.isin(answer.strongest, list(columns))
    return answer.strongest_attention[:, stored].sum(1, dtype=float), int(stored.sum())
