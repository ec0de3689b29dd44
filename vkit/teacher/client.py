"""Asks an OpenAI-compatible endpoint; rate limits and retries are the client library's.

    teacher = ApiTeacher(Settings(model="gpt-4o"), base_url="https://api.openai.com/v1")
    [outcome] = teacher.ask([task])             # from as many threads as you like

The key is read from the environment when the teacher is made, stays in the library's client, and is struck
out of whatever an endpoint says before anybody sees it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from vkit.errors import VkitError
from vkit.jsonl import parse_object
from vkit.teacher.outcome import Outcome, failed, failure_name, read_completion
from vkit.teacher.task import Settings, Task

LIMIT_PARAMETERS = ("max_completion_tokens", "max_tokens")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SHORTEST_KEY = 8  # a shorter one is a placeholder, and may stand in a rationale by chance


def request_body(
    task: Task, settings: Settings, limit_parameter: str = LIMIT_PARAMETERS[0]
) -> dict[str, Any]:
    """The body of a chat completion, the picture inlined.

    Args:
        limit_parameter: one of `LIMIT_PARAMETERS`: OpenAI's name for the limit of tokens, or the older one
            that some servers want.

    Raises:
        VkitError: the picture cannot be read any more.
    """
    content: Any = task.before
    if task.picture is not None:
        content = [
            {"type": "text", "text": task.before},
            {"type": "image_url", "image_url": {"url": task.picture_url()}},
            {"type": "text", "text": task.after},
        ]
    body = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        limit_parameter: settings.max_tokens,
    }
    return body if settings.temperature is None else {**body, "temperature": settings.temperature}


class ApiTeacher:
    """A model behind an endpoint.

    Args:
        base_url: where ``/chat/completions`` lies; None is OpenAI's, or what OPENAI_BASE_URL says.
        key_variable: the environment variable that holds the key. An endpoint on this machine needs none.
        max_retries: of a request that failed for a passing reason, waiting longer each time, or as long as
            the endpoint says.
        timeout_s: how long the endpoint may be silent.

    Raises:
        VkitError: the ``openai`` package or the key is missing, or the URL is none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        limit_parameter: str = LIMIT_PARAMETERS[0],
        max_retries: int = 5,
        timeout_s: float = 120.0,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise VkitError("the openai package is not installed; pip install 'vkit[api]'") from error
        self._settings, self._limit_parameter = settings, limit_parameter
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        hostname, self.host = _host(base_url)
        self._key = _read_key(key_variable, hostname, self.host)
        self._errors = openai
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=base_url,
            max_retries=max_retries,
            timeout=openai.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
        )

    def ask(self, tasks: Sequence[Task]) -> list[Outcome]:
        """What became of each task; a failure is an outcome too.

        Raises:
            VkitError: no request can succeed: the endpoint cannot be reached, the key, the model or the
                address is refused, or the account is empty.
        """
        return [self._ask(task) for task in tasks]

    def _ask(self, task: Task) -> Outcome:
        body = request_body(task, self._settings, self._limit_parameter)
        model, messages = body.pop("model"), body.pop("messages")
        try:
            reply = self._client.chat.completions.with_raw_response.create(
                model=model, messages=messages, extra_body=body
            )
        except self._errors.APIConnectionError as error:
            return self._no_reply(error)
        except self._errors.APIStatusError as error:
            return self._status(error)
        except self._errors.OpenAIError as error:
            return failed("malformed", self._safe(str(error)), answered=True)
        try:
            completion = parse_object(self._safe(reply.http_response.text))
        except VkitError as error:
            return failed("malformed", str(error), answered=True)
        return read_completion(completion)

    def _no_reply(self, error: Exception) -> Outcome:
        cause = type(error.__cause__).__name__
        detail = self._safe(f"{error} ({cause}: {error.__cause__})")
        if cause in ("ConnectError", "ConnectTimeout"):  # nothing was sent
            raise VkitError(f"{self.host} cannot be reached: {detail}; check the address, and run again")
        timeout = isinstance(error, self._errors.APITimeoutError)
        return failed("timeout" if timeout else "disconnected", detail, answered=True)

    def _status(self, error: Any) -> Outcome:
        status, code = error.status_code, error.code
        message = self._safe(str(error.message))
        short = " ".join(message.split())[:200]
        if status == 401:
            raise VkitError(f"{self.host} refuses the key ({short}); check the key's variable")
        if status == 404:
            raise VkitError(
                f"{self.host} knows no such model or address ({short}); check the model and the address"
            )
        if status == 402 or code == "insufficient_quota":
            raise VkitError(f"{self.host}: the account is empty ({short}); fill it and run again")
        if status == 429:
            return failed("rate_limited", message)
        named = failure_name(code, "")
        return failed("content_filter" if named == "content_filter" else f"http_{status}", message)

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= _SHORTEST_KEY else text


def _host(base_url: str) -> tuple[str, str]:
    """The host of a URL, without and with its port."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise VkitError(
            "the endpoint's address is no URL; give one like https://api.openai.com/v1"
        ) from error
    if parts.scheme not in ("http", "https") or not host:
        raise VkitError("the endpoint's address is no http(s) URL; give one like https://api.openai.com/v1")
    if parts.username or parts.password:
        raise VkitError(
            "the endpoint's address holds a password; put the key into a variable, name it by --api-key-env"
        )
    return host, host if port is None else f"{host}:{port}"


def _read_key(variable: str, hostname: str, host: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key and hostname in _LOOPBACK:
        return "none"
    if not key:
        raise VkitError(
            f"the variable {variable} holds no key for {host}; set it (to 'none' where the endpoint wants no "
            "key), or name another by --api-key-env"
        )
    if not (key.isascii() and key.isprintable()):
        raise VkitError(f"the variable {variable} holds no key but other characters; set it again")
    return key
