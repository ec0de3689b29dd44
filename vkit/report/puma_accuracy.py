"""The demo page's accuracies: one sentence, a card for each stage, a chart and a table.

    runs = list_runs(report)
    headline(runs), card(runs[0]), draw_accuracies(runs), table(runs), chance(runs)

A gap never stands without both accuracies that it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vkit.evaluate.statistics import wilson
from vkit.report.charts import Chart, Line
from vkit.report.markup import bar, escaped, percent
from vkit.synthesis.drawn import VERSIONS

TEXT, VISION = "text-dominant", "vision-only"  # the two sides of the gap
STAGES = {
    "1": "The language model learns to solve problems given as text, without a picture.",
    "2": "The picture’s twin of each problem is pulled towards its text twin: two KL divergences and "
    "cross-entropy.",
    "3": "All versions mixed, in ordinary fine-tuning.",
}


@dataclass(frozen=True)
class Run:
    """One evaluation of the demo.

    order: place of its order of stages, 0 for the full one.
    name: short, for tables and lines; title: of its card; about: a sentence on what was trained.
    final: whether it is the last of its order, and stands for it.
    accuracy: percent by version; gap: percent, None where nothing is right in the picture alone.
    count: problems a version.
    """

    order: int
    name: str
    title: str
    about: str
    final: bool
    accuracy: Mapping[str, float]
    gap: float | None
    count: int


def list_runs(report: Mapping[str, Any]) -> list[Run]:
    """Every evaluation of a demo's report, in order."""
    full = report["orders"][0]["name"]
    runs = []
    for place, order in enumerate(report["orders"]):
        name, last = order["name"], list(order["after"])[-1]
        for stage, found in order["after"].items():
            early = f"after stage {stage}" if place == 0 else f"{name}, after stage {stage}"
            runs.append(
                Run(
                    order=place,
                    name=name if stage == last else early,
                    title=_left_out(full, name) if place else f"After stage {stage}",
                    about=f"{_listed(name)} alone, to compare." if place else STAGES.get(stage, ""),
                    final=stage == last,
                    accuracy=found["accuracy"],
                    gap=found["gap_percent"],
                    count=found.get("count", {}).get(VISION, report["problems"]),
                )
            )
    return runs


def _left_out(full: str, order: str) -> str:
    """What an order of stages is, beside the full one."""
    missing = [stage for stage in full.split("-") if stage not in order.split("-")]
    return f"Without {_listed('-'.join(missing)).lower()}" if missing else f"In the order {order}"


def _listed(order: str) -> str:
    stages = order.split("-")
    return f"Stage {order}" if len(stages) == 1 else f"Stages {' and '.join(stages)}"


def headline(runs: Sequence[Run]) -> str:
    """One sentence: both accuracies and the gap of each order's last stage."""
    clauses = []
    for run in runs:
        text, vision = (f"<b>{percent(run.accuracy.get(version))}</b>" for version in (TEXT, VISION))
        name = escaped(run.name.replace("-", "\u2011"))  # a hyphen that does not break the line
        gap = f'<span class="gap">(gap {_gap(run.gap)})</span>'
        if run.final and run.order == 0:
            clauses.append(
                f"After stages {name} the model solves {vision} of the problems that stand only "
                f"in the picture and {text} of those told in text {gap}"
            )
        elif run.final:
            how = f"{run.title[0].lower()}{run.title[1:]}"
            clauses.append(f"{escaped(how)} ({name}), {vision} and {text} {gap}")
    return "; ".join(clauses) + "."


def card(run: Run) -> str:
    """A stage on a card: what it taught, three accuracies as bars, the gap below them."""
    bars = "".join(
        f"<div><dt>{version}</dt><dd>{bar(run.accuracy.get(version))}"
        f"<span>{percent(run.accuracy.get(version))}</span></dd></div>"
        for version in ("text-only", TEXT, VISION)
    )
    kind = "control" if run.order else "final" if run.final else "early"
    return (
        f'<li class="{kind}"><h3>{escaped(run.title)}</h3><p>{escaped(run.about)}</p><dl>{bars}'
        f"<div><dt>gap</dt><dd><span>{_gap(run.gap)}</span></dd></div></dl></li>"
    )


def draw_accuracies(runs: Sequence[Run]) -> str:
    """A line a run, from text to picture; the last stages stand out."""
    lines, early = [], 0
    for run in runs:
        if run.final:
            kind, marker = f"k{min(run.order, 3)}", "square" if run.order else "circle"
        else:
            kind, marker = f"early e{early % 2}", ("diamond", "triangle")[early % 2]
            early += 1
        points = [(i, run.accuracy[v]) for i, v in enumerate(VERSIONS) if v in run.accuracy]
        lines.append(Line(run.name, kind, points, marker))
    ticks = [(i, version.replace("-", "-\n")) for i, version in enumerate(VERSIONS)]
    chart = Chart(lines, ticks, [(y, f"{y}%") for y in (0, 25, 50, 75, 100)])
    return chart.draw_both("Accuracy by version; the table below has every number.")


def table(runs: Sequence[Run]) -> str:
    """Every accuracy; the gap's cell repeats both that it is made of."""
    head = "".join(f'<th scope="col">{name}</th>' for name in (*VERSIONS, "all", "gap"))
    rows = []
    for run in runs:
        figures = {version: percent(run.accuracy.get(version)) for version in (*VERSIONS, "all")}
        cells = "".join(
            f'<td class="{"side" if version in (TEXT, VISION) else "other"}">{figure}</td>'
            for version, figure in figures.items()
        )
        rows.append(
            f'<tr class="{"final" if run.final else "early"}"><th scope="row">{escaped(run.name)}</th>{cells}'
            f'<td class="side">{_gap(run.gap)} <small>{figures[TEXT]} to {figures[VISION]}</small></td></tr>'
        )
    return (
        '<table class="accuracies"><caption>Right answers</caption><thead><tr>'
        f'<th scope="col">Model</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def chance(runs: Sequence[Run]) -> str:
    """How far chance alone reaches, for the number of each order that it matters most for."""
    found = []
    for run in runs:
        if run.final and (share := run.accuracy.get(VISION)) is not None:
            low, high = (100 * bound for bound in wilson(round(share * run.count / 100), run.count))
            found.append(f"{percent(share)} of {run.count} problems leaves {low:.0f} to {high:.0f}% open")
    return f"Chance in vision-only: {', '.join(found)} (Wilson’s 95% intervals)." if found else ""


def _gap(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.0f}%".replace("-", "−")
