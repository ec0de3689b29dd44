"""``vkit curate``: Math-LLaVA's recipe, from a pool of problems to conversations to train on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vkit.cli import curate_questions
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
    from vkit.curate.labelling import Job
    from vkit.curate.labels import Label
    from vkit.records import Sample
    from vkit.teacher.asking import Ask
    from vkit.teacher.store import ReplyStore
    from vkit.teacher.task import Task

_POOL = click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Problems with pictures: samples, a benchmark's release, or LLaVA's conversations.",
)
_LABELS = click.option(
    "--labels",
    "labels_file",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV with id or image, clarity and complexity.",
)
_SEED = click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn by lot.")


@click.group("curate")
def command() -> None:
    """Choose pictures to learn from, and have more questions made of them: Math-LLaVA's recipe.

    \b
    vkit curate label --data pool.jsonl --model gpt-4o --price-in 2.5 --price-out 10 --sample 10000 \\
        --out labels
    vkit curate classify --data pool.jsonl --labels labels/labels.csv --out all
    vkit curate select --data pool.jsonl --labels all/labels.csv --out selected
    vkit curate questions --data selected/selected.jsonl --model gpt-4o --price-in 2.5 --price-out 10 \\
        --out mathv
    vkit train-sft --model checkpoints/llava --recipe math-llava --data mathv/conversations.jsonl \\
        --out runs/math-llava

    Shi et al. 2024, section 3: pictures are labelled for clarity (0 or 1) and comprehension complexity (0 to
    3) by a teacher, or by a CSV of yours; a small classifier learns the labels and gives them to the rest;
    clear pictures are selected with complexities as 2:3:4:1.
    """


command.add_command(curate_questions.command)


@command.command()
@_POOL
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="So many pictures, drawn.  [default: all]"
)
@_SEED
@teacher_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; continued if there.")
def label(**options: Any) -> None:
    """Have a teacher label pictures: clarity 0 or 1, and comprehension complexity 0 to 3.

    Each distinct picture is asked about once, without its questions. The same --seed with a larger --sample
    asks for the new pictures only.

    \b
    vkit curate label --data pool.jsonl --model gpt-4o --price-in 2.5 --price-out 10 --max-tokens 64 \\
        --sample 10000 --estimate --out labels
    vkit curate label --data pool.jsonl --model gpt-4o --price-in 2.5 --price-out 10 --max-tokens 64 \\
        --sample 10000 --max-cost 30 --out labels
    vkit curate label --data pool.jsonl --teacher Qwen/Qwen2.5-VL-7B-Instruct --sample 2000 --out labels

    OUT gets store.jsonl (all that was ever asked and paid for; keep it), labels.csv (a row for each problem
    whose picture is labelled), and set-aside.jsonl. A stopped run goes on where it was. A summary goes to
    stdout as JSON.
    """
    check_teacher(options)
    pool, digests, job, ask = _labelling(options)

    def estimate(store: ReplyStore | None) -> None:
        tasks = list(job.tasks.values()) if store is None else _pending(job, store, options)
        click.echo(json.dumps(estimated(options, tasks, job.settings, store), indent=2))

    estimate_or_run(options, estimate, lambda store: _label(options, pool, digests, job, store, ask))


@command.command()
@_POOL
@_LABELS
@click.option(
    "--vision",
    default="google/siglip-base-patch16-224",
    show_default=True,
    metavar="NAME",
    help="Frozen image encoder: a hub id, a folder, or 'tiny', which needs no network.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
@_SEED
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; features are kept.")
def classify(data: Path, labels_file: Path, vision: str, device: str, seed: int, out: Path) -> None:
    """Learn labels from those given, on frozen features, and label all other pictures.

    Two linear classifiers, of clarity and of complexity. Labels that are given stay as they are. The report
    has each classifier's accuracy on pictures held out, with its 95% interval, beside always saying the
    commonest class; one that does not beat that is told.

    \b
    vkit curate classify --data pool.jsonl --labels labels/labels.csv --out all
    vkit curate classify --data pool.jsonl --labels mine.csv --vision facebook/dinov2-base --out all

    OUT gets labels.csv (a row for each problem), report.json, which also goes to stdout, and features/.
    """
    from vkit.curate.classifier import classify as learn
    from vkit.curate.classifier import picture_features, refuse_few
    from vkit.curate.labels import write_labels
    from vkit.curate.pool import refuse_overwriting
    from vkit.jsonl import write_json

    refuse_overwriting(labels_file, out / "labels.csv")
    pool, digests = _read_pool(data)
    known = _read_labels(labels_file, pool, digests)
    refuse_few(known)  # before any picture is encoded
    say = partial(click.echo, err=True)
    distinct, features = picture_features(pool, digests, vision, out / "features", device=device, say=say)
    click.echo(f"learning from {len(known)} labels", err=True)
    labels, found = learn(distinct, features, known, seed=seed)
    report = {"vision": vision, "problems": len(pool), **found}
    write_labels(out / "labels.csv", pool, digests, labels)
    write_json(out / "report.json", report)
    click.echo(json.dumps(report, indent=2))
    for name in ("clarity", "complexity"):
        click.echo(_trust(name, report[name]), err=True)
    click.echo(f"{report['pictures']} pictures labelled in {out / 'labels.csv'}", err=True)


@command.command()
@_POOL
@_LABELS
@click.option("--ratio", default="2:3:4:1", show_default=True, help="Of complexities 0, 1, 2 and 3.")
@click.option(
    "--total", type=click.IntRange(1), help="Pictures.  [default: all that the ratio allows]", metavar="N"
)
@click.option("--all-questions", is_flag=True, help="Keep all problems of a picture.  [default: one, drawn]")
@_SEED
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
def select(
    data: Path,
    labels_file: Path,
    ratio: str,
    total: int | None,
    all_questions: bool,
    seed: int,
    out: Path,
) -> None:
    """Choose clear pictures, their complexities in a ratio, spread evenly over their sources.

    Without --total all pictures of the class that is rarest for its share are taken, and of the others what
    the ratio then says. A problem's source is its meta's source or dataset, else its picture's folder. What
    is drawn hangs on the pictures and the seed, not on the order of the file.

    \b
    vkit curate select --data pool.jsonl --labels all/labels.csv --out selected
    vkit curate select --data pool.jsonl --labels mine.csv --ratio 1:1:1:0 --total 3000 --out selected

    OUT gets selected.jsonl with images/, and report.json, which also goes to stdout.
    """
    from vkit.curate.pool import refuse_overwriting
    from vkit.curate.selection import parse_ratio, write_selection
    from vkit.curate.selection import select as choose

    weights = parse_ratio(ratio)
    refuse_overwriting(data, out / "selected.jsonl")
    pool, digests = _read_pool(data)
    labels = _read_labels(labels_file, pool, digests)
    chosen = choose(pool, digests, labels, weights, total=total, seed=seed, all_questions=all_questions)
    write_selection(out, chosen, progress=True)
    report = chosen.report
    click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    click.echo(
        f"{report['selected']['pictures']} of {report['clear']} clear pictures and"
        f" {report['selected']['problems']} problems in {out / 'selected.jsonl'};"
        f" {report['unclear']} pictures are unclear, {report['unlabelled']} have no label",
        err=True,
    )


def _read_pool(data: Path) -> tuple[list[Sample], list[str]]:
    """The pool, and the digests of its pictures, which are read for that."""
    from vkit.curate.pool import read_pool
    from vkit.train.feature_work import picture_digests, progress_bars

    pool = read_pool(data)
    return pool, picture_digests(pool, progress_bars(True))


def _read_labels(path: Path, pool: Sequence[Sample], digests: Sequence[str]) -> dict[str, Label]:
    from vkit.curate.labels import read_labels

    labels, notes = read_labels(path, pool, digests)
    for note in notes:
        click.echo(note, err=True)
    return labels


def _trust(name: str, report: dict[str, Any]) -> str:
    """How well a classifier's labels can be trusted, in a line."""
    if "constant" in report:
        return f"{name}: every label says {report['constant']}, so all pictures are taken as that"
    accuracy, majority = report["accuracy"], report["majority"]
    line = f"{name}: right for {accuracy['value']:.1%} of pictures held out"
    line += f" ({accuracy['low']:.1%} to {accuracy['high']:.1%}), always saying {majority['class']}"
    line += f" for {majority['accuracy']:.1%}"
    return line if report["beats_majority"] else f"{line}; that is not beaten, label more pictures"


def _labelling(options: dict[str, Any]) -> tuple[list[Sample], list[str], Job, Ask | None]:
    """What is to be asked, and what asks it."""
    from tqdm import tqdm

    from vkit.curate.labelling import chosen_pictures, prepare
    from vkit.curate.pool import by_picture
    from vkit.errors import VkitError

    pool, digests = _read_pool(options["data"])
    settings, ask = make_teacher(options)
    problems = by_picture(pool, digests)
    chosen = chosen_pictures(digests, options["sample"], options["seed"])
    reading = tqdm(chosen, desc="reading", unit=" pictures", delay=2, leave=False)
    job = prepare(((digest, problems[digest][0]) for digest in reading), settings)
    if not job.tasks:
        first = next(iter(job.unfit.values()))
        raise VkitError(
            f"none of the {len(chosen)} pictures of {options['data']} can be asked about: {first.detail}"
        )
    return pool, digests, job, ask


def _pending(job: Job, store: ReplyStore, options: dict[str, Any]) -> list[Task]:
    from vkit.curate.labelling import gather

    found = gather(job, store)
    return [*found.left, *(found.retryable if options["retry_failures"] else [])]


def _label(
    options: dict[str, Any],
    pool: Sequence[Sample],
    digests: Sequence[str],
    job: Job,
    store: ReplyStore,
    ask: Ask | None,
) -> None:
    """Take in, write out or ask, as the options say; then make OUT's files from the store."""
    from vkit.curate.labelling import gather, summarise, write_found

    tasks = list(job.tasks.values())
    done = consult(options, tasks, lambda: _pending(job, store, options), job.settings, store, ask)
    found = gather(job, store)
    write_found(options["out"], found, pool, digests)
    if done.refusal is not None:
        raise done.refusal  # what came before it is written all the same
    summary = {"model": job.settings.model, **done.report(), **summarise(found, store)}
    click.echo(json.dumps({**summary, "stopped": done.stopped}, indent=2))
    out = options["out"]
    say_made(f"{len(found.labels)} pictures labelled in {out / 'labels.csv'}", found, out)
    say_stopped(done.stopped, out)
