"""Checkpoints that are complete or absent: tensors without pickle, in a folder that appears by one rename.

    save_checkpoint(Path("out/checkpoints"), step=200, tensors=tensors, state={"step": 200}, keep=2)
    found = latest_checkpoint(Path("out/checkpoints"))    # None, or its folder
    tensors, state = load_checkpoint(found)

A kill during a save leaves a folder whose name begins with a dot, which is never read and is removed by the
next save.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json
from vkit.models.tensors import write_tensors

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def save_checkpoint(
    folder: Path, *, step: int, tensors: Mapping[str, Tensor], state: dict[str, Any], keep: int = 2
) -> Path:
    """Write ``folder/step-000200`` and remove all but the last ``keep``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for torn in folder.glob(".*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    place = folder / f"step-{step:08d}"
    part = folder / f".{place.name}.part"
    part.mkdir()
    # Copies, for safetensors takes no two tensors of one memory.
    copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
    write_tensors(part / _TENSORS, copies)
    _sync(part / _TENSORS)
    write_json(part / _STATE, state)
    if place.exists():
        shutil.rmtree(place)
    part.rename(place)
    _sync(folder)
    for old in _complete(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint of the highest step, or None."""
    found = _complete(folder)
    return found[-1] if found else None


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
            key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
        }


def _complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / _STATE).is_file())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
