"""Scores of a model's outputs on a benchmark: what was read, what is right, how sure that is.

    marks = mark_outputs(SUITES["mathvista"], samples, read_outputs(Path("out.jsonl")))
    report = report_marks(SUITES["mathvista"], marks)
    report["figures"]["accuracy"]     # {"count": 1000, "value": 34.8, "low": 31.9, "high": 37.8}, in percent

An output is read by the benchmark's own rules ("official"), then, where the benchmark leaves that to a judge
model, by vkit's ("rules"), then by a judge where one is given; an answer that comes with the output ("given")
is taken as it is. What none could read is wrong, and listed.

Intervals are of 95%: Wilson's, with the effective number of items where versions of a problem rise and fall
together; of differences over whole problems, by the bootstrap. See `vkit.evaluate.statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vkit.errors import VkitError
from vkit.jsonl import read_jsonl, refuse_half_characters
from vkit.records import BadRecord, Sample, record_id

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = ("official", "rules", "judge", "given")
LETTER = "the letter of the choice"  # the form in which a judge gives a choice
RESAMPLES = 2000
SEED = 0

# Of each problem how much was right, and of how many items: a figure is the one sum over the other.
Shares: TypeAlias = "dict[str, tuple[float, int]]"


class Reading(NamedTuple):
    """An answer taken from an output: what it says, and which of `READERS` found it."""

    answer: str
    by: str


@dataclass(frozen=True)
class Mark:
    """An item's verdict.

    answer, read_by: what was read and by which of `READERS`; None where nothing could be read.
    problem: items of one problem share it, and nothing else does.
    groups: its values by kind of breakdown, as {"subject": ("Plane Geometry",)}.
    details: what else the suite's own figures need of it.
    """

    id: str
    correct: bool
    answer: str | None
    read_by: str | None
    problem: str
    groups: Mapping[str, tuple[str, ...]]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """What a benchmark is to the scorer.

    scan: the samples of its release, without pictures. extract: an output's answer by rules, or None.
    right: whether an answer is right. problem, groups, details: as in `Mark`, of a sample and its output.
    figures: the headline figures, as `Shares` by name. more: whatever else the benchmark reports.
    ask: in words, the form in which a judge should give an answer. main: the breakdown that a table shows.
    """

    title: str
    scan: Callable[[Path], Iterator[Sample | BadRecord]]
    extract: Callable[[str, Sample], Reading | None]
    right: Callable[[str, Sample], bool]
    problem: Callable[[Sample], str]
    groups: Callable[[Sample], dict[str, tuple[str, ...]]]
    details: Callable[[str, Sample], dict[str, Any]]
    figures: Callable[[Sequence[Mark]], dict[str, Shares]]
    more: Callable[[Sequence[Mark]], dict[str, Any]]
    ask: Callable[[Sample], str]
    main: str


class Question(NamedTuple):
    """An output for a judge to read, and in which form it should give the answer."""

    sample: Sample
    output: str
    form: str


def mark_outputs(
    suite: Suite,
    samples: Iterable[Sample],
    outputs: Mapping[str, str],
    *,
    extractions: Mapping[str, str] | None = None,
    judge: Callable[[Sequence[Question]], Sequence[str | None]] | None = None,
) -> list[Mark]:
    """The verdict on one output for each sample, in the samples' order.

    Args:
        outputs: a model's texts by sample id.
        extractions: answers that somebody took from these texts, by sample id; the rules do not read these.
        judge: gives the answer, or None, of each output that the rules could not read; asked once.

    Raises:
        VkitError: a sample has no output or no answer, an output has no sample, or there is no sample at
            all; names the first such id, and how many there are.
    """
    samples = list(samples)
    if not samples:
        raise VkitError("there is nothing to score; give the release and a model's outputs")
    ids = {sample.id for sample in samples}
    missing = [sample.id for sample in samples if sample.id not in outputs]
    if missing:
        raise VkitError(
            f"{len(missing)} of {len(samples)} items have no prediction, the first is {missing[0]!r}"
            f"{_given(outputs, ids)}; give one for every item"
        )
    if unknown := [name for name in outputs if name not in ids]:
        raise VkitError(
            f"{len(unknown)} predictions are for no item of the data, the first is {unknown[0]!r};"
            " take them out, or give the data they are for"
        )
    if unanswered := [sample.id for sample in samples if sample.answer is None]:
        raise VkitError(f"item {unanswered[0]!r} has no answer to compare with; score a split that has them")
    given = {name: Reading(answer, "given") for name, answer in (extractions or {}).items()}
    readings = {s.id: given.get(s.id) or suite.extract(outputs[s.id], s) for s in samples}
    if judge is not None:
        unread = [sample for sample in samples if readings[sample.id] is None and outputs[sample.id].strip()]
        found = judge([Question(sample, outputs[sample.id], suite.ask(sample)) for sample in unread])
        for sample, answer in zip(unread, found, strict=True):
            readings[sample.id] = None if answer is None else Reading(answer, "judge")
    return [_mark(suite, sample, outputs[sample.id], readings[sample.id]) for sample in samples]


def report_marks(suite: Suite, marks: Sequence[Mark]) -> dict[str, Any]:
    """What a benchmark's table shows, and more, as JSON values.

    Returns:
        count: items. figures: by name ``{"count", "value", "low", "high"}`` in percent, the headline first.
        read_by: how many answers each of `READERS` found. unread: how many none found, and their ids.
        groups: by kind and value, in their order in the data, the ``count`` and ``accuracy`` of the items.
        The suite's own figures stand beside these; see its module.
    """
    groups: dict[str, dict[str, list[Mark]]] = {}
    for mark in marks:
        for kind, values in mark.groups.items():
            for value in values:
                groups.setdefault(kind, {}).setdefault(value, []).append(mark)
    unread = [mark.id for mark in marks if mark.read_by is None]
    return {
        "count": len(marks),
        "figures": {
            name: {"count": sum(count for _, count in shares.values()), **_estimate(shares)}
            for name, shares in suite.figures(marks).items()
        },
        "read_by": {reader: sum(mark.read_by == reader for mark in marks) for reader in READERS},
        "unread": {"count": len(unread), "ids": unread},
        "groups": {
            kind: {
                value: {"count": len(found), "accuracy": _estimate(correct_by_problem(found))}
                for value, found in values.items()
            }
            for kind, values in groups.items()
        },
        **suite.more(marks),
    }


def compare_marks(suite: Suite, marks: Sequence[Mark], other: Sequence[Mark]) -> dict[str, Any]:
    """How much better ``marks`` are than ``other``, item by item.

    Returns:
        By headline figure ``{"difference", "low", "high", "p", "won", "lost"}``: the difference in percent,
        with a ``reason`` where it has no interval; McNemar's exact p, None where a problem can be right in
        part; on how many problems the first is better, and the other. "groups" has the same for each value
        of the suite's main breakdown.

    Raises:
        VkitError: the two are not of the same items.
    """
    if [mark.id for mark in marks] != [mark.id for mark in other]:
        raise VkitError("the two runs are not of the same items; score both on the same data")
    theirs = suite.figures(other)
    report: dict[str, Any] = {
        name: _difference(shares, theirs[name]) for name, shares in suite.figures(marks).items()
    }
    values = dict.fromkeys(value for mark in marks for value in mark.groups.get(suite.main, ()))
    report["groups"] = {
        value: _difference(
            *(
                correct_by_problem([mark for mark in run if value in mark.groups.get(suite.main, ())])
                for run in (marks, other)
            )
        )
        for value in values
    }
    return report


def correct_by_problem(marks: Iterable[Mark]) -> Shares:
    """Of each problem how many items are right, and how many there are."""
    shares: Shares = {}
    for mark in marks:
        right, count = shares.get(mark.problem, (0.0, 0))
        shares[mark.problem] = (right + mark.correct, count + 1)
    return shares


def read_outputs(path: Path) -> dict[str, str]:
    """The outputs alone of `read_predictions`."""
    return read_predictions(path)[0]


def read_predictions(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A model's outputs by item id, and the answers that stand beside them.

    A line is ``{"id": "12", "output": "..."}``. Lines of an attention run's ``items.jsonl`` serve too: their
    ``output_text`` is read. An answer stands beside its output as ``extraction``.

    Raises:
        VkitError: a line has no id or no text, an extraction that is none, or an id for the second time;
            names file and line.
    """
    outputs: dict[str, str] = {}
    extractions: dict[str, str] = {}
    for number, line in read_jsonl(path):
        output, answer = line.get("output", line.get("output_text")), line.get("extraction")
        try:
            refuse_half_characters(line)
            name = record_id(line)
        except VkitError as error:
            raise VkitError(f"{path}:{number}: {error}") from error
        if not isinstance(output, str):
            raise VkitError(f'{path}:{number}: a line must be {{"id": "12", "output": "text"}}; correct it')
        if name in outputs:
            raise VkitError(f"{path}:{number}: id {name!r} stands twice; predict once for each item")
        outputs[name] = output
        if answer is not None:
            if not isinstance(answer, str):
                raise VkitError(f"{path}:{number}: 'extraction' must be text; correct it, or leave it out")
            extractions[name] = answer
    return outputs, extractions


def item_lines(marks: Iterable[Mark]) -> Iterable[dict[str, Any]]:
    """Each item's verdict as a JSON object: ``{"id", "correct", "answer", "read_by"}``."""
    for mark in marks:
        values = asdict(mark)
        yield {name: values[name] for name in ("id", "correct", "answer", "read_by")}


def _given(outputs: Mapping[str, str], ids: set[str]) -> str:
    """Which ids came instead, where none is the data's."""
    if not outputs or ids & outputs.keys():
        return ""
    return f", the first that was given {next(iter(outputs))!r}"


def _mark(suite: Suite, sample: Sample, output: str, reading: Reading | None) -> Mark:
    return Mark(
        id=sample.id,
        correct=reading is not None and suite.right(reading.answer, sample),
        answer=None if reading is None else reading.answer,
        read_by=None if reading is None else reading.by,
        problem=suite.problem(sample),
        groups=suite.groups(sample),
        details=suite.details(output, sample),
    )


def _estimate(shares: Shares) -> dict[str, float | None]:
    from vkit.evaluate.statistics import clustered_wilson, wilson

    total = sum(count for _, count in shares.values())
    value = sum(right for right, _ in shares.values()) / total
    if _is_binary(shares):
        return _percent(value, *wilson(round(value * total), total))
    return _percent(value, *clustered_wilson(*zip(*shares.values())))


def _difference(mine: Shares, theirs: Shares) -> dict[str, Any]:
    from vkit.evaluate.statistics import paired_shares

    pairs = [(mine[problem][0], theirs[problem][0]) for problem in mine]
    won, lost = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    if _is_binary(mine) and _is_binary(theirs):
        estimate, p = paired_shares(lost, won, len(pairs))
    else:
        estimate, p = _over_problems([a - b for a, b in pairs], [n for _, n in mine.values()]), None
    value, reason = _percent(estimate.value, estimate.low, estimate.high), estimate.reason
    if p is None and estimate.low is not None and estimate.low == estimate.high:
        value["low"] = value["high"] = None
        reason = "the difference is the same in every problem; no interval"
    found = {"difference": value.pop("value"), **value, "p": p, "won": won, "lost": lost}
    return found if reason is None else {**found, "reason": reason}


def _is_binary(shares: Shares) -> bool:
    return all(count == 1 and right in (0, 1) for right, count in shares.values())


def _over_problems(sums: Sequence[float], counts: Sequence[int]) -> Any:
    """The sum of ``sums`` over that of ``counts``, with an interval from draws of whole problems."""
    import numpy as np

    from vkit.evaluate.statistics import bootstrap_coefficient, resample_items

    weights = resample_items(len(sums), resamples=RESAMPLES, seed=SEED)
    normal = np.asarray(counts, float)[:, None, None]
    return bootstrap_coefficient(normal, np.asarray(sums, float)[:, None], weights)


def _percent(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {
        "value": 100 * value,
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
    }
