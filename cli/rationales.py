"""``vkit rationales``: worked solutions by a teacher, for problems whose answer is known."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vkit.cli.teacher_options import (
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
    from vkit.rationales.job import Job
    from vkit.teacher.asking import Ask
    from vkit.teacher.store import ReplyStore
    from vkit.teacher.task import Task


@click.command("rationales")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="JSON Lines file or Geometry3K folder."
)
@click.option(
    "--kind",
    type=click.Choice(["visual-cot", "diagram-literals", "symbolic-solver"]),
    default="visual-cot",
    show_default=True,
    help="The study's kinds of rationales (section 4.1).",
)
@teacher_options
@click.option("--limit", type=click.IntRange(1), help="Only the first problems.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; continued if there.")
def command(**options: Any) -> None:
    """Have a teacher write worked solutions, check their answers, and keep the good ones to train on.

    The teacher sees the picture, the problem and its right answer (Tey, Figure 3). diagram-literals prepends
    Geometry3K's literals to what visual-cot says; symbolic-solver asks for equations in brackets beside it.

    \b
    vkit rationales --data geometry3k/train --model gpt-4o --price-in 2.5 --price-out 10 \\
        --estimate --out rationales
    vkit rationales --data geometry3k/train --model gpt-4o --price-in 2.5 --price-out 10 \\
        --max-cost 25 --out rationales
    vkit rationales --data problems.jsonl --base-url http://localhost:8000/v1 --model qwen --out rationales
    vkit rationales --data problems.jsonl --teacher checkpoints/TinyLLaVA-3.1B --out rationales

    OUT gets store.jsonl (all that was ever asked and paid for; keep it), rationales.jsonl with images/ (for
    vkit train-sft), and set-aside.jsonl (wrong or unreadable answers, and failures by name). A stopped run
    goes on where it was; a kill loses only the requests under way. A summary goes to stdout as JSON.
    """
    check_teacher(options)
    job, ask = _job(options)

    def estimate(store: ReplyStore | None) -> None:
        tasks = job.tasks if store is None else _pending(job, store, options)
        click.echo(json.dumps(estimated(options, tasks, job.settings, store), indent=2))

    estimate_or_run(options, estimate, lambda store: _run(options, job, store, ask))


def _run(options: dict[str, Any], job: Job, store: ReplyStore, ask: Ask | None) -> None:
    """Take in, write out or ask, as the options say; then make OUT's files from the store."""
    from vkit.rationales.output import (
        gather,
        put_other_kinds_aside,
        summarise,
        write_rationales,
    )

    done = consult(options, job.tasks, lambda: _pending(job, store, options), job.settings, store, ask)
    found = gather(job, store)
    if (aside := put_other_kinds_aside(options["out"], job.kind)) is not None:
        click.echo(f"the rationales that were there are of another kind; they are in {aside} now", err=True)
    write_rationales(options["out"], found, job)
    if done.refusal is not None:
        raise done.refusal  # what came before it is written all the same
    summary = {"kind": job.kind, "model": job.settings.model, **done.report()}
    click.echo(json.dumps({**summary, **summarise(found, store), "stopped": done.stopped}, indent=2))
    out = options["out"]
    say_made(f"{len(found.good)} rationales in {out / 'rationales.jsonl'}", found, out)
    say_stopped(done.stopped, out)


def _pending(job: Job, store: ReplyStore, options: dict[str, Any]) -> list[Task]:
    from vkit.rationales.output import gather

    found = gather(job, store)
    return [*found.left, *(found.retryable if options["retry_failures"] else [])]


def _job(options: dict[str, Any]) -> tuple[Job, Ask | None]:
    """What is to be asked, and what asks it; nothing does where only files are read or written."""
    from tqdm import tqdm

    from vkit.errors import VkitError
    from vkit.rationales.job import prepare
    from vkit.records import only_good
    from vkit.sources.opening import scan

    samples = list(islice(only_good(scan(options["data"])), options["limit"]))
    settings, ask = make_teacher(options)
    reading = tqdm(samples, desc="reading", unit=" problems", delay=2, leave=False)
    job = prepare(reading, options["kind"], settings)
    if not job.tasks:
        first = job.unfit[0]
        raise VkitError(
            f"none of the {len(samples)} problems of {options['data']} can be asked, the first "
            f"({first.sample.id!r}) because of {' '.join((first.reason, first.detail)).strip()}; every "
            "problem needs its answer, and for diagram-literals its literals"
        )
    return job, ask
