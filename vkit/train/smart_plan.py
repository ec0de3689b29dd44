"""What a run of SmarterVLM would do, and what it would be refused, before anything is trained.

    plan = plan_smart(
        Path("SMART101-Data"), SMART_RECIPES["paper"], Path("runs/smart"), vision=["tiny"], text="tiny"
    )
    plan["steps"], plan["device"], plan["out"]["resumed"]

The checks that a run makes first stand here too, so that a plan that passes is a run that starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.jsonl import read_json
from vkit.models import backbones_tiny
from vkit.models.backbones import Backbones, load_backbones
from vkit.models.devices import resolve_device
from vkit.models.smarter import Smarter
from vkit.models.smarter_config import SmarterConfig
from vkit.models.smarter_parameters import count_parameters, explain_parameters
from vkit.train.claim import compare_claim
from vkit.train.smart_data import SmartData, open_smart, sequence_puzzles
from vkit.train.smart_recipe import SmartRecipe
from vkit.train.smart_seed import SCORES

SEEDS = (0, 42, 7)  # the paper's
# Widths of the paper's backbones, which a plan does not load.
_WIDTHS = {"facebook/dinov2-base": 768, "google/siglip-base-patch16-224": 768}


def plan_smart(
    folder: Path,
    recipe: SmartRecipe,
    out: Path,
    *,
    vision: Sequence[str],
    text: str,
    seeds: Sequence[int] = SEEDS,
    cache: Path | None = None,
    cached: bool = True,
    device: str = "auto",
    skip_bad: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What `train_smart` would do with the same arguments; writes nothing and asks nothing of the network.

    Backbones in folders and the tiny ones are loaded. Where one has a hub id, no question is found too long,
    and sizes are checked for the paper's backbones; of others ``parameters`` is None. Pictures are not read.

    Raises:
        VkitError: as `train_smart` does of seeds, data, sizes, and an ``out`` of other settings.
    """
    check_seeds(seeds)
    check_place(folder, out)
    place = resolve_device(device)
    data = open_smart(folder, recipe, skip_bad=skip_bad)
    backbones = load_backbones(vision, text, device=device) if _all_local(vision, text) else None
    if backbones is not None and skip_bad:
        data = data.without_long_questions(backbones.text)
    config = _config(recipe, data, vision, text, backbones)
    model = None if config is None else empty_model(config)
    if model is None:
        tell("note: the backbones' widths are known once they are loaded; the model's sizes are not checked")
    else:
        tell(explain_parameters(model))
    resumed = (out / "settings.json").exists()
    if resumed:
        settings = _known_settings(out, data, recipe, vision, text, backbones)
        compare_claim(out, settings, names=backbone_names(vision, text), data=folder)
    an_epoch = -(-len(data.parts["train"]) // recipe.batch_size)
    return {
        "data": str(folder),
        "vision": list(vision),
        "text": text,
        "device": str(place),
        "cache": str(cache or out / "features") if cached else None,
        "out": {"folder": str(out), "resumed": resumed, "finished_seeds": finished_seeds(out)},
        "seeds": list(seeds),
        "items": {part: len(places) for part, places in data.parts.items()},
        "classes": {str(puzzle): count for puzzle, count in data.classes.items()},
        "sequence_puzzles": sorted(sequence_puzzles(data)),
        "steps": an_epoch * recipe.epochs,
        "parameters": None if model is None else count_parameters(model),
        "refused": [asdict(refused) for refused in data.refused],
        "recipe": asdict(recipe),
    }


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises `VkitError` where there is no seed, one stands twice, or one is out of range."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise VkitError(f"seeds {list(seeds)} must be one or more, each once")
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise VkitError(f"seed must lie between 0 and 2^32 - 1, not {seed}")


def check_place(folder: Path, out: Path) -> None:
    """Raises `VkitError` where a run would write among its data."""
    data, run = folder.resolve(), out.resolve()
    if run == data or data in run.parents:
        raise VkitError(f"the run's folder {out} lies in the data {folder}; choose another --out")


def empty_model(config: SmarterConfig) -> Smarter:
    """The model without its weights. Raises `VkitError` where the configuration makes no model."""
    with torch.device("meta"):
        return Smarter(config)


def backbone_names(vision: Sequence[str], text: str) -> dict[str, str]:
    """What people call the backbones, whose digests stand in a run's settings."""
    return {"vision": ", ".join(vision), "text": text}


def finished_seeds(out: Path) -> list[int]:
    """The seeds whose training in ``out`` is complete."""
    names = (path.parent.name.removeprefix("seed-") for path in out.glob(f"seed-*/{SCORES}"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _all_local(vision: Sequence[str], text: str) -> bool:
    tiny = [name in backbones_tiny.VISION for name in vision] + [text in backbones_tiny.TEXT]
    return all(known or not _is_hub_id(name) for known, name in zip(tiny, (*vision, text)))


def _is_hub_id(name: str) -> bool:
    """Whether a backbone would be asked of the hub: neither a folder nor a path where one is missing."""
    return not (os.path.isdir(name) or name.count("/") > 1 or name.startswith((".", "/")))


def _config(
    recipe: SmartRecipe, data: SmartData, vision: Sequence[str], text: str, backbones: Backbones | None
) -> SmarterConfig | None:
    """The model's shape; None where a backbone's width is not known."""
    if backbones is not None:
        sizes, text_size = list(backbones.vision_sizes), backbones.text.size
    elif all(name in _WIDTHS for name in (*vision, text)):
        sizes, text_size = [_WIDTHS[name] for name in vision], _WIDTHS[text]
    else:
        return None
    return recipe.smarter_config(data.classes, sequence_puzzles(data), sizes, text_size)


def _known_settings(
    out: Path,
    data: SmartData,
    recipe: SmartRecipe,
    vision: Sequence[str],
    text: str,
    backbones: Backbones | None,
) -> dict[str, Any]:
    """The run's settings; what only a run can tell is taken from ``out``: pictures, backbones so named."""
    theirs = read_json(out / "settings.json")
    settings = {"recipe": asdict(recipe), "data": data.digest, "pictures": theirs.get("pictures")}
    if backbones is not None:
        return settings | {"vision": [b.digest for b in backbones.vision], "text": backbones.text.digest}
    names = theirs.get("names", {})
    for kind, name in backbone_names(vision, text).items():
        settings[kind] = theirs.get(kind) if names.get(kind, name) == name else None
    return settings
