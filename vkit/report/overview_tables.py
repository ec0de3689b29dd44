"""Tables of figures as HTML, and how a figure is written in them.

>>> table('id="runs"', "Runs", ["Run", "Items"], [["cot", "601"]], texts=1).count("<tr>")
2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vkit.report.markup import escaped, percent

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def table(kind: str, label: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """A table of cells that are HTML already, in a box that scrolls.

    Args:
        kind: attributes of the table.
        heads: of the columns; the first names the rows.
        texts: how many columns are text; those after them are numbers.
    """

    def cell(place: int, content: str) -> str:
        number = ' class="number"' if place >= texts else ""
        return f"<td{number}>{content}</td>" if place else f'<th scope="row">{content}</th>'

    head = "".join(
        f'<th scope="col"{" class=number" if place >= texts else ""}>{escaped(name)}</th>'
        for place, name in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(cell(*each) for each in enumerate(row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(label)}"><table {kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(value: float | None, digits: int = 4) -> str:
    """Significant digits, or a dash; what is below rounding is zero.

    >>> figure(0.000158234), figure(-1.5), figure(0.00001), figure(12345.6), figure(None)
    ('0.0001582', '−1.500', '1.000 × 10⁻⁵', '12346', '–')
    """
    if value is None or np.isnan(value):
        return "–"
    if abs(value) <= 1e-12:
        return "0"
    written = f"{value:#.{digits}g}".removesuffix(".")
    if "e+" in written:
        written = f"{value:.0f}"
    base, _, power = written.partition("e-")
    small = f" × 10⁻{str(int(power)).translate(_RAISED)}" if power else ""
    return base.replace("-", "−") + small


def percent_or_dash(share: float | None) -> str:
    return percent(None if share is None or np.isnan(share) else 100 * share)
