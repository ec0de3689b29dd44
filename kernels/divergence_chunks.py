"""Walks the rows that count in chunks: logits, then their gradient in place, then the products with it.

    rows = count_rows(labels, ignore_index=-100, vocabulary=51200)
    total, parts = head_loss(hidden, weight, bias, (teacher_hidden, None, None), rows, scoring, "mean", None)

Gradients are ready when the forward ends; the backward only scales them, by a number it never looks at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .divergence_head import Head
from .divergence_rows import divergence_rows_
from .divergence_scoring import Divergence

CHUNK_MIB = {"cpu": 68.0, "cuda": 768.0}
OTHER_CHUNK_MIB = 256.0
ROWS_PER_TILE = 64  # chunks on a GPU have a multiple of them, if they can: its products work in such tiles
SCALED_ELEMENTS = 2**22  # of a gradient in half precision that are in full at a time

# Hidden states (N, Dt), weight (V, Dt) and bias (V,); without a weight the student's head serves.
Teacher = tuple[Tensor, "Tensor | None", "Tensor | None"]


@dataclass(frozen=True)
class CountedRows:
    """The rows whose label is not to be ignored."""

    index: Tensor | None  # (count,) int64; None: every row counts
    labels: Tensor  # (count,) int64
    count: int

    def take(self, tensor: Tensor, rows: slice) -> Tensor:
        """Those of these rows of a tensor (N, ...): a view where every row counts."""
        return tensor[rows] if self.index is None else tensor.index_select(0, self.index[rows])

    def put(self, tensor: Tensor, rows: slice, values: Tensor) -> None:
        if self.index is None:
            tensor[rows] = values
        else:
            tensor.index_copy_(0, self.index[rows], values.to(tensor.dtype))


def count_rows(labels: Tensor, ignore_index: int, vocabulary: int) -> CountedRows:
    """Finds the rows that count; waits for a GPU once, which cannot be helped.

    Raises:
        ValueError: a label is neither in 0..vocabulary-1 nor ``ignore_index``.
    """
    labels = labels.long().contiguous()  # a vocabulary compared as int8, say, would wrap around
    counted = labels != ignore_index
    unknown = counted & ((labels < 0) | (labels >= vocabulary))
    # One label that is no word marks every row and one more, which shows in the size of the result: looking
    # at the labels apart would wait for the GPU a second time.
    marked = torch.cat([counted, counted.new_zeros(1)]) | unknown.any()
    index = marked.nonzero()[:, 0]
    if len(index) > len(labels):
        row = int(unknown.nonzero()[0, 0])
        raise ValueError(
            f"labels must be in 0..{vocabulary - 1} or ignore_index={ignore_index}; "
            f"row {row} has {int(labels[row])}"
        )
    if len(index) == len(labels):
        return CountedRows(None, labels, len(labels))
    return CountedRows(index, labels[index], len(index))


def head_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher: Teacher | None,
    rows: CountedRows,
    scoring: Divergence,
    reduction: str,
    chunk_mib: float | None,
) -> tuple[Tensor, Tensor]:
    """The loss and its parts (3,) for hidden states (N, D) and a head; the arguments are checked."""
    if teacher is not None:
        teacher = (teacher[0].detach(), *teacher[1:])
    wanted = [_wants_gradient(x) for x in (hidden, weight, bias)]
    return _HeadLoss.apply(hidden, weight, bias, teacher, rows, scoring, reduction, chunk_mib, wanted)


def logits_loss(
    student: Tensor, teacher: Tensor | None, rows: CountedRows, scoring: Divergence, reduction: str
) -> tuple[Tensor, Tensor]:
    """The loss and its parts (3,) for logits (N, V); the arguments are checked."""
    teacher = None if teacher is None else teacher.detach()
    return _LogitsLoss.apply(student, teacher, rows, scoring, reduction, _wants_gradient(student))


def _wants_gradient(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.requires_grad and torch.is_grad_enabled()


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        teacher: Teacher | None,
        rows: CountedRows,
        scoring: Divergence,
        reduction: str,
        chunk_mib: float | None,
        wanted: list[bool],
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            sums, grads = _head_chunks(
                hidden, weight, bias, teacher, rows, scoring, _scale(rows, reduction), chunk_mib, wanted
            )
        return _finish(ctx, sums, grads, (hidden, weight, bias), rows, scoring, reduction)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple:
        return (*_scaled_gradients(ctx, grad_total), None, None, None, None, None, None)


class _LogitsLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor | None,
        rows: CountedRows,
        scoring: Divergence,
        reduction: str,
        wanted: bool,
    ) -> tuple[Tensor, Tensor]:
        precision = torch.promote_types(student.dtype, torch.float32)
        sums = student.new_zeros(3, dtype=precision)
        grad = torch.zeros_like(student, dtype=_kept(student.dtype)) if wanted else None
        for chunk in _chunks(rows.count, student.shape[1], precision, teacher is not None, None, student):
            logits = rows.take(student, chunk).to(precision, copy=True).contiguous()
            beside = None if teacher is None else rows.take(teacher, chunk).to(precision).contiguous()
            sums += divergence_rows_(
                logits, beside, rows.labels[chunk], scoring, _scale(rows, reduction), wanted
            ).sum(0)
            if grad is not None:
                rows.put(grad, chunk, logits)
        return _finish(ctx, sums, [grad], (student,), rows, scoring, reduction)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple:
        return (*_scaled_gradients(ctx, grad_total), None, None, None, None, None)


def _head_chunks(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher: Teacher | None,
    rows: CountedRows,
    scoring: Divergence,
    scale: float,
    chunk_mib: float | None,
    wanted: list[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """The sums of the parts (3,), and the gradients that are wanted of hidden, weight and bias."""
    head = Head(weight, bias, hidden.dtype)
    vocabulary, precision = weight.shape[0], head.precision
    want_hidden, want_weight, want_bias = wanted
    sums = hidden.new_zeros(3, dtype=precision)
    grad_hidden = torch.zeros_like(hidden, dtype=_kept(hidden.dtype)) if want_hidden else None
    grad_weight = torch.zeros_like(weight, dtype=precision) if want_weight else None
    grad_bias = torch.zeros_like(bias, dtype=precision) if bias is not None and want_bias else None

    teacher_head, stacked = None, False
    if teacher is not None:
        # One product for the rows of both reads a common head once.
        stacked = teacher[1] is None and teacher[0].dtype == hidden.dtype
        teacher_weight, teacher_bias = (weight, bias) if teacher[1] is None else (teacher[1], teacher[2])
        teacher_head = Head(teacher_weight, teacher_bias, teacher[0].dtype, precision)
    buffer: Tensor | None = None
    for chunk in _chunks(rows.count, vocabulary, precision, teacher is not None, chunk_mib, hidden):
        student_rows = rows.take(hidden, chunk)
        size = len(student_rows)
        if buffer is None:  # the first chunk is the largest
            buffer = hidden.new_empty(size if teacher is None else 2 * size, vocabulary, dtype=precision)
        student_logits, teacher_logits = buffer[:size], None
        if teacher is None or teacher_head is None:
            head.logits(student_rows, student_logits)
        else:
            teacher_rows, teacher_logits = rows.take(teacher[0], chunk), buffer[size : 2 * size]
            if stacked:
                head.logits(torch.cat([student_rows, teacher_rows]), buffer[: 2 * size])
            else:
                head.logits(student_rows, student_logits)
                teacher_head.logits(teacher_rows, teacher_logits)
        sums += divergence_rows_(
            student_logits, teacher_logits, rows.labels[chunk], scoring, scale, any(wanted)
        ).sum(0)
        if grad_bias is not None:
            grad_bias += student_logits.sum(0)
        if not (want_hidden or want_weight):
            continue
        grad_logits = head.for_products(student_logits, spare=teacher_logits)
        if grad_hidden is not None:
            rows.put(grad_hidden, chunk, head.hidden_gradient(grad_logits))
        if grad_weight is not None:
            head.add_weight_gradient(grad_logits, student_rows, grad_weight)
    return sums, [grad_hidden, grad_weight, grad_bias]


def _chunks(
    count: int,
    vocabulary: int,
    precision: torch.dtype,
    with_teacher: bool,
    chunk_mib: float | None,
    like: Tensor,
) -> Iterator[slice]:
    """Slices of equal size, but for the last, whose logits fit the budget."""
    budget = CHUNK_MIB.get(like.device.type, OTHER_CHUNK_MIB) if chunk_mib is None else chunk_mib
    row_bytes = vocabulary * precision.itemsize * (2 if with_teacher else 1)
    most = max(1, int(budget * 2**20 / row_bytes))
    size = math.ceil(count / math.ceil(count / most)) if count else 1
    if like.is_cuda and most >= ROWS_PER_TILE:
        size = min(math.ceil(size / ROWS_PER_TILE) * ROWS_PER_TILE, most // ROWS_PER_TILE * ROWS_PER_TILE)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _scale(rows: CountedRows, reduction: str) -> float:
    return 1 / max(1, rows.count) if reduction == "mean" else 1.0


def _kept(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a gradient waits for the backward: float16 could not hold it before a loss scale."""
    return torch.float32 if dtype == torch.float16 else dtype


def _finish(
    ctx: Any,
    sums: Tensor,
    grads: list[Tensor | None],
    inputs: tuple[Tensor | None, ...],
    rows: CountedRows,
    scoring: Divergence,
    reduction: str,
) -> tuple[Tensor, Tensor]:
    """The results of a forward, with what its backward needs saved."""
    ctx.save_for_backward(
        *(
            grad if grad is None or tensor is None else grad.to(_kept(tensor.dtype))
            for grad, tensor in zip(grads, inputs, strict=True)
        )
    )
    ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in inputs]
    parts = sums * _scale(rows, reduction)
    by_student, by_teacher, by_label = scoring.weights
    total = by_student * parts[0] + by_teacher * parts[1] + by_label * parts[2]
    ctx.mark_non_differentiable(parts)
    return total, parts


def _scaled_gradients(ctx: Any, grad_total: Tensor) -> list[Tensor | None]:
    return [
        None if grad is None else _scaled(grad, grad_total, dtype)
        for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
    ]


def _scaled(grad: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """grad * factor in the factor's precision, of which bfloat16 would keep three digits."""
    scaled = torch.empty_like(grad, dtype=dtype)
    rows = max(1, SCALED_ELEMENTS // max(1, grad[:1].numel()))
    for block, result in zip(grad.split(rows), scaled.split(rows), strict=True):
        torch.mul(block.to(torch.promote_types(grad.dtype, factor.dtype)), factor, out=result)
    return scaled
