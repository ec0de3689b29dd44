"""The C++ kernel of `vkit.kernels.divergence`, a row of logits at a time, against the definition in float64.

The last test runs this file again for each lesser instruction set that the CPU has.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vkit.kernels._extension import load_extension
from vkit.kernels.divergence_reference import divergence_rows_reference
from vkit.kernels.divergence_rows import divergence_implementation, divergence_rows_
from vkit.kernels.divergence_scoring import Divergence

if (reason := load_extension()) is not None:
    pytest.skip(reason, allow_module_level=True)

CAPABILITIES = ["avx512_bf16", "avx512", "avx2", "portable"]  # the best first; the first two share a kernel
SCORINGS = {
    "paper": Divergence(0.2, 0.1, 1.0, False, None),
    "temperature": Divergence(0.6, 0.5, 2.0, False, None),
    "standardized": Divergence(0.5, 0.9, 1.0, True, None),
    "softcap": Divergence(0.2, 0.5, 1.0, False, 5.0),
    "everything": Divergence(0.3, 0.6, 0.7, True, 8.0),
}
# Around the vectors of 4, 8 and 16, and around the 128 of them whose sums are put aside together.
VOCABULARIES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 511, 512, 513, 1025, 2047, 2048, 2049, 4100]


def make_rows(rows: int, vocabulary: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = 3 * torch.randn(rows, vocabulary, generator=generator)
    teacher = student + 1.5 * torch.randn(rows, vocabulary, generator=generator)
    return student, teacher, torch.randint(0, vocabulary, (rows,), generator=generator)


def assert_as_defined(student: Tensor, teacher: Tensor | None, labels: Tensor, scoring: Divergence) -> None:
    """Compares parts and gradient, and checks that only what may be written is."""
    assert divergence_implementation("cpu", student.dtype) == "cpp"
    scale = 0.125
    exact = student.double().requires_grad_()
    expected = divergence_rows_reference(
        exact, None if teacher is None else teacher.double(), labels, scoring
    )
    loss = scale * (expected * expected.new_tensor(scoring.weights)).sum()
    (expected_grad,) = torch.autograd.grad(loss, exact)

    untouched, teacher_before = student.clone(), None if teacher is None else teacher.clone()
    parts = divergence_rows_(untouched, teacher, labels, scoring, scale, gradient=False)
    assert torch.equal(untouched, student)
    grad = student.clone()
    assert torch.equal(divergence_rows_(grad, teacher, labels, scoring, scale, gradient=True), parts)
    assert teacher is None or torch.equal(teacher, teacher_before)
    expected = expected.detach()
    assert ((parts - expected).abs() < 1e-5 * expected.abs() + 2e-6).all(), (parts - expected).abs().max()
    assert (grad - expected_grad).norm() < 1e-5 * expected_grad.norm() + 1e-7


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_rows_are_as_defined(vocabulary, scoring):
    student, teacher, labels = make_rows(3, vocabulary)
    assert_as_defined(student, teacher, labels, scoring)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_rows_without_a_teacher_are_as_defined(vocabulary, softcap):
    student, _, labels = make_rows(3, vocabulary)
    assert_as_defined(student, None, labels, Divergence(0.2, 0.0, 1.0, False, softcap))


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)
def test_a_real_vocabulary_with_an_outlier_is_as_defined(scoring):
    """Beside the outlier all others are small: a running sum would lose them."""
    student, teacher, labels = make_rows(2, 151936)
    student[0, 17], teacher[1, 100_000] = 25.0, 22.0
    assert_as_defined(student, teacher, labels, scoring)
    assert_as_defined(student - 1000, teacher + 3000, labels, scoring)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 9),
    vocabulary=st.integers(1, 300),
    scoring=st.builds(
        Divergence,
        alpha=st.floats(0, 1),
        lam=st.floats(0, 1),
        temperature=st.floats(0.3, 4),
        standardize=st.booleans(),
        softcap=st.none() | st.floats(1, 30),
    ),
    seed=st.integers(0, 1000),
)
def test_any_rows_are_as_defined(rows, vocabulary, scoring, seed):
    assert_as_defined(*make_rows(rows, vocabulary, seed), scoring)


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)
def test_equal_logits_have_a_divergence_of_zero_to_the_last_bit(scoring):
    student, _, labels = make_rows(3, 1001)
    parts = divergence_rows_(student.clone(), student.clone(), labels, scoring, 1.0, True)
    assert parts[:, :2].count_nonzero() == 0


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)
@pytest.mark.parametrize("place", [0, 16, 36])
def test_infinities_are_the_limit_and_nan_stays(scoring, place):
    for value in (math.inf, -math.inf, 2e30, -3e38):
        student, teacher, labels = make_rows(4, 37)
        student[0, place] = student[1, place] = value
        teacher[0, place] = teacher[2, place] = value
        limited = [x.clamp(-1e30, 1e30) for x in (student, teacher)]
        expected = divergence_rows_reference(*(x.double() for x in limited), labels, scoring)
        parts = divergence_rows_(student, teacher, labels, scoring, 1.0, True)
        assert ((parts - expected).abs() <= 1e-5 * expected.abs() + 2e-6).all()
        assert student.isfinite().all()
        assert student[:2, place].count_nonzero() == 0  # the clamp's slope
    student, teacher, labels = make_rows(3, 37)
    student[0, place] = teacher[2, place] = math.nan
    parts = divergence_rows_(student, teacher, labels, scoring, 1.0, True)
    assert parts[0].isnan().all()
    assert parts[1].isfinite().all()
    assert parts[2, :2].isnan().all()
    assert student[1].isfinite().all()
    assert student[0].isnan().all()


def test_rows_with_every_logit_equal_are_uniform():
    for scoring in SCORINGS.values():
        for value in (0.0, -math.inf, 7.5):
            student = torch.full((2, 21), value)
            parts = divergence_rows_(
                student, torch.full((2, 21), 1.0), torch.tensor([3, 20]), scoring, 1.0, True
            )
            assert parts[:, 2].tolist() == pytest.approx([math.log(21)] * 2, rel=1e-5)
            assert parts[:, :2].abs().max() < 1e-6
            assert student.isfinite().all()


def test_the_number_of_threads_changes_nothing():
    student, teacher, labels = make_rows(13, 700)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            grad = student.clone()
            parts = divergence_rows_(grad, teacher, labels, SCORINGS["everything"], 1.0, True)
            results.append((parts, grad))
    finally:
        torch.set_num_threads(threads)
    for parts, grad in results[1:]:
        assert torch.equal(parts, results[0][0])
        assert torch.equal(grad, results[0][1])


def test_no_rows_are_no_work():
    parts = divergence_rows_(
        torch.empty(0, 9), torch.empty(0, 9), torch.empty(0, dtype=torch.long), SCORINGS["paper"], 1.0, True
    )
    assert parts.shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"student": torch.zeros(3, 8).mT}, "student must be contiguous float32"),
        ({"student": torch.zeros(8, 3, dtype=torch.float64)}, "student must be contiguous float32"),
        ({"teacher": torch.zeros(8, 4)}, "teacher must have student's shape"),
        ({"labels": torch.zeros(8, dtype=torch.int32)}, "labels must be contiguous int64"),
        ({"labels": torch.full((8,), 3)}, r"label 3 is not in 0\.\.2"),
        ({"labels": torch.full((8,), -1)}, "label -1 is not"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"softcap": -1.0}, "softcap must be positive"),
    ],
)
def test_the_operator_refuses_what_would_read_or_write_elsewhere(change, message):
    arguments = {"student": torch.zeros(8, 3), "teacher": torch.zeros(8, 3)}
    arguments |= {"labels": torch.zeros(8, dtype=torch.long), "alpha": 0.2, "lam": 0.1, "temperature": 1.0}
    arguments |= {"standardize": False, "softcap": None, "scale": 1.0, "gradient": True}
    arguments |= change
    with pytest.raises(RuntimeError, match=message):
        torch.ops.vkit_cpp.divergence_rows_(**arguments)


@pytest.mark.parametrize("capability", CAPABILITIES[2:])
def test_lesser_instruction_sets_compute_the_same(capability):
    best = torch.ops.vkit_cpp.cpu_capability()
    if os.environ.get("VKIT_CPU_CAPABILITY"):
        pytest.skip("this run is for one of them")
    if CAPABILITIES.index(capability) <= CAPABILITIES.index(best):
        pytest.skip(f"the best of this CPU is {best}")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not lesser", __file__],
        env={**os.environ, "VKIT_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
