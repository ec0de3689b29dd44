"""What vkit asks of a vision-language model, whatever its family.

    model = load_model("tiny")                       # vkit.models.loading
    batch = model.encode([request])                  # a prompt each, padded
    output = model.generate(batch, max_new_tokens=64)
    batch = model.encode([request], output)          # prompt and output, to be replayed
    hidden = model.forward(batch)                    # (B, T, D)
    batch = model.encode_training([request], ["The angle is 40."])     # and labels (B, T)

The decoder's sequence is measured in *columns*: one per text token and one per image token, after images
have taken the place of their placeholders. A `Layout` says what stands in each column of one item, so that
nothing downstream depends on how a family writes its prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.sampling import GREEDY, Sampling

IMAGE_COLUMN = -1  # in Layout.token_ids: an image token stands here
IGNORE_INDEX = -100  # in labels: nothing is learned from this column


@dataclass(frozen=True)
class Text:
    """A piece of what the user says; ``question`` marks the problem itself and its choices."""

    text: str
    question: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture at its place in what the user says, RGB."""

    image: Image.Image


@dataclass(frozen=True)
class Request:
    """One turn of a user: text and pictures in their order."""

    id: str
    parts: tuple[Text | Picture, ...]

    @property
    def images(self) -> list[Image.Image]:
        return [part.image for part in self.parts if isinstance(part, Picture)]


# The earlier turns of a conversation: what the user said, and what was answered.
History = Sequence[tuple[Request, str]]


@dataclass(frozen=True)
class ImageColumns:
    """Where one picture stands in the decoder's sequence.

    columns: (n,) increasing columns.
    boxes: (n, 4) left, top, right, bottom of the part of the picture that each column was made from, as
        fractions of its width and height (parts that are padding may lie outside 0..1); NaN for a column
        that stands for no part (a row end). None where the family's geometry is not known: the ratio can be
        measured, an overlay cannot be drawn.
    """

    columns: np.ndarray
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Layout:
    """What stands in each column of one item, its padding left out.

    token_ids: (T,) int64, `IMAGE_COLUMN` at image columns.
    prompt_length: columns before the first output token; token_ids[prompt_length:] is the output.
    images: the pictures in their order.
    question: (T,) bool, columns of the user's question and choices.
    offset: columns of padding to the left of this item in its batch; column c of the item is column
        ``offset + c`` of the batch.
    """

    token_ids: np.ndarray
    prompt_length: int
    images: tuple[ImageColumns, ...]
    question: np.ndarray
    offset: int = 0

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def output_length(self) -> int:
        return len(self.token_ids) - self.prompt_length


@dataclass
class Batch:
    """Encoded items: the tensors that the model's forward takes, and the layout of each item.

    ``length`` is the number of columns of the decoder's sequence, padding included.
    """

    inputs: dict[str, Any]
    layouts: list[Layout]
    length: int
    ids: list[str] = field(default_factory=list)


@dataclass
class TrainingBatch(Batch):
    """A batch of prompts and answers; labels (B, T) in columns, `IGNORE_INDEX` at all that is no answer.

    The label of column t is the token of column t, as everywhere: the loss compares hidden state t with
    label t + 1. In the layouts of a conversation the last answer is the output, and all before it the prompt.
    """

    labels: Tensor = field(kw_only=True)


class VisionLanguageModel(Protocol):
    """A model with its processor. Implementations refuse by `VkitError` what they cannot encode exactly."""

    name: str
    random_weights: bool  # True where nothing was learned yet
    mixes_pictures: bool  # whether requests with and without pictures may share a batch

    @property
    def model(self) -> nn.Module:
        """All of it: vision, connector, decoder."""
        ...

    @property
    def decoder(self) -> nn.Module:
        """The transformers model whose attention layers form the language decoder."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def lm_head(self) -> nn.Module:
        """Maps hidden states (.., D) to logits (.., V)."""
        ...

    def encode(
        self,
        requests: Sequence[Request],
        outputs: Sequence[Sequence[int]] | None = None,
        *,
        padding_side: str = "right",
    ) -> Batch:
        """Prompts, each followed by its output if given, padded to one length, on the model's device."""
        ...

    def encode_training(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        history: Sequence[History] | None = None,
        padding_side: str = "right",
    ) -> TrainingBatch:
        """Prompts with their answers and what ends these, and labels of the answers of every turn.

        Args:
            requests: the last turn of each conversation.
            answers: what is to be learned as its answer.
            history: per request, the turns before it; their answers are learned as well.
            padding_side: left or right.

        Raises:
            VkitError: an answer is empty, or a conversation cannot be encoded exactly or is too long for the
                model (nothing is ever cut off); names the request.
        """
        ...

    def forward(self, batch: Batch) -> Tensor:
        """Last hidden states after the final norm, (B, T, D); ``lm_head`` of them gives the logits."""
        ...

    def generate(self, batch: Batch, *, max_new_tokens: int, sampling: Sampling = GREEDY) -> list[list[int]]:
        """Continuation of each prompt, without the end-of-sequence token. Needs left padding.

        What is drawn for an item depends on its logits, its id in the batch and ``sampling`` alone.
        """
        ...

    def tokenize_answer(self, text: str) -> list[int]:
        """The ids of an answer as they follow the prompt."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of output ids, special tokens left out."""
        ...

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load_model` reads, its weights as safetensors."""
        ...


def outputs_of(
    requests: Sequence[Request], outputs: Sequence[Sequence[int]] | None, padding_side: str
) -> Sequence[Sequence[int]]:
    """The arguments of an ``encode`` checked: the output ids of each request, none where none were given."""
    if padding_side not in ("left", "right"):
        raise VkitError(f"padding_side must be left or right, not {padding_side!r}")
    if not requests:
        raise VkitError("there is no request to encode; give at least one")
    if outputs is None:
        return [()] * len(requests)
    if len(outputs) != len(requests):
        raise VkitError(f"{len(requests)} requests but {len(outputs)} outputs; give one for each")
    return outputs


def histories_of(
    requests: Sequence[Request], answers: Sequence[str], history: Sequence[History] | None
) -> Sequence[History]:
    """The arguments of an ``encode_training`` checked: the earlier turns of each request, none without."""
    if len(answers) != len(requests):
        raise VkitError(f"{len(requests)} requests but {len(answers)} answers; give one for each")
    if history is not None and len(history) != len(requests):
        raise VkitError(f"{len(requests)} requests but {len(history)} histories; give one for each")
    histories: Sequence[History] = [()] * len(requests) if history is None else history
    for request, answer, turns in zip(requests, answers, histories):
        if not all(text.strip() for text in (answer, *(earlier for _, earlier in turns))):
            raise VkitError(
                f"request {request.id!r}: the answer is empty, nothing to learn; remove the sample"
            )
    return histories


def token_pieces(model: VisionLanguageModel, ids: Sequence[int]) -> list[str]:
    """The text that each token adds; joined they give ``model.decode(ids)``.

    A token that ends inside a character adds nothing, and the token that completes the character adds it.
    """
    pieces, done = [], ""
    for stop in range(1, len(ids) + 1):
        text = model.decode(ids[:stop])
        whole = stop == len(ids) or not text.endswith("�")
        pieces.append(text[len(done) :] if whole and text.startswith(done) else "")
        if whole and text.startswith(done):
            done = text
    return pieces


def weights_digest(model: VisionLanguageModel) -> str:
    """Tells whether a model's weights are those of before, from up to 1024 values of every tensor.

    Fine-tuning moves nearly all values, so a look at some is enough; the same weights give the same digest
    on every device, and where accelerate keeps them in main memory or on the disk. Of quantized weights the
    bits are looked at, so that they are other weights than those they were made from.

    Raises:
        VkitError: a tensor is nowhere.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.model.state_dict().items()):
        values = _present(model, name, tensor).detach().flatten()
        some = values[:: max(1, values.numel() // 1024)].float().cpu().numpy()
        digest.update(name.encode() + some.tobytes())
    return digest.hexdigest()[:16]


def _present(model: VisionLanguageModel, name: str, tensor: Tensor) -> Tensor:
    """The tensor itself, where the model holds only a word of it and fetches it when a layer runs."""
    if not tensor.is_meta:
        return tensor
    from accelerate.utils import align_module_device

    owner, _, leaf = name.rpartition(".")
    module = model.model.get_submodule(owner)
    try:
        with align_module_device(module, torch.device("cpu")):
            return getattr(module, leaf).detach().clone()
    except ValueError as error:
        raise VkitError(f"model {model.name!r} has no values for {name!r}; load it again") from error
