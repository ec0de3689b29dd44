"""What a store becomes: samples with rationales to train on, what was set aside and why, and a summary.

    found = gather(job, store)
    write_rationales(folder, found, job)        # rationales.jsonl, images/ and set-aside.jsonl
    summary = summarise(found, store)

All of it is made anew from the store each time, in the order of the data.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vkit.jsonl import read_jsonl, write_jsonl
from vkit.rationales.job import Job
from vkit.rationales.prompts import find_fault, finish
from vkit.records import Sample, copy_picture, write_samples
from vkit.teacher.outcome import Outcome
from vkit.teacher.store import ReplyStore
from vkit.teacher.task import Task


@dataclass(frozen=True)
class SetAside:
    """A problem without a rationale: why, in what words of the endpoint, and what was said, if anything."""

    sample: Sample
    reason: str
    detail: str = ""
    said: str | None = None


@dataclass
class Found:
    """What is known of every problem; each id stands in exactly one of the three.

    good: the task and its rationale.
    aside: why there is none; ``retryable`` are the tasks among them, which can be asked again.
    left: not asked yet.
    """

    good: dict[str, tuple[Task, str]] = field(default_factory=dict)
    aside: dict[str, SetAside] = field(default_factory=dict)
    retryable: list[Task] = field(default_factory=list)
    left: list[Task] = field(default_factory=list)


def gather(job: Job, store: ReplyStore) -> Found:
    """Sort problems by what became of them; of several answers the first good one counts."""
    found = Found(
        aside={each.sample.id: SetAside(each.sample, each.reason, each.detail) for each in job.unfit}
    )
    for task in job.tasks:
        outcomes = store.outcomes(task.key)
        faults = [_fault(task, job.kind, outcome) for outcome in outcomes]
        if not outcomes:
            found.left.append(task)
        elif None in faults:
            said = str(outcomes[faults.index(None)].text)
            found.good[task.sample.id] = (task, finish(task.sample, job.kind, said))
        else:
            last = outcomes[-1]
            found.aside[task.sample.id] = SetAside(task.sample, str(faults[-1]), last.detail, last.text)
            found.retryable.append(task)
    return found


def write_rationales(folder: Path, found: Found, job: Job) -> None:
    """Write rationales.jsonl with its pictures in images/, and set-aside.jsonl; each file complete.

    Pictures are copied, under names made from their bytes, so that the folder stands on its own and what the
    data's folder becomes later does not matter.
    """
    (folder / "images").mkdir(exist_ok=True)
    good = []
    for sample in job.samples:
        if sample.id in found.good:
            task, rationale = found.good[sample.id]
            meta = {**sample.meta, "rationale": {"kind": job.kind, "model": job.settings.model}}
            image = None if task.picture is None else copy_picture(sample, task.picture_digest, folder)
            good.append(replace(sample, rationale=rationale, image=image, meta=meta, folder=folder))
    write_samples(folder / "rationales.jsonl", good)
    aside = (found.aside[sample.id] for sample in job.samples if sample.id in found.aside)
    write_jsonl(folder / "set-aside.jsonl", (_aside_line(each) for each in aside))


def put_other_kinds_aside(folder: Path, kind: str) -> Path | None:
    """Rename a file of rationales of another kind, which would be overwritten; returns its new path."""
    path = folder / "rationales.jsonl"
    if not path.is_file():
        return None
    there = {line.get("meta", {}).get("rationale", {}).get("kind") for _, line in read_jsonl(path)}
    if not there or there == {kind}:
        return None
    aside = folder / f"rationales-{'-and-'.join(sorted(map(str, there)))}.jsonl"
    path.replace(aside)
    return aside


def summarise(found: Found, store: ReplyStore) -> dict[str, Any]:
    """Counts of problems, and what the store's requests used and cost so far."""
    reasons = Counter(each.reason for each in found.aside.values())
    return {
        "problems": len(found.good) + len(found.aside) + len(found.left),
        "rationales": len(found.good),
        "set_aside": dict(sorted(reasons.items())),
        "left": len(found.left),
        **store.usage(),
    }


def _fault(task: Task, kind: str, outcome: Outcome) -> str | None:
    return outcome.failure or find_fault(task.sample, kind, str(outcome.text))


def _aside_line(each: SetAside) -> dict[str, Any]:
    return {"id": each.sample.id, "reason": each.reason, "detail": each.detail, "said": each.said}
