"""``vkit doctor``: what runs here, and what to do about the rest."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

import click
from click.core import ParameterSource

from vkit.errors import VkitError

PACKAGES = ("torch", "triton", "transformers", "peft", "numpy", "pillow", "safetensors")
RECIPES = ("llava", "math-llava", "tey", "tiny", "paper:1", "paper:2", "paper:3")


@click.command("doctor")
@click.option("--plan", is_flag=True, help="Say instead what a training step needs of memory, and what fits.")
@click.option("--model", help="With --plan: a folder, a hub id, or 'tiny'; only its config.json is read.")
@click.option("--recipe", type=click.Choice(RECIPES), default="llava", show_default=True)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="As the training commands.")
@click.option("--micro-batch", type=click.IntRange(1), help="Records of a forward; else the recipe's.")
@click.option("--length", type=click.IntRange(2), help="Columns of a record, pictures included; else 2048.")
@click.option("--images", type=click.IntRange(0), default=1, show_default=True, help="Pictures of a record.")
@click.option("--picture-columns", type=click.IntRange(1), help="Of a picture, where its size decides them.")
@click.option("--gpu-gib", type=click.FloatRange(0, min_open=True), default=80.0, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--parallel", type=click.Choice(["ddp", "fsdp"]), default="ddp", show_default=True)
def command(plan: bool, **options: Any) -> None:
    """Say what runs here: versions, kernels, devices. With --plan: what a training step needs of memory.

    Facts go to stdout as JSON, advice to stderr.

    \b
    vkit doctor
    vkit doctor --plan --model llava-hf/llava-1.5-7b-hf --recipe llava --micro-batch 4 --length 1024
    """
    if plan:
        _plan(**options)
        return
    context = click.get_current_context()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in options and source is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option.opts[0]} is for --plan")
    _what_runs()


def _plan(
    *,
    model: str | None,
    recipe: str,
    assignments: tuple[str, ...],
    micro_batch: int | None,
    length: int | None,
    images: int,
    picture_columns: int | None,
    gpu_gib: float,
    processes: int,
    parallel: str,
) -> None:
    import math
    from dataclasses import asdict

    from vkit.train.memory_plan import Setting, plan_memory
    from vkit.train.memory_plan_advice import GIB, choices, table
    from vkit.train.memory_plan_model import empty_vlm
    from vkit.train.recipes import RECIPES as STAGES
    from vkit.train.recipes import SFT_RECIPES, override, parse_assignments

    if model is None:
        raise click.UsageError("--plan needs --model")
    if not math.isfinite(gpu_gib):
        raise click.UsageError(f"--gpu-gib {gpu_gib} is no amount of memory")
    name, _, stage = recipe.partition(":")
    chosen = override(
        STAGES[name][int(stage)] if stage else SFT_RECIPES[name], parse_assignments(assignments)
    )
    share = math.ceil(chosen.batch_size / processes)
    records = min(micro_batch or chosen.micro_batch_size or share, share)
    if micro_batch and micro_batch > share:
        raise VkitError(
            f"--micro-batch {micro_batch} is more than a process's part of batch_size={chosen.batch_size},"
            f" {share}; lower it, or --set batch_size"
        )

    def empty() -> Any:
        return empty_vlm(model, picture_columns=picture_columns)

    shapes = empty()
    columns = length or min(2048, shapes.max_length)
    if images * shapes.picture_columns >= columns:
        raise VkitError(
            f"{images} picture(s) take {images * shapes.picture_columns} columns, and a record has {columns};"
            " raise --length, or lower --images or --picture-columns"
        )
    setting = Setting(records, columns, images, processes, parallel == "fsdp")
    memory = gpu_gib * GIB
    found = plan_memory(shapes, chosen, setting)
    known = not found.unknown
    options = choices(found, memory, empty) if known else []
    click.echo(table(found, memory), err=True)
    for line in (*(choice.line for choice in options), *(f"note: {note}" for note in shapes.notes)):
        click.echo(line, err=True)
    report = {
        "model": model,
        "recipe": asdict(chosen),
        "setting": asdict(setting),
        "parameters": {
            "all": found.network.weights,
            "learned": found.network.learned,
            "lora": found.network.lora,
        },
        "moment": found.moment,
        "terms_bytes": {term: round(value) for term, value in found.terms.items()},
        "peak_bytes": round(found.peak),
        "moments_bytes": {moment: round(sum(terms.values())) for moment, terms in found.moments.items()},
        "activations_bytes": {
            kind: {"layers": count, "kept": round(without), "checkpointed": round(with_it)}
            for kind, (count, without, with_it) in found.activations.items()
        },
        "memory_bytes": round(memory),
        "fits": found.fits(memory) if known else None,
        "largest_micro_batch": found.largest_micro_batch(memory) if known else None,
        "choices": [{**asdict(choice), "peak": round(choice.peak)} for choice in options],
        "notes": shapes.notes,
        "unknown": found.unknown,
    }
    click.echo(json.dumps(report, indent=2))


def _what_runs() -> None:
    import torch

    from vkit import __version__
    from vkit.kernels._extension import load_extension
    from vkit.kernels.attention import attention_implementation
    from vkit.kernels.divergence_rows import divergence_implementation

    why_not = load_extension()
    try:
        capability = torch.ops.vkit_cpp.cpu_capability() if why_not is None else None
    except RuntimeError as error:  # a wrong VKIT_CPU_CAPABILITY
        raise VkitError(str(error).splitlines()[0]) from error
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    report = {
        "vkit": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "attention": {
            "cpu": attention_implementation("cpu", torch.float32),
            "cuda": attention_implementation("cuda", torch.bfloat16) if gpus else None,
        },
        "divergence": {
            "cpu": divergence_implementation("cpu", torch.float32),
            "cuda": divergence_implementation("cuda", torch.float32) if gpus else None,
        },
        "cpu_capability": capability,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }
    click.echo(json.dumps(report, indent=2))
    if why_not:
        click.echo(
            f"{why_not}: attention and divergence on the CPU run in plain PyTorch, exact but slower. "
            "To build it, install a C++17 compiler and run: "
            "pip install --no-build-isolation --force-reinstall --no-deps .",
            err=True,
        )
    if not gpus:
        click.echo("no CUDA device: the Triton kernels are not used", err=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
