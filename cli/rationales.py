"""``vkit rationales``: worked solutions by a teacher, for problems whose answer is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from vkit.rationales.generate import Ask
    from vkit.rationales.outcome import Outcome
    from vkit.rationales.output import Found
    from vkit.rationales.store import Prices, RationaleStore
    from vkit.rationales.tasks import Job, Settings, Task

# Options of one kind of teacher only.
_TEACHER = {"device", "batch_size"}
_ENDPOINT = {"base_url", "key_variable", "temperature", "limit_parameter", "concurrency", "max_retries"}
_ENDPOINT |= {"timeout_s", "price_in", "price_out", "image_tokens", "estimate_only", "max_cost"}
_ENDPOINT |= {"export_batch", "imports"}


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
@click.option("--model", metavar="NAME", help="The teacher's name at the endpoint.")
@click.option(
    "--base-url",
    metavar="URL",
    help="The endpoint.  [default: OPENAI_BASE_URL, or https://api.openai.com/v1]",
)
@click.option(
    "--api-key-env",
    "key_variable",
    metavar="NAME",
    default="OPENAI_API_KEY",
    show_default=True,
    help="The environment variable that holds the key.",
)
@click.option(
    "--teacher", metavar="FOLDER|tiny", help="A model on this machine instead: a folder, a hub id, or 'tiny'."
)
@click.option("--device", default="auto", show_default=True, help="Of --teacher: auto, cpu, cuda, cuda:N.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Of --teacher, in problems."
)
@click.option("--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Of an answer.")
@click.option("--temperature", type=click.FloatRange(0), help="[default: the endpoint's]")
@click.option(
    "--limit-parameter",
    type=click.Choice(["max_completion_tokens", "max_tokens"]),
    default="max_completion_tokens",
    show_default=True,
    help="What the endpoint calls --max-tokens.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 512), default=8, show_default=True, help="Requests under way."
)
@click.option(
    "--max-retries",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Of a request that fails for a passing reason.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds that the endpoint may be silent.",
)
@click.option("--price-in", type=click.FloatRange(0), help="US dollars for a million tokens of input.")
@click.option("--price-out", type=click.FloatRange(0), help="US dollars for a million tokens of output.")
@click.option(
    "--image-tokens", type=click.IntRange(0), help="What a picture counts.  [default: as GPT-4o counts]"
)
@click.option("--estimate", "estimate_only", is_flag=True, help="Say what it would cost, ask nothing.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="USD", help="Of all that OUT holds; then stop.")
@click.option("--limit", type=click.IntRange(1), help="Only the first problems.")
@click.option("--retry-failures", is_flag=True, help="Ask again for what was set aside.")
@click.option(
    "--export-batch",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the requests for the Batch API instead of asking.",
)
@click.option(
    "--import-batch",
    "imports",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="Take in a batch's output or error file; may be repeated.",
)
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
    _check_usage(options)
    from vkit.rationales.store import RationaleStore

    prices = _prices(options)
    job, ask = _job(options)
    store_file = options["out"] / "store.jsonl"
    if options["estimate_only"] and not store_file.exists():  # an estimate makes no folder
        _estimate(options, job, None, prices)
        return
    options["out"].mkdir(parents=True, exist_ok=True)
    with RationaleStore(store_file, prices) as store:
        if options["estimate_only"]:
            _estimate(options, job, store, prices)
        else:
            _run(options, job, store, ask)


def _estimate(options: dict[str, Any], job: Job, store: RationaleStore | None, prices: Prices | None) -> None:
    from vkit.rationales.estimate import estimate

    tasks = job.tasks if store is None else _pending(job, store, options)
    click.echo(json.dumps(estimate(tasks, job.settings, prices, store), indent=2))


def _run(options: dict[str, Any], job: Job, store: RationaleStore, ask: Ask | None) -> None:
    """Take in, write out or ask, as the options say; then make OUT's files from the store."""
    from vkit.errors import VkitError
    from vkit.rationales.batch import export_batch, import_batch
    from vkit.rationales.output import gather, summarise, write_rationales

    for path in options["imports"]:
        counts = import_batch(path, job, store)
        click.echo(f"{path}: " + ", ".join(f"{count} {name}" for name, count in counts.items()), err=True)
    summary: dict[str, Any] = {"kind": job.kind, "model": job.settings.model}
    pending = _pending(job, store, options)
    stopped = refusal = None
    if (file := options["export_batch"]) is not None:
        paths = export_batch(pending, job.settings, file, limit_parameter=options["limit_parameter"])
        summary["exported"] = [str(path) for path in paths]
        click.echo(
            f"upload {', '.join(summary['exported'])} to the Batch API, and give what comes back to "
            "--import-batch; until then do not ask for these problems live, they would be paid twice",
            err=True,
        )
    elif ask is not None and pending:
        try:
            stopped = _ask(options, pending, ask, store)
        except VkitError as error:
            refusal = error  # what came before it is written all the same
    found = gather(job, store)
    write_rationales(options["out"], found, job)
    if refusal is not None:
        raise refusal
    summary |= {**summarise(found, store), "stopped": stopped}
    click.echo(json.dumps(summary, indent=2))
    _tell(found, stopped, options["out"])


def _pending(job: Job, store: RationaleStore, options: dict[str, Any]) -> list[Task]:
    from vkit.rationales.output import gather

    found = gather(job, store)
    return [*found.left, *(found.retryable if options["retry_failures"] else [])]


def _ask(options: dict[str, Any], pending: Sequence[Task], ask: Ask, store: RationaleStore) -> str | None:
    """Ask for what is pending under a progress bar; returns why it stopped early, if it did."""
    from tqdm import tqdm

    from vkit.rationales.generate import generate

    local = options["teacher"] is not None
    failures = 0
    with tqdm(total=len({task.key for task in pending}), unit=" requests", delay=1) as bar:

        def show(outcomes: Sequence[Outcome]) -> None:
            nonlocal failures
            failures += sum(outcome.failure is not None for outcome in outcomes)
            cost = "" if store.cost_usd is None else f"${store.cost_usd:.2f}, "
            bar.set_postfix_str(f"{cost}{failures} failed", refresh=False)
            bar.update(len(outcomes))

        def wait(in_flight: int) -> None:
            line = f"waiting for {in_flight} requests under way; Ctrl-C again leaves them"
            tqdm.write(line, file=sys.stderr)

        try:
            return generate(
                pending,
                ask,
                store,
                max_tokens=options["max_tokens"],
                concurrency=1 if local else options["concurrency"],
                batch_size=options["batch_size"] if local else 1,
                max_cost_usd=options["max_cost"],
                on_outcomes=show,
                on_interrupt=wait,
            )
        except KeyboardInterrupt:
            return "interrupted"


def _tell(found: Found, stopped: str | None, out: Path) -> None:
    aside = f", {len(found.aside)} set aside" if found.aside else ""
    left = f", {len(found.left)} left" if found.left else ""
    click.echo(f"{len(found.good)} rationales in {out / 'rationales.jsonl'}{aside}{left}", err=True)
    if found.retryable:
        click.echo(
            f"{out / 'set-aside.jsonl'} says why; --retry-failures asks again for {len(found.retryable)}",
            err=True,
        )
    if stopped == "max_cost":
        click.echo("stopped before --max-cost would be passed; a higher one goes on from here", err=True)
    if stopped == "interrupted":
        click.echo(f"stopped; all that came is kept in {out}, the same command goes on from there", err=True)
        raise click.exceptions.Exit(130)


def _check_usage(options: dict[str, Any]) -> None:
    """Refuse options that do not go together."""
    context = click.get_current_context()
    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if ("model" in given) == ("teacher" in given):
        raise click.UsageError("give --model NAME for an endpoint, or --teacher for a model on this machine")
    for parameter in context.command.params:
        if parameter.name in given and parameter.name in (_TEACHER if "model" in given else _ENDPOINT):
            whose = "a model on this machine" if "model" in given else "an endpoint"
            raise click.UsageError(f"{parameter.opts[0]} is an option of {whose}; leave it out here")
    if (options["price_in"] is None) != (options["price_out"] is None):
        raise click.UsageError("give both --price-in and --price-out, or neither")
    if options["max_cost"] is not None and options["price_in"] is None:
        raise click.UsageError("--max-cost needs --price-in and --price-out")
    modes = [name for name in ("estimate_only", "export_batch", "imports") if name in given]
    if len(modes) > 1:
        raise click.UsageError("give one of --estimate, --export-batch and --import-batch")


def _prices(options: dict[str, Any]) -> Prices | None:
    from vkit.rationales.store import Prices

    return None if options["price_in"] is None else Prices(options["price_in"], options["price_out"])


def _job(options: dict[str, Any]) -> tuple[Job, Ask | None]:
    """What is to be asked, and what asks it; nothing does where only files are read or written."""
    from tqdm import tqdm

    from vkit.errors import VkitError
    from vkit.rationales.tasks import prepare
    from vkit.records import only_good
    from vkit.sources.opening import scan

    samples = list(islice(only_good(scan(options["data"])), options["limit"]))
    settings, ask = _teacher(options)
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


def _teacher(options: dict[str, Any]) -> tuple[Settings, Ask | None]:
    """How the teacher is asked, and what asks it."""
    from vkit.rationales.tasks import Settings

    settings = Settings(
        options["model"] or options["teacher"],
        max_tokens=options["max_tokens"],
        temperature=options["temperature"],
        image_tokens=options["image_tokens"],
    )
    if options["teacher"] is not None:
        from vkit.rationales.local import LocalTeacher

        local = LocalTeacher(options["teacher"], settings, device=options["device"])
        return local.settings, local.ask
    if options["estimate_only"] or options["export_batch"] is not None or options["imports"]:
        return settings, None
    from vkit.rationales.client import ApiTeacher

    teacher = ApiTeacher(
        settings,
        base_url=options["base_url"],
        key_variable=options["key_variable"],
        limit_parameter=options["limit_parameter"],
        max_retries=options["max_retries"],
        timeout_s=options["timeout_s"],
    )
    return settings, teacher.ask
