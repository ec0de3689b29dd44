"""Steps that are done once: each has a folder, and is skipped while what it was made from stays the same.

    with Steps(Path("runs/study"), tell) as steps:
        result = steps.run("train/visual-cot", {"model": "4f2c...", "lr": 2e-5}, work)

``work(folder)`` makes the step's files in its folder, and returns its result as JSON. A step that was
interrupted, or whose files were taken away, is worked on again in the same folder, where what it left is
still valid, since its inputs are the same. Where inputs changed the folder is moved to ``old/``, and never
removed. ``step.json`` in the folder says what it was made from and, once done, its result.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, write_json

Work = Callable[[Path], dict[str, Any]]

_STATE = "step.json"
_DIGEST = re.compile("[0-9a-f]{16}")
_MODEL_FILES = (".json", ".jinja", ".safetensors", ".bin", ".txt", ".model")


class Steps:
    """The steps below one folder, which one process holds at a time.

    Raises:
        VkitError: another process works in the folder.
    """

    def __init__(self, out: Path, tell: Callable[[str], None] = lambda line: None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.tell = out, tell
        self._log = JsonlStore(out / "steps.jsonl")

    def run(
        self, name: str, inputs: Mapping[str, Any], work: Work, *, makes: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The result of a step; its work is done where it was not.

        Args:
            name: of the step, and of its folder below ``out``.
            inputs: JSON values that decide the result, digests of files among them.
            work: makes the files and returns the result.
            makes: files, below the step's folder, without which it is not done.

        Raises:
            VkitError: the work refused, or it holds itself for done, but a file of ``makes`` is not there.
        """
        place, inputs = self.out / name, json.loads(json.dumps(inputs))
        state, standing = state_of(self.out, name), standing_of(self.out, name, inputs, makes)
        if state is not None and standing == "done":
            self.tell(f"{name}: done before")
            return state["result"]
        if state is not None and standing == "changed":
            self._put_aside(name, state["inputs"], inputs)
        self.tell(f"{name}: " + ("goes on" if standing == "begun" else "begins"))
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / _STATE, {"inputs": inputs})
        began = time.perf_counter()
        result = json.loads(json.dumps(work(place)))
        if absent := [file for file in makes if not (place / file).exists()]:
            raise VkitError(f"{place / absent[0]} was taken away; remove the folder {place}, and run again")
        write_json(place / _STATE, {"inputs": inputs, "result": result})
        self._log.append({"step": name, "seconds": round(time.perf_counter() - began, 1)})
        return result

    def _put_aside(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        place = self.out / "old" / f"{name.replace('/', '-')}-{digest(old)[:8]}"
        place.parent.mkdir(exist_ok=True)
        number = 1
        while place.exists():
            number += 1
            place = place.with_name(f"{place.name.partition('.')[0]}.{number}")
        (self.out / name).rename(place)
        self.tell(f"{name}: what it was made from changed ({_told(old, new)}); see {place}")

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.__exit__()


class Preview(Steps):
    """Says what `Steps` would do, and makes nothing: a step that is not done raises `NotDone`.

    standings: of each step that was come to, by name; see `standing_of`.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.standings = out, dict[str, str]()

    def run(
        self, name: str, inputs: Mapping[str, Any], work: Work, *, makes: Sequence[str] = ()
    ) -> dict[str, Any]:
        state = state_of(self.out, name)
        self.standings[name] = standing_of(self.out, name, json.loads(json.dumps(inputs)), makes)
        if state is None or self.standings[name] != "done":
            raise NotDone(name)
        return state["result"]


class NotDone(Exception):
    """A step that others need is not done."""


def state_of(out: Path, name: str) -> dict[str, Any] | None:
    """What is known of a step: its ``inputs`` and, once done, its ``result``; None where it was not begun."""
    path = out / name / _STATE
    if not path.is_file():
        return None
    state = read_json(path)
    if not isinstance(state.get("inputs"), dict):
        raise VkitError(f"{path} does not say what the step was made from; remove the folder {path.parent}")
    return state


def standing_of(out: Path, name: str, inputs: Mapping[str, Any], makes: Sequence[str]) -> str:
    """ "done"; "begun": with these inputs; "changed": of other inputs; or "to do"."""
    state = state_of(out, name)
    if state is None:
        return "to do"
    if state["inputs"] != inputs:
        return "changed"
    whole = all((out / name / file).exists() for file in makes)
    return "done" if "result" in state and whole else "begun"


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


def model_digest(name: str) -> str:
    """Tells one model, or one adapter, from another without loading it: of a folder all bytes, else the name.

    A look at some would be faster, but where only a connector was trained nearly all bytes stay the same.
    """
    folder, found = Path(name), hashlib.sha256(name.encode() if not Path(name).is_dir() else b"")
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and path.suffix in _MODEL_FILES:
            found.update(f"{path.relative_to(folder)} {file_digest(path)}".encode())
    return found.hexdigest()[:16]


def _told(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed, in words: names and values, of digests the names alone.

    >>> _told({"lr": 1, "of": {"model": "0123456789abcdef"}}, {"lr": 2, "of": {"model": "fedcba9876543210"}})
    'lr 1 -> 2, of model'
    """
    before, now = dict(_flat(old)), dict(_flat(new))
    named = []
    for key in dict.fromkeys((*before, *now)):
        values = before.get(key), now.get(key)
        if values[0] != values[1]:
            digests = all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values)
            named.append(key if digests else f"{key} {values[0]!r} -> {values[1]!r}")
    shown = ", ".join(named[:4])
    return shown if len(named) <= 4 else f"{shown} and {len(named) - 4} more"


def _flat(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{key} ")
        else:
            yield f"{under}{key}", value
