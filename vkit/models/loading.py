"""Loads a vision-language model by name: the built-in one, a folder, or a hub id.

    model = load_model("tiny")
    model = load_model("path/to/TinyLLaVA", adapter="path/to/lora", device="cuda", dtype="bfloat16")

TinyLLaVA checkpoints go to our own module, every other family to transformers'. Nothing heavy is imported
before a model is asked for, and code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vkit.errors import VkitError
from vkit.models.devices import check_placement, resolve_device, resolve_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from vkit.models.protocol import VisionLanguageModel
    from vkit.models.tinyllava_adapter import TinyLlavaModel

CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]


def load_model(
    name: str | os.PathLike[str],
    *,
    adapter: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | Mapping[str, int | str] | None = None,
    quantize: str | None = None,
) -> VisionLanguageModel:
    """A model, ready for inference.

    Args:
        name: ``tiny`` (small, trained on the miniature's problems, in the package), ``tiny-random`` (the same
            before training), the folder of a checkpoint, or a hub id such as ``owner/model``.
        adapter: the folder of a LoRA adapter, merged into the weights.
        device: auto (cuda where there is one), cpu, cuda, cuda:N or mps.
        dtype: auto (float32 on the CPU, else the checkpoint's), float32, bfloat16 or float16.
        device_map: ``auto`` spreads the layers over all GPUs and, where these are full, main memory, for a
            model larger than one GPU; or accelerate's table of modules and devices. ``device`` is then auto.
        quantize: ``4bit`` (NF4 with nested scales) or ``8bit`` (LLM.int8) for the linear layers, by
            bitsandbytes; the head, and what ``dtype`` says of the rest, stay as they are.

    The last two are for transformers' families; for inference only.

    Raises:
        VkitError: the model, adapter or device is not there, the checkpoint is damaged or not supported, or
            ``device_map`` or ``quantize`` cannot be had with the rest.

    >>> load_model("./nowhere")
    Traceback (most recent call last):
    vkit.errors.VkitError: model './nowhere' is not a folder; give a checkpoint's folder, a hub id, or 'tiny'
    """
    name = os.fspath(name)
    check_placement(device, device_map, quantize, adapter)
    if name in ("tiny", "tiny-random"):
        _refuse_placement(name, device_map, quantize)
        return _load_tiny(name, adapter, device, dtype)
    if not os.path.isdir(name):
        if os.path.exists(name) or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name):
            raise VkitError(
                f"model {name!r} is not a folder; give a checkpoint's folder, a hub id, or 'tiny'"
            )
        resolve_device(device)  # before a download, not after it
        folder = _download_tinyllava(name)
    else:
        folder = Path(name) if _is_tinyllava(Path(name)) else None
    if folder is not None:
        _refuse_placement(name, device_map, quantize)
        model = load_tinyllava(folder, adapter=adapter, device=device, dtype=dtype)
        if not os.path.isdir(name):
            model.name = name  # a hub id; its folder in the cache is called after the commit
        return model
    from vkit.models.huggingface_loading import load_huggingface

    return load_huggingface(
        name, adapter=adapter, device=device, dtype=dtype, device_map=device_map, quantize=quantize
    )


def load_tinyllava(
    folder: Path,
    *,
    adapter: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> TinyLlavaModel:
    """A TinyLLaVA checkpoint; arguments as for `load_model`.

    The folder that the Factory's LoRA recipe leaves holds the base model in parts and the adapter beside it;
    that adapter is merged without being asked for.
    """
    from vkit.models.lora import merge_lora
    from vkit.models.tinyllava_adapter import TinyLlavaModel
    from vkit.models.tinyllava_checkpoint import read_checkpoint, read_config
    from vkit.models.tinyllava_images import ImageSettings

    place = resolve_device(device)
    config = read_config(folder)
    recorded = config.raw.get("torch_dtype") or config.raw.get("dtype")
    checkpoint = read_checkpoint(folder, place, resolve_dtype(dtype, place, recorded))
    if (folder / "adapter_config.json").is_file():
        merge_lora(checkpoint.model.language_model, folder)
    if adapter is not None:
        merge_lora(checkpoint.model.language_model, Path(adapter))
    try:
        images = ImageSettings.from_dicts(checkpoint.json("preprocessor_config.json"), config)
    except VkitError as error:
        raise VkitError(f"{folder}: {error}") from error
    return TinyLlavaModel(
        checkpoint.model,
        read_tokenizer(checkpoint.files, str(folder)),
        images,
        name=folder.resolve().name,
        files=checkpoint.files,
        random_weights=bool(config.raw.get("random_weights", False)),
    )


def read_tokenizer(files: dict[str, bytes], where: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint's files. Raises `VkitError` naming ``where``."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if "tokenizer.json" not in files and "vocab.json" not in files and "tokenizer.model" not in files:
        raise VkitError(f"{where} holds no tokenizer; copy tokenizer.json and tokenizer_config.json into it")
    # A folder without config.json: transformers would take its unknown model type for a mistake.
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        bare = "tokenizer_config.json" not in files and "tokenizer.json" in files
        kind = PreTrainedTokenizerFast if bare else AutoTokenizer
        try:
            # The clean-up of blanks before punctuation would make decoded text differ from its tokens.
            tokenizer = kind.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, clean_up_tokenization_spaces=False
            )
        except Exception as error:  # the tokenizers library raises plain Exception for a bad file
            reason = " ".join(str(error).split())[:200]
            raise VkitError(
                f"{where}: the tokenizer cannot be read ({reason}); download its files"
            ) from error
    _check_added_tokens(tokenizer, files, where)
    return tokenizer


def _check_added_tokens(tokenizer: PreTrainedTokenizerBase, files: dict[str, bytes], where: str) -> None:
    """Refuse a tokenizer that gives added tokens other ids than its files do, as it does at gaps."""
    from vkit.models.tinyllava_checkpoint import parse_json

    settings = parse_json(files.get("tokenizer_config.json", b"{}"), f"{where}: tokenizer_config.json")
    added = parse_json(files.get("added_tokens.json", b"{}"), f"{where}: added_tokens.json")
    recorded = {token["content"]: int(id_) for id_, token in settings.get("added_tokens_decoder", {}).items()}
    vocabulary = tokenizer.get_vocab()
    for token, id_ in {**added, **recorded}.items():
        if vocabulary.get(token) != id_:
            raise VkitError(
                f"{where}: the tokenizer reads {token!r} as {vocabulary.get(token)}, but its files say {id_};"
                " add the tokenizer.json of the language model"
            )


def _refuse_placement(name: str, device_map: object, quantize: str | None) -> None:
    for option, value in (("device_map", device_map), ("quantize", quantize)):
        if value is not None:
            raise VkitError(
                f"model {name!r} is a TinyLLaVA, for which there is no {option}: it is small enough for one"
                " device; leave that out"
            )


def _is_tinyllava(folder: Path) -> bool:
    """Whether a folder is ours to load; other families' folders are told apart by transformers."""
    from vkit.models.tinyllava_checkpoint import parse_json
    from vkit.models.tinyllava_config import MODEL_TYPE, is_legacy

    path = folder / "config.json"
    if not path.is_file() and (folder / "adapter_config.json").is_file():
        raise VkitError(
            f"{folder} holds an adapter, not a model; give its base model and this as the adapter"
        )
    if not path.is_file():
        raise VkitError(f"{folder} holds no config.json; give the folder of a checkpoint")
    values = parse_json(path.read_bytes(), str(path))
    return values.get("model_type") == MODEL_TYPE or is_legacy(values)


def _download_tinyllava(name: str) -> Path | None:
    """The folder of a hub's TinyLLaVA, from the cache if it is there; None for other models."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        config = hf_hub_download(name, "config.json")
    except LocalEntryNotFoundError as error:
        raise VkitError(
            f"model {name!r} is no folder here, and the hub cannot be reached; give a checkpoint's folder, "
            "or check the connection"
        ) from error
    except (OSError, ValueError):
        return None  # transformers looks for the same file, and its loader tells what is wrong
    if not _is_tinyllava(Path(config).parent):
        return None
    try:
        return Path(snapshot_download(name, allow_patterns=CHECKPOINT_FILES))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VkitError(f"model {name!r} cannot be downloaded ({reason}); check the connection") from error


def _load_tiny(name: str, adapter: str | os.PathLike[str] | None, device: str, dtype: str) -> TinyLlavaModel:
    from vkit.models.lora import merge_lora
    from vkit.models.tiny import build_tiny, build_trained

    place = resolve_device(device)
    model = build_trained() if name == "tiny" else build_tiny()
    model.name = name
    model.model.to(place, resolve_dtype(dtype, place, "float32"))
    if adapter is not None:
        merge_lora(model.model.language_model, Path(adapter))
    return model
