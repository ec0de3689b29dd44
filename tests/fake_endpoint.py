"""An OpenAI-compatible endpoint on this machine that misbehaves as it is told.

    with FakeEndpoint(lambda request: "429" if request.attempt == 1 else "right") as endpoint:
        endpoint.url, endpoint.requests, endpoint.billed

It reads the right answer from the prompt of Figure 3, as GPT-4o could, and bills what it answered: its
``billed`` counts tokens by prompt at the moment the last byte was handed over.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INPUT_TOKENS, OUTPUT_TOKENS = 400, 100

# What is said with a status of 200, by behaviour: content, refusal, finish_reason.
REPLIES = {
    "right": ("The diagram shows it. Answer: {answer}", None, "stop"),
    "wrong": ("The diagram shows it. Answer: {other}", None, "stop"),
    "unreadable": ("The diagram shows it.", None, "stop"),
    "symbolic": (
        "Let x be it [[var x]]. The diagram says [[eq x = 4]]. It is x [[answer x]]. Answer: {answer}",
        None,
        "stop",
    ),
    "braces": ("So it is. **Answer: {{{answer}}}**", None, "stop"),
    "filtered": ("The dia", None, "content_filter"),
    "refusing": (None, "I cannot help with that.", "stop"),
    "silent": ("  ", None, "stop"),
    "long": ("The diagram shows, and shows, and", None, "length"),
    "half-character": ("It is \ud83d. Answer: {answer}", None, "stop"),
    "echo": ("{key} Answer: {answer}", None, "stop"),
}


@dataclass(frozen=True)
class Request:
    """What came: the text of the prompt, its place among all requests, how often the same prompt came."""

    text: str
    body: dict
    number: int
    attempt: int


class FakeEndpoint:
    """``behave`` says what to do with each request: a key of REPLIES, a status such as "500", or one of

    disconnect (says nothing), torn (stops in the middle), garbage (no JSON), shape (JSON of another shape),
    no-usage, quota (429 with insufficient_quota), azure (400 with content_filter), slow-... (waits first),
    say:... (says these words).
    """

    def __init__(
        self, behave: Callable[[Request], str] = lambda request: "right", slow_s: float = 1.0
    ) -> None:
        self.requests: list[Request] = []
        self.keys: list[str | None] = []
        self.billed: Counter[str] = Counter()
        self._lock, self._attempts = threading.Lock(), Counter()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = endpoint._note(body, self.headers.get("Authorization"))
                behaviour = behave(request)
                if behaviour.startswith("slow-"):
                    time.sleep(slow_s)
                    behaviour = behaviour.removeprefix("slow-")
                try:
                    endpoint._answer(self, request, behaviour)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client has gone

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> FakeEndpoint:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _note(self, body: dict, authorization: str | None) -> Request:
        text = prompt_text(body)
        with self._lock:
            self._attempts[text] += 1
            request = Request(text, body, len(self.requests) + 1, self._attempts[text])
            self.requests.append(request)
            self.keys.append(authorization)
        return request

    def _answer(self, handler: BaseHTTPRequestHandler, request: Request, behaviour: str) -> None:
        if behaviour == "disconnect":
            handler.close_connection = True
        elif behaviour.isdigit():
            said = f"status {behaviour}, your key is {self.keys[request.number - 1]}"
            self._send(handler, int(behaviour), {"error": {"message": said, "code": None}})
        elif behaviour in ("quota", "azure"):
            code, status = ("insufficient_quota", 429) if behaviour == "quota" else ("content_filter", 400)
            self._send(handler, status, {"error": {"message": "no", "code": code}})
        elif behaviour == "garbage":
            self._send(handler, 200, b'{"choices": [{"mess')
            self.billed[request.text] += 1
        elif behaviour == "shape":
            self._send(handler, 200, {"choices": [], "error": {"message": "overloaded"}})
        else:
            usage = behaviour != "no-usage"
            reply = completion(
                request.body, behaviour if usage else "right", usage, self.keys[request.number - 1]
            )
            self._send(handler, 200, reply, torn=behaviour == "torn")
            if behaviour != "torn":
                self.billed[request.text] += 1

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: dict | bytes, torn: bool = False
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("retry-after-ms", "5")
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if torn else data)
        handler.close_connection = torn


class _Server(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that was killed
            super().handle_error(*arguments)


def completion(body: dict, behaviour: str, usage: bool = True, key: str | None = None) -> dict:
    """A chat completion as the endpoint, or a batch, gives it."""
    if behaviour.startswith("say:"):
        content, refusal, finish_reason = behaviour.removeprefix("say:"), None, "stop"
    else:
        told = re.search(r"Correct Answer: (.+)", prompt_text(body))
        answer = told.group(1) if told else "A"
        other = "A" if answer == "B" else "B"
        content, refusal, finish_reason = REPLIES["right" if behaviour == "torn" else behaviour]
        if content is not None:
            content = content.format(answer=answer, other=other, key=key)
    message = {"role": "assistant", "content": content, "refusal": refusal}
    found: dict = {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}
    if usage:
        found["usage"] = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    return found


def prompt_text(body: dict) -> str:
    """The words of a request, its picture left out."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
