"""How many puzzles of SMART-101 a model gets right: the release's measures, and the paper's five options.

    report = score_smart(items, {"2-1": 7, "16-1": [1, 2, 26, 26, 26, 26, 26, 26, 26, 26]})
    report["overall"]["S_acc"]["value"], report["skills"]["order"]["O_acc"]

A model predicts a class (`vkit.sources.smart101_answers.encode`); three things can be asked of it:

- ``S_acc``: it is the right answer's class; of a sequence every step is.
- ``O_acc``, as the release computes it: of the five options' classes the nearest (the first of several) is
  the right letter's. In ten puzzles the class itself has to be the letter's place, A = 0 (`DIRECT_PUZZLES`;
  where their options are other letters or numbers, the right class seldom counts). Of a sequence every step
  is right.
- ``five_option`` (SmarterVLM, section 2.1.2: "one of five answer options", to which a sequence "is still
  translated"): every prediction is translated into the nearest option, and that option says the right answer.
  Distance is the difference of classes, of sequences the number of steps that differ; of options equally near
  the first is taken. So all puzzles are five-way, and guessing gives 20%. It is O_acc without its exceptions.

SmarterVLM's Table 1 (17.1 to 21.59 overall) gives ``S_acc``, the only one that its code computes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from vkit.errors import VkitError
from vkit.evaluate.statistics import wilson
from vkit.jsonl import read_jsonl
from vkit.sources.smart101 import LETTERS, SmartItem
from vkit.sources.smart101_answers import Value
from vkit.sources.smart101_puzzles import DIRECT_PUZZLES, SEQUENCE_PUZZLES, SEQUENCE_STEPS, SKILLS

MEASURES = ("S_acc", "O_acc", "five_option")
Marks: TypeAlias = tuple[bool, bool, bool]  # whether an item is right by each of them


def score_smart(items: Iterable[SmartItem], predictions: Mapping[str, Any]) -> dict[str, Any]:
    """Score one prediction for each item.

    Args:
        predictions: by item id the predicted class; for a sequence puzzle a list of 10 classes.

    Returns:
        count: items. overall: of each measure ``{"value", "low", "high"}`` in percent, over items.
        skills: by skill its ``puzzles`` and ``count``, and each measure as the mean over its puzzles.
        puzzles: by puzzle its ``skill`` and ``count``, and each measure over its items.
        Intervals are Wilson's of 95% over items, the puzzles being fixed. A skill whose puzzles have unequal
        numbers of items is as sure as k^2 / sum(1/n) items are, for k puzzles of n items.

    Raises:
        VkitError: an item has no prediction or one of another form, a prediction has no item, or there is no
            item at all; names the first such id.
    """
    marks: dict[int, list[Marks]] = {}
    items, left = list(items), dict(predictions)
    missing = [item.id for item in items if item.id not in left]
    if missing:
        raise VkitError(
            f"item {missing[0]!r} has no prediction, and {len(missing)} of {len(items)} items have none;"
            " give one for every item that is scored, and check --split and --part"
        )
    for item in items:
        marks.setdefault(item.puzzle, []).append(mark(item, _value(item, left.pop(item.id))))
    if left:
        raise VkitError(
            f"prediction {next(iter(left))!r} is for no item that is scored, as are {len(left)} of"
            f" {len(predictions)}; check --split and --part"
        )
    if not marks:
        raise VkitError("there is nothing to score; give items and their predictions")
    everything = [found for puzzle in marks.values() for found in puzzle]
    skills: dict[str, list[list[Marks]]] = {}
    for puzzle in sorted(marks):
        skills.setdefault(SKILLS[puzzle], []).append(marks[puzzle])
    return {
        "count": len(everything),
        "overall": _scores([everything]),
        "skills": {
            skill: {"puzzles": len(puzzles), "count": sum(map(len, puzzles)), **_scores(puzzles)}
            for skill, puzzles in sorted(skills.items())
        },
        "puzzles": {
            str(puzzle): {"skill": SKILLS[puzzle], "count": len(found), **_scores([found])}
            for puzzle, found in sorted(marks.items())
        },
    }


def mark(item: SmartItem, value: Value) -> Marks:
    """Whether a predicted class is right by each of `MEASURES`."""
    exact = value == item.target
    distances = [_distance(value, option) for option in item.values]
    nearest = distances.index(min(distances))
    letter = LETTERS.index(item.answer)
    if item.puzzle in SEQUENCE_PUZZLES:
        option = exact
    elif item.puzzle in DIRECT_PUZZLES:
        option = value == letter
    else:
        option = nearest == letter
    return exact, option, item.values[nearest] == item.target


def read_predictions(path: Path) -> dict[str, Any]:
    """Predictions by item id, from JSON Lines of ``{"id": "2-1", "value": 7}``.

    Raises:
        VkitError: a line has other keys, no class, or an id for the second time; names file and line.
    """
    if path.is_dir():
        found = sorted(path.glob("**/predictions-test.jsonl"))
        raise VkitError(
            f"{path} is a folder; give a file of predictions, such as"
            f" {found[0] if found else path / 'predictions-test.jsonl'}"
        )
    predictions: dict[str, Any] = {}
    for number, line in read_jsonl(path):
        if set(line) != {"id", "value"} or not isinstance(line["id"], str):
            raise VkitError(f'{path}:{number}: a line must be {{"id": "2-1", "value": 7}}; correct it')
        if line["id"] in predictions:
            raise VkitError(f"{path}:{number}: id {line['id']!r} stands twice; predict once for each item")
        value = line["value"]
        if not all(map(_is_class, value if isinstance(value, list) else [value])):
            raise VkitError(
                f"{path}:{number}: value {json.dumps(value)[:40]} must be a class, a whole number, or of a"
                " sequence puzzle a list of them; an option's letter is none"
            )
        predictions[line["id"]] = value
    return predictions


def _value(item: SmartItem, predicted: Any) -> Value:
    if item.puzzle in SEQUENCE_PUZZLES:
        if (
            isinstance(predicted, list | tuple)
            and len(predicted) == SEQUENCE_STEPS
            and all(map(_is_class, predicted))
        ):
            return tuple(predicted)
        raise VkitError(
            f"prediction {item.id!r} must be a list of {SEQUENCE_STEPS} whole numbers; correct it"
        )
    if not _is_class(predicted):
        raise VkitError(f"prediction {item.id!r} must be a whole number; correct it")
    return int(predicted)


def _is_class(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _distance(value: Value, option: Value) -> int:
    if isinstance(value, tuple) and isinstance(option, tuple):
        return sum(step != other for step, other in zip(value, option))
    if isinstance(value, int) and isinstance(option, int):
        return abs(value - option)
    raise TypeError(f"{value} and {option} are classes of different kinds")


def _scores(groups: list[list[Marks]]) -> dict[str, dict[str, float]]:
    """Each measure's mean over groups of items, in percent, with its interval."""
    # As many items as are worth what the groups' weights leave of them (Kish 1965); of one group, all.
    effective = int(len(groups) ** 2 / sum(1 / len(group) for group in groups) + 1e-9)
    scores = {}
    for at, name in enumerate(MEASURES):
        mean = fmean(fmean(found[at] for found in group) for group in groups)
        low, high = wilson(round(mean * effective), effective)
        scores[name] = {"value": 100 * mean, "low": 100 * low, "high": 100 * high}
    return scores
