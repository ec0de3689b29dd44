"""Checkpoints that are complete or absent: tensors without pickle, in a folder that appears by one rename.

    save_checkpoint(Path("out/checkpoints"), step=200, tensors=tensors, state={"step": 200}, keep=2)
    found = latest_checkpoint(Path("out/checkpoints"))    # None, or its folder
    tensors, state = load_checkpoint(found)

    with appearing(Path("out/model")) as part:            # any other folder, in the same way
        model.save(part / "anything")

A kill during a save or a removal leaves a folder whose name begins with a dot, which is never read and is
removed by the next save.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json
from vkit.models.tensors import write_tensors
from vkit.train.sharding import like, whole

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def save_checkpoint(
    folder: Path, *, step: int, tensors: Mapping[str, Tensor], state: dict[str, Any], keep: int = 2
) -> Path:
    """Write ``folder/step-000200`` and remove all but the last ``keep``; returns its path.

    Where writing fails, the checkpoints stay as they were.
    """
    copies = whole_copies(tensors, keep=True)
    return write_checkpoint(folder, step=step, tensors=copies, state=state, keep=keep)


def write_checkpoint(
    folder: Path, *, step: int, tensors: Mapping[str, Tensor], state: dict[str, Any], keep: int = 2
) -> Path:
    """`save_checkpoint` of what `whole_copies` made."""
    place = folder / f"step-{step:08d}"
    for torn in folder.glob(".*.part"):
        shutil.rmtree(torn)
    with appearing(place) as part:
        write_tensors(part / _TENSORS, tensors)
        write_json(part / _STATE, state)
    for old in complete_checkpoints(folder)[:-keep]:
        remove(old)
    return place


def whole_copies(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Copies in main memory, none where ``keep`` is False; a tensor may be spread over several processes.

    Each of these calls this, for they make tensors whole together, one at a time.
    """
    copies = {}
    for name, tensor in tensors.items():
        full = whole(tensor.detach())
        if keep:  # a copy each, for safetensors takes no two tensors of one memory
            copies[name] = full.to("cpu", copy=True)
    return copies


@contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``place`` by a rename at the end, and replaces what is there.

    Its files are on the disk by then. Where the end is not reached, ``place`` stays as it was; a kill between
    the renames away and to it leaves it absent. A link is followed, to where its folder is.
    """
    place = place.resolve()
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for path in part.rglob("*"):
            _sync(path)
        _sync(part)
        remove(place)
        part.rename(place)
        _sync(place.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # room on a disk that is full
        raise


def remove(place: Path) -> None:
    """Remove a folder, if it is there: at once under its name, and then from the disk.

    Of a link, the folder that it leads to; the link stays.
    """
    place = place.resolve()
    gone = place.with_name(f".{place.name}.gone.part")
    shutil.rmtree(gone, ignore_errors=True)  # of a kill during an earlier removal
    if place.exists():
        place.rename(gone)
        _sync(place.parent)  # a loss of power shall not bring back the name of what is half removed
        shutil.rmtree(gone)


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint of the highest step, or None."""
    found = complete_checkpoints(folder)
    return found[-1] if found else None


def complete_checkpoints(folder: Path) -> list[Path]:
    """Those of a run, by step; what people have put beside them, under other names, is none."""
    named = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name))
    return sorted((path for path in named if (path / _STATE).is_file()), key=lambda path: int(path.name[5:]))


def load_checkpoint(place: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state. Raises `VkitError` naming the file that is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = read_json(place / _STATE)
    try:
        return load_file(str(place / _TENSORS)), state
    except (OSError, SafetensorError) as error:
        raise VkitError(f"{place / _TENSORS} cannot be read ({error}); remove this checkpoint") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimizer's state by parameter name: ``optimizer.<name>.<key>``."""
    found = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, parameter in zip(names, parameters, strict=True):
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{name}.{key}"] = value
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, parameter in zip(names, parameters, strict=True):
        prefix = f"optimizer.{name}."
        state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        # AdamW keeps its count of steps on the CPU.
        optimizer.state[parameter] = {
            key: value if key == "step" else like(parameter, value) for key, value in state.items()
        }


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
