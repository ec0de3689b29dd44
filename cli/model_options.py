"""Options of the commands that answer with a model, said once."""

from __future__ import annotations

import click

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
LIMIT = click.option("--limit", type=click.IntRange(1), help="Only the first problems.")
