"""The memory planner's peak beside the one that PyTorch's allocator counts, in a training step on a GPU.

    row = compare("lora", "cuda")
    row["error"]                                       # the plan's, above the measured peak, as a share of it

A TinyLLaVA of 300 million random parameters reads drawn problems: two forwards and an update, after a step
that made the optimizer's moments.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vkit.models.tiny import STAND_IN, build_random
from vkit.synthesis.engine import synthesize
from vkit.train.data import open_examples
from vkit.train.memory_plan import Setting, plan_memory
from vkit.train.memory_plan_model import empty_vlm
from vkit.train.recipes import SftRecipe
from vkit.train.stages import make_task
from vkit.train.task import Micro, Totals

LOWEST, HIGHEST = -0.05, 0.15
_BASE: dict[str, Any] = dict(twins="vision", precision="bf16", lora_dropout=0.05)
RECIPES = {
    "fp32": SftRecipe(twins="vision"),
    "bf16": SftRecipe(**_BASE),
    "checkpointed": SftRecipe(gradient_checkpointing=True, **_BASE),
    "lora": SftRecipe(lora_rank=32, train=("language_model",), **_BASE),
}
TEXT = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 16, "num_attention_heads": 16}
VISION = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8}
SIZE: dict[str, Any] = {
    **STAND_IN,
    "hidden_size": 1024,
    "vision_hidden_size": 512,
    "text_config": {**STAND_IN["text_config"], **TEXT},
    "vision_config": {**STAND_IN["vision_config"], **VISION, "image_size": 336},
}


def compare(name: str, device: str, *, size: dict[str, Any] = SIZE, micro_batch: int = 8) -> dict[str, Any]:
    """The plan and the peak of a step of the recipe ``name``, in bytes, and how far the plan is off."""
    recipe = replace(RECIPES[name], batch_size=2 * micro_batch, micro_batch_size=micro_batch)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(size))
        empty = empty_vlm(folder)
        problems = Path(folder) / "problems"
        synthesize(problems, pairs=2 * micro_batch, subjects=("plane",), progress=False)
        examples = open_examples([problems / "pairs.jsonl"], recipe)
        task = make_task(build_random(size, name="planned", device=device), examples, recipe)
        halves = (range(micro_batch), range(micro_batch, 2 * micro_batch))
        micros = [micro for half in halves if (micro := task.read(half)[0]) is not None]
    task.network.train()
    optimizer = torch.optim.AdamW([parameter for _, parameter in task.trainable()])
    _step(task, micros, optimizer)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    _step(task, micros, optimizer)
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)

    longest = max(micros, key=lambda micro: micro.batches[0].length)
    answers = round(longest.tokens / longest.items)
    setting = Setting(micro_batch, longest.batches[0].length, answer_tokens=answers, ahead=False)
    plan = plan_memory(empty, recipe, setting)
    return {
        "recipe": name,
        "columns": setting.length,
        "peak_mib": peak / 2**20,
        "plan_mib": plan.peak / 2**20,
        "moment": plan.moment,
        "terms_mib": {term: value / 2**20 for term, value in plan.terms.items()},
        "error": plan.peak / peak - 1,
    }


def _step(task: Any, micros: list[Micro], optimizer: torch.optim.Optimizer) -> None:
    totals = Totals(sum(micro.tokens for micro in micros), sum(micro.items for micro in micros))
    for micro in micros:
        task(micro, totals)[0].backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
