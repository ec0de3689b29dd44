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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vkit.attention.compare import compare
from vkit.evaluate.judge import endpoint_judge
from vkit.evaluate.scoring import compare_marks, item_lines, mark_outputs, read_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.jsonl import read_json, write_json, write_jsonl
from vkit.models.devices import resolve_device
from vkit.models.loading import load_model
from vkit.rationales.prompts import KINDS
from vkit.report.page import write_page
from vkit.report.study_section import draw_study
from vkit.study.plan import Judge, Plan, Variant
from vkit.study.problems import Problems, find_problems
from vkit.study.steps import NotDone, Preview, Steps, digest, file_digest, model_digest, state_of
from vkit.study.table import build_table
from vkit.study.variants import Rationales, Tuned, fine_tune, measure, predict, write_rationales
from vkit.teacher.client import ApiTeacher
from vkit.teacher.task import Settings


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
    resolve_device(plan.device)  # before a teacher is paid
    with Steps(out, tell) as steps:
        write_json(out / "plan.json", _as_json(plan))
        problems = find_problems(plan, steps)
        _check_first(plan, out)
        base = model_digest(plan.model_path)
        made = _Made()
        # All rationales first: what a teacher costs or refuses is known before hours of training.
        rationales = {
            variant.slug: write_rationales(plan, variant, problems, steps, progress=progress)
            for variant in plan.variants
            if variant.rationales is not None
        }
        for variant in plan.variants:
            found = rationales.get(variant.slug)
            made.add(plan, variant, found, problems, steps, base, progress=progress, tell=tell)
        scores = _score(plan, made.predictions, problems, steps)
        measured = _digests(made.runs)
        comparison = _compare(plan, made.runs, measured, steps)
        table = _build_table(plan, made, scores, comparison)
        write_json(out / "table.json", table)
        _write_page(plan, made.runs, measured, comparison, table, steps)
    return table


def step_states(plan: Plan, out: Path) -> dict[str, str]:
    """What a run would find of every step, without a change to anything.

    Returns:
        by step "done", "begun" (and left with the same inputs), "changed" (it will be done anew, for its
        inputs are others now), "to do"; or "waits": it was begun or done, but a step before it was not, and
        what comes of that decides.

    Raises:
        VkitError: the problems cannot be read.
    """
    look = Preview(out)
    try:
        problems = find_problems(plan, look)
    except NotDone:
        problems = None
    if problems is not None:
        _look_at_steps(plan, problems, look)
    found = {}
    for name in _step_names(plan):
        waits = "to do" if state_of(out, name) is None else "waits"
        found[name] = look.standings.get(name, waits)
    return found


def _check_first(plan: Plan, out: Path) -> None:
    """Have a model that cannot be loaded, or a judge without a key, refused before a teacher is paid."""
    kinds = {str(variant.rationales) for variant in plan.variants} & set(KINDS)
    paid = plan.teacher is not None and plan.teacher.model is not None
    if paid and any("result" not in (state_of(out, f"rationales/{kind}") or {}) for kind in kinds):
        load_model(plan.model_path, device=plan.device, dtype=plan.dtype)
    judge = plan.score.judge
    if judge is not None and "result" not in (state_of(out, "scores") or {}):
        ApiTeacher(Settings(judge.model), base_url=judge.base_url, key_variable=judge.api_key_env)


def _step_names(plan: Plan) -> list[str]:
    names = ["data"] if plan.data.miniature is not None else []
    kinds = dict.fromkeys(v.rationales for v in plan.variants if v.rationales in KINDS)
    names += [f"rationales/{kind}" for kind in kinds]
    for variant in plan.variants:
        tuned = ("train",) if variant.rationales else ()
        names += [f"{part}/{variant.slug}" for part in (*tuned, "predictions", "attention")]
    return [*names, "scores", *(["compare"] if len(plan.variants) > 1 else []), "page"]


def _look_at_steps(plan: Plan, problems: Problems, look: Preview) -> None:
    """Come to every step that stands on done ones."""
    base, made = model_digest(plan.model_path), _Made()
    for variant in plan.variants:
        with suppress(NotDone):
            found = None
            if variant.rationales is not None:
                found = write_rationales(plan, variant, problems, look, progress=False)
            made.add(plan, variant, found, problems, look, base)
    if len(made.predictions) < len(plan.variants):
        return
    scores = comparison = None
    with suppress(NotDone):
        scores = _score(plan, made.predictions, problems, look)
    if len(made.runs) < len(plan.variants):
        return
    measured = _digests(made.runs)
    with suppress(NotDone):
        comparison = _compare(plan, made.runs, measured, look)
        if scores is not None:
            table = _build_table(plan, made, scores, comparison)
            _write_page(plan, made.runs, measured, comparison, table, look)


class _Made:
    """What the variants come to, by folder's name: predictions, runs of attention, and reports."""

    def __init__(self) -> None:
        self.predictions: dict[str, Path] = {}
        self.runs: dict[str, Path] = {}
        self.reports: dict[str, dict[str, Any]] = {}

    def add(
        self,
        plan: Plan,
        variant: Variant,
        rationales: Rationales | None,
        problems: Problems,
        steps: Steps,
        base: str,
        *,
        progress: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """A variant's fine-tune, where it has rationales, its answers, its attention."""
        name, tuned = variant.slug, Tuned(plan.model_path, None, base)
        if rationales is not None:
            tuned = fine_tune(plan, variant, rationales, steps, base, progress=progress, tell=tell)
            self.reports[name] = {"rationales": rationales.report, "training": tuned.report}
        gc.collect()  # models hold cycles; the next one needs their memory
        said = predict(plan, variant, tuned, problems, steps, progress=progress)
        self.predictions[name] = said
        self.runs[name] = measure(plan, variant, tuned, said, problems, steps, progress=progress)


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
        marks, judged = {}, {}
        for name, path in predictions.items():
            outputs = read_outputs(path)
            if judging is None:
                marks[name] = mark_outputs(suite, problems.test, outputs)
            else:
                with _judge(judging, steps.out / "teacher" / "judge.jsonl") as judge:
                    marks[name] = mark_outputs(suite, problems.test, outputs, judge=judge)
                    judged[name] = {"asked": judge.asked, "failed": judge.failed}
            write_jsonl(place / f"{name}.jsonl", item_lines(marks[name]))
        first = marks[baseline]
        found = {}
        for name, each in marks.items():
            found[name] = {**report_marks(suite, each), "judge": judged.get(name)}
            if name != baseline:
                found[name]["against_baseline"] = compare_marks(suite, each, first)
        return found

    return steps.run("scores", inputs, work, makes=[f"{name}.jsonl" for name in predictions])


def _judge(judging: Judge, cache: Path) -> Any:
    from vkit.teacher.store import Prices

    cache.parent.mkdir(exist_ok=True)
    return endpoint_judge(
        cache,
        model=judging.model,
        base_url=judging.base_url,
        key_variable=judging.api_key_env,
        prices=Prices.of(judging.price_in, judging.price_out),
    )


def _digests(runs: Mapping[str, Path]) -> dict[str, str]:
    """Of what was measured, by variant; the files are large."""
    return {name: file_digest(run / "items.jsonl") for name, run in runs.items()}


def _compare(
    plan: Plan, runs: Mapping[str, Path], measured: Mapping[str, str], steps: Steps
) -> dict[str, Any] | None:
    """What the runs say of each other; None of one run alone."""
    if len(runs) < 2:
        return None
    inputs = {
        **asdict(plan.compare),
        "names": [variant.name for variant in plan.variants],
        "baseline": plan.variants[plan.baseline].slug,
        "runs": dict(measured),
    }

    def work(place: Path) -> dict[str, Any]:
        how = {"resamples": plan.compare.resamples, "seed": plan.compare.seed}
        names = [variant.name for variant in plan.variants]
        found = compare(list(runs.values()), names=names, baseline=plan.baseline, **how)
        for run, name in zip(found["runs"], runs, strict=True):
            run["folder"] = f"attention/{name}"  # the study may move
        write_json(place / "comparison.json", found)
        return {}

    steps.run("compare", inputs, work, makes=["comparison.json"])
    return read_json(steps.out / "compare" / "comparison.json")


def _build_table(
    plan: Plan, made: _Made, scores: Mapping[str, Any], comparison: Mapping[str, Any] | None
) -> dict[str, Any]:
    summaries = {name: read_json(run / "summary.json") for name, run in made.runs.items()}
    return build_table(plan, scores, comparison, summaries, made.reports)


def _write_page(
    plan: Plan,
    runs: Mapping[str, Path],
    measured: Mapping[str, str],
    comparison: dict[str, Any] | None,
    table: dict[str, Any],
    steps: Steps,
) -> None:
    page = steps.out / "index.html"
    inputs = {
        "table": digest(table),
        "runs": dict(measured),
    }

    def work(place: Path) -> dict[str, Any]:
        how: dict[str, Any] = {"title": plan.title, "lead": draw_study(table), "comparison": comparison}
        names = [variant.name for variant in plan.variants]
        write_page(list(runs.values()), out=page, names=names, **how)
        return {"page": page.name}

    steps.run("page", inputs, work, makes=[f"../{page.name}"])


def _as_json(plan: Plan) -> dict[str, Any]:
    values = asdict(plan)
    values["base"] = str(plan.base)
    return values
