"""Time and memory of a call, on any device, and what they were measured on.

    from benchmarks.measure import environment, interleaved_ms, peak_mib

    times = interleaved_ms({"ours": ours, "theirs": theirs}, device="cpu", repeats=7)   # lists of ms
    extra = peak_mib(ours, device="cpu")

Calls that are compared take turns, so that a machine that is busy for a while slows all of them.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vkit
from vkit.kernels._extension import load_extension

Function = Callable[[], Any]
PACKAGES = ("torch", "triton", "transformers", "vkit")
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEMORY = Path("/proc/meminfo")


def interleaved_ms(
    functions: dict[str, Function], device: torch.device | str, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds of a call in each of ``repeats`` rounds, in which the functions take turns.

    Before them is a round to warm up. On a GPU a short function is called several times a round, so that the
    time of a launch is hidden as it is in a model.
    """
    device = torch.device(device)
    calls = {}
    for name, function in functions.items():
        function()
        once_ms = _calls_ms(function, device, 1)
        calls[name] = max(1, min(20, int(10 / max(once_ms, 1e-3)))) if device.type == "cuda" else 1
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(_calls_ms(function, device, calls[name]))
    return times


def time_ms(function: Function, device: torch.device | str, repeats: int = 7) -> float:
    """Median milliseconds of a call."""
    return statistics.median(interleaved_ms({"": function}, device, repeats)[""])


def peak_mib(function: Function, device: torch.device | str) -> float:
    """MiB that a call needs beyond what is in use before it, its results included.

    On a GPU as PyTorch's allocator counts it; on the CPU as Linux does, for the process's resident memory
    (nan on other systems).
    """
    device = torch.device(device)
    function()  # libraries allocate their workspaces once
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        in_use = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - in_use) / 2**20
    if not _CLEAR_REFS.exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)  # else the call could reuse memory that is free but still resident
    _CLEAR_REFS.write_text("5")  # the peak starts again at what is resident now
    before = _status_mib("VmRSS")
    function()
    return _status_mib("VmHWM") - before


def free_mib(device: torch.device | str) -> float:
    """MiB that a call could still allocate, infinite where the system does not say."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    if not _MEMORY.exists():
        return float("inf")
    (available,) = (x for x in _MEMORY.read_text().splitlines() if x.startswith("MemAvailable:"))
    return int(available.split()[1]) / 1024


def gemm_tflops(dtype: torch.dtype, device: torch.device | str, size: int | None = None) -> float:
    """10^12 operations per second of a square matrix product, the rate that floors are computed with."""
    size = size or (8192 if torch.device(device).type == "cuda" else 2048)
    left, right = torch.randn(2, size, size, device=device).to(dtype).unbind()
    fastest = min(interleaved_ms({"": lambda: left @ right}, device, repeats=5)[""])
    return 2 * size**3 / (fastest * 1e-3) / 1e12


def environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a result depends on: date, device, threads, versions."""
    device = torch.device(device)
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu_capability": None,
        "cpp_extension": load_extension() or "loaded",
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if found["cpp_extension"] == "loaded":
        found["cpu_capability"] = torch.ops.vkit_cpp.cpu_capability()
    if device.type == "cuda":
        found["cuda"] = torch.version.cuda
    return found


def print_environment(found: dict[str, Any]) -> None:
    """One line of what `environment` found."""
    versions = " ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    device = f"{found['device']}, {found['threads']} threads, {found['cpu_capability']}"
    print(f"{device}; {versions}; {found['date']}")


def _calls_ms(function: Function, device: torch.device, calls: int) -> float:
    """Milliseconds per call of that many calls in a row."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        # The GPU clears its cache, and is then kept busy while Python launches what is measured: launches of
        # kernels shorter than that do not show, as they do not in a model.
        _flush_buffer(device).zero_()
        torch.cuda._sleep(1_000_000)
        start.record()
        for _ in range(calls):
            function()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / calls
    begin = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - begin) * 1e3 / calls


@functools.cache
def _flush_buffer(device: torch.device) -> torch.Tensor:
    """Larger than any GPU's L2 cache."""
    return torch.empty(256 * 2**20, dtype=torch.int8, device=device)


def _status_mib(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{_STATUS} has no {field}")


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a benchmark's result as JSON, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def _cpu_name() -> str:
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def _version(package: str) -> str | None:
    if package == "vkit":
        return vkit.__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
