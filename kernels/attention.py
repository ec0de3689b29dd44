"""Attention that also reports how much weight each query puts on each segment of the keys.

    from vkit.kernels.attention import attention_rows, segment_attention

    out, lse, mass = segment_attention(query, key, value, segment_ids, num_segments=3)
    maps = attention_rows(query, key, lse, rows=torch.tensor([40, 41]))

With s_ij the (soft-capped) score of query i and key j among the keys that i may see,

    P_ij    = exp(s_ij - lse_i)                 lse_i = log sum_j exp(s_ij)
    out_i   = sum_j P_ij v_j
    mass_is = sum_{j in segment s} P_ij         so sum_s mass_is = 1 where every key is in a segment

The softmax needs the row sums of P anyway; a tile of keys that lies in one segment adds its row sum to that
segment, so the masses cost almost nothing and no (Tq, Tk) tensor is ever made. Backward is that of flash
attention with one more term: dP_ij gets dmass_i[segment(j)].

The device of the tensors chooses the code: Triton on a GPU, C++ on the CPU (where the extension was built),
and blocks of plain PyTorch everywhere else. `attention_implementation` says which.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor

from . import attention_blocked
from ._extension import load_extension
from .attention_checks import (
    check_no_tangent,
    check_query_key,
    check_rows,
    check_segments,
    check_visibility,
    describe,
    dtype_name,
)
from .attention_scoring import Scoring


def segment_attention(
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
    """Exact attention together with the softmax weight that each query puts on each segment of the keys.

    Args:
        query: (B, Hq, Tq, D), float32, float16, bfloat16 (or float64, in plain PyTorch). D <= 256.
        key: (B, Hkv, Tk, D); Hkv divides Hq (grouped heads), Tq <= Tk: the last query stands at the last key.
        value: (B, Hkv, Tk, D).
        segment_ids: (B, Tk) integers in -1..num_segments-1. Keys in -1 take part in the softmax and are not
            reported.
        num_segments: S, how many masses to report; at least 1.
        causal: a query sees no key after its own position.
        mask: boolean, broadcastable to (B, Hq, Tq, Tk), True where a query sees a key; for whatever
            ``causal`` does not say. Both must allow a key.
        key_mask: (B, Tk) boolean, False for keys that nobody sees (padding).
        window: a query sees only the last ``window`` keys, its own among them. Needs ``causal``.
        softcap: scores become ``softcap * tanh(score / softcap)`` (Gemma 2).
        scale: factor on the scores; 1 / sqrt(D) when left out.

    A NaN in a query or key is one in all three results of the queries that see it.

    Returns:
        out: as query.
        lse: (B, Hq, Tq) float32, natural logarithm of the softmax's denominator; -inf for a query that sees
            no key.
        mass: (B, Hq, Tq, S) float32. A query that sees no key has zeros in out and mass.

    All three are differentiable with respect to query, key and value, once and in reverse.

    Raises:
        ValueError: a shape, dtype, device or segment id does not fit; the message names it. Inside
            ``torch.compile`` on a GPU the ids are not looked at, and one that is no segment counts as -1.

    >>> q, k, v = torch.randn(3, 1, 2, 6, 64).unbind()
    >>> out, lse, mass = segment_attention(q, k, v, torch.tensor([[0, 0, 0, 1, 1, 1]]), 2)
    >>> out.shape, mass.shape
    (torch.Size([1, 2, 6, 64]), torch.Size([1, 2, 6, 2]))
    >>> mass[0, 0, 0].tolist()  # causal: the first query sees only itself, in segment 0
    [1.0, 0.0]
    """
    check_query_key(query, key)
    check_no_tangent(query, key, value)
    if value.shape != key.shape or value.dtype != key.dtype or value.device != key.device:
        raise ValueError(f"value must be as key, {describe(key)}; got {describe(value)}")
    check_visibility(query, key, causal, mask, key_mask, window, softcap, scale)
    segment_ids = check_segments(segment_ids, num_segments, key)
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
    return torch.ops.vkit.segment_attention(
        query, key, value, segment_ids, num_segments, causal, mask, key_mask, window, softcap, scale
    )


def attention_rows(
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
    out: Tensor | None = None,
) -> Tensor:
    """Chosen rows of the attention matrix, averaged over the heads, without the matrix.

    Args:
        query, key, causal, mask, key_mask, window, softcap, scale: as given to `segment_attention`.
        lse: (B, Hq, Tq) float32, as `segment_attention` returned it.
        rows: (R,) or (B, R) integers, which queries; -1 stands for no row (a batch with fewer rows in some
            items) and adds nothing. Rows on a GPU are not checked; there, one past the end adds nothing too.
        out: (B, R, Tk) float32 to add to, so that layers accumulate into one map; zeros when left out.

    Returns:
        (B, R, Tk) float32, ``out`` plus the mean over heads of P at those rows. Not differentiable.

    Raises:
        ValueError: a shape, dtype, device or row does not fit; the message names it.

    >>> q, k, v = torch.randn(3, 1, 2, 6, 64).unbind()
    >>> _, lse, _ = segment_attention(q, k, v, torch.zeros(1, 6, dtype=torch.int32), 1)
    >>> attention_rows(q, k, lse, torch.tensor([5])).sum().round(decimals=4).item()
    1.0
    """
    check_query_key(query, key)
    check_visibility(query, key, causal, mask, key_mask, window, softcap, scale)
    batch, heads, query_length, _ = query.shape
    precision = torch.float64 if query.dtype == torch.float64 else torch.float32
    if (lse.shape, lse.dtype, lse.device) != ((batch, heads, query_length), precision, query.device):
        raise ValueError(
            f"lse must be the one that segment_attention returned, ({batch}, {heads}, {query_length}) "
            f"{dtype_name(precision)} on {query.device}; got {describe(lse)}"
        )
    rows = check_rows(rows, query)
    shape = (batch, rows.shape[1], key.shape[2])
    if out is None:
        out = torch.zeros(shape, dtype=precision, device=query.device)
    elif (out.shape, out.dtype, out.device) != (shape, precision, query.device):
        raise ValueError(
            f"out must be {shape} {dtype_name(precision)} on {query.device}; got {describe(out)}"
        )
    elif any(size > 1 and step == 0 for size, step in zip(out.shape, out.stride(), strict=True)):
        raise ValueError(f"out must be dense, not expanded; got {describe(out)} with strides {out.stride()}")
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
    torch.ops.vkit.attention_rows_(
        query.detach(), key.detach(), lse.detach(), rows, out, causal, mask, key_mask, window, softcap, scale
    )
    return out


def attention_implementation(device: torch.device | str, dtype: torch.dtype) -> str:
    """Which code runs for tensors of this device and dtype: ``triton``, ``cpp`` or ``pytorch``.

    >>> attention_implementation("cpu", torch.float64)
    'pytorch'
    """
    device = torch.device(device)
    if device.type == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16):
        too_old = torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0)
        return "triton" if _has_triton() and not too_old else "pytorch"
    if device.type == "cpu" and dtype in (torch.float32, torch.bfloat16) and load_extension() is None:
        return "cpp"
    return "pytorch"


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None  # its wheels are for Linux


# The custom ops -----------------------------------------------------------------------------------------


@torch.library.custom_op("vkit::segment_attention", mutates_args=())
def _segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    num_segments: int,
    causal: bool,
    mask: Tensor | None,
    key_mask: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    scoring = Scoring(causal, mask, key_mask, window, softcap, scale)
    implementation = attention_implementation(query.device, query.dtype)
    if implementation == "triton":
        from . import attention_triton

        return attention_triton.segment_attention(query, key, value, segment_ids, num_segments, scoring)
    if implementation == "cpp":
        return torch.ops.vkit_cpp.segment_attention(
            query, key, value, segment_ids, num_segments, causal, mask, key_mask, window, softcap, scale
        )
    return attention_blocked.segment_attention(query, key, value, segment_ids, num_segments, scoring)


@_segment_attention.register_fake
def _(query, key, value, segment_ids, num_segments, causal, mask, key_mask, window, softcap, scale):
    precision = torch.float64 if query.dtype == torch.float64 else torch.float32
    lse = query.new_empty(query.shape[:3], dtype=precision)
    mass = query.new_empty((*query.shape[:3], num_segments), dtype=precision)
    return query.new_empty(query.shape), lse, mass


@torch.library.custom_op("vkit::segment_attention_backward", mutates_args=())
def _segment_attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor,
    grad_mass: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    out: Tensor,
    lse: Tensor,
    mass: Tensor,
    causal: bool,
    mask: Tensor | None,
    key_mask: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    # dS_ij = P_ij (dO_i . v_j + dmass_i[segment(j)] - delta_i), with the row term
    # delta_i = dO_i . O_i + sum_s dmass_is mass_is - dlse_i.
    precision = lse.dtype
    delta = (grad_out.to(precision) * out.to(precision)).sum(-1) + (grad_mass * mass).sum(-1) - grad_lse
    tensors = (grad_out, grad_mass, delta, query, key, value, segment_ids, lse)
    scoring = Scoring(causal, mask, key_mask, window, softcap, scale)
    if attention_implementation(query.device, query.dtype) == "triton":
        from . import attention_triton

        return attention_triton.segment_attention_backward(*tensors, scoring)
    return attention_blocked.segment_attention_backward(*tensors, scoring)


@_segment_attention_backward.register_fake
def _(grad_out, grad_lse, grad_mass, query, key, value, *_):
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _save_for_backward(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    query, key, value, segment_ids, _, causal, mask, key_mask, window, softcap, scale = inputs
    ctx.save_for_backward(query, key, value, segment_ids, mask, key_mask, *output)
    ctx.options = (causal, window, softcap, scale)


def _backward(ctx: Any, grad_out: Tensor, grad_lse: Tensor, grad_mass: Tensor) -> tuple:
    query, key, value, segment_ids, mask, key_mask, out, lse, mass = ctx.saved_tensors
    causal, window, softcap, scale = ctx.options
    grads = torch.ops.vkit.segment_attention_backward(
        grad_out, grad_lse, grad_mass, query, key, value, segment_ids, out, lse, mass,
        causal, mask, key_mask, window, softcap, scale,
    )  # fmt: skip
    return (*grads, None, None, None, None, None, None, None, None)


_segment_attention.register_autograd(_backward, setup_context=_save_for_backward)


@torch.library.custom_op("vkit::attention_rows_", mutates_args=("out",))
def _attention_rows_(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    rows: Tensor,
    out: Tensor,
    causal: bool,
    mask: Tensor | None,
    key_mask: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> None:
    scoring = Scoring(causal, mask, key_mask, window, softcap, scale)
    implementation = attention_implementation(query.device, query.dtype)
    if implementation == "triton":
        from . import attention_triton

        attention_triton.attention_rows_(query, key, lse, rows, out, scoring)
    elif implementation == "cpp":
        torch.ops.vkit_cpp.attention_rows_(
            query, key, lse, rows, out, causal, mask, key_mask, window, softcap, scale
        )
    else:
        attention_blocked.attention_rows_(query, key, lse, rows, out, scoring)


@_attention_rows_.register_fake
def _(query, key, lse, rows, out, causal, mask, key_mask, window, softcap, scale):
    return None
