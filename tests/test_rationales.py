"""`vkit rationales`: whatever an endpoint does, each problem ends with a rationale or a named failure."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_endpoint import INPUT_TOKENS, OUTPUT_TOKENS, FakeEndpoint
from tests.rationale_cases import KEY, ONE_USD, caller, lines_of, live, number_of, write_problems
from vkit.rationales.prompts import find_fault
from vkit.records import Sample, read_samples, write_samples

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(name="vkit")
def rationales(vkit, monkeypatch):
    return caller(vkit, monkeypatch)


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "data", 6)


def test_rationales_come_in_the_order_of_the_data_with_their_pictures(vkit, problems, tmp_path):
    out = tmp_path / "out"
    with FakeEndpoint(lambda request: "slow-right" if number_of(request) % 2 else "right", 0.1) as endpoint:
        code, stdout, stderr = vkit(*live(problems, endpoint, out))
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert (summary["problems"], summary["rationales"], summary["set_aside"]) == (6, 6, {})
    assert summary["cost_usd"] == pytest.approx(6 * ONE_USD)
    written, given = list(read_samples(out / "rationales.jsonl")), list(read_samples(problems))
    assert [sample.id for sample in written] == [sample.id for sample in given]
    for sample, original in zip(written, given, strict=True):
        assert sample.rationale == f"The diagram shows it. Answer: {original.answer}"
        assert sample.meta == {**original.meta, "rationale": {"kind": "visual-cot", "model": "gpt-4o"}}
        assert sample.open_image().tobytes() == original.open_image().tobytes()
        assert (sample.question, sample.choices, sample.answer) == (
            original.question, original.choices, original.answer,
        )  # fmt: skip


def test_the_teacher_sees_the_prompt_of_figure_3_with_the_picture_in_its_place(vkit, problems, tmp_path):
    with FakeEndpoint() as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--limit", 1, "--temperature", 0)
        assert vkit(*arguments)[0] == 0
    [request] = endpoint.requests
    before, picture, after = request.body["messages"][0]["content"]
    assert before["text"].endswith("e.g. Answer: {A, B, C or D}\n\nDiagram: ")
    assert after["text"] == "\nQuestion: Find x0.\nChoices: A. 3, B. 4\nCorrect Answer: A"
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert (request.body["model"], request.body["temperature"]) == ("gpt-4o", 0)
    assert request.body["max_completion_tokens"] == 1024
    assert endpoint.keys == [f"Bearer {KEY}"]


# What the endpoint does to every request, and what the problem ends with (None: a rationale).
ENDS = {
    "wrong": "wrong_answer",
    "unreadable": "unreadable_answer",
    "braces": None,
    "filtered": "content_filter",
    "azure": "content_filter",
    "refusing": "refused",
    "silent": "empty",
    "long": "cut_short",
    "garbage": "malformed",
    "shape": "malformed",
    "half-character": None,
    "no-usage": None,
    "400": "http_400",
    "403": "http_403",
    "500": "http_500",
    "429": "rate_limited",
    "disconnect": "disconnected",
    "torn": "disconnected",
    "slow-right": "timeout",
}
PAID = {"wrong", "unreadable", "braces", "filtered", "refusing", "silent", "long", "half-character"}


def test_every_problem_ends_with_a_rationale_or_a_named_failure(vkit, tmp_path):
    behaviours = list(ENDS)
    problems, out = write_problems(tmp_path / "data", len(behaviours)), tmp_path / "out"
    with FakeEndpoint(lambda request: behaviours[number_of(request)], slow_s=1.0) as endpoint:
        arguments = live(problems, endpoint, out, "--timeout", 0.4, "--max-retries", 1, "--concurrency", 32)
        code, stdout, stderr = vkit(*arguments)
        assert code == 0, stderr
        asked = len(endpoint.requests)
        assert vkit(*arguments)[1] == stdout  # a second run asks nothing and finds the same
        assert len(endpoint.requests) == asked
    good = {sample.id for sample in read_samples(out / "rationales.jsonl")}
    aside = {line["id"]: line["reason"] for line in lines_of(out / "set-aside.jsonl")}
    for index, (behaviour, reason) in enumerate(ENDS.items()):
        assert (f"p{index}" in good, aside.get(f"p{index}")) == (reason is None, reason), behaviour
    stored = lines_of(out / "store.jsonl")
    assert sorted(line["id"] for line in stored) == sorted(f"p{index}" for index in range(len(ENDS)))
    summary = json.loads(stdout)
    assert summary["set_aside"] == dict(Counter(reason for reason in sorted(filter(None, ENDS.values()))))
    assert summary["cost_usd"] == pytest.approx(len(PAID) * ONE_USD)
    # Those whose bill cannot be known: silence, tears, garbage, a shape without usage, an answer without it.
    assert {behaviours[int(line["id"][1:])] for line in stored if "unsure_usd" in line} == {
        "disconnect", "torn", "slow-right", "garbage", "shape", "no-usage",
    }  # fmt: skip


@pytest.mark.parametrize("first", ["429", "500", "503", "disconnect", "torn"])
def test_passing_failures_are_retried(vkit, problems, tmp_path, first):
    with FakeEndpoint(lambda request: first if request.attempt == 1 else "right") as endpoint:
        code, stdout, _ = vkit(*live(problems, endpoint, tmp_path / "out"))
    assert (code, json.loads(stdout)["rationales"]) == (0, 6)
    assert len(endpoint.requests) == 12
    assert set(endpoint.billed.values()) == {1}


def test_any_mixture_of_failures_leaves_each_problem_with_one_end_and_its_cost(vkit, tmp_path):
    problems, out = write_problems(tmp_path / "data", 40), tmp_path / "out"
    draw = random.Random(7)
    fates = {}
    choices = ["right"] * 6 + ["429", "500", "torn", "garbage", "filtered", "wrong", "disconnect"]

    def behave(request):
        return fates.setdefault((number_of(request), request.attempt), draw.choice(choices))

    with FakeEndpoint(behave) as endpoint:
        code, stdout, stderr = vkit(*live(problems, endpoint, out, "--concurrency", 16, "--max-retries", 1))
    assert code == 0, stderr
    good = [sample.id for sample in read_samples(out / "rationales.jsonl")]
    aside = [line["id"] for line in lines_of(out / "set-aside.jsonl")]
    assert sorted(good + aside) == sorted(f"p{index}" for index in range(40))
    stored = lines_of(out / "store.jsonl")
    assert len({line["key"] for line in stored}) == len(stored) == 40
    paid = sum(fate in ("right", "filtered", "wrong") for fate in fates.values())
    summary = json.loads(stdout)
    assert summary["cost_usd"] == pytest.approx(paid * ONE_USD)
    assert (summary["input_tokens"], summary["output_tokens"]) == (paid * INPUT_TOKENS, paid * OUTPUT_TOKENS)


def test_what_was_set_aside_is_asked_again_only_on_request(vkit, problems, tmp_path):
    out = tmp_path / "out"
    with FakeEndpoint(
        lambda request: {0: "wrong", 1: "filtered"}.get(number_of(request), "right")
    ) as endpoint:
        assert json.loads(vkit(*live(problems, endpoint, out))[1])["rationales"] == 4
    with FakeEndpoint() as endpoint:
        assert json.loads(vkit(*live(problems, endpoint, out))[1])["rationales"] == 4
        assert endpoint.requests == []
        summary = json.loads(vkit(*live(problems, endpoint, out, "--retry-failures"))[1])
        assert (summary["rationales"], len(endpoint.requests)) == (6, 2)
        assert summary["cost_usd"] == pytest.approx(8 * ONE_USD)
    with FakeEndpoint(lambda request: "wrong") as endpoint:  # good ones are left alone
        assert json.loads(vkit(*live(problems, endpoint, out, "--retry-failures"))[1])["rationales"] == 6
        assert endpoint.requests == []


def test_a_higher_limit_asks_again_only_for_what_was_cut_short(vkit, problems, tmp_path):
    def behave(request):
        return "long" if number_of(request) == 3 and request.body["max_completion_tokens"] < 2000 else "right"

    with FakeEndpoint(behave) as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--retry-failures")
        assert json.loads(vkit(*arguments)[1])["set_aside"] == {"cut_short": 1}
        assert json.loads(vkit(*arguments, "--max-tokens", 2000)[1])["rationales"] == 6
        assert len(endpoint.requests) == 7


def test_another_model_picture_or_question_is_another_request(vkit, problems, tmp_path):
    with FakeEndpoint() as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out")
        vkit(*arguments)
        vkit(*arguments, "--model", "gpt-5")
        assert len(endpoint.requests) == 12
        Image.new("RGB", (5, 5), "red").save(problems.parent / "0.png")
        summary = json.loads(vkit(*arguments)[1])
        assert (len(endpoint.requests), summary["rationales"]) == (13, 6)


def test_problems_that_are_the_same_are_asked_once(vkit, tmp_path):
    data = tmp_path / "data"
    problems = write_problems(data, 1)
    sample = next(read_samples(problems))
    twin = Sample("twin", sample.question, sample.choices, sample.answer, sample.image)
    write_samples(problems, [sample, twin])
    with FakeEndpoint() as endpoint:
        assert json.loads(vkit(*live(problems, endpoint, tmp_path / "out"))[1])["rationales"] == 2
        assert len(endpoint.requests) == 1


# -- Kinds


def test_diagram_literals_are_prepended_to_the_visual_cot_that_was_paid_for(vkit, problems, tmp_path):
    out = tmp_path / "out"
    with FakeEndpoint() as endpoint:
        vkit(*live(problems, endpoint, out))
        code, stdout, stderr = vkit(*live(problems, endpoint, out, "--kind", "diagram-literals"))
        assert (code, json.loads(stdout)["rationales"], len(endpoint.requests)) == (0, 6, 6)
    first = next(read_samples(out / "rationales.jsonl"))
    assert first.rationale == "Diagram literals: Line(A, B0)\n\nThe diagram shows it. Answer: A"
    assert first.meta["rationale"]["kind"] == "diagram-literals"
    kept = list(read_samples(out / "rationales-visual-cot.jsonl"))  # of the first kind, and said so
    assert [sample.meta["rationale"]["kind"] for sample in kept] == ["visual-cot"] * 6
    assert "rationales-visual-cot.jsonl now" in stderr


def test_a_symbolic_rationale_without_the_notation_is_set_aside(vkit, problems, tmp_path):
    with FakeEndpoint(lambda request: "symbolic" if number_of(request) else "right") as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--kind", "symbolic-solver")
        summary = json.loads(vkit(*arguments)[1])
    assert (summary["rationales"], summary["set_aside"]) == (5, {"no_notation": 1})
    assert "[[eq x = 2 * y + 3]]" in endpoint.requests[0].text


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("[[var x]] [[eq x = 4]] [[answer x]] Answer: B", None),
        ("[[var x]] [[eq x = 4]] [[answer x]] Answer: A", "wrong_answer"),
        ("[[var B]] [[eq B = 4]] [[answer B]]", "unreadable_answer"),  # a variable is no choice
        ("[[var x]] [[answer x]] Answer: B", "no_notation"),
    ],
)
def test_the_answer_of_a_symbolic_rationale_stands_outside_its_notation(said, fault):
    assert find_fault(Sample("1", "Find x.", ("3", "4"), "B"), "symbolic-solver", said) == fault


def test_geometry3k_is_read_with_its_literals(vkit, tmp_path):
    data = ROOT.parent / "shared" / "data" / "geometry3k"
    if not data.is_dir():
        pytest.skip(f"{data} is not there")
    with FakeEndpoint() as endpoint:
        arguments = live(data, endpoint, tmp_path / "out", "--kind", "diagram-literals")
        code, stdout, stderr = vkit(*arguments)
    assert (code, json.loads(stdout)["rationales"]) == (0, 6), stderr
    first = next(read_samples(tmp_path / "out" / "rationales.jsonl"))
    assert first.rationale.startswith("Diagram literals: PointLiesOnLine(N, Line(X, Z)), ")


def test_free_answers_and_problems_without_pictures_are_asked_too(vkit, tmp_path):
    problems = write_problems(tmp_path / "data", 2, choices=(), answer="7.5", image=None)
    with FakeEndpoint() as endpoint:
        code, stdout, _ = vkit(*live(problems, endpoint, tmp_path / "out", "--concurrency", 1))
    assert (code, json.loads(stdout)["rationales"]) == (0, 2)
    assert endpoint.requests[0].text.endswith("e.g. Answer: 12\n\nQuestion: Find x0.\nCorrect Answer: 7.5")


def test_problems_that_cannot_be_asked_are_set_aside_by_name_and_cost_nothing(vkit, tmp_path):
    problems = write_problems(tmp_path / "data", 4)
    samples = list(read_samples(problems))
    samples[0] = Sample("p0", "Find x0.", image="0.png")
    (problems.parent / "1.png").write_bytes(b"no picture")
    samples[2] = Sample("p2", "Find x2.", ("3", "4"), "A", "2.png")
    write_samples(problems, samples)
    with FakeEndpoint() as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--kind", "diagram-literals")
        summary = json.loads(vkit(*arguments)[1])
        assert summary["set_aside"] == {"bad_image": 1, "no_answer": 1, "no_literals": 1}
        assert (summary["rationales"], len(endpoint.requests)) == (1, 1)
        write_samples(problems, samples[:1])
        code, _, stderr = vkit(*arguments)
    assert (code, "'p0') because of no_answer" in stderr) == (1, True)


# -- A model on this machine


def test_a_local_model_serves_as_a_teacher(vkit, problems, tmp_path):
    out = tmp_path / "out"
    arguments = ("--data", problems, "--teacher", "tiny", "--max-tokens", 4, "--batch-size", 4, "--out", out)
    code, stdout, stderr = vkit(*arguments)
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert summary["rationales"] + sum(summary["set_aside"].values()) == 6
    assert summary["model"].startswith("tiny@")
    stored = (out / "store.jsonl").read_bytes()
    assert vkit(*arguments)[1] == stdout
    assert (out / "store.jsonl").read_bytes() == stored
    alone = tmp_path / "alone"
    vkit(*arguments, "--batch-size", 1, "--out", alone)
    texts = [
        {line["id"]: line["text"] for line in lines_of(folder / "store.jsonl")} for folder in (out, alone)
    ]
    assert texts[0] == texts[1]
