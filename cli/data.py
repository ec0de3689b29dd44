"""``vkit data``: check data sets, draw a few problems."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


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
    """Read every record and image of PATH: a JSON Lines file or a Geometry3K folder.

    Each bad record is told on stderr by file, line and reason; a summary goes to stdout as JSON. Exit 1 if
    any record is bad.

    \b
    vkit data check problems.jsonl
    vkit data check geometry3k/
    """
    from tqdm import tqdm

    from vkit.errors import VkitError
    from vkit.records import BadRecord
    from vkit.sources.opening import scan

    good = bad = images = 0
    for record in tqdm(scan(path), desc="check", unit=" records", leave=False, disable=None):
        if isinstance(record, BadRecord):
            problem = str(record)
        else:
            try:
                if record.image is not None:
                    record.open_image()
                    images += 1
                good += 1
                continue
            except VkitError as error:
                problem = f"{path}: {error}"
        bad += 1
        tqdm.write(problem, file=sys.stderr)
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
