"""``vkit train-smart``: SmarterVLM on SMART-101."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from vkit.cli.model_options import DEVICE
from vkit.cli.training import read_values, say, with_one_voice


@click.command("train-smart")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="SMART-101's folder, or one in its layout."
)
@click.option(
    "--vision",
    multiple=True,
    metavar="NAME",
    default=("facebook/dinov2-base", "google/siglip-base-patch16-224"),
    show_default=True,
    help="An image encoder: a folder, a hub id, 'tiny' or 'tiny-vit'; repeat it to fuse several.",
)
@click.option(
    "--text",
    metavar="NAME",
    default="google/siglip-base-patch16-224",
    show_default=True,
    help="The text encoder: a folder, a hub id, or 'tiny'.",
)
@click.option(
    "--recipe",
    "recipe_name",
    type=click.Choice(["paper", "mini"]),
    default="paper",
    show_default=True,
    help="The paper's values, or what learns smart-mini's puzzles on two CPU cores.",
)
@click.option(
    "--qf",
    type=click.Choice(["tokens", "paper", "none"]),
    help="The QF layer: over patches as the paper describes it, over one vector as it is written, or none."
    "  [default: paper, with either recipe; that layer does not read the text]",
)
@click.option(
    "--split",
    type=click.Choice(["paper", "merl", "puzzle"]),
    help="60:20:20 of a puzzle's first 1000 rows, 80:5:15 of all, or whole puzzles held out.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training part.")
@click.option(
    "--patience", type=click.IntRange(0), help="Stop after so many epochs without better validation; 0 never."
)
@click.option(
    "--seeds",
    multiple=True,
    metavar="N,N",
    default=("0,42,7",),
    show_default=True,
    help="A model is trained for each; those that OUT has already are kept and counted.",
)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder of the features.  [default: OUT/features]"
)
@click.option("--no-cache", is_flag=True, help="Run the backbones in every epoch: same result, much slower.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, show_default=True, help="Threads that make batches."
)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the recipe; may be repeated, and overrules --config.",
)
@DEVICE
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows, and list them, instead of stopping.")
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run, outside the data; continued if there.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on a terminal too.")
@with_one_voice
def command(
    data: Path,
    vision: tuple[str, ...],
    text: str,
    recipe_name: str,
    qf: str | None,
    split: str | None,
    epochs: int | None,
    patience: int | None,
    seeds: tuple[str, ...],
    cache: Path | None,
    no_cache: bool,
    workers: int,
    config: Path | None,
    assignments: tuple[str, ...],
    device: str,
    skip_bad: bool,
    dry_run: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Train a small reasoner on frozen backbones, a model for each seed, and score it by skill.

    The backbones read every picture and question once; epochs then run from the cache. OUT/seed-N gets a log,
    the best epoch's weights, predictions for `vkit score` and scores; OUT a summary and validation curves.
    Interrupted, the same command goes on where it was; more --seeds may be added later. torchrun and
    accelerate launch share the rows of each step among their processes. The summary goes to
    stdout as JSON where that is no terminal.

    S_acc asks for the right class, O_acc for the option that the release's code would take, five_option for
    the right one of the five options; after ± stands the standard deviation over the seeds.

    Rows of the paper's tables are settings: --set use_text=false, use_image, single_image_head, decoder=lstm,
    repr_size, hidden, heads, dropout, weight_decay, warmup_steps, lr, batch_size, adam_eps, beta2,
    layer_norm_eps. --dry-run shows them all, with the recipe's values where no option is given.

    \b
    vkit train-smart --data SMART101-Data --qf tokens --cache features --out runs/smart
    vkit data smart-mini --rows 600 --out mini
    vkit train-smart --data mini --vision tiny --vision tiny-vit --text tiny --recipe mini --qf tokens \\
        --out runs/mini
    """
    # Gradients of 101 heads are large and made anew at every step: in huge pages they cost few page faults.
    # PyTorch reads it when it first takes memory.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from vkit.train.recipes import override
    from vkit.train.smart_recipe import SMART_RECIPES

    if no_cache and cache is not None:
        raise click.UsageError("--cache and --no-cache exclude one another; give one of them")
    in_file, assigned = read_values(config, assignments)
    options = {"qf": qf, "split": split, "epochs": epochs, "patience": patience}
    given = {name: value for name, value in options.items() if value is not None}
    base = SMART_RECIPES[recipe_name]
    for name in given.keys() & assigned.keys():
        if getattr(override(base, {name: assigned[name]}), name) != given[name]:
            raise click.UsageError(
                f"--{name} {given[name]} and --set {name}={assigned[name]} differ; give one of them"
            )
    recipe = override(base, {**in_file, **assigned, **given})
    settings: dict[str, Any] = {
        "vision": vision,
        "text": text,
        "seeds": _seeds(seeds),
        "cache": cache,
        "cached": not no_cache,
        "device": device,
        "skip_bad": skip_bad,
        "tell": say,
    }
    from vkit.train.smart import plan_smart, train_smart

    if dry_run:
        click.echo(json.dumps(plan_smart(data, recipe, out, **settings), indent=2))
        return
    explain = recipe_name == "paper"
    summary = train_smart(data, recipe, out, workers=workers, progress=True, explain=explain, **settings)
    on_terminal = sys.stdout.isatty() and not as_json
    if not on_terminal:
        click.echo(json.dumps(summary, indent=2))
    click.echo(f"look at {summary['curves']}", err=True)
    _echo_table(summary, err=not on_terminal)


def _seeds(texts: tuple[str, ...]) -> list[int]:
    text = ",".join(texts)
    words = text.replace(",", " ").split()
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise click.UsageError(f"--seeds {text!r} must be whole numbers separated by commas, such as 0,42,7")
    return [int(word) for word in words]


def _echo_table(summary: dict[str, Any], *, err: bool) -> None:
    """A line a skill: validation and test, mean and deviation over the seeds."""
    from vkit.cli.tables import echo_table

    columns = [("val", "S_acc"), ("test", "S_acc"), ("test", "O_acc"), ("test", "five_option")]
    names = [*summary["test"]["skills"], "overall"]
    rows = []
    for name in names:
        found = [
            (summary[part]["overall"] if name == "overall" else summary[part]["skills"].get(name), measure)
            for part, measure in columns
        ]
        rows.append([name, *("-" if scores is None else _cell(scores[measure]) for scores, measure in found)])
    count = len(summary["seeds"])
    headings = [f"{count} seed{'s' * (count > 1)}, %", *(f"{part} {measure}" for part, measure in columns)]
    echo_table(headings, rows, align="lrrrr", err=err)


def _cell(score: dict[str, Any]) -> str:
    deviation = score["deviation"]
    return f"{score['mean']:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")
