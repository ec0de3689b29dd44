"""`vkit.kernels.divergence` as its users see it, on whatever code the CPU has, against float64 autograd.

The oracle is written here anew, from the formulae of the paper. The C++ and Triton kernels have files of
tests of their own.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from vkit.kernels import divergence_blocked, divergence_chunks, divergence_rows
from vkit.kernels.divergence import PumaLoss, linear_puma_loss, puma_loss
from vkit.kernels.divergence_reference import linear_puma_loss_reference, puma_loss_reference
from vkit.kernels.divergence_scoring import Divergence

OPTIONS = {
    "paper": {},
    "alpha": {"alpha": 0.7},
    "no divergence": {"lam": 0.0},
    "divergence alone": {"lam": 1.0},
    "temperature": {"temperature": 2.5, "lam": 0.5},
    "standardized": {"standardize": True, "lam": 0.9},
    "softcap": {"softcap": 4.0, "lam": 0.5},
    "everything": {"alpha": 0.4, "lam": 0.6, "temperature": 0.7, "standardize": True, "softcap": 6.0},
    "sum": {"reduction": "sum", "lam": 0.5},
}


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


def make_logits(rows: int, vocabulary: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Student and teacher of a trained model's scale, apart from each other, with outliers; and labels."""
    generator = torch.Generator().manual_seed(seed)
    student = 3 * torch.randn(rows, vocabulary, generator=generator)
    teacher = student + 1.5 * torch.randn(rows, vocabulary, generator=generator)
    student[0, vocabulary // 2] += 20
    teacher[-1, vocabulary // 3] += 15
    return student, teacher, torch.randint(0, vocabulary, (rows,), generator=generator)


def make_head(
    rows: int, vocabulary: int, size: int = 48, dtype: torch.dtype = torch.float32, seed: int = 0
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return (std * torch.randn(*shape, generator=generator)).to(dtype)

    hidden = normal(rows, size)
    return {
        "student_hidden": hidden,
        "teacher_hidden": hidden + 0.3 * normal(rows, size),
        "weight": normal(vocabulary, size, std=3 / math.sqrt(size)),
        "labels": torch.randint(0, vocabulary, (rows,), generator=generator),
        "bias": normal(vocabulary),
    }


def gradients(
    function, tensors: dict[str, Tensor], wanted: list[str], **options
) -> tuple[PumaLoss, list[Tensor]]:
    tensors = {name: x.detach().requires_grad_(name in wanted) for name, x in tensors.items()}
    loss = function(**tensors, **options)
    return loss, list(torch.autograd.grad(loss.total, [tensors[name] for name in wanted]))


def in_float64(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.double() if x.is_floating_point() else x for name, x in tensors.items()}


def norm_error(actual: Tensor, expected: Tensor) -> float:
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


def assert_same_loss(actual: PumaLoss, expected, tolerance: float = 1e-5) -> None:
    for value, exact in zip(actual[:4], expected[:4]):
        assert value.item() == pytest.approx(exact.item(), rel=tolerance, abs=tolerance / 10)


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


def test_a_small_divergence_is_accurate_to_the_last_digits_of_float32():
    student, _, labels = make_logits(3, 51200)
    teacher = student + 1e-3 * torch.randn(student.shape, generator=torch.Generator().manual_seed(1))
    loss = puma_loss(student, teacher, labels)
    expected = oracle(student.double(), teacher.double(), labels)
    for value, exact in zip(loss[1:3], expected[1:3]):
        assert abs(value.item() - exact.item()) < 1e-6


def test_leading_dimensions_and_strides_do_not_matter():
    student, teacher, labels = make_logits(6, 11)
    flat = puma_loss(student, teacher, labels)
    wide = torch.stack([student, teacher], -1)[..., 0].view(2, 3, 11)
    assert not wide.is_contiguous()
    shaped = puma_loss(wide, teacher.view(2, 3, 11), labels.view(2, 3))
    assert torch.equal(shaped.total, flat.total)


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


# With the head ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("chunk_mib", [None, 1e-6, 0.0017], ids=["one chunk", "row by row", "odd chunks"])
def test_loss_and_gradients_of_hidden_states_and_head_agree_with_float64(options, chunk_mib):
    head = make_head(11, 33)
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, chunk_mib=chunk_mib, **options)
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, **options)
    assert_same_loss(loss, expected)
    for grad, exact_grad in zip(grads, exact):
        assert grad.dtype == torch.float32
        assert norm_error(grad, exact_grad) < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-3)])
@pytest.mark.parametrize("vocabulary", [51200, 151936])
def test_real_vocabularies_agree_with_float64(vocabulary, dtype, tolerance):
    head = make_head(6, vocabulary, size=32, dtype=dtype)
    head["labels"][2] = -100
    options = {"lam": 0.5, "chunk_mib": 4 * vocabulary * 8 / 2**20}  # four rows, then one
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, **options)
    del options["chunk_mib"]
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, **options)
    assert_same_loss(loss, expected)
    for grad, exact_grad in zip(grads, exact):
        assert grad.dtype == dtype
        assert norm_error(grad, exact_grad) < tolerance


@pytest.mark.parametrize("hidden_dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("weight_dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_hidden_states_and_head_may_differ_in_dtype(hidden_dtype, weight_dtype, monkeypatch):
    monkeypatch.setattr("vkit.kernels.divergence_head.BLOCK_MIB", 0.01)  # several blocks of the vocabulary
    head = make_head(7, 200)
    dtypes = {"student_hidden": hidden_dtype, "teacher_hidden": torch.float32, "weight": weight_dtype}
    head = {name: x.to(dtypes.get(name, x.dtype)) for name, x in head.items()}
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, lam=0.5)
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, lam=0.5)
    assert_same_loss(loss, expected)
    for name, grad, exact_grad in zip(wanted, grads, exact):
        assert grad.dtype == head[name].dtype
        tolerance = {torch.bfloat16: 3e-3, torch.float16: 5e-4}.get(grad.dtype, 1e-5)
        assert norm_error(grad, exact_grad) < tolerance, name


@pytest.mark.parametrize("ignored", [False, True])
def test_the_teacher_may_have_another_head_and_hidden_size(ignored):
    head = make_head(9, 40)
    other = make_head(9, 40, size=20, seed=1)
    head |= {"teacher_hidden": other["teacher_hidden"], "teacher_weight": other["weight"]}
    head["teacher_bias"] = other["bias"]
    if ignored:
        head["labels"][[0, 4, 5]] = -100
    wanted = ["student_hidden", "weight", "bias"]
    for names in (set(head), set(head) - {"teacher_bias"}):
        tensors = {name: x for name, x in head.items() if name in names}
        loss, grads = gradients(linear_puma_loss, tensors, wanted, lam=0.7, chunk_mib=0.001)
        expected, exact = gradients(linear_puma_loss_reference, in_float64(tensors), wanted, lam=0.7)
        assert_same_loss(loss, expected)
        assert all(norm_error(*pair) < 1e-5 for pair in zip(grads, exact))


def test_the_teacher_gets_no_gradient():
    head = {name: x.requires_grad_(x.is_floating_point()) for name, x in make_head(4, 10).items()}
    teacher_weight = torch.randn(10, 48, requires_grad=True)
    linear_puma_loss(**head, teacher_weight=teacher_weight).total.backward()
    assert teacher_weight.grad is None
    assert head["teacher_hidden"].grad is None
    assert head["weight"].grad is not None


def test_without_divergence_it_is_a_linear_cross_entropy():
    head = make_head(8, 25)
    head["labels"][1] = -100
    loss, grads = gradients(linear_puma_loss, head | {}, ["student_hidden", "weight"], lam=0.0)
    alone = {name: x for name, x in head.items() if name != "teacher_hidden"}

    def cross_entropy(student_hidden, weight, labels, bias):
        return linear_puma_loss(student_hidden, None, weight, labels, bias=bias, lam=0.0)

    without, other_grads = gradients(cross_entropy, alone, ["student_hidden", "weight"])
    expected = torch.nn.functional.cross_entropy(
        head["student_hidden"] @ head["weight"].T + head["bias"], head["labels"]
    )
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert without.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.kl_student_teacher > 0.01  # reported, though it weighs nothing
    assert [x.item() for x in without[1:3]] == [0, 0]
    assert all(norm_error(*pair) < 1e-5 for pair in zip(grads, other_grads))


# Cost ---------------------------------------------------------------------------------------------------


class Observed(TorchDispatchMode):
    """What ran: how many matrix products, and the most elements that a new tensor had."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name
        self.products += name in ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::matmul")
        given = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, Tensor)]
        memory = {x.untyped_storage().data_ptr() for x in given}
        if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in memory:
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize(
    ("wanted", "products"),
    [([], 1), (["student_hidden"], 2), (["weight"], 2), (["student_hidden", "weight"], 3), (["bias"], 1)],
)
def test_only_the_products_that_are_needed_are_computed(wanted, products):
    """A common head is multiplied once for student and teacher; a frozen one has no gradient."""
    head = {name: x.requires_grad_(name in wanted) for name, x in make_head(6, 30).items()}
    with Observed() as seen:
        linear_puma_loss(**head)
    assert seen.products == products


def test_no_grad_computes_the_loss_alone():
    head = {name: x.requires_grad_(x.is_floating_point()) for name, x in make_head(6, 30).items()}
    with torch.no_grad(), Observed() as seen:
        loss = linear_puma_loss(**head)
    assert seen.products == 1
    assert not loss.total.requires_grad
    assert loss.total.item() == pytest.approx(linear_puma_loss(**head).total.item(), rel=1e-6)


def test_memory_is_that_of_a_chunk_and_not_of_all_logits():
    rows, vocabulary = 64, 2000
    head = make_head(rows, vocabulary, size=16)
    head["student_hidden"].requires_grad_()
    with Observed() as seen:
        loss = linear_puma_loss(**head, chunk_mib=2 * 4 * 5 * vocabulary / 2**20)
        loss.total.backward()
    assert seen.largest <= 2 * 5 * vocabulary
    assert seen.products == 2 * math.ceil(rows / 5)


def test_ignored_rows_are_not_multiplied():
    head = make_head(64, 100)
    head["labels"][1:] = -100
    with Observed() as seen:
        linear_puma_loss(**head)
    assert seen.largest <= 2 * 100


def test_a_half_precision_head_is_never_copied_whole():
    head = make_head(4, 40_000, size=128, dtype=torch.bfloat16)
    head["student_hidden"].requires_grad_()
    with Observed() as seen:
        linear_puma_loss(**head).total.backward()
    assert seen.largest < head["weight"].numel()


# As part of training ------------------------------------------------------------------------------------


def test_gradient_is_scaled_by_what_follows_and_may_be_taken_twice():
    head = make_head(5, 20)
    hidden = head["student_hidden"].requires_grad_()
    loss = linear_puma_loss(**head)
    once = torch.autograd.grad(loss.total, hidden, retain_graph=True)[0]
    scaled = torch.autograd.grad(-3 * loss.total, hidden, retain_graph=True)[0]
    assert norm_error(scaled, -3 * once) < 1e-6
    assert torch.equal(torch.autograd.grad(loss.total, hidden)[0], once)


def test_a_loss_scale_reaches_float16_before_rounding():
    head = {name: x.half() if x.is_floating_point() else x for name, x in make_head(5, 3000).items()}
    hidden = head["student_hidden"] = head["student_hidden"].requires_grad_()
    _, (exact,) = gradients(linear_puma_loss_reference, in_float64(head), ["student_hidden"])
    loss = linear_puma_loss(**head).total * 1e-7
    (scaled,) = torch.autograd.grad(loss * 1e7, hidden)
    assert norm_error(scaled, exact) < 1e-3


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_nothing(reentrant):
    head = make_head(5, 20)
    hidden, weight = head.pop("student_hidden").requires_grad_(), head.pop("weight").requires_grad_()

    def run(hidden, weight):
        return linear_puma_loss(hidden, head["teacher_hidden"], weight, head["labels"]).total

    expected = torch.autograd.grad(run(hidden, weight), (hidden, weight))
    checkpoint(run, hidden, weight, use_reentrant=reentrant).backward()
    assert torch.equal(hidden.grad, expected[0])
    assert torch.equal(weight.grad, expected[1])


def test_a_head_tied_to_the_embedding_gets_both_gradients():
    embedding = torch.nn.Embedding(30, 16)
    words, teacher = torch.tensor([3, 7, 29]), torch.randn(3, 16)
    linear_puma_loss(embedding(words), teacher, embedding.weight, words).total.backward()
    leaf = embedding.weight.detach().double().requires_grad_()
    linear_puma_loss_reference(leaf[words], teacher.double(), leaf, words).total.backward()
    assert norm_error(embedding.weight.grad, leaf.grad) < 1e-5


def test_steps_accumulate():
    head = make_head(8, 20)
    head["weight"].requires_grad_()
    for half in (slice(0, 4), slice(4, 8)):
        rows = {name: head[name][half] for name in ("student_hidden", "teacher_hidden", "labels")}
        linear_puma_loss(**(head | rows), reduction="sum").total.backward()
    accumulated, head["weight"].grad = head["weight"].grad, None
    linear_puma_loss(**head, reduction="sum").total.backward()
    assert norm_error(accumulated, head["weight"].grad) < 1e-6


def test_autocast_does_not_round_the_logits():
    head = make_head(6, 50)
    plain, expected = gradients(linear_puma_loss, head, ["student_hidden"])
    with torch.autocast("cpu", torch.bfloat16):
        loss, grads = gradients(linear_puma_loss, head, ["student_hidden"])
    assert torch.equal(loss.total, plain.total)
    assert torch.equal(grads[0], expected[0])


def test_results_do_not_depend_on_the_rest_of_the_batch():
    head = make_head(7, 60)
    rows = {name: head[name][:3] for name in ("student_hidden", "teacher_hidden", "labels")}
    whole = linear_puma_loss(**head, reduction="sum", chunk_mib=1e-6)
    rest = {name: head[name][3:] for name in rows}
    parts = [linear_puma_loss(**(head | half), reduction="sum") for half in (rows, rest)]
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-6)


def test_parts_and_teacher_carry_no_gradient_and_second_derivatives_are_refused():
    head = make_head(3, 10)
    hidden = head["student_hidden"].requires_grad_()
    loss = linear_puma_loss(**head)
    assert not any(part.requires_grad for part in loss[1:4])
    (grad,) = torch.autograd.grad(loss.total * hidden.sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_torch_compile_gives_the_same():
    head = make_head(6, 40)
    hidden = head.pop("student_hidden").requires_grad_()

    def run(hidden):
        return linear_puma_loss(hidden * 2, head["teacher_hidden"], head["weight"], head["labels"]).total

    expected = torch.autograd.grad(run(hidden), hidden)[0]
    compiled = torch.compile(run, backend="aot_eager")
    assert norm_error(torch.autograd.grad(compiled(hidden), hidden)[0], expected) < 1e-6


@pytest.mark.parametrize("standardize", [False, True])
def test_gradients_pass_gradcheck(standardize):
    head = in_float64(make_head(3, 7, size=4))
    options = dict(standardize=standardize, temperature=1.5, softcap=5.0, lam=0.6)

    def total(hidden, weight, bias):
        tensors = head | {"student_hidden": hidden, "weight": weight, "bias": bias}
        return linear_puma_loss(
            **tensors, teacher_weight=head["weight"], teacher_bias=head["bias"], **options
        ).total

    leaves = [head[name].clone().requires_grad_() for name in ("student_hidden", "weight", "bias")]
    assert torch.autograd.gradcheck(total, leaves)


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
    monkeypatch.setattr(divergence_rows, "divergence_implementation", lambda device, dtype: "pytorch")
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
