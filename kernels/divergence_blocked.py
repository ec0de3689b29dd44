"""The rows of the divergence in blocks of plain PyTorch: any device, float32 and float64.

The path where neither the Triton nor the C++ kernel applies. Each of its temporaries, of which there are up
to ten, is `BLOCK_MIB` large at most, as long as a block has more than one row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .divergence_scoring import LOGIT_LIMIT, STD_EPSILON, Divergence

BLOCK_MIB = 4


def divergence_rows_(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    scoring: Divergence,
    scale: float,
    gradient: bool,
) -> Tensor:
    """As `vkit.kernels.divergence_scoring` promises."""
    num_rows, vocabulary = student.shape
    parts = student.new_zeros(num_rows, 3)
    block_rows = max(1, int(BLOCK_MIB * 2**20 / (vocabulary * student.element_size())))
    for start in range(0, num_rows, block_rows):
        rows = slice(start, start + block_rows)
        _block_(student[rows], None if teacher is None else teacher[rows], labels[rows], parts[rows],
                scoring, scale, gradient)  # fmt: skip
    return parts


def _block_(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    parts: Tensor,
    scoring: Divergence,
    scale: float,
    gradient: bool,
) -> None:
    """One block of rows: fills ``parts`` and, with ``gradient``, overwrites ``student``."""
    logits = _capped(student, scoring)
    log_r = _log_softmax(logits)
    parts[:, 2] = -log_r.gather(1, labels[:, None])[:, 0]
    grad = None
    if gradient:  # of the cross-entropy: softmax less one at the label
        grad = log_r.exp_()
        grad.scatter_add_(1, labels[:, None], grad.new_full((len(labels), 1), -1.0))
        grad *= 1 - scoring.lam
    if teacher is not None:
        tau = scoring.temperature
        a, deviation = _standardized(logits, scoring)
        b, _ = _standardized(_capped(teacher, scoring), scoring)
        log_p, log_q = _log_softmax(a / tau), _log_softmax(b / tau)
        difference, p, q = log_p - log_q, log_p.exp_(), log_q.exp_()
        # p - q sums to zero; beside it an error of the softmaxes' denominators cancels to the first order.
        parts[:, 0] = (p * difference - (p - q)).sum(-1)
        parts[:, 1] = ((p - q) - q * difference).sum(-1)
        if grad is not None:
            difference -= parts[:, :1]
            # tau^2 of the loss, divided by tau because a / tau goes into the softmax
            by_a = scoring.lam * tau * (scoring.alpha * p * difference + (1 - scoring.alpha) * (p - q))
            if deviation is not None:
                # a = (s - mean) / (deviation + eps). The gradients of a sum to zero, so the mean drops out,
                # and d deviation / ds = (s - mean) / ((V - 1) deviation).
                through = (by_a * a).sum(-1, keepdim=True) / (max(1, a.shape[1] - 1) * deviation)
                by_a = (by_a - a * through.where(deviation > 0, 0.0) * (deviation + STD_EPSILON)) / (
                    deviation + STD_EPSILON
                )
            grad += by_a
    if grad is not None:
        if scoring.softcap is not None:
            grad *= 1 - (logits / scoring.softcap).square()
        student.copy_((grad * scale).masked_fill_(student.abs() > LOGIT_LIMIT, 0.0))


def _capped(logits: Tensor, scoring: Divergence) -> Tensor:
    logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return logits if scoring.softcap is None else scoring.softcap * torch.tanh(logits / scoring.softcap)


def _log_softmax(logits: Tensor) -> Tensor:
    """PyTorch's own adds a row's exponentials one by one, which loses the small beside a large one."""
    logits = logits - logits.amax(-1, keepdim=True)
    return logits.sub_(logits.exp().sum(-1, keepdim=True).log_())


def _standardized(logits: Tensor, scoring: Divergence) -> tuple[Tensor, Tensor | None]:
    """The z-score and the standard deviation (N, 1), or the logits and None."""
    if not scoring.standardize:
        return logits, None
    centred = logits - logits.mean(-1, keepdim=True)
    largest = centred.abs().amax(-1, keepdim=True).clamp(min=1.0)  # whose square could be infinite
    variance = (centred / largest).square().sum(-1, keepdim=True) / max(1, logits.shape[1] - 1)
    deviation = variance.sqrt() * largest
    return centred / (deviation + STD_EPSILON), deviation
