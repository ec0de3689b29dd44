r"""Chooses pictures for learning: clear ones only, complexities in a ratio, evenly over their sources.

    chosen = select(pool, digests, labels, ratio=(2, 3, 4, 1))
    write_selection(Path("selected"), chosen)                # selected.jsonl, its pictures, report.json

Shi et al. 2024, section 3: 40,000 pictures with complexities 0, 1, 2, 3 as 2 : 3 : 4 : 1, all there were of
the rarest, spread over 24 data sets. Without a total, as many are taken as the ratio allows: with a_c
pictures of complexity c and weights w_c,

    total = floor(min over c of a_c * sum(w) / w_c),

and all pictures of the class for which that is least are taken. Within a class every source gives the same
number, or all it has. Where a lot is drawn it hangs on the pictures and the seed, not on the file's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vkit.curate.labels import COMPLEXITIES, Label
from vkit.curate.pool import by_picture, rank, source_of
from vkit.errors import VkitError
from vkit.jsonl import write_json
from vkit.records import Sample, copy_picture, write_samples

RATIO = (2, 3, 4, 1)  # of complexity 0, 1, 2, 3


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    problems: with their pictures' digests, in the pool's order.
    report: counts, ready for JSON.
    """

    problems: list[tuple[str, Sample]]
    report: dict[str, Any]


def select(
    pool: Sequence[Sample],
    digests: Sequence[str],
    labels: Mapping[str, Label],
    ratio: Sequence[int] = RATIO,
    *,
    total: int | None = None,
    seed: int = 0,
    all_questions: bool = False,
) -> Selection:
    """Choose pictures, and of each one problem.

    A chosen problem's ``meta`` gets ``curation`` (clarity, complexity, label_by) and its ``source``.

    Args:
        digests: of the problems' pictures.
        labels: by digest; a picture without one is not chosen.
        ratio: of complexities 0 to 3; 0 leaves a class out.
        total: of pictures; None takes as many as the ratio allows.
        all_questions: keep all problems of a chosen picture; else one is drawn, as in the paper.

    Raises:
        VkitError: the ratio cannot be had of what is there, or ``total`` is too large.
    """
    problems = by_picture(pool, digests)
    shown = {
        digest: min(samples, key=lambda sample: _lot(sample, digest, seed))
        for digest, samples in problems.items()
    }
    classes: list[dict[str, list[str]]] = [{} for _ in COMPLEXITIES]  # of each its pictures by source
    for digest, sample in shown.items():
        label = labels.get(digest)
        if label is not None and label.clarity == 1 and label.complexity is not None:
            classes[label.complexity].setdefault(source_of(sample), []).append(digest)
    available = [sum(map(len, sources.values())) for sources in classes]
    quotas = quotas_of(available, ratio, total)
    taken = [spread(sources, quota, seed) for sources, quota in zip(classes, quotas)]
    chosen = {digest for pictures in taken for digest in pictures}
    kept = [
        (digest, _curated(sample, labels[digest]))
        for sample, digest in zip(pool, digests)
        if digest in chosen and (all_questions or sample is shown[digest])
    ]
    report = {
        "problems": len(pool),
        "pictures": len(problems),
        "clear": sum(available),
        "unclear": sum(digest in labels and labels[digest].clarity == 0 for digest in problems),
        "unlabelled": sum(digest not in labels for digest in problems),
        "ratio": ":".join(map(str, ratio)),
        "largest_total": largest_total(available, ratio),
        "selected": {
            "pictures": len(chosen),
            "problems": len(kept),
            "label_by": dict(sorted(Counter(labels[digest].by for digest in chosen).items())),
        },
        "complexity": {str(value): _counts(sources, chosen) for value, sources in zip(COMPLEXITIES, classes)},
    }
    return Selection(kept, report)


def quotas_of(available: Sequence[int], ratio: Sequence[int], total: int | None = None) -> list[int]:
    """How many to take of each class, by largest remainders; a tie goes to the larger weight, then the first.

    At the largest total, which None stands for, all is taken of the class (or classes) that sets it.

    >>> quotas_of([900, 900, 900, 100], (2, 3, 4, 1))
    [200, 300, 400, 100]
    >>> quotas_of([900, 900, 900, 100], (2, 3, 4, 1), 25)
    [5, 8, 10, 2]

    Raises:
        VkitError: a class with a weight is empty, or ``total`` is beyond the largest; says how many.
    """
    largest = largest_total(available, ratio)
    if largest == 0:
        empty = next(value for value, weight in enumerate(ratio) if weight and not available[value])
        raise VkitError(
            f"there is no clear picture of complexity {empty}, which ratio {':'.join(map(str, ratio))} asks"
            " for; label more pictures, or give it 0 in the ratio"
        )
    if total is not None and total > largest:
        raise VkitError(
            f"a total of {total} in ratio {':'.join(map(str, ratio))} is more than is there; the largest"
            f" possible is {largest}, with {', '.join(map(str, available))} clear pictures of complexity"
            f" {', '.join(map(str, range(len(available))))}"
        )
    if total is not None and total < largest:
        return _largest_remainders(total, ratio)
    allowed = [Fraction(have, weight) if weight else None for have, weight in zip(available, ratio)]
    least = min(each for each in allowed if each is not None)
    whole = [have if each == least else 0 for have, each in zip(available, allowed)]
    rest = [0 if each == least else weight for weight, each in zip(ratio, allowed)]
    others = _largest_remainders(largest - sum(whole), rest)
    return [all_of + some for all_of, some in zip(whole, others)]


def largest_total(available: Sequence[int], ratio: Sequence[int]) -> int:
    """The largest total whose exact shares are all there.

    >>> largest_total([900, 900, 900, 100], (2, 3, 4, 1))
    1000
    """
    return min(have * sum(ratio) // weight for have, weight in zip(available, ratio) if weight)


def spread(sources: Mapping[str, Sequence[str]], quota: int, seed: int) -> list[str]:
    """``quota`` names, the same number from every source, or all where a source has fewer.

    What is left over goes to sources by lot; so do the places within a source.

    >>> len(spread({"a": ["1", "2", "3", "4"], "b": ["5"], "c": ["6", "7", "8"]}, 5, seed=0))
    5
    """
    taken = dict.fromkeys(sources, 0)
    left = quota
    while left:
        open_sources = [name for name in sources if taken[name] < len(sources[name])]
        level = left // len(open_sources)
        if level == 0:
            for name in sorted(open_sources, key=lambda name: rank(seed, "source", name))[:left]:
                taken[name] += 1
            break
        for name in open_sources:
            more = min(level, len(sources[name]) - taken[name])
            taken[name] += more
            left -= more
    return [
        name
        for source, count in taken.items()
        for name in sorted(sources[source], key=lambda name: rank(seed, "picture", name))[:count]
    ]


def write_selection(folder: Path, selection: Selection, *, progress: bool = False) -> None:
    """Write selected.jsonl with its pictures in images/, and report.json; each file complete.

    Pictures are copied, under names made from their bytes, so that the folder stands on its own.

    Args:
        progress: show a bar on stderr, if that is a terminal.
    """
    from tqdm import tqdm

    (folder / "images").mkdir(parents=True, exist_ok=True)
    written = []
    hidden = None if progress else True
    for digest, sample in tqdm(selection.problems, desc="copy pictures", leave=False, disable=hidden):
        written.append(replace(sample, image=copy_picture(sample, digest, folder), folder=folder))
    write_samples(folder / "selected.jsonl", written)
    write_json(folder / "report.json", selection.report)


def parse_ratio(text: str) -> tuple[int, ...]:
    """The weights of complexities 0 to 3.

    >>> parse_ratio("2:3:4:1")
    (2, 3, 4, 1)
    """
    parts = text.split(":")
    whole = [part.strip() for part in parts if part.strip().isascii() and part.strip().isdigit()]
    weights = tuple(map(int, whole))
    if len(weights) != len(COMPLEXITIES) or len(parts) != len(weights) or not any(weights):
        raise VkitError(
            f"ratio {text!r} is not four whole numbers, of complexities 0 to 3; write it as 2:3:4:1"
        )
    return weights


def _largest_remainders(total: int, ratio: Sequence[int]) -> list[int]:
    """``total`` in shares of ``ratio``, each the exact one rounded down or up."""
    if total == 0:
        return [0 for _ in ratio]
    shares = [Fraction(total * weight, sum(ratio)) for weight in ratio]
    quotas = [int(share) for share in shares]
    order = sorted(range(len(ratio)), key=lambda value: (quotas[value] - shares[value], -ratio[value], value))
    for value in order[: total - sum(quotas)]:
        quotas[value] += 1
    return quotas


def _lot(sample: Sample, digest: str, seed: int) -> tuple[str, str]:
    """A problem's place among those of its picture; by its words first, since an id may hang on its line."""
    words = (sample.question, *sample.choices, sample.answer or "")
    return rank(seed, digest, *words), rank(seed, digest, sample.id)


def _curated(sample: Sample, label: Label) -> Sample:
    curation = {"clarity": label.clarity, "complexity": label.complexity, "label_by": label.by}
    meta = {**sample.meta, "curation": curation}
    if source := source_of(sample):  # the picture's folder will no longer tell it
        meta["source"] = source
    return replace(sample, meta=meta)


def _counts(sources: Mapping[str, Sequence[str]], chosen: set[str]) -> dict[str, Any]:
    """How many pictures of a class there are and were chosen, in all and by source."""
    by_source = {
        name: {"available": len(sources[name]), "selected": sum(each in chosen for each in sources[name])}
        for name in sorted(sources)
    }
    totals = {key: sum(each[key] for each in by_source.values()) for key in ("available", "selected")}
    return {**totals, "by_source": by_source}
