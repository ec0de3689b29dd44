"""Tells trackers what stands in the log: TensorBoard, Weights & Biases, Trackio.

    with start_trackers(["tensorboard"], Path("out/stage2"), step=400, before=412, tell=print) as trackers:
        trackers.log({"step": 401, "loss": 1.25, "seconds": 0.4})

log.jsonl has all of it; where a tracker fails, people are told once, it is left alone, and the training goes
on. A run that is resumed goes on in the tracker's same run, whose id stands in ``out/trackers.json``, and no
step stands there twice.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

import torch

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json

PROJECT = "vkit"
_NAME = "trackers.json"


class Tracker(Protocol):
    """One service that is told numbers by step."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def finish(self) -> None: ...


@contextmanager
def start_trackers(
    names: Sequence[str], out: Path, *, step: int, before: int, tell: Callable[[str], None]
) -> Iterator[Trackers]:
    """Trackers of the run in ``out``; they are finished at the end.

    Args:
        names: of `TRACKERS`.
        step: where the run goes on; before: how far it was before a kill, and may have told.
        tell: takes a line for people where a tracker fails.
    """
    trackers = Trackers(names, out, step, before, tell)
    try:
        yield trackers
    finally:
        trackers.finish()


def check_trackers(names: Sequence[str]) -> None:
    """Raises `VkitError` where a tracker is not known, or its package is not there."""
    for name in names:
        if name not in TRACKERS:
            raise VkitError(f"tracker {name!r} is not known; known: {', '.join(TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            extra = " (or 'vkit[track]')" if name == "tensorboard" else ""
            raise VkitError(f"--track {name} needs the package {name}; pip install {name}{extra}")


class Trackers:
    """Several trackers as one that never fails."""

    def __init__(
        self, names: Sequence[str], out: Path, step: int, before: int, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._live: dict[str, Tracker] = {}
        self._out = out
        for name in dict.fromkeys(names):  # one that is given twice is told once
            with self._forgiving(name):
                self._live[name] = TRACKERS[name](out, self._id(), step, before)

    def log(self, line: Mapping[str, Any]) -> None:
        """The numbers of a line of the log, at its step."""
        values = {f"train/{name}": value for name, value in line.items() if isinstance(value, (int, float))}
        step = int(values.pop("train/step"))
        for name, tracker in list(self._live.items()):
            with self._forgiving(name):
                tracker.log(step, values)

    def finish(self) -> None:
        for name, tracker in list(self._live.items()):
            with self._forgiving(name):
                tracker.finish()

    def _id(self) -> str:
        """Of this run, drawn once."""
        place = self._out / _NAME
        if not place.is_file():
            write_json(place, {"id": uuid.uuid4().hex[:12]})
        return str(read_json(place)["id"])

    @contextmanager
    def _forgiving(self, name: str) -> Iterator[None]:
        """What a tracker prints is for people; whatever it raises, the training goes on without it."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self._live.pop(name, None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._tell(f"tracking by {name} failed ({reason}); the run goes on without it, log.jsonl has all")


class _TensorBoard:
    """``out/tensorboard``, for ``tensorboard --logdir``."""

    def __init__(self, out: Path, run_id: str, step: int, before: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run wrote after its checkpoint is hidden, and written again.
        self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of the project `PROJECT`, or of what the environment (WANDB_PROJECT) says."""

    def __init__(self, out: Path, run_id: str, step: int, before: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            name=_name(out),
            dir=str(out),
            config=read_json(out / "settings.json"),
            resume="allow",
        )
        # Steps that stand there from before a kill; offline, wandb does not know them itself.
        self._next = before + 1 if self._run.offline else self._run.step

    def log(self, step: int, values: dict[str, float]) -> None:
        if step >= self._next:
            self._run.log(values, step=step)

    def finish(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of the project `PROJECT`; Trackio knows runs by their names."""

    def __init__(self, out: Path, run_id: str, step: int, before: int) -> None:
        import trackio

        self._run = trackio.init(
            project=PROJECT,
            name=f"{_name(out)}-{run_id[:4]}",
            config=read_json(out / "settings.json"),
            resume="allow",
        )
        self._before = before

    def log(self, step: int, values: dict[str, float]) -> None:
        if step > self._before:  # the others stand there
            self._run.log(values, step=step)

    def finish(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, str, int, int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}


def peak_mib(device: torch.device) -> float:
    """The most memory that this process ever took: what PyTorch gave out of a GPU's, else main memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _name(out: Path) -> str:
    """Of a run for people: a stage's number alone says too little."""
    return "-".join(out.resolve().parts[-2:])
