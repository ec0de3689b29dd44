"""Several processes that train one model: who this one is, what they exchange, how an error ends them all.

    torchrun --nproc-per-node 8 -m vkit train-sft ...                            a whole model in each (DDP)
    torchrun --nproc-per-node 8 -m vkit train-sft ... --parallel fsdp            a part of it in each (FSDP2)
    accelerate launch --use_fsdp --fsdp_version 2 -m vkit train-sft ...          the same

    world = join()                            # one process, where nothing launched several
    with world.together():                    # an error in one ends all of them, and one of them tells it
        lines = world.gather(line)            # of each process, in their order

accelerate starts the processes' group, places each on its device, and wraps the model for DDP. FSDP2 is
applied by `vkit.train.sharding`: accelerate itself does so on accelerators alone, and knows nothing of a loss
that reads the head's weights.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.launcher import Launch, launched
from vkit.models.processes import PATIENCE, Launched, Processes

PARALLEL = ("auto", "ddp", "fsdp")


class World(Processes):
    """One process that trains by itself, and what several have in common with it.

    device: where the model belongs, as `load_model` takes it. sharded: whether each process holds a part of
    the model only.
    """

    sharded = False

    def __init__(self, device: str = "auto") -> None:
        self.device = device

    @property
    def words(self) -> str:
        """What people are told of several processes; empty for one."""
        return ""

    @property
    def facts(self) -> dict[str, Any]:
        """What a log says of several processes; empty for one."""
        return {}

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        """What to call in place of ``module``; its gradients, once `synchronised`, are the processes' mean.

        A `Task` where the world is sharded.
        """
        return module

    def synchronised(self, module: nn.Module, now: bool) -> AbstractContextManager[None]:
        """Around a forward and its backward: exchange the gradients ``now``, or let them add up here."""
        return nullcontext()


class _Launched(Launched, World):
    """One of several processes; sharded, perhaps the only one."""

    def __init__(self, told: Launch, accelerator: Any, sharded: bool, reshard: bool) -> None:
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import _get_default_store

        # Objects never wait for a GPU, and the others may wait for days while the main process works alone.
        objects = dist.new_group(backend="gloo", timeout=PATIENCE)
        Launched.__init__(self, told, _get_default_store(), objects)
        World.__init__(self, str(accelerator.device) if accelerator.device.type != "cpu" else "cpu")
        self.accelerator, self.sharded, self.reshard = accelerator, sharded, reshard

    @property
    def words(self) -> str:
        kind = "FSDP2, a part of the model in each" if self.sharded else "DDP, a whole model in each"
        return f"{self.size} process{'es' if self.size > 1 else ''}: {kind}"

    @property
    def facts(self) -> dict[str, Any]:
        return {"processes": self.size, "parallel": "fsdp" if self.sharded else "ddp"}

    def sum(self, values: Tensor) -> Tensor:
        torch.distributed.all_reduce(values)
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        from vkit.train.sharding import shard
        from vkit.train.task import Anchored, Task

        if isinstance(module, Task):
            if self.sharded:
                return shard(module, reshard=self.reshard)
            module = Anchored(module)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*broadcast_buffers"
            )  # whose successor is of torch 2.13
            return self.accelerator.prepare_model(module)

    @contextmanager
    def synchronised(self, module: nn.Module, now: bool) -> Iterator[None]:
        # Sharded gradients are exchanged every time: whole ones would take the memory that sharding saves.
        with nullcontext() if now or self.sharded else self.accelerator.no_sync(module):
            yield

    def leave(self) -> None:
        self.accelerator.end_training()


_joined: _Launched | None = None


def join(device: str = "auto", parallel: str = "auto") -> World:
    """The processes that torchrun or ``accelerate launch`` started; one where they started none.

    Args:
        device: auto (each its own GPU, where there are some), cuda, or cpu.
        parallel: ddp, fsdp, or auto: what ``accelerate launch`` was told, else ddp.

    Raises:
        VkitError: fsdp is asked of a program that was not launched, or what ``accelerate launch`` was told
            cannot be had.

    >>> join("cpu").size
    1
    """
    global _joined
    if parallel not in PARALLEL:
        raise VkitError(f"parallel {parallel!r} is not known; known: {', '.join(PARALLEL)}")
    sharded = parallel == "fsdp" or _asks_fsdp()
    told = launched()
    if told is None and parallel == "fsdp":
        raise VkitError(
            "fsdp shares a model out among processes, and this is the only one; start them with"
            " `torchrun --nproc-per-node N -m vkit ...`"
        )
    if told is None or (told.size == 1 and not sharded):
        return World(device)
    if _joined is None:
        _joined = _launch(told, device, parallel, sharded)
    elif parallel != "auto" and _joined.sharded != sharded:
        raise VkitError("the processes of one program train all by ddp or all by fsdp; give one of them")
    return _joined


def check_precision(precision: str) -> None:
    """Raises `VkitError` where ``accelerate launch`` was told another precision than the recipe's."""
    told = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if told != "no" and told != precision:
        raise VkitError(
            f"accelerate launch was told --mixed_precision {told}, the recipe says {precision}; leave"
            " that out and give --set precision=bf16 or fp32"
        )


def _asks_fsdp() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def _launch(told: Launch, device: str, parallel: str, sharded: bool) -> _Launched:
    from accelerate import Accelerator, DistributedDataParallelKwargs

    _check_launcher(parallel)
    on_cpu = told.own_device(device) == "cpu"
    # Which parameters a batch needs depends on whether it has pictures.
    handler = DistributedDataParallelKwargs(
        find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
    )
    # The recipe has a precision of its own, which a task applies to its forward.
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[handler])
    reshard = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() == "true"
    return _Launched(told, accelerator, sharded, reshard)


def _check_launcher(parallel: str) -> None:
    """Refuse what ``accelerate launch`` was told and what would be silently left out."""
    told = os.environ
    if _asks_fsdp():
        if parallel == "ddp":
            raise VkitError(
                "accelerate launch was told --use_fsdp, and vkit --parallel ddp; give one of them"
            )
        if told.get("FSDP_VERSION", "1") != "2":
            raise VkitError("accelerate launch --use_fsdp means FSDP1; give --fsdp_version 2 as well")
        if told.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
            raise VkitError("--fsdp_offload_params is not supported; leave it out, or take more processes")
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if told.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise VkitError(f"accelerate launch was told to use {name}; vkit trains by DDP or FSDP2")
    if told.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1") not in ("1", "auto"):
        raise VkitError(
            "accelerate launch was told gradient accumulation; it follows from the recipe: --set"
            " batch_size=... (of all processes) and --set micro_batch_size=... (of one forward)"
        )
