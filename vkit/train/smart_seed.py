"""One seed of SmarterVLM's training: epochs from features, the best of them tested, exact resume.

    scores = train_seed(data, features, config, recipe, Path("runs/smart/seed-0"), seed=0, device=device)

    seed-0/config.json              the model's shape, for `load_smarter`
    seed-0/log.jsonl                a step a line: loss, gradient norm, learning rate; then the epoch's line
    seed-0/checkpoint/              after the last epoch, complete or absent; removed at the end
    seed-0/best.safetensors         of the epoch with the best validation S_acc (the first of equals)
    seed-0/predictions-val.jsonl, predictions-test.jsonl        of these weights, for ``vkit score``
    seed-0/scores.json              written last

A run that was killed goes on after its last whole epoch and ends in the same bytes. The order of the rows
depends on the seed alone; on one machine and device everything else does too. Several processes share the
rows of each step, and the main one scores; the loss is that of one process, but for the rows' dropout.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, write_bytes, write_json
from vkit.models.smarter import SmartBatch, Smarter, smart_loss
from vkit.models.smarter_config import SmarterConfig
from vkit.models.tensors import read_tensors
from vkit.train import checkpoint
from vkit.train.data import Order
from vkit.train.distributed import World
from vkit.train.schedule import warmup_cosine
from vkit.train.smart_data import FeatureSource, SmartData, prefetch
from vkit.train.smart_recipe import SmartRecipe
from vkit.train.smart_scores import Evaluation, evaluate_smart, plain_scores, write_predictions

SCORES, LOG, WEIGHTS, CONFIG = "scores.json", "log.jsonl", "best.safetensors", "config.json"
_LOG_EVERY = 50  # steps whose lines are written together


def train_seed(
    data: SmartData,
    features: FeatureSource,
    config: SmarterConfig,
    recipe: SmartRecipe,
    out: Path,
    *,
    seed: int,
    device: torch.device,
    workers: int = 1,
    progress: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    world: World | None = None,
) -> dict[str, Any]:
    """Train and test one model; returns what stands in ``out/scores.json``.

    Args:
        world: the processes that train together, each of which calls this; None: this one alone.

    Raises:
        VkitError: another run trains in ``out``, the loss or its gradient is no number, or the device's
            memory does not hold a batch.
    """
    world = world or World()
    progress = progress and world.is_main
    if (scores := world.ask_main(lambda: _finished(out))) is not None:
        return scores
    log = world.on_main(lambda: _open_log(out))
    with world.together(), log or nullcontext():  # the log is held to the end: one run a folder
        if (scores := world.ask_main(lambda: _finished(out))) is not None:
            return scores
        run = _SeedRun(data, features, config, recipe, out, seed, device, workers, world)
        run.resume(log, tell)
        with _bar(run, progress) as bar:
            while not run.finished:
                line = run.one_epoch(log, bar)
                if progress and not sys.stderr.isatty():  # where no bar shows
                    accuracy = line["val"]["overall"]["S_acc"]
                    tell(
                        f"{out.name}: epoch {line['epoch']} of {recipe.epochs},"
                        f" loss {line['train_loss']:.3f}, S_acc {accuracy:.2f} on validation"
                    )
        return world.ask_main(run.finish)


def _finished(out: Path) -> dict[str, Any] | None:
    return read_json(out / SCORES) if (out / SCORES).is_file() else None


def _open_log(out: Path) -> JsonlStore:
    out.mkdir(parents=True, exist_ok=True)
    return JsonlStore(out / LOG)


def load_smarter(folder: Path, device: torch.device | str = "cpu") -> Smarter:
    """The trained model of a seed's folder, in eval mode.

    Raises:
        VkitError: the folder holds no finished weights, or they are damaged.
    """
    if not (folder / WEIGHTS).is_file():
        raise VkitError(f"{folder} holds no {WEIGHTS}; give the folder of a seed, such as runs/smart/seed-0")
    model = Smarter(SmarterConfig(**read_json(folder / CONFIG)))
    _load_weights(model, folder / WEIGHTS)
    return model.to(device).eval()


class _SeedRun:
    """The state of a seed between two epochs."""

    def __init__(
        self,
        data: SmartData,
        features: FeatureSource,
        config: SmarterConfig,
        recipe: SmartRecipe,
        out: Path,
        seed: int,
        device: torch.device,
        workers: int,
        world: World,
    ) -> None:
        self.world = world
        self.data, self.features, self.recipe, self.out = data, features, recipe, out
        self.seed, self.device, self.workers = seed, device, workers
        torch.manual_seed(seed)
        self.model = Smarter(config).to(device)
        self.module = world.wrap(self.model)
        self.place_of = {puzzle: place for place, puzzle in enumerate(data.classes)}
        self.optimizer, self.names = _optimizer(self.model, recipe)
        self.order = Order(len(data.parts["train"]), seed)
        self.steps_an_epoch = math.ceil(self.order.count / recipe.batch_size)
        self.epoch = self.step = self.lines = self.best_epoch = 0
        self.best_accuracy = -1.0

    @property
    def finished(self) -> bool:
        patience = self.recipe.patience
        stale = patience > 0 and self.epoch - self.best_epoch >= patience
        return self.epoch >= self.recipe.epochs or stale

    def one_epoch(self, log: JsonlStore | None, bar: Any) -> dict[str, Any]:
        """Train an epoch, score the validation part, keep the weights if they are the best, and save.

        Returns the epoch's line of the log.
        """
        began, losses, lines = time.perf_counter(), [], []
        self.model.train()
        chunks = list(self._chunks())
        batches = prefetch(self._batch, chunks, workers=self.workers)
        for places, batch in zip(chunks, batches, strict=True):
            line = self._one_step(batch.to(self.device), places)
            losses.append(line["loss"])
            lines.append(line)
            if len(lines) == _LOG_EVERY:
                self._write(log, lines)
                lines = []
            bar.set_postfix_str(f"loss {line['loss']:.3f}", refresh=False)
            bar.update()
        trained = time.perf_counter()
        val, val_loss = self.world.ask_main(self._validate)
        self.epoch += 1
        accuracy = val["overall"]["S_acc"]
        if accuracy > self.best_accuracy:
            self.best_epoch, self.best_accuracy = self.epoch, accuracy
            self.world.on_main(self._save_weights)
        line = {
            "epoch": self.epoch,
            "train_loss": sum(losses) / len(losses),
            "train_seconds": round(trained - began, 3),
            "val_loss": val_loss,
            "val_seconds": round(time.perf_counter() - trained, 3),
            "val": val,
        }
        self._write(log, [*lines, line])
        self.world.on_main(self._save)
        return line

    def finish(self) -> dict[str, Any]:
        """Test, and leave the folder as a finished one."""
        scores = self.test()
        write_json(self.out / SCORES, scores)
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)
        return scores

    def test(self) -> dict[str, Any]:
        """The best epoch's weights on validation and test part; writes their predictions."""
        _load_weights(self.model, self.out / WEIGHTS)
        scores: dict[str, Any] = {
            "seed": self.seed,
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "steps": self.step,
        }
        for part in ("val", "test"):
            found = self._evaluate(part)
            write_predictions(self.out / f"predictions-{part}.jsonl", found.predictions)
            scores[part] = found.report
        return scores

    def resume(self, log: JsonlStore | None, tell: Callable[[str], None]) -> None:
        """Go back to the last whole epoch, and cut the log to it."""
        folder = self.out / "checkpoint"
        found = self.world.ask_main(lambda: checkpoint.latest_checkpoint(folder))
        if found is not None:
            tensors, state = checkpoint.load_checkpoint(found)
            weights = {name: tensors[f"model.{name}"] for name in self.model.state_dict()}
            self.model.load_state_dict(weights)
            checkpoint.restore_optimizer(self.optimizer, self.names, tensors)
            for name in ("epoch", "step", "lines", "best_epoch", "best_accuracy"):
                setattr(self, name, state[name])
            tell(f"{self.out.name}: resumed after epoch {self.epoch} of {self.recipe.epochs}")
        if log is not None:
            log.cut(self.lines)  # what came after it is done again

    def _chunks(self) -> Iterator[list[int]]:
        """The epoch's rows, a step each, as places in the data."""
        places, count, size = self.data.parts["train"], self.order.count, self.recipe.batch_size
        for start in range(0, count, size):
            taken = self.order.take(self.epoch * count + start, min(size, count - start))
            yield [places[place] for place in taken]

    def _batch(self, places: Any) -> SmartBatch:
        """This process's rows of a step; where there are fewer than processes, one that will not count."""
        mine = places[self.world.rank :: self.world.size]
        return self.data.batch(self.features, mine or places[:1])

    def _one_step(self, batch: SmartBatch, places: list[int]) -> dict[str, Any]:
        """One optimizer step; returns its line of the log. places: the rows of all processes."""
        where = f"{self.out.name}, step {self.step + 1}"
        rank, size = self.world.rank, self.world.size
        counts = rank < len(places)
        others = [self.place_of[self.data.items[p].puzzle] for i, p in enumerate(places) if i % size != rank]
        # Dropout depends on nothing that ran before, and so not on where a run was interrupted.
        torch.manual_seed((self.seed << 31) + (self.step * size + rank) % 2**31)
        try:
            share = smart_loss(self.module(batch), batch, torch.tensor(others, dtype=torch.long)) * counts
            (share * size).backward()  # of the processes the mean is taken
            loss = self.world.sum(share.detach())
        except torch.OutOfMemoryError as error:
            raise VkitError(
                f"{where}: the memory of {self.device} does not hold {len(batch.puzzle)} questions; lower"
                " batch_size"
            ) from error
        except VkitError as error:
            raise VkitError(f"{where}: {error}") from error
        limit = self.recipe.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        loss_value, norm_value = torch.stack([loss, norm]).tolist()  # one wait for the device
        if not math.isfinite(norm_value):
            raise VkitError(f"{where}: the gradient is no number; lower lr")
        steps = self.steps_an_epoch * self.recipe.epochs
        rate = self.recipe.lr * warmup_cosine(self.step, steps, self.recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {"step": self.step, "loss": loss_value, "grad_norm": norm_value, "lr": rate}

    def _validate(self) -> tuple[dict[str, Any], float]:
        """Scores and loss of the validation part."""
        found = self._evaluate("val")
        return plain_scores(found.report), found.loss

    def _evaluate(self, part: str) -> Evaluation:
        return evaluate_smart(self.model, self.data, self.features, part, workers=self.workers)

    def _write(self, log: JsonlStore | None, lines: list[dict[str, Any]]) -> None:
        if log is not None:
            log.extend(lines)
        self.lines += len(lines)

    def _save_weights(self) -> None:
        """And beside them what `load_smarter` needs to know of them."""
        from safetensors.torch import save

        tensors = {name: value.cpu().contiguous() for name, value in self.model.state_dict().items()}
        write_json(self.out / CONFIG, asdict(self.model.config))
        write_bytes(self.out / WEIGHTS, save(tensors, metadata={"format": "pt"}))

    def _save(self) -> None:
        """A checkpoint after the epoch. The best weights are on the disk already; where a kill comes between,
        the epoch is done again and writes the same."""
        names = ("epoch", "step", "lines", "best_epoch", "best_accuracy")
        weights: dict[str, Tensor] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        checkpoint.save_checkpoint(
            self.out / "checkpoint",
            step=self.step,
            tensors={**weights, **checkpoint.optimizer_tensors(self.optimizer, self.names)},
            state={name: getattr(self, name) for name in names},
            keep=1,
        )


def _optimizer(model: Smarter, recipe: SmartRecipe) -> tuple[torch.optim.Optimizer, list[str]]:
    """AdamW with decay of weight matrices alone, and the names of its parameters in its order."""
    named = list(model.named_parameters())
    # By name too: a grouped layer's biases are a matrix, a puzzle a row.
    decayed = [(name, p) for name, p in named if p.ndim > 1 and not name.endswith("bias")]
    chosen = {name for name, _ in decayed}
    kept = [(name, p) for name, p in named if name not in chosen]
    groups = [
        {"params": [p for _, p in decayed], "weight_decay": recipe.weight_decay},
        {"params": [p for _, p in kept], "weight_decay": 0.0},
    ]
    betas = (recipe.beta1, recipe.beta2)
    on_cpu = named[0][1].device.type == "cpu"
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, eps=recipe.adam_eps, fused=on_cpu)
    return optimizer, [name for name, _ in (*decayed, *kept)]


def _load_weights(model: Smarter, path: Path) -> None:
    try:
        model.load_state_dict(dict(read_tensors(path)))
    except RuntimeError as error:
        raise VkitError(
            f"{path} does not fit the {CONFIG} beside it; train again into a new folder"
        ) from error


def _bar(run: _SeedRun, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=run.steps_an_epoch * run.recipe.epochs,
        initial=run.step,
        desc=run.out.name,
        unit=" steps",
        disable=None if progress else True,
        mininterval=0.5,
    )
