"""What SmarterVLM's parts cost: an epoch with and without the feature cache, and 101 heads beside one.

    measure_cache(Path("scratch"), "cpu")                 # rows of the sizes that are measured
    measure_heads("cpu")

Backbones of the paper's sizes have random weights here; the time is the same. See `benchmarks.smart`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.measure import interleaved_ms
from vkit.models.backbones import Backbones, VisionBackbone, load_backbones, load_text
from vkit.models.protocol import IGNORE_INDEX
from vkit.models.smarter import SmartBatch, Smarter, smart_loss
from vkit.models.smarter_config import SEQUENCE_STEPS, SmarterConfig
from vkit.models.tinyllava_images import ImageSettings
from vkit.sources.smart101_puzzles import SEQUENCE_PUZZLES, SKILLS
from vkit.synthesis.smart_mini import write_smart_mini
from vkit.train.features import FeatureCache, LiveFeatures
from vkit.train.recipes import override
from vkit.train.smart_data import FeatureSource, SmartData, open_smart, sequence_puzzles
from vkit.train.smart_recipe import SmartRecipe

CLASSES = 20  # of a puzzle, about what SMART-101's have
Step = Callable[[SmartBatch], None]


def measure_cache(folder: Path, device: str, *, smoke: bool = False) -> list[dict[str, Any]]:
    """An epoch of training from cached features and through the backbones: the same batches, the same steps.

    ``*_read_ms`` is the same epoch without its steps: what the cache replaces.

    Items are few where backbones are large; both times grow with their number. The text encoder is the tiny
    one everywhere, which favours the backbones' side.
    """
    write_smart_mini(folder / "data", rows=20, seed=0, progress=False)
    whole = open_smart(folder / "data", SmartRecipe())
    names = ("tiny", "paper's sizes")[: 1 if smoke else 2]
    rows = []
    for name in names:
        backbones = _paper_backbones(device) if name != "tiny" else _tiny_backbones(device)
        places = whole.parts["train"][:: 1 if name == "tiny" else 5]  # 156 rows, or 32
        for qf in ("paper", "tokens"):
            recipe = override(SmartRecipe(), {"qf": qf})
            rows.append(_cache_row(name, whole, places, backbones, recipe, folder / "features", device))
    return rows


def _cache_row(
    name: str,
    data: SmartData,
    places: Sequence[int],
    backbones: Backbones,
    recipe: SmartRecipe,
    folder: Path,
    device: str,
) -> dict[str, Any]:
    items = [data.items[place] for place in places]
    few = SmartData(items, {"train": list(range(len(items)))}, data.classes, [])
    tokens = recipe.reads_patches
    sizes = (backbones.vision_sizes, backbones.text.size)
    model = Smarter(recipe.smarter_config(data.classes, sequence_puzzles(data), *sizes)).to(device)
    step = _stepper(model, recipe)
    cached = FeatureCache.build(items, backbones, folder, tokens=tokens)
    sources: dict[str, FeatureSource] = {
        "cached": cached,
        "live": LiveFeatures(items, backbones, tokens=tokens),
    }
    times = {}
    for source, features in sources.items():
        for kind, act in (("read", lambda batch: None), ("", step)):
            spent = []
            for _ in range(6 if source == "cached" else 1):
                began = time.perf_counter()
                _epoch(few, features, recipe.batch_size, act, device)
                spent.append((time.perf_counter() - began) * 1e3)
            times[source, kind] = statistics.median(spent[1:] or spent)  # the cache's first pass warms it
    return {
        "backbones": name,
        "qf": recipe.qf,
        "items": len(items),
        "cached_ms": times["cached", ""],
        "live_ms": times["live", ""],
        "ratio": times["live", ""] / times["cached", ""],
        "cached_read_ms": times["cached", "read"],
        "live_read_ms": times["live", "read"],
        "ratio_read": times["live", "read"] / times["cached", "read"],
    }


def _epoch(data: SmartData, features: FeatureSource, size: int, step: Step, device: str) -> None:
    places = data.parts["train"]
    for start in range(0, len(places), size):
        step(data.batch(features, places[start : start + size]).to(device))
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def measure_heads(device: str, *, smoke: bool = False) -> list[dict[str, Any]]:
    """A training step of a batch of 128 over 101 puzzles, and of the same rows over one head of each kind.

    Milliseconds, forward and backward; ``*_step_ms`` with AdamW, whose work grows with the parameters.
    """
    sizes = {
        "paper's sizes": dict(vision_sizes=(768, 768), text_size=768),
        "small": dict(vision_sizes=(64, 64), text_size=64, repr_size=32, hidden=32),
    }
    if smoke:
        del sizes["paper's sizes"]
    repeats = 2 if smoke else 7
    return [
        _heads_row(name, size, qf, device, repeats) for name, size in sizes.items() for qf in (None, "paper")
    ]


def _heads_row(name: str, size: dict[str, Any], qf: str | None, device: str, repeats: int) -> dict[str, Any]:
    batches = {"heads": _random_batch(size, len(SKILLS)), "shared": _random_batch(size, 2)}
    models = {"heads": _model(size, qf, list(SKILLS)), "shared": _model(size, qf, None)}
    row: dict[str, Any] = {"sizes": name, "qf": qf or "no"}
    plain: dict[str, Callable[[], None]] = {}
    whole: dict[str, Callable[[], None]] = {}
    for kind, model in models.items():
        batch = batches[kind].to(device)
        plain[kind] = partial(_backward, model.to(device), batch)
        whole[kind] = partial(_stepper(model, SmartRecipe()), batch)
        row[f"{kind}_parameters"] = sum(p.numel() for p in model.parameters())
    for functions, unit in ((plain, "ms"), (whole, "step_ms")):
        for kind, times in interleaved_ms(functions, device, repeats).items():
            row[f"{kind}_{unit}"] = statistics.median(times)
    return {
        **row,
        "ratio": row["heads_ms"] / row["shared_ms"],
        "step_ratio": row["heads_step_ms"] / row["shared_step_ms"],
    }


def _backward(model: Smarter, batch: SmartBatch) -> None:
    smart_loss(model(batch), batch).backward()
    model.zero_grad(set_to_none=True)


def _stepper(model: Smarter, recipe: SmartRecipe) -> Step:
    """A whole step of training."""
    fused = next(model.parameters()).device.type == "cpu"
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused
    )

    def step(batch: SmartBatch) -> None:
        smart_loss(model(batch), batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _model(size: dict[str, Any], qf: str | None, puzzles: list[int] | None) -> Smarter:
    """101 heads, or one for classes and one for sequences."""
    torch.manual_seed(0)
    kinds = [False, True] if puzzles is None else [puzzle in SEQUENCE_PUZZLES for puzzle in puzzles]
    count = len(kinds)
    config = SmarterConfig(tuple(range(count)), (CLASSES,) * count, tuple(kinds), qf=qf, **size)
    return Smarter(config)


def _random_batch(size: dict[str, Any], heads: int, count: int = 128, words: int = 40) -> SmartBatch:
    """128 questions drawn from the 101 puzzles; of two heads the second has the sequences."""
    generator = torch.Generator().manual_seed(0)
    numbers = list(SKILLS)
    chosen = torch.randint(len(numbers), (count,), generator=generator)
    is_sequence = torch.tensor([numbers[place] in SEQUENCE_PUZZLES for place in chosen.tolist()])
    answers = torch.randint(CLASSES, (count, SEQUENCE_STEPS), generator=generator)
    return SmartBatch(
        pooled=torch.randn(count, sum(size["vision_sizes"]), generator=generator),
        patches=None,
        text=torch.randn(count, words, size["text_size"], generator=generator),
        text_mask=torch.ones(count, words, dtype=torch.bool),
        puzzle=chosen if heads > 2 else is_sequence.long(),
        target=torch.where(is_sequence, IGNORE_INDEX, answers[:, 0]),
        sequence=torch.where(is_sequence[:, None], answers, IGNORE_INDEX),
    )


def _tiny_backbones(device: str) -> Backbones:
    return load_backbones(["tiny", "tiny-vit"], "tiny", device=device)


def _paper_backbones(device: str) -> Backbones:
    """DINOv2-base's and SigLIP-base's shapes, with random weights."""
    from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel

    images = ImageSettings(224, pad=True)

    def prepare(pictures: Sequence[Image.Image]) -> Tensor:
        return torch.stack([torch.from_numpy(images.pixel_values(picture)) for picture in pictures])

    torch.manual_seed(0)
    models = {
        "dinov2-base": Dinov2Model(Dinov2Config(image_size=224, patch_size=14)),
        "siglip-base": SiglipVisionModel(SiglipVisionConfig()),
    }
    vision = tuple(
        VisionBackbone(name, model.to(device), prepare, settings={"name": name})
        for name, model in models.items()
    )
    return Backbones(vision, load_text("tiny", device=device))
