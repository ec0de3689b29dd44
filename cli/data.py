"""``vkit data``: check data sets, draw a few problems."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from vkit.cli import data_import, data_pairs


@click.group("data")
def command() -> None:
    """Check, and draw, data sets.

    \b
    vkit data check problems.jsonl
    vkit data sketch --count 6 --out problems
    """


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """Read every record and image of PATH: samples, pairs or conversations in JSON Lines, or Geometry3K.

    Each bad record is told on stderr by file, line and reason; a summary goes to stdout as JSON. Exit 1 if
    any record is bad.

    \b
    vkit data check problems.jsonl
    vkit data check pairs.jsonl
    vkit data check geometry3k/
    """
    from tqdm import tqdm

    from vkit.records import BadRecord
    from vkit.sources.opening import holders, scan_whole

    good = bad = images = 0
    for record in tqdm(scan_whole(path), desc="check", unit=" records", leave=False, disable=None):
        if isinstance(record, BadRecord):
            bad += 1
            tqdm.write(str(record), file=sys.stderr)
        else:
            good += 1
            images += len(holders(record))
    click.echo(json.dumps({"path": str(path), "good": good, "bad": bad, "images": images}))
    if bad:
        raise click.exceptions.Exit(1)


@command.command()
@click.option("--count", type=click.IntRange(1, 10_000), default=6, show_default=True, help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def sketch(count: int, seed: int, out: Path) -> None:
    """Draw a few geometry problems with exact answers, to try vkit without any data.

    Writes OUT/problems.jsonl, OUT/images/ and the worked solutions, OUT/answers.jsonl.

    \b
    vkit data sketch --count 6 --out problems
    vkit attn-ratio --model tiny --data problems/problems.jsonl --out runs/tiny
    """
    from vkit.synthesis.sketches import write_sketches

    path = write_sketches(out, count, seed)
    click.echo(json.dumps({"path": str(path), "records": count}))


for other in (data_import.pairs, data_pairs.render, data_pairs.augment):
    command.add_command(other)
