"""``vkit curate questions``: four kinds of questions made from problems by a teacher, as LLaVA's records."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vkit.cli.teacher_options import (
    Consultation,
    check_teacher,
    consult,
    estimate_or_run,
    estimated,
    make_teacher,
    say_made,
    say_stopped,
    teacher_options,
)

if TYPE_CHECKING:
    from vkit.curate.question_job import Job
    from vkit.teacher.asking import Ask
    from vkit.teacher.store import ReplyStore
    from vkit.teacher.task import Task


@click.command("questions")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Problems with pictures, such as selected.jsonl of vkit curate select.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["new", "complex", "rephrased", "underspecified"]),
    multiple=True,
    help="What is made from each problem; may be repeated.  [default: all four]",
)
@click.option(
    "--new",
    "count",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="N",
    help="New questions for a problem, asked for at once.",
)
@click.option(
    "--demonstrations",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    metavar="N",
    help="Problems of the same source shown as examples for new questions.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Keep a question only if the teacher, not told the answer, finds it from the picture.",
)
@teacher_options
@click.option("--limit", type=click.IntRange(1), help="Only the first problems.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; continued if there.")
def command(**options: Any) -> None:
    """Have a teacher make questions from problems, check them, and write all as conversations to train on.

    Math-LLaVA's recipe: for each problem five new questions about its picture, one that is more complex, the
    problem in other words, and the problem with less in its text (Shi et al. 2024, section 3). What is
    malformed, repeats another question about the picture, or changes what it must keep is set aside by name.

    \b
    vkit curate questions --data selected/selected.jsonl --model gpt-4o --price-in 2.5 --price-out 10 \\
        --estimate --out mathv
    vkit curate questions --data selected/selected.jsonl --model gpt-4o --price-in 2.5 --price-out 10 \\
        --verify --max-cost 50 --out mathv
    vkit train-sft --model checkpoints/llava --recipe math-llava --data mathv/conversations.jsonl \\
        --out runs/math-llava

    OUT gets store.jsonl (all that was ever asked and paid for; keep it), conversations.jsonl with images/
    (the problems and what was made from them, in LLaVA's format), synthesized.jsonl (what was made, as
    problems), and set-aside.jsonl. A stopped run goes on where it was; a kill loses only the requests under
    way. With the Batch API, --verify takes a second batch. A summary goes to stdout as JSON.
    """
    check_teacher(options)
    from vkit.curate.pool import refuse_overwriting

    for name in ("conversations.jsonl", "synthesized.jsonl"):
        refuse_overwriting(options["data"], options["out"] / name)
    job, ask = _job(options)
    estimate_or_run(
        options,
        lambda store: _estimate(options, job, store),
        lambda store: _run(options, job, store, ask),
    )


def _estimate(options: dict[str, Any], job: Job, store: ReplyStore | None) -> None:
    tasks = list(job.tasks.values()) if store is None else _pending(job, store, options)
    found = estimated(options, tasks, job.settings, store)
    if job.verify:
        first = {task.key for task in tasks}
        questions = sum(job.wanted(kind) for (_, kind), task in job.tasks.items() if task.key in first)
        found["verification_requests_on_top"] = questions
        click.echo(
            f"on top, --verify asks about each question that passes the checks: {questions} if all do, "
            "more where replies hold spare ones for those that fail; --max-cost covers both",
            err=True,
        )
    click.echo(json.dumps(found, indent=2))


def _run(options: dict[str, Any], job: Job, store: ReplyStore, ask: Ask | None) -> None:
    """Take in, write out or ask, as the options say; then make OUT's files from the store."""
    from vkit.curate.question_job import gather, summarise
    from vkit.curate.records import write_questions

    done = _consult(options, job, store, ask)
    found = gather(job, store)
    problems = (
        (sample, job.pictures[sample.id].picture_digest, found.kept[sample.id]) for sample in job.samples
    )
    conversations = write_questions(options["out"], problems, found.aside)
    if done.refusal is not None:
        raise done.refusal  # what came before it is written all the same
    summary = {"model": job.settings.model, **done.report(), "conversations": conversations}
    if done.stopped:
        summary["stopped"] = done.stopped
    click.echo(json.dumps({**summary, **summarise(found, job, store)}, indent=2))
    out, kept = options["out"], sum(len(questions) for questions in found.kept.values())
    words = f"{conversations} conversations in {out / 'conversations.jsonl'}, {kept} of them made"
    unverified = f", {len(found.unverified)} to be verified" if found.unverified else ""
    say_made(words + unverified, found, out)
    say_stopped(done.stopped, out)


def _consult(options: dict[str, Any], job: Job, store: ReplyStore, ask: Ask | None) -> Consultation:
    """Ask for questions, and have them verified as long as new ones come."""
    from vkit.curate.question_job import gather

    tasks = list(job.tasks.values())
    if options["imports"]:  # a batch may answer verifications
        tasks += gather(job, store).verifications
    done = consult(options, tasks, lambda: _pending(job, store, options), job.settings, store, ask)
    while ask is not None and done.stopped is None and done.refusal is None:
        unverified = gather(job, store).unverified
        if not unverified:
            break
        done = consult(options, unverified, lambda: unverified, job.settings, store, ask)  # noqa: B023
    return done


def _pending(job: Job, store: ReplyStore, options: dict[str, Any]) -> list[Task]:
    from vkit.curate.question_job import gather

    found = gather(job, store)
    return [*found.left, *found.unverified, *(found.retryable if options["retry_failures"] else [])]


def _job(options: dict[str, Any]) -> tuple[Job, Ask | None]:
    """What is to be asked, and what asks it; nothing does where only files are read or written."""
    from tqdm import tqdm

    from vkit.curate.demonstrations import Demonstrations
    from vkit.curate.pool import read_pool, source_of
    from vkit.curate.question_job import prepare
    from vkit.curate.questions import KINDS
    from vkit.errors import VkitError

    pool = read_pool(options["data"])
    demonstrations = Demonstrations(pool, options["demonstrations"], source_of)  # of all, whatever the limit
    settings, ask = make_teacher(options)
    samples = list(islice(pool, options["limit"]))
    reading = tqdm(samples, desc="reading", unit=" problems", delay=2, leave=False)
    job = prepare(
        reading,
        settings,
        demonstrations,
        kinds=options["kinds"] or KINDS,
        count=options["count"],
        verify=options["verify"],
    )
    if not job.tasks:
        first = job.unfit[0]
        raise VkitError(
            f"none of the {len(samples)} problems of {options['data']} can be asked, the first "
            f"({first.id!r}) because of {' '.join((first.reason, first.detail)).strip()}; every problem "
            "needs its picture, and to be rephrased or shortened its question and answer"
        )
    return job, ask
