"""Plain records, with choices or without: the answer at the end of an output is the right one, or not."""

import json

import pytest

from vkit.evaluate.scoring import Question, mark_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.records import Sample, write_samples

RECORDS = SUITES["records"]
FREE = Sample("a/text-only", "Find the angle.", answer="73", meta={"problem": "a", "version": "text-only"})
TWIN = Sample("a/vision-only", "", answer="73", meta={"problem": "a", "version": "vision-only"})
CHOICE = Sample("b", "Which?", ("30", "40"), "B")


@pytest.mark.parametrize(
    ("sample", "output", "answer", "right"),
    [
        (FREE, "35+72=107. 180-107=73. Answer: 73", "73", True),
        (FREE, "Answer: 37", "37", False),
        (FREE, "I do not know.", None, False),
        (CHOICE, "Answer: B", "B", True),
        (CHOICE, "so it is (A)", None, False),
        (CHOICE, "Answer: A", "A", False),
        (CHOICE, "", None, False),
    ],
)
def test_an_answer_is_read_by_rules_or_not_at_all(sample, output, answer, right):
    [mark] = mark_outputs(RECORDS, [sample], {sample.id: output})
    assert (mark.answer, mark.correct) == (answer, right)


def test_a_judge_reads_what_the_rules_cannot():
    asked: list[Question] = []

    def judge(questions):
        asked.extend(questions)
        return ["73" if question.sample is FREE else "B" for question in questions]

    outputs = {FREE.id: "it must be seventy-three", CHOICE.id: "the second one", TWIN.id: "Answer: 73"}
    marks = mark_outputs(RECORDS, [FREE, TWIN, CHOICE], outputs, judge=judge)
    assert [mark.correct for mark in marks] == [True, True, True]
    assert [mark.read_by for mark in marks] == ["judge", "rules", "judge"]
    assert [question.form for question in asked] == ["the final value", "the letter of the choice"]


def test_versions_of_a_problem_rise_and_fall_together():
    outputs = {FREE.id: "Answer: 73", TWIN.id: "Answer: 1", CHOICE.id: "Answer: B"}
    report = report_marks(RECORDS, mark_outputs(RECORDS, [FREE, TWIN, CHOICE], outputs))
    assert report["figures"]["accuracy"]["value"] == pytest.approx(200 / 3)
    accuracies = {name: each["accuracy"]["value"] for name, each in report["groups"]["version"].items()}
    assert accuracies == {"text-only": 100.0, "vision-only": 0.0}


def test_the_command_scores_any_file_of_problems(vkit, tmp_path):
    write_samples(tmp_path / "problems.jsonl", [FREE, CHOICE])
    lines = [{"id": FREE.id, "output": "Answer: 73"}, {"id": CHOICE.id, "output": "Answer: A"}]
    (tmp_path / "out.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    code, out, _ = vkit(
        "score", "--suite", "records", "--data", tmp_path / "problems.jsonl", "--predictions",
        tmp_path / "out.jsonl",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["figures"]["accuracy"]["value"] == 50.0
