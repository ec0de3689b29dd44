"""`vkit rationales`: a kill loses nothing that had come, and Ctrl-C not even what is under way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_endpoint import FakeEndpoint
from tests.rationale_cases import KEY, ONE_USD, files_under, lines_of, live, write_problems
from vkit.records import read_samples

ROOT = Path(__file__).resolve().parent.parent


def start(arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": KEY}
    command = [sys.executable, "-m", "vkit.cli.main", "rationales", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, process):
    end = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_kill_9_at_any_moment_loses_only_what_was_under_way(tmp_path):
    problems, out = write_problems(tmp_path / "data", 60), tmp_path / "out"
    draw, kills, concurrency = random.Random(3), 3, 4
    with FakeEndpoint(lambda request: "slow-right", slow_s=0.02) as endpoint:
        arguments = live(problems, endpoint, out, "--concurrency", concurrency)
        before = []
        for kill in range(kills):
            process = start(arguments)
            wait_for(lambda: len(endpoint.requests) >= (kill + 1) * 10, process)  # noqa: B023
            time.sleep(draw.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            after = (out / "store.jsonl").read_bytes()
            assert after.startswith(b"".join(before))
            before = after.splitlines(keepends=True)
            before = before if after.endswith(b"\n") else before[:-1]
            lost = sum(endpoint.billed.values()) - len(before)
            assert lost <= (kill + 1) * concurrency
        (out / "store.jsonl").open("ab").write(b'{"key": "torn')
        process = start(arguments)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    summary, stored = json.loads(stdout), lines_of(out / "store.jsonl")
    assert (summary["rationales"], len(stored), len({line["key"] for line in stored})) == (60, 60, 60)
    assert summary["cost_usd"] == pytest.approx(60 * ONE_USD)
    assert len(endpoint.requests) <= 60 + kills * concurrency
    assert KEY.encode() not in b"".join(path.read_bytes() for path in files_under(out))


def test_ctrl_c_keeps_what_is_under_way_too(tmp_path):
    problems, out = write_problems(tmp_path / "data", 60), tmp_path / "out"
    with FakeEndpoint(lambda request: "slow-right", slow_s=0.2) as endpoint:
        arguments = live(problems, endpoint, out, "--concurrency", 4)
        process = start(arguments)
        wait_for(lambda: len(endpoint.requests) >= 6, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        summary = json.loads(stdout)
        assert summary["stopped"] == "interrupted"
        assert summary["rationales"] == len(endpoint.requests) == sum(endpoint.billed.values()) < 60
        assert len(list(read_samples(out / "rationales.jsonl"))) == summary["rationales"]
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr
