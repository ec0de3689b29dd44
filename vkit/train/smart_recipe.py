"""What SmarterVLM trains, with what values: the settings of the paper's tables, each a field.

    recipe = override(SMART_RECIPES["paper"], {"qf": "tokens", "lr": "0.001"})
    recipe.smarter_config({7: 12}, frozenset(), vision_sizes=(768, 768), text_size=768)

"paper" holds the values of "On VLM Reasoners" (section 2.2, tables 1 and 3), "mini" what learns the puzzles
of ``vkit data smart-mini --rows 600`` from the tiny backbones on two CPU cores: three epochs of that are 111
steps, too few to learn anything, so it takes more and smaller ones at a higher rate, with less dropout. Rows
of the paper's tables as settings:

    noqf                    qf=none                    single_image_head   single_image_head=true
    lstm_decoder            decoder=lstm               wd0                 weight_decay=0
    warmup0                 warmup_steps=0             warmup0.06          warmup_steps=85
    reprsize256             repr_size=256              hiddensize128       hidden=128
    pdrop0.1                dropout=0.1                lneps1e-5           layer_norm_eps=1e-5
    1_mha_head_qf           heads=1                    batch64             batch_size=64
    rm_text_incomposite     use_text=false             adamweps_beta2_defaults    beta2=0.999
    noim_repr_in_composite  use_image=false            siglip_vision       one --vision
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vkit.errors import VkitError
from vkit.models.smarter_config import SmarterConfig
from vkit.models.smarter_decoders import CELLS
from vkit.sources.smart101 import SPLITS

QF_LAYERS = ("paper", "tokens", "none")
_ABOVE_0 = ("lr", "epochs", "batch_size", "adam_eps", "layer_norm_eps", "repr_size", "hidden", "heads")
_NOT_BELOW_0 = ("warmup_steps", "weight_decay", "max_grad_norm", "patience", "rows")
_SHARES = ("beta1", "beta2", "dropout")


@dataclass(frozen=True)
class SmartRecipe:
    """How a SmarterVLM is built and trained; the defaults are the paper's.

    lr: peak learning rate of AdamW; it rises over ``warmup_steps``, then falls as a cosine to 0.
    weight_decay: of weight matrices; norms and biases have none. adam_eps, beta1, beta2: AdamW's.
    max_grad_norm: the gradient's norm is cut to it; 0 cuts nothing.
    batch_size: questions of a step; epochs: passes over the training part.
    patience: stop when so many epochs in a row brought no better validation S_acc; 0 runs all of them.
    split, rows: of `vkit.sources.smart101.split_of`; 0 rows are the split's own number.
    qf: ``paper``, ``tokens`` (the layer that the paper describes, see `vkit.models.qf`), or ``none``.
    The others are `SmarterConfig`'s; layer_norm_eps is its ``eps``.
    """

    lr: float = 3e-4
    batch_size: int = 128
    epochs: int = 3
    warmup_steps: int = 10
    weight_decay: float = 0.2
    beta1: float = 0.9
    beta2: float = 0.98
    adam_eps: float = 1e-8
    max_grad_norm: float = 1.0
    patience: int = 0
    split: str = "paper"
    rows: int = 0
    qf: str = "paper"
    use_text: bool = True
    use_image: bool = True
    single_image_head: bool = False
    decoder: str = "gru"
    repr_size: int = 128
    hidden: int = 256
    heads: int = 2
    dropout: float = 0.2
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise VkitError(f"{name} must be a finite number, not {value}")
        for name in _ABOVE_0:
            if not getattr(self, name) > 0:
                raise VkitError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in _NOT_BELOW_0:
            if getattr(self, name) < 0:
                raise VkitError(f"{name} must not be below 0, not {getattr(self, name)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise VkitError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        for name, known in (("qf", QF_LAYERS), ("split", SPLITS), ("decoder", tuple(CELLS))):
            if getattr(self, name) not in known:
                raise VkitError(f"{name} {getattr(self, name)!r} is not known; known: {', '.join(known)}")
        if not (self.use_text or self.use_image or self.qf != "none"):
            raise VkitError("nothing is left to answer from; set use_image, use_text or a QF layer")

    @property
    def reads_patches(self) -> bool:
        """Whether the model reads every token of a picture, and not their mean alone."""
        return self.qf == "tokens"

    def smarter_config(
        self,
        classes: Mapping[int, int],
        sequences: frozenset[int],
        vision_sizes: Sequence[int],
        text_size: int,
    ) -> SmarterConfig:
        """The model of this recipe.

        Args:
            classes: of each puzzle, in the order of the model's places.
            sequences: the puzzles whose answer is one.
            vision_sizes, text_size: widths of the backbones.
        """
        return SmarterConfig(
            puzzles=tuple(classes),
            classes=tuple(classes.values()),
            sequence=tuple(puzzle in sequences for puzzle in classes),
            vision_sizes=tuple(vision_sizes),
            text_size=text_size,
            qf=None if self.qf == "none" else self.qf,
            use_text=self.use_text,
            use_image=self.use_image,
            single_image_head=self.single_image_head,
            decoder=self.decoder,
            repr_size=self.repr_size,
            hidden=self.hidden,
            heads=self.heads,
            dropout=self.dropout,
            eps=self.layer_norm_eps,
        )


SMART_RECIPES: dict[str, SmartRecipe] = {
    "paper": SmartRecipe(),
    "mini": SmartRecipe(lr=1e-3, batch_size=64, epochs=20, dropout=0.1),
}
