"""TinyLLaVA's prompt: what the model reads for a request, and which of its tokens are the question.

    prompt = tokenize_prompt(request, tokenizer)
    prompt.ids             # token ids, IMAGE_TOKEN (-200) where a picture goes
    prompt.question        # True at tokens of the user's question

    <system> USER: <image>\\n{question} ASSISTANT:          and in training ` {answer}<eos>` after it

A further turn follows an answer's end with no more than ``USER: {question} ASSISTANT:``. The text pieces
around a picture are tokenised apart, as the checkpoints were trained. A single picture goes first wherever
the request puts it, which is what the official code does; several stay in their places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vkit.errors import VkitError
from vkit.models.protocol import History, Request, Text
from vkit.models.tinyllava import IMAGE_TOKEN

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedTokenizerBase

Kind = Literal["template", "question", "answer"]

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful,"
    " detailed, and polite answers to the user's questions."
)
BEFORE_USER = f"{SYSTEM} USER: "
BEFORE_NEXT_USER = "USER: "
BEFORE_ANSWER = "ASSISTANT:"

# The families whose template is the one above, with the token that ends an answer. Gemma's is another.
EOS = {"phi": "<|endoftext|>", "llama": "</s>"}


@dataclass(frozen=True)
class Prompt:
    """ids, question and answer run in parallel; IMAGE_TOKEN stands once for each picture.

    question: tokens of the users' questions, in every turn.
    answer: tokens of the answers of earlier turns, and of what ends them.
    images: the pictures, in order.
    """

    ids: list[int]
    question: list[bool]
    answer: list[bool]
    images: list[Image.Image]


def tokenize_prompt(
    request: Request, tokenizer: PreTrainedTokenizerBase, history: History = (), *, eos: str = EOS["phi"]
) -> Prompt:
    """The prompt of a request, behind the earlier turns of its conversation.

    Args:
        request: what the user says last.
        tokenizer: a fast tokenizer.
        history: earlier turns and their answers.
        eos: the token that ends each of these answers.

    Raises:
        VkitError: a text holds ``<image>`` or a special token, read as such; a turn other than the first
            shows a picture; an answer has no tokens of its own; names the request.
    """
    where = f"request {request.id!r}"
    turns = [*(earlier for earlier, _ in history), request]
    texts = [part.text for turn in turns for part in turn.parts if isinstance(part, Text)]
    for text in (*texts, *(answer for _, answer in history)):
        check_text(text, where, tokenizer)
    for number, turn in enumerate(turns[1:], start=2):
        if turn.images:
            raise VkitError(
                f"{where}: turn {number} shows a picture, for which only the first has a place; show it there"
            )
    pieces = _arrange(turns[0])
    pieces[0] = _Piece.of(BEFORE_USER) + pieces[0]
    for (_, answer), turn in zip(history, turns[1:]):
        pieces[-1] += _Piece.of(f" {BEFORE_ANSWER}") + _Piece.of(f" {answer}{eos}", "answer")
        pieces[-1] += _Piece.of(BEFORE_NEXT_USER) + _arrange(turn)[0]
    pieces[-1] += _Piece.of(f" {BEFORE_ANSWER}")
    ids: list[int] = []
    kinds: list[set[Kind]] = []
    for index, piece in enumerate(pieces):
        piece_ids, offsets = _tokenize(piece.text, tokenizer)
        piece_kinds = _touched(offsets, piece)
        if index:
            ids.append(IMAGE_TOKEN)
            kinds.append(set())
            # Tokenisers that begin every text with a special token (Llama's) would repeat it here.
            if piece_ids[:1] == [tokenizer.bos_token_id] and offsets[0] == (0, 0):
                piece_ids, piece_kinds = piece_ids[1:], piece_kinds[1:]
        ids += piece_ids
        kinds += piece_kinds
    end = tokenizer.convert_tokens_to_ids(eos)
    ends = sum(id_ == end and "answer" in kind for id_, kind in zip(ids, kinds))
    if ends != len(history) or any("answer" in kind and len(kind) > 1 for kind in kinds):
        raise VkitError(f"{where}: an earlier answer shares a token with the prompt around it; rephrase it")
    return Prompt(
        ids, ["question" in kind for kind in kinds], ["answer" in kind for kind in kinds], turns[0].images
    )


def tokenize_answer(answer: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of an answer as they follow the prompt, tokenised with the prompt's end and cut from it.

    Raises:
        VkitError: the answer holds a special token, or joins the prompt's last token, so that it has no ids
            of its own.
    """
    check_text(answer, f"answer {answer[:40]!r}", tokenizer)
    before, _ = _tokenize(BEFORE_ANSWER, tokenizer)
    joined, _ = _tokenize(f"{BEFORE_ANSWER} {answer}", tokenizer)
    if joined[: len(before)] != before:
        raise VkitError(
            f"answer {answer[:40]!r} joins the prompt's last token; this tokenizer is not supported"
        )
    return joined[len(before) :]


def check_text(text: str, where: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a text that the tokenizer, or the splice, would take for more than text."""
    for token in ("<image>", *tokenizer.all_special_tokens):
        if token in text:
            raise VkitError(f"{where} holds the text {token!r}, which the model reads as a token; remove it")


@dataclass(frozen=True)
class _Piece:
    """A text, and what each of its characters is."""

    text: str
    kinds: tuple[Kind, ...]

    @classmethod
    def of(cls, text: str, kind: Kind = "template") -> _Piece:
        return cls(text, (kind,) * len(text))

    def __add__(self, other: _Piece) -> _Piece:
        return _Piece(self.text + other.text, self.kinds + other.kinds)

    def strip(self, left: bool = True, right: bool = True) -> _Piece:
        start = len(self.text) - len(self.text.lstrip()) if left else 0
        stop = max(start, len(self.text.rstrip())) if right else len(self.text)
        return _Piece(self.text[start:stop], self.kinds[start:stop])


def _arrange(request: Request) -> list[_Piece]:
    """What the user says as text pieces with a picture between each two."""
    pieces = [_Piece.of("")]
    for part in request.parts:
        if isinstance(part, Text):
            pieces[-1] += _Piece.of(part.text, "question" if part.question else "template")
        else:
            pieces.append(_Piece.of(""))
    if len(pieces) == 2:
        words = (pieces[0] + pieces[1]).strip()
        return [_Piece.of(""), _Piece.of("\n") + words if words.text else words]
    if len(pieces) > 2:
        pieces[0], pieces[-1] = pieces[0].strip(right=False), pieces[-1].strip(left=False)
    return pieces


def _tokenize(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[tuple[int, int]]]:
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    return list(encoded["input_ids"]), [tuple(span) for span in encoded["offset_mapping"]]


def _touched(offsets: list[tuple[int, int]], piece: _Piece) -> list[set[Kind]]:
    """What the characters of each token are; the blanks that lead into a word do not count.

    Tokenisers differ in whether a token's span covers its leading blanks, so each span is first stretched
    back to the end of the token before it.
    """
    touched, end = [], 0
    for start, stop in offsets:
        start = min(start, end)
        if start < stop:
            span = piece.text[start:stop]
            start += (len(span) - len(span.lstrip())) if span.strip() else 0
        touched.append(set(piece.kinds[start:stop]))
        end = max(end, stop)
    return touched
