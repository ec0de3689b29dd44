"""The figures of a run that its page sums up, gathered item by item so that no item stays in memory.

figures = RunFigures("cot", read_summary(folder))
for item in read_items(folder):
    figures.add(item, read_details(folder, item), row_data(key, item, figures.reduce))
figures.totals["ratio"]["mean"]           # as `vkit.attention.summary` makes it, over these items
figures.ratio.means()                     # (longest,), the mean over the answers that reach each position
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.names import SHARES
from vkit.attention.run_folder import Details
from vkit.attention.summary import summarise
from vkit.report.page_items import mean_defined


class ByPosition:
    """Means over answers at each position, of several figures at once; NaN is left out."""

    def __init__(self, figures: int) -> None:
        self._sums = np.zeros((figures, 0))
        self.counts = np.zeros((figures, 0), dtype=int)  # answers that reach a position and are defined there

    def add(self, values: np.ndarray) -> None:
        """An answer's figures, (figures, tokens)."""
        if missing := max(0, values.shape[1] - self._sums.shape[1]):
            self._sums = np.pad(self._sums, ((0, 0), (0, missing)))
            self.counts = np.pad(self.counts, ((0, 0), (0, missing)))
        self._sums[:, : values.shape[1]] += np.nan_to_num(values)
        self.counts[:, : values.shape[1]] += ~np.isnan(values)

    def course(self, points: int, least: int) -> list[tuple[float, list[float], int]]:
        """Middle of a bin of positions, means there, answers that reach its end: at most ``points`` bins.

        Ends where fewer than ``least`` answers are left.
        """
        reached = self.counts.min(0)
        length = int((np.minimum.accumulate(reached) >= max(least, 1)).sum()) if reached.size else 0
        width = -(-length // points) if length else 1
        course = []
        for start in range(0, length, width):
            bin_ = slice(start, min(start + width, length))
            means = self._sums[:, bin_].sum(1) / self.counts[:, bin_].sum(1)
            course.append(((bin_.start + bin_.stop - 1) / 2, means.tolist(), int(reached[bin_].min())))
        return course


class RunFigures:
    """A run's settings and figures. rows: the items' figures in order, as the page's tables have them."""

    def __init__(self, name: str, folder: Path, summary: dict[str, Any]) -> None:
        self.name, self.folder, self.summary = name, folder, summary
        self.reduce: str = summary["reduce"]
        self.ids: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.ratio, self.shares = ByPosition(1), ByPosition(len(SHARES))
        self.token_ratios: list[np.ndarray] = []  # of each item, the defined ones
        self._slim: list[dict[str, Any]] = []
        self._head_sum: np.ndarray | None = None
        self.head_items = 0

    def add(self, item: dict[str, Any], details: Details | None, row: dict[str, Any]) -> None:
        """Take in one item."""
        tokens = len(item["output_tokens"])
        self.ids.append(item["id"])
        self.rows.append(row)
        ratio = np.array(item["ratio"], dtype=float)  # None becomes NaN
        self.token_ratios.append(ratio[~np.isnan(ratio)])
        if tokens:
            self.ratio.add(ratio[None])
            self.shares.add(np.array([item["shares"][name] for name in SHARES], dtype=float))
        shares = {name: mean_defined(item["shares"].get(name, [])) for name in SHARES}
        self._slim.append(
            {
                **{key: item[key] for key in ("correct", "extracted", "reduced")},
                "output_ids": range(tokens),
                "shares": {name: [np.nan if mean is None else mean] for name, mean in shares.items()},
                "seconds": {"generate": 0.0, "measure": 0.0},
            }
        )
        if details is not None and (
            self._head_sum is None or self._head_sum.shape == details.head_share.shape
        ):
            self._head_sum = (0 if self._head_sum is None else self._head_sum) + details.head_share
            self.head_items += 1

    @cached_property
    def totals(self) -> dict[str, Any]:
        """What `vkit.attention.summary.summarise` says of the items on the page.

        ``summary.json`` may speak of fewer: of those that the last call of ``attn-ratio`` asked for.
        """
        return summarise(self._slim, reduce=self.reduce)

    @property
    def head_share(self) -> np.ndarray | None:
        """(layers, heads) mean over the items that have it."""
        return None if self._head_sum is None else self._head_sum / self.head_items

    def mean(self, key: str, rows: Sequence[dict[str, Any]] | None = None) -> float | None:
        """The mean of a column of the tables over ``rows``, all of them by default."""
        return mean_defined([row[key] for row in (self.rows if rows is None else rows)])
