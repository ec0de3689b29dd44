"""``vkit data render`` and ``vkit data augment``: pairs out of text problems, and more views of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("path", metavar="PROBLEMS.jsonl", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--width", type=click.IntRange(64, 4096), default=336, show_default=True, help="Pixels.")
@click.option("--font-size", type=click.IntRange(8, 128), default=16, show_default=True, help="Pixels.")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be rendered, and count it.")
def render(path: Path, out: Path, width: int, font_size: int, skip_bad: bool) -> None:
    """Turn text problems into pairs: each as it is, and with its text set into a picture.

    Question and choices are drawn, mathematics (Unicode or simple LaTeX) too, over the problem's diagram
    where there is one. The response of a pair is the problem's rationale. Writes OUT/pairs.jsonl and
    OUT/images/; run it again to go on where it stopped. A summary goes to stdout as JSON.

    \b
    vkit data render problems.jsonl --out pairs
    vkit data render problems.jsonl --out pairs --width 448 --font-size 20 --skip-bad
    """
    from vkit.synthesis.augment_files import render_file

    summary = render_file(
        path,
        out,
        width=width,
        font_size=font_size,
        skip_bad=skip_bad,
        report=_tell,
        progress=lambda records: _progress(records, "render"),
    )
    click.echo(json.dumps(summary))


@click.command()
@click.argument("path", metavar="RECORDS.jsonl", type=click.Path(path_type=Path))
@click.option("--copies", type=click.IntRange(1, 1000), default=1, show_default=True, help="Of each record.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be augmented, and count it.")
def augment(path: Path, copies: int, seed: int, out: Path, skip_bad: bool) -> None:
    """Make copies of pairs or problems with other views of their pictures: gamma, scaling, stretching.

    Nothing is changed that a problem states: a record is stretched only where its meta "transforms" is
    "stretch", scaled evenly where it is "similarity" or missing, and neither where it is "none". Texts,
    answers and responses stay. Writes the copies, their ids ending in ~1, ~2, ..., to OUT/pairs.jsonl or
    OUT/problems.jsonl, and OUT/images/; run it again to go on where it stopped.

    \b
    vkit data augment pairs/pairs.jsonl --copies 3 --seed 0 --out pairs-augmented
    """
    from vkit.synthesis.augment_files import augment_file

    summary = augment_file(
        path,
        out,
        copies=copies,
        seed=seed,
        skip_bad=skip_bad,
        report=_tell,
        progress=lambda records: _progress(records, "augment"),
    )
    click.echo(json.dumps(summary))


def _progress(records: Iterable[Any], what: str) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(records, desc=what, unit=" records", leave=False, disable=None)


def _tell(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
