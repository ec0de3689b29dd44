"""What the Triton kernels cost on chips that are not here: registers, spills, shared memory.

    python -m benchmarks.compile_report                                   # every kernel, head size and chip
    python -m benchmarks.compile_report --kernel forward --arch 90 --head-size 80
    python -m benchmarks.compile_report --kernel divergence

Needs no GPU. The host functions run on meta tensors, each kernel launch is caught with the very arguments
that it would have had, and compiled ahead of time for the chip with the compiler inside the triton package. A
spill (local memory) or more shared memory than a block may have is marked and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from vkit.kernels import (
    attention_triton,
    attention_triton_backward,
    attention_triton_common,
    attention_triton_rows,
    divergence_triton,
)
from vkit.kernels.attention_scoring import Scoring
from vkit.kernels.attention_triton_common import Tiles
from vkit.kernels.divergence_scoring import Divergence
from vkit.kernels.divergence_triton import RowTile

KERNELS = ("forward", "grad_query", "grad_key", "rows")
VARIANTS: dict[str, dict[str, Any]] = {
    "causal": dict(causal=True),
    "full": dict(causal=False),
    "masked": dict(causal=True, mask=True, key_mask=True),
    "window": dict(causal=True, window=512),
    "softcap": dict(causal=True, softcap=50.0),
}
DIVERGENCE_VARIANTS: dict[str, dict[str, Any]] = {
    "paper": dict(),
    "tempered": dict(temperature=2.0),
    "softcap": dict(softcap=30.0),
    "released": dict(standardize=True),
    "everything": dict(standardize=True, temperature=2.0, softcap=30.0),
    "without teacher": dict(lam=0.0, teacher=False),
    "loss alone": dict(gradient=False),
}
VOCABULARIES = (128256, 50257)  # rows that begin at multiples of 16 bytes, and rows that do not
SHARED_LIMIT_KIB = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
_TYPE_NAMES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
}


class Usage(NamedTuple):
    """What one compiled kernel takes; ``local`` is spilled bytes for each thread."""

    registers: int
    local: int
    shared_kib: float
    warps: int
    stages: int
    seconds: float

    def fits(self, arch: int) -> bool:
        return self.local == 0 and self.shared_kib <= SHARED_LIMIT_KIB[arch]


def usage(
    kernel: str,
    head_size: int,
    dtype: torch.dtype,
    arch: int,
    variant: str = "causal",
    tiles: Tiles | None = None,
    num_segments: int = 6,
) -> Usage:
    """Compile one kernel as its host function would launch it, and read its resources off the binary.

    Args:
        kernel: one of `KERNELS`.
        arch: compute capability as one number, 90 for sm_90.
        variant: one of `VARIANTS`.
        tiles: a launch shape other than the table's.
    """
    launch = _recorded_launch(kernel, head_size, dtype, arch, variant, tiles, num_segments)
    return _compile(launch, arch)


def divergence_usage(
    variant: str,
    vocabulary: int,
    arch: int,
    tile: RowTile | None = None,
    out_dtype: torch.dtype | None = None,
) -> Usage:
    """Compile the divergence's kernel as it would be launched; ``variant``: one of `DIVERGENCE_VARIANTS`.

    ``out_dtype``: of a gradient that goes elsewhere than into the student's logits.
    """
    options: dict[str, Any] = dict(alpha=0.2, lam=0.1, temperature=1.0, standardize=False, softcap=None)
    options |= DIVERGENCE_VARIANTS[variant]
    gradient, with_teacher = options.pop("gradient", True), options.pop("teacher", True)
    student, teacher = torch.empty(2, 1024, vocabulary, device="meta").unbind()
    out = None if out_dtype is None else torch.empty(1024, vocabulary, dtype=out_dtype, device="meta")
    labels = torch.empty(1024, dtype=torch.int64, device="meta")
    with _recording() as launches:
        divergence_triton.divergence_rows_(
            student, teacher if with_teacher else None, labels, Divergence(**options), 1.0, gradient,
            out=out, tile=tile,
        )  # fmt: skip
    return _compile(launches[0], arch)


# Catching a launch --------------------------------------------------------------------------------------


class Launch(NamedTuple):
    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, int]


class _Recorder:
    """Stands in for a jitted kernel and keeps the arguments of its launches."""

    def __init__(self, kernel: Any, launches: list[Launch]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **kwargs: Any) -> None:
            options = {name: kwargs.pop(name) for name in ("num_warps", "num_stages") if name in kwargs}
            positional = dict(zip(self.kernel.arg_names, args))
            self.launches.append(Launch(self.kernel, positional | kwargs, options))

        return launch


@contextlib.contextmanager
def _recording() -> Iterator[list[Launch]]:
    launches: list[Launch] = []
    places = [
        (attention_triton, "_forward_kernel"),
        (attention_triton_backward, "_grad_query_kernel"),
        (attention_triton_backward, "_grad_key_kernel"),
        (attention_triton_rows, "_rows_kernel"),
        (attention_triton_common, "_tile_segments_kernel"),
        (divergence_triton, "_divergence_kernel"),
    ]
    kernels = [getattr(module, name) for module, name in places]
    for (module, name), kernel in zip(places, kernels):
        setattr(module, name, _Recorder(kernel, launches))
    try:
        yield launches
    finally:
        for (module, name), kernel in zip(places, kernels):
            setattr(module, name, kernel)


def _recorded_launch(
    kernel: str,
    head_size: int,
    dtype: torch.dtype,
    arch: int,
    variant: str,
    tiles: Tiles | None,
    num_segments: int,
) -> Launch:
    batch, heads, key_heads, length = 2, 32, 8, 4096
    options: dict[str, Any] = dict(mask=None, key_mask=None, window=None, softcap=None, scale=head_size**-0.5)
    options |= VARIANTS[variant]
    # Attention modules hold (B, T, H, D) and hand over the transposed view.
    query, key, value, grad_out = (
        torch.empty(batch, length, h, head_size, dtype=dtype, device="meta").transpose(1, 2)
        for h in (heads, key_heads, key_heads, heads)
    )
    if options["mask"]:
        options["mask"] = torch.empty(batch, 1, length, length, dtype=torch.bool, device="meta")
        options["key_mask"] = torch.empty(batch, length, dtype=torch.bool, device="meta")
    ids = torch.empty(batch, length, dtype=torch.int32, device="meta")
    lse, delta = torch.empty(2, batch, heads, length, device="meta").unbind()
    common = attention_triton_common
    shape = (divmod(arch, 10), head_size, dtype.itemsize)
    crowded = options["mask"] is not None or options["softcap"] is not None
    scoring = Scoring(**options)
    with _recording() as launches:
        if kernel == "forward":
            tiles = tiles or common.forward_tiles(*shape)
            attention_triton.segment_attention(query, key, value, ids, num_segments, scoring, tiles=tiles)
        elif kernel in ("grad_query", "grad_key"):
            grad_mass = torch.empty(batch, heads, length, num_segments, device="meta")
            query_tiles = common.grad_query_tiles(*shape)
            key_tiles = common.grad_key_tiles(*shape, crowded)
            attention_triton.segment_attention_backward(
                grad_out, grad_mass, delta, query, key, value, ids, lse, scoring,
                query_tiles=tiles or query_tiles, key_tiles=tiles or key_tiles,
            )  # fmt: skip
        else:
            tiles = tiles or common.row_tiles(*shape, crowded, num_rows=length)
            rows = torch.empty(batch, length, dtype=torch.int32, device="meta")
            out = torch.empty(batch, length, length, device="meta")
            attention_triton.attention_rows_(query, key, lse, rows, out, scoring, tiles=tiles)
    return next(launch for launch in launches if launch.kernel.__name__ == f"_{kernel}_kernel")


# Compiling ----------------------------------------------------------------------------------------------


def _compile(launch: Launch, arch: int) -> Usage:
    """Ahead of time, with the specialisations that Triton's launcher would find: without them loads are not
    vectorised, and the compiler spills where the real launch would not."""
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(launch.kernel.params):
        argument = launch.arguments[parameter.name]
        specialised = not parameter.do_not_specialize
        divisible = specialised
        is_one = isinstance(argument, int) and argument == 1 and specialised
        if parameter.is_constexpr or argument is None or is_one:
            signature[parameter.name], constants[(index,)] = "constexpr", argument
            continue
        if isinstance(argument, torch.Tensor):
            signature[parameter.name] = "*" + _TYPE_NAMES[argument.dtype]
        elif isinstance(argument, int):
            signature[parameter.name] = "i32"
            divisible = specialised and argument % 16 == 0
        else:
            signature[parameter.name], divisible = "fp32", False
        if divisible:
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    began = time.perf_counter()
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=dict(launch.options))
    seconds = time.perf_counter() - began
    registers, stack, local = _resources(compiled.asm["cubin"])
    metadata = compiled.metadata
    return Usage(
        registers, stack + local, metadata.shared / 1024, metadata.num_warps, metadata.num_stages, seconds
    )


def _resources(cubin: bytes) -> tuple[int, int, int]:
    """Registers, stack and local bytes of a thread, as the binary states them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_cuobjdump(), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump reports no resource usage: {text!r}")
    return int(found[1]), int(found[2]), int(found[3])


@functools.cache
def _cuobjdump() -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not path.is_file():
        raise FileNotFoundError(f"this triton package has no {path}; install triton's Linux wheel")
    return str(path)


# The table ----------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where a kernel spills or does not fit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    every = (*KERNELS, "divergence")
    parser.add_argument("--kernel", nargs="+", choices=every, default=every)
    parser.add_argument("--head-size", nargs="+", type=int, default=[64, 80, 96, 128, 256])
    parser.add_argument("--arch", nargs="+", type=int, choices=list(SHARED_LIMIT_KIB), default=[80, 90, 100])
    parser.add_argument(
        "--dtype", nargs="+", choices=["bfloat16", "float16", "float32"], default=["bfloat16"]
    )
    parser.add_argument("--variant", nargs="+", choices=list(VARIANTS), default=["causal", "masked"])
    parser.add_argument("--segments", type=int, default=6)
    parser.add_argument("--tiles", type=int, nargs=4, metavar=("QUERIES", "KEYS", "WARPS", "STAGES"))
    options = parser.parse_args(argv)
    tiles = Tiles(*options.tiles) if options.tiles else None
    attention = [kernel for kernel in options.kernel if kernel != "divergence"]
    cases = itertools.product(attention, options.head_size, options.dtype, options.variant, options.arch)
    print(f"triton {triton.__version__}")
    failures = _print_table(cases, tiles, options.segments) if attention else 0
    if "divergence" in options.kernel:
        failures += _print_divergence_table(options.arch)
    return 1 if failures else 0


def _print_table(cases: Iterable[tuple], tiles: Tiles | None, num_segments: int) -> int:
    print("| kernel | head | dtype | variant | chip | registers | spilled | shared KiB | warps | stages |")
    print("| --- | ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    failures = 0
    for kernel, head_size, dtype, variant, arch in cases:
        found = usage(kernel, head_size, getattr(torch, dtype), arch, variant, tiles, num_segments)
        mark = "" if found.fits(arch) else " **does not fit**"
        failures += bool(mark)
        print(
            f"| {kernel} | {head_size} | {dtype} | {variant} | sm_{arch} "
            f"| {found.registers} | {found.local} | {found.shared_kib:.0f}{mark} "
            f"| {found.warps} | {found.stages} |",
            flush=True,
        )
    return failures


def _print_divergence_table(arches: list[int]) -> int:
    print("| divergence | vocabulary | chip | registers | spilled | shared KiB | warps | stages |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    failures = 0
    for variant, vocabulary, arch in itertools.product(DIVERGENCE_VARIANTS, VOCABULARIES, arches):
        found = divergence_usage(variant, vocabulary, arch)
        mark = "" if found.fits(arch) else " **does not fit**"
        failures += bool(mark)
        print(
            f"| {variant} | {vocabulary} | sm_{arch} | {found.registers} | {found.local} "
            f"| {found.shared_kib:.0f}{mark} | {found.warps} | {found.stages} |",
            flush=True,
        )
    return failures


if __name__ == "__main__":
    sys.exit(main())
