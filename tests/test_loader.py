"""What is made ahead is what a plain loop makes, in its order, with its errors in their places."""

from __future__ import annotations

import copy
import itertools
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoints import write_checkpoint
from training_data import write_pairs

from vkit.errors import VkitError
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.protocol import TrainingBatch
from vkit.models.tiny import build_tiny
from vkit.train.data import Order, open_examples
from vkit.train.loader import Loader, prefetch
from vkit.train.recipes import SftRecipe
from vkit.train.sft import SftTask
from vkit.train.task import Micro

SFT = SftRecipe(precision="fp32")


def until(condition) -> None:
    """Wait for other threads, a minute at most."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about in a minute")


@settings(max_examples=40, deadline=None)
@given(
    chunks=st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=12),
    workers=st.integers(0, 5),
    ahead=st.none() | st.integers(0, 9),
    bad=st.none() | st.integers(0, 11),
)
def test_order_content_and_the_place_of_an_error_are_those_of_a_plain_loop(chunks, workers, ahead, bad):
    pauses = random.Random(0)

    def make(numbered):
        number, chunk = numbered
        time.sleep(pauses.random() / 1000)  # so that later ones are ready before earlier ones
        if number == bad:
            raise VkitError(f"record {number} is bad")
        return sum(chunk)

    def run(made) -> list:
        found: list = []
        try:
            for value in made:
                found.append(value)
        except VkitError as error:
            found.append(str(error))
        return found

    expected = run(map(make, enumerate(chunks)))
    with Loader(make, enumerate(chunks), workers=workers, ahead=ahead) as loader:
        assert run(loader) == expected
        assert list(loader) == []  # at its end, or past an error


@pytest.mark.parametrize(("ahead", "most"), [(None, 3), (7, 7)])
def test_no_more_than_was_said_is_made_ahead_of_an_endless_order(ahead, most):
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        return number

    with Loader(make, itertools.count(), workers=3, ahead=ahead) as loader:
        assert [next(loader) for _ in range(5)] == [0, 1, 2, 3, 4]
        until(lambda: len(begun) == 5 + most)
        time.sleep(0.05)
        assert sorted(begun) == list(range(5 + most))


def test_without_workers_nothing_is_made_before_it_is_asked_for():
    begun: list[int] = []
    with Loader(lambda number: begun.append(number), range(3), workers=0) as loader:
        assert begun == []
        next(loader)
        assert begun == [0]


def test_it_ends_with_what_is_being_made_when_the_caller_fails():
    before = threading.active_count()
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        return number

    def use() -> None:
        with Loader(make, range(1000), workers=2) as loader:
            next(loader)
            raise VkitError("the loss is no number")

    with pytest.raises(VkitError, match="the loss is no number"):
        use()
    assert threading.active_count() == before
    assert len(begun) <= 4


def test_an_interrupt_while_waiting_ends_it():
    before = threading.active_count()
    waits = threading.Event()

    def make(number: int) -> int:
        if number == 2:
            waits.wait(0.3)  # until the caller waits for this one
            os.kill(os.getpid(), signal.SIGINT)
            waits.wait(0.3)
        return number

    with pytest.raises(KeyboardInterrupt), Loader(make, range(100), workers=2) as loader:
        list(loader)
    until(lambda: threading.active_count() == before)


def test_the_time_that_the_caller_stands_still_is_counted():
    gate = threading.Event()
    with Loader(lambda number: gate.wait(), range(1), workers=1) as loader:
        assert loader.waited_seconds == 0
        threading.Timer(0.05, gate.set).start()
        next(loader)
        assert loader.waited_seconds > 0.02


def tensors_of(batch: TrainingBatch) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.inputs.items() if isinstance(value, torch.Tensor)}


@pytest.fixture(scope="module")
def task_with_a_bad_picture(tmp_path_factory) -> SftTask:
    folder: Path = tmp_path_factory.mktemp("pairs")
    examples = open_examples([write_pairs(folder, 9)], SFT, skip_bad=True)
    (folder / "images" / "p4-vision-only.png").write_bytes(b"torn")  # after it was found to be there
    return SftTask(build_tiny(), examples, SFT, skip_bad=True)


def test_a_bad_picture_in_the_middle_is_skipped_and_told_in_order(task_with_a_bad_picture):
    task = task_with_a_bad_picture
    order = Order(len(task.examples), seed=0)
    chunks = [order.take(start, 4) for start in range(0, 54, 4)]  # three epochs, and 2 records more
    runs = []
    for workers in (0, 1, 3):
        with Loader(task.read, chunks, workers=workers) as loader:
            runs.append(list(loader))
    for run in runs:
        refused = [refused.reason for _, some in run for refused in some]
        assert len(refused) == 3  # once an epoch
        assert all("record 'p4': image" in reason and "cannot be read" in reason for reason in refused)
        assert sum(micro.items for micro, _ in run) == 56 - 3
        for (micro, _), (other, _) in zip(run, runs[0], strict=True):
            assert (micro.ids, micro.tokens, micro.samples) == (other.ids, other.tokens, other.samples)
            for batch, theirs in zip(micro.batches, other.batches, strict=True):
                torch.testing.assert_close(tensors_of(batch), tensors_of(theirs), rtol=0, atol=0)
                assert torch.equal(batch.labels, theirs.labels)
    assert task.refused == []


def test_a_bad_picture_stops_the_run_where_it_stands(task_with_a_bad_picture):
    task = copy.copy(task_with_a_bad_picture)
    task.skip_bad = False
    bad = next(i for i in range(18) if "p4" in str(_error_of(task, i)))
    for workers in (0, 2):
        made = prefetch(task.read, [[place] for place in range(18)], workers=workers)
        assert len(list(itertools.islice(made, bad))) == bad
        with pytest.raises(VkitError, match=r"record 'p4': image .* cannot be read"):
            next(made)


def _error_of(task: SftTask, place: int) -> VkitError | None:
    try:
        task.read([place])
    except VkitError as error:
        return error
    return None


def test_a_record_that_changes_during_the_run_is_skipped_with_its_reason(tmp_path):
    path = write_pairs(tmp_path, 4)
    task = SftTask(build_tiny(), open_examples([path], SFT), SFT, skip_bad=True)
    lines = path.read_text().splitlines(keepends=True)
    changed = json.loads(lines[1])
    changed["response"] = changed["response"].swapcase()
    path.write_text(lines[0] + json.dumps(changed, ensure_ascii=False) + "\n" + "".join(lines[2:]))
    micro, refused = task.read(range(8))
    assert micro.items == 6
    assert ["has changed since it was indexed" in some.reason for some in refused] == [True, True]


def test_a_processor_of_transformers_serves_several_threads(tmp_path):
    """It keeps what it was last called with, and would tell one thread of another's prompts."""
    model = load_huggingface(write_checkpoint("llava", tmp_path / "llava"), device="cpu")
    recipe = SftRecipe(precision="fp32", twins="both")
    task = SftTask(model, open_examples([write_pairs(tmp_path, 20)], recipe), recipe)
    order = Order(len(task.examples), seed=0)
    chunks = [order.take(start, 2) for start in range(0, 200, 2)]
    expected = [(micro.ids, inputs_of(micro)) for micro, _ in map(task.read, chunks)]
    with Loader(task.read, chunks, workers=2) as loader:
        for (micro, refused), (ids, inputs) in zip(loader, expected, strict=True):
            assert (micro.ids, refused) == (ids, [])
            torch.testing.assert_close(inputs_of(micro), inputs, rtol=0, atol=0)


def inputs_of(micro: Micro) -> list[dict[str, torch.Tensor]]:
    return [{**tensors_of(batch), "labels": batch.labels} for batch in micro.batches]
