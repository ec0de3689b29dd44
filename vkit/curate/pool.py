r"""The pool that pictures are chosen from: problems of any source, each with its picture.

    pool = read_pool(Path("pool.jsonl"))
    digests = picture_digests(pool, progress_bars(True))        # of vkit.train.feature_work
    source_of(pool[0])                                          # which data set it is of

A picture is known by the digest of its bytes, so that what is said of it holds for every problem
that shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vkit.errors import VkitError
from vkit.jsonl import text_lines
from vkit.records import Sample, only_good
from vkit.sources.llava import Conversation, parse_conversation, split_at_tag
from vkit.sources.official_rows import holds_rows
from vkit.sources.opening import RELEASES, kind_of, scan

# Folders that say that there are pictures in them, and nothing of where those are from.
_PICTURE_FOLDERS = {"image", "images", "img", "imgs", "picture", "pictures"}


def read_pool(path: Path) -> list[Sample]:
    """The problems of a file of samples, a benchmark's release, or LLaVA's conversations in JSON Lines.

    Of a conversation the first turn is the problem: what the user says without the ``<image>`` tag is the
    question, what gpt says the answer, as free text. LLaVA's files repeat ids; from the second record of an
    id on the line's number is added ("7-line12").

    Raises:
        VkitError: a record is bad or has no picture, or `vkit.sources.opening.scan` refuses the path.
    """
    pool = _conversations(path) if _holds_conversations(path) else list(only_good(scan(path)))
    without = [sample.id for sample in pool if sample.image is None]
    if without:
        raise VkitError(
            f"{path}: {len(without)} of {len(pool)} problems have no picture, the first {without[0]!r};"
            " take them out, pictures are what is chosen here"
        )
    return pool


def by_picture(pool: Sequence[Sample], digests: Sequence[str]) -> dict[str, list[Sample]]:
    """The problems of each distinct picture, in the order of the pool; ``digests`` are their pictures'."""
    problems: dict[str, list[Sample]] = {}
    for sample, digest in zip(pool, digests, strict=True):
        problems.setdefault(digest, []).append(sample)
    return problems


def source_of(sample: Sample) -> str:
    """Which data set a problem is of: ``meta``'s source or dataset, else its picture's folder, else "".

    >>> source_of(Sample("1", "?", meta={"dataset": "TabMWP"})), source_of(Sample("1", "?", image="a.png"))
    ('TabMWP', '')
    >>> source_of(Sample("1", "?", image="data/FigureQA/images/7.png"))
    'FigureQA'
    """
    for key in ("source", "dataset"):
        if isinstance(value := sample.meta.get(key), str) and value.strip():
            return value
    folders = PurePosixPath(sample.image or "").parent.parts
    return next((name for name in reversed(folders) if name.lower() not in _PICTURE_FOLDERS), "")


def refuse_overwriting(source: Path, target: Path) -> None:
    """Raise `VkitError` where ``target``, which is made from ``source``, is the same file."""
    if source.exists() and target.exists() and source.samefile(target):
        raise VkitError(f"{target} would be overwritten by what is made from it; give another --out")


def rank(seed: int, *names: str) -> str:
    """The place of something in an order by lot, which is that of its name and not of its file.

    >>> sorted(["a", "b", "c", "d"], key=lambda name: rank(0, name))
    ['d', 'c', 'a', 'b']
    """
    return hashlib.sha256("\0".join((str(seed), *names)).encode()).hexdigest()


def _holds_conversations(path: Path) -> bool:
    if not path.is_file() or any(holds_rows(path, keys) for keys, _ in RELEASES):
        return False
    return kind_of(path) == "conversation"


def _conversations(path: Path) -> list[Sample]:
    """The first turns of conversations, with ids of their own."""
    told = [(number, _parse(line, path, number)) for number, line in text_lines(path)]
    ids = {conversation.id for _, conversation in told}
    pool: list[Sample] = []
    seen: set[str] = set()
    for number, conversation in told:
        name = conversation.id
        if name in seen and (name := f"{name}-line{number}") in ids:
            raise VkitError(f"{path}:{number}: id {conversation.id!r} stands twice; make ids unique")
        seen.add(conversation.id)
        said, answer = conversation.turns[0]
        question = "".join(split_at_tag(said)).strip()
        pool.append(Sample(name, question, answer=answer, image=conversation.image, folder=path.parent))
    return pool


def _parse(line: str, path: Path, number: int) -> Conversation:
    try:
        return parse_conversation(line, path.parent)
    except VkitError as error:
        raise VkitError(f"{path}:{number}: {error}; `vkit data check` lists every bad record") from error
