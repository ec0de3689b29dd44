"""Reads and writes TinyLLaVA checkpoints in their official layouts, from disk alone.

    checkpoint = read_checkpoint(Path("TinyLLaVA-Phi-2-SigLIP-3.1B"), device, dtype)
    write_checkpoint(Path("copy"), checkpoint.model, checkpoint.model.config.raw, checkpoint.files)

Weights may stand in one safetensors file, in shards, in pickled ``pytorch_model.bin`` files (read with
``weights_only``: a pickle that holds code is refused), or part by part beside a LoRA adapter, as the
Factory's LoRA recipe leaves them. Every tensor of the model must be there with its shape; nothing is
initialised at random. Tensors keep their bits: saved again in the same dtype they are the same.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.models.tensors import first_line, read_tensors, write_tensors
from vkit.models.tinyllava import TinyLlava
from vkit.models.tinyllava_config import TinyLlavaConfig

# Beside weights and config.json; kept as they are and written back.
OTHER_FILES = (
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)

# The layout from before the Factory, and the names in the new one.
LEGACY_PREFIXES = {
    "model.vision_tower.vision_tower.": "vision_tower._vision_tower.",
    "model.mm_projector.": "connector._connector.",
    "model.layers.": "language_model.model.layers.",
    "model.embed_tokens.": "language_model.model.embed_tokens.",
    "model.final_layernorm.": "language_model.model.final_layernorm.",
    "model.norm.": "language_model.model.norm.",
    "lm_head.": "language_model.lm_head.",
}

# The Factory's LoRA recipe saves its base model in three folders, each with the names inside that part.
PART_FILES = {
    "language_model/pytorch_model.bin": "language_model.",
    "vision_tower/pytorch_model.bin": "vision_tower._vision_tower.",
    "connector/pytorch_model.bin": "connector.",
}

# Older transformers saved these buffers, which are computed from the configuration and not learned.
_COMPUTED = (".rotary_emb.inv_freq", ".embeddings.position_ids")
_TOWER = "vision_tower._vision_tower.vision_model."


@dataclass
class Checkpoint:
    """model: on its device, in its dtype. files: name to content of the other files."""

    model: TinyLlava
    files: dict[str, bytes]

    def json(self, name: str) -> dict[str, Any] | None:
        """The object in one of the files; None where the file is absent."""
        return parse_json(self.files[name], name) if name in self.files else None


def read_checkpoint(folder: Path, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """The model in ``folder``, never larger in memory than its weights in ``dtype``.

    Raises:
        VkitError: a file is missing, damaged or holds code, or tensors are missing, unexpected or misshapen;
            names the file and the first few tensors.
    """
    config = read_config(folder)
    tensors: dict[str, Tensor] = {}
    for prefix, path in _weight_files(folder):
        for key, tensor in read_tensors(path):
            name = official_name(prefix + key)
            if not name.endswith(_COMPUTED):
                if not tensor.is_floating_point():
                    raise VkitError(
                        f"{path} holds {name} as {tensor.dtype}; only floating point is supported"
                    )
                tensors[name] = tensor.to(device, dtype)
    for part, layers in (
        ("text", config.text.num_hidden_layers),
        ("vision", config.vision.num_hidden_layers),
    ):
        if layers > len(tensors):  # told before layers without number are made
            raise VkitError(
                f"{folder / 'config.json'}: {layers} layers in {part}_config, but the weights are "
                f"{len(tensors)} tensors; give the config.json that belongs to them"
            )
    try:
        model = empty_model(_without_idle_parts(config, tensors.keys()))
    except (RuntimeError, ValueError, TypeError, KeyError, ArithmeticError, AttributeError) as error:
        reason = first_line(error) or type(error).__name__
        raise VkitError(f"{folder / 'config.json'} describes no model ({reason}); correct it") from error
    _check_tensors(folder, tensors, model)
    model.load_state_dict(tensors, strict=False, assign=True)
    model.language_model.tie_weights()
    files = {name: (folder / name).read_bytes() for name in OTHER_FILES if (folder / name).is_file()}
    return Checkpoint(model.to(device).eval(), files)


def read_config(folder: Path) -> TinyLlavaConfig:
    """The configuration in a checkpoint's folder. Raises `VkitError`, naming the file."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise VkitError(f"{folder} is not a folder; give the folder of a checkpoint")
    if not path.is_file():
        raise VkitError(f"{folder} holds no config.json; give the folder of a checkpoint")
    try:
        return TinyLlavaConfig.from_dict(parse_json(path.read_bytes(), str(path)))
    except VkitError as error:
        raise VkitError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def write_checkpoint(
    folder: Path,
    model: TinyLlava,
    config: dict[str, Any],
    files: dict[str, bytes],
    *,
    max_shard_size: int = 5 * 10**9,
) -> None:
    """Write a checkpoint in the official layout: complete, or not at all.

    Args:
        folder: where it goes; must not exist, or be empty.
        config: the content of config.json; its ``torch_dtype`` follows the model's.
        files: other files, by name.
        max_shard_size: bytes of tensors in one file; a larger single tensor has a file of its own.

    Raises:
        VkitError: the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VkitError(f"{folder} exists already; choose another folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        shards = _shards(model, max_shard_size)
        names = ["model.safetensors"]
        if len(shards) > 1:
            names = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
            index = {
                "metadata": {
                    "total_size": sum(_size(tensor) for shard in shards for tensor in shard.values())
                },
                "weight_map": {key: name for name, shard in zip(names, shards) for key in shard},
            }
            _write(temporary / "model.safetensors.index.json", _to_json(index))
        for name, shard in zip(names, shards):
            path = temporary / name
            write_tensors(path, shard)
            _sync(path)
        _write(temporary / "config.json", _to_json(_with_dtype(config, model)))
        for name, content in files.items():
            _write(temporary / name, content)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp's folders are their owner's alone
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def official_name(key: str) -> str:
    """A tensor's name in the Factory layout.

    >>> official_name("model.mm_projector.0.weight")
    'connector._connector.0.weight'
    >>> official_name("language_model.model.layers.0.mlp.fc1.base_layer.weight")  # wrapped by LoRA when saved
    'language_model.model.layers.0.mlp.fc1.weight'
    """
    for old, new in LEGACY_PREFIXES.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key.replace(".base_layer.", ".")


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in a file's content. Raises `VkitError`."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise VkitError(f"{where} is not JSON ({error}); download the file again") from error
    if not isinstance(values, dict):
        raise VkitError(f"{where} holds no JSON object; download the file again")
    return values


def _weight_files(folder: Path) -> list[tuple[str, Path]]:
    """Prefix to put before the names, and path, of each file with weights."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            weight_map = parse_json((folder / index).read_bytes(), str(folder / index)).get("weight_map")
            if not isinstance(weight_map, dict) or not weight_map:
                raise VkitError(f"{folder / index} holds no weight_map; download the file again")
            names = sorted(set(map(str, weight_map.values())))
            for name in names:
                # os.path: a name too long for the disk is not there either
                if name != Path(name).name or not os.path.isfile(folder / name):
                    raise VkitError(
                        f"{folder / index} names {name!r}, which is not there; download that file"
                    )
            return [("", folder / name) for name in names]
        single = index.removesuffix(".index.json")
        if (folder / single).is_file():
            return [("", folder / single)]
    parts = [(prefix, folder / name) for name, prefix in PART_FILES.items() if (folder / name).is_file()]
    if not parts:
        raise VkitError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin); download them")
    return parts


def _without_idle_parts(config: TinyLlavaConfig, names: Collection[str]) -> TinyLlavaConfig:
    """The configuration without those parts of the vision tower that are left out and never run.

    The legacy code cuts off SigLIP's last layer and pooling head, which lie behind the features, before it
    saves. Nothing is lost without them; any other tensor must be there.
    """
    if not any(name.startswith(f"{_TOWER}head.") for name in names):
        config.vision.vision_use_head = False
    layers = config.vision.num_hidden_layers
    while layers > config.feature_layer and not any(
        name.startswith(f"{_TOWER}encoder.layers.{layers - 1}.") for name in names
    ):
        layers -= 1
    config.vision.num_hidden_layers = layers
    return config


def empty_model(config: TinyLlavaConfig) -> TinyLlava:
    """The model with parameters that take no memory, and with its computed buffers in place."""
    from accelerate import init_empty_weights

    # Parameters are initialised before they are emptied, which must not move torch's own generator.
    with torch.random.fork_rng(devices=[]), init_empty_weights(include_buffers=False):
        return TinyLlava(config)


def _check_tensors(folder: Path, tensors: dict[str, Tensor], model: TinyLlava) -> None:
    expected = model.state_dict()
    optional = set()
    if model.config.text.tie_word_embeddings:
        optional = {"language_model.lm_head.weight"}  # the embedding again; files hold one of the two
    missing = sorted(expected.keys() - tensors.keys() - optional)
    if missing:
        raise VkitError(
            f"{folder} lacks {_some(missing)}; download the checkpoint again, or correct config.json"
        )
    unexpected = sorted(tensors.keys() - expected.keys())
    if unexpected:
        raise VkitError(
            f"{folder} holds {_some(unexpected)} that the model of its config.json does not have; give the"
            " config.json that belongs to the weights"
        )
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(tensors)
        if tensors[name].shape != expected[name].shape
    ]
    if misshapen:
        raise VkitError(
            f"{folder} holds {_some(misshapen)}; give the config.json that belongs to the weights"
        )


def _some(names: list[str], shown: int = 3) -> str:
    """
    >>> _some(["a", "b", "c", "d"])
    '4 tensors: a, b, c, ...'
    """
    count = f"{len(names)} tensor{'s' if len(names) > 1 else ''}"
    return f"{count}: {', '.join(names[:shown])}{', ...' if len(names) > shown else ''}"


def _shards(model: TinyLlava, max_shard_size: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    seen = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen:  # tied: the file format holds each tensor once
            continue
        seen.add(tensor.data_ptr())
        if shards[-1] and size + _size(tensor) > max_shard_size:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += _size(tensor)
    return shards


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _with_dtype(config: dict[str, Any], model: TinyLlava) -> dict[str, Any]:
    """The configuration with the dtype of the weights, under the key that it used, if it differs."""
    key = "dtype" if "dtype" in config else "torch_dtype"
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    return config if config.get(key, "float32") == dtype else {**config, key: dtype}


def _to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
