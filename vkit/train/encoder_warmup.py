"""Stage 0 of the miniature: the vision tower alone learns to read, in place of SigLIP's pretraining.

    report = warm_up(model, steps=300, batch_size=64, seed=0)
    report["glyph_accuracy"]                        # of glyphs not met before

A tower with random weights teaches the language model to ignore it: no gradient tells a digit through three
layers of attention. So a linear head first learns from the tower's image tokens which glyph has its centre in
which cell of the picture (`vkit.synthesis.miniature.practice`), and is thrown away afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.synthesis.miniature import CELLS, GLYPHS, practice
from vkit.train.schedule import warmup_cosine

BLANK_WEIGHT = 0.1  # of a cell without a glyph, of which there are ten for each one with
TEST_PICTURES = 256
RISING_SHARE = 0.05  # of the steps


def warm_up(
    model: TinyLlavaModel,
    *,
    steps: int = 300,
    batch_size: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train the vision tower of ``model`` in place; connector and language model stay as they are.

    AdamW, betas 0.9 and 0.98, weight decay 0.1; ``lr`` rises over 5% of the steps and falls as a cosine to 0.

    Args:
        progress: called after each step with its number, from 1, and its loss.

    Returns:
        steps, batch_size, seed, the last loss, and glyph_accuracy: the share of glyphs (cells with one) that
        are read right in pictures drawn from another seed.

    Raises:
        VkitError: the tower's image tokens form no square grid that fits the cells.
    """
    config = model.model.config
    side = config.patches_per_side
    if CELLS % side or config.num_image_tokens != side**2:
        raise VkitError(
            f"the encoder's warm-up labels {CELLS} x {CELLS} cells, which the {config.num_image_tokens} image"
            f" tokens of {model.name} do not divide; give a model with 2, 4 or 8 tokens along each side"
        )
    tower = model.model.vision_tower
    device = model.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(config.vision.hidden_size, (CELLS // side) ** 2 * (len(GLYPHS) + 1)).to(device)
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.1)
    rise = max(1, round(steps * RISING_SHARE))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, steps, rise))
    weight = torch.ones(len(GLYPHS) + 1, device=device)
    weight[0] = BLANK_WEIGHT
    rng = random.Random(f"warm-up/{seed}")
    loss = torch.zeros(())
    tower.train()
    for step in range(1, steps + 1):
        pixels, labels = _batch(model, rng, batch_size)
        loss = F.cross_entropy(_logits(tower, head, pixels).flatten(0, -2), labels.flatten(), weight=weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step, float(loss.detach()))
    tower.eval()
    with torch.no_grad():
        pixels, labels = _batch(model, random.Random(f"warm-up test/{seed}"), TEST_PICTURES)
        read = _logits(tower, head, pixels).argmax(dim=-1) == labels
    return {
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "loss": float(loss.detach()),
        "glyph_accuracy": float(read[labels > 0].float().mean()),
    }


def _logits(tower: nn.Module, head: nn.Module, pixels: Tensor) -> Tensor:
    """(N, image tokens, cells of a token, classes)."""
    return head(tower(pixels)).unflatten(-1, (-1, len(GLYPHS) + 1))


def _batch(model: TinyLlavaModel, rng: random.Random, count: int) -> tuple[Tensor, Tensor]:
    """Pixel values (N, 3, H, W), and labels (N, image tokens, cells of a token)."""
    drawn = [practice(rng) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([model.images.pixel_values(picture) for picture, _ in drawn]))
    side = model.model.config.patches_per_side
    cells = torch.from_numpy(np.stack([cells for _, cells in drawn])).long()
    blocks = cells.unflatten(2, (side, -1)).unflatten(1, (side, -1)).transpose(2, 3)  # (N, side, side, n, n)
    weight = next(model.model.vision_tower.parameters())
    return pixels.to(weight.device, weight.dtype), blocks.reshape(count, side * side, -1).to(weight.device)
