"""`vkit data check`: every record and picture is read, each bad one told by file, line and reason."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from vkit.cli.data import check
from vkit.errors import VkitError
from vkit.sources.opening import kind_of, scan

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = {"id": "a", "question": "Find x.", "image": "a.png"}
PAIR = {
    "id": "a",
    "text_rich": {"question": "ABC is a triangle. Find x.", "image": "a.png"},
    "vision_rich": {"question": "", "image": "b.png"},
    "response": "3",
}
TURNS = [{"from": "human", "value": "<image>Find x."}, {"from": "gpt", "value": "3"}]
CONVERSATION = {"id": "a", "image": "a.png", "conversations": TURNS}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    return tmp_path


def write(folder, *records):
    path = folder / "records.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in records))
    return path


def checked(path):
    result = CliRunner().invoke(check, [str(path)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    summary = json.loads(result.stdout)
    assert summary.pop("path") == str(path)
    return result.exit_code, summary, result.stderr


@pytest.mark.parametrize(
    ("record", "images"),
    [
        (SAMPLE, 1),
        (PAIR, 2),
        (CONVERSATION, 1),
        ({"id": "a", "question": "2 + 3?"}, 0),
        ({**PAIR, "text_rich": {"question": "x"}}, 1),
        ({"id": "a", "conversations": [{"from": "human", "value": "2 + 3?"}, TURNS[1]]}, 0),
    ],
)
def test_good_records_of_every_kind_are_counted_with_their_pictures(folder, record, images):
    code, summary, stderr = checked(write(folder, record, {**record, "id": "b"}))
    assert (code, stderr) == (0, "")
    assert summary == {"good": 2, "bad": 0, "images": 2 * images}


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (SAMPLE, {**SAMPLE, "id": "b", "image": "none.png"}, "record 'b': image .*none.png is missing"),
        (
            PAIR,
            {**PAIR, "id": "b", "text_rich": {"question": "x", "image": "cut.png"}},
            "cut.png cannot be read",
        ),
        (
            PAIR,
            {**PAIR, "id": "b", "vision_rich": {"question": "x", "image": "cut.png"}},
            "cut.png cannot be",
        ),
        (PAIR, {**PAIR, "id": "b", "response": ""}, "'response' must be text that is not empty"),
        (PAIR, PAIR, "id 'a' stands twice"),
        (PAIR, {**SAMPLE, "id": "b"}, "unknown key 'question'"),  # of another kind than the first
        (CONVERSATION, {**CONVERSATION, "id": "b", "image": "cut.png"}, "record 'b': image .*cut.png cannot"),
        (
            CONVERSATION,
            {**CONVERSATION, "id": "b", "image": None},
            "<image> 1 times, but the record has no 'image'",
        ),
        (CONVERSATION, "{", "not JSON"),
    ],
)
def test_each_bad_record_is_told_by_file_line_and_reason(folder, good, bad, reason):
    path = write(folder, good, bad, {**good, "id": "c"})
    code, summary, stderr = checked(path)
    assert (code, summary["good"], summary["bad"]) == (1, 2, 1)
    (line,) = stderr.splitlines()
    assert line.startswith(f"{path}:2: ")
    assert re.search(reason, line)


def test_a_broken_first_line_does_not_hide_what_the_file_holds(folder):
    code, summary, stderr = checked(write(folder, '{"id":', PAIR))
    assert (code, summary) == (1, {"good": 1, "bad": 1, "images": 2})
    assert "records.jsonl:1: not JSON" in stderr


def test_a_broken_picture_of_geometry3k_is_told_by_its_folder(folder):
    for number in ("1", "2"):
        problem = folder / "geometry3k" / number
        problem.mkdir(parents=True)
        data = {"id": number, "problem_text": "Find x.", "choices": ["1", "2"], "answer": "A"}
        (problem / "data.json").write_text(json.dumps(data))
        (problem / "logic_form.json").write_text("{}")
        picture = folder / ("a.png" if number == "1" else "cut.png")
        (problem / "img_diagram.png").write_bytes(picture.read_bytes())
    code, summary, stderr = checked(folder / "geometry3k")
    assert (code, summary) == (1, {"good": 1, "bad": 1, "images": 1})
    assert stderr.startswith(f"{folder / 'geometry3k' / '2'}: record '2': image ")


def test_files_that_are_no_lines_of_records_are_refused_with_what_to_do(folder):
    with pytest.raises(
        VkitError, match="holds Math-PUMA's records; make pairs of them with `vkit data pairs`"
    ):
        kind_of(write(folder, {"instruction": "x", "instruction_2": "x"}))
    with pytest.raises(VkitError, match="is one JSON array; write a record a line: jq"):
        kind_of(write(folder, [SAMPLE]))
    with pytest.raises(VkitError, match="holds no records"):
        kind_of(write(folder))


def test_where_problems_are_asked_for_other_kinds_are_refused_by_name(folder):
    assert [sample.id for sample in scan(write(folder, SAMPLE))] == ["a"]
    for record, kind in ((PAIR, "pairs"), (CONVERSATION, "conversations")):
        with pytest.raises(VkitError, match=f"records.jsonl holds {kind}, but problems are asked for"):
            scan(write(folder, record))


def test_checking_brings_no_torch(folder):
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vkit.cli.data import check\n"
        f"assert CliRunner().invoke(check, [{str(write(folder, CONVERSATION))!r}]).exit_code == 0\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
