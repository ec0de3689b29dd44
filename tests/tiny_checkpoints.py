"""Writes tiny random checkpoints of vision-language families as folders in their official layout.

    folder = write_checkpoint("llava", tmp_path)        # config, weights, tokenizer, processor, chat template
    model = load_huggingface(folder)

The models are those of `tests.tiny_vlms`. Tokenizers know single characters and a few pairs, so that tokens
cross the borders of words; chat templates are shortened forms of the families' own.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, processors
from transformers import PreTrainedTokenizerFast

from tests.tiny_vlms import IMAGE_TOKEN, PAD, TEXT, VIDEO_TOKEN, VISION_END, VISION_START, build

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}"
    "{% if m['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
VICUNA = (  # all images first, then all texts
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}{{ c['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
GEMMA = (  # starts with <bos>, and strips each text
    "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] | trim }}"
    "{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
BOS, EOS = 1, 2
WRITES_BOS = ("llava", "llava-next", "gemma3")  # their tokenizers put <bos> before each text
TURNS = {"<|im_start|>": 155, "<|im_end|>": 154}
SQUARE = {"height": 12, "width": 12}
CLIP = {"size": {"shortest_edge": 12}, "crop_size": SQUARE, "do_center_crop": True}
PINPOINTS = [[12, 24], [24, 12]]

# Per family: the processor's class and settings, the image processor's, special tokens with their ids, which
# of them the tokenizer knows by name, and the chat template.
FAMILIES: dict[str, dict[str, Any]] = {
    "llava": dict(
        processor=("LlavaProcessor", dict(patch_size=4, vision_feature_select_strategy="default",
                                          num_additional_image_tokens=1)),
        images=("CLIPImageProcessor", CLIP),
        tokens={"<image>": IMAGE_TOKEN},
        template=VICUNA,
    ),
    "llava-next": dict(
        processor=("LlavaNextProcessor", dict(patch_size=4, vision_feature_select_strategy="default",
                                              num_additional_image_tokens=1)),
        images=("LlavaNextImageProcessor", {**CLIP, "image_grid_pinpoints": PINPOINTS}),
        tokens={"<image>": IMAGE_TOKEN},
        template=VICUNA,
    ),
    "llava-onevision": dict(
        processor=("LlavaOnevisionProcessor", dict(num_image_tokens=9,
                                                   vision_feature_select_strategy="full")),
        images=("LlavaOnevisionImageProcessor", dict(size=SQUARE, image_grid_pinpoints=PINPOINTS)),
        tokens={"<image>": IMAGE_TOKEN, "<video>": VIDEO_TOKEN, **TURNS},
        template=CHATML.replace("IMAGE", "<image>"),
    ),
    "qwen2-vl": dict(
        processor=("Qwen2VLProcessor", {}),
        images=("Qwen2VLImageProcessor", dict(patch_size=4, min_pixels=64, max_pixels=1024)),
        tokens={"<|image_pad|>": IMAGE_TOKEN, "<|video_pad|>": VIDEO_TOKEN, "<|vision_start|>": VISION_START,
                "<|vision_end|>": VISION_END, **TURNS},
        template=CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    ),
    "paligemma": dict(
        processor=("PaliGemmaProcessor", {}),
        images=("SiglipImageProcessor", dict(size=SQUARE, image_seq_length=9)),
        tokens={"<image>": IMAGE_TOKEN},
        attributes={"image_token": "<image>"},
        template=None,
    ),
    "gemma3": dict(
        processor=("Gemma3Processor", dict(image_seq_length=4)),
        images=("Gemma3ImageProcessor", dict(size={"height": 16, "width": 16})),
        tokens={"<image_soft_token>": IMAGE_TOKEN, "<start_of_image>": VISION_START,
                "<end_of_image>": VISION_END, "<start_of_turn>": 155, "<end_of_turn>": 154},
        attributes={"image_token": "<image_soft_token>", "boi_token": "<start_of_image>",
                    "eoi_token": "<end_of_image>"},
        template=GEMMA,
    ),
    "idefics3": dict(
        processor=("Idefics3Processor", dict(image_seq_len=4)),
        images=("Idefics3ImageProcessor", dict(size={"longest_edge": 32},
                                               max_image_size={"longest_edge": 16})),
        tokens={"<image>": IMAGE_TOKEN, "<fake_token_around_image>": 158, "<end_of_utterance>": 157,
                "<global-img>": 156, "<|im_start|>": 155,
                **{f"<row_{r}_col_{c}>": 145 + 3 * r + c for r in (1, 2) for c in (1, 2)}},
        template=IDEFICS,
    ),
    "internvl": dict(
        processor=("InternVLProcessor", dict(image_seq_length=4)),
        images=("GotOcr2ImageProcessor", dict(size={"height": 16, "width": 16}, max_patches=4,
                                              crop_to_patches=True)),
        tokens={"<IMG_CONTEXT>": IMAGE_TOKEN, "<video>": VIDEO_TOKEN, "<img>": VISION_START,
                "</img>": VISION_END, **TURNS},
        attributes={"start_image_token": "<img>", "end_image_token": "</img>",
                    "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"},
        template=CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
    ),
}  # fmt: skip
FAMILIES["qwen2.5-vl"] = {**FAMILIES["qwen2-vl"], "processor": ("Qwen2_5_VLProcessor", {})}
FAMILIES["qwen3-vl"] = {**FAMILIES["qwen2-vl"], "processor": ("Qwen3VLProcessor", {})}
FAMILIES["smolvlm"] = {
    **FAMILIES["idefics3"],
    "processor": ("SmolVLMProcessor", dict(image_seq_len=4)),
    "images": ("SmolVLMImageProcessor", FAMILIES["idefics3"]["images"][1]),
}


def write_checkpoint(family: str, folder: Path) -> Path:
    """A folder with everything that the hub's checkpoints of ``family`` hold; returns ``folder``."""
    image_class = FAMILIES[family]["images"][0] + "Pil"
    if getattr(getattr(transformers, image_class, None), "is_dummy", False):
        pytest.skip(f"transformers {transformers.__version__} offers {image_class} only beside torchvision")
    model = _qwen3_vl() if family == "qwen3-vl" else build(family).model
    with torch.no_grad():  # logits wide apart; image tokens and ends are never said: they have the mean logit
        head = model.get_output_embeddings().weight
        head.normal_(generator=torch.Generator().manual_seed(2))
        head[IMAGE_TOKEN] = head[EOS] = 0
    model.generation_config.eos_token_id = EOS
    model.save_pretrained(folder)
    write_processor(family, folder)
    return folder


def temporary_folder() -> Path:
    """A folder that lasts as long as the process, for checkpoints that many tests read."""
    _FOLDERS.append(TemporaryDirectory(prefix="vkit-"))
    return Path(_FOLDERS[-1].name)


_FOLDERS: list[TemporaryDirectory[str]] = []


def _qwen3_vl() -> Any:
    """Its tower also adds to the states of the decoder's first layers."""
    torch.manual_seed(0)
    config = transformers.Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 8, "rope_parameters": {
            "rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}},
        vision_config=dict(depth=2, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=4,
                           out_hidden_size=32, num_position_embeddings=16, deepstack_visual_indexes=[0]),
        image_token_id=IMAGE_TOKEN, video_token_id=VIDEO_TOKEN, vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
    )  # fmt: skip
    return transformers.Qwen3VLForConditionalGeneration(config).eval()


def write_processor(family: str, folder: Path) -> None:
    spec = FAMILIES[family]
    class_name, settings = spec["processor"]
    image_class, image_settings = spec["images"]
    write_tokenizer(folder, spec["tokens"], spec.get("attributes", {}), bos=family in WRITES_BOS)
    _write_json(folder / "processor_config.json", {"processor_class": class_name, **settings})
    _write_json(
        folder / "preprocessor_config.json",
        {"processor_class": class_name, "image_processor_type": image_class, **image_settings},
    )
    if spec["template"] is not None:
        (folder / "chat_template.jinja").write_text(spec["template"], encoding="utf-8")


def write_tokenizer(
    folder: Path, tokens: dict[str, int], attributes: dict[str, str], *, bos: bool = False
) -> None:
    """Single characters and a few pairs at 3 and up; ``tokens`` are special ones at ids of their own."""
    specials = {"<pad>": PAD, "<bos>": BOS, "<eos>": EOS, **tokens}
    letters = ["\n", *map(chr, range(32, 127))]
    pairs = [(" ", "x"), ("i", "n"), ("e", " "), ("d", " "), ("=", " "), ("?", " "), ("3", "."), ("\n", "\n")]
    vocabulary = {text: i for i, text in enumerate([*letters, *(a + b for a, b in pairs)], start=3)}
    vocabulary["\ufffd"] = max(vocabulary.values()) + 1
    vocabulary.update(specials)
    taken = set(vocabulary.values())
    vocabulary.update({f"<unused{i}>": i for i in range(IMAGE_TOKEN) if i not in taken})
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, unk_token="\ufffd"))
    tokenizer.decoder = decoders.Fuse()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", BOS)])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="\ufffd",
        extra_special_tokens=attributes,
    ).save_pretrained(folder)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
