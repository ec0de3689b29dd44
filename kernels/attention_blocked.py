"""Segment attention in blocks of plain PyTorch: any device, any floating dtype, linear memory.

The path where neither the Triton nor the C++ kernel applies (no compiler at install time, float16 or float64
on the CPU, other devices), and the backward on the CPU. A block of queries is scored against the keys that it
may see. The largest temporary is (B, Hq, block, Tk), which `BLOCK_BUDGET_MIB` bounds as long as a block has
more than one query.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .attention_scoring import Scoring

BLOCK_BUDGET_MIB = 32


def segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    num_segments: int,
    scoring: Scoring,
) -> tuple[Tensor, Tensor, Tensor]:
    """`vkit.kernels.attention.segment_attention` on checked arguments."""
    blocks = _Blocks(query, key, scoring)
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    lse = query.new_empty(query.shape[:3], dtype=blocks.precision)
    mass = query.new_empty((*query.shape[:3], num_segments), dtype=blocks.precision)
    value = value.to(blocks.precision)
    segments = torch.arange(num_segments, device=query.device)
    membership = (segment_ids[:, :, None] == segments).to(blocks.precision)  # (B, Tk, S)
    for queries, keys in blocks:
        scores, _ = blocks.scores(queries, keys)
        block_lse = torch.logsumexp(scores, -1)  # (B, Hkv, G, block)
        weights = _normalise(scores, block_lse)
        lse[:, :, queries] = block_lse.flatten(1, 2)
        out[:, :, queries] = blocks.by_key_head(weights, value[:, :, keys]).to(out.dtype)
        mass[:, :, queries] = (weights @ membership[:, None, None, keys]).flatten(1, 2)
    return out, lse, mass


def segment_attention_backward(
    grad_out: Tensor,
    grad_mass: Tensor,
    delta: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    lse: Tensor,
    scoring: Scoring,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; ``delta`` (B, Hq, Tq) is the row term of the softmax's backward."""
    blocks = _Blocks(query, key, scoring)
    grad_query = torch.empty_like(query, memory_format=torch.contiguous_format)
    grad_key = torch.zeros(key.shape, dtype=blocks.precision, device=key.device)
    grad_value = torch.zeros_like(grad_key)
    value = value.to(blocks.precision)
    segments = torch.arange(grad_mass.shape[-1], device=query.device)
    membership = (segment_ids[:, :, None] == segments).to(blocks.precision)
    for queries, keys in blocks:
        scores, slope = blocks.scores(queries, keys)
        weights = _normalise(scores, blocks.grouped(lse[:, :, queries]))
        block_grad = blocks.grouped(grad_out[:, :, queries].to(blocks.precision))  # (B, Hkv, G, block, D)
        grad_weights = block_grad @ value[:, :, None, keys].mT
        grad_weights += blocks.grouped(grad_mass[:, :, queries]) @ membership[:, None, None, keys].mT
        grad_scores = weights * (grad_weights - blocks.grouped(delta[:, :, queries])[..., None])
        if slope is not None:
            grad_scores *= slope
        grad_scores *= scoring.scale
        grad_query[:, :, queries] = blocks.by_key_head(grad_scores, blocks.key[:, :, keys]).to(
            grad_query.dtype
        )
        grad_key[:, :, keys] += (grad_scores.mT @ blocks.query_block(queries)).sum(2)
        grad_value[:, :, keys] += (weights.mT @ block_grad).sum(2)
    return grad_query, grad_key.to(key.dtype), grad_value.to(key.dtype)


def attention_rows_(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    rows: Tensor,
    out: Tensor,
    scoring: Scoring,
) -> None:
    """`vkit.kernels.attention.attention_rows` on checked arguments, added to ``out`` (B, R, Tk)."""
    blocks = _Blocks(query, key, scoring)
    heads = query.shape[1]
    for item in range(query.shape[0]):
        present = (rows[item] >= 0).nonzero()[:, 0]
        for chosen in present.split(blocks.block_length):
            scores, _ = blocks.scores(rows[item, chosen].long(), slice(0, key.shape[2]), item=item)
            row_lse = lse[item : item + 1, :, rows[item, chosen].long()]
            weights = _normalise(scores, blocks.grouped(row_lse).to(scores.dtype))
            out[item, chosen] += (weights.sum((1, 2))[0] / heads).to(out.dtype)


class _Blocks:
    """Walks the queries in blocks and scores each against the keys that it may see."""

    def __init__(self, query: Tensor, key: Tensor, scoring: Scoring) -> None:
        self.precision = torch.float64 if query.dtype == torch.float64 else torch.float32
        self.query, self.key, self.scoring = query, key.to(self.precision), scoring
        batch, heads, self.query_length, _ = query.shape
        self.key_length = key.shape[2]
        row_bytes = batch * heads * self.key_length * self.precision.itemsize
        self.block_length = max(1, min(256, BLOCK_BUDGET_MIB * 2**20 // max(1, row_bytes)))

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        offset = self.key_length - self.query_length
        for start in range(0, self.query_length, self.block_length):
            stop = min(start + self.block_length, self.query_length)
            last = offset + stop if self.scoring.causal else self.key_length
            window = self.scoring.window
            first = 0 if window is None else max(0, offset + start - window + 1)
            yield slice(start, stop), slice(first, last)

    def grouped(self, by_query_head: Tensor) -> Tensor:
        """(B, Hq, ...) as (B, Hkv, G, ...): the query heads that share a key head, together."""
        return by_query_head.unflatten(1, (self.key.shape[1], -1))

    def query_block(self, queries: slice | Tensor) -> Tensor:
        return self.grouped(self.query[:, :, queries].to(self.precision))

    def by_key_head(self, weights: Tensor, key_like: Tensor) -> Tensor:
        """(B, Hkv, G, block, keys) times (B, Hkv, keys, D), as (B, Hq, block, D)."""
        return (weights @ key_like[:, :, None]).flatten(1, 2)

    def scores(
        self, queries: slice | Tensor, keys: slice, item: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Scores (B, Hkv, G, block, keys), -inf where invisible, and the slope of the softcap."""
        batch = slice(None) if item is None else slice(item, item + 1)
        scores = self.query_block(queries)[batch] @ self.key[batch, :, None, keys].mT
        scores *= self.scoring.scale
        slope, softcap = None, self.scoring.softcap
        if softcap is not None:
            tanh = torch.tanh(scores / softcap)
            scores, slope = softcap * tanh, 1 - tanh.square()
        visible = self._visible(queries, keys, batch)
        if visible.dim() == 4 and visible.shape[1] > 1:
            visible = visible.unflatten(1, (self.key.shape[1], -1))
        else:
            visible = visible[:, :, None]
        return scores.masked_fill(~visible, -torch.inf), slope

    def _visible(self, queries: slice | Tensor, keys: slice, batch: slice) -> Tensor:
        device, scoring = self.query.device, self.scoring
        if isinstance(queries, slice):
            queries = torch.arange(queries.start, queries.stop, device=device)
        position = queries[:, None] + (self.key_length - self.query_length)
        column = torch.arange(keys.start, keys.stop, device=device)[None, :]
        visible = torch.ones(len(queries), keys.stop - keys.start, dtype=torch.bool, device=device)[
            None, None
        ]
        if scoring.causal:
            visible = visible & (column <= position)
        if scoring.window is not None:
            visible = visible & (column > position - scoring.window)
        if scoring.key_mask is not None:
            visible = visible & scoring.key_mask[batch, None, None, keys]
        if scoring.mask is not None:
            mask = scoring.mask[batch] if scoring.mask.shape[0] > 1 else scoring.mask
            mask = mask[:, :, queries] if mask.shape[2] > 1 else mask
            visible = visible & (mask[..., keys] if mask.shape[3] > 1 else mask)
        return visible


def _normalise(scores: Tensor, lse: Tensor) -> Tensor:
    """exp(scores - lse), zeros where a query sees nothing (lse = -inf)."""
    return torch.exp(scores - lse.masked_fill(lse == -torch.inf, 0.0)[..., None])
