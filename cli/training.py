"""What the training commands share: options, settings, plans, one voice of several processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vkit.cli.model_options import DEVICE
from vkit.cli.one_voice import in_one_voice

if TYPE_CHECKING:
    from vkit.models.processes import Processes


def training_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every training command."""
    options = [
        click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings."),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of the recipe; may be repeated, and overrules --config.",
        ),
        DEVICE,
        click.option(
            "--parallel",
            type=click.Choice(["auto", "ddp", "fsdp"]),
            default="auto",
            show_default=True,
            help="Of several processes, started by torchrun or accelerate launch: a whole model in each, or a"
            " part; auto: as accelerate launch says, else ddp.",
        ),
        click.option(
            "--skip-bad", is_flag=True, help="Leave out bad records, and list them, instead of stopping."
        ),
        click.option(
            "--checkpoint-every",
            type=click.IntRange(1),
            default=500,
            show_default=True,
            help="Steps between checkpoints; an interrupted run goes on from the last one.",
        ),
        click.option(
            "--keep-checkpoints",
            type=click.IntRange(1),
            default=2,
            show_default=True,
            help="How many checkpoints stay while a run goes on, the last ones; a finished run keeps none.",
        ),
        click.option(
            "--resume",
            default="auto",
            show_default=True,
            metavar="auto|never|FOLDER",
            help="auto: from the last checkpoint of --out, if there is one; never: refuse an --out that holds"
            " a run; or one of its checkpoints, to go back to (later ones are removed).",
        ),
        click.option(
            "--track",
            type=click.Choice(["tensorboard", "wandb", "trackio"]),
            multiple=True,
            help="Tell a tracker what log.jsonl holds; may be repeated.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0),
            default=1,
            show_default=True,
            help="Threads of each process that make the next step's records ready while one runs; 0: none."
            " The result does not depend on them; waited_seconds in log.jsonl says whether more would help.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would run, and stop."),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run."),
    ]
    function = with_one_voice(function)
    for option in reversed(options):
        function = option(function)
    return function


def with_one_voice(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which a launcher may start several times over to train one model; see `in_one_voice`."""

    @wraps(command)
    def run(**arguments: Any) -> None:
        def join() -> Processes:
            from vkit.train import distributed

            return distributed.join(arguments["device"], arguments.get("parallel", "auto"))

        in_one_voice(join, lambda _: command(**arguments))

    return run


def read_values(config: Path | None, assignments: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a YAML file, and those of the command line, which overrule them."""
    from vkit.train.recipes import parse_assignments, read_settings

    return (read_settings(config) if config else {}), parse_assignments(assignments)


def plan(model: str, files: Sequence[Path], recipe: Any, *, skip_bad: bool) -> dict[str, Any]:
    """What a stage would do, from its data and recipe; no model is loaded."""
    from dataclasses import asdict

    from vkit.train.data import open_examples
    from vkit.train.loop import planned_steps

    examples = open_examples(files, recipe, skip_bad=skip_bad)
    return {
        "model": model,
        "data": [str(path) for path in files],
        "examples": len(examples),
        "steps": planned_steps(len(examples), recipe),
        "left_out": examples.left_out,
        "refused": [asdict(refused) for refused in examples.refused],
        "recipe": asdict(recipe),
    }


def in_folder(path: Path, name: str) -> Path:
    """``path``, or the file ``name`` in it where it is a folder that has one; else its shards are meant."""
    return path / name if (path / name).is_file() else path


def say(line: str) -> None:
    """A line for people, on stderr, that leaves progress bars whole."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
