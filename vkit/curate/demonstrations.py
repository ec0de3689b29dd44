"""Problems to show a teacher as examples: of the same source, and as different from each other as can be.

    demonstrations = Demonstrations(samples, 4, source_of)
    demonstrations.of(sample)               # up to four problems of its source, about other pictures

Math-LLaVA shows GPT-4V demonstrations of the same task, taken from clusters of the questions' TF-IDF vectors
(Shi et al. 2024, section 3). Here the clusters' seeds are chosen farthest first, which needs no chance: the
same problems give the same demonstrations, so that a run that goes on asks what it asked before.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from vkit.records import Sample

_WORD = re.compile(r"\w+")
_SAME = 1 - 1e-6  # a cosine from here on is 1 but for rounding


class Demonstrations:
    """The demonstrations of every source among ``samples``.

    Args:
        samples: those with a question and an answer may be shown, one for each picture.
        count: how many are shown at most.
        source_of: the source that a sample belongs to.
    """

    def __init__(self, samples: Sequence[Sample], count: int, source_of: Callable[[Sample], str]) -> None:
        self._count, self._source_of = count, source_of
        fit: dict[str, dict[tuple[str, str | None], Sample]] = defaultdict(dict)
        for sample in samples:
            if sample.question.strip() and sample.answer and sample.answer.strip():
                fit[source_of(sample)].setdefault(_picture(sample), sample)
        # One more than is shown, for a problem that would be shown its own picture.
        self._spread = {source: spread(list(of.values()), count + 1) for source, of in fit.items() if count}

    def of(self, sample: Sample) -> list[Sample]:
        """What is shown for a problem, nothing about its own picture."""
        of_source = self._spread.get(self._source_of(sample), [])
        return [each for each in of_source if _picture(each) != _picture(sample)][: self._count]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most ``count`` samples whose questions differ, the most common kind first.

    The clusters' seeds are the question nearest to the mean of all, and then again and again the one that is
    least like every seed so far. Of each cluster the question nearest to its mean is taken, so that no odd
    one stands for it. Equal questions make one cluster.

    >>> questions = ["How many bars?", "How many red bars?", "Find angle ABC.", "Find angle DEF."]
    >>> [each.question for each in spread([Sample(text, text) for text in questions], 2)]
    ['How many bars?', 'Find angle ABC.']
    """
    if not samples or count < 1:
        return []
    vectors = _tf_idf([sample.question for sample in samples])
    seed = _nearest_to_mean(vectors, np.arange(len(samples)))
    likeness = [_cosine(vectors, seed)]  # of every question to each seed
    nearest = likeness[0].copy()
    while len(likeness) < count and nearest.min() < _SAME:
        likeness.append(_cosine(vectors, int(nearest.argmin())))
        np.maximum(nearest, likeness[-1], out=nearest)
    cluster = np.stack(likeness).argmax(axis=0)
    members = (np.flatnonzero(cluster == number) for number in range(len(likeness)))
    return [samples[_nearest_to_mean(vectors, each)] for each in members]


def _picture(sample: Sample) -> tuple[str, str | None]:
    return str(sample.folder), sample.image


def _tf_idf(texts: Sequence[str]) -> sparse.csr_matrix:
    """One row a text, of length 1, one column a word."""
    counts = [Counter(_WORD.findall(text.casefold())) for text in texts]
    texts_with = Counter(word for count in counts for word in count)
    column = {word: number for number, word in enumerate(texts_with)}
    rarity = {word: np.log((1 + len(texts)) / (1 + texts_with[word])) + 1 for word in texts_with}
    rows, columns, values = [], [], []
    for row, count in enumerate(counts):
        weights = np.array([times * rarity[word] for word, times in count.items()])
        rows += [row] * len(count)
        columns += [column[word] for word in count]
        values += list(weights / np.linalg.norm(weights)) if len(count) else []
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), max(1, len(column))))


def _cosine(vectors: sparse.csr_matrix, row: int) -> np.ndarray:
    """Likeness of every text to one, (texts,), in 0..1; a text without words is like itself alone."""
    likeness = (vectors @ vectors[row].T).toarray().ravel().round(9)
    likeness[row] = 1.0
    return likeness


def _nearest_to_mean(vectors: sparse.csr_matrix, rows: np.ndarray) -> int:
    """Of some rows the one that is most like their mean, the first of equals."""
    chosen = vectors[rows]
    likeness = (chosen @ np.asarray(chosen.sum(axis=0)).ravel()).round(9)
    return int(rows[likeness.argmax()])
