"""The GPU benchmark of the divergence finds what is wrong, missing or slow; its logic needs no GPU."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is published for Linux only")

from benchmarks import gpu_divergence
from benchmarks.gpu_divergence import Size, divergence, divergence_correctness

SMALL = Size(rows=10, hidden=16, vocabulary=300)


def test_it_finds_the_loss_and_its_gradients_correct_in_every_dtype():
    results, problems = divergence_correctness("cpu", (SMALL,))
    assert problems == []
    assert len(results) == 2 * len(gpu_divergence.OPTIONS)


@pytest.mark.parametrize("option", ["alpha", "temperature", "lam"])
def test_it_names_a_loss_that_is_another(monkeypatch, option):
    right = gpu_divergence.linear_puma_loss

    def wrong(*args, **options):
        return right(*args, **options | {option: 0.31} if args[1] is not None else options)

    monkeypatch.setattr(gpu_divergence, "linear_puma_loss", wrong)
    problems = divergence_correctness("cpu", (SMALL,))[1]
    assert any(problem.startswith("loss is off") for problem in problems)
    assert any(problem.startswith("gradient is off") for problem in problems)


def test_it_times_ours_and_its_peers_in_every_case():
    results, _ = divergence("cpu", SMALL, repeats=1)
    assert results["frozen head"]["floor_ms"] == pytest.approx(3 * results["product_ms"])
    assert results["trained head"]["floor_ms"] == pytest.approx(4 * results["product_ms"])
    for name in ("frozen head", "trained head", "cross-entropy, frozen head", "cross-entropy, trained head"):
        assert {"ours", "eager"} <= set(results[name]["median_ms"])
        assert "ours" in results[name]["peak_mib"]
    assert results["rows"]["median_ms"]["float32"] > 0


def test_a_peer_that_does_not_fit_is_named(monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu_divergence.F, "linear", full)
    ways, reasons = gpu_divergence._ways(SMALL, "cpu", trained=False, with_teacher=True)
    assert list(ways) == ["ours"]
    assert "memory" in reasons["eager"]


def test_every_target_that_is_missed_is_a_problem():
    result = {
        "median_ms": {"ours": 2.0, "eager": 1.0},
        "peak_mib": {"ours": 2000.0},
        "share_of_floor": 0.5,
    }
    assert len(gpu_divergence._missed("case", result, check_memory=True)) == 3
    assert len(gpu_divergence._missed("case", result, check_memory=False)) == 2
    fine = {"median_ms": {"ours": 1.0, "eager": 2.0}, "peak_mib": {"ours": 9.0}, "share_of_floor": 0.9}
    assert gpu_divergence._missed("case", fine, check_memory=True) == []
