"""SmarterVLM in miniature: what the QF layer adds, what the feature cache saves, what 101 heads cost.

    python -m benchmarks smart                            # CPU: three sections
    python -m benchmarks smart --sections ablation --seeds 0 1 2 3 4 --out runs/smart
    python -m benchmarks smart --smoke                    # the mechanics, in seconds

- ablation: the paper's rows on the puzzles of ``vkit data smart-mini``, three seeds each, from the tiny
  backbones. "baseline" has what SMART-101's own model has beside its backbones, no QF layer and an LSTM, on
  the same features. "no text" has the QF layer as the paper writes it and no r3: as that layer cannot read
  the text (`vkit.models.qf`), it should be no better than "r1 only". Differences are paired: over the
  pictures of the test part (whose two rows belong together) for the trainings at hand, and over seeds for
  another training.
- cache: one epoch from cached features beside the same epoch through the backbones.
- heads: a step over 101 puzzles' heads beside a step with the same rows through one shared head of each kind.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from benchmarks.measure import environment, write_result
from benchmarks.smart_cost import measure_cache, measure_heads
from vkit.evaluate.smart101 import MEASURES, mark, read_predictions
from vkit.evaluate.statistics import bootstrap_mean, resample_items
from vkit.sources.smart101 import SmartItem
from vkit.synthesis.smart_mini import write_smart_mini
from vkit.train.recipes import override
from vkit.train.smart import train_smart
from vkit.train.smart_data import open_smart
from vkit.train.smart_recipe import SMART_RECIPES, SmartRecipe

# The rows, as the paper names them, and what differs from the recipe.
ROWS: dict[str, dict[str, Any]] = {
    "baseline": {"qf": "none", "decoder": "lstm"},
    "no QF": {"qf": "none"},
    "paper QF": {"qf": "paper"},
    "tokens QF": {"qf": "tokens"},
    "no text": {"qf": "paper", "use_text": False},
    "r1 only": {"qf": "none", "use_text": False},
}
COMPARISONS = (
    ("tokens QF", "paper QF"),
    ("tokens QF", "no QF"),
    ("paper QF", "no QF"),
    ("no QF", "baseline"),
    ("no QF", "r1 only"),
    ("no text", "r1 only"),
)
SECTIONS = ("ablation", "cache", "heads")
RESAMPLES = 2000


def main(argv: list[str]) -> dict[str, Any]:
    """Run the sections, print their tables, return (and write) the result."""
    arguments = _parse(argv)
    result: dict[str, Any] = {
        "environment": environment(arguments.device),
        "settings": {k: v for k, v in vars(arguments).items() if k not in ("out", "json")},
    }
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        if "ablation" in arguments.sections:
            result["ablation"] = ablation(arguments, out)
            print(_table(result["ablation"]))
        if "cache" in arguments.sections:
            result["cache"] = measure_cache(out / "cost", arguments.device, smoke=arguments.smoke)
            for row in result["cache"]:
                print(
                    f"cache, {row['backbones']}, {row['qf']} QF: an epoch of {row['items']} rows in"
                    f" {row['cached_ms']:.0f} ms, through the backbones {row['live_ms']:.0f} ms,"
                    f" {row['ratio']:.0f} times as long; without the steps {row['ratio_read']:.0f} times"
                )
    if "heads" in arguments.sections:
        result["heads"] = measure_heads(arguments.device, smoke=arguments.smoke)
        for row in result["heads"]:
            print(
                f"heads, {row['sizes']}, {row['qf']} QF: {row['heads_ms']:.1f} ms over 101,"
                f" {row['shared_ms']:.1f} ms shared, ratio {row['ratio']:.2f};"
                f" with AdamW {row['heads_step_ms']:.1f} and {row['shared_step_ms']:.1f} ms,"
                f" ratio {row['step_ratio']:.2f}"
            )
    if arguments.json:
        write_result(arguments.json, result)
    return result


def ablation(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train every row on every seed; accuracies, paired differences, and what they say."""
    recipe = SMART_RECIPES["mini"]
    if arguments.epochs is not None:
        recipe = override(recipe, {"epochs": arguments.epochs})
    data = out / "data"
    write_smart_mini(data, rows=arguments.rows, seed=0, progress=False)
    items = open_smart(data, recipe).of("test")
    rows: dict[str, Any] = {}
    marks: dict[str, dict[int, np.ndarray]] = {}
    for name, changes in ROWS.items():
        marks[name], rows[name] = _train_row(name, override(recipe, changes), items, arguments, out)
    comparisons = [compare(one, other, items, marks[one], marks[other]) for one, other in COMPARISONS]
    return {"rows": rows, "comparisons": comparisons, "finding": conclude(comparisons[0])}


def compare(
    one: str,
    other: str,
    items: list[SmartItem],
    first: Mapping[int, np.ndarray],
    second: Mapping[int, np.ndarray],
) -> dict[str, Any]:
    """The difference of two rows of the table, of each measure in points, with 95% intervals.

    by_picture: over the pictures of the test part, of the trainings at hand. by_seed: Student's over seeds,
    which says what another training would give; None for one seed.

    Args:
        first, second: of each seed whether each item is right by each measure, (items, measures).
    """
    pictures = {image: number for number, image in enumerate(dict.fromkeys(item.image for item in items))}
    of_item = np.array([pictures[item.image] for item in items])
    weights = resample_items(len(pictures), resamples=RESAMPLES, seed=0)
    found: dict[str, Any] = {"one": one, "other": other}
    for at, measure in enumerate(MEASURES):
        paired = np.array([100.0 * (first[s][:, at] - second[s][:, at]) for s in sorted(first)])
        mean_of_picture = np.bincount(of_item, paired.mean(0)) / np.bincount(of_item)
        estimate = bootstrap_mean(mean_of_picture, weights)
        by_seed = paired.mean(1)
        found[measure] = {
            "difference": float(by_seed.mean()),
            "by_picture": None if estimate.low is None else [estimate.low, estimate.high],
            "by_seed": _student(by_seed.tolist()),
            "seeds": by_seed.tolist(),
        }
    return found


def conclude(found: Mapping[str, Any]) -> str:
    """One sentence on whether the first of two rows is better, by S_acc."""
    one, other, scores = found["one"], found["other"], found["S_acc"]
    spans = [scores["by_picture"], scores["by_seed"]]
    figures = f"{scores['difference']:+.1f} points of S_acc (over pictures {_span(spans[0])}; over seeds"
    figures += f" {_span(spans[1])})"
    signs = [0 if span is None else (span[0] > 0) - (span[1] < 0) for span in spans]
    if signs[0] == signs[1] != 0:
        return f"{one} {'beats' if signs[0] > 0 else 'is worse than'} {other}: {figures}."
    if signs[0] != 0:
        word = "better" if signs[0] > 0 else "worse"
        return f"{one} is {word} than {other} in these trainings, too few to say so of others: {figures}."
    return f"No difference of {one} and {other} is shown: {figures}."


def _train_row(
    name: str, recipe: SmartRecipe, items: list[SmartItem], arguments: argparse.Namespace, out: Path
) -> tuple[dict[int, np.ndarray], dict[str, Any]]:
    """Of each seed which test items are right by each measure; and the row of the table."""
    folder = out / name.replace(" ", "-")
    summary = train_smart(
        out / "data",
        recipe,
        folder,
        vision=arguments.vision,
        text="tiny",
        seeds=arguments.seeds,
        cache=out / "features",
        device=arguments.device,
        progress=True,
    )
    marks = {}
    for seed in arguments.seeds:
        predictions = read_predictions(folder / f"seed-{seed}" / "predictions-test.jsonl")
        values = [predictions[item.id] for item in items]
        right = [mark(i, tuple(v) if isinstance(v, list) else v) for i, v in zip(items, values)]
        marks[seed] = np.array(right, dtype=float)
    parameters = summary["parameters"]["total"]
    return marks, {"parameters": parameters, "seeds": summary["seeds"], **summary["test"]}


def _student(values: list[float]) -> list[float] | None:
    if len(values) < 2:
        return None
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return [statistics.fmean(values) - half, statistics.fmean(values) + half]


def _span(bounds: list[float] | None) -> str:
    return "not known" if bounds is None else "{:+.1f} to {:+.1f}".format(*bounds)


def _table(result: Mapping[str, Any]) -> str:
    skills = list(next(iter(result["rows"].values()))["skills"])
    lines = [f"| row | overall | O_acc | {' | '.join(skills)} |", "| --- |" + " ---: |" * (len(skills) + 2)]
    for name, row in result["rows"].items():
        scores = [row["overall"]["S_acc"], row["overall"]["O_acc"]]
        scores += [row["skills"][skill]["S_acc"] for skill in skills]
        cells = (
            f"{s['mean']:.1f}" + ("" if s["deviation"] is None else f" ± {s['deviation']:.1f}")
            for s in scores
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *map(conclude, result["comparisons"])])


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks smart", description=__doc__.partition("\n")[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 42, 7])
    parser.add_argument("--rows", type=int, default=600, help="of each puzzle")
    parser.add_argument("--epochs", type=int, help="of the mini recipe, which has its own number")
    parser.add_argument("--vision", nargs="+", default=["tiny"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="keep the runs here, and go on from what is there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--smoke", action="store_true", help="a little of everything")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.seeds, arguments.rows, arguments.epochs = [0, 1], 20, 1
    return arguments
