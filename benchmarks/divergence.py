"""Math-PUMA's loss from hidden states to gradients, against other ways to compute it and the products alone.

    python -m benchmarks divergence                                     # this CPU, 512 rows, vocabulary 51200
    python -m benchmarks divergence --quick --json divergence.json
    python -m benchmarks divergence --device cuda                       # 8192 rows, vocabulary 128256

Forward and backward of every way take turns. The floor is the matrix products that cannot be avoided, run in
the same turns: the logits of student and teacher, the gradient of the hidden states and, where the head is
trained, that of the head. The ways after it compute cross-entropy alone (lam = 0) and have a floor of theirs.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.measure import (
    Function,
    environment,
    free_mib,
    interleaved_ms,
    peak_mib,
    print_environment,
    write_result,
)
from vkit.kernels._extension import load_extension
from vkit.kernels.divergence import divergence_implementation, linear_puma_loss

ALPHA, LAM = 0.2, 0.1
FLOOR, OURS, EAGER, CHUNKED, LIGER_JSD = "products", "linear_puma_loss", "eager", "chunked", "liger jsd + ce"
CE_FLOOR, OURS_CE, EAGER_CE = "products, ce", "linear_puma_loss, ce", "eager, ce"
TORCH_CE, LIGER_CE = "linear_cross_entropy", "liger, ce"
FLOORS = {
    **dict.fromkeys((FLOOR, OURS, EAGER, CHUNKED, LIGER_JSD), FLOOR),
    **dict.fromkeys((CE_FLOOR, OURS_CE, EAGER_CE, TORCH_CE, LIGER_CE), CE_FLOOR),
}
EAGERS = {FLOOR: EAGER, CE_FLOOR: EAGER_CE}
TARGETS = {  # of linear_puma_loss with a frozen head: the most that it may be
    "cpu": {"time / floor": 1.15, "time / eager": 1 / 1.5, "memory / eager": 0.10},
    "cuda": {"time / floor": 1 / 0.85, "time / eager": 1.0, "peak_mib": 1024.0},
}


@dataclass(frozen=True)
class Case:
    """One problem: rows of hidden states and a head, which is frozen or trained."""

    rows: int
    size: int
    vocabulary: int
    dtype: torch.dtype
    trained: bool

    @property
    def logits_mebibytes(self) -> float:
        """Of one side, in float32."""
        return self.rows * self.vocabulary * 4 / 2**20

    def describe(self) -> str:
        head = "trained" if self.trained else "frozen"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"N={self.rows} D={self.size} V={self.vocabulary} {dtype}, {head} head"


def main(argv: list[str]) -> dict[str, Any]:
    """Measure what the arguments ask for, print a table to stdout and return (and write) the results."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks divergence", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"))
    parser.add_argument("--rows", type=int, help="512 on the CPU and 8192 on a GPU when left out")
    parser.add_argument("--size", type=int, help="of the hidden states: 1024, 4096")
    parser.add_argument("--vocabulary", type=int, help="51200, 128256")
    parser.add_argument("--threads", type=int, help="threads on the CPU; PyTorch's choice when left out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small problem, few repeats")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args(argv)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a table at a time, into a pipe too
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    on_gpu = torch.device(arguments.device).type == "cuda"
    usual = (128, 256, 16384) if arguments.quick else (8192, 4096, 128256) if on_gpu else (512, 1024, 51200)
    chosen = (arguments.rows, arguments.size, arguments.vocabulary)
    rows, size, vocabulary = (given or default for given, default in zip(chosen, usual, strict=True))
    dtypes = arguments.dtype or (["bfloat16"] if on_gpu else ["float32", "bfloat16"])

    result: dict[str, Any] = {
        "benchmark": "divergence",
        "environment": environment(arguments.device),
        "cases": [],
    }
    print_environment(result["environment"])
    if not on_gpu and divergence_implementation("cpu", torch.float32) == "pytorch":
        print(f"WARNING: {load_extension()}; this measures plain PyTorch", file=sys.stderr)
    for dtype in (getattr(torch, name) for name in dtypes):
        for trained in (False, True):
            case = Case(rows, size, vocabulary, dtype, trained)
            measured = measure(case, arguments.device, 3 if arguments.quick else arguments.repeats)
            result["cases"].append(measured)
            print_case(measured)
            if arguments.json:
                write_result(arguments.json, result)
    return result


def measure(case: Case, device: torch.device | str, repeats: int) -> dict[str, Any]:
    """Time and memory of every way for one case, with ratios to the products and to eager."""
    ways, skipped = contenders(case, device)
    times = interleaved_ms(ways, device, repeats)
    memory = {name: peak_mib(function, device) for name, function in ways.items()}
    median = {name: statistics.median(values) for name, values in times.items()}

    def ratio(values: dict[str, float], name: str, other: str) -> float | None:
        return values[name] / values[other] if other in values and name != other else None

    rows = {
        name: {
            "median_ms": median[name],
            "times_ms": times[name],
            "peak_mib": memory[name],
            "time / floor": ratio(median, name, FLOORS[name]),
            "time / eager": ratio(median, name, EAGERS[FLOORS[name]]),
            "memory / eager": ratio(memory, name, EAGERS[FLOORS[name]]),
        }
        for name in ways
    }
    return {
        "case": {**asdict(case), "dtype": str(case.dtype), "describe": case.describe()},
        "implementation": divergence_implementation(device, torch.float32),
        "ways": rows,
        "skipped": skipped,
        "targets": _verdicts(case, rows, torch.device(device).type),
    }


def contenders(case: Case, device: torch.device | str) -> tuple[dict[str, Function], dict[str, str]]:
    """The calls to compare, each from hidden states to gradients, and those left out with the reason."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return (std * torch.randn(*shape, generator=generator)).to(device, case.dtype)

    hidden = normal(case.rows, case.size).requires_grad_()
    teacher = normal(case.rows, case.size)
    weight = normal(case.vocabulary, case.size, std=3 * case.size**-0.5).requires_grad_(case.trained)
    labels = torch.randint(0, case.vocabulary, (case.rows,), generator=generator).to(device)
    leaves = [hidden, weight] if case.trained else [hidden]

    def gradients(loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, leaves)

    ways: dict[str, Function] = {
        FLOOR: _products(hidden, teacher, weight, case.trained),
        OURS: lambda: gradients(
            linear_puma_loss(hidden, teacher, weight, labels, alpha=ALPHA, lam=LAM).total
        ),
        EAGER: lambda: gradients(eager_loss(hidden, teacher, weight, labels) / case.rows),
        CHUNKED: lambda: gradients(chunked_loss(hidden, teacher, weight, labels) / case.rows),
        CE_FLOOR: _products(hidden, None, weight, case.trained),
        OURS_CE: lambda: gradients(linear_puma_loss(hidden, None, weight, labels, lam=0.0).total),
        EAGER_CE: lambda: gradients(F.cross_entropy(F.linear(hidden, weight).float(), labels)),
    }
    skipped = {}
    if hasattr(F, "linear_cross_entropy"):
        ways[TORCH_CE] = lambda: gradients(F.linear_cross_entropy(hidden, weight, labels))
    else:
        skipped[TORCH_CE] = f"torch {torch.__version__} does not have it"
    if importlib.util.find_spec("liger_kernel") is None:
        skipped["liger"] = "not installed"
    elif torch.device(device).type != "cuda":
        skipped["liger"] = "it needs a GPU"
    else:
        ways |= _liger(hidden, teacher, weight, labels, gradients)
    needed = 10 * case.logits_mebibytes
    if needed > free_mib(device):
        for name in (EAGER, EAGER_CE):
            del ways[name]
            skipped[name] = f"needs about {needed / 1024:.0f} GiB"
    return ways, skipped


def eager_loss(hidden: Tensor, teacher: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The sum over rows as a trainer writes it, on whole logits in float32."""
    log_p = F.log_softmax(F.linear(hidden, weight).float(), -1)
    with torch.no_grad():
        log_q = F.log_softmax(F.linear(teacher, weight).float(), -1)
    student_teacher = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    teacher_student = F.kl_div(log_p, log_q, reduction="sum", log_target=True)
    divergence = ALPHA * student_teacher + (1 - ALPHA) * teacher_student
    return LAM * divergence + (1 - LAM) * F.nll_loss(log_p, labels, reduction="sum")


def chunked_loss(
    hidden: Tensor, teacher: Tensor, weight: Tensor, labels: Tensor, chunk_rows: int = 128
) -> Tensor:
    """The same, a chunk of rows at a time, each computed again in the backward."""
    total = torch.zeros((), device=hidden.device)
    for start in range(0, len(labels), chunk_rows):
        rows = slice(start, start + chunk_rows)
        total = total + checkpoint(
            eager_loss, hidden[rows], teacher[rows], weight, labels[rows], use_reentrant=False
        )
    return total


def print_case(measured: dict[str, Any]) -> None:
    """One table: a line a way; floors have no ratios."""
    print(f"\n{measured['case']['describe']}, rows by {measured['implementation']}")
    columns = ("time / floor", "time / eager", "memory / eager")
    print(f"  {'':22} {'ms':>9} {'MiB':>8}" + "".join(f" {column:>14}" for column in columns))
    for name, row in measured["ways"].items():
        ratios = "".join(f" {row[column]:14.3f}" if row[column] else " " * 15 for column in columns)
        print(f"  {name:22} {row['median_ms']:9.2f} {row['peak_mib']:8.1f}{ratios}")
    for name, reason in measured["skipped"].items():
        print(f"  {name}: left out, {reason}")
    for verdict in measured["targets"]:
        met = "met" if verdict["met"] else "MISSED"
        print(f"  target {met}: {verdict['what']} {verdict['value']:.3f}, at most {verdict['at_most']:.3f}")


def _products(hidden: Tensor, teacher: Tensor | None, weight: Tensor, trained: bool) -> Function:
    """The matrix products of a step, into memory that is there already."""
    hidden, weight = hidden.detach(), weight.detach()
    logits = torch.empty(len(hidden), len(weight), dtype=hidden.dtype, device=hidden.device)
    grad_hidden, grad_weight = torch.empty_like(hidden), torch.empty_like(weight) if trained else None

    def run() -> None:
        for rows in (hidden,) if teacher is None else (teacher, hidden):
            torch.mm(rows, weight.mT, out=logits)
        torch.mm(logits, weight, out=grad_hidden)
        if grad_weight is not None:
            torch.mm(logits.mT, hidden, out=grad_weight)

    return run


def _liger(
    hidden: Tensor, teacher: Tensor, weight: Tensor, labels: Tensor, gradients: Any
) -> Iterator[tuple[str, Function]]:
    """Liger's nearest: one Jensen-Shannon divergence with cross-entropy, and cross-entropy alone."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    divergence = LigerFusedLinearJSDLoss(weight_hard_loss=1 - LAM, weight_soft_loss=LAM)
    cross_entropy = LigerFusedLinearCrossEntropyLoss()
    yield LIGER_JSD, lambda: gradients(divergence(hidden, weight, teacher, weight.detach(), labels))
    yield LIGER_CE, lambda: gradients(cross_entropy(weight, hidden, labels))


def _verdicts(case: Case, rows: dict[str, dict[str, Any]], device_type: str) -> list[dict[str, Any]]:
    """The targets, for the case that they are set for."""
    expected = {
        "cpu": Case(512, 1024, 51200, torch.float32, False),
        "cuda": Case(8192, 4096, 128256, torch.bfloat16, False),
    }
    if case != expected.get(device_type):
        return []
    found = [(what, rows[OURS][what], most) for what, most in TARGETS[device_type].items()]
    return [
        {"what": what, "value": value, "at_most": most, "met": value <= most}
        for what, value, most in found
        if value is not None
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
