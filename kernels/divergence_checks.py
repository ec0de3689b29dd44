"""What `vkit.kernels.divergence` asks of its arguments: each check says what was given and what was due."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .attention_checks import SMALLEST_SOFTCAP, describe
from .divergence_scoring import Divergence

TEMPERATURES = (1e-3, 1e3)  # beyond them a divergence of the largest logits leaves float32


def check_options(
    alpha: float, lam: float, temperature: float, standardize: bool, softcap: float | None, reduction: str
) -> Divergence:
    for name, value in (("alpha", alpha), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in 0..1; got {value}")
    if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        raise ValueError(f"temperature must be in {TEMPERATURES[0]}..{TEMPERATURES[1]}; got {temperature}")
    if softcap is not None and not SMALLEST_SOFTCAP <= softcap < math.inf:
        raise ValueError(f"softcap must be a positive number; got {softcap}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum'; got {reduction!r}")
    return Divergence(
        float(alpha), float(lam), float(temperature), standardize, None if softcap is None else float(softcap)
    )


def check_labels(labels: Tensor, shape: torch.Size, device: torch.device) -> None:
    integers = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if labels.shape != shape or not integers or labels.device != device:
        raise ValueError(f"labels must be integers {tuple(shape)} on {device}; got {describe(labels)}")


def check_logits(student: Tensor, teacher: Tensor | None, scoring: Divergence) -> None:
    if student.dim() < 1 or student.shape[-1] < 1 or not student.is_floating_point():
        raise ValueError(f"student_logits must be floating point (..., V); got {describe(student)}")
    _check_teacher_given(teacher, "teacher_logits", scoring)
    if teacher is not None and (
        teacher.shape != student.shape or not teacher.is_floating_point() or teacher.device != student.device
    ):
        raise ValueError(
            f"teacher_logits must be floating point {tuple(student.shape)} on {student.device}, as the "
            f"student's; got {describe(teacher)}"
        )


def check_student_head(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if hidden.dim() != 2 or not hidden.is_floating_point():
        raise ValueError(f"student_hidden must be floating point (N, D); got {describe(hidden)}")
    _check_head(hidden, weight, bias, "student_hidden", "weight", "bias")


def check_teacher_head(
    student_hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor | None,
    teacher_weight: Tensor | None,
    teacher_bias: Tensor | None,
    scoring: Divergence,
) -> None:
    _check_teacher_given(teacher_hidden, "teacher_hidden", scoring)
    if teacher_weight is None and teacher_bias is not None:
        raise ValueError("teacher_bias was given without teacher_weight; the student's head has its own bias")
    if teacher_hidden is None:
        if teacher_weight is not None:
            raise ValueError("teacher_weight was given without teacher_hidden")
        return
    rows = student_hidden.shape[0]
    if (
        teacher_hidden.dim() != 2
        or teacher_hidden.shape[0] != rows
        or not teacher_hidden.is_floating_point()
        or teacher_hidden.device != student_hidden.device
    ):
        raise ValueError(
            f"teacher_hidden must be floating point ({rows}, D) on {student_hidden.device}, a row for each "
            f"of the student's; got {describe(teacher_hidden)}"
        )
    if teacher_weight is None:
        if teacher_hidden.shape[1] != weight.shape[1]:
            raise ValueError(
                f"teacher_hidden has size {teacher_hidden.shape[1]} and the student's head takes "
                f"{weight.shape[1]}; give teacher_weight"
            )
        return
    if teacher_weight.dim() == 2 and teacher_weight.shape[0] != weight.shape[0]:
        raise ValueError(
            f"teacher_weight and weight must have one vocabulary; got {teacher_weight.shape[0]} and "
            f"{weight.shape[0]} rows"
        )
    _check_head(
        teacher_hidden, teacher_weight, teacher_bias, "teacher_hidden", "teacher_weight", "teacher_bias"
    )


def check_chunk_mib(chunk_mib: float | None) -> None:
    if chunk_mib is not None and not 0 < chunk_mib < math.inf:
        raise ValueError(f"chunk_mib must be a positive number; got {chunk_mib}")


def _check_teacher_given(teacher: Tensor | None, name: str, scoring: Divergence) -> None:
    if teacher is None and scoring.lam != 0:
        raise ValueError(
            f"{name} may be None only with lam=0, the cross-entropy alone; got lam={scoring.lam}"
        )


def _check_head(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, hidden_name: str, weight_name: str, bias_name: str
) -> None:
    size = hidden.shape[1]
    if (
        weight.dim() != 2
        or weight.shape[1] != size
        or weight.shape[0] < 1
        or not weight.is_floating_point()
        or weight.device != hidden.device
    ):
        raise ValueError(
            f"{weight_name} must be floating point (V, {size}) on {hidden.device}, as {hidden_name} is "
            f"{describe(hidden)}; got {describe(weight)}"
        )
    if bias is not None and (
        bias.shape != weight.shape[:1] or not bias.is_floating_point() or bias.device != hidden.device
    ):
        raise ValueError(
            f"{bias_name} must be floating point ({weight.shape[0]},) on {hidden.device}; "
            f"got {describe(bias)}"
        )
