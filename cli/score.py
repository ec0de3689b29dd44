"""``vkit score``: how good a model's predictions on a benchmark are, by the benchmark's own measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vkit.cli.model_options import LIMIT

SUITES = ("geometry3k", "mathvista", "mathverse", "wemath", "smart101", "records")


@click.command("score")
@click.option(
    "--suite",
    type=click.Choice(SUITES),
    required=True,
    help="The benchmark, or records: any problems in JSON Lines.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Its official folder, or a file of it."
)
@click.option(
    "--predictions",
    "predictions_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help='JSON Lines of {"id": "12", "output": "text"}, one for each item; of smart101 {"id", "value": 7}.',
)
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Another run's predictions: adds paired differences and McNemar's p. Not for smart101.",
)
@click.option(
    "--items",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write each item's verdict there. Not for smart101.",
)
@LIMIT
@click.option(
    "--judge",
    "judge_url",
    metavar="URL",
    help="An OpenAI-compatible endpoint that reads what the rules could not; replies are kept in "
    "<predictions>.judge.jsonl and never paid for twice.",
)
@click.option("--judge-model", metavar="NAME", help="The judge's model at that endpoint.")
@click.option("--price-in", type=click.FloatRange(0), help="US dollars for a million tokens to the judge.")
@click.option("--price-out", type=click.FloatRange(0), help="US dollars for a million tokens of its replies.")
@click.option(
    "--api-key-env",
    metavar="NAME",
    default="OPENAI_API_KEY",
    show_default=True,
    help="The variable that holds the judge's key.",
)
@click.option(
    "--split",
    type=click.Choice(["paper", "merl", "puzzle", "all"]),
    help="smart101. paper: 60:20:20 of each puzzle's first 1000 rows; merl: 80:5:15 of all rows; puzzle: "
    "held-out puzzles; all: every row.  [default: paper]",
)
@click.option(
    "--part", type=click.Choice(["train", "val", "test"]), help="smart101, of the split.  [default: test]"
)
@click.option(
    "--rows", type=click.IntRange(1), help="smart101: the first so many rows of each puzzle instead."
)
def command(
    suite: str,
    data: Path,
    predictions_file: Path,
    against: Path | None,
    items: Path | None,
    limit: int | None,
    judge_url: str | None,
    judge_model: str | None,
    price_in: float | None,
    price_out: float | None,
    api_key_env: str,
    split: str | None,
    part: str | None,
    rows: int | None,
) -> None:
    """Score predictions on a benchmark, by its own measures, with 95% intervals.

    Predictions are a model's texts; an attention run's items.jsonl serves as it is. What the benchmark's
    rules cannot read is counted as wrong, and listed; an "extraction" beside the output is taken as the
    answer. An id is the one that `vkit generate` writes: MathVista's pid, MathVerse's sample_index, for
    We-Math ID:step, 0:1, 0:2, 0:multi. Scores go to stdout as JSON, a table to stderr.

    SMART-101: an id is <puzzle>-<id column>; a value is the predicted class, for a sequence puzzle a list of
    10 classes. S_acc asks for the right class, O_acc and five_option for the right one of the five options.

    \b
    vkit score --suite mathvista --data MathVista --predictions out.jsonl
    vkit score --suite mathverse --data MathVerse --predictions puma.jsonl --against base.jsonl
    vkit score --suite smart101 --data SMART101-Data --predictions val.jsonl --split merl --part val
    """
    if suite == "smart101":
        if against or items or limit or judge_url or judge_model:
            raise click.UsageError(
                "--against, --items, --limit and --judge are for texts; smart101 has classes"
            )
        _score_smart(data, predictions_file, split or "paper", part, rows)
        return
    if split or part or rows:
        raise click.UsageError("--split, --part and --rows are for smart101; give --data the part to score")
    if (judge_url is None) != (judge_model is None):
        raise click.UsageError("--judge and --judge-model go together; give both or none")
    if (price_in is None) != (price_out is None) or (price_in is not None and judge_url is None):
        raise click.UsageError("--price-in and --price-out go together, and with --judge")
    from vkit.cli.score_suites import JudgeOptions, score_texts

    judging = None
    if judge_url is not None and judge_model is not None:
        judging = JudgeOptions(judge_url, judge_model, api_key_env, price_in, price_out)
    score_texts(suite, data, predictions_file, against=against, items=items, limit=limit, judging=judging)


def _score_smart(data: Path, predictions_file: Path, split: str, part: str | None, rows: int | None) -> None:
    from vkit.errors import VkitError
    from vkit.evaluate.smart101 import read_predictions, score_smart
    from vkit.records import only_good
    from vkit.sources.smart101 import scan_smart101, split_of

    if split == "all" and not (part is None and rows is None):
        raise click.UsageError("--split all takes every row; leave --part and --rows out")
    predictions = read_predictions(predictions_file)
    items = list(only_good(scan_smart101(data)))
    if split != "all":
        items = split_of(items, part or "test", split=split, rows=rows)
        if not items:
            raise VkitError(f"{data} holds no row of the {part or 'test'} part; choose another --split")
    report = score_smart(items, predictions)
    settings = {"suite": "smart101", "split": split, "part": None if split == "all" else part or "test"}
    click.echo(json.dumps({**settings, **report}))
    _echo_scores(report)


def _echo_scores(report: dict[str, Any]) -> None:
    from vkit.cli.tables import echo_table

    rows = [
        [
            skill,
            str(found["puzzles"]),
            str(found["count"]),
            *(_cell(found[name]) for name in report["overall"]),
        ]
        for skill, found in report["skills"].items()
    ]
    overall = map(_cell, report["overall"].values())
    rows.append(["overall", str(len(report["puzzles"])), str(report["count"]), *overall])
    headings = ["skill", "puzzles", "items", *report["overall"]]
    echo_table(headings, rows, align="l" + "r" * (len(headings) - 1), err=True)


def _cell(score: dict[str, float]) -> str:
    return f"{score['value']:.1f} ({score['low']:.1f}-{score['high']:.1f})"
