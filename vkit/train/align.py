"""Stage 2 of Math-PUMA: the vision-rich twin learns to predict as the text-rich one does (equations 1-5).

    task = AlignTask(model, open_examples([Path("pairs.jsonl")], recipe), recipe)
    train(task, recipe, Path("out"))                      # vkit.train.loop

Both twins end in the same response. The hidden states that predict it are gathered on both sides, row by
row, and one fused pass over the vocabulary gives both divergences, the cross-entropy and their gradients.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.protocol import TrainingBatch
from vkit.prompts import build_request
from vkit.records import Pair
from vkit.train.collapse import CollapseWatch
from vkit.train.data import without_picture
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
    from vkit.train.recipes import AlignRecipe


class AlignTask(Task):
    """The loss is lam * tau^power * (alpha KL(weak||strong) + (1 - alpha) KL(strong||weak)) + (1 - lam) CE.

    A frozen or moving teacher is a copy of the model made here, before the first step; several processes
    with fsdp share it out as they do the model. Nothing of the teacher runs where ``lam`` is 0.
    """

    recipe: AlignRecipe

    def __init__(self, model: Any, *args: Any, **settings: Any) -> None:
        super().__init__(model, *args, **settings)
        self.watch = CollapseWatch()
        # In a tuple, so that the copy's parameters are not taken for the task's own.
        self._teacher = (model if self.recipe.teacher == "live" else _frozen_copy(model),)

    @property
    def teacher(self) -> Any:
        return self._teacher[0]

    def encode(self, items: Sequence[Pair]) -> Micro:
        sides = []
        for twin in ("vision_rich", "text_rich"):
            samples = [getattr(pair, twin) for pair in items]
            if twin == "text_rich" and self.recipe.strong == "text-only":
                samples = [without_picture(sample) for sample in samples]
            requests = [build_request(sample, self.recipe.prompt) for sample in samples]
            sides.append((requests, [pair.response for pair in items]))
        batches = []
        groups = self.picture_groups([bool(request.images) for request in sides[1][0]])
        for group in groups:
            weak, strong = (
                self.adapter.encode_training([requests[i] for i in group], [answers[i] for i in group])
                for requests, answers in sides
            )
            _check_responses(weak, strong)
            batches.append((weak, strong))
        tokens = sum(count_tokens(weak) for weak, _ in batches)
        return Micro(
            batches,
            tokens,
            len(items),
            [pair.id for pair in items],
            kinds=[kind_of(*both) for both in batches],
            samples=[sample_of(group, *both) for group, both in zip(groups, batches)],
        )

    def loss(self, micro: Micro, totals: Totals) -> tuple[Tensor, dict[str, Tensor]]:
        loss: Any = 0
        parts: dict[str, Tensor] = {}
        for weak, strong in micro.batches:
            share, found = self._batch_loss(weak, strong, totals)
            loss = loss + share
            for name, value in found.items():
                parts[name] = parts.get(name, 0) + value
        return loss, parts

    def companions(self) -> list[nn.Module]:
        return [] if self.recipe.teacher == "live" else [self.teacher.model]

    def after_step(self, parts: dict[str, float]) -> str | None:
        if self.recipe.teacher == "ema":
            self._move_teacher()
        if self.recipe.lam == 0:
            return None
        divergence = parts["kl_weak_strong"] + parts["kl_strong_weak"]
        return self.watch.update(divergence, parts["cross_entropy"])

    def extra_tensors(self) -> dict[str, Tensor]:
        if self.recipe.teacher != "ema":
            return {}
        teacher = dict(self.teacher.model.named_parameters())
        return {f"teacher.{name}": teacher[name] for name, _ in self.trainable()}

    def state(self) -> dict[str, Any]:
        return {**asdict(self.watch), "recent": list(self.watch.recent)}

    def restore(self, state: dict[str, Any], refused: list[dict[str, str]]) -> None:
        super().restore(state, refused)
        recent = deque((divergence, hard) for divergence, hard in state["recent"])
        self.watch = CollapseWatch(**{**state, "recent": recent})

    def _batch_loss(
        self, weak: TrainingBatch, strong: TrainingBatch, totals: Totals
    ) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        weak_hidden = self.adapter.forward(weak)
        rows, labels = answer_rows(weak_hidden, weak.labels)
        if recipe.lam == 0 and not recipe.strong_cross_entropy:
            total = self._fused(rows, labels, None, lam=0.0).total / totals.tokens
            return total, {"cross_entropy": total.detach()}

        learns = recipe.strong_cross_entropy > 0
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            strong_hidden = self.teacher.forward(strong)
        strong_rows, _ = answer_rows(strong_hidden, strong.labels)
        if recipe.shift and recipe.kl_per == "token" and recipe.temperature_power == 2:
            found = self._fused(rows, labels, strong_rows, lam=recipe.lam)
            total, divergence, divergence_count = found.total / totals.tokens, found, totals.tokens
            cross_entropy = found.cross_entropy / totals.tokens
        else:  # rows or denominators differ between the two terms, so each is a pass of its own
            hard = self._fused(rows, labels, None, lam=0.0).total / totals.tokens
            pair = (
                answer_rows(h, b.labels, shift=recipe.shift)
                for h, b in ((weak_hidden, weak), (strong_hidden, strong))
            )
            (weak_kl, kl_labels), (strong_kl, _) = pair
            divergence = self._fused(weak_kl, kl_labels, strong_kl, lam=1.0)
            divergence_count = totals.tokens if recipe.kl_per == "token" else totals.items
            weight = recipe.lam * recipe.temperature ** (recipe.temperature_power - 2)
            total = weight * divergence.total / divergence_count + (1 - recipe.lam) * hard
            cross_entropy = hard.detach()
        parts = {
            "kl_weak_strong": divergence.kl_student_teacher / divergence_count,
            "kl_strong_weak": divergence.kl_teacher_student / divergence_count,
            "cross_entropy": cross_entropy,
        }
        if learns:
            own = self._fused(strong_rows, labels, None, lam=0.0).total / totals.tokens
            total = total + recipe.strong_cross_entropy * own
            parts["strong_cross_entropy"] = own.detach()
        return total, parts

    def _fused(self, rows: Tensor, labels: Tensor, strong_rows: Tensor | None, *, lam: float) -> Any:
        recipe = self.recipe
        return fused_loss(
            self.adapter,
            rows,
            labels,
            teacher=None if strong_rows is None else (self.teacher, strong_rows.detach()),
            alpha=recipe.alpha,
            lam=lam,
            temperature=recipe.temperature,
            standardize=recipe.standardize,
            chunk_mib=recipe.chunk_mib or None,
        )

    @torch.no_grad()
    def _move_teacher(self) -> None:
        teacher = dict(self.teacher.model.named_parameters())
        for name, parameter in self.trainable():
            teacher[name].lerp_(parameter.to(teacher[name].dtype), 1 - self.recipe.ema_decay)


def _frozen_copy(model: Any) -> Any:
    """The adapter with a network of its own that does not learn."""
    teacher = copy.deepcopy(model)
    teacher.model.requires_grad_(False)
    return teacher


def _check_responses(weak: TrainingBatch, strong: TrainingBatch) -> None:
    """Both sides end in the same tokens, so that their rows match by index."""
    for id_, one, other in zip(weak.ids, weak.layouts, strong.layouts):
        tokens = [layout.token_ids[layout.prompt_length :] for layout in (one, other)]
        if not np.array_equal(tokens[0], tokens[1]):
            raise VkitError(
                f"pair {id_!r}: its response has {len(tokens[0])} tokens after the vision-rich prompt and"
                f" {len(tokens[1])} others after the text-rich one, so their rows cannot be matched; make the"
                " two prompts end alike"
            )
