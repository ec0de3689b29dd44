"""Writes a model, or an adapter, where transformers and peft load it: complete or absent.

    export("Qwen/Qwen2.5-VL-3B-Instruct", Path("merged"), adapter=Path("runs/tey/adapter"))
    export("checkpoints/base", Path("half"), checkpoint=Path("runs/x"), dtype="bfloat16")  # not finished yet
    export("checkpoints/base", Path("lora"), checkpoint=Path("runs/x"), what="adapter")

transformers' families are written in transformers' layout, a TinyLLaVA in the Factory's.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.jsonl import read_json
from vkit.models.loading import load_model
from vkit.models.lora import merge_added, save_adapter
from vkit.models.protocol import VisionLanguageModel, weights_digest
from vkit.train.checkpoint import appearing, latest_checkpoint, load_checkpoint
from vkit.train.recipes import Recipe
from vkit.train.saving import CHECKPOINTS
from vkit.train.stages import prepare

WHAT = ("model", "adapter")


def export(
    model: str,
    out: Path,
    *,
    adapter: Path | None = None,
    checkpoint: Path | None = None,
    what: str = "model",
    dtype: str = "float32",
) -> list[str]:
    """Write ``out``; returns lines for people: what an adapter leaves out.

    Args:
        model: as `load_model` takes it; with a checkpoint, the model that its run began with.
        out: a folder that is not there, or empty.
        adapter: the folder of a LoRA adapter, to be merged into the model.
        checkpoint: the folder of a checkpoint, or of a run, whose last one is taken.
        what: "model", all of it, with LoRA merged; or "adapter", of a LoRA run's checkpoint.
        dtype: of the model's weights, as `load_model` takes it; an adapter stays in float32.

    Raises:
        VkitError: something is not there, or the checkpoint is not of a run that began with the model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise VkitError(f"{out} exists already; choose another --out or remove it")
    if adapter is not None and checkpoint is not None:
        raise VkitError("an adapter and a checkpoint are given; give one of them")
    if checkpoint is None:
        if what == "adapter":
            raise VkitError("an adapter is exported from a checkpoint of a LoRA run; give --checkpoint")
        # What is merged is rounded once, at the end: an update may be smaller than a step of ``dtype``.
        loaded = load_model(model, adapter=adapter, device="cpu", dtype="float32" if adapter else dtype)
        left_out: list[str] = []
    else:
        loaded, recipe = _load_checkpoint(model, _checkpoint_of(checkpoint))
        if what == "adapter" and not recipe.lora_rank:
            raise VkitError(f"the run of {checkpoint} trained whole weights, no adapter; give --as model")
        left_out = [part for part in recipe.train if part != "language_model"] if what == "adapter" else []
    with appearing(out) as part:
        if what == "adapter":
            save_adapter(loaded, part)
        else:
            if checkpoint is not None and recipe.lora_rank:
                merge_added(loaded)
            if checkpoint is not None or adapter is not None:
                loaded.model.to(getattr(torch, "float32" if dtype == "auto" else dtype))
            loaded.save(part)
    trained = " and the ".join(left_out)
    return [f"the run trains the {trained} too, which no adapter holds; --as model has it"] if trained else []


def _checkpoint_of(place: Path) -> Path:
    """The folder of a checkpoint, from its own or a run's."""
    place = place.resolve()  # its run is two folders above, wherever it is named from
    if (place / "state.json").is_file():
        return place
    if (found := latest_checkpoint(place / CHECKPOINTS)) is not None:
        return found
    if (place / "summary.json").is_file():
        raise VkitError(f"{place} is a finished run; export {place / 'model'}, by --model alone")
    raise VkitError(f"{place} is no checkpoint, and no run that has one; give runs/x/checkpoints/step-...")


def _load_checkpoint(model: str, place: Path) -> tuple[VisionLanguageModel, Recipe]:
    """The model as it was at a checkpoint, with its LoRA layers; and the parts of the recipe that made these.

    Raises:
        VkitError: the run did not begin with this model.
    """
    settings = read_json(place.parent.parent / "settings.json")
    recipe = _recipe_of(settings, place)
    loaded = load_model(model, device="cpu", dtype="float32")
    prepare(loaded, recipe)
    if settings.get("model") != weights_digest(loaded):
        raise VkitError(f"{place} is of a run that began with other weights than {model!r}; give that model")
    tensors, _ = load_checkpoint(place)
    learned = {name: p for name, p in loaded.model.named_parameters() if p.requires_grad}
    saved = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    if learned.keys() != saved.keys():
        name = min(learned.keys() ^ saved.keys())
        raise VkitError(f"{place} does not fit {model!r} at {name!r}; give the model that its run began with")
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(saved[name])
    loaded.random_weights = False
    return loaded, recipe


def _recipe_of(settings: dict[str, Any], place: Path) -> Recipe:
    """What every stage's recipe has, out of a run's settings."""
    values = settings.get("recipe")
    if not isinstance(values, dict):
        raise VkitError(
            f"the settings.json of {place} names no recipe; give a checkpoint of train-sft or -puma"
        )
    known = {field.name for field in fields(Recipe)}
    chosen: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known
    }
    try:
        return Recipe(**chosen)
    except TypeError as error:
        raise VkitError(f"the settings.json of {place} is damaged ({error}); replace it") from error
