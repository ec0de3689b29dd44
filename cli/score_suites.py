"""What `vkit score` does for the benchmarks whose predictions are texts; its options stand in `score`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click

LISTED = 10  # ids of unread predictions on stderr; stdout has all


class JudgeOptions(NamedTuple):
    """Where the judge is and what it costs; prices in US dollars for a million tokens, both or none."""

    url: str
    model: str
    key_variable: str
    price_in: float | None
    price_out: float | None


def score_texts(
    suite_name: str,
    data: Path,
    predictions: Path,
    *,
    against: Path | None,
    items: Path | None,
    limit: int | None,
    judging: JudgeOptions | None,
) -> None:
    """Score a run, and compare it with another one: JSON to stdout, a table to stderr."""
    from vkit.errors import VkitError
    from vkit.evaluate.scoring import (
        compare_marks,
        item_lines,
        mark_outputs,
        read_predictions,
        report_marks,
    )
    from vkit.evaluate.suites import SUITES
    from vkit.jsonl import write_jsonl
    from vkit.records import only_good

    suite = SUITES[suite_name]
    files = [path for path in (predictions, against) if path is not None]
    runs = [(path, *read_predictions(path)) for path in files]
    samples = list(islice(only_good(suite.scan(data)), limit))
    marks = []
    with _judge(judging, predictions) as judge:
        for path, outputs, given in runs:
            try:
                marks.append(mark_outputs(suite, samples, outputs, extractions=given, judge=judge))
            except VkitError as error:
                raise VkitError(f"{path}: {error}") from error
    report: dict[str, Any] = {"suite": suite_name, **report_marks(suite, marks[0])}
    if against is not None:
        theirs = report_marks(suite, marks[1])
        other = {name: theirs[name] for name in ("figures", "read_by", "unread")}
        report["against"] = {**other, "differences": compare_marks(suite, marks[0], marks[1])}
    if judge is not None and judging is not None:
        names = ("asked", "failed", "cost_usd", "input_tokens", "output_tokens")
        report["judge"] = {"model": judging.model, **{name: getattr(judge, name) for name in names}}
    if items is not None:
        write_jsonl(items, item_lines(marks[0]))
    click.echo(json.dumps(report, ensure_ascii=False))
    _echo_report(suite.title, suite.main, report)


def _judge(options: JudgeOptions | None, predictions: Path) -> Any:
    if options is None:
        return nullcontext(None)
    from vkit.evaluate.judge import endpoint_judge
    from vkit.teacher.store import Prices

    return endpoint_judge(
        predictions.with_name(f"{predictions.name}.judge.jsonl"),
        model=options.model,
        base_url=options.url,
        key_variable=options.key_variable,
        prices=Prices.of(options.price_in, options.price_out),
    )


def _echo_report(title: str, main: str, report: Mapping[str, Any]) -> None:
    from vkit.cli.tables import echo_table

    against = report.get("against", {}).get("differences", {})
    of_groups = against.get("groups", {})
    rows = [
        [name, str(figure["count"]), _cell(figure), *_paired(against.get(name))]
        for name, figure in report["figures"].items()
    ]
    rows += [
        [f"  {value}", str(found["count"]), _cell(found["accuracy"]), *_paired(of_groups.get(value))]
        for value, found in report["groups"].get(main, {}).items()
    ]
    headings = [title, "items", "% (95%)"] + (["difference (95%)", "p"] if against else [])
    echo_table(headings, rows, align="l" + "r" * (len(headings) - 1), err=True)
    if (gap := report.get("spread", {}).get("gap_percent")) is not None:
        click.echo(f"gap of text-dominant over vision-only: {gap:.1f}%", err=True)
    read = ", ".join(f"{count} by {reader}" for reader, count in report["read_by"].items() if count)
    unread = report["unread"]
    click.echo(f"read {read or 'none'}; {unread['count']} unread{_some(unread['ids'])}", err=True)
    if judge := report.get("judge"):
        cost = "cost not known" if judge["cost_usd"] is None else f"${judge['cost_usd']:.4f} in all"
        click.echo(
            f"judge {judge['model']}: {judge['asked']} asked, {judge['failed']} failed, {cost}", err=True
        )


def _paired(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    interval = "" if found["low"] is None else f" ({found['low']:+.1f} to {found['high']:+.1f})"
    return [f"{found['difference']:+.1f}{interval}", "-" if found["p"] is None else f"{found['p']:.2g}"]


def _cell(score: Mapping[str, float | None]) -> str:
    interval = "" if score["low"] is None else f" ({score['low']:.1f}-{score['high']:.1f})"
    return f"{score['value']:.1f}{interval}"


def _some(ids: list[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    return f" (counted as wrong): {', '.join(ids[:LISTED])}{more}"
