"""``vkit demo``: Math-PUMA in miniature, from nothing, in a few minutes."""

from __future__ import annotations

from pathlib import Path

import click

from vkit.cli.model_options import DEVICE


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--pairs", type=click.IntRange(8), default=10_000, show_default=True, help="To learn from.")
@click.option("--tests", type=click.IntRange(4), default=80, show_default=True, help="Held-out problems.")
@click.option(
    "--scale",
    type=click.FloatRange(0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor of all training steps; 0.01 shows the mechanics in half a minute.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="That draw.")
@DEVICE
def command(out: Path, pairs: int, tests: int, scale: float, seed: int, workers: int, device: str) -> None:
    """Train a small model from nothing in Math-PUMA's stages, and look at what it learned.

    Draws problems, teaches an encoder to read (stage 0), then text (1), alignment (2) and both (3), and for
    comparison 1-3 without 2; answers held-out problems in five versions after each; measures where the model
    looks before and after stage 2. OUT/index.html shows all of it; OUT/stage3/model is the model.

    \b
    vkit demo --out demo
    vkit attn-ratio --model demo/stage3/model --prompt plain --data demo/data/test.jsonl \\
        --problem-version vision-dominant --out demo/ratio
    """
    from vkit.cli.training import say
    from vkit.train.demo import run_demo

    report = run_demo(
        out,
        pairs=pairs,
        tests=tests,
        scale=scale,
        seed=seed,
        workers=workers,
        device=device,
        progress=True,
        tell=say,
    )
    click.echo(accuracy_table(report["orders"]))
    click.echo(f"look at {out / 'index.html'}", err=True)


def accuracy_table(orders: list[dict]) -> str:
    """Accuracies in percent by version after each stage, and the gap, as people read them."""
    rows: list[tuple[str, ...]] = [("", *_VERSIONS, "gap")]
    for order in orders:
        for number, report in order["after"].items():
            gap = report["gap_percent"]
            cells = [f"{report['accuracy'][version]:.1f}" for version in _VERSIONS]
            rows.append(
                (f"{order['name']}, after stage {number}", *cells, "-" if gap is None else f"{gap:.0f}%")
            )
    first, *others = ([len(cell) for cell in column] for column in zip(*rows))
    lines = []
    for name, *cells in rows:
        padded = (cell.rjust(max(lengths)) for cell, lengths in zip(cells, others))
        lines.append("  ".join([name.ljust(max(first)), *padded]))
    return "\n".join(lines)


_VERSIONS = ("text-only", "text-dominant", "text-lite", "vision-dominant", "vision-only")
