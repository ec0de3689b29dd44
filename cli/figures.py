"""``vkit figures``: a run's heat-maps and overlays as PNG, SVG or PDF at print quality."""

from __future__ import annotations

import re
from pathlib import Path

import click


@click.command("figures")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the figures.")
@click.option("--png", is_flag=True, help="Pixels; see --dpi.")
@click.option("--svg", is_flag=True, help="Vectors, to edit or for the web.")
@click.option("--pdf", is_flag=True, help="Vectors, for LaTeX; needs fpdf2 (the extra 'pdf').")
@click.option("--item", "items", multiple=True, metavar="ID", help="May be repeated; without it the first.")
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="J|TEXT",
    help="Draw the picture under the attention of the token at this position, from 0, or of every token that "
    "reads so; a number in quotes is a text. May be repeated; without it the token of largest ratio.",
)
@click.option(
    "--width-mm",
    type=float,
    default=84.0,
    show_default=True,
    help="Width of a figure: 84 is one column, 174 both.",
)
@click.option("--dpi", type=float, default=300.0, show_default=True, help="Dots per inch of a PNG.")
@click.option("--font-size", type=float, default=8.0, show_default=True, help="Of the tokens, in points.")
@click.option(
    "--colour",
    type=click.Choice(["viridis", "cividis", "oranges"]),
    help="Of tokens and overlays; without it oranges for tokens, viridis over pictures.",
)
@click.option(
    "--scale",
    type=click.Choice(["token", "study", "answer"]),
    default="token",
    show_default=True,
    help="Full colour over a picture is the token's highest attention, 0.0002, or the answer's highest.",
)
def command(
    run: Path,
    out: Path,
    png: bool,
    svg: bool,
    pdf: bool,
    items: tuple[str, ...],
    tokens: tuple[str, ...],
    width_mm: float,
    dpi: float,
    font_size: float,
    colour: str | None,
    scale: str,
) -> None:
    """Draw the heat-maps and overlays of a run for a paper.

    RUN is a folder of `vkit attn-ratio`. Each item gets its answer as a heat-map of the attention ratio, and
    its picture under the attention of chosen tokens.

    \b
    vkit figures runs/tiny --out figures --pdf
    vkit figures runs/tiny --out figures --pdf --png --item 11 --item 12 --width-mm 174
    vkit figures runs/tiny --out figures --svg --item 11 --token isosceles --token 8 --token '"70"'

    OUT gets 11-heatmap.pdf, 11-token-8.pdf, ...; their paths go to stdout. SVG and PDF hold text as text.
    """
    from vkit.report.figures import write_figures

    kinds = [kind for kind, asked in (("pdf", pdf), ("svg", svg), ("png", png)) if asked]
    if not kinds:
        raise click.UsageError("say what to draw: --pdf, --svg or --png, or several of them")
    notes: dict[str, None] = {}  # the same for each kind
    for kind in kinds:  # PDF first: it refuses before anything is written where its library is missing
        paths = write_figures(
            run,
            out,
            kind=kind,
            items=items or None,
            tokens=[_token(text) for text in tokens],
            width_mm=width_mm,
            dpi=dpi,
            font_size=font_size,
            colour=colour,
            scale=scale,
            on_note=notes.setdefault,
        )
        for path in paths:
            click.echo(path)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _token(text: str) -> int | str:
    """A position, or a text; a text that is a number stands in double quotes."""
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    return text[1:-1] if re.fullmatch(r'"-?[0-9]+"', text) else text
