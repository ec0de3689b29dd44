"""Accuracy by version, and the numbers that Math-PUMA makes of it."""

import json

import pytest

from tests.training_data import write_tests
from vkit.errors import VkitError
from vkit.evaluate.answers import extract_value, judge
from vkit.evaluate.versions import by_version, evaluate_versions, score, spread
from vkit.models.tiny import build_tiny
from vkit.records import Sample, read_samples
from vkit.sources.official_rows import _picture
from vkit.synthesis.drawn import VERSIONS
from vkit.train.data import open_examples
from vkit.train.recipes import SftRecipe


@pytest.mark.parametrize(
    ("output", "answer", "choices", "expected"),
    [
        ("35+72=107; 180-107=73. Answer: 73", "73", (), True),
        ("Answer: 7. No: Answer: 73.", "73", (), True),
        ("the answer is 5 √3 cm", "5√3cm", (), True),
        ("Answer: 72", "73", (), False),
        ("the answer is: 73", "73", (), True),
        ("**Answer:** 73", "73", (), True),
        ("73", "73", (), True),
        ("35+72=107;180-107", "73", (), None),
        ("no more than 73", "73", (), None),
        ("the answer is: B", "B", ("1", "2"), True),
        ("Answer:", "73", (), None),
        ("so Answer: B", "B", ("1", "2"), True),
        ("so Answer: A", "B", ("1", "2"), False),
        ("perhaps", "B", ("1", "2"), None),
    ],
)
def test_answers_are_judged(output, answer, choices, expected):
    assert judge(output, answer, choices) is expected


def test_the_last_answer_counts_to_its_lines_end():
    assert extract_value("Answer: 3\nanswer = 4 \nand more") == "4"


def test_scores_are_by_version_and_unread_answers_are_wrong():
    items = [
        {"id": str(i), "version": version, "correct": correct}
        for version, found in {
            "text-only": (True, True, True, True),
            "text-dominant": (True, True, True, False),
            "vision-only": (True, False, None, False),
        }.items()
        for i, correct in enumerate(found)
    ]
    report = score(items)
    assert report["accuracy"] == {
        "text-only": 100.0,
        "text-dominant": 75.0,
        "vision-only": 25.0,
        "all": pytest.approx(200 / 3),
    }
    assert report["unread"] == 1
    assert report["gap_percent"] == pytest.approx(200.0)
    assert report["count"] == {"text-only": 4, "text-dominant": 4, "vision-only": 4}


def test_the_gap_is_none_where_it_means_nothing():
    assert spread({"text-dominant": 50.0, "vision-only": 0.0})["gap_percent"] is None
    assert spread({"text-only": 50.0})["gap_percent"] is None
    assert spread({"text-dominant": 5.0, "vision-only": 5.0})["skewness"] is None


def test_spread_is_over_the_versions_with_pictures():
    found = spread({"text-only": 90.0, "text-dominant": 10.0, "text-lite": 10.0, "vision-only": 40.0})
    assert found["variation"] == pytest.approx(14.142136 / 20)
    assert found["skewness"] == pytest.approx(0.70710678)


def test_a_model_answers_every_version(tmp_path):
    samples = list(read_samples(write_tests(tmp_path, 2)))
    report = evaluate_versions(build_tiny(), samples, max_new_tokens=3, batch_size=3)
    assert set(report["count"]) == set(VERSIONS)
    assert sorted(item["id"] for item in report["items"]) == sorted(sample.id for sample in samples)
    alone = evaluate_versions(build_tiny(), samples, max_new_tokens=3, batch_size=1)
    assert alone["items"] == report["items"]


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample("a", "x", answer="1"), "has no version"),
        (Sample("a", "x", meta={"version": "text-only"}), "has no answer"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_id(sample, reason):
    with pytest.raises(VkitError, match=f"record 'a' {reason}"):
        evaluate_versions(build_tiny(), [sample])


def test_a_pictures_name_that_is_too_long_for_the_disk_is_a_missing_picture(tmp_path):
    name = f"{'x' * 300}.png"
    sample = Sample("1", "q", answer="3", image=name, meta={"version": "vision-only"}, folder=tmp_path)
    with pytest.raises(VkitError, match=r"record '1': image x+\.png is missing"):
        by_version([sample])
    record = {"id": "1", "question": "q", "rationale": "r", "answer": "3", "image": name}
    (tmp_path / "data.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(VkitError, match=r"image x+\.png is missing"):
        open_examples([tmp_path / "data.jsonl"], SftRecipe())
    assert _picture({"image": name}, "image", tmp_path / "rows.json", tmp_path, 1) == name
