"""Problems for the tests of ``vkit rationales``, and the command as people call it."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.fake_endpoint import INPUT_TOKENS, OUTPUT_TOKENS, FakeEndpoint, Request
from vkit.records import Sample, write_samples

KEY = "sk-verysecret-0123456789"
PRICES = ("--price-in", "2.5", "--price-out", "10")
ONE_USD = (INPUT_TOKENS * 2.5 + OUTPUT_TOKENS * 10) / 1e6  # of a request that the fake endpoint answers


def caller(vkit, monkeypatch):
    """``vkit rationales`` in this process: arguments in; exit code, stdout and stderr out."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def call(*arguments):
        code, out, err = vkit("rationales", *arguments)
        assert KEY not in out + err
        return code, out, err

    return call


def write_problems(folder: Path, count: int, **changes) -> Path:
    """``count`` problems p0, p1, ... with choices, pictures and literals."""
    folder.mkdir(exist_ok=True)
    samples = []
    for index in range(count):
        Image.new("RGBA", (9, 7), (index, 90, 90, 128)).save(folder / f"{index}.png")
        values = {"choices": ("3", "4"), "answer": "AB"[index % 2], "image": f"{index}.png"}
        values |= {"meta": {"literals": [f"Line(A, B{index})"]}}
        samples.append(Sample(f"p{index}", f"Find x{index}.", **{**values, **changes}))
    write_samples(folder / "problems.jsonl", samples)
    return folder / "problems.jsonl"


def number_of(request: Request) -> int:
    """Which problem a request is about."""
    return int(request.text.split("Find x")[1].split(".")[0])


def offline(problems: Path, out: Path, *more) -> tuple:
    return ("--data", problems, "--model", "gpt-4o", "--out", out, *PRICES, *more)


def live(problems: Path, endpoint: FakeEndpoint, out: Path, *more) -> tuple:
    limits = ("--max-retries", 2, "--timeout", 5)
    return offline(problems, out, "--base-url", endpoint.url, *limits, *more)


def lines_of(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
