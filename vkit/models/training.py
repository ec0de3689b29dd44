"""What training asks of a model: its head for the fused loss, its parts to be frozen, memory saved.

    names = choose_trainable(model, ["connector", "language_model"])
    checkpoint_gradients(model)
    head = head_of(model)                                       # linear_puma_loss(..., head.weight, ...)
    hidden = model.forward(batch)                               # (B, T, D), batch from encode_training
    hidden, labels = forward_packed(model, batch, pack_to=2048)  # short samples share a row

It knows models by `vkit.models.protocol` alone, so that the trainers do not depend on the family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.huggingface_head import ScaledHead
from vkit.models.protocol import TrainingBatch, VisionLanguageModel
from vkit.models.tinyllava import TinyLlava

PARTS = ("vision_tower", "connector", "language_model")

# How transformers' families call what leads from the vision tower to the decoder; a learned row end is of the
# decoder's width, and goes with it.
_CONNECTOR = re.compile(
    r"(^|[._])(multi_modal|mm)?_?(projector|merger|connector|aligner|image_newline)([._]|$)"
)


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states: cap(factor * (hidden @ weight.T + bias)).

    weight (V, D), the parameter itself; bias (V,) or None; cap(x) = softcap * tanh(x / softcap), or x where
    softcap is None.
    """

    weight: Tensor
    bias: Tensor | None
    factor: float = 1.0
    softcap: float | None = None


def head_of(model: VisionLanguageModel) -> Head:
    """The model's ``lm_head`` taken apart, for losses that never hold the logits.

    Raises:
        VkitError: it is no linear map, scaled or soft-capped.
    """
    head: Any = model.lm_head
    scaled = isinstance(head, ScaledHead)
    linear = head.linear if scaled else head
    if not isinstance(linear, nn.Linear):
        raise VkitError(f"model {model.name!r}: its head is a {type(linear).__name__}, not a linear layer")
    settings = (head.factor, head.softcap) if scaled else (1.0, None)
    return Head(linear.weight, linear.bias, *settings)


def part_of(model: VisionLanguageModel) -> dict[str, str]:
    """Which of `PARTS` each parameter of ``model.model`` belongs to, by name; tied weights stand once.

    The decoder, its embeddings and its head are the language model. What is called a projector, merger,
    connector or aligner is the connector; the rest is the vision tower, the connector too where it has no
    such name.
    """
    whole: Any = model.model
    language = {id(parameter) for part in (model.decoder, model.lm_head) for parameter in part.parameters()}
    parts = {}
    for name, parameter in whole.named_parameters():
        if id(parameter) in language:
            parts[name] = "language_model"
        elif isinstance(whole, TinyLlava):
            parts[name] = name.partition(".")[0]
        else:
            parts[name] = "connector" if _CONNECTOR.search(name) else "vision_tower"
    return parts


def choose_trainable(model: VisionLanguageModel, parts: Iterable[str]) -> list[str]:
    """Let the named parts learn and freeze the others; names the parameters that learn, tied ones once.

    Where LoRA was added, the language model's own weights stay frozen and its adapter learns. Of TinyLLaVA's
    vision tower, layers that never run are left out, so that every name gets a gradient.

    Args:
        model: any model.
        parts: of `PARTS`, one or more.

    Raises:
        VkitError: a part is unknown or has no parameters, or the connector cannot be told from the tower.
    """
    chosen = set(parts)
    if unknown := sorted(chosen - set(PARTS)):
        raise VkitError(f"{unknown[0]!r} is no part of a model; choose of {', '.join(PARTS)}")
    belongs = part_of(model)
    found = set(belongs.values())
    if "connector" not in found and not isinstance(model.model, TinyLlava):
        if len(chosen & {"connector", "vision_tower"}) == 1:
            raise VkitError(
                f"model {model.name!r}: its connector cannot be told from its vision tower; train both or"
                " neither"
            )
        chosen.discard("connector")
    if not chosen & found:
        raise VkitError(
            f"model {model.name!r} has no parameters in {', '.join(sorted(chosen)) or 'no part'}; choose of"
            f" {', '.join(part for part in PARTS if part in found)}"
        )
    adapted = any("lora_" in name for name in belongs)
    idle = _idle(model.model) if isinstance(model.model, TinyLlava) else set()
    trainable = []
    for name, parameter in model.model.named_parameters():
        base = adapted and belongs[name] == "language_model" and "lora_" not in name
        learns = belongs[name] in chosen and not base and name not in idle
        parameter.requires_grad_(learns)
        if learns:
            trainable.append(name)
    return trainable


def checkpoint_gradients(model: VisionLanguageModel, *, on: bool = True) -> None:
    """Keep only the inputs of transformer layers for the backward, and run the layers again in it.

    It holds for the decoder and the vision tower, while ``model.model`` is in training mode. Loss and
    gradients do not change. A convolutional tower has no such layers and keeps its activations.
    Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost".

    Raises:
        VkitError: transformers cannot do so for a model of this family.
    """
    from transformers import PreTrainedModel

    whole: Any = model.model
    tower = whole.vision_tower._vision_tower["vision_model"] if isinstance(whole, TinyLlava) else None
    modules = [whole] if tower is None else [whole.language_model, tower]
    for module in modules:
        if not isinstance(module, PreTrainedModel):
            continue
        if not module.supports_gradient_checkpointing:
            raise VkitError(
                f"model {model.name!r}: {type(module).__name__} has no gradient checkpointing; train"
                " without it"
            )
        # Newer versions of transformers say "activation" where older ones said "gradient".
        kind = "activation" if hasattr(module, "activation_checkpointing_enable") else "gradient"
        if on:
            getattr(module, f"{kind}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(module, f"{kind}_checkpointing_disable")()


def forward_packed(model: VisionLanguageModel, batch: TrainingBatch, pack_to: int) -> tuple[Tensor, Tensor]:
    """Hidden states and labels of a batch whose samples share rows of at most ``pack_to`` columns.

    Each sample attends to itself alone and its positions start at 0, so that the sum of the loss over all
    labels is that of the rows one by one.

    Returns:
        hidden (R, C, D) and labels (R, C), R <= B and C <= pack_to; the first label of each sample is
        ignored, so that no pair of a column and its next crosses a border.

    Raises:
        VkitError: a sample is longer than ``pack_to``, or the model is no TinyLLaVA.
    """
    if not isinstance(model.model, TinyLlava):
        raise VkitError(f"model {model.name!r}: only TinyLLaVA packs samples; train without packing")
    for id_, layout in zip(batch.ids, batch.layouts):
        if len(layout) > pack_to:
            raise VkitError(
                f"request {id_!r} takes {len(layout)} columns, over pack_to of {pack_to}; raise it or remove"
                " the sample"
            )
    output = model.model(**batch.inputs, column_labels=batch.labels, pack_to=pack_to, compute_logits=False)
    return output.last_hidden_state, output.labels


def _idle(model: TinyLlava) -> set[str]:
    """Parameters of the vision tower that its image tokens do not depend on, found by a backward pass."""
    tower = dict(model.vision_tower.named_parameters(prefix="vision_tower"))
    learned = {name: parameter.requires_grad for name, parameter in tower.items()}
    side = model.config.vision.image_size
    like = next(iter(tower.values()))
    try:
        with torch.enable_grad():
            for parameter in tower.values():
                parameter.requires_grad_(True)
            features = model.vision_tower(like.new_zeros(1, 3, side, side))
            gradients = torch.autograd.grad(features.sum(), list(tower.values()), allow_unused=True)
    finally:
        for name, parameter in tower.items():
            parameter.requires_grad_(learned[name])
    return {name for name, gradient in zip(tower, gradients) if gradient is None}
