"""The ``tiny`` preset: a TinyLLaVA small enough to build, run and train on a laptop's CPU, with no network.

    model = build_tiny()                 # the same weights everywhere, for each seed
    model.save("tiny-checkpoint")        # the official layout; load_model reads it back

A SigLIP of 64 patches, a Phi of four layers, and a byte-level tokenizer that is trained on the few sentences
below each time (in milliseconds, always to the same result). Its weights are random: what it answers means
nothing, and it says so by ``random_weights``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.models.tinyllava_config import TinyLlavaConfig
from vkit.models.tinyllava_images import ImageSettings
from vkit.models.tinyllava_prompt import BEFORE_ANSWER, BEFORE_USER, EOS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 640

CONFIG: dict[str, Any] = {
    "architectures": ["TinyLlavaForConditionalGeneration"],
    "model_type": "tinyllava",
    "connector_type": "mlp2x_gelu",
    "hidden_size": 128,
    "vocab_size": VOCABULARY,
    "vision_hidden_size": 96,
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "cls_patch",  # all 64 patches: SigLIP has no class token to drop
    "image_aspect_ratio": "pad",  # keeps angles as they are
    "image_token_index": -200,
    "ignore_index": -100,
    "tokenizer_model_max_length": 2048,
    "tokenizer_padding_side": "right",
    "pad_token": EOS["phi"],
    "pad_token_id": 0,
    "torch_dtype": "float32",
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

# What the tokenizer learns its merges from: the prompt, and the words of problems and their solutions.
TEXT = f"""{BEFORE_USER}{BEFORE_ANSWER} The answer is (A). (B) (C) (D)
Find x. Find y. Find the value of x. Find the measure of angle ABC. Find m \\angle ABC. Find \\widehat {{AB}}.
Find the length of side BC. Find the area of the triangle. Find the perimeter of the rectangle.
Question: Choices: Answer: Solution: Hint: Please answer the question directly. Let's think step by step.
Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.
First perform reasoning, then finally select the correct choice from the given options.
According to the question shown in the image, what is the degree of the unknown angle in the figure?
As shown in the figure, in triangle ABC, angle A equals 35 degrees and angle B equals 72 degrees.
The sum of the angles of a triangle is 180 degrees. 35 + 72 = 107; 180 - 107 = 73; therefore angle C is 73.
In the right triangle, the hypotenuse is the square root of the sum of the squares of the other two sides.
By the Pythagorean theorem, a^2 + b^2 = c^2, so that the diameter of the circle is 10 and its radius is 5.
The quadrilateral is a parallelogram, and its opposite sides are parallel and equal; the rhombus is a square.
The line is perpendicular to the tangent at the point of the chord; the arc and the sector have one centre.
Equals PerpendicularTo Parallel Similar Congruent LengthOf MeasureOf AreaOf Triangle Circle Line Angle Point
The volume of the cylinder, the cone, the sphere and the cube. The height, the width, the base, the slope.
The function is y = 2x + 3. The graph meets the axis at the origin. Solve for x. The ratio is 3:4."""


def build_tiny(seed: int = 0) -> TinyLlavaModel:
    """The preset with random weights of ``seed``, on the CPU in float32; torch's generator is left alone.

    >>> model = build_tiny()
    >>> sum(parameter.numel() for parameter in model.model.parameters()) < 2_000_000
    True
    """
    return build_random(CONFIG, name="tiny", seed=seed)


def build_random(
    values: dict[str, Any],
    *,
    name: str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TinyLlavaModel:
    """A TinyLLaVA of any size with random weights and the preset's tokenizer, for tests and benchmarks.

    Args:
        values: a ``config.json``; its vocabulary must hold the tokenizer's `VOCABULARY` tokens.
        name: what reports call it.
        seed: of the weights; the same seed gives the same weights on the same kind of device.
    """
    from vkit.models.tinyllava_checkpoint import empty_model

    config = TinyLlavaConfig.from_dict(values)
    model = empty_model(config)
    generator = torch.Generator(device).manual_seed(seed)
    weights = {
        key: _random(key, like, generator).to(dtype) for key, like in sorted(model.state_dict().items())
    }
    model.load_state_dict(weights, assign=True)
    tokenizer = build_tokenizer()
    return TinyLlavaModel(
        model.to(device),
        _wrap(tokenizer),
        ImageSettings.from_dicts(None, config),
        name=name,
        files=_files(tokenizer, config),
        random_weights=True,
    )


def build_tokenizer() -> Tokenizer:
    """Byte-level BPE, so that every text has ids; each digit is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[EOS["phi"]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return tokenizer


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL)


_SPECIAL = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), EOS["phi"])


def _files(tokenizer: Tokenizer, config: TinyLlavaConfig) -> dict[str, bytes]:
    """The files beside the weights, as the official code writes them."""
    side = config.vision.image_size
    contents: dict[str, dict[str, Any]] = {
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **_SPECIAL},
        "special_tokens_map.json": _SPECIAL,
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
    """Weights of unit gain (normal, 1 / sqrt(inputs)), small embeddings, norms that do nothing yet."""
    device = generator.device
    if "norm" in name and name.endswith("weight"):
        return torch.ones(like.shape, device=device)
    if "norm" in name or name.endswith("bias"):
        return torch.zeros(like.shape, device=device)
    weight = torch.randn(like.shape, generator=generator, device=device)
    small = "embed_tokens" in name or "lm_head" in name or "position_embedding" in name
    return weight * (0.02 if small else like[0].numel() ** -0.5)
