"""The Triton kernels of segment attention compute what the reference defines; no GPU is needed.

The checks themselves are in `interpreter_attention.py`; they run in one process of their own, because Triton
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
def test_kernels_agree_with_the_reference_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:doctest"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [*command, "-o", "addopts=", "tests/interpreter_attention.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    assert "skipped" not in finished.stdout.splitlines()[-1], finished.stdout[-500:]


def test_tile_sizes_and_head_splits_are_known_for_every_head_size():
    from vkit.kernels import attention_triton_common as common

    for head_size in range(1, 257):
        first, rest = common.split_head(head_size)
        assert first + rest >= head_size > (first if rest else 0)
        assert first + rest < max(32, 2 * head_size)
        for capability in [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)]:
            for itemsize in (2, 4):
                common.forward_tiles(capability, head_size, itemsize)
                common.grad_query_tiles(capability, head_size, itemsize)
                common.grad_key_tiles(capability, head_size, itemsize, crowded=True)
                common.row_tiles(capability, head_size, itemsize, crowded=False, num_rows=7)
