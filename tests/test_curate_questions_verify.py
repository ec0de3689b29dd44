"""`vkit curate questions`: verification by the teacher, what it costs, and what a stopped run keeps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_endpoint import FakeEndpoint, completion
from tests.question_cases import arguments, caller, kind_of, number_of, teacher, write_problems
from tests.rationale_cases import KEY, ONE_USD, PRICES, files_under, lines_of
from vkit.curate.questions import KINDS
from vkit.records import read_samples

ROOT = Path(__file__).resolve().parent.parent
A_PROBLEM = 4 + 6  # requests: one a kind, and a verification for each of six questions


@pytest.fixture
def curate(vkit, monkeypatch):
    return caller(vkit, monkeypatch)


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "data", 2)


def test_what_the_teacher_finds_itself_is_kept(curate, problems, tmp_path):
    out = tmp_path / "out"
    with FakeEndpoint(teacher) as endpoint:
        code, stdout, stderr = curate(*arguments(problems, endpoint, out, "--verify"))
        assert code == 0, stderr
        assert len(endpoint.requests) == 2 * A_PROBLEM
        assert curate(*arguments(problems, endpoint, out, "--verify"))[1] == stdout
        assert len(endpoint.requests) == 2 * A_PROBLEM  # a second run asks nothing
    summary = json.loads(stdout)
    assert (summary["conversations"], summary["unverified"]) == (14, 0)
    assert summary["cost_usd"] == pytest.approx(2 * A_PROBLEM * ONE_USD)
    assert all(sample.meta["synthesized"]["verified"] for sample in read_samples(out / "synthesized.jsonl"))


def test_nobody_tells_the_answer_to_who_verifies_it(curate, problems, tmp_path):
    with FakeEndpoint(teacher) as endpoint:
        curate(*arguments(problems, endpoint, tmp_path / "out", "--verify", "--kind", "rephrased"))
    told = [request for request in endpoint.requests if kind_of(request) == "verification"]
    assert len(told) == 2
    for request in told:
        assert "Answer: A" not in request.text.replace("such as Answer: B", "")
        assert request.text.endswith(f"rise above bar P{number_of(request)}.\nChoices:\n(A) 3\n(B) 5")
        assert any(part["type"] == "image_url" for part in request.body["messages"][0]["content"])


def test_what_the_teacher_answers_otherwise_or_not_at_all_is_set_aside(curate, problems, tmp_path):
    out = tmp_path / "out"
    said = {"By how much": "say:Answer: 5", "What share": "say:I cannot tell.", "How many are": "filtered"}

    def doubtful(request):
        if kind_of(request) == "verification":
            return next((reply for words, reply in said.items() if words in request.text), teacher(request))
        return teacher(request)

    with FakeEndpoint(doubtful) as endpoint:
        _, stdout, _ = curate(*arguments(problems, endpoint, out, "--verify"))
    summary = json.loads(stdout)
    assert [summary[kind]["set_aside"] for kind in KINDS] == [
        {"not_verified": 2}, {"not_verified": 2}, {}, {"verification_content_filter": 2},
    ]  # fmt: skip
    ids = [sample.id for sample in read_samples(out / "synthesized.jsonl")]
    assert ids == ["p0-new-1", "p0-new-2", "p0-rephrased", "p1-new-1", "p1-new-2", "p1-rephrased"]
    aside = lines_of(out / "set-aside.jsonl")
    assert "the teacher answers 5, not 4" in [each["detail"] for each in aside]
    assert {each["said"] for each in aside} >= {"How many are higher than P1?"}


def test_an_answer_that_is_a_sentence_is_verified_by_what_it_says(curate, tmp_path):
    """As LLaVA's conversations have it; so `read_pool` takes it."""
    problems = write_problems(tmp_path / "data", 1, choices=(), answer="Count them. The answer is 4.")

    def sure(request):
        return "say:Answer: 4" if kind_of(request) == "verification" else teacher(request)

    with FakeEndpoint(sure) as endpoint:
        more = ("--verify", "--kind", "rephrased", "--kind", "underspecified")
        _, stdout, _ = curate(*arguments(problems, endpoint, tmp_path / "out", *more))
    summary = json.loads(stdout)
    assert [summary[kind]["kept"] for kind in ("rephrased", "underspecified")] == [1, 1], summary


def test_a_question_over_the_number_takes_the_place_of_one_that_is_not_verified(curate, problems, tmp_path):
    def doubtful(request):
        if kind_of(request) == "verification" and "Which bar of group" in request.text:
            return "say:Answer: A"
        return teacher(request)

    with FakeEndpoint(doubtful) as endpoint:
        more = ("--verify", "--new", 2, "--kind", "new")
        _, stdout, _ = curate(*arguments(problems, endpoint, tmp_path / "out", *more))
    counts = json.loads(stdout)["new"]
    assert (counts["kept"], counts["set_aside"]) == (4, {"not_verified": 2})


def test_retry_failures_asks_again_for_what_brought_too_little(curate, problems, tmp_path):
    out = tmp_path / "out"
    bad = {"complex": "500", "underspecified": "say:Nothing.", "verification": "filtered"}

    def at_first(request):
        return bad.get(kind_of(request), teacher(request)) if request.attempt == 1 else teacher(request)

    with FakeEndpoint(at_first) as endpoint:
        first = json.loads(curate(*arguments(problems, endpoint, out, "--verify"))[1])
        again = json.loads(curate(*arguments(problems, endpoint, out, "--verify"))[1])
        assert first == again
        for _ in range(2):  # questions first, and what is new of them is verified
            curate(*arguments(problems, endpoint, out, "--verify", "--retry-failures"))
        last = json.loads(curate(*arguments(problems, endpoint, out, "--verify"))[1])
    assert (first["conversations"], last["conversations"]) == (2, 14)
    assert all(not last[kind]["set_aside"] for kind in KINDS)


def test_an_estimate_covers_the_first_round_and_says_so(curate, problems, tmp_path):
    out = tmp_path / "out"
    asked = ("--data", problems, "--model", "gpt-4o", "--out", out, *PRICES, "--new", 3)
    _, stdout, stderr = curate(*asked, "--estimate", "--verify")
    found = json.loads(stdout)
    assert (found["requests"], found["verification_requests_on_top"]) == (8, 12)
    assert found["cost_usd_at_most"] > 8 * 1024 * 10 / 1e6
    assert "on top, --verify asks" in stderr
    assert not out.exists()
    assert "verification_requests_on_top" not in json.loads(curate(*asked, "--estimate")[1])


def test_the_highest_cost_covers_both_rounds(curate, problems, tmp_path):
    out = tmp_path / "out"
    most = 12 * ONE_USD  # the first round takes 8, and every request sets its most aside
    with FakeEndpoint(teacher) as endpoint:
        limits = ("--verify", "--max-tokens", 120, "--concurrency", 1, "--max-cost", most)
        code, stdout, stderr = curate(*arguments(problems, endpoint, out, *limits))
        summary = json.loads(stdout)
        assert (code, summary["stopped"]) == (0, "max_cost")
        assert 0 < summary["unverified"] < 12
        assert summary["cost_usd"] <= most
        assert "a higher one goes on from here" in stderr
        written = len(lines_of(out / "conversations.jsonl"))
        assert written == summary["conversations"] == 2 + 12 - summary["unverified"]
        code, stdout, _ = curate(*arguments(problems, endpoint, out, "--verify", "--max-tokens", 120))
        assert json.loads(stdout)["conversations"] == 14
        assert len(endpoint.requests) == 2 * A_PROBLEM


def test_batches_take_one_file_for_the_questions_and_one_for_their_verification(curate, problems, tmp_path):
    out = tmp_path / "out"
    asked = ("--data", problems, "--model", "gpt-4o", "--out", out, *PRICES, "--new", 3, "--verify")
    for number, requests in ((1, 8), (2, 12)):
        code, stdout, _ = curate(*asked, "--export-batch", tmp_path / f"in{number}.jsonl")
        assert code == 0
        lines = lines_of(tmp_path / f"in{number}.jsonl")
        assert len(lines) == requests
        answer(lines, tmp_path / f"out{number}.jsonl")
        code, stdout, _ = curate(*asked, "--import-batch", tmp_path / f"out{number}.jsonl")
        assert code == 0
    assert (json.loads(stdout)["conversations"], json.loads(stdout)["unverified"]) == (14, 0)


def answer(lines, path):
    """A batch's output file."""
    from tests.fake_endpoint import Request, prompt_text

    replies = []
    for line in lines:
        request = Request(prompt_text(line["body"]), line["body"], 1, 1)
        body = completion(line["body"], teacher(request))
        replies.append({"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}})
    path.write_text("".join(json.dumps(reply) + "\n" for reply in replies))


def test_kill_9_loses_only_what_was_under_way(tmp_path):
    problems, out, concurrency = write_problems(tmp_path / "data", 8), tmp_path / "out", 4
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": KEY}
    with FakeEndpoint(lambda request: f"slow-{teacher(request)}", slow_s=0.02) as endpoint:
        asked = arguments(problems, endpoint, out, "--verify", "--concurrency", concurrency)
        command = [sys.executable, "-m", "vkit.cli.main", "curate", "questions", *map(str, asked)]
        for stop in (10, 50, None):  # in the first round, and in the second
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            end = time.monotonic() + 60
            while stop and len(endpoint.requests) < stop and process.poll() is None:
                assert time.monotonic() < end
                time.sleep(0.005)
            if stop:
                process.send_signal(signal.SIGKILL)
            stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["conversations"] == 8 * 7
    assert 8 * A_PROBLEM <= len(endpoint.requests) <= 8 * A_PROBLEM + 2 * concurrency
    assert KEY.encode() not in b"".join(path.read_bytes() for path in files_under(out))


def test_a_model_on_this_machine_is_a_teacher_too(curate, problems, tmp_path):
    more = ("--teacher", "tiny", "--device", "cpu", "--max-tokens", 4, "--kind", "complex", "--limit", 1)
    code, stdout, stderr = curate("--data", problems, "--out", tmp_path / "out", *more)
    assert code == 0, stderr
    counts = json.loads(stdout)["complex"]
    assert (counts["asked"], counts["kept"], sum(counts["set_aside"].values())) == (1, 0, 1)
