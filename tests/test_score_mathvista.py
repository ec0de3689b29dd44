"""MathVista: vkit's scores are the official ones wherever the official extraction is given."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkit.evaluate.mathvista import edit_distance, extract, is_right, normalize
from vkit.evaluate.scoring import mark_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.records import Sample, only_good
from vkit.sources.mathvista import scan_mathvista

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "mathvista"
real = pytest.mark.skipif(not REAL.is_dir(), reason="real MathVista results are not at ../shared/data")
SYSTEMS = ("bard", "claude_2shot_solution")

CLOCK = Sample("7", "When?", ("half past", "quarter past", "20"), "B", meta={"answer_type": "text"})
COUNT = Sample("2", "How many?", answer="5", meta={"answer_type": "integer"})
LENGTH = Sample("1", "How far?", answer="1.2", meta={"answer_type": "float", "precision": 1})
YEARS = Sample("3", "Which?", answer="[2014, 2016]", meta={"answer_type": "list"})


def scored(system):
    samples = {sample.id: sample for sample in only_good(scan_mathvista(REAL))}
    with (REAL / f"scored_{system}.jsonl").open() as file:
        return [(samples[row["pid"]], row) for row in map(json.loads, file)]


@real
@pytest.mark.parametrize("system", SYSTEMS)
def test_verdicts_on_official_extractions_are_the_official_ones(system):
    found = scored(system)
    assert len(found) == 1000
    assert all(is_right(row["extraction"], sample) == row["true_false"] for sample, row in found)


@real
@pytest.mark.parametrize("system", SYSTEMS)
def test_predictions_differ_from_the_published_ones_for_decimals_on_integer_questions_alone(system):
    differing = [
        (sample, row)
        for sample, row in scored(system)
        if normalize(row["extraction"], sample) != row["prediction"]
    ]
    assert len(differing) == 3
    for sample, row in differing:
        assert sample.meta["answer_type"] == "integer"
        assert "." in row["extraction"]
        assert row["prediction"] is None
        assert not row["true_false"]


@real
@pytest.mark.parametrize(
    ("system", "read", "numbers", "choices"),
    [("bard", 807, 0.99, 0.98), ("claude_2shot_solution", 804, 1, 0.86)],
)
def test_the_rules_read_most_outputs_as_the_official_judge_does(system, read, numbers, choices):
    found = [(sample, row, extract(row["response"], sample)) for sample, row in scored(system)]
    found = [(sample, row, reading.answer) for sample, row, reading in found if reading]
    assert len(found) == read
    for least, with_choices in ((numbers, False), (choices, True)):
        same = [
            is_right(answer, sample) == row["true_false"]
            for sample, row, answer in found
            if bool(sample.choices) == with_choices
        ]
        assert sum(same) / len(same) >= least


@real
def test_the_report_breaks_the_score_down_as_the_official_one_does():
    found = scored("bard")
    samples = [sample for sample, _ in found]
    outputs = {sample.id: row["extraction"] for sample, row in found}
    report = report_marks(SUITES["mathvista"], mark_outputs(SUITES["mathvista"], samples, outputs))
    assert {"task", "context", "grade", "skills", "category", "source", "language"} <= set(report["groups"])
    assert sum(found["count"] for found in report["groups"]["task"].values()) == 1000
    assert sum(found["count"] for found in report["groups"]["skills"].values()) > 1000


def test_empty_outputs_are_scored_by_the_official_rule_and_listed():
    """Of choices the nearest to nothing is the shortest."""
    short = Sample("8", "When?", CLOCK.choices, "C", meta=CLOCK.meta)
    samples = [
        Sample(s.id, s.question, s.choices, s.answer, meta={**s.meta, "question_type": "?"})
        for s in (short, CLOCK, COUNT)
    ]
    marks = mark_outputs(SUITES["mathvista"], samples, {"8": "", "7": "", "2": ""})
    assert [mark.correct for mark in marks] == [True, False, False]
    assert report_marks(SUITES["mathvista"], marks)["empty"] == {"count": 3, "ids": ["8", "7", "2"]}


@pytest.mark.parametrize(
    ("sample", "answer", "expected"),
    [
        (CLOCK, "B", "quarter past"),
        (CLOCK, "(b) half past", "quarter past"),
        (CLOCK, " quarter past ", "quarter past"),
        (CLOCK, "b", "20"),  # a small letter alone names none: the nearest text
        (CLOCK, "E", "20"),
        (CLOCK, "", "20"),
        (COUNT, "5.0", "5"),
        (COUNT, "5.9", "5"),
        (COUNT, "five", None),
        (COUNT, "1e999", None),
        (LENGTH, "1.25", "1.2"),
        (LENGTH, "1", "1.0"),
        (LENGTH, "1.2 m", None),
        (YEARS, "[2014, 2016]", "[2014, 2016]"),
    ],
)
def test_answers_are_normalised_by_the_official_rule(sample, answer, expected):
    assert normalize(answer, sample) == expected


@pytest.mark.parametrize(
    ("sample", "output", "expected"),
    [
        (CLOCK, "quarter past", ("quarter past", "official")),
        (COUNT, " 5 ", ("5", "official")),
        (LENGTH, "1.20", ("1.2", "official")),
        (COUNT, "", ("", "official")),
        (CLOCK, "Hm. The answer is (B).", ("B", "rules")),
        (CLOCK, r"So \boxed{B}", ("B", "rules")),
        (CLOCK, "There are 20 minutes left, so it is 20.", ("C", "rules")),
        (COUNT, "The answer is: 5 apples", ("5.0", "rules")),
        (LENGTH, "Therefore the distance is 1.2 m.", ("1.2", "rules")),
        (CLOCK, "I cannot see a clock.", None),
        (COUNT, "There may be 5, or 6.", None),
    ],
)
def test_outputs_are_read_by_the_official_rules_first(sample, output, expected):
    assert extract(output, sample) == expected


words = st.text("abc", max_size=7)


@given(words, words, words)
def test_edit_distance_is_a_distance(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


@given(words, st.integers(0, 7), st.sampled_from("xyz"))
def test_one_edit_is_a_distance_of_one(word, place, letter):
    assert edit_distance(word, word[:place] + letter + word[place:]) == 1
    assert edit_distance(f"{word}x", word[:place] + word[place + 1 :] + "x") == (place < len(word))


@real
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_command_gives_the_official_accuracy_of_outputs_with_official_extractions(vkit, tmp_path, system):
    found = scored(system)
    lines = [
        {"id": sample.id, "output": row["response"], "extraction": row["extraction"]} for sample, row in found
    ]
    predictions = tmp_path / "out.jsonl"
    predictions.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    code, out, err = vkit("score", "--suite", "mathvista", "--data", REAL, "--predictions", predictions)
    report = json.loads(out)
    right = sum(row["true_false"] for _, row in found)
    assert code == 0, err
    assert report["figures"]["accuracy"]["value"] == pytest.approx(right / 10)
    assert report["read_by"]["given"] == 1000
