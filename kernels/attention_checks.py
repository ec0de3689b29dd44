"""What `vkit.kernels.attention` asks of its arguments: each check says what was given and what was due."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad

HEAD_SIZE_LIMIT = 256
SMALLEST_SOFTCAP = torch.finfo(torch.float32).tiny  # what is smaller is zero to the kernels


def describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {dtype_name(tensor.dtype)} on {tensor.device}"


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_query_key(query: Tensor, key: Tensor) -> None:
    if query.dim() != 4 or key.dim() != 4:
        raise ValueError(f"query and key must be (B, H, T, D); got {describe(query)} and {describe(key)}")
    if query.dtype != key.dtype or query.device != key.device or not query.is_floating_point():
        raise ValueError(
            f"query and key must share a floating dtype and device; got {describe(query)} and {describe(key)}"
        )
    batch, heads, query_length, head_size = query.shape
    key_batch, key_heads, key_length, key_size = key.shape
    if key_batch != batch or key_size != head_size:
        raise ValueError(
            f"query and key must share batch and head size; got {describe(query)} and {describe(key)}"
        )
    if not 1 <= head_size <= HEAD_SIZE_LIMIT:
        raise ValueError(f"the head size must be in 1..{HEAD_SIZE_LIMIT}; got {head_size}")
    if key_heads == 0 or heads == 0 or heads % key_heads:
        raise ValueError(f"the {key_heads} key heads must divide the {heads} query heads")
    if query_length > key_length:
        raise ValueError(f"there are more queries ({query_length}) than keys ({key_length})")


def check_no_tangent(*tensors: Tensor) -> None:
    """PyTorch would give a custom op's results no tangent, which stands for zero."""
    if torch.compiler.is_compiling():
        return
    for tensor in tensors:
        if forward_ad.unpack_dual(tensor).tangent is not None:
            raise ValueError("segment_attention has no forward-mode derivative; use reverse mode")


def check_visibility(
    query: Tensor,
    key: Tensor,
    causal: bool,
    mask: Tensor | None,
    key_mask: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float | None,
) -> None:
    batch, heads, query_length, _ = query.shape
    key_length = key.shape[2]
    if mask is not None:
        full = (batch, heads, query_length, key_length)
        fits = mask.dim() == 4 and all(
            size in (1, whole) for size, whole in zip(mask.shape, full, strict=True)
        )
        if mask.dtype != torch.bool or mask.device != query.device or not fits:
            raise ValueError(
                f"mask must be boolean and broadcast to {full} on {query.device}; got {describe(mask)}"
            )
    if key_mask is not None and (
        key_mask.shape != (batch, key_length)
        or key_mask.dtype != torch.bool
        or key_mask.device != query.device
    ):
        raise ValueError(
            f"key_mask must be boolean ({batch}, {key_length}) on {query.device}; got {describe(key_mask)}"
        )
    if window is not None and (window < 1 or not causal):
        raise ValueError(
            f"window must be at least 1 and needs causal=True; got window={window}, causal={causal}"
        )
    if softcap is not None and not SMALLEST_SOFTCAP <= softcap < math.inf:
        raise ValueError(f"softcap must be a positive number; got {softcap}")
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"scale must be finite; got {scale}")


def check_segments(segment_ids: Tensor, num_segments: int, key: Tensor) -> Tensor:
    """Check the ids once per tensor: looking at the values waits for the GPU, so the result is remembered."""
    expected = (key.shape[0], key.shape[2])
    if segment_ids.shape != expected or segment_ids.is_floating_point() or segment_ids.device != key.device:
        raise ValueError(
            f"segment_ids must be integers {expected} on {key.device}; got {describe(segment_ids)}"
        )
    if num_segments < 1:
        raise ValueError(f"num_segments must be at least 1; got {num_segments}")
    if torch.compiler.is_compiling() or not segment_ids.numel():
        return segment_ids.to(torch.int32).contiguous()
    # A tensor made in inference mode does not count its changes, so it is looked at every time.
    state = None if segment_ids.is_inference() else (segment_ids._version, num_segments)
    if state is None or getattr(segment_ids, "_vkit_checked", None) != state:
        lowest, highest = (int(x) for x in segment_ids.aminmax())
        if lowest < -1 or highest >= num_segments:
            raise ValueError(
                f"segment_ids must lie in -1..{num_segments - 1} (num_segments={num_segments}); "
                f"got {lowest}..{highest}"
            )
        segment_ids._vkit_checked = state  # type: ignore[attr-defined]
    return segment_ids.to(torch.int32).contiguous()


def check_rows(rows: Tensor, query: Tensor) -> Tensor:
    batch, _, query_length, _ = query.shape
    if rows.dim() == 1:
        rows = rows.expand(batch, -1)
    integers = not rows.is_floating_point() and rows.dtype != torch.bool  # a mask would be read as 0 and 1
    if rows.dim() != 2 or rows.shape[0] != batch or not integers or rows.device != query.device:
        raise ValueError(
            f"rows must be integers (R,) or ({batch}, R) on {query.device}; got {describe(rows)}"
        )
    if not torch.compiler.is_compiling() and rows.device.type == "cpu" and rows.numel():
        lowest, highest = (int(x) for x in rows.aminmax())
        if lowest < -1 or highest >= query_length:
            raise ValueError(f"rows must lie in -1..{query_length - 1}; got {lowest}..{highest}")
    return rows.to(torch.int32).contiguous()
