"""What a TinyLLaVA ``config.json`` says, in the Factory layout and in the legacy one, with no network.

    config = TinyLlavaConfig.from_dict(json.loads(Path("config.json").read_text()))
    config.text.num_hidden_layers, config.num_image_tokens

The official configuration class fetches the language model's configuration from the hub while it is being
constructed. This one reads only the file: a value that ``text_config`` or ``vision_config`` leaves out takes
transformers' default of that model type, which is how the file was written. Keys that are not known here are
kept and written back.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vkit.errors import VkitError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MODEL_TYPE = "tinyllava"
VISION_TOWERS = ("siglip_vision_model", "clip_vision_model", "conv_vision_model")
STRATEGIES = ("patch", "cls_patch")

# The legacy layout names its vision tower and keeps none of its sizes. These three are one architecture:
# SigLIP so400m, 14-pixel patches, 384-pixel pictures.
_SIGLIP_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
_KNOWN_TOWERS = re.compile(r"google/siglip-so400m-patch14-384|bczhou/TinyLLaVA-[\d.]+B-SigLIP")

_LEGACY_KEYS = {
    "mm_projector_type": "connector_type",
    "mm_vision_select_layer": "vision_feature_layer",
    "mm_vision_select_feature": "vision_feature_select_strategy",
    "mm_vision_tower": "vision_model_name_or_path",
    "mm_hidden_size": "vision_hidden_size",
}


@dataclass(frozen=True)
class TinyLlavaConfig:
    """A TinyLLaVA's sizes and settings.

    text, vision: transformers' configurations of the language model and the vision tower.
    connector_type: ``linear``, ``identity``, or ``mlp{N}x_gelu``.
    feature_layer: which of the vision tower's hidden states become image tokens (0: the embeddings).
    select_strategy: ``patch`` leaves out the tower's first token, ``cls_patch`` keeps every one.
    image_aspect_ratio: ``square`` resizes, ``pad`` pads to a square first.
    max_length: the longest sequence in columns, image tokens included.
    raw: the file as it was read (or translated from the legacy layout), to be written back.
    """

    text: PretrainedConfig
    vision: PretrainedConfig
    connector_type: str
    feature_layer: int
    select_strategy: str
    image_aspect_ratio: str
    max_length: int
    raw: dict[str, Any]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TinyLlavaConfig:
        """The configuration that a ``config.json`` holds.

        Raises:
            VkitError: the model type is another, a part is missing, or a value is not supported.

        >>> TinyLlavaConfig.from_dict({"model_type": "mllama"})
        Traceback (most recent call last):
        vkit.errors.VkitError: model_type 'mllama' is no TinyLLaVA; give a TinyLLaVA checkpoint's config.json
        """
        raw = _from_legacy(values) if is_legacy(values) else copy.deepcopy(values)
        if raw.get("model_type") != MODEL_TYPE:
            raise VkitError(
                f"model_type {raw.get('model_type')!r} is no TinyLLaVA; give a TinyLLaVA checkpoint's"
                " config.json"
            )
        vision = _part(raw, "vision_config")
        if vision.model_type not in VISION_TOWERS:
            raise VkitError(
                f"vision tower {vision.model_type!r} is not supported; known: {', '.join(VISION_TOWERS)}"
            )
        strategy = raw.get("vision_feature_select_strategy") or "patch"
        if strategy not in STRATEGIES:
            raise VkitError(
                f"vision_feature_select_strategy {strategy!r} is not known; use {' or '.join(STRATEGIES)}"
            )
        layer = raw.get("vision_feature_layer", -2)
        states = vision.num_hidden_layers + 1
        if not isinstance(layer, int) or not -states <= layer < states:
            raise VkitError(
                f"vision_feature_layer {layer!r} is not one of the tower's {states} hidden states"
            )
        if vision.model_type == "conv_vision_model" and (layer % states, strategy) != (
            states - 1,
            "cls_patch",
        ):
            raise VkitError(
                "a conv_vision_model gives the tokens of its last layer, all; set vision_feature_layer"
                " to -1 and vision_feature_select_strategy to cls_patch"
            )
        for key in ("connector_type", "image_aspect_ratio"):
            if not isinstance(raw.get(key), (str, type(None))):
                raise VkitError(f"{key} must be text, not {raw[key]!r}")
        text = _part(raw, "text_config")
        max_length = raw.get("tokenizer_model_max_length") or 2048
        sizes = {
            "tokenizer_model_max_length": max_length,
            "max_position_embeddings of text_config": text.max_position_embeddings,
            "patch_size of vision_config": vision.patch_size,
            "image_size of vision_config": vision.image_size,
        }
        for key, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise VkitError(f"{key} must be a whole number above 0, not {size!r}")
        return cls(
            text=text,
            vision=vision,
            connector_type=raw.get("connector_type") or "none",
            feature_layer=layer % states,
            select_strategy=strategy,
            image_aspect_ratio=raw.get("image_aspect_ratio") or "square",
            max_length=max_length,
            raw=raw,
        )

    @property
    def patches_per_side(self) -> int:
        """Patches along each side of the tower's picture; pixels beyond the last whole one are unused."""
        return self.vision.image_size // self.vision.patch_size

    @property
    def first_patch(self) -> int:
        """Index, among the tower's patches, of the one behind the first image token.

        -1 where a class token comes first, 1 where the first patch is lost: ``patch`` is meant to drop a
        class token, but SigLIP has none, so its first patch goes (728 image tokens of 729).
        """
        has_class_token = self.vision.model_type == "clip_vision_model"
        return (1 if self.select_strategy == "patch" else 0) - int(has_class_token)

    @property
    def num_image_tokens(self) -> int:
        """Columns that one picture takes in the decoder's sequence."""
        return self.patches_per_side**2 - self.first_patch


def is_legacy(values: dict[str, Any]) -> bool:
    """Whether a config.json has the layout from before the Factory (``TinyLlavaPhiForCausalLM`` and kin)."""
    return values.get("model_type") != MODEL_TYPE and "mm_projector_type" in values


def _from_legacy(values: dict[str, Any]) -> dict[str, Any]:
    """The Factory's layout of a legacy configuration, whose language model's values stand at the top level.

    Keys that neither part of the new layout uses stay where they are.
    """
    raw = copy.deepcopy(values)
    match = re.search(r"phi|llama|stablelm", str(values.get("model_type")), re.IGNORECASE)
    # "tiny_llava_phi" holds "llava" but not "llama"; the family's own name comes last.
    if match is None:
        raise VkitError(
            f"legacy model_type {values.get('model_type')!r} names no known language model; expected phi,"
            " llama or stablelm in it"
        )
    for old, new in _LEGACY_KEYS.items():
        if old in raw:
            raw[new] = raw.pop(old)
    if "vision_config" not in raw:
        tower = str(raw.get("vision_model_name_or_path"))
        if not _KNOWN_TOWERS.fullmatch(tower):
            raise VkitError(
                f"mm_vision_tower {tower!r} is not known here; add its 'vision_config' to config.json"
            )
        raw["vision_config"] = dict(_SIGLIP_SO400M)
    if raw["vision_config"].get("model_type") == "siglip_vision_model":
        # The legacy SigLIP tower keeps every patch (729), whatever mm_vision_select_feature says.
        raw["vision_feature_select_strategy"] = "cls_patch"
    not_text = {"architectures", "vision_config", "auto_map", "model_type", *_LEGACY_KEYS.values()}
    text = {key: value for key, value in raw.items() if key not in not_text and not key.startswith("mm_")}
    raw["text_config"] = {**text, "model_type": match.group().lower()}
    raw["model_type"] = MODEL_TYPE
    raw["architectures"] = ["TinyLlavaForConditionalGeneration"]
    return raw


def _part(raw: dict[str, Any], name: str) -> PretrainedConfig:
    from transformers import CONFIG_MAPPING, AutoConfig

    values = raw.get(name)
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise VkitError(f"{name!r} with a model_type is missing from config.json; add it from the base model")
    # Remote code is never run and checkpoints are read as they are, so these two would only be refused later.
    values = {key: value for key, value in values.items() if key != "auto_map"}
    if "quantization_config" in values or "quantization_config" in raw:
        raise VkitError("quantised TinyLLaVA checkpoints are not supported; use the unquantised weights")
    model_type = values.pop("model_type")
    if model_type == "conv_vision_model":
        from vkit.models.conv_vision import ConvVisionConfig

        try:
            return ConvVisionConfig(**values)
        except (TypeError, ValueError) as error:
            raise VkitError(f"{name} is not valid ({error})") from error
    if model_type not in CONFIG_MAPPING:
        raise VkitError(f"{name}: model_type {model_type!r} is not known to the installed transformers")
    try:
        return AutoConfig.for_model(model_type, **values)
    except Exception as error:  # transformers validates with its own several exception types
        raise VkitError(f"{name} is not valid ({' '.join(str(error).split())})") from error
