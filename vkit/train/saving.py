"""A run's saves and where it goes on: checkpoints, the trained model, and what a full disk leaves.

    saves = Saves(task, optimizer, names, Path("out"), world, keep=2)
    saves.checkpoint(progress)                   # out/checkpoints/step-00000200
    progress = saves.resume("auto")              # what to go on from; a new `Progress` where there is nothing
    saves.model()                                # out/model, and out/adapter

Nothing random is kept: the order of the records and dropout follow from the seed and the step alone.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.models.tensors import first_line
from vkit.train import checkpoint
from vkit.train.distributed import World
from vkit.train.sharding import like
from vkit.train.task import Task

CHECKPOINTS = "checkpoints"
RESUME = ("auto", "never")  # or the folder of a checkpoint


@dataclass
class Progress:
    """How far a run is: optimizer steps, answer tokens and seconds of them, what was told."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    warnings: list[dict[str, Any]] = field(default_factory=list)


class Saves:
    """What one run leaves in ``out`` beside its log.

    Args:
        names: of the optimizer's parameters, in its order.
        keep: how many checkpoints stay, the last ones.
    """

    def __init__(
        self,
        task: Task,
        optimizer: torch.optim.Optimizer,
        names: list[str],
        out: Path,
        world: World,
        *,
        keep: int = 2,
    ) -> None:
        self.task, self.optimizer, self.names = task, optimizer, names
        self.out, self.world, self.keep = out, world, keep
        self.folder = out / CHECKPOINTS

    @property
    def last(self) -> str:
        """The last checkpoint in words."""
        place = checkpoint.latest_checkpoint(self.folder)
        return f"the last checkpoint is {place}" if place else "there is no checkpoint yet"

    def checkpoint(self, progress: Progress) -> None:
        """Save the run as it is between two steps; every process calls this, the main one writes.

        Raises:
            VkitError: it cannot be written; the checkpoints before it stay as they were.
        """
        tensors = {
            **{f"model.{name}": parameter for name, parameter in self.task.trainable()},
            **self.task.extra_tensors(),
            **checkpoint.optimizer_tensors(self.optimizer, self.names),
        }
        copies = checkpoint.whole_copies(tensors, keep=self.world.is_main)
        state = {
            **asdict(progress),
            "refused": [asdict(refused) for refused in self.task.refused],
            "task": self.task.state(),
        }

        def write() -> None:
            with self._telling(self.folder):
                checkpoint.write_checkpoint(
                    self.folder, step=progress.step, tensors=copies, state=state, keep=self.keep
                )

        self.world.on_main(write)

    def resume(self, where: str | Path) -> Progress:
        """Go back to a checkpoint: weights, optimizer, task, and the progress that is returned.

        It may be of any number of processes, and of DDP or FSDP2.

        Args:
            where: "auto" or "never": the last one, if there is one. A checkpoint's folder: that one; later
                ones are removed, once it has been read.

        Raises:
            VkitError: the folder is no checkpoint of this run, or it is damaged.
        """
        found = self.world.ask_main(lambda: self._choose(where))
        if found is None:
            return Progress()
        tensors, state = checkpoint.load_checkpoint(found)
        try:
            with torch.no_grad():
                for name, parameter in self.task.trainable():
                    parameter.copy_(like(parameter, tensors[f"model.{name}"]))
                for name, value in self.task.extra_tensors().items():
                    value.copy_(like(value, tensors[name]))
            checkpoint.restore_optimizer(self.optimizer, self.names, tensors)
            self.task.restore(state["task"], state["refused"])
            progress = Progress(state["step"], state["tokens"], state["seconds"], state["warnings"])
        except KeyError as error:
            raise VkitError(f"{found} lacks {error.args[0]!r}; remove this checkpoint") from error
        self.world.on_main(lambda: self._remove_after(found))
        return progress

    def model(self) -> None:
        """``out/model``, complete or absent; LoRA factors beside it in ``out/adapter``. By one process."""
        model = self.task.adapter
        model.random_weights = False
        for torn in (*self.out.glob(".*model*.part*"), *self.out.glob(".adapter*.part")):  # of a kill
            shutil.rmtree(torn)
        if self.task.recipe.lora_rank:
            from vkit.models.lora import merge_added, save_adapter

            place = self.out / "adapter"
            with self._telling(place), checkpoint.appearing(place) as part:
                save_adapter(model, part)
            merge_added(model)
        place = self.out / "model"
        with self._telling(place), checkpoint.appearing(place) as part:
            model.save(part)

    def _choose(self, where: str | Path) -> Path | None:
        known = checkpoint.complete_checkpoints(self.folder)
        if where in RESUME:
            return known[-1] if known else None
        chosen = Path(where).resolve()
        found = [place for place in known if place.resolve() == chosen]
        if not found:
            names = ", ".join(place.name for place in known) or "none"
            raise VkitError(f"{where} is no checkpoint of {self.out}; it has {names} in {self.folder}")
        return found[0]

    def _remove_after(self, place: Path) -> None:
        known = checkpoint.complete_checkpoints(self.folder)
        for later in known[known.index(place) + 1 :]:
            checkpoint.remove(later)

    @contextmanager
    def _telling(self, place: Path) -> Iterator[None]:
        """What cannot be written is told with what is left."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, VkitError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, OSError):
                reason, full = cause.strerror or str(cause), cause.errno in _FULL
            elif isinstance(cause, SafetensorError):
                reason, full = first_line(cause), True
            else:
                raise
            todo = "free some space" if full else "mend it"
            raise VkitError(
                f"{place} cannot be written ({reason}); {self.last}; {todo}, the same command goes on"
            ) from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_resume(where: str | Path, out: Path) -> None:
    """Refuse to go on in ``out`` where that is not wanted, or not from there.

    Raises:
        VkitError: "never", and the folder holds a run; or what is no checkpoint of it.
    """
    if where == "never" and (out / "settings.json").exists():
        raise VkitError(f"{out} holds a run already; choose another --out, or give --resume auto to go on")
    if where not in RESUME and Path(where).resolve().parent != (out / CHECKPOINTS).resolve():
        raise VkitError(f"{where} is no checkpoint of {out}; those stand in {out / CHECKPOINTS}")
