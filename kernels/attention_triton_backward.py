"""The backward pass of segment attention on a GPU: one kernel for the queries, one for the keys and values.

    grad_query, grad_key, grad_value = launch_backward(
        grad_out, grad_mass, delta, query, key, value, segment_ids, lse, visibility, None, None
    )

Both make P again from the scores and lse, tile by tile, and then

    dS_ij = P_ij (dO_i . v_j + dmass_i[segment(j)] - delta_i)
    dQ_i = scale * sum_j dS_ij k_j      dK_j = scale * sum_i dS_ij q_i      dV_j = sum_i P_ij dO_i

In a tile of keys that lies in one segment, dmass_i[segment] is one number for each row, taken off delta: the
masses' gradient costs one load for each row. Mixed tiles add the column of each of their segments. A program
for keys loops over the query heads that share them, so no sum is shared between programs, and results repeat
bit for bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_triton_common import (
    LOG2_E,
    MIXED,
    Tiles,
    capped_tanh,
    grad_key_tiles,
    grad_query_tiles,
    key_range,
    load_tile,
    store_tile,
    tile_segments,
    visible_keys,
)

_LENGTHS = ["num_segments", "heads", "groups", "query_length", "key_length", "window"]


def launch_backward(
    grad_out: Tensor,
    grad_mass: Tensor,
    delta: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor,
    lse: Tensor,
    visibility: dict,
    query_tiles: Tiles | None,
    key_tiles: Tiles | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value. Last dimensions are dense; grad_mass, delta and lse contiguous."""
    batch, heads, query_length, head_size = query.shape
    _, key_heads, key_length, _ = key.shape
    if query_tiles is None or key_tiles is None:
        capability = torch.cuda.get_device_capability(query.device)
        query_tiles = query_tiles or grad_query_tiles(capability, head_size, query.dtype.itemsize)
        crowded = visibility["mask"] is not None or visibility["SOFTCAP"]
        key_tiles = key_tiles or grad_key_tiles(capability, head_size, query.dtype.itemsize, crowded)
    grad_query, grad_key, grad_value = (x.new_empty(x.shape) for x in (query, key, value))
    num_segments = grad_mass.shape[-1]
    segments_of_tiles = tile_segments(segment_ids, num_segments, query_tiles.keys)
    tensors = (grad_out, grad_mass, delta, query, key, value, segment_ids)
    strides = (*grad_out.stride()[:3], *query.stride()[:3], *key.stride()[:3], *value.stride()[:3])
    _grad_query_kernel[(triton.cdiv(query_length, query_tiles.queries) * batch * heads,)](
        *tensors,
        segments_of_tiles,
        lse,
        grad_query,
        *strides,
        num_segments=num_segments,
        **visibility,
        **_launch(query_tiles),
    )
    if key_tiles.keys != query_tiles.keys:
        segments_of_tiles = tile_segments(segment_ids, num_segments, key_tiles.keys)
    _grad_key_kernel[(triton.cdiv(key_length, key_tiles.keys) * batch * key_heads,)](
        *tensors,
        segments_of_tiles,
        lse,
        grad_key,
        grad_value,
        *strides,
        num_segments=num_segments,
        **visibility,
        **_launch(key_tiles),
    )
    return grad_query, grad_key, grad_value


def _launch(tiles: Tiles) -> dict:
    return dict(
        QUERIES=tiles.queries,
        KEYS=tiles.keys,
        STAGES=tiles.stages,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )


@triton.jit(do_not_specialize=_LENGTHS)
def _grad_query_kernel(
    grad_out, grad_mass, delta, query, key, value, segment_ids, segments_of_tiles, lse, grad_query,
    grad_out_stride_b, grad_out_stride_h, grad_out_stride_t,
    query_stride_b, query_stride_h, query_stride_t,
    key_stride_b, key_stride_h, key_stride_t,
    value_stride_b, value_stride_h, value_stride_t,
    num_segments,
    mask, key_mask, mask_stride_b, mask_stride_h, mask_stride_q, mask_stride_k,
    heads, groups, query_length, key_length, window, softcap, scale,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    FIRST: tl.constexpr,
    REST: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """One program: one tile of queries of one head, against the tiles of keys that it sees."""
    query_tiles = tl.cdiv(query_length, QUERIES)
    program = tl.program_id(0)
    query_start = (query_tiles - 1 - program % query_tiles) * QUERIES
    batch_head = (program // query_tiles).to(tl.int64)
    batch = batch_head // heads
    head = batch_head % heads
    row = batch_head * query_length + query_start
    limit = query_length - query_start
    query += batch * query_stride_b + head * query_stride_h + tl.cast(query_start, tl.int64) * query_stride_t
    grad_out += batch * grad_out_stride_b + head * grad_out_stride_h
    grad_out += tl.cast(query_start, tl.int64) * grad_out_stride_t
    key += batch * key_stride_b + (head // groups) * key_stride_h
    value += batch * value_stride_b + (head // groups) * value_stride_h
    grad_mass += row * num_segments
    segment_ids += batch * key_length
    segments_of_tiles += batch * tl.cdiv(key_length, KEYS) * 2
    if mask is not None:
        mask += batch * mask_stride_b + head * mask_stride_h
    if key_mask is not None:
        key_mask += batch * key_length

    rows = tl.arange(0, QUERIES)
    columns = tl.arange(0, KEYS)
    inside = rows < limit
    row_delta = tl.load(delta + row + rows, mask=inside, other=0.0)
    row_lse = tl.load(lse + row + rows, mask=inside, other=float("-inf"))
    # A row that sees nothing gets an infinite lse, so that P = exp(s - lse) is zero all along it.
    row_lse = tl.where(row_lse == float("-inf"), float("inf"), row_lse * LOG2_E)
    query_first = load_tile(query, rows, limit, query_stride_t, 0, FIRST, HEAD_SIZE)
    grad_out_first = load_tile(grad_out, rows, limit, grad_out_stride_t, 0, FIRST, HEAD_SIZE)
    sum_first = tl.zeros([QUERIES, FIRST], tl.float32)
    if REST > 0:
        query_rest = load_tile(query, rows, limit, query_stride_t, FIRST, REST, HEAD_SIZE)
        grad_out_rest = load_tile(grad_out, rows, limit, grad_out_stride_t, FIRST, REST, HEAD_SIZE)
        sum_rest = tl.zeros([QUERIES, REST], tl.float32)
    exponent = scale if SOFTCAP else scale * LOG2_E

    current = tl.full([], MIXED, tl.int32)
    row_term = row_delta  # delta_i - dmass_i[current segment]
    begin, end, full_begin, full_end = key_range(
        query_start, query_length, key_length, window, QUERIES, KEYS, CAUSAL, WINDOW
    )
    for key_start in tl.range(begin, end, KEYS, num_stages=STAGES):
        lowest = tl.load(segments_of_tiles + key_start // KEYS * 2)
        highest = tl.load(segments_of_tiles + key_start // KEYS * 2 + 1)
        start = tl.cast(key_start, tl.int64)
        present = key_length - key_start
        key_first = load_tile(key + start * key_stride_t, columns, present, key_stride_t, 0, FIRST, HEAD_SIZE)
        value_tile = load_tile(
            value + start * value_stride_t, columns, present, value_stride_t, 0, FIRST, HEAD_SIZE
        )
        scores = tl.dot(query_first, tl.trans(key_first), input_precision="ieee")  # (QUERIES, KEYS)
        grad_scores = tl.dot(grad_out_first, tl.trans(value_tile), input_precision="ieee")
        if REST > 0:
            key_rest = load_tile(
                key + start * key_stride_t, columns, present, key_stride_t, FIRST, REST, HEAD_SIZE
            )
            value_tile = load_tile(
                value + start * value_stride_t, columns, present, value_stride_t, FIRST, REST, HEAD_SIZE
            )
            scores = tl.dot(query_rest, tl.trans(key_rest), scores, input_precision="ieee")
            grad_scores = tl.dot(grad_out_rest, tl.trans(value_tile), grad_scores, input_precision="ieee")
        scores *= exponent
        if SOFTCAP:
            capped = capped_tanh(scores / softcap)
            scores = capped * (softcap * LOG2_E)
        weights = tl.exp2(scores - row_lse[:, None])
        if (mask is not None) or (key_mask is not None):
            weights = tl.where(
                visible_keys(
                    query_start, rows[:, None], key_start, columns[None, :], mask, key_mask,
                    mask_stride_q, mask_stride_k, query_length, key_length, window, CAUSAL, WINDOW,
                ), weights, 0.0,
            )  # fmt: skip
        elif key_start < full_begin or key_start >= full_end:
            weights = tl.where(
                visible_keys(
                    query_start, rows[:, None], key_start, columns[None, :], None, None,
                    0, 0, query_length, key_length, window, CAUSAL, WINDOW,
                ), weights, 0.0,
            )  # fmt: skip

        segment = tl.where(lowest == highest, lowest, MIXED)
        if segment != current:
            mass_term = tl.load(
                grad_mass + rows * num_segments + segment, mask=inside & (segment >= 0), other=0.0
            )
            row_term = row_delta - mass_term
            current = segment
        if segment == MIXED:
            ids = tl.load(segment_ids + key_start + columns, mask=columns < present, other=-1)
            for one in range(tl.maximum(lowest, 0), highest + 1):
                mass_term = tl.load(grad_mass + rows * num_segments + one, mask=inside, other=0.0)
                grad_scores += tl.where((ids == one)[None, :], mass_term[:, None], 0.0)
        grad_scores = weights * (grad_scores - row_term[:, None])
        if SOFTCAP:
            grad_scores *= 1.0 - capped * capped
        grad_scores = grad_scores.to(key.dtype.element_ty)
        sum_first = tl.dot(grad_scores, key_first, sum_first, input_precision="ieee")
        if REST > 0:
            sum_rest = tl.dot(grad_scores, key_rest, sum_rest, input_precision="ieee")

    grad_query += row * HEAD_SIZE
    store_tile(grad_query, sum_first * scale, rows, limit, 0, FIRST, HEAD_SIZE)
    if REST > 0:
        store_tile(grad_query, sum_rest * scale, rows, limit, FIRST, REST, HEAD_SIZE)


@triton.jit(do_not_specialize=_LENGTHS)
def _grad_key_kernel(
    grad_out, grad_mass, delta, query, key, value, segment_ids, segments_of_tiles, lse, grad_key, grad_value,
    grad_out_stride_b, grad_out_stride_h, grad_out_stride_t,
    query_stride_b, query_stride_h, query_stride_t,
    key_stride_b, key_stride_h, key_stride_t,
    value_stride_b, value_stride_h, value_stride_t,
    num_segments,
    mask, key_mask, mask_stride_b, mask_stride_h, mask_stride_q, mask_stride_k,
    heads, groups, query_length, key_length, window, softcap, scale,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    FIRST: tl.constexpr,
    REST: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """One program: one tile of keys of one key head, against every query of every head of its group.

    Scores stand transposed, (KEYS, QUERIES), so that both products that are kept have keys as rows.
    """
    key_tiles = tl.cdiv(key_length, KEYS)
    key_heads = heads // groups
    program = tl.program_id(0)
    tile = program % key_tiles  # causal: the first keys are seen by the most queries, and go first
    key_start = tile * KEYS
    batch_key_head = (program // key_tiles).to(tl.int64)
    batch = batch_key_head // key_heads
    key_head = batch_key_head % key_heads
    present = key_length - key_start
    start = tl.cast(key_start, tl.int64)
    key += batch * key_stride_b + key_head * key_stride_h + start * key_stride_t
    value += batch * value_stride_b + key_head * value_stride_h + start * value_stride_t
    lowest = tl.load(segments_of_tiles + (batch * key_tiles + tile) * 2)
    highest = tl.load(segments_of_tiles + (batch * key_tiles + tile) * 2 + 1)
    segment = tl.where(lowest == highest, lowest, MIXED)

    mixed_begin = 0
    mixed_end = 0
    if segment == MIXED:
        mixed_begin = tl.maximum(lowest, 0)
        mixed_end = highest + 1

    rows = tl.arange(0, QUERIES)
    columns = tl.arange(0, KEYS)
    ids = tl.load(segment_ids + batch * key_length + key_start + columns, mask=columns < present, other=-1)
    if key_mask is not None:
        key_mask += batch * key_length
    key_first = load_tile(key, columns, present, key_stride_t, 0, FIRST, HEAD_SIZE)
    value_first = load_tile(value, columns, present, value_stride_t, 0, FIRST, HEAD_SIZE)
    key_sum_first = tl.zeros([KEYS, FIRST], tl.float32)
    value_sum_first = tl.zeros([KEYS, FIRST], tl.float32)
    if REST > 0:
        key_rest = load_tile(key, columns, present, key_stride_t, FIRST, REST, HEAD_SIZE)
        value_rest = load_tile(value, columns, present, value_stride_t, FIRST, REST, HEAD_SIZE)
        key_sum_rest = tl.zeros([KEYS, REST], tl.float32)
        value_sum_rest = tl.zeros([KEYS, REST], tl.float32)
    exponent = scale if SOFTCAP else scale * LOG2_E

    # Queries [begin, end) may see a key of the tile; those in [full_begin, full_end) see all of it.
    offset = key_length - query_length
    begin = 0
    end = query_length
    full_begin = 0
    full_end = query_length // QUERIES * QUERIES
    if CAUSAL:
        begin = tl.maximum(key_start - offset, 0) // QUERIES * QUERIES
        full_begin = tl.cdiv(tl.maximum(key_start + KEYS - 1 - offset, 0), QUERIES) * QUERIES
    if WINDOW:
        end = tl.minimum(end, tl.minimum(key_start + KEYS, key_length) - 1 + window - offset)
        full_end = tl.minimum(full_end, tl.maximum(key_start + window - offset, 0) // QUERIES * QUERIES)

    # The heads of the group one after the other, in one loop: two nested loops cost 60 registers more.
    tiles_of_head = tl.cdiv(tl.maximum(end - begin, 0), QUERIES)
    for step in tl.range(0, groups * tiles_of_head, num_stages=STAGES):
        query_start = begin + step % tiles_of_head * QUERIES
        head = key_head * groups + step // tiles_of_head
        head_row = (batch * heads + head) * query_length
        head_query = query + batch * query_stride_b + head * query_stride_h
        head_grad_out = grad_out + batch * grad_out_stride_b + head * grad_out_stride_h
        if mask is not None:
            head_mask = mask + batch * mask_stride_b + head * mask_stride_h
        else:
            head_mask = None
        first = tl.cast(query_start, tl.int64)
        limit = query_length - query_start
        inside = rows < limit
        tile_query = head_query + first * query_stride_t
        tile_grad_out = head_grad_out + first * grad_out_stride_t
        query_first = load_tile(tile_query, rows, limit, query_stride_t, 0, FIRST, HEAD_SIZE)
        grad_out_first = load_tile(tile_grad_out, rows, limit, grad_out_stride_t, 0, FIRST, HEAD_SIZE)
        row_lse = tl.load(lse + head_row + query_start + rows, mask=inside, other=float("-inf"))
        row_lse = tl.where(row_lse == float("-inf"), float("inf"), row_lse * LOG2_E)
        scores = tl.dot(key_first, tl.trans(query_first), input_precision="ieee")  # (KEYS, QUERIES)
        grad_scores = tl.dot(value_first, tl.trans(grad_out_first), input_precision="ieee")
        if REST > 0:
            query_rest = load_tile(tile_query, rows, limit, query_stride_t, FIRST, REST, HEAD_SIZE)
            grad_out_rest = load_tile(tile_grad_out, rows, limit, grad_out_stride_t, FIRST, REST, HEAD_SIZE)
            scores = tl.dot(key_rest, tl.trans(query_rest), scores, input_precision="ieee")
            grad_scores = tl.dot(value_rest, tl.trans(grad_out_rest), grad_scores, input_precision="ieee")
        scores *= exponent
        if SOFTCAP:
            capped = capped_tanh(scores / softcap)
            scores = capped * (softcap * LOG2_E)
        weights = tl.exp2(scores - row_lse[None, :])
        if (mask is not None) or (key_mask is not None):
            weights = tl.where(
                visible_keys(
                    query_start, rows[None, :], key_start, columns[:, None], head_mask, key_mask,
                    mask_stride_q, mask_stride_k, query_length, key_length, window, CAUSAL, WINDOW,
                ), weights, 0.0,
            )  # fmt: skip
        elif query_start < full_begin or query_start >= full_end:
            weights = tl.where(
                visible_keys(
                    query_start, rows[None, :], key_start, columns[:, None], None, None,
                    0, 0, query_length, key_length, window, CAUSAL, WINDOW,
                ), weights, 0.0,
            )  # fmt: skip
        low_weights = weights.to(value.dtype.element_ty)
        value_sum_first = tl.dot(low_weights, grad_out_first, value_sum_first, input_precision="ieee")
        if REST > 0:
            value_sum_rest = tl.dot(low_weights, grad_out_rest, value_sum_rest, input_precision="ieee")

        row_term = tl.load(delta + head_row + query_start + rows, mask=inside, other=0.0)
        row_masses = grad_mass + (head_row + query_start) * num_segments
        row_term -= tl.load(
            row_masses + rows * num_segments + segment, mask=inside & (segment >= 0), other=0.0
        )
        if segment == MIXED:
            for one in range(mixed_begin, mixed_end):
                mass_term = tl.load(row_masses + rows * num_segments + one, mask=inside, other=0.0)
                grad_scores += tl.where((ids == one)[:, None], mass_term[None, :], 0.0)
        grad_scores = weights * (grad_scores - row_term[None, :])
        if SOFTCAP:
            grad_scores *= 1.0 - capped * capped
        grad_scores = grad_scores.to(query.dtype.element_ty)
        key_sum_first = tl.dot(grad_scores, query_first, key_sum_first, input_precision="ieee")
        if REST > 0:
            key_sum_rest = tl.dot(grad_scores, query_rest, key_sum_rest, input_precision="ieee")

    offset_out = (batch_key_head * key_length + key_start) * HEAD_SIZE
    grad_key += offset_out
    grad_value += offset_out
    store_tile(grad_key, key_sum_first * scale, columns, present, 0, FIRST, HEAD_SIZE)
    store_tile(grad_value, value_sum_first, columns, present, 0, FIRST, HEAD_SIZE)
    if REST > 0:
        store_tile(grad_key, key_sum_rest * scale, columns, present, FIRST, REST, HEAD_SIZE)
        store_tile(grad_value, value_sum_rest, columns, present, FIRST, REST, HEAD_SIZE)
