"""TinyLLaVA by hand: a vision tower, a connector, a language model, and the splice between them.

    model = TinyLlava(config)                                     # vkit.models.tinyllava_config
    output = model(input_ids, pixel_values, attention_mask)       # -200 stands where a picture goes
    output.logits                                                 # (B, T, V), T >= L

    pixel_values (N, 3, H, W)                        input_ids (B, L)
          | vision tower                                   | token embedding
    patches (N, P, Dv) -- connector --> (N, P, D)    text (B, L, D)
                                 \\______ splice ______/
                                    columns (B, T, D) -- language model --> hidden (B, T, D) -- lm_head

One placeholder becomes P columns, so T is L plus P - 1 for each picture of the longest item. Submodules carry
the names of the official checkpoints, so that the state dict is the official one.
Source: Zhou et al., "TinyLLaVA: A Framework of Small-scale Large Multimodal Models", section 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.protocol import IGNORE_INDEX

if TYPE_CHECKING:
    from vkit.models.tinyllava_config import TinyLlavaConfig

IMAGE_TOKEN = -200  # in input_ids: a picture goes here


@dataclass(frozen=True)
class Spliced:
    """The decoder's input: text and image tokens in one sequence of T columns.

    inputs_embeds (B, T, D); attention_mask (B, T) bool; position_ids (B, T), 0 at an item's first column and
    at padding; labels (B, T), `IGNORE_INDEX` at image columns and padding, or None.
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class TinyLlavaOutput:
    """last_hidden_state (B, T, D) after the final norm; logits (B, T, V); loss (); the rest as `Spliced`."""

    last_hidden_state: Tensor
    attention_mask: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None
    loss: Tensor | None = None


class TinyLlava(nn.Module):
    """The model. ``language_model`` is transformers' causal language model of ``config.text``."""

    def __init__(self, config: TinyLlavaConfig) -> None:
        from transformers import AutoModelForCausalLM

        super().__init__()
        self.config = config
        self.language_model = AutoModelForCausalLM.from_config(config.text, dtype=torch.float32)
        self.vision_tower = VisionTower(config)
        self.connector = Connector(config.connector_type, config.vision.hidden_size, config.text.hidden_size)

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        padding_side: str | None = None,
        compute_logits: bool = True,
        column_labels: Tensor | None = None,
        pack_to: int | None = None,
    ) -> TinyLlavaOutput:
        """Hidden states, logits, and with ``labels`` the mean cross-entropy of the next token.

        Args:
            input_ids: (B, L) integers, `IMAGE_TOKEN` at each picture's place.
            pixel_values: (N, 3, H, W), the pictures in the order of their placeholders; None for none.
            attention_mask: (B, L), nonzero at real tokens; None where all are.
            labels: (B, L), `IGNORE_INDEX` at tokens that are not to be learned.
            padding_side: side of the columns' padding, left or right; None: left where an item of the mask
                begins with padding, else right.
            compute_logits: False leaves logits (B, T, V) and the loss out, for losses fused with the head.
            column_labels: (B, T), labels of columns instead of tokens, as a `TrainingBatch` has them.
            pack_to: put several items into a row of at most so many columns, see `pack`; B and T of what is
                returned are then the packed rows' and their columns'.

        Raises:
            VkitError: placeholders and pictures do not match in number, every label is ignored, or items
                cannot be packed.
        """
        spliced = self.splice(input_ids, pixel_values, attention_mask, labels, padding_side=padding_side)
        if column_labels is not None:
            spliced = replace(spliced, labels=column_labels)
        if pack_to is not None:
            if (attention := self.language_model.config._attn_implementation) not in ("sdpa", "eager"):
                raise VkitError(f"{attention} attention does not keep packed items apart; use sdpa or eager")
            spliced = pack(spliced, pack_to)
        hidden = self.language_model.get_decoder()(
            inputs_embeds=spliced.inputs_embeds,
            # Without a mask transformers keeps columns apart wherever positions start anew.
            attention_mask=None if pack_to is not None else spliced.attention_mask,
            position_ids=spliced.position_ids,
            use_cache=False,
        ).last_hidden_state
        logits = loss = None
        if compute_logits:
            logits = self.language_model.get_output_embeddings()(hidden)
            if spliced.labels is not None:
                loss = next_token_loss(logits, spliced.labels)
        return TinyLlavaOutput(hidden, spliced.attention_mask, logits, spliced.labels, loss)

    def splice(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        padding_side: str | None = None,
    ) -> Spliced:
        """Put each picture's tokens in the place of its placeholder; arguments as for `forward`."""
        device = input_ids.device
        real = (
            torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        )
        placeholder = (input_ids == IMAGE_TOKEN) & real
        pictures, placeholders = 0 if pixel_values is None else len(pixel_values), int(placeholder.sum())
        if pictures != placeholders:
            raise VkitError(
                f"the prompts hold {placeholders} placeholder(s) but {pictures} picture(s) came with them;"
                " give one picture for each"
            )

        # Each token's first column: the widths of the tokens before it, added up.
        width = torch.where(placeholder, self.config.num_image_tokens, 1) * real  # (B, L)
        ends = width.cumsum(dim=1)
        lengths = ends[:, -1:]  # (B, 1)
        total = int(lengths.max())
        if padding_side is None:
            padding_side = "right" if bool(real[:, 0].all()) else "left"
        offset = total - lengths if padding_side == "left" else torch.zeros_like(lengths)
        starts = ends - width + offset

        row, token = (real & ~placeholder).nonzero(as_tuple=True)  # text
        text_columns = starts[row, token]
        text = self.language_model.get_input_embeddings()(input_ids[row, token])
        inputs_embeds = text.new_zeros(len(input_ids), total, text.shape[-1])
        inputs_embeds = inputs_embeds.index_put((row, text_columns), text)
        if pixel_values is not None and pictures:
            image_row, image_token = placeholder.nonzero(as_tuple=True)  # (N,), in the order of the pictures
            image = self.encode_images(pixel_values).to(text.dtype)  # (N, P, D)
            columns = starts[image_row, image_token][:, None] + torch.arange(image.shape[1], device=device)
            inputs_embeds = inputs_embeds.index_put((image_row[:, None].expand_as(columns), columns), image)

        column = torch.arange(total, device=device)
        mask = (column >= offset) & (column < offset + lengths)  # (B, T)
        position_ids = (column - offset) * mask
        if labels is not None:
            spliced_labels = labels.new_full((len(input_ids), total), IGNORE_INDEX)
            labels = spliced_labels.index_put((row, text_columns), labels[row, token])
        return Spliced(inputs_embeds, mask, position_ids, labels)

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Image tokens (N, P, D) of pictures (N, 3, H, W), H and W as the vision tower's ``image_size``."""
        weight = next(self.vision_tower.parameters())
        return self.connector(self.vision_tower(pixel_values.to(weight.device, weight.dtype)))


class VisionTower(nn.Module):
    """The chosen hidden state of a SigLIP or CLIP tower, (N, 3, H, W) -> (N, P, Dv), with no final norm; of a
    `ConvVisionTower`, its output.

    Layers above the chosen one, the final norm and SigLIP's pooling head belong to the checkpoint, and are
    kept for saving, but never run.
    """

    def __init__(self, config: TinyLlavaConfig) -> None:
        from transformers import AutoModel

        from vkit.models.conv_vision import ConvVisionConfig, ConvVisionTower

        super().__init__()
        self.depth = config.feature_layer
        self.skip = 1 if config.select_strategy == "patch" else 0
        # Up to version 4 transformers wrapped the tower in a "vision_model"; checkpoints still do.
        if isinstance(config.vision, ConvVisionConfig):
            tower: nn.Module = ConvVisionTower(config.vision)
        else:
            tower = AutoModel.from_config(config.vision, dtype=torch.float32)
        self._vision_tower = nn.ModuleDict({"vision_model": tower})

    def forward(self, pixel_values: Tensor) -> Tensor:
        tower: Any = self._vision_tower["vision_model"]
        if not hasattr(tower, "embeddings"):  # ours, which has nothing behind its features
            return tower(pixel_values)
        hidden = tower.embeddings(pixel_values)
        if hasattr(tower, "pre_layrnorm"):  # CLIP; the misspelling is the checkpoints' own
            hidden = tower.pre_layrnorm(hidden)
        for layer in tower.encoder.layers[: self.depth]:
            hidden = layer(hidden, None)
        return hidden[:, self.skip :]


class Connector(nn.Module):
    """From the vision tower's width to the language model's: linear, identity, or mlp{N}x_gelu.

    >>> Connector("resampler", 8, 16)
    Traceback (most recent call last):
    vkit.errors.VkitError: connector 'resampler' is not supported; known: linear, identity, mlp{N}x_gelu
    """

    def __init__(self, kind: str, width_in: int, width_out: int) -> None:
        super().__init__()
        mlp = re.fullmatch(r"mlp([1-9]\d?)x_gelu", kind)
        if kind == "linear":
            self._connector: nn.Module = nn.Linear(width_in, width_out)
        elif kind == "identity":
            if width_in != width_out:
                raise VkitError(
                    f"connector 'identity' needs equal widths, but the vision tower has {width_in} and the"
                    f" language model {width_out}; choose another connector"
                )
            self._connector = nn.Identity()
        elif mlp:
            layers: list[nn.Module] = [nn.Linear(width_in, width_out)]
            for _ in range(int(mlp.group(1)) - 1):
                layers += [nn.GELU(), nn.Linear(width_out, width_out)]
            self._connector = nn.Sequential(*layers)
        else:
            raise VkitError(f"connector {kind!r} is not supported; known: linear, identity, mlp{{N}}x_gelu")

    def forward(self, features: Tensor) -> Tensor:
        return self._connector(features)


def pack(spliced: Spliced, pack_to: int) -> Spliced:
    """Items side by side in rows of at most ``pack_to`` columns, each in the first row that has room for it.

    Positions start at 0 in each item and at each column of padding, so that runs of positions tell the items
    apart. The first label of each item is ignored: it has nothing before it to be learned from.

    Raises:
        VkitError: an item has more than ``pack_to`` columns.
    """
    mask, device = spliced.attention_mask, spliced.attention_mask.device
    lengths, starts = mask.sum(dim=1).tolist(), mask.int().argmax(dim=1).tolist()
    rows: list[list[int]] = []  # the columns that each row takes, as indices into all B * T
    for item, (start, length) in enumerate(zip(starts, lengths)):
        if length > pack_to:
            raise VkitError(f"item {item} takes {length} columns, over pack_to of {pack_to}; raise it")
        first = item * mask.shape[1] + start
        room = next((row for row in rows if len(row) + length <= pack_to), None)
        if room is None:
            rows.append(room := [])
        room.extend(range(first, first + length))
    width = max(map(len, rows))
    source = torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows], device=device)
    real, source = source >= 0, source.clamp(min=0)

    def packed(values: Tensor, fill: int) -> Tensor:
        return values.flatten(0, 1)[source].masked_fill(
            ~real.view(*real.shape, *[1] * (values.dim() - 2)), fill
        )

    position_ids = packed(spliced.position_ids, 0)
    labels = spliced.labels
    if labels is not None:
        labels = packed(labels, IGNORE_INDEX).masked_fill(position_ids == 0, IGNORE_INDEX)
    return Spliced(packed(spliced.inputs_embeds, 0), real, position_ids, labels)


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, T, V) at t against labels (B, T) at t + 1, in fp32.

    Raises:
        VkitError: every label is ignored, so there is nothing to learn from.
    """
    targets = labels[:, 1:].reshape(-1)
    if not bool((targets != IGNORE_INDEX).any()):
        raise VkitError("every label of the batch is ignored; check how answers were tokenised")
    flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
    return F.cross_entropy(flat, targets, ignore_index=IGNORE_INDEX)
