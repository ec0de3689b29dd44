"""The Triton kernel of the divergence against its definition, run in Triton's interpreter on CPU tensors.

    TRITON_INTERPRET=1 python -m pytest tests/interpreter_divergence.py

`tests/test_divergence_triton.py` runs this file in a process of its own, because the kernel must be told to
be interpreted before it is imported. The oracle is float64 autograd, written here.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from vkit.kernels import divergence_rows, divergence_triton
from vkit.kernels.divergence import linear_puma_loss, puma_loss
from vkit.kernels.divergence_scoring import Divergence
from vkit.kernels.divergence_triton import RowTile

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs TRITON_INTERPRET=1")
SMALL = RowTile(tall=2, wide=16, warps=4, stages=1)
DEFAULTS = dict(alpha=0.2, lam=0.1, temperature=1.0, standardize=False, softcap=None)
OPTIONS = [
    dict(),
    dict(alpha=0.0, lam=1.0),
    dict(alpha=1.0, lam=1.0),
    dict(alpha=0.7, lam=0.5, temperature=3.0),
    dict(alpha=0.4, lam=0.6, temperature=0.5),
    dict(lam=0.0),
    dict(softcap=5.0, lam=0.5),
    dict(softcap=30.0, lam=0.5, temperature=2.0),
    dict(standardize=True, lam=0.9),
    dict(standardize=True, lam=1.0, alpha=0.7, temperature=2.0),
    dict(standardize=True, lam=0.5, temperature=0.25, softcap=8.0),
]


def oracle(student, teacher, labels, *, alpha, lam, temperature, standardize, softcap):
    """Parts (N, 3) and the gradient of the sum of the rows' losses, in float64."""
    leaf = student.double().requires_grad_()

    def cap(logits):
        logits = logits.clamp(-1e30, 1e30)
        return logits if softcap is None else softcap * torch.tanh(logits / softcap)

    def score(logits):
        if not standardize:
            return logits
        return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + 1e-6)

    logits = cap(leaf)
    hard = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    if teacher is None:
        weak = strong = torch.zeros_like(hard)
    else:
        log_p = (score(logits) / temperature).log_softmax(-1)
        log_q = (score(cap(teacher.double())) / temperature).log_softmax(-1)
        weak = (log_p.exp() * (log_p - log_q)).sum(-1)
        strong = (log_q.exp() * (log_q - log_p)).sum(-1)
    loss = lam * temperature**2 * (alpha * weak + (1 - alpha) * strong) + (1 - lam) * hard
    (grad,) = torch.autograd.grad(loss.sum(), leaf)
    return torch.stack([weak, strong, hard], -1).detach(), grad


def relative(actual, expected):
    assert actual.isfinite().all()
    return ((actual.double() - expected).norm() / expected.norm().clamp(min=1e-30)).item()


def random_rows(num_rows: int, vocabulary: int, scale: float = 3.0):
    student, teacher = torch.randn(2, num_rows, vocabulary).mul(scale).unbind()
    student[:, vocabulary // 2] += 4 * scale  # a word that both deem likely
    teacher[:, vocabulary // 2] += 4 * scale
    return student, teacher, torch.randint(vocabulary, (num_rows,))


def check(student, teacher, labels, *, tile=SMALL, tolerance=1e-5, scale=0.37, **given: Any) -> None:
    """Parts and gradient against the oracle; teacher untouched; without a gradient, student too."""
    options = DEFAULTS | given
    scoring = Divergence(**options)
    parts, grad = oracle(student, teacher, labels, **options)
    work, beside = student.clone(), None if teacher is None else teacher.clone()
    found = divergence_triton.divergence_rows_(work, beside, labels, scoring, scale, False, tile=tile)
    assert torch.equal(work, student)
    again = divergence_triton.divergence_rows_(work, beside, labels, scoring, scale, True, tile=tile)
    assert torch.equal(found, again)
    assert teacher is None or torch.equal(beside, teacher)
    error = (found.double() - parts).abs() / parts.abs().clamp(min=0.1)
    assert error.max() <= tolerance, f"parts are off by {error.max():.2e}"
    error = relative(work, scale * grad)
    assert error <= tolerance, f"gradient is off by {error:.2e}"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("vocabulary", [64, 150])
def test_parts_and_gradient_are_those_of_autograd_in_float64(vocabulary, options):
    check(*random_rows(2, vocabulary), **options)


@pytest.mark.parametrize("tile", [RowTile(1, 16, 4, 1), RowTile(4, 8, 4, 1), RowTile(1, 256, 4, 1)], ids=str)
@pytest.mark.parametrize("vocabulary", [2, 7, 31, 32, 33])
def test_any_vocabulary_with_any_tile(vocabulary, tile):
    for standardize in (False, True):
        check(*random_rows(2, vocabulary, scale=0.3), tile=tile, standardize=standardize, lam=0.6)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_vocabulary_of_one_has_nothing_to_learn(standardize):
    student, labels = torch.randn(3, 1), torch.zeros(3, dtype=torch.int64)
    scoring = Divergence(**DEFAULTS | dict(standardize=standardize))
    parts = divergence_triton.divergence_rows_(
        student, torch.randn(3, 1), labels, scoring, 1.0, True, tile=SMALL
    )
    assert not parts.any()
    assert not student.any()


@pytest.mark.parametrize("vocabulary", [51200, 151936])
@pytest.mark.parametrize("standardize", [False, True])
def test_vocabularies_of_models_with_the_tiles_of_the_table(vocabulary, standardize):
    student, teacher, labels = random_rows(1, vocabulary)
    tile = divergence_triton.row_tile(vocabulary)
    check(student, teacher, labels, tile=tile, standardize=standardize, lam=0.5)


@pytest.mark.parametrize("softcap", [None, 4.0])
def test_without_a_teacher_it_is_cross_entropy(softcap):
    student, _, labels = random_rows(4, 100)
    check(student, None, labels, lam=0.0, softcap=softcap)
    # Temperature and z-score are the divergences', of which there are none.
    check(student, None, labels, lam=0.0, softcap=softcap, temperature=2.0, standardize=True)


def test_rows_may_lie_any_stride_apart():
    storage, teacher_storage = torch.randn(5, 130), torch.randn(5, 97)
    before = storage.clone()
    student, teacher = storage[:, 7:77], teacher_storage[:, 3:73]
    labels = torch.randint(70, (5,))
    _, grad = oracle(student, teacher, labels, **DEFAULTS)
    divergence_triton.divergence_rows_(
        student, teacher, labels, Divergence(**DEFAULTS), 1.0, True, tile=SMALL
    )
    assert relative(student, grad) <= 1e-5
    assert torch.equal(storage[:, :7], before[:, :7])
    assert torch.equal(storage[:, 77:], before[:, 77:])


def test_logits_whose_words_are_not_neighbours_are_refused():
    student, teacher, labels = random_rows(4, 6)
    with pytest.raises(ValueError, match="teacher must have contiguous rows"):
        divergence_triton.divergence_rows_(
            student, teacher.mT.contiguous().mT, labels, Divergence(**DEFAULTS), 1.0, True, tile=SMALL
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_gradient_can_go_elsewhere_in_another_dtype(dtype):
    student, teacher, labels = random_rows(4, 100)
    before, out = student.clone(), torch.full((4, 120), 7.0, dtype=dtype)
    _, grad = oracle(student, teacher, labels, **DEFAULTS)
    divergence_triton.divergence_rows_(
        student, teacher, labels, Divergence(**DEFAULTS), 1.0, True, out=out[:, :100], tile=SMALL
    )
    assert relative(out[:, :100], grad) <= (1e-5 if dtype == torch.float32 else 1e-3)
    assert torch.equal(student, before)
    assert (out[:, 100:] == 7).all()


def test_the_scale_may_be_a_tensor():
    student, teacher, labels = random_rows(3, 50)
    _, grad = oracle(student, teacher, labels, **DEFAULTS)
    scale = torch.tensor(-2.5)
    divergence_triton.divergence_rows_(
        student, teacher, labels, Divergence(**DEFAULTS), scale, True, tile=SMALL
    )
    assert relative(student, -2.5 * grad) <= 1e-5


def test_large_logits_and_outliers_keep_their_digits():
    student, teacher, labels = random_rows(4, 300, scale=30.0)
    student[:, 3] += 500.0
    teacher[1:, 5] -= 3000.0
    for options in (dict(lam=0.5), dict(lam=0.5, standardize=True), dict(lam=0.5, softcap=20.0)):
        check(student, teacher, labels, tile=RowTile(tall=1, wide=128, warps=4, stages=1), **options)


def test_a_z_score_of_logits_far_from_zero_is_exact():
    # The squares' sum less the square of the sum would have no digit left of the deviation, 1e-2.
    student, teacher, labels = random_rows(4, 300, scale=1e-2)
    check(student + 4096.0, teacher - 1024.0, labels, standardize=True, lam=1.0)


def test_the_divergences_of_nearly_equal_rows_are_absolutely_exact():
    student, _, labels = random_rows(4, 1000)
    tile = RowTile(tall=2, wide=128, warps=4, stages=1)
    for options in (dict(), dict(temperature=0.5), dict(standardize=True), dict(softcap=30.0)):
        for distance in (0.0, 1e-3):
            teacher = student + distance * torch.randn_like(student)
            expected, _ = oracle(student, teacher, labels, **DEFAULTS | options)
            found = divergence_triton.divergence_rows_(
                student, teacher, labels, Divergence(**DEFAULTS | options), 1.0, False, tile=tile
            )
            error = (found[:, :2] - expected[:, :2]).abs().max().item()
            assert error <= 1e-6, f"{options}, {distance}: {error:.2e}"


@pytest.mark.parametrize("options", [dict(), dict(standardize=True), dict(softcap=9.0)], ids=str)
def test_infinities_count_as_the_limit_and_never_make_nan(options):
    student, teacher, labels = random_rows(6, 70)
    infinity = float("inf")
    student[0, 3], student[1, 3], student[2] = infinity, -infinity, -infinity
    teacher[1, 3], teacher[3, 3], teacher[4] = -infinity, infinity, infinity
    student[5, :30], teacher[5, 10:33] = -infinity, -infinity
    labels[:] = 50
    parts, grad = oracle(student, teacher, labels, **DEFAULTS | options)
    work = student.clone()
    found = divergence_triton.divergence_rows_(
        work, teacher, labels, Divergence(**DEFAULTS | options), 1.0, True, tile=SMALL
    )
    assert found.isfinite().all()
    assert work.isfinite().all()
    assert not work[student.isinf()].any()
    torch.testing.assert_close(found.double(), parts, rtol=1e-5, atol=1e-5)
    for actual, expected in zip(work, grad, strict=True):
        # Not where differences of 1e30 cancel, nor where the oracle's own deviation has no derivative.
        if expected.norm() < 1e10:
            assert (actual - expected).norm() <= 1e-5 * expected.norm().clamp(min=1e-4)


def test_equal_logits_have_no_deviation_to_learn():
    student, teacher, labels = torch.full((2, 50), 3.7), torch.randn(2, 50), torch.tensor([0, 49])
    scoring = Divergence(**DEFAULTS | dict(standardize=True, lam=0.0))
    expected = student.softmax(-1) - torch.nn.functional.one_hot(labels, 50)
    parts = divergence_triton.divergence_rows_(student, teacher, labels, scoring, 1.0, True, tile=SMALL)
    assert parts.isfinite().all()
    torch.testing.assert_close(student, expected)


@pytest.mark.parametrize("standardize", [False, True])
def test_nan_shows_in_its_row_and_in_no_other(standardize):
    student, teacher, labels = random_rows(4, 70)
    labels[:] = 1
    student[1, 69] = float("nan")
    teacher[2, 3] = float("nan")
    parts = divergence_triton.divergence_rows_(
        student,
        teacher,
        labels,
        Divergence(**DEFAULTS | dict(standardize=standardize)),
        1.0,
        True,
        tile=SMALL,
    )
    assert parts[1].isnan().all()
    assert parts[2, :2].isnan().all()
    assert student[1:3].isnan().all()
    assert parts[[0, 3]].isfinite().all()
    assert student[[0, 3]].isfinite().all()


def test_a_label_that_is_no_word_reads_nothing_and_shows():
    student, teacher, labels = random_rows(3, 40)
    labels[0], labels[1] = -1, 40
    parts = divergence_triton.divergence_rows_(
        student, teacher, labels, Divergence(**DEFAULTS), 1.0, False, tile=SMALL
    )
    assert parts[:, 2].isnan().tolist() == [True, True, False]


def test_no_rows_are_no_work():
    student, labels = torch.randn(0, 9), torch.zeros(0, dtype=torch.int64)
    parts = divergence_triton.divergence_rows_(student, student, labels, Divergence(**DEFAULTS), 1.0, True)
    assert parts.shape == (0, 3)


def test_the_public_functions_run_this_kernel(monkeypatch):
    monkeypatch.setattr(divergence_rows, "divergence_implementation", lambda device, dtype: "triton")
    calls = []
    launch = divergence_triton.divergence_rows_

    def counted(*args, **kwargs):
        calls.append(args)
        return launch(*args, **kwargs)

    monkeypatch.setattr(divergence_triton, "divergence_rows_", counted)
    hidden, teacher = torch.randn(2, 9, 8).unbind()
    weight = torch.randn(70, 8, requires_grad=True)
    labels = torch.randint(70, (9,))
    labels[2] = -100
    loss = linear_puma_loss(hidden, teacher, weight, labels, lam=0.5, chunk_mib=0.002)
    assert len(calls) > 1
    (found,) = torch.autograd.grad(loss.total, weight)
    kept = labels >= 0
    logits = (hidden @ weight.detach().T)[kept]
    parts, grad = oracle(
        logits, (teacher @ weight.detach().T)[kept], labels[kept], **DEFAULTS | dict(lam=0.5)
    )
    assert relative(found, (grad / 8).T @ hidden[kept].double()) <= 1e-5
    assert abs(loss.cross_entropy.item() - parts[:, 2].mean().item()) <= 1e-5
    leaf = logits.clone().requires_grad_()
    puma_loss(leaf, logits.flip(0), labels[kept], lam=0.5).total.backward()
    _, grad = oracle(logits, logits.flip(0), labels[kept], **DEFAULTS | dict(lam=0.5))
    assert relative(leaf.grad, grad / 8) <= 1e-5
