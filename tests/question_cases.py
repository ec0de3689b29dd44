"""Problems for the tests of ``vkit curate questions``, a teacher that makes them, and the command."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tests.fake_endpoint import FakeEndpoint, Request
from tests.rationale_cases import KEY, PRICES
from vkit.records import Sample, write_samples

# What a teacher makes of "How many of the 12 bars are higher than bar P<n>?", by kind.
NEW = """\
1.
Question: Which bar of group {n} is the lowest?
Choices:
(A) the red one
(B) the blue one
Answer: B

2.
Question: By how much does the highest bar pass line {n}?
Answer: 4

3.
Question: What is the sum of all bars left of {n}?
Answer: 30
"""
MADE = {
    "new": NEW,
    "complex": "Question: What share of the bars higher than P{n} is red, in percent?\nAnswer: 25",
    "rephrased": "Question: Looking at these 12 bars, count those that rise above bar P{n}.",
    "underspecified": "Question: How many are higher than P{n}?",
}
RIGHT = {"Which bar of group": "B", "By how much": "4", "What is the sum": "30", "What share": "25"}
MARKS = {
    "new": "new questions about this picture",
    "complex": "harder than the problem below",
    "rephrased": "in other words",
    "underspecified": "Shorten the question",
    "verification": "Solve this problem",
}


def caller(vkit, monkeypatch):
    """``vkit curate questions`` in this process: arguments in; exit code, stdout and stderr out."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def call(*arguments):
        code, out, err = vkit("curate", "questions", *arguments)
        assert KEY not in out + err
        return code, out, err

    return call


def write_problems(folder: Path, count: int, **changes) -> Path:
    """``count`` problems p0, p1, ... with choices and pictures."""
    folder.mkdir(exist_ok=True)
    samples = []
    for n in range(count):
        Image.new("RGB", (40, 30), (n, 90, 90)).save(folder / f"{n}.png")
        meta = {"source": "bars", "curation": {"clarity": 1, "complexity": n % 4}, "precise_value": 3.0}
        values = {"choices": ("3", "5"), "answer": "AB"[n % 2], "image": f"{n}.png", "meta": meta, **changes}
        samples.append(Sample(f"p{n}", f"How many of the 12 bars are higher than bar P{n}?", **values))
    write_samples(folder / "selected.jsonl", samples)
    return folder / "selected.jsonl"


def kind_of(request: Request) -> str:
    """What a request asks for."""
    return next(kind for kind, mark in MARKS.items() if mark in request.text)


def number_of(request: Request) -> int:
    """Which problem a request is about; what it is about comes last."""
    return int(re.findall(r"\bP([0-9]+)", request.text)[-1])


def teacher(request: Request) -> str:
    """What the endpoint is to do: say what `MADE` holds; a verification gets the right answer."""
    if kind_of(request) == "verification":
        return f"say:Let me see.\nAnswer: {right_answer(request)}"
    return "say:" + MADE[kind_of(request)].format(n=number_of(request))


def right_answer(request: Request) -> str:
    """Of a question that `teacher` made, or that keeps the answer of a problem of `write_problems`."""
    for words, answer in RIGHT.items():
        if words in request.text:
            return answer
    return "AB"[number_of(request) % 2]


def arguments(problems: Path, endpoint: FakeEndpoint, out: Path, *more) -> tuple:
    where = ("--base-url", endpoint.url, "--model", "gpt-4o", "--max-retries", 0, "--timeout", 5)
    return ("--data", problems, "--out", out, *where, *PRICES, "--new", 3, *more)
