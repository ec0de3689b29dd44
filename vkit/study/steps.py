"""Steps that are done once: each has a folder, and is skipped while what it was made from stays the same.

    with Steps(Path("runs/study"), tell) as steps:
        result = steps.run("train/visual-cot", {"model": "4f2c...", "lr": 2e-5}, work)

``work(folder)`` makes the step's files in its folder, and returns its result as JSON. A step that was
interrupted is worked on again in the same folder, where what it left is still valid, since its inputs are the
same. Where inputs changed the folder is moved to ``old/``, and never removed. ``step.json`` in the folder
says what it was made from and, once done, its result.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vkit.jsonl import JsonlStore, changes, read_json, write_json

Work = Callable[[Path], dict[str, Any]]

_STATE = "step.json"


class Steps:
    """The steps below one folder, which one process holds at a time.

    Raises:
        VkitError: another process works in the folder.
    """

    def __init__(self, out: Path, tell: Callable[[str], None] = lambda line: None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.tell = out, tell
        self._log = JsonlStore(out / "steps.jsonl")

    def run(self, name: str, inputs: Mapping[str, Any], work: Work) -> dict[str, Any]:
        """The result of a step; its work is done where it was not.

        Args:
            name: of the step, and of its folder below ``out``.
            inputs: JSON values that decide the result, digests of files among them.
            work: makes the files and returns the result.
        """
        place, inputs = self.out / name, json.loads(json.dumps(inputs))
        state = self._state(name)
        if state is not None and state["inputs"] != inputs:
            self._put_aside(name, state["inputs"], inputs)
            state = None
        if state is not None and "result" in state:
            self.tell(f"{name}: done before")
            return state["result"]
        self.tell(f"{name}: " + ("goes on" if state is not None else "begins"))
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / _STATE, {"inputs": inputs})
        began = time.perf_counter()
        result = json.loads(json.dumps(work(place)))
        write_json(place / _STATE, {"inputs": inputs, "result": result})
        self._log.append({"step": name, "seconds": round(time.perf_counter() - began, 1)})
        return result

    def forget(self, name: str) -> None:
        """Have a step worked on again, though its inputs are the same."""
        (self.out / name / _STATE).unlink(missing_ok=True)

    def _state(self, name: str) -> dict[str, Any] | None:
        return state_of(self.out, name)

    def _put_aside(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        place = self.out / "old" / f"{name.replace('/', '-')}-{digest(old)[:8]}"
        place.parent.mkdir(exist_ok=True)
        number = 1
        while place.exists():
            number += 1
            place = place.with_name(f"{place.name.partition('.')[0]}.{number}")
        (self.out / name).rename(place)
        self.tell(f"{name}: what it was made from changed ({_short(changes(old, new))}); see {place}")

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.__exit__()


def state_of(out: Path, name: str) -> dict[str, Any] | None:
    """What is known of a step: its ``inputs`` and, once done, its ``result``; None where it was not begun."""
    path = out / name / _STATE
    return read_json(path) if path.is_file() else None


def digest(value: Any) -> str:
    """A digest of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """A digest of a file's bytes."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()[:16]


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
