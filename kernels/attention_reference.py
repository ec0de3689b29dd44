"""What `vkit.kernels.attention` computes, written as plainly as PyTorch allows.

Every implementation is tested against these functions, in float64 where the tensors are. They hold whole
(Tq, Tk) matrices and are differentiable by autograd; use them to read and to check, never to run a model.

    s_ij   = softcap(scale * q_i . k_j)                  softcap(x) = c tanh(x / c), or x
    P_ij   = exp(s_ij - lse_i)   where j is visible to i, else 0
    lse_i  = log sum_j exp(s_ij)                          -inf where nothing is visible
    out_i  = sum_j P_ij v_j
    mass_is = sum_{j : segment(j) = s} P_ij
"""

from __future__ import annotations

import torch
from torch import Tensor


def visible_keys(
    query_length: int,
    key_length: int,
    *,
    causal: bool,
    mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    window: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Which keys each query sees: a boolean tensor that broadcasts to (B, Hq, Tq, Tk).

    The last query stands at the last key, so query i has position ``Tk - Tq + i``.
    """
    position = torch.arange(query_length, device=device)[:, None] + (key_length - query_length)
    column = torch.arange(key_length, device=device)[None, :]
    visible = torch.ones(query_length, key_length, dtype=torch.bool, device=device)[None, None]
    if causal:
        visible = visible & (column <= position)
    if window is not None:
        visible = visible & (column > position - window)
    if key_mask is not None:
        visible = visible & key_mask[:, None, None, :]
    if mask is not None:
        visible = visible & mask
    return visible


def attention_scores(query: Tensor, key: Tensor, *, softcap: float | None, scale: float | None) -> Tensor:
    """Scores before masking, (B, Hq, Tq, Tk), in float64 for float64 inputs and float32 otherwise."""
    precision = torch.float64 if query.dtype == torch.float64 else torch.float32
    groups = query.shape[1] // key.shape[1]
    key = key.to(precision).repeat_interleave(groups, dim=1)
    scores = (query.to(precision) @ key.mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def visible_scores(
    query: Tensor,
    key: Tensor,
    *,
    causal: bool,
    mask: Tensor | None,
    key_mask: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float | None,
) -> Tensor:
    """`attention_scores`, -inf where a query does not see a key."""
    scores = attention_scores(query, key, softcap=softcap, scale=scale)
    visible = visible_keys(
        query.shape[2],
        key.shape[2],
        causal=causal,
        mask=mask,
        key_mask=key_mask,
        window=window,
        device=query.device,
    )
    return scores.masked_fill(~visible, -torch.inf)


def softmax_weights(scores: Tensor, lse: Tensor) -> Tensor:
    """P_ij = exp(s_ij - lse_i), zeros for a query that sees nothing."""
    return torch.exp(scores - lse.masked_fill(lse == -torch.inf, 0.0)[..., None])


def segment_attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    num_segments: int,
    *,
    causal: bool = True,
    mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition of `vkit.kernels.attention.segment_attention`, with the same arguments and results.

    Keeps the precision of float64 inputs in all three results; other inputs are computed in float32.
    """
    scores = visible_scores(
        query, key, causal=causal, mask=mask, key_mask=key_mask, window=window, softcap=softcap, scale=scale
    )
    lse = torch.logsumexp(scores, -1)
    probabilities = softmax_weights(scores, lse)
    groups = query.shape[1] // key.shape[1]
    out = probabilities @ value.to(scores.dtype).repeat_interleave(groups, dim=1)
    segments = torch.arange(num_segments, device=query.device)
    membership = (segment_ids[:, :, None] == segments).to(scores.dtype)  # (B, Tk, S)
    mass = probabilities @ membership[:, None]
    return out.to(query.dtype), lse, mass


def attention_rows_reference(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    rows: Tensor,
    *,
    causal: bool = True,
    mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
) -> Tensor:
    """The definition of `vkit.kernels.attention.attention_rows`: (B, R, Tk), averaged over the heads.

    A row index of -1 stands for no row and gives zeros.
    """
    scores = visible_scores(
        query, key, causal=causal, mask=mask, key_mask=key_mask, window=window, softcap=softcap, scale=scale
    )
    probabilities = softmax_weights(scores, lse.to(scores.dtype))
    average = probabilities.mean(1)  # (B, Tq, Tk)
    rows = rows.expand(query.shape[0], rows.shape[-1]) if rows.dim() == 1 else rows
    chosen = average.gather(1, rows.clamp(min=0).long()[:, :, None].expand(-1, -1, key.shape[2]))
    return chosen.masked_fill((rows < 0)[:, :, None], 0.0)
