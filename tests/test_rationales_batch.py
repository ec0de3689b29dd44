"""`vkit rationales --export-batch` and `--import-batch`: files out, files in, each answer counted once."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_endpoint import FakeEndpoint, completion
from tests.rationale_cases import ONE_USD, caller, lines_of, live, offline, write_problems
from vkit.errors import VkitError
from vkit.rationales.job import prepare
from vkit.records import read_samples
from vkit.teacher.batch import export_batch
from vkit.teacher.outcome import failed, read_completion
from vkit.teacher.store import Prices, ReplyStore
from vkit.teacher.task import Settings


@pytest.fixture(name="vkit")
def rationales(vkit, monkeypatch):
    return caller(vkit, monkeypatch)


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "data", 6)


def answered(request, number, behaviour="right", **changes):
    """The line of a batch's output for a line of its input."""
    response = {"status_code": 200, "request_id": "r", "body": completion(request["body"], behaviour)}
    line = {
        "id": f"batch_req_{number}",
        "custom_id": request["custom_id"],
        "response": response,
        "error": None,
    }
    return {**line, **changes}


def write_lines(path, lines):
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture
def exported(vkit, problems, tmp_path, monkeypatch):
    """The requests of an export, made without a key."""
    monkeypatch.delenv("OPENAI_API_KEY")
    path = tmp_path / "requests.jsonl"
    code, stdout, stderr = vkit(*offline(problems, tmp_path / "out", "--export-batch", path))
    assert (code, json.loads(stdout)["exported"]) == (0, [str(path)]), stderr
    assert "would be paid twice" in stderr
    return lines_of(path)


def test_a_batch_asks_what_the_live_endpoint_is_asked(vkit, problems, exported, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one-0123")
    with FakeEndpoint() as endpoint:
        vkit(*live(problems, endpoint, tmp_path / "live", "--concurrency", 1))
    assert [line["body"] for line in exported] == [request.body for request in endpoint.requests]
    for line in exported:
        assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
        assert 0 < len(line["custom_id"]) <= 64
    assert len({line["custom_id"] for line in exported}) == 6


def test_what_a_batch_answers_comes_home_in_any_order_and_once(vkit, problems, exported, tmp_path):
    out = tmp_path / "out"
    lines = [answered(request, number) for number, request in enumerate(exported)][::-1]
    lines[0] = answered(exported[5], 5, "wrong")
    lines[1] |= {
        "response": {"status_code": 400, "body": {"error": {"code": "content_filter", "message": "x"}}}
    }
    output = write_lines(tmp_path / "output.jsonl", lines[:5])
    errors = write_lines(
        tmp_path / "errors.jsonl",
        [{**lines[5], "response": None, "error": {"code": "batch_expired", "message": "too late"}}],
    )
    arguments = offline(problems, out, "--import-batch", output, "--import-batch", errors)
    code, stdout, stderr = vkit(*arguments)
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert summary["set_aside"] == {"batch_expired": 1, "content_filter": 1, "wrong_answer": 1}
    assert summary["rationales"] == len(list(read_samples(out / "rationales.jsonl"))) == 3
    assert summary["cost_usd"] == pytest.approx(4 * ONE_USD)
    stored = (out / "store.jsonl").read_bytes()
    assert vkit(*arguments)[1] == stdout  # a file taken in twice counts once
    assert (out / "store.jsonl").read_bytes() == stored

    again = tmp_path / "again.jsonl"
    vkit(*offline(problems, out, "--retry-failures", "--export-batch", again))
    assert {line["custom_id"] for line in lines_of(again)} == {exported[i]["custom_id"] for i in (0, 4, 5)}
    code, _, stderr = vkit(*offline(problems, out, "--export-batch", tmp_path / "none.jsonl"))
    assert (code, "nothing is left to ask" in stderr) == (1, True)


def test_a_later_wrong_answer_takes_no_good_one_away(vkit, problems, exported, tmp_path):
    first = write_lines(tmp_path / "1.jsonl", [answered(request, n) for n, request in enumerate(exported)])
    second = write_lines(tmp_path / "2.jsonl", [answered(exported[0], 9, "wrong")])
    arguments = offline(problems, tmp_path / "out", "--import-batch", first, "--import-batch", second)
    summary = json.loads(vkit(*arguments)[1])
    assert summary["rationales"] == 6
    assert summary["cost_usd"] == pytest.approx(7 * ONE_USD)  # it was paid all the same


def test_answers_to_more_than_the_data_given_are_kept_for_later(vkit, problems, exported, tmp_path):
    output = write_lines(tmp_path / "o.jsonl", [answered(request, n) for n, request in enumerate(exported)])
    out = tmp_path / "out"
    code, stdout, stderr = vkit(*offline(problems, out, "--limit", 2, "--import-batch", output))
    assert (code, json.loads(stdout)["rationales"]) == (0, 2)
    assert "4 of_other_data" in stderr
    with FakeEndpoint() as endpoint:
        assert json.loads(vkit(*live(problems, endpoint, out))[1])["rationales"] == 6
        assert endpoint.requests == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"custom_id": "request-1", "response": {}}, "custom_id is none of vkit's"),
        ({"custom_id": "0" * 32}, "neither a response nor an error"),
        (
            {"custom_id": "0" * 32, "response": {"status_code": 200, "body": {}}},
            "no answer to these problems",
        ),
    ],
)
def test_a_file_that_is_no_answer_is_refused_whole(vkit, problems, exported, tmp_path, line, words):
    good = [answered(request, n) for n, request in enumerate(exported)]
    lines = [line] if "no answer" in words else [*good, line]
    path, out = write_lines(tmp_path / "o.jsonl", lines), tmp_path / "out"
    code, _, stderr = vkit(*offline(problems, out, "--import-batch", path))
    assert (code, words in stderr) == (1, True), stderr
    assert (out / "store.jsonl").read_bytes() == b""


def test_requests_are_split_into_files_that_the_batch_api_takes(tmp_path):
    samples = list(read_samples(write_problems(tmp_path / "data", 5)))
    asked = Settings("gpt-4o")
    tasks = prepare(samples, "visual-cot", asked).tasks
    paths = export_batch(tasks, asked, tmp_path / "r.jsonl", most_requests=2)
    assert [path.name for path in paths] == ["r.jsonl", "r-2.jsonl", "r-3.jsonl"]
    ids = [line["custom_id"] for path in paths for line in lines_of(path)]
    assert ids == [task.key for task in tasks]
    size = paths[2].stat().st_size
    for path in export_batch(tasks, asked, tmp_path / "s.jsonl", most_bytes=2 * size):
        assert path.stat().st_size <= 2 * size
    with pytest.raises(VkitError, match=r"fits no batch file of 100; scale"):
        export_batch(tasks, asked, tmp_path / "t.jsonl", most_bytes=100)


# -- The store and the replies that go into it

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aä{ \ud83d", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    content=JSON, refusal=JSON, finish=JSON | st.just("stop"), usage=JSON,
    counts=st.tuples(JSON, JSON), whole=st.booleans(), other=JSON,
)  # fmt: skip
def test_any_reply_becomes_an_outcome_that_can_be_stored(
    tmp_path_factory, content, refusal, finish, usage, counts, whole, other
):
    usage = {"prompt_tokens": counts[0], "completion_tokens": counts[1]} if whole else usage
    choice = (
        {"message": {"content": content, "refusal": refusal}, "finish_reason": finish} if whole else other
    )
    outcome = read_completion({"choices": [choice], "usage": usage, "error": other})
    assert (outcome.failure is None) <= bool(outcome.text and outcome.text.strip())
    assert (outcome.input_tokens is None) == (outcome.output_tokens is None)
    path = tmp_path_factory.mktemp("store") / "store.jsonl"
    samples = list(read_samples(write_problems(path.parent, 1, image=None)))
    [task] = prepare(samples, "visual-cot", Settings("m")).tasks
    with ReplyStore(path, Prices(1, 2)) as store:
        store.add([(task, outcome)], 100)
        spent = store.spent_usd
    with ReplyStore(path, Prices(1, 2)) as store:
        [kept] = store.outcomes(task.key)
        assert (kept.text, kept.failure, store.spent_usd) == (outcome.text, outcome.failure, spent)


def test_costs_are_those_of_the_day_and_without_prices_those_of_the_next_command(tmp_path):
    samples = list(read_samples(write_problems(tmp_path, 2)))
    one, two = prepare(samples, "visual-cot", Settings("m")).tasks
    counted = {"usage": {"prompt_tokens": 1000, "completion_tokens": 10}}
    with ReplyStore(tmp_path / "store.jsonl") as store:
        store.add([(one, read_completion(counted))], 100)
        assert store.cost_usd is None
    with ReplyStore(tmp_path / "store.jsonl", Prices(1, 1)) as store:
        assert store.cost_usd == pytest.approx(0.00101)
        store.add([(two, read_completion(counted)), (two, failed("http_500", ""))], 100)
    with ReplyStore(tmp_path / "store.jsonl", Prices(2, 2)) as store:
        assert store.cost_usd == pytest.approx(0.00303)
        assert (store.unsure_usd, store.counted) == (0, 2)


@pytest.mark.parametrize(
    "change",
    [{"key": 1}, {"text": []}, {"cost_usd": -1}, {"unsure_usd": "1"}, {"input_tokens": None}, {"source": []}],
)
def test_a_file_that_is_no_store_is_told_by_its_line(tmp_path, change):
    line = {"key": "k", "id": "1", "text": "t", "failure": None, "detail": "", "cost_usd": None}
    line |= {"input_tokens": 1, "output_tokens": 1}
    path = write_lines(tmp_path / "store.jsonl", [line, line | change])
    with pytest.raises(VkitError, match=r"store\.jsonl:2: "):
        ReplyStore(path)
    write_lines(path, [line])
    with ReplyStore(path) as store:  # the lock of the refused one is gone
        assert store.asked("k")
