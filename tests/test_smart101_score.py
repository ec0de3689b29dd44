"""`vkit score --suite smart101`: the release's measures and the paper's five options, with intervals."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.smart101_cases import OPTIONS, table_of, write_smart101
from vkit.cli.score import command
from vkit.errors import VkitError
from vkit.evaluate.smart101 import mark, read_predictions, score_smart
from vkit.evaluate.statistics import wilson
from vkit.sources.smart101 import SmartItem, scan_smart101, split_of
from vkit.sources.smart101_answers import encode
from vkit.sources.smart101_puzzles import DIRECT_PUZZLES, SEQUENCE_PUZZLES, SKILLS

ROOT = Path(__file__).resolve().parent.parent
FIVE = ["1", "2", "3", "4", "5"]


def item(puzzle, options, answer, row=0):
    values = tuple(encode(puzzle, text, end=5) for text in options)
    return SmartItem(f"{puzzle}-{row}", puzzle, row, "q", tuple(options), answer, values, "a.png")


def steps(*classes):
    return (*classes, *[26] * (10 - len(classes)))


# -- Which prediction is right


@pytest.mark.parametrize(
    ("puzzle", "options", "answer", "value", "expected"),
    [
        (2, "3 5 7 8 12", "C", 7, (True, True, True)),
        (2, "3 5 7 8 12", "E", 99, (False, True, True)),  # the nearest is 12
        (2, "3 5 7 8 12", "A", 4, (False, True, True)),  # as near to 3 as to 5: the first
        (2, "3 5 7 8 12", "B", 4, (False, False, False)),
        (2, "3 7 7 8 12", "C", 7, (True, False, True)),  # the release takes B, which says the same
        (44, "A B C D E", "D", 3, (True, True, True)),
        (32, "R L K N O", "D", 13, (True, False, True)),  # the release compares N with the letter D
        (32, "R L K N O", "D", 3, (False, True, False)),
        (51, "1 2 3 4 5", "B", 9, (False, False, False)),
        (51, "1 2 3 4 5", "E", 9, (False, False, True)),
    ],
)
def test_a_class_is_right_by_value_by_the_release_and_by_the_papers_options(
    puzzle, options, answer, value, expected
):
    assert mark(item(puzzle, options.split(), answer), value) == expected


@pytest.mark.parametrize(
    ("answer", "value", "expected"),
    [
        ("C", steps(3, 4), (True, True, True)),
        ("C", steps(3, 9), (False, False, True)),  # one step from "3 and 4", two from the others
        ("A", steps(9, 9), (False, False, True)),  # as far from all of two steps: the first
        ("B", steps(9, 9), (False, False, False)),
        ("D", steps(3, 5, 6), (False, False, True)),
    ],
)
def test_a_sequence_is_right_as_a_whole_and_is_translated_by_its_steps(answer, value, expected):
    options = ["1 and 2", "2 and 3", "3 and 4", "3 and 5", "4 and 5"]
    assert mark(item(16, options, answer), value) == expected


values = st.lists(st.integers(0, 40), min_size=5, max_size=5)


@given(st.sampled_from(sorted(set(SKILLS) - {1, 25, 58} - SEQUENCE_PUZZLES)), values, st.data())
def test_the_measures_agree_with_their_definitions(puzzle, values, data):
    answer = data.draw(st.integers(0, 4))
    value = data.draw(st.integers(-5, 45))
    exact, option, five = mark(item(puzzle, list(map(str, values)), "ABCDE"[answer]), value)
    nearest = np.abs(np.array(values, float) - value).argmin()
    assert exact == (value == values[answer])
    assert option == (value == answer if puzzle in DIRECT_PUZZLES else nearest == answer)
    assert five or not exact
    if len(set(values)) == 5:
        assert five == (nearest == answer)


# -- Reports


def test_overall_is_over_items_and_a_skill_over_its_puzzles():
    items = [item(2, FIVE, "A", row) for row in range(8)]
    items += [item(3, FIVE, "A", row) for row in range(2)]  # counting, as 2
    items += [item(18, ["1-2", "2-1", "1-3", "3-1", "2-3"], "A", row) for row in range(2)]
    wrong = {"2-0", "2-1", "3-0"}
    report = score_smart(items, {i.id: 5 if i.id in wrong else answer_of(i) for i in items})
    assert report["count"] == 12
    assert report["overall"]["S_acc"]["value"] == pytest.approx(75)
    assert {name: (s["puzzles"], s["count"]) for name, s in report["skills"].items()} == {
        "counting": (2, 10),
        "order": (1, 2),
    }
    assert report["skills"]["counting"]["S_acc"]["value"] == pytest.approx(100 * (6 / 8 + 1 / 2) / 2)
    assert report["skills"]["order"]["O_acc"]["value"] == 100
    assert list(report["puzzles"]) == ["2", "3", "18"]
    assert report["puzzles"]["3"]["skill"] == "counting"
    assert report["puzzles"]["3"]["five_option"]["value"] == 50


def answer_of(item):
    return list(item.target) if isinstance(item.target, tuple) else item.target


def test_intervals_are_wilsons():
    items = [item(puzzle, FIVE, "A", row) for puzzle in (2, 3) for row in range(20)]
    report = score_smart(items, {i.id: 1 if i.row < i.puzzle * 4 else 5 for i in items})
    for found, right, count in (
        (report["overall"], 20, 40),
        (report["skills"]["counting"], 20, 40),  # puzzles of as many items: as the share of all
        (report["puzzles"]["2"], 8, 20),
    ):
        low, high = wilson(right, count)
        assert found["S_acc"] == pytest.approx(
            {"value": 100 * right / count, "low": 100 * low, "high": 100 * high}
        )


def test_a_small_puzzle_makes_its_skill_less_sure():
    def report(*counts):
        items = [item(p, FIVE, "A", r) for p, n in zip((2, 3), counts) for r in range(n)]
        return score_smart(items, {i.id: 1 + 4 * (i.row % 2) for i in items})

    even, uneven = (r["skills"]["counting"]["S_acc"] for r in (report(50, 50), report(96, 4)))
    assert even["value"] == uneven["value"] == 50
    assert uneven["high"] - uneven["low"] > 1.8 * (even["high"] - even["low"])
    assert (uneven["low"], uneven["high"]) == pytest.approx([100 * bound for bound in wilson(8, 15)], abs=4)


def test_right_answers_score_100_except_where_the_release_compares_letters(tmp_path):
    items = list(scan_smart101(write_smart101(tmp_path)))
    report = score_smart(items, {i.id: i.target for i in items})
    assert report["overall"]["S_acc"]["value"] == report["overall"]["five_option"]["value"] == 100
    assert {p for p, s in report["puzzles"].items() if s["O_acc"]["value"] < 100} == {"32"}


@pytest.mark.parametrize(
    ("predictions", "reason"),
    [
        ({}, "item '2-0' has no prediction"),
        ({"2-0": 1}, "item '16-0' has no prediction"),
        ({"2-0": 1, "16-0": [1] * 10, "9-9": 1}, "prediction '9-9' is for no item that is scored"),
        ({"2-0": "1", "16-0": [1] * 10}, "prediction '2-0' must be a whole number"),
        ({"2-0": 1.0, "16-0": [1] * 10}, "prediction '2-0' must be a whole number"),
        ({"2-0": True, "16-0": [1] * 10}, "prediction '2-0' must be a whole number"),
        ({"2-0": 1, "16-0": 1}, "prediction '16-0' must be a list of 10 whole numbers"),
        ({"2-0": 1, "16-0": [1, 2]}, "prediction '16-0' must be a list of 10 whole numbers"),
        ({"2-0": 1, "16-0": [None] * 10}, "prediction '16-0' must be a list of 10 whole numbers"),
    ],
)
def test_predictions_that_do_not_fit_the_items_are_refused(predictions, reason):
    items = [item(2, FIVE, "A"), item(16, FIVE, "A")]
    with pytest.raises(VkitError, match=reason):
        score_smart(items, predictions)


def test_nothing_to_score_is_refused():
    with pytest.raises(VkitError, match="nothing to score"):
        score_smart([], {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "2-1", "value": 4}', ":2: id '2-1' stands twice"),
        ('{"id": "2-2", "answer": 4}', ":2: a line must be "),
        ('{"id": 2, "value": 4}', ":2: a line must be "),
        ('{"id": "2-2", "value": "B"}', r':2: value "B" must be a class, .* letter is none'),
        ('{"id": "16-2", "value": [1, "B"]}', ":2: value .* must be a class"),
        ('{"id": "2-2", "value": true}', ":2: value true must be a class"),
        ("[]", ":2: not an object"),
        ("{", ":2: not JSON"),
    ],
)
def test_a_bad_line_of_predictions_is_named(tmp_path, line, reason):
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"id": "2-1", "value": 3}}\n{line}\n')
    with pytest.raises(VkitError, match=reason):
        read_predictions(path)


def test_a_folder_of_predictions_is_answered_with_a_file_in_it(tmp_path):
    with pytest.raises(VkitError, match=r"is a folder; .*predictions-test\.jsonl"):
        read_predictions(tmp_path)
    (tmp_path / "seed-7").mkdir()
    (tmp_path / "seed-7" / "predictions-test.jsonl").touch()
    with pytest.raises(VkitError, match=r"is a folder; .*seed-7.predictions-test\.jsonl"):
        read_predictions(tmp_path)


# -- The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_smart101(tmp_path_factory.mktemp("smart101"), rows=10)


def run(folder, tmp_path, items, *arguments):
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps({"id": i.id, "value": answer_of(i)}) + "\n" for i in items))
    options = ["--suite", "smart101", "--data", str(folder), "--predictions", str(path), *arguments]
    return CliRunner().invoke(command, options)


@pytest.mark.parametrize(
    ("arguments", "split", "part", "rows"),
    [
        ([], "paper", "test", None),
        (["--split", "merl", "--part", "train"], "merl", "train", None),
        (["--split", "puzzle", "--part", "train", "--rows", "2"], "puzzle", "train", 2),
    ],
)
def test_the_part_is_scored_as_json_and_as_a_table(folder, tmp_path, arguments, split, part, rows):
    items = split_of(scan_smart101(folder), part, split=split, rows=rows)
    result = run(folder, tmp_path, items, *arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["suite"], report["split"], report["part"]) == ("smart101", split, part)
    assert report["count"] == len(items)
    table = result.stderr.splitlines()
    assert table[0].split() == ["skill", "puzzles", "items", "S_acc", "O_acc", "five_option"]
    assert [line.split()[0] for line in table[1:]] == [*report["skills"], "overall"]
    assert table[-1].split()[:4] == ["overall", str(len(report["puzzles"])), str(len(items)), "100.0"]
    assert len({len(line) for line in table}) == 1


def test_all_rows_can_be_scored(folder, tmp_path):
    items = list(scan_smart101(folder))
    report = json.loads(run(folder, tmp_path, items, "--split", "all").stdout)
    assert (report["count"], report["part"]) == (10 * len(OPTIONS), None)
    for more in (["--part", "val"], ["--rows", "3"]):
        result = run(folder, tmp_path, items, "--split", "all", *more)
        assert result.exit_code == 2
        assert "--split all takes every row" in result.stderr


def test_predictions_of_another_part_and_bad_data_are_refused(folder, tmp_path):
    items = split_of(scan_smart101(folder), "val")
    few = r"item '1-9' has no prediction, and 34 of 34 items have none; .* check --split and --part"
    with pytest.raises(VkitError, match=few):
        raise run(folder, tmp_path, items).exception
    root = write_smart101(tmp_path / "bad", options={2: OPTIONS[2]})
    table_of(root, 2).write_text(table_of(root, 2).read_text().replace(",C,", ",X,", 2))
    with pytest.raises(VkitError, match=r"`vkit data check` lists every bad record"):
        raise run(root, tmp_path, []).exception


def test_a_part_without_rows_is_refused(folder, tmp_path):
    small = write_smart101(tmp_path / "small", options={2: OPTIONS[2]})
    with pytest.raises(VkitError, match="holds no row of the val part"):
        raise run(small, tmp_path, [], "--split", "puzzle", "--part", "val").exception


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vkit.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['score', '--help'])\n"
        "print(result.exit_code, [m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "0 []", result.stdout + result.stderr
