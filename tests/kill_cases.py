"""Trains through kill -9 at random moments, saves included, and looks at what stays after each.

through_kills(folder, folder / "whole", steps=18, kills=0)
through_kills(folder, folder / "killed", steps=18, kills=6)
assert_equal_runs(folder / "whole", folder / "killed")
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vkit.models.tiny import build_tiny
from vkit.train import stages
from vkit.train.checkpoint import complete_checkpoints, load_checkpoint
from vkit.train.data import open_examples
from vkit.train.loop import train
from vkit.train.recipes import SftRecipe

MEASURES = ("seconds", "waited_seconds", "tokens_per_second", "peak_mib")
build_tiny()  # imports what a model needs, so that a forked process begins at once


def run_once(folder: str, steps: int, environment: dict[str, str], output: str) -> None:
    """Be one process of the run in folder/out."""
    os.environ.update(environment)
    with open(output, "a") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    torch.set_num_threads(1)
    recipe = SftRecipe(lr=1e-3, batch_size=4, micro_batch_size=2, max_steps=steps, weight_decay=0.1)
    task = stages.make_task(build_tiny(seed=3), open_examples([Path(folder) / "pairs.jsonl"], recipe), recipe)
    train(task, recipe, Path(output).parent / "out", checkpoint_every=1)


def through_kills(folder: Path, place: Path, steps: int, kills: int, *, size: int = 1, seed: int = 0) -> Any:
    """Train in place/out, killed up to ``kills`` times, and then to the end; counts what the kills met."""
    draw = random.Random(seed)
    met: Counter[str] = Counter()
    out = place / "out"
    for number in range(kills):
        moment = _moment(draw, out, last=number >= kills - max(1, kills // 5))
        began = time.time_ns()
        processes = _start(folder, place, steps, size)
        while not moment() and all(process.is_alive() for process in processes):
            time.sleep(0.0005)
        if any(process.exitcode == 0 for process in processes):
            break
        victims = processes if draw.random() < 0.5 else [draw.choice(processes)]
        for process in victims:
            os.kill(process.pid, signal.SIGKILL)
        met["left to the launcher"] += _wait(processes, 10)
        met["kills"] += 1
        met["of all processes" if len(victims) == size else "of one of several"] += 1
        met["within a checkpoint's save or removal"] += _is_new(out / "checkpoints", ".*.part", began)
        met["within the model's save"] += _is_new(out, ".*model*.part*", began)
        for checkpoint in complete_checkpoints(out / "checkpoints"):
            tensors, state = load_checkpoint(checkpoint)
            assert int(checkpoint.name.removeprefix("step-")) == state["step"]
            assert tensors
    last = _start(folder, place, steps, size)
    _wait(last, 300)
    assert all(process.exitcode == 0 for process in last), _said(place)
    return met


def assert_equal_runs(one: Path, other: Path) -> None:
    """Two finished runs: the same weights to the bit, the same log, and nothing else on the disk."""
    weights = [load_file(place / "out/model/model.safetensors") for place in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    logs = [_log(place / "out/log.jsonl") for place in (one, other)]
    assert logs[0] == logs[1]
    names = [sorted(path.name for path in (place / "out").iterdir()) for place in (one, other)]
    assert names == [["log.jsonl", "model", "settings.json", "summary.json"]] * 2, names


def _log(path: Path) -> list[dict[str, Any]]:
    """Its lines, without what is measured and without what each start says once."""
    left_out = (*MEASURES, "processes", "parallel")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in left_out} for line in lines]


def _moment(draw: random.Random, out: Path, *, last: bool) -> Callable[[], bool]:
    """A test that becomes true when it is time to kill: at a save, or at any time of the next steps."""
    known = complete_checkpoints(out / "checkpoints")
    done = int(known[-1].name.removeprefix("step-")) if known else 0
    target, delay, began = done + draw.choice((0, 1, 2)), draw.uniform(0, 0.3), 0.0
    at_save = draw.random() < 0.5
    save_delay, started = draw.uniform(0, 0.02), time.time_ns()

    def reached() -> bool:
        nonlocal began
        if last:
            begun = _is_new(out, ".*model*.part*", started)
        elif at_save:
            begun = _is_new(out / "checkpoints", ".*.part", started)
        else:
            begun = target == done or (out / "log.jsonl").read_bytes().count(b"\n") >= target
        if begun and not began:
            began = time.monotonic()
        return began > 0 and time.monotonic() - began >= (save_delay if last or at_save else delay)

    return reached


def _is_new(folder: Path, pattern: str, since_ns: int) -> bool:
    """Whether there is such a folder that no earlier kill left."""
    for path in folder.glob(pattern):
        try:
            if path.stat().st_mtime_ns > since_ns:
                return True
        except FileNotFoundError:  # it has its own name by now, or is gone
            pass
    return False


def _start(folder: Path, place: Path, steps: int, size: int) -> list[Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill_cases"])
    place.mkdir(parents=True, exist_ok=True)
    environment: dict[str, str] = {}
    if size > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        environment |= {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    processes = []
    for rank in range(size):
        more = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {}
        what = (str(folder), steps, {**environment, **more}, str(place / "output"))
        processes.append(context.Process(target=run_once, args=what))
        processes[-1].start()
    return processes


def _wait(processes: list[Any], seconds: float) -> int:
    """Until all have ended; how many had not by themselves.

    Where one is gone, the others end when they next exchange something. Those that wait for it to begin at
    all are ended by what launched them.
    """
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    left = [process for process in processes if process.is_alive()]
    for process in left:
        process.kill()
        process.join()
    return len(left)


def _said(place: Path) -> str:
    return (place / "output").read_text() if (place / "output").exists() else "nothing"
