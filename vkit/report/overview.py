"""The overview of a page, made of HTML and SVG that need no script: tables, charts, a comparison of runs.

    html = draw_overview(runs, comparison)     # of RunFigures, and of `vkit.attention.compare.compare`

Figures are those of `vkit.attention.summary` and of the items; nothing is measured anew here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np

from vkit.evaluate.statistics import wilson
from vkit.report.markup import escaped, percent
from vkit.report.overview_charts import (
    REDUCED,
    head_shares,
    ratio_by_length,
    ratio_by_position,
    ratio_distribution,
    shares_by_position,
)
from vkit.report.overview_comparison import draw_comparison
from vkit.report.overview_tables import figure, percent_or_dash, table
from vkit.report.run_figures import RunFigures


def draw_overview(runs: Sequence[RunFigures], comparison: Mapping[str, Any] | str | None) -> str:
    """The inside of the overview's section.

    Args:
        runs: what is on the page.
        comparison: of the runs, the line with which it was refused, or None where there is one run.
    """
    parts = [
        _runs_table(runs),
        _notes(runs),
        draw_comparison(comparison),
        ratio_by_position(runs),
        ratio_by_length(runs),
        ratio_distribution(runs),
        _marks_table(runs),
        shares_by_position(runs),
        head_shares(runs),
        *(_settings(run, several=len(runs) > 1) for run in runs),
    ]
    return "\n".join(part for part in parts if part)


def _runs_table(runs: Sequence[RunFigures]) -> str:
    reduced = {run.reduce for run in runs}
    heads = [
        *("Run", "Model", "Prompt", "Items", "Accuracy", "95% interval"),
        REDUCED[runs[0].reduce] if len(reduced) == 1 else "Ratio",
        *("Median tokens", "V", "P", "On the image", "On the first token", "Not read", "Without ratio"),
    ]
    rows = []
    for run in runs:
        totals = run.totals
        correct = sum(row["correct"] is True for row in run.rows)
        interval = accuracy = "–"
        if totals["judged"]:
            accuracy = percent(100 * correct / totals["judged"])
            low, high = wilson(correct, totals["judged"])
            interval = f"{100 * low:.1f}–{100 * high:.1f}%"
        ratio = figure(totals["ratio"][run.reduce])
        shares = (percent_or_dash(totals["shares"][name]) for name in ("image", "first_token"))
        adapter = f" + {escaped(run.summary['adapter'])}" if run.summary.get("adapter") else ""
        rows.append(
            [
                f'<a href="#{_address(runs.index(run), run.ids[0])}">{escaped(run.name)}</a>',
                escaped(run.summary["model"]) + adapter,
                escaped(run.summary.get("prompt") or "–"),
                f"{totals['items']:,}",
                accuracy,
                interval,
                ratio if len(reduced) == 1 else f"{ratio} <small>{run.reduce}</small>",
                f"{totals['median_output_tokens']:g}",
                figure(run.mean("V")),
                figure(run.mean("P")),
                *shares,
                f"{totals['not_extracted']:,}",
                f"{totals['empty'] + totals['without_ratio']:,}",
            ]
        )
    return table('id="runs" class="figures-table"', "Runs", heads, rows, texts=3)


def _address(run: int, record_id: str) -> str:
    return escaped(urlencode({"run": run, "item": record_id, "token": 0}, errors="replace"))


def _notes(runs: Sequence[RunFigures]) -> str:
    """What the figures are means of, and where a run's own summary speaks of other items."""
    lines = [
        "Ratio and accuracy as in the study’s Table 1: the mean over an answer’s tokens, then over items; "
        "answers without a ratio are left out. V and P: attention to an image token and to a token of the "
        "problem’s text."
    ]
    for run in runs:
        name = f"{run.name}: " if len(runs) > 1 else ""
        if run.summary.get("text"):
            lines.append(f"{name}Answers were given, not generated: accuracy is that of the given answers.")
        if run.summary["items"] not in (None, len(run.rows)):
            lines.append(
                f"{name}summary.json speaks of {run.summary['items']} items, the folder holds "
                f"{len(run.rows)}; this page shows and counts all of them."
            )
    return "".join(f'<p class="note">{escaped(line)}</p>' for line in lines)


def _marks_table(runs: Sequence[RunFigures]) -> str:
    """Correct and wrong side by side. Lengths stand beside the ratios: they may explain them."""
    heads = ["Run", "Answers", "Count", "Ratio", "Median tokens", "V", "P", "On the image"]
    rows = []
    for run in runs:
        for mark, name in ((True, "correct"), (False, "wrong"), (None, "not judged")):
            chosen = [row for row in run.rows if row["correct"] is mark]
            if chosen:
                rows.append(
                    [
                        escaped(run.name),
                        f'<span class="mark {name.split()[-1]}">{name}</span>',
                        f"{len(chosen):,}",
                        figure(run.mean("ratio", chosen)),
                        f"{np.median([row['length'] for row in chosen]):g}",
                        figure(run.mean("V", chosen)),
                        figure(run.mean("P", chosen)),
                        percent_or_dash(run.mean("image", chosen)),
                    ]
                )
    title = "Correct and wrong answers"
    marks = table('id="marks" class="figures-table"', title, heads, rows, texts=2)
    note = (
        "A difference in ratio between correct and wrong answers means little where their lengths differ "
        "too: see the ratio against length."
    )
    return (
        f'<section class="chart-section"><h2>{title}</h2><p class="note">{escaped(note)}</p>{marks}</section>'
    )


def _settings(run: RunFigures, *, several: bool) -> str:
    """Everything that the summary says beside the limits, as it says it."""
    said = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in run.summary.items()
        if key != "limits"
    }
    terms = "".join(
        f"<div><dt>{escaped(key)}</dt><dd>{escaped(value)}</dd></div>" for key, value in said.items()
    )
    title = f"Settings of {escaped(run.name)}" if several else "Settings of the run"
    return (
        f'<details class="run-settings"><summary>{title}</summary><dl class="settings">{terms}</dl></details>'
    )
