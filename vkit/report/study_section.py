"""The head of a study's page: Table 1 of Tey's study, what it leaves out, and what may be concluded.

html = draw_study(table)                   # of `vkit.study.table.build_table`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vkit.report.markup import escaped, percent
from vkit.report.overview_tables import figure, percent_or_dash, table


def draw_study(study: Mapping[str, Any]) -> str:
    """The section; every text of the study is escaped."""
    rows = study["rows"]
    note = (
        '<p class="note">The mean ratio grows with the length of an answer. “Equal positions” compares the '
        "same token positions of the same problems, “length controlled” all tokens in a regression on "
        "position; intervals are of 95%, over the problems. p is McNemar’s, of the same problems answered "
        "right or wrong.</p>"
    )
    correlations = _correlations([row for row in rows if row["correlation"] is not None])
    few = (
        f'<p class="note">The study reads a correlation off the {len(rows)} rows of its table. So few points '
        "cannot show one, and length alone may put them in order. Over the problems of each model:</p>"
    )
    leaves_out = f"What it leaves out: each variant against {escaped(study['baseline'])}"
    parts = {
        "Table 1, as the study has it": _note(study["note"]) + _paper_table(rows),
        leaves_out: _honest_table(rows, study["baseline"]) + note,
        "Ratio and right answers, over the problems": few + correlations if correlations else "",
        "Rationales and fine-tunes": _tuning_table([row for row in rows if row.get("training")]),
    }
    return "\n".join(
        f'<section class="chart-section"><h2>{title}</h2>{content}</section>'
        for title, content in parts.items()
        if content
    )


def _note(text: str) -> str:
    return f'<p class="note">{escaped(text)}</p>' if text else ""


def _paper_table(rows: Sequence[Mapping[str, Any]]) -> str:
    published = any(row["published"] for row in rows)
    heads = ["Model", "Accuracy", "95% interval", "Image-to-text attention ratio"]
    heads += ["Accuracy, published", "Ratio, published"] if published else []
    lines = []
    for row in rows:
        accuracy = row["accuracy"]
        theirs = row["published"] or {}
        line = [
            escaped(row["variant"]),
            percent(accuracy["value"]),
            "–" if accuracy["low"] is None else f"{accuracy['low']:.1f}–{accuracy['high']:.1f}%",
            figure(row["ratio"]["mean"], 3),
        ]
        if published:
            line += [percent(theirs.get("accuracy")), figure(theirs.get("ratio"), 3)]
        lines.append(line)
    return table('class="figures-table"', "Table 1", heads, lines, texts=1)


def _honest_table(rows: Sequence[Mapping[str, Any]], baseline: str) -> str:
    heads = [
        *("Model", "Median tokens", "Ratio at equal positions", "Ratio, length controlled"),
        *("Ratio without sinks", "On the image", "Accuracy", "p", "Not read", "Empty"),
    ]
    lines = []
    for row in rows:
        against = row.get("accuracy_difference")
        same = "baseline" if row["variant"] == baseline else "–"
        lines.append(
            [
                escaped(row["variant"]),
                f"{row['median_tokens']:g}",
                _difference(row.get("equal_positions"), same),
                _difference(row.get("length_controlled"), same),
                figure(row["without_sinks"], 3),
                percent_or_dash(row["image_share"]),
                same if against is None else _points(against),
                "–" if against is None else _p(against["p"]),
                f"{row['unread']:,}",
                f"{row['empty']:,}",
            ]
        )
    return table('class="figures-table differences"', "Extension of Table 1", heads, lines, texts=1)


def _difference(found: Mapping[str, Any] | None, otherwise: str) -> str:
    """A difference of ratios with its interval, or why there is none."""
    if found is None:
        return otherwise
    if found.get("low") is None:
        return f"{_signed(found.get('value'))} <small>{escaped(found.get('reason') or '')}</small>"
    low, high = figure(found["low"], 2), figure(found["high"], 2)
    return f"{_signed(found['value'])}<br><small>{low} to {high}</small>"


def _points(found: Mapping[str, Any]) -> str:
    value = f"{found['difference']:+.1f} pp".replace("-", "−")
    if found["low"] is None:
        return value
    interval = f"{found['low']:.1f} to {found['high']:.1f}".replace("-", "−")
    return f"{value}<br><small>{interval}</small>"


def _p(value: float | None) -> str:
    return "&lt;0.001" if value is not None and value < 0.001 else figure(value, 2)


def _signed(value: float | None) -> str:
    return ("+" if value is not None and value > 0 else "") + figure(value, 3)


def _correlations(rows: Sequence[Mapping[str, Any]]) -> str:
    """Ratio and right answers over the problems: what a handful of rows cannot say."""
    if not rows:
        return ""
    heads = ["Model", "Correlation with right answers", "p", "Given length", "p"]
    lines = []
    for row in rows:
        kinds = (row["correlation"]["correct"], row["correlation"]["correct_given_length"])
        cells = [cell for each in kinds for cell in (_r(each), _p(each.get("p")))]
        lines.append([escaped(row["variant"]), *cells])
    return table('class="figures-table"', "Correlations", heads, lines, texts=1)


def _r(found: Mapping[str, Any]) -> str:
    if found["r"] is None:
        return f"– <small>{escaped(found.get('reason') or '')}</small>"
    return _signed(found["r"])


def _tuning_table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    heads = [
        *("Fine-tune", "Rationales", "Written by"),
        *("Good", "Set aside", "Cost", "Examples", "Steps", "Tokens", "Last loss"),
    ]
    lines = []
    for row in rows:
        written, trained = row["rationales"], row["training"]
        aside = written.get("set_aside")
        cost = written.get("cost_usd")
        lines.append(
            [
                escaped(row["variant"]),
                escaped(written.get("kind") or written.get("file")),
                escaped(written.get("model", "given")),
                f"{written['rationales']:,}" if "rationales" in written else "–",
                "–" if aside is None else f"{sum(aside.values()):,}{_reasons(aside)}",
                "–" if cost is None else f"${cost:.2f}",
                f"{trained['examples']:,}",
                f"{trained['steps']:,}",
                f"{trained['tokens']:,}",
                figure(trained["loss"], 3),
            ]
        )
    return table('class="figures-table"', "Fine-tunes", heads, lines, texts=3)


def _reasons(aside: Mapping[str, int]) -> str:
    if not aside:
        return ""
    return f" <small>({escaped(', '.join(f'{count} {reason}' for reason, count in aside.items()))})</small>"
