"""What torchrun or ``accelerate launch`` tells a process of its place among several.

told = launched()           # None where nothing launched this one
told.rank, told.size        # 3, 8
told.own_device("auto")     # "cuda:3"
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from vkit.errors import VkitError
from vkit.models.devices import resolve_device


@dataclass(frozen=True)
class Launch:
    """A process's place.

    rank: its number; size: how many there are. local_rank, local_size: the same of its machine alone.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def own_device(self, name: str) -> str:
        """The device of this process where people said ``name``: cpu, or cuda:N with a GPU for each.

        Raises:
            VkitError: there are more processes than GPUs, or the device cannot serve several of them.
        """
        import torch

        place = resolve_device(name)
        if place.type == "cpu":
            return "cpu"
        if place.type != "cuda" or place.index is not None:
            raise VkitError(
                f"device {name!r} cannot serve several processes; with --device cuda each takes its own, with"
                " cpu they share the processor"
            )
        here = max(self.local_size, self.local_rank + 1)  # a launcher may not say how many
        if here > (gpus := torch.cuda.device_count()):
            raise VkitError(
                f"there are {here} processes and {gpus} GPUs here; start one for each GPU, or give"
                " --device cpu"
            )
        return f"cuda:{self.local_rank}"


def launched() -> Launch | None:
    """What a launcher has told this process; None where there was none.

    Raises:
        VkitError: what should be a number is none.

    >>> launched() is None
    True
    """
    if "RANK" not in os.environ:
        return None
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    # A cluster's own launcher may say which process of a machine this is, and not how many there are.
    here = 1 if "LOCAL_RANK" in os.environ else size
    return Launch(rank, size, _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", here))


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not (value.isascii() and value.isdigit()):
        raise VkitError(
            f"{name}={value!r} in the environment is no whole number; start by torchrun, or unset it"
        )
    return int(value)
