"""What may, and what may not, be concluded from the figures of a pair of runs, in plain sentences.

    conclude(pair, baseline_summary, other_summary, pairs=1)     # {"may": [...], "may_not": [...]}

The sentences are decided by intervals alone; no figure stands in them that is not in the pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FEW_ITEMS = 30
LITTLE_OVERLAP = 0.25  # of the longer run's tokens
Figures = Mapping[str, Any]


def conclude(pair: Figures, baseline: Figures, other: Figures, *, pairs: int) -> dict[str, list[str]]:
    """Sentences on a pair as `compare_pair` makes it.

    Args:
        baseline, other: the runs' summaries.
        pairs: how many comparisons are made beside each other.
    """
    may: list[str] = []
    may_not: list[str] = []
    if pair["measured"]:
        _on_ratio(pair, may, may_not)
        _on_sides(pair, may, may_not)
        _on_sinks(pair, may, may_not)
        _on_overlap(pair, may_not)
    else:
        may_not.append("No problem has a ratio in both runs: nothing follows about looking.")
    _on_accuracy(pair["accuracy"], pair, may, may_not)
    if 0 < pair["measured"] < FEW_ITEMS:
        may_not.append(f"{pair['measured']} problems are few: a difference of this size may not recur.")
    if baseline.get("prompt") != other.get("prompt"):
        may_not.append("The prompts differ: the model alone is not what is compared.")
    if baseline.get("random_weights") or other.get("random_weights"):
        may_not.append("Weights are random: nothing here is about a trained model.")
    if pairs > 1:
        may_not.append(f"{pairs} runs are compared with {pair['baseline']!r}, without correction for it.")
    may_not.append("Attention is not use: a larger ratio does not show that the answer rests on the picture.")
    return {"may": may, "may_not": may_not}


def conclude_run(name: str, correlation: Figures) -> dict[str, list[str]]:
    """Sentences on one run: whether its ratio goes with right answers, at equal length too."""
    raw, given = correlation["correct"], correlation["correct_given_length"]
    if raw["r"] is None or given["r"] is None:
        why = raw["reason"] or given["reason"]
        return {
            "may": [],
            "may_not": [f"Whether the ratio of {name!r} goes with right answers is open: {why}."],
        }
    figures = [f"r = {each['r']:+.2f}, p = {each['p']:.2g}" for each in (raw, given)]
    both = f"{figures[0]}; at equal length {figures[1]}; {raw['items']} answers"
    if given["p"] < 0.05:
        goes = "larger" if given["r"] > 0 else "smaller"
        sentence = (
            f"In {name!r} right answers have {goes} ratios at equal length ({both}); that shows no cause."
        )
        return {"may": [sentence], "may_not": []}
    if raw["p"] < 0.05:
        sentence = (
            f"In {name!r} ratio and right answers go together only through length, as far as shown ({both})."
        )
    else:
        sentence = f"In {name!r} no relation of ratio and right answers is shown ({both})."
    return {"may": [], "may_not": [sentence]}


def _on_ratio(pair: Figures, may: list[str], may_not: list[str]) -> None:
    raw, matched, controlled = pair["raw"], pair["position_matched"]["ratio"], pair["length_controlled"]
    one, two, items = repr(pair["baseline"]), repr(pair["other"]), pair["measured"]
    if matched["low"] is None or controlled["low"] is None:
        may_not.append(
            f"No interval can be given ({matched['reason'] or controlled['reason']}): no conclusion."
        )
        return
    sides = side(matched), side(controlled)
    seen = (
        f"At equal positions {two} has a ratio {size(matched)} {'higher' if sides[0] > 0 else 'lower'} "
        f"than {one} (95% interval {span(_upright(matched))}, {items} problems)"
    )
    at_equal = f"at equal positions by {signed(matched)}"
    with_length = f"with length controlled by {signed(controlled)}"
    means = f"The means differ by {signed(raw)} as the paper computes them, but"
    if sides[0] and sides[0] == sides[1]:
        may.append(
            f"{seen}, and with length controlled {signed(controlled)}; output length does not explain this "
            "difference."
        )
        if side(raw) == -sides[0]:
            may_not.append(f"{means} the other way round at equal positions: do not rank by the means.")
    elif sides == (0, 0) and side(raw):
        if _inside(raw["value"], matched) or _inside(raw["value"], controlled):
            may_not.append(
                f"{means} {at_equal} and {with_length}: too uncertain to tell length from looking; measure "
                "more problems."
            )
        elif max(_part(raw, matched), _part(raw, controlled)) > 0.5:
            may_not.append(
                f"{means} {at_equal} and {with_length}: length explains a part, and whether anything remains "
                "is open; measure more problems."
            )
        else:
            may_not.append(
                f"{means} {at_equal} and {with_length}: length explains the difference, and nothing follows "
                "about looking."
            )
    elif sides == (0, 0):
        may_not.append(
            f"No difference in ratio is shown ({at_equal}, {with_length}, {items} problems); that is not "
            "proof that there is none."
        )
    elif sides[0] and _inside(matched["value"], controlled):
        may.append(f"{seen}, over the positions that both have.")
        may_not.append(
            f"Length-controlled the difference is {signed(controlled)}: too uncertain to confirm it."
        )
    elif sides[1] and _inside(controlled["value"], matched):
        may_not.append(
            f"With length controlled the ratios of {two} and {one} differ by {signed(controlled)}, but "
            f"{at_equal}: too uncertain to confirm it; measure more problems."
        )
    else:
        may_not.append(
            f"The two controls disagree: the ratios of {two} and {one} differ {at_equal} and {with_length}. "
            "Where it changes with position (see the curve) no single figure stands for it, and length is "
            "not excluded."
        )


def _on_sides(pair: Figures, may: list[str], may_not: list[str]) -> None:
    """Whether weight on the picture rose, or weight on the text fell."""
    found = pair["position_matched"]
    up = side(found["ratio"])
    if not up:
        return
    image, text = side(found["V"]) == up, side(found["P"]) == -up
    rose, fell = ("rose", "fell") if up > 0 else ("fell", "rose")
    figures = f"V {relative(found['V'])}, P {relative(found['P'])}"
    if image and text:
        may.append(f"Weight on the picture {rose} and weight on the text {fell} ({figures}).")
    elif image:
        may.append(f"Weight on the picture {rose} ({figures}).")
    elif text:
        less = "more" if up > 0 else "less"
        may_not.append(
            f"The ratio is {'higher' if up > 0 else 'lower'} because weight on the text {fell} ({figures}): "
            f"that is not looking {less}."
        )
    else:
        may_not.append(f"Whether V or P made the difference is open ({figures}).")


def _on_sinks(pair: Figures, may: list[str], may_not: list[str]) -> None:
    matched, without = pair["position_matched"]["ratio"], pair["without"]["both"]
    if without["value"] is None:
        may_not.append(f"What sinks contribute is not known ({without['reason']}).")
        return
    sinks, first = len(without["columns"]), pair["without"]["first_column"] is not None
    if without["low"] is not None and side(matched) and (sinks or first):
        taken = " and ".join([f"{sinks} sink columns"] * bool(sinks) + ["the first token"] * first)
        if side(without) == side(matched):
            may.append(f"The difference stays without {taken} ({signed(without)}).")
        else:
            may_not.append(
                f"Without {taken} the difference is {signed(without)}: it may rest on columns that draw "
                "weight whatever is asked."
            )


def _on_overlap(pair: Figures, may_not: list[str]) -> None:
    overlap = pair["overlap"]
    least = min(("baseline", "other"), key=lambda run: overlap[run])
    if overlap[least] < LITTLE_OVERLAP:
        may_not.append(
            f"Only {overlap[least]:.0%} of the tokens of {pair[least]!r} are at positions that both runs "
            f"have (median {overlap['median_tokens']:.0f} tokens): of the rest the position-matched figure "
            "says nothing, and the length-controlled one extrapolates."
        )


def _on_accuracy(accuracy: Figures, pair: Figures, may: list[str], may_not: list[str]) -> None:
    if not accuracy["judged"]:
        return
    points = (
        f"{100 * accuracy['value']:+.1f} points ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}"
    )
    figures = f"{points}; McNemar p = {accuracy['p']:.2g}, {accuracy['judged']} problems)"
    if accuracy["p"] < 0.05:
        more = "more" if accuracy["value"] > 0 else "fewer"
        may.append(f"{pair['other']!r} solves {more} problems than {pair['baseline']!r}: {figures}.")
    else:
        may_not.append(f"No difference in accuracy is shown: {figures}.")


def side(figure: Figures) -> int:
    """1 or -1 where the whole interval lies on that side of zero, else 0."""
    if figure["low"] is None:
        return 0
    return int(figure["low"] > 0) - int(figure["high"] < 0)


def signed(figure: Figures) -> str:
    """Value and interval, with the digits that the interval leaves.

    >>> signed({"value": 0.1234, "low": 0.051, "high": 0.204})
    '+0.12 (0.05 to 0.20)'
    """
    if figure["low"] is None:
        return f"{figure['value']:+.3g}"
    return f"{figure['value']:+.{_digits(figure)}f} ({span(figure)})"


def size(figure: Figures) -> str:
    """The value without its sign.

    >>> size({"value": -0.1234, "low": -0.204, "high": -0.051})
    '0.12'
    """
    return f"{abs(figure['value']):.{_digits(figure)}f}"


def span(figure: Figures) -> str:
    """The interval.

    >>> span({"value": 0.1234, "low": 0.051, "high": 0.204})
    '0.05 to 0.20'
    """
    digits = _digits(figure)
    return f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}"


def _upright(figure: Figures) -> Figures:
    """The figure of the opposite difference where it is negative: "0.2 lower (0.1 to 0.3)"."""
    if figure["value"] >= 0:
        return figure
    return {"value": -figure["value"], "low": -figure["high"], "high": -figure["low"]}


def relative(figure: Figures) -> str:
    """The difference in percent of the baseline.

    >>> relative({"value": -0.002, "baseline": 0.01})
    '-20%'
    """
    if not figure["baseline"]:
        return f"{figure['value']:+.2g}"
    return f"{figure['value'] / figure['baseline']:+.0%}"


def _digits(figure: Figures) -> int:
    width = figure["high"] - figure["low"]
    scale = width or abs(figure["value"]) or 1.0
    return min(max(1 - math.floor(math.log10(scale)), 0), 8)


def _part(whole: Figures, rest: Figures) -> float:
    """How much of a difference the interval of what remains of it allows, from 0."""
    return max(rest["high"] / whole["value"], rest["low"] / whole["value"])


def _inside(value: float, figure: Figures) -> bool:
    return bool(figure["low"] <= value <= figure["high"])
