"""What `vkit.kernels.divergence` computes, written as plainly as PyTorch allows.

Every implementation is tested against these functions, in float64 where the tensors are. They hold all the
logits and leave the gradient to autograd; use them to read and to check, never to train a model.

    s, t = softcap(x), softcap(y)                         softcap(z) = c tanh(z / c), or z
    a, b = zscore(s), zscore(t)                           zscore(z) = (z - mean) / (std + 1e-6), or z
    p, q = softmax(a / tau), softmax(b / tau)
    loss = lam tau^2 (alpha KL(p||q) + (1 - alpha) KL(q||p)) + (1 - lam) (logsumexp(s) - s[label])
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .divergence_scoring import LOGIT_LIMIT, STD_EPSILON, Divergence, PumaLoss


def puma_loss_reference(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
    labels: Tensor,
    *,
    alpha: float = 0.2,
    lam: float = 0.1,
    temperature: float = 1.0,
    standardize: bool = False,
    softcap: float | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> PumaLoss:
    """The definition of `vkit.kernels.divergence.puma_loss`, with the same arguments and results.

    Keeps the precision of float64 inputs; other inputs are computed in float32.
    """
    counted = labels != ignore_index
    student = student_logits[counted]
    teacher = None if teacher_logits is None else teacher_logits[counted]
    scoring = Divergence(alpha, lam, temperature, standardize, softcap)
    parts = divergence_rows_reference(student, teacher, labels[counted], scoring).sum(0)
    num_tokens = int(counted.sum())
    if reduction == "mean":
        parts = parts / max(1, num_tokens)
    total = (parts * parts.new_tensor(scoring.weights)).sum()
    return PumaLoss.of(total, parts.detach(), num_tokens)


def linear_puma_loss_reference(
    student_hidden: Tensor,
    teacher_hidden: Tensor | None,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    teacher_weight: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    **options: Any,
) -> PumaLoss:
    """The definition of `vkit.kernels.divergence.linear_puma_loss`, with the same arguments and results."""
    if teacher_weight is None:
        teacher_weight, teacher_bias = weight, bias
    student_logits = head_logits(student_hidden, weight, bias)
    with torch.no_grad():
        teacher_logits = (
            None if teacher_hidden is None else head_logits(teacher_hidden, teacher_weight, teacher_bias)
        )
    return puma_loss_reference(student_logits, teacher_logits, labels, **options)


def head_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, V) in float64 where an input is, else in float32."""
    precision = torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)
    logits = hidden.to(precision) @ weight.to(precision).mT
    return logits if bias is None else logits + bias.to(precision)


def divergence_rows_reference(
    student: Tensor, teacher: Tensor | None, labels: Tensor, scoring: Divergence
) -> Tensor:
    """(N, 3): KL(student||teacher), KL(teacher||student) and cross-entropy of each row, unweighted.

    Args:
        student: (N, V) raw logits, through which autograd differentiates.
        teacher: (N, V) raw logits, detached; None: both divergences are zero.
        labels: (N,) int64, all in 0..V-1.
    """
    logits = capped(student, scoring)
    cross_entropy = -torch.log_softmax(logits, -1).gather(1, labels[:, None])[:, 0]
    if teacher is None:
        return torch.stack([torch.zeros_like(cross_entropy)] * 2 + [cross_entropy], -1)
    log_p = torch.log_softmax(standardized(logits, scoring) / scoring.temperature, -1)
    teacher_logits = capped(teacher.detach(), scoring)
    log_q = torch.log_softmax(standardized(teacher_logits, scoring) / scoring.temperature, -1)
    kl_student_teacher = (log_p.exp() * (log_p - log_q)).sum(-1)
    kl_teacher_student = (log_q.exp() * (log_q - log_p)).sum(-1)
    return torch.stack([kl_student_teacher, kl_teacher_student, cross_entropy], -1)


def capped(logits: Tensor, scoring: Divergence) -> Tensor:
    """Logits within the limit and the softcap, in float64 where they are, else in float32."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return logits if scoring.softcap is None else scoring.softcap * torch.tanh(logits / scoring.softcap)


def standardized(logits: Tensor, scoring: Divergence) -> Tensor:
    """The z-score of each row with the unbiased standard deviation, which is 0 for a single logit."""
    if not scoring.standardize:
        return logits
    if logits.shape[-1] == 1:
        return logits - logits
    deviation = logits.std(-1, keepdim=True)
    return (logits - logits.mean(-1, keepdim=True)) / (deviation + STD_EPSILON)
