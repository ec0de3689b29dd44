"""Table 1 of the study and what it leaves out, as JSON values.

table = build_table(plan, scores, comparison, summaries, reports)
table["rows"][0]["ratio"]["mean"], table["rows"][0]["published"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vkit.study.plan import Plan, Variant


def build_table(
    plan: Plan,
    scores: Mapping[str, Any],
    comparison: Mapping[str, Any] | None,
    summaries: Mapping[str, Any],
    reports: Mapping[str, Any],
) -> dict[str, Any]:
    """A row for each variant.

    Args:
        scores: of `vkit.evaluate.scoring.report_marks` by variant, with ``against_baseline``.
        comparison: of `vkit.attention.compare.compare`; summaries: of the attention runs; both by variant.
        reports: of rationales and training, of the variants that have some.

    Returns:
        ``title`` and ``model`` as in the plan; ``baseline``: the name of the variant that all others are
        compared with.
        ``rows``: of each variant its name as ``variant`` and as a folder's (``run``), ``prompt``,
        ``accuracy`` (percent, with a 95% interval), ``unread`` answers, how often a ``judge`` was asked, and
        failed (None: there is none), ``empty`` outputs, ``random_weights``, ``ratio`` (mean, sum, max),
        ``median_tokens``, ``image_share``, ``without_sinks``, ``correlation`` of ratio and right answers over
        the problems (also given length), ``published`` figures, reports of ``rationales`` and ``training``
        (None of the model as it is), and against the baseline ``accuracy_difference`` (with McNemar's p),
        ``ratio_difference`` as the paper would take it, at ``equal_positions`` and ``length_controlled``.
        The baseline has none of these four; of one variant alone ``without_sinks`` and ``correlation`` are
        None.
        ``conclusions`` of each of the others against the baseline, ``notes`` on the runs, and the measure's
        ``limits``, in words.
    """
    baseline = plan.variants[plan.baseline]
    pairs = {pair["other"]: pair for pair in (comparison or {}).get("pairs", [])}
    runs = {run["name"]: run for run in (comparison or {}).get("runs", [])}
    return {
        "title": plan.title,
        "note": plan.note,
        "model": plan.model,
        "baseline": baseline.name,
        "rows": [
            _row(variant, scores, pairs.get(variant.name), runs.get(variant.name), summaries, reports)
            for variant in plan.variants
        ],
        "conclusions": [
            {"variant": variant.name, **pairs[variant.name]["conclusions"]}
            for variant in plan.variants
            if variant.name in pairs
        ],
        "notes": (comparison or {}).get("notes", []),
        "limits": next(iter(summaries.values()))["limits"],
    }


def _row(
    variant: Variant,
    scores: Mapping[str, Any],
    pair: Mapping[str, Any] | None,
    run: Mapping[str, Any] | None,
    summaries: Mapping[str, Any],
    reports: Mapping[str, Any],
) -> dict[str, Any]:
    score, summary = scores[variant.slug], summaries[variant.slug]
    name, accuracy = next(iter(score["figures"].items()))
    against = score.get("against_baseline", {}).get(name)
    row = {
        "variant": variant.name,
        "run": variant.slug,
        "prompt": variant.prompt,
        "rationales": None,
        "training": None,
        "accuracy": accuracy,
        "unread": score["unread"]["count"],
        "judge": score["judge"],
        "empty": summary["empty"],
        "random_weights": summary["random_weights"],
        "ratio": summary["ratio"],
        "median_tokens": summary["median_output_tokens"],
        "image_share": summary["shares"]["image"],
        "without_sinks": None if run is None else run["ratio_without"]["sinks"]["value"],
        "correlation": None if run is None else run["correlation"],
        "published": None
        if variant.published is None
        else {"accuracy": variant.published.accuracy, "ratio": variant.published.ratio},
        **reports.get(variant.slug, {}),
    }
    if against is not None:
        row["accuracy_difference"] = against
    if pair is not None and pair["measured"]:
        row["ratio_difference"] = pair["raw"]
        row["equal_positions"] = pair["position_matched"]["ratio"]
        row["length_controlled"] = pair["length_controlled"]
    return row
