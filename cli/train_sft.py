"""``vkit train-sft``: supervised fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vkit.cli.training import in_folder, plan, read_values, say, training_options


@click.command("train-sft")
@click.option("--model", required=True, help="A folder, a hub id, 'tiny' or 'tiny-random'.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="JSON Lines: problems with rationales, LLaVA conversations, or pairs; or a folder of shards, "
    "part-*.jsonl. May be repeated.",
)
@click.option(
    "--recipe",
    "recipe_name",
    type=click.Choice(["llava", "math-llava", "tey", "tiny"]),
    default="llava",
    show_default=True,
    help="LLaVA-1.5's, Math-LLaVA's (all weights), Tey's (LoRA), or two CPU cores.",
)
@click.option("--lora", type=click.IntRange(1), metavar="RANK", help="Train LoRA factors of this rank.")
@click.option("--pack-to", type=click.IntRange(1), help="Let short samples share rows of so many columns.")
@training_options
def command(
    model: str,
    data: tuple[Path, ...],
    recipe_name: str,
    lora: int | None,
    pack_to: int | None,
    config: Path | None,
    assignments: tuple[str, ...],
    device: str,
    parallel: str,
    skip_bad: bool,
    checkpoint_every: int,
    keep_checkpoints: int,
    resume: str,
    track: tuple[str, ...],
    workers: int,
    dry_run: bool,
    out: Path,
) -> None:
    """Fine-tune a model on answers; questions are read, not learned.

    OUT gets a log, a summary and the trained model; with LoRA OUT/adapter too, which peft loads. Interrupted,
    the same command goes on where it was.

    \b
    vkit train-sft --model tiny --recipe tiny --data problems.jsonl --out runs/tuned
    vkit train-sft --model checkpoints/TinyLLaVA-3.1B --recipe tey --data rationales.jsonl --out runs/tey
    vkit train-sft --model llava-hf/llava-1.5-7b-hf --data llava.jsonl --lora 32 \\
        --set micro_batch_size=4 --set gradient_checkpointing=true --device cuda --out runs/llava
    torchrun --nproc-per-node 8 -m vkit train-sft --model llava-hf/llava-1.5-13b-hf --recipe math-llava \\
        --data llava.jsonl --parallel fsdp --out runs/llava-13b
    """
    from vkit.train.recipes import SFT_RECIPES, override
    from vkit.train.stages import run_stage

    values: dict[str, Any] = {}
    for layer in read_values(config, assignments):
        values.update(layer)
    options = {"lora_rank": lora, "pack_to": pack_to}
    values.update({name: value for name, value in options.items() if value is not None})
    recipe = override(SFT_RECIPES[recipe_name], values)
    files = [in_folder(path, "pairs.jsonl") for path in data]
    if dry_run:
        click.echo(json.dumps(plan(model, files, recipe, skip_bad=skip_bad), indent=2))
        return
    summary = run_stage(
        model,
        files,
        recipe,
        out,
        device=device,
        parallel=parallel,
        skip_bad=skip_bad,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
        resume=resume,
        track=track,
        workers=workers,
        progress=True,
        tell=say,
    )
    click.echo(json.dumps({"model": str(out / "model"), **summary}, indent=2))
