"""SMART-101 in miniature: the official layout, exact answers, and nothing to be had from one side alone."""

import csv
import dataclasses
import itertools
import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.smart_mini_readers import EYES, see, solve, what_can_be_seen
from vkit.cli.main import cli
from vkit.errors import VkitError
from vkit.records import BadRecord
from vkit.sources.smart101 import is_smart101, scan_smart101, split_of
from vkit.sources.smart101_answers import encode
from vkit.sources.smart101_puzzles import SKILLS
from vkit.synthesis import smart_mini
from vkit.synthesis.smart_mini import PUZZLES, answer_letters, draw_rows, write_smart_mini
from vkit.synthesis.smart_mini_puzzle import ask_twice
from vkit.synthesis.smart_mini_sheet import Sheet

INFO = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "smart101" / "SMART_info_v2.csv"
ROWS = 40
numbered = pytest.mark.parametrize("puzzle", PUZZLES, ids=lambda puzzle: str(puzzle.number))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def table(folder: Path, number: int) -> list[dict[str, str]]:
    with (folder / str(number) / f"puzzle_{number}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("smart") / "mini"
    write_smart_mini(out, rows=ROWS, seed=1)
    return out


# -- the official layout


def test_the_loader_reads_every_row_and_needs_no_special_case(folder):
    items = list(scan_smart101(folder))
    assert is_smart101(folder)
    assert not [item for item in items if isinstance(item, BadRecord)]
    assert Counter(item.puzzle for item in items) == {puzzle.number: ROWS for puzzle in PUZZLES}
    for item in items:
        assert item.open_image().size == (128, 128)
        assert len(set(item.values)) == 5, item.id  # five options are five classes


def test_every_skill_and_two_sequences_are_there():
    skills = {puzzle.skill for puzzle in PUZZLES}
    assert skills == {
        *("counting", "math", "logic", "path", "algebra", "measure", "spatial", "pattern", "order"),
    }
    assert {18, 100} <= {puzzle.number for puzzle in PUZZLES}
    assert all(SKILLS[puzzle.number] == puzzle.skill for puzzle in PUZZLES)


@pytest.mark.skipif(not INFO.is_file(), reason="SMART-101's list of puzzles is not here")
def test_skills_are_those_of_the_official_puzzles():
    with INFO.open(newline="", encoding="utf-8") as file:
        official = {int(row["id"]): row["type"].strip() for row in csv.DictReader(file)}
    assert {puzzle.number: puzzle.skill for puzzle in PUZZLES}.items() <= official.items()


def test_every_official_split_has_items_in_every_part(folder):
    items = list(scan_smart101(folder))
    for split in ("paper", "merl", "puzzle"):
        assert all(split_of(items, part, split=split) for part in ("train", "val", "test")), split


def test_no_picture_is_in_two_parts_of_the_papers_split(folder):
    items = list(scan_smart101(folder))
    parts = [{item.image for item in split_of(items, part)} for part in ("train", "val", "test")]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])


# -- answers


@numbered
def test_answers_are_right_by_another_way(folder, puzzle):
    for row in table(folder, puzzle.number):
        assert row[row["Answer"]] == solve(puzzle.number, row["Question"], json.loads(row["Note"])), row


@pytest.mark.parametrize("number", sorted(EYES))
def test_the_picture_shows_what_the_note_says(folder, number):
    for row in table(folder, number)[::2]:
        with Image.open(folder / str(number) / "img" / row["image"]) as picture:
            seen = see(number, picture.convert("RGB"))
        assert seen == what_can_be_seen(number, json.loads(row["Note"])), row["image"]


def test_each_letter_is_the_answer_equally_often(folder):
    for puzzle in PUZZLES:
        counts = Counter(row["Answer"] for row in table(folder, puzzle.number))
        assert counts == dict.fromkeys("ABCDE", ROWS / 5), puzzle.number


def test_options_are_shuffled_and_letters_in_the_picture_are_not(folder):
    for puzzle in PUZZLES:
        rows = table(folder, puzzle.number)
        for row in rows:
            options = [row[letter] for letter in "ABCDE"]
            assert len(set(options)) == 5
            if puzzle.lettered:
                assert options == list("ABCDE")
        if not puzzle.lettered:
            values = [[encode(puzzle.number, row[letter]) for letter in "ABCDE"] for row in rows]
            assert sum(options == sorted(options) for options in values) < ROWS / 4


# -- both sides are needed


@numbered
def test_neighbours_ask_one_picture_for_different_answers(folder, puzzle):
    rows = table(folder, puzzle.number)
    for first, second in zip(rows[::2], rows[1::2]):
        assert (first["image"], first["Note"]) == (second["image"], second["Note"])
        assert first["Question"] != second["Question"]
        assert first[first["Answer"]] != second[second["Answer"]]
    answers = defaultdict(Counter)
    for row in rows:
        answers[row["image"]][row[row["Answer"]]] += 1
    right = sum(max(counter.values()) for counter in answers.values())
    assert right == ROWS / 2  # the best that is possible without the text


def test_no_question_stands_twice_beside_the_same_picture(folder):
    for puzzle in PUZZLES:
        inside = folder / str(puzzle.number) / "img"
        rows = table(folder, puzzle.number)
        assert len({(row["Question"], (inside / row["image"]).read_bytes()) for row in rows}) == ROWS


def test_the_most_frequent_answer_to_each_question_is_rarely_right():
    """The best guess without the picture, learned from 800 pictures and tried on 400 others."""
    shares, by_options = {}, {}
    for puzzle in PUZZLES:
        rng, asked = random.Random(11), []
        while len(asked) < 2400:
            asked += ask_twice(puzzle, puzzle.draw(rng), rng) or ()
        seen = defaultdict(Counter)
        for one in asked[:1600]:
            seen[one.question][one.answer] += 1
        tried = asked[1600:]
        guesses = [max(seen[one.question], key=seen[one.question].get, default="") for one in tried]
        shares[puzzle.number] = sum(g == one.answer for g, one in zip(guesses, tried)) / 800
        picks = [
            max(rng.sample([one.answer, *one.wrong], 5), key=seen[one.question].__getitem__) for one in tried
        ]
        by_options[puzzle.number] = sum(pick == one.answer for pick, one in zip(picks, tried)) / 800
    assert max(shares.values()) < 0.34, shares
    assert sum(shares.values()) / len(PUZZLES) < 0.2, shares
    assert max(by_options.values()) < 0.36, by_options  # and the options do not tell


# -- same seed, same bytes; complete or absent


def test_same_seed_same_bytes(folder, tmp_path):
    write_smart_mini(tmp_path / "again", rows=ROWS, seed=1)
    assert contents(tmp_path / "again") == contents(folder)


def test_more_rows_begin_with_the_same_rows_and_another_seed_has_others():
    puzzle = PUZZLES[3]
    rows = [row for _, row in zip(range(12), draw_rows(puzzle, 5, 64))]
    assert rows[:8] == [row for _, row in zip(range(8), draw_rows(puzzle, 5, 64))]
    others = [row for _, row in zip(range(8), draw_rows(puzzle, 6, 64))]
    assert all(one != other for (one, _), (other, _) in zip(rows, others))


def test_letters_of_two_neighbours_differ():
    letters = [letter for _, letter in zip(range(200), answer_letters(0, 2))]
    assert all(first != second for first, second in itertools.pairwise(letters))


def test_the_very_same_pixels_are_not_drawn_twice(monkeypatch):
    """A puzzle of one picture, that a sheet draws in two places."""
    places = iter([0, 0, 0, 1])
    monkeypatch.setattr(smart_mini, "Sheet", lambda size, rng: Sheet(size, random.Random(next(places))))
    facts = PUZZLES[0].draw(random.Random(0))
    puzzle = dataclasses.replace(PUZZLES[0], draw=lambda _: facts)
    rows = [row for _, row in zip(range(4), draw_rows(puzzle, 0, 64))]
    assert [picture is None for _, picture in rows] == [False, True, False, True]
    assert rows[0][1] != rows[2][1]


def test_asked_again_nothing_is_drawn(folder, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(smart_mini, "draw_rows", None)
    manifest = write_smart_mini(folder, rows=ROWS, seed=1)
    assert manifest["pictures"] == len(list(folder.rglob("*.png"))) == len(PUZZLES) * ROWS // 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (dict(rows=10), "made with rows 40, not 10; choose another folder"),
        (dict(seed=2), "made with seed 1, not 2"),
        (dict(size=64), "made with size 128, not 64"),
    ],
)
def test_a_folder_made_otherwise_is_refused(folder, other, reason):
    with pytest.raises(VkitError, match=reason):
        write_smart_mini(folder, **{"rows": ROWS, "seed": 1, **other})


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(VkitError, match=r"holds something else and no manifest\.json"):
        write_smart_mini(tmp_path, rows=2)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_changed_folder_is_refused(tmp_path):
    write_smart_mini(tmp_path / "mini", rows=2, size=64)
    (tmp_path / "mini" / "2" / "img" / "puzzle_2_1.png").write_bytes(b"")
    with pytest.raises(VkitError, match="was changed since it was drawn"):
        write_smart_mini(tmp_path / "mini", rows=2, size=64)


def test_a_run_that_fails_leaves_nothing_and_a_killed_ones_rest_is_cleared(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(smart_mini, "png_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_smart_mini(tmp_path / "mini", rows=2, size=64)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".mini.part" / "1").mkdir(parents=True)
    (tmp_path / "mini").mkdir()  # empty: to be filled
    write_smart_mini(tmp_path / "mini", rows=2, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]
    assert not (tmp_path / "mini" / "1" / "1").exists()


@pytest.mark.parametrize("asked", [dict(rows=1), dict(rows=2001), dict(size=63), dict(size=2000)])
def test_what_is_out_of_range_is_refused(tmp_path, asked):
    with pytest.raises(VkitError, match=f"{next(iter(asked))} must be"):
        write_smart_mini(tmp_path / "mini", **asked)


def test_the_command_tells_what_it_drew_and_its_folder_passes_the_check(tmp_path):
    out = str(tmp_path / "mini")
    drawn = CliRunner().invoke(cli, ["data", "smart-mini", "--rows", "3", "--size", "64", "--out", out])
    assert drawn.exit_code == 0, drawn.output
    told = json.loads(drawn.stdout)
    assert (told["puzzles"], told["rows"], told["pictures"]) == (13, 3, 26)
    checked = CliRunner().invoke(cli, ["data", "check", out])
    assert (checked.exit_code, json.loads(checked.stdout)["good"]) == (0, 39)
