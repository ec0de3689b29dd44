"""Segment attention on a GPU: the Triton forward pass, and the host functions of all three kernels.

    from vkit.kernels import attention_triton      # what vkit.kernels.attention calls for CUDA tensors

    out, lse, mass = attention_triton.segment_attention(query, key, value, segment_ids, 3, scoring)

Flash attention, with the sums that it needs anyway kept apart by segment. Segments are mostly contiguous, so
a program that walks its tiles of keys carries one extra number for each row, `run`: the softmax sum since the
segment last changed. Only where it changes does `run` move into a register tile (segments, rows), and the
segments of the tile at the border are summed one by one. Nothing but positive terms is ever added, so no mass
is a difference of large numbers.

Floor: attention without the export does 4 D flops and one exp2 for each (query, key). The export adds, for
each row and tile, one multiply and one add beside `keys` exponentials (< 2%), one masked row sum for each
segment of a tile at a border, and S floats of output for each row. What is left is one small kernel that
finds the lowest and highest segment of each tile of keys; nothing is read back to the host.

Many short interleaved runs stay exact and get slower: a mixed tile costs one row sum for each id between its
lowest and highest. Every further `SEGMENTS_PER_PASS` segments take one more pass, without the product with V.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_scoring import Scoring
from .attention_triton_backward import launch_backward
from .attention_triton_common import (
    LOG2_E,
    MIXED,
    Tiles,
    capped_tanh,
    forward_tiles,
    key_range,
    load_tile,
    store_tile,
    tile_segments,
    unit_stride,
    visibility_arguments,
    visible_keys,
)
from .attention_triton_rows import launch_rows

SEGMENTS_PER_PASS = 16


def segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    num_segments: int,
    scoring: Scoring,
    *,
    tiles: Tiles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`vkit.kernels.attention.segment_attention` on checked arguments.

    ``tiles`` overrides the launch shape, for benchmarks and for the interpreter.
    """
    batch, heads, query_length, head_size = query.shape
    out = query.new_empty(query.shape)
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    mass = query.new_empty((*query.shape[:3], num_segments), dtype=torch.float32)
    if query.shape[:3].numel() == 0:
        return out, lse, mass
    if tiles is None:
        capability = torch.cuda.get_device_capability(query.device)
        tiles = forward_tiles(capability, head_size, query.dtype.itemsize)
    query, key, value = unit_stride(query), unit_stride(key), unit_stride(value)
    with torch.cuda.device_of(query):
        segments_of_tiles = tile_segments(segment_ids, num_segments, tiles.keys)
        for first_segment in range(0, num_segments, SEGMENTS_PER_PASS):
            columns = min(SEGMENTS_PER_PASS, num_segments - first_segment)
            _forward_kernel[(triton.cdiv(query_length, tiles.queries) * batch * heads,)](
                query, key, value, segment_ids, segments_of_tiles, out, lse, mass,
                *query.stride()[:3], *key.stride()[:3], *value.stride()[:3],
                first_segment=first_segment,
                num_segments=num_segments,
                **visibility_arguments(query, key, scoring),
                COLUMNS=max(4, triton.next_power_of_2(columns)),
                WITH_OUT=first_segment == 0,
                QUERIES=tiles.queries,
                KEYS=tiles.keys,
                STAGES=tiles.stages,
                num_warps=tiles.warps,
                num_stages=tiles.stages,
            )  # fmt: skip
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
    *,
    query_tiles: Tiles | None = None,
    key_tiles: Tiles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; ``delta`` (B, Hq, Tq) is the row term of the softmax's backward."""
    if query.numel() == 0 or key.numel() == 0:
        return query.new_zeros(query.shape), key.new_zeros(key.shape), value.new_zeros(value.shape)
    visibility = visibility_arguments(query, key, scoring)
    with torch.cuda.device_of(query):
        return launch_backward(
            unit_stride(grad_out),
            grad_mass.contiguous(),
            delta.contiguous(),
            unit_stride(query),
            unit_stride(key),
            unit_stride(value),
            segment_ids,
            lse.contiguous(),
            visibility,
            query_tiles,
            key_tiles,
        )


def attention_rows_(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    rows: Tensor,
    out: Tensor,
    scoring: Scoring,
    *,
    tiles: Tiles | None = None,
) -> None:
    """`vkit.kernels.attention.attention_rows` on checked arguments, added to ``out`` (B, R, Tk)."""
    if out.numel() == 0 or query.shape[1] == 0:
        return
    visibility = visibility_arguments(query, key, scoring)
    with torch.cuda.device_of(query):
        launch_rows(
            unit_stride(query),
            unit_stride(key),
            lse.contiguous(),
            rows,
            out,
            visibility,
            scoring.mask is not None and scoring.mask.shape[1] > 1,
            tiles,
        )


# Forward kernel -----------------------------------------------------------------------------------------


@triton.jit(
    do_not_specialize=[
        "first_segment",
        "num_segments",
        "heads",
        "groups",
        "query_length",
        "key_length",
        "window",
    ]
)
def _forward_kernel(
    query, key, value, segment_ids, segments_of_tiles, out, lse, mass,
    query_stride_b, query_stride_h, query_stride_t,
    key_stride_b, key_stride_h, key_stride_t,
    value_stride_b, value_stride_h, value_stride_t,
    first_segment, num_segments,
    mask, key_mask, mask_stride_b, mask_stride_h, mask_stride_q, mask_stride_k,
    heads, groups, query_length, key_length, window, softcap, scale,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    FIRST: tl.constexpr,
    REST: tl.constexpr,
    COLUMNS: tl.constexpr,
    WITH_OUT: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """One program: one tile of queries of one head. Heads outermost, the longest causal rows first."""
    query_tiles = tl.cdiv(query_length, QUERIES)
    program = tl.program_id(0)
    query_start = (query_tiles - 1 - program % query_tiles) * QUERIES
    batch_head = (program // query_tiles).to(tl.int64)
    batch = batch_head // heads
    head = batch_head % heads
    query += batch * query_stride_b + head * query_stride_h + tl.cast(query_start, tl.int64) * query_stride_t
    key += batch * key_stride_b + (head // groups) * key_stride_h
    value += batch * value_stride_b + (head // groups) * value_stride_h
    segment_ids += batch * key_length
    segments_of_tiles += batch * tl.cdiv(key_length, KEYS) * 2
    if mask is not None:
        mask += batch * mask_stride_b + head * mask_stride_h
    if key_mask is not None:
        key_mask += batch * key_length

    rows = tl.arange(0, QUERIES)
    columns = tl.arange(0, KEYS)
    segments = first_segment + tl.arange(0, COLUMNS)
    query_first = load_tile(query, rows, query_length - query_start, query_stride_t, 0, FIRST, HEAD_SIZE)
    if REST > 0:
        query_rest = load_tile(
            query, rows, query_length - query_start, query_stride_t, FIRST, REST, HEAD_SIZE
        )
    exponent = scale if SOFTCAP else scale * LOG2_E  # scores are kept in units of log 2

    maximum = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)  # of exp2(score - maximum)
    run = tl.zeros([QUERIES], tl.float32)  # the part of it since the segment last changed
    # Finished runs, relative to reference. Segments are rows here: as columns they would take the layout of
    # the scores, in which threads hold copies of so narrow a tile, and sm_100 spilled.
    by_segment = tl.zeros([COLUMNS, QUERIES], tl.float32)
    reference = tl.full([QUERIES], float("-inf"), tl.float32)
    out_first = tl.zeros([QUERIES, FIRST], tl.float32)
    if REST > 0:
        out_rest = tl.zeros([QUERIES, REST], tl.float32)
    current = tl.full([], MIXED, tl.int32)

    begin, end, full_begin, full_end = key_range(
        query_start, query_length, key_length, window, QUERIES, KEYS, CAUSAL, WINDOW
    )
    for key_start in tl.range(begin, end, KEYS, num_stages=STAGES):
        lowest = tl.load(segments_of_tiles + key_start // KEYS * 2)
        highest = tl.load(segments_of_tiles + key_start // KEYS * 2 + 1)
        start = tl.cast(key_start, tl.int64)
        present = key_length - key_start

        key_tile = load_tile(key + start * key_stride_t, columns, present, key_stride_t, 0, FIRST, HEAD_SIZE)
        scores = tl.dot(query_first, tl.trans(key_tile), input_precision="ieee")  # (QUERIES, KEYS)
        if REST > 0:
            key_tile = load_tile(
                key + start * key_stride_t, columns, present, key_stride_t, FIRST, REST, HEAD_SIZE
            )
            scores = tl.dot(query_rest, tl.trans(key_tile), scores, input_precision="ieee")
        scores *= exponent
        if SOFTCAP:
            scores = capped_tanh(scores / softcap) * (softcap * LOG2_E)
        if (mask is not None) or (key_mask is not None):
            scores = tl.where(
                visible_keys(
                    query_start, rows[:, None], key_start, columns[None, :], mask, key_mask,
                    mask_stride_q, mask_stride_k, query_length, key_length, window, CAUSAL, WINDOW,
                ), scores, float("-inf"),
            )  # fmt: skip
        elif key_start < full_begin or key_start >= full_end:
            scores = tl.where(
                visible_keys(
                    query_start, rows[:, None], key_start, columns[None, :], None, None,
                    0, 0, query_length, key_length, window, CAUSAL, WINDOW,
                ), scores, float("-inf"),
            )  # fmt: skip

        new_maximum = tl.maximum(maximum, tl.max(scores, 1))
        finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        decay = tl.exp2(maximum - finite)
        maximum = new_maximum
        weights = tl.exp2(scores - finite[:, None])
        row_sum = tl.sum(weights, 1)
        total = total * decay + row_sum
        run = run * decay

        segment = tl.where(lowest == highest, lowest, MIXED)
        if segment != current or segment == MIXED:
            by_segment = by_segment * tl.exp2(reference - finite)[None, :]
            by_segment += tl.where(segments[:, None] == current, run[None, :], 0.0)
            reference = maximum
            run = tl.zeros([QUERIES], tl.float32)
            current = segment
            ids = tl.load(segment_ids + key_start + columns, mask=columns < present, other=-1)
            for one in range(
                tl.maximum(lowest, first_segment), tl.minimum(highest + 1, first_segment + COLUMNS)
            ):
                part = tl.sum(tl.where((ids == one)[None, :], weights, 0.0), 1)
                by_segment += tl.where(segments[:, None] == one, part[None, :], 0.0)
            row_sum = tl.zeros([QUERIES], tl.float32)
        run += row_sum

        if WITH_OUT:
            weights = weights.to(value.dtype.element_ty)
            value_tile = load_tile(
                value + start * value_stride_t, columns, present, value_stride_t, 0, FIRST, HEAD_SIZE
            )
            out_first = tl.dot(weights, value_tile, out_first * decay[:, None], input_precision="ieee")
            if REST > 0:
                value_tile = load_tile(
                    value + start * value_stride_t, columns, present, value_stride_t, FIRST, REST, HEAD_SIZE
                )
                out_rest = tl.dot(weights, value_tile, out_rest * decay[:, None], input_precision="ieee")

    finite = tl.where(maximum == float("-inf"), 0.0, maximum)
    divisor = tl.where(total == 0.0, 1.0, total)  # a row that sees nothing gets zeros
    by_segment = by_segment * tl.exp2(reference - finite)[None, :]
    by_segment += tl.where(segments[:, None] == current, run[None, :], 0.0)
    by_segment = by_segment / divisor[None, :]
    row = batch_head * query_length + query_start
    inside = rows < query_length - query_start
    tl.store(
        mass + row * num_segments + rows[None, :] * num_segments + segments[:, None],
        by_segment,
        mask=inside[None, :] & (segments < num_segments)[:, None],
    )
    if WITH_OUT:
        tl.store(lse + row + rows, (maximum + tl.log2(total)) / LOG2_E, mask=inside)
        out += row * HEAD_SIZE
        limit = query_length - query_start
        store_tile(out, out_first / divisor[:, None], rows, limit, 0, FIRST, HEAD_SIZE)
        if REST > 0:
            store_tile(out, out_rest / divisor[:, None], rows, limit, FIRST, REST, HEAD_SIZE)
