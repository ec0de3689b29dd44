"""The attention kernels one call at a time, under pytest-benchmark.

python -m benchmarks micro --benchmark-columns=median,rounds
python -m benchmarks micro --benchmark-save=before      # then change something, and --benchmark-compare
"""

import pytest
import torch

from benchmarks.attention import Case, contenders

CASES = {
    "phi-2 T=512": Case(512, 32, 32, 80, torch.float32),
    "phi-2 T=512 bf16": Case(512, 32, 32, 80, torch.bfloat16),
    "grouped T=512": Case(512, 32, 8, 128, torch.float32),
}


@pytest.mark.parametrize("way", ["sdpa", "segment_attention", "attention_rows"])
@pytest.mark.parametrize("case", CASES)
def test_attention(benchmark, case, way):
    benchmark.group = case
    benchmark(contenders(CASES[case], "cpu")[way])
