"""Learns a teacher's labels from frozen features, and gives them to the pictures that nobody labelled.

    distinct, features = picture_features(pool, digests, "facebook/dinov2-base", Path("all/features"))
    labels, report = classify(distinct, features, known)        # known: Label by digest

The paper fine-tunes two ViTs on some 10,000 labels (Shi et al. 2024, section 3). Here each of clarity and
complexity is a linear softmax over what one frozen image encoder says of a picture, z its pooled features
standardised over the labelled pictures:

    minimise over W, b:   mean of -log softmax(W z + b)[label]  +  lam / 2 * |W|^2

by L-BFGS in float64; it is convex, so that little hangs on where it starts. ``lam`` is chosen by the
cross-entropy of labels that were left out. The accuracy that is reported is of pictures that took part
neither in fitting nor in choosing: of five folds each is held out in turn, ``lam`` chosen within the others.
A fold holds whole pictures, however many problems show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from vkit.curate.labels import CLARITIES, COMPLEXITIES, Label, count_values
from vkit.curate.pool import by_picture, rank
from vkit.errors import VkitError
from vkit.evaluate.statistics import wilson
from vkit.records import Sample

FOLDS = 5  # and the fewest labels of a class, so that each fold holds one
TARGETS = {"clarity": CLARITIES, "complexity": COMPLEXITIES}
LAMBDAS = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)  # the strongest first
_AT_ONCE = 1024  # pictures whose features are read, or judged, together


def classify(
    digests: Sequence[str], features: np.ndarray, known: Mapping[str, Label], *, seed: int = 0
) -> tuple[dict[str, Label], dict[str, Any]]:
    """Labels of all pictures, the known ones as they are, and how well the others can be trusted.

    Args:
        digests: of distinct pictures, n of them.
        features: (n, D), any float.
        known: labels by digest, of some of the pictures and of no others.
        seed: of the folds.

    Raises:
        VkitError: as `refuse_few`, or a feature is not finite.
    """
    refuse_few(known)
    values = np.asarray(features)
    if bad := int((~np.isfinite(values).all(axis=1)).sum()):
        raise VkitError(f"features of {bad} of {len(values)} pictures are not finite; choose another encoder")
    said: dict[str, np.ndarray] = {}
    report: dict[str, Any] = {}
    for name in TARGETS:
        said[name], report[name] = _learn(name, digests, values, known, seed)
    labels = {
        digest: Label(int(said["clarity"][row]), int(said["complexity"][row]), "classifier")
        for row, digest in enumerate(digests)
        if digest not in known
    }
    for name, classes in TARGETS.items():
        given = (getattr(label, name) for label in labels.values())
        report[name]["classified"] = count_values(given, classes)
    return {**known, **labels}, {"pictures": len(digests), "labelled": len(known), **report}


def refuse_few(known: Mapping[str, Label]) -> None:
    """Raise `VkitError` where a class has fewer labels than there are folds; says which.

    Labels that all say clear are no fault: there is nothing to learn, and every picture is taken as clear.
    """
    for name, classes in TARGETS.items():
        values = [getattr(label, name) for label in known.values()]
        counts = count_values(values, classes)
        few = [f"{count} of {name} {value}" for value, count in counts.items() if count < FOLDS]
        if few and not _is_constant(name, values):
            raise VkitError(
                f"too few labels to learn from: {', '.join(few)}; label more, at least {FOLDS} of each"
            )


def picture_features(
    pool: Sequence[Sample],
    digests: Sequence[str],
    vision: str,
    folder: Path,
    *,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> tuple[list[str], np.ndarray]:
    """Digests of the pool's distinct pictures, n of them, and their pooled features (n, D), in float32.

    Args:
        vision: an image encoder, as `vkit.models.backbones.load_vision` takes it.
        folder: keeps the features; what is there is not computed again.
        say: is told what will be computed.

    Raises:
        VkitError: a picture cannot be read, or the encoder cannot be loaded.
    """
    from vkit.models.backbones import load_backbones
    from vkit.train.features import FeatureCache

    # The cache holds pictures and questions; one word stands for all questions, which have no part here.
    items = [replace(samples[0], question="picture") for samples in by_picture(pool, digests).values()]
    distinct = list(dict.fromkeys(digests))
    backbones = load_backbones([vision], "tiny", device=device)
    cache = FeatureCache.build(
        items, backbones, folder, tokens=False, pictures=distinct, progress=True, say=say
    )
    blocks = [
        cache.batch(range(start, min(start + _AT_ONCE, len(items)))).pooled.float().numpy()
        for start in range(0, len(items), _AT_ONCE)
    ]
    return distinct, np.concatenate(blocks)


@dataclass(frozen=True)
class Softmax:
    """A linear softmax over standardised features; classes are those that were fitted.

    classes: (K,). mean, scale: (D,). weight: (D + 1, K), the last row the bias.
    """

    classes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray

    @classmethod
    def fit(
        cls, values: np.ndarray, answers: np.ndarray, lam: float, start: Softmax | None = None
    ) -> Softmax:
        """Fitted to ``values`` (n, D) and ``answers`` (n,), beginning at ``start`` if it is given.

        ``start`` must have been fitted to the same rows.
        """
        classes, labels = np.unique(answers, return_inverse=True)
        mean, scale = values.mean(axis=0), values.std(axis=0)
        # A feature that never changes says nothing; its deviation may be rounding instead of zero.
        scale = np.where(np.ptp(values, axis=0) > 0, scale, 1.0)
        design = _with_bias((values - mean) / scale)
        count, size = design.shape
        one_hot = np.eye(len(classes))[labels]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weight = flat.reshape(size, len(classes))
            logs = log_softmax(design @ weight, axis=1)
            decayed = lam * weight
            decayed[-1] = 0.0  # not the bias
            gradient = design.T @ (np.exp(logs) - one_hot) / count + decayed
            return float(-(one_hot * logs).sum() / count + (decayed * weight).sum() / 2), gradient.ravel()

        begin = np.zeros((size, len(classes))) if start is None else start.weight
        found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        return cls(classes, mean, scale, found.x.reshape(size, len(classes)))

    def log_probabilities(self, values: np.ndarray) -> np.ndarray:
        """(n, K) of (n, D)."""
        return log_softmax(_with_bias((values - self.mean) / self.scale) @ self.weight, axis=1)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The likeliest class of each row, (n,); some rows at a time, for a pool may be large."""
        blocks = (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
        likeliest = [self.log_probabilities(block).argmax(axis=1) for block in blocks]
        return self.classes[np.concatenate(likeliest)]


def folds_of(digests: Sequence[str], answers: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each picture (n,), every class spread evenly, by lot that hangs on the picture alone."""
    folds = np.empty(len(digests), dtype=np.int64)
    next_fold = 0
    for value in np.unique(answers):
        places = np.flatnonzero(answers == value).tolist()
        places.sort(key=lambda row: rank(seed, "fold", digests[row]))
        folds[places] = (next_fold + np.arange(len(places))) % FOLDS
        next_fold += len(places)  # classes that do not divide by the folds fill them up in turn
    return folds


def _learn(
    name: str, digests: Sequence[str], values: np.ndarray, known: Mapping[str, Label], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """What one target's classifier says of every picture (n,), and its part of the report."""
    labelled = {row: getattr(known[digest], name) for row, digest in enumerate(digests) if digest in known}
    labelled = {row: value for row, value in labelled.items() if value is not None}
    rows, answers = list(labelled), np.array(list(labelled.values()))
    report: dict[str, Any] = {"labels": count_values(labelled.values(), TARGETS[name])}
    if _is_constant(name, labelled.values()):
        return np.ones(len(digests), dtype=np.int64), {**report, "constant": 1}
    folds = folds_of([digests[row] for row in rows], answers, seed)
    learned = values[rows].astype(np.float64)
    report |= _validate(learned, answers, folds)
    report["lambda"] = _choose(learned, answers, folds, range(FOLDS))
    return Softmax.fit(learned, answers, report["lambda"]).predict(values), report


def _is_constant(name: str, values: Iterable[int | None]) -> bool:
    return name == "clarity" and set(values) == {1}


def _validate(values: np.ndarray, answers: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Accuracy on held-out folds beside always saying the commonest class, and what is taken for what."""
    said = np.empty_like(answers)
    for fold in range(FOLDS):
        held = folds == fold
        lam = _choose(values[~held], answers[~held], folds[~held], [(fold + 1) % FOLDS])
        said[held] = Softmax.fit(values[~held], answers[~held], lam).predict(values[held])
    classes, counts = np.unique(answers, return_counts=True)
    right = int((said == answers).sum())
    low, high = wilson(right, len(answers))
    majority = float(counts.max() / len(answers))
    return {
        "accuracy": {"value": right / len(answers), "low": low, "high": high},
        "majority": {"class": int(classes[counts.argmax()]), "accuracy": majority},
        "beats_majority": low > majority,
        "confusion": {
            str(true): {str(told): int(((answers == true) & (said == told)).sum()) for told in classes}
            for true in classes
        },
    }


def _choose(values: np.ndarray, answers: np.ndarray, folds: np.ndarray, held_out: Iterable[int]) -> float:
    """The ``lam`` with the least cross-entropy on folds that are held out; of equals the stronger."""
    losses = np.zeros(len(LAMBDAS))
    for fold in held_out:
        held = folds == fold
        model = None
        for place, lam in enumerate(LAMBDAS):
            model = Softmax.fit(values[~held], answers[~held], lam, start=model)
            column = np.searchsorted(model.classes, answers[held])
            losses[place] -= model.log_probabilities(values[held])[np.arange(held.sum()), column].sum()
    return LAMBDAS[int(losses.argmin())]


def _with_bias(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)
