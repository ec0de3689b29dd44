"""Writes a conversation as the text of a chat template, and says which characters are questions and answers.

    chat = Chat(processor, stops=["<|im_end|>"])
    rendered = chat.render(request)
    rendered.text, rendered.question         # "<|im_start|>user\\n...", [(17, 24)]
    chat.ending(request)                     # "<|im_end|>": what the template writes after an answer

A template is rendered twice, once with a mark in place of each text, so that the place of every text is known
without searching for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vkit.errors import VkitError
from vkit.models.protocol import History, Picture, Request, Text

Span = tuple[int, int]  # characters start to stop of a text


@dataclass(frozen=True)
class Rendered:
    """A prompt's text with one placeholder per picture.

    question: the characters of the questions of every turn.
    answers: for each earlier answer the characters from the end of its prompt to the end of its stop token.
    """

    text: str
    question: list[Span]
    answers: list[Span]


class Chat:
    """The chat template of a processor.

    processor: of transformers; PaliGemma's has no template, and takes pictures and then words.
    stops: the tokens that end an answer.
    """

    def __init__(self, processor: Any, stops: Sequence[str] = ()) -> None:
        self.processor, self.stops = processor, stops
        self.family = type(processor).__name__
        added = processor.tokenizer.added_tokens_decoder.values()
        named = [getattr(processor, f"{kind}_token", None) for kind in ("image", "video", "boi")]
        self.reserved = sorted({t.content for t in added if t.special} | {t for t in named if t})

    def render(self, request: Request, history: History = ()) -> Rendered:
        """The prompt of a request, behind the earlier turns of its conversation.

        Raises:
            VkitError: a text holds a special token, the template changes a text, or it writes earlier turns
                otherwise than at their time; names the request.
        """
        turns: list[_Turn] = []
        for earlier, answer in history:
            turns += [_Turn("user", _merged(earlier)), _Turn("assistant", [_Words(answer, ())])]
        turns.append(_Turn("user", _merged(request)))
        words = [content for turn in turns for content in turn.contents if isinstance(content, _Words)]
        for word in words:
            self.check_text(word.text, f"request {request.id!r}: its text")
        if self.processor.chat_template is None:
            return self._render_plain(request, turns)
        marks = [f"\ue000{index}\ue001" for index in range(len(words))]
        marked = self._apply(request, turns, marks)
        if any(marked.count(mark) != 1 for mark in marks):
            raise VkitError(
                f"request {request.id!r}: the chat template of {self.family} changes the text; simplify it"
            )
        real = self._apply(request, turns, [word.text for word in words])
        for trim in (False, True):  # some templates strip each text
            text, question = marked, []
            for mark, word in sorted(zip(marks, words), key=lambda pair: marked.index(pair[0])):
                start, lead = text.index(mark), len(word.text) - len(word.text.lstrip()) if trim else 0
                kept = word.text.strip() if trim else word.text
                text = text.replace(mark, kept, 1)
                for a, b in word.question:
                    a, b = (min(max(x - lead, 0), len(kept)) for x in (a, b))
                    question.append((start + a, start + b))
            if text == real:
                return Rendered(text, question, self._answers(request, turns, text))
        raise VkitError(
            f"request {request.id!r}: the chat template of {self.family} changes the text; simplify it"
        )

    def answer_lead(self, request: Request) -> tuple[str, str]:
        """A prompt, and the blanks that the chat template puts between a prompt and its answer."""
        prompt = self.render(request).text
        if self.processor.chat_template is None:
            return prompt + "\n", ""  # PaliGemma's processor ends each prompt so
        before, _ = self._around_answer(request)
        lead = before[len(prompt) :]
        return prompt, lead if before.startswith(prompt) and lead.isspace() else ""

    def ending(self, request: Request) -> str:
        """What the template writes after an answer, to its first stop token or else to its closing blanks."""
        if self.processor.chat_template is None:
            return ""
        _, after = self._around_answer(request)
        stop = self._stop(after)
        return after.rstrip() if stop is None else after[:stop]

    def check_text(self, text: str, what: str) -> None:
        """Refuse a text that the tokenizer would take for more than text."""
        for token in self.reserved:
            if token in text:
                raise VkitError(
                    f"{what} holds {token!r}, which {self.family} reads as a special token; remove it"
                )

    def _around_answer(self, request: Request) -> tuple[str, str]:
        mark = "\ue002"
        turns = [_Turn("user", _merged(request)), _Turn("assistant", [_Words(mark, ())])]
        before, _, after = self._apply(request, turns).partition(mark)
        return before, after

    def _stop(self, text: str) -> int | None:
        """Where the first stop token of a text ends."""
        places = [(text.index(stop), len(stop)) for stop in self.stops if stop in text]
        return sum(min(places)) if places else None

    def _answers(self, request: Request, turns: list[_Turn], text: str) -> list[Span]:
        """Where earlier answers stand, each with the prompt and the end that it had when it was the last."""
        spans = []
        for number in range(1, len(turns), 2):
            prompt = self._apply(request, turns[:number])
            closed = self._apply(request, turns[: number + 1]).rstrip()
            stop = self._stop(closed[len(prompt) :])
            if stop is None:
                raise VkitError(
                    f"request {request.id!r}: the chat template of {self.family} writes no stop token after"
                    " an answer, so that only the last can be learned from; give each turn as its own sample"
                )
            if not (text.startswith(prompt) and text.startswith(closed)):
                raise VkitError(
                    f"request {request.id!r}: the chat template of {self.family} writes an earlier turn"
                    " otherwise than when it was the last; give each turn as its own sample"
                )
            spans.append((len(prompt), len(prompt) + stop))
        return spans

    def _render_plain(self, request: Request, turns: list[_Turn]) -> Rendered:
        """PaliGemma's form: the pictures, then the words."""
        if self.family != "PaliGemmaProcessor":
            raise VkitError(
                f"{self.family}: the checkpoint has no chat template; use an instruction-tuned one, or add "
                "its chat_template.jinja"
            )
        if len(turns) > 1:
            raise VkitError(
                f"request {request.id!r}: {self.family} has no chat template, and its prompts one turn; give"
                " each turn as its own sample"
            )
        text, question = self.processor.image_token * len(request.images), []
        for word in turns[0].contents:
            if isinstance(word, _Words):
                question += [(len(text) + a, len(text) + b) for a, b in word.question]
                text += word.text
        return Rendered(text, question, [])

    def _apply(self, request: Request, turns: list[_Turn], texts: Sequence[str] | None = None) -> str:
        """The template's text of turns, with ``texts`` as their words; up to where an answer starts, if the
        user spoke last."""
        from jinja2 import TemplateError

        words = [content.text for turn in turns for content in turn.contents if isinstance(content, _Words)]
        rest = iter(words if texts is None else texts)
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": next(rest)} if isinstance(part, _Words) else {"type": "image"}
                    for part in turn.contents
                ],
            }
            for turn in turns
        ]
        try:
            return self.processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=turns[-1].role == "user"
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise VkitError(
                f"request {request.id!r}: the chat template of {self.family} fails ({error})"
            ) from error


@dataclass(frozen=True)
class _Words:
    """Adjacent texts joined, with the character ranges of the question in them."""

    text: str
    question: tuple[Span, ...]


@dataclass(frozen=True)
class _Turn:
    role: str
    contents: list[_Words | Picture]


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
