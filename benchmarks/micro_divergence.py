"""The rows of the divergence one call at a time, under pytest-benchmark: logits in, gradient out.

python -m benchmarks micro -k divergence --benchmark-columns=median,rounds
"""

import pytest
import torch

from vkit.kernels import divergence_blocked
from vkit.kernels.divergence_rows import divergence_rows_
from vkit.kernels.divergence_scoring import Divergence

SCORINGS = {
    "paper": Divergence(0.2, 0.1, 1.0, False, None),
    "temperature": Divergence(0.2, 0.1, 2.0, False, None),
    "standardized": Divergence(0.2, 0.1, 1.0, True, None),
    "softcap": Divergence(0.2, 0.1, 1.0, False, 30.0),
}
ROWS, VOCABULARY = 32, 51200


@pytest.mark.parametrize("way", ["divergence_rows_", "plain PyTorch", "loss alone", "cross-entropy alone"])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_divergence(benchmark, scoring, way):
    student, teacher = torch.randn(2, ROWS, VOCABULARY).mul_(3).unbind()
    labels = torch.randint(0, VOCABULARY, (ROWS,))
    function = divergence_blocked.divergence_rows_ if way == "plain PyTorch" else divergence_rows_
    beside = None if way == "cross-entropy alone" else teacher
    benchmark.group = scoring
    # The gradient is written over the logits; the next round takes it for logits, which cost the same.
    benchmark(function, student, beside, labels, SCORINGS[scoring], 1.0, way != "loss alone")
