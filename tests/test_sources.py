"""Geometry3K in its official layout, and `vkit data check` over it."""

import json
import shutil
from pathlib import Path

import pytest

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample
from vkit.sources.geometry3k import scan_geometry3k
from vkit.sources.opening import scan

GEOMETRY3K = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "geometry3k"
needs_geometry3k = pytest.mark.skipif(
    not GEOMETRY3K.is_dir(), reason="the six real Geometry3K problems are not beside this checkout"
)


@pytest.fixture
def problems(tmp_path):
    """Two problems in the official layout, made here."""
    from vkit.synthesis.sketches import write_sketches

    write_sketches(tmp_path / "sketches", 2, seed=1)
    folder = tmp_path / "geometry3k"
    for number in (9, 10):
        problem = folder / str(number)
        problem.mkdir(parents=True)
        image = tmp_path / "sketches" / "images" / f"1-{number - 9}.png"
        shutil.copy(image, problem / "img_diagram.png")
        data = {"id": number, "problem_text": "Find x.", "choices": ["1", "2", "3", "4"], "answer": "C"}
        (problem / "data.json").write_text(json.dumps(data))
        (problem / "logic_form.json").write_text(json.dumps({"diagram_logic_form": ["Line(A, B)"]}))
    return folder


@needs_geometry3k
def test_the_real_problems_are_read():
    samples = list(scan(GEOMETRY3K))
    assert [sample.id for sample in samples] == ["11", "12", "13", "14", "15", "16"]
    first = samples[0]
    assert first.question.startswith("In \\odot X, A B = 30")
    assert (first.choices, first.answer) == (("30", "40", "60", "80"), "D")
    assert first.meta["precise_value"] == [30.0, 40.0, 60.0, 80.0]
    assert "Perpendicular(Line(Y, M), Line(M, A))" in first.meta["literals"]
    assert all(sample.open_image().mode == "RGB" for sample in samples)


def test_problems_come_in_the_order_of_their_numbers(problems):
    assert [sample.id for sample in scan_geometry3k(problems)] == ["9", "10"]


def test_the_release_with_its_splits_is_read(problems, tmp_path):
    release = tmp_path / "release"
    for split, number in (("train", "9"), ("test", "10")):
        shutil.copytree(problems / number, release / split / number)
    samples = list(scan(release))
    assert [sample.image for sample in samples] == ["train/9/img_diagram.png", "test/10/img_diagram.png"]
    assert all(isinstance(sample, Sample) and sample.open_image() for sample in samples)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: (p / "logic_form.json").unlink(), "logic_form.json"),
        (lambda p: (p / "img_diagram.png").unlink(), "img_diagram.png is missing"),
        (lambda p: (p / "data.json").write_text("{"), "data.json cannot be read"),
        (lambda p: (p / "data.json").write_text("[]"), "holds no object"),
        (lambda p: (p / "data.json").write_text('{"id": 9}'), "no 'problem_text'"),
        (
            lambda p: (p / "data.json").write_text(
                '{"id": 9, "problem_text": "x", "choices": ["1", "2"], "answer": "D"}'
            ),
            "letter of a choice, not 'D'",
        ),
    ],
)
def test_a_broken_problem_is_named_and_the_others_are_read(problems, change, reason):
    change(problems / "9")
    bad, good = scan_geometry3k(problems)
    assert isinstance(bad, BadRecord)
    assert bad.where == str(problems / "9")
    assert reason in bad.reason
    assert good.id == "10"


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(VkitError, match="does not exist"):
        scan(tmp_path / "nothing")
    with pytest.raises(VkitError, match="no folder that vkit knows"):
        scan(tmp_path)
