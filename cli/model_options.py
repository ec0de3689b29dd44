"""Options of the commands that answer with a model, said once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from vkit.cli.one_voice import in_one_voice

MODEL = click.option(
    "--model", required=True, help="A folder, a hub id, or offline 'tiny' and 'tiny-random'."
)
ADAPTER = click.option("--adapter", help="A LoRA adapter's folder.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
DTYPE = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Of the weights; auto is float32 on the CPU and the checkpoint's elsewhere.",
)
DEVICE_MAP = click.option(
    "--device-map",
    type=click.Choice(["auto"]),
    help="Spread one of transformers' models over all GPUs and, where these are full, main memory.",
)
QUANTIZE = click.option(
    "--quantize",
    type=click.Choice(["4bit", "8bit"]),
    help="Linear layers in 4 bits (NF4) or 8 (LLM.int8), by bitsandbytes: pip install 'vkit[quantized]'.",
)
LIMIT = click.option("--limit", type=click.IntRange(1), help="Only the first problems.")


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """The command, given ``processes`` (`vkit.models.processes.Processes`): those that a launcher started, or
    this one alone. They talk in one voice, see `in_one_voice`.
    """

    @wraps(command)
    def run(**arguments: Any) -> None:
        from vkit.models.processes import join

        in_one_voice(join, lambda processes: command(**arguments, processes=processes))

    return run


def note_other_base(adapter: str | None, model: str) -> None:
    """Say so where an adapter was trained on a model of another name: its shapes may fit all the same.

    To be called when ``load_model`` has merged it, and so has found it good.
    """
    from vkit.jsonl import read_json

    if adapter is None:
        return
    base = read_json(Path(adapter) / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(base, str) and base and Path(base).name != Path(model).absolute().name:
        click.echo(f"note: adapter {adapter} was trained on {base}, and is used on {model}", err=True)
