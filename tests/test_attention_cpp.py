"""The C++ kernels of `vkit.kernels.attention`, against the definition in float64.

The last test runs this file again for each lesser instruction set that the CPU has.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vkit.kernels._extension import load_extension
from vkit.kernels.attention import attention_implementation, attention_rows, segment_attention
from vkit.kernels.attention_reference import (
    attention_rows_reference,
    attention_scores,
    segment_attention_reference,
)

if (reason := load_extension()) is not None:
    pytest.skip(reason, allow_module_level=True)

CAPABILITIES = ["avx512_bf16", "avx512", "avx2", "portable"]  # the best first
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
LAYOUTS = ["contiguous", "heads inside", "strided", "expanded heads"]


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same numbers at other strides."""
    if layout == "heads inside":  # (B, T, H, D), as projections give it
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "strided":
        batch, heads, length, size = tensor.shape
        room = torch.full((batch, heads, length + 1, 3 * size), torch.nan, dtype=tensor.dtype)
        room[:, :, 1:, ::3] = tensor
        return room[:, :, 1:, ::3]
    if layout == "expanded heads":
        return tensor[:, :1].expand(tensor.shape)
    return tensor.contiguous()


def error(actual: Tensor, expected: Tensor, smallest: float = 1e-30) -> float:
    """The largest difference, relative to the element, the typical element or ``smallest``."""
    if expected.numel() == 0:
        return 0.0
    hidden = expected == -torch.inf
    assert torch.equal(actual == -torch.inf, hidden)
    assert actual.isfinite()[~hidden].all()
    actual, expected = (x.double().masked_fill(hidden, 0.0) for x in (actual, expected))
    typical = expected[expected != 0].square().mean().nan_to_num().sqrt()  # rows that see nothing are zero
    return ((actual - expected).abs() / expected.abs().maximum(typical).clamp(min=smallest)).max().item()


def assert_as_defined(query: Tensor, key: Tensor, value: Tensor, segments: Tensor, count: int, **options):
    """Compares all results with the definition and returns (out, lse, mass)."""
    assert attention_implementation(query.device, query.dtype) == "cpp"
    actual = segment_attention(query, key, value, segments, count, **options)
    expected = segment_attention_reference(
        query.double(), key.double(), value.double(), segments, count, **options
    )
    out, lse, mass = actual
    assert out.dtype == query.dtype
    assert out.is_contiguous()
    assert lse.dtype == mass.dtype == torch.float32
    tolerance = TOLERANCE[query.dtype]
    for name, a, b in zip(("out", "lse", "mass"), actual, expected, strict=True):
        assert a.shape == b.shape, name
        smallest = 1.0 if name == "lse" else 1e-30  # a logarithm near zero is not more exact for that
        assert error(a, b, smallest) <= tolerance, name
    assert mass.min() >= 0 if mass.numel() else True
    assert mass.max() <= 1 if mass.numel() else True
    return actual


def tensors(
    seed: int, batch: int, heads: int, key_heads: int, query_length: int, key_length: int, size: int, dtype
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, heads, query_length, size), *[(batch, key_heads, key_length, size)] * 2]
    query, key, value = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return query, key, value


@st.composite
def problems(draw):
    """Arguments of `segment_attention`, of every kind that it accepts."""
    batch = draw(st.integers(1, 2))
    key_heads = draw(st.integers(1, 2))
    heads = key_heads * draw(st.integers(1, 3))
    query_length = draw(st.integers(1, 70))
    key_length = query_length + draw(st.sampled_from([0, 0, 1, 13, 130, 261]))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    # In one dimension the bfloat16 roundings of the weights are too much alike to average out, in SDPA too.
    size = draw(st.sampled_from([1 if dtype == torch.float32 else 2, 7, 20, 64, 80, 80, 128, 256]))
    seed = draw(st.integers(0, 10**6))
    query, key, value = tensors(seed, batch, heads, key_heads, query_length, key_length, size, dtype)
    query, key, value = (laid_out(x, draw(st.sampled_from(LAYOUTS))) for x in (query, key, value))
    count = draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(seed)
    segments = torch.randint(-1, count, (batch, key_length), generator=generator)
    if draw(st.booleans()):
        segments = segments.sort().values
    options: dict = {"causal": draw(st.booleans())}
    if draw(st.booleans()):
        full = (batch, heads, query_length, key_length)
        shape = [draw(st.sampled_from([1, whole])) for whole in full]
        options["mask"] = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.05, 0.5, 0.97]))
    if draw(st.booleans()):
        options["key_mask"] = torch.rand(batch, key_length, generator=generator) < 0.8
    if options["causal"] and draw(st.booleans()):
        options["window"] = draw(st.integers(1, 200))
    if draw(st.booleans()):
        options["softcap"] = draw(st.sampled_from([0.5, 2.0, 50.0]))
    if draw(st.booleans()):
        options["scale"] = draw(st.sampled_from([1.5, -0.7, 0.0])) * size**-0.5
    return query, key, value, segments, count, options


@settings(max_examples=150, deadline=None)
@given(problems())
def test_results_are_those_of_the_definition(problem):
    query, key, value, segments, count, options = problem
    assert_as_defined(query, key, value, segments, count, **options)


@settings(max_examples=80, deadline=None)
@given(problems(), st.data())
def test_rows_are_those_of_the_definition(problem, data):
    query, key, _, _, _, options = problem
    batch, _, query_length, _ = query.shape
    wide = {**options, "scale": options.get("scale", query.shape[-1] ** -0.5)}
    segments = torch.zeros(batch, key.shape[2], dtype=torch.int64)
    _, lse, _ = segment_attention_reference(query.double(), key.double(), key.double(), segments, 1, **wide)
    num_rows = data.draw(st.integers(1, 60))
    row = st.integers(-1, query_length - 1)
    rows = torch.tensor(
        [data.draw(st.lists(row, min_size=num_rows, max_size=num_rows)) for _ in range(batch)]
    )
    before = torch.rand(batch, key.shape[2], num_rows).mT  # not contiguous
    after = attention_rows(query, key, lse.float(), rows, out=before.clone(), **wide)
    expected = attention_rows_reference(query.double(), key.double(), lse, rows, **wide)
    assert (after - before - expected).abs().max() <= 1e-5
    assert torch.equal(after[rows < 0], before[rows < 0])


@DTYPES
def test_a_long_causal_problem_with_grouped_heads(dtype):
    query, key, value = tensors(0, 1, 6, 2, 700, 700, 80, dtype)
    segments = torch.bucketize(torch.arange(700), torch.tensor([1, 31, 400, 401, 640]), right=True)[None]
    _, lse, mass = assert_as_defined(query, key, value, segments, 6)
    assert (mass.sum(-1) - 1).abs().max() <= 1e-5
    rows = torch.arange(700)
    maps = attention_rows(query, key, lse, rows)
    expected = attention_rows_reference(query.double(), key.double(), lse.double(), rows)
    assert error(maps, expected) <= TOLERANCE[dtype]


@DTYPES
def test_interleaved_segments_are_as_exact_as_contiguous_ones(dtype):
    query, key, value = tensors(1, 1, 2, 2, 150, 300, 64, dtype)
    _, _, mass = assert_as_defined(query, key, value, torch.arange(300)[None] % 7, 7)
    assert (mass.sum(-1) - 1).abs().max() <= 1e-5


def test_a_segment_per_key_gives_the_attention_matrix():
    query, key, value = tensors(2, 1, 2, 2, 33, 140, 20, torch.float32)
    _, _, mass = assert_as_defined(query, key, value, torch.arange(140)[None], 140)
    scores = attention_scores(query.double(), key.double(), softcap=None, scale=20**-0.5)
    visible = torch.ones(33, 140, dtype=torch.bool).tril(107)
    assert error(mass, scores.masked_fill(~visible, -torch.inf).softmax(-1)) <= 1e-5


def test_a_single_segment_of_all_keys_has_a_mass_of_exactly_one():
    query, key, value = tensors(3, 1, 3, 1, 200, 200, 80, torch.float32)
    _, _, mass = segment_attention(query, key, value, torch.zeros(1, 200, dtype=torch.int32), 1)
    assert torch.equal(mass, torch.ones_like(mass))


@DTYPES
def test_a_query_that_sees_nothing_gives_zeros(dtype):
    query, key, value = tensors(4, 2, 2, 2, 60, 200, 80, dtype)
    key_mask = torch.ones(2, 200, dtype=torch.bool)
    key_mask[1, :150] = False  # queries 0..9 of item 1 see no key, and a whole block is hidden
    segments = torch.zeros(2, 200, dtype=torch.int32)
    out, lse, mass = assert_as_defined(query, key, value, segments, 2, key_mask=key_mask)
    assert (lse[1, :, :10] == -torch.inf).all()
    assert not out[1, :, :10].any()
    assert not mass[1, :, :10].any()
    assert not mass[..., 1].any()
    maps = attention_rows(query, key, lse, torch.tensor([3, 59]), key_mask=key_mask)
    assert not maps[1, 0].any()
    torch.testing.assert_close(maps[:, 1].sum(-1), torch.ones(2), rtol=0, atol=1e-2)


def test_large_scores_are_exact_up_to_the_rounding_of_the_scores_themselves():
    # A score s is rounded by about |s| * 2^-24, which moves its weight by as much, relatively.
    query, key, value = tensors(5, 1, 2, 2, 100, 200, 80, torch.float32)
    segments = torch.arange(200)[None] // 50
    for scale in (3.0, 30.0, -30.0):
        actual = segment_attention(query, key, value, segments, 4, scale=scale)
        wide = query.double(), key.double(), value.double()
        expected = segment_attention_reference(*wide, segments, 4, scale=scale)
        largest = attention_scores(*wide[:2], softcap=None, scale=scale).abs().max().item()
        for a, b in zip(actual, expected, strict=True):
            assert error(a, b) <= 1e-5 + largest * 2**-22


@pytest.mark.parametrize("size", [1e10, 1e18, 1e19, 1e30])
def test_scores_beyond_the_range_of_floats_give_no_nan(size):
    query, key, value = tensors(6, 1, 2, 2, 50, 200, 16, torch.float32)
    segments = torch.arange(200)[None] % 3
    for sign in (1, -1):
        for options in ({}, {"softcap": 30.0}):
            actual = segment_attention(
                sign * size * query.abs(), size * key.abs(), value, segments, 3, **options
            )
            out, _, mass = actual
            assert all(x.isfinite().all() for x in actual)
            assert (mass.sum(-1) - 1).abs().max() <= 1e-5
            assert out.abs().max() <= value.abs().max() * 1.0001


@DTYPES
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_whatever_its_bits_a_nan_is_neither_hidden_nor_spread(dtype, softcap):
    query, key, value = tensors(12, 1, 2, 2, 60, 200, 16, dtype)
    segments = torch.arange(200)[None] // 70
    before = segment_attention(query, key, value, segments, 3, softcap=softcap)
    query.view(torch.int32 if dtype == torch.float32 else torch.int16)[0, 1, 7] = -1  # as memory may hold
    after = segment_attention(query, key, value, segments, 3, softcap=softcap)
    row = torch.zeros(1, 2, 60, dtype=torch.bool)
    row[0, 1, 7] = True
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[~row], new[~row])
    assert after[0][row].isnan().all()
    assert after[1][row].isnan().all()
    assert after[2][row].sum(-1).isnan().all()
    maps = attention_rows(query, key, after[1], torch.tensor([6, 7]), softcap=softcap)
    assert maps[0, 0].isfinite().all()
    assert maps[0, 1, :148].isnan().all()
    assert not maps[0, 1, 148:].any()


def test_a_value_of_a_hidden_key_does_not_matter():
    query, key, value = tensors(7, 1, 1, 1, 40, 40, 64, torch.float32)
    segments = torch.zeros(1, 40, dtype=torch.int32)
    before, _, _ = segment_attention(query, key, value, segments, 1)
    value[:, :, 30:] = 1e30
    after, _, _ = segment_attention(query, key, value, segments, 1)
    assert torch.equal(before[:, :, :30], after[:, :, :30])


@DTYPES
def test_the_number_of_threads_does_not_change_a_bit(dtype):
    query, key, value = tensors(8, 1, 4, 2, 500, 530, 80, dtype)
    segments = torch.arange(530)[None] // 100
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            out, lse, mass = segment_attention(query, key, value, segments, 6, window=300)
            results.append((out, lse, mass, attention_rows(query, key, lse, torch.arange(200, 500))))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("batch", "query_length", "key_length"), [(0, 3, 5), (2, 0, 5), (1, 0, 0)])
def test_empty_tensors_give_empty_results(batch, query_length, key_length):
    query, key, value = tensors(9, batch, 2, 1, query_length, key_length, 16, torch.float32)
    segments = torch.zeros(batch, key_length, dtype=torch.int32)
    _, lse, mass = assert_as_defined(query, key, value, segments, 3)
    assert mass.shape == (batch, 2, query_length, 3)
    maps = attention_rows(query, key, lse, torch.empty(0, dtype=torch.int32))
    assert maps.shape == (batch, 0, key_length)


def test_the_operator_itself_refuses_what_it_cannot_read():
    query, key, value = tensors(10, 1, 2, 2, 5, 8, 16, torch.float32)
    segments = torch.zeros(1, 8, dtype=torch.int32)
    options = (True, None, None, None, None, 0.25)
    operator = torch.ops.vkit_cpp.segment_attention
    with pytest.raises(RuntimeError, match=r"segment id 2 is not in -1\.\.1"):
        operator(query, key, value, segments + 2, 2, *options)
    with pytest.raises(RuntimeError, match="value must have the shape of key"):
        operator(query, key, value[:, :1], segments, 2, *options)
    with pytest.raises(RuntimeError, match="float32 or bfloat16"):
        operator(query.double(), key.double(), value.double(), segments, 2, *options)
    with pytest.raises(RuntimeError, match="segment_ids must be Int"):
        operator(query, key, value, segments.long(), 2, *options)
    lse, out = torch.zeros(1, 2, 5), torch.zeros(1, 1, 8)
    with pytest.raises(RuntimeError, match=r"row 5 is not in -1\.\.4"):
        torch.ops.vkit_cpp.attention_rows_(
            query, key, lse, torch.tensor([[5]], dtype=torch.int32), out, *options
        )
    with pytest.raises(RuntimeError, match="out must be Float"):
        torch.ops.vkit_cpp.attention_rows_(
            query, key, lse, torch.tensor([[4]], dtype=torch.int32), out.double(), *options
        )


def test_operators_describe_themselves_truly():
    query, key, value = tensors(11, 1, 2, 1, 6, 9, 16, torch.float32)
    segments = torch.zeros(1, 9, dtype=torch.int32)
    arguments = (query, key, value, segments, 2, True, None, None, None, None, 0.25)
    torch.library.opcheck(torch.ops.vkit_cpp.segment_attention.default, arguments, test_utils="test_schema")
    rows = torch.tensor([[4, -1]], dtype=torch.int32)
    arguments = (query, key, torch.zeros(1, 2, 6), rows, torch.zeros(1, 2, 9), *arguments[5:])
    torch.library.opcheck(torch.ops.vkit_cpp.attention_rows_.default, arguments, test_utils="test_schema")


def test_an_unknown_capability_is_refused_with_the_known_ones():
    script = (
        "import torch; from vkit.kernels._extension import load_extension as load; load();"
        "torch.ops.vkit_cpp.cpu_capability()"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "VKIT_CPU_CAPABILITY": "sse9"},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert "VKIT_CPU_CAPABILITY=sse9 is not one of those that this CPU has: " in run.stderr
    assert "portable" in run.stderr


@pytest.mark.parametrize("capability", CAPABILITIES[1:])
def test_every_lesser_instruction_set_passes_these_tests(capability):
    if "VKIT_CPU_CAPABILITY" in os.environ:
        pytest.skip("this is such a run")
    current = torch.ops.vkit_cpp.cpu_capability()
    if CAPABILITIES.index(capability) <= CAPABILITIES.index(current):
        pytest.skip(f"the tests above ran with {current}")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not lesser and not unknown and not describe",
            __file__,
        ],
        env={**os.environ, "VKIT_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
