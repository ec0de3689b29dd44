"""``vkit report``: one page of one or several runs of attn-ratio."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The page. [default: RUN/index.html, of one run only]"
)
@click.option(
    "--single-file/--with-files",
    default=None,
    help="All items in the page, or each in a file beside it. [default: in the page below 4 MiB]",
)
@click.option(
    "--max-mib",
    type=click.FloatRange(0, min_open=True),
    default=25.0,
    show_default=True,
    help="With --single-file: larger pages are refused.",
)
def command(runs: tuple[Path, ...], out: Path | None, single_file: bool | None, max_mib: float) -> None:
    """Write one HTML page of the folders that attn-ratio wrote: summary, comparison, every item and token.

    The page asks the network for nothing. Small ones are one file; a large one keeps its items in a folder
    beside it, OUT's name with _files, and loads each when it is looked at: copy both.

    \b
    vkit report runs/cot
    vkit report runs/direct runs/cot --out both.html
    vkit report runs/cot --out cot.html --single-file --max-mib 60

    JSON on stdout: {"page", "items", "files", "mib"}; files is the folder beside the page, or null.
    """
    from tqdm import tqdm

    from vkit.report.page import write_page

    with tqdm(total=_count_lines(runs), desc="report", unit=" items", delay=1, leave=False) as bar:
        page = write_page(
            list(runs),
            out=out,
            single_file=single_file,
            max_mib=max_mib,
            on_item=lambda: bar.update(),
        )
    files = None if page.files is None else str(page.files)
    report = {"page": str(page.path), "items": page.items, "files": files, "mib": round(page.mib, 2)}
    click.echo(json.dumps(report, ensure_ascii=False))
    how = "one file" if page.files is None else f"keep {page.files.name} beside it"
    click.echo(f"look at {page.path} ({page.items} items, {page.mib:.1f} MiB, {how})", err=True)


def _count_lines(runs: tuple[Path, ...]) -> int | None:
    """Items of all runs, for the bar; None where a run cannot be read, which is told when its turn comes."""
    total = 0
    for run in runs:
        try:
            with (run / "items.jsonl").open("rb") as file:
                total += sum(1 for _ in file)
        except OSError:
            return None
    return total
