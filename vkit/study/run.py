"""Runs a study: every step that is not done yet, then its table and its page.

    table = run_study(read_plan("tiny"), Path("runs/tiny"))
    table["rows"][1]["ratio"]["mean"]

    data/                   drawn problems, where the plan draws them
    teacher/store.jsonl     all that a teacher ever said, and what it cost; keep it
    rationales/<kind>/      problems with rationales, and those that were set aside
    train/<variant>/        a fine-tune: log, model, adapter
    predictions/<variant>/  answers, and scores/ what they are worth
    attention/<variant>/    run folders of `vkit attn-ratio`; compare/ what they say of each other
    table.json, index.html  Table 1 and its extension; the page has every answer and token too
    old/                    steps whose inputs changed since; nothing is removed

Run again with the same plan it goes on where it was; steps whose inputs are the same are not repeated.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vkit.attention.compare import compare
from vkit.evaluate.judge import endpoint_judge
from vkit.evaluate.scoring import compare_marks, item_lines, mark_outputs, read_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.jsonl import read_json, write_json, write_jsonl
from vkit.report.page import write_page
from vkit.report.study_section import draw_study
from vkit.study.plan import Judge, Plan
from vkit.study.problems import Problems, find_problems
from vkit.study.steps import Steps, digest, file_digest, state_of
from vkit.study.table import build_table
from vkit.study.variants import Tuned, fine_tune, measure, predict, write_rationales


def run_study(
    plan: Plan, out: Path, *, progress: bool = False, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run what is not done yet; returns the table, which ``out/table.json`` holds.

    Args:
        out: made if it is not there; one process works in it at a time.
        progress: bars on stderr. tell: takes lines for people: each step as it begins.

    Raises:
        VkitError: whatever a step refuses; what was done before stays done.
    """
    with Steps(out, tell) as steps:
        write_json(out / "plan.json", _as_json(plan))
        problems = find_problems(plan, steps)
        base = _model_digest(plan.model_path)
        predictions: dict[str, Path] = {}
        runs: dict[str, Path] = {}
        reports: dict[str, dict[str, Any]] = {}
        # All rationales first: what a teacher costs or refuses is known before hours of training.
        rationales = {
            variant.slug: write_rationales(plan, variant, problems, steps, progress=progress)
            for variant in plan.variants
            if variant.rationales is not None
        }
        for variant in plan.variants:
            tuned = Tuned(plan.model_path, None, base)
            if variant.slug in rationales:
                found = rationales[variant.slug]
                tuned = fine_tune(plan, variant, found, steps, base, progress=progress, tell=tell)
                reports[variant.slug] = {"rationales": found.report, "training": tuned.report}
            gc.collect()  # models hold cycles; the next one needs their memory
            predictions[variant.slug] = predict(plan, variant, tuned, problems, steps, progress=progress)
            runs[variant.slug] = measure(
                plan, variant, tuned, predictions[variant.slug], problems, steps, progress=progress
            )
        scores = _score(plan, predictions, problems, steps)
        comparison = _compare(plan, runs, steps)
        summaries = {name: read_json(run / "summary.json") for name, run in runs.items()}
        table = build_table(plan, scores, comparison, summaries, reports)
        write_json(out / "table.json", table)
        _write_page(plan, runs, comparison, table, steps)
    return table


def step_states(plan: Plan, out: Path) -> dict[str, str]:
    """What is known of every step of a plan: "done", "begun" or "to do"; inputs are not looked at."""
    names = ["data"] if plan.data.miniature is not None else []
    kinds = dict.fromkeys(v.rationales for v in plan.variants if v.rationales)
    names += [f"rationales/{kind}" for kind in kinds if not plan.place(kind).is_file()]
    for variant in plan.variants:
        tuned = ("train",) if variant.rationales else ()
        names += [f"{part}/{variant.slug}" for part in (*tuned, "predictions", "attention")]
    states = {}
    for name in (*names, "scores", "compare"):
        state = state_of(out, name)
        states[name] = "to do" if state is None else "done" if "result" in state else "begun"
    return states


def _score(plan: Plan, predictions: Mapping[str, Path], problems: Problems, steps: Steps) -> dict[str, Any]:
    """Each variant's report, and its paired difference from the baseline."""
    suite = SUITES[problems.suite]
    judging = plan.score.judge
    baseline = plan.variants[plan.baseline].slug
    inputs = {
        "suite": problems.suite,
        "judge": None if judging is None else asdict(judging),
        "problems": problems.test_digest,
        "baseline": baseline,
        "predictions": {name: file_digest(path) for name, path in predictions.items()},
    }

    def work(place: Path) -> dict[str, Any]:
        marks = {}
        for name, path in predictions.items():
            outputs = read_outputs(path)
            if judging is None:
                marks[name] = mark_outputs(suite, problems.test, outputs)
            else:
                with _judge(judging, steps.out / "teacher" / "judge.jsonl") as judge:
                    marks[name] = mark_outputs(suite, problems.test, outputs, judge=judge)
            write_jsonl(place / f"{name}.jsonl", item_lines(marks[name]))
        first = marks[baseline]
        found = {}
        for name, each in marks.items():
            found[name] = report_marks(suite, each)
            if name != baseline:
                found[name]["against_baseline"] = compare_marks(suite, each, first)
        return found

    return steps.run("scores", inputs, work)


def _judge(judging: Judge, cache: Path) -> Any:
    from vkit.teacher.store import Prices

    cache.parent.mkdir(exist_ok=True)
    prices = None
    if judging.price_in is not None and judging.price_out is not None:
        prices = Prices(judging.price_in, judging.price_out)
    return endpoint_judge(
        cache, model=judging.model, base_url=judging.base_url, key_variable=judging.api_key_env, prices=prices
    )


def _compare(plan: Plan, runs: Mapping[str, Path], steps: Steps) -> dict[str, Any] | None:
    """What the runs say of each other; None of one run alone."""
    if len(runs) < 2:
        return None
    inputs = {
        **asdict(plan.compare),
        "baseline": plan.variants[plan.baseline].slug,
        "runs": {name: file_digest(run / "items.jsonl") for name, run in runs.items()},
    }

    def work(place: Path) -> dict[str, Any]:
        how = {"resamples": plan.compare.resamples, "seed": plan.compare.seed}
        found = compare(list(runs.values()), baseline=plan.baseline, **how)
        for run in found["runs"]:
            run["folder"] = f"attention/{run['name']}"  # the study may move
        write_json(place / "comparison.json", found)
        return {}

    steps.run("compare", inputs, work)
    return read_json(steps.out / "compare" / "comparison.json")


def _write_page(
    plan: Plan,
    runs: Mapping[str, Path],
    comparison: dict[str, Any] | None,
    table: dict[str, Any],
    steps: Steps,
) -> None:
    page = steps.out / "index.html"
    inputs = {
        "table": digest(table),
        "runs": {name: file_digest(run / "items.jsonl") for name, run in runs.items()},
    }

    def work(place: Path) -> dict[str, Any]:
        how: dict[str, Any] = {"title": plan.title, "lead": draw_study(table), "comparison": comparison}
        write_page(list(runs.values()), out=page, **how)
        return {"page": page.name}

    if not page.exists():
        steps.forget("page")
    steps.run("page", inputs, work)


def _model_digest(name: str) -> str:
    """Tells one model from another without loading it: of a folder its files' sizes and parts of them.

    Fine-tuning moves nearly all values, so a look at some is enough.
    """
    folder, found = Path(name), hashlib.sha256(name.encode() if not Path(name).is_dir() else b"")
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
                size = path.stat().st_size
                found.update(f"{path.relative_to(folder)} {size}".encode())
                with path.open("rb") as file:
                    for place in range(0, size, max(1 << 16, size // 64)):
                        file.seek(place)
                        found.update(file.read(1 << 16))
    return found.hexdigest()[:16]


def _as_json(plan: Plan) -> dict[str, Any]:
    values = asdict(plan)
    values["base"] = str(plan.base)
    return values
