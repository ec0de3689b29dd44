"""``vkit data``: check data sets, draw problems."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from vkit.cli import data_import, data_pairs, data_smart


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
    """Read every record and image of PATH: a file of samples, pairs or conversations in JSON Lines, or the
    official folder of Geometry3K, SMART-101, MathVista, MathVerse or We-Math (these three as parquet too).

    Each bad record is told on stderr by file, line and reason; a summary goes to stdout as JSON. Exit 1 if
    any record is bad.

    \b
    vkit data check problems.jsonl
    vkit data check pairs.jsonl
    vkit data check geometry3k/
    vkit data check SMART101-Data/
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
    vkit attn-ratio --model tiny-random --data problems/problems.jsonl --max-new-tokens 40 --out runs/try
    """
    from vkit.synthesis.sketches import write_sketches

    path = write_sketches(out, count, seed)
    click.echo(json.dumps({"path": str(path), "records": count}))


for other in (data_import.pairs, data_pairs.render, data_pairs.augment, data_smart.smart_mini):
    command.add_command(other)


@command.command()
@click.option(
    "--pairs", type=click.IntRange(1), required=True, help="Pairs of versions, each of another problem."
)
@click.option("--tests", type=click.IntRange(0), default=0, show_default=True, help="Held-out problems.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that draw.")
@click.option("--size", type=int, default=336, show_default=True, help="Side of the pictures, pixels.")
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    help="plane, solid or functions; repeat. [default: all, or those of --family]",
)
@click.option("--family", "families", multiple=True, help="Only this family of problems; repeat.")
@click.option("--versions", nargs=2, help="These two of every problem, the text-rich one first.")
@click.option("--preset", type=click.Choice(["miniature"]), help="Problems that a tiny model can learn.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def synthesize(
    pairs: int,
    tests: int,
    seed: int,
    workers: int,
    size: int,
    subjects: tuple[str, ...],
    families: tuple[str, ...],
    versions: tuple[str, str] | None,
    preset: str | None,
    out: Path,
) -> None:
    """Draw text-rich and vision-rich pairs of exact problems, as Math-PUMA's data engine does.

    Writes OUT/pairs.jsonl, OUT/images/ and OUT/manifest.json; with --tests also OUT/test.jsonl: five versions
    of problems that no data set of this engine trains on. Run again to go on after an interruption, or to
    enlarge the data set.

    \b
    vkit data synthesize --pairs 120000 --seed 0 --workers 2 --out puma
    vkit data synthesize --pairs 1000 --tests 100 --subject plane --out plane
    vkit data synthesize --pairs 12000 --preset miniature --out miniature
    """
    from vkit.synthesis.engine import synthesize as draw
    from vkit.synthesis.registry import subjects_of

    manifest = draw(
        out,
        pairs=pairs,
        tests=tests,
        workers=workers,
        seed=seed,
        size=size,
        subjects=subjects or subjects_of(families),
        families=families,
        versions=versions or None,
        preset=preset,
    )
    click.echo(json.dumps({"path": str(out), **{k: v for k, v in manifest.items() if k != "settings"}}))
