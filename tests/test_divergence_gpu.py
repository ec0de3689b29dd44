"""The divergence on a real GPU: vocabularies of models, half precision, memory, PyTorch's rules for ops."""

from __future__ import annotations

import warnings

import pytest
import torch

from vkit.kernels.divergence import divergence_implementation, linear_puma_loss, puma_loss
from vkit.kernels.divergence_reference import linear_puma_loss_reference, puma_loss_reference
from vkit.kernels.divergence_rows import divergence_rows_
from vkit.kernels.divergence_scoring import Divergence

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-3, torch.float16: 3e-3}
PAPER = Divergence(alpha=0.2, lam=0.1, temperature=1.0, standardize=False, softcap=None)
OPTIONS = [
    dict(lam=0.5),
    dict(lam=1.0, alpha=0.7, temperature=2.0),
    dict(lam=0.5, standardize=True),
    dict(lam=0.5, softcap=20.0),
    dict(lam=0.8, standardize=True, softcap=20.0, temperature=0.5),
]


def random_head(num_rows, size, vocabulary, dtype):
    """Hidden states of student and teacher, and a head that gives logits of standard deviation 3."""
    generator = torch.Generator("cuda").manual_seed(vocabulary)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device="cuda")

    student = normal(num_rows, size)
    teacher = student + 0.5 * normal(num_rows, size)
    weight = normal(vocabulary, size) * (3 * size**-0.5)
    labels = torch.randint(vocabulary, (num_rows,), generator=generator, device="cuda")
    labels[1::5] = -100
    return student.to(dtype), teacher.to(dtype), weight.to(dtype), labels


def assert_agrees(loss, leaves, exact_loss, exact_leaves, tolerance):
    for actual, expected, name in zip(loss[:4], exact_loss[:4], loss._fields, strict=False):
        error = (actual - expected).abs().item() / max(0.1, expected.abs().item())
        assert error <= 1e-5, f"{name} is off by {error:.2e}"
    grads = torch.autograd.grad(loss.total, leaves)
    exact_grads = torch.autograd.grad(exact_loss.total, exact_leaves)
    for actual, expected in zip(grads, exact_grads, strict=True):
        error = ((actual.double() - expected).norm() / expected.norm()).item()
        assert error <= tolerance, f"a gradient of shape {tuple(actual.shape)} is off by {error:.2e}"


@pytest.mark.parametrize("dtype", list(GRADIENT_TOLERANCE), ids=str)
@pytest.mark.parametrize("vocabulary", [51200, 151936, 50257])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_hidden_states_and_head_of_a_model(options, vocabulary, dtype):
    assert divergence_implementation("cuda", torch.float32) == "triton"
    student, teacher, weight, labels = random_head(21, 192, vocabulary, dtype)
    leaves = [student.requires_grad_(), weight.requires_grad_()]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    loss = linear_puma_loss(leaves[0], teacher, leaves[1], labels, chunk_mib=4, **options)
    expected = linear_puma_loss_reference(exact[0], teacher.double(), exact[1], labels, **options)
    assert_agrees(loss, leaves, expected, exact, GRADIENT_TOLERANCE[dtype])


@pytest.mark.parametrize("vocabulary", [1, 2, 33, 1000, 4097, 51200])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_of_any_vocabulary(options, vocabulary):
    generator = torch.Generator("cuda").manual_seed(vocabulary)
    student, teacher = torch.randn(2, 19, vocabulary, generator=generator, device="cuda").mul(2).unbind()
    labels = torch.randint(vocabulary, (19,), generator=generator, device="cuda")
    student = student.clone().requires_grad_()
    exact = student.detach().double().requires_grad_()
    loss = puma_loss(student, teacher, labels, **options)
    expected = puma_loss_reference(exact, teacher.double(), labels, **options)
    if vocabulary > 2:
        assert_agrees(loss, [student], expected, [exact], 1e-5)
    else:  # the gradient of a z-score of two is the difference of equal numbers
        (grad,) = torch.autograd.grad(loss.total, student)
        (exact_grad,) = torch.autograd.grad(expected.total, exact)
        torch.testing.assert_close(grad.double(), exact_grad, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("trained", [False, True])
def test_without_a_teacher_it_is_the_cross_entropy_of_the_head(trained):
    student, _, weight, labels = random_head(33, 128, 51200, torch.bfloat16)
    leaves = [student.requires_grad_()] + ([weight.requires_grad_()] if trained else [])
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    head = exact[1] if trained else weight.double()
    loss = linear_puma_loss(student, None, weight, labels, lam=0.0)
    expected = linear_puma_loss_reference(exact[0], None, head, labels, lam=0.0)
    assert_agrees(loss, leaves, expected, exact, 3e-3)


def test_all_labels_ignored_is_zero_and_no_gradient():
    student, teacher, weight, labels = random_head(9, 64, 1000, torch.bfloat16)
    student.requires_grad_()
    loss = linear_puma_loss(student, teacher, weight, torch.full_like(labels, -100))
    loss.total.backward()
    assert loss.total.item() == 0
    assert not student.grad.any()


@pytest.mark.parametrize("standardize", [False, True])
def test_infinities_give_no_nan_and_nan_stays(standardize):
    student, teacher = torch.randn(2, 5, 51200, device="cuda").unbind()
    infinity = float("inf")
    student[0, 7], student[1, 7], teacher[2, 7], teacher[3] = infinity, -infinity, infinity, -infinity
    labels = torch.arange(5, device="cuda")
    scoring = Divergence(0.2, 0.1, 1.0, standardize, None)
    parts = divergence_rows_(student, teacher, labels, scoring, 1.0, True)
    assert parts.isfinite().all()
    assert student.isfinite().all()
    student[4, 9] = float("nan")
    parts = divergence_rows_(student, teacher, labels, scoring, 1.0, True)
    assert parts[4].isnan().all()
    assert student[4].isnan().all()
    assert parts[:4].isfinite().all()


def test_memory_is_set_by_the_chunk_and_not_by_the_logits():
    student, teacher, weight, labels = random_head(2048, 256, 131072, torch.bfloat16)
    student.requires_grad_()

    def run():
        linear_puma_loss(student, teacher, weight, labels, chunk_mib=128).total.backward()

    run()
    student.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    extra_mib = (torch.cuda.max_memory_allocated() - before) / 2**20
    assert extra_mib <= 1.5 * 128, f"{extra_mib:.0f} MiB; the logits of one side alone are 1024"


def test_a_call_waits_for_the_gpu_once_and_its_backward_never():
    student, teacher, weight, labels = random_head(64, 128, 51200, torch.bfloat16)
    leaves = [student.requires_grad_(), weight.requires_grad_()]
    torch.autograd.grad(linear_puma_loss(student, teacher, weight, labels, chunk_mib=8).total, leaves)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            total = linear_puma_loss(student, teacher, weight, labels, chunk_mib=8).total
            torch.cuda.set_sync_debug_mode("error")
            torch.autograd.grad(total, leaves)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(warning.message) for warning in caught if "synchronizing" in str(warning.message)]
    assert len(waits) <= 1, waits


def test_results_repeat_bit_for_bit():
    student, teacher, weight, labels = random_head(130, 128, 51200, torch.bfloat16)
    student.requires_grad_()

    def run():
        loss = linear_puma_loss(student, teacher, weight, labels)
        return (loss.total, *torch.autograd.grad(loss.total, student))

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


def test_offsets_beyond_two_to_the_31():
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of free GPU memory")
    from vkit.kernels.divergence_triton import divergence_rows_ as rows_with_strides

    # Rows 2^28 logits apart: the last begins past 2^31.
    buffer = torch.empty(9 * 2**28 + 5000, device="cuda")
    apart = buffer.as_strided((10, 5000), (2**28, 1))
    student, teacher = torch.randn(2, 10, 5000, device="cuda").unbind()
    labels = torch.arange(10, device="cuda")
    apart.copy_(student)
    found = rows_with_strides(apart, teacher, labels, PAPER, 1.0, True)
    expected = rows_with_strides(student, teacher, labels, PAPER, 1.0, True)
    assert torch.equal(found, expected)
    assert torch.equal(apart, student)


def test_opcheck():
    student, teacher = torch.randn(2, 3, 100, device="cuda").unbind()
    labels = torch.arange(3, device="cuda")
    arguments = (student, teacher, labels, 0.2, 0.1, 1.0, False, None, 0.5, True)
    torch.library.opcheck(torch.ops.vkit.divergence_rows_.default, arguments)
