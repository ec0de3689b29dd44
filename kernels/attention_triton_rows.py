"""Chosen rows of the attention matrix on a GPU, averaged over the heads.

    launch_rows(query, key, lse, rows, out, visibility, mask_by_head=False, tiles=None)     # adds into out

One program makes one tile (rows, keys) of the map: it walks the heads, adds exp(s - lse) in registers, and
writes once. The floor is half of attention's products (there is no V) and the same exponentials. Whatever
hides a key from all heads alike is applied once, at the end; only a mask that differs between heads is looked
at in the loop. Tiles of keys that no chosen row of the tile sees are left alone.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_triton_common import LOG2_E, Tiles, capped_tanh, load_tile, row_tiles, visible_keys


def launch_rows(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    rows: Tensor,
    out: Tensor,
    visibility: dict,
    mask_by_head: bool,
    tiles: Tiles | None,
) -> None:
    """Adds the rows to ``out`` (B, R, Tk); ``rows`` (B, R) int32 contiguous, -1 for none; lse contiguous."""
    batch, num_rows, key_length = out.shape
    if tiles is None:
        capability = torch.cuda.get_device_capability(query.device)
        crowded = visibility["mask"] is not None or visibility["SOFTCAP"]
        tiles = row_tiles(capability, query.shape[-1], query.dtype.itemsize, crowded, num_rows)
    grid = (triton.cdiv(key_length, tiles.keys) * triton.cdiv(num_rows, tiles.queries) * batch,)
    _rows_kernel[grid](
        query,
        key,
        lse,
        rows,
        out,
        *query.stride()[:3],
        *key.stride()[:3],
        *out.stride(),
        num_rows,
        **visibility,
        MASK_BY_HEAD=mask_by_head,
        ROWS=tiles.queries,
        KEYS=tiles.keys,
        STAGES=tiles.stages,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )


@triton.jit(do_not_specialize=["num_rows", "heads", "groups", "query_length", "key_length", "window"])
def _rows_kernel(
    query, key, lse, rows, out,
    query_stride_b, query_stride_h, query_stride_t,
    key_stride_b, key_stride_h, key_stride_t,
    out_stride_b, out_stride_r, out_stride_k,
    num_rows,
    mask, key_mask, mask_stride_b, mask_stride_h, mask_stride_q, mask_stride_k,
    heads, groups, query_length, key_length, window, softcap, scale,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    FIRST: tl.constexpr,
    REST: tl.constexpr,
    MASK_BY_HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """One program: one tile of the map."""
    key_tiles = tl.cdiv(key_length, KEYS)
    row_tiles = tl.cdiv(num_rows, ROWS)
    program = tl.program_id(0)
    key_start = program % key_tiles * KEYS
    row_start = (program // key_tiles) % row_tiles * ROWS
    batch = (program // key_tiles // row_tiles).to(tl.int64)

    numbers = row_start + tl.arange(0, ROWS)
    columns = tl.arange(0, KEYS)
    chosen = tl.load(rows + batch * num_rows + numbers, mask=numbers < num_rows, other=-1)
    # Nobody looks at the rows on their way to the GPU: one that is not there is none.
    chosen = tl.where(chosen < query_length, chosen, -1)
    position = chosen + (key_length - query_length)
    begin = 0
    end = key_length
    if CAUSAL:
        end = tl.max(tl.where(chosen < 0, -1, position), 0) + 1
    if WINDOW:
        begin = tl.min(tl.where(chosen < 0, key_length, position), 0) - window + 1
    if key_start < end and key_start + KEYS > begin:
        start = tl.cast(key_start, tl.int64)
        present = key_length - key_start
        offsets = tl.maximum(chosen, 0).to(
            tl.int64
        )  # a row that is -1 reads the first one, and is not written
        query += batch * query_stride_b
        key += batch * key_stride_b + start * key_stride_t
        lse += batch * heads * query_length
        if mask is not None:
            mask += batch * mask_stride_b
        if key_mask is not None:
            key_mask += batch * key_length
        exponent = scale if SOFTCAP else scale * LOG2_E

        total = tl.zeros([ROWS, KEYS], tl.float32)
        for head in tl.range(0, heads, num_stages=STAGES):
            head_query = query + tl.cast(head, tl.int64) * query_stride_h
            head_key = key + tl.cast(head // groups, tl.int64) * key_stride_h
            query_tile = load_tile(head_query, offsets, query_length, query_stride_t, 0, FIRST, HEAD_SIZE)
            key_tile = load_tile(head_key, columns, present, key_stride_t, 0, FIRST, HEAD_SIZE)
            scores = tl.dot(query_tile, tl.trans(key_tile), input_precision="ieee")  # (ROWS, KEYS)
            if REST > 0:
                query_tile = load_tile(
                    head_query, offsets, query_length, query_stride_t, FIRST, REST, HEAD_SIZE
                )
                key_tile = load_tile(head_key, columns, present, key_stride_t, FIRST, REST, HEAD_SIZE)
                scores = tl.dot(query_tile, tl.trans(key_tile), scores, input_precision="ieee")
            scores *= exponent
            if SOFTCAP:
                scores = capped_tanh(scores / softcap) * (softcap * LOG2_E)
            row_lse = tl.load(lse + tl.cast(head, tl.int64) * query_length + offsets)
            row_lse = tl.where(row_lse == float("-inf"), float("inf"), row_lse * LOG2_E)
            weights = tl.exp2(scores - row_lse[:, None])
            if MASK_BY_HEAD:
                head_mask = mask + tl.cast(head, tl.int64) * mask_stride_h + start * mask_stride_k
                seen = tl.load(
                    head_mask + offsets[:, None] * mask_stride_q + columns[None, :] * mask_stride_k,
                    mask=(columns < present)[None, :],
                    other=0,
                )
                weights = tl.where(seen != 0, weights, 0.0)
            total += weights

        # Where no head sees a key, `total` may hold anything, infinities too: it is not written.
        visible = visible_keys(
            0, offsets[:, None], key_start, columns[None, :], None if MASK_BY_HEAD else mask, key_mask,
            mask_stride_q, mask_stride_k, query_length, key_length, window, CAUSAL, WINDOW,
        ) & (chosen >= 0)[:, None]  # fmt: skip
        out += batch * out_stride_b + tl.cast(row_start, tl.int64) * out_stride_r + start * out_stride_k
        pointers = out + (
            tl.arange(0, ROWS).to(tl.int64)[:, None] * out_stride_r + columns[None, :] * out_stride_k
        )
        before = tl.load(pointers, mask=visible, other=0.0)
        tl.store(pointers, before + total * (1.0 / heads), mask=visible)
