"""The Batch API by files: requests out, answers and errors in, at half the price and a day's patience.

    paths = export_batch(job.tasks, job.settings, Path("requests.jsonl"))
    counts = import_batch(Path("batch_output.jsonl"), job.tasks, job.settings, store)

Uploading and downloading is left to the endpoint's own tools. A request's custom_id is its task's key, so the
answers find their problems whenever they come, and a file that is imported twice counts once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import read_jsonl, write_chunks
from vkit.teacher.client import LIMIT_PARAMETERS, request_body
from vkit.teacher.outcome import Outcome, failed, failure_name, read_completion
from vkit.teacher.store import ReplyStore
from vkit.teacher.task import Settings, Task

# What OpenAI takes in one file.
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000


def export_batch(
    tasks: Sequence[Task],
    settings: Settings,
    path: Path,
    *,
    limit_parameter: str = LIMIT_PARAMETERS[0],
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> list[Path]:
    """Write the requests of tasks, one for each key, to ``path``, and the rest to path-2, path-3 and so on.

    Returns the files, each complete. The Batch API takes 50,000 requests and 200 MB a file.

    Raises:
        VkitError: there is nothing to ask, or one request alone is larger than a file may be.
    """
    unique = list({task.key: task for task in reversed(tasks)}.values())[::-1]
    if not unique:
        raise VkitError("nothing is left to ask for, so there is nothing to export; look into OUT")
    lines = _Lines(_line(task, settings, limit_parameter) for task in unique)
    paths: list[Path] = []
    while not lines.empty:
        part = path if not paths else path.with_name(f"{path.stem}-{len(paths) + 1}{path.suffix}")
        write_chunks(part, lines.take(most_requests, most_bytes))
        paths.append(part)
    return paths


def import_batch(path: Path, asked: Sequence[Task], settings: Settings, store: ReplyStore) -> dict[str, int]:
    """Store what a batch's output or error file says; returns how many lines were new, known, of other data.

    Lines of other data than ``asked`` are stored too: they are paid for.

    Raises:
        VkitError: a line is none of a batch's file, or no line is about ``asked``; nothing is stored then.
    """
    tasks = {task.key: task for task in asked}
    counts = {"new": 0, "known": 0, "of_other_data": 0}
    lines: dict[str, dict[str, Any]] = {}
    ours = False
    for number, record in read_jsonl(path):
        key, outcome = _read(record, f"{path}:{number}")
        ours = ours or key in tasks
        source = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
        if store.holds_source(source) or source in lines:
            counts["known"] += 1
            continue
        counts["new" if key in tasks else "of_other_data"] += 1
        line = store.line(key, outcome, tasks.get(key), settings.max_tokens)
        lines[source] = {**line, "source": source}
    if not ours:
        raise VkitError(
            f"{path} holds no answer to these problems; give the --data, --kind, --model and --temperature "
            "of the export"
        )
    store.add_lines(list(lines.values()))
    return counts


class _Lines:
    """Lines that are handed out file by file, one read ahead."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._next = next(lines, None)

    @property
    def empty(self) -> bool:
        return self._next is None

    def take(self, most_lines: int, most_bytes: int) -> Iterator[bytes]:
        count = size = 0
        while self._next is not None and count < most_lines and size + len(self._next) <= most_bytes:
            count, size = count + 1, size + len(self._next)
            yield self._next
            self._next = next(self._lines, None)
        if not count and self._next is not None:
            raise VkitError(
                f"a request of {len(self._next):,} bytes fits no batch file of {most_bytes:,}; "
                "scale its picture down"
            )


def _line(task: Task, settings: Settings, limit_parameter: str) -> bytes:
    request = {
        "custom_id": task.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": request_body(task, settings, limit_parameter),
    }
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


def _read(record: dict[str, Any], where: str) -> tuple[str, Outcome]:
    key, response, error = record.get("custom_id"), record.get("response"), record.get("error")
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{32}", key):
        raise VkitError(
            f"{where}: custom_id is none of vkit's; give the output of a batch that vkit exported"
        )
    if isinstance(response, dict):
        body = response.get("body")
        if response.get("status_code") == 200 and isinstance(body, dict):
            return key, read_completion(body)
        error = body.get("error") if isinstance(body, dict) and isinstance(body.get("error"), dict) else error
        status = response.get("status_code")
        fallback = f"http_{status}" if isinstance(status, int) and status != 200 else "malformed"
        return key, _refused(error, fallback)
    if isinstance(error, dict):
        return key, _refused(error, "batch_failed")
    raise VkitError(f"{where}: holds neither a response nor an error; give the output of a batch")


def _refused(error: Any, fallback: str) -> Outcome:
    error = error if isinstance(error, dict) else {}
    message = error.get("message")
    named = failure_name(error.get("code"), fallback)
    name = fallback if fallback.startswith("http_") and named != "content_filter" else named
    return failed(name, message if isinstance(message, str) else "", answered=fallback == "malformed")
