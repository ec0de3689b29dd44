"""``vkit compare``: several runs beside each other, with what length, sinks and chance may explain."""

from __future__ import annotations

import json
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

    On a terminal a table and sentences are printed. Elsewhere stdout gets the JSON, stderr the rest.
    """
    from vkit.attention.compare import compare
    from vkit.jsonl import write_json

    result = compare(runs, resamples=resamples, seed=seed)
    if out is not None:
        write_json(out, result)
    terminal = sys.stdout.isatty()
    if as_json or not terminal:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    if not (as_json and terminal):
        _tell(result, err=not terminal)


def _tell(result: Mapping[str, Any], *, err: bool) -> None:
    """Two tables, then the sentences."""
    from vkit.cli.tables import echo_table

    echo_table(
        ["run", "correct", "ratio", "no sinks", "tokens", "image", "r(correct)", "given length"],
        [_run_row(run) for run in result["runs"]],
        align="lrrrrrrr",
        err=err,
    )
    click.echo(f"\nDifferences from {result['baseline']}, with 95% intervals:", err=err)
    echo_table(
        ["run", "means", "equal positions", "length controlled", "correct", "overlap"],
        [_pair_row(pair) for pair in result["pairs"]],
        align="lrrrrr",
        err=err,
    )
    for title, texts in _paragraphs(result):
        click.echo(f"\n{title}", err=err)
        for text in texts:
            click.echo(click.wrap_text(text, 100, "  - ", "    "), err=err)


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


def _pair_row(pair: Mapping[str, Any]) -> list[str | Cell]:
    from vkit.cli.tables import number, percent

    accuracy = pair["accuracy"]
    points = f"{100 * accuracy['value']:+.1f}" if accuracy["judged"] else number(None)
    if not pair["measured"]:
        return [pair["other"], *[number(None)] * 3, points, number(None)]
    overlap = min(pair["overlap"]["baseline"], pair["overlap"]["other"])
    figures = (pair["raw"], pair["position_matched"]["ratio"], pair["length_controlled"])
    return [pair["other"], *map(_difference, figures), points, percent(overlap)]


def _difference(figure: Mapping[str, Any]) -> Cell:
    from vkit.attention.compare_words import side, signed
    from vkit.cli.tables import Cell

    return Cell(signed(figure), SIDES[side(figure)])


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
