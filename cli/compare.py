"""``vkit compare``: several runs beside each other, with what length, sinks and chance may explain."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vkit.cli.tables import Cell

SIDES = {1: "cyan", -1: "yellow", 0: None}  # told apart by colour-blind people too


@click.command("compare")
@click.argument("runs", metavar="RUN RUN ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON into this file.")
@click.option(
    "--resamples",
    type=click.IntRange(200, 100_000),
    default=2000,
    show_default=True,
    help="Of every bootstrap interval and permutation test.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same figures.")
@click.option("--json", "as_json", is_flag=True, help="JSON on a terminal too.")
def command(runs: tuple[Path, ...], out: Path | None, resamples: int, seed: int, as_json: bool) -> None:
    """Compare run folders of attn-ratio, each with the first: which model looks more at the picture?

    The mean ratio grows with the length of the answers. So beside the means stand the difference at equal
    positions and with length controlled, with 95% intervals over the problems, the correlation with right
    answers, and the ratio without attention sinks; and in words what may be concluded and what may not.

    \b
    vkit compare runs/direct runs/cot
    vkit compare runs/direct runs/cot runs/finetuned --out comparison.json

    On a terminal tables and sentences are printed. Elsewhere stdout gets the JSON, stderr the rest. In the
    table of runs "no sinks" is the ratio without the image columns that draw attention in most answers
    whatever is said, "image" the weight on the picture, "r(correct)" the correlation of the ratio with right
    answers, "given length" the same at equal length.
    """
    from vkit.attention.compare import compare
    from vkit.jsonl import write_json

    if out is not None:
        _refuse_to_overwrite(out)
    result = compare(runs, resamples=resamples, seed=seed)
    if out is not None:
        write_json(out, result)
    terminal = sys.stdout.isatty()
    if as_json or not terminal:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    if not (as_json and terminal):
        _tell(result, err=not terminal)


def _refuse_to_overwrite(out: Path) -> None:
    """Before the work: a folder that is not there, or a file that is no comparison."""
    from vkit.errors import VkitError
    from vkit.jsonl import read_json

    if not out.parent.is_dir():
        raise VkitError(f"folder {out.parent} for {out.name} does not exist; create it first")
    if out.exists():
        try:
            known = {"pairs", "baseline"} <= read_json(out).keys()
        except VkitError:
            known = False
        if not known:
            raise VkitError(f"{out} is no comparison and would be lost; choose another --out")


def _tell(result: Mapping[str, Any], *, err: bool) -> None:
    """Two tables, then the sentences."""
    from vkit.cli.tables import echo_table, printable

    echo_table(
        ["run", "correct", "ratio", "no sinks", "tokens", "image", "r(correct)", "given length"],
        [_run_row(run) for run in result["runs"]],
        align="lrrrrrrr",
        err=err,
    )
    for pair in result["pairs"]:
        click.echo(f"\n{printable(pair['other'])} less {printable(pair['baseline'])}", err=err)
        rows = _pair_rows(pair)
        echo_table(["", "difference", "95% interval"], rows, align="lrr", err=err)
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    for title, texts in _paragraphs(result):
        click.echo(f"\n{printable(title)}", err=err)
        for text in texts:
            click.echo(click.wrap_text(printable(text), width, "  - ", "    "), err=err)


def _run_row(run: Mapping[str, Any]) -> list[str]:
    from vkit.cli.tables import number, percent

    correlation = run["correlation"]
    return [
        run["name"],
        percent(run["accuracy"]["value"]),
        number(run["ratio"]["mean"]),
        number(run["ratio_without"]["sinks"]["value"]),
        number(run["median_output_tokens"]),
        percent(run["shares"]["image"]),
        number(correlation["correct"]["r"]),
        number(correlation["correct_given_length"]["r"]),
    ]


def _pair_rows(pair: Mapping[str, Any]) -> list[list[str | Cell]]:
    """A row for each difference, other less baseline."""
    from vkit.attention.compare_words import side, span
    from vkit.cli.tables import Cell, number, percent

    rows: list[list[str | Cell]] = []
    if pair["measured"]:
        matched = pair["position_matched"]
        figures = {
            "ratio, means": pair["raw"],
            "ratio, equal positions": matched["ratio"],
            "ratio, length controlled": pair["length_controlled"],
            "V, equal positions": matched["V"],
            "P, equal positions": matched["P"],
            "image share, equal positions": matched["shares"]["image"],
        }
        for name, figure in figures.items():
            interval = "-" if figure["low"] is None else span(figure)
            rows.append([name, Cell(f"{figure['value']:+.3g}", SIDES[side(figure)]), interval])
    accuracy = pair["accuracy"]
    if accuracy["judged"]:
        interval = "-" if accuracy["low"] is None else f"{accuracy['low']:+.1%} to {accuracy['high']:+.1%}"
        rows.append(["correct", f"{accuracy['value']:+.1%}", interval])
    if pair["measured"]:
        overlap = min(pair["overlap"]["baseline"], pair["overlap"]["other"])
        rows.append(["tokens at positions of both", percent(overlap), ""])
    return rows or [["no problem answered by both", number(None), ""]]


def _paragraphs(result: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    found = []
    for pair in result["pairs"]:
        about = f"{pair['other']} against {pair['baseline']}, {pair['measured']} problems"
        found.append(
            (f"{about}: what may be concluded", pair["conclusions"]["may"] or ["Nothing on looking."])
        )
        found.append((f"{about}: what may not", pair["conclusions"]["may_not"]))
    correct = [text for run in result["runs"] for part in run["conclusions"].values() for text in part]
    found.append(("Ratio and right answers", correct))
    if result["notes"]:
        found.append(("Notes", result["notes"]))
    return [*found, ("Limits", [result["limits"]])]
