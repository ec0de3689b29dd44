"""Cases for the tests of the divergence: options, hidden states with a head, and how results are compared."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vkit.kernels.divergence import PumaLoss

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
