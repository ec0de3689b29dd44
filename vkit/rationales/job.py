"""Problems made ready to be asked for rationales.

job = prepare(samples, "visual-cot", Settings(model="gpt-4o"))
job.tasks[0].key, job.unfit
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vkit.errors import VkitError
from vkit.rationales.prompts import build_prompt, why_not_asked
from vkit.records import Sample
from vkit.teacher.task import Settings, Task, make_task


@dataclass(frozen=True)
class Unfit:
    """A problem that cannot be asked, and why: no_answer, no_literals or bad_image."""

    sample: Sample
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Job:
    """Problems for which one teacher is asked for one of `vkit.rationales.prompts.KINDS`, in their order."""

    kind: str
    settings: Settings
    samples: list[Sample]
    tasks: list[Task]
    unfit: list[Unfit]


def prepare(samples: Iterable[Sample], kind: str, settings: Settings) -> Job:
    """The tasks of problems, and the problems that cannot be asked; every picture is opened."""
    job = Job(kind, settings, [], [], [])
    for sample in samples:
        job.samples.append(sample)
        if reason := why_not_asked(sample, kind):
            job.unfit.append(Unfit(sample, reason))
            continue
        try:
            job.tasks.append(make_task(sample, *build_prompt(sample, kind), settings))
        except VkitError as error:
            job.unfit.append(Unfit(sample, "bad_image", str(error)))
    return job
