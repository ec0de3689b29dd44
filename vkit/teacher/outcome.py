"""What became of one request: what the teacher said, or why not, and what it used.

outcome = read_completion(body)          # of the body of a chat completion, live or from a batch's file
outcome.failure                          # None, or a name: content_filter, refused, cut_short, ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

DETAIL_CHARACTERS = 300
_MOST_TOKENS = 10**9  # a larger count is no count


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    text: what the teacher said, also where it was cut short or filtered; None where nothing came.
    failure: None, or the name of what went wrong.
    detail: the endpoint's own words about a failure, at most `DETAIL_CHARACTERS`.
    input_tokens, output_tokens: as the endpoint counted them, None where it did not say.
    answered: the endpoint may have worked for it, so that it may have to be paid.
    """

    text: str | None = None
    failure: str | None = None
    detail: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    answered: bool = True


def failed(failure: str, detail: str, *, answered: bool = False) -> Outcome:
    """A request without an answer.

    >>> failed("http_500", "no\\n luck").detail
    'no luck'
    """
    return Outcome(failure=failure, detail=_short(detail), answered=answered)


def read_completion(body: dict[str, Any]) -> Outcome:
    """The outcome that a chat completion tells; what is no chat completion is ``malformed``.

    >>> choice = {"message": {"content": "Answer: B"}, "finish_reason": "length"}
    >>> read_completion({"choices": [choice]}).failure, read_completion({"choices": []}).failure
    ('cut_short', 'malformed')
    """
    input_tokens, output_tokens = _usage(body)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    text: str | None = None
    failure: str | None = "malformed"
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        text, failure, detail = (
            None,
            "malformed",
            _message_of(body) or "the reply holds no choices[0].message",
        )
    else:
        text, refusal = _text(message.get("content")), message.get("refusal")
        failure, detail = _failure(text, refusal, choice.get("finish_reason"))
    return Outcome(text, failure, _short(detail), input_tokens, output_tokens)


def failure_name(code: object, fallback: str) -> str:
    """A code of an endpoint as a failure's name, the fallback where it is none.

    >>> failure_name("Batch-Expired", "http_500"), failure_name(None, "http_500")
    ('batch_expired', 'http_500')
    """
    name = re.sub(r"[^a-z0-9]+", "_", code.lower()).strip("_")[:40] if isinstance(code, str) else ""
    if name in ("content_filter", "content_policy_violation", "responsibleaipolicyviolation"):
        return "content_filter"
    return name or fallback


def _failure(text: str | None, refusal: object, finish_reason: object) -> tuple[str | None, str]:
    if finish_reason == "content_filter":
        return "content_filter", "the endpoint's filter held the answer back"
    if isinstance(refusal, str) and refusal.strip():
        return "refused", refusal
    if text is None or not text.strip():
        return "empty", f"nothing was said (finish_reason {finish_reason!r})"
    if finish_reason == "length":
        return "cut_short", "the answer reached the limit of tokens; raise --max-tokens"
    return None, ""


def _text(content: object) -> str | None:
    if isinstance(content, list):  # some servers answer in parts
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return whole(content) if isinstance(content, str) else None


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can spell and a file cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _usage(body: dict[str, Any]) -> tuple[int | None, int | None]:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None, None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    if any(type(count) is not int or not 0 <= count < _MOST_TOKENS for count in counts):
        return None, None
    return counts[0], counts[1]


def _message_of(body: dict[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def _short(detail: str) -> str:
    return " ".join(whole(detail).split())[:DETAIL_CHARACTERS]
