"""The divergence's part of `benchmarks.gpu`: checked against float64, then timed beside its peers.

    python -m benchmarks.gpu --only divergence_correctness divergence

Peers compute what they can: eager PyTorch the same loss, Liger's fused Jensen-Shannon distillation a loss of
as many products, PyTorch's linear_cross_entropy the loss without a teacher. What is not installed, or does
not fit into the GPU's memory, is named with the reason.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.measure import gemm_tflops, interleaved_ms, peak_mib
from vkit.kernels.divergence import linear_puma_loss
from vkit.kernels.divergence_reference import linear_puma_loss_reference
from vkit.kernels.divergence_rows import divergence_rows_
from vkit.kernels.divergence_scoring import Divergence

FLOOR_TARGET = 0.85  # of the products' time at the measured rate, in ours
MEMORY_TARGET_MIB = 1024
ROW_SHARE_TARGET = 0.15  # the time of the rows beside that of a frozen head's products
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-3}
OPTIONS: list[dict[str, Any]] = [
    dict(lam=0.5),
    dict(lam=0.9, alpha=0.7, temperature=2.0),
    dict(lam=0.5, standardize=True),
    dict(lam=0.5, softcap=30.0, bias=True),
    dict(lam=0.0, teacher=False),
]
Way = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    rows: int
    hidden: int
    vocabulary: int

    def describe(self) -> str:
        return f"{self.rows} rows, {self.hidden} wide, vocabulary {self.vocabulary}"


SIZE = Size(8192, 4096, 128256)
CORRECTNESS_SIZES = (Size(24, 256, 51200), Size(24, 256, 151936), Size(24, 256, 50257))


def divergence_correctness(
    device: str = "cuda", sizes: tuple[Size, ...] = CORRECTNESS_SIZES
) -> tuple[Any, list[str]]:
    """Loss and gradients of hidden states, weight and bias against autograd in float64."""
    results, problems = [], []
    for dtype, size, options in itertools.product(GRADIENT_TOLERANCE, sizes, OPTIONS):
        loss_error, gradient_error = _errors(size, dtype, device, **options)
        case = f"{dtype}, vocabulary {size.vocabulary}, {options}"
        results.append({"case": case, "loss": loss_error, "gradient": gradient_error})
        if not loss_error <= LOSS_TOLERANCE:
            problems.append(f"loss is off by {loss_error:.2e}: {case}")
        if not gradient_error <= GRADIENT_TOLERANCE[dtype]:
            problems.append(f"gradient is off by {gradient_error:.2e}: {case}")
    return results, problems


def divergence(device: str = "cuda", size: Size = SIZE, repeats: int = 7) -> tuple[Any, list[str]]:
    """Forward and backward in bfloat16, with a frozen and a trained head and without a teacher."""
    rate = gemm_tflops(torch.bfloat16, device)
    product_ms = 2 * size.rows * size.hidden * size.vocabulary / (rate * 1e12) * 1e3
    results: dict[str, Any] = {"size": size.describe(), "gemm_tflops": rate, "product_ms": product_ms}
    problems = []

    results["rows"] = _time_rows(size, device, repeats)
    share = results["rows"]["median_ms"]["float32"] / (3 * product_ms)
    results["rows"]["share_of_three_products"] = share
    if share > ROW_SHARE_TARGET:
        problems.append(f"rows: {share:.0%} of three products, target {ROW_SHARE_TARGET:.0%}")

    # Products: one for each side's logits, one for the hidden states' gradient, one for the weight's.
    for name, trained, with_teacher, products in (
        ("frozen head", False, True, 3),
        ("trained head", True, True, 4),
        ("cross-entropy, frozen head", False, False, 2),
        ("cross-entropy, trained head", True, False, 3),
    ):
        ways, reasons = _ways(size, device, trained, with_teacher)
        times = {
            key: statistics.median(values) for key, values in interleaved_ms(ways, device, repeats).items()
        }
        floor_ms = products * product_ms
        result = {
            "median_ms": times,
            "peak_mib": {key: peak_mib(way, device) for key, way in ways.items()},
            "absent": reasons,
            "floor_ms": floor_ms,
            "share_of_floor": floor_ms / times["ours"],
        }
        results[name] = result
        problems += _missed(name, result, check_memory=not trained)
        del ways
    return results, problems


# Parts -----------------------------------------------------------------------------------------------------


def _missed(name: str, result: dict[str, Any], check_memory: bool) -> list[str]:
    """What a case fails to reach: the floor, a peer, the memory."""
    times, problems = result["median_ms"], []
    if result["share_of_floor"] < FLOOR_TARGET:
        problems.append(f"{name}: {result['share_of_floor']:.0%} of the floor, target {FLOOR_TARGET:.0%}")
    for peer, time_ms in times.items():
        if time_ms < times["ours"]:
            problems.append(f"{name}: {times['ours']:.1f} ms, {peer} takes {time_ms:.1f} ms")
    # The gradient of a trained weight is larger than the target itself.
    if check_memory and not result["peak_mib"]["ours"] <= MEMORY_TARGET_MIB:
        problems.append(f"{name}: {result['peak_mib']['ours']:.0f} MiB, target {MEMORY_TARGET_MIB} MiB")
    return problems


def _draw(size: Size, dtype: torch.dtype, device: str) -> tuple[torch.Tensor, ...]:
    """Hidden states of student and teacher, weight, bias and labels.

    Logits have a standard deviation of 3, and the teacher is near the student, as a trained one is.
    """
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    student = normal(size.rows, size.hidden)
    teacher = student + 0.3 * normal(size.rows, size.hidden)
    weight = normal(size.vocabulary, size.hidden) * (3 * size.hidden**-0.5)
    labels = torch.randint(size.vocabulary, (size.rows,), generator=generator, device=device)
    return student.to(dtype), teacher.to(dtype), weight.to(dtype), normal(size.vocabulary).to(dtype), labels


def _errors(
    size: Size, dtype: torch.dtype, device: str, *, teacher: bool = True, bias: bool = False, **options: Any
) -> tuple[float, float]:
    """Relative errors of the loss and its parts, and of the worst gradient (by norm)."""
    hidden, beside, weight, offset, labels = _draw(size, dtype, device)
    labels[::7] = -100
    leaves = [hidden, weight, offset] if bias else [hidden, weight]
    found = []
    for compute, precision in ((linear_puma_loss, dtype), (linear_puma_loss_reference, torch.float64)):
        # Copies: a gradient is that of this pass, and the inputs are the same to the bit.
        inputs = [leaf.detach().to(precision, copy=True).requires_grad_() for leaf in leaves]
        loss = compute(
            inputs[0], beside.to(precision) if teacher else None, inputs[1], labels,
            bias=inputs[2] if bias else None, **options,
        )  # fmt: skip
        found.append(
            (torch.stack([x.detach().double() for x in loss[:4]]), torch.autograd.grad(loss[0], inputs))
        )
    (loss, grads), (exact_loss, exact_grads) = found
    loss_error = ((loss - exact_loss).abs() / exact_loss.abs().clamp(min=1e-3)).max().item()
    return loss_error, max(
        ((grad.double() - exact).norm() / exact.norm()).item() for grad, exact in zip(grads, exact_grads)
    )


def _time_rows(size: Size, device: str, repeats: int) -> dict[str, Any]:
    """The row kernel alone on one chunk, scaled to all rows, beside the bytes at the measured copy rate."""
    count = max(1, min(size.rows, 2**30 // (8 * size.vocabulary)))
    student, teacher = torch.randn(2, count, size.vocabulary, device=device).mul(3).unbind()
    copy = torch.empty_like(student)
    labels = torch.randint(size.vocabulary, (count,), device=device)
    scoring = Divergence(alpha=0.2, lam=0.1, temperature=1.0, standardize=False, softcap=None)

    def rows(scoring: Divergence, gradient: bool = True) -> Way:
        # In place: after the first call the student's logits are small, which changes no instruction.
        return lambda: divergence_rows_(student, teacher, labels, scoring, 1.0, gradient)

    released = Divergence(alpha=0.2, lam=0.1, temperature=1.0, standardize=True, softcap=None)
    ways: dict[str, Way] = {
        "copy": lambda: copy.copy_(teacher),
        "float32": rows(scoring),
        "float32, standardized": rows(released),
        "loss alone": rows(scoring, gradient=False),
    }
    times = {key: statistics.median(values) for key, values in interleaved_ms(ways, device, repeats).items()}
    rate = 2 * copy.nbytes / times["copy"]
    return {
        "rows": count,
        "copy_gb_per_s": rate / 1e6,
        "median_ms": {key: value * size.rows / count for key, value in times.items()},
        "floor_ms": 20 * size.rows * size.vocabulary / rate,
    }


def _ways(
    size: Size, device: str, trained: bool, with_teacher: bool
) -> tuple[dict[str, Way], dict[str, str]]:
    """Functions that compute loss and gradients, and why others are not among them."""
    hidden, teacher, weight, _, labels = _draw(size, torch.bfloat16, device)
    leaves = [hidden.requires_grad_()] + ([weight.requires_grad_()] if trained else [])
    reasons: dict[str, str] = {}

    def through(loss: Callable[[], torch.Tensor]) -> Way:
        return lambda: torch.autograd.grad(loss(), leaves)

    def ours() -> torch.Tensor:
        if with_teacher:
            return linear_puma_loss(hidden, teacher, weight, labels).total
        return linear_puma_loss(hidden, None, weight, labels, lam=0.0).total

    def eager() -> torch.Tensor:
        logits = F.linear(hidden, weight).float()
        if not with_teacher:
            return F.cross_entropy(logits, labels)
        log_p = logits.log_softmax(-1)
        with torch.no_grad():
            log_q = F.linear(teacher, weight).float().log_softmax(-1)
        weak = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
        strong = F.kl_div(log_p, log_q, reduction="sum", log_target=True)
        return 0.1 * (0.2 * weak + 0.8 * strong) / len(labels) + 0.9 * F.nll_loss(log_p, labels)

    ways = {"ours": through(ours), "eager": through(eager)}
    if with_teacher and importlib.util.find_spec("liger_kernel"):
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        liger = LigerFusedLinearJSDLoss(weight_hard_loss=0.9, weight_soft_loss=0.1, beta=0.2)
        ways["liger"] = through(lambda: liger(hidden, weight, teacher, weight.detach(), labels))
    elif with_teacher:
        reasons["liger"] = "not installed"
    if not with_teacher and hasattr(F, "linear_cross_entropy"):
        ways["torch"] = through(lambda: F.linear_cross_entropy(hidden, weight, labels))
    elif not with_teacher:
        reasons["torch"] = f"torch {torch.__version__} has no linear_cross_entropy"
    for name in [name for name in ways if name != "ours"]:
        try:
            ways[name]()
        except torch.OutOfMemoryError:
            reasons[name] = "does not fit into the GPU's memory"
            del ways[name]
    return ways, reasons
