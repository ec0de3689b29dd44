"""We-Math's score (Qiao et al. 2024): does a model that solves the whole master the steps, and the other way?

    extract("<Thought>...</Thought> <Answer>: B", sample)      # Reading(answer="B", by="official")
    rates(count_outcomes(marks))["strict"]["score"]            # 36.95...

Of a problem's one-step parts and its whole: insufficient knowledge (IK) is a part and the whole wrong;
inadequate generalisation (IG) all parts right, the whole wrong; complete mastery (CM) the whole right and all
parts (strict), or any part (loose); rote memorisation (RM) the whole right and a part (strict), or all parts
(loose) wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vkit.errors import VkitError
from vkit.evaluate.scoring import Mark, Reading, Shares
from vkit.records import Sample
from vkit.sources.wemath import STEPS, WHOLE

_LETTERS = "ABCDEFGH"
_MARKS = re.compile(r"[<>:.]")
OUTCOMES = ("IK", "IG", "CM", "RM")
RULES = ("strict", "loose")


def extract(output: str, sample: Sample) -> Reading | None:
    """The letter from A to H that stands first behind the last "Answer"; where no such word is, first of all.

    >>> extract("<Answer>: B. 7", Sample("1", ""))
    Reading(answer='B', by='official')
    """
    tail = _MARKS.sub("", output.rpartition("Answer")[2].strip()).strip()
    return Reading(tail[0], "official") if tail and tail[0] in _LETTERS else None


def is_right(answer: str, sample: Sample) -> bool:
    """Whether the letter is the right one."""
    return answer.strip("() .").upper() == sample.answer


def groups(sample: Sample) -> dict[str, tuple[str, ...]]:
    """``steps``: one-step, two-step or three-step question; of a one-step one its knowledge concept too."""
    steps, _, part = sample.meta["key"].partition("_")
    if part == WHOLE:
        return {"steps": ({"2steps": "two-step", "3steps": "three-step"}[steps],)}
    return {"steps": ("one-step",), "knowledge concept": (sample.meta["knowledge concept"],)}


def count_outcomes(marks: Sequence[Mark]) -> dict[str, dict[str, int]]:
    """How many problems have each of `OUTCOMES`, by each of `RULES`.

    Raises:
        VkitError: a problem lacks a part; names it.
    """
    counts = {rule: dict.fromkeys(OUTCOMES, 0) for rule in RULES}
    for outcomes in _outcomes(marks).values():
        for rule, outcome in zip(RULES, outcomes):
            counts[rule][outcome] += 1
    return counts


def rates(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float | None]]:
    """Score and rates in percent, by each of `RULES`: RM of CM and RM, the others of all problems.

    >>> one = {"IK": 209, "IG": 76, "CM": 125, "RM": 115}
    >>> found = rates({"strict": one})["strict"]
    >>> f"{found['score']:.2f} {found['RM']:.2f}"
    '31.05 47.92'
    """
    found: dict[str, dict[str, float | None]] = {}
    for rule, count in counts.items():
        total, right = sum(count.values()), count["RM"] + count["CM"]
        score = total - 0.5 * count["IG"] - count["RM"] - count["IK"]
        found[rule] = {
            "score": 100 * score / total,
            **{name: 100 * count[name] / total for name in ("IK", "IG", "CM")},
            "RM": 100 * count["RM"] / right if right else None,
        }
    return found


def figures(marks: Sequence[Mark]) -> dict[str, Shares]:
    """The strict and the loose score, a problem being worth 1 (CM), a half (IG) or nothing."""
    outcomes = _outcomes(marks)
    worth = {"CM": 1.0, "IG": 0.5, "IK": 0.0, "RM": 0.0}
    return {
        f"score ({rule})": {problem: (worth[found[i]], 1) for problem, found in outcomes.items()}
        for i, rule in enumerate(RULES)
    }


def more(marks: Sequence[Mark]) -> dict[str, Any]:
    """``outcomes``: problems by rule and outcome; ``rates``: in percent, as `rates` has them."""
    counts = count_outcomes(marks)
    return {"outcomes": counts, "rates": rates(counts)}


def _outcomes(marks: Sequence[Mark]) -> dict[str, tuple[str, str]]:
    """Each problem's outcome by the strict and by the loose rule."""
    problems: dict[str, dict[str, bool]] = {}
    for mark in marks:
        problems.setdefault(mark.problem, {})[mark.details["key"]] = mark.correct
    found = {}
    for problem, parts in problems.items():
        steps = next(iter(parts)).partition("_")[0]
        expected = [f"{steps}_{part}" for part in (*STEPS[steps], WHOLE)]
        if missing := sorted(set(expected) ^ set(parts)):
            raise VkitError(f"problem {problem!r} lacks {missing[0]}; score whole problems")
        right = [parts[key] for key in expected[:-1]]
        if parts[expected[-1]]:
            found[problem] = ("CM" if all(right) else "RM", "CM" if any(right) else "RM")
        else:
            outcome = "IG" if all(right) else "IK"
            found[problem] = (outcome, outcome)
    return found
