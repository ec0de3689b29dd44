"""``vkit data pairs``: Math-PUMA's own records become pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vkit.records import Pair


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder where the records' image paths start.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file of pairs, written complete or not at all.",
)
@click.option("--copy-images", is_flag=True, help="Copy the pictures to images/ beside the file.")
@click.option("--skip-bad", is_flag=True, help="Leave bad records out, and count them.")
def pairs(source: Path, images: Path, out: Path, copy_images: bool, skip_bad: bool) -> None:
    """Turn Math-PUMA's pair records into vkit's.

    INPUT is a JSON array or JSON Lines of image_url, instruction, output (text-rich) and image_url_2,
    instruction_2, output_2 (vision-rich). Pictures stay where they are, in a folder beside or below --out,
    unless they are copied. Each bad record is told by place and reason; a summary goes to stdout as JSON.

    \b
    vkit data pairs puma/stage2.json --images puma/images --out puma/pairs.jsonl
    vkit data pairs stage2.jsonl --images /data/puma --out pairs/pairs.jsonl --copy-images --skip-bad
    """
    from tqdm import tqdm

    from vkit.errors import VkitError
    from vkit.records import BadRecord, write_samples
    from vkit.sources.math_puma import copied, in_place, scan_math_puma

    if out.exists():
        raise VkitError(f"{out} is there already; move it away, or choose another --out")
    pictures = (copied if copy_images else in_place)(images, out.parent)
    good = bad = 0

    def kept() -> Iterator[Pair]:
        nonlocal good, bad
        records = scan_math_puma(source, pictures)
        for record in tqdm(records, desc="pairs", unit=" records", leave=False, disable=None):
            if not isinstance(record, BadRecord):
                good += 1
                yield record
            elif skip_bad:
                bad += 1
                tqdm.write(str(record), file=sys.stderr)
            else:
                raise VkitError(f"{record}; --skip-bad leaves bad records out")
        if not good:
            raise VkitError(f"{source} holds no good record, so {out} was not written")

    out.parent.mkdir(parents=True, exist_ok=True)
    write_samples(out, kept())
    click.echo(json.dumps({"path": str(out), "pairs": good, "bad": bad}))
