"""The loop of every stage: steps that weigh each token alike, a log, checkpoints, exact resume.

    summary = train(task, recipe, Path("out/stage2"), progress=True)

    out/stage2/settings.json     what runs: recipe, digests of data and model
    out/stage2/log.jsonl         a step a line: loss and its parts, gradient norm, learning rate, tokens
    out/stage2/checkpoints/      the last two, complete or absent
    out/stage2/model/            the trained model, as load_model takes it
    out/stage2/summary.json      written last

Called again with the same settings it goes on where it was, and ends in exactly the weights of a run that
was never interrupted; a finished run is not repeated; other settings are refused the folder.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, read_jsonl, write_json
from vkit.models.protocol import weights_digest
from vkit.train import checkpoint
from vkit.train.claim import claim
from vkit.train.data import Order
from vkit.train.recipes import Recipe
from vkit.train.schedule import warmup_cosine
from vkit.train.task import Micro, Task, Totals

SUMMARY = "summary.json"


def train(
    task: Task,
    recipe: Recipe,
    out: Path,
    *,
    checkpoint_every: int = 500,
    progress: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run a stage to its end; returns its summary, which stands in ``out`` too.

    Args:
        task: with a model on its device whose trainable parameters are chosen.
        checkpoint_every: optimizer steps between checkpoints.
        progress: show a bar on stderr.
        tell: takes lines for people: what was resumed, warnings.

    Raises:
        VkitError: ``out`` belongs to other settings, a record cannot be used, or the loss is no number (the
            last checkpoint is kept, and the records are named).
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = _settings(task, recipe)
    claim(out, settings)
    if (out / SUMMARY).is_file():
        return read_json(out / SUMMARY)
    # One process holds the log, and with it the folder, until all stands there.
    with JsonlStore(out / "log.jsonl") as log:
        if (out / SUMMARY).is_file():  # written by another while this one began
            return read_json(out / SUMMARY)
        run = _Run(task, recipe, out)
        run.resume(log, tell)
        bar = _bar(run, progress)
        while run.step < run.steps:
            line = run.one_step(tell)
            log.append(line)
            bar.set_postfix_str(" ".join(f"{k} {line[k]:.3f}" for k in _SHOWN if k in line), refresh=False)
            bar.update()
            if run.step % checkpoint_every == 0 and run.step < run.steps:
                run.save()
        bar.close()
        summary = run.summary()
        _save_model(task, out)
        write_json(out / SUMMARY, summary)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return summary


def planned_steps(records: int, recipe: Recipe) -> int:
    """Optimizer steps of a stage.

    Raises:
        VkitError: the epochs come to no record, or to no number of records.

    >>> planned_steps(1000, Recipe(batch_size=300)), planned_steps(1000, Recipe(max_steps=7))
    (4, 7)
    """
    return recipe.max_steps or math.ceil(_planned_records(records, recipe) / recipe.batch_size)


def _planned_records(records: int, recipe: Recipe) -> int:
    planned = records * recipe.epochs
    if not 0.5 < planned < 2**53:
        raise VkitError(
            f"epochs={recipe.epochs} of {records} records come to {planned:.3g} records to learn from; choose"
            " other epochs, or max_steps"
        )
    return round(planned)


_SHOWN = ("loss", "kl_weak_strong", "cross_entropy")


class _Run:
    """The state of one stage between two steps."""

    def __init__(self, task: Task, recipe: Recipe, out: Path) -> None:
        self.task, self.recipe, self.out = task, recipe, out
        self.count = len(task.examples)
        self.steps = planned_steps(self.count, recipe)
        self.order = Order(self.count, recipe.seed)
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.warnings: list[dict[str, Any]] = []
        torch.manual_seed(recipe.seed)
        self.optimizer, self.names = _optimizer(task, recipe)
        task.network.train()

    def one_step(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """One optimizer step; returns its line of the log."""
        began = time.perf_counter()
        micros = self._prepare()
        totals = Totals(sum(m.tokens for m in micros), sum(m.items for m in micros))
        sums = self._backward(micros, totals)
        rate = self.recipe.lr * _schedule(self.step, self.steps, self.recipe.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        limit = self.recipe.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in self.task.trainable()], limit)
        norm = norm.to(sums["loss"].device)  # on the CPU where nothing has a gradient
        values = torch.stack([*(sums[k].float() for k in sums), norm.float()]).tolist()  # one wait for it
        line = dict(zip([*sums, "grad_norm"], values))
        if not all(math.isfinite(value) for value in line.values()):
            self._refuse(line, [id_ for micro in micros for id_ in micro.ids])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += totals.tokens
        seconds = time.perf_counter() - began
        self.seconds += seconds
        warning = self.task.after_step(line)
        if warning:
            self.warnings.append({"step": self.step, "warning": warning})
            tell(f"step {self.step}: {warning}")
        return {
            "step": self.step,
            "epoch": round(self._place(self.step) / self.count, 4),
            **line,
            "lr": rate,
            "tokens": totals.tokens,
            "seconds": round(seconds, 4),
            **({"warning": warning} if warning else {}),
        }

    def _backward(self, micros: list[Micro], totals: Totals) -> dict[str, Tensor]:
        """The gradients of the step; its loss and the parts of it, detached."""
        sums: dict[str, Tensor] = {}
        try:
            for micro in micros:
                loss, parts = self.task(micro, totals)
                if loss.requires_grad:  # not where only the picture's side learns, and there is no picture
                    loss.backward()
                for name, value in {"loss": loss.detach(), **parts}.items():
                    sums[name] = sums.get(name, 0) + value
        except torch.OutOfMemoryError as error:
            raise VkitError(
                f"step {self.step + 1}: the memory of {self.task.adapter.device} does not hold"
                f" {max(micro.items for micro in micros)} records at once; lower micro_batch_size, or set"
                " gradient_checkpointing=true"
            ) from error
        return sums

    def save(self) -> None:
        weights = {f"model.{name}": parameter for name, parameter in self.task.trainable()}
        random = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["random.cuda"] = torch.cuda.get_rng_state()
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "warnings": self.warnings,
            "refused": [asdict(refused) for refused in self.task.refused],
            "task": self.task.state(),
        }
        checkpoint.save_checkpoint(
            self.out / "checkpoints",
            step=self.step,
            tensors={
                **weights,
                **random,
                **self.task.extra_tensors(),
                **checkpoint.optimizer_tensors(self.optimizer, self.names),
            },
            state=state,
        )

    def resume(self, log: JsonlStore, tell: Callable[[str], None]) -> None:
        """Go back to the last complete checkpoint, and cut the log to its step."""
        found = checkpoint.latest_checkpoint(self.out / "checkpoints")
        if found is not None:
            tensors, state = checkpoint.load_checkpoint(found)
            with torch.no_grad():
                for name, parameter in self.task.trainable():
                    parameter.copy_(tensors[f"model.{name}"])
                for name, value in self.task.extra_tensors().items():
                    value.copy_(tensors[name])
            checkpoint.restore_optimizer(self.optimizer, self.names, tensors)
            torch.set_rng_state(tensors["random.cpu"])
            if torch.cuda.is_available() and "random.cuda" in tensors:
                torch.cuda.set_rng_state(tensors["random.cuda"])
            self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
            self.warnings = state["warnings"]
            self.task.restore(state["task"], state["refused"])
            tell(f"resumed at step {self.step} of {self.steps}")
        log.cut(self.step)  # what came after it is done again

    def summary(self) -> dict[str, Any]:
        lines = [line for _, line in read_jsonl(self.out / "log.jsonl")][-20:]
        parts = [key for key in lines[-1] if key in ("loss", *_PARTS)]
        return {
            "steps": self.steps,
            "examples": self.count,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "trainable_parameters": sum(p.numel() for _, p in self.task.trainable()),
            # Of the last steps, which differ from one another by their records.
            **{key: sum(line[key] for line in lines) / len(lines) for key in parts},
            "warnings": self.warnings,
            "left_out": self.task.examples.left_out,
            "refused": [asdict(r) for r in (*self.task.examples.refused, *self.task.refused)],
        }

    def _prepare(self) -> list[Micro]:
        """The step's records, encoded. Raises where none is left."""
        start = self._place(self.step)
        size = self._place(self.step + 1) - start
        indices = self.order.take(start, size)
        part = self.recipe.micro_batch_size or size
        found = [self.task.prepare(indices[i : i + part]) for i in range(0, size, part)]
        micros = [micro for micro in found if micro is not None]
        if not micros:
            last = self.task.refused[-1]
            raise VkitError(
                f"step {self.step + 1}: none of its {size} records can be used, the last for: {last.reason};"
                " check the data, or raise batch_size"
            )
        return micros

    def _place(self, step: int) -> int:
        """Where in the order of the records a step begins; the last one may take less than a batch."""
        place = step * self.recipe.batch_size
        return place if self.recipe.max_steps else min(place, _planned_records(self.count, self.recipe))

    def _refuse(self, line: dict[str, float], ids: list[str]) -> None:
        bad = [name for name, value in line.items() if not math.isfinite(value)]
        raise VkitError(
            f"step {self.step + 1}: {', '.join(bad)} is not a number; records {', '.join(ids[:8])}"
            f"{' and others' if len(ids) > 8 else ''}; the weights are as before it; lower lr or look at them"
        )


_PARTS = ("kl_weak_strong", "kl_strong_weak", "cross_entropy", "strong_cross_entropy")


def _optimizer(task: Task, recipe: Recipe) -> tuple[torch.optim.Optimizer, list[str]]:
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


def _schedule(step: int, steps: int, warmup_ratio: float) -> float:
    """Linear warm-up, then half a cosine down to 0, as a factor of the peak; ``step`` counts from 0."""
    return warmup_cosine(step, steps, max(1, math.ceil(steps * warmup_ratio)) if warmup_ratio else 0)


def _settings(task: Task, recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(recipe).items()},
        "kind": type(recipe).__name__,
        "data": task.examples.digest,
        "examples": len(task.examples),
        "model": weights_digest(task.adapter),
    }


def _save_model(task: Task, out: Path) -> None:
    """``out/model``, complete or absent; LoRA factors beside it in ``out/adapter``."""
    model = task.adapter
    model.random_weights = False
    for torn in out.glob(".*model.part*"):  # of a kill during a save
        shutil.rmtree(torn, ignore_errors=True)
    part = out / ".model.part"
    if task.recipe.lora_rank:
        from vkit.models.lora import merge_added, save_adapter

        save_adapter(model, out / "adapter")
        merge_added(model)
    model.save(part)
    shutil.rmtree(out / "model", ignore_errors=True)
    part.rename(out / "model")


def _bar(run: _Run, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=run.steps,
        initial=run.step,
        desc=run.out.name,
        unit=" steps",
        disable=None if progress else True,
        mininterval=1,
    )
