"""What a layer keeps for its backward, from its modules alone: the terms of `vkit.train.memory_plan`.

    cost = layer_cost(layer, Numbers(half=True))
    cost.kept * columns                                # bytes that its activations take

Autograd keeps what a backward formula reads. A linear layer that learns reads its input; a frozen one reads
only its weight. A norm reads its input; attention its query, key, value, output and the sums of its rows; an
activation function what it says when it is tried out. Under autocast products are in bfloat16, while norms
and the sums between layers stay in float32, and each linear layer behind a norm makes a copy of its own.
Source: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", section 4, for
the way of counting; torch's derivatives for what is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FULL = 4  # bytes of a float32
_QUERIES, _KEYS, _FUSED = ("q_proj",), ("k_proj", "v_proj"), ("qkv", "qkv_proj")
_OUTPUTS = ("o_proj", "out_proj", "dense", "proj", "projection_layer")
_MLP_INPUTS, _GATES = ("gate_proj", "up_proj", "fc1", "linear_fc1"), ("gate_proj",)
_MLP_OUTPUTS = ("down_proj", "fc2", "linear_fc2")


@dataclass(frozen=True)
class Numbers:
    """half: products are in bfloat16 by autocast. mask_bytes: of an element of a dropout mask on the device.

    padded: items of a batch differ in length, so that attention is told of padding by a mask.
    """

    half: bool
    on_gpu: bool = True
    padded: bool = False

    @property
    def mask_bytes(self) -> int:
        """Bytes of an element of what dropout keeps."""
        return 1 if self.on_gpu else FULL

    @property
    def product(self) -> int:
        """Bytes of an element that a linear layer makes."""
        return 2 if self.half else FULL


@dataclass(frozen=True)
class Cost:
    """Bytes, of a row (a column of the decoder, a patch of the tower) where nothing else is said.

    kept: for the backward. again: beyond what is kept while the layer's backward runs. input: what the layer
    begins with, all that gradient checkpointing keeps. mask: of a row and a column of its item, of a padded
    batch. weights: all of the layer's. gradients: of those that learn; largest: of one of them.
    copies: bfloat16 weights that the backward reads. cached: those that autocast holds to the end of the
    forward.
    """

    kept: float = 0
    again: float = 0
    input: float = 0
    mask: float = 0
    weights: int = 0
    gradients: int = 0
    largest: int = 0
    copies: int = 0
    cached: int = 0


@dataclass
class UnknownLayer(Exception):
    """A layer is not of a kind that is known; why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def layer_cost(layer: nn.Module, numbers: Numbers, *, is_tower: bool) -> Cost:
    """Of a transformer layer with one attention and one MLP, whose gradient is wanted.

    Raises:
        UnknownLayer: it has other parts.
    """
    parts = _Parts.of(layer)
    masked = numbers.padded and not is_tower
    width = parts.output_width
    norms = _norms(layer, width, parts)
    products = numbers.product

    kept = norms.kept
    groups = [parts.inputs, parts.mlp_inputs]
    if norms.count < 2 and parts.parallel:  # Phi: attention and MLP read the same norm
        groups = [[*parts.inputs, *parts.mlp_inputs]]
    for group in groups:
        kept += inputs_kept(group, width, FULL, numbers)

    # Attention: query and key as they are compared, value, output, and float32 sums.
    query, key = parts.query_width, parts.key_width
    expanded = query if masked else key  # a mask, and grouped keys are repeated
    kept += (2 * query + 2 * expanded) * products + parts.heads * FULL
    if parts.fused is not None:
        kept += (query + key) * products  # the value is a view of the whole
        if parts.by_image:
            kept += query * products  # outputs image by image, then side by side
    # A CPU's attention lays its output out as the query, which Phi joins of two parts: it is copied in order.
    copied = not numbers.on_gpu and any(hasattr(module, "rotary_ndims") for module in layer.modules())
    kept += inputs_kept([parts.output], query, products, numbers, is_kept=not copied)

    inner = parts.inner_width
    by_activation, native = activation_kept(parts.activation, numbers)
    kept += inner * by_activation
    if parts.gated:
        kept += inner * (native + products)  # the product of both reads them
    kept += inputs_kept([parts.mlp_output], inner, native, numbers)
    kept += parts.dropouts * width * numbers.mask_bytes

    linears = [*parts.inputs, parts.output, *parts.mlp_inputs, parts.mlp_output]
    # The MLP's backward: gradients of its inner states, and of the sums between layers. Behind LoRA's
    # dropout they are in float32; of an activation written out in many steps, several are there at once.
    at_output = 2 * products
    if _lora(parts.mlp_output)[1]:
        at_output += FULL * (2 if numbers.half else 1)
    return Cost(
        kept=kept,
        again=inner * max(at_output, 0.625 * by_activation) + 3 * width * FULL,
        input=width * FULL,
        mask=products if masked else 0,
        **weights_of(layer, linears, numbers),
    )


def weights_of(module: nn.Module, linears: Sequence[nn.Module], numbers: Numbers) -> dict[str, int]:
    """The terms of `Cost` that are of the weights."""
    parameters = list(module.parameters())
    learned = [p.numel() * FULL for p in parameters if p.requires_grad]
    copied = [base_of(linear).weight for linear in linears] if numbers.half else []
    return {
        "weights": sum(p.numel() * FULL for p in parameters),
        "gradients": sum(learned),
        "largest": max(learned, default=0),
        "copies": sum(2 * weight.numel() for weight in copied),
        "cached": sum(2 * weight.numel() for weight in copied if weight.requires_grad),
    }


def inputs_kept(
    group: Sequence[nn.Module], width: int, native: int, numbers: Numbers, *, is_kept: bool = False
) -> float:
    """Bytes a row that linear layers with one input of ``width`` keep of it.

    Args:
        native: bytes of the input's elements. is_kept: something else keeps the input already.
    """
    total, shared = 0.0, False
    for linear in group:
        base, rank, dropout = base_of(linear), *_lora(linear)
        if rank:
            if dropout:
                total += width * (numbers.mask_bytes + numbers.product)
            elif native != numbers.product:
                total += width * numbers.product
            else:
                shared = True
            total += rank * numbers.product
        elif base.weight.requires_grad:
            if native != numbers.product:
                total += width * numbers.product
            else:
                shared = True
    return total + (width * native if shared and not is_kept else 0)


def activation_kept(activation: nn.Module, numbers: Numbers) -> tuple[int, int]:
    """Bytes that an activation function keeps of an element, and the bytes of an element that it makes.

    It is tried out on the CPU: what its backward reads follows from how it is written.
    """
    count = 256
    alive = []  # all to the end, else the place of one could be taken by another

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        return tensor

    values = torch.randn(count, dtype=torch.bfloat16 if numbers.half else torch.float32, requires_grad=True)
    powers = _PowersInFull() if numbers.half and numbers.on_gpu else nullcontext()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), powers:
        output = activation(values)
    sizes = {t.untyped_storage().data_ptr(): t.element_size() for t in alive if t.numel() == count}
    return sum(sizes.values()), output.element_size()


class _PowersInFull(TorchFunctionMode):
    """Powers in float32, as a GPU's autocast has them: GELU's tanh form, written out, is full of them."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None
    ) -> Any:
        if function in (torch.pow, torch.Tensor.pow):
            arguments = (arguments[0].float(), *arguments[1:])
        return function(*arguments, **(named or {}))


def base_of(linear: Any) -> Any:
    """The linear layer itself, where LoRA stands around it."""
    return getattr(linear, "base_layer", linear)


def _lora(linear: Any) -> tuple[int, bool]:
    if not hasattr(linear, "base_layer"):
        return 0, False
    factor = next(iter(linear.lora_A.values()))
    return factor.out_features, any(
        isinstance(d, nn.Dropout) and d.p > 0 for d in linear.lora_dropout.values()
    )


@dataclass
class _Norms:
    count: int = 0
    kept: float = 0


def _norms(layer: nn.Module, width: int, parts: _Parts) -> _Norms:
    """Of a layer's norms: inputs, and what a root-mean-square norm whose scale learns makes beside it."""
    found = _Norms()
    for name, module in layer.named_modules():
        if "norm" not in type(module).__name__.lower() or not hasattr(module, "weight"):
            continue
        wide = module.weight.numel()
        if wide == width:
            found.count += 1
        else:  # of each head of the query or the key
            wide = parts.query_width if name.rpartition(".")[2].startswith("q") else parts.key_width
        found.kept += norm_kept(module, wide)
    return found


def norm_kept(norm: nn.Module, width: int) -> float:
    """Bytes a row that a norm keeps."""
    if isinstance(norm, nn.LayerNorm):
        return width * FULL + 2 * FULL  # its input, mean and deviation
    return (2 if norm.weight.requires_grad else 1) * width * FULL + FULL


@dataclass
class _Parts:
    """A layer's linear layers by their roles."""

    inputs: list[nn.Module]
    output: Any
    mlp_inputs: list[nn.Module]
    mlp_output: Any
    activation: nn.Module
    fused: Any
    gated: bool
    heads: int
    query_width: int
    key_width: int
    by_image: bool
    parallel: bool
    dropouts: int  # calls

    @property
    def output_width(self) -> int:
        return base_of(self.mlp_output).out_features

    @property
    def inner_width(self) -> int:
        return base_of(self.mlp_output).in_features

    @classmethod
    def of(cls, layer: nn.Module) -> _Parts:
        linears = dict(linears_of(layer))
        attention: dict[str, Any] = {}
        mlp: dict[str, Any] = {}
        for name, module in linears.items():
            leaf = name.rpartition(".")[2]
            if leaf in (*_MLP_INPUTS, *_MLP_OUTPUTS):
                mlp[leaf] = module
            elif leaf in (*_QUERIES, *_KEYS, *_FUSED, *_OUTPUTS):
                attention[leaf] = module
            else:
                raise UnknownLayer(f"{type(layer).__name__} has a linear layer {name!r}")
        matrices = [p for p in layer.parameters() if p.ndim > 1]
        inside = {id(p) for module in linears.values() for p in module.parameters()}
        if any(id(p) not in inside for p in matrices):
            raise UnknownLayer(f"{type(layer).__name__} has weights outside linear layers")
        fused = next((attention[name] for name in _FUSED if name in attention), None)
        inputs = [attention[name] for name in (*_QUERIES, *_KEYS, *_FUSED) if name in attention]
        outputs = [attention[name] for name in _OUTPUTS if name in attention]
        mlp_outputs = [mlp[name] for name in _MLP_OUTPUTS if name in mlp]
        mlp_inputs = [mlp[name] for name in _MLP_INPUTS if name in mlp]
        expected = len(linears) == len(attention) + len(mlp) and len(inputs) == (
            1 if fused is not None else 3
        )
        if not expected or len(outputs) != 1 or len(mlp_outputs) != 1:
            raise UnknownLayer(f"{type(layer).__name__} is no layer of one attention and one MLP")
        query = base_of(outputs[0]).in_features
        key = (
            base_of(attention["k_proj"]).out_features
            if fused is None
            else (base_of(fused).out_features - query) // 2
        )
        heads = _heads(layer, query)
        return cls(
            inputs=inputs,
            output=outputs[0],
            mlp_inputs=mlp_inputs,
            mlp_output=mlp_outputs[0],
            activation=_activation(layer),
            fused=fused,
            gated=any(name in mlp for name in _GATES),
            heads=heads,
            query_width=query,
            key_width=key,
            by_image=fused is not None and "cu_seqlens" in inspect.signature(layer.forward).parameters,
            parallel=not hasattr(layer, "post_attention_layernorm"),
            # Behind the attention and behind the MLP.
            dropouts=2
            * any(
                isinstance(m, nn.Dropout) and m.p > 0
                for name, m in layer.named_modules()
                if "lora_" not in name
            ),
        )


def linears_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers by name; one with LoRA factors is one."""
    for name, part in module.named_modules():
        if hasattr(part, "base_layer") or (
            isinstance(part, nn.Linear) and ".lora_" not in name and not name.endswith("base_layer")
        ):
            yield name, part


def _activation(layer: nn.Module) -> nn.Module:
    for name, module in layer.named_modules():
        if name.rpartition(".")[2] in ("act", "act_fn", "activation_fn"):
            return module
    return nn.GELU(approximate="tanh")


def _heads(layer: nn.Module, query: int) -> int:
    for module in layer.modules():
        for name in ("num_heads", "heads"):
            if isinstance(count := getattr(module, name, None), int):
                return count
        if isinstance(size := getattr(module, "head_dim", None), int):
            return query // size
    return max(1, query // 64)
