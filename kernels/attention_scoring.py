"""What becomes of the scores of attention, as the implementations behind `vkit.kernels.attention` hand it on.

scoring = Scoring(causal=True, mask=None, key_mask=None, window=None, softcap=None, scale=0.125)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Scoring:
    """Which keys a query sees, and how the products are scaled; checked, with the meaning of the arguments of
    `vkit.kernels.attention.segment_attention`."""

    causal: bool
    mask: Tensor | None
    key_mask: Tensor | None
    window: int | None
    softcap: float | None
    scale: float
