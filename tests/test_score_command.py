"""`vkit score` on texts: what is printed, what is refused, how runs are compared, what a judge adds."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from vkit.cli.score import command
from vkit.errors import VkitError
from vkit.evaluate.judge import Judge, judge_prompt, read_reply
from vkit.evaluate.scoring import LETTER, Question, compare_marks, mark_outputs, read_outputs
from vkit.evaluate.suites import SUITES
from vkit.records import Sample

COUNT = 12


@pytest.fixture
def data(tmp_path):
    """Twelve counting problems of MathVista's; the right answer is the problem's number."""
    row = {"question": "How many?", "choices": None, "question_type": "free_form", "answer_type": "integer"}
    rows = [
        {**row, "pid": str(n), "answer": str(n), "metadata": {"task": "odd" if n % 2 else "even"}}
        for n in range(COUNT)
    ]
    path = tmp_path / "testmini.json"
    path.write_text(json.dumps(rows))
    return path


def write(path, outputs, key="output"):
    path.write_text("".join(json.dumps({"id": name, key: text}) + "\n" for name, text in outputs.items()))
    return path


def said(right, unread=()):
    """So many right answers; those in ``unread`` cannot be read."""
    return {
        str(n): "A great many." if n in unread else f"Answer: {n if n < right else 99}" for n in range(COUNT)
    }


def score(data, predictions, *options):
    arguments = [
        "--suite",
        "mathvista",
        "--data",
        str(data),
        "--predictions",
        str(predictions),
        *map(str, options),
    ]
    return CliRunner().invoke(command, arguments)


def test_scores_are_json_and_a_table_with_every_unread_prediction(data, tmp_path):
    result = score(data, write(tmp_path / "out.jsonl", said(9, unread=(3, 10))))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["suite"], report["count"]) == ("mathvista", COUNT)
    assert report["figures"]["accuracy"]["value"] == pytest.approx(100 * 8 / 12)
    assert report["figures"]["accuracy"]["count"] == COUNT
    assert report["read_by"] == {"official": 0, "rules": 10, "judge": 0, "given": 0}
    assert report["unread"] == {"count": 2, "ids": ["3", "10"]}
    assert report["groups"]["task"]["odd"]["count"] == 6
    assert "66.7 (39.1-86.2)" in result.stderr
    assert "2 unread (counted as wrong): 3, 10" in result.stderr
    assert str(tmp_path) not in result.stdout


def test_the_items_of_an_attention_run_are_predictions(data, tmp_path):
    assert score(data, write(tmp_path / "items.jsonl", said(9), key="output_text")).exit_code == 0


def test_each_items_verdict_is_written_on_request(data, tmp_path):
    items = tmp_path / "verdicts.jsonl"
    result = score(data, write(tmp_path / "out.jsonl", said(9, unread=(3,))), "--items", items)
    assert result.exit_code == 0
    lines = [json.loads(line) for line in items.read_text().splitlines()]
    assert lines[2] == {"id": "2", "correct": True, "answer": "2.0", "read_by": "rules"}
    assert lines[3] == {"id": "3", "correct": False, "answer": None, "read_by": None}


def test_two_runs_are_compared_item_by_item(data, tmp_path):
    mine, theirs = write(tmp_path / "a.jsonl", said(11)), write(tmp_path / "b.jsonl", said(3, unread=(5,)))
    result = score(data, mine, "--against", theirs)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    found = report["against"]["differences"]["accuracy"]
    assert (found["won"], found["lost"]) == (8, 0)
    assert found["difference"] == pytest.approx(100 * 8 / 12)
    assert found["low"] < found["difference"] < found["high"]
    assert found["p"] == pytest.approx(2 * 0.5**8)
    assert report["against"]["unread"]["ids"] == ["5"]
    assert "+66.7" in result.stderr
    assert "0.0078" in result.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda out: out.pop("4"), "1 of 12 items have no prediction, the first is '4'"),
        (lambda out: out.update({"x": "?"}), "1 predictions are for no item of the data, the first is 'x'"),
    ],
)
def test_predictions_are_for_every_item_and_for_no_other(data, tmp_path, change, reason):
    outputs = said(9)
    change(outputs)
    result = score(data, write(tmp_path / "out.jsonl", outputs))
    assert isinstance(result.exception, VkitError)
    assert reason in str(result.exception)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "output": "Answer: 1"}', "id '1' stands twice"),
        ('{"id": "2", "value": 2}', "a line must be"),
        ('{"output": "2"}', "key 'id' is missing"),
        (r'{"id": "2", "output": "\ud83d"}', "half a character"),
    ],
)
def test_a_bad_line_of_predictions_is_told_by_its_number(tmp_path, line, reason):
    path = tmp_path / "out.jsonl"
    path.write_text(f'{{"id": 1, "output": "Answer: 1"}}\n{line}\n')
    with pytest.raises(VkitError, match=reason) as refused:
        read_outputs(path)
    assert str(refused.value).startswith(f"{path}:2: ")


def test_what_has_no_answers_or_no_items_is_not_scored():
    suite = SUITES["mathvista"]
    with pytest.raises(VkitError, match="nothing to score"):
        mark_outputs(suite, [], {})
    sample = Sample("1", "?", meta={"question_type": "free_form", "answer_type": "integer"})
    with pytest.raises(VkitError, match="'1' has no answer"):
        mark_outputs(suite, [sample], {"1": "5"})
    one, other = (
        Sample("1", "?", answer="1", meta=sample.meta),
        Sample("2", "?", answer="1", meta=sample.meta),
    )
    with pytest.raises(VkitError, match="not of the same items"):
        compare_marks(suite, mark_outputs(suite, [one], {"1": "1"}), mark_outputs(suite, [other], {"2": "1"}))


@pytest.mark.parametrize(
    "options",
    [
        ("--split", "merl"),
        ("--judge", "http://localhost:1/v1"),
        ("--price-in", "1", "--price-out", "1"),
        ("--judge", "http://localhost:1/v1", "--judge-model", "m", "--price-in", "1"),
    ],
)
def test_options_that_do_not_belong_together_are_wrong_usage(data, tmp_path, options):
    assert score(data, write(tmp_path / "out.jsonl", said(9)), *options).exit_code == 2


def test_data_of_another_benchmark_is_refused(data, tmp_path):
    predictions = write(tmp_path / "out.jsonl", said(9))
    result = score(data, predictions, "--suite", "wemath")  # the last one counts
    assert isinstance(result.exception, VkitError)
    assert "holds no rows with ID, key" in str(result.exception)


# -- The judge


SAMPLE = Sample("1", "Find x.", ("30", "40"), "B")


def test_the_judge_sees_question_and_output_but_not_the_right_answer():
    prompt = judge_prompt(Question(SAMPLE, "It is the second.", LETTER))
    assert all(part in prompt for part in ("Find x.", "(B) 40", "It is the second.", LETTER))
    hidden = judge_prompt(Question(Sample("1", "?", answer="1234"), "long", "a whole number"))
    assert "1234" not in hidden


@pytest.mark.parametrize(
    ("reply", "answer"),
    [("B", "B"), ("**(B)**", "B"), ("Final answer: B. 40", "B"), ("NONE", None), ("Both", None), ("", None)],
)
def test_a_judges_letter_is_read_strictly(reply, answer):
    assert read_reply(reply, LETTER) == answer


def test_the_judge_is_asked_for_what_the_rules_cannot_read_and_for_nothing_else():
    prompts = []

    def ask(batch):
        prompts.extend(batch)
        return ["B", None]

    judge = Judge(ask)
    samples = [
        Sample(str(n), "Find x.", ("30", "40"), "B", meta={"precise_value": [30, 40]}) for n in range(4)
    ]
    outputs = {"0": "Answer: B", "1": "The second one.", "2": "Hm.", "3": " "}
    marks = mark_outputs(SUITES["geometry3k"], samples, outputs, judge=judge)
    assert [(mark.read_by, mark.correct) for mark in marks] == [
        ("rules", True),
        ("judge", True),
        (None, False),
        (None, False),
    ]
    assert len(prompts) == 2
    assert (judge.asked, judge.failed) == (2, 1)


@contextmanager
def endpoint(reply):
    """An OpenAI-compatible server; ``reply`` makes a text, or None for an error, of a prompt."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = body["messages"][0]["content"]
            asked.append(prompt)
            text = reply(prompt)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            answer = {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}
            data = json.dumps(answer if text is not None else {"error": {"message": "no"}}).encode()
            self.send_response(200 if text is not None else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_judge_behind_an_endpoint_is_paid_once(data, tmp_path):
    pytest.importorskip("openai", reason="openai is not installed")
    outputs = said(9)
    outputs |= {"3": "Three, I think", "4": "Four, I think", "5": "I do not know"}
    predictions = write(tmp_path / "out.jsonl", outputs)
    options = ("--judge-model", "small", "--price-in", 1, "--price-out", 2)

    def reply(prompt):
        return "3" if "Three" in prompt else "NONE" if "not know" in prompt else None

    with endpoint(reply) as (url, asked):
        first = score(data, predictions, "--judge", url, *options)
        assert first.exit_code == 0, first.output
        report = json.loads(first.stdout)
        assert report["read_by"] == {"official": 0, "rules": 9, "judge": 1, "given": 0}
        assert report["unread"]["ids"] == ["4", "5"]
        assert report["judge"] == {
            "model": "small",
            "asked": 3,
            "failed": 1,
            "cost_usd": pytest.approx(2 * (100 * 1 + 10 * 2) / 1e6),
            "input_tokens": 200,
            "output_tokens": 20,
        }
        assert "judge small: 3 asked, 1 failed, $0.0002 in all" in first.stderr
        before = len(asked)
        second = score(data, predictions, "--judge", url, *options)
        assert len(asked) == before + 1  # the one that failed
    assert json.loads(second.stdout)["figures"] == report["figures"]
    assert json.loads(second.stdout)["judge"]["cost_usd"] == report["judge"]["cost_usd"]


def test_ids_of_other_data_are_shown_beside_those_that_miss(data, tmp_path):
    result = score(data, write(tmp_path / "out.jsonl", {"q0": "Answer: 1"}))
    assert "12 of 12 items have no prediction, the first is '0', the first that was given 'q0'" in str(
        result.exception
    )


def test_only_the_first_items_may_be_scored(data, tmp_path):
    few = dict(list(said(9).items())[:4])
    result = score(data, write(tmp_path / "out.jsonl", few), "--limit", 4)
    assert json.loads(result.stdout)["count"] == 4


def test_a_refused_file_of_two_is_named(data, tmp_path):
    one, two = write(tmp_path / "one.jsonl", said(9)), write(tmp_path / "two.jsonl", {"0": "Answer: 0"})
    result = score(data, one, "--against", two)
    assert str(result.exception).startswith(f"{two}: 11 of 12 items have no prediction")


def test_an_extraction_that_is_no_text_is_refused(data, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "0", "output": "x", "extraction": 3}\n')
    assert "out.jsonl:1: 'extraction' must be text" in str(score(data, path).exception)
