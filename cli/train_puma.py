"""``vkit train-puma``: Math-PUMA's three stages."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from vkit.cli.training import in_folder, plan, read_values, say, training_options


@click.command("train-puma")
@click.option("--model", required=True, help="A folder, a hub id, 'tiny' or 'tiny-random'.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Pairs: a JSON Lines file, or a folder with pairs.jsonl.",
)
@click.option(
    "--stage",
    type=click.Choice(["1", "2", "3", "all"]),
    default="all",
    show_default=True,
    help="1 the language model on text, 2 alignment, 3 instruction tuning.",
)
@click.option("--order", help="Other orders of stages than 1,2,3, such as 1,3 or 1,3,2 (Table 3).")
@click.option(
    "--recipe",
    "recipe_name",
    type=click.Choice(["paper", "released", "tiny"]),
    default="paper",
    show_default=True,
    help="The paper's values, its release's loss, or two CPU cores.",
)
@click.option(
    "--stage1-data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Problems with rationales, or conversations, for stage 1 in place of the pairs.",
)
@click.option("--stage3-data", type=click.Path(path_type=Path), multiple=True, help="The same for stage 3.")
@click.option(
    "--warm-up",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Stage 0, for a TinyLLaVA whose encoder was never trained: it learns to read print.",
)
@click.option("--teacher", type=click.Choice(["live", "frozen", "ema"]), help="Of stage 2.")
@click.option(
    "--strong",
    type=click.Choice(["text-rich", "text-only"]),
    help="Stage 2's strong side: the text-rich twin, or its text without its picture.",
)
@click.option("--lam", type=float, help="Weight of stage 2's divergence against its cross-entropy.")
@click.option(
    "--lora",
    type=click.IntRange(1),
    metavar="RANK",
    help="Train LoRA factors of this rank in place of the language model's weights, where those train.",
)
@click.option(
    "--eval",
    "tests",
    type=click.Path(path_type=Path),
    help="Problems in several versions, answered after each stage: accuracies and the gap.",
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=64, show_default=True, help="Of --eval.")
@click.option(
    "--eval-batch", type=click.IntRange(1), default=64, show_default=True, help="Of --eval: problems at once."
)
@training_options
def command(
    model: str,
    data: Path,
    stage: str,
    order: str | None,
    recipe_name: str,
    stage1_data: tuple[Path, ...],
    stage3_data: tuple[Path, ...],
    warm_up: int,
    teacher: str | None,
    strong: str | None,
    lam: float | None,
    lora: int | None,
    tests: Path | None,
    max_new_tokens: int,
    eval_batch: int,
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
    """Train a model in Math-PUMA's stages on pairs of text-rich and vision-rich twins.

    OUT/stage1, OUT/stage2 and OUT/stage3 get a log, a summary and the trained model each. Stages 1 and 3
    learn from the pairs too, where no other data are given: stage 1 from the texts that are complete without
    a picture, stage 3 from both twins. (Math-PUMA's own pairs do not say which texts are complete: give them
    --stage1-data.) Interrupted, the same command goes on where it was.

    \b
    vkit data synthesize --pairs 10000 --preset miniature --tests 80 --out data
    vkit train-puma --model tiny-random --warm-up 300 --recipe tiny --data data --eval data/test.jsonl \\
        --out runs/puma
    vkit train-puma --model checkpoints/TinyLLaVA-3.1B --stage 2 --data data --teacher frozen \\
        --set lam=0.5 --set micro_batch_size=4 --device cuda --out runs/aligned
    """
    from vkit.train.recipes import RECIPES, override
    from vkit.train.stages import run_puma, with_stage

    numbers = _order(stage, order)
    for number, given in ((1, stage1_data), (3, stage3_data)):
        if given and number not in numbers:
            raise click.UsageError(f"--stage{number}-data is given, but stage {number} does not run")
    options = {"teacher": teacher, "strong": strong, "lam": lam}
    chosen = {n: RECIPES[recipe_name][n] for n in sorted(set(numbers))}
    if teacher in ("frozen", "ema") and 2 in chosen:  # which never learns, whatever the recipe has
        chosen[2] = override(chosen[2], {"strong_cross_entropy": 0.0})
    recipes = with_stage(
        chosen,
        *read_values(config, assignments),
        {name: value for name, value in options.items() if value is not None},
    )
    if lora is not None:
        with_language = (n for n, recipe in recipes.items() if "language_model" in recipe.train)
        recipes = with_stage(recipes, {f"stage{n}.lora_rank": lora for n in with_language})
    pairs = [in_folder(data, "pairs.jsonl")]
    files = {1: list(stage1_data) or pairs, 2: pairs, 3: list(stage3_data) or pairs}
    before = out / f"stage{numbers[0] - 1}" / "model"
    if before.is_dir() and before.resolve() != Path(model).resolve():
        say(f"note: stage {numbers[0]} starts from {model}; to go on from {before}, give it as --model")
    if dry_run:
        plans: dict[str, Any] = {}
        for number in numbers:
            start = model if not plans else f"the one of {list(plans)[-1]}"
            plans[f"stage{number}"] = plan(start, files[number], recipes[number], skip_bad=skip_bad)
        click.echo(json.dumps(plans, indent=2))
        return
    if warm_up:
        from vkit.train.distributed import join
        from vkit.train.miniature import warm_start

        world = join(device, parallel)
        warm = partial(warm_start, out, model=model, steps=warm_up, device=world.device, progress=True)
        model = str(world.ask_main(warm))
    result = run_puma(
        model,
        files,
        recipes,
        out,
        order=numbers,
        tests=tests,
        max_new_tokens=max_new_tokens,
        eval_batch_size=eval_batch,
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
    for number, report in result["evaluations"].items():
        gap = "-" if report["gap_percent"] is None else f"{report['gap_percent']:.1f}%"
        accuracies = ", ".join(f"{version} {value:.1f}" for version, value in report["accuracy"].items())
        say(f"after stage {number}: {accuracies}; gap {gap}")
    click.echo(json.dumps(result, indent=2))


def _order(stage: str, order: str | None) -> tuple[int, ...]:
    if order is None:
        return (1, 2, 3) if stage == "all" else (int(stage),)
    numbers = order.replace(",", " ").split()
    if not numbers or any(number not in ("1", "2", "3") for number in numbers):
        raise click.UsageError(f"--order {order!r} must be stages separated by commas, such as 1,3,2")
    if len(set(numbers)) != len(numbers):
        raise click.UsageError(f"--order {order!r} names a stage twice; run it again into another --out")
    if stage != "all":
        raise click.UsageError("--stage and --order exclude one another; give one of them")
    return tuple(int(number) for number in numbers)
