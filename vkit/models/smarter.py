"""SmarterVLM: a small reasoner for SMART-101 on the features of frozen vision and text backbones.

    model = Smarter(SmarterConfig(puzzles=(7, 18), classes=(12, 6), sequence=(False, True)))
    output = model(batch)                                    # a SmartBatch of cached features
    loss = smart_loss(output, batch)
    values = predict(output)                                 # [4, (1, 0, 2, 3, 5, 5, 5, 5, 5, 5), ...]

    pooled (B, 1536) -- image encoder of the puzzle --> r1 (B, 128)
    text (B, T, 768), r1 or patches ---- QF layer ----> r2 (B, 768)
    text (B, T, 768) ------------- mean over tokens --> r3 (B, 768)
    LayerNorm(r1, r2, r3) (B, 1664) -- QVFusion --> (B, 128) -- decoder of the puzzle --> logits

`SmarterConfig` switches each part, so that the rows of the paper's tables are configurations: no QF layer
(``qf=None``), r1 only (``qf=None, use_text=False``), one backbone (``vision_sizes=(768,)``), one image head
for all puzzles (``single_image_head=True``), the LSTM decoder (``decoder="lstm"``). Encoders and decoders of
all puzzles in a batch run together (`vkit.models.smarter_heads`).
Source: Roberts, "Smart Vision-Language Reasoners", section 3, figure 1 and appendix A.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.protocol import IGNORE_INDEX
from vkit.models.qf import QFLayer, masked_mean
from vkit.models.smarter_config import SEQUENCE_STEPS, SmarterConfig
from vkit.models.smarter_decoders import MLPDecoders, SequenceDecoders
from vkit.models.smarter_heads import GroupedLinear, group_rows


@dataclass(frozen=True)
class SmartBatch:
    """Features and answers of B questions. Floating features may have any dtype, and are finite.

    pooled (B, sum D_k): the mean over tokens of each vision backbone's states, side by side.
    patches: (B, P_k, D_k) of each backbone, or None where no QF layer over tokens reads them.
    text (B, T, Dt): the text model's states; text_mask (B, T) bool: True at real tokens.
    puzzle (B,) int64: places in `SmarterConfig.puzzles`; stays on the CPU, where products are planned.
    target (B,) int64: the answer's class; anything at rows of sequence puzzles.
    sequence (B, 10) int64: the answer's classes, `IGNORE_INDEX` at steps that do not count and at other rows.
    """

    pooled: Tensor
    patches: tuple[Tensor, ...] | None
    text: Tensor
    text_mask: Tensor
    puzzle: Tensor
    target: Tensor
    sequence: Tensor

    def __post_init__(self) -> None:
        if self.text_mask.device.type == "cpu" and not self.text_mask.any(1).all():
            row = int((~self.text_mask.any(1)).nonzero()[0])
            raise VkitError(f"the question in row {row} of the batch has no text; leave that item out")

    def to(self, device: torch.device | str) -> SmartBatch:
        """The batch on a device, all but ``puzzle``; copies from pinned memory do not block."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            pooled=move(self.pooled),
            patches=None if self.patches is None else tuple(move(states) for states in self.patches),
            text=move(self.text),
            text_mask=move(self.text_mask),
            target=move(self.target),
            sequence=move(self.sequence),
        )


@dataclass(frozen=True)
class SmartOutput:
    """logits (B, C_max), -inf beyond a puzzle's classes and at rows of sequence puzzles; sequence_logits
    (B, 10, C_max), the other way round, or None where the batch has no such row; is_sequence (B,) bool.

    The two C_max are those of the two kinds of puzzles.
    """

    logits: Tensor
    sequence_logits: Tensor | None
    is_sequence: Tensor


class Smarter(nn.Module):
    """The model; `SmarterConfig` says of what parts.

    >>> config = SmarterConfig((7, 18), (12, 6), (False, True), vision_sizes=(6, 4), text_size=8, repr_size=4)
    >>> batch = SmartBatch(
    ...     pooled=torch.randn(3, 10), patches=None, text=torch.randn(3, 5, 8),
    ...     text_mask=torch.ones(3, 5, dtype=torch.bool), puzzle=torch.tensor([0, 1, 0]),
    ...     target=torch.tensor([11, 0, 3]), sequence=torch.tensor([[-100] * 10, [5] * 10, [-100] * 10]),
    ... )
    >>> output = Smarter(config)(batch)
    >>> output.logits.shape, output.sequence_logits.shape
    (torch.Size([3, 12]), torch.Size([3, 10, 6]))
    """

    def __init__(self, config: SmarterConfig) -> None:
        super().__init__()
        self.config = config
        size, composite = config.repr_size, config.composite_size
        kinds = torch.tensor(config.sequence, device="cpu")
        self._is_sequence = kinds  # on the CPU, as SmartBatch.puzzle is
        # A puzzle's place among the puzzles of its kind: its decoder.
        self._decoder_of = torch.where(kinds, kinds.cumsum(0), (~kinds).cumsum(0)) - 1

        self.image_encoders = None
        if config.use_image or config.qf == "paper":
            count = 1 if config.single_image_head else len(config.puzzles)
            self.image_encoders = ImageEncoders(count, sum(config.vision_sizes), size)  # 1536 -> 128
        self.qf = None
        if config.qf is not None:
            image_size = config.vision_sizes if config.qf == "tokens" else size
            self.qf = QFLayer(
                config.text_size,
                image_size,
                config.qf,
                config.heads,
                config.hidden,
                config.dropout,
                config.eps,
            )
        self.composite = nn.LayerNorm(composite, eps=config.eps)  # 1664
        self.fusion = nn.Sequential(
            nn.Linear(composite, size),  # 1664 -> 128
            nn.GELU(),
            nn.Linear(size, size),
            nn.GELU(),
            nn.LayerNorm(size, eps=config.eps),
        )
        single = [count for count, sequence in zip(config.classes, config.sequence) if not sequence]
        several = [count for count, sequence in zip(config.classes, config.sequence) if sequence]
        self.decoders = MLPDecoders(size, single) if single else None
        self.sequence_decoders = (
            SequenceDecoders(size, several, config.decoder, SEQUENCE_STEPS) if several else None
        )

    def forward(self, batch: SmartBatch) -> SmartOutput:
        """Logits of a batch on the model's device.

        Raises:
            VkitError: the batch's features are not of the configuration's sizes, or lack the patches that a
                QF layer over tokens reads.
        """
        puzzle = batch.puzzle.cpu()
        self._check(batch, puzzle)
        return self._decode(self.fusion(self.composite(self._join(batch, puzzle))), puzzle)

    def _check(self, batch: SmartBatch, puzzle: Tensor) -> None:
        config = self.config
        if puzzle.min() < 0 or puzzle.max() >= len(config.puzzles):
            raise VkitError(
                f"the batch names puzzles {puzzle.min()} to {puzzle.max()}, the model has places 0 to"
                f" {len(config.puzzles) - 1}; give a puzzle by its place in SmarterConfig.puzzles"
            )
        widths = (batch.pooled.shape[-1], batch.text.shape[-1])
        if widths != (expected := (sum(config.vision_sizes), config.text_size)):
            raise VkitError(
                f"the batch's image and text features are {widths} wide, the model was built for {expected};"
                " take the backbones that it was trained with"
            )
        if config.qf == "tokens":
            sizes = tuple(states.shape[-1] for states in batch.patches or ())
            if sizes != config.vision_sizes:
                raise VkitError(
                    f"the tokens QF layer reads patches of widths {config.vision_sizes}, the batch has"
                    f" {sizes or 'none'}; cache features with their tokens, or choose another QF layer"
                )

    def _join(self, batch: SmartBatch, puzzle: Tensor) -> Tensor:
        """r1, r2 and r3 side by side, as far as the configuration has them."""
        dtype = self.composite.weight.dtype  # features are cached in half precision
        reads_text = self.qf is not None or self.config.use_text
        text = batch.text.to(dtype) if reads_text else batch.text
        r1, parts = None, []
        if self.image_encoders is not None:
            r1 = self.image_encoders(batch.pooled.to(dtype), puzzle)
        if r1 is not None and self.config.use_image:
            parts.append(r1)
        if self.qf is not None:
            image = [x.to(dtype) for x in batch.patches or ()] if self.config.qf == "tokens" else r1
            parts.append(self.qf(text, image, batch.text_mask))
        if self.config.use_text:
            parts.append(masked_mean(text, batch.text_mask))
        return torch.cat(parts, 1)

    def _decode(self, fused: Tensor, puzzle: Tensor) -> SmartOutput:
        is_sequence, decoder = self._is_sequence[puzzle], self._decoder_of[puzzle]
        width = self.decoders.last.widest if self.decoders is not None else 1
        logits, sequence_logits = fused.new_full((len(fused), width), -torch.inf), None
        if self.decoders is not None and not is_sequence.all():
            logits = _at_rows(fused, ~is_sequence, decoder, self.decoders)
        if self.sequence_decoders is not None and is_sequence.any():
            sequence_logits = _at_rows(fused, is_sequence, decoder, self.sequence_decoders)
        return SmartOutput(logits, sequence_logits, is_sequence.to(fused.device))


def _at_rows(fused: Tensor, chosen: Tensor, decoder: Tensor, decoders: nn.Module) -> Tensor:
    """What the decoders make of the chosen rows, -inf at the others."""
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == len(fused):
        return decoders(fused, decoder)
    on_device = rows.to(fused.device)
    decoded = decoders(fused.index_select(0, on_device), decoder[rows])
    every = decoded.new_full((len(fused), *decoded.shape[1:]), -torch.inf)
    return every.index_copy(0, on_device, decoded)


class ImageEncoders(nn.Module):
    """Linear, GELU, Linear: (B, 1536) to r1 (B, 128), one for every puzzle, or one for all (count 1)."""

    def __init__(self, count: int, in_features: int, size: int) -> None:
        super().__init__()
        self.first = GroupedLinear(count, in_features, size)
        self.second = GroupedLinear(count, size, size)

    def forward(self, pooled: Tensor, puzzle: Tensor) -> Tensor:
        count = len(self.first.weight)
        grouping = group_rows(puzzle if count > 1 else torch.zeros_like(puzzle), count, pooled.device)
        x = F.gelu(self.first(grouping.spread(pooled), grouping))
        return grouping.gather(self.second(x, grouping))


def smart_loss(output: SmartOutput, batch: SmartBatch, others: Tensor | None = None) -> Tensor:
    """Mean over the puzzles in the batch of the mean cross-entropy over the puzzle's rows.

    Every puzzle weighs the same, however many of its questions the batch has. The cross-entropy of a sequence
    is the mean over its steps.

    Args:
        others: (N,) the puzzles of further rows, which make one batch with these and stand elsewhere. The
            loss is then this part's share of that batch's; shares add up.

    Raises:
        VkitError: a row has no answer, or one beyond its puzzle's classes.
    """
    is_sequence, target = output.is_sequence, batch.target
    loss = _cross_entropy(output.logits, target, ~is_sequence)
    if output.sequence_logits is not None:
        counted = batch.sequence != IGNORE_INDEX
        steps = _cross_entropy(output.sequence_logits, batch.sequence, is_sequence[:, None] & counted)
        count = counted.sum(1)
        loss = torch.where(is_sequence, steps.sum(1) / count.clamp(min=1), loss)
        loss = loss.masked_fill(is_sequence & (count == 0), torch.inf)
    if (bad := ~torch.isfinite(loss.detach())).any():
        row = int(bad.nonzero()[0])
        raise VkitError(
            f"row {row} of the batch has no finite loss: its answer is missing or beyond its puzzle's classes"
            " (count them over all the data), or training diverged (lower the learning rate)"
        )
    puzzle = batch.puzzle if others is None else torch.cat([batch.puzzle, others])
    rows = (batch.puzzle[:, None] == puzzle).sum(1)  # (B,), how many the row's puzzle has
    weight = rows.to(loss).reciprocal()
    return (loss * weight).sum() / len(puzzle.unique())


def _cross_entropy(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of each label, 0 where it is not wanted and inf where there is no such class.

    logits (..., C), -inf at classes that are none; labels (...) int64; wanted (...) bool.
    """
    valid = wanted & (labels >= 0) & (labels < logits.shape[-1])
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    loss = F.cross_entropy(
        scores.masked_fill(~valid[..., None], 0.0).flatten(0, -2),
        labels.masked_fill(~valid, 0).flatten(),
        reduction="none",
    ).view_as(labels)
    return loss.masked_fill(~wanted, 0.0).masked_fill(wanted & ~valid, torch.inf)


def predict(output: SmartOutput) -> list[int | tuple[int, ...]]:
    """The likeliest value of each row: a class, or a tuple of `SEQUENCE_STEPS` classes for a sequence."""
    values: list[int | tuple[int, ...]] = output.logits.argmax(-1).tolist()
    if output.sequence_logits is not None:
        sequences = output.sequence_logits.argmax(-1).tolist()
        for row in output.is_sequence.nonzero().flatten().tolist():
            values[row] = tuple(sequences[row])
    return values
