"""`vkit curate questions`: four kinds of questions for every problem, checked, and written to train on."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_endpoint import FakeEndpoint
from tests.question_cases import MADE, arguments, caller, kind_of, number_of, teacher, write_problems
from tests.rationale_cases import ONE_USD, lines_of
from vkit.curate.questions import KINDS
from vkit.evaluate.answers import judge
from vkit.models.tiny import build_tiny
from vkit.models.training import choose_trainable
from vkit.records import Sample, read_samples, write_samples
from vkit.sources.llava import Conversation, scan_conversations
from vkit.train.data import open_examples
from vkit.train.recipes import SFT_RECIPES
from vkit.train.sft import SftTask


@pytest.fixture
def curate(vkit, monkeypatch):
    return caller(vkit, monkeypatch)


def test_every_problem_gets_its_questions_of_all_four_kinds(curate, tmp_path):
    problems, out = write_problems(tmp_path / "data", 3), tmp_path / "out"
    with FakeEndpoint(teacher) as endpoint:
        code, stdout, stderr = curate(*arguments(problems, endpoint, out))
    assert code == 0, stderr
    assert Counter(map(kind_of, endpoint.requests)) == dict.fromkeys(KINDS, 3)
    summary = json.loads(stdout)
    assert summary["conversations"] == 3 * (1 + 6)
    assert summary["new"] == {"asked": 3, "left": 0, "kept": 9, "set_aside": {}}
    assert summary["cost_usd"] == pytest.approx(12 * ONE_USD)
    made = {sample.id: sample for sample in read_samples(out / "synthesized.jsonl")}
    names = ["new-1", "new-2", "new-3", "complex", "rephrased", "underspecified"]
    assert list(made) == [f"p{n}-{name}" for n in range(3) for name in names]
    first, rephrased = made["p1-new-1"], made["p1-rephrased"]
    assert (first.choices, first.answer) == (("the red one", "the blue one"), "B")
    assert made["p1-complex"].answer == "25"
    assert (rephrased.choices, rephrased.answer) == (("3", "5"), "B")
    assert rephrased.meta == {
        "source": "bars",
        "curation": {"clarity": 1, "complexity": 1},
        "synthesized": {"kind": "rephrased", "from": "p1", "model": "gpt-4o", "verified": False},
    }
    (picture,) = Image.open(tmp_path / "data" / "1.png").getcolors()
    assert first.open_image().getcolors() == [picture]
    assert lines_of(out / "set-aside.jsonl") == []


def test_conversations_are_llavas_and_their_answers_can_be_read_back(curate, tmp_path):
    problems, out = write_problems(tmp_path / "data", 2), tmp_path / "out"
    with FakeEndpoint(teacher) as endpoint:
        assert curate(*arguments(problems, endpoint, out))[0] == 0
    known = {sample.id: sample for sample in read_samples(problems)}
    known |= {sample.id: sample for sample in read_samples(out / "synthesized.jsonl")}
    found = list(scan_conversations(out / "conversations.jsonl"))
    assert sorted(each.id for each in found) == sorted(known)
    for each in found:
        assert isinstance(each, Conversation)
        each.open_image()
        [(said, answer)] = each.turns
        sample = known[each.id]
        assert said.startswith(f"<image>\n{sample.question}")
        assert judge(answer, str(sample.answer), sample.choices) is True
    assert lines_of(out / "conversations.jsonl")[0] == {
        "id": "p0",
        "image": found[0].image,
        "conversations": [
            {
                "from": "human",
                "value": "<image>\nHow many of the 12 bars are higher than bar P0?\nChoices:\n(A) 3\n(B) 5",
            },
            {"from": "gpt", "value": "The answer is A."},
        ],
    }


def test_math_llavas_recipe_trains_on_what_was_written(curate, vkit, tmp_path):
    problems, out = write_problems(tmp_path / "data", 1), tmp_path / "out"
    with FakeEndpoint(teacher) as endpoint:
        assert curate(*arguments(problems, endpoint, out))[0] == 0
    steps = [f"--set={each}" for each in ("max_steps=2", "batch_size=2", "micro_batch_size=0")]
    code, stdout, stderr = vkit(
        "train-sft", "--model", "tiny", "--recipe", "math-llava", "--data", out / "conversations.jsonl",
        "--out", tmp_path / "run", "--device", "cpu", *steps,
    )  # fmt: skip
    assert code == 0, stderr
    assert (Path(json.loads(stdout)["model"])).is_dir()


def test_the_teacher_sees_the_picture_and_examples_of_the_same_source_only(curate, tmp_path):
    folder = tmp_path / "data"
    write_problems(folder, 3)
    samples = list(read_samples(folder / "selected.jsonl"))
    samples[2].meta["source"] = "clocks"
    write_samples(folder / "selected.jsonl", samples)
    with FakeEndpoint(teacher) as endpoint:
        more = ("--kind", "new", "--limit", 1)
        assert curate(*arguments(folder / "selected.jsonl", endpoint, tmp_path / "out", *more))[0] == 0
    [request] = endpoint.requests
    before, picture, after = request.body["messages"][0]["content"]
    assert "Write 3 new questions" in before["text"]
    assert samples[1].question in before["text"]  # beyond the limit, but of the same source
    assert samples[2].question not in request.text
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert after["text"].endswith(f"Question: {samples[0].question}\nChoices:\n(A) 3\n(B) 5\nAnswer: A")


def test_bad_questions_are_set_aside_by_name_and_the_good_ones_kept(curate, tmp_path):
    problems, out = write_problems(tmp_path / "data", 2), tmp_path / "out"
    original = "How many of the 12 bars are higher than bar P{n}?"
    said = {
        "new": f"Question: {original}\nAnswer: 3\nQuestion: What is lowest?\nAnswer: red\n"
        "Question: what is  lowest\nAnswer: blue",
        "complex": "There is nothing to see.",
        "rephrased": "Question: Of the 13 bars, how many are higher than P{n}?",
        "underspecified": "Question: How many?\nQuestion: How many bars?",
    }
    with FakeEndpoint(
        lambda request: "say:" + said[kind_of(request)].format(n=number_of(request))
    ) as endpoint:
        code, stdout, _ = curate(*arguments(problems, endpoint, out))
    summary = json.loads(stdout)
    assert code == 0
    assert {kind: summary[kind]["set_aside"] for kind in KINDS} == {
        "new": {"repeated": 4},
        "complex": {"unreadable_reply": 2},
        "rephrased": {"changed_numbers": 2},
        "underspecified": {"more_than_asked": 2},
    }
    assert [summary[kind]["kept"] for kind in KINDS] == [2, 0, 0, 2]
    aside = lines_of(out / "set-aside.jsonl")
    assert len(aside) == 10
    assert {"id": "p1", "kind": "complex", "reason": "unreadable_reply", "detail": "",
            "said": "There is nothing to see."} in aside  # fmt: skip


def test_questions_about_one_picture_are_compared_whatever_problem_they_were_made_from(curate, tmp_path):
    folder, out = tmp_path / "data", tmp_path / "out"
    write_problems(folder, 2, image="0.png")
    said = "say:Question: How many of the 12 bars are higher than bar P1?\nAnswer: 3\n" + (
        "Question: Which is the lowest bar?\nAnswer: red"
    )
    with FakeEndpoint(lambda request: said) as endpoint:
        more = ("--kind", "new", "--demonstrations", 0)
        _, stdout, _ = curate(*arguments(folder / "selected.jsonl", endpoint, out, *more))
    assert json.loads(stdout)["new"] == {
        "asked": 2, "left": 0, "kept": 1, "set_aside": {"fewer_than_asked": 2, "repeated": 3},
    }  # fmt: skip
    assert [sample.id for sample in read_samples(out / "synthesized.jsonl")] == ["p0-new-1"]


def test_problems_that_lack_something_are_asked_for_what_they_can_give(curate, tmp_path):
    folder, out = tmp_path / "data", tmp_path / "out"
    write_problems(folder, 3)
    samples = list(read_samples(folder / "selected.jsonl"))
    (folder / "2.png").write_bytes(b"no picture")
    silent = Sample("silent", "", ("3", "5"), "A", "0.png", meta=samples[0].meta)
    unanswered = Sample("open", samples[1].question, (), None, "1.png", meta=samples[1].meta)
    write_samples(folder / "selected.jsonl", [silent, unanswered, samples[2]])
    with FakeEndpoint(lambda request: "say:" + MADE[kind_of(request)].format(n=7)) as endpoint:
        code, _, stderr = curate(*arguments(folder / "selected.jsonl", endpoint, out))
    assert code == 0, stderr
    aside = [(each["id"], each["kind"], each["reason"]) for each in lines_of(out / "set-aside.jsonl")]
    assert sorted(aside) == [
        ("open", "original", "no_answer"),
        ("open", "rephrased", "no_answer"),
        ("open", "underspecified", "no_answer"),
        ("p2", "original", "bad_image"),
        ("silent", "rephrased", "no_question"),
        ("silent", "underspecified", "no_question"),
    ]
    found = {each["id"]: each["conversations"] for each in lines_of(out / "conversations.jsonl")}
    assert [turn["value"] for turn in found["silent"]] == ["<image>", "The answer is A."]
    assert "open" not in found
    assert {"open-new-1", "open-complex", "silent-complex"} <= set(found)
    recipe = SFT_RECIPES["math-llava"]
    learned = open_examples([out / "conversations.jsonl"], recipe)
    assert len(learned) == len(found)
    choose_trainable(model := build_tiny(seed=0), recipe.train)
    assert SftTask(model, learned, recipe).read(range(len(learned)))[0].items == len(learned)


@pytest.mark.parametrize("name", ["synthesized.jsonl", "conversations.jsonl"])
def test_what_the_questions_are_made_from_is_never_overwritten(curate, tmp_path, name):
    problems, out = write_problems(tmp_path / "data", 1), tmp_path / "out"
    with FakeEndpoint(teacher) as endpoint:
        assert curate(*arguments(problems, endpoint, out))[0] == 0
        before = (out / name).read_bytes()
        code, _, stderr = curate(*arguments(out / name, endpoint, out))
        assert (code, len(endpoint.requests)) == (1, len(KINDS))
    assert "would be overwritten by what is made from it; give another --out" in stderr
    assert (out / name).read_bytes() == before


def test_the_id_of_a_made_question_is_nobody_elses(curate, tmp_path):
    folder = tmp_path / "data"
    write_problems(folder, 2)
    samples = list(read_samples(folder / "selected.jsonl"))
    clash = Sample("p0-complex", "Why?", answer="3", image="1.png")
    write_samples(folder / "selected.jsonl", [*samples, clash])
    with FakeEndpoint(teacher) as endpoint:
        code, _, stderr = curate(*arguments(folder / "selected.jsonl", endpoint, tmp_path / "out"))
    assert (code, len(stderr.strip().splitlines()), endpoint.requests) == (1, 1, [])
    assert "'p0-complex' has the id that the question made from 'p0' gets" in stderr
