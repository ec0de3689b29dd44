"""What a stage computes for one step: encode records, run the model, give the loss and its parts.

    task = SftTask(model, examples, recipe)               # vkit.train.sft; AlignTask in vkit.train.align
    micro, refused = task.read([3, 14, 15])               # records by index, encoded; those left out
    loss, parts = task(micro, Totals(tokens=micro.tokens, items=micro.items))

A task is a module, so that what wraps modules (distributed training, sharded heads) sees everything that
trains, the fused loss with its head included, run inside one forward.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.kernels.divergence import PumaLoss, linear_puma_loss
from vkit.models.protocol import TrainingBatch, VisionLanguageModel
from vkit.models.tinyllava import IGNORE_INDEX, TinyLlava
from vkit.models.training import head_of
from vkit.train.data import Examples, Refused
from vkit.train.recipes import Recipe

Kind = tuple[bool, ...]  # of a batch: which of its sides have pictures, and so what layers it runs


@dataclass
class Micro:
    """One forward's records, encoded: batches in the order the task wants them.

    tokens: answer tokens that are learned; items: records; ids: theirs. kinds: of each batch. samples: of
    each batch the indices of records (in `encode` their places) that alone make a batch of its kind.
    """

    batches: list[Any]
    tokens: int
    items: int
    ids: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    samples: list[tuple[int, ...]] = field(default_factory=list)

    def split(self) -> list[Micro]:
        """One for each batch; the counts stay those of all."""
        parts = zip(self.batches, self.kinds, self.samples)
        return [replace(self, batches=[b], kinds=[k], samples=[s]) for b, k, s in parts]


@dataclass(frozen=True)
class Totals:
    """Of all micro-batches of a step, so that each token weighs the same wherever it stands."""

    tokens: int
    items: int


class Task(nn.Module):
    """The part that stages share; a stage says how records are encoded and what the loss is.

    Args:
        model: its trainable parameters are chosen already.
        skip_bad: leave out records that cannot be encoded, instead of stopping.

    refused: the records that were left out of the steps so far, each once.
    """

    def __init__(
        self, model: VisionLanguageModel, examples: Examples[Any], recipe: Recipe, *, skip_bad: bool = False
    ) -> None:
        super().__init__()
        self.adapter = model
        self.network = model.model  # registers the parameters
        self.examples, self.recipe, self.skip_bad = examples, recipe, skip_bad
        self.refused: list[Refused] = []
        # A processor of transformers keeps what it was last called with, and switches its tokenizer's padding
        # on and off: of two threads at once, one would get the other's prompts.
        shared = isinstance(self.network, TinyLlava)
        self._encoding: AbstractContextManager[Any] = nullcontext() if shared else threading.Lock()

    def read(self, indices: Sequence[int]) -> tuple[Micro | None, list[Refused]]:
        """The records encoded, and those that were left out; None where all were.

        It changes nothing, and several threads may call it at once: they read records and open pictures side
        by side, and encode so where the model is a TinyLLaVA, else one after the other.

        Raises:
            VkitError: a record cannot be used; names it.
        """
        try:
            return _indexed(self._encoded([self.examples[index] for index in indices]), indices), []
        except VkitError:
            if not self.skip_bad:
                raise
        good, used, refused = [], [], []  # one by one, to find the bad
        for index in indices:
            name = f"record {index}"
            try:
                item = self.examples[index]
                name = item.id if hasattr(item, "id") else item.request.id
                self._encoded([item])
                good.append(item)
                used.append(index)
            except VkitError as error:
                refused.append(Refused(name, str(error)))
        return (_indexed(self._encoded(good), used) if good else None), refused

    def refuse(self, records: Sequence[Refused]) -> None:
        """List records that are left out, each once, though it comes again in every epoch."""
        self.refused += [refused for refused in records if refused not in self.refused]

    def forward(self, micro: Micro, totals: Totals) -> tuple[Tensor, dict[str, Tensor]]:
        """This micro-batch's share of the step's loss, and of its parts, detached; shares add up."""
        autocast = self.recipe.precision == "bf16"
        with torch.autocast(self.adapter.device.type, dtype=torch.bfloat16, enabled=autocast):
            return self.loss(micro, totals)

    def encode(self, items: Sequence[Any]) -> Micro:
        raise NotImplementedError

    def _encoded(self, items: Sequence[Any]) -> Micro:
        with self._encoding:
            return self.encode(items)

    def loss(self, micro: Micro, totals: Totals) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError

    def picture_groups(self, with_pictures: Sequence[bool]) -> list[list[int]]:
        """Items that may share a batch, by index: all, or apart by whether they have pictures."""
        if self.adapter.mixes_pictures:
            return [list(range(len(with_pictures)))]
        groups: dict[bool, list[int]] = {}
        for index, has in enumerate(with_pictures):
            groups.setdefault(has, []).append(index)
        return list(groups.values())

    def companions(self) -> list[nn.Module]:
        """Networks beside its own that run in its forward."""
        return []

    def after_step(self, parts: dict[str, float]) -> str | None:
        """Called after each optimizer step with its parts; a warning to be told, or None."""
        return None

    def extra_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps beside trainable weights and the optimizer."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps as JSON."""
        return {}

    def restore(self, state: dict[str, Any], refused: list[dict[str, str]]) -> None:
        self.refused = [Refused(**item) for item in refused]

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.network.named_parameters() if p.requires_grad)


class Anchored(nn.Module):
    """A task and all that runs in its forward, as what exchanges weights or gradients needs it.

    A weight that counts nothing makes every backward reach something, even where only the pictures' side
    learns and there is no picture.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.companions = task, nn.ModuleList(task.companions())
        self.anchor = nn.Parameter(torch.zeros(1, device=task.adapter.device))

    def forward(self, micro: Micro, totals: Totals) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = self.task(micro, totals)
        return loss + 0 * self.anchor.sum(), parts


def _indexed(micro: Micro, indices: Sequence[int]) -> Micro:
    return replace(micro, samples=[tuple(indices[i] for i in places) for places in micro.samples])


def fused_loss(
    model: VisionLanguageModel,
    hidden: Tensor,
    labels: Tensor,
    *,
    teacher: tuple[Any, Tensor] | None,
    **how: Any,
) -> PumaLoss:
    """`linear_puma_loss` with the model's own head, summed over the rows.

    Args:
        hidden: (N, D) of the student. labels: (N,).
        teacher: the adapter whose head makes the teacher's logits, and its hidden states (N, D).
    """
    head = head_of(model)
    other: dict[str, Any] = {}
    states = None
    if teacher is not None:
        theirs = head_of(teacher[0])
        states = _times(teacher[1], theirs.factor)
        if teacher[0] is not model:
            other = {"teacher_weight": theirs.weight, "teacher_bias": _times(theirs.bias, theirs.factor)}
    return linear_puma_loss(
        _times(hidden, head.factor),
        states,
        head.weight,
        labels,
        bias=_times(head.bias, head.factor),
        softcap=head.softcap,
        reduction="sum",
        **other,
        **how,
    )


def _times(values: Any, factor: float) -> Any:
    return values if values is None or factor == 1 else values * factor


def answer_rows(hidden: Tensor, labels: Tensor, *, shift: bool = True) -> tuple[Tensor, Tensor]:
    """The hidden states that predict answer tokens, and these tokens.

    Args:
        hidden: (B, T, D). labels: (B, T), `IGNORE_INDEX` at all that is no answer.
        shift: True: the state at t with the label at t + 1. False: the state and the label at t, as the
            rows of Math-PUMA's released divergence are chosen.

    Returns:
        (N, D) and (N,), item by item.
    """
    if shift:
        hidden, labels = hidden[:, :-1], labels[:, 1:]
    chosen = labels != IGNORE_INDEX
    return hidden[chosen], labels[chosen]


def kind_of(*sides: TrainingBatch) -> Kind:
    """Of a batch by its sides: which of them have pictures."""
    return tuple(any(layout.images for layout in side.layouts) for side in sides)


def sample_of(group: Sequence[int], *sides: TrainingBatch) -> tuple[int, ...]:
    """Places of records that alone make a batch of the same kind; ``group``: those of the batch's records."""
    firsts = [next((i for i, layout in enumerate(side.layouts) if layout.images), 0) for side in sides]
    return tuple(group[i] for i in sorted(set(firsts)))


def count_tokens(batch: TrainingBatch) -> int:
    """Answer tokens of a batch that some hidden state predicts."""
    return int((batch.labels[:, 1:] != IGNORE_INDEX).sum())
