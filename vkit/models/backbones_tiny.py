"""Small backbones that are always the same and need no network, so that every command runs offline.

    model, prepare, settings = VISION["tiny"]()
    model, tokenizer = TEXT["tiny"]()

``tiny`` looks with the convolutional tower of the ``tiny`` preset, which was trained to read signs in
pictures of 64 x 64. ``tiny-vit`` is a ViT with random weights: it knows nothing, but keeps what stands where.
The text encoder is a BERT with random weights: each state is its word, its place, and a mixture of the words
around. `vkit.models.backbones` loads them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from vkit.models.tinyllava_images import ImageSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Prepare = Callable[[Sequence[Image.Image]], Tensor]
END = "</s>"
VIT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 128,
    "patch_size": 16,
}
BERT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "type_vocab_size": 1,
}


def _conv_tower() -> tuple[nn.Module, Prepare, dict[str, Any]]:
    from vkit.models.tiny import build_trained

    preset = build_trained()
    return preset.model.vision_tower, _preparing(preset.images), {"images": asdict(preset.images)}


def _random_vit() -> tuple[nn.Module, Prepare, dict[str, Any]]:
    from transformers import ViTConfig, ViTModel

    images = ImageSettings(VIT["image_size"], pad=True)
    model = ViTModel(ViTConfig(**VIT), add_pooling_layer=False)
    return _draw(model, seed=1), _preparing(images), {"images": asdict(images), "config": VIT}


def _random_bert() -> tuple[nn.Module, PreTrainedTokenizerFast]:
    from tokenizers import processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from vkit.models.tiny_tokenizer import build_tokenizer

    tokenizer = build_tokenizer(END)
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {END}", special_tokens=[(END, 0)])
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), pad_token_id=0, **BERT)
    model = _draw(BertModel(config, add_pooling_layer=False), seed=2)
    return model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


VISION = {"tiny": _conv_tower, "tiny-vit": _random_vit}
TEXT = {"tiny": _random_bert}


def _preparing(settings: ImageSettings) -> Prepare:
    def prepare(images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([torch.from_numpy(settings.pixel_values(image)) for image in images])

    return prepare


@torch.no_grad()
def _draw(model: nn.Module, *, seed: int) -> nn.Module:
    """Weights of ``seed``: attention that is far from uniform, embeddings and places of equal weight."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if "norm" in name.lower() or name.endswith("bias"):
            continue  # ones and zeros, as they are made
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1 and "embedding" not in name and "token" not in name:
            sharp = 2.0 if "query" in name or "key" in name else 1.0
            drawn *= sharp * parameter[0].numel() ** -0.5
        parameter.copy_(drawn)
    return model
