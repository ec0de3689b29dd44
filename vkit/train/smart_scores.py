"""What a SmarterVLM answers and how good that is: for one model, and for the seeds of a run together.

found = evaluate_smart(model, data, features, "test")
found.report["overall"]["S_acc"]["value"], found.predictions["2-1"]
over_seeds([report of each seed])["overall"]["S_acc"]      # {"mean", "deviation", "values"}
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vkit.evaluate.smart101 import MEASURES, score_smart
from vkit.jsonl import write_chunks
from vkit.models.smarter import Smarter, predict, smart_loss
from vkit.sources.smart101_answers import Value
from vkit.train.smart_data import FeatureSource, SmartData, prefetch

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """predictions: of each item's id the predicted class, or a sequence's ten. report: of `score_smart`.

    loss: the mean over items of the loss of their batch.
    """

    predictions: dict[str, Value]
    report: dict[str, Any]
    loss: float


def evaluate_smart(
    model: Smarter,
    data: SmartData,
    features: FeatureSource,
    part: str,
    *,
    batch_size: int = EVALUATION_BATCH,
    workers: int = 1,
) -> Evaluation:
    """Answer and score a part of the data ("train", "val" or "test"), without dropout, on the model's device.

    The model is left in the mode that it was in.

    Args:
        features: of ``data.items``.
        workers: threads that make batches; the result does not depend on them.
    """
    device = next(model.parameters()).device
    places, was_training = data.parts[part], model.training
    chunks = [places[start : start + batch_size] for start in range(0, len(places), batch_size)]
    values: list[Value] = []
    loss = 0.0
    model.eval()
    try:
        with torch.no_grad():
            for batch in prefetch(lambda chunk: data.batch(features, chunk), chunks, workers=workers):
                batch = batch.to(device)
                output = model(batch)
                loss += smart_loss(output, batch).item() * len(batch.puzzle)
                values += predict(output)
    finally:
        model.train(was_training)
    items = data.of(part)
    predictions = {item.id: value for item, value in zip(items, values, strict=True)}
    return Evaluation(predictions, score_smart(items, predictions), loss / len(items))


def write_predictions(path: Path, predictions: Mapping[str, Value]) -> None:
    """One JSON object a line, as ``vkit score --suite smart101`` reads them."""
    write_chunks(
        path, (json.dumps({"id": id_, "value": value}).encode() + b"\n" for id_, value in predictions.items())
    )


def plain_scores(report: Mapping[str, Any]) -> dict[str, Any]:
    """The percentages of a report, without its intervals and puzzles: of a line of the log."""

    def values(found: Mapping[str, Any]) -> dict[str, float]:
        return {name: found[name]["value"] for name in MEASURES}

    return {
        "overall": values(report["overall"]),
        "skills": {skill: values(found) for skill, found in report["skills"].items()},
    }


def over_seeds(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each measure's mean over seeds, overall and by skill, with its deviation.

    Args:
        reports: of `score_smart`, one of each seed, on the same items.

    Returns:
        ``overall`` and ``skills``, of each measure ``mean``, ``deviation`` (of a sample; None for one seed)
        and ``values``, a seed each, all in percent.
    """
    plain = [plain_scores(report) for report in reports]

    def joined(scores: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        found = {}
        for name in MEASURES:
            values = [score[name] for score in scores]
            deviation = statistics.stdev(values) if len(values) > 1 else None
            found[name] = {"mean": statistics.fmean(values), "deviation": deviation, "values": values}
        return found

    return {
        "overall": joined([scores["overall"] for scores in plain]),
        "skills": {skill: joined([s["skills"][skill] for s in plain]) for skill in plain[0]["skills"]},
    }
