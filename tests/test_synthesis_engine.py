"""The data engine: same seed, same bytes, however many workers, wherever it was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from vkit.cli.main import cli
from vkit.errors import VkitError
from vkit.records import read_pairs, read_samples
from vkit.synthesis import lanes
from vkit.synthesis.candidates import Recipe, draw_candidate, is_for_testing
from vkit.synthesis.drawn import VERSIONS
from vkit.synthesis.engine import synthesize
from vkit.synthesis.pairs import PAIRED

ROOT = Path(__file__).resolve().parent.parent
PLANE = dict(subjects=("plane",), size=224)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Forty pairs and four held-out problems, drawn by one process."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    return folder, synthesize(folder, pairs=40, tests=4, seed=3, **PLANE)


def test_pairs_are_records_with_images_and_equal_answers(drawn):
    pairs = list(read_pairs(drawn[0] / "pairs.jsonl"))
    assert len(pairs) == 40
    for pair in pairs:
        rich, vision = pair.text_rich, pair.vision_rich
        names = rich.meta["version"], vision.meta["version"]
        assert VERSIONS.index(names[0]) < VERSIONS.index(names[1])
        assert set(names) <= set(PAIRED)
        assert (rich.choices, rich.answer) == (vision.choices, vision.answer)
        assert pair.response.endswith(f"Answer: {rich.answer}")
        assert (rich.image is None) == (names[0] == "text-only")
        assert vision.open_image().width == 224
        assert (vision.question == "") == (names[1] == "vision-only")


def test_no_problem_stands_twice_and_none_is_held_out(drawn):
    problems = [pair.text_rich.meta["problem"] for pair in read_pairs(drawn[0] / "pairs.jsonl")]
    tests = list(read_samples(drawn[0] / "test.jsonl"))
    assert len(set(problems)) == 40
    assert len({sample.meta["problem"] for sample in tests}) == 4
    assert not {sample.meta["problem"] for sample in tests} & set(problems)
    keys = [
        draw_candidate(Recipe(**PLANE), split, "plane", n).drawn.key for n in range(8) for split in ("train",)
    ]
    assert not any(map(is_for_testing, keys))


def test_held_out_problems_come_in_five_versions_with_one_answer(drawn):
    samples = list(read_samples(drawn[0] / "test.jsonl"))
    for start in range(0, 20, 5):
        group = samples[start : start + 5]
        assert tuple(sample.meta["version"] for sample in group) == VERSIONS
        assert len({(sample.choices, sample.answer, sample.meta["problem"]) for sample in group}) == 1
        assert [sample.image is None for sample in group] == [True, False, False, False, False]


def test_the_manifest_counts_what_was_drawn(drawn):
    folder, manifest = drawn
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["complete"]
    assert sum(manifest["pairs"]["by_family"].values()) == 40
    assert sum(manifest["pairs"]["by_version"].values()) == 40
    assert max(manifest["pairs"]["by_family"].values()) - min(manifest["pairs"]["by_family"].values()) <= 2
    assert manifest["tests"]["by_version"] == dict.fromkeys(VERSIONS, 4)


def test_two_workers_draw_the_same_bytes(drawn, tmp_path):
    synthesize(tmp_path / "two", pairs=40, tests=4, seed=3, workers=2, **PLANE)
    assert contents(tmp_path / "two") == contents(drawn[0])


def test_another_seed_draws_other_problems(drawn, tmp_path):
    synthesize(tmp_path / "other", pairs=5, seed=4, **PLANE)
    ours = {pair.text_rich.meta["problem"] for pair in read_pairs(drawn[0] / "pairs.jsonl")}
    theirs = {pair.text_rich.meta["problem"] for pair in read_pairs(tmp_path / "other" / "pairs.jsonl")}
    assert len(ours & theirs) <= 1


def test_a_data_set_grows_to_what_it_would_have_been(drawn, tmp_path):
    synthesize(tmp_path / "grown", pairs=17, tests=1, seed=3, **PLANE)
    synthesize(tmp_path / "grown", pairs=40, tests=4, seed=3, **PLANE)
    assert contents(tmp_path / "grown") == contents(drawn[0])


def test_torn_files_are_mended(drawn, tmp_path):
    """A kill in the middle of a line, between the five records of a problem, and before an image."""
    folder = tmp_path / "torn"
    synthesize(folder, pairs=40, tests=4, seed=3, **PLANE)
    whole = (folder / "pairs.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "pairs.jsonl").write_bytes(b"".join(whole[:31]) + whole[31][:100])
    tests = (folder / "test.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "test.jsonl").write_bytes(b"".join(tests[:7]))
    for picture in sorted((folder / "images").rglob("*.png"))[-20:]:
        if "tests" in str(picture) and int(picture.stem.split("-")[2]) > 1:
            picture.unlink()
    synthesize(folder, pairs=40, tests=4, seed=3, **PLANE)
    assert contents(folder) == contents(drawn[0])


def test_a_killed_run_goes_on_to_the_same_bytes(drawn, tmp_path):
    folder = tmp_path / "killed"
    code = (
        "from pathlib import Path; from vkit.synthesis.engine import synthesize\n"
        "if __name__ == '__main__':\n"
        f"    synthesize(Path({str(folder)!r}), pairs=40, tests=4, seed=3, workers=2, "
        "subjects=('plane',), size=224)"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    file = folder / "pairs.jsonl"
    while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") > 8):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    synthesize(folder, pairs=40, tests=4, seed=3, **PLANE)
    assert contents(folder) == contents(drawn[0])


def test_a_folder_of_another_recipe_is_refused(drawn, tmp_path):
    with pytest.raises(VkitError, match="was made with seed 3, not 5; choose another folder"):
        synthesize(drawn[0], pairs=40, tests=4, seed=5, **PLANE)
    with pytest.raises(VkitError, match="was made for 40 pairs, not 10"):
        synthesize(drawn[0], pairs=10, tests=4, seed=3, **PLANE)
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(VkitError, match="holds something else"):
        synthesize(tmp_path, pairs=1, **PLANE)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (dict(subjects=("plain",)), "no subject 'plain'; known: plane, solid, functions"),
        (dict(subjects=("plane",), families=("squares",)), "no family 'squares'"),
        (dict(subjects=("plane",), size=20), "pictures of 20 pixels"),
        (dict(subjects=("plane",), versions=("vision-only", "text-only")), "text-rich version first"),
        (dict(subjects=("plane",), versions=("text", "vision-only")), "no version 'text'"),
        (dict(subjects=("plane", "plane")), "each subject once"),
        (dict(subjects=("plane",), preset="miniature"), "has its own problems"),
        (dict(preset="huge"), "no preset 'huge'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(recipe, message, tmp_path):
    with pytest.raises(VkitError, match=message):
        synthesize(tmp_path / "no", pairs=1, **recipe)
    assert not (tmp_path / "no").exists()


def test_every_pair_is_of_the_versions_asked_for(tmp_path):
    synthesize(tmp_path / "fixed", pairs=4, versions=("text-lite", "vision-dominant"), **PLANE)
    pairs = list(read_pairs(tmp_path / "fixed" / "pairs.jsonl"))
    assert {(p.text_rich.meta["version"], p.vision_rich.meta["version"]) for p in pairs} == {
        ("text-lite", "vision-dominant")
    }


def test_exhausted_families_say_so_and_keep_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 3)
    recipe = dict(subjects=("plane",), families=("angles of polygons",), size=224)
    monkeypatch.setattr(lanes, "draw_candidate", lambda *a: draw_candidate(*a[:-1], a[-1] % 2))
    with pytest.raises(VkitError, match="'plane' has only 2 different problems"):
        synthesize(tmp_path / "few", pairs=5, **recipe)
    assert len(list(read_pairs(tmp_path / "few" / "pairs.jsonl"))) == 2


def test_the_miniature_preset_draws_its_own_problems(tmp_path):
    synthesize(tmp_path / "mini", pairs=6, tests=2, preset="miniature")
    pairs = list(read_pairs(tmp_path / "mini" / "pairs.jsonl"))
    assert len(pairs) == 6
    assert pairs[0].vision_rich.open_image().size == (64, 64)
    assert len(list(read_samples(tmp_path / "mini" / "test.jsonl"))) == 10


def test_the_command_draws_and_summarises(tmp_path):
    out = tmp_path / "cli"
    arguments = [
        "data",
        "synthesize",
        "--pairs",
        "3",
        "--family",
        "chords",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs"]["by_family"] == {"chords": 3}
    assert CliRunner().invoke(cli, ["data", "check", str(out / "pairs.jsonl")]).exit_code == 0
