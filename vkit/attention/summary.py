"""What a run says in a few numbers, as Table 1 of Tey's study has them, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vkit.attention.names import REDUCTIONS, SHARES

LIMITS = (
    "The ratio grows with a token's position and so with output length, and it takes attention for use: "
    "compare models at equal positions before concluding that one looks more."
)


def summarise(items: Sequence[dict[str, Any]], *, reduce: str = "mean") -> dict[str, Any]:
    """Accuracy and ratio over the items of a run, with what was left out of each.

    Items with an empty answer have no ratio and are skipped in it, as in the study; they count as wrong.

    >>> seconds = {"generate": 0.5, "measure": 0.0}
    >>> nothing = {"output_ids": [], "correct": False, "extracted": None, "reduced": None, "seconds": seconds}
    >>> summarise([nothing])["empty"]
    1
    """
    measured = [item for item in items if item["reduced"] is not None]
    judged = [item for item in items if item["correct"] is not None]
    ratios = {
        name: _round(np.mean([item["reduced"][name] for item in measured])) if measured else None
        for name in REDUCTIONS
    }
    shares = {
        name: _round(np.mean([np.mean(item["shares"][name]) for item in measured])) if measured else None
        for name in SHARES
    }
    lengths = [len(item["output_ids"]) for item in items]
    return {
        "items": len(items),
        "empty": lengths.count(0),
        "without_ratio": sum(bool(item["output_ids"]) and item["reduced"] is None for item in items),
        "accuracy": _round(np.mean([item["correct"] for item in judged])) if judged else None,
        "judged": len(judged),
        "not_extracted": sum(item["extracted"] is None for item in judged),
        "reduce": reduce,
        "ratio": ratios,
        "shares": shares,
        "median_output_tokens": float(np.median(lengths)) if lengths else None,
        "seconds": {
            name: round(sum(item["seconds"][name] for item in items), 3) for name in ("generate", "measure")
        },
        "limits": LIMITS,
    }


def _round(value: float) -> float:
    return float(f"{float(value):.7g}")
