"""`vkit rationales`: what it spends, what it refuses, and that the key stays where it is."""

import json
import sys

import pytest

from tests.fake_endpoint import OUTPUT_TOKENS, FakeEndpoint
from tests.rationale_cases import KEY, ONE_USD, caller, files_under, live, number_of, write_problems
from vkit.errors import VkitError
from vkit.records import read_samples
from vkit.teacher.asking import ask_all
from vkit.teacher.store import ReplyStore


@pytest.fixture(name="vkit")
def rationales(vkit, monkeypatch):
    return caller(vkit, monkeypatch)


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "data", 6)


def test_an_estimate_asks_nothing_and_needs_no_key(vkit, problems, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with FakeEndpoint() as endpoint:
        code, stdout, stderr = vkit(*live(problems, endpoint, tmp_path / "out", "--estimate"))
        assert (code, endpoint.requests) == (0, []), stderr
    estimate = json.loads(stdout)
    assert (estimate["requests"], estimate["output_tokens_at_most"]) == (6, 6 * 1024)
    assert 6 * 255 < estimate["input_tokens_at_most"] < 6 * 1000
    most = (estimate["input_tokens_at_most"] * 2.5 + 6 * 1024 * 10) / 1e6
    assert estimate["cost_usd_at_most"] == pytest.approx(most, abs=1e-6)
    assert not (tmp_path / "out").exists()


def test_an_estimate_of_the_rest_knows_what_answers_cost_so_far(vkit, problems, tmp_path):
    with FakeEndpoint() as endpoint:
        vkit(*live(problems, endpoint, tmp_path / "out", "--limit", 2))
        estimate = json.loads(vkit(*live(problems, endpoint, tmp_path / "out", "--estimate"))[1])
        assert (estimate["requests"], len(endpoint.requests)) == (4, 2)
    assert estimate["cost_usd_expected"] == pytest.approx(4 * ONE_USD)


@pytest.mark.parametrize("concurrency", [1, 5])
def test_the_highest_cost_is_never_passed_whatever_is_under_way(vkit, tmp_path, concurrency):
    problems, out = write_problems(tmp_path / "data", 12), tmp_path / "out"
    with FakeEndpoint() as endpoint:
        arguments = live(problems, endpoint, out, "--concurrency", concurrency, "--max-cost")
        code, stdout, stderr = vkit(*arguments, 0.02)
        summary = json.loads(stdout)
        assert (code, summary["stopped"]) == (0, "max_cost"), stderr
        assert 0 < summary["cost_usd"] <= 0.02
        assert summary["left"] == 12 - summary["rationales"] > 0
        asked = len(endpoint.requests)
        assert json.loads(vkit(*arguments, 0.02)[1])["rationales"] == summary["rationales"]
        assert len(endpoint.requests) == asked  # the budget is the folder's, not the run's
        assert json.loads(vkit(*arguments, 1)[1])["rationales"] == 12


def test_what_is_under_way_counts_before_its_cost_is_known(vkit, tmp_path):
    problems = write_problems(tmp_path / "data", 12)
    with FakeEndpoint(lambda request: "slow-right", slow_s=0.3) as endpoint:
        highest = 3.5 * ONE_USD
        arguments = ("--concurrency", 12, "--max-tokens", OUTPUT_TOKENS, "--max-cost", highest)
        summary = json.loads(vkit(*live(problems, endpoint, tmp_path / "out", *arguments))[1])
    assert 0 < summary["cost_usd"] <= highest
    assert len(endpoint.requests) == summary["rationales"] <= 3


def test_a_cost_that_cannot_be_known_counts_at_its_highest(vkit, problems, tmp_path):
    with FakeEndpoint(lambda request: "garbage") as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--concurrency", 1, "--max-cost", 0.03)
        summary = json.loads(vkit(*arguments)[1])
    assert (summary["stopped"], summary["cost_usd"]) == ("max_cost", 0)
    assert 0.01 < summary["unsure_usd"] <= 0.03
    assert len(endpoint.requests) == summary["set_aside"]["malformed"] == 2


def test_a_highest_cost_without_prices_is_refused(tmp_path):
    with ReplyStore(tmp_path / "store.jsonl") as store, pytest.raises(VkitError, match="needs prices"):
        ask_all([], lambda tasks: [], store, max_tokens=1, max_cost_usd=1.0)


# -- The key


def test_the_key_stands_in_no_file_and_no_output_whatever_the_endpoint_says(vkit, problems, tmp_path):
    out = tmp_path / "out"
    behaviours = ["echo", "400", "500", "403", "429", "right"]
    with FakeEndpoint(lambda request: behaviours[number_of(request)]) as endpoint:
        code, _, _ = vkit(*live(problems, endpoint, out, "--max-retries", 0))
    assert code == 0
    assert next(read_samples(out / "rationales.jsonl")).rationale == "Bearer *** Answer: A"
    assert "your key is Bearer ***" in (out / "set-aside.jsonl").read_text()
    assert not [path for path in files_under(out) if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("behaviour", "words"), [("401", "refuses the key"), ("404", "check the model"), ("quota", "is empty")]
)
def test_what_no_request_can_pass_stops_the_run_in_one_line(vkit, problems, tmp_path, behaviour, words):
    with FakeEndpoint(lambda request: behaviour if request.number > 2 else "right") as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--concurrency", 1, "--max-retries", 0)
        code, stdout, stderr = vkit(*arguments)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert words in stderr
    assert len(endpoint.requests) == 3
    assert len(list(read_samples(tmp_path / "out" / "rationales.jsonl"))) == 2


@pytest.mark.parametrize(("url", "words"), [
    ("api.example.com/v1", "no http"), ("http://user:pass@127.0.0.1/v1", "holds a password"),
    ("http://127.0.0.1:99999/v1", "is no URL"),
])  # fmt: skip
def test_an_address_that_is_none_is_refused(vkit, problems, tmp_path, url, words):
    code, _, stderr = vkit("--data", problems, "--base-url", url, "--model", "m", "--out", tmp_path / "out")
    assert (code, words in stderr, "pass@" in stderr) == (1, True, False)


def test_a_missing_key_is_told_by_its_variable(vkit, problems, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    arguments = ("--data", problems, "--model", "m", "--out", tmp_path / "out")
    for more, variable in (((), "OPENAI_API_KEY"), (("--api-key-env", "TEACHER_KEY"), "TEACHER_KEY")):
        code, _, stderr = vkit(*arguments, *more)
        assert (code, f"{variable} holds no key" in stderr) == (1, True)
    with FakeEndpoint() as endpoint:  # on this machine none is needed
        assert vkit(*live(problems, endpoint, tmp_path / "out"))[0] == 0


def test_an_endpoint_that_is_not_there_or_goes_down_stops_the_run(vkit, tmp_path):
    problems = write_problems(tmp_path / "data", 40)
    with FakeEndpoint(lambda request: "503") as endpoint:
        arguments = live(problems, endpoint, tmp_path / "out", "--concurrency", 4, "--max-retries", 0)
        code, _, stderr = vkit(*arguments)
        assert (code, "the last 25 requests failed (http_503" in stderr) == (1, True), stderr
        assert len(endpoint.requests) < 30
    code, _, stderr = vkit(*arguments, "--retry-failures")
    assert (code, "cannot be reached" in stderr) == (1, True), stderr


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "--model NAME"), (("--model", "m", "--teacher", "tiny"), "--model NAME"),
    (("--model", "m", "--device", "cpu"), "--device is an option of a model on this machine"),
    (("--model", "m", "--price-in", "1"), "both"), (("--model", "m", "--max-cost", "0"), "--max-cost needs"),
    (("--teacher", "tiny", "--estimate"), "--estimate is an option of an endpoint"),
    (("--teacher", "tiny", "--import-batch", "x"), "--import-batch is an option of an endpoint"),
    (("--model", "m", "--estimate", "--export-batch", "x"), "one of"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_wrong_usage(vkit, problems, tmp_path, arguments, words):
    code, _, stderr = vkit("--data", problems, "--out", tmp_path / "out", *arguments)
    assert (code, words in stderr, (tmp_path / "out").exists()) == (2, True, False), stderr


def test_without_the_openai_package_it_says_what_to_install(vkit, problems, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    code, _, stderr = vkit("--data", problems, "--model", "m", "--out", tmp_path / "out")
    assert (code, "pip install 'vkit[api]'" in stderr) == (1, True)
    code, stdout, _ = vkit("--data", problems, "--model", "m", "--out", tmp_path / "out", "--estimate")
    assert (code, json.loads(stdout)["cost_usd_at_most"]) == (0, None)
