"""What a training step needs of a device's memory, and what fits, before a model is loaded.

    plan = plan_memory(empty_vlm("llava-hf/llava-1.5-7b-hf"), SFT_RECIPES["llava"], Setting(8, length=2048))
    plan.peak, plan.moment, plan.terms                 # bytes; the terms add up to the peak
    plan.largest_micro_batch(80 * 2**30)

The model is one of shapes (`vkit.train.memory_plan_model`), made ready by the code that makes a real one
ready; what its layers keep follows from their modules (`vkit.train.memory_plan_layers`). A step is walked
through as it runs: to the loss, back through the layers, to the optimizer's update. Its peak is the largest
of these moments:

    teacher    as at the loss, of which its layer at work takes the place; where there is a teacher
    loss       weights + gradients so far + moments + all that was kept + the fused loss's own
    backward   the same without the loss, less what later layers kept, and more for the layer at work
    update     weights + gradients + moments + the update's own copy (on a GPU, one of every gradient)

Weights are float32 in all recipes; with bf16 autocast makes copies beside them. Not counted: what CUDA, its
libraries and fragments take, for which `RESERVE` is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vkit.train.memory_plan_blocks import Block, Head, Network, describe_network
from vkit.train.memory_plan_layers import FULL, Numbers
from vkit.train.recipes import AlignRecipe, Recipe

RESERVE = int(1.5 * 2**30)
MOMENTS = 2  # of AdamW, each as large as the weights that learn
Terms = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """Of one process: records of a forward, columns of each, pictures of each; how many share the work.

    answer_tokens: of a record, that are learned; None: all columns that are no picture's, the most there
    can be. padded: whether records of a forward differ in length; None: where there are several.
    ahead: whether the next step's records are encoded while one runs, as they are with ``workers``.
    """

    micro_batch: int
    length: int
    images: int = 1
    processes: int = 1
    sharded: bool = False
    on_gpu: bool = True
    answer_tokens: int | None = None
    padded: bool | None = None
    ahead: bool = True

    @property
    def is_padded(self) -> bool:
        return self.micro_batch > 1 if self.padded is None else self.padded


@dataclass(frozen=True)
class Plan:
    """A step of a recipe on a model."""

    network: Network
    recipe: Recipe
    setting: Setting

    @cached_property
    def moments(self) -> dict[str, Terms]:
        """The terms, in bytes, of each moment of the step by its name."""
        return _moments(self.network, self.recipe, self.setting)

    @property
    def moment(self) -> str:
        """The moment that needs most."""
        return max(self.moments, key=lambda name: sum(self.moments[name].values()))

    @property
    def terms(self) -> Terms:
        return self.moments[self.moment]

    @property
    def peak(self) -> float:
        return sum(self.terms.values())

    @property
    def unknown(self) -> list[str]:
        """Why all terms are not known; empty where they are."""
        walked = self.moments  # finds them
        return self.network.unknown if walked else []

    @property
    def activations(self) -> dict[str, tuple[int, float, float]]:
        """Of each kind of layer: how many, and what all keep without and with gradient checkpointing."""
        found: dict[str, tuple[int, float, float]] = {}
        for on in (False, True):
            recipe = replace(self.recipe, gradient_checkpointing=on)
            walk = _walk(self.network, recipe, self.setting)
            for block in walk.blocks:
                kind = block.name.rstrip("0123456789 ")
                count, without, with_it = found.get(kind, (0, 0.0, 0.0))
                kept = walk.kept(block)
                found[kind] = (count, without, with_it + kept) if on else (count + 1, without + kept, 0.0)
        return {kind: values for kind, values in found.items() if values[1]}

    def fits(self, memory: float) -> bool:
        return self.peak + (RESERVE if self.setting.on_gpu else 0) <= memory

    def largest_micro_batch(self, memory: float) -> int:
        """The most records of a forward that fit ``memory`` bytes, at most those of a step; 0 for none."""
        most = max(1, math.ceil(self.recipe.batch_size / self.setting.processes))
        low, high = 0, most + 1  # what fits, what does not or is not asked
        while high - low > 1:
            middle = (low + high) // 2
            one = replace(self, setting=replace(self.setting, micro_batch=middle))
            low, high = (middle, high) if one.fits(memory) else (low, middle)
        return low


def plan_memory(model: Any, recipe: Recipe, setting: Setting) -> Plan:
    """The plan of a step.

    Args:
        model: of `vkit.train.memory_plan_model.empty_vlm`; it is made ready for the recipe, and serves once.

    Raises:
        VkitError: the recipe cannot train the model.
    """
    return Plan(describe_network(model, recipe), recipe, setting)


def _moments(network: Network, recipe: Recipe, setting: Setting) -> dict[str, Terms]:
    walk = _walk(network, recipe, setting)
    share = setting.processes if setting.sharded else 1
    # Gradients stand from the step's first forward on where others were before it, and in DDP's buckets.
    ddp = setting.processes > 1 and not setting.sharded
    accumulates = ddp or setting.micro_batch * setting.processes < recipe.batch_size

    learned = network.learned * FULL
    teacher = network.weights * FULL if _has_copy(recipe) else 0
    always = {
        "weights": (network.weights - network.lora) * FULL / share,
        "LoRA factors": network.lora * FULL / share,
        "optimizer state": MOMENTS * learned / share,
        "teacher copy": teacher / share,
        "inputs": walk.inputs,
    }
    found = {
        "loss": {**always, "gradients": learned / share if accumulates else 0, **walk.at_loss()},
    }
    if _asks_teacher(recipe):
        found["teacher's forward"] = {**always, "gradients": learned / share if accumulates else 0}
        found["teacher's forward"].update(walk.at_teacher())
    done = learned if accumulates else network.head.gradients
    kept, copies = walk.kept_in_all, walk.copies_in_all
    for block in reversed(walk.blocks):
        if not block.flows:
            break
        found[f"backward of {block.name}"] = {
            **always,
            "gradients": done / share,
            "activations": kept + walk.again(block),
            "bf16 copies of weights": copies + walk.copies_again(block),
            "weights' new gradients": walk.new_gradients(block),
            **walk.gathered(block),
        }
        kept -= walk.kept(block)
        copies -= walk.copies(block)
        done = min(learned, done + block.cost.gradients)
    found["update"] = {
        **always,
        "gradients": learned / share,
        # The square root of the second moments, of all at once on a GPU.
        "update": (learned if setting.on_gpu else 2 * network.largest * FULL) / share,
    }
    return {name: {term: value for term, value in terms.items() if value} for name, terms in found.items()}


def _walk(network: Network, recipe: Recipe, setting: Setting) -> _Walk:
    numbers = Numbers(recipe.precision == "bf16", setting.on_gpu, setting.is_padded)
    return _Walk(network, network.blocks(numbers), recipe, setting, numbers)


def _has_copy(recipe: Recipe) -> bool:
    return isinstance(recipe, AlignRecipe) and recipe.teacher != "live"


def _asks_teacher(recipe: Recipe) -> bool:
    return isinstance(recipe, AlignRecipe) and recipe.lam > 0


@dataclass(frozen=True)
class _Walk:
    """Bytes of one forward and backward."""

    network: Network
    blocks: list[Block]
    recipe: Recipe
    setting: Setting
    numbers: Numbers

    @property
    def sides(self) -> int:
        """How often all that is kept is kept: the strong side of an alignment too, where it learns."""
        return 2 if isinstance(self.recipe, AlignRecipe) and self.recipe.strong_cross_entropy else 1

    @property
    def columns(self) -> int:
        return self.setting.micro_batch * self.setting.length

    @property
    def inputs(self) -> float:
        """Pixels, ids and masks of all records of the step, encoded before it begins, and of the next one."""
        steps = 2 if self.setting.ahead else 1
        records = steps * math.ceil(self.recipe.batch_size / self.setting.processes)
        numbers = self.setting.images * self.network.pixels * FULL + 3 * 8 * self.setting.length
        return records * numbers * (2 if isinstance(self.recipe, AlignRecipe) else 1)

    def rows(self, block: Block) -> float:
        if block.of_pictures:
            return self.setting.micro_batch * self.setting.images * block.rows
        return self.columns

    def full(self, block: Block) -> float:
        """All that the block's backward reads."""
        mask = self.setting.micro_batch * self.setting.length**2 * block.cost.mask
        return self.rows(block) * block.cost.kept + mask

    def recomputes(self, block: Block) -> bool:
        return self.recipe.gradient_checkpointing and block.recomputes

    def kept(self, block: Block) -> float:
        if not block.flows:
            return 0
        return self.sides * (
            self.rows(block) * block.cost.input if self.recomputes(block) else self.full(block)
        )

    @property
    def kept_in_all(self) -> float:
        shared = 0.0  # one mask of booleans for all layers
        if self.setting.is_padded:
            shared = self.setting.micro_batch * self.setting.length**2
        return sum(map(self.kept, self.blocks)) + shared

    def again(self, block: Block) -> float:
        """What the block's backward needs beyond what was kept."""
        working = self.rows(block) * block.cost.again
        return working + (self.full(block) if self.recomputes(block) else 0)

    def copies(self, block: Block) -> float:
        """bfloat16 weights that wait for the block's backward."""
        if self._gathers_half(block) or not block.flows or self.recomputes(block):
            return 0
        return block.cost.copies

    @property
    def copies_in_all(self) -> float:
        return sum(map(self.copies, self.blocks))

    def copies_again(self, block: Block) -> float:
        return block.cost.copies if self.recomputes(block) and not self._gathers_half(block) else 0

    def new_gradients(self, block: Block) -> float:
        """Of one weight at a time, before it is added to the others."""
        if self._is_gathered(block):
            return block.cost.gradients * (1.5 if self.numbers.half else 2)  # of the layer, and to be summed
        return block.cost.largest * (1.5 if self.numbers.half else 1)

    def gathered(self, block: Block) -> Terms:
        """Whole weights beside the process's parts: all outside layers, and of a layer and the next one."""
        if not self.setting.sharded:
            return {}
        size = 2 if self.numbers.half else FULL
        layer = 2 * block.cost.weights / FULL * size if self._is_gathered(block) else 0
        outside = (
            (self.network.weights - self.network.in_layers) * FULL * (2 if _has_copy(self.recipe) else 1)
        )
        return {"gathered weights": outside + layer + self.network.outside_learned * FULL}

    def at_teacher(self) -> Terms:
        """The teacher runs behind the student: a layer of it makes about what it would keep, for a moment."""
        terms = self.at_loss()
        layer = max((self.full(block) for block in self.blocks if block.recomputes), default=0)
        states = self.columns * self.network.head.width * FULL
        return {**terms, "fused loss": states, "teacher's layer": layer}

    def at_loss(self) -> Terms:
        """The moment of the fused loss: its inputs, gradients and a chunk of logits beside what is kept."""
        head, setting = self.network.head, self.setting
        cached = sum(
            block.cost.cached if self.recomputes(block) else self.copies(block)
            for block in self.blocks
            if not self._gathers_half(block)
        )
        pictures = setting.images * self.network.picture_columns
        answers = setting.length - pictures if setting.answer_tokens is None else setting.answer_tokens
        return {
            "activations": self.kept_in_all,
            "bf16 copies of weights": cached,
            "fused loss": self._loss(head, setting.micro_batch * max(1, answers)),
            **self.gathered(self.blocks[-1]),
        }

    def _loss(self, head: Head, rows: int) -> float:
        """By `vkit.kernels.divergence_chunks`: in its forward a chunk of logits, and whole the rows, their
        gradient and the head's; in its backward both gradients again, scaled.
        """
        from vkit.kernels.divergence_chunks import CHUNK_MIB

        align = _asks_teacher(self.recipe)
        logits = 2 if align else 1  # of a row: the student's, the teacher's
        budget = (self.recipe.chunk_mib or CHUNK_MIB["cuda" if self.setting.on_gpu else "cpu"]) * 2**20
        row = head.vocabulary * FULL * logits
        most = max(1, int(budget / row))
        size = math.ceil(rows / math.ceil(rows / most))
        states = self.columns * head.width * FULL * (2 if align else 1)
        own = rows * head.width * FULL * (3 if align else 2)
        products = size * head.width * FULL * (3 if align else 2)
        forward = states + own + size * row + products + head.gradients
        backward = self.columns * head.width * FULL + 1.5 * own + 2 * head.gradients
        return max(forward, backward)

    def _is_gathered(self, block: Block) -> bool:
        return self.setting.sharded and block.recomputes  # the same layers are checkpointed and shared out

    def _gathers_half(self, block: Block) -> bool:
        return self._is_gathered(block) and self.numbers.half
