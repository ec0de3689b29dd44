"""SmarterVLM on SMART-101: features once, then a model for each seed, and their mean.

    summary = train_smart(
        Path("SMART101-Data"), SMART_RECIPES["paper"], Path("runs/smart"),
        vision=["facebook/dinov2-base", "google/siglip-base-patch16-224"],
        text="google/siglip-base-patch16-224", seeds=(0, 42, 7),
    )
    summary["test"]["overall"]["S_acc"]                       # {"mean", "deviation", "values"}

    out/settings.json     what runs: recipe, data, backbones; other settings are refused the folder
    out/features/         what the backbones say, unless ``cache`` names another folder
    out/seed-0/ ...       see `vkit.train.smart_seed`; finished seeds are kept, further ones may be added
    out/curves.svg        validation accuracy over epochs, by skill; and out/curves.html, to be looked at
    out/summary.json      written last

Source: Roberts, "On VLM Reasoners", sections 2.1.2 and 2.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.jsonl import read_jsonl, write_bytes, write_json
from vkit.models.backbones import Backbones, load_backbones
from vkit.models.devices import resolve_device
from vkit.models.smarter import Smarter
from vkit.models.smarter_parameters import count_parameters, explain_parameters
from vkit.report.smart_curves import Curves, curves_page, curves_svg
from vkit.train.claim import claim
from vkit.train.feature_work import picture_digests, progress_bars
from vkit.train.features import FeatureCache, LiveFeatures
from vkit.train.smart_data import FeatureSource, SmartData, open_smart, sequence_puzzles
from vkit.train.smart_recipe import SmartRecipe
from vkit.train.smart_scores import evaluate_smart, over_seeds
from vkit.train.smart_seed import LOG, load_smarter, train_seed

__all__ = ["SEEDS", "evaluate_smart", "load_smarter", "plan_smart", "train_smart"]

SEEDS = (0, 42, 7)  # the paper's


def train_smart(
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
    workers: int = 1,
    progress: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a model for each seed; returns the summary, which stands in ``out`` too.

    Args:
        folder: SMART-101 in its official layout. vision, text: backbones, of `load_backbones`.
        cache: folder of the features, which several runs may share; None: ``out/features``.
        cached: False runs the backbones in every epoch; the same result, bit for bit, and much slower.
        skip_bad: leave out bad rows and list them in the summary, instead of stopping.
        workers: threads that make batches; no result depends on them.
        progress: bars on stderr. tell: takes what people should know, the parameters beside the paper's too.

    Returns:
        ``val`` and ``test`` (of `over_seeds`), ``seeds`` (epochs and best epoch of each), ``parameters``,
        ``items``, ``refused``, and where the curves are.

    Raises:
        VkitError: the data have bad rows, ``out`` belongs to other settings, or training fails; see
            `train_seed`.
    """
    _check_seeds(seeds)
    place = resolve_device(device)
    data = open_smart(folder, recipe, skip_bad=skip_bad)
    backbones = load_backbones(vision, text, device=device)
    if skip_bad:
        data = data.without_long_questions(backbones.text)
    _tell_of(data, recipe, tell)
    config = recipe.smarter_config(
        data.classes, sequence_puzzles(data), backbones.vision_sizes, backbones.text.size
    )
    with torch.device("meta"):  # what makes no model is refused before hours of features
        model = Smarter(config)
    tell(explain_parameters(model))
    pictures = picture_digests(data.items, progress_bars(progress))
    out.mkdir(parents=True, exist_ok=True)
    claim(out, _settings(data, pictures, recipe, backbones))
    features: FeatureSource
    if cached:
        features = FeatureCache.build(
            data.items,
            backbones,
            cache or out / "features",
            tokens=recipe.reads_patches,
            pictures=pictures,
            progress=progress,
            say=tell,
        )
    else:
        features = LiveFeatures(data.items, backbones, tokens=recipe.reads_patches)
    del backbones  # a cache needs them no more, and their memory is the reasoner's
    scores = {}
    for seed in seeds:
        scores[seed] = train_seed(
            data,
            features,
            config,
            recipe,
            out / f"seed-{seed}",
            seed=seed,
            device=place,
            workers=workers,
            progress=progress,
            tell=tell,
        )
        accuracy = {part: scores[seed][part]["overall"]["S_acc"]["value"] for part in ("val", "test")}
        tell(
            f"seed {seed}: S_acc {accuracy['val']:.2f} on validation, best in epoch"
            f" {scores[seed]['best_epoch']} of {scores[seed]['epochs']}; {accuracy['test']:.2f} on test"
        )
    curves = _draw_curves(out, seeds, recipe)
    summary = {
        "out": str(out),
        "recipe": asdict(recipe),
        "items": {part: len(places) for part, places in data.parts.items()},
        "refused": [asdict(refused) for refused in data.refused],
        "parameters": count_parameters(model),
        "seeds": {
            str(seed): {key: found[key] for key in ("epochs", "best_epoch", "steps")}
            for seed, found in scores.items()
        },
        **{part: over_seeds([found[part] for found in scores.values()]) for part in ("val", "test")},
        "curves": str(curves),
    }
    write_json(out / "summary.json", summary)
    return summary


def plan_smart(
    folder: Path, recipe: SmartRecipe, *, seeds: Sequence[int] = SEEDS, skip_bad: bool = False
) -> dict[str, Any]:
    """What a run would do, from its data and recipe; no backbone is loaded.

    ``refused`` has all bad rows but questions too long for a text encoder, which that alone can tell.

    Raises:
        VkitError: as `train_smart` does of seeds and data.
    """
    _check_seeds(seeds)
    data = open_smart(folder, recipe, skip_bad=skip_bad)
    an_epoch = -(-len(data.parts["train"]) // recipe.batch_size)
    return {
        "data": str(folder),
        "seeds": list(seeds),
        "items": {part: len(places) for part, places in data.parts.items()},
        "classes": {str(puzzle): count for puzzle, count in data.classes.items()},
        "sequence_puzzles": sorted(sequence_puzzles(data)),
        "steps": an_epoch * recipe.epochs,
        "refused": [asdict(refused) for refused in data.refused],
        "recipe": asdict(recipe),
    }


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise VkitError(f"seeds {list(seeds)} must be one or more, each once")
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise VkitError(f"seed must lie between 0 and 2^32 - 1, not {seed}")


def _tell_of(data: SmartData, recipe: SmartRecipe, tell: Callable[[str], None]) -> None:
    if data.refused:
        first = data.refused[0]
        tell(f"{len(data.refused)} bad rows left out, first {first.id}: {first.reason}")
    unseen = {i.puzzle for i in data.of("test")} - {i.puzzle for i in data.of("train")}
    if unseen:
        tell(
            f"note: {len(unseen)} puzzles of the test part have no row to train on (split {recipe.split});"
            " their own layers stay as they were initialised, so their scores are chance"
        )


def _settings(
    data: SmartData, pictures: Sequence[str], recipe: SmartRecipe, backbones: Backbones
) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "data": data.digest,
        "pictures": hashlib.sha256("".join(pictures).encode()).hexdigest()[:16],
        "vision": [backbone.digest for backbone in backbones.vision],
        "text": backbones.text.digest,
    }


def _draw_curves(out: Path, seeds: Sequence[int], recipe: SmartRecipe) -> Path:
    """Writes ``curves.svg`` and ``curves.html``; returns the path of the latter."""
    epochs = {
        seed: [line for _, line in read_jsonl(out / f"seed-{seed}" / LOG) if "val" in line] for seed in seeds
    }
    curves = Curves(
        {seed: [line["val"] for line in lines] for seed, lines in epochs.items()},
        {seed: [(line["train_loss"], line["val_loss"]) for line in lines] for seed, lines in epochs.items()},
    )
    write_bytes(out / "curves.svg", curves_svg(curves).encode())
    write_bytes(out / "curves.html", curves_page(curves, asdict(recipe)).encode())
    return out / "curves.html"
