"""The reproduction benchmark: its mechanics and its statistics, not its accuracies."""

import json

import numpy as np
import pytest

from benchmarks.reproduction import COMPARISONS, REGIMES, TABLE, compare, main


def test_a_smoke_run_goes_through_orders_controls_and_regimes(tmp_path, capsys):
    names = ["1-2-3", "1-2-3, lambda 0", "noisy, lambda 0.9, frozen"]
    only = [argument for name in names for argument in ("--only", name)]
    main(["--smoke", "--regimes", *only, "--out", str(tmp_path), "--json", str(tmp_path / "r")])
    result = json.loads((tmp_path / "r").read_text())
    assert list(result["conditions"]) == names
    assert all(row["seeds"] == 1 for row in result["conditions"].values())
    assert [found["other"] for found in result["comparisons"]] == ["1-2-3, lambda 0"]
    settings = json.loads((tmp_path / "seed0" / "1" / "2,lam=0.0" / "stage2" / "settings.json").read_text())
    assert settings["recipe"]["lam"] == 0.0
    assert "| 1-2-3 |" in capsys.readouterr().out
    clean, noisy = (
        [json.loads(line) for line in (tmp_path / "seed0" / name / "pairs.jsonl").read_text().splitlines()]
        for name in ("data", "data-noisy")
    )
    changed = sum(a["response"] != b["response"] for a, b in zip(clean, noisy))
    assert 0.3 * len(clean) < changed <= 0.5 * len(clean)


def test_every_comparison_is_of_known_conditions():
    known = {**TABLE, **REGIMES}
    assert all(one in known and other in known for one, other in COMPARISONS)


def outcome(*hits):
    return {
        seed: [{"version": "vision-only", "correct": bool(hit)} for hit in row]
        for seed, row in enumerate(hits)
    }


def test_a_difference_that_is_there_is_found():
    generator = np.random.default_rng(0)
    strong = outcome(*(generator.random((5, 400)) < 0.8))
    weak = outcome(*(generator.random((5, 400)) < 0.6))
    found = compare("a", "b", strong, weak)
    assert found["difference"] == pytest.approx(20, abs=3)
    assert found["by_seed"][0] > 10
    assert found["by_item"][0] > 10


def test_intervals_over_seeds_cover_no_difference_as_often_as_they_say():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        sides = []
        for _ in range(2):  # trainings differ by more than their problems do
            levels = np.clip(0.7 + 0.05 * generator.standard_normal((4, 1)), 0, 1)
            sides.append(outcome(*(generator.random((4, 100)) < levels)))
        low, high = compare("a", "b", *sides)["by_seed"]
        covered += low <= 0 <= high
    assert 180 <= covered <= 199


def test_one_seed_gives_no_interval_over_seeds():
    assert compare("a", "b", outcome([1, 0]), outcome([0, 0]))["by_seed"] is None
