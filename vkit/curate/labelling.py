r"""A teacher's labels: what is asked about a picture, how a reply is read, and what a store of replies holds.

    problems = by_picture(pool, digests)
    job = prepare(((each, problems[each][0]) for each in chosen_pictures(digests, 10_000, seed=0)), settings)
    found = gather(job, store)
    found.labels, found.aside, found.left

The paper has GPT-4V label some 10,000 pictures for clarity and comprehension complexity (Shi et al. 2024,
section 3), and does not print its prompt: the words here are ours. The teacher sees the picture and none of
its questions. Each distinct picture is asked about once, whatever number of problems shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vkit.curate.labels import CLARITIES, COMPLEXITIES, Label, count_values, write_labels
from vkit.curate.pool import by_picture, rank
from vkit.errors import VkitError
from vkit.jsonl import write_jsonl
from vkit.records import Sample
from vkit.teacher.outcome import Outcome
from vkit.teacher.store import ReplyStore
from vkit.teacher.task import Settings, Task, make_task

BEFORE = """You rate pictures for a collection of visual mathematics problems. Look at this picture: """
AFTER = """
Rate it twice.

Clarity: can everything in the picture be made out?
0 - blurred, noisy, cut off or too small: some of its marks, words or objects cannot be told.
1 - clear: all of its marks, words and objects can be told.

Complexity: how much must be understood to know what the picture says?
0 - next to nothing: no content, or a single plain object.
1 - simple: a few objects or one simple shape, chart or table, taken in at a glance.
2 - moderate: several parts whose relations matter, such as a labelled diagram or a chart of several series.
3 - high: many parts in close relations, such as nested figures, dense plots, or drawings that need expert \
knowledge.

If the picture is unclear, rate the complexity of what can be made out. Reply with these two lines and \
nothing else:
Clarity: 0 or 1
Complexity: 0, 1, 2 or 3"""

# The number right behind the name, whatever stands between them for emphasis; no range such as "1-2".
_SCORE = r"(?<![a-z]){name}(?![a-z])[\W_]*?"
_SCORE += r"(?:(?:score|rating|level|label|is|of)(?![a-z])[\W_]*?)*(-?\d+(?:\.\d+)?)"
_SCORE += r"(?![\d.]*\s*(?:->?|[–—~～…→,]|\.\.+|to|or|and)\s*\d)(?!\d)"
_IN_BRACKETS = re.compile(r"\([^()]*\)")


def read_label(said: str) -> Label | None:
    r"""The label that a teacher's reply gives, None where it gives none or several.

    >>> read_label("**Clarity:** 1\n**Complexity (0-3):** 2")
    Label(clarity=1, complexity=2, by='teacher')
    >>> read_label("Clarity: 1\nComplexity: 2-3"), read_label("Clarity: 1\nComplexity: 4")
    (None, None)
    """
    text = _IN_BRACKETS.sub("", said)
    clarity, complexity = _score(text, "clarity", CLARITIES), _score(text, "complexity", COMPLEXITIES)
    return None if clarity is None or complexity is None else Label(clarity, complexity, "teacher")


@dataclass(frozen=True)
class SetAside:
    """A picture without a label: why, in what words of the endpoint, and what was said, if anything."""

    sample: Sample
    reason: str
    detail: str = ""
    said: str | None = None


@dataclass(frozen=True)
class Job:
    """Distinct pictures that one teacher is asked about.

    tasks: by the pictures' digests. unfit: pictures that cannot be opened.
    """

    settings: Settings
    tasks: dict[str, Task]
    unfit: dict[str, SetAside]


@dataclass
class Found:
    """What is known of every picture, by digest; each stands in exactly one of the three.

    labels: of those that have one. aside: why there is none; ``retryable`` can be asked again.
    left: not asked yet.
    """

    labels: dict[str, Label] = field(default_factory=dict)
    aside: dict[str, SetAside] = field(default_factory=dict)
    retryable: list[Task] = field(default_factory=list)
    left: list[Task] = field(default_factory=list)


def chosen_pictures(digests: Iterable[str], sample: int | None, seed: int) -> list[str]:
    """Distinct pictures in order, at most ``sample`` of them by lot; a larger sample holds a smaller one."""
    distinct = list(dict.fromkeys(digests))
    if sample is None or sample >= len(distinct):
        return distinct
    drawn = set(sorted(distinct, key=lambda digest: rank(seed, "label", digest))[:sample])
    return [digest for digest in distinct if digest in drawn]


def prepare(problems: Iterable[tuple[str, Sample]], settings: Settings) -> Job:
    """What is asked about pictures, given by their digests and a problem that shows them; all are opened."""
    job = Job(settings, {}, {})
    for digest, sample in problems:
        try:
            job.tasks[digest] = make_task(sample, BEFORE, AFTER, settings)
        except VkitError as error:
            job.unfit[digest] = SetAside(sample, "bad_image", str(error))
    return job


def gather(job: Job, store: ReplyStore) -> Found:
    """Sort pictures by what became of them; of several replies the first that can be read counts."""
    found = Found(aside=dict(job.unfit))
    for digest, task in job.tasks.items():
        outcomes = store.outcomes(task.key)
        labels = [label for outcome in outcomes if (label := _label(outcome)) is not None]
        if labels:
            found.labels[digest] = labels[0]
        elif not outcomes:
            found.left.append(task)
        else:
            last = outcomes[-1]
            reason = last.failure or "unreadable_label"
            found.aside[digest] = SetAside(task.sample, reason, last.detail, last.text)
            found.retryable.append(task)
    return found


def write_found(folder: Path, found: Found, pool: Sequence[Sample], digests: Sequence[str]) -> None:
    """Write labels.csv, a row for each problem whose picture has a label, and set-aside.jsonl, by picture."""
    write_labels(folder / "labels.csv", pool, digests, found.labels)
    problems = by_picture(pool, digests)
    write_jsonl(
        folder / "set-aside.jsonl",
        (
            {
                "image": each.sample.image,
                "ids": [sample.id for sample in problems[digest]],
                "reason": each.reason,
                "detail": each.detail,
                "said": each.said,
            }
            for digest, each in found.aside.items()
        ),
    )


def summarise(found: Found, store: ReplyStore) -> dict[str, Any]:
    """Counts of pictures, and what the store's requests used and cost so far."""
    reasons = Counter(each.reason for each in found.aside.values())
    return {
        "pictures": len(found.labels) + len(found.aside) + len(found.left),
        "labelled": len(found.labels),
        "clarity": count_values((label.clarity for label in found.labels.values()), CLARITIES),
        "complexity": count_values((label.complexity for label in found.labels.values()), COMPLEXITIES),
        "set_aside": dict(sorted(reasons.items())),
        "left": len(found.left),
        **store.usage(),
    }


def _label(outcome: Outcome) -> Label | None:
    return None if outcome.failure else read_label(str(outcome.text))


def _score(text: str, name: str, known: Sequence[int]) -> int | None:
    """The one value of ``known`` that stands behind a name, however often."""
    found = {float(value) for value in re.findall(_SCORE.format(name=name), text, re.IGNORECASE)}
    value = found.pop() if len(found) == 1 else None
    return int(value) if value is not None and value in known else None
