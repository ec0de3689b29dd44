"""``vkit study``: the paper's experiment in one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vkit.study.plan import Plan


@click.command("study")
@click.argument("plan", metavar="PLAN")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the study; continued if there.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the plan, as data.test_limit=20; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Say what is done and what a run would do, and stop.")
@click.option("--print", "print_only", is_flag=True, help="Print the preset, to be kept and changed.")
def command(
    plan: str, out: Path | None, assignments: tuple[str, ...], dry_run: bool, print_only: bool
) -> None:
    """Run a whole study from one YAML file: rationales, fine-tunes, answers, scores, attention, comparison.

    PLAN is a YAML file, or a preset: 'tey' is the experiment of the paper (TinyLLaVA, Geometry3K, GPT-4o's
    rationales), 'tiny' the same in miniature, offline, in some minutes.

    \b
    vkit study tiny --out runs/tiny
    vkit study tey --print > study.yaml
    vkit study study.yaml --dry-run --out runs/study
    vkit study study.yaml --set teacher.max_cost=25 --out runs/study

    OUT/index.html has Table 1 beside what it leaves out, and every answer and token. A study that was
    stopped goes on where it was; a step whose inputs changed is done anew, and the old one is kept in
    OUT/old. --dry-run says of each step: done, begun, changed, to do, or waits (for one before it). The
    table goes to stdout as JSON.
    """
    from vkit.study.plan import PRESETS, preset_text, read_plan
    from vkit.train.recipes import parse_assignments

    if print_only:
        if plan not in PRESETS:
            raise click.UsageError(f"--print is for the presets {' and '.join(PRESETS)}")
        click.echo(preset_text(plan), nl=False)
        return
    if out is None:
        raise click.UsageError("give --out, the folder of the study")
    read = read_plan(plan, parse_assignments(assignments))
    if dry_run:
        from vkit.study.run import step_states

        click.echo(json.dumps({"plan": plan, "out": str(out), "steps": step_states(read, out)}, indent=2))
        return
    _run(read, out)


def _run(plan: Plan, out: Path) -> None:
    from vkit.cli.training import say
    from vkit.study.run import run_study

    try:
        table = run_study(plan, out, progress=True, tell=say)
    except KeyboardInterrupt:
        click.echo(f"stopped; what is done is kept in {out}, the same command goes on from there", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(json.dumps(table, indent=2, ensure_ascii=False))
    _tell(table, out)


def _tell(table: dict[str, Any], out: Path) -> None:
    from vkit.cli.tables import echo_table, number

    rows = []
    for row in table["rows"]:
        found, interval = row.get("equal_positions") or {}, "-"
        if found.get("low") is not None:
            interval = f"{found['value']:+.3g} ({found['low']:.2g} to {found['high']:.2g})"
        accuracy = row["accuracy"]
        rows.append(
            [
                row["variant"],
                f"{accuracy['value']:.1f} ({number(accuracy['low'])}-{number(accuracy['high'])})",
                number(row["ratio"]["mean"]),
                number(row["median_tokens"]),
                str(row["unread"]),
                interval,
            ]
        )
    headings = ["model", "accuracy, % (95%)", "ratio", "tokens", "not read", "ratio at equal positions"]
    echo_table(headings, rows, align="lrrrrr", err=True)
    click.echo(f"look at {out / 'index.html'}", err=True)
