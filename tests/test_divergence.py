"""`vkit.kernels.divergence.puma_loss` as its users see it, on whatever code the CPU has, against float64.

The oracle is written here anew, from the formulae of the paper. What goes through a head is in
test_divergence_head.py; the C++ and Triton kernels have files of tests of their own.
"""

from __future__ import annotations

import math

import pytest
import torch
from divergence_cases import OPTIONS, assert_same_loss, gradients, make_head, make_logits, norm_error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vkit.kernels import divergence_blocked, divergence_chunks
from vkit.kernels.divergence import linear_puma_loss, puma_loss
from vkit.kernels.divergence_reference import puma_loss_reference
from vkit.kernels.divergence_scoring import Divergence


def oracle(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 0.2,
    lam: float = 0.1,
    temperature: float = 1.0,
    standardize: bool = False,
    softcap: float | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Total and parts, from the formulae; every row counts. Autograd does the rest."""
    if softcap is not None:
        student, teacher = (softcap * torch.tanh(z / softcap) for z in (student, teacher))
    s, t = student, teacher.detach()
    if standardize:
        s, t = ((z - z.mean(-1, keepdim=True)) / (z.std(-1, keepdim=True) + 1e-6) for z in (s, t))
    log_p, log_q = (z / temperature - torch.logsumexp(z / temperature, -1, keepdim=True) for z in (s, t))
    student_to_teacher = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    teacher_to_student = torch.nn.functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)
    cross_entropy = torch.nn.functional.cross_entropy(student, labels, reduction="none")
    rows = lam * temperature**2 * (alpha * student_to_teacher + (1 - alpha) * teacher_to_student)
    rows = rows + (1 - lam) * cross_entropy
    reduce = torch.Tensor.mean if reduction == "mean" else torch.Tensor.sum
    return tuple(reduce(x) for x in (rows, student_to_teacher, teacher_to_student, cross_entropy))


# The loss of given logits -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("vocabulary", [2, 7, 33, 1000])
def test_loss_and_gradient_of_logits_agree_with_float64(options, vocabulary):
    student, teacher, labels = make_logits(5, vocabulary)
    leaf, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    loss = puma_loss(leaf, teacher, labels, **options)
    expected = oracle(exact, teacher.double(), labels, **options)
    assert_same_loss(loss, expected)
    (grad,), (exact_grad,) = torch.autograd.grad(loss.total, leaf), torch.autograd.grad(expected[0], exact)
    assert norm_error(grad, exact_grad) < 1e-5
    assert (loss.total.dtype, grad.dtype, loss.num_tokens) == (torch.float32, torch.float32, 5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_plain_definition_is_that_of_the_paper(options):
    student, teacher, labels = (x.double() if x.is_floating_point() else x for x in make_logits(4, 19))
    leaf, other = student.clone().requires_grad_(), student.clone().requires_grad_()
    loss, expected = (
        puma_loss_reference(leaf, teacher, labels, **options),
        oracle(other, teacher, labels, **options),
    )
    assert_same_loss(loss, expected, 1e-12)
    grads = torch.autograd.grad(loss.total, leaf)[0], torch.autograd.grad(expected[0], other)[0]
    assert norm_error(*grads) < 1e-12


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 5),
    vocabulary=st.integers(1, 70),
    alpha=st.floats(0, 1),
    lam=st.floats(0, 1),
    temperature=st.floats(0.3, 4),
    standardize=st.booleans(),
    softcap=st.none() | st.floats(1, 30),
    offset=st.sampled_from([0.0, -300.0]),
    seed=st.integers(0, 1000),
)
def test_any_logits_and_options_agree_with_the_definition(
    rows, vocabulary, alpha, lam, temperature, standardize, softcap, offset, seed
):
    student, teacher, labels = make_logits(rows, vocabulary, seed)
    student = student + (offset if softcap is None else 0)
    options = dict(alpha=alpha, lam=lam, temperature=temperature, standardize=standardize, softcap=softcap)
    leaf, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    loss = puma_loss(leaf, teacher, labels, **options)
    expected = puma_loss_reference(exact, teacher.double(), labels, **options)
    assert_same_loss(loss, expected)
    (grad,), (exact_grad,) = torch.autograd.grad(loss.total, leaf), torch.autograd.grad(expected.total, exact)
    assert (grad - exact_grad).norm() < 2e-5 * exact_grad.norm() + 1e-6


def test_alpha_weighs_the_divergence_of_the_student_from_the_teacher():
    """Of two hand-made distributions, p = (1/2, 1/2) and q = (1/4, 3/4)."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    student_to_teacher = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    teacher_to_student = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    loss = puma_loss(student, teacher, torch.tensor([0]), alpha=1.0, lam=1.0)
    assert loss.total.item() == pytest.approx(student_to_teacher, rel=1e-5)
    assert loss.kl_student_teacher.item() == pytest.approx(student_to_teacher, rel=1e-5)
    assert loss.kl_teacher_student.item() == pytest.approx(teacher_to_student, rel=1e-5)
    loss = puma_loss(student, teacher, torch.tensor([0]), alpha=0.0, lam=1.0)
    assert loss.total.item() == pytest.approx(teacher_to_student, rel=1e-5)


def test_the_released_codes_second_temperature_factor_is_had_as_documented():
    student, teacher, labels = make_logits(4, 30)
    lam, tau = 0.3, 1.7
    parts = puma_loss(student, teacher, labels, lam=lam, temperature=tau, alpha=0.5)
    released = lam * tau**4 * 0.5 * (parts.kl_student_teacher + parts.kl_teacher_student)
    released += (1 - lam) * parts.cross_entropy
    whole = 1 - lam + lam * tau**2
    loss = puma_loss(student, teacher, labels, lam=lam * tau**2 / whole, temperature=tau, alpha=0.5)
    assert (whole * loss.total).item() == pytest.approx(released.item(), rel=1e-5)


def test_identical_logits_do_not_diverge():
    student, _, labels = make_logits(3, 51200)
    for options in ({}, {"standardize": True}, {"temperature": 0.5, "softcap": 30.0}):
        leaf = student.clone().requires_grad_()
        loss = puma_loss(leaf, student.clone(), labels, lam=1.0, **options)
        assert abs(loss.kl_student_teacher) < 1e-6
        assert abs(loss.kl_teacher_student) < 1e-6
        assert torch.autograd.grad(loss.total, leaf)[0].norm() < 1e-6


@pytest.mark.parametrize("extension", [True, False], ids=["with the extension", "without"])
def test_a_small_divergence_is_accurate_to_the_last_digits_of_float32(extension, monkeypatch):
    if not extension:
        monkeypatch.setattr(divergence_chunks, "divergence_rows_", divergence_blocked.divergence_rows_)
    student, _, labels = make_logits(3, 51200)
    teacher = student + 1e-3 * torch.randn(student.shape, generator=torch.Generator().manual_seed(1))
    loss = puma_loss(student, teacher, labels)
    expected = oracle(student.double(), teacher.double(), labels)
    for value, exact in zip(loss[1:3], expected[1:3]):
        assert abs(value.item() - exact.item()) < 2**-23  # of a divergence of 3e-7


def test_leading_dimensions_and_strides_do_not_matter():
    student, teacher, labels = make_logits(6, 11)
    flat = puma_loss(student, teacher, labels)
    wide = torch.stack([student, teacher], -1)[..., 0].view(2, 3, 11)
    assert not wide.is_contiguous()
    shaped = puma_loss(wide, teacher.view(2, 3, 11), labels.view(2, 3))
    assert torch.equal(shaped.total, flat.total)


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32]
)
def test_labels_may_be_any_integers(dtype):
    """Though neither the vocabulary nor ``ignore_index`` may be among the numbers of their dtype."""
    student, teacher, _ = make_logits(3, 300)
    labels = torch.tensor([0, 100, 44])  # 300 less 256
    expected = puma_loss(student, teacher, labels)
    loss = puma_loss(student, teacher, labels.to(dtype))
    assert torch.equal(loss.total, expected.total)
    far = puma_loss(student, teacher, labels.to(dtype), ignore_index=100 - 2**32)  # not 100 again
    assert far.num_tokens == 3


def test_one_label_may_be_expanded_to_all_rows():
    student, teacher, labels = make_logits(4, 10)
    expanded = labels[:1].expand(4)
    expected = puma_loss(student, teacher, expanded.clone())
    assert torch.equal(puma_loss(student, teacher, expanded).total, expected.total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_given_is_left_as_it_is(dtype):
    """The gradient takes the place of logits, but never of the caller's."""
    given = [x.to(dtype) if x.is_floating_point() else x for x in make_logits(4, 30)]
    before = [x.clone() for x in given]
    given[0].requires_grad_()
    puma_loss(*given, lam=0.5).total.backward()
    assert all(torch.equal(x, y) for x, y in zip(given, before))


def test_half_precision_logits_are_read_exactly():
    student, teacher, labels = make_logits(4, 300)
    for dtype, tolerance in ((torch.bfloat16, 3e-3), (torch.float16, 1e-3)):
        leaf = student.to(dtype).requires_grad_()
        exact = leaf.detach().double().requires_grad_()
        loss = puma_loss(leaf, teacher.to(dtype), labels)
        expected = oracle(exact, teacher.to(dtype).double(), labels)
        assert_same_loss(loss, expected)
        (grad,) = torch.autograd.grad(loss.total, leaf)
        assert grad.dtype == dtype
        assert norm_error(grad, torch.autograd.grad(expected[0], exact)[0]) < tolerance


# Infinities and rows that do not count ------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("huge", [math.inf, -math.inf, 3e38, -3e38, 1e20])
def test_no_logits_but_nan_make_nan(options, huge):
    for place in ("student", "teacher", "both", "whole row"):
        student, teacher, labels = make_logits(4, 9)
        labels[0], labels[1] = 3, 4
        if place != "teacher":
            student[0, 3] = student[1, 3] = student[1, 5] = huge
        if place != "student":
            teacher[0, 3] = teacher[2, 5] = teacher[1, 6] = huge
        if place == "whole row":
            student[2], teacher[3] = huge, huge
        leaf = student.requires_grad_()
        loss = puma_loss(leaf, teacher, labels, **options)
        (grad,) = torch.autograd.grad(loss.total, leaf)
        assert all(x.isfinite() for x in loss[:4]), place
        assert grad.isfinite().all(), place


def test_words_that_nobody_may_say_change_nothing():
    """Logits of -inf, as padding of a vocabulary has them."""
    student, teacher, labels = make_logits(4, 50)
    pad = torch.full((4, 14), -math.inf)
    leaf = torch.cat([student, pad], 1).requires_grad_()
    loss = puma_loss(leaf, torch.cat([teacher, pad], 1), labels)
    exact = student.double().requires_grad_()
    expected = oracle(exact, teacher.double(), labels)
    assert_same_loss(loss, expected)
    (grad,) = torch.autograd.grad(loss.total, leaf)
    assert grad[:, 50:].count_nonzero() == 0
    assert norm_error(grad[:, :50], torch.autograd.grad(expected[0], exact)[0]) < 1e-5


def test_nan_is_not_hidden():
    for side in (0, 1):
        logits = list(make_logits(3, 9))
        logits[side][1, 4] = math.nan
        loss = puma_loss(*logits, lam=0.5)
        assert loss.total.isnan()
        logits[2][1] = -100  # but it does not count where the row does not
        assert puma_loss(*logits, lam=0.5).total.isfinite()


def test_ignored_rows_count_in_no_part():
    student, teacher, labels = make_logits(6, 12)
    ignored = labels.clone()
    ignored[[0, 3]] = 7_000
    leaf = student.clone().requires_grad_()
    loss = puma_loss(leaf, teacher, ignored, ignore_index=7_000)
    kept = [1, 2, 4, 5]
    assert_same_loss(loss, puma_loss(student[kept], teacher[kept], labels[kept]), 1e-6)
    assert loss.num_tokens == 4
    grad = torch.autograd.grad(loss.total, leaf)[0]
    assert grad[[0, 3]].count_nonzero() == 0
    assert (grad[kept].abs().sum(1) > 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [0, 3])
def test_no_row_that_counts_gives_zero_and_zero_gradients(reduction, rows):
    head = make_head(rows, 20)
    head["labels"] = torch.full((rows,), -100)
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, reduction=reduction)
    assert [x.item() for x in loss[:4]] == [0, 0, 0, 0]
    assert loss.num_tokens == 0
    for name, grad in zip(wanted, grads):
        assert grad.shape == head[name].shape
        assert grad.count_nonzero() == 0
    leaf = torch.randn(rows, 20, requires_grad=True)
    loss = puma_loss(leaf, torch.randn(rows, 20), head["labels"], reduction=reduction)
    assert loss.total.item() == 0
    assert torch.autograd.grad(loss.total, leaf)[0].count_nonzero() == 0


# Operator


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_teacher", [True, False])
def test_the_operator_keeps_the_rules_of_custom_operators(dtype, with_teacher):
    student, teacher, labels = make_logits(3, 10)
    arguments = (student.to(dtype), teacher.to(dtype) if with_teacher else None, labels)
    options = (0.2, 0.1 if with_teacher else 0.0, 1.0, False, None, 0.5, True)
    torch.library.opcheck(torch.ops.vkit.divergence_rows_, (*arguments, *options))


# The plain PyTorch path ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_without_the_extension_results_are_as_accurate(options, monkeypatch):
    monkeypatch.setattr(divergence_chunks, "divergence_rows_", divergence_blocked.divergence_rows_)
    monkeypatch.setattr(divergence_blocked, "BLOCK_MIB", 0.01)  # several blocks
    student, teacher, labels = make_logits(7, 1000)
    leaf, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    loss = puma_loss(leaf, teacher, labels, **options)
    expected = oracle(exact, teacher.double(), labels, **options)
    assert_same_loss(loss, expected)
    grads = torch.autograd.grad(loss.total, leaf)[0], torch.autograd.grad(expected[0], exact)[0]
    assert norm_error(*grads) < 1e-5


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("huge", [math.inf, -math.inf, 3e38])
def test_without_the_extension_no_logits_but_nan_make_nan(options, huge):
    student, teacher, labels = make_logits(4, 9)
    student[0, 3] = student[1, 5] = teacher[0, 3] = teacher[2, 5] = huge
    student[3] = huge
    labels[0] = 3
    scoring = Divergence(
        *(
            options.get(name, default)
            for name, default in [("alpha", 0.2), ("lam", 0.1), ("temperature", 1.0)]
        ),
        options.get("standardize", False),
        options.get("softcap"),
    )
    parts = divergence_blocked.divergence_rows_(student, teacher, labels, scoring, 1.0, True)
    assert parts.isfinite().all()
    assert student.isfinite().all()
    assert student[0, 3] == student[1, 5] == 0  # the clamp's slope


@pytest.mark.parametrize("vocabulary", [1, 6])
def test_without_the_extension_equal_logits_have_no_deviation_and_no_nan(vocabulary):
    student, scoring = torch.full((2, vocabulary), 3.0), Divergence(0.2, 0.5, 1.0, True, None)
    labels = torch.zeros(2, dtype=torch.long)
    parts = divergence_blocked.divergence_rows_(student, student.clone(), labels, scoring, 1.0, True)
    assert parts.isfinite().all()
    assert student.isfinite().all()


# Refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.1}, r"alpha must be in 0\.\.1; got 1\.1"),
        ({"lam": -0.1}, r"lam must be in 0\.\.1; got -0\.1"),
        ({"lam": math.nan}, "lam must be in"),
        ({"temperature": 0.0}, "temperature must be in"),
        ({"softcap": 0.0}, "softcap must be a positive number"),
        ({"reduction": "none"}, "reduction must be 'mean' or 'sum'; got 'none'"),
        ({"chunk_mib": 0}, "chunk_mib must be a positive number"),
        ({"chunk_mib": math.inf}, "chunk_mib must be a positive number; got inf"),
        ({"labels": torch.tensor([1, 2, 10, -100])}, r"labels must be in 0\.\.9 .* row 2 has 10"),
        ({"labels": torch.tensor([1, -1, 3, -100])}, "row 1 has -1"),
        ({"labels": torch.ones(3, dtype=torch.long)}, r"labels must be integers \(4,\)"),
        ({"labels": torch.ones(4)}, "labels must be integers"),
        ({"student_hidden": torch.randn(4, 5)}, r"weight must be floating point \(V, 5\)"),
        ({"student_hidden": torch.randn(2, 2, 48)}, r"student_hidden must be floating point \(N, D\)"),
        ({"teacher_hidden": torch.randn(3, 48)}, r"teacher_hidden must be floating point \(4, D\)"),
        ({"teacher_hidden": torch.randn(4, 6)}, "give teacher_weight"),
        ({"teacher_hidden": None}, "teacher_hidden may be None only with lam=0"),
        (
            {"teacher_hidden": None, "lam": 0.0, "teacher_weight": torch.randn(10, 48)},
            "without teacher_hidden",
        ),
        ({"teacher_weight": torch.randn(11, 48)}, "one vocabulary; got 11 and 10"),
        ({"teacher_bias": torch.randn(10)}, "teacher_bias was given without teacher_weight"),
        ({"bias": torch.randn(11)}, r"bias must be floating point \(10,\)"),
        ({"weight": torch.ones(10, 48, dtype=torch.int64)}, "weight must be floating point"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_clear_line(change, message):
    with pytest.raises(ValueError, match=message) as refusal:
        linear_puma_loss(**(make_head(4, 10) | change))
    assert "\n" not in str(refusal.value)


def test_logits_that_do_not_fit_are_refused():
    student, teacher, labels = make_logits(4, 10)
    with pytest.raises(ValueError, match=r"teacher_logits must be floating point \(4, 10\)"):
        puma_loss(student, teacher[:, :9], labels)
    with pytest.raises(ValueError, match="teacher_logits may be None only with lam=0"):
        puma_loss(student, None, labels)
    with pytest.raises(ValueError, match=r"student_logits must be floating point \(\.\.\., V\)"):
        puma_loss(student.long(), teacher, labels)


def test_one_row_is_taken_however_small_the_budget():
    slices = list(divergence_chunks._chunks(3, 10**6, torch.float32, True, 1e-9, torch.empty(0)))
    assert slices == [slice(0, 1), slice(1, 2), slice(2, 3)]
