"""FSDP2: every process holds a part of each weight, gradient and moment, and makes layers whole in turn.

    module = shard(task)                               # the weights are DTensors from here on
    loss, parts = module(micro, totals)
    tensor = whole(parameter)                          # on every process at once
    parameter.copy_(like(parameter, tensor))           # the inverse: each keeps its part
    gather_model(task.network, keep=world.is_main)     # at the end: plain weights, on the main process

Transformer layers are made whole one at a time. What is left of the model (embeddings, connector, the head,
and a frozen teacher's) stays whole for the whole of the task's forward, because the fused loss reads the
head's weights there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.train.task import Anchored, Task


def shard(task: Task, *, reshard: bool = True) -> nn.Module:
    """``task`` with its weights spread over the processes; call what is returned in its place.

    Weights move to the processes' device layer by layer, so that none holds more than its part and a layer.
    With a recipe's "bf16" a GPU gathers layers in bfloat16, which is what autocast would make of them; inputs
    between layers, reductions and the weights themselves stay in float32.

    Args:
        task: its companions are spread as well.
        reshard: let go of a layer after its forward and gather it again for its backward.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    kind = "cuda" if torch.distributed.get_backend() != "gloo" else "cpu"
    how: dict[str, Any] = {"mesh": init_device_mesh(kind, (torch.distributed.get_world_size(),))}
    policy = MixedPrecisionPolicy()
    if task.recipe.precision == "bf16" and kind == "cuda":  # a CPU's norms take no weights below their input
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    module = Anchored(task)
    for layer in _layers(module):
        fully_shard(layer, mp_policy=policy, reshard_after_forward=reshard, **how)
    # Gathered at the beginning of a forward, let go at the end of its backward.
    fully_shard(module, reshard_after_forward=False, **how)
    return module


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread; every process takes part."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(target: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, where and as ``target`` is: on its device, and spread as it is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    tensor = tensor.to(target.device)
    if not isinstance(target, DTensor):
        return tensor
    # No exchange: every process has the whole, and keeps its part.
    return distribute_tensor(tensor, target.device_mesh, target.placements, src_data_rank=None)


def gather_model(network: nn.Module, *, keep: bool) -> None:
    """Give a spread network its plain weights back, on the CPU; where ``keep`` is False they are dropped.

    It is for saving: the network cannot run again. One tensor at a time is whole on the device.
    """
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    done: dict[DTensor, nn.Parameter] = {}  # tied weights stay tied
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if not isinstance(parameter, DTensor):
                continue
            if parameter not in done:
                full = parameter.full_tensor()
                plain = full.detach().cpu() if keep else torch.empty(0)
                done[parameter] = nn.Parameter(plain, requires_grad=parameter.requires_grad)
            module._parameters[name] = done[parameter]


def _layers(model: nn.Module) -> list[nn.Module]:
    """The transformer layers: those whose activations transformers can checkpoint.

    Raises:
        VkitError: there is none, so that nothing would be gained.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    found: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():  # outer ones first
        if isinstance(module, GradientCheckpointingLayer) and id(module) not in inside:
            found.append(module)
            inside |= {id(part) for part in module.modules()}
    if not found:
        raise VkitError("the model has no transformer layers that fsdp could share out; train with ddp")
    return found
