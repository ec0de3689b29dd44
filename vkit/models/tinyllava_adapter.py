"""TinyLLaVA behind vkit's protocol: prompts, pictures, batches, generation, training labels.

model = load_model("path/to/TinyLLaVA-Phi-2-SigLIP-3.1B")       # vkit.models.loading
batch = model.encode([Request("1", (Picture(image), Text("Find x.", question=True)))], padding_side="left")
model.decode(model.generate(batch, max_new_tokens=64)[0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.lora import refuse_added
from vkit.models.protocol import (
    IGNORE_INDEX,
    IMAGE_COLUMN,
    Batch,
    History,
    ImageColumns,
    Layout,
    Request,
    TrainingBatch,
    histories_of,
    outputs_of,
)
from vkit.models.sampling import GREEDY, Chooser, Sampling
from vkit.models.tinyllava import IMAGE_TOKEN, TinyLlava
from vkit.models.tinyllava_images import ImageSettings
from vkit.models.tinyllava_prompt import EOS, Prompt, tokenize_answer, tokenize_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TinyLlavaModel:
    """Implements `vkit.models.protocol.VisionLanguageModel`.

    Args:
        model: the module, on its device.
        tokenizer: a fast tokenizer.
        images: how pictures are prepared.
        name: what reports call the model.
        files: the checkpoint's other files, written back by `save`.
        random_weights: True where nothing was learned, so that reports can say that the numbers mean nothing.
    """

    mixes_pictures = True

    def __init__(
        self,
        model: TinyLlava,
        tokenizer: PreTrainedTokenizerBase,
        images: ImageSettings,
        *,
        name: str,
        files: dict[str, bytes] | None = None,
        random_weights: bool = False,
    ) -> None:
        family = model.config.text.model_type
        if family not in EOS:
            raise VkitError(
                f"{name}: the prompt template of {family!r} models is not known; known: {', '.join(EOS)}"
            )
        if not tokenizer.is_fast:
            raise VkitError(f"{name}: needs a fast tokenizer; add its tokenizer.json to the checkpoint")
        self.eos = EOS[family]
        self.eos_token_id = tokenizer.get_vocab().get(EOS[family], -1)
        if self.eos_token_id < 0:
            raise VkitError(
                f"{name}: the tokenizer lacks {EOS[family]!r}; copy the one of the language model"
            )
        if len(tokenizer) > model.language_model.get_input_embeddings().num_embeddings:
            raise VkitError(
                f"{name}: the tokenizer has more tokens than the model; they do not belong together"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.images = images
        self.name = name
        self.files = files or {}
        self.random_weights = random_weights

    @property
    def decoder(self) -> nn.Module:
        return self.model.language_model.get_decoder()

    @property
    def lm_head(self) -> nn.Module:
        return self.model.language_model.get_output_embeddings()

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(
        self,
        requests: Sequence[Request],
        outputs: Sequence[Sequence[int]] | None = None,
        *,
        padding_side: str = "right",
    ) -> Batch:
        """Prompts, each followed by its output tokens if given, padded to one length, on the model's device.

        Raises:
            VkitError: a text holds ``<image>`` or a special token, a sequence is longer than the model takes,
                or outputs do not fit the requests; names the request.
        """
        outputs = outputs_of(requests, outputs, padding_side)
        return self._pad([self._item(*item) for item in zip(requests, outputs)], padding_side)

    def encode_training(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        history: Sequence[History] | None = None,
        padding_side: str = "right",
    ) -> TrainingBatch:
        """Prompts with their answers and the end-of-sequence token, and the labels of these in every turn.

        Raises:
            VkitError: as `encode`; an answer is empty, so that nothing would be learned from it; a turn other
                than the first shows a picture.
        """
        outputs_of(requests, None, padding_side)
        items = []
        for request, answer, turns in zip(requests, answers, histories_of(requests, answers, history)):
            try:
                output = [*self.tokenize_answer(answer), self.eos_token_id]
            except VkitError as error:
                raise VkitError(f"request {request.id!r}: {error}") from error
            items.append(self._item(request, output, turns))
        batch = self._pad(items, padding_side)
        labels = torch.full((len(requests), batch.length), IGNORE_INDEX)
        for row, item, layout in zip(labels, items, batch.layouts):
            columns = np.flatnonzero(item.answer)
            row[layout.offset + columns] = torch.from_numpy(layout.token_ids[columns])
        return TrainingBatch(**vars(batch), labels=labels.to(self.device))

    def _pad(self, items: Sequence[_Item], padding_side: str) -> Batch:
        ids = [item.ids for item in items]
        layouts = [item.layout for item in items]
        longest, length = max(map(len, ids)), max(map(len, layouts))
        input_ids = torch.full((len(ids), longest), self.eos_token_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, item_ids in enumerate(ids):
            start = longest - len(item_ids) if padding_side == "left" else 0
            input_ids[row, start : start + len(item_ids)] = torch.tensor(item_ids)
            attention_mask[row, start : start + len(item_ids)] = 1
        if padding_side == "left":
            layouts = [_shifted(layout, length - len(layout)) for layout in layouts]
        pictures = [self.images.pixel_values(image) for item in items for image in item.prompt.images]
        return Batch(
            inputs={
                "input_ids": input_ids.to(self.device),
                "attention_mask": attention_mask.to(self.device),
                "pixel_values": torch.from_numpy(np.stack(pictures)).to(self.device) if pictures else None,
                "padding_side": padding_side,
            },
            layouts=layouts,
            length=length,
            ids=[item.id for item in items],
        )

    def forward(self, batch: Batch) -> Tensor:
        """Last hidden states after the final norm, (B, T, D)."""
        return self.model(**batch.inputs, compute_logits=False).last_hidden_state

    @torch.no_grad()
    def generate(self, batch: Batch, *, max_new_tokens: int, sampling: Sampling = GREEDY) -> list[list[int]]:
        """Continuation of each prompt, without the end-of-sequence token.

        Raises:
            VkitError: prompts of different lengths are not padded on the left, the output would pass the
                model's last position, or the logits are not numbers.
        """
        for id_, layout in zip(batch.ids, batch.layouts):
            if layout.offset + len(layout) != batch.length:
                raise VkitError(f"request {id_!r} is padded on the right; encode with padding_side='left'")
            self._check_positions(id_, len(layout) + max_new_tokens, "prompt and new tokens")
        training = self.model.training
        self.model.eval()
        try:
            tokens = self._continue(batch, max_new_tokens, Chooser(sampling, batch.ids, self.device))
        finally:
            self.model.train(training)
        return [row[: row.index(self.eos_token_id)] if self.eos_token_id in row else row for row in tokens]

    def tokenize_answer(self, text: str) -> list[int]:
        """The ids of an answer as they follow the prompt, without the end-of-sequence token."""
        return tokenize_answer(text, self.tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of output ids, special tokens left out."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def save(self, folder: str | Path, *, max_shard_size: int = 5 * 10**9) -> None:
        """Write a checkpoint in the official layout; see `tinyllava_checkpoint.write_checkpoint`.

        Raises:
            VkitError: the model holds a LoRA adapter that is not merged.
        """
        from vkit.models.tinyllava_checkpoint import write_checkpoint

        refuse_added(self.model)
        raw = {key: value for key, value in self.model.config.raw.items() if key != "random_weights"}
        if self.random_weights:
            raw["random_weights"] = True
        write_checkpoint(Path(folder), self.model, raw, self.files, max_shard_size=max_shard_size)

    def _item(self, request: Request, output: Sequence[int], history: History = ()) -> _Item:
        prompt = tokenize_prompt(request, self.tokenizer, history, eos=self.eos)
        vocabulary = self.model.language_model.get_input_embeddings().num_embeddings
        if not all(0 <= token < vocabulary for token in output):
            raise VkitError(
                f"request {request.id!r}: an output id lies outside the vocabulary of {vocabulary}"
            )
        ids = [*prompt.ids, *output]
        width = self.model.config.num_image_tokens
        widths = [width if token == IMAGE_TOKEN else 1 for token in ids]
        token_ids = np.repeat([IMAGE_COLUMN if token == IMAGE_TOKEN else token for token in ids], widths)
        starts = np.cumsum(widths) - widths
        places = [start for start, token in zip(starts, ids) if token == IMAGE_TOKEN]
        prompt_length = len(token_ids) - len(output)
        limit = self.model.config.max_length
        if prompt_length > limit:
            raise VkitError(
                f"request {request.id!r}: the prompt takes {prompt_length} columns, over the model's"
                f" tokenizer_model_max_length of {limit}; shorten it"
            )
        self._check_positions(request.id, len(token_ids), "prompt and output")
        layout = Layout(
            token_ids=token_ids.astype(np.int64),
            prompt_length=prompt_length,
            images=tuple(
                ImageColumns(start + np.arange(width), self.images.boxes(image, self.model.config))
                for start, image in zip(places, prompt.images)
            ),
            question=np.repeat([*prompt.question, *[False] * len(output)], widths).astype(bool),
        )
        answer = np.repeat([*prompt.answer, *[True] * len(output)], widths).astype(bool)
        return _Item(request.id, ids, prompt, layout, answer)

    def _check_positions(self, id_: str, length: int, what: str) -> None:
        limit = self.model.config.text.max_position_embeddings
        if length > limit:
            raise VkitError(
                f"request {id_!r}: {what} take {length} columns, over the model's max_position_embeddings of"
                f" {limit}; shorten them"
            )

    def _continue(self, batch: Batch, max_new_tokens: int, chooser: Chooser) -> list[list[int]]:
        spliced = self.model.splice(**batch.inputs)
        mask, position = spliced.attention_mask, spliced.position_ids[:, -1:]
        finished = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
        step = {"inputs_embeds": spliced.inputs_embeds, "position_ids": spliced.position_ids}
        cache, tokens = None, []
        sound = torch.ones_like(finished)
        for number in range(max_new_tokens):
            output = self.decoder(**step, attention_mask=mask, past_key_values=cache, use_cache=True)
            logits = self.lm_head(output.last_hidden_state[:, -1])
            highest, token = chooser.scores(logits, number).max(dim=-1)
            sound &= highest.isfinite() | finished
            tokens.append(token)
            finished |= token == self.eos_token_id
            if finished.all():
                break
            cache, position = output.past_key_values, position + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            step = {"input_ids": token[:, None], "position_ids": position}
        if not sound.all():
            raise VkitError(
                f"request {batch.ids[int(sound.int().argmin())]!r}: the model's logits are not numbers, as "
                "where float16 overflows or a weight is damaged; try --dtype float32"
            )
        return torch.stack(tokens, dim=1).tolist() if tokens else [[] for _ in batch.layouts]


@dataclass(frozen=True)
class _Item:
    """A prompt and its output; ``answer`` (T,) is True at the columns of every turn's answer."""

    id: str
    ids: list[int]
    prompt: Prompt
    layout: Layout
    answer: np.ndarray


def _shifted(layout: Layout, offset: int) -> Layout:
    return Layout(layout.token_ids, layout.prompt_length, layout.images, layout.question, offset)
