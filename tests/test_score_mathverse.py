"""MathVerse: five versions, ALL of them, Text Only apart, and the gap between text and picture."""

import numpy as np
import pytest

from vkit.evaluate.mathverse import extract, is_right
from vkit.evaluate.scoring import compare_marks, mark_outputs, report_marks
from vkit.evaluate.statistics import wilson
from vkit.evaluate.suites import SUITES
from vkit.records import Sample
from vkit.sources.mathverse import VERSIONS

SUITE = SUITES["mathverse"]
VALUE = Sample("1", "Find L.", answer="14", meta={"question_type": "free-form", "version": "text-lite"})
LETTER = Sample(
    "2", "Find x.", ("40°", "60°"), "B", meta={"question_type": "multi-choice", "version": "text-lite"}
)
SEEN = Sample("3", "", answer="D", meta={"question_type": "multi-choice", "version": "vision-only"})


def samples_of(problems):
    return [
        Sample(
            f"{version}-{number}",
            "?",
            answer="14",
            meta={
                "question_type": "free-form",
                "version": version,
                "problem_index": str(number),
                "metadata": {
                    "subject": "Solid Geometry" if number % 2 else "Functions",
                    "subfield": "Length",
                },
            },
        )
        for version in VERSIONS
        for number in range(problems)
    ]


def marks_of(problems, right):
    """Marks of problems in all versions; ``right``: how many of the first are right in each version."""
    samples = samples_of(problems)
    outputs = {
        sample.id: "Answer: 14"
        if int(sample.meta["problem_index"]) < right[sample.meta["version"]]
        else "Answer: 3"
        for sample in samples
    }
    return mark_outputs(SUITE, samples, outputs)


RIGHT = dict(zip(VERSIONS, (30, 24, 22, 20, 15, 36)))


def test_all_is_over_the_five_versions_and_text_only_stands_apart():
    report = report_marks(SUITE, marks_of(40, RIGHT))
    assert report["count"] == 240
    assert report["figures"]["ALL"]["value"] == pytest.approx(100 * (30 + 24 + 22 + 20 + 15) / 200)
    assert report["figures"]["Text Only"]["value"] == pytest.approx(90)
    versions = report["groups"]["version"]
    assert {name: found["accuracy"]["value"] for name, found in versions.items()} == {
        name: pytest.approx(2.5 * count) for name, count in RIGHT.items()
    }
    assert versions["text-dominant"]["accuracy"]["low"] == pytest.approx(100 * wilson(30, 40)[0])
    assert sum(found["count"] for found in report["groups"]["subject"].values()) == 200  # without Text Only


def test_versions_of_a_problem_rise_and_fall_together():
    """200 rows of 40 problems are not as sure as 200 problems."""
    figure = report_marks(SUITE, marks_of(40, RIGHT))["figures"]["ALL"]
    low, high = (100 * bound for bound in wilson(111, 200))
    assert figure["high"] - figure["low"] > 1.3 * (high - low)


def test_the_gap_is_math_pumas():
    spread = report_marks(SUITE, marks_of(40, RIGHT))["spread"]
    values = np.array([30, 24, 22, 20, 15]) / 40
    deviations = (values - values.mean()) / values.std()
    assert spread["gap_percent"] == pytest.approx(100)
    assert spread["skewness"] == pytest.approx(abs((deviations**3).mean()))
    assert spread["variation"] == pytest.approx(values.std() / values.mean())
    assert 20 < spread["gap_low"] < 100 < spread["gap_high"] < 400


def test_where_the_picture_alone_says_nothing_there_is_no_gap():
    spread = report_marks(SUITE, marks_of(12, {**RIGHT, "vision-only": 0}))["spread"]
    assert (spread["gap_percent"], spread["gap_low"]) == (None, None)


def test_text_only_alone_has_no_all():
    marks = [mark for mark in marks_of(12, RIGHT) if mark.groups["version"] == ("text-only",)]
    report = report_marks(SUITE, marks)
    assert list(report["figures"]) == ["Text Only"]
    assert report["spread"]["gap_percent"] is None


def test_two_runs_are_compared_version_by_version():
    found = compare_marks(SUITE, marks_of(40, RIGHT), marks_of(40, {**RIGHT, "vision-only": 5}))
    assert found["ALL"]["difference"] == pytest.approx(5)
    assert (found["ALL"]["p"], found["ALL"]["won"]) == (None, 10)
    assert found["groups"]["vision-only"]["p"] == pytest.approx(2 * 0.5**10)
    assert found["groups"]["text-lite"]["p"] == 1


@pytest.mark.parametrize(
    ("sample", "output", "answer", "right"),
    [
        (VALUE, r"L = \sqrt{205} \approx \boxed{14\text{ cm}}", r"14\text{ cm}", True),
        (VALUE, "Final answer: 14", "14", True),
        (VALUE, "L is approximately 14.3 cm.", "14.3cm", False),
        (VALUE, "It is long.", None, False),
        (LETTER, "Reasoning ... Answer: B", "B", True),
        (LETTER, "Answer: D", None, False),  # there is no D
        (LETTER, "So x is 60 degrees.", "B", True),
        (LETTER, "So x is 50 degrees.", None, False),
        (SEEN, "The correct option is D.", "D", True),
        (SEEN, "Answer: C:120°", "C", False),
    ],
)
def test_answers_are_read_and_compared_by_rules(sample, output, answer, right):
    reading = extract(output, sample)
    assert (reading and reading.answer) == answer
    assert (reading is not None and is_right(reading.answer, sample)) == right
