"""What asking would cost, without asking.

estimate(tasks, settings, prices, store)["cost_usd_at_most"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vkit.teacher.store import Prices, ReplyStore
from vkit.teacher.task import Settings, Task


def estimate(
    tasks: Sequence[Task], settings: Settings, prices: Prices | None, store: ReplyStore | None
) -> dict[str, Any]:
    """The cost of asking for tasks, in US dollars, None where it cannot be told.

    ``at_most`` counts a token a byte of text, what GPT-4o (or ``settings.image_tokens``) counts for a
    picture, and answers that reach their limit. ``expected`` takes the mean cost of the answers in the store.
    """
    unique = {task.key: task for task in tasks}.values()
    expected = None
    if store is not None and store.counted and prices is not None:
        mean = prices.cost_usd(store.input_tokens, store.output_tokens) / store.counted
        expected = round(mean * len(unique), 6)
    most = sum(prices.most_usd(task, settings.max_tokens) for task in unique) if prices else None
    return {
        "requests": len(unique),
        "input_tokens_at_most": sum(task.input_tokens for task in unique),
        "output_tokens_at_most": len(unique) * settings.max_tokens,
        "cost_usd_at_most": None if most is None else round(most, 6),
        "cost_usd_expected": expected,
    }
