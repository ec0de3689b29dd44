"""What differs between two runs over the problems that both answered, with length taken out in two ways.

    pair = compare_pair(direct, cot, sinks=(of_direct, of_cot), pairs=1, resamples=2000, seed=0)

*Position-matched*: of each problem only the tokens j < min(n_1, n_2), so both runs speak from the same
positions; the mean over those tokens, then the mean difference over problems. It assumes nothing, and says
nothing on later tokens.

*Length-controlled*: delta of the regression

    ratio_ijk = item_i + f(j) + delta [k = other] + noise        weights 1 / n_ik

over every token j of both answers k to problem i. f is piecewise linear with knots at 0, 1, 2, 4, 8, ...;
item effects are absorbed by centring each problem. It uses all tokens, and is right only where f is the same
in both runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vkit.attention.compare_runs import Answer, Run
from vkit.attention.compare_words import conclude
from vkit.attention.names import SHARES
from vkit.attention.sinks import OLD_RUN, Sinks, first_column_of, ratio_without
from vkit.evaluate.statistics import bootstrap_coefficient, bootstrap_mean, paired_shares, resample_items
from vkit.evaluate.steps import find_steps

CURVE_POINTS = 200  # of the curve by position, at most
Pairs = Sequence[tuple[Answer, Answer]]


def compare_pair(
    baseline: Run,
    other: Run,
    *,
    sinks: tuple[Sinks | str, Sinks | str],
    pairs: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Differences ``other - baseline``, an object for JSON; see the module for the two controls.

    Args:
        sinks: of the two runs, or why they have none.
        pairs: how many comparisons are made beside each other, for the words.
    """
    shared = [(baseline.answers[i], other.answers[i]) for i in baseline.answers if i in other.answers]
    both = [(one, two) for one, two in shared if one.measured and two.measured]
    pair: dict[str, Any] = {
        "baseline": baseline.name,
        "other": other.name,
        "shared": len(shared),
        "only_baseline": len(baseline.answers) - len(shared),
        "only_other": len(other.answers) - len(shared),
        "measured": len(both),
        "accuracy": _accuracy(shared),
    }
    if both:
        weights = resample_items(len(both), resamples=resamples, seed=seed)
        pair["median_output_tokens"] = {
            "baseline": float(np.median([one.tokens for one, _ in both])),
            "other": float(np.median([two.tokens for _, two in both])),
        }
        pair["raw"] = _difference([(one.ratio.mean(), two.ratio.mean()) for one, two in both], weights)
        pair["position_matched"] = _position_matched(both, weights)
        pair["length_controlled"] = length_controlled(both, weights)
        pair["overlap"] = _overlap(both)
        pair["without"] = _without(both, sinks, resamples, seed)
        pair["curve"] = _curve(both)
        pair["steps"] = _steps(both)
    pair["conclusions"] = conclude(pair, baseline.summary, other.summary, pairs=pairs)
    return pair


def length_controlled(both: Pairs, weights: np.ndarray) -> dict[str, Any]:
    """delta of the module's regression and its interval. ``weights``: of `resample_items`."""
    longest = max(max(one.tokens, two.tokens) for one, two in both)
    position = _hats(longest)
    width = position.shape[1] + 1
    normal, moment = np.zeros((len(both), width, width)), np.zeros((len(both), width))
    for item, answers in enumerate(both):
        centre, level = np.zeros(width), 0.0
        for is_other, answer in enumerate(answers):
            rows = np.hstack([position[: answer.tokens], np.full((answer.tokens, 1), float(is_other))])
            normal[item] += rows.T @ rows / answer.tokens
            moment[item] += rows.T @ answer.ratio / answer.tokens
            centre += rows.mean(0) / 2
            level += answer.ratio.mean() / 2
        # Both answers weigh 1: centring takes out twice the product of the means.
        normal[item] -= 2 * np.outer(centre, centre)
        moment[item] -= 2 * centre * level
    return asdict(bootstrap_coefficient(normal, moment, weights))


def _hats(longest: int) -> np.ndarray:
    """Piecewise linear functions of position, (longest, knots - 1); the level at 0 is the item's effect."""
    knots = np.unique(np.minimum([0, *(2 ** np.arange(longest.bit_length() + 1))], longest - 1))
    hats = [np.interp(np.arange(longest), knots, row) for row in np.eye(len(knots))[1:]]
    return np.stack(hats, axis=1) if hats else np.zeros((longest, 0))


def _difference(means: Sequence[tuple[float, float]], weights: np.ndarray) -> dict[str, Any]:
    """Means of the two runs over problems, and their paired difference with its interval."""
    values = np.array(means, dtype=float)
    estimate = bootstrap_mean(values[:, 1] - values[:, 0], weights)
    return {"baseline": float(values[:, 0].mean()), "other": float(values[:, 1].mean()), **asdict(estimate)}


def _position_matched(both: Pairs, weights: np.ndarray) -> dict[str, Any]:
    return {
        "ratio": _matched([(one.ratio, two.ratio) for one, two in both], weights),
        "V": _matched([(one.image, two.image) for one, two in both], weights),
        "P": _matched([(one.text, two.text) for one, two in both], weights),
        "shares": {
            name: _matched([(one.shares[name], two.shares[name]) for one, two in both], weights)
            for name in SHARES
        },
    }


def _matched(values: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> dict[str, Any]:
    """Difference of what the two runs say at the positions that both answers to a problem have."""
    means = []
    for one, two in values:
        common = min(len(one), len(two))
        means.append((float(one[:common].mean()), float(two[:common].mean())))
    return _difference(means, weights)


def _overlap(both: Pairs) -> dict[str, float]:
    """The part of each run's tokens at positions that both answers to the problem have, and their median."""
    common = np.array([min(one.tokens, two.tokens) for one, two in both])
    return {
        "baseline": float(common.sum() / sum(one.tokens for one, _ in both)),
        "other": float(common.sum() / sum(two.tokens for _, two in both)),
        "median_tokens": float(np.median(common)),
    }


def _accuracy(shared: Pairs) -> dict[str, Any]:
    """Over the problems judged in both: paired difference, McNemar's exact p."""
    judged = [(one.correct, two.correct) for one, two in shared if None not in (one.correct, two.correct)]
    if not judged:
        return {"judged": 0, "value": None, "reason": "no problem is judged in both runs"}
    lost = sum(bool(one and not two) for one, two in judged)
    won = sum(bool(two and not one) for one, two in judged)
    estimate, p = paired_shares(lost, won, len(judged))
    return {
        "judged": len(judged),
        "baseline": sum(bool(one) for one, _ in judged) / len(judged),
        "other": sum(bool(two) for _, two in judged) / len(judged),
        **asdict(estimate),
        "p": p,
        "only_baseline_correct": lost,
        "only_other_correct": won,
    }


def _without(
    both: Pairs, sinks: tuple[Sinks | str, Sinks | str], resamples: int, seed: int
) -> dict[str, Any]:
    """Position-matched differences of the ratio without sinks (of either run), first token, and both.

    ``first_column`` is the side of the ratio that the first token is on; null: neither, and it changes
    nothing.
    """
    found: dict[str, Any] = {"first_column": first_column_of([answer for pair in both for answer in pair])}
    reasons = [each for each in sinks if isinstance(each, str)]
    if reasons or any(answer.image_columns is None for answers in both for answer in answers):
        reason = reasons[0] if reasons else OLD_RUN
        return {
            **found,
            **{name: {"value": None, "reason": reason} for name in ("sinks", "first_token", "both")},
        }
    found["first_token"] = _matched_without(both, resamples, seed, first_token=True)
    one, two = (each for each in sinks if isinstance(each, Sinks))
    if one.image_columns != two.image_columns:
        reason = (
            f"{one.image_columns} image columns against {two.image_columns}: their sinks are not the same"
        )
        return {**found, **{name: {"value": None, "reason": reason} for name in ("sinks", "both")}}
    columns = sorted({*one.columns, *two.columns})
    alike = [pair for pair in both if all(answer.image_columns == one.image_columns for answer in pair)]
    for name, first_token in (("sinks", False), ("both", True)):
        found[name] = _matched_without(alike, resamples, seed, sinks=columns, first_token=first_token)
        found[name]["columns"] = columns
    return found


def _matched_without(both: Pairs, resamples: int, seed: int, **columns: Any) -> dict[str, Any]:
    kept = []
    for answers in both:
        one, two = (ratio_without(answer, **columns) for answer in answers)
        if one is not None and two is not None:
            kept.append((one, two))
    if not kept:
        return {"value": None, "items": 0, "reason": "no problem has columns left on both sides in both runs"}
    weights = resample_items(len(kept), resamples=resamples, seed=seed)
    return {"items": len(kept), **_matched(kept, weights)}


def _curve(both: Pairs) -> dict[str, list[Any]]:
    """Mean ratio of each run at each position, over its answers that are so long, and over those of both.

    ``difference`` is over the ``items_both`` problems whose answers both reach the position; the runs' own
    means there are over different problems. Null where nobody does. At most `CURVE_POINTS` positions.
    """
    longest = max(max(one.tokens, two.tokens) for one, two in both)
    sums, counts, paired = np.zeros((2, longest)), np.zeros((2, longest), dtype=int), np.zeros((2, longest))
    for one, two in both:
        for row, answer in enumerate((one, two)):
            sums[row, : answer.tokens] += answer.ratio
            counts[row, : answer.tokens] += 1
        common = min(one.tokens, two.tokens)
        paired[0, :common] += two.ratio[:common] - one.ratio[:common]
        paired[1, :common] += 1
    points = np.unique(np.linspace(0, longest - 1, min(longest, CURVE_POINTS)).round().astype(int))
    return {
        "position": points.tolist(),
        "baseline": _quotients(sums[0, points], counts[0, points]),
        "other": _quotients(sums[1, points], counts[1, points]),
        "difference": _quotients(paired[0, points], paired[1, points]),
        "items_baseline": counts[0, points].tolist(),
        "items_other": counts[1, points].tolist(),
        "items_both": paired[1, points].astype(int).tolist(),
    }


def _quotients(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(total / count) if count else None for total, count in zip(sums, counts)]


def _steps(both: Pairs) -> dict[str, list[dict[str, Any]]]:
    """Mean ratio of the first, second, ... reasoning step of each run, and how many answers have one."""
    found = {}
    for name, answers in (("baseline", [one for one, _ in both]), ("other", [two for _, two in both])):
        steps: dict[int, list[float]] = {}
        for answer in answers:
            for number, (start, end) in enumerate(find_steps(answer.pieces), 1):
                steps.setdefault(number, []).append(float(answer.ratio[start:end].mean()))
        found[name] = [
            {"step": number, "ratio": float(np.mean(values)), "items": len(values)}
            for number, values in sorted(steps.items())
        ]
    return found
