"""A model cut into the blocks that a step runs one after the other, for `vkit.train.memory_plan`.

    network = describe_network(empty_vlm("tiny"), SFT_RECIPES["tiny"])
    network.weights, network.learned                   # parameters
    [block.name for block in network.blocks(Numbers(half=True))]

The recipe's choice of what learns, and its LoRA, are made by the trainer's own functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vkit.models.tinyllava import TinyLlava
from vkit.train.memory_plan_layers import (
    FULL,
    Cost,
    Numbers,
    UnknownLayer,
    activation_kept,
    inputs_kept,
    layer_cost,
    linears_of,
    norm_kept,
    weights_of,
)
from vkit.train.recipes import Recipe


@dataclass(frozen=True)
class Block:
    """A layer, or what stands around layers.

    flows: whether its backward runs. recomputes: a transformer layer, which can be run again, and is shared
    out on its own. of_pictures: its rows are ``rows`` of a picture, not columns.
    """

    name: str
    cost: Cost
    flows: bool
    recomputes: bool
    of_pictures: bool
    rows: int = 0


@dataclass(frozen=True)
class Head:
    """vocabulary and width; gradients: bytes, 0 where it is frozen."""

    vocabulary: int
    width: int
    gradients: int


@dataclass
class Network:
    """Parameters by count: all, those that learn, LoRA's, the largest, those inside layers and outside.

    pixels: numbers of a picture. picture_columns: of one picture in the decoder. unknown: once there are
    blocks, why the memory of some layers is not known.
    """

    model: Any
    weights: int
    learned: int
    lora: int
    largest: int
    in_layers: int
    outside_learned: int
    head: Head
    pixels: int
    picture_columns: int
    unknown: list[str] = field(default_factory=list)
    _known: dict[Numbers, list[Block]] = field(default_factory=dict)

    def blocks(self, numbers: Numbers) -> list[Block]:
        if numbers not in self._known:
            self._known[numbers] = _blocks(self.model, numbers, self.unknown)
        return self._known[numbers]


def describe_network(model: Any, recipe: Recipe) -> Network:
    """A model of `vkit.train.memory_plan_model`, made ready for the recipe.

    Raises:
        VkitError: the recipe cannot train it.
    """
    from vkit.models.lora import add_lora
    from vkit.models.training import choose_trainable, head_of

    if recipe.lora_rank:
        with torch.device("meta"):
            add_lora(model, rank=recipe.lora_rank, alpha=recipe.lora_alpha, dropout=recipe.lora_dropout)
    choose_trainable(model, recipe.train)
    parameters = dict(model.model.named_parameters())
    learned = [p.numel() for p in parameters.values() if p.requires_grad]
    inside = {id(p) for layer in _checkpointed(model.model) for p in layer.parameters()}
    return Network(
        model,
        weights=sum(p.numel() for p in parameters.values()),
        learned=sum(learned),
        lora=sum(p.numel() for name, p in parameters.items() if "lora_" in name),
        largest=max(learned, default=0),
        in_layers=sum(p.numel() for p in parameters.values() if id(p) in inside),
        outside_learned=sum(
            p.numel() for p in parameters.values() if p.requires_grad and id(p) not in inside
        ),
        head=_head(head_of(model).weight),
        pixels=model.pixels,
        picture_columns=model.picture_columns,
    )


def _head(weight: Tensor) -> Head:
    vocabulary, width = weight.shape
    return Head(vocabulary, width, weight.numel() * FULL if weight.requires_grad else 0)


def _checkpointed(model: nn.Module) -> list[nn.Module]:
    """The outermost layers that transformers can checkpoint."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    found: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and id(module) not in inside:
            found.append(module)
            inside |= {id(part) for part in module.modules()}
    return found


def _blocks(model: Any, numbers: Numbers, unknown: list[str]) -> list[Block]:
    """In the order in which they run."""
    network, rows, columns = model.model, model.tower_rows, model.picture_columns
    in_decoder = {id(module) for module in model.decoder.modules()}
    layers = _checkpointed(network)
    decoder = [layer for layer in layers if id(layer) in in_decoder]
    tower = [layer for layer in layers if id(layer) not in in_decoder]
    tower = tower[: _tower_depth(network, len(tower))]
    cells = _cell_layers(network)
    around = _around(model, [*layers, *cells])
    text = around["language_model"]
    flows = False
    blocks: list[Block] = []

    def add(name: str, modules: Sequence[nn.Module], cost: Cost, rows: int = 0, layer: bool = False) -> None:
        nonlocal flows
        flows = flows or any(p.requires_grad for module in modules for p in module.parameters())
        blocks.append(Block(name, cost, flows, layer, rows > 0, rows))

    add("the tower's stem", around["vision_tower"], _stem_cost(model, around["vision_tower"], numbers), rows)
    for number, layer in enumerate(cells):  # four cells make a token; such layers are never run again
        add(f"tower layer {number}", [layer], _cost(layer, numbers, unknown, is_tower=True), 4 * rows)
    for number, layer in enumerate(tower):
        add(f"tower layer {number}", [layer], _cost(layer, numbers, unknown, is_tower=True), rows, True)
    connector = _connector_cost(model, around["connector"], numbers)
    add("the connector", around["connector"], connector, columns)
    embeddings = [module for module in text if isinstance(module, nn.Embedding)]
    add("the embeddings", embeddings, Cost(kept=_positions_kept(model), **_gradients(embeddings)))
    for number, layer in enumerate(decoder):
        cost = _cost(layer, numbers, unknown, is_tower=False)
        add(f"decoder layer {number}", [layer], cost, layer=True)
    norms = [module for module in text if _is_norm(module)]
    kept = sum(norm_kept(norm, model.lm_head.in_features) for norm in norms)
    add("the last norm", norms, Cost(kept=kept, **_gradients(norms)))
    return blocks


def _around(model: Any, layers: Sequence[nn.Module]) -> dict[str, list[nn.Module]]:
    """The smallest modules outside ``layers`` by the part of the model that they belong to."""
    from vkit.models.training import PARTS, part_of

    parts = part_of(model)
    inside = {id(module) for layer in layers for module in layer.modules()}
    found: dict[str, list[nn.Module]] = {part: [] for part in PARTS}
    part = PARTS[0]
    for name, module in model.model.named_modules():
        own = [parts[full] for key, _ in module.named_parameters() if (full := f"{name}.{key}") in parts]
        part = own[0] if own else part  # without parameters: an activation beside what stood before it
        if id(module) not in inside and not list(module.children()):
            found[part].append(module)
    return found


def _tower_depth(network: nn.Module, count: int) -> int:
    """How many layers of the tower the decoder depends on: what comes later is not kept."""
    if isinstance(network, TinyLlava):
        return network.vision_tower.depth
    config: Any = network.config
    chosen = getattr(config, "vision_feature_layer", None)
    states = chosen if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]
    return max((state % (count + 1) for state in states), default=count)


def _cell_layers(network: nn.Module) -> list[nn.Module]:
    """Layers of a convolutional tower, which are never run again."""
    from vkit.models.conv_vision import ConvVisionTower

    towers = [module for module in network.modules() if isinstance(module, ConvVisionTower)]
    return [layer for tower in towers for layer in tower.layers]


def _cost(layer: nn.Module, numbers: Numbers, unknown: list[str], *, is_tower: bool) -> Cost:
    """A layer's; its weights alone where its kind is not known."""
    try:
        return layer_cost(layer, numbers, is_tower=is_tower)
    except UnknownLayer as error:
        if str(error) not in unknown:
            unknown.append(str(error))
        return Cost(**weights_of(layer, [module for _, module in linears_of(layer)], numbers))


def _gradients(modules: Sequence[nn.Module]) -> dict[str, int]:
    learned = [p.numel() * FULL for m in modules for p in m.parameters() if p.requires_grad]
    return {"gradients": sum(learned), "largest": max(learned, default=0)}


def _stem_cost(model: Any, modules: Sequence[nn.Module], numbers: Numbers) -> Cost:
    """A row's share of what stands before the tower's layers; of a convolutional stem its maps."""
    from vkit.models.conv_vision import ConvVisionTower

    kept = sum(norm_kept(m, m.weight.numel()) for m in modules if isinstance(m, nn.LayerNorm))
    pixels = model.pixels / model.tower_rows
    if numbers.half:
        kept += pixels * 2  # the convolution's own copy
    if any(isinstance(module, ConvVisionTower) for module in model.model.modules()):
        maps, side_pixels = 0.0, pixels / 3
        for convolution in (m for m in modules if isinstance(m, nn.Conv2d)):
            side_pixels /= 4
            maps += side_pixels * convolution.out_channels
        kept += maps * numbers.product
    return Cost(kept=kept, again=kept / 2, **_gradients(modules))


def _connector_cost(model: Any, modules: Sequence[nn.Module], numbers: Numbers) -> Cost:
    """For each column that it makes: norms, linear layers and activations one after the other."""
    kept, made, width = 0.0, FULL, 0
    patches = model.tower_rows / model.picture_columns
    for module in modules:
        if isinstance(module, nn.Linear):
            kept += inputs_kept([module], module.in_features, made, numbers)
            made, width = numbers.product, module.out_features
        elif _is_norm(module):
            kept += norm_kept(module, module.weight.numel()) * max(1, patches)  # type: ignore[operator]
            made = FULL
        elif width and _is_activation(module):
            by_element, made = activation_kept(module, numbers)
            kept += width * by_element
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    return Cost(kept=kept, again=width * FULL, **weights_of(nn.ModuleList(modules), linears, numbers))


def _positions_kept(model: Any) -> float:
    """Sines and cosines of a column where they differ by record: of positions on three axes."""
    text = model.decoder.config
    if "mrope_section" not in (getattr(text, "rope_parameters", None) or {}):
        return 0
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 3 * 2 * size * FULL


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and hasattr(module, "weight")


def _is_activation(module: nn.Module) -> bool:
    kind = type(module).__name__
    return not list(module.parameters()) and any(
        word in kind for word in ("GELU", "SiLU", "ReLU", "Activation")
    )
