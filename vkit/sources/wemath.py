"""We-Math (Qiao et al. 2024) in its official layouts: ``testmini`` in JSON or parquet.

    for record in scan_wemath(Path("We-Math")): ...           # or data/testmini.json, or the parquet file

A problem is two or three one-step problems and the whole that needs them all: 525 problems in 1740 samples.
A sample's id is ``<ID>:<part>``, as "2steps_14:1" or "2steps_14:multi"; ``meta`` keeps ``ID``, ``key`` (as
"2steps_multi") and ``knowledge concept``. Options, which the release writes in one line ("A. 3; B. 4"),
become the sample's choices; where they cannot be told apart they stand below the question, as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample
from vkit.sources.official_rows import Row, kept, scan_rows, text

KEYS = {"ID", "key", "knowledge concept", "option"}
STEPS = {"2steps": ("1", "2"), "3steps": ("1", "2", "3")}  # what a whole is made of
WHOLE = "multi"

_OPTION = re.compile(r"(?:^|[;；\n])\s*([A-H])\s*[.．、]\s*")


def scan_wemath(path: Path, *, pictures: bool = True) -> Iterator[Sample | BadRecord]:
    """Every question in order, the bad ones as `BadRecord`; arguments and errors as `scan_rows` has them."""
    return scan_rows(path, KEYS, "image_path", _sample, pictures=pictures)


def split_options(option: str) -> tuple[str, ...]:
    """The options of one line; none where they are not A, B, ... in order.

    >>> split_options("A. 3, 5;B. 4, 0.5 ; C. No correct answer")
    ('3, 5', '4, 0.5', 'No correct answer')
    """
    marks = list(_OPTION.finditer(option))
    if len(marks) < 2 or [mark[1] for mark in marks] != [chr(65 + i) for i in range(len(marks))]:
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(option)]
    return tuple(option[mark.end() : end].strip() for mark, end in zip(marks, ends))


def _sample(row: Row, image: str | None, folder: Path) -> Sample:
    key, problem = text(row, "key"), text(row, "ID")
    steps, _, part = key.partition("_")
    if part not in (*STEPS.get(steps, ()), WHOLE) or steps not in STEPS:
        raise VkitError(f"key {key!r} is not We-Math's; expected one as 2steps_1 or 3steps_multi")
    question, option, answer = text(row, "question"), text(row, "option"), text(row, "answer").strip()
    choices = split_options(option)
    if answer not in [chr(65 + i) for i in range(len(choices))]:
        question, choices = f"{question}\n{option}", ()
    return Sample(
        id=f"{problem}:{part}",
        question=question,
        choices=choices,
        answer=answer,
        image=image,
        meta={"source": "wemath", **kept(row, ("ID", "key", "knowledge concept", "split"))},
        folder=folder,
    )
