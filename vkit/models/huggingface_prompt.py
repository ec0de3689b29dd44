"""Writes the prompts of transformers' processors and says what stands in each of their columns, exactly.

    writer = PromptWriter(processor, image_token_id)
    prompts, tensors = writer.write(requests)

The chat template gives a text whose parts are known (`vkit.models.huggingface_chat`). The processor makes
image tokens of the images; what it gives its tokenizer is recorded, tokenised again with character offsets,
and must yield the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vkit.errors import VkitError
from vkit.models.huggingface_chat import Chat, Rendered, Span
from vkit.models.protocol import History, Request

# What processors return per token; everything else of theirs belongs to the pictures. PaliGemma's labels are
# made for training, where they stand in the way of a plain forward.
TYPES = ("token_type_ids", "mm_token_type_ids")
TOKEN_TENSORS = ("input_ids", "attention_mask", "labels", *TYPES)
# An output token's token_type_ids: 0, text, but for PaliGemma, where 0 is the prefix that attends both ways.
CAUSAL_SUFFIX = {"PaliGemmaProcessor": 1}


@dataclass(frozen=True)
class Prompt:
    """One request's prompt, tokenised.

    ids: (T,) int64, the image token's id at image columns.
    types: further per-token tensors by name, (T,) each.
    images: the columns of each picture, in order, and ``pictures`` themselves.
    replacements: the text that the processor put in place of each picture.
    question: (T,) bool.
    answer: (T,) bool, the earlier answers of a conversation, each with its stop token.
    """

    ids: np.ndarray
    types: dict[str, np.ndarray]
    images: tuple[np.ndarray, ...]
    pictures: list[Image.Image]
    replacements: tuple[str, ...]
    question: np.ndarray
    answer: np.ndarray


class PromptWriter:
    """Turns requests into a processor's prompts.

    processor: made by `recording_processor`, or an instance of a class of its kind.
    image_token_id: the id that the model's config gives to image columns.
    stop_ids: the tokens that end an answer.
    """

    def __init__(self, processor: Any, image_token_id: int, stop_ids: Sequence[int] = ()) -> None:
        self.processor, self.image_token_id = processor, image_token_id
        self.tokenizer = processor.tokenizer
        self.family = type(processor).__name__
        if not getattr(self.tokenizer, "is_fast", False):
            raise VkitError(
                f"{self.family}: the tokenizer is a slow one; add its tokenizer.json to the checkpoint"
            )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.chat = Chat(processor, self.tokenizer.convert_ids_to_tokens(list(stop_ids)))
        self.output_type = CAUSAL_SUFFIX.get(self.family, 0)

    def write(
        self, requests: Sequence[Request], histories: Sequence[History] | None = None
    ) -> tuple[list[Prompt], dict[str, Any]]:
        """The prompts, and the processor's tensors that are not per token (pixel values and their like).

        histories: the earlier turns of each request, if any.
        """
        conversations = [
            _Conversation(request, self.chat.render(request, history), _pictures(request, history))
            for request, history in zip(requests, histories or [()] * len(requests), strict=True)
        ]
        texts = [said.rendered.text for said in conversations]
        bos = self.tokenizer.bos_token or ""
        # As in transformers: a template that writes the first token itself does not get a second one.
        settings = {"add_special_tokens": False} if bos and texts[0].startswith(bos) else {}
        encoded = self._process(conversations, settings)
        before, expanded, places = self.processor.recorded or (texts, texts, [[] for _ in texts])
        ids, mask = encoded["input_ids"].numpy(), encoded["attention_mask"].numpy().astype(bool)
        types = self._token_types(encoded)
        prompts = []
        for row, (said, text) in enumerate(zip(conversations, texts)):
            shift = _shift(text, before[row], places[row], bos, getattr(self.processor, "image_token", ""))
            if shift is None:
                raise VkitError(
                    f"request {said.id!r}: {self.family} rewrites the prompt; it is not supported"
                )
            question, answers = (
                [(start + shift(start), stop + shift(stop - 1)) for start, stop in spans]
                for spans in (said.rendered.question, said.rendered.answers)
            )
            prompt = self._locate(
                said, expanded[row], ids[row][mask[row]], places[row], question, answers, settings
            )
            prompt.types.update({key: value[row][mask[row]] for key, value in types.items()})
            prompts.append(prompt)
        return prompts, {key: value for key, value in encoded.items() if key not in TOKEN_TENSORS}

    def _process(self, conversations: Sequence[_Conversation], settings: dict[str, Any]) -> Any:
        images = [said.pictures for said in conversations]
        if any(images) and not all(images):
            raise VkitError("requests with and without images in one batch; encode them in two batches")
        with_images = {"images": images} if any(images) else {}
        texts = [said.rendered.text for said in conversations]
        self.processor.recorded = None
        try:
            encoded = self.processor(text=texts, **with_images, padding=True, return_tensors="pt", **settings)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            names = ", ".join(repr(said.id) for said in conversations)
            raise VkitError(
                f"request {names}: {self.family} refuses it ({error}); change the request"
            ) from error
        if self.processor.recorded is None and any(images):
            raise VkitError(
                f"{self.family} does not say where its image tokens go; this family is not supported"
            )
        return encoded

    def _token_types(self, encoded: Any) -> dict[str, np.ndarray]:
        shape = encoded["input_ids"].shape
        for key, value in encoded.items():
            if key not in TOKEN_TENSORS and getattr(value, "shape", (0,))[:2] == shape:
                raise VkitError(
                    f"{self.family} returns {key!r}, whose meaning for output tokens is not known"
                )
        return {key: encoded[key].numpy() for key in TYPES if key in encoded}

    def _locate(
        self,
        said: _Conversation,
        text: str,
        ids: np.ndarray,
        places: list[dict[str, Any]],
        question: list[Span],
        answers: list[Span],
        settings: dict[str, Any],
    ) -> Prompt:
        again = self.tokenizer(text, return_offsets_mapping=True, **settings)
        if list(again["input_ids"]) != ids.tolist():
            raise VkitError(
                f"request {said.id!r}: {self.family} tokenises in its own way; it is not supported"
            )
        offsets = np.asarray(again["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        image = ids == self.image_token_id
        columns = []
        for place in places:
            start, stop = place["new_span"]
            columns.append(np.flatnonzero(image & (offsets[:, 0] >= start) & (offsets[:, 0] < stop)))
        if (
            len(columns) != len(said.pictures)
            or sum(map(len, columns)) != image.sum()
            or not all(map(len, columns))
        ):
            raise VkitError(
                f"request {said.id!r}: {len(said.pictures)} pictures, but {self.family} makes "
                f"{[len(c) for c in columns]} of {int(image.sum())} image tokens; its files do not fit"
            )
        asked = np.array(
            [any(_belongs(text, s, e, *span) for span in question) for s, e in offsets], dtype=bool
        )
        starts, stops = offsets.T
        answered = np.zeros(len(ids), dtype=bool)
        for start, stop in answers:
            inside = (starts < stop) & (stops > start)
            if (starts[inside] < start).any() or (stops[inside] > stop).any():
                raise VkitError(
                    f"request {said.id!r}: an earlier answer shares a token with the prompt around it;"
                    " rephrase it"
                )
            answered |= inside
        return Prompt(
            ids=ids.astype(np.int64),
            types={},
            images=tuple(columns),
            pictures=said.pictures,
            replacements=tuple(place["replacement"] for place in places),
            question=asked & ~image,
            answer=answered,
        )


class NoVideos(dict[str, Any]):
    """Stands where a processor keeps its video processor; real ones need packages that images do not.

    Empty settings: processors print themselves as JSON when they are made.
    """

    model_input_names: tuple[str, ...] = ()
    _auto_class = None  # looked up when a processor is saved
    num_frames = None  # SmolVLM looks these up in every chat, with a video or not
    fps = None


def recording_processor(base: Any) -> Any:
    """A processor class that takes `NoVideos` and records how images were expanded into text.

    ``recorded`` of its instances is (texts before, texts after, for each text the places of its pictures) of
    the last call, None where the processor did not go that way.
    """

    class Recording(base):
        recorded: tuple[list[str], list[str], list[list[dict[str, Any]]]] | None = None

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if isinstance(argument, NoVideos):
                return NoVideos
            return super().check_argument_for_proper_class(argument_name, argument)

        def to_dict(self) -> dict[str, Any]:
            return {key: part for key, part in super().to_dict().items() if not isinstance(part, NoVideos)}

        def get_text_with_replacements(self, text: list[str], *args: Any, **kwargs: Any) -> Any:
            before = list(text)
            expanded, places = super().get_text_with_replacements(text, *args, **kwargs)
            self.recorded = (before, list(expanded), places)
            return expanded, places

    Recording.__name__ = Recording.__qualname__ = base.__name__
    return Recording


@dataclass(frozen=True)
class _Conversation:
    request: Request
    rendered: Rendered
    pictures: list[Image.Image]

    @property
    def id(self) -> str:
        return self.request.id


def _pictures(request: Request, history: History) -> list[Image.Image]:
    return [image for turn in (*(earlier for earlier, _ in history), request) for image in turn.images]


def _shift(
    text: str, before: str, places: list[dict[str, Any]], bos: str, image_token: str
) -> Callable[[int], int] | None:
    """How far a character of ``text`` moves right in the processor's expanded text; None if it is rewritten.

    PaliGemma's processor puts the first token of the text between the pictures and the words.
    """
    inserted_at = len(text) + 1
    if before != text:
        inserted_at = text.rfind(image_token) + len(image_token) if image_token in text else 0
        if before != text[:inserted_at] + bos + text[inserted_at:] + "\n":
            return None

    def shift(position: int) -> int:
        moved = len(bos) if position >= inserted_at else 0
        grown = [
            len(place["replacement"]) - (place["span"][1] - place["span"][0])
            for place in places
            if place["span"][0] < position + moved
        ]
        return moved + sum(grown)

    return shift


def _belongs(text: str, start: int, stop: int, first: int, last: int) -> bool:
    """Whether the token text[start:stop] shares more than a blank with text[first:last]."""
    shared = text[max(start, first) : min(stop, last)]
    return bool(shared.strip()) or (bool(shared) and first <= start and stop <= last)
