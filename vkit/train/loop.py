"""The loop of every stage: steps that weigh each token alike, a log, checkpoints, exact resume.

    summary = train(task, recipe, Path("out/stage2"), progress=True)

    out/stage2/settings.json     what runs: recipe, digests of data and model
    out/stage2/log.jsonl         a step a line: loss and its parts, gradient norm, learning rate, tokens,
                                 speed, memory, and the seconds that the (main) process waited for records;
                                 of several processes' first step their number too
    out/stage2/checkpoints/      the last two, complete or absent
    out/stage2/stopped.json      of a loss that was no number: the step's values and all its records
    out/stage2/model/            the trained model, as load_model takes it
    out/stage2/summary.json      written last

Called again with the same settings it goes on where it was, and ends in exactly the weights of a run that
was never interrupted; a finished run is not repeated; other settings are refused the folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, read_jsonl, write_json
from vkit.models.protocol import weights_digest
from vkit.train.checkpoint import remove
from vkit.train.claim import claim
from vkit.train.data import Order
from vkit.train.distributed import World, check_precision, join
from vkit.train.loader import Loader
from vkit.train.optimizer import adamw, rate_factor
from vkit.train.recipes import Recipe
from vkit.train.saving import CHECKPOINTS, Progress, Saves, check_resume
from vkit.train.sharding import gather_model, whole
from vkit.train.step import Step, own_chunks, share_out
from vkit.train.task import Task
from vkit.train.trackers import Trackers, check_trackers, peak_mib, start_trackers

SUMMARY, STOPPED = "summary.json", "stopped.json"


def train(
    task: Task,
    recipe: Recipe,
    out: Path,
    *,
    checkpoint_every: int = 500,
    keep_checkpoints: int = 2,
    resume: str | Path = "auto",
    track: Sequence[str] = (),
    workers: int = 1,
    progress: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    world: World | None = None,
) -> dict[str, Any]:
    """Run a stage to its end; returns its summary, which stands in ``out`` too.

    Args:
        task: with a model on its device whose trainable parameters are chosen. With FSDP2 it cannot run any
            more afterwards.
        checkpoint_every: optimizer steps between checkpoints; keep_checkpoints: how many stay, the last ones.
        resume: "auto" goes on from the last checkpoint where there is one, "never" refuses a folder that
            holds a run, and the folder of one of this run's checkpoints goes back to that one.
        track: names of `vkit.train.trackers.TRACKERS` that are told each line of the log too.
        workers: threads of each process that encode records of the next step while one runs; 0: none, each
            step encodes its own. No result depends on them.
        progress: show a bar on stderr.
        tell: takes lines for people: what was resumed, warnings.
        world: the processes that train together, of `vkit.train.distributed.join`; None: those that were
            launched, each of which calls this. They see one file system.

    Raises:
        VkitError: ``out`` belongs to other settings, a record cannot be used, the disk is full, or the loss
            is no number (the last checkpoint is kept, and the records are named).
    """
    world = world or join(task.adapter.device.type)
    if not world.is_main:
        progress, tell = False, lambda line: None
    with world.together():
        check_precision(recipe.precision)
        check_trackers(track)
        if (summary := world.ask_main(lambda: _claimed(task, recipe, out, resume))) is not None:
            return summary
        # The main process holds the log, and with it the folder, until all stands there.
        log = world.on_main(lambda: JsonlStore(out / "log.jsonl"))
        with log or nullcontext():
            # Written by another while this one began?
            if (summary := world.ask_main(lambda: _finished(out))) is not None:
                return summary
            run = _Run(task, recipe, out, world, keep_checkpoints=keep_checkpoints, workers=workers)
            before = len(log.items) if log is not None else 0
            run.resume(log, tell, resume)
            if world.words:
                tell(f"{out.name}: {world.words}")
            names = track if world.is_main else ()
            watch = start_trackers(names, out, step=run.step, before=before, tell=tell)
            with watch as trackers, run.loader:
                _steps(run, log, trackers, checkpoint_every, progress, tell)
            return _finish(run)


def _claimed(task: Task, recipe: Recipe, out: Path, resume: str | Path) -> dict[str, Any] | None:
    check_resume(resume, out)
    out.mkdir(parents=True, exist_ok=True)
    claim(out, _settings(task, recipe))
    return _finished(out)


def _finished(out: Path) -> dict[str, Any] | None:
    if not (out / SUMMARY).is_file():
        return None
    remove(out / CHECKPOINTS)  # a kill at the very end may leave them
    return read_json(out / SUMMARY)


def _steps(
    run: _Run,
    log: JsonlStore | None,
    trackers: Trackers,
    checkpoint_every: int,
    progress: bool,
    tell: Callable[[str], None],
) -> None:
    """All steps that are left, each with its line and, where it is time, a checkpoint."""
    bar = _bar(run, progress)
    started_at = run.step
    while run.step < run.steps:
        line = run.one_step(tell)
        if log is not None:
            first = run.step == started_at + 1
            log.append({**line, **run.world.facts} if first else line)
        trackers.log(line)
        bar.set_postfix_str(" ".join(f"{k} {line[k]:.3f}" for k in _SHOWN if k in line), refresh=False)
        bar.update()
        if run.step % checkpoint_every == 0 and run.step < run.steps:
            run.saves.checkpoint(run.progress)
    bar.close()


def _finish(run: _Run) -> dict[str, Any]:
    """The model, then the summary, which says that all is there."""
    if run.world.sharded:
        gather_model(run.task.network, keep=run.world.is_main)

    def finish() -> dict[str, Any]:
        summary = run.summary()
        run.saves.model()
        write_json(run.out / SUMMARY, summary)
        remove(run.out / CHECKPOINTS)
        return summary

    return run.world.ask_main(finish)


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

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        out: Path,
        world: World | None = None,
        *,
        keep_checkpoints: int = 2,
        workers: int = 0,
    ) -> None:
        self.task, self.recipe, self.out = task, recipe, out
        self.world = world or World()
        self.count = len(task.examples)
        self.steps = planned_steps(self.count, recipe)
        self.order = Order(self.count, recipe.seed)
        self.progress = Progress()
        task.network.train()
        self.module = self.world.wrap(task)
        self.optimizer, names = adamw(task, recipe)
        self.saves = Saves(task, self.optimizer, names, out, self.world, keep=keep_checkpoints)
        # A step takes all its chunks at once, so all of the next one's are to be made while it runs.
        chunks = len(list(own_chunks(self.world, [range(recipe.batch_size)], recipe.micro_batch_size)))
        self.loader = Loader(task.read, self._chunks(), workers=workers, ahead=max(chunks, workers))

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self.progress.step

    def one_step(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """One optimizer step; returns its line of the log."""
        began, waited = time.perf_counter(), self.loader.waited_seconds
        known = len(self.task.refused)
        step = self._share_out()
        for refused in self.task.refused[known:]:
            tell(f"step {self.step + 1}: left out {refused.id}: {refused.reason}")
        waited = self.loader.waited_seconds - waited
        sums = self._backward(step)
        rate = self.recipe.lr * rate_factor(self.step, self.steps, self.recipe.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        limit = self.recipe.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in self.task.trainable()], limit)
        losses = self.world.sum(torch.stack([value.float() for value in sums.values()]))
        norm = whole(norm).to(losses)  # on the CPU where nothing has a gradient
        line = dict(zip([*sums, "grad_norm"], torch.cat([losses, norm[None]]).tolist()))  # one wait for it
        if not all(math.isfinite(value) for value in line.values()):
            self._refuse(line, step.ids)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        self.progress.step += 1
        self.progress.tokens += step.totals.tokens
        self.progress.seconds += seconds
        warning = self.task.after_step(line)
        if warning:
            self.progress.warnings.append({"step": self.step, "warning": warning})
            tell(f"step {self.step}: {warning}")
        return {
            "step": self.step,
            "epoch": round(self._place(self.step) / self.count, 4),
            **line,
            "lr": rate,
            "tokens": step.totals.tokens,
            "seconds": round(seconds, 4),
            "waited_seconds": round(waited, 4),
            "tokens_per_second": round(step.totals.tokens / seconds, 1),
            "peak_mib": peak_mib(self.task.adapter.device),
            **({"warning": warning} if warning else {}),
        }

    def _backward(self, step: Step) -> dict[str, Tensor]:
        """The gradients of the step; this process's share of its loss and of the parts of it, detached."""
        sums: dict[str, Tensor] = {}
        try:
            for place, turn in enumerate(step.turns, 1):
                turn.seed(self.recipe.seed, self.step)
                with self.world.synchronised(self.module, place == len(step.turns)):
                    loss, parts = self.module(turn.micro, step.totals)
                    # No gradient where only the pictures' side learns, and there is no picture. Of the
                    # processes the mean is taken, and the step's loss is a sum.
                    if loss.requires_grad:
                        (loss * (self.world.size * turn.counts)).backward()
                for name, value in {"loss": loss.detach(), **parts}.items():
                    sums[name] = sums.get(name, 0) + value * turn.counts
        except torch.OutOfMemoryError as error:
            raise VkitError(
                f"step {self.step + 1}: the memory of {self.task.adapter.device} does not hold"
                f" {max(turn.micro.items for turn in step.turns)} records at once; lower micro_batch_size, or"
                " set gradient_checkpointing=true"
            ) from error
        return sums

    def resume(self, log: JsonlStore | None, tell: Callable[[str], None], where: str | Path = "auto") -> None:
        """Go back to a checkpoint, as `Saves.resume` says, and cut the log to its step."""
        self.progress = self.saves.resume(where)
        if self.step:
            tell(f"resumed at step {self.step} of {self.steps}")
        if log is not None:
            log.cut(self.step)  # what came after it is done again
            (self.out / STOPPED).unlink(missing_ok=True)

    def summary(self) -> dict[str, Any]:
        lines = [line for _, line in read_jsonl(self.out / "log.jsonl")][-20:]
        parts = [key for key in lines[-1] if key in ("loss", *_PARTS)]
        return {
            "steps": self.steps,
            "examples": self.count,
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 1),
            "trainable_parameters": sum(p.numel() for _, p in self.task.trainable()),
            # Of the last steps, which differ from one another by their records.
            **{key: sum(line[key] for line in lines) / len(lines) for key in parts},
            "warnings": self.progress.warnings,
            "left_out": self.task.examples.left_out,
            "refused": [asdict(r) for r in (*self.task.examples.refused, *self.task.refused)],
        }

    def _share_out(self) -> Step:
        """The step's records, encoded. Raises where none is left."""
        size = self._place(self.step + 1) - self._place(self.step)
        step = share_out(self.task, self.world, self.loader, size, self.recipe.micro_batch_size)
        if not step.turns:
            last = self.task.refused[-1]
            raise VkitError(
                f"step {self.step + 1}: none of its {size} records can be used, the last for: {last.reason};"
                " check the data, or raise batch_size"
            )
        return step

    def _chunks(self) -> Iterator[Sequence[int]]:
        """This process's part of the records of all steps that are left when the first of them is taken."""
        places = ((self._place(step), self._place(step + 1)) for step in range(self.step, self.steps))
        steps = (self.order.take(start, stop - start) for start, stop in places)
        yield from own_chunks(self.world, steps, self.recipe.micro_batch_size)

    def _place(self, step: int) -> int:
        """Where in the order of the records a step begins; the last one may take less than a batch."""
        place = step * self.recipe.batch_size
        return place if self.recipe.max_steps else min(place, _planned_records(self.count, self.recipe))

    def _refuse(self, line: dict[str, float], ids: list[str]) -> NoReturn:
        """Stop before the step changes anything. The values are of all processes, and so all of them do."""
        bad = [name for name, value in line.items() if not math.isfinite(value)]
        values = {name: value if math.isfinite(value) else str(value) for name, value in line.items()}
        stopped = {"step": self.step + 1, "values": values, "records": ids}
        self.world.on_main(lambda: write_json(self.out / STOPPED, stopped))
        raise VkitError(
            f"step {self.step + 1}: {', '.join(bad)} is not a number; records {', '.join(ids[:8])}"
            f"{f' and {len(ids) - 8} others' if len(ids) > 8 else ''} (all in {self.out / STOPPED});"
            f" {self.saves.last}; lower lr or look at them, the weights are as before this step"
        )


_PARTS = ("kl_weak_strong", "kl_strong_weak", "cross_entropy", "strong_cross_entropy")


def _settings(task: Task, recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(recipe).items()},
        "kind": type(recipe).__name__,
        "data": task.examples.digest,
        "examples": len(task.examples),
        "model": weights_digest(task.adapter),
    }


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
