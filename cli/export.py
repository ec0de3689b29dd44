"""``vkit export``: a trained model, or its adapter, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import click

from vkit.cli.training import say


@click.command("export")
@click.option(
    "--model",
    required=True,
    help="What is exported: a folder, a hub id or 'tiny'. With --checkpoint, what its run began with.",
)
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    help="A LoRA adapter's folder, to be merged into the model.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A checkpoint of an unfinished run, or the run's folder, for its last one.",
)
@click.option(
    "--as",
    "what",
    type=click.Choice(["model", "adapter"]),
    default="model",
    show_default=True,
    help="All of the model, LoRA merged; or the adapter alone of a LoRA run's --checkpoint.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Of the model's weights.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
def command(
    model: str, adapter: Path | None, checkpoint: Path | None, what: str, dtype: str, out: Path
) -> None:
    """Write a model, or an adapter, as transformers and peft load it (a TinyLLaVA in the Factory's layout).

    A finished run's model stands in its folder already, as runs/x/model, and of LoRA runs/x/adapter too: both
    are of this kind, and need an export only to change --dtype.

    \b
    vkit export --model runs/x/model --dtype bfloat16 --out half
    vkit export --model llava-hf/llava-1.5-7b-hf --adapter runs/x/adapter --out merged
    vkit export --model llava-hf/llava-1.5-7b-hf --checkpoint runs/x --out so-far
    vkit export --model llava-hf/llava-1.5-7b-hf --checkpoint runs/x/checkpoints/step-00000500 \\
        --as adapter --out lora
    """
    from vkit.train.export import export

    for note in export(model, out, adapter=adapter, checkpoint=checkpoint, what=what, dtype=dtype):
        say(f"note: {note}")
    click.echo(str(out))
