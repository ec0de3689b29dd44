"""How sure a figure over items is: intervals, correlations and p-values that hold for few items too.

    weights = resample_items(len(differences), resamples=2000, seed=0)
    bootstrap_mean(differences, weights)          # Estimate(value=0.12, low=0.05, high=0.20)
    correlate(ratio, correct, covariates=lengths, resamples=2000, seed=0)

Items are what is drawn, never tokens: the tokens of one answer are no independent evidence. Every interval
of one comparison is made from the same draws, so its figures belong together.

Intervals are symmetric bootstrap-t (Hall 1988): each resample's error is measured in its own standard error,
and the interval reaches as far on both sides as 95% of those go. Measured coverage of 95% intervals for the
mean of 30 items, 1500 samples (percentile intervals in brackets): normal 0.95 (0.93), Laplace 0.96 (0.93),
exponential 0.94 (0.92), lognormal 0.91 (0.88).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # of every interval
MIN_ITEMS = 10  # with fewer, neither an interval nor a correlation means anything
_BLOCK = 256  # resamples at a time: bounds memory at a few thousand items
_TINY = 1e-12  # a spread below this part of the values' size is rounding


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; without one, ``reason`` says why."""

    value: float
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Correlation:
    """Pearson's r over ``items`` items and its two-sided permutation p; without them, ``reason`` says why."""

    r: float | None
    p: float | None
    items: int
    reason: str | None = None


def resample_items(items: int, *, resamples: int, seed: int) -> np.ndarray:
    """How often each of ``items`` items is drawn in each resample, (resamples, items) float64.

    >>> resample_items(12, resamples=3, seed=0).sum(1)
    array([12., 12., 12.])
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def bootstrap_mean(values: np.ndarray, weights: np.ndarray) -> Estimate:
    """The mean over items of ``values`` (n,), with its interval. ``weights``: of `resample_items`.

    >>> bootstrap_mean(np.arange(20.0), resample_items(20, resamples=500, seed=0)).value
    9.5
    """
    return bootstrap_coefficient(np.ones((len(values), 1, 1)), np.asarray(values, float)[:, None], weights)


def bootstrap_coefficient(normal: np.ndarray, moment: np.ndarray, weights: np.ndarray) -> Estimate:
    """The last coefficient of a least squares fit whose normal equations are sums over items.

    The fit solves ``sum_i normal_i @ theta = sum_i moment_i``; a resample reweights the sums, so that no row
    of data is touched again. Its standard error is the sandwich over items, right whatever the correlation
    is within an item.

    Args:
        normal: (n, p, p) X'WX of each item. moment: (n, p) X'Wy of each item.
        weights: (resamples, n) of `resample_items`.
    """
    n = len(moment)
    theta, error = _solve(normal, moment, np.ones((1, n)))
    value, spread = float(theta[0, -1]), float(error[0])
    if n < MIN_ITEMS:
        return Estimate(value, reason=f"{n} items are too few for an interval; {MIN_ITEMS} are needed")
    if not spread > 0:  # every item says the same
        return Estimate(value, value, value)
    blocks = [_solve(normal, moment, weights[at : at + _BLOCK]) for at in range(0, len(weights), _BLOCK)]
    offset = np.abs(np.concatenate([block[0][:, -1] for block in blocks]) - value)
    errors = np.concatenate([block[1] for block in blocks])
    # A resample in which all items agree, but on another value, is infinitely far out.
    t = np.divide(offset, errors, out=np.where(offset > 0, np.inf, 0.0), where=errors > 0)
    reach = float(np.quantile(t, LEVEL, method="higher"))
    if not math.isfinite(reach):
        return Estimate(value, reason="nearly all items are alike, so the few others decide; no interval")
    return Estimate(value, value - reach * spread, value + reach * spread)


def correlate(
    x: np.ndarray,
    y: np.ndarray,
    *,
    covariates: np.ndarray | None = None,
    names: tuple[str, str] = ("x", "y"),
    resamples: int,
    seed: int,
) -> Correlation:
    """Correlation of ``x`` and ``y`` (n,), given ``covariates`` (n, c), tested by permutation.

    With covariates: of the residuals on an intercept and them; permuted are the residuals of y, which is
    Freedman & Lane's (1983) scheme. p = (b + 1) / (resamples + 1), with b permutations at least as far out.
    ``names`` of x and y stand in the reason where there is no correlation.

    >>> x = np.arange(20.0)
    >>> correlate(x, x**2, resamples=99, seed=0).p
    0.01
    """
    n = len(x)
    if n < MIN_ITEMS:
        return Correlation(None, None, n, f"{n} items are too few; {MIN_ITEMS} are needed")
    basis = _basis(np.empty((n, 0)) if covariates is None else np.asarray(covariates, float))
    left, right = _residual(np.asarray(x, float), basis), _residual(np.asarray(y, float), basis)
    size = math.sqrt(left @ left)
    for residual, whole, name in ((left, x, names[0]), (right, y, names[1])):
        if np.linalg.norm(residual) <= 1e-9 * np.linalg.norm(whole):
            given = "" if covariates is None else " at a given length"
            return Correlation(None, None, n, f"{name} does not vary{given}")
    rng = np.random.default_rng(seed)
    r = float(left @ right / (size * math.sqrt(right @ right)))
    beyond = 0
    for at in range(0, resamples, _BLOCK):
        drawn = rng.permuted(np.broadcast_to(right, (min(_BLOCK, resamples - at), n)), axis=1)
        drawn = _residual(drawn.T, basis).T
        found = (drawn @ left) / (np.linalg.norm(drawn, axis=1).clip(_TINY) * size)
        beyond += int((np.abs(found) >= abs(r) * (1 - 1e-9)).sum())  # ties differ in rounding only, and count
    return Correlation(r, (beyond + 1) / (resamples + 1), n)


def wilson(correct: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """The Wilson interval of a share of ``count``, as shares.

    >>> [round(bound, 3) for bound in wilson(80, 100)]
    [0.711, 0.867]
    """
    if count == 0:
        return 0.0, 1.0
    share = correct / count
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = (centre - half) / (1 + z * z / count), (centre + half) / (1 + z * z / count)
    return max(low, 0.0), min(high, 1.0)  # rounding leaves a little less than 0, or more than 1


def clustered_wilson(right: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """The Wilson interval of ``sum(right) / sum(counts)`` where items come in problems that stand together.

    The count in Wilson's formula is the effective one: p(1 - p) over the variance between problems, with
    Korn & Graubard's (1998) factor for few problems; where all problems agree it is their number. Franco et
    al. (2019) find this the most reliable of such intervals. Measured coverage with five items a problem, at
    shares of 0.05 to 0.9 and any correlation within problems, 1500 samples each: 0.96-0.99 with 12 problems,
    0.93-0.97 with 30 (0.885 at a share of 0.05 and correlation 0.5), 0.95-0.97 with 100.

    Args:
        right: of each problem how much is right. counts: of each problem how many items it has.

    >>> [round(bound, 3) for bound in clustered_wilson([0] * 30, [5] * 30)]
    [0.0, 0.122]
    >>> clustered_wilson([5], [5])
    (0.0, 1.0)
    """
    from scipy.stats import norm, t

    sums, sizes, problems = np.asarray(right, float), np.asarray(counts, float), len(counts)
    if problems < 2:
        return 0.0, 1.0
    total = sizes.sum()
    share = float(sums.sum() / total)
    spread = float(((sums - share * sizes) ** 2).sum()) * problems / (problems - 1) / total**2
    effective = min(share * (1 - share) / spread, float(total)) if spread > _TINY else float(problems)
    tail = 1 - (1 - LEVEL) / 2
    effective *= float((norm.ppf(tail) / t.ppf(tail, problems - 1)) ** 2)
    return wilson(share * effective, effective)


def paired_shares(lost: int, won: int, count: int, z: float = 1.96) -> tuple[Estimate, float]:
    """Difference of two shares of the same ``count`` items, and McNemar's exact p.

    The interval is Agresti & Min's (2005): Wald's with half an item added to each of the four cells, which
    keeps its level for few items and where no item differs.

    Args:
        lost: items right in the first only. won: items right in the second only.

    >>> estimate, p = paired_shares(2, 10, 40)
    >>> estimate.value, round(p, 4)
    (0.2, 0.0386)
    """
    from scipy.stats import binomtest

    total, b, c = count + 2, lost + 0.5, won + 0.5
    centre = (c - b) / total
    half = z * math.sqrt(max((b + c) / total - centre**2, 0.0) / total)
    p = float(binomtest(won, lost + won).pvalue) if lost + won else 1.0
    return Estimate((won - lost) / count, max(centre - half, -1.0), min(centre + half, 1.0)), p


def _solve(normal: np.ndarray, moment: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (m, p) and standard errors of the last (m,) under each row of item weights (m, n)."""
    n, p = moment.shape
    flat = normal.reshape(n, p * p)
    # A coefficient that a resample says nothing on (no answer that long) is left out of it: pinv.
    inverse = np.linalg.pinv((weights @ flat).reshape(-1, p, p), rcond=1e-10, hermitian=True)
    theta = np.einsum("mpq,mq->mp", inverse, weights @ moment)
    pull = inverse[:, -1]  # (m, p): how an item's score moves the last coefficient
    fitted = np.einsum("mp,mq->mpq", pull, theta).reshape(-1, p * p) @ flat.T
    reached = pull @ moment.T
    influence = reached - fitted  # (m, n)
    variance = (weights * influence**2).sum(1) * (n / (n - 1) if n > 1 else 1.0)
    size = (weights * (reached**2 + fitted**2)).sum(1)
    return theta, np.sqrt(np.where(variance > _TINY**2 * size, variance, 0.0))


def _residual(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return values - basis @ (basis.T @ values)


def _basis(covariates: np.ndarray) -> np.ndarray:
    """An orthonormal basis (n, k) of the intercept and the columns, without what is said twice."""
    columns = covariates - covariates.mean(0) if covariates.size else covariates
    columns = columns / np.linalg.norm(columns, axis=0).clip(_TINY)
    intercept = np.full((len(columns), 1), len(columns) ** -0.5)
    left, sizes, _ = np.linalg.svd(np.hstack([intercept, columns]), full_matrices=False)
    return left[:, sizes > 1e-8]
