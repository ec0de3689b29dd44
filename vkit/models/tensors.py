"""Reads the tensors of a weights file, and runs no code that a pickle may hold; writes them as safetensors.

for name, tensor in read_tensors(Path("model.safetensors")):
    print(name, tensor.shape)
write_tensors(Path("copy.safetensors"), dict(read_tensors(Path("model.safetensors"))))
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from vkit.errors import VkitError


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor, on the CPU, of each one in a ``.safetensors`` file or a pickled table.

    Raises:
        VkitError: the file is damaged, holds anything but a table of tensors, or could run code.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                for key in file.keys():  # noqa: SIM118 (not a dict)
                    yield key, file.get_tensor(key)
        except SafetensorError as error:
            raise VkitError(f"{path} is damaged ({error}); download the file again") from error
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's protocol; what cannot be read raises
            # Only files in the zip format can be mapped instead of read whole.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if re.search("unsupported (global|class)", str(error), re.IGNORECASE):
            raise VkitError(
                f"{path} is a pickle that holds more than tensors and could run code; convert it to"
                " safetensors where you trust it"
            ) from error
        raise VkitError(f"{path} is damaged, or holds more than tensors; download the file again") from error
    except Exception as error:  # the restricted unpickler stumbles over nonsense in many ways
        raise VkitError(
            f"{path} is damaged ({first_line(error) or type(error).__name__}); download the file again"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in content.items()
    ):
        raise VkitError(f"{path} holds no table of tensors; give the file that save_pretrained wrote")
    yield from content.items()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a ``.safetensors`` file. Raises `VkitError` naming it where the disk is full."""
    from safetensors.torch import save_file

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with telling_full_disk(path):
        save_file(on_cpu, path, metadata={"format": "pt"})


@contextmanager
def telling_full_disk(path: Path) -> Iterator[None]:
    """What safetensors could not write, which is no `OSError`, becomes a `VkitError` that names ``path``."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise VkitError(
            f"{path} cannot be written ({first_line(error)}); make room, or choose another place, and run"
            " again"
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, without the lines that libraries add."""
    return str(error).strip().split("\n")[0]
