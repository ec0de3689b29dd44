"""Targets: what runs and teachers leave behind, and the pages that are written of it."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from tests.fake_run import fake_item, grid_boxes, write_details, write_fake_run, write_maps
from tests.fuzz.registry import Prepared, target
from vkit.attention.run_folder import read_details, read_items, read_maps, read_summary
from vkit.errors import VkitError
from vkit.evaluate.scoring import read_outputs
from vkit.evaluate.smart101 import read_predictions
from vkit.jsonl import JsonlStore
from vkit.records import Sample
from vkit.report.page import write_page
from vkit.teacher.batch import import_batch
from vkit.teacher.outcome import read_completion
from vkit.teacher.store import Prices, ReplyStore
from vkit.teacher.task import Settings, make_task
from vkit.train.feature_store import FeatureStore

_ITEM = fake_item(np.random.default_rng(0), "11", ["So", " x", " =", " 3", "."])
_SETTINGS = Settings(model="m", max_tokens=10)
_TASK = make_task(Sample("1", "Find x."), "Find x.", "", _SETTINGS)
_COMPLETION = {
    "id": "c",
    "choices": [{"message": {"content": "Answer: B", "refusal": None}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


class _Scripts(HTMLParser):
    """What of a page could run: script elements, and attributes that hold code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts, self.handlers = 0, []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@target("run-items", "lines", seconds=10, share=0.4)
def run_items(folder: Path) -> Prepared:
    """Read, and made a page of, which may hold no script but its own."""
    run_folder = write_fake_run(folder / "run")
    write_page(run_folder, single_file=True)
    own = _Scripts((run_folder / "index.html").read_text()).scripts
    items = (run_folder / "items.jsonl").read_bytes().splitlines(keepends=True)

    def run(data: bytes) -> None:
        (run_folder / "items.jsonl").write_bytes(data)
        for item in read_items(run_folder):
            for read in (read_maps, read_details):
                try:
                    read(run_folder, item)
                except VkitError:
                    continue
        write_page(run_folder, single_file=True)
        page = _Scripts((run_folder / "index.html").read_text())
        assert page.scripts == own, "a script that is not the page's"
        assert not page.handlers, page.handlers

    return run, [items[3], items[4], items[3] + items[4], _line(_ITEM)]


@target("run-summary", "json", seconds=10, share=0.4)
def run_summary(folder: Path) -> Prepared:
    run_folder = write_fake_run(folder / "run")
    (run_folder / "items.jsonl").write_bytes(_line(_ITEM))
    write_page(run_folder, single_file=True)
    own = _Scripts((run_folder / "index.html").read_text()).scripts

    def run(data: bytes) -> None:
        (run_folder / "summary.json").write_bytes(data)
        read_summary(run_folder)
        write_page(run_folder, single_file=True)
        page = _Scripts((run_folder / "index.html").read_text())
        assert page.scripts == own, "a script that is not the page's"
        assert not page.handlers, page.handlers

    return run, [(run_folder / "summary.json").read_bytes()]


@target("run-maps", "archive")
def run_maps(folder: Path) -> Prepared:
    path, item = folder / "maps.npz", {**_ITEM, "maps": "maps.npz"}
    write_maps(path, np.random.default_rng(0), 5, grid_boxes(4))

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read_maps(folder, item)

    bare = io.BytesIO()
    np.save(bare, np.zeros(3))
    return run, [*_stored_and_packed(path), _npz(weights=np.array([{}], dtype=object)), bare.getvalue()]


@target("run-details", "archive")
def run_details(folder: Path) -> Prepared:
    path, item = folder / "details.npz", {**_ITEM, "details": "details.npz"}
    write_details(path, np.random.default_rng(0), 5, layers=2, heads=2, columns=16)

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read_details(folder, item)

    return run, _stored_and_packed(path)


def _stored_and_packed(path: Path) -> list[bytes]:
    with np.load(path) as archive:
        return [path.read_bytes(), _npz(np.savez_compressed, **archive)]


def _npz(save: Any = np.savez, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


@target("jsonl-store", "lines")
def jsonl_store(folder: Path) -> Prepared:
    path = folder / "store.jsonl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with JsonlStore(path) as store:
            before = len(store.items)
            store.append({"id": "new"})
        with JsonlStore(path) as store:
            assert len(store.items) == before + 1, "a line was lost"

    return run, [_line({"id": "1"}) + _line({"id": "2", "x": [1]}), _line({"id": "1"}) + b'{"id": "torn']


@target("reply-store", "lines")
def reply_store(folder: Path) -> Prepared:
    path, first = folder / "replies.jsonl", folder / "first.jsonl"
    with ReplyStore(first, Prices(2.5, 10)) as store:
        store.add([(_TASK, read_completion(_COMPLETION))], 10)
    line = json.loads(first.read_text())

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with ReplyStore(path, Prices(2.5, 10)) as store:
            store.add([(_TASK, read_completion(_COMPLETION))], 10)
            assert store.outcomes(_TASK.key)[-1].text == "Answer: B"
            float(store.cost_usd or 0) + float(store.unsure_usd or 0)

    more = {
        **line,
        "source": "a" * 32,
        "unsure_usd": 0.5,
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
    }
    return run, [_line(line), _line(line) + _line(more)]


@target("batch-import", "lines")
def batch_import(folder: Path) -> Prepared:
    path, kept = folder / "output.jsonl", folder / "kept.jsonl"
    good = {"custom_id": _TASK.key, "response": {"status_code": 200, "body": _COMPLETION}, "error": None}
    refused = {
        "custom_id": _TASK.key,
        "response": {"status_code": 400, "body": {"error": {"code": "x", "message": "y"}}},
    }
    late = {"custom_id": _TASK.key, "response": None, "error": {"code": "batch_expired", "message": "late"}}

    def run(data: bytes) -> None:
        path.write_bytes(data)
        kept.unlink(missing_ok=True)
        with ReplyStore(kept, Prices(2.5, 10)) as store:
            import_batch(path, [_TASK], _SETTINGS, store)
        with ReplyStore(kept, Prices(2.5, 10)) as store:  # what was written can be read
            store.outcomes(_TASK.key)

    return run, [_line(good), _line(good) + _line(refused) + _line(late)]


@target("completion", "json")
def completion(folder: Path) -> Prepared:
    def run(data: bytes) -> None:
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(body, dict):
            outcome = read_completion(body)
            (outcome.text or "").encode()
            assert len(outcome.detail) <= 300, outcome.detail
            assert outcome.failure is None or re.fullmatch(r"[a-z0-9_]+", outcome.failure), outcome.failure

    parts = {
        "choices": [{"message": {"content": [{"type": "text", "text": "B"}]}}],
        "error": {"message": "m"},
    }
    return run, [json.dumps(_COMPLETION).encode(), json.dumps(parts).encode()]


@target("predictions", "lines")
def predictions(folder: Path) -> Prepared:
    """Texts for `vkit score`, and SMART-101's classes."""
    path = folder / "predictions.jsonl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        for read in (read_outputs, read_predictions):
            try:
                read(path)
            except VkitError:
                continue

    return run, [
        _line({"id": "12", "output": "Answer: B"}),
        _line({"id": "2-1", "value": 7}),
        _line({"id": "16-1", "value": [1] * 10}),
        _line(_ITEM),
    ]


@target("feature-store", "lines")
def feature_store(folder: Path) -> Prepared:
    place = folder / "features"
    place.mkdir()
    with FeatureStore(place).writer() as writer:
        writer.add("a", np.ones((2, 4), np.float16))
    index = place / "index.jsonl"
    seed = index.read_bytes()

    def run(data: bytes) -> None:
        index.write_bytes(data)
        store = FeatureStore(place)
        for key in list(store._places):
            store[key].sum()

    return run, [seed]


@target("feature-shard", "safetensors")
def feature_shard(folder: Path) -> Prepared:
    place = folder / "features"
    place.mkdir()
    with FeatureStore(place).writer() as writer:
        writer.add("a", np.ones((2, 4), np.float16))
    [shard] = place.glob("*.safetensors")
    seed = shard.read_bytes()

    def run(data: bytes) -> None:
        shard.write_bytes(data.ljust(len(seed), b"\0")[: len(seed)])
        store = FeatureStore(place)
        for key in list(store._places):
            store[key].sum()

    return run, [seed]
