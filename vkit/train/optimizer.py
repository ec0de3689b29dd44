"""AdamW as every stage runs it, and its learning rate.

optimizer, names = adamw(task, recipe)
rate = recipe.lr * rate_factor(step=0, steps=100, warmup_ratio=0.03)
"""

from __future__ import annotations

import math

import torch

from vkit.train.recipes import Recipe
from vkit.train.schedule import warmup_cosine
from vkit.train.task import Task


def adamw(task: Task, recipe: Recipe) -> tuple[torch.optim.Optimizer, list[str]]:
    """AdamW, with no decay of norms and biases, and the names of its parameters in its order."""
    named = list(task.trainable())
    decayed = [(name, p) for name, p in named if p.ndim > 1]
    kept = [(name, p) for name, p in named if p.ndim <= 1]
    groups = [
        {"params": [p for _, p in decayed], "weight_decay": recipe.weight_decay},
        {"params": [p for _, p in kept], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2))
    return optimizer, [name for name, _ in (*decayed, *kept)]


def rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Linear warm-up, then half a cosine down to 0, as a factor of the peak; ``step`` counts from 0."""
    return warmup_cosine(step, steps, max(1, math.ceil(steps * warmup_ratio)) if warmup_ratio else 0)
