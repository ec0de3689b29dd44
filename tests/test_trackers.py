"""Trackers: told what the log holds, once a step, over kills; a tracker that fails stops nothing."""

import importlib.util
import json
import sys
import types

import pytest

from tests.training_data import write_pairs
from vkit.errors import VkitError
from vkit.models.tiny import build_tiny
from vkit.train import loop, stages, trackers
from vkit.train.data import open_examples
from vkit.train.recipes import SftRecipe

SFT = SftRecipe(lr=1e-3, batch_size=4, micro_batch_size=0, max_steps=6)


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 6)


def train(pairs, out, **how):
    task = stages.make_task(build_tiny(seed=3), open_examples([pairs], SFT), SFT)
    return loop.train(task, SFT, out, checkpoint_every=2, **how)


def train_killed_at_5(pairs, out, monkeypatch, **how):
    one_step = loop._Run.one_step

    def dying(self, tell):
        if self.step == 5:
            raise Killed
        return one_step(self, tell)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "one_step", dying)
        with pytest.raises(Killed):
            train(pairs, out, **how)


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


class FakeService:
    """What wandb and trackio share: init with an id or a name that goes on, log by step, finish."""

    def __init__(self, name, offline=False):
        self.runs, self.name, self.offline, self.started = {}, name, offline, 0

    def install(self, monkeypatch):
        module = types.ModuleType(self.name)
        module.init = self.init
        module.__spec__ = importlib.util.spec_from_loader(self.name, loader=None)
        monkeypatch.setitem(sys.modules, self.name, module)
        return self

    def init(self, *, project, name, config, resume, id=None, dir=None):
        """wandb knows the last step of a run that goes on, but not offline."""
        assert (project, resume) == ("vkit", "allow")
        assert config["recipe"]["max_steps"] == 6
        print(f"{self.name}: hello")
        self.started += 1
        return FakeRun(self.runs.setdefault(id or name, []), self.offline)


class FakeRun:
    def __init__(self, lines, offline):
        self.lines, self.offline = lines, offline
        self.step = lines[-1][0] + 1 if lines and not offline else 0

    def log(self, values, step):
        self.lines.append((step, values))
        self.step = step

    def finish(self):
        """Nothing is left to be sent."""


@pytest.mark.parametrize(("name", "offline"), [("wandb", False), ("wandb", True), ("trackio", False)])
def test_a_run_that_was_killed_goes_on_in_the_trackers_same_run(
    pairs, tmp_path, monkeypatch, capsys, name, offline
):
    service = FakeService(name, offline).install(monkeypatch)
    train_killed_at_5(pairs, tmp_path, monkeypatch, track=[name])
    train(pairs, tmp_path, track=[name])
    ((_, lines),) = service.runs.items()
    assert service.started == 2
    assert [step for step, _ in lines] == [1, 2, 3, 4, 5, 6]
    for line, (_, values) in zip(log_of(tmp_path), lines):
        assert values["train/loss"] == line["loss"]
        assert values.keys() >= {
            f"train/{key}" for key in ("grad_norm", "lr", "tokens_per_second", "peak_mib", "epoch")
        }
    captured = capsys.readouterr()
    assert captured.out == ""  # where a command's summary goes
    assert f"{name}: hello" in captured.err


def test_a_tracker_that_is_given_twice_is_started_once(pairs, tmp_path, monkeypatch):
    service = FakeService("wandb").install(monkeypatch)
    train(pairs, tmp_path, track=["wandb", "wandb"])
    assert service.started == 1


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_has_every_step_once(pairs, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_killed_at_5(pairs, tmp_path, monkeypatch, track=["tensorboard"])
    train(pairs, tmp_path, track=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = events.Scalars("train/loss")
    assert [event.step for event in found] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in found] == pytest.approx([line["loss"] for line in log_of(tmp_path)])


@pytest.mark.parametrize("when", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_told_once_and_stops_nothing(pairs, tmp_path, monkeypatch, when):
    service = FakeService("wandb").install(monkeypatch)

    def fail(*_, **__):
        raise ConnectionError("no route to host")

    if when == "init":
        monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    else:
        monkeypatch.setattr(FakeRun, when, fail)
    told = []
    summary = train(pairs, tmp_path, track=["wandb"], tell=told.append)
    assert told == [
        "tracking by wandb failed (no route to host); the run goes on without it, log.jsonl has all"
    ]
    assert summary["steps"] == len(log_of(tmp_path)) == 6
    assert service.started == (0 if when == "init" else 1)


def test_a_package_that_is_missing_is_told_before_anything_is_done(tmp_path, monkeypatch, vkit):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    code, out, err = vkit(
        *("train-sft", "--model", "nowhere", "--data", write_pairs(tmp_path, 2), "--recipe", "tiny"),
        *("--track", "tensorboard", "--out", tmp_path / "out"),
    )
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "vkit: --track tensorboard needs the package tensorboard; pip install tensorboard (or 'vkit[track]')"
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(VkitError, match="'mlflow' is not known; known: tensorboard, wandb, trackio"):
        trackers.check_trackers(["mlflow"])


def test_the_log_says_speed_and_memory(pairs, tmp_path):
    train(pairs, tmp_path)
    for line in log_of(tmp_path):
        assert line["tokens_per_second"] == pytest.approx(line["tokens"] / line["seconds"], rel=0.05)
        assert 50 < line["peak_mib"] < 1e5
