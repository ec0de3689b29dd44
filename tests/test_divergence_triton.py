"""The Triton kernel of the divergence computes what float64 autograd does; no GPU is needed.

The checks themselves are in `interpreter_divergence.py`; they run in one process of their own, because Triton
decides at import whether kernels are compiled or interpreted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

triton = pytest.importorskip("triton", reason="Triton is published for Linux only")

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = [tuple(int(part) for part in x.__version__.split(".")[:2]) for x in (triton, numpy)]


@pytest.mark.skipif(
    VERSIONS[0] < (3, 7) and VERSIONS[1] >= (2, 4),
    reason="the interpreter of Triton 3.6 cannot run a loop with NumPy 2.4 or later",
)
def test_the_kernel_agrees_with_float64_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:doctest"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [*command, "-o", "addopts=", "tests/interpreter_divergence.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    assert "skipped" not in finished.stdout.splitlines()[-1], finished.stdout[-500:]


@pytest.mark.parametrize("vocabulary", [1, 100, 4096, 4097, 32001, 51200, 151936, 262144])
def test_the_lanes_of_a_tile_are_whole_columns_of_a_thread(vocabulary):
    from vkit.kernels.divergence_triton import row_tile

    tile = row_tile(vocabulary)
    assert tile.wide == tile.warps * 32 * 4  # 4 floats, one 16-byte load, for each thread
    assert tile.tall * tile.wide < max(2 * vocabulary, 2048)
