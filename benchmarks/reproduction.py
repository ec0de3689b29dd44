"""Math-PUMA's ablation (Table 3) in miniature, with the controls that the paper lacks.

    python -m benchmarks reproduction                     # CPU: 3 seeds, about an hour on two cores
    python -m benchmarks reproduction --smoke             # the mechanics, in a minute
    python -m benchmarks reproduction --regimes --seeds 0 1 2 3 4 --scale 2 --tests 2000 --device cuda

Orders of stages with a model that is trained from scratch on drawn problems, and beside them: stage 2 with
lambda 0 (its cross-entropy alone, no divergence), stages 1-3 with as much compute as 1-2-3 had, and stage 2
with cross-entropy on both sides. With ``--regimes`` also where the divergence could matter: stage 2 on
solutions of which half are swapped, or stages 2 and 3 on few pairs; teacher live and frozen. Seeds share
nothing but the test problems; conditions of a seed share the stages that they begin with alike. Every
accuracy stands beside the gap.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from benchmarks.measure import environment, write_result
from vkit.evaluate.versions import score
from vkit.jsonl import read_json
from vkit.records import read_pairs, write_samples
from vkit.train.miniature import make_data, run_order, scaled, warm_start
from vkit.train.recipes import RECIPES, override
from vkit.train.stages import EVALUATION, evaluate_once

# The tiny recipe with the paper's loss in stage 2, which needs more steps than the tiny recipe's own.
PAPER_LIKE = {
    **RECIPES["tiny"],
    2: override(RECIPES["tiny"][2], {"strong_cross_entropy": 0.0, "max_steps": 500}),
    3: override(RECIPES["tiny"][3], {"max_steps": 450}),
}
STAGE_2_COST = 4 / 3  # of a step of stage 3: the strong side adds a forward, a third of forward and backward
FEW_PAIRS = 0.05


@dataclass(frozen=True)
class Condition:
    """A row of the table: an order of stages, and what differs from the recipe."""

    order: tuple[int, ...]
    align: dict[str, Any] = field(default_factory=dict)
    long: bool = False
    data: str = "clean"


TABLE = {
    "1-2-3": Condition((1, 2, 3)),
    "1-2-3, strong side learns": Condition((1, 2, 3), {"strong_cross_entropy": 0.5}),
    "1-2-3, lambda 0": Condition((1, 2, 3), {"lam": 0.0}),
    "1-3": Condition((1, 3)),
    "1-3, equal compute": Condition((1, 3), long=True),
    "2-3": Condition((2, 3)),
    "1-2": Condition((1, 2)),
    "1-3-2": Condition((1, 3, 2)),
}
REGIMES = {
    f"{data}, {name}": Condition((1, 2, 3), align, data=data)
    for data in ("noisy", "scarce")
    for name, align in {
        "lambda 0": {"lam": 0.0},
        "lambda 0.1, live": {"lam": 0.1},
        "lambda 0.9, live": {"lam": 0.9},
        "lambda 0.9, frozen": {"lam": 0.9, "teacher": "frozen"},
    }.items()
}
COMPARISONS = (
    ("1-2-3", "1-2-3, lambda 0"),
    ("1-2-3, strong side learns", "1-2-3"),
    ("1-2-3", "1-3"),
    ("1-2-3", "1-3, equal compute"),
    *((f"{data}, lambda 0.9, frozen", f"{data}, lambda 0") for data in ("noisy", "scarce")),
    *((f"{data}, lambda 0.1, live", f"{data}, lambda 0") for data in ("noisy", "scarce")),
)


def main(argv: list[str]) -> dict[str, Any]:
    """Train every condition on every seed, print the table, return (and write) the result."""
    arguments = _parse(argv)
    conditions = {**TABLE, **(REGIMES if arguments.regimes else {})}
    if arguments.only:
        conditions = {name: {**TABLE, **REGIMES}[name] for name in arguments.only}
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        outcomes: dict[str, dict[int, list[dict[str, Any]]]] = {name: {} for name in conditions}
        for seed in arguments.seeds:
            for name, items in _one_seed(arguments, conditions, out, seed):
                outcomes[name][seed] = items
    result = {
        "environment": environment(arguments.device),
        "settings": {k: v for k, v in vars(arguments).items() if k not in ("out", "json")},
        "conditions": {name: _summary(found) for name, found in outcomes.items()},
        "comparisons": [
            compare(one, other, outcomes[one], outcomes[other])
            for one, other in COMPARISONS
            if one in outcomes and other in outcomes
        ],
    }
    print(_table(result))
    if arguments.json:
        write_result(arguments.json, result)
    return result


def compare(
    one: str, other: str, first: dict[int, list[dict[str, Any]]], second: dict[int, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The difference of two conditions on vision-only problems, in points of accuracy, with 95% intervals.

    by_seed: the mean over seeds and Student's interval over them (None with one seed), which says what
        another training would give. by_item: a bootstrap over the problems, paired, of the trainings at hand.
    """
    seeds = sorted(first)
    paired = np.array([_hits(first[seed]) - _hits(second[seed]) for seed in seeds])  # (seeds, items)
    by_seed = 100 * paired.mean(axis=1)
    generator = np.random.default_rng(0)
    picks = generator.integers(0, paired.shape[1], (2000, paired.shape[1]))
    resampled = 100 * paired.mean(axis=0)[picks].mean(axis=1)
    half = None
    if len(seeds) > 1:
        half = float(scipy.stats.t.ppf(0.975, len(seeds) - 1)) * statistics.stdev(by_seed) / len(seeds) ** 0.5
    mean = float(by_seed.mean())
    return {
        "one": one,
        "other": other,
        "difference": mean,
        "by_seed": None if half is None else [mean - half, mean + half],
        "by_item": np.percentile(resampled, [2.5, 97.5]).tolist(),
        "seeds": by_seed.tolist(),
    }


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks reproduction", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=10_000, help="training pairs a seed")
    parser.add_argument("--tests", type=int, default=400, help="held-out problems, the same for all seeds")
    parser.add_argument("--scale", type=float, default=1.0, help="of the tiny recipe's steps")
    parser.add_argument("--regimes", action="store_true", help="also noisy solutions and scarce labels")
    parser.add_argument(
        "--only", action="append", choices=[*TABLE, *REGIMES], metavar="NAME", help="a row; repeat"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="keep the runs here, and go on from what is there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.seeds, arguments.pairs, arguments.tests, arguments.scale = [0], 48, 2, 0.002
    return arguments


def _one_seed(arguments: argparse.Namespace, conditions: dict[str, Condition], out: Path, seed: int) -> Any:
    """Name and answered items of each condition, one after the other."""
    place = out / f"seed{seed}"
    data = {"clean": make_data(place / "data", pairs=arguments.pairs, tests=1, seed=1000 + seed)}
    tests = make_data(out / "tests", pairs=1, tests=arguments.tests, seed=7)
    (data["clean"] / "test.jsonl").unlink(missing_ok=True)
    how = {"seed": seed, "device": arguments.device, "progress": True}
    warm_up = {"steps": 4} if arguments.smoke else {}
    start = warm_start(place, seed=seed, device=arguments.device, **warm_up)
    recipes = scaled(PAPER_LIKE, arguments.scale)
    for name, condition in conditions.items():
        if condition.data not in data:
            data[condition.data] = _variant(data["clean"], place / f"data-{condition.data}", condition.data)
        yield name, _run(condition, start, data, tests, place, recipes, how)


def _run(
    condition: Condition,
    start: Path,
    data: dict[str, Path],
    tests: Path,
    place: Path,
    recipes: dict[int, Any],
    how: dict[str, Any],
) -> list[dict[str, Any]]:
    """The answered items of one condition. Stages that conditions have in common are trained once."""
    align = "".join(f",{name}={value}" for name, value in sorted(condition.align.items()))
    labels = {
        1: "1",
        2: f"2{align}" + ("" if condition.data == "clean" else f",{condition.data}"),
        3: "3" + (",long" if condition.long else "") + (",scarce" if condition.data == "scarce" else ""),
    }
    chosen = {**recipes, 2: replace(recipes[2], **condition.align)}
    if condition.long:
        more = round(recipes[2].max_steps * STAGE_2_COST)
        chosen[3] = replace(recipes[3], max_steps=recipes[3].max_steps + more)
    folder = place
    for number in condition.order:
        folder = folder / labels[number]
        kind = condition.data if number == 2 or (condition.data, number) == ("scarce", 3) else "clean"
        report = run_order((number,), start, data[kind], folder, recipes=chosen, evaluate=False, **how)
        start = Path(report["model"])
    evaluate_once(
        str(start),
        tests / "test.jsonl",
        folder / EVALUATION,
        prompt="plain",
        max_new_tokens=48,
        device=how["device"],
    )
    items: list[dict[str, Any]] = read_json(folder / EVALUATION)["items"]
    return items


def _variant(clean: Path, folder: Path, kind: str) -> Path:
    """The same pairs with every other solution swapped with its neighbour's, or few of the pairs."""
    pairs = list(read_pairs(clean / "pairs.jsonl"))
    if kind == "scarce":
        pairs = pairs[: max(2, round(len(pairs) * FEW_PAIRS))]
    else:
        chosen = list(range(len(pairs)))
        random.Random(0).shuffle(chosen)
        chosen = sorted(chosen[: len(pairs) // 2])
        responses = [pairs[i].response for i in chosen]
        for i, response in zip(chosen, responses[1:] + responses[:1]):
            pairs[i] = replace(pairs[i], response=response)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "images").exists():
        (folder / "images").mkdir()
        for path in sorted((clean / "images").rglob("*.png")):
            target = folder / path.relative_to(clean)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    write_samples(folder / "pairs.jsonl", pairs)
    return folder


def _hits(items: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([item["correct"] is True for item in items if item["version"] == "vision-only"], float)


def _summary(found: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    reports = [score(items) for items in found.values()]
    names = reports[0]["accuracy"]
    values = {name: [report["accuracy"][name] for report in reports] for name in names}
    spreads = {name: statistics.stdev(v) if len(v) > 1 else None for name, v in values.items()}
    means = {name: statistics.fmean(v) for name, v in values.items()}
    text, vision = means["text-dominant"], means["vision-only"]
    return {
        "seeds": len(reports),
        "accuracy": means,
        "deviation": spreads,
        "gap_percent": 100 * (text - vision) / vision if vision else None,  # of the mean accuracies
        "gap_interval": _gap_interval(list(found.values())),
        "runs": [report["accuracy"] for report in reports],
    }


def _gap_interval(runs: list[list[dict[str, Any]]]) -> list[float] | None:
    """95% bootstrap over seeds and problems of the gap; None where vision-only comes out as 0."""
    sides = []
    for version in ("text-dominant", "vision-only"):
        sides.append([[i["correct"] is True for i in items if i["version"] == version] for items in runs])
    text, vision = np.array(sides[0], float), np.array(sides[1], float)  # (seeds, problems)
    generator = np.random.default_rng(0)
    gaps = []
    for _ in range(1000):
        seeds = generator.integers(0, len(text), len(text))
        problems = generator.integers(0, text.shape[1], text.shape[1])
        a, b = text[seeds][:, problems].mean(), vision[seeds][:, problems].mean()
        if b == 0:
            return None
        gaps.append(100 * (a - b) / b)
    return np.percentile(gaps, [2.5, 97.5]).tolist()


def _table(result: dict[str, Any]) -> str:
    lines = [
        "| order | text-only | text-dominant | vision-dominant | vision-only | gap |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in result["conditions"].items():
        cells = []
        for version in ("text-only", "text-dominant", "vision-dominant", "vision-only"):
            deviation = row["deviation"][version]
            cell = f"{row['accuracy'][version]:.1f}"
            cells.append(cell if deviation is None else f"{cell} ± {deviation:.1f}")
        gap, interval = row["gap_percent"], row["gap_interval"]
        gap_cell = "-" if gap is None else f"{gap:.0f}%"
        if interval is not None:
            gap_cell += f" ({interval[0]:.0f} to {interval[1]:.0f})"
        lines.append(f"| {name} | {' | '.join(cells)} | {gap_cell} |")
    lines.append("")
    for found in result["comparisons"]:
        seeds, items = (
            "not known" if bounds is None else "{:+.1f} to {:+.1f}".format(*bounds)
            for bounds in (found["by_seed"], found["by_item"])
        )
        lines.append(
            f"{found['one']} against {found['other']}, vision-only: {found['difference']:+.1f} points"
            f" (over seeds {seeds}; over problems {items})"
        )
    return "\n".join(lines)
