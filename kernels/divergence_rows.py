"""The rows of the divergence, by whatever code the device has; `divergence_scoring` states the contract.

    parts = divergence_rows_(student, teacher, labels, scoring, scale=1 / 512, gradient=True)

A custom op, so that torch.compile takes it whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import divergence_blocked
from .attention import attention_implementation
from .divergence_scoring import Divergence


def divergence_rows_(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    scoring: Divergence,
    scale: float,
    gradient: bool,
) -> Tensor:
    """As `vkit.kernels.divergence_scoring` promises."""
    return torch.ops.vkit.divergence_rows_(
        student, teacher, labels, scoring.alpha, scoring.lam, scoring.temperature, scoring.standardize,
        scoring.softcap, scale, gradient,
    )  # fmt: skip


def divergence_implementation(device: torch.device | str, dtype: torch.dtype) -> str:
    """Which code runs for rows of logits of this device and dtype: ``triton``, ``cpp`` or ``pytorch``.

    >>> divergence_implementation("cpu", torch.float64)
    'pytorch'
    """
    return attention_implementation(device, dtype) if dtype == torch.float32 else "pytorch"


@torch.library.custom_op("vkit::divergence_rows_", mutates_args=("student",))
def _divergence_rows_(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    alpha: float,
    lam: float,
    temperature: float,
    standardize: bool,
    softcap: float | None,
    scale: float,
    gradient: bool,
) -> Tensor:
    implementation = divergence_implementation(student.device, student.dtype)
    if implementation == "cpp":
        return torch.ops.vkit_cpp.divergence_rows_(
            student, teacher, labels, alpha, lam, temperature, standardize, softcap, scale, gradient
        )
    scoring = Divergence(alpha, lam, temperature, standardize, softcap)
    if implementation == "triton":
        from . import divergence_triton

        return divergence_triton.divergence_rows_(student, teacher, labels, scoring, scale, gradient)
    return divergence_blocked.divergence_rows_(student, teacher, labels, scoring, scale, gradient)


@_divergence_rows_.register_fake
def _(student, teacher, labels, *_):
    return student.new_empty(student.shape[0], 3)
