"""What ``vkit train-puma`` and ``vkit train-sft`` share: options, settings, plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from vkit.cli.model_options import DEVICE


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
            "--skip-bad", is_flag=True, help="Leave out bad records, and list them, instead of stopping."
        ),
        click.option(
            "--checkpoint-every",
            type=click.IntRange(1),
            default=500,
            show_default=True,
            help="Steps between checkpoints; an interrupted run goes on from the last one.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would run, and stop."),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


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
    """``path``, or the file ``name`` in it where it is a folder."""
    return path / name if path.is_dir() else path


def say(line: str) -> None:
    """A line for people, on stderr, that leaves progress bars whole."""
    import sys

    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
