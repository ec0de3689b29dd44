"""The image-to-text attention ratio (Tey's study, section 4.4.1) from segment masses.

With A the attention averaged over layers and heads, r_j the row of output token j, I the image columns and
Q the text columns,

    V_j = mean of A[r_j, c] over c in I        P_j = mean of A[r_j, c] over c in Q        ratio_j = V_j / P_j

and an answer's ratio is the mean of ratio_j over its tokens. (The paper's equation is a sum; its Table 1 is
means. `REDUCTIONS` offers both, and the maximum.)

What the measure cannot say: it grows with the position of a token, because the weight on the prompt's text
falls faster than that on the image, so longer answers have larger ratios. Compare at equal positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vkit.attention.names import REDUCTIONS, SHARES
from vkit.attention.spans import Segments


@dataclass(frozen=True)
class Ratio:
    """The ratio of one answer, a value per output token.

    image_attention, text_attention: (n,) V and P.
    ratio: (n,) V / P; NaN where no weight at all is on the text (every layer's window has left it behind).
    shares: (n,) per name in `SHARES`: the part of the row's weight there; together 1.
    """

    image_attention: np.ndarray
    text_attention: np.ndarray
    ratio: np.ndarray
    shares: dict[str, np.ndarray]

    def reduced(self) -> dict[str, float] | None:
        """The answer's ratio under each of `REDUCTIONS`; None where it is empty or a token has none."""
        if not len(self.ratio) or np.isnan(self.ratio).any():
            return None
        return {name: float(getattr(np, name)(self.ratio)) for name in REDUCTIONS}


def ratio_of(mass: Tensor, segments: Segments, item: int, output_length: int) -> Ratio:
    """The ratio of one item of a batch.

    Args:
        mass: (L, B, H, R, A) as `capture` records it for `output_rows`, over the atoms of ``segments``.
        item: its index in the batch.
        output_length: n, its number of output tokens; rows past it are not read.
    """
    average = mass[:, item, :, :output_length].double().mean((0, 1)).cpu().numpy()  # (n, A)
    image = average[:, segments.image].sum(1) / segments.image_lengths[item]
    text = average[:, segments.text].sum(1) / segments.text_lengths[item]
    ratio = np.divide(image, text, out=np.full_like(image, np.nan), where=text > 0)
    shares = {name: average[:, atoms].sum(1) for name, atoms in zip(SHARES, segments.shares)}
    return Ratio(image, text, ratio, shares)
