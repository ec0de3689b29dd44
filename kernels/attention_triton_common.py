"""What the Triton attention kernels share: tile sizes, head splitting, and the small device functions.

    tiles = forward_tiles(capability=(9, 0), head_size=80, itemsize=2)      # Tiles(128, 64, 8, 3)
    split_head(80)                                                          # (64, 16)

A tile size is looked up in a static table, never searched for at run time: the first call of a process must
not take minutes, and a result must not depend on what else the GPU was doing.
`python -m benchmarks.compile_report` prints what each entry costs in registers and shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_scoring import Scoring

LOG2_E = tl.constexpr(1.4426950408889634)
MIXED = tl.constexpr(-2)  # a tile of keys that does not lie in one segment; -1 is the unreported segment


class Tiles(NamedTuple):
    """One launch shape: a tile of scores is (queries, keys)."""

    queries: int
    keys: int
    warps: int
    stages: int


# Tile sizes ---------------------------------------------------------------------------------------------

# By head size: the first entry that it fits in. "hopper" is sm_90 and "blackwell" sm_100, with up to 227 KiB
# of shared memory for a block; "ampere" is all others and keeps under 99 KiB, as sm_86, 89 and 120 must.
_FORWARD = {
    "ampere": {64: Tiles(128, 64, 8, 3), 128: Tiles(128, 32, 8, 3), 256: Tiles(64, 32, 8, 2)},
    "hopper": {128: Tiles(128, 64, 8, 3), 256: Tiles(128, 32, 8, 2)},
    "blackwell": {96: Tiles(128, 64, 8, 2), 128: Tiles(128, 32, 8, 3), 256: Tiles(64, 32, 8, 2)},
    "float32": {
        64: Tiles(64, 32, 8, 1),
        96: Tiles(32, 32, 8, 1),
        128: Tiles(32, 16, 8, 1),
        256: Tiles(16, 32, 8, 1),
    },
}
_GRAD_QUERY = {
    "ampere": {64: Tiles(128, 32, 8, 2), 128: Tiles(64, 32, 8, 2), 256: Tiles(64, 16, 8, 1)},
    "hopper": {64: Tiles(128, 64, 8, 2), 128: Tiles(128, 32, 8, 2), 256: Tiles(64, 16, 8, 1)},
    "blackwell": {64: Tiles(128, 64, 8, 2), 128: Tiles(128, 32, 8, 2), 256: Tiles(64, 16, 8, 1)},
    "float32": {64: Tiles(32, 32, 8, 1), 128: Tiles(32, 16, 8, 1), 256: Tiles(16, 16, 8, 1)},
}
_GRAD_KEY = {
    "ampere": {
        64: Tiles(32, 64, 8, 2),
        96: Tiles(16, 64, 8, 2),
        128: Tiles(32, 64, 8, 2),
        256: Tiles(16, 32, 8, 1),
    },
    "hopper": {128: Tiles(64, 64, 8, 2), 256: Tiles(32, 32, 8, 1)},
    "blackwell": {128: Tiles(32, 64, 8, 2), 256: Tiles(16, 32, 8, 1)},
    "float32": {64: Tiles(32, 32, 8, 1), 128: Tiles(16, 32, 8, 1), 256: Tiles(16, 16, 8, 1)},
}
_ROWS = {
    "ampere": {128: Tiles(128, 64, 8, 3), 256: Tiles(64, 64, 8, 2)},
    "hopper": {128: Tiles(128, 128, 8, 3), 256: Tiles(128, 64, 8, 2)},
    "blackwell": {96: Tiles(128, 128, 8, 3), 256: Tiles(128, 64, 8, 2)},
    "float32": {64: Tiles(64, 32, 8, 1), 128: Tiles(32, 32, 8, 1), 256: Tiles(16, 32, 8, 1)},
}


def forward_tiles(capability: tuple[int, int], head_size: int, itemsize: int) -> Tiles:
    """Tiles of the forward pass on a GPU of this compute capability.

    >>> forward_tiles((9, 0), 80, 2)
    Tiles(queries=128, keys=64, warps=8, stages=3)
    """
    return _look_up(_FORWARD, capability, head_size, itemsize)


def grad_query_tiles(capability: tuple[int, int], head_size: int, itemsize: int) -> Tiles:
    """Tiles of the backward pass for the queries."""
    return _look_up(_GRAD_QUERY, capability, head_size, itemsize)


def grad_key_tiles(capability: tuple[int, int], head_size: int, itemsize: int, crowded: bool) -> Tiles:
    """Tiles of the backward pass for keys and values; ``crowded``: a mask or softcap takes registers too."""
    tiles = _look_up(_GRAD_KEY, capability, head_size, itemsize)
    return tiles._replace(queries=min(32, tiles.queries)) if crowded else tiles


def row_tiles(
    capability: tuple[int, int], head_size: int, itemsize: int, crowded: bool, num_rows: int
) -> Tiles:
    """Tiles of the chosen rows; few rows get low tiles. ``crowded``: a mask or softcap takes room too."""
    tiles = _look_up(_ROWS, capability, head_size, itemsize)
    tiles = tiles._replace(queries=min(tiles.queries, max(16, triton.next_power_of_2(num_rows))))
    return tiles._replace(keys=min(64, tiles.keys)) if crowded else tiles


def _look_up(
    table: dict[str, dict[int, Tiles]], capability: tuple[int, int], head_size: int, itemsize: int
) -> Tiles:
    family = {9: "hopper", 10: "blackwell"}.get(capability[0], "ampere")
    sizes = table["float32" if itemsize == 4 else family]
    return next(tiles for size, tiles in sizes.items() if head_size <= size)


def split_head(head_size: int) -> tuple[int, int]:
    """Two widths, powers of two, that cover a head: with less padding than one would have, where that is so.

    >>> split_head(80), split_head(96), split_head(128), split_head(20)
    ((64, 16), (64, 32), (128, 0), (32, 0))
    """
    whole = max(16, triton.next_power_of_2(head_size))
    first = whole // 2
    rest = max(16, triton.next_power_of_2(head_size - first)) if head_size > first else first
    return (first, rest) if rest < first else (whole, 0)


# Launch arguments ---------------------------------------------------------------------------------------


def unit_stride(tensor: Tensor) -> Tensor:
    """The tensor with its last dimension dense, which the kernels' loads rely on."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def visibility_arguments(query: Tensor, key: Tensor, scoring: Scoring) -> dict:
    """Keyword arguments that every kernel takes: masks as bytes with strides (0 where they broadcast)."""
    mask, key_mask = scoring.mask, scoring.key_mask
    mask_strides: tuple[int, ...] = (0, 0, 0, 0)
    if mask is not None:
        mask = mask.view(torch.uint8).expand(*query.shape[:3], key.shape[2])
        mask_strides = mask.stride()
    first, rest = split_head(query.shape[-1])
    return dict(
        mask=mask,
        key_mask=None if key_mask is None else key_mask.contiguous().view(torch.uint8),
        mask_stride_b=mask_strides[0],
        mask_stride_h=mask_strides[1],
        mask_stride_q=mask_strides[2],
        mask_stride_k=mask_strides[3],
        heads=query.shape[1],
        groups=query.shape[1] // key.shape[1],
        query_length=query.shape[2],
        key_length=key.shape[2],
        # A position plus the window stays in 32 bits.
        window=0 if scoring.window is None else min(scoring.window, key.shape[2]),
        softcap=0.0 if scoring.softcap is None else float(scoring.softcap),
        scale=float(scoring.scale),
        CAUSAL=scoring.causal,
        WINDOW=scoring.window is not None,
        SOFTCAP=scoring.softcap is not None,
        HEAD_SIZE=query.shape[-1],
        FIRST=first,
        REST=rest,
    )


def tile_segments(segment_ids: Tensor, num_segments: int, tile: int) -> Tensor:
    """(B, ceil(Tk / tile), 2) int32: the lowest and the highest segment id in each tile of keys.

    Ids that are no segment count as -1, so that nothing is read beyond the segments where nobody could check
    the ids (inside ``torch.compile``).
    """
    batch, length = segment_ids.shape
    result = segment_ids.new_empty((batch, triton.cdiv(length, tile), 2))
    _tile_segments_kernel[(batch * result.shape[1],)](
        segment_ids, result, length, num_segments, TILE=tile, num_warps=1
    )
    return result


@triton.jit(do_not_specialize=["length", "num_segments"])
def _tile_segments_kernel(segment_ids, result, length, num_segments, TILE: tl.constexpr):
    tiles = tl.cdiv(length, TILE)
    program = tl.program_id(0).to(tl.int64)
    positions = (program % tiles) * TILE + tl.arange(0, TILE)
    # Positions past the end repeat the last key, so that they cannot make a tile mixed.
    ids = tl.load(segment_ids + (program // tiles) * length + tl.minimum(positions, length - 1))
    ids = tl.where((ids < -1) | (ids >= num_segments), -1, ids)
    tl.store(result + 2 * program, tl.min(ids, 0))
    tl.store(result + 2 * program + 1, tl.max(ids, 0))


# Device functions ---------------------------------------------------------------------------------------


@triton.jit
def load_tile(
    base,
    rows,
    row_limit,
    stride,
    START: tl.constexpr,
    WIDTH: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
):
    """(len(rows), WIDTH) of a (T, HEAD_SIZE) matrix from column START on; zeros outside of it."""
    columns = START + tl.arange(0, WIDTH)
    pointers = base + rows[:, None] * stride + columns[None, :]
    present = (rows < row_limit)[:, None]
    if START + WIDTH > HEAD_SIZE:
        present = present & (columns < HEAD_SIZE)[None, :]
    return tl.load(pointers, mask=present, other=0.0)


@triton.jit
def store_tile(
    base,
    tile,
    rows,
    row_limit,
    START: tl.constexpr,
    WIDTH: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
):
    """The inverse of `load_tile`, for a contiguous (T, HEAD_SIZE) matrix."""
    columns = START + tl.arange(0, WIDTH)
    pointers = base + rows[:, None] * HEAD_SIZE + columns[None, :]
    present = (rows < row_limit)[:, None]
    if START + WIDTH > HEAD_SIZE:
        present = present & (columns < HEAD_SIZE)[None, :]
    tl.store(pointers, tile.to(base.dtype.element_ty), mask=present)


@triton.jit
def capped_tanh(x):
    """tanh to fp32 accuracy: a series near zero, where 1 - exp(-2x) would cancel."""
    size = tl.abs(x)
    decay = tl.exp2(size * (-2.0 * LOG2_E))
    far = (1.0 - decay) / (1.0 + decay)
    square = size * size
    near = size * (
        1.0 + square * (-1.0 / 3 + square * (2.0 / 15 + square * (-17.0 / 315 + square * 62.0 / 2835)))
    )
    magnitude = tl.where(size < 0.25, near, far)
    return tl.where(x < 0.0, -magnitude, magnitude)


@triton.jit
def visible_keys(
    query_start,
    queries,
    key_start,
    keys,
    mask,
    key_mask,
    mask_stride_q,
    mask_stride_k,
    query_length,
    key_length,
    window,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
):
    """Which keys each query of a tile sees.

    ``queries`` and ``keys`` count from the tile's first query and key and are shaped to broadcast, in either
    order. ``mask`` and ``key_mask`` are None, or point at the first element of their batch item (and head).
    """
    query = query_start + queries
    key = key_start + keys
    position = query + (key_length - query_length)
    visible = (key < key_length) & (query < query_length)
    if CAUSAL:
        visible = visible & (key <= position)
    if WINDOW:
        visible = visible & (key > position - window)
    if key_mask is not None:
        visible = visible & (tl.load(key_mask + key, mask=key < key_length, other=0) != 0)
    if mask is not None:
        tile = (
            mask
            + tl.cast(query_start, tl.int64) * mask_stride_q
            + tl.cast(key_start, tl.int64) * mask_stride_k
        )
        visible = visible & (
            tl.load(tile + (queries * mask_stride_q + keys * mask_stride_k), mask=visible, other=0) != 0
        )
    return visible


@triton.jit
def key_range(
    query_start,
    query_length,
    key_length,
    window,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
):
    """Keys [begin, end) that a tile of queries may see, and [full_begin, full_end) that all of it sees.

    ``begin`` and the full bounds are multiples of KEYS. An explicit mask or key mask is not looked at.
    """
    first = query_start + (key_length - query_length)  # position of the first query
    last = tl.minimum(query_start + QUERIES, query_length) - 1 + (key_length - query_length)
    begin = 0
    end = key_length
    full_begin = 0
    full_end = key_length // KEYS * KEYS
    if CAUSAL:
        end = last + 1
        full_end = (first + 1) // KEYS * KEYS
    if WINDOW:
        begin = tl.maximum(first - window + 1, 0) // KEYS * KEYS
        full_begin = tl.cdiv(tl.maximum(last - window + 1, 0), KEYS) * KEYS
    return begin, end, full_begin, full_end
