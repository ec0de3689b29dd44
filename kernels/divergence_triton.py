"""Rows of the divergence on a GPU: the loss and its gradient from two rows of logits, one program a row.

    from vkit.kernels import divergence_triton      # what vkit.kernels.divergence calls for CUDA tensors

    parts = divergence_triton.divergence_rows_(student, teacher, labels, scoring, 1 / 512, gradient=True)

Two passes over a row. The first keeps running sums beside a running maximum, for p, q, the log-ratio d and
the cross-entropy; the second turns each logit into its gradient,

    by a_j:  lam tau (alpha p_j (d_j - E_p d) + (1 - alpha) (p_j - q_j))

(p and q are softmaxes of a / tau and b / tau). The mean E_p d is KL(p||q) plus the difference of the two
log-normalisers, which drops out of d_j - E_p d, so d_j may be (a_j - b_j) / tau from any origin; the maxima
serve, from which it is small where it matters. A z-score is, to a softmax, a temperature of the row's own,
tau (std + eps); it takes a pass before the others, for mean and standard deviation.

Every lane keeps its own maximum and sums down a tile (TALL, WIDE) whose columns belong to one thread each, so
that nothing crosses threads within a pass: a shared maximum would cost a barrier for every tile.

Floor: bytes. With float32 logits, two reads of student and teacher and one write of the gradient are 20 bytes
for each logit; 8192 rows of 128,256 are 21.0 GB, 4.4 ms at 4.8 TB/s (6.3 ms at 3.35). The first pass walks
the row from its end, so that the second begins with what was read last. With two rows on each of 132
multiprocessors, 270 MB are being worked on, of which a cache of 50 MB can give back a fifth: 19.5 GB and
4.1 ms (5.8) are the prediction, 10 to 12% (15 to 17%) of the 34 to 40 ms of the three products. Arithmetic
hides behind it: 4.5 special functions for each logit take 1.3 ms on 132 multiprocessors at 1.7 GHz, the 66
instructions of both passes 2.4 ms. A gradient that goes to a bfloat16 ``out`` writes 2.1 GB less, and saves
the 6.3 GB of a cast.

A row is not shared among programs where rows are few: one takes some 60 us alone, and the products then read
the whole head (1 GB, 0.2 to 0.3 ms each), however few rows there are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_triton_common import LOG2_E, capped_tanh
from .divergence_scoring import LOGIT_LIMIT, STD_EPSILON, Divergence

_LIMIT = tl.constexpr(LOGIT_LIMIT)
_EPSILON = tl.constexpr(STD_EPSILON)


class RowTile(NamedTuple):
    """One launch shape: ``tall * wide`` logits at a time, of which a thread has whole columns."""

    tall: int
    wide: int
    warps: int
    stages: int


def row_tile(vocabulary: int) -> RowTile:
    """The launch shape for rows of this many logits; 4 neighbours of a tile's row are one 16-byte load.

    Where rows do not all begin at 64 bytes, each logit is loaded and masked alone: that takes registers.

    >>> row_tile(128256), row_tile(50257), row_tile(1000)[:2]
    (RowTile(tall=4, wide=1024, warps=8, stages=3), RowTile(tall=2, wide=1024, warps=8, stages=3), (2, 512))
    """
    if vocabulary <= 4096:
        return RowTile(2, 512, 4, 2)
    return RowTile(4 if vocabulary % 16 == 0 else 2, 1024, 8, 3)


def divergence_rows_(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    scoring: Divergence,
    scale: float | Tensor,
    gradient: bool,
    *,
    out: Tensor | None = None,
    tile: RowTile | None = None,
) -> Tensor:
    """As `vkit.kernels.divergence_scoring` promises, for float32 tensors whose rows may be any stride apart.

    Args:
        scale: a number, or a scalar tensor on the same device, which nobody waits for.
        out: (N, V) of any floating dtype that gets the gradient, rounded once, in the student's stead; it
            shares no memory with student or teacher.
        tile: overrides the launch shape, for the interpreter and for benchmarks.

    A label outside of 0..V-1 reads nothing and makes the cross-entropy of its row NaN.
    """
    num_rows, vocabulary = student.shape
    parts = student.new_empty(num_rows, 3)
    if num_rows == 0:
        return parts
    for name, tensor in (("student", student), ("teacher", teacher), ("out", out)):
        if tensor is not None and tensor.stride(1) != 1 and vocabulary > 1:
            raise ValueError(f"{name} must have contiguous rows; got strides {tensor.stride()}")
    out = student if out is None else out
    if not isinstance(scale, Tensor):
        scale = student.new_full((), scale)
    # Without a teacher there is but one softmax, that of the cross-entropy.
    standardize = scoring.standardize and teacher is not None
    temperature = 1.0 if teacher is None else scoring.temperature
    tile = tile or row_tile(vocabulary)
    with torch.cuda.device_of(student):
        _divergence_kernel[(num_rows,)](
            student,
            teacher,
            out,
            labels,
            scale,
            parts,
            student.stride(0),
            0 if teacher is None else teacher.stride(0),
            out.stride(0),
            vocabulary,
            1.0 / temperature,
            scoring.lam * scoring.temperature * scoring.alpha,
            scoring.lam * scoring.temperature * (1 - scoring.alpha),
            1 - scoring.lam,
            1.0 if scoring.softcap is None else float(scoring.softcap),
            GRADIENT=gradient,
            STANDARDIZE=standardize,
            SOFTCAP=scoring.softcap is not None,
            SHARED_SOFTMAX=temperature == 1.0 and not standardize,
            TALL=tile.tall,
            WIDE=tile.wide,
            STAGES=tile.stages,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return parts


# The kernel -----------------------------------------------------------------------------------------------


@triton.jit
def _divergence_kernel(
    student, teacher, out, labels, scale, parts,
    student_stride, teacher_stride, out_stride,
    vocabulary, inverse_temperature, weight_student_teacher, weight_teacher_student, weight_cross_entropy,
    softcap,
    GRADIENT: tl.constexpr,
    STANDARDIZE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    SHARED_SOFTMAX: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """One program: one row. Names: s, t are the logits of student and teacher after limit and softcap.

    SHARED_SOFTMAX: the divergences' p is the cross-entropy's softmax, and its sum serves both.
    """
    row = tl.program_id(0).to(tl.int64)
    student += row * student_stride
    out += row * out_stride
    if teacher is not None:
        teacher += row * teacher_stride
    label = tl.load(labels + row)
    is_word = (label >= 0) & (label < vocabulary)
    logit_of_label = tl.load(student + label, mask=is_word, other=float("nan"))
    logit_of_label = _limited(logit_of_label, softcap, SOFTCAP)
    # Beyond the end of a row its first logit is taken, which raises no maximum; it gets no weight.
    student_padding = tl.load(student)
    student_first = _limited(student_padding, softcap, SOFTCAP)
    if teacher is not None:
        teacher_padding = tl.load(teacher)
        teacher_first = _limited(teacher_padding, softcap, SOFTCAP)

    tiles = tl.cdiv(vocabulary, TALL * WIDE)
    offsets = tl.arange(0, TALL)[:, None] * WIDE + tl.arange(0, WIDE)[None, :]

    # Exponents are (logit - maximum) * slope, in units of tau; the slopes differ where z-scores do.
    student_slope = inverse_temperature
    teacher_slope = inverse_temperature
    if STANDARDIZE:
        student_mean, student_std = _moments(
            student, student_first, offsets, vocabulary, tiles, softcap, SOFTCAP, TALL, WIDE, STAGES
        )
        _, teacher_std = _moments(
            teacher, teacher_first, offsets, vocabulary, tiles, softcap, SOFTCAP, TALL, WIDE, STAGES
        )
        student_slope = inverse_temperature / (student_std + _EPSILON)
        teacher_slope = inverse_temperature / (teacher_std + _EPSILON)
    student_exponent = student_slope * LOG2_E
    teacher_exponent = teacher_slope * LOG2_E

    # First pass, from the end of the row: sums over each lane, relative to the lane's maximum.
    student_top = tl.zeros([WIDE], tl.float32) + student_first
    student_sum = tl.zeros([WIDE], tl.float32)
    word_sum = tl.zeros([WIDE], tl.float32)  # of the cross-entropy's softmax, where it is another
    if teacher is not None:
        teacher_top = tl.zeros([WIDE], tl.float32) + teacher_first
        teacher_sum = tl.zeros([WIDE], tl.float32)
        ratio_by_student = tl.zeros([WIDE], tl.float32)  # of p d
        ratio_by_teacher = tl.zeros([WIDE], tl.float32)  # of q d
        if STANDARDIZE:
            score_by_student = tl.zeros([WIDE], tl.float32)  # of p a / tau
            score_by_teacher = tl.zeros([WIDE], tl.float32)  # of q a / tau
            score_ratio = tl.zeros([WIDE], tl.float32)  # of p d a / tau
    for step in tl.range(0, tiles, num_stages=STAGES):
        columns = (tiles - 1 - step) * (TALL * WIDE) + offsets
        inside = columns < vocabulary
        s = _limited(tl.load(student + columns, mask=inside, other=student_padding), softcap, SOFTCAP)
        top = tl.maximum(student_top, tl.max(s, 0))
        decay = tl.exp2((student_top - top) * student_exponent)
        e = tl.where(inside, tl.exp2((s - top[None, :]) * student_exponent), 0.0)
        if teacher is not None:
            t = _limited(tl.load(teacher + columns, mask=inside, other=teacher_padding), softcap, SOFTCAP)
            peak = tl.maximum(teacher_top, tl.max(t, 0))
            teacher_decay = tl.exp2((teacher_top - peak) * teacher_exponent)
            f = tl.where(inside, tl.exp2((t - peak[None, :]) * teacher_exponent), 0.0)
            d = (s - top[None, :]) * student_slope - (t - peak[None, :]) * teacher_slope
            # What the maxima have risen by comes off every d before.
            rise = (top - student_top) * student_slope - (peak - teacher_top) * teacher_slope
            if STANDARDIZE:
                score = ((s - student_first) - student_mean) * student_slope
                score_ratio = (score_ratio - rise * score_by_student) * decay + tl.sum(e * d * score, 0)
                score_by_student = score_by_student * decay + tl.sum(e * score, 0)
                score_by_teacher = score_by_teacher * teacher_decay + tl.sum(f * score, 0)
            ratio_by_student = (ratio_by_student - rise * student_sum) * decay + tl.sum(e * d, 0)
            ratio_by_teacher = (ratio_by_teacher - rise * teacher_sum) * teacher_decay + tl.sum(f * d, 0)
            teacher_sum = teacher_sum * teacher_decay + tl.sum(f, 0)
            teacher_top = peak
        student_sum = student_sum * decay + tl.sum(e, 0)
        if not SHARED_SOFTMAX:
            r = tl.where(inside, tl.exp2((s - top[None, :]) * LOG2_E), 0.0)
            word_sum = word_sum * tl.exp2((student_top - top) * LOG2_E) + tl.sum(r, 0)
        student_top = top

    # The lanes together.
    top = tl.max(student_top, 0)
    factor = tl.exp2((student_top - top) * student_exponent)
    total = tl.sum(student_sum * factor, 0)
    word_total = total
    if not SHARED_SOFTMAX:
        word_total = tl.sum(word_sum * tl.exp2((student_top - top) * LOG2_E), 0)
    if teacher is not None:
        peak = tl.max(teacher_top, 0)
        teacher_factor = tl.exp2((teacher_top - peak) * teacher_exponent)
        rise = (top - student_top) * student_slope - (peak - teacher_top) * teacher_slope
        teacher_total = tl.sum(teacher_sum * teacher_factor, 0)
        mean_by_student = tl.sum((ratio_by_student - rise * student_sum) * factor, 0) / total
        mean_by_teacher = tl.sum((ratio_by_teacher - rise * teacher_sum) * teacher_factor, 0) / teacher_total
        normaliser = tl.log2(total / teacher_total) / LOG2_E  # log p - log q = d - normaliser
        tl.store(parts + 3 * row, mean_by_student - normaliser)
        tl.store(parts + 3 * row + 1, normaliser - mean_by_teacher)
    else:
        tl.store(parts + 3 * row, 0.0)
        tl.store(parts + 3 * row + 1, 0.0)
    tl.store(parts + 3 * row + 2, (top - logit_of_label) + tl.log2(word_total) / LOG2_E)

    if GRADIENT:
        row_scale = tl.load(scale)
        target = tl.where(is_word, label, -1).to(tl.int32)
        inverse_total = 1.0 / total
        inverse_word_total = 1.0 / word_total
        if teacher is not None:
            inverse_teacher_total = 1.0 / teacher_total
        if STANDARDIZE:
            # The gradients h by the z-scores a sum to zero, so the mean of the z-score drops out, and the
            # deviation takes sum(h a) / (V - 1) times (s - mean) / std off each.
            student_score = tl.sum(score_by_student * factor, 0) * inverse_total
            teacher_score = tl.sum(score_by_teacher * teacher_factor, 0) * inverse_teacher_total
            both = tl.sum((score_ratio - rise * score_by_student) * factor, 0) * inverse_total
            through_std = weight_student_teacher * (both - mean_by_student * student_score)
            through_std += weight_teacher_student * (student_score - teacher_score)
            # A row of equal logits has no deviation to go through.
            inverse_std = tl.where(student_std > 1e-30, 1.0 / student_std, 0.0)
            through_std *= inverse_std / inverse_temperature / tl.maximum(vocabulary - 1, 1).to(tl.float32)
            inverse_deviation = 1.0 / (student_std + _EPSILON)

        for step in tl.range(0, tiles, num_stages=STAGES):
            columns = step * (TALL * WIDE) + offsets
            inside = columns < vocabulary
            x = tl.load(student + columns, mask=inside, other=0.0)
            s = _limited(x, softcap, SOFTCAP)
            p = tl.exp2((s - top) * student_exponent) * inverse_total
            r = p
            if not SHARED_SOFTMAX:
                r = tl.exp2((s - top) * LOG2_E) * inverse_word_total
            grad = weight_cross_entropy * (r - tl.where(columns == target, 1.0, 0.0))
            if teacher is not None:
                t = _limited(tl.load(teacher + columns, mask=inside, other=0.0), softcap, SOFTCAP)
                d = (s - top) * student_slope - (t - peak) * teacher_slope
                q = tl.exp2((t - peak) * teacher_exponent) * inverse_teacher_total
                by_score = weight_student_teacher * p * (d - mean_by_student)
                by_score += weight_teacher_student * (p - q)
                if STANDARDIZE:
                    by_score = by_score - through_std * ((s - student_first) - student_mean)
                    by_score *= inverse_deviation
                grad += by_score
            if SOFTCAP:
                grad *= _softcap_slope(x, softcap)
            grad = tl.where(tl.abs(x) > _LIMIT, 0.0, grad * row_scale)
            tl.store(out + columns, grad.to(out.dtype.element_ty), mask=inside)


# Its parts ------------------------------------------------------------------------------------------------


@triton.jit
def _limited(x, softcap, SOFTCAP: tl.constexpr):
    """A logit within the limit and the softcap; NaN stays NaN."""
    x = tl.where(x > _LIMIT, _LIMIT, x)
    x = tl.where(x < -_LIMIT, -_LIMIT, x)
    if SOFTCAP:
        x = capped_tanh(x / softcap) * softcap
    return x


@triton.jit
def _softcap_slope(x, softcap):
    """1 - tanh^2, as a product: it keeps its digits where tanh is nearly 1."""
    decay = tl.exp2(tl.abs(x) / softcap * (-2.0 * LOG2_E))
    return 4.0 * decay / ((1.0 + decay) * (1.0 + decay))


@triton.jit
def _moments(
    logits, first, offsets, vocabulary, tiles, softcap,
    SOFTCAP: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """The mean of a row, as a distance from its first logit, and the unbiased standard deviation.

    Sums in float64 of the distances from the first. A distance of one logit from the mean is at
    most sqrt(V) deviations, so what cancels costs V of float64's 10^16 digits at most; a logit of 1e30 has a
    square there, which it has not in float32.
    """
    total = tl.zeros([WIDE], tl.float64)
    squares = tl.zeros([WIDE], tl.float64)
    for step in tl.range(0, tiles, num_stages=STAGES):
        columns = step * (TALL * WIDE) + offsets
        inside = columns < vocabulary
        x = _limited(tl.load(logits + columns, mask=inside, other=0.0), softcap, SOFTCAP)
        distance = tl.where(inside, x.to(tl.float64) - first.to(tl.float64), 0.0)
        total += tl.sum(distance, 0)
        squares += tl.sum(distance * distance, 0)
    distance = tl.sum(total, 0)
    mean = distance / vocabulary
    variance = (tl.sum(squares, 0) - distance * mean) / tl.maximum(vocabulary - 1, 1)
    variance = tl.where(variance < 0.0, 0.0, variance)  # NaN stays
    return mean.to(tl.float32), tl.sqrt(variance).to(tl.float32)
