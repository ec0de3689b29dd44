"""Records of JSON Lines files by byte offset, checked before training begins, in a repeatable order.

    examples = open_examples([Path("pairs.jsonl")], SftRecipe(twins="both"))
    conversation = examples[12]                           # read from the disk now
    indices = Order(len(examples), seed=0).take(0, 48)    # of the first step, the same on every machine

A file holds samples, conversations (LLaVA's format) or pairs; its first record says which. A folder is its
shards, ``part-*.jsonl``, in the order of their names. Only offsets stay in memory. Pictures are opened when
they are used; that their files are there is checked at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from vkit.errors import VkitError
from vkit.models.protocol import Request
from vkit.prompts import build_request
from vkit.records import Sample
from vkit.sources.llava import Conversation
from vkit.sources.opening import PARSERS, kind_of
from vkit.train.index import Index, build_index, read_line
from vkit.train.index import Refused as Refused
from vkit.train.recipes import AlignRecipe, SftRecipe
from vkit.train.sides import TEXT_ALONE, VISION_RICH, target_of

SHARDS = "part-*.jsonl"


@dataclass(frozen=True)
class Dialogue:
    """What the model reads and has to say: the last request and its answer, and the turns before them."""

    request: Request
    answer: str
    history: tuple[tuple[Request, str], ...] = ()


Item = TypeVar("Item")


class Examples(Generic[Item]):
    """What training reads: ``examples[i]`` is read from its file at that moment.

    entries, checks, digest, refused, left_out: as `vkit.train.index.Index` has them; by ``digest`` a resumed
        run can tell a change.
    """

    def __init__(
        self, files: Sequence[Path], kind: str, index: Index, read: Callable[[Any, int], Item]
    ) -> None:
        self.files, self.kind = list(files), kind
        self.entries, self.checks, self.digest = index.entries, index.checks, index.digest
        self.refused, self.left_out = index.refused, index.left_out
        self._read = read

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Item:
        """Raises `VkitError` where the file is gone, or other lines stand in it than when it was indexed."""
        number, offset, side = self.entries[index].tolist()
        path = self.files[number]
        line = read_line(path, offset, int(self.checks[index]))
        return self._read(PARSERS[self.kind](line, path.parent), side)


def open_examples(
    files: Sequence[Path],
    recipe: SftRecipe | AlignRecipe,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Examples[Any]:
    """The examples of a stage: `Dialogue` for an `SftRecipe`, `Pair` for an `AlignRecipe`.

    Args:
        files: read in this order; a folder is its shards.
        workers: processes that index, as `build_index` takes it; the examples do not depend on them.

    Raises:
        VkitError: a file is missing or empty, a record is bad (with ``skip_bad`` it is listed in ``refused``
            instead), the files hold records of another kind than the recipe takes, or none is of use.
    """
    files = [shard for path in files for shard in shards_of(path)]
    kinds = [kind_of(path) for path in files]
    if len(set(kinds)) != 1:
        raise VkitError(f"{', '.join(map(str, files))} hold records of different kinds; convert them to one")
    align = isinstance(recipe, AlignRecipe)
    if align and kinds[0] != "pair":
        raise VkitError(
            f"{files[0]} holds {kinds[0]}s, but alignment needs pairs; make them with `vkit data synthesize`"
            " or `vkit data render`, or give another file"
        )
    index = build_index(files, kinds[0], recipe, skip_bad=skip_bad, workers=workers)
    read = (lambda pair, _: pair) if isinstance(recipe, AlignRecipe) else _dialogue_reader(recipe)
    examples: Examples[Any] = Examples(files, kinds[0], index, read)
    if not len(examples):
        reasons = ", ".join(f"{count} {reason}" for reason, count in examples.left_out.items())
        remedy = "give --strong text-rich" if align else "give this stage data of its own"
        raise VkitError(
            f"{files[0]}: no record is of use to this stage ({reasons or 'all are bad'}); {remedy}"
        )
    return examples


def shards_of(path: Path) -> list[Path]:
    """The files that a path stands for: itself, or what a folder has of ``part-*.jsonl``, by name.

    Raises:
        VkitError: a folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(SHARDS), key=lambda shard: shard.name)
    if not found:
        raise VkitError(f"{path} is a folder without {SHARDS}; give its files by name")
    return found


class Order:
    """The order in which records are seen: a permutation for each epoch, one after the other.

    >>> order = Order(5, seed=0)
    >>> sorted(order.take(0, 5)) == sorted(order.take(5, 5)) == [0, 1, 2, 3, 4]
    True
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def take(self, start: int, count: int) -> list[int]:
        """The records at places ``start`` to ``start + count`` of the endless sequence."""
        return [self._at(place) for place in range(start, start + count)]

    def _at(self, place: int) -> int:
        epoch, position = divmod(place, self.count)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
            self._permutation = torch.randperm(self.count, generator=generator).numpy()
            self._epoch = epoch
        return int(self._permutation[position])


def without_picture(sample: Sample) -> Sample:
    return replace(sample, image=None)


def _dialogue_reader(recipe: SftRecipe) -> Callable[[Any, int], Dialogue]:
    def read(record: Any, side: int) -> Dialogue:
        if isinstance(record, Conversation):
            *history, (request, answer) = record.turns_with_requests()
            return Dialogue(request, answer, tuple(history))
        if isinstance(record, Sample):
            return Dialogue(build_request(record, recipe.prompt), target_of(record, recipe))
        twin = record.vision_rich if side == VISION_RICH else record.text_rich
        answer = record.response if recipe.target == "rationale" else str(record.text_rich.answer)
        request = build_request(without_picture(twin) if side == TEXT_ALONE else twin, recipe.prompt)
        return Dialogue(request, answer)

    return read


def describe(examples: Examples[Any]) -> str:
    """One line for people: how many there are, and what was left out."""
    words = [f"{len(examples)} examples"]
    words += [f"{count} {examples.kind}s left out {reason}" for reason, count in examples.left_out.items()]
    if examples.refused:
        first = examples.refused[0]
        words.append(f"{len(examples.refused)} bad left out, first {first.id!r}: {first.reason}")
    return "; ".join(words)


def settings_digest(value: Any) -> str:
    """A short digest of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
