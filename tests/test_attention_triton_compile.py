"""The Triton kernels compile for GPUs that are not here, spill nothing, and fit into shared memory.

A subset that touches every kernel, chip, head split and kind of code; `python -m benchmarks.compile_report`
has all combinations.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is published for Linux only")

from benchmarks.compile_report import KERNELS, SHARED_LIMIT_KIB, usage

CASES = [
    ("forward", 80, torch.bfloat16, 90, "causal"),
    ("forward", 64, torch.bfloat16, 80, "full"),
    ("forward", 128, torch.float16, 90, "masked"),
    ("forward", 256, torch.bfloat16, 100, "causal"),
    ("forward", 96, torch.bfloat16, 100, "window"),
    ("forward", 64, torch.float32, 80, "causal"),
    ("forward", 128, torch.float32, 90, "softcap"),
    ("grad_query", 80, torch.bfloat16, 90, "causal"),
    ("grad_query", 128, torch.bfloat16, 80, "masked"),
    ("grad_query", 256, torch.bfloat16, 100, "softcap"),
    ("grad_key", 80, torch.bfloat16, 90, "causal"),
    ("grad_key", 64, torch.bfloat16, 80, "causal"),
    ("grad_key", 128, torch.bfloat16, 100, "masked"),
    ("grad_key", 256, torch.bfloat16, 90, "window"),
    ("rows", 80, torch.bfloat16, 90, "causal"),
    ("rows", 96, torch.bfloat16, 80, "masked"),
    ("rows", 128, torch.bfloat16, 90, "softcap"),
    ("rows", 64, torch.float32, 90, "causal"),
]


@pytest.mark.parametrize(("kernel", "head_size", "dtype", "arch", "variant"), CASES, ids=str)
def test_a_kernel_spills_nothing_and_fits_the_chip(kernel, head_size, dtype, arch, variant):
    found = usage(kernel, head_size, dtype, arch, variant)
    assert found.local == 0, (
        f"{found.local} bytes of each thread are spilled, with {found.registers} registers"
    )
    assert found.shared_kib <= SHARED_LIMIT_KIB[arch]


def test_the_subset_covers_every_kernel_and_chip():
    assert {case[0] for case in CASES} == set(KERNELS)
    for kernel in KERNELS:
        assert {90, 80} <= {case[3] for case in CASES if case[0] == kernel}
