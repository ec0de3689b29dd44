"""The ``tiny`` preset: a TinyLLaVA that learns to read and to compute on a laptop's CPU, with no network.

    model = build_tiny()                 # random weights, the same everywhere for each seed
    model.save("tiny-checkpoint")        # the official layout; load_model reads it back
    model = build_trained()              # as the package holds it, trained on vkit.synthesis.miniature

A Llama of three layers that sees 16 image tokens of a convolutional tower, with a tokenizer that spells every
text: the same wrapper and trainers as the large models, half a million parameters. `build_stand_in` has the
large models' own parts in small, a Phi that sees 64 patches of a SigLIP, for tests and benchmarks. Random
weights say so by ``random_weights``: what they answer means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vkit.errors import VkitError
from vkit.jsonl import write_bytes
from vkit.models.tensors import first_line
from vkit.models.tiny_tokenizer import PHRASES, VOCABULARY, build_tokenizer
from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.models.tinyllava_config import TinyLlavaConfig
from vkit.models.tinyllava_images import ImageSettings
from vkit.models.tinyllava_prompt import EOS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

WEIGHTS = Path(__file__).with_name("tiny_weights.safetensors")

CONFIG: dict[str, Any] = {
    "architectures": ["TinyLlavaForConditionalGeneration"],
    "model_type": "tinyllava",
    "connector_type": "mlp2x_gelu",
    "hidden_size": 96,
    "vocab_size": 512,
    "vision_hidden_size": 256,
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "cls_patch",  # every image token: the tower has no class token
    "image_aspect_ratio": "pad",  # keeps angles as they are
    "image_token_index": -200,
    "ignore_index": -100,
    "tokenizer_model_max_length": 2048,
    "tokenizer_padding_side": "right",
    "pad_token": EOS["llama"],
    "pad_token_id": 0,
    "torch_dtype": "float32",
    "text_config": {
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "vision_config": {
        "model_type": "conv_vision_model",
        "hidden_size": 256,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 16,
    },
}

# The families of the official checkpoints; SigLIP keeps its layers above the features.
STAND_IN: dict[str, Any] = {
    **CONFIG,
    "hidden_size": 128,
    "vocab_size": VOCABULARY,
    "vision_hidden_size": 96,
    "vision_feature_layer": -2,
    "pad_token": EOS["phi"],
    "text_config": {
        "model_type": "phi",
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 112,
        "patch_size": 14,
    },
}


def build_tiny(seed: int = 0) -> TinyLlavaModel:
    """The preset with random weights of ``seed``, on the CPU in float32; torch's generator is left alone.

    >>> model = build_tiny()
    >>> sum(parameter.numel() for parameter in model.model.parameters()) < 1_000_000
    True
    """
    return build_random(CONFIG, name="tiny", seed=seed, phrases=PHRASES)


def build_trained(path: Path = WEIGHTS) -> TinyLlavaModel:
    """The preset with trained weights, in float32.

    Raises:
        VkitError: the file is not there, or belongs to a preset of other sizes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build_tiny()
    try:
        tensors = load_file(path)
        model.model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise VkitError(
            f"{path} does not hold the tiny preset's weights ({first_line(error)}); reinstall vkit"
        ) from error
    model.random_weights = False
    return model


def pack_trained(model: TinyLlavaModel, path: Path = WEIGHTS) -> None:
    """Write the weights for `build_trained`, in float16 (about 1 MB): the file is complete or absent."""
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().half().cpu().contiguous() for name, tensor in model.model.state_dict().items()
    }
    write_bytes(path, save(tensors))


def build_stand_in(seed: int = 0) -> TinyLlavaModel:
    """A small Phi and SigLIP with random weights of ``seed``, where the official families matter."""
    return build_random(STAND_IN, name="stand-in", seed=seed)


def build_random(
    values: dict[str, Any],
    *,
    name: str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    phrases: Sequence[str] = (),
) -> TinyLlavaModel:
    """A TinyLLaVA of any size with random weights and the small tokenizer, for tests and benchmarks.

    Args:
        values: a ``config.json``.
        name: what reports call it.
        seed: of the weights; the same seed gives the same weights on the same kind of device.
        phrases: texts that are one token; see `tiny_tokenizer`.
    """
    from vkit.models.tinyllava_checkpoint import empty_model

    config = TinyLlavaConfig.from_dict(values)
    model = empty_model(config)
    generator = torch.Generator(device).manual_seed(seed)
    weights = {
        key: _random(key, like, generator).to(dtype) for key, like in sorted(model.state_dict().items())
    }
    model.load_state_dict(weights, assign=True)
    end = EOS[config.text.model_type]
    vocabulary = min(VOCABULARY, config.text.vocab_size)
    tokenizer = build_tokenizer(end, vocabulary=vocabulary, phrases=phrases)
    return TinyLlavaModel(
        model.to(device),
        _wrap(tokenizer, end),
        ImageSettings.from_dicts(None, config),
        name=name,
        files=_files(tokenizer, end, config),
        random_weights=True,
    )


def _wrap(tokenizer: Tokenizer, end: str) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_special(end))


def _special(end: str) -> dict[str, str]:
    return dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), end)


def _files(tokenizer: Tokenizer, end: str, config: TinyLlavaConfig) -> dict[str, bytes]:
    """The files beside the weights, as the official code writes them."""
    side = config.vision.image_size
    contents: dict[str, dict[str, Any]] = {
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **_special(end)},
        "special_tokens_map.json": _special(end),
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
        "preprocessor_config.json": {
            "image_processor_type": "SiglipImageProcessor",
            "do_resize": True,
            "size": {"height": side, "width": side},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    }
    return {
        name: (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
        for name, content in contents.items()
    }


def _random(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Weights as torch's linear layers begin (variance 1 / 3 inputs), small embeddings, idle norms."""
    device = generator.device
    if "norm" in name and name.endswith("weight"):
        return torch.ones(like.shape, device=device)
    if "norm" in name or name.endswith("bias"):
        return torch.zeros(like.shape, device=device)
    weight = torch.randn(like.shape, generator=generator, device=device)
    small = "embed_tokens" in name or "lm_head" in name or "position_embedding" in name
    return weight * (0.02 if small else (3 * like[0].numel()) ** -0.5)
