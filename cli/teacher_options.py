"""The options of the commands that ask a teacher, and what is done with them.

``vkit rationales`` and ``vkit curate`` ask an OpenAI-compatible endpoint or a model on this machine alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from vkit.errors import VkitError
    from vkit.teacher.asking import Ask
    from vkit.teacher.outcome import Outcome
    from vkit.teacher.store import Prices, ReplyStore
    from vkit.teacher.task import Settings, Task

# Options of one kind of teacher only.
_TEACHER = {"device", "batch_size"}
_ENDPOINT = {"base_url", "key_variable", "temperature", "limit_parameter", "concurrency", "max_retries"}
_ENDPOINT |= {"timeout_s", "price_in", "price_out", "image_tokens", "estimate_only", "max_cost"}
_ENDPOINT |= {"export_batch", "imports"}


def teacher_options(function: Callable[..., None]) -> Callable[..., None]:
    """Which teacher, how it is asked, and what that may cost."""
    options = [
        click.option("--model", metavar="NAME", help="The teacher's name at the endpoint."),
        click.option(
            "--base-url",
            metavar="URL",
            help="The endpoint.  [default: OPENAI_BASE_URL, or https://api.openai.com/v1]",
        ),
        click.option(
            "--api-key-env",
            "key_variable",
            metavar="NAME",
            default="OPENAI_API_KEY",
            show_default=True,
            help="The environment variable that holds the key.",
        ),
        click.option(
            "--teacher",
            metavar="FOLDER|tiny",
            help="A model on this machine instead: a folder, a hub id, or 'tiny'.",
        ),
        click.option(
            "--device", default="auto", show_default=True, help="Of --teacher: auto, cpu, cuda, cuda:N."
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Of --teacher, in problems.",
        ),
        click.option(
            "--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Of an answer."
        ),
        click.option("--temperature", type=click.FloatRange(0), help="[default: the endpoint's]"),
        click.option(
            "--limit-parameter",
            type=click.Choice(["max_completion_tokens", "max_tokens"]),
            default="max_completion_tokens",
            show_default=True,
            help="What the endpoint calls --max-tokens.",
        ),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 512),
            default=8,
            show_default=True,
            help="Requests under way.",
        ),
        click.option(
            "--max-retries",
            type=click.IntRange(0),
            default=5,
            show_default=True,
            help="Of a request that fails for a passing reason.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(0, min_open=True),
            default=120.0,
            show_default=True,
            help="Seconds that the endpoint may be silent.",
        ),
        click.option(
            "--price-in", type=click.FloatRange(0), help="US dollars for a million tokens of input."
        ),
        click.option(
            "--price-out", type=click.FloatRange(0), help="US dollars for a million tokens of output."
        ),
        click.option(
            "--image-tokens",
            type=click.IntRange(0),
            help="What a picture counts.  [default: as GPT-4o counts]",
        ),
        click.option(
            "--estimate", "estimate_only", is_flag=True, help="Say what it would cost, ask nothing."
        ),
        click.option(
            "--max-cost", type=click.FloatRange(0), metavar="USD", help="Of all that OUT holds; then stop."
        ),
        click.option("--retry-failures", is_flag=True, help="Ask again for what was set aside."),
        click.option(
            "--export-batch",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Write the requests for the Batch API instead of asking.",
        ),
        click.option(
            "--import-batch",
            "imports",
            type=click.Path(path_type=Path),
            metavar="FILE",
            multiple=True,
            help="Take in a batch's output or error file; may be repeated.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def check_teacher(options: dict[str, Any]) -> None:
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


def prices_of(options: dict[str, Any]) -> Prices | None:
    """What tokens cost, None where it was not said."""
    from vkit.teacher.store import Prices

    return Prices.of(options["price_in"], options["price_out"])


def make_teacher(options: dict[str, Any]) -> tuple[Settings, Ask | None]:
    """How the teacher is asked, and what asks it."""
    from vkit.teacher.task import Settings

    settings = Settings(
        options["model"] or options["teacher"],
        max_tokens=options["max_tokens"],
        temperature=options["temperature"],
        image_tokens=options["image_tokens"],
    )
    if options["teacher"] is not None:
        from vkit.teacher.local import LocalTeacher

        local = LocalTeacher(options["teacher"], settings, device=options["device"])
        return local.settings, local.ask
    if options["estimate_only"] or options["export_batch"] is not None or options["imports"]:
        return settings, None
    from vkit.teacher.client import ApiTeacher

    teacher = ApiTeacher(
        settings,
        base_url=options["base_url"],
        key_variable=options["key_variable"],
        limit_parameter=options["limit_parameter"],
        max_retries=options["max_retries"],
        timeout_s=options["timeout_s"],
    )
    return settings, teacher.ask


def estimate_or_run(
    options: dict[str, Any],
    estimate: Callable[[ReplyStore | None], None],
    run: Callable[[ReplyStore], None],
) -> None:
    """Say what asking would cost, or ask, with the store in OUT; an estimate makes no folder."""
    from vkit.teacher.store import ReplyStore

    store_file = options["out"] / "store.jsonl"
    if options["estimate_only"] and not store_file.exists():
        estimate(None)
        return
    options["out"].mkdir(parents=True, exist_ok=True)
    with ReplyStore(store_file, prices_of(options)) as store:
        if options["estimate_only"]:
            estimate(store)
        else:
            run(store)


def estimated(
    options: dict[str, Any], tasks: Sequence[Task], settings: Settings, store: ReplyStore | None
) -> dict[str, Any]:
    """What asking for tasks would cost."""
    from vkit.teacher.estimate import estimate

    return estimate(tasks, settings, prices_of(options), store)


@dataclass
class Consultation:
    """What became of asking.

    exported: files for the Batch API. stopped: why not all was asked: max_cost or interrupted.
    refusal: what ended it; all that came before is in the store.
    """

    exported: list[Path] = field(default_factory=list)
    stopped: str | None = None
    refusal: VkitError | None = None

    def report(self) -> dict[str, Any]:
        return {"exported": [str(path) for path in self.exported]} if self.exported else {}


def consult(
    options: dict[str, Any],
    tasks: Sequence[Task],
    pending: Callable[[], Sequence[Task]],
    settings: Settings,
    store: ReplyStore,
    ask: Ask | None,
) -> Consultation:
    """Take in, write out or ask, as the options say.

    Args:
        tasks: all of them; pending: those without a reply, once batches are taken in.
    """
    from vkit.errors import VkitError
    from vkit.teacher.batch import export_batch, import_batch

    done = Consultation()
    for path in options["imports"]:
        counts = import_batch(path, tasks, settings, store)
        click.echo(f"{path}: " + ", ".join(f"{count} {name}" for name, count in counts.items()), err=True)
    left = pending()
    if (file := options["export_batch"]) is not None:
        done.exported = export_batch(left, settings, file, limit_parameter=options["limit_parameter"])
        click.echo(
            f"upload {', '.join(map(str, done.exported))} to the Batch API, and give what comes back to "
            "--import-batch; until then do not ask for these problems live, they would be paid twice",
            err=True,
        )
    elif ask is not None and left:
        try:
            done.stopped = _ask_pending(options, left, ask, store)
        except VkitError as error:
            done.refusal = error
    return done


def say_made(words: str, found: Any, out: Path) -> None:
    """What was made, what was set aside, left and may be asked again, on stderr."""
    aside = f", {len(found.aside)} set aside" if found.aside else ""
    left = f", {len(found.left)} left" if found.left else ""
    click.echo(f"{words}{aside}{left}", err=True)
    if found.retryable:
        click.echo(
            f"{out / 'set-aside.jsonl'} says why; --retry-failures asks again for {len(found.retryable)}",
            err=True,
        )


def say_stopped(stopped: str | None, out: Path) -> None:
    """Why not all was asked, on stderr; an interrupt exits with 130."""
    if stopped == "max_cost":
        click.echo("stopped before --max-cost would be passed; a higher one goes on from here", err=True)
    if stopped == "interrupted":
        click.echo(f"stopped; all that came is kept in {out}, the same command goes on from there", err=True)
        raise click.exceptions.Exit(130)


def _ask_pending(options: dict[str, Any], pending: Sequence[Task], ask: Ask, store: ReplyStore) -> str | None:
    """Ask for what is pending under a progress bar; returns why it stopped early, if it did."""
    from tqdm import tqdm

    from vkit.teacher.asking import ask_all

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
            return ask_all(
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
