"""What `vkit.attention.compare` found between the runs of a page: its sentences first, then its figures.

section = draw_comparison(compare([Path("runs/direct"), Path("runs/cot")]))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vkit.report.markup import escaped
from vkit.report.overview_charts import SHARE_NAMES, matched_difference
from vkit.report.overview_tables import figure, table

SIDES = ("baseline", "other")


def draw_comparison(comparison: Mapping[str, Any] | str | None) -> str:
    """The section; the line alone where the comparison was refused, nothing where there is none."""
    if comparison is None:
        return ""
    if isinstance(comparison, str):
        content = f'<p class="refusal">Not compared: {escaped(comparison)}</p>'
    else:
        pairs = "".join(_pair(pair) for pair in comparison["pairs"])
        content = _sentences("notes", "", comparison["notes"]) + pairs
    return f'<section id="comparison" class="chart-section"><h2>Comparison</h2>{content}</section>'


def _pair(pair: Mapping[str, Any]) -> str:
    """One run against the baseline."""
    said = pair["conclusions"]
    title = f"{pair['other']} against {pair['baseline']}"
    figures = curve = ""
    if pair["measured"]:
        heads = ["Figure", pair["baseline"], pair["other"], "Difference", "95% interval"]
        figures = table('class="figures-table differences"', title, heads, _differences(pair), texts=1)
        curve = matched_difference(pair)
    return (
        f'<section class="pair"><h3>{escaped(title)}</h3>'
        f"{_sentences('may', 'What may be concluded', said['may'])}"
        f"{_sentences('may-not', 'What may not be concluded', said['may_not'])}{figures}{curve}</section>"
    )


def _sentences(kind: str, title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    lines = "".join(f"<li>{escaped(line)}</li>" for line in sentences)
    return f'{f"<h4>{title}</h4>" if title else ""}<ul class="{kind}">{lines}</ul>'


def _differences(pair: Mapping[str, Any]) -> Iterable[list[str]]:
    """The rows of the table of differences."""
    matched, without = pair["position_matched"], pair["without"]
    yield _row("Mean ratio, as the paper", pair["raw"])
    yield _row("Ratio at equal positions", matched["ratio"])
    yield _row("Ratio, length controlled", pair["length_controlled"])
    yield _row("V at equal positions", matched["V"])
    yield _row("P at equal positions", matched["P"])
    for name, words in SHARE_NAMES.items():
        yield _row(f"Share of {words}, at equal positions", matched["shares"][name], percents=True)
    for key, words in (("sinks", "sinks"), ("first_token", "the first token"), ("both", "both")):
        yield _row(f"Ratio without {words}, at equal positions", without[key])
    yield _row("Accuracy", pair["accuracy"], percents=True)


def _row(name: str, found: Mapping[str, Any], *, percents: bool = False) -> list[str]:
    """A figure of both runs, their difference and its interval, or why there is none."""

    def shown(key: str, digits: int = 3) -> str:
        value = found.get(key)
        if value is None or not percents:
            return figure(value, digits)
        return f"{100 * value:.1f}".replace("-", "−")

    sides = [shown(key, 4) + ("%" if percents and found.get(key) is not None else "") for key in SIDES]
    unit = " pp" if percents else ""  # a difference of percentages is in points
    interval = f"{shown('low')} to {shown('high')}{unit}"
    if found.get("low") is None:
        interval = f"<small>{escaped(found.get('reason') or '–')}</small>"
    value = shown("value") + (unit if found.get("value") is not None else "")
    return [escaped(name), *sides, value, interval]
