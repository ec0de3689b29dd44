"""The Triton attention kernels against their definition, run in Triton's interpreter on CPU tensors.

    TRITON_INTERPRET=1 python -m pytest tests/interpreter_attention.py

`tests/test_attention_triton.py` runs this file in a process of its own, because the kernels must be told to
be interpreted before they are imported. The oracle is float64 throughout. bfloat16 is left to
`tests/test_attention_gpu.py`: the interpreter's products of bfloat16 are wrong.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch

from vkit.kernels import attention, attention_triton
from vkit.kernels.attention_reference import attention_rows_reference, segment_attention_reference
from vkit.kernels.attention_scoring import Scoring
from vkit.kernels.attention_triton_common import Tiles

pytestmark = [
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs TRITON_INTERPRET=1"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),  # log2(0) of a row that sees nothing
]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-2}
SMALL = Tiles(queries=16, keys=16, warps=4, stages=1)
WIDE = Tiles(queries=16, keys=32, warps=4, stages=1)
TALL = Tiles(queries=32, keys=16, warps=4, stages=1)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float, name: str) -> None:
    """Close on the scale of the expected tensor, and not a NaN or infinity where there is none."""
    assert torch.equal(actual.isfinite(), expected.isfinite()), f"{name} is not finite where it should be"
    actual, expected = actual.double().nan_to_num(0, 0, 0), expected.nan_to_num(0, 0, 0)
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    error = (actual - expected).abs().max().item() / scale if expected.numel() else 0.0
    assert error <= tolerance, f"{name}: relative error {error:.2e} > {tolerance:.0e}"


def contiguous_segments(batch: int, length: int, num_segments: int) -> torch.Tensor:
    """A run for each segment, and unreported keys first."""
    return torch.randint(-1, num_segments, (batch, length)).sort(-1).values.to(torch.int32)


def check(
    *,
    shape: tuple[int, int, int, int, int, int] = (1, 2, 1, 21, 37, 16),
    num_segments: int = 3,
    segment_ids: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    tiles: Tiles = SMALL,
    magnitude: float = 1.0,
    tolerance: float | None = None,
    **given: Any,
) -> None:
    """Forward, gradients of out, lse and mass, and chosen rows: all against autograd in float64."""
    batch, heads, key_heads, query_length, key_length, head_size = shape
    tolerance = tolerance or TOLERANCE[dtype]
    options = (
        dict(causal=True, mask=None, key_mask=None, window=None, softcap=None, scale=head_size**-0.5) | given
    )
    scoring = Scoring(**options)
    # As attention modules lay them out: (B, T, H, D), transposed.
    query = torch.randn(batch, query_length, heads, head_size).mul(magnitude).to(dtype).transpose(1, 2)
    key = torch.randn(batch, key_length, key_heads, head_size).to(dtype).transpose(1, 2)
    value = torch.randn(batch, key_length, key_heads, head_size).to(dtype).transpose(1, 2)
    if segment_ids is None:
        segment_ids = contiguous_segments(batch, key_length, num_segments)
    segment_ids = segment_ids.to(torch.int32)

    exact = [x.double().requires_grad_() for x in (query, key, value)]
    out, lse, mass = segment_attention_reference(*exact, segment_ids, num_segments, **options)
    found = attention_triton.segment_attention(
        query, key, value, segment_ids, num_segments, scoring, tiles=tiles
    )
    for actual, expected, name in zip(found, (out, lse, mass), ("out", "lse", "mass"), strict=True):
        assert_close(actual, expected.detach(), tolerance, name)

    seen = lse.isfinite()
    grad_out = torch.randn_like(out).to(dtype)
    grad_mass = torch.randn_like(mass)
    grad_lse = torch.randn_like(lse) * seen
    objective = (out * grad_out.double()).sum() + (mass * grad_mass).sum()
    objective = objective + (lse.masked_fill(~seen, 0.0) * grad_lse).sum()
    expected_grads = torch.autograd.grad(objective, exact)
    delta = ((out * grad_out).sum(-1) + (mass * grad_mass).sum(-1) - grad_lse).detach().float()
    lse = lse.detach().float()
    grads = attention_triton.segment_attention_backward(
        grad_out, grad_mass.float(), delta, query, key, value, segment_ids, lse, scoring,
        query_tiles=tiles, key_tiles=tiles,
    )  # fmt: skip
    for actual, expected, name in zip(grads, expected_grads, ("query", "key", "value"), strict=True):
        assert_close(actual, expected, tolerance, f"gradient of {name}")

    rows = torch.stack([torch.randperm(query_length)[: query_length // 2 + 1] for _ in range(batch)])
    rows[:, 1::3] = -1
    before = torch.randn(batch, rows.shape[1], key_length)
    result = before.clone()
    attention_triton.attention_rows_(query, key, lse, rows.to(torch.int32), result, scoring, tiles=tiles)
    expected_rows = attention_rows_reference(*[x.detach() for x in exact[:2]], lse, rows, **options)
    assert_close(result, before + expected_rows, tolerance, "rows")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("head_size", [1, 16, 20, 64, 72, 80, 96, 128, 256])
def test_any_head_size_is_exact(head_size):
    check(shape=(1, 1, 1, 15, 35, head_size))


@pytest.mark.parametrize("head_size", [64, 80])
def test_float16_is_as_good_as_float16_is(head_size):
    check(shape=(1, 2, 1, 19, 35, head_size), dtype=torch.float16)


@pytest.mark.parametrize("tiles", [WIDE, TALL], ids=["16x32", "32x16"])
@pytest.mark.parametrize(
    "given",
    [
        dict(causal=True),
        dict(causal=False),
        dict(window=7),
        dict(window=24),
        dict(window=1000),
        dict(window=2**31 - 1),
        dict(softcap=2.0),
        dict(softcap=50.0, window=9),
    ],
    ids=str,
)
def test_every_rule_of_visibility_with_every_shape_of_tile(given, tiles):
    check(shape=(1, 1, 1, 35, 51, 16), tiles=tiles, **given)


@pytest.mark.parametrize("lengths", [(1, 1), (1, 40), (16, 16), (16, 48), (17, 34)], ids=str)
@pytest.mark.parametrize("causal", [True, False])
def test_the_last_query_stands_at_the_last_key(lengths, causal):
    check(shape=(1, 1, 1, *lengths, 16), causal=causal)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)], ids=str)
def test_query_heads_share_key_heads(heads):
    check(shape=(1, *heads, 18, 18, 16), tiles=TALL)


@pytest.mark.parametrize("of_batch", [1, 2])
@pytest.mark.parametrize("of_heads", [1, 2])
@pytest.mark.parametrize("of_queries", [1, 9])
@pytest.mark.parametrize("of_keys", [1, 20])
def test_a_mask_broadcasts_along_any_dimension(of_batch, of_heads, of_queries, of_keys):
    mask = torch.rand(of_batch, of_heads, of_queries, of_keys) > 0.4
    check(shape=(2, 2, 1, 9, 20, 16), mask=mask, causal=False)


def test_masks_causality_window_and_softcap_act_together():
    check(
        shape=(2, 2, 1, 18, 21, 80),
        mask=torch.rand(2, 2, 18, 21) > 0.3,
        key_mask=torch.rand(2, 21) > 0.2,
        window=12,
        softcap=4.0,
    )


def test_left_padding_leaves_rows_that_see_nothing_at_zero():
    key_mask = torch.ones(2, 37, dtype=torch.bool)
    key_mask[0, :30] = False
    key_mask[1] = False
    check(shape=(2, 1, 1, 37, 37, 16), key_mask=key_mask, tiles=TALL)
    check(shape=(2, 1, 1, 37, 37, 16), key_mask=key_mask, tiles=WIDE, window=3, softcap=5.0)


def test_a_mask_that_hides_everything_gives_zeros_and_not_nan():
    check(mask=torch.zeros(1, 1, 1, 1, dtype=torch.bool))


@pytest.mark.parametrize("num_segments", [1, 2, 5, 16, 17, 40, 64])
def test_interleaved_segments_of_any_number(num_segments):
    ids = torch.randint(-1, num_segments, (1, 40))
    check(shape=(1, 1, 1, 9, 40, 16), num_segments=num_segments, segment_ids=ids)


def test_a_segment_that_comes_back_gets_the_mass_of_all_its_runs():
    ids = torch.tensor([0] * 16 + [1] * 33 + [0] * 20 + [2] * 5 + [1] * 30 + [-1] * 10 + [0] * 6)[None]
    check(shape=(1, 1, 1, 30, 120, 16), segment_ids=ids, tiles=TALL)
    check(shape=(1, 1, 1, 30, 120, 16), segment_ids=ids, tiles=TALL, window=50)


def test_segments_without_a_key_get_zero():
    check(num_segments=9, segment_ids=torch.full((1, 37), 4))
    check(num_segments=20, segment_ids=torch.full((1, 37), 18))
    check(num_segments=3, segment_ids=torch.full((1, 37), -1))


def test_segments_differ_between_batch_items():
    check(shape=(3, 1, 1, 9, 37, 16), segment_ids=torch.randint(-1, 3, (3, 37)).sort(-1).values)


def test_ids_and_rows_that_are_not_there_read_and_write_nothing_out_of_bounds():
    # The public functions refuse them where they can look: not inside torch.compile, and rows not on a GPU.
    query, key = torch.randn(1, 1, 9, 16), torch.randn(1, 1, 40, 16)
    scoring = Scoring(causal=True, mask=None, key_mask=None, window=None, softcap=None, scale=0.25)
    ids = torch.tensor([0] * 16 + [99] * 16 + [1, 99] * 4, dtype=torch.int32)[None]
    hidden = torch.where(ids > 1, -1, ids)
    out, lse, mass = attention_triton.segment_attention(query, key, key, ids, 2, scoring, tiles=SMALL)
    wanted = attention_triton.segment_attention(query, key, key, hidden, 2, scoring, tiles=SMALL)
    for actual, expected in zip((out, lse, mass), wanted, strict=True):
        torch.testing.assert_close(actual, expected)
    tensors = (out, torch.randn(1, 1, 9, 2), torch.randn(1, 1, 9), query, key, key)
    tiles = dict(query_tiles=SMALL, key_tiles=SMALL)
    found = attention_triton.segment_attention_backward(*tensors, ids, lse, scoring, **tiles)
    wanted = attention_triton.segment_attention_backward(*tensors, hidden, lse, scoring, **tiles)
    for actual, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(actual, expected)
    by_head = replace(scoring, mask=torch.ones(1, 2, 9, 40, dtype=torch.bool))
    result = torch.zeros(1, 2, 40)
    rows = torch.tensor([[8, 2**30]], dtype=torch.int32)
    two, lse = query.expand(1, 2, 9, 16), lse.expand(1, 2, 9)
    attention_triton.attention_rows_(two, key, lse, rows, result, by_head, tiles=SMALL)
    torch.testing.assert_close(result.sum(-1), torch.tensor([[1.0, 0.0]]))


def test_large_scores_neither_overflow_nor_lose_mass():
    # Scores near 100, whose own rounding in fp32 is 4e-6: nothing computed from them is exact to 1e-5.
    check(shape=(1, 1, 1, 30, 50, 16), magnitude=30.0, tolerance=1e-4)
    check(shape=(1, 1, 1, 30, 50, 16), magnitude=30.0, tolerance=1e-4, softcap=60.0)


def test_nothing_to_do_is_done():
    for shape in [(0, 2, 1, 5, 7, 16), (1, 2, 1, 0, 7, 16)]:
        batch, heads, key_heads, query_length, key_length, head_size = shape
        query = torch.randn(batch, heads, query_length, head_size)
        key = torch.randn(batch, key_heads, key_length, head_size)
        ids = torch.zeros(batch, key_length, dtype=torch.int32)
        scoring = Scoring(causal=True, mask=None, key_mask=None, window=None, softcap=None, scale=1.0)
        out, lse, mass = attention_triton.segment_attention(query, key, key, ids, 2, scoring)
        assert (out.shape, mass.shape) == (query.shape, (batch, heads, query_length, 2))
        _, grad_key, grad_value = attention_triton.segment_attention_backward(
            out, mass, lse, query, key, key, ids, lse, scoring
        )
        assert not grad_key.any()
        assert not grad_value.any()


def test_the_public_functions_run_these_kernels_with_the_tiles_of_the_table(monkeypatch):
    monkeypatch.setattr(attention, "attention_implementation", lambda device, dtype: "triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    query, key, value = (torch.randn(1, 2, 70, 80, requires_grad=True) for _ in range(3))
    ids = contiguous_segments(1, 70, 3)
    weight = torch.randn(1, 2, 70, 3)

    def objective(results):
        out, _, mass = results
        return out.sum() + (mass * weight.to(mass.dtype)).sum()

    results = attention.segment_attention(query, key, value, ids, 3)
    found = torch.autograd.grad(objective(results), (query, key, value))
    exact = [x.detach().double().requires_grad_() for x in (query, key, value)]
    expected_results = segment_attention_reference(*exact, ids, 3)
    expected = torch.autograd.grad(objective(expected_results), exact)
    for actual, wanted, name in zip(found, expected, ("query", "key", "value"), strict=True):
        assert_close(actual, wanted, 1e-5, f"gradient of {name}")
    rows = torch.tensor([69, 3])
    maps = attention.attention_rows(query, key, results[1], rows)
    wanted = attention_rows_reference(
        exact[0].detach(), exact[1].detach(), expected_results[1].detach(), rows
    )
    assert_close(maps, wanted, 1e-5, "rows")
