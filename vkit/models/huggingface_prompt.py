"""Writes the prompts of transformers' processors and says what stands in each of their columns, exactly.

    writer = PromptWriter(processor, image_token_id)
    prompts, tensors = writer.write(requests)

A chat template is rendered twice, once with a mark in place of each text, so that the place of every text is
known without searching for it. The processor then makes image tokens of the images; what it gives its
tokenizer is recorded, tokenised again with character offsets, and must yield the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vkit.errors import VkitError
from vkit.models.protocol import Picture, Request, Text

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
    images: the columns of each picture, in order.
    replacements: the text that the processor put in place of each picture.
    question: (T,) bool.
    """

    ids: np.ndarray
    types: dict[str, np.ndarray]
    images: tuple[np.ndarray, ...]
    replacements: tuple[str, ...]
    question: np.ndarray


class PromptWriter:
    """Turns requests into a processor's prompts.

    processor: made by `recording_processor`, or an instance of a class of its kind.
    image_token_id: the id that the model's config gives to image columns.
    """

    def __init__(self, processor: Any, image_token_id: int) -> None:
        self.processor, self.image_token_id = processor, image_token_id
        self.tokenizer = processor.tokenizer
        self.family = type(processor).__name__
        if not getattr(self.tokenizer, "is_fast", False):
            raise VkitError(
                f"{self.family}: the tokenizer is a slow one; add its tokenizer.json to the checkpoint"
            )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        added = self.tokenizer.added_tokens_decoder.values()
        named = [getattr(processor, f"{kind}_token", None) for kind in ("image", "video", "boi")]
        self.reserved = sorted({t.content for t in added if t.special} | {t for t in named if t})
        self.output_type = CAUSAL_SUFFIX.get(self.family, 0)

    def write(self, requests: Sequence[Request]) -> tuple[list[Prompt], dict[str, Any]]:
        """The prompts, and the processor's tensors that are not per token (pixel values and their like)."""
        rendered = [self._render(request) for request in requests]
        texts = [text for text, _ in rendered]
        bos = self.tokenizer.bos_token or ""
        # As in transformers: a template that writes the first token itself does not get a second one.
        settings = {"add_special_tokens": False} if bos and texts[0].startswith(bos) else {}
        encoded = self._process(requests, texts, settings)
        before, expanded, places = self.processor.recorded or (texts, texts, [[] for _ in texts])
        ids, mask = encoded["input_ids"].numpy(), encoded["attention_mask"].numpy().astype(bool)
        types = self._token_types(encoded)
        prompts = []
        for row, (request, (text, ranges)) in enumerate(zip(requests, rendered)):
            shift = _shift(text, before[row], places[row], bos, getattr(self.processor, "image_token", ""))
            if shift is None:
                raise VkitError(
                    f"request {request.id!r}: {self.family} rewrites the prompt; it is not supported"
                )
            question = [(start + shift(start), stop + shift(start)) for start, stop in ranges]
            prompt = self._locate(
                request, expanded[row], ids[row][mask[row]], places[row], question, settings
            )
            prompt.types.update({key: value[row][mask[row]] for key, value in types.items()})
            prompts.append(prompt)
        return prompts, {key: value for key, value in encoded.items() if key not in TOKEN_TENSORS}

    def _process(self, requests: Sequence[Request], texts: list[str], settings: dict[str, Any]) -> Any:
        images = [request.images for request in requests]
        if any(images) and not all(images):
            raise VkitError("requests with and without images in one batch; encode them in two batches")
        with_images = {"images": images} if any(images) else {}
        self.processor.recorded = None
        try:
            encoded = self.processor(
                text=list(texts), **with_images, padding=True, return_tensors="pt", **settings
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            names = ", ".join(repr(request.id) for request in requests)
            raise VkitError(
                f"request {names}: {self.family} refuses it ({error}); change the request"
            ) from error
        if self.processor.recorded is None and any(images):
            raise VkitError(
                f"{self.family} does not say where its image tokens go; this family is not supported"
            )
        return encoded

    def answer_lead(self, request: Request) -> tuple[str, str]:
        """A prompt, and the blanks that the chat template puts between a prompt and its answer."""
        prompt, _ = self._render(request)
        if self.processor.chat_template is None:
            return prompt + "\n", ""  # PaliGemma's processor ends each prompt so
        answer = "\ue002"
        contents = _merged(request)
        words = [content.text for content in contents if isinstance(content, _Words)]
        whole = self._apply_template(request, contents, words, answer=answer)
        lead = whole[len(prompt) :].partition(answer)[0]
        return prompt, lead if whole.startswith(prompt) and lead.isspace() else ""

    def _token_types(self, encoded: Any) -> dict[str, np.ndarray]:
        shape = encoded["input_ids"].shape
        for key, value in encoded.items():
            if key not in TOKEN_TENSORS and getattr(value, "shape", (0,))[:2] == shape:
                raise VkitError(
                    f"{self.family} returns {key!r}, whose meaning for output tokens is not known"
                )
        return {key: encoded[key].numpy() for key in TYPES if key in encoded}

    def _render(self, request: Request) -> tuple[str, list[tuple[int, int]]]:
        """The prompt's text with one placeholder per picture, and the character ranges of the question."""
        contents = _merged(request)
        for content in contents:
            for token in self.reserved:
                if isinstance(content, _Words) and token in content.text:
                    raise VkitError(
                        f"request {request.id!r}: its text holds {token!r}, which {self.family} reads as a "
                        "special token; remove it"
                    )
        if self.processor.chat_template is None:
            return self._render_plain(request, contents)
        words = [content for content in contents if isinstance(content, _Words)]
        marks = [f"\ue000{index}\ue001" for index in range(len(words))]
        marked = self._apply_template(request, contents, marks)
        if any(marked.count(mark) != 1 for mark in marks):
            raise VkitError(
                f"request {request.id!r}: the chat template of {self.family} changes the text; simplify it"
            )
        real = self._apply_template(request, contents, [word.text for word in words])
        for trim in (False, True):  # some templates strip each text
            text, ranges = marked, []
            for mark, word in sorted(zip(marks, words), key=lambda pair: marked.index(pair[0])):
                start, lead = text.index(mark), len(word.text) - len(word.text.lstrip()) if trim else 0
                kept = word.text.strip() if trim else word.text
                text = text.replace(mark, kept, 1)
                for a, b in word.question:
                    a, b = (min(max(x - lead, 0), len(kept)) for x in (a, b))
                    ranges.append((start + a, start + b))
            if text == real:
                return text, ranges
        raise VkitError(
            f"request {request.id!r}: the chat template of {self.family} changes the text; simplify it"
        )

    def _render_plain(self, request: Request, contents: list[Any]) -> tuple[str, list[tuple[int, int]]]:
        """PaliGemma's form: the pictures, then the words."""
        if self.family != "PaliGemmaProcessor":
            raise VkitError(
                f"{self.family}: the checkpoint has no chat template; use an instruction-tuned one, or add "
                "its chat_template.jinja"
            )
        words = [content for content in contents if isinstance(content, _Words)]
        text, ranges = self.processor.image_token * len(request.images), []
        for word in words:
            ranges += [(len(text) + a, len(text) + b) for a, b in word.question]
            text += word.text
        return text, ranges

    def _apply_template(
        self, request: Request, contents: list[Any], texts: list[str], *, answer: str | None = None
    ) -> str:
        """The user's turn with ``texts`` as its words, up to where the answer starts, or with the answer."""
        from jinja2 import TemplateError

        rest = iter(texts)
        content = [
            {"type": "text", "text": next(rest)} if isinstance(part, _Words) else {"type": "image"}
            for part in contents
        ]
        turns = [{"role": "user", "content": content}]
        if answer is not None:
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        try:
            return self.processor.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answer is None
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise VkitError(
                f"request {request.id!r}: the chat template of {self.family} fails ({error})"
            ) from error

    def _locate(
        self,
        request: Request,
        text: str,
        ids: np.ndarray,
        places: list[dict[str, Any]],
        question: list[tuple[int, int]],
        settings: dict[str, Any],
    ) -> Prompt:
        again = self.tokenizer(text, return_offsets_mapping=True, **settings)
        if list(again["input_ids"]) != ids.tolist():
            raise VkitError(
                f"request {request.id!r}: {self.family} tokenises in its own way; it is not supported"
            )
        offsets = np.asarray(again["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        image = ids == self.image_token_id
        columns = []
        for place in places:
            start, stop = place["new_span"]
            columns.append(np.flatnonzero(image & (offsets[:, 0] >= start) & (offsets[:, 0] < stop)))
        if (
            len(columns) != len(request.images)
            or sum(map(len, columns)) != image.sum()
            or not all(map(len, columns))
        ):
            raise VkitError(
                f"request {request.id!r}: {len(request.images)} pictures, but {self.family} makes "
                f"{[len(c) for c in columns]} of {int(image.sum())} image tokens; its files do not fit"
            )
        asked = np.array(
            [any(_belongs(text, s, e, *span) for span in question) for s, e in offsets], dtype=bool
        )
        return Prompt(
            ids=ids.astype(np.int64),
            types={},
            images=tuple(columns),
            replacements=tuple(place["replacement"] for place in places),
            question=asked & ~image,
        )


class NoVideos(dict[str, Any]):
    """Stands where a processor keeps its video processor; real ones need packages that images do not.

    Empty settings: processors print themselves as JSON when they are made.
    """

    model_input_names: tuple[str, ...] = ()
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

        def get_text_with_replacements(self, text: list[str], *args: Any, **kwargs: Any) -> Any:
            before = list(text)
            expanded, places = super().get_text_with_replacements(text, *args, **kwargs)
            self.recorded = (before, list(expanded), places)
            return expanded, places

    Recording.__name__ = Recording.__qualname__ = base.__name__
    return Recording


@dataclass(frozen=True)
class _Words:
    """Adjacent texts joined, with the character ranges of the question in them."""

    text: str
    question: tuple[tuple[int, int], ...]


def _merged(request: Request) -> list[_Words | Picture]:
    contents: list[_Words | Picture] = []
    for part in request.parts:
        if not isinstance(part, Text):
            contents.append(part)
        elif part.text:
            last = contents[-1] if contents else None
            before = last if isinstance(last, _Words) else _Words("", ())
            span = ((len(before.text), len(before.text) + len(part.text)),) if part.question else ()
            contents[len(contents) - (before is last) :] = [
                _Words(before.text + part.text, before.question + span)
            ]
    return contents


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
