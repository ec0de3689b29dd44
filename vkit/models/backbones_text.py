"""A frozen text encoder: a state for each token of a text, of texts longer than its positions too.

words = load_text("google/siglip-base-patch16-224")                # vkit.models.backbones
states, mask = words.encode(["How many circles are there?"])       # (B, T, 768) and (B, T)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vkit.errors import VkitError
from vkit.models.frozen import BATCH_SIZE, device_of, digest_of, freeze, last_state, stable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TEXT_TOKENS = 110  # of a question (On VLM reasoners, appendix A.2)

# Trained with texts padded to the last position and no mask: there, padding is part of what the model knows.
_PADDING_IS_SEEN = ("siglip", "siglip2", "siglip_text_model", "siglip2_text_model")


class TextBackbone:
    """A frozen text encoder.

    name: what it was loaded by. size: D, width of a state.
    digest: of the weights, the tokenizer and everything else that decides the features, but not the device.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if getattr(model.config, "is_encoder_decoder", False):
            raise VkitError(f"text encoder {name!r} is an encoder with a decoder; choose an encoder alone")
        self.name, self.batch_size, self.size = name, batch_size, int(model.config.hidden_size)
        self._model, self._tokenizer = freeze(model), tokenizer
        self._before, self._after = _frame(tokenizer, name)
        positions = min(model.config.max_position_embeddings, tokenizer.model_max_length)
        self._window = min(positions, MAX_TEXT_TOKENS)
        self._room = self._window - len(self._before) - len(self._after)
        if self._room < 1:
            raise VkitError(f"text encoder {name!r} takes only {self._window} tokens; choose a longer one")
        self._sees_padding = model.config.model_type in _PADDING_IS_SEEN
        if tokenizer.pad_token_id is None and self._sees_padding:
            raise VkitError(f"text encoder {name!r}: its tokenizer names no padding token; add its files")
        settings = {
            "kind": "text",
            "config": stable(model.config.to_dict()),
            "tokenizer": _tokenizer_settings(tokenizer),
            "window": self._window,
        }
        self.digest = digest_of(model, settings)

    def length(self, text: str) -> int:
        """How many states `encode` gives for ``text``; raises `VkitError` as it does."""
        return len(self._before) + len(self._ids(text)) + len(self._after)

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """states (B, T, D) in float32 on the model's device, zero beyond a text's end, and mask (B, T) bool.

        One state for each token that the tokenizer makes of the text, its start and end tokens included; T is
        the longest text's. A text with more tokens than the model has positions (SigLIP: 64) is encoded in
        windows of nearly equal length, each between a start and an end token of its own, of which only the
        text's first and last have states. Nothing is cut.

        Raises:
            VkitError: a text has more than 110 tokens, or none.
        """
        windows: list[list[int]] = []
        spans: list[list[tuple[int, int, int]]] = []  # of each text: window, first state, end
        for text in texts:
            spans.append([])
            pieces = _split(self._ids(text), self._room)
            for number, piece in enumerate(pieces):
                begin = 0 if number == 0 else len(self._before)
                windows.append([*self._before, *piece, *self._after])
                end = len(windows[-1]) - (len(self._after) if number < len(pieces) - 1 else 0)
                spans[-1].append((len(windows) - 1, begin, end))
        encoded = self._encode_windows(windows)
        lengths = [sum(end - begin for _, begin, end in of_text) for of_text in spans]
        states = encoded.new_zeros(len(texts), max(lengths, default=0), self.size)
        for row, of_text in enumerate(spans):
            joined = torch.cat([encoded[window, begin:end] for window, begin, end in of_text])
            states[row, : len(joined)] = joined
        mask = torch.arange(states.shape[1]) < torch.tensor(lengths, dtype=torch.long)[:, None]
        return states, mask.to(states.device)

    def _ids(self, text: str) -> list[int]:
        ids = list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        count = len(self._before) + len(ids) + len(self._after)
        if count > MAX_TEXT_TOKENS:
            raise VkitError(
                f"text {text[:40]!r}... has {count} tokens for {self.name!r}, more than {MAX_TEXT_TOKENS};"
                " shorten it"
            )
        if count == 0:
            raise VkitError(f"text {text!r} has no tokens for {self.name!r}; give it words")
        return ids

    @torch.no_grad()
    def _encode_windows(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """(windows, positions of a window, D)."""
        device = device_of(self._model)
        batches = [torch.zeros(0, self._window, self.size, device=device)]
        for start in range(0, len(windows), self.batch_size):
            rows = windows[start : start + self.batch_size]
            ids = torch.full((self.batch_size, self._window), self._tokenizer.pad_token_id or 0)
            mask = torch.zeros_like(ids)
            mask[len(rows) :, 0] = 1  # rows that fill the batch up: a softmax over nothing is NaN
            for row, window in enumerate(rows):
                ids[row, : len(window)] = torch.tensor(window)
                mask[row, : len(window)] = 1
            inputs = {"input_ids": ids.to(device)}
            if not self._sees_padding:
                inputs["attention_mask"] = mask.to(device)
            batches.append(last_state(self._model(**inputs)).float()[: len(rows)])
        return torch.cat(batches)


def _split(ids: list[int], room: int) -> list[list[int]]:
    """In as few pieces of at most ``room`` as there have to be, nearly equal.

    >>> _split(list(range(7)), 3)
    [[0, 1, 2], [3, 4], [5, 6]]
    >>> _split([], 3)
    [[]]
    """
    count = max(1, -(-len(ids) // room))
    short, longer = divmod(len(ids), count)
    ends = [short * number + min(number, longer) for number in range(count + 1)]
    return [ids[start:end] for start, end in pairwise(ends)]


def _frame(tokenizer: PreTrainedTokenizerBase, name: str) -> tuple[list[int], list[int]]:
    """The tokens that the tokenizer puts before and after each text."""
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(bare) + 1):
        if bare and whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    raise VkitError(f"text encoder {name!r}: its tokenizer reads 'a' as {bare} alone, but {whole} in a text")


def _tokenizer_settings(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return {"tokenizer": backend.to_str()}
    return {"class": type(tokenizer).__name__, "vocabulary": sorted(tokenizer.get_vocab().items())}
