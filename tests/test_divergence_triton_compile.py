"""The Triton kernel of the divergence compiles for GPUs that are not here, spills nothing, and fits them.

A subset that touches every chip and option; `python -m benchmarks.compile_report` has all combinations.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is published for Linux only")

from benchmarks.compile_report import DIVERGENCE_VARIANTS, SHARED_LIMIT_KIB, divergence_usage

CASES = [
    ("paper", 128256, 90, None),
    ("paper", 128256, 90, torch.bfloat16),
    ("paper", 51200, 80, None),
    ("paper", 151936, 100, None),
    ("paper", 1000, 90, None),
    ("tempered", 50257, 90, None),
    ("softcap", 128256, 80, None),
    ("released", 128256, 80, None),
    ("everything", 128256, 90, None),
    ("everything", 50257, 90, None),
    ("everything", 128256, 100, None),
    ("without teacher", 128256, 90, None),
    ("loss alone", 128256, 90, None),
]


@pytest.mark.parametrize(("variant", "vocabulary", "arch", "out_dtype"), CASES, ids=str)
def test_the_kernel_spills_nothing_and_fits_the_chip(variant, vocabulary, arch, out_dtype):
    found = divergence_usage(variant, vocabulary, arch, out_dtype=out_dtype)
    assert found.local == 0, (
        f"{found.local} bytes of each thread are spilled, with {found.registers} registers"
    )
    # The smallest limit of any chip: one table of tiles serves them all.
    assert found.shared_kib <= min(SHARED_LIMIT_KIB.values())


def test_two_rows_of_the_paper_variant_are_in_flight_on_a_multiprocessor():
    found = divergence_usage("paper", 128256, 90)
    assert 2 * found.registers * 32 * found.warps <= 65536
    assert 2 * found.shared_kib <= SHARED_LIMIT_KIB[90]


def test_the_subset_covers_every_variant_and_chip():
    assert {case[0] for case in CASES} == set(DIVERGENCE_VARIANTS)
    assert {80, 90, 100} == {case[2] for case in CASES}
