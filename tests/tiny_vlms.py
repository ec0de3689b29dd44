"""Tiny random models of every vision-language family that the tests speak about, with inputs made by hand.

    tiny = build("llava")
    inputs = tiny.inputs([[5, IMAGE, 6, 7], [8, 9, IMAGE, 10, 11]], padding_side="left")
    logits = tiny.model(**inputs).logits

A few thousand weights each, no download, no processor. Query and key projections are scaled up, so that
attention is far from uniform and a wrong mask, scale or head order shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

IMAGE = -1  # in a prompt: a whole image stands here
VOCABULARY = 160
IMAGE_TOKEN, PAD, VIDEO_TOKEN, VISION_START, VISION_END = 159, 0, 158, 157, 156  # text tokens stay below 150

TEXT: dict[str, Any] = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512, pad_token_id=PAD, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
VISION: dict[str, Any] = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=12,
    patch_size=4,
)


@dataclass(frozen=True)
class TinyModel:
    """A model in eval mode, and how to write its inputs.

    image_columns: columns that one image takes in the decoder's sequence; 0 for a plain language model.
    image_inputs: (items, images per item) to the image part of the model's inputs.
    token_inputs: input_ids (B, T) to further inputs that say where the images are.
    """

    model: transformers.PreTrainedModel
    image_columns: int = 0
    image_inputs: Callable[[int, int], dict[str, Any]] = lambda items, images: {}
    token_inputs: Callable[[Tensor], dict[str, Any]] = lambda input_ids: {}

    def inputs(self, prompts: Sequence[Sequence[int]], *, padding_side: str = "right") -> dict[str, Any]:
        """The model's inputs for prompts with the same number of `IMAGE` each, text between any two."""
        rows = [
            [
                t
                for token in prompt
                for t in ([IMAGE_TOKEN] * self.image_columns if token == IMAGE else [token])
            ]
            for prompt in prompts
        ]
        length = max(map(len, rows))
        padding = [[PAD] * (length - len(row)) for row in rows]
        right = padding_side == "right"
        input_ids = torch.tensor([r + p if right else p + r for r, p in zip(rows, padding)])
        attention_mask = torch.tensor(
            [
                [1] * len(r) + [0] * len(p) if right else [0] * len(p) + [1] * len(r)
                for r, p in zip(rows, padding)
            ]
        )
        images = list(prompts[0]).count(IMAGE)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            **(self.image_inputs(len(rows), images) if images else {}),
            **self.token_inputs(input_ids),
        }


def build(family: str, *, seed: int = 0) -> TinyModel:
    """A tiny random model of ``family``, one of `VLMS` or `LANGUAGE_MODELS`."""
    torch.manual_seed(seed)
    tiny = {**VLMS, **LANGUAGE_MODELS}[family]()
    tiny.model.eval()
    _sharpen(tiny.model)
    return tiny


def _sharpen(model: nn.Module) -> None:
    """Scale query and key projections up: random weights of the usual size give near-uniform attention."""
    with torch.no_grad():
        for name, module in model.named_modules():
            leaf = name.rpartition(".")[2]
            if leaf in ("q_proj", "k_proj", "c_attn", "q_b_proj", "kv_b_proj"):
                module.weight.normal_(std=1.2 * module.weight.shape[-1] ** -0.5)
            elif leaf in ("q_norm", "k_norm") and hasattr(module, "weight"):
                module.weight.add_(0.3)


# Vision-language families ---------------------------------------------------------------------------------


def _pixels(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _one_tile(model: Any, image_columns: int, size: int = VISION["image_size"]) -> TinyModel:
    """A family whose images are single tiles, stacked over the whole batch."""
    return TinyModel(
        model, image_columns, lambda items, images: {"pixel_values": _pixels(items * images, 3, size, size)}
    )


def _llava(text: Any) -> TinyModel:
    config = transformers.LlavaConfig(
        text_config=text,
        vision_config=transformers.CLIPVisionConfig(**VISION),
        image_token_index=IMAGE_TOKEN,
        image_seq_length=9,
    )
    return _one_tile(transformers.LlavaForConditionalGeneration(config), 9)


def _anyres(items: int, images: int) -> dict[str, Any]:
    """Images of 12 x 24 pixels, cut in two tiles behind a small copy of the whole."""
    return {
        "pixel_values": _pixels(items * images, 3, 3, 12, 12),
        "image_sizes": torch.tensor([[12, 24]] * (items * images)),
    }


def _llava_next() -> TinyModel:
    config = transformers.LlavaNextConfig(
        text_config=transformers.MistralConfig(**TEXT, sliding_window=None),
        vision_config=transformers.CLIPVisionConfig(**VISION),
        image_token_index=IMAGE_TOKEN,
        image_grid_pinpoints=[[12, 24], [24, 12]],
    )
    # 3 x 3 patches of the whole; 3 rows of 6 patches of the tiles, each with a row end
    return TinyModel(transformers.LlavaNextForConditionalGeneration(config), 9 + 3 * 7, _anyres)


def _llava_onevision() -> TinyModel:
    config = transformers.LlavaOnevisionConfig(
        text_config=transformers.Qwen2Config(**TEXT),
        vision_config=transformers.SiglipVisionConfig(**VISION, vision_use_head=False),
        image_token_index=IMAGE_TOKEN,
        video_token_index=VIDEO_TOKEN,
        image_grid_pinpoints=[[12, 24], [24, 12]],
    )
    return TinyModel(
        transformers.LlavaOnevisionForConditionalGeneration(config),
        9 + 3 * 7,
        lambda items, images: {
            **_anyres(items, images),
            "batch_num_images": torch.ones(items * images, dtype=torch.long),  # anyres, also beside others
        },
    )


def _qwen_vl(config: Any, model: Any) -> TinyModel:
    """Images of 16 x 24 pixels: 4 x 6 patches, merged two by two."""
    return TinyModel(
        model(config),
        6,
        lambda items, images: {
            "pixel_values": _pixels(items * images * 24, 3 * 2 * 4 * 4),
            "image_grid_thw": torch.tensor([[1, 4, 6]] * (items * images)),
        },
        lambda input_ids: {"mm_token_type_ids": (input_ids == IMAGE_TOKEN).int()},
    )


_QWEN_TEXT: dict[str, Any] = dict(
    **TEXT, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
)
_QWEN_TOKENS: dict[str, Any] = dict(
    image_token_id=IMAGE_TOKEN,
    video_token_id=VIDEO_TOKEN,
    vision_start_token_id=VISION_START,
    vision_end_token_id=VISION_END,
)


def _qwen2_vl() -> TinyModel:
    vision = dict(depth=2, embed_dim=16, hidden_size=32, num_heads=2, patch_size=4, mlp_ratio=2)
    config = transformers.Qwen2VLConfig(text_config=_QWEN_TEXT, vision_config=vision, **_QWEN_TOKENS)
    return _qwen_vl(config, transformers.Qwen2VLForConditionalGeneration)


def _qwen2_5_vl() -> TinyModel:
    vision = dict(
        depth=2, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=4, window_size=8,
        out_hidden_size=32, fullatt_block_indexes=[1],
    )  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(text_config=_QWEN_TEXT, vision_config=vision, **_QWEN_TOKENS)
    return _qwen_vl(config, transformers.Qwen2_5_VLForConditionalGeneration)


def _qwen3_vl() -> TinyModel:
    vision = dict(
        depth=2, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=4, out_hidden_size=32,
        num_position_embeddings=16, deepstack_visual_indexes=[0],
    )  # fmt: skip
    text = dict(**_QWEN_TEXT, head_dim=8)
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **_QWEN_TOKENS)
    return _qwen_vl(config, transformers.Qwen3VLForConditionalGeneration)


def _paligemma() -> TinyModel:
    """Prefix attention: what stands before the answer sees all of itself."""
    config = transformers.PaliGemmaConfig(
        text_config=transformers.GemmaConfig(**TEXT, head_dim=8),
        vision_config=transformers.SiglipVisionConfig(**VISION, vision_use_head=False),
        image_token_index=IMAGE_TOKEN,
        projection_dim=32,
        hidden_size=32,
        vocab_size=VOCABULARY,
    )
    columns = torch.arange(512)

    def answers_from_column_13(input_ids: Tensor) -> dict[str, Any]:
        return {"token_type_ids": (columns[: input_ids.shape[1]] >= 13).long().expand_as(input_ids)}

    tiny = _one_tile(transformers.PaliGemmaForConditionalGeneration(config), 9)
    return TinyModel(tiny.model, tiny.image_columns, tiny.image_inputs, answers_from_column_13)


def _gemma3() -> TinyModel:
    """Windows in two of three layers, and images that see all of themselves."""
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(
            **TEXT,
            head_dim=8,
            sliding_window=5,
            query_pre_attn_scalar=5,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        vision_config=transformers.SiglipVisionConfig(**{**VISION, "image_size": 16}, vision_use_head=False),
        image_token_index=IMAGE_TOKEN,
        mm_tokens_per_image=4,
        boi_token_index=VISION_START,
        eoi_token_index=VISION_END,
    )
    tiny = _one_tile(transformers.Gemma3ForConditionalGeneration(config), 4, size=16)
    with torch.no_grad():  # the projection starts at zero
        tiny.model.model.multi_modal_projector.mm_input_projection_weight.normal_()
    return TinyModel(
        tiny.model,
        tiny.image_columns,
        tiny.image_inputs,
        lambda input_ids: {"token_type_ids": (input_ids == IMAGE_TOKEN).long()},
    )


def _idefics3(config: Any, vision: Any, model: Any) -> TinyModel:
    config = config(
        text_config=transformers.LlamaConfig(**TEXT),
        vision_config=vision(**{**VISION, "image_size": 16}),
        image_token_id=IMAGE_TOKEN,
        scale_factor=2,
        pad_token_id=PAD,
    )
    return TinyModel(
        model(config), 4, lambda items, images: {"pixel_values": _pixels(items, images, 3, 16, 16)}
    )


def _internvl() -> TinyModel:
    config = transformers.InternVLConfig(
        text_config=transformers.Qwen2Config(**TEXT),
        vision_config=transformers.InternVLVisionConfig(
            **{**VISION, "image_size": [16, 16], "patch_size": [4, 4]}
        ),
        image_token_id=IMAGE_TOKEN,
        image_seq_length=4,
    )
    return _one_tile(transformers.InternVLForConditionalGeneration(config), 4, size=16)


VLMS: dict[str, Callable[[], TinyModel]] = {
    "llava": lambda: _llava(transformers.LlamaConfig(**TEXT)),
    "llava-phi": lambda: _llava(transformers.PhiConfig(**{**TEXT, "num_key_value_heads": 4})),
    "llava-next": _llava_next,
    "llava-onevision": _llava_onevision,
    "qwen2-vl": _qwen2_vl,
    "qwen2.5-vl": _qwen2_5_vl,
    "qwen3-vl": _qwen3_vl,
    "paligemma": _paligemma,
    "gemma3": _gemma3,
    "smolvlm": lambda: _idefics3(
        transformers.SmolVLMConfig,
        transformers.SmolVLMVisionConfig,
        transformers.SmolVLMForConditionalGeneration,
    ),
    "idefics3": lambda: _idefics3(
        transformers.Idefics3Config,
        transformers.Idefics3VisionConfig,
        transformers.Idefics3ForConditionalGeneration,
    ),
    "internvl": _internvl,
}

# Plain language models, each for something that its attention does -----------------------------------------


def _causal(config: Any) -> TinyModel:
    return TinyModel(transformers.AutoModelForCausalLM.from_config(config))


LANGUAGE_MODELS: dict[str, Callable[[], TinyModel]] = {
    "llama": lambda: _causal(transformers.LlamaConfig(**TEXT)),
    "llama-bidirectional": lambda: _causal(transformers.LlamaConfig(**TEXT, is_causal=False)),
    "phi": lambda: _causal(transformers.PhiConfig(**{**TEXT, "num_key_value_heads": 4})),
    "gpt2": lambda: _causal(
        transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=128, bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "mistral": lambda: _causal(transformers.MistralConfig(**TEXT, sliding_window=5)),
    "gemma2": lambda: _causal(
        transformers.Gemma2Config(
            **TEXT, head_dim=8, sliding_window=5, attn_logit_softcapping=2.0, query_pre_attn_scalar=5
        )
    ),
    "qwen3": lambda: _causal(transformers.Qwen3Config(**TEXT, head_dim=12)),
    "deepseek-v3": lambda: _causal(
        transformers.DeepseekV3Config(
            **{**TEXT, "num_key_value_heads": 4}, q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=4,
            qk_nope_head_dim=8, v_head_dim=6, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
            topk_group=1, moe_intermediate_size=16, first_k_dense_replace=1,
        )
    ),
    "llama4": lambda: _causal(
        transformers.Llama4TextConfig(
            **{**TEXT, "num_hidden_layers": 4}, head_dim=8, intermediate_size_mlp=48, num_local_experts=2,
            attention_chunk_size=6,
        )
    ),
}  # fmt: skip
