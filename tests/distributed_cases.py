"""What several processes train, and one process for comparison; launched by tests/test_distributed.py.

torchrun --nproc-per-node 2 -m tests.distributed_cases FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from vkit.models.huggingface_loading import load_huggingface
from vkit.models.tiny import build_tiny
from vkit.train import distributed, loop, stages
from vkit.train.data import open_examples
from vkit.train.distributed import World
from vkit.train.recipes import AlignRecipe, Recipe, SftRecipe
from vkit.train.smart import train_smart
from vkit.train.smart_recipe import SMART_RECIPES

# Three records a step make an odd one for two processes: one of them runs a spare.
SFT = SftRecipe(lr=1e-3, batch_size=3, micro_batch_size=1, max_steps=20, weight_decay=0.1)
ALIGN = AlignRecipe(lr=1e-3, batch_size=2, micro_batch_size=1, max_steps=20, lam=0.5, strong="text-only")
LORA = {"lora_rank": 2, "lora_dropout": 0.5, "train": ("connector", "language_model")}
VISION = ("vision_tower", "connector")

# Name: model, recipe. A LLaVA takes records with and without pictures apart, and has layers that never learn.
EQUAL: dict[str, tuple[str, Recipe]] = {
    "sft": ("llava", replace(SFT, batch_size=5, micro_batch_size=2)),
    "sft-lora": ("tiny", replace(SFT, **LORA)),
    "align-live": ("llava", replace(ALIGN, strong_cross_entropy=0.5)),
    "align-frozen-lora": ("llava", replace(ALIGN, teacher="frozen", lam=0.9, **LORA)),
    "vision-alone": ("llava", replace(SFT, train=VISION, gradient_checkpointing=True, max_steps=8)),
}
SMART = replace(SMART_RECIPES["paper"], epochs=4, batch_size=25, repr_size=16, hidden=16, dropout=0.0)

# Runs that stop after 4 of 6 steps, and go on elsewhere. Name: first here, then there; "" is one process.
RESUMED = {"fewer": ("fsdp", ""), "more": ("", "fsdp"), "otherwise": ("fsdp", "ddp")}
RESUMED_RECIPE = replace(ALIGN, max_steps=6, teacher="ema", ema_decay=0.5, **LORA)


class Stopped(BaseException):
    """Stands for a kill."""


def train_case(folder: Path, out: Path, model: str, recipe: Recipe, world: World, **how) -> None:
    adapter = build_tiny(seed=3) if model == "tiny" else load_huggingface(folder / model, device="cpu")
    examples = open_examples([folder / "pairs.jsonl"], recipe, skip_bad=True)
    task = stages.make_task(adapter, examples, recipe, skip_bad=True)
    loop.train(task, recipe, out, world=world, **how)


def train_equal(folder: Path, world: World, kind: str) -> None:
    for name, (model, recipe) in EQUAL.items():
        train_case(folder, folder / f"{name}-{kind or 'one'}", model, recipe, world)


def stop_or_go_on(folder: Path, world: World, kind: str, *, stop: bool) -> None:
    for name, kinds in RESUMED.items():
        if kinds[0 if stop else 1] == kind:
            one_step = loop._Run.one_step
            if stop:
                loop._Run.one_step = stopping  # type: ignore[method-assign]
            try:
                train_case(
                    folder, folder / f"resumed-{name}", "llava", RESUMED_RECIPE, world, checkpoint_every=4
                )
            except Stopped:
                pass
            finally:
                loop._Run.one_step = one_step  # type: ignore[method-assign]


def stopping(self, tell, one_step=loop._Run.one_step):
    if self.step == 5:
        raise Stopped
    return one_step(self, tell)


def train_smart_case(folder: Path, out: Path) -> None:
    how = {"vision": ["tiny-vit"], "text": "tiny", "device": "cpu", "cache": folder / "features"}
    train_smart(folder / "smart", SMART, out, seeds=(0,), **how)


def fail(folder: Path, world: World) -> None:
    """The second process fails while the first waits for its gradients; each writes what it is told."""
    if world.rank == 1:

        def full(*_):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        stages.SftTask.loss = full
    try:
        train_case(folder, folder / "failed", "llava", SFT, world)
    except Exception as error:
        (folder / f"failed-{world.rank}.json").write_text(json.dumps([type(error).__name__, str(error)]))


def lose_a_number(folder: Path, world: World) -> None:
    """The second process's loss becomes infinite; each writes what it is told."""
    loss = stages.SftTask.loss
    started = []

    def spoiled(self, micro, totals):
        value, parts = loss(self, micro, totals)
        started.append(1)
        return (value * float("inf") if world.rank == 1 and len(started) > 4 else value), parts

    stages.SftTask.loss = spoiled  # type: ignore[method-assign]
    try:
        recipe = replace(SFT, batch_size=4)  # two micro-batches of each process
        train_case(folder, folder / "lost", "tiny", recipe, world, checkpoint_every=1)
    except Exception as error:
        (folder / f"lost-{world.rank}.json").write_text(json.dumps([type(error).__name__, str(error)]))
    finally:
        stages.SftTask.loss = loss  # type: ignore[method-assign]
    world.gather(None)
    if world.is_main:  # the only error of a program is told, and here comes another
        torch.distributed.distributed_c10d._get_default_store().delete_key("vkit/error")
    world.gather(None)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = distributed.join("cpu")
    whole, parts = world, distributed._Launched(world.told, world.accelerator, sharded=True, reshard=True)
    for world, kind in ((whole, "ddp"), (parts, "fsdp")):
        stop_or_go_on(folder, world, kind, stop=True)
        train_equal(folder, world, kind)
    for world, kind in ((whole, "ddp"), (parts, "fsdp")):
        stop_or_go_on(folder, world, kind, stop=False)
    train_smart_case(folder, folder / "smart-ddp")
    lose_a_number(folder, whole)
    fail(folder, whole)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
