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
from functools import partial
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import read_json, read_jsonl, write_bytes, write_json
from vkit.models.backbones import Backbones, load_backbones
from vkit.models.devices import resolve_device
from vkit.models.smarter_parameters import count_parameters, explain_parameters
from vkit.report.smart_curves import Curves, curves_page, curves_svg
from vkit.train.claim import claim
from vkit.train.distributed import check_precision, join
from vkit.train.feature_work import picture_digests, progress_bars
from vkit.train.features import FeatureCache, LiveFeatures
from vkit.train.smart_data import FeatureSource, SmartData, open_smart, sequence_puzzles
from vkit.train.smart_plan import (
    SEEDS,
    backbone_names,
    check_place,
    check_seeds,
    empty_model,
    finished_seeds,
    plan_smart,
)
from vkit.train.smart_recipe import SmartRecipe
from vkit.train.smart_scores import evaluate_smart, over_seeds
from vkit.train.smart_seed import LOG, SCORES, load_smarter, train_seed

__all__ = ["SEEDS", "evaluate_smart", "load_smarter", "plan_smart", "train_smart"]


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
    explain: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a model for each seed; returns the summary, which stands in ``out`` too.

    Where several processes were launched, each calls this; see `vkit.train.distributed`. The model is small:
    each holds all of it, and no fsdp is offered.

    Args:
        folder: SMART-101 in its official layout. vision, text: backbones, of `load_backbones`.
        cache: folder of the features, which several runs may share; None: ``out/features``.
        cached: False runs the backbones in every epoch, much slower; see `vkit.train.features.LiveFeatures`.
        skip_bad: leave out bad rows and list them in the summary, instead of stopping.
        workers: threads that make batches; no result depends on them.
        progress: bars on stderr, or a line an epoch where it is no terminal.
        explain: tell the parameters beside the paper's. tell: takes what people should know.

    Returns:
        ``val`` and ``test`` (of `over_seeds`), ``seeds`` (epochs and best epoch of each), ``parameters``,
        ``items``, ``refused``, and where the curves are. Seeds that were finished in ``out`` earlier are
        counted too, asked for or not.

    Raises:
        VkitError: the data have bad rows, ``out`` belongs to other settings or lies in ``folder``, or
            training fails; see `train_seed`.
    """
    check_seeds(seeds)
    check_place(folder, out)
    world = join(device)
    if world.sharded:
        raise VkitError("train-smart trains a small model, whole in each process; launch it without fsdp")
    check_precision("fp32")
    device, tell = world.device, tell if world.is_main else lambda line: None
    progress = progress and world.is_main
    place = resolve_device(device)
    data = open_smart(folder, recipe, skip_bad=skip_bad)
    backbones = load_backbones(vision, text, device=device)
    if skip_bad:
        data = data.without_long_questions(backbones.text)
    _tell_of(data, recipe, tell)
    config = recipe.smarter_config(
        data.classes, sequence_puzzles(data), backbones.vision_sizes, backbones.text.size
    )
    model = empty_model(config)  # what makes no model is refused before hours of features
    if explain:
        tell(explain_parameters(model))
    pictures = world.ask_main(lambda: picture_digests(data.items, progress_bars(progress)))
    settings = _settings(data, pictures, recipe, backbones)

    def claim_folder() -> None:
        out.mkdir(parents=True, exist_ok=True)
        claim(out, settings, names=backbone_names(vision, text), data=folder)

    world.on_main(claim_folder)
    if world.words:
        tell(world.words)
    if earlier := world.ask_main(lambda: finished_seeds(out)):
        plural = "s" * (len(earlier) > 1)
        tell(f"seed{plural} {', '.join(map(str, earlier))}: finished in {out} earlier, and counted")
    features: FeatureSource
    if cached:
        build = partial(
            FeatureCache.build,
            data.items,
            backbones,
            cache or out / "features",
            tokens=recipe.reads_patches,
            pictures=pictures,
            progress=progress,
            say=tell,
        )
        features = world.on_main(build) or build()  # the main process computes them, the others find them
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
            world=world,
        )
        accuracy = {part: scores[seed][part]["overall"]["S_acc"]["value"] for part in ("val", "test")}
        tell(
            f"seed {seed}: S_acc {accuracy['val']:.2f} on validation, best in epoch"
            f" {scores[seed]['best_epoch']} of {scores[seed]['epochs']}; {accuracy['test']:.2f} on test"
        )

    def summarise() -> dict[str, Any]:
        for seed in finished_seeds(out):
            if seed not in scores:
                scores[seed] = read_json(out / f"seed-{seed}" / SCORES)
        curves = _draw_curves(out, list(scores), recipe)
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

    return world.ask_main(summarise)


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
