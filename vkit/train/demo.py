"""The demo: problems drawn, a model trained from nothing in Math-PUMA's stages, and one page about it.

    report = run_demo(Path("demo"))
    report["orders"][0]["after"]["3"]["accuracy"]["vision-only"]

Everything is kept in the folder and not repeated, so that a demo that was interrupted goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.run import RunSettings, run
from vkit.attention.run_folder import read_items, read_maps
from vkit.jsonl import read_json, read_jsonl, write_json
from vkit.models.loading import load_model
from vkit.records import Sample, read_samples
from vkit.report.page import write_page
from vkit.report.puma_page import write_puma_page
from vkit.train.miniature import WARMUP_STEPS, make_data, run_order, scaled, warm_start
from vkit.train.recipes import RECIPES
from vkit.train.stages import EVALUATION, Tell

FULL, CONTROL = "1-2-3", "1-3"
ATTENTION_ITEMS, EXAMPLES = 8, 8
LOG_POINTS = 150  # of a curve


def run_demo(
    out: Path,
    *,
    pairs: int = 10_000,
    tests: int = 80,
    scale: float = 1.0,
    seed: int = 0,
    workers: int = 1,
    device: str = "auto",
    progress: bool = False,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Run what is not done yet; returns the report, which ``out/report.json`` and ``out/index.html`` show.

    Args:
        pairs, tests: drawn problems to learn from, and held-out ones to answer (in five versions).
        scale: factor of all steps, the warm-up's too.
    """
    clock = _Clock(out / "seconds.json")
    with clock.part("data"):
        data = make_data(
            out / "data", pairs=pairs, tests=tests, seed=seed, workers=workers, progress=progress
        )
    with clock.part("stage 0"):
        steps = max(1, round(WARMUP_STEPS * scale))
        start = warm_start(out, seed=seed, steps=steps, device=device, progress=progress)
    how: dict[str, Any] = {"seed": seed, "device": device, "progress": progress, "tell": tell}
    how["recipes"] = scaled(RECIPES["tiny"], scale)
    with clock.part("stages 1, 2, 3"):
        full = run_order((1, 2, 3), start, data, out, **how)
    stage_1, stage_2 = out / "stage1" / "model", out / "stage2" / "model"
    with clock.part("stage 3 without stage 2"):
        control = run_order((3,), stage_1, data, out / "without-stage2", **how)
    samples = list(read_samples(data / "test.jsonl"))
    with clock.part("attention"):
        attention = _attention(out, samples, {"before": stage_1, "after": stage_2}, device)
    report = {
        "pairs": pairs,
        "problems": tests,
        "seconds": clock.seconds,
        "orders": [_order(FULL, full), _order(CONTROL, control)],
        "logs": {f"stage{number}": _curve(out / f"stage{number}" / "log.jsonl") for number in (1, 2, 3)},
        "warnings": [line["warning"] for line in full["stages"][2]["warnings"]],
        "examples": _examples(out, samples),
        "attention": attention,
        "model": "stage3/model",  # beside the page
    }
    write_json(out / "report.json", report)
    write_puma_page(out / "index.html", report)
    return report


class _Clock:
    """Seconds of each part, kept over interruptions: a part that was done before adds next to nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = read_json(path) if path.is_file() else {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        self.seconds[name] = round(max(spent, self.seconds.get(name, 0.0)), 1)
        write_json(self.path, self.seconds)


def _order(name: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "after": {str(n): report for n, report in result["evaluations"].items()}}


def _curve(path: Path) -> list[dict[str, float]]:
    """Means of the log over equal stretches of steps."""
    lines = [line for _, line in read_jsonl(path)]
    keys = [key for key in lines[0] if key == "loss" or key.startswith(("kl_", "cross_", "strong_"))]
    found = []
    for part in np.array_split(np.arange(len(lines)), min(LOG_POINTS, len(lines))):
        means = {key: float(np.mean([lines[i][key] for i in part])) for key in keys}
        found.append({"step": lines[part[-1]]["step"], **means})
    return found


def _examples(out: Path, samples: list[Sample]) -> list[dict[str, Any]]:
    """Vision-only problems, one of each family in turn, with what each model said."""
    said = {
        "after stage 1": out / "stage1",
        "after stage 2": out / "stage2",
        FULL: out / "stage3",
        CONTROL: out / "without-stage2" / "stage3",
    }
    items = {
        name: {item["id"]: item for item in read_json(folder / EVALUATION)["items"]}
        for name, folder in said.items()
    }
    return [
        {
            "id": sample.id,
            "version": sample.meta["version"],
            "question": sample.question,
            "picture": str(sample.folder / str(sample.image)),
            "answer": sample.answer,
            "outputs": {name: found[sample.id]["output"] for name, found in items.items()},
            "correct": {name: found[sample.id]["correct"] is True for name, found in items.items()},
        }
        for sample in _of_version(samples, "vision-only")[:EXAMPLES]
    ]


def _of_version(samples: list[Sample], version: str) -> list[Sample]:
    """The samples of a version, its families in turn."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.meta["version"] == version:
            families.setdefault(sample.meta["family"], []).append(sample)
    longest = max(map(len, families.values()))
    return [group[i] for i in range(longest) for group in families.values() if i < len(group)]


def _attention(out: Path, samples: list[Sample], models: dict[str, Path], device: str) -> dict[str, Any]:
    """Both models measured on the same given solutions, so that their tokens can be compared one by one."""
    chosen = _of_version(samples, "vision-dominant")[:ATTENTION_ITEMS]
    answers = {sample.id: str(sample.rationale) for sample in chosen}
    found: dict[str, Any] = {}
    sides: dict[str, dict[str, dict[str, Any]]] = {}
    for name, path in models.items():
        folder = out / f"attention-{name}"
        settings = RunSettings(
            model=str(path), data="drawn problems", prompt="plain", text="their solutions", spans="question"
        )
        model = load_model(path, device=device, dtype="float32")
        summary = run(model, chosen, folder, settings, batch_size=len(chosen), answers=answers)
        write_page(folder)
        found[name] = {
            "ratio": summary["ratio"]["mean"],
            "shares": summary["shares"],
            "page": f"{folder.name}/index.html",
        }
        sides[name] = {item["id"]: _side(folder, item) for item in read_items(folder)}
    found["items"] = [
        {
            "id": sample.id,
            "picture": str(sample.folder / str(sample.image)),
            "tokens": sides["before"][sample.id]["tokens"],
            "grid": sides["before"][sample.id]["grid"],
            **{
                name: {key: side[sample.id][key] for key in ("ratio", "maps")} for name, side in sides.items()
            },
        }
        for sample in chosen
    ]
    return found


def _side(folder: Path, item: dict[str, Any]) -> dict[str, Any]:
    maps = read_maps(folder, item)
    assert maps is not None  # the tiny model knows where its image tokens are
    side = round(len(maps.boxes) ** 0.5)
    return {
        "tokens": item["output_tokens"],
        "ratio": item["ratio"],
        "maps": [maps.attention(token).round(5).tolist() for token in range(len(item["output_tokens"]))],
        "grid": [side, side],
    }
