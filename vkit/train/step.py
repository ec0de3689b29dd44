"""The micro-batches of one optimizer step, the same ones on any number of processes, and whose turn is whose.

    made = map(task.read, own_chunks(world, [indices], micro_batch_size))
    step = share_out(task, world, made, len(indices), micro_batch_size)
    for turn in step.turns:                               # as many, and of the same kinds, on every process
        loss, parts = task(turn.micro, step.totals)

The step's records are cut into chunks; chunk c belongs to process c modulo their number. A chunk has a turn
for each kind of its batches (with pictures or without): another kind runs other layers, and what exchanges
weights or gradients needs every process to run the same. Where a process has no batch of a kind that another
one has, it runs a spare, records of the other's, which count nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from vkit.errors import VkitError
from vkit.train.data import Refused
from vkit.train.distributed import World
from vkit.train.task import Kind, Micro, Task, Totals


@dataclass(frozen=True)
class Turn:
    """One forward and backward of this process: of ``micro``, which has one batch of chunk ``chunk``.

    counts: whether its loss counts, or it is a spare.
    """

    micro: Micro
    chunk: int
    counts: bool

    def seed(self, seed: int, step: int) -> None:
        """Start the random numbers of the turn, so that dropout depends on nothing that ran before it."""
        what = f"{seed}/{step}/{self.chunk}/{self.micro.kinds}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big") >> 1)


@dataclass(frozen=True)
class Step:
    """turns: of this process. totals, ids: of the records of all of them."""

    turns: list[Turn]
    totals: Totals
    ids: list[str]


def own_chunks(
    world: World, steps: Iterable[Sequence[int]], micro_batch_size: int
) -> Iterator[Sequence[int]]:
    """The chunks of this process, step by step.

    Args:
        steps: the indices of each step's records.
        micro_batch_size: records of a chunk, 0 for all; fewer where there would be no chunk for each process.

    >>> list(own_chunks(World(), [[7, 2, 5], [4, 1]], 2))
    [[7, 2], [5], [4, 1]]
    """
    for indices in steps:
        yield from _chunks(world, indices, micro_batch_size)[world.rank :: world.size]


def share_out(
    task: Task,
    world: World,
    made: Iterator[tuple[Micro | None, list[Refused]]],
    count: int,
    micro_batch_size: int,
) -> Step:
    """Take this process's part of a step, and agree with the others.

    Args:
        made: what ``task.read`` makes of this process's chunks, as `own_chunks` has them; those of the step
            are taken.
        count: records of the step. micro_batch_size: as of `own_chunks`.

    Returns:
        The step; without turns where every record was left out.

    Raises:
        VkitError: in every process, where a record cannot be used; names it.
    """
    chunks = len(_chunks(world, range(count), micro_batch_size))
    mine: dict[int, Micro] = {}
    reports: dict[int, _Report] = {}
    error = None
    for number in range(world.rank, chunks, world.size):
        try:
            micro, refused = next(made)
        except VkitError as caught:
            error = caught
            break
        if micro is not None:
            mine[number] = micro
        reports[number] = _Report.of(micro, refused)
    world.fail_together(error)
    for theirs in world.gather(reports):
        reports.update(theirs)
    ordered = [reports[number] for number in sorted(reports)]
    for found in ordered:
        task.refuse(found.refused)
    turns = []
    for first in range(0, chunks, world.size):
        needed: dict[Kind, tuple[int, ...]] = {}  # and records of it
        for found in ordered[first : first + world.size]:
            needed = {**found.kinds, **needed}  # the first that has the kind
        number = first + world.rank
        own = {part.kinds[0]: part for part in mine[number].split()} if number in mine else {}
        for kind, sample in needed.items():
            micro = own.get(kind) or task.read(sample)[0]
            assert micro is not None  # it was encoded elsewhere
            turns.append(Turn(micro, number, kind in own))
    totals = Totals(sum(found.tokens for found in ordered), sum(found.items for found in ordered))
    return Step(turns, totals, [id_ for found in ordered for id_ in found.ids])


def _chunks(world: World, indices: Sequence[int], micro_batch_size: int) -> list[Sequence[int]]:
    size = min(micro_batch_size or len(indices), math.ceil(len(indices) / world.size))
    return [indices[start : start + size] for start in range(0, len(indices), size)]


@dataclass(frozen=True)
class _Report:
    """What the other processes need to know of a chunk.

    kinds: of its batches, and records that alone make one of the kind.
    """

    kinds: dict[Kind, tuple[int, ...]]
    tokens: int
    items: int
    ids: list[str]
    refused: list[Refused]

    @classmethod
    def of(cls, micro: Micro | None, refused: list[Refused]) -> _Report:
        if micro is None:
            return cls({}, 0, 0, [], refused)
        return cls(dict(zip(micro.kinds, micro.samples)), micro.tokens, micro.items, micro.ids, refused)
