"""Records of JSON Lines files by byte offset, checked before training begins, in a repeatable order.

    examples = open_examples([Path("pairs.jsonl")], SftRecipe(twins="both"))
    conversation = examples[12]                           # read from the disk now
    indices = Order(len(examples), seed=0).take(0, 48)    # of the first step, the same on every machine

A file holds samples, conversations (LLaVA's format) or pairs; its first record says which. Only offsets stay
in memory. Pictures are opened when they are used; that their files are there is checked at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.models.protocol import Request
from vkit.prompts import build_request
from vkit.records import Pair, Sample
from vkit.sources.llava import Conversation
from vkit.sources.opening import PARSERS, has_unique_ids, holders, kind_of
from vkit.train.recipes import AlignRecipe, SftRecipe

COMPLETE_TEXTS = ("text-only", "text-dominant")  # versions whose text says everything


@dataclass(frozen=True)
class Dialogue:
    """What the model reads and has to say: the last request and its answer, and the turns before them."""

    request: Request
    answer: str
    history: tuple[tuple[Request, str], ...] = ()


@dataclass(frozen=True)
class Refused:
    """A record that is left out, and why."""

    id: str
    reason: str


Item = TypeVar("Item")


class Examples(Generic[Item]):
    """What training reads: ``examples[i]`` is read from its file at that moment.

    digest: of the files' records and which of them are used, so that a resumed run can tell a change.
    refused: bad records that were left out (with ``skip_bad``).
    left_out: how many records the recipe has no use for, by reason.
    """

    def __init__(self, files: Sequence[Path], kind: str) -> None:
        self.files, self.kind = list(files), kind
        self.entries = np.empty((0, 3), dtype=np.int64)  # file, byte offset, side
        self.digest = ""
        self.refused: list[Refused] = []
        self.left_out: dict[str, int] = {}
        self._read: Callable[[Any, int], Item]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Item:
        file, offset, side = self.entries[index].tolist()
        with self.files[file].open("rb") as handle:
            handle.seek(offset)
            line = handle.readline()
        return self._read(PARSERS[self.kind](_text(line), self.files[file].parent), side)


def open_examples(
    files: Sequence[Path], recipe: SftRecipe | AlignRecipe, *, skip_bad: bool = False
) -> Examples[Any]:
    """The examples of a stage: `Dialogue` for an `SftRecipe`, `Pair` for an `AlignRecipe`.

    Raises:
        VkitError: a file is missing or empty, a record is bad (with ``skip_bad`` it is listed in ``refused``
            instead), the files hold records of another kind than the recipe takes, or none is of use.
    """
    kinds = [kind_of(path) for path in files]
    if len(set(kinds)) != 1:
        raise VkitError(f"{', '.join(map(str, files))} hold records of different kinds; convert them to one")
    align = isinstance(recipe, AlignRecipe)
    if align and kinds[0] != "pair":
        raise VkitError(
            f"{files[0]} holds {kinds[0]}s, but alignment needs pairs; make them with `vkit data synthesize`"
            " or `vkit data render`, or give another file"
        )
    examples: Examples[Any] = Examples(files, kinds[0])
    if isinstance(recipe, AlignRecipe):
        sides = _align_sides(recipe)
        examples._read = lambda pair, _: pair
    else:
        sides = _sft_sides(recipe)
        examples._read = _dialogue_reader(recipe)
    _index(examples, sides, skip_bad)
    if not len(examples):
        reasons = ", ".join(f"{count} {reason}" for reason, count in examples.left_out.items())
        remedy = "give --strong text-rich" if align else "give this stage data of its own"
        raise VkitError(
            f"{files[0]}: no record is of use to this stage ({reasons or 'all are bad'}); {remedy}"
        )
    return examples


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


def text_is_complete(sample: Sample) -> bool:
    """Whether the text alone says everything, so that the picture may be dropped."""
    return sample.image is None or sample.meta.get("version") in COMPLETE_TEXTS


def without_picture(sample: Sample) -> Sample:
    return replace(sample, image=None)


_WHOLE, _TEXT_RICH, _TEXT_ALONE, _VISION_RICH = range(4)  # sides of a record


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Byte offset and line, blank ones left out."""
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield offset, line
                offset += len(line)
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error


def _index(examples: Examples[Any], sides: Callable[[Any], list[int] | str], skip_bad: bool) -> None:
    from tqdm import tqdm

    parse, entries, seen = PARSERS[examples.kind], [], set()
    unique = has_unique_ids(examples.kind)
    digest = hashlib.sha256()
    for number, path in enumerate(examples.files):
        lines = tqdm(_lines(path), desc=f"read {path.name}", unit=" records", leave=False, disable=None)
        for count, (offset, line) in enumerate(lines, 1):
            digest.update(line)
            name = f"{path}, record {count}"
            try:
                record = parse(_text(line), path.parent)
                name = record.id
                if unique and record.id in seen:
                    raise VkitError("its id stands twice; make ids unique")
                seen.add(record.id)
                _check_pictures(record)
                chosen = sides(record)
            except VkitError as error:
                if not skip_bad:
                    where = f"{path}, record {count}"
                    where += "" if name == where else f" ({name!r})"
                    raise VkitError(f"{where}: {error}; --skip-bad leaves bad records out") from error
                examples.refused.append(Refused(name, str(error)))
                continue
            if isinstance(chosen, str):
                examples.left_out[chosen] = examples.left_out.get(chosen, 0) + 1
            else:
                entries += [(number, offset, side) for side in chosen]
    examples.entries = np.array(entries, dtype=np.int64).reshape(-1, 3)
    digest.update(examples.entries.tobytes())  # which pictures are missing may change as well
    examples.digest = digest.hexdigest()[:16]


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise VkitError(f"not UTF-8 text ({error.reason}); convert the file") from error


def _check_pictures(record: Sample | Pair | Conversation) -> None:
    for holder in holders(record):
        if not os.path.isfile(resolve_inside(holder.folder, str(holder.image))):
            raise VkitError(f"image {holder.image} is missing; check the record's path")


def _align_sides(recipe: AlignRecipe) -> Callable[[Pair], list[int] | str]:
    def sides(pair: Pair) -> list[int] | str:
        if recipe.strong == "text-only" and not text_is_complete(pair.text_rich):
            return "whose text-rich twin's text is not complete"
        return [_WHOLE]

    return sides


def _sft_sides(recipe: SftRecipe) -> Callable[[Any], list[int] | str]:
    def sides(record: Any) -> list[int] | str:
        if isinstance(record, Sample):
            _target(record, recipe)
        if not isinstance(record, Pair):
            return [_WHOLE]
        if recipe.target == "answer" and record.text_rich.answer is None:
            raise VkitError("has no answer to learn; add it or use target=rationale")
        if recipe.twins == "text":
            complete = text_is_complete(record.text_rich)
            return [_TEXT_ALONE] if complete else "whose text-rich twin's text is not complete"
        return [_VISION_RICH] if recipe.twins == "vision" else [_TEXT_RICH, _VISION_RICH]

    return sides


def _dialogue_reader(recipe: SftRecipe) -> Callable[[Any, int], Dialogue]:
    def read(record: Any, side: int) -> Dialogue:
        if isinstance(record, Conversation):
            *history, (request, answer) = record.turns_with_requests()
            return Dialogue(request, answer, tuple(history))
        if isinstance(record, Sample):
            return Dialogue(build_request(record, recipe.prompt), _target(record, recipe))
        twin = record.vision_rich if side == _VISION_RICH else record.text_rich
        answer = record.response if recipe.target == "rationale" else str(record.text_rich.answer)
        request = build_request(without_picture(twin) if side == _TEXT_ALONE else twin, recipe.prompt)
        return Dialogue(request, answer)

    return read


def _target(sample: Sample, recipe: SftRecipe) -> str:
    target = sample.rationale if recipe.target == "rationale" else sample.answer
    if target is None or not target.strip():
        raise VkitError(f"has no {recipe.target} to learn; add it, or set target to what it has")
    return target


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
