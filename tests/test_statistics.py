"""Intervals cover what they say, p-values are p-values, and length alone makes no correlation."""

import numpy as np
import pytest
from scipy import stats

from vkit.evaluate.statistics import (
    bootstrap_coefficient,
    bootstrap_mean,
    clustered_wilson,
    correlate,
    paired_shares,
    resample_items,
    wilson,
)

SAMPLES = 600
ERROR = 3 * (0.95 * 0.05 / SAMPLES) ** 0.5  # of a measured coverage of 95%, three standard errors


def covered(draw, items):
    """Measured coverage of the 95% interval and of the percentile interval for a mean of 0."""
    rng, weights = np.random.default_rng(1), resample_items(items, resamples=600, seed=0)
    hits = np.zeros(2)
    for _ in range(SAMPLES):
        values = draw(rng, items)
        estimate = bootstrap_mean(values, weights)
        low, high = np.quantile(weights @ values / items, [0.025, 0.975])
        hits += [estimate.low <= 0 <= estimate.high, low <= 0 <= high]
    return hits / SAMPLES


@pytest.mark.parametrize("items", [20, 30, 40])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.exponential(size=n) - 1,
        lambda rng, n: rng.laplace(size=n),
        lambda rng, n: rng.standard_normal(n),
    ],
    ids=["skewed", "heavy tails", "normal"],
)
def test_intervals_of_few_items_cover_95_percent(draw, items):
    coverage, percentile = covered(draw, items)
    assert abs(coverage - 0.95) <= ERROR
    assert percentile < coverage  # which is why intervals are not made so


def test_intervals_of_paired_shares_cover_95_percent():
    rng, hits = np.random.default_rng(0), 0
    for lost, won, _ in rng.multinomial(30, [0.1, 0.2, 0.7], size=SAMPLES):
        estimate, _ = paired_shares(int(lost), int(won), 30)
        hits += estimate.low <= 0.1 <= estimate.high
    assert abs(hits / SAMPLES - 0.95) <= ERROR


def test_a_reweighted_fit_is_the_fit_of_the_drawn_items():
    rng = np.random.default_rng(2)
    sizes = rng.integers(2, 7, size=12)
    rows = [np.column_stack([np.ones(n), rng.standard_normal((n, 2))]) for n in sizes]
    values = [rng.standard_normal(n) + x[:, 2] for n, x in zip(sizes, rows)]
    normal = np.stack([x.T @ x for x in rows])
    moment = np.stack([x.T @ y for x, y in zip(rows, values)])
    weights = resample_items(12, resamples=400, seed=0)
    estimate = bootstrap_coefficient(normal, moment, weights)

    def fit(drawn):  # by least squares on the rows, with the sandwich over items
        x, y = np.concatenate([rows[i] for i in drawn]), np.concatenate([values[i] for i in drawn])
        theta = np.linalg.lstsq(x, y, rcond=None)[0]
        inverse = np.linalg.inv(x.T @ x)
        scores = np.stack([inverse @ rows[i].T @ (values[i] - rows[i] @ theta) for i in drawn])
        return theta[2], np.sqrt((scores[:, 2] ** 2).sum() * 12 / 11)

    value, error = fit(range(12))
    draws = [fit(np.repeat(np.arange(12), row.astype(int))) for row in weights]
    reach = np.quantile([abs(each - value) / spread for each, spread in draws], 0.95, method="higher")
    np.testing.assert_allclose(
        [estimate.value, estimate.low, estimate.high], [value, value - reach * error, value + reach * error]
    )


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).standard_normal(25)
    first, again, other = (
        bootstrap_mean(values, resample_items(25, resamples=300, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_there_is_no_interval_where_none_can_be_told():
    few = bootstrap_mean(np.arange(5.0), resample_items(5, resamples=100, seed=0))
    assert (few.value, few.low) == (2.0, None)
    assert "5 items are too few" in few.reason
    one_differs = np.zeros(30)
    one_differs[3] = 1.0
    lonely = bootstrap_mean(one_differs, resample_items(30, resamples=300, seed=0))
    assert lonely.low is None
    assert "nearly all items are alike" in lonely.reason
    same = bootstrap_mean(np.full(30, 0.1), resample_items(30, resamples=300, seed=0))
    assert same.low == same.value == same.high


def test_correlation_and_p_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(25)
    y = 0.3 * x + rng.standard_normal(25)
    found = correlate(x, y, resamples=4999, seed=0)
    assert found.r == pytest.approx(stats.pearsonr(x, y).statistic)
    expected = stats.permutation_test(
        (x,), lambda x: stats.pearsonr(x, y).statistic, permutation_type="pairings", n_resamples=999, rng=1
    )
    assert found.p == pytest.approx(expected.pvalue, abs=0.04)


def test_partial_correlation_is_the_textbooks():
    x, y, z = np.random.default_rng(3).standard_normal((3, 40))
    x, y = x + z, y - z
    xy, xz, yz = (np.corrcoef(*pair)[0, 1] for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert correlate(x, y, covariates=z[:, None], resamples=99, seed=0).r == pytest.approx(expected)


def test_the_partial_permutation_refits_the_whole_model_each_time():
    rng = np.random.default_rng(8)
    x, y, covariates = rng.standard_normal(12), rng.standard_normal(12), rng.standard_normal((12, 6))
    y = y + 0.2 * x
    design = np.column_stack([np.ones(12), covariates])

    def residual(values):
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    shuffled = np.random.default_rng(0).permuted(np.tile(residual(y), (500, 1)), axis=1)
    refitted = [np.corrcoef(residual(x), residual(y - residual(y) + each))[0, 1] for each in shuffled]
    beyond = sum(abs(r) >= abs(np.corrcoef(residual(x), residual(y))[0, 1]) for r in refitted)
    assert 10 < beyond < 400
    assert correlate(x, y, covariates=covariates, resamples=500, seed=0).p == (beyond + 1) / 501


def test_permutations_as_far_out_as_the_data_count():
    right = np.repeat([0.0, 1.0], 5)  # of 252 ways to choose five, this one and its opposite reach r = 1
    assert correlate(right, 0.3 * right, resamples=20_000, seed=0).p == pytest.approx(2 / 252, rel=0.2)


def test_a_correlation_through_length_alone_is_gone_at_equal_length():
    rng = np.random.default_rng(4)
    lengths = rng.integers(5, 300, size=200).astype(float)
    ratio = 0.3 * np.log(lengths) + 0.2 * rng.standard_normal(200)
    correct = rng.random(200) < lengths / 300
    covariates = np.stack([lengths, np.log(lengths)], axis=1)
    assert correlate(ratio, correct, resamples=999, seed=0).p == 0.001
    assert correlate(ratio, correct, covariates=covariates, resamples=999, seed=0).p > 0.1


@pytest.mark.parametrize("given_length", [False, True])
def test_p_values_reject_a_true_null_one_time_in_twenty(given_length):
    rng, below = np.random.default_rng(5), 0
    for _ in range(400):
        lengths = rng.integers(5, 100, size=(24, 1)).astype(float)
        ratio, correct = lengths[:, 0] * given_length + 30 * rng.exponential(size=24), rng.random(24) < 0.6
        covariates = lengths if given_length else None
        found = correlate(ratio, correct, covariates=covariates, resamples=199, seed=int(rng.integers(1000)))
        below += found.p <= 0.05
    assert abs(below / 400 - 0.05) <= 3 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize(
    ("x", "y", "covariates", "reason"),
    [
        (np.arange(9.0), np.arange(9.0), None, "9 items are too few"),
        (np.ones(20), np.arange(20.0), None, "ratio does not vary"),
        (np.arange(20.0), np.zeros(20), None, "correctness does not vary"),
        (np.arange(20.0), np.arange(20.0) ** 2, np.arange(20.0)[:, None], "ratio does not vary at a given"),
    ],
)
def test_no_correlation_is_given_where_there_can_be_none(x, y, covariates, reason):
    found = correlate(x, y, covariates=covariates, names=("ratio", "correctness"), resamples=99, seed=0)
    assert (found.r, found.p) == (None, None)
    assert reason in found.reason


def test_covariates_that_say_the_same_twice_are_one():
    rng = np.random.default_rng(6)
    x, y, z = rng.standard_normal((3, 30))
    once = correlate(x, y, covariates=z[:, None], resamples=99, seed=0)
    constant = np.stack([z, 2 * z + 5, np.full(30, 7.0)], axis=1)
    assert correlate(x, y, covariates=constant, resamples=99, seed=0).r == pytest.approx(once.r)


def test_wilson_intervals_cover_their_share():
    low, high = wilson(8, 10)
    assert 0.44 < low < 0.5
    assert 0.94 < high < 0.96
    assert wilson(0, 10)[0] == pytest.approx(0.0, abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_shares_are_tested_exactly():
    estimate, p = paired_shares(1, 9, 50)
    assert estimate.value == pytest.approx(0.16)
    assert p == pytest.approx(stats.binomtest(9, 10).pvalue)
    same, p = paired_shares(0, 0, 50)
    assert (same.value, p) == (0.0, 1.0)
    assert same.low < 0 < same.high  # equal answers to 50 problems do not prove equal models


def test_the_interval_of_a_clustered_share_is_wilsons_where_items_stand_alone():
    right = [1.0] * 30 + [0.0] * 70
    low, high = clustered_wilson(right, [1] * 100)
    alone = wilson(30, 100)
    assert (low, high) == pytest.approx(alone, abs=0.006)  # a little wider, for the t distribution
    assert low < alone[0]
    assert high > alone[1]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_problems_that_all_agree_are_as_many_items_as_problems(share):
    low, high = clustered_wilson([5 * share] * 30, [5] * 30)
    assert high - low == pytest.approx(0.122, abs=0.001)
    assert clustered_wilson([share], [1]) == (0.0, 1.0)


def test_the_interval_of_a_clustered_share_keeps_its_level():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        right = rng.binomial(5, rng.beta(0.3, 0.7, 30))
        low, high = clustered_wilson(right.tolist(), [5] * 30)
        hits += low <= 0.3 <= high
    assert 0.92 <= hits / 400 <= 0.99
