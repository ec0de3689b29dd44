"""Geometry3K: the right choice of four, and the value without choices."""

from pathlib import Path

import pytest

from vkit.evaluate.geometry3k import equals, extract, says_value
from vkit.evaluate.scoring import mark_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.records import Sample, only_good

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "geometry3k"

META = {
    "precise_value": [5.0, 50**0.5, 75**0.5, 10.0],
    "problem_type_graph": ["Circle", "Triangle"],
    "problem_type_goal": ["Length"],
}
SAMPLE = Sample("15", "Find x.", ("5", r"5 \sqrt 2", r"5 \sqrt 3", "10"), "C", meta=META)


@pytest.mark.parametrize(
    ("output", "letter", "value"),
    [
        ("Answer: C", "C", None),
        ("(B)", "B", None),
        (r"\boxed{C}", "C", None),
        (r"Answer: 5\sqrt{3}", "C", True),
        ("so x = 8.66", "C", True),
        ("Therefore x is 8.7 cm.", "C", True),
        ("Answer: 7.07", "B", False),
        ("Answer: 9", None, False),  # no choice's value, and no choice is guessed
        ("I see a circle.", None, None),
        ("", None, None),
    ],
)
def test_a_choice_is_read_by_letter_or_by_value(output, letter, value):
    reading = extract(output, SAMPLE)
    assert (reading and reading.answer) == letter
    assert says_value(output, SAMPLE) is value


def test_a_value_is_as_exact_as_it_is_written():
    assert equals("0.38", 0.3846)
    assert equals("0.4", 0.3846)
    assert not equals("0.39", 0.3846)
    assert not equals("0", 0.3846)
    assert equals("1200", 1200.0)
    assert not equals("1201", 1200.0)
    assert not equals("many", 1200.0)


def test_both_measures_and_every_unread_output_are_reported():
    outputs = {"1": "Answer: C", "2": "x = 8.66", "3": "no idea", "4": "Answer: A"}
    samples = [Sample(name, "Find x.", SAMPLE.choices, "C", meta=META) for name in outputs]
    report = report_marks(SUITES["geometry3k"], mark_outputs(SUITES["geometry3k"], samples, outputs))
    assert report["figures"]["choice"]["value"] == 50
    assert report["figures"]["free-form"]["value"] == 25
    assert report["unread"] == {"count": 1, "ids": ["3"]}
    assert report["without_value"] == {"count": 3, "ids": ["1", "3", "4"]}
    assert report["groups"]["graph"]["Circle"]["count"] == report["groups"]["graph"]["Triangle"]["count"] == 4


@pytest.mark.skipif(not REAL.is_dir(), reason="real Geometry3K problems are not at ../shared/data")
def test_real_problems_are_scored_by_letters_and_by_values():
    samples = list(only_good(SUITES["geometry3k"].scan(REAL)))
    letters = {sample.id: f"Answer: {sample.answer}" for sample in samples}
    values = {
        sample.id: f"So it is {round(sample.meta['precise_value'][ord(sample.answer) - 65], 1)}."
        for sample in samples
    }
    for outputs, free_form in ((letters, 0), (values, 100)):
        report = report_marks(SUITES["geometry3k"], mark_outputs(SUITES["geometry3k"], samples, outputs))
        assert report["figures"]["choice"]["value"] == 100
        assert report["figures"]["free-form"]["value"] == free_form


def test_two_choices_of_one_value_are_not_chosen_between():
    twice = Sample("1", "?", ("five", "10/2", "6", "7"), "A", meta={"precise_value": [5.0, 5.0, 6.0, 7.0]})
    assert extract("x = 5", twice) is None
