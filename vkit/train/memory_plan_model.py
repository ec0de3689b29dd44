"""A model of shapes alone, from its config: no weight is read or made.

    model = empty_vlm("llava-hf/llava-1.5-7b-hf")
    model.model                                        # the network on torch's meta device
    model.tower_rows, model.picture_columns            # of one picture

What chooses the trainable parameters of a real model works on it, so that counts are those of training.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vkit.errors import VkitError

# Of a picture whose columns depend on its size: what a page of 900 x 900 pixels takes of a Qwen2-VL.
USUAL_PICTURE_COLUMNS = 1024


@dataclass
class EmptyModel:
    """As much of `vkit.models.protocol.VisionLanguageModel` as is asked where nothing is computed.

    tower_rows: rows of one picture in the vision tower. picture_columns: of one picture in the decoder.
    pixels: numbers that one picture is given as. notes: what was assumed.
    """

    name: str
    model: nn.Module
    decoder: nn.Module
    lm_head: nn.Module
    tower_rows: int
    picture_columns: int
    pixels: int
    max_length: int
    notes: list[str]

    @property
    def device(self) -> torch.device:
        return torch.device("meta")


def empty_vlm(name: str, *, picture_columns: int | None = None) -> EmptyModel:
    """The model ``name``, as `vkit.models.loading.load_model` takes it, without weights.

    Args:
        picture_columns: of one picture, where the family's depend on its size.

    Raises:
        VkitError: there is no config, or it is of no model that can be trained here.
    """
    if name in ("tiny", "tiny-random"):
        from vkit.models.tiny import CONFIG

        return _tinyllava(name, CONFIG)
    values = _config(name)
    from vkit.models.tinyllava_config import MODEL_TYPE, is_legacy

    if values.get("model_type") == MODEL_TYPE or is_legacy(values):
        return _tinyllava(name, values)
    return empty_huggingface(_known_config(name), name, picture_columns=picture_columns)


def _config(name: str) -> dict[str, Any]:
    """The config.json of a folder or of a hub id, from the hub's cache where it is there."""
    path = Path(name) / "config.json"
    if not os.path.isdir(name):
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(name, "config.json"))
        except (OSError, ValueError) as error:
            raise VkitError(
                f"model {name!r} is no folder here, and its config.json cannot be had from the hub; give a"
                " checkpoint's folder, a hub id, or 'tiny'"
            ) from error
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VkitError(f"{path} cannot be read ({error}); give the folder of a checkpoint") from error
    if not isinstance(values, dict):
        raise VkitError(f"{path} holds no mapping; give the folder of a checkpoint")
    return values


def _known_config(name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # transformers validates with its own several exception types
        reason = " ".join(str(error).split())[:200]
        raise VkitError(f"model {name!r}: its config.json is of no known model ({reason})") from error


def _tinyllava(name: str, values: dict[str, Any]) -> EmptyModel:
    from vkit.models.tinyllava import TinyLlava
    from vkit.models.tinyllava_config import TinyLlavaConfig

    config = TinyLlavaConfig.from_dict(values)
    with torch.device("meta"):
        model = TinyLlava(config)
    patches = config.patches_per_side**2
    return EmptyModel(
        name,
        model,
        model.language_model.get_decoder(),
        model.language_model.get_output_embeddings(),
        tower_rows=patches + (config.vision.model_type == "clip_vision_model"),
        picture_columns=config.num_image_tokens,
        pixels=3 * config.vision.image_size**2,
        max_length=config.max_length,
        notes=[],
    )


def empty_huggingface(config: Any, name: str, *, picture_columns: int | None = None) -> EmptyModel:
    """The model of a transformers config."""
    from transformers import AutoModelForImageTextToText

    from vkit.models.huggingface import check_family

    check_family(config, name)
    with torch.device("meta"):
        model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    vision, notes = config.vision_config, []
    merge = getattr(vision, "spatial_merge_size", 1)
    patch = _first(getattr(vision, "patch_size", 14))
    if getattr(vision, "image_size", None) and merge == 1:
        rows = (_first(vision.image_size) // patch) ** 2
        # A class token goes first where the embedding has one.
        extra = any("class_embedding" in n or "cls_token" in n for n, _ in model.named_parameters())
        columns = _fixed_columns(config, rows)
        rows += extra
        pixels = 3 * _first(vision.image_size) ** 2
        notes.append(f"a picture is one tile of {_first(vision.image_size)} pixels; count tiles by --images")
    else:
        columns = picture_columns or USUAL_PICTURE_COLUMNS
        rows = columns * merge**2
        pixels = rows * 3 * getattr(vision, "temporal_patch_size", 1) * patch**2
        if picture_columns is None:
            notes.append(
                f"a picture takes as many columns as its size asks for; reckoned with {columns}, give yours"
                " by --picture-columns"
            )
    return EmptyModel(
        name,
        model,
        model.get_decoder(),
        model.get_output_embeddings(),
        tower_rows=rows,
        picture_columns=columns,
        pixels=pixels,
        max_length=getattr(config.get_text_config(), "max_position_embeddings", None) or 2048,
        notes=notes,
    )


def _fixed_columns(config: Any, patches: int) -> int:
    """Columns of a tile; as many as patches where the config says nothing."""
    if isinstance(count := getattr(config, "mm_tokens_per_image", None), int):
        return count
    if isinstance(count := getattr(config, "image_seq_length", None), int):
        return min(count, patches)  # of some families it is a default that nothing reads
    if isinstance(scale := getattr(config, "scale_factor", None), int):
        return patches // scale**2
    return patches


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, (list, tuple)) else value)
