"""Everything that was asked and paid for, in one append-only file that survives a kill at any moment.

    with ReplyStore(folder / "store.jsonl", Prices(2.5, 10)) as store:
        store.add([(task, outcome)], 1024)      # on the disk when it returns
        store.outcomes(task.key), store.spent_usd

A line holds a task's key, the problem's id, what was said or why not, the tokens and their cost. No line is
ever changed: a problem that is asked again gets another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore
from vkit.teacher.outcome import Outcome
from vkit.teacher.task import Task

_PER = 1_000_000
_MOST = 1e15  # tokens or dollars in one line; a larger amount is none


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens.

    >>> Prices(2.5, 10).cost_usd(2000, 500)
    0.01
    """

    input_usd: float
    output_usd: float

    @classmethod
    def of(cls, input_usd: float | None, output_usd: float | None) -> Prices | None:
        """None where a price is not known."""
        return None if input_usd is None or output_usd is None else cls(input_usd, output_usd)

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / _PER

    def most_usd(self, task: Task, max_tokens: int) -> float:
        """What a task can cost: reserved until its true cost is known."""
        return self.cost_usd(task.input_tokens, max_tokens)


class ReplyStore:
    """The outcomes of all requests ever made into a folder.

    Args:
        path: the file, made if it is not there.
        prices: of what is added from now on, and of earlier lines that were added without.

    Raises:
        VkitError: another process holds the file, or a line is not one of a store.
    """

    def __init__(self, path: Path, prices: Prices | None = None) -> None:
        self.prices = prices
        self._lines: dict[str, list[dict[str, Any]]] = {}
        self._sources: set[str] = set()
        self._cost_usd = self._unsure_usd = 0.0
        self.input_tokens = self.output_tokens = 0
        self.counted = 0  # requests whose tokens are known
        self._file = JsonlStore(path)
        try:
            for number, line in enumerate(self._file.items, 1):
                _check(line, f"{path}:{number}")
                self._count(line)
        except BaseException:
            self._file.__exit__()
            raise
        self._file.items = []

    @property
    def cost_usd(self) -> float | None:
        """Of all tokens that endpoints counted; None without prices."""
        return None if self.prices is None else self._cost_usd

    @property
    def unsure_usd(self) -> float | None:
        """So much more at most for requests that may have to be paid though no count of tokens arrived.

        A request counts once here, however often the client library tried it.
        """
        return None if self.prices is None else self._unsure_usd

    @property
    def spent_usd(self) -> float:
        """What a budget has to count: the cost, and what cannot be known at its highest."""
        return self._cost_usd + self._unsure_usd

    def usage(self) -> dict[str, Any]:
        """What all requests used and cost, for a summary; see `cost_usd` and `unsure_usd`."""
        costs = {"cost_usd": self.cost_usd, "unsure_usd": self.unsure_usd}
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            **{name: None if usd is None else round(usd, 6) for name, usd in costs.items()},
        }

    def outcomes(self, key: str) -> list[Outcome]:
        """What became of a task, each time that it was asked."""
        return [
            Outcome(
                line["text"], line["failure"], line["detail"], line["input_tokens"], line["output_tokens"]
            )
            for line in self._lines.get(key, [])
        ]

    def asked(self, key: str) -> bool:
        return key in self._lines

    def holds_source(self, source: str) -> bool:
        """Whether this line of a batch's file was imported before."""
        return source in self._sources

    def add(self, pairs: Iterable[tuple[Task, Outcome]], max_tokens: int) -> None:
        """Write what became of tasks, and wait until it is on the disk.

        Args:
            max_tokens: what the answers were limited to, the highest cost of one whose tokens are not known.
        """
        self.add_lines([self.line(task.key, outcome, task, max_tokens) for task, outcome in pairs])

    def line(self, key: str, outcome: Outcome, task: Task | None, max_tokens: int) -> dict[str, Any]:
        """The line of an outcome, for `add_lines`; without its task a cost that is not told stays unknown."""
        cost, prices = None, self.prices
        if prices is not None and outcome.input_tokens is not None and outcome.output_tokens is not None:
            cost = prices.cost_usd(outcome.input_tokens, outcome.output_tokens)
        line = {
            "key": key,
            "id": "" if task is None else task.sample.id,
            "text": outcome.text,
            "failure": outcome.failure,
            "detail": outcome.detail,
            "input_tokens": outcome.input_tokens,
            "output_tokens": outcome.output_tokens,
            "cost_usd": cost,
        }
        if prices is not None and task is not None and outcome.answered and outcome.input_tokens is None:
            line["unsure_usd"] = prices.most_usd(task, max_tokens)
        return line

    def add_lines(self, lines: Sequence[dict[str, Any]]) -> None:
        """Write lines, and wait until they are on the disk."""
        self._file.extend(lines)
        for line in lines:
            self._count(line)

    def __enter__(self) -> ReplyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def _count(self, line: dict[str, Any]) -> None:
        self._lines.setdefault(line["key"], []).append(line)
        if "source" in line:
            self._sources.add(line["source"])
        self._unsure_usd += line.get("unsure_usd", 0.0)
        if line["input_tokens"] is not None:
            self.counted += 1
            self.input_tokens += line["input_tokens"]
            self.output_tokens += line["output_tokens"]
            cost = line["cost_usd"]
            if cost is None and self.prices is not None:
                cost = self.prices.cost_usd(line["input_tokens"], line["output_tokens"])
            self._cost_usd += cost or 0.0


def _check(line: dict[str, Any], where: str) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "key": (str,),
        "id": (str,),
        "text": (str, type(None)),
        "failure": (str, type(None)),
        "detail": (str,),
        "input_tokens": (int, type(None)),
        "output_tokens": (int, type(None)),
        "cost_usd": (int, float, type(None)),
    }
    for name, types in kinds.items():
        if name not in line or not isinstance(line[name], types):
            raise VkitError(f"{where}: is no line of a store of replies ({name}); use a new folder")
    if not isinstance(line.get("source", ""), str):
        raise VkitError(f"{where}: is no line of a store of replies (source); use a new folder")
    if "unsure_usd" in line and line["unsure_usd"] is None:
        raise VkitError(f"{where}: is no line of a store of replies (unsure_usd); use a new folder")
    numbers = [line["cost_usd"], line.get("unsure_usd", 0.0), line["input_tokens"], line["output_tokens"]]
    for value in numbers:
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= _MOST):
            raise VkitError(f"{where}: holds the amount {str(value)[:40]}; use a new folder")
    if (line["input_tokens"] is None) != (line["output_tokens"] is None):
        raise VkitError(f"{where}: counts only one side's tokens; use a new folder")
