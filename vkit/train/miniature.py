"""Math-PUMA in miniature: the whole method on drawn problems, with a model that two CPU cores train.

    data = make_data(Path("demo/data"), pairs=10_000, tests=100)
    start = warm_start(Path("demo"))                      # stage 0, in place of SigLIP's pretraining
    report = run_order((1, 2, 3), start, data, Path("demo/full"))
    report["evaluations"][3]["accuracy"]["vision-only"]

`vkit demo` and ``python -m benchmarks reproduction`` are made of these steps. Each is kept in its folder and
not repeated.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json
from vkit.models.devices import resolve_device
from vkit.models.loading import load_model
from vkit.models.tiny import build_tiny
from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.synthesis.engine import synthesize
from vkit.train.encoder_warmup import warm_up
from vkit.train.recipes import RECIPES, AlignRecipe, SftRecipe
from vkit.train.stages import Tell, run_puma

WARMUP_STEPS = 300
Recipes = Mapping[int, SftRecipe | AlignRecipe]


def make_data(
    folder: Path, *, pairs: int, tests: int, seed: int = 0, workers: int = 1, progress: bool = False
) -> Path:
    """Miniature pairs in ``folder``, and test problems whose numbers never occur in them; returns it."""
    synthesize(
        folder, pairs=pairs, tests=tests, seed=seed, workers=workers, preset="miniature", progress=progress
    )
    return folder


def warm_start(
    out: Path,
    *,
    model: str | None = None,
    seed: int = 0,
    steps: int = WARMUP_STEPS,
    device: str = "auto",
    progress: bool = False,
) -> Path:
    """A model with an encoder that reads glyphs, in ``out/stage0/model``; returns that path.

    Args:
        model: as `load_model` takes it; None: the tiny preset with random weights of ``seed``.

    Raises:
        VkitError: the folder was made with other settings, or the model is no TinyLLaVA.
    """
    from tqdm import tqdm

    place = out / "stage0"
    made_of = {"model": model, "seed": seed, "steps": steps}
    if (place / "summary.json").is_file():
        theirs = read_json(place / "summary.json")["made_of"]
        if theirs != made_of:
            raise VkitError(f"{place} was made of {theirs}, not {made_of}; choose another folder")
        return place / "model"
    loaded = build_tiny(seed=seed) if model is None else load_model(model, device="cpu", dtype="float32")
    if not isinstance(loaded, TinyLlavaModel):
        raise VkitError(f"model {loaded.name!r} is no TinyLLaVA; its encoder cannot be warmed up")
    loaded.model.to(resolve_device(device))
    with tqdm(total=steps, desc="stage0", unit=" steps", disable=None if progress else True) as bar:
        report = warm_up(loaded, steps=steps, seed=seed, progress=lambda step, loss: bar.update())
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    loaded.random_weights = False
    loaded.save(place / "model")
    write_json(place / "summary.json", {"made_of": made_of, **report})
    return place / "model"


def run_order(
    order: Sequence[int],
    start: Path,
    data: Path,
    out: Path,
    *,
    recipes: Recipes = RECIPES["tiny"],
    seed: int = 0,
    device: str = "auto",
    evaluate: bool = True,
    progress: bool = False,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Train ``start`` through the stages in ``order``, answering the held-out problems after each."""
    pairs = data / "pairs.jsonl"
    return run_puma(
        str(start),
        {number: [pairs] for number in order},
        {number: replace(recipes[number], seed=seed) for number in order},
        out,
        order=order,
        tests=data / "test.jsonl" if evaluate else None,
        max_new_tokens=48,
        device=device,
        progress=progress,
        tell=tell,
    )


def scaled(recipes: Recipes, factor: float) -> dict[int, SftRecipe | AlignRecipe]:
    """The recipes with their steps multiplied, at least one each.

    >>> scaled(RECIPES["tiny"], 0.5)[1].max_steps == RECIPES["tiny"][1].max_steps // 2
    True
    """
    return {
        number: replace(recipe, max_steps=max(1, round(recipe.max_steps * factor)))
        for number, recipe in recipes.items()
    }
