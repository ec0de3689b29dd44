"""Segment attention on a real GPU: every dtype and head size, long sequences, and PyTorch's rules for ops."""

from __future__ import annotations

import pytest
import torch

from vkit.kernels.attention import attention_implementation, attention_rows, segment_attention
from vkit.kernels.attention_reference import attention_rows_reference, segment_attention_reference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
# Of the result's own scale. 16-bit results carry one rounding of P and one of the result.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
GRADIENT_TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
# Masses never pass through a 16-bit number after the scores.
MASS_TOLERANCE = 2e-5
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def random_inputs(batch, heads, key_heads, query_length, key_length, head_size, dtype, requires_grad=False):
    """Query, key and value as attention modules lay them out: (B, T, H, D), transposed."""
    generator = torch.Generator(device="cuda").manual_seed(head_size + query_length)

    def tensor(length, count):
        x = torch.randn(
            batch, length, count, head_size, device="cuda", generator=generator, dtype=torch.float32
        )
        return x.to(dtype).transpose(1, 2).requires_grad_(requires_grad)

    return tensor(query_length, heads), tensor(key_length, key_heads), tensor(key_length, key_heads)


def prompt_segments(batch: int, length: int) -> torch.Tensor:
    """First token, text, image, question, unreported rest, as in a prompt with one picture."""
    ids = torch.full((batch, length), -1, device="cuda")
    for segment, (start, stop) in enumerate([(0, 0.01), (0.01, 0.05), (0.05, 0.4), (0.4, 0.7)]):
        ids[:, int(start * length) : int(stop * length)] = segment
    return ids


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.shape == expected.shape
    assert torch.equal(actual.isfinite(), expected.isfinite())
    actual, expected = actual.double().nan_to_num(0, 0, 0), expected.double().nan_to_num(0, 0, 0)
    return ((actual - expected).abs().max() / expected.abs().max().clamp(min=1e-3)).item()


def check(inputs, ids, num_segments, **options):
    dtype = inputs[0].dtype
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = segment_attention_reference(*exact, ids, num_segments, **options)
    found = segment_attention(*inputs, ids, num_segments, **options)
    tolerances = (TOLERANCE[dtype], MASS_TOLERANCE, MASS_TOLERANCE)
    for actual, wanted, tolerance, name in zip(
        found, expected, tolerances, ("out", "lse", "mass"), strict=True
    ):
        error = relative_error(actual.detach(), wanted.detach())
        assert error <= tolerance, f"{name}: {error:.2e}"
    grad_out = torch.randn_like(expected[0]).to(dtype)
    grad_mass = torch.randn_like(found[2])
    wanted = torch.autograd.grad((expected[0], expected[2]), exact, (grad_out.double(), grad_mass.double()))
    actual = torch.autograd.grad((found[0], found[2]), inputs, (grad_out, grad_mass))
    for one, other, name in zip(actual, wanted, ("query", "key", "value"), strict=True):
        error = relative_error(one, other)
        assert error <= GRADIENT_TOLERANCE[dtype], f"gradient of {name}: {error:.2e}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("head_size", [20, 64, 72, 80, 96, 128, 160, 256])
def test_every_head_size_and_dtype(head_size, dtype):
    inputs = random_inputs(2, 4, 2, 333, 517, head_size, dtype, requires_grad=True)
    assert attention_implementation(inputs[0].device, dtype) == "triton"
    check(inputs, prompt_segments(2, 517), 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        dict(causal=False),
        dict(window=100),
        dict(softcap=20.0),
        dict(softcap=20.0, window=300),
        dict(mask="full"),
        dict(mask="broadcast", causal=False),
        dict(key_mask=True),
        dict(key_mask=True, mask="full", window=64, softcap=5.0),
    ],
    ids=str,
)
def test_every_option(options, dtype):
    options = dict(options)
    generator = torch.Generator(device="cuda").manual_seed(0)
    shape = {"full": (2, 4, 300, 421), "broadcast": (2, 1, 300, 421)}.get(options.get("mask"))
    if shape:
        options["mask"] = torch.rand(shape, device="cuda", generator=generator) > 0.3
    if options.get("key_mask"):
        options["key_mask"] = torch.rand(2, 421, device="cuda", generator=generator) > 0.2
    inputs = random_inputs(2, 4, 2, 300, 421, 80, dtype, requires_grad=True)
    check(inputs, prompt_segments(2, 421), 4, **options)


@pytest.mark.parametrize("num_segments", [1, 7, 16, 33, 64])
def test_interleaved_segments(num_segments):
    inputs = random_inputs(1, 2, 2, 257, 257, 64, torch.bfloat16, requires_grad=True)
    check(inputs, torch.randint(-1, num_segments, (1, 257), device="cuda"), num_segments)


@pytest.mark.parametrize("length", [1024, 4096])
def test_long_sequences(length):
    inputs = random_inputs(1, 4, 2, length, length, 80, torch.bfloat16, requires_grad=True)
    check(inputs, prompt_segments(1, length), 4)


def test_padding_on_the_left_gives_zeros_for_rows_that_see_nothing():
    inputs = random_inputs(2, 2, 2, 200, 200, 80, torch.bfloat16, requires_grad=True)
    key_mask = torch.ones(2, 200, dtype=torch.bool, device="cuda")
    key_mask[1, :77] = False
    check(inputs, prompt_segments(2, 200), 4, key_mask=key_mask)


def test_results_repeat_bit_for_bit():
    inputs = random_inputs(2, 8, 2, 1000, 1000, 80, torch.bfloat16, requires_grad=True)
    ids = prompt_segments(2, 1000)

    def run():
        out, lse, mass = segment_attention(*inputs, ids, 4)
        return (out, lse, mass, *torch.autograd.grad(out.float().sum() + mass.square().sum(), inputs))

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


def test_offsets_beyond_two_to_the_31():
    # One key head inside a buffer whose rows are 2^19 elements apart: the last row starts past 2^31.
    length = 4200
    buffer = torch.zeros(length * 2**19 + 64, dtype=torch.bfloat16, device="cuda")
    key = buffer.as_strided((1, 1, length, 64), (0, 0, 2**19, 1))
    key.copy_(torch.randn(1, 1, length, 64, device="cuda"))
    query = torch.randn(1, 1, 130, 64, device="cuda", dtype=torch.bfloat16)
    ids = prompt_segments(1, length)
    found = segment_attention(query, key, key, ids, 4)
    expected = segment_attention(query, key.contiguous(), key.contiguous(), ids, 4)
    for actual, wanted in zip(found, expected, strict=True):
        assert torch.equal(actual, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("head_size", [64, 80, 128, 256])
@pytest.mark.parametrize("options", [dict(), dict(window=90), dict(softcap=9.0), dict(mask=True)], ids=str)
def test_rows(head_size, dtype, options):
    options = dict(options)
    if options.pop("mask", False):
        options["mask"] = torch.rand(2, 4, 300, 421, device="cuda") > 0.3
    query, key, value = random_inputs(2, 4, 2, 300, 421, head_size, dtype)
    _, lse, _ = segment_attention(query, key, value, prompt_segments(2, 421), 4, **options)
    exact_lse = segment_attention_reference(
        query.double(), key.double(), value.double(), prompt_segments(2, 421), 4, **options
    )[1]
    for rows in (torch.arange(300), torch.tensor([[299, -1, 3], [-1, 0, 150]])):
        rows = rows.cuda()
        found = attention_rows(query, key, lse, rows, **options)
        expected = attention_rows_reference(query.double(), key.double(), exact_lse, rows, **options)
        assert relative_error(found, expected) <= 3e-5
        twice = attention_rows(query, key, lse, rows, **options, out=found.clone())
        assert relative_error(twice, 2 * expected) <= 3e-5


def test_no_call_waits_for_the_gpu():
    query, key, value = random_inputs(1, 4, 2, 300, 300, 80, torch.bfloat16)
    ids = prompt_segments(1, 300).to(torch.int32)
    segment_attention(query, key, value, ids, 4)  # compiles, and checks the ids once
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, lse, _ = segment_attention(query, key, value, ids, 4)
        attention_rows(query, key, lse, torch.arange(300, device="cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_torch_compile_agrees_and_does_not_break_the_graph():
    inputs = random_inputs(1, 4, 2, 200, 200, 80, torch.bfloat16, requires_grad=True)
    ids = prompt_segments(1, 200).to(torch.int32)

    def objective(query, key, value):
        out, _, mass = segment_attention(query * 2, key, value, ids, 4)
        return out.float().square().sum() + mass[..., 2].sum()

    expected = objective(*inputs)
    wanted = torch.autograd.grad(expected, inputs)
    compiled = torch.compile(objective, fullgraph=True)
    found = compiled(*inputs)
    assert relative_error(found.detach(), expected.detach()) <= 1e-3
    for actual, one in zip(torch.autograd.grad(found, inputs), wanted, strict=True):
        assert relative_error(actual, one) <= 1e-2


def test_opcheck():
    inputs = random_inputs(1, 2, 1, 40, 50, 80, torch.float32, requires_grad=True)
    ids = prompt_segments(1, 50).to(torch.int32)
    arguments = (*inputs, ids, 4, True, None, None, None, None, 0.1)
    torch.library.opcheck(torch.ops.vkit.segment_attention.default, arguments)
