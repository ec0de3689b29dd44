"""Accuracy on each version of the same problems, and the gap between text and picture.

    report = evaluate_versions(model, read_samples(Path("test.jsonl")))
    report["accuracy"]["vision-only"], report["gap_percent"]

Math-PUMA's measure: (text-dominant - vision-only) / vision-only, beside the spread over the versions
(absolute skewness, coefficient of variation; Figure 4). A gap alone misleads: it is negative where text was
forgotten, and huge where vision is near zero, so both accuracies always stand beside it.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from vkit.errors import VkitError
from vkit.evaluate.answers import judge
from vkit.images import resolve_inside
from vkit.models.protocol import VisionLanguageModel
from vkit.prompts import build_request
from vkit.records import Sample


def evaluate_versions(
    model: VisionLanguageModel,
    samples: Iterable[Sample],
    *,
    prompt: str = "plain",
    batch_size: int = 64,
    max_new_tokens: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Answer every sample greedily and score it by its version (``meta["version"]``).

    Returns:
        accuracy: in percent, by version and over "all" of them (MathVerse's ALL leaves text-only out);
        count: by version; unread: outputs that no answer could be read from (they count as wrong);
        gap_percent, skewness and variation as `spread`; items: ``{id, version, output, correct}`` in order.

    Raises:
        VkitError: as `by_version`.
    """
    from tqdm import tqdm

    groups = by_version(samples)
    items = []
    total = sum(map(len, groups.values()))
    with tqdm(total=total, desc="evaluate", unit=" answers", disable=None if progress else True) as bar:
        for version, group in groups.items():
            for start in range(0, len(group), batch_size):
                batch = group[start : start + batch_size]
                for sample, output in zip(batch, _answers(model, batch, prompt, max_new_tokens)):
                    correct = judge(output, str(sample.answer), sample.choices)
                    items.append({"id": sample.id, "version": version, "output": output, "correct": correct})
                bar.update(len(batch))
    return {**score(items), "items": items}


def by_version(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """The samples by ``meta["version"]``.

    Raises:
        VkitError: a sample has no version or no answer, or its picture's file is missing; names it.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        version = sample.meta.get("version")
        if not isinstance(version, str) or version == "all":
            raise VkitError(f"record {sample.id!r} has no version in its meta (or 'all'); name it there")
        if sample.answer is None:
            raise VkitError(f"record {sample.id!r} has no answer to compare with; add it")
        if sample.image is not None and not os.path.isfile(resolve_inside(sample.folder, sample.image)):
            raise VkitError(f"record {sample.id!r}: image {sample.image} is missing; check the record's path")
        groups.setdefault(version, []).append(sample)
    return groups


def score(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of `evaluate_versions` from its items."""
    marks: dict[str, list[bool | None]] = {}
    for item in items:
        marks.setdefault(item["version"], []).append(item["correct"])
    accuracy = {version: 100 * _mean(found) for version, found in marks.items()}
    everything = [correct for found in marks.values() for correct in found]
    return {
        "accuracy": {**accuracy, "all": 100 * _mean(everything)},
        "count": {version: len(found) for version, found in marks.items()},
        "unread": sum(correct is None for correct in everything),
        **spread(accuracy),
    }


def spread(accuracy: Mapping[str, float]) -> dict[str, float | None]:
    """Gap, absolute skewness and coefficient of variation of accuracies by version.

    gap_percent: 100 (text-dominant - vision-only) / vision-only, None where either is missing or
    vision-only is 0. skewness, variation: over the versions with a picture, with population moments; None
    where all are equal.

    >>> round(spread({"text-dominant": 35.8, "vision-only": 18.5})["gap_percent"], 1)
    93.5
    """
    text, vision = accuracy.get("text-dominant"), accuracy.get("vision-only")
    gap = 100 * (text - vision) / vision if text is not None and vision else None
    values = [value for version, value in accuracy.items() if version != "text-only"]
    skewness = variation = None
    if len(values) > 1 and (deviation := statistics.pstdev(values)) > 0:
        mean = statistics.fmean(values)
        skewness = abs(statistics.fmean(((value - mean) / deviation) ** 3 for value in values))
        variation = deviation / mean if mean else None
    return {"gap_percent": gap, "skewness": skewness, "variation": variation}


def _answers(
    model: VisionLanguageModel, samples: list[Sample], prompt: str, max_new_tokens: int
) -> list[str]:
    requests = [build_request(sample, prompt) for sample in samples]
    outputs = model.generate(model.encode(requests, padding_side="left"), max_new_tokens=max_new_tokens)
    return [model.decode(output) for output in outputs]


def _mean(found: list[bool | None]) -> float:
    return sum(correct is True for correct in found) / len(found) if found else 0.0
