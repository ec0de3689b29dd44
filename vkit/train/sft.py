"""Supervised fine-tuning: cross-entropy on the answers, with no logits of the whole vocabulary held.

    task = SftTask(model, open_examples([Path("problems.jsonl")], recipe), recipe)
    train(task, recipe, Path("out"))                      # vkit.train.loop

Stages 1 and 3 of Math-PUMA and LLaVA's visual instruction tuning. Several turns are learned at once; the
questions are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vkit.models.training import forward_packed
from vkit.train.data import Dialogue
from vkit.train.task import (
    Micro,
    Task,
    Totals,
    answer_rows,
    count_tokens,
    fused_loss,
    kind_of,
    sample_of,
)

if TYPE_CHECKING:
    from vkit.train.recipes import SftRecipe


class SftTask(Task):
    """The loss is the mean over all answer tokens of the step."""

    recipe: SftRecipe

    def encode(self, items: Sequence[Dialogue]) -> Micro:
        firsts = [item.history[0][0] if item.history else item.request for item in items]
        batches = []
        groups = self.picture_groups([bool(request.images) for request in firsts])
        for group in groups:
            some = [items[i] for i in group]
            batches.append(
                self.adapter.encode_training(
                    [item.request for item in some],
                    [item.answer for item in some],
                    history=[item.history for item in some],
                )
            )
        tokens = sum(count_tokens(batch) for batch in batches)
        return Micro(
            batches,
            tokens,
            len(items),
            [item.request.id for item in items],
            kinds=[kind_of(batch) for batch in batches],
            samples=[sample_of(group, batch) for group, batch in zip(groups, batches)],
        )

    def loss(self, micro: Micro, totals: Totals) -> tuple[Tensor, dict[str, Tensor]]:
        chunk = {"chunk_mib": self.recipe.chunk_mib or None}
        loss: Any = 0
        for batch in micro.batches:
            hidden, labels = self._hidden(batch)
            rows, targets = answer_rows(hidden, labels)
            loss = loss + fused_loss(self.adapter, rows, targets, teacher=None, lam=0.0, **chunk).total
        loss = loss / totals.tokens
        return loss, {"cross_entropy": loss.detach()}

    def _hidden(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not self.recipe.pack_to:
            return self.adapter.forward(batch), batch.labels
        return forward_packed(self.adapter, batch, self.recipe.pack_to)
