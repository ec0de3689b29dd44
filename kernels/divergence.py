"""The loss of Math-PUMA's second stage: two divergences and cross-entropy in one pass, without the logits.

    from vkit.kernels.divergence import linear_puma_loss

    loss = linear_puma_loss(student_hidden, teacher_hidden, lm_head.weight, labels, bias=lm_head.bias)
    loss.total.backward()

For a row with raw logits x of the student and y of the teacher, and a label c,

    s, t = softcap(x), softcap(y)                         softcap(z) = k tanh(z / k), or z
    a, b = zscore(s), zscore(t)                           zscore(z) = (z - mean) / (std + 1e-6), or z
    p, q = softmax(a / tau), softmax(b / tau)
    loss = lam tau^2 (alpha KL(p||q) + (1 - alpha) KL(q||p)) + (1 - lam) (logsumexp(s) - s_c)

whose gradient is known as soon as the row's sums are: with d = log p - log q and r = softmax(s),

    by a:  lam tau (alpha p (d - KL(p||q)) + (1 - alpha) (p - q))          by s:  (1 - lam) (r - onehot(c))

So a chunk of rows is multiplied with the head, each row of logits is turned into its gradient in place, and
that is multiplied with the head again: no more logits exist at a time than a chunk has. The teacher gets no
gradient, and a head that is frozen costs none.

The device of the tensors chooses the code for the rows: Triton on a GPU, C++ on the CPU (where the extension
was built), and plain PyTorch everywhere else. `divergence_implementation` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .divergence_checks import (
    check_chunk_mib,
    check_labels,
    check_logits,
    check_options,
    check_student_head,
    check_teacher_head,
)
from .divergence_chunks import count_rows, head_loss, logits_loss
from .divergence_rows import divergence_implementation
from .divergence_scoring import PumaLoss

__all__ = ["PumaLoss", "divergence_implementation", "linear_puma_loss", "puma_loss"]


def linear_puma_loss(
    student_hidden: Tensor,
    teacher_hidden: Tensor | None,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    teacher_weight: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    softcap: float | None = None,
    alpha: float = 0.2,
    lam: float = 0.1,
    temperature: float = 1.0,
    standardize: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
    chunk_mib: float | None = None,
) -> PumaLoss:
    """`puma_loss` of the logits ``hidden @ weight.T + bias``, which are never held all at once.

    Source: Math-PUMA, section 3.3 (lam tau^2 (alpha KL(weak||strong) + (1 - alpha) KL(strong||weak))
    + (1 - lam) CE; the vision-rich input is weak, here the student). With ``lam=0`` and no teacher this is a
    fused linear cross-entropy.

    Args:
        student_hidden: (N, D) floating point. Row i predicts ``labels[i]``: rows and labels are aligned by
            the caller, nothing is shifted here.
        teacher_hidden: (N, Dt) floating point, row i beside row i of the student; gets no gradient. None with
            ``lam=0``, then both divergences are reported as zero.
        weight: (V, D), the language model's head; its dtype may differ from that of the hidden states.
        labels: (N,) integers in 0..V-1, or ``ignore_index`` for rows that do not count, which cost nothing.
        bias: (V,), of the head.
        teacher_weight: (V, Dt), when the teacher's head is another; the student's serves when left out.
        teacher_bias: (V,), of ``teacher_weight``.
        softcap, alpha, lam, temperature, standardize, ignore_index, reduction: as for `puma_loss`.
        chunk_mib: MiB for the logits in flight, the teacher's included; 68 on the CPU and 768 on a GPU when
            left out. One row is always taken.

    Logits are float32 whatever the inputs are (float64 if they are), under autocast too. Gradients are
    computed in the forward, for those of student_hidden, weight and bias that require one, and are once
    differentiable. Under torch.compile the loss is a break of the graph, which ``fullgraph=True`` refuses.

    Returns:
        `PumaLoss`: total, to be differentiated, and its three parts.

    Raises:
        ValueError: a shape, dtype, device, option or label does not fit; the message names it.

    >>> import torch
    >>> hidden, head = torch.randn(2, 5, 8), torch.randn(11, 8, requires_grad=True)
    >>> labels = torch.tensor([3, 10, -100, 0, 7])
    >>> loss = linear_puma_loss(hidden[0], hidden[1], head, labels, lam=0.5)
    >>> loss.total.backward()
    >>> head.grad.shape, loss.num_tokens
    (torch.Size([11, 8]), 4)
    """
    scoring = check_options(alpha, lam, temperature, standardize, softcap, reduction)
    check_chunk_mib(chunk_mib)
    check_student_head(student_hidden, weight, bias)
    check_teacher_head(student_hidden, weight, teacher_hidden, teacher_weight, teacher_bias, scoring)
    check_labels(labels, student_hidden.shape[:1], student_hidden.device)
    rows = _outside_graphs(count_rows, labels, ignore_index, weight.shape[0])
    teacher = None if teacher_hidden is None else (teacher_hidden, teacher_weight, teacher_bias)
    total, parts = _outside_graphs(
        head_loss, student_hidden, weight, bias, teacher, rows, scoring, reduction, chunk_mib
    )
    return PumaLoss.of(total, parts, rows.count)


def puma_loss(
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
    """Math-PUMA's loss between the logits of a student and a teacher, with cross-entropy on the labels.

    Args:
        student_logits: (..., V) floating point; the prediction of ``labels`` at the same place.
        teacher_logits: as student_logits in shape and device; gets no gradient. None with ``lam=0``.
        labels: (...) integers in 0..V-1, or ``ignore_index`` where a row does not count, in no part.
        alpha: in 0..1, the weight of KL(student||teacher) beside ``1 - alpha`` of KL(teacher||student).
        lam: in 0..1, the weight of both beside ``1 - lam`` of the cross-entropy.
        temperature: tau, divides the logits of the divergences, which are then multiplied by tau^2, once as
            in the paper. The released code does so twice: there, pass ``lam' = lam tau^2 / (1 - lam +
            lam tau^2)`` and multiply the total by ``1 - lam + lam tau^2``.
        standardize: the divergences compare z-scores over the vocabulary, as the released code does. The
            cross-entropy stays that of the logits, at temperature 1.
        softcap: logits become ``softcap * tanh(logits / softcap)`` first (Gemma 2).
        reduction: ``mean`` over the rows that count (0 if none does), or ``sum``; the released code divides
            the divergences' sum by the batch size.

    Logits beyond ±1e30, infinite ones too, are taken as that, with no gradient, so the loss of infinities is
    finite; a NaN in the logits of a row that counts makes the loss one.

    Returns:
        `PumaLoss`: total, to be differentiated, and its three parts.

    Raises:
        ValueError: a shape, dtype, device, option or label does not fit; the message names it.

    >>> import torch
    >>> loss = puma_loss(torch.zeros(1, 2), torch.tensor([[0.0, 9.0]]), torch.tensor([1]))
    >>> [round(x.item(), 3) for x in loss[:4]]
    [0.755, 3.807, 0.692, 0.693]
    """
    scoring = check_options(alpha, lam, temperature, standardize, softcap, reduction)
    check_logits(student_logits, teacher_logits, scoring)
    check_labels(labels, student_logits.shape[:-1], student_logits.device)
    vocabulary = student_logits.shape[-1]
    rows = _outside_graphs(count_rows, labels.reshape(-1), ignore_index, vocabulary)
    teacher = None if teacher_logits is None else teacher_logits.reshape(-1, vocabulary)
    student = student_logits.reshape(-1, vocabulary)
    total, parts = _outside_graphs(logits_loss, student, teacher, rows, scoring, reduction)
    return PumaLoss.of(total, parts, rows.count)


def _outside_graphs(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), which torch.compile runs and does not trace.

    How many rows count is in the labels, so a graph could hold neither their number nor that of the chunks.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)(*arguments)
    return function(*arguments)
