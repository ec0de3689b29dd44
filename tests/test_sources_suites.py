"""MathVista, MathVerse and We-Math in their official layouts, as samples; bad rows told one by one."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from vkit.cli.data import command as data_command
from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.records import BadRecord, Sample, only_good, read_samples, write_samples
from vkit.sources.mathverse import scan_mathverse, split_choices
from vkit.sources.mathvista import scan_mathvista
from vkit.sources.official_rows import kept, rows
from vkit.sources.opening import scan
from vkit.sources.wemath import scan_wemath, split_options

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

CHOICE = {
    "pid": "7",
    "question": "What time is it?",
    "image": "images/7.jpg",
    "choices": ["half past", "quarter past"],
    "unit": None,
    "precision": None,
    "answer": "quarter past",
    "question_type": "multi_choice",
    "answer_type": "text",
    "metadata": {"task": "visual question answering", "skills": ["numeric commonsense"]},
    "query": "Hint: choose. What time is it?",
}
FLOAT = {
    "pid": "1",
    "question": "How far?",
    "image": "images/1.jpg",
    "choices": None,
    "unit": "m",
    "precision": 1.0,  # as parquet has it
    "answer": "1.2",
    "question_type": "free_form",
    "answer_type": "float",
    "metadata": {"task": "textbook question answering"},
}
VERSE = {
    "sample_index": "5",
    "problem_index": "1",
    "problem_version": "Text Dominant",
    "question": "AB = 3. Find x.\nChoices:\nA:40°\nB:60°",
    "image": "images_version_1-4/image_1.png",
    "answer": "B",
    "question_type": "multi-choice",
    "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
    "query_cot": "Please reason. Question: AB = 3. Find x.",
}
WE = {
    "ID": "2steps_14",
    "split": "testmini",
    "knowledge concept": "Angles",
    "question": "Which is right of A?",
    "option": "A. 3, 5;B. 4, 0.5; C. No correct answer",
    "answer": "B",
    "image_path": "2steps/image/14-1.png",
    "key": "2steps_multi",
    "question number": 14,
}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(Image.new("RGB", (6, 4), "red")))


def test_mathvista_by_id_in_its_folder(tmp_path):
    write(
        tmp_path / "data" / "testmini.json",
        {"7": {k: v for k, v in CHOICE.items() if k != "pid"}, "1": FLOAT},
    )
    picture(tmp_path / "data" / "images" / "7.jpg")
    clock, spring = only_good(scan(tmp_path))
    assert (clock.id, clock.choices, clock.answer) == ("7", ("half past", "quarter past"), "B")
    assert clock.open_image().size == (6, 4)
    assert clock.meta["query"] == "Hint: choose. What time is it?"
    assert clock.meta["metadata"]["skills"] == ["numeric commonsense"]
    assert (spring.answer, spring.choices, spring.meta["precision"], spring.meta["unit"]) == (
        "1.2",
        (),
        1,
        "m",
    )


@pytest.mark.parametrize("layout", ["array", "lines", "by id", "by id on one line"])
def test_json_is_read_in_every_layout(tmp_path, layout):
    path = tmp_path / ("testmini.jsonl" if layout == "lines" else "testmini.json")
    by_id = {"7": CHOICE, "1": FLOAT}
    texts = {
        "array": json.dumps([CHOICE, FLOAT], indent=1),
        "lines": f"{json.dumps(CHOICE)}\n{json.dumps(FLOAT)}\n",
        "by id": json.dumps(by_id, indent=1),
        "by id on one line": json.dumps(by_id),
    }
    path.write_text(texts[layout])
    assert [sample.id for sample in only_good(scan(path))] == ["7", "1"]


def test_a_problem_without_a_known_answer_is_read_without_one(tmp_path):
    path = write(tmp_path / "test.json", {"7": {**CHOICE, "answer": ""}})
    assert next(only_good(scan(path))).answer is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "noon"}, "none of the choices"),
        ({"choices": None}, "has 0 choices"),
        ({"question": " "}, "'question' must be text that is not empty"),
        ({"question_type": "essay"}, "not MathVista's"),
        ({"image": 3}, "'image' must be a path"),
        ({"image": "../../secret.png"}, "lies outside its folder"),
        ({"question": "half \ud83d"}, "half a character"),
    ],
)
def test_a_bad_row_is_told_by_its_place_and_the_others_are_read(tmp_path, change, reason):
    path = write(tmp_path / "testmini.json", [FLOAT, {**CHOICE, **change}])
    good, bad = scan(path)
    assert isinstance(good, Sample)
    assert isinstance(bad, BadRecord)
    assert bad.where == f"{path}, item 2"
    assert reason in bad.reason


def test_a_float_needs_its_precision_and_ids_are_unique(tmp_path):
    path = write(tmp_path / "testmini.json", [FLOAT, FLOAT, {**FLOAT, "pid": "2", "precision": None}, "text"])
    reasons = [record.reason for record in scan_mathvista(path) if isinstance(record, BadRecord)]
    assert ["twice" in reasons[0], "precision" in reasons[1], "not an object" in reasons[2]] == [True] * 3


def test_mathverse_has_versions_and_its_text_only_part_has_ids_of_its_own(tmp_path):
    only = {**VERSE, "image": "", "problem_version": "Text Only"}
    vision = {**VERSE, "sample_index": "6", "question": "", "problem_version": "Vision Only"}
    write(tmp_path / "testmini.json", [VERSE, vision])
    write(tmp_path / "testmini_text_only.json", [only])
    picture(tmp_path / "images" / "images_version_1-4" / "image_1.png")
    samples = list(only_good(scan(tmp_path)))
    assert [(s.id, s.meta["version"], s.choices) for s in samples] == [
        ("5", "text-dominant", ("40°", "60°")),
        ("6", "vision-only", ()),
        ("text-only-5", "text-only", ("40°", "60°")),
    ]
    assert {s.meta["problem_index"] for s in samples} == {"1"}
    assert samples[0].question == "AB = 3. Find x."
    assert samples[0].open_image().size == (6, 4)
    assert samples[2].image is None


@pytest.mark.parametrize(
    "question", ["Find x.", "Choices:\nA:1", "Choices:\nA:1\nC:2", "Choices:\nA:1\nB:2\nor so"]
)
def test_choices_that_cannot_be_told_apart_stay_in_the_question(question):
    assert split_choices(question) == (question, ())


def test_a_mathverse_row_with_an_unknown_version_is_bad(tmp_path):
    path = write(tmp_path / "testmini.json", [{**VERSE, "problem_version": "Sound Only"}])
    (bad,) = scan_mathverse(path)
    assert "'Sound Only' is not one of text-dominant" in bad.reason


def test_wemath_parts_of_a_problem_have_ids_of_their_own(tmp_path):
    path = write(tmp_path / "data" / "testmini.json", [WE, {**WE, "key": "2steps_1"}])
    picture(tmp_path / "data" / "2steps" / "image" / "14-1.png")
    whole, step = only_good(scan(tmp_path))
    assert (whole.id, step.id) == ("2steps_14:multi", "2steps_14:1")
    assert whole.choices == ("3, 5", "4, 0.5", "No correct answer")
    assert (whole.answer, whole.meta["knowledge concept"]) == ("B", "Angles")
    assert whole.open_image().size == (6, 4)
    assert path.is_file()


def test_wemath_options_that_cannot_be_told_apart_stay_below_the_question(tmp_path):
    path = write(tmp_path / "testmini.json", [{**WE, "option": "left or right"}, {**WE, "key": "4steps_1"}])
    sample, bad = scan_wemath(path)
    assert (sample.question, sample.choices) == ("Which is right of A?\nleft or right", ())
    assert "4steps_1" in bad.reason
    assert split_options("A. 1; C. 2") == ()


def test_a_file_of_vkits_own_is_no_release(tmp_path):
    path = tmp_path / "problems.json"
    write_samples(path, [Sample("1", "Find x.", meta={"pid": "1", "question_type": "free_form"})])
    assert next(only_good(scan(path))) == next(read_samples(path))
    with pytest.raises(VkitError, match="holds no rows with answer_type, pid, question_type"):
        list(scan_mathvista(path))


def test_data_check_tells_missing_pictures(tmp_path):
    write(tmp_path / "testmini.json", {"7": CHOICE, "1": FLOAT})
    picture(tmp_path / "images" / "1.jpg")
    result = CliRunner().invoke(data_command, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"path": str(tmp_path), "good": 1, "bad": 1, "images": 1}
    assert "record '7'" in result.stderr


# -- Parquet


def write_parquet(path, table):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(table), path)
    return path


def test_parquet_pictures_are_unpacked_once_beside_the_file(tmp_path):
    data = png_bytes(Image.new("RGB", (5, 3), "blue"))
    table = [{**row, "decoded_image": {"bytes": data, "path": None}} for row in (CHOICE, FLOAT)]
    path = write_parquet(tmp_path / "testmini-00000-of-00001.parquet", table)
    samples = list(only_good(scan(tmp_path)))
    assert [sample.id for sample in samples] == ["7", "1"]
    assert samples[0].choices == ("half past", "quarter past")
    assert samples[1].meta["precision"] == 1
    assert samples[0].open_image().size == (5, 3)
    unpacked = tmp_path / f"{path.name}.images" / "1.png"
    before = unpacked.stat().st_mtime_ns
    assert samples[0].image == f"{path.name}.images/1.png"
    list(scan(tmp_path))
    assert unpacked.stat().st_mtime_ns == before


def test_parquet_is_read_without_its_pictures(tmp_path):
    data = png_bytes(Image.new("RGB", (5, 3), "blue"))
    table = [{**WE, "image_path": {"bytes": data, "path": "14-1.png"}}]
    path = write_parquet(tmp_path / "testmini.parquet", table)
    (sample,) = only_good(scan_wemath(path, pictures=False))
    assert (sample.id, sample.image) == ("2steps_14:multi", None)
    assert [file.name for file in tmp_path.iterdir()] == ["testmini.parquet"]


def test_json_is_taken_before_parquet(tmp_path):
    write(tmp_path / "testmini.json", [VERSE])
    write_parquet(tmp_path / "testmini.parquet", [VERSE, {**VERSE, "sample_index": "6"}])
    assert [sample.id for sample in only_good(scan(tmp_path))] == ["5"]


def test_what_is_no_parquet_is_told(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "testmini.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(VkitError, match="cannot be read as parquet"):
        list(scan(tmp_path / "testmini.parquet"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "testmini.parquet").write_bytes(b"PAR1")
    with pytest.raises(VkitError, match=r"pip install 'vkit\[parquet\]'"):
        list(rows(tmp_path / "testmini.parquet"))


# -- The real ones


@pytest.mark.skipif(not (DATA / "mathvista").is_dir(), reason="real MathVista is not at ../shared/data")
def test_all_of_mathvistas_testmini_is_read():
    samples = list(only_good(scan(DATA / "mathvista")))
    assert len(samples) == 1000
    kinds = [sample.meta["answer_type"] for sample in samples]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "text": 540,
        "integer": 418,
        "float": 40,
        "list": 2,
    }


@pytest.mark.skipif(not (DATA / "mathverse").is_dir(), reason="real MathVerse is not at ../shared/data")
def test_mathverses_choices_are_found():
    samples = list(only_good(scan(DATA / "mathverse")))
    assert len(samples) == 60
    assert {len(sample.choices) for sample in samples} == {4}
    assert all("Choices" not in sample.question for sample in samples)


def test_a_column_of_bytes_is_no_text_of_a_record():
    with pytest.raises(VkitError, match="'subject' holds bytes, where text or numbers are due"):
        kept({"subject": [{"a": b"\xff"}], "source": "x"}, ("subject", "source"))
    assert kept({"subject": [{"a": 1}], "source": "x"}, ("subject", "source"))["source"] == "x"
