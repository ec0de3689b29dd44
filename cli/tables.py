"""Compact tables for people: aligned, coloured on a terminal, plain everywhere else.

    echo_table(["run", "ratio"], [["direct", "0.20"], ["cot", Cell("0.93", "cyan")]], align="lr")
    echo_summary(summary)            # the key figures of a run's summary.json

Numbers are never cut; long names are, where a terminal is too narrow.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import click

SHORTEST = 6  # characters that are left of a long name
SHARES = {
    "first_token": "first token",
    "before_image": "before image",
    "image": "image",
    "question": "question",
    "prompt_rest": "rest of prompt",
    "generated": "generated",
}


class Cell(NamedTuple):
    """A text in a colour of `click.style`."""

    text: str
    colour: str | None = None


def echo_table(
    headings: Sequence[str], rows: Sequence[Sequence[str | Cell]], *, align: str, err: bool = False
) -> None:
    """Print a table to stdout, or stderr: in colours and within the width where that is a terminal.

    Args:
        align: a letter a column: "l" names on the left, which may be cut; "t" texts on the left and "r"
            figures on the right, which may not.
    """
    stream = sys.stderr if err else sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else None
    for line in format_table(headings, rows, align=align, width=width, colours=has_colours(stream)):
        click.echo(line, err=err, color=True)


def format_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    align: str,
    width: int | None = None,
    colours: bool = False,
) -> list[str]:
    """The lines of a table of ``width`` characters at most, where names can be cut that far.

    >>> format_table(["run", "ratio"], [["a-long-name", "0.25"]], align="lr", width=14)
    ['run      ratio', 'a-l…ame   0.25']
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in (headings, *rows)]
    cells = [[Cell(printable(text), colour) for text, colour in row] for row in cells]
    widths = [max(len(row[column].text) for row in cells) for column in range(len(headings))]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        names = [column for column, side in enumerate(align) if side == "l" and widths[column] > SHORTEST + 1]
        if not names:
            break
        widths[max(names, key=lambda column: widths[column])] -= 1
    lines = []
    for number, row in enumerate(cells):
        parts = []
        for (text, colour), size, side in zip(row, widths, align):
            text = _shorten(text, size)
            text = text.rjust(size) if side == "r" else text.ljust(size)
            styled = colours and (colour is not None or number == 0)
            parts.append(click.style(text, fg=colour, bold=number == 0 or None) if styled else text)
        lines.append("  ".join(parts).rstrip())
    return lines


def _shorten(text: str, size: int) -> str:
    """The text in ``size`` characters, both of its ends kept: names of runs differ at the end."""
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return f"{text[: size - 1 - tail]}…{text[len(text) - tail :]}"


def has_colours(stream: TextIO) -> bool:
    """Whether colours go there: a terminal, and the environment does not say NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def echo_summary(summary: Mapping[str, Any], *, err: bool = False) -> None:
    """Print the key figures of a run's ``summary.json``, a few lines."""
    ratio, shares = summary["ratio"], summary.get("shares") or {}
    accuracy = "not judged"
    if summary.get("accuracy") is not None:
        accuracy = f"{summary['accuracy']:.1%} of {summary.get('judged', summary['items'])} problems"
        accuracy += f", {summary['not_extracted']} without a readable answer" * bool(
            summary.get("not_extracted")
        )
    means = "   ".join(f"{name} {number(ratio[name])}" for name in ("mean", "sum", "max"))
    weights = [f"{title} {percent(shares.get(name))}" for name, title in SHARES.items()]
    tokens = summary.get("median_output_tokens")
    rows: list[list[str | Cell]] = [
        ["correct", accuracy],
        ["ratio", Cell(means, "cyan")],
        ["weight on", "   ".join(weights[:3])],  # two lines: numbers stay whole on 80 columns
        ["", "   ".join(weights[3:])],
        ["tokens", f"median {number(tokens)}; {summary.get('empty', 0)} empty answers"],
    ]
    echo_table([str(summary["model"]), f"{summary['items']} problems"], rows, align="lt", err=err)


def number(value: float | None) -> str:
    """Three digits, a dash where there is none.

    >>> number(0.41256), number(61.2), number(408.0), number(None)
    ('0.413', '61.2', '408', '-')
    """
    return "-" if value is None else f"{value:.3g}"


def percent(value: float | None) -> str:
    """In percent, a dash where there is none.

    >>> percent(0.134), percent(None)
    ('13%', '-')
    """
    return "-" if value is None else f"{value:.0%}"


def printable(text: str) -> str:
    """``text`` without control characters, which a terminal would obey.

    >>> printable("evil\x1b[31m")
    'evil\ufffd[31m'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
