"""Targets: checkpoints of models: weights, configurations, tokenizers, adapters, states of training."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.registry import Prepared, target
from vkit.models.loading import load_tinyllava, read_tokenizer
from vkit.models.lora import add_lora, merge_lora, save_adapter
from vkit.models.tensors import read_tensors
from vkit.models.tiny import build_stand_in
from vkit.models.tinyllava_checkpoint import OTHER_FILES, read_checkpoint, read_config
from vkit.models.tinyllava_images import ImageSettings
from vkit.train.checkpoint import load_checkpoint, save_checkpoint


@cache
def _stand_in() -> Any:
    return build_stand_in()


def _checkpoint(folder: Path) -> Path:
    place = folder / "model"
    _stand_in().save(place)
    return place


@target("safetensors", "safetensors")
def safetensors(folder: Path) -> Prepared:
    from safetensors.torch import save

    return _weights(folder / "model.safetensors"), [
        save({"a": torch.ones(2, 3), "b.c": torch.zeros(1, dtype=torch.bfloat16)}),
        save({"x": torch.arange(4)}, metadata={"format": "pt"}),
    ]


@target("pickles", "bytes")
def pickles(folder: Path) -> Prepared:
    """The format from before zip, whose opcodes are bare."""
    seeds = [_saved({"a": torch.ones(2, 3)}, zipped=False), pickle.dumps(_Harm(), protocol=2)]
    return _weights(folder / "pytorch_model.bin"), [*seeds, pickle.dumps({"a": 1}), b"cos\nmkdir\n(S'x'\ntR."]


@target("zipped-pickles", "archive")
def zipped_pickles(folder: Path) -> Prepared:
    seeds = [_saved({"a": torch.ones(2, 3), "b": torch.zeros(2)}), _saved({"a": _Harm()})]
    return _weights(folder / "pytorch_model.bin"), seeds


class _Harm:
    """What its pickle does when it is opened carelessly, `tests.fuzz.limits` hears of."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch canary",)


def _saved(content: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _weights(path: Path) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path.unlink(missing_ok=True)  # a mapped file must not be cut short under its tensors
        path.write_bytes(data)
        for name, tensor in read_tensors(path):
            name.encode("utf-8", "surrogatepass")
            tensor.shape.numel()

    return run


@target("model-config", "json", seconds=20, share=0.4)
def model_config(folder: Path) -> Prepared:
    place = _checkpoint(folder)
    path = place / "config.json"
    seed = path.read_bytes()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read_config(place)
        read_checkpoint(place, torch.device("cpu"), torch.float32)

    legacy = {
        "model_type": "tiny_llava_phi",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
        "hidden_size": 64,
        "vocab_size": 320,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "auto_map": {"AutoConfig": "x.Y"},
    }
    return run, [seed, json.dumps(legacy).encode()]


@target("weights-index", "json")
def weights_index(folder: Path) -> Prepared:
    place = _checkpoint(folder)
    (folder / "outside.safetensors").symlink_to(place / "model.safetensors")
    names = [name for name, _ in read_tensors(place / "model.safetensors")]
    seed = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names[:3], "model.safetensors")}

    def run(data: bytes) -> None:
        (place / "model.safetensors.index.json").write_bytes(data)
        read_checkpoint(place, torch.device("cpu"), torch.float32)

    outside = {"weight_map": {"a": "../outside.safetensors"}}
    return run, [json.dumps(seed).encode(), json.dumps(outside).encode()]


@target("tokenizer", "json", share=0.4)
def tokenizer(folder: Path) -> Prepared:
    return _tokenizer("tokenizer.json")


@target("tokenizer-config", "json", share=0.4)
def tokenizer_config(folder: Path) -> Prepared:
    return _tokenizer("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}})


@target("added-tokens", "json", share=0.4)
def added_tokens(folder: Path) -> Prepared:
    return _tokenizer("added_tokens.json", {"<a>": 1, "<b>": "2"})


def _tokenizer(name: str, more: dict[str, Any] | None = None) -> Prepared:
    files = {name: content for name, content in _stand_in().files.items() if name in OTHER_FILES}
    values = json.loads(files.get(name, b"{}"))

    def run(data: bytes) -> None:
        read = read_tokenizer({**files, name: data}, "here")
        read.decode(read("Find x.")["input_ids"])

    return run, [json.dumps(values).encode(), json.dumps({**values, **(more or {})}).encode()]


@target("preprocessor", "json")
def preprocessor(folder: Path) -> Prepared:
    from vkit.models.tinyllava_checkpoint import parse_json

    config = read_config(_checkpoint(folder))
    side = config.vision.image_size
    values = {
        "size": {"height": side, "width": side},
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "resample": 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
        "do_center_crop": False,
        "crop_size": side,
    }

    def run(data: bytes) -> None:
        ImageSettings.from_dicts(parse_json(data, "preprocessor_config.json"), config)

    crop = {
        **values,
        "size": {"shortest_edge": side},
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
    }
    return run, [json.dumps(values).encode(), json.dumps(crop).encode()]


@target("adapter-config", "json", seconds=20, share=0.4)
def adapter_config(folder: Path) -> Prepared:
    return _adapter(folder, "adapter_config.json")


@target("adapter-weights", "safetensors", seconds=20, share=0.4)
def adapter_weights(folder: Path) -> Prepared:
    return _adapter(folder, "adapter_model.safetensors")


def _adapter(folder: Path, name: str) -> Prepared:
    place = folder / "adapter"
    model = build_stand_in()
    add_lora(model, 2, 4)
    save_adapter(model, place)
    seed = (place / name).read_bytes()

    def run(data: bytes) -> None:
        (place / name).unlink()
        (place / name).write_bytes(data)
        merge_lora(build_stand_in().model.language_model, place)

    return run, [seed]


@target("training-state", "json")
def training_state(folder: Path) -> Prepared:
    return _training(folder, "state.json")


@target("training-tensors", "safetensors")
def training_tensors(folder: Path) -> Prepared:
    return _training(folder, "tensors.safetensors")


def _training(folder: Path, name: str) -> Prepared:
    place = save_checkpoint(folder, step=1, tensors={"a": torch.ones(2)}, state={"step": 1, "seed": 0})
    seed = (place / name).read_bytes()

    def run(data: bytes) -> None:
        (place / name).unlink()
        (place / name).write_bytes(data)
        load_checkpoint(place)

    return run, [seed]


@target("whole-model", "bytes", seconds=30, share=0.2)
def whole_model(folder: Path) -> Prepared:
    """Any file of a checkpoint replaced; the first byte says which."""
    good = _checkpoint(folder)
    place = folder / "spoiled"
    names = sorted(path.name for path in good.iterdir())

    def run(data: bytes) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        (place / names[data[0] % len(names) if data else 0]).write_bytes(data[1:])
        load_tinyllava(place, device="cpu")

    return run, [bytes([at]) + (good / name).read_bytes() for at, name in enumerate(names)]
