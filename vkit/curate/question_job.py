"""What is asked for synthesised questions, and what a store of replies makes of each problem.

    job = prepare(samples, settings, Demonstrations(samples, 4, source_of), verify=True)
    found = gather(job, store)
    found.kept["7"], found.aside, found.left, found.unverified

All of it is made anew from the store each time, so that a run that was stopped goes on from any moment.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vkit.curate.checks import Fault, answer_within, find_repeated, settle
from vkit.curate.demonstrations import Demonstrations
from vkit.curate.pool import source_of
from vkit.curate.questions import (
    KINDS,
    Draft,
    build_prompt,
    read_reply,
    verification_prompt,
    why_not_asked,
)
from vkit.curate.records import Aside, why_no_record
from vkit.errors import VkitError
from vkit.evaluate.answers import extract, judge
from vkit.records import Sample
from vkit.teacher.store import ReplyStore
from vkit.teacher.task import Settings, Task, make_task

_VERIFICATION = "verification_"


@dataclass
class Job:
    """Problems from which one teacher makes questions.

    count: new questions a problem. verify: the teacher answers each question that passes the checks.
    samples: those whose pictures can be read; pictures: requests without words that know them, by id.
    tasks: by problem and kind, in order.
    """

    settings: Settings
    kinds: Sequence[str]
    count: int
    verify: bool
    samples: list[Sample] = field(default_factory=list)
    pictures: dict[str, Task] = field(default_factory=dict)
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    unfit: list[Aside] = field(default_factory=list)

    def wanted(self, kind: str) -> int:
        return self.count if kind == "new" else 1

    def verification(self, sample: Sample) -> Task:
        """The request that has a question answered."""
        seen = self.pictures[sample.id]
        return make_task(sample, *verification_prompt(sample), self.settings, like=seen)


@dataclass
class Found:
    """What is known so far.

    kept: the questions that may be trained on, by the id of the problem that they were made from.
    aside: what may not, and why. retryable: requests that brought less than was asked for.
    left: not asked yet. verifications: of questions that pass the checks; unverified: those not asked yet.
    """

    kept: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    aside: list[Aside] = field(default_factory=list)
    retryable: list[Task] = field(default_factory=list)
    left: list[Task] = field(default_factory=list)
    verifications: list[Task] = field(default_factory=list)
    unverified: list[Task] = field(default_factory=list)


def prepare(
    samples: Iterable[Sample],
    settings: Settings,
    demonstrations: Demonstrations,
    *,
    kinds: Sequence[str] = KINDS,
    count: int = 5,
    verify: bool = False,
) -> Job:
    """The requests for problems; every picture is opened.

    Raises:
        VkitError: a problem has the id that a question made from another one would get.
    """
    job = Job(settings, [kind for kind in KINDS if kind in kinds], count, verify)
    for sample in samples:
        try:
            seen = job.pictures[sample.id] = make_task(sample, "", "", settings)
        except VkitError as error:
            job.unfit.append(Aside(sample.id, "original", "bad_image", str(error)))
            continue
        for kind in job.kinds:
            if reason := why_not_asked(sample, kind):
                job.unfit.append(Aside(sample.id, kind, reason))
                continue
            shown = demonstrations.of(sample) if kind == "new" else ()
            prompt = build_prompt(sample, kind, count, shown)
            job.tasks[sample.id, kind] = make_task(sample, *prompt, settings, like=seen)
        job.samples.append(sample)
        if aside := why_no_record(sample):
            job.unfit.append(aside)
    _refuse_clashes(job)
    return job


def gather(job: Job, store: ReplyStore) -> Found:
    """Sort what teachers wrote by whether it may be trained on.

    Of several replies to a request all good questions count, in order, until there are as many as were asked
    for. A question that repeats one about the same picture is set aside; the problems themselves and what
    came earlier win.
    """
    gathering = _Gathering(job, store)
    for (sample_id, kind), task in job.tasks.items():
        gathering.add(gathering.samples[sample_id], kind, task)
    return gathering.found


def summarise(found: Found, job: Job, store: ReplyStore) -> dict[str, Any]:
    """Counts by kind, and what the store's requests used and cost so far."""
    summary: dict[str, Any] = {}
    for kind in ("original", *job.kinds):
        reasons = Counter(each.reason for each in found.aside if each.kind == kind)
        counts: dict[str, Any] = {"problems": len(job.samples)}
        if kind != "original":
            tasks = [task for (_, of), task in job.tasks.items() if of == kind]
            made = (each for questions in found.kept.values() for each in questions)
            asked = sum(store.asked(task.key) for task in tasks)
            counts = {"asked": asked, "left": len(tasks) - asked}
            counts["kept"] = sum(each.meta["synthesized"]["kind"] == kind for each in made)
        summary[kind] = {**counts, "set_aside": dict(sorted(reasons.items()))}
    return {
        **summary,
        "unverified": len(found.unverified),
        **store.usage(),
    }


def _refuse_clashes(job: Job) -> None:
    ids = {sample.id for sample in job.samples}
    for sample in job.samples:
        for kind in job.kinds:
            for number in range(1, job.wanted(kind) + 1):
                if (clash := _question_id(sample, kind, number)) in ids:
                    raise VkitError(
                        f"the problem {clash!r} has the id that the question made from {sample.id!r} gets; "
                        "give it another one, or take out problems that were synthesised"
                    )


class _Gathering:
    """Takes in request by request; what is taken, later questions about its picture must not repeat."""

    def __init__(self, job: Job, store: ReplyStore) -> None:
        self._job, self._store = job, store
        self.found = Found(aside=list(job.unfit))
        self.samples = {sample.id: sample for sample in job.samples}
        self._earlier: dict[str, list[str]] = defaultdict(list)  # questions by picture
        for sample in job.samples:
            self._earlier[job.pictures[sample.id].picture_digest].append(sample.question)

    def add(self, sample: Sample, kind: str, task: Task) -> None:
        """What became of one request."""
        job, found, wanted = self._job, self.found, self._job.wanted(kind)
        outcomes = self._store.outcomes(task.key)
        if not outcomes:
            found.left.append(task)
            return
        replies = [each.text or "" for each in outcomes if each.failure is None]
        drafts = [draft for reply in replies for draft in read_reply(reply)]
        taken = waiting = 0  # waiting: for a verification that failed, which is asked again instead
        for draft in drafts:
            settled: Sample | Fault = Fault("more_than_asked")
            if taken < wanted:
                settled = self._settle(draft, sample, kind, task)
            if isinstance(settled, Fault):
                waiting += settled.reason.startswith(_VERIFICATION)
                aside = Aside(sample.id, kind, settled.reason, settled.detail, draft.question)
                found.aside.append(aside)
                continue
            taken += 1
            self._earlier[task.picture_digest].append(settled.question)
            if job.verify and not self._store.asked(job.verification(settled).key):
                found.unverified.append(job.verification(settled))
            else:
                found.kept[sample.id].append(_finish(settled, job, kind, taken))
        if taken + waiting < wanted:
            found.retryable.append(task)
        if not drafts:
            last = outcomes[-1]
            reason = last.failure or "unreadable_reply"
            found.aside.append(Aside(sample.id, kind, reason, last.detail, last.text))
        elif len(drafts) < wanted:
            detail = f"{len(drafts)} of {wanted} questions"
            found.aside.append(Aside(sample.id, kind, "fewer_than_asked", detail))

    def _settle(self, draft: Draft, sample: Sample, kind: str, task: Task) -> Sample | Fault:
        """A question that passes all that can be told by now, or its fault."""
        settled = settle(draft, sample, kind)
        if isinstance(settled, Fault):
            return settled
        repeated = find_repeated(settled.question, self._earlier[task.picture_digest])
        if repeated is not None:
            return Fault("repeated", f"says what {repeated!r} says")
        return (self._disagreement(settled) if self._job.verify else None) or settled

    def _disagreement(self, question: Sample) -> Fault | None:
        """Why a question is not verified; None where it is, and where the teacher was not asked yet."""
        verification = self._job.verification(question)
        self.found.verifications.append(verification)
        outcomes = self._store.outcomes(verification.key)
        if not outcomes:
            return None
        said = next((each.text or "" for each in outcomes if each.failure is None), None)
        if said is None:
            self.found.retryable.append(verification)
            return Fault(f"{_VERIFICATION}{outcomes[-1].failure}", outcomes[-1].detail)
        answer = answer_within(question)
        if judge(said, answer, question.choices) is True:
            return None
        told = extract(said, question.choices) or "nothing that can be read"
        return Fault("not_verified", f"the teacher answers {told}, not {answer}")


def _finish(question: Sample, job: Job, kind: str, number: int) -> Sample:
    known = {"source": source_of(question), "curation": question.meta.get("curation")}
    meta = {key: value for key, value in known.items() if value}
    origin = {"kind": kind, "from": question.id, "model": job.settings.model, "verified": job.verify}
    return replace(question, id=_question_id(question, kind, number), meta={**meta, "synthesized": origin})


def _question_id(original: Sample, kind: str, number: int) -> str:
    return f"{original.id}-new-{number}" if kind == "new" else f"{original.id}-{kind}"
