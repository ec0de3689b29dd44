"""What a stage trains, with what values: small dataclasses that a YAML file and ``key=value`` override.

    recipe = override(RECIPES["paper"][2], {"lam": "0.5", "teacher": "frozen"})
    recipe.lam                                            # 0.5

"paper" holds the values of Math-PUMA (Experimental Setup; equations 1-5) and what its release trains in each
stage, "released" the loss as the release computes it, "tiny" what trains the tiny preset on two CPU cores.
`SFT_RECIPES` are recipes of supervised fine-tuning alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vkit.errors import VkitError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ALL_PARTS = ("vision_tower", "connector", "language_model")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise VkitError(f"{name} {value!r} is not known; known: {', '.join(known)}")


_NATURAL = ("micro_batch_size", "max_steps", "weight_decay", "max_grad_norm", "lora_rank", "chunk_mib")


@dataclass(frozen=True)
class Recipe:
    """What all stages share.

    lr: peak learning rate of AdamW; it rises over ``warmup_ratio`` of the steps, then falls as a cosine to 0.
    batch_size: records per optimizer step; micro_batch_size: records per forward, 0 for all of them.
    epochs: passes over the data; max_steps: optimizer steps, which overrules epochs where it is not 0.
    train: the parts that learn, of vision_tower, connector, language_model; the others are frozen.
    precision: "fp32", or "bf16" for autocast over weights that stay in fp32.
    lora_rank: 0 trains whole weights; above 0 the language model learns LoRA factors of this rank.
    prompt: a name of `vkit.prompts.PROMPTS`.
    seed: of the order of the records and of dropout.
    chunk_mib: memory for logits in the fused loss; 0 for its own choice.
    """

    lr: float = 2e-5
    batch_size: int = 128
    micro_batch_size: int = 8
    epochs: float = 1.0
    max_steps: int = 0
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    train: tuple[str, ...] = ALL_PARTS
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    lora_alpha: float = 64.0
    lora_dropout: float = 0.05
    prompt: str = "plain"
    seed: int = 0
    chunk_mib: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise VkitError(f"{name} must be a finite number, not {value}")
        for name in ("lr", "batch_size", "epochs", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise VkitError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in _NATURAL:
            if getattr(self, name) < 0:
                raise VkitError(f"{name} must not be below 0, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise VkitError(f"seed must lie between 0 and 2^32 - 1, not {self.seed}")
        for name in ("warmup_ratio", "beta1", "beta2", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise VkitError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        _one_of("precision", self.precision, ("fp32", "bf16"))
        for part in self.train:
            _one_of("train", part, ALL_PARTS)
        if not self.train:
            raise VkitError(f"train names no part; choose from {', '.join(ALL_PARTS)}")


@dataclass(frozen=True)
class SftRecipe(Recipe):
    """Supervised fine-tuning: cross-entropy on answers (stages 1 and 3, and LLaVA's).

    twins: which sides of a pair are learned where the data are pairs: "text" (text-rich twins whose text is
        complete, without their picture), "both", or "vision".
    target: what is learned from a problem: its "rationale", or its "answer" alone.
    pack_to: columns of a row that several short samples share; 0 gives each sample a row.
    """

    twins: str = "both"
    target: str = "rationale"
    pack_to: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("twins", self.twins, ("text", "both", "vision"))
        _one_of("target", self.target, ("rationale", "answer"))
        if self.pack_to < 0:
            raise VkitError(f"pack_to must not be below 0, not {self.pack_to}")


@dataclass(frozen=True)
class AlignRecipe(Recipe):
    """Alignment of the vision-rich (weak) twin with the text-rich (strong) one: stage 2, equation 5.

    alpha: weight of KL(weak||strong); 1 - alpha weighs KL(strong||weak). lam: the divergences against
        cross-entropy. temperature: tau.
    temperature_power: the divergences are multiplied by tau to this power: 2 in the paper, 4 in the release.
    standardize: z-score the logits of each position before the softmax, as the release does.
    kl_per: what the sum of the divergences is divided by: "token" (paper) or "item" (release).
    shift: compare the predictions of the response's tokens (paper); False compares the predictions made *at*
        them, as the release does, which leaves out the first token's and adds the one after the last.
    teacher: "live" (the weights being trained), "frozen" (a copy from the start of the stage) or "ema".
    strong: the strong side: "text-rich" (that twin), or "text-only" (its text without its picture; the
        twin's text has to be complete).
    strong_cross_entropy: weight of cross-entropy on the strong side, 0 for none; needs the live teacher.
    """

    alpha: float = 0.2
    lam: float = 0.1
    temperature: float = 1.0
    temperature_power: float = 2.0
    standardize: bool = False
    kl_per: str = "token"
    shift: bool = True
    teacher: str = "live"
    ema_decay: float = 0.999
    strong: str = "text-rich"
    strong_cross_entropy: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise VkitError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if not self.temperature > 0:
            raise VkitError(f"temperature must be above 0, not {self.temperature}")
        if not 0 <= self.ema_decay < 1:
            raise VkitError(f"ema_decay must be at least 0 and below 1, not {self.ema_decay}")
        if self.strong_cross_entropy < 0:
            raise VkitError(f"strong_cross_entropy must not be below 0, not {self.strong_cross_entropy}")
        _one_of("kl_per", self.kl_per, ("token", "item"))
        _one_of("teacher", self.teacher, ("live", "frozen", "ema"))
        _one_of("strong", self.strong, ("text-rich", "text-only"))
        if self.strong_cross_entropy and self.teacher != "live":
            raise VkitError(
                f"strong_cross_entropy trains the strong side, but the {self.teacher} teacher never learns;"
                " set strong_cross_entropy=0 or teacher=live"
            )


_PAPER: dict[str, Any] = dict(weight_decay=0.1, warmup_ratio=0.02, precision="bf16")
_STAGE_1 = SftRecipe(lr=3e-5, batch_size=256, train=("language_model",), twins="text", **_PAPER)
_STAGE_2 = AlignRecipe(lr=5e-5, batch_size=512, train=("vision_tower", "connector"), **_PAPER)
_STAGE_3 = SftRecipe(lr=3e-5, batch_size=256, **_PAPER)
_TINY: dict[str, Any] = dict(lr=2e-3, weight_decay=0.1, beta2=0.98, warmup_ratio=0.05, micro_batch_size=0)

RECIPES: dict[str, dict[int, SftRecipe | AlignRecipe]] = {
    "paper": {1: _STAGE_1, 2: _STAGE_2, 3: _STAGE_3},
    "released": {
        1: _STAGE_1,
        2: replace(_STAGE_2, alpha=0.5, standardize=True, temperature_power=4.0, kl_per="item", shift=False),
        3: _STAGE_3,
    },
    "tiny": {
        1: SftRecipe(batch_size=96, max_steps=500, train=("language_model",), twins="text", **_TINY),
        # The strong side learns too: with live weights alone it forgets text within this stage.
        2: AlignRecipe(batch_size=48, max_steps=400, strong="text-only", strong_cross_entropy=0.5, **_TINY),
        3: SftRecipe(batch_size=48, max_steps=400, **_TINY),
    },
}

SFT_RECIPES: dict[str, SftRecipe] = {
    # LLaVA-1.5's visual instruction tuning.
    "llava": SftRecipe(lr=2e-5, batch_size=128, train=("connector", "language_model"), precision="bf16"),
    # Math-LLaVA, Implementation Details: all weights, two epochs, 16 a device on 8 devices.
    "math-llava": SftRecipe(lr=2e-5, batch_size=128, micro_batch_size=16, epochs=2, precision="bf16"),
    # Tey's study, section 4.2: LoRA of rank 32 on the language model, three epochs.
    "tey": SftRecipe(
        lr=2e-5, epochs=3, lora_rank=32, train=("language_model",), prompt="finetuned", precision="bf16"
    ),
    "tiny": SftRecipe(batch_size=48, max_steps=400, **_TINY),
}

AnyRecipe = TypeVar("AnyRecipe", bound="DataclassInstance")


def override(recipe: AnyRecipe, values: Mapping[str, Any]) -> AnyRecipe:
    """The recipe, a dataclass of plain values, with others; text is read as the field's type.

    Raises:
        VkitError: a name that the recipe has not, or a value of another type or out of its range.

    >>> override(AlignRecipe(), {"lam": "0.5", "train": "connector"}).train
    ('connector',)
    >>> override(SftRecipe(), {"lora_rnk": 1})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vkit.errors.VkitError: the recipe has no 'lora_rnk' (did you mean 'lora_rank'?); it has lr, ...
    """
    kinds = {field.name: type(field.default) for field in dataclasses.fields(recipe)}
    changes = {}
    for name, value in values.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise VkitError(f"the recipe has no {name!r}{hint}; it has {', '.join(kinds)}")
        changes[name] = _read(name, value, kinds[name])
    return replace(recipe, **changes)


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `VkitError` naming the file."""
    import yaml

    if not path.exists():
        raise VkitError(f"{path} cannot be read: it does not exist; check --config")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # also Python's own: for a day that no month has, a number without digits
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise VkitError(f"{path} cannot be read as YAML ({reason}); correct it") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise VkitError(f"{path} must hold a mapping such as 'lr: 0.001'")
    return values


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, str]:
    """``("lr=1e-4", "stage2.lam=0")`` as a mapping. Raises `VkitError` where there is no "="."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise VkitError(f"--set {assignment!r} is no assignment; write it as name=value")
        values[name.strip()] = value.strip()
    return values


def _read(name: str, value: Any, kind: type) -> Any:
    refusal = VkitError(f"{name} must be {_SPELLED[kind]}, not {reprlib.repr(value)}")
    if kind is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise refusal
        return tuple(items)
    if kind is bool:
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise refusal
        return value
    if kind is str:
        if not isinstance(value, str):
            raise refusal
        return value
    if isinstance(value, bool):
        raise refusal
    try:
        number = float(value)
        if number != number or (kind is int and number != int(number)):
            raise refusal
        return kind(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal from error


_SPELLED = {
    tuple: "names, separated by commas",
    bool: "true or false",
    str: "text",
    int: "a whole number",
    float: "a number",
}
