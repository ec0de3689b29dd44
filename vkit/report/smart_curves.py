"""Validation accuracy over a SmarterVLM's epochs, a panel a skill: a picture, and a page that holds it.

    curves = Curves(accuracies={0: [{"overall": {...}, "skills": {...}}, ...]}, losses={0: [(2.1, 2.0), ...]})
    Path("curves.svg").write_text(curves_svg(curves))
    Path("curves.html").write_text(curves_page(curves, recipe))

Every panel has the same axes, so that skills compare. Both are self-contained and run no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from vkit.report.charts import Chart, Line, even_ticks, step_ticks
from vkit.report.markup import content_hash, escaped

MEASURE = "S_acc"  # what the best epoch is chosen by
COLUMNS, WIDTH, HEIGHT, TITLE = 3, 300, 209, 22  # panels in a row; a panel's sides, its title's room, pixels
_INK = """
.chart text, .title { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #625c52; }
.title { font-weight: 600; fill: #1f1c18; }
.grid { stroke: #dbd5ca; fill: none; } .leader { display: none; } .line { fill: none; stroke: currentColor; }
.seed { color: #8f877a; } .seed .line { stroke-width: 1; opacity: 0.8; }
.mean, .train { color: #9c3304; } .val { color: #1c5a8c; }
.mean .line, .train .line, .val .line { stroke-width: 2.5; } .val .line { stroke-dasharray: 7 3; }
.marker { fill: currentColor; } .loss .chart text { fill: #625c52; }
"""
_PAGE_STYLE = """
body { margin: 0 auto; max-width: 62rem; padding: 2rem; background: #fbfaf7; color: #1f1c18;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } p { max-width: 46rem; }
figure { margin: 1rem 0; overflow-x: auto; } figure > svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
table { font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #dbd5ca; text-align: right; }
th:first-child { text-align: left; }
dl { display: flex; flex-wrap: wrap; gap: 0.3rem 1.5rem; } dt { color: #625c52; } dd { margin: 0; }
dl div { display: flex; gap: 0.4rem; }
"""


@dataclass(frozen=True)
class Curves:
    """accuracies: of each seed, an epoch each, ``overall`` and ``skills`` of measures in percent.

    losses: of each seed, an epoch each, (training, validation).
    """

    accuracies: Mapping[int, Sequence[Mapping[str, Any]]]
    losses: Mapping[int, Sequence[tuple[float, float]]]

    @property
    def names(self) -> list[str]:
        """The panels: overall, then the skills."""
        return ["overall", *next(iter(self.accuracies.values()))[0]["skills"]]

    def of(self, name: str) -> list[list[float]]:
        """Of each seed its values of a panel, an epoch each."""
        return [
            [(epoch["overall"] if name == "overall" else epoch["skills"][name])[MEASURE] for epoch in epochs]
            for epochs in self.accuracies.values()
        ]


def curves_svg(curves: Curves) -> str:
    """All panels in one SVG: a thin line a seed, a thick one for the mean over the seeds that got so far."""
    panels = [(name, _accuracy_panel(curves, name)) for name in curves.names]
    panels.append(("loss", _loss_panel(curves)))
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * (HEIGHT + TITLE)
    drawn = []
    for number, (name, chart) in enumerate(panels):
        left, top = WIDTH * (number % COLUMNS), (HEIGHT + TITLE) * (number // COLUMNS)
        drawing = chart.draw(f"{name} by epoch", width=WIDTH - 10, height=HEIGHT - 10)
        place = f'<svg x="{left}" y="{top + TITLE}" width="{WIDTH - 10}" height="{HEIGHT - 10}" '
        title = "loss, training and validation (dashed)" if name == "loss" else f"{name}, {MEASURE} %"
        drawn.append(f'<text class="title" x="{left + 8}" y="{top + 16}">{escaped(title)}</text>')
        drawn.append(drawing.replace("<svg ", place, 1))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Validation accuracy by epoch"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{_INK}</style>{''.join(drawn)}</svg>\n"
    )


def curves_page(curves: Curves, recipe: Mapping[str, Any]) -> str:
    """A page of the panels, their first, chosen and last values in a table, and the recipe."""
    seeds = "seed" if len(curves.accuracies) == 1 else "seeds"
    seeds += f" {', '.join(map(str, curves.accuracies))}"
    epochs = max(map(len, curves.accuracies.values()))
    spent = f"{epochs} epoch{'s' * (epochs > 1)}"
    chosen_places = [of_seed.index(max(of_seed)) for of_seed in curves.of("overall")]  # the first of equals
    rows = []
    for name in curves.names:
        values = curves.of(name)
        chosen = fmean(of_seed[place] for of_seed, place in zip(values, chosen_places))
        last = fmean(of_seed[-1] for of_seed in values)
        cells = "".join(f"<td>{value:.1f}</td>" for value in (fmean(v[0] for v in values), chosen, last))
        rows.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
    facts = "".join(
        f"<div><dt>{escaped(key)}</dt><dd>{escaped(value)}</dd></div>" for key, value in recipe.items()
    )
    policy = (
        f"default-src 'none'; style-src {content_hash(_PAGE_STYLE)} {content_hash(_INK)};"
        " base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SmarterVLM: validation by skill</title>
<link rel="icon" href="data:,">
<style>{_PAGE_STYLE}</style>
</head>
<body>
<h1>Validation accuracy by skill</h1>
<p>{MEASURE}: the predicted class is the right answer’s. {spent}; {seeds}: a thin line each, the
thick line their mean. A skill is the mean over its puzzles. Each seed’s epoch is chosen by its “overall”, so
the values of that epoch are too good by the choice; judge by the test part.</p>
<figure>{curves_svg(curves)}</figure>
<h2>In numbers</h2>
<div class="scroll" role="region" tabindex="0" aria-label="Table of accuracies">
<table><thead><tr><th scope="col">validation {MEASURE}, %</th><th scope="col">epoch 1</th>
<th scope="col">each seed’s chosen epoch</th><th scope="col">last epoch</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>
</div>
<h2>Recipe</h2>
<dl>{facts}</dl>
</body>
</html>
"""


def _accuracy_panel(curves: Curves, name: str) -> Chart:
    top = max(max(of_seed) for panel in curves.names for of_seed in curves.of(panel))
    values = curves.of(name)
    lines = [Line("", "seed", _points(of_seed), _marker(of_seed)) for of_seed in values]
    lines.append(Line("", "mean", _points(_mean(values)), _marker(values[0])))
    return Chart(lines, _epochs(curves), even_ticks(0, top, most=4), x_title="epoch")


def _loss_panel(curves: Curves) -> Chart:
    lines = []
    for place, kind in enumerate(("train", "val")):
        mean = _mean([[epoch[place] for epoch in of_seed] for of_seed in curves.losses.values()])
        lines.append(Line("", kind, _points(mean), _marker(mean)))
    top = max(y for line in lines for _, y in line.points)
    return Chart(lines, _epochs(curves), even_ticks(0, top, most=4), x_title="epoch")


def _mean(values: Sequence[Sequence[float]]) -> list[float]:
    """The mean over seeds at each epoch that all of them reached."""
    return [fmean(at_epoch) for at_epoch in zip(*values)]


def _points(values: Sequence[float]) -> list[tuple[float, float]]:
    return [(float(epoch), value) for epoch, value in enumerate(values, 1)]


def _marker(values: Sequence[float]) -> str | None:
    """A line of one or few points shows by its markers."""
    return "circle" if len(values) <= 5 else None


def _epochs(curves: Curves) -> list[tuple[float, str]]:
    """Ticks from the first epoch on; there is none before it."""
    ticks = step_ticks(max(map(len, curves.accuracies.values())))
    return [(1.0, "1"), *((place, name) for place, name in ticks if place > 1)]
