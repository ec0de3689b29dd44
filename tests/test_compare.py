"""`vkit compare` against runs of known truth: length alone is no difference, attention at equal length is."""

import json
from operator import itemgetter

import numpy as np
import pytest

from tests.synthetic_runs import study_ratio, write_run
from vkit.attention.compare import compare
from vkit.attention.compare_pair import CURVE_POINTS, length_controlled
from vkit.attention.names import SHARES
from vkit.errors import VkitError
from vkit.evaluate.statistics import resample_items

ITEMS = 30
SHORT = np.random.default_rng(0).integers(5, 40, size=ITEMS)
LATER = SHORT[::-1] + 3


def lengths_of(name, seed):
    low, high = {"short": (5, 40), "long": (40, 200), "seven": (6, 9), "three hundred": (280, 320)}[name]
    return np.random.default_rng(100 + seed).integers(low, high, size=ITEMS)


def pair_of(*folders, **options):
    return compare(folders, resamples=400, **options)["pairs"][0]


def excludes_zero(figure):
    return figure["low"] > 0 or figure["high"] < 0


@pytest.mark.parametrize("lengths", [("short", "long"), ("long", "short"), ("seven", "three hundred")])
def test_runs_that_differ_only_in_length_show_no_difference_at_equal_length(tmp_path, lengths):
    found = []
    for seed in range(6):
        folders = [
            write_run(tmp_path / f"{name}{seed}", lengths_of(name, seed), seed=10 * seed + k)
            for k, name in enumerate(lengths)
        ]
        found.append(pair_of(*folders))
        assert excludes_zero(found[-1]["raw"])  # the means differ, by length alone
    for control in (
        [pair["length_controlled"] for pair in found],
        [pair["position_matched"]["ratio"] for pair in found],
    ):
        assert sum(map(excludes_zero, control)) <= 1  # of six intervals that miss one time in twenty
        assert abs(np.mean([figure["value"] for figure in control])) < 0.02
    assert sum("length explains the difference" in str(pair["conclusions"]) for pair in found) >= 5


@pytest.mark.parametrize("gain", [1.3, 0.7])
@pytest.mark.parametrize("lengths", [("short", "short"), ("short", "long"), ("long", "short")])
def test_runs_that_differ_in_attention_show_it_at_equal_length(tmp_path, lengths, gain):
    for seed in range(2):
        one, two = (
            write_run(tmp_path / f"{k}{seed}", lengths_of(name, seed), seed=10 * seed + k, image_gain=factor)
            for k, (name, factor) in enumerate(zip(lengths, (1, gain)))
        )
        pair = pair_of(one, two)
        for figure in (pair["position_matched"]["ratio"], pair["length_controlled"]):
            assert excludes_zero(figure)
            assert np.sign(figure["value"]) == np.sign(gain - 1)
        words = " ".join(pair["conclusions"]["may"])
        assert ("higher" if gain > 1 else "lower") in words
        assert "output length does not explain this difference" in words
        assert f"Weight on the picture {'rose' if gain > 1 else 'fell'}" in words


def test_a_longer_run_that_looks_less_is_not_ranked_by_its_mean(tmp_path):
    one = write_run(tmp_path / "a", SHORT, seed=1)
    two = write_run(tmp_path / "b", SHORT * 6, seed=2, image_gain=0.7)
    pair = pair_of(one, two)
    assert pair["raw"]["low"] > 0 > pair["position_matched"]["ratio"]["high"]
    assert "the other way round at equal positions: do not rank by the means" in str(pair["conclusions"])


def test_a_ratio_that_rose_because_p_fell_is_not_looking_more(tmp_path):
    pair = pair_of(
        write_run(tmp_path / "a", SHORT, seed=1), write_run(tmp_path / "b", SHORT, seed=2, text_gain=0.6)
    )
    assert excludes_zero(pair["position_matched"]["ratio"])
    assert "because weight on the text fell" in " ".join(pair["conclusions"]["may_not"])
    assert "Weight on the picture" not in " ".join(pair["conclusions"]["may"])


class Tokens:
    """What the regression needs of an answer."""

    def __init__(self, ratio):
        self.ratio, self.tokens = ratio, len(ratio)


def random_pairs(rng, items, delta, noise=0.1):
    pairs = []
    for _ in range(items):
        effect, lengths = 0.2 * rng.exponential(), (rng.integers(2, 30), rng.integers(10, 60))
        pairs.append(
            tuple(
                Tokens(
                    study_ratio(np.arange(n)) + effect + k * delta
                    + noise * (rng.exponential() - 1 + rng.standard_normal(n))
                )
                for k, n in enumerate(lengths)
            )
        )  # fmt: skip
    return pairs


def test_the_regression_is_least_squares_with_a_column_for_each_problem():
    rng = np.random.default_rng(0)
    pairs = random_pairs(rng, 12, 0.3)
    rows, values, weights = [], [], []
    longest = max(answer.tokens for pair in pairs for answer in pair)
    knots = sorted({0, 1, 2, 4, 8, 16, 32, longest - 1})
    for item, pair in enumerate(pairs):
        for k, answer in enumerate(pair):
            for j, value in enumerate(answer.ratio):
                hats = [np.interp(j, knots, unit) for unit in np.eye(len(knots))[1:]]
                rows.append([*np.eye(12)[item], *hats, k])
                values.append(value)
                weights.append(answer.tokens**-0.5)
    weights = np.array(weights)
    expected = np.linalg.lstsq(np.array(rows) * weights[:, None], values * weights, rcond=None)[0][-1]
    found = length_controlled(pairs, resample_items(12, resamples=200, seed=0))
    assert found["value"] == pytest.approx(expected, rel=1e-8)


def test_intervals_of_the_length_controlled_difference_cover_95_percent():
    rng, samples, hits = np.random.default_rng(1), 300, 0
    weights = resample_items(30, resamples=300, seed=0)
    for _ in range(samples):
        figure = length_controlled(random_pairs(rng, 30, 0.1), weights)
        hits += figure["low"] <= 0.1 <= figure["high"]
    assert abs(hits / samples - 0.95) <= 3 * (0.95 * 0.05 / samples) ** 0.5


def test_figures_of_a_run_are_the_papers(tmp_path):
    correct = [i % 3 == 0 for i in range(ITEMS)]
    folder = write_run(tmp_path / "a", [0, *SHORT[1:]], seed=1, correct=correct)
    run = compare([folder, write_run(tmp_path / "b", SHORT, seed=2)], resamples=200)["runs"][0]
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert (run["items"], run["measured"], run["empty"]) == (ITEMS, ITEMS - 1, 1)
    assert run["accuracy"]["value"] == pytest.approx(9 / 30)  # an empty answer is wrong
    assert run["accuracy"]["low"] < 0.3 < run["accuracy"]["high"]
    for name in ("mean", "sum", "max"):
        expected = np.mean([item["reduced"][name] for item in items if item["reduced"]])
        assert run["ratio"][name] == pytest.approx(expected)
    assert sum(run["shares"].values()) == pytest.approx(1)
    assert sum(run["shares_without_first_token"].values()) == pytest.approx(1)
    assert run["correlation"]["length"]["r"] > 0.3  # the confound
    spoken = [item for item in items if item["reduced"]]
    lengths = np.array([len(item["ratio"]) for item in spoken])
    design = np.stack([np.ones(ITEMS - 1), lengths, np.log(lengths)], axis=1)
    ratio, right = (
        side - design @ np.linalg.lstsq(design, side, rcond=None)[0]
        for side in np.array([[item["reduced"]["mean"], item["correct"]] for item in spoken], dtype=float).T
    )
    given = run["correlation"]["correct_given_length"]
    assert given["items"] == ITEMS - 1
    assert given["r"] == pytest.approx(np.corrcoef(ratio, right)[0, 1])


def test_positions_are_matched_problem_by_problem(tmp_path):
    folders = [
        write_run(tmp_path / "a", SHORT, seed=1),
        write_run(tmp_path / "b", LATER, seed=2),
    ]
    pair = pair_of(*folders)
    runs = [
        [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()] for folder in folders
    ]
    matched = pair["position_matched"]
    for figure, values_of in [
        *((matched[name], itemgetter(name)) for name in ("ratio", "V", "P")),
        *((matched["shares"][name], lambda item, name=name: item["shares"][name]) for name in SHARES),
    ]:
        means = []
        for one, two in zip(*runs):
            common = min(len(one["ratio"]), len(two["ratio"]))
            means.append([np.mean(values_of(item)[:common]) for item in (one, two)])
        baseline, other = np.mean(means, axis=0)
        assert (figure["baseline"], figure["other"]) == (pytest.approx(baseline), pytest.approx(other))
        assert figure["value"] == pytest.approx(other - baseline, abs=1e-12)
    common = np.minimum(SHORT, LATER).sum()
    assert pair["overlap"]["baseline"] == pytest.approx(common / SHORT.sum())
    assert pair["overlap"]["other"] == pytest.approx(common / LATER.sum())
    curve = pair["curve"]
    assert curve["items_baseline"][0] == ITEMS
    assert curve["items_baseline"][10] == (SHORT > 10).sum()
    assert curve["items_both"][10] == ((SHORT > 10) & (LATER > 10)).sum()
    one, two = (np.mean([item["ratio"][0] for item in items]) for items in runs)
    assert (curve["baseline"][0], curve["other"][0]) == (pytest.approx(one), pytest.approx(two))
    assert curve["difference"][0] == pytest.approx(two - one)


def test_steps_are_counted_from_one_and_averaged_over_the_answers_that_have_them(tmp_path):
    def in_two_steps(item):
        if item["id"] != "0":
            item["output_tokens"][3] = "\n"

    one = write_run(tmp_path / "a", [8] * 12, seed=1, change=in_two_steps)
    steps = pair_of(one, write_run(tmp_path / "b", [8] * 12, seed=2))["steps"]
    items = [json.loads(line)["ratio"] for line in (one / "items.jsonl").read_text().splitlines()]
    assert [(step["step"], step["items"]) for step in steps["baseline"]] == [(1, 12), (2, 11)]
    assert [step["step"] for step in steps["other"]] == [1]
    assert steps["baseline"][0]["ratio"] == pytest.approx(
        np.mean([np.mean(items[0]), *(np.mean(ratio[:4]) for ratio in items[1:])])
    )
    assert steps["baseline"][1]["ratio"] == pytest.approx(np.mean([np.mean(r[4:]) for r in items[1:]]))


def test_a_long_curve_is_thinned_to_its_ends(tmp_path):
    folders = [write_run(tmp_path / name, [900] * 3 + [9] * 9, seed=k) for k, name in enumerate("ab")]
    curve = pair_of(*folders)["curve"]
    assert len(curve["position"]) <= CURVE_POINTS
    assert curve["position"][0] == 0
    assert curve["position"][-1] == 899


def test_older_runs_are_compared_and_say_what_they_do_not_hold(tmp_path):
    old = write_run(tmp_path / "old", SHORT, seed=1, old=True)
    result = compare([old, write_run(tmp_path / "new", SHORT, seed=2)], resamples=200)
    run, pair = result["runs"][0], result["pairs"][0]
    assert run["sinks"]["columns"] is None
    for figure in (run["sinks"], run["ratio_without"]["both"], pair["without"]["sinks"]):
        assert "measured by an older vkit; measure again" in figure["reason"]
    assert pair["position_matched"]["ratio"]["low"] is not None
    json.dumps(result, allow_nan=False)


def change_key(key, value):
    return lambda item: item.update({key: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"change": change_key("span_policy", "question")},
            "span_policy 'study', .* comparable.*--spans",
        ),
        ({"change": change_key("row_convention", "own")}, "row_convention .* not comparable.*--rows"),
        ({"change": change_key("question", "Find y.")}, "item '0' is another problem in .*other"),
        ({"change": change_key("choices", ["1", "3"])}, "item '0' is another problem"),
        ({"change": lambda item: item.update(id="z" + item["id"])}, "share no problem"),
        ({"change": lambda item: item.update(id="7")}, "holds item '7' twice"),
    ],
)
def test_runs_whose_ratios_do_not_mean_the_same_are_refused(tmp_path, options, message):
    first = write_run(tmp_path / "first", SHORT, seed=1)
    other = write_run(tmp_path / "other", SHORT, seed=2, **options)
    with pytest.raises(VkitError, match=message):
        compare([first, other], resamples=200)


def test_too_few_folders_are_refused(tmp_path):
    folder = write_run(tmp_path / "a", SHORT, seed=1)
    with pytest.raises(VkitError, match="1 run given; compare needs two or more"):
        compare([folder])
    with pytest.raises(VkitError, match="99 resamples are too few"):
        compare([folder, tmp_path / "b"], resamples=99)
    with pytest.raises(VkitError, match="is given twice"):
        compare([folder, tmp_path / "." / "a"])
    empty = write_run(tmp_path / "b", [], seed=1)
    with pytest.raises(VkitError, match="holds no item"):
        compare([folder, empty])


def test_what_only_one_run_has_is_left_out_and_counted(tmp_path):
    one = write_run(tmp_path / "a", SHORT, seed=1, prompt="direct", random_weights=True)
    two = write_run(tmp_path / "b", SHORT[:20], seed=2, text="answers.jsonl")
    result = compare([one, two], resamples=200)
    pair = result["pairs"][0]
    assert (pair["shared"], pair["only_baseline"], pair["only_other"]) == (20, 10, 0)
    notes = " ".join(result["notes"])
    for part in ("10 problems are only in 'a'", "random weights", "answers were given", "prompt 'direct'"):
        assert part in notes
    words = " ".join(pair["conclusions"]["may_not"])
    assert "20 problems are few" in words
    assert "The prompts differ" in words


def test_a_run_without_any_answer_is_compared_in_accuracy_only(tmp_path):
    silent = write_run(tmp_path / "silent", [0] * ITEMS, seed=1)
    pair = pair_of(write_run(tmp_path / "a", SHORT, seed=2), silent)
    assert pair["measured"] == 0
    assert pair["accuracy"]["value"] == -1.0
    assert "No problem has a ratio in both runs" in " ".join(pair["conclusions"]["may_not"])


def test_accuracy_is_compared_on_the_same_problems(tmp_path):
    one = write_run(tmp_path / "a", SHORT, seed=1, correct=[True] * 8 + [False] * 22)
    two = write_run(tmp_path / "b", SHORT, seed=2, correct=[False] + [True] * 17 + [False] * 12)
    accuracy = pair_of(one, two)["accuracy"]
    assert (accuracy["only_baseline_correct"], accuracy["only_other_correct"]) == (1, 10)
    assert accuracy["value"] == pytest.approx(0.3)
    assert accuracy["p"] == pytest.approx(2 * 12 / 2**11)


def test_the_same_seed_gives_the_same_json(tmp_path):
    folders = [write_run(tmp_path / name, SHORT, seed=k) for k, name in enumerate("ab")]
    first, again, other = (json.dumps(pair_of(*folders, seed=seed)["raw"]) for seed in (0, 0, 1))
    assert first == again != other


def test_folders_of_one_name_are_told_apart_and_the_baseline_can_be_chosen(tmp_path):
    folders = [write_run(tmp_path / parent / "run", SHORT, seed=k) for k, parent in enumerate("abc")]
    result = compare(folders, baseline=1, resamples=200)
    assert [run["name"] for run in result["runs"]] == ["a/run", "b/run", "c/run"]
    assert [(pair["baseline"], pair["other"]) for pair in result["pairs"]] == [
        ("b/run", "a/run"),
        ("b/run", "c/run"),
    ]
    assert "2 runs are compared with 'b/run', without correction" in str(result["pairs"])
