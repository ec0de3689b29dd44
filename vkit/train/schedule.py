"""The learning rate over a stage: a linear rise, then half a cosine down to 0.

>>> [round(warmup_cosine(step, 6, 2), 2) for step in range(6)]
[0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
"""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """The factor of the peak rate at ``step`` of ``steps``, counted from 0; ``warmup`` steps rise."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
