"""The charts of a page's overview: the ratio along answers, where weight goes, how the items are spread.

    section = ratio_by_position(runs)       # HTML: a heading, what one sees in a sentence, the chart

Each takes the runs' figures (`vkit.report.run_figures.RunFigures`) and returns a section, empty where there
is nothing to draw. Every statement in words is made from the figures that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vkit.attention.names import SHARES
from vkit.evaluate.statistics import MIN_ITEMS
from vkit.report.charts import (
    MARKERS,
    Area,
    Bar,
    Chart,
    Cloud,
    Line,
    draw_grid,
    draw_steps,
    even_ticks,
    shortened,
    step_ticks,
)
from vkit.report.markup import escaped
from vkit.report.run_figures import RunFigures

COURSE_POINTS = 200  # of a course along the output, at most
FEW = 0.05  # of a run's answers: a course ends where fewer are left, for what follows is noise
BINS = 24  # of a histogram
SIDE_BY_SIDE = 3  # charts of single runs; those of more runs are folded away
LEVELS = 16  # colours of the layers and heads
SHARE_NAMES = {
    "first_token": "first token",
    "before_image": "before the image",
    "image": "image",
    "question": "question",
    "prompt_rest": "rest of prompt",
    "generated": "output so far",
}
# Class, marker, and name of the three marks that an answer can have.
MARKS = {True: ("correct", "circle"), False: ("wrong", "triangle"), None: ("unjudged", "square")}
REDUCED = {"mean": "Mean ratio", "sum": "Summed ratio", "max": "Highest ratio"}  # over an answer's tokens


def ratio_by_position(runs: Sequence[RunFigures]) -> str:
    """One line a run: the mean ratio over the answers that reach each position."""
    courses = [run.ratio.course(COURSE_POINTS, _least(run)) for run in runs]
    if not any(courses):
        return ""
    lines, seen = [], []
    for place, (run, course) in enumerate(zip(runs, courses)):
        points = [(x, means[0]) for x, means, _ in course]
        lines.append(Line(shortened(run.name), f"k{place % 4}", points))
        if course:
            (first, (start,), _), (last, (end,), left) = course[0], course[-1]
            seen.append(
                f"{run.name}: from {start:.3g} at token {first:.0f} to {end:.3g} at token {last:.0f}, "
                f"which {left} of {_speaking(run)} answers reach"
            )
    top = max(value for line in lines for _, value in line.points)
    longest = max(x for line in lines for x, _ in line.points)
    chart = Chart(
        lines,
        step_ticks(int(longest)),
        even_ticks(0, top),
        x_title="position in the output",
        y_title="mean ratio",
    )
    note = (
        f"{'; '.join(seen)}. Late positions are of long answers only; where under "
        f"{100 * FEW:.0f}% of a run’s answers are left, its line ends."
    )
    return _section("Ratio by position", note, chart.draw_both("Mean ratio by position in the output."))


def shares_by_position(runs: Sequence[RunFigures]) -> str:
    """Where a row's weight goes along the output, stacked to 100%, a chart a run."""

    courses = {id(run): run.shares.course(COURSE_POINTS, _least(run)) for run in runs}
    longest = int(max((course[-1][0] for course in courses.values() if course), default=0))

    def draw(run: RunFigures) -> str | None:
        course = courses[id(run)]
        if not course:
            return None
        stacks = [np.concatenate([[0.0], np.cumsum(means)]) for _, means, _ in course]
        areas = [
            Area(
                SHARE_NAMES[name],
                f"share-{name}",
                [(x, float(s[k]), float(s[k + 1])) for (x, _, _), s in zip(course, stacks)],
            )
            for k, name in enumerate(SHARES)
        ]
        percents = [(y / 4, f"{25 * y}%") for y in range(5)]
        ticks, title = step_ticks(longest), "position in the output"
        chart = Chart([], ticks, percents, areas=areas, reach=longest, x_title=title)
        image = SHARES.index("image")
        start, end = (100 * course[at][1][image] for at in (0, -1))
        return _drawn_one(
            runs, chart, f"Weight by part; on the image {start:.1f}% at first and {end:.1f}% at last."
        )

    note = (
        "Of all attention of an output token, averaged over layers, heads and answers. A ratio that rises "
        "while the image’s band does not widen rises because the problem’s text loses weight."
    )
    return _section("Where the attention goes, by position", note, _per_run(runs, draw))


def ratio_distribution(runs: Sequence[RunFigures]) -> str:
    """Histograms of the items' ratios on one scale, correct and wrong answers told apart."""
    values = [row["ratio"] for run in runs for row in run.rows if row["ratio"] is not None]
    if not values:
        return ""
    x_ticks = even_ticks(min(values), max(values))
    edges = np.linspace(x_ticks[0][0], x_ticks[-1][0], BINS + 1)

    def counts(run: RunFigures) -> dict[bool | None, np.ndarray]:
        return {mark: np.histogram(_column(run, "ratio", mark), edges)[0] for mark in MARKS}

    found = {id(run): counts(run) for run in runs}
    y_ticks = even_ticks(
        0, max(5, *(int(sum(each.values(), np.zeros(BINS)).max()) for each in found.values()))
    )

    def draw(run: RunFigures) -> str | None:
        bars, below = [], np.zeros(BINS)
        for mark, (kind, _) in MARKS.items():
            above = below + found[id(run)][mark]
            bars += [
                Bar(kind, float(edges[k]), float(edges[k + 1]), float(below[k]), float(above[k]))
                for k in range(BINS)
                if above[k] > below[k]
            ]
            below = above
        if not bars:
            return None
        chart = Chart([], x_ticks, y_ticks, bars=bars, x_title="ratio of an answer", y_title="answers")
        return _drawn_one(runs, chart, f"Histogram of the ratios of {int(below.sum())} answers.")

    middle = (f"{run.name} {np.median(v):.3g}" for run in runs if (v := _column(run, "ratio")).size)
    note = f"One ratio per answer. Medians: {', '.join(middle)}."
    return _section("Distribution of the ratio", note, _key(runs, "rect") + _per_run(runs, draw))


def ratio_by_length(runs: Sequence[RunFigures]) -> str:
    """Ratio against the number of output tokens: the confound of the measure."""
    rows = [row for run in runs for row in run.rows if row["ratio"] is not None]
    if not rows:
        return ""
    longest = max(row["length"] for row in rows)
    x_ticks = step_ticks(longest)
    y_ticks = even_ticks(min(row["ratio"] for row in rows), max(row["ratio"] for row in rows))

    def draw(run: RunFigures) -> str | None:
        clouds = [
            Cloud(
                kind,
                marker,
                list(zip(_column(run, "length", mark).tolist(), _column(run, "ratio", mark).tolist())),
            )
            for mark, (kind, marker) in MARKS.items()
        ]
        if not any(cloud.points for cloud in clouds):
            return None
        chart = Chart(
            [], x_ticks, y_ticks, clouds=clouds, reach=longest, x_title="output tokens", y_title="ratio"
        )
        return _drawn_one(runs, chart, "Ratio of each answer against its number of output tokens.")

    note = (
        f"{_length_words(runs)} The ratio changes along an answer, so answers of other lengths have other "
        "ratios however much the model looks."
    )
    return _section("Ratio against length", note, _key(runs, "path") + _per_run(runs, draw))


def head_shares(runs: Sequence[RunFigures]) -> str:
    """Image share in each layer and head, mean over the run's items; each run on a scale of its own."""

    def draw(run: RunFigures) -> str | None:
        share = run.head_share
        if share is None:
            return None
        top = float(share.max()) or 1.0
        order = np.argsort(-share, axis=None, kind="stable")[:3]
        strongest = ", ".join(
            f"layer {at // share.shape[1]} head {at % share.shape[1]} {100 * share.flat[at]:.1f}%"
            for at in order.tolist()
        )
        grid = draw_grid((share / top).tolist(), levels=LEVELS, row_name="layer", column_name="head")
        words = (
            f"{100 * float(share.mean()):.1f}% on average over {run.head_items} answers; most: {strongest}."
        )
        legend = draw_steps(LEVELS, "0%", f"{100 * top:.1f}%")
        return f'{grid}<div>{legend}</div><p class="note">{escaped(words)}</p>'

    if all(run.head_share is None for run in runs):
        return ""
    note = "The part of each head’s attention that lies on the image, averaged over tokens, then answers."
    return _section("Which heads look at the image", note, _per_run(runs, draw))


def matched_difference(pair: Mapping[str, Any]) -> str:
    """The difference of a pair that `vkit.attention.compare` compared, at each position that both reach."""
    curve = pair["curve"]
    least = max(1, FEW * pair["measured"])
    found = zip(curve["position"], curve["difference"], curve["items_both"])
    points = [(x, y) for x, y, items in found if y is not None and items >= least]
    if not points:
        return ""
    heights = [y for _, y in points]
    chart = Chart(
        [Line("difference", "k2", points)],
        step_ticks(int(points[-1][0])),
        even_ticks(min(heights), max(heights)),
        x_title="position in the output",
        y_title="difference of the mean ratio",
    )
    drawn = chart.draw_both("Difference of the ratios at equal positions.")
    return f'<p class="note">At each position, over the problems whose answers both reach it.</p>{drawn}'


def _section(title: str, note: str, content: str) -> str:
    if not content:
        return ""
    return (
        f'<section class="chart-section"><h2>{escaped(title)}</h2><p class="note">{escaped(note)}</p>'
        f"{content}</section>"
    )


def _drawn_one(runs: Sequence[RunFigures], chart: Chart, description: str) -> str:
    """The chart of one run: over the whole width where it is alone, small beside those of the others."""
    if len(runs) == 1:
        return chart.draw_both(description)
    return chart.draw(description, width=440, height=300)


def _per_run(runs: Sequence[RunFigures], draw: Callable[[RunFigures], str | None]) -> str:
    """A figure for each run that has something to draw; more than `SIDE_BY_SIDE` are folded away."""
    figures = []
    for run in runs:
        if drawn := draw(run):
            caption = f"<figcaption>{escaped(run.name)}</figcaption>" if len(runs) > 1 else ""
            figures.append(f"<figure>{caption}{drawn}</figure>")
    if not figures:
        return ""
    shown, folded = _side_by_side(figures[:SIDE_BY_SIDE]), figures[SIDE_BY_SIDE:]
    if folded:
        more = f"{len(folded)} more run{'s' if len(folded) > 1 else ''}"
        shown += f'<details class="more-runs"><summary>{more}</summary>{_side_by_side(folded)}</details>'
    return shown


def _side_by_side(figures: Sequence[str]) -> str:
    return f'<div class="per-run">{"".join(figures)}</div>'


def _key(runs: Sequence[RunFigures], shape: str) -> str:
    """What the marks of correct, wrong and unjudged answers look like; only those that occur."""
    seen = {row["correct"] for run in runs for row in run.rows if row["ratio"] is not None}
    parts = []
    for mark, (kind, marker) in MARKS.items():
        if mark in seen:
            drawn = f'<path class="marker {kind}" d="M8 8{MARKERS[marker]}"/>'
            if shape == "rect":
                drawn = f'<rect class="{kind}" x="2" y="2" width="12" height="12"/>'
            name = "not judged" if mark is None else kind
            swatch = f'<svg class="swatch" viewBox="0 0 16 16" aria-hidden="true">{drawn}</svg>'
            parts.append(f'<span class="key">{swatch}{name}</span>')
    return f'<p class="legend">{" ".join(parts)}</p>'


def _column(run: RunFigures, key: str, mark: bool | str | None = "all") -> np.ndarray:
    """A figure of the answers that have a ratio, of one mark or all."""
    rows = (row for row in run.rows if row["ratio"] is not None)
    return np.array([row[key] for row in rows if mark == "all" or row["correct"] is mark], dtype=float)


def _length_words(runs: Sequence[RunFigures]) -> str:
    """The correlation of ratio and length of each run, where both vary."""
    found = []
    for run in runs:
        ratio, length = _column(run, "ratio"), _column(run, "length")
        if len(ratio) >= MIN_ITEMS and ratio.std() > 0 and length.std() > 0:
            correlation = f"{np.corrcoef(ratio, length)[0, 1]:.2f}".replace("-", "−")
            found.append(f"{run.name} {correlation}")
    return f"Correlation of ratio and length: {', '.join(found)}." if found else ""


def _speaking(run: RunFigures) -> int:
    return sum(row["length"] > 0 for row in run.rows)


def _least(run: RunFigures) -> int:
    return max(1, int(np.ceil(FEW * _speaking(run))))
