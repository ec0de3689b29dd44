"""``vkit data smart-mini``: puzzles of SMART-101's kinds, in its layout."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("smart-mini")
@click.option(
    "--rows", type=click.IntRange(2, 2000), default=300, show_default=True, help="Of each of 13 puzzles."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--size",
    type=click.IntRange(64, 1024),
    default=128,
    show_default=True,
    help="Side of the pictures, pixels.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def smart_mini(rows: int, seed: int, size: int, out: Path) -> None:
    """Draw puzzles in SMART-101's layout: each of its skills, some sequences, pictures of our own.

    Writes OUT/2/puzzle_2.csv, OUT/2/img/ and so on, under the numbers of official puzzles of the same kind,
    and OUT/manifest.json. Two rows ask different questions of each picture. A summary goes to stdout as JSON.

    \b
    vkit data smart-mini --out smart-mini
    vkit data smart-mini --rows 1000 --seed 1 --out smart-mini-1000
    """
    from vkit.synthesis.smart_mini import write_smart_mini

    manifest = write_smart_mini(out, rows=rows, seed=seed, size=size)
    summary = {"path": str(out), "puzzles": len(manifest["puzzles"])}
    click.echo(json.dumps(summary | {key: manifest[key] for key in ("rows", "pictures", "sha256")}))
