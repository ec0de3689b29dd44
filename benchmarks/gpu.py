"""Everything that needs a GPU, in one call under ten minutes: build, check, then time, into one JSON.

    python -m benchmarks.gpu                          # benchmarks/results/<date>-<device>.json
    python -m benchmarks.gpu --only correctness forward --json gpu.json

Correctness comes first: the tests marked ``gpu``, then every kernel against float64 at sizes that models
have. A section that fails is recorded with its error, and the others still run; the file is written again
after each, so a call that is cut short loses at most one. Exit 1 if anything failed or missed its target.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import re
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.attention import NUM_SEGMENTS, Case, segment_layout
from benchmarks.gpu_divergence import divergence, divergence_correctness
from benchmarks.measure import environment, gemm_tflops, interleaved_ms, peak_mib, write_result
from vkit.kernels.attention import attention_rows, segment_attention
from vkit.kernels.attention_reference import attention_rows_reference, segment_attention_reference

ROOT = Path(__file__).resolve().parent.parent
HEAD_SIZES = (64, 80, 128)
LENGTHS = (1024, 2048, 4096, 8192, 16384)
FORWARD_TARGET, ROWS_TARGET = 1.05, 1.0  # times the best SDPA backend without export
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def main(argv: list[str]) -> int:
    """Run the sections, write the JSON, print a table of what missed; 0 if all is well."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results)")
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(
            "benchmarks.gpu: no CUDA device here; python -m benchmarks attention runs on the CPU",
            file=sys.stderr,
        )
        return 1
    device = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower())
    path = arguments.json or ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-{device}.json"
    result: dict[str, Any] = {"benchmark": "gpu", "failed": []}
    for name in arguments.only:
        start = time.perf_counter()
        try:
            result[name], problems = SECTIONS[name]()
        except Exception as error:  # recorded and counted; the other sections are still worth their time
            result[name] = {"error": "".join(traceback.format_exception(error))[-4000:]}
            problems = [f"{type(error).__name__}: {error}"[:300]]
        result["failed"] += [f"{name}: {problem}" for problem in problems]
        result.setdefault("seconds", {})[name] = round(time.perf_counter() - start, 1)
        result.setdefault("environment", environment("cuda"))  # after the build, which it tells of
        write_result(path, result)
        print(f"{name}: {result['seconds'][name]} s, {len(problems)} problems", flush=True)
        torch.cuda.empty_cache()
    print(f"written to {path}")
    for problem in result["failed"]:
        print(f"  {problem}")
    return 1 if result["failed"] else 0


# Sections: each returns what to record, and the problems that it found ------------------------------------


def build() -> tuple[Any, list[str]]:
    """The C++ kernels, in place."""
    done = _call([sys.executable, "setup.py", "build_ext", "--inplace"])
    return done, [] if done["exit"] == 0 else ["the C++ extension does not build"]


def tests() -> tuple[Any, list[str]]:
    """The tests marked gpu; several at a time where pytest-xdist is there: they compile some 300 kernels."""
    files = [str(path) for path in (ROOT / "tests").glob("test_*.py") if "mark.gpu" in path.read_text()]
    parallel = ["-n", "8"] if importlib.util.find_spec("xdist") else []
    done = _call(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *parallel, *files]
    )
    return done, [] if done["exit"] == 0 else [done["output"].strip().splitlines()[-1]]


def correctness() -> tuple[Any, list[str]]:
    """Each kernel against float64, at heads and lengths that models have, in every dtype."""
    rows, problems = [], []
    for dtype, tolerance in TOLERANCE.items():
        for head_size in (64, 80, 96, 128, 256):
            errors = _errors(dtype, head_size)
            rows.append({"dtype": str(dtype), "head_size": head_size, **errors})
            problems += [
                f"{name} is off by {error:.2e} in {dtype}, head size {head_size}"
                for name, error in errors.items()
                if not error <= tolerance
            ]
    return rows, problems


def forward() -> tuple[Any, list[str]]:
    """segment_attention beside the best of PyTorch's own backends without export."""
    rate, rows, problems = gemm_tflops(torch.bfloat16, "cuda"), [], []
    for case in _cases():
        query, key, value, segments = _inputs(case)
        ways = {
            **_sdpa_ways(query, key, value),
            "segment_attention": lambda q=query, k=key, v=value, s=segments: segment_attention(
                q, k, v, s, NUM_SEGMENTS
            ),
        }
        row = _compare(case, ways, "segment_attention", rate)
        row["peak_mib"] = {name: peak_mib(ways[name], "cuda") for name in ("segment_attention", row["best"])}
        rows.append(row)
        if row["ratio"] > FORWARD_TARGET:
            problems.append(
                f"{case.describe()}: {row['ratio']:.2f}x of {row['best']}, target {FORWARD_TARGET}"
            )
    return rows, problems


def backward() -> tuple[Any, list[str]]:
    """Forward and backward through out and mass, beside PyTorch's through out. No target, so no problem."""
    rate, rows = gemm_tflops(torch.bfloat16, "cuda"), []
    for case in _cases():
        if case.length > 8192:
            continue
        query, key, value, segments = _inputs(case, requires_grad=True)
        grad = torch.randn_like(query)

        def ours(leaves=(query, key, value), segments=segments, grad=grad) -> None:
            out, _, mass = segment_attention(*leaves, segments, NUM_SEGMENTS)
            torch.autograd.grad((out, mass), leaves, (grad, torch.ones_like(mass)))

        def through(attend: Callable, leaves=(query, key, value), grad=grad) -> Callable:
            return lambda: torch.autograd.grad(attend(), leaves, grad)

        with torch.enable_grad():
            sdpa = {name: through(way) for name, way in _sdpa_ways(query, key, value).items()}
            rows.append(
                _compare(case, {**sdpa, "segment_attention": ours}, "segment_attention", rate, passes=3.5)
            )
    return rows, []


def rows() -> tuple[Any, list[str]]:
    """attention_rows for every row, and for the last 512, beside one forward of SDPA."""
    rate, results, problems = gemm_tflops(torch.bfloat16, "cuda"), [], []
    for case in _cases():
        if case.length > 8192:
            continue
        query, key, value, segments = _inputs(case)
        lse = segment_attention(query, key, value, segments, NUM_SEGMENTS)[1]
        for count in (case.length, 512):
            chosen = torch.arange(case.length - count, case.length, device="cuda")
            ways = {
                **_sdpa_ways(query, key, value),
                "attention_rows": lambda q=query, k=key, sums=lse, r=chosen: attention_rows(q, k, sums, r),
            }
            row = {"rows": count, **_compare(case, ways, "attention_rows", rate)}
            results.append(row)
            if count == case.length and row["ratio"] > ROWS_TARGET:
                problems.append(
                    f"{case.describe()}: {row['ratio']:.2f}x of {row['best']}, target {ROWS_TARGET}"
                )
    return results, problems


def attn_ratio() -> tuple[Any, list[str]]:
    """Measuring beside generating, on a TinyLLaVA of 3.1 billion random parameters."""
    from benchmarks import end_to_end  # the models, which the other sections do without

    results, problems = [], []
    for batch_size, tokens in ((1, 256), (8, 256)):
        result = end_to_end.measure_overhead("3.1b", "cuda", torch.bfloat16, tokens, batch_size, repeats=2)
        del result["environment"]
        results.append(result)
        share = result["measure_ms"] / result["generate_ms"]
        if share > end_to_end.TARGET:
            problems.append(f"batch {batch_size}: measuring adds {share:.1%}, target {end_to_end.TARGET:.0%}")
        torch.cuda.empty_cache()
    return results, problems


def memory_plan() -> tuple[Any, list[str]]:
    """The plan of `vkit doctor --plan` beside the allocator's peak, in a step of several recipes."""
    from benchmarks import memory_plan as plans  # training, which the other sections do without

    rows, problems = [], []
    for name in plans.RECIPES:
        row = plans.compare(name, "cuda")
        rows.append(row)
        if not plans.LOWEST <= row["error"] <= plans.HIGHEST:
            problems.append(f"{name}: the plan is {row['error']:+.0%} off the measured peak")
        torch.cuda.empty_cache()
    return rows, problems


SECTIONS: dict[str, Callable[[], tuple[Any, list[str]]]] = {
    "build": build,
    "tests": tests,
    "correctness": correctness,
    "divergence_correctness": divergence_correctness,
    "forward": forward,
    "backward": backward,
    "rows": rows,
    "divergence": divergence,
    "attn_ratio": attn_ratio,
    "memory_plan": memory_plan,
}


# What they share -------------------------------------------------------------------------------------------


def _call(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return {"command": command[1:], "exit": done.returncode, "output": done.stdout[-4000:]}


def _cases() -> Iterator[Case]:
    for head_size in HEAD_SIZES:
        for length in LENGTHS:
            yield Case(length, 32, 32, head_size, torch.bfloat16, batch=max(1, 4096 // length))
    yield Case(4096, 32, 8, 128, torch.bfloat16)
    yield Case(4096, 32, 32, 80, torch.float16)
    yield Case(2048, 32, 32, 80, torch.float32)


def _inputs(case: Case, requires_grad: bool = False) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(heads: int) -> torch.Tensor:
        shape = (case.batch, heads, case.length, case.head_size)
        drawn = torch.randn(shape, generator=generator, device="cuda").to(case.dtype)
        return drawn.requires_grad_(requires_grad)

    segments = segment_layout(case.length).expand(case.batch, -1).contiguous().cuda()
    return normal(case.heads), normal(case.key_heads), normal(case.key_heads), segments


def _sdpa_ways(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> dict[str, Callable]:
    """PyTorch's attention by each backend that takes these tensors."""
    grouped = query.shape[1] != key.shape[1]
    ways = {}
    for name, backend in BACKENDS.items():

        def way(backend: SDPBackend = backend) -> torch.Tensor:
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)

        try:
            out = way()
            if out.requires_grad:
                torch.autograd.grad(out, (query, key, value), torch.ones_like(out))
        except RuntimeError:
            continue  # "No available kernel": this backend does not take the dtype or the heads
        ways[name] = way
    return ways


def _compare(
    case: Case, ways: dict[str, Callable], ours: str, rate_tflops: float, passes: float = 1.0
) -> dict[str, Any]:
    """Median times, the best peer, our ratio to it, and the floor of the products at the measured rate."""
    times = {name: statistics.median(values) for name, values in interleaved_ms(ways, "cuda", 15).items()}
    peers = {name: value for name, value in times.items() if name != ours}
    best = min(peers, key=lambda name: peers[name])
    floor_ms = passes * case.operations / (rate_tflops * 1e12) * 1e3
    return {
        "case": case.describe(),
        "batch": case.batch,
        "median_ms": times,
        "best": best,
        "ratio": times[ours] / times[best],
        "tflops": passes * case.operations / times[ours] / 1e9,
        "floor_ms": floor_ms,
        "gemm_tflops": rate_tflops,
    }


def _errors(dtype: torch.dtype, head_size: int) -> dict[str, float]:
    """Largest deviations from float64 beside the largest value, with grouped heads, padding and a window."""
    generator = torch.Generator("cuda").manual_seed(head_size)
    length, options = 700, {"window": 500, "softcap": 20.0}
    shapes = ((2, 4, length, head_size), (2, 2, length, head_size), (2, 2, length, head_size))
    leaves = [torch.randn(s, generator=generator, device="cuda").to(dtype).requires_grad_() for s in shapes]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    ids = torch.randint(-1, 5, (2, length // 20), generator=generator, device="cuda").repeat_interleave(20, 1)
    key_mask = torch.ones(2, length, dtype=torch.bool, device="cuda")
    key_mask[1, :90] = False
    weights = torch.randn(shapes[0], generator=generator, device="cuda", dtype=torch.float64)

    results, gradients = [], []
    for inputs, attend in ((leaves, segment_attention), (exact, segment_attention_reference)):
        out, lse, mass = attend(*inputs, ids, 5, key_mask=key_mask, **options)
        loss = (out.double() * weights).sum() + (mass.double() * torch.arange(5, device="cuda")).sum()
        results.append((out, lse, mass))
        gradients.append(torch.autograd.grad(loss, inputs))
    rows = torch.arange(0, length, 7, device="cuda")
    maps = attention_rows(*leaves[:2], results[0][1].detach(), rows, key_mask=key_mask, **options)
    exact_maps = attention_rows_reference(*exact[:2], results[1][1], rows, key_mask=key_mask, **options)
    seen = results[1][1].isfinite()
    pairs = {
        "out": (results[0][0], results[1][0]),
        "lse": (results[0][1][seen], results[1][1][seen]),
        "mass": (results[0][2], results[1][2]),
        "rows": (maps, exact_maps),
        **{f"gradient of {n}": pair for n, pair in zip(("query", "key", "value"), zip(*gradients))},
    }
    return {
        name: ((actual.double() - expected).abs().max() / expected.abs().max()).item()
        for name, (actual, expected) in pairs.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
