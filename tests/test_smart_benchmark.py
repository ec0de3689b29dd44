"""The benchmark of SmarterVLM: its mechanics and its statistics, not its figures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.smart import COMPARISONS, ROWS, compare, conclude, main

# Forty test items, two of each picture.
ITEMS = [SimpleNamespace(image=f"{number // 2}.png") for number in range(40)]


def marks(*right):
    """Of each seed, items right by every measure: the first ``right`` of them."""
    return {
        seed: np.repeat((np.arange(40) < count)[:, None], 3, 1).astype(float)
        for seed, count in enumerate(right)
    }


def test_a_smoke_run_goes_through_all_sections(tmp_path, capsys):
    main(["--smoke", "--out", str(tmp_path), "--json", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["ablation"]["rows"]) == list(ROWS)
    assert result["ablation"]["rows"]["paper QF"]["overall"]["S_acc"]["deviation"] is not None
    assert result["ablation"]["finding"].endswith(".")
    assert {row["qf"] for row in result["cache"]} == {"paper", "tokens"}
    assert all(row["ratio_read"] > row["ratio"] for row in result["cache"])  # steps cost both sides the same
    assert all(row["step_ratio"] == row["heads_step_ms"] / row["shared_step_ms"] for row in result["heads"])
    assert all(row["heads_parameters"] > row["shared_parameters"] for row in result["heads"])
    assert "| tokens QF |" in capsys.readouterr().out


def test_the_ablation_has_the_papers_baseline_both_qf_layers_and_none():
    assert list(ROWS)[:4] == ["baseline", "no QF", "paper QF", "tokens QF"]
    assert ROWS["baseline"] == {"qf": "none", "decoder": "lstm"}


def test_every_comparison_is_of_known_rows():
    assert all(one in ROWS and other in ROWS for one, other in COMPARISONS)


def test_differences_are_paired_over_seeds_and_over_pictures():
    found = compare("a", "b", ITEMS, marks(30, 32, 34), marks(20, 20, 20))["S_acc"]
    assert found["difference"] == pytest.approx(30.0)
    assert found["seeds"] == pytest.approx([25.0, 30.0, 35.0])
    assert found["by_seed"] == pytest.approx([30 - 12.42, 30 + 12.42], abs=0.01)  # t(2) = 4.303, s = 5
    assert found["by_picture"][0] < 30 < found["by_picture"][1]
    twice = compare("a", "b", ITEMS * 2, *({s: np.tile(m, (2, 1)) for s, m in x.items()} for x in
                                           (marks(30, 32, 34), marks(20, 20, 20))))["S_acc"]  # fmt: skip
    assert twice["by_picture"] == pytest.approx(found["by_picture"])  # more rows of a picture say nothing new


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ((38, 39, 40), (10, 11, 12), "a beats b: +70.0 points"),
        ((10, 11, 12), (38, 39, 40), "a is worse than b: -70.0 points"),
        ((20, 20, 40), (10, 18, 10), "a is better than b in these trainings, too few to say so of others"),
        ((20, 21, 19), (20, 20, 20), "No difference of a and b is shown: +0.0 points"),
    ],
)
def test_the_finding_says_no_more_than_both_intervals(first, second, sentence):
    assert conclude(compare("a", "b", ITEMS, marks(*first), marks(*second))).startswith(sentence)
