"""Turns the words people write for a device and a number format into torch's own.

    device = resolve_device("auto")                           # cuda where there is one, else the CPU
    dtype = resolve_dtype("auto", device, "bfloat16")         # the checkpoint's, float32 on the CPU

Torch is imported only when a function is called, so that a command line can start without it.
"""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

from vkit.errors import VkitError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZE = ("4bit", "8bit")


def resolve_device(name: str = "auto") -> torch.device:
    """The device called ``name``: auto (cuda where there is one, else cpu), cpu, cuda, cuda:N or mps.

    Raises:
        VkitError: the name is no device's, or the device is not there.

    >>> resolve_device("gpu")
    Traceback (most recent call last):
    vkit.errors.VkitError: device 'gpu' is not known; use auto, cpu, cuda, cuda:N or mps
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise VkitError(f"device {name!r} is not known; use auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise VkitError("device 'mps' is not there (no Apple GPU that PyTorch can use); use --device cpu")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            seen = f"PyTorch sees {count} CUDA device{'' if count == 1 else 's'}"
            raise VkitError(f"device {name!r} is not there ({seen}); use --device cpu or another index")
    return device


def resolve_dtype(
    name: str, device: torch.device, checkpoint: torch.dtype | str | None = None
) -> torch.dtype:
    """The dtype to load weights in: ``name``, or for auto float32 on the CPU and elsewhere the checkpoint's.

    checkpoint: what the checkpoint's config says (``torch.bfloat16``, ``"bfloat16"``, ``"torch.bfloat16"``),
        None where it says nothing, which counts as float32.

    Raises:
        VkitError: the name, or the checkpoint's own dtype, is none of `DTYPES`.

    >>> import torch
    >>> [resolve_dtype("auto", torch.device(place), "float16") for place in ("cpu", "cuda")]
    [torch.float32, torch.float16]
    """
    import torch

    if name != "auto" and name not in DTYPES:
        raise VkitError(f"dtype {name!r} is not known; use auto, {', '.join(DTYPES)}")
    if name == "auto":
        name = "float32" if device.type == "cpu" or checkpoint is None else str(checkpoint)
        name = name.removeprefix("torch.")
        if name not in DTYPES:
            raise VkitError(
                f"the checkpoint's dtype {name!r} is not supported; choose one of {', '.join(DTYPES)}"
            )
    return getattr(torch, name)


def check_placement(device: str, device_map: object, quantize: str | None, adapter: object) -> None:
    """Refuse what cannot go together, before anything is loaded.

    Args:
        device, device_map, quantize, adapter: as `vkit.models.loading.load_model` was given them.

    Raises:
        VkitError: names what is wrong.

    >>> check_placement("cuda:1", "auto", None, None)
    Traceback (most recent call last):
    vkit.errors.VkitError: device 'cuda:1' and a device_map were given; leave one of them out
    """
    if device_map is not None and device != "auto":
        raise VkitError(f"device {device!r} and a device_map were given; leave one of them out")
    if isinstance(device_map, str) and device_map != "auto":
        raise VkitError(
            f"device_map {device_map!r} is not known; give auto, or a table of modules and devices"
        )
    if quantize is None:
        return
    if quantize not in QUANTIZE:
        raise VkitError(f"quantize {quantize!r} is not known; use {' or '.join(QUANTIZE)}")
    if adapter is not None:
        raise VkitError(
            "an adapter is merged into the weights, which would be rounded anew after quantize; save a merged"
            " copy with load_model(model, adapter=...).save(folder), and quantize that"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise VkitError("quantize needs bitsandbytes; pip install 'vkit[quantized]'")
