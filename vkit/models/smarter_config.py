"""The shape of a SmarterVLM, as one small record that a recipe or a checkpoint can hold.

config = SmarterConfig(puzzles=(7, 18), classes=(12, 6), sequence=(False, True), qf="tokens")
config.composite_size                                    # 1664
"""

from __future__ import annotations

from dataclasses import dataclass

from vkit.errors import VkitError
from vkit.models.smarter_decoders import CELLS

SEQUENCE_STEPS = 10


@dataclass(frozen=True)
class SmarterConfig:
    """The model's puzzles, its sizes (the paper's unless given) and which of its parts it has.

    puzzles: their numbers; a batch names a puzzle by its place here. classes: of each puzzle's answers.
    sequence: whether a puzzle's answer is a sequence of `SEQUENCE_STEPS` classes.
    vision_sizes: widths of the vision backbones. text_size: width of the text states.
    qf: ``tokens``, ``paper`` (see `vkit.models.qf`) or None. use_image, use_text: whether r1 and r3 are in
    the composite; the QF layer reads picture and text all the same. single_image_head: one image encoder for
    all puzzles. decoder: of sequences, ``gru`` or ``lstm``. repr_size: of r1 and of the fused vector.
    hidden, heads: of the QF layer. dropout: its probability. eps: of every LayerNorm.

    Raises:
        VkitError: the values do not make a model.
    """

    puzzles: tuple[int, ...]
    classes: tuple[int, ...]
    sequence: tuple[bool, ...]
    vision_sizes: tuple[int, ...] = (768, 768)
    text_size: int = 768
    qf: str | None = "paper"
    use_text: bool = True
    use_image: bool = True
    single_image_head: bool = False
    decoder: str = "gru"
    repr_size: int = 128
    hidden: int = 256
    heads: int = 2
    dropout: float = 0.2
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("puzzles", "classes", "sequence", "vision_sizes"):  # lists, where read from a file
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.puzzles) == len(self.classes) == len(self.sequence) >= 1:
            raise VkitError(
                "puzzles, classes and sequence say one thing each of every puzzle; got"
                f" {len(self.puzzles)}, {len(self.classes)} and {len(self.sequence)} of them"
            )
        for puzzle, classes in zip(self.puzzles, self.classes):
            if classes < 1:
                raise VkitError(f"puzzle {puzzle} has {classes} classes; a decoder needs one at least")
        if self.decoder not in CELLS:
            raise VkitError(f"no decoder is called {self.decoder!r}; choose one of {', '.join(CELLS)}")
        if not (self.use_text or self.use_image or self.qf):
            raise VkitError("nothing is left to answer from; switch on use_image, use_text or a QF layer")

    @property
    def composite_size(self) -> int:
        """Width of r1, r2 and r3 side by side; 128 + 768 + 768 = 1664 in the paper."""
        return self.use_image * self.repr_size + ((self.qf is not None) + self.use_text) * self.text_size
