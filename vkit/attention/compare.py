"""Which of several runs looks more at the picture, said with what length, sinks and chance may explain.

    result = compare([Path("runs/direct"), Path("runs/cot")])
    result["pairs"][0]["position_matched"]["ratio"]     # {"baseline", "other", "value", "low", "high", ...}
    result["pairs"][0]["conclusions"]                   # in words: what may be concluded, and what may not

The ratio of Tey's study grows with a token's position, since the weight on the problem's text falls faster
than that on the picture. So a model that answers at length has a larger mean ratio whether it looks more or
not. `compare` gives the means as the paper has them, and beside them two controls: the same positions of the
same problems (`vkit.attention.compare_pair`), and a regression on position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.compare_pair import compare_pair
from vkit.attention.compare_runs import Answer, Run, load_run
from vkit.attention.compare_words import conclude_run
from vkit.attention.names import REDUCTIONS, SHARES
from vkit.attention.run_folder import unique_names
from vkit.attention.sinks import OLD_RUN, SINK_FACTOR, Sinks, find_sinks, first_column_of, ratio_without
from vkit.attention.summary import LIMITS
from vkit.errors import VkitError
from vkit.evaluate.statistics import LEVEL, correlate, wilson

MIN_RESAMPLES = 200  # a 95% interval leaves ten of these outside


def compare(
    folders: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    baseline: int = 0,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare run folders: each alone, and each against the baseline.

    Args:
        folders: two or more run folders of ``vkit attn-ratio``, of the same problems.
        names: what the runs are called, each another name; None: as their folders.
        baseline: the index of the run that the others are compared with.
        resamples: draws of every bootstrap interval and permutations of every p-value.
        seed: same seed, same figures.

    Returns:
        An object for JSON: ``runs`` (each alone), ``pairs`` (differences are other - baseline, with 95%
        bootstrap intervals over the problems that both answered), ``notes`` and ``limits`` in words. A figure
        that cannot be given is null, with a ``reason`` beside it.

    Raises:
        VkitError: fewer than two runs, a folder twice, ratios of another definition, an id that stands for
            two problems, or no problem in common.
    """
    folders = [Path(folder) for folder in folders]
    if len(folders) < 2:
        raise VkitError(f"{len(folders)} run given; compare needs two or more run folders")
    places = [folder.resolve() for folder in folders]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise VkitError(f"{folders[index]} is given twice; name each run folder once")
    if resamples < MIN_RESAMPLES:
        raise VkitError(f"{resamples} resamples are too few for a 95% interval; use {MIN_RESAMPLES} or more")
    if not 0 <= baseline < len(folders):
        raise VkitError(f"baseline {baseline} is none of {len(folders)} runs; choose 0 to {len(folders) - 1}")
    runs = [load_run(folder, name) for folder, name in zip(folders, names or unique_names(folders))]
    first, others = runs[baseline], [run for index, run in enumerate(runs) if index != baseline]
    for other in others:
        _refuse(first, other)
    sinks = {run.name: find_sinks(run.measured) for run in runs}
    return {
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "span_policy": first.span_policy,
        "row_convention": first.row_convention,
        "baseline": first.name,
        "runs": [_describe(run, sinks[run.name], resamples, seed) for run in runs],
        "pairs": [
            compare_pair(
                first,
                other,
                sinks=(sinks[first.name], sinks[other.name]),
                pairs=len(others),
                resamples=resamples,
                seed=seed,
            )
            for other in others
        ],
        "notes": [*_notes(first, others), *_notes_on_sinks(sinks)],
        "limits": LIMITS,
    }


def _refuse(first: Run, other: Run) -> None:
    """Refuse a pair whose ratios do not mean the same."""
    for key, flag in (("span_policy", "--spans"), ("row_convention", "--rows")):
        one, two = getattr(first, key), getattr(other, key)
        if one != two:
            raise VkitError(
                f"{first.folder} has {key} {one!r}, {other.folder} {two!r}: their ratios are not comparable; "
                f"measure both with the same {flag}"
            )
    shared = first.answers.keys() & other.answers.keys()
    if not shared:
        raise VkitError(f"{first.folder} and {other.folder} share no problem; measure both on the same data")
    for record_id in first.answers:
        if record_id in shared and first.answers[record_id].problem != other.answers[record_id].problem:
            raise VkitError(
                f"item {record_id!r} is another problem in {other.folder} than in {first.folder} (question, "
                "choices or answer differ); measure both on the same data"
            )


def _describe(run: Run, sinks: Sinks | str, resamples: int, seed: int) -> dict[str, Any]:
    """One run alone."""
    correlation = _correlations(run.measured, resamples, seed)
    measured, answers = run.measured, list(run.answers.values())
    judged = [answer.correct for answer in answers if answer.correct is not None]
    low, high = wilson(sum(judged), len(judged))
    return {
        "name": run.name,
        "folder": str(run.folder),
        **{key: run.summary.get(key) for key in ("model", "adapter", "prompt", "text", "random_weights")},
        "items": len(answers),
        "measured": len(measured),
        "empty": sum(answer.tokens == 0 for answer in answers),
        "accuracy": {
            "value": sum(judged) / len(judged) if judged else None,
            "low": low if judged else None,
            "high": high if judged else None,
            "judged": len(judged),
        },
        "ratio": {name: _mean([getattr(np, name)(a.ratio) for a in measured]) for name in REDUCTIONS},
        "median_output_tokens": float(np.median([answer.tokens for answer in answers])),
        "shares": {name: _mean([a.shares[name].mean() for a in measured]) for name in SHARES},
        "shares_without_first_token": {
            name: _mean([_renormalised(answer, name) for answer in measured])
            for name in SHARES
            if name != "first_token"
        },
        "correlation": correlation,
        "sinks": _describe_sinks(sinks),
        "ratio_without": _ratios_without(measured, sinks),
        "conclusions": conclude_run(run.name, correlation),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _renormalised(answer: Answer, name: str) -> float:
    rest = 1 - answer.shares["first_token"]
    return float(np.divide(answer.shares[name], rest, out=np.zeros_like(rest), where=rest > 0).mean())


def _correlations(measured: Sequence[Answer], resamples: int, seed: int) -> dict[str, Any]:
    """Of an answer's mean ratio with its correctness, raw and at a given length, and with its length."""
    judged = [answer for answer in measured if answer.correct is not None]
    ratio = np.array([answer.ratio.mean() for answer in judged])
    correct = np.array([float(answer.correct is True) for answer in judged])
    lengths = np.array([float(answer.tokens) for answer in judged])
    given = np.stack([lengths, np.log(lengths)], axis=1)
    every = np.array([answer.ratio.mean() for answer in measured])
    tokens = np.array([float(answer.tokens) for answer in measured])
    names = ("ratio", "correctness")
    return {
        "correct": asdict(correlate(ratio, correct, names=names, resamples=resamples, seed=seed)),
        "correct_given_length": asdict(
            correlate(ratio, correct, covariates=given, names=names, resamples=resamples, seed=seed)
        ),
        "length": asdict(correlate(every, tokens, names=("ratio", "length"), resamples=resamples, seed=seed)),
    }


def _describe_sinks(sinks: Sinks | str) -> dict[str, Any]:
    if isinstance(sinks, str):
        return {"columns": None, "reason": sinks}
    return {**asdict(sinks), "columns": list(sinks.columns), "factor": SINK_FACTOR, "reason": None}


def _ratios_without(measured: Sequence[Answer], sinks: Sinks | str) -> dict[str, Any]:
    """The mean ratio without sinks, first token, and both; ``all``: with them, over the same items.

    ``first_column`` is the side of the ratio that the first token is on; null: neither, and it changes
    nothing.
    """
    found: dict[str, Any] = {"first_column": first_column_of(measured)}
    none = {"value": None, "all": None, "items": 0}
    if not measured or any(answer.image_columns is None for answer in measured):
        reason = OLD_RUN if measured else "no answer was measured"
        return {**found, **{name: {**none, "reason": reason} for name in ("sinks", "first_token", "both")}}
    found["first_token"] = _ratio_without(measured, first_token=True)
    if isinstance(sinks, str):
        return {**found, **{name: {**none, "reason": sinks} for name in ("sinks", "both")}}
    looked = [answer for answer in measured if answer.image_columns == sinks.image_columns]
    found["sinks"] = _ratio_without(looked, sinks=sinks.columns)
    found["both"] = _ratio_without(looked, sinks=sinks.columns, first_token=True)
    return found


def _ratio_without(answers: Sequence[Answer], **columns: Any) -> dict[str, Any]:
    kept = [(answer, ratio_without(answer, **columns)) for answer in answers]
    values = [
        (float(ratio.mean()), float(answer.ratio.mean())) for answer, ratio in kept if ratio is not None
    ]
    if not values:
        return {"value": None, "all": None, "items": 0, "reason": "nothing is left on a side of the ratio"}
    without, whole = np.mean(values, axis=0)
    return {"value": float(without), "all": float(whole), "items": len(values), "reason": None}


def _notes(first: Run, others: Sequence[Run]) -> list[str]:
    """What a reader must know of the runs before any figure."""
    runs = [first, *others]
    notes = []
    random = [repr(run.name) for run in runs if run.summary["random_weights"]]
    if random:
        notes.append(f"{', '.join(random)}: random weights; no figure says anything on a trained model.")
    given = [repr(run.name) for run in runs if run.summary.get("text")]
    if given:
        notes.append(f"{', '.join(given)}: answers were given, not generated by the model.")
    for other in others:
        one, two = first.answers.keys(), other.answers.keys()
        if one != two:
            notes.append(
                f"{len(one - two)} problems are only in {first.name!r} and {len(two - one)} only in "
                f"{other.name!r}; pairs are compared on the {len(one & two)} that both have."
            )
        prompts = first.summary.get("prompt"), other.summary.get("prompt")
        if prompts[0] != prompts[1]:
            notes.append(
                f"{first.name!r} has prompt {prompts[0]!r}, {other.name!r} {prompts[1]!r}: a difference is "
                "one of model and prompt together, and P is a mean over other text."
            )
        different = sum(
            first.answers[i].image_columns != other.answers[i].image_columns
            for i in one & two
            if first.answers[i].image_columns is not None and other.answers[i].image_columns is not None
        )
        if different:
            notes.append(
                f"{first.name!r} and {other.name!r} have different numbers of image columns in {different} "
                "problems: V is a mean over other columns, and sinks are not compared there."
            )
    return notes


def _notes_on_sinks(sinks: Mapping[str, Sinks | str]) -> list[str]:
    return [
        f"{name!r}: {len(found.columns)} of {found.image_columns} image columns are sinks and draw "
        f"{found.weight:.0%} of the weight on the picture."
        for name, found in sinks.items()
        if isinstance(found, Sinks) and found.columns
    ]
