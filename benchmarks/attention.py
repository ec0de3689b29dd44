"""Attention that reports segment masses, against plain attention and against other ways to get the masses.

    python -m benchmarks attention                                     # this CPU, T 512..4096
    python -m benchmarks attention --quick --json attention.json
    python -m benchmarks attention --device cuda --dtype bfloat16 --lengths 1024 16384

Every way takes turns with PyTorch's own attention without export, which the ratios compare with. The floor
is the time of the same products at the rate of a plain matrix product, measured in the same run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import (
    Function,
    environment,
    free_mib,
    gemm_tflops,
    interleaved_ms,
    peak_mib,
    print_environment,
    write_result,
)
from vkit.kernels._extension import load_extension
from vkit.kernels.attention import attention_implementation, attention_rows, segment_attention

NUM_SEGMENTS = 6  # first token, instructions, image, question, reasoning, the rest
NUM_ROWS = 64
SDPA, OURS, EAGER, ONE_HOT, ROWS = "sdpa", "segment_attention", "eager", "sdpa one-hot", "attention_rows"
TARGETS = {  # (way, what): the most that it may be, as a multiple of SDPA's or a share of eager's
    "cpu": {(OURS, "time / sdpa"): 1.10, (OURS, "time / eager"): 1 / 6, (OURS, "memory / eager"): 1 / 20},
    "cuda": {(OURS, "time / sdpa"): 1.05},
}


@dataclass(frozen=True)
class Case:
    """One causal problem."""

    length: int
    heads: int
    key_heads: int
    head_size: int
    dtype: torch.dtype
    batch: int = 1

    @property
    def operations(self) -> float:
        """Multiplications and additions of both products, for the keys that causal attention sees."""
        pairs = self.length * (self.length + 1) / 2
        return 4 * self.batch * self.heads * pairs * self.head_size

    @property
    def mebibytes(self) -> float:
        """Query, key, value and output, read or written once."""
        heads = 2 * (self.heads + self.key_heads)
        return self.batch * heads * self.length * self.head_size * self.dtype.itemsize / 2**20

    @property
    def weights_mebibytes(self) -> float:
        return self.batch * self.heads * self.length**2 * self.dtype.itemsize / 2**20

    def describe(self) -> str:
        heads = f"H={self.heads}" + (f"/{self.key_heads}" if self.key_heads != self.heads else "")
        return f"T={self.length} {heads} D={self.head_size} {str(self.dtype).removeprefix('torch.')}"


def main(argv: list[str]) -> dict[str, Any]:
    """Measure what the arguments ask for, print a table to stdout and return (and write) the results."""
    parser = argparse.ArgumentParser("python -m benchmarks attention", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument("--threads", type=int, help="threads on the CPU; PyTorch's choice when left out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one short length, few repeats")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args(argv)
    sys.stdout.reconfigure(line_buffering=True)  # a table at a time, into a pipe too
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    on_gpu = torch.device(arguments.device).type == "cuda"
    dtypes = arguments.dtype or (["bfloat16"] if on_gpu else ["float32", "bfloat16"])
    lengths, repeats = ([512], 3) if arguments.quick else (arguments.lengths, arguments.repeats)

    result: dict[str, Any] = {
        "benchmark": "attention",
        "environment": environment(arguments.device),
        "cases": [],
    }
    print_environment(result["environment"])
    if not on_gpu and attention_implementation("cpu", torch.float32) == "pytorch":
        print(f"WARNING: {load_extension()}; this measures plain PyTorch", file=sys.stderr)
    for dtype in (getattr(torch, name) for name in dtypes):
        rate = gemm_tflops(dtype, arguments.device)
        for case in cases(lengths, dtype):
            measured = measure(case, arguments.device, repeats, rate)
            result["cases"].append(measured)
            print_case(measured)
            if arguments.json:
                write_result(arguments.json, result)
    return result


def cases(lengths: list[int], dtype: torch.dtype) -> Iterator[Case]:
    """TinyLLaVA's heads at every length, and grouped heads of a common size at one."""
    for length in lengths:
        yield Case(length, 32, 32, 80, dtype)
    yield Case(sorted(lengths)[len(lengths) // 2], 32, 8, 128, dtype)


def measure(case: Case, device: torch.device | str, repeats: int, rate_tflops: float) -> dict[str, Any]:
    """Time and memory of every way for one case, with ratios to SDPA and eager, and the floor."""
    ways = contenders(case, device)
    skipped = {}
    if 3 * case.weights_mebibytes > free_mib(device):
        del ways[EAGER]
        skipped[EAGER] = f"needs about {3 * case.weights_mebibytes / 1024:.0f} GiB"
    with torch.no_grad():
        times = interleaved_ms(ways, device, repeats)
        memory = {name: peak_mib(function, device) for name, function in ways.items()}
    median = {name: statistics.median(values) for name, values in times.items()}
    floor_ms = case.operations / (rate_tflops * 1e12) * 1e3
    rows = {
        name: {
            "median_ms": median[name],
            "times_ms": times[name],
            "peak_mib": memory[name],
            "time / sdpa": median[name] / median[SDPA],
            "time / eager": median[name] / median[EAGER] if EAGER in median else None,
            "memory / eager": memory[name] / memory[EAGER] if EAGER in median else None,
            "time / floor": median[name] / floor_ms if name != ROWS else None,
        }
        for name in ways
    }
    return {
        "case": {**asdict(case), "dtype": str(case.dtype), "describe": case.describe()},
        "implementation": attention_implementation(device, case.dtype),
        "floor": {
            "ms": floor_ms,
            "operations": case.operations,
            "mib": case.mebibytes,
            "gemm_tflops": rate_tflops,
        },
        "ways": rows,
        "skipped": skipped,
        "targets": _verdicts(case, rows, torch.device(device).type),
    }


def contenders(case: Case, device: torch.device | str) -> dict[str, Function]:
    """The calls to compare: each computes attention, and all but SDPA the segment masses or rows too."""
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (case.batch, heads, case.length, case.head_size) for heads in (case.heads, *[case.key_heads] * 2)
    ]
    query, key, value = (torch.randn(s, generator=generator).to(device, case.dtype) for s in shapes)
    segments = segment_layout(case.length).expand(case.batch, -1).contiguous().to(device)
    grouped = case.heads != case.key_heads
    rows = torch.arange(max(0, case.length - NUM_ROWS), case.length, device=device)
    _, lse, _ = segment_attention(query, key, value, segments, NUM_SEGMENTS)

    def sdpa() -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)

    return {
        SDPA: sdpa,
        OURS: lambda: segment_attention(query, key, value, segments, NUM_SEGMENTS),
        ONE_HOT: lambda: one_hot_attention(query, key, value, segments),
        EAGER: lambda: eager_attention(query, key, value, segments),
        ROWS: lambda: attention_rows(query, key, lse, rows),
    }


def segment_layout(length: int) -> Tensor:
    """(1, T) segment of each key, laid out as in a multimodal prompt: ``0 | 1..30 | image | question | ...``.

    >>> segment_layout(2048).unique(return_counts=True)[1].tolist()
    [1, 30, 729, 100, 888, 300]
    """
    image = min(729, length * 3 // 8)
    starts = [1, 31, 31 + image, 131 + image, length - 300]
    return torch.bucketize(torch.arange(length), torch.tensor(sorted(starts)), right=True)[None].int()


def eager_attention(query: Tensor, key: Tensor, value: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """What a model does when asked for its weights, then their sums over the segments."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    hidden = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).triu(1)
    scores = (query @ key.mT * query.shape[-1] ** -0.5).masked_fill_(hidden, -torch.inf)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
    return weights @ value, weights @ F.one_hot(segments.long(), NUM_SEGMENTS).to(query.dtype)[:, None]


def one_hot_attention(query: Tensor, key: Tensor, value: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """The masses as more columns of the values, for attention that knows nothing of them.

    Head sizes are padded together to a multiple of 8, as fast attention wants them.
    """
    size = query.shape[-1]
    padded = math.ceil((size + NUM_SEGMENTS) / 8) * 8
    membership = F.one_hot(segments.long(), padded - size).to(value.dtype)
    values = torch.cat([value, membership[:, None].expand(-1, value.shape[1], -1, -1)], -1)
    query, key = (F.pad(x, (0, padded - size)) for x in (query, key))
    grouped = query.shape[1] != key.shape[1]
    both = F.scaled_dot_product_attention(
        query, key, values, is_causal=True, scale=size**-0.5, enable_gqa=grouped
    )
    return both[..., :size], both[..., size : size + NUM_SEGMENTS]


def print_case(measured: dict[str, Any]) -> None:
    """One table: a line a way, the floor last."""
    floor = measured["floor"]
    print(f"\n{measured['case']['describe']} causal, by {measured['implementation']}")
    columns = ("time / sdpa", "time / eager", "memory / eager", "time / floor")
    print(f"  {'':18} {'ms':>9} {'MiB':>8}" + "".join(f" {column:>14}" for column in columns))
    for name, row in measured["ways"].items():
        ratios = "".join(
            f" {row[column]:14.3f}" if row[column] is not None else " " * 15 for column in columns
        )
        print(f"  {name:18} {row['median_ms']:9.2f} {row['peak_mib']:8.1f}{ratios}")
    print(
        f"  {'floor':18} {floor['ms']:9.2f} {floor['mib']:8.1f}"
        f"   {floor['operations'] / 1e9:.1f} GFLOP at {floor['gemm_tflops']:.3f} TFLOP/s"
    )
    for name, reason in measured["skipped"].items():
        print(f"  {name}: left out, {reason}")
    for verdict in measured["targets"]:
        met = "met" if verdict["met"] else "MISSED"
        figures = f"{verdict['value']:.3f}, at most {verdict['at_most']:.3f}"
        print(f"  target {met}: {verdict['way']} {verdict['what']} {figures}")


def _verdicts(case: Case, rows: dict[str, dict[str, Any]], device_type: str) -> list[dict[str, Any]]:
    """The targets, for the case that they are set for on a CPU and for every case on a GPU."""
    if device_type == "cpu" and (case.length, case.heads, case.head_size) != (2048, 32, 80):
        return []
    return [
        {"way": way, "what": what, "value": rows[way][what], "at_most": most, "met": rows[way][what] <= most}
        for (way, what), most in TARGETS.get(device_type, {}).items()
        if rows[way][what] is not None
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
