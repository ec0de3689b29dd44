"""Augmentation never breaks a problem; text becomes a picture; whole files are made whole, and resumed."""

import json
import random
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from vkit.cli import data_pairs
from vkit.errors import VkitError
from vkit.records import Pair, Sample, read_pairs, read_samples, write_samples
from vkit.synthesis.augment import ALLOWED, SCALE, STRETCH, augment, augment_sample
from vkit.synthesis.augment_files import augment_file, render_file
from vkit.synthesis.augment_text import text_to_pair


def square(paper: str = "white", ink: str = "black") -> Image.Image:
    """A square of 100 pixels on paper of 160 by 140."""
    picture = Image.new("RGB", (160, 140), paper)
    ImageDraw.Draw(picture).rectangle((30, 20, 129, 119), outline=ink, width=3)
    return picture


def drawn(picture: Image.Image) -> tuple[int, int]:
    """Width and height of what is dark."""
    dark = np.asarray(picture.convert("L")) < 128
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


# One picture.


@pytest.mark.parametrize("seed", range(20))
def test_a_square_stays_a_square_unless_it_may_be_stretched(seed):
    picture, done = augment(square(), random.Random(seed), "similarity")
    width, height = drawn(picture)
    assert abs(width - height) <= 1
    assert width == pytest.approx(100 * done["scale"], abs=2)
    assert SCALE[0] <= done["scale"] <= SCALE[1]
    assert set(done) == {"gamma", "scale"}


@pytest.mark.parametrize("seed", range(20))
def test_a_stretch_is_as_large_as_it_says(seed):
    picture, done = augment(square(), random.Random(seed), "stretch")
    width, height = drawn(picture)
    assert width / height == pytest.approx(done["stretch"], abs=0.04)
    assert 1 / STRETCH <= done["stretch"] <= STRETCH


def test_stretches_differ():
    ratios = [augment(square(), random.Random(seed), "stretch")[1]["stretch"] for seed in range(30)]
    assert min(ratios) < 0.9
    assert max(ratios) > 1.1


@pytest.mark.parametrize("seed", range(5))
def test_without_geometry_black_and_white_stay_where_they_are(seed):
    picture, done = augment(square(), random.Random(seed), "none")
    assert picture.tobytes() == square().tobytes()
    assert set(done) == {"gamma"}


@pytest.mark.parametrize("seed", range(5))
def test_gamma_bends_the_tones_between_black_and_white(seed):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert("RGB")
    picture, done = augment(ramp, random.Random(seed), "none")
    tones = np.asarray(picture)[0, :, 0].astype(int)
    assert (tones[0], tones[-1]) == (0, 255)
    assert (np.diff(tones) >= 0).all()
    np.testing.assert_allclose(tones, 255 * (np.arange(256) / 255) ** done["gamma"], atol=0.5)


@pytest.mark.parametrize("allowed", ["similarity", "stretch"])
def test_nothing_is_cut_off(allowed):
    frame = Image.new("RGB", (90, 60), "white")
    ImageDraw.Draw(frame).rectangle((1, 1, 88, 58), fill="black")
    for seed in range(20):
        picture, done = augment(frame, random.Random(seed), allowed)
        wider = done.get("stretch", 1) ** 0.5
        expected = (88 * done["scale"] * wider, 58 * done["scale"] / wider)
        assert drawn(picture) == pytest.approx(expected, abs=2)


def test_a_smaller_drawing_stands_on_its_own_paper():
    smaller = next(seed for seed in range(50) if augment(square(), random.Random(seed))[1]["scale"] < 0.8)
    board, _ = augment(square("#003300", "white"), random.Random(smaller))
    assert board.size == (160, 140)
    corners = {board.getpixel(corner) for corner in ((0, 0), (159, 0), (0, 139), (159, 139))}
    assert len(corners) == 1
    assert max(corners.pop()) < 100


def test_the_same_seed_gives_the_same_pixels_and_another_others():
    first, again, other = (augment(square(), random.Random(seed), "stretch")[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert (first.size, first.tobytes()) != (other.size, other.tobytes())


def test_unknown_transforms_are_refused():
    with pytest.raises(VkitError, match="'rotate' are not known; give one of none, similarity, stretch"):
        augment(square(), random.Random(0), "rotate")


# A record's picture.


def sample(folder: Path, **fields) -> Sample:
    square().save(folder / "square.png")
    return Sample(**{"id": "s", "question": "Find x.", "image": "square.png", "folder": folder, **fields})


@pytest.mark.parametrize("allowed", ALLOWED)
def test_a_record_says_what_it_allows(tmp_path, allowed):
    _, done = augment_sample(sample(tmp_path, meta={"transforms": allowed}), random.Random(0))
    assert len(done) == 1 + ALLOWED.index(allowed)


def test_a_record_that_says_nothing_is_not_stretched(tmp_path):
    for seed in range(10):
        assert "stretch" not in augment_sample(sample(tmp_path), random.Random(seed))[1]


@pytest.mark.parametrize("meta", ["shear", None, ["stretch"]])
def test_a_record_that_allows_something_unknown_is_refused_by_id(tmp_path, meta):
    with pytest.raises(VkitError, match="record 's': meta 'transforms'"):
        augment_sample(sample(tmp_path, meta={"transforms": meta}), random.Random(0))


def test_a_record_without_picture_is_refused_by_id():
    with pytest.raises(VkitError, match="record 's' has no image"):
        augment_sample(Sample("s", "Find x."), random.Random(0))


# Text to a pair.


TEXT = Sample("t/1", "Find $x^2$ if x = 3.", ("6", "9"), "B", rationale="3 · 3 = 9. Answer: B", meta={"k": 1})


def test_text_becomes_the_vision_rich_twin():
    pair, pictures = text_to_pair(TEXT, stem="images/7")
    assert pair.id == pair.text_rich.id == pair.vision_rich.id == "t/1"
    assert (pair.text_rich.question, pair.text_rich.image) == (TEXT.question, None)
    assert (pair.vision_rich.question, pair.vision_rich.image) == ("", "images/7-vision.png")
    assert pair.response == TEXT.rationale
    for twin in (pair.text_rich, pair.vision_rich):
        assert (twin.choices, twin.answer, twin.meta["k"]) == (TEXT.choices, "B", 1)
        assert twin.rationale is None  # it is the response
    assert list(pictures) == ["images/7-vision.png"]
    assert Image.open(BytesIO(pictures["images/7-vision.png"])).width == 336


def test_a_picture_of_letters_alone_may_be_stretched():
    assert text_to_pair(TEXT, stem="i")[0].vision_rich.meta["transforms"] == "stretch"


def test_the_choices_stand_in_the_picture():
    bare = Sample("t", TEXT.question, rationale="9")
    heights = [Image.open(BytesIO(text_to_pair(s, stem="i")[1]["i-vision.png"])).height for s in (bare, TEXT)]
    assert heights[1] > heights[0] + 32


def test_the_diagram_stands_under_the_text_in_its_own_shape(tmp_path):
    wide = Image.new("RGB", (800, 400), "red")
    wide.save(tmp_path / "wide.png")
    problem = sample(tmp_path, image="wide.png", rationale="9", meta={"transforms": "none"})
    pair, pictures = text_to_pair(problem, stem="i", width=216, margin=8)
    picture = np.asarray(Image.open(BytesIO(pictures["i-vision.png"])))
    red = (picture == (255, 0, 0)).all(2)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (len(columns), len(rows)) == (200, 100)
    assert (picture[: rows[0]].min(2) < 100).any()  # the text, over it
    assert pair.vision_rich.meta["transforms"] == "none"
    assert Image.open(BytesIO(pictures[pair.text_rich.image])).tobytes() == wide.tobytes()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rationale": None}, "record 'q' has no rationale"),
        ({"rationale": " "}, "record 'q' has no rationale"),
        ({"question": ""}, "record 'q' has no question"),
        ({"question": r"\foo"}, r"record 'q': LaTeX command \\foo"),
        ({"choices": ("中",)}, "record 'q': character '中'"),
        ({"image": "none.png"}, "record 'q': image .* is missing"),
    ],
)
def test_what_makes_no_pair_is_refused_by_id(fields, reason):
    with pytest.raises(VkitError, match=reason):
        text_to_pair(Sample(**{"id": "q", "question": "Find x.", "rationale": "9", **fields}), stem="i")


# Whole files.


def problems(folder: Path, *more: Sample) -> Path:
    folder.mkdir()
    square().save(folder / "square.png")
    records = [
        Sample("a", "Find x.", ("1", "2"), "A", rationale="1"),
        Sample("b", "Find y.", answer="5", rationale="5", image="square.png"),
        Sample("c", "Find z.", rationale="7"),
        *more,
    ]
    write_samples(folder / "problems.jsonl", records)
    return folder / "problems.jsonl"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pairs(folder: Path) -> Path:
    return Path(render_file(problems(folder / "source"), folder / "pairs")["path"])


def test_a_rendered_file_holds_pairs_with_their_pictures(tmp_path):
    summary = render_file(problems(tmp_path / "in"), tmp_path / "out", width=200)
    assert summary == {"path": str(tmp_path / "out" / "pairs.jsonl"), "records": 3, "bad": 0}
    made = list(read_pairs(tmp_path / "out" / "pairs.jsonl"))
    assert [pair.id for pair in made] == ["a", "b", "c"]
    assert all(pair.vision_rich.open_image().width == 200 for pair in made)
    assert made[1].text_rich.open_image().tobytes() == square().tobytes()


def test_copies_of_pairs_keep_texts_and_response(tmp_path):
    path = pairs(tmp_path)
    originals = {pair.id: pair for pair in read_pairs(path)}
    summary = augment_file(path, tmp_path / "out", copies=2, seed=3)
    assert summary["records"] == 6
    made: list[Pair] = list(read_pairs(tmp_path / "out" / "pairs.jsonl"))
    assert [pair.id for pair in made] == ["a~1", "a~2", "b~1", "b~2", "c~1", "c~2"]
    for pair in made:
        original = originals[pair.id[:1]]
        assert pair.response == original.response
        for twin, before in ((pair.text_rich, original.text_rich), (pair.vision_rich, original.vision_rich)):
            assert (twin.question, twin.choices, twin.answer) == (
                before.question,
                before.choices,
                before.answer,
            )
            assert (twin.image is None) == (before.image is None)
            if twin.image:
                twin.open_image()
                assert ("stretch" in twin.meta["augmentation"]) == (
                    before.meta.get("transforms") == "stretch"
                )
    views = {pair.vision_rich.open_image().tobytes() for pair in made}
    assert len(views) == 6


def test_copies_of_samples_are_samples(tmp_path):
    from vkit.synthesis.sketches import write_sketches

    path = write_sketches(tmp_path / "in", 2, seed=0)
    originals = {s.id: s for s in read_samples(path)}
    summary = augment_file(path, tmp_path / "out", copies=1, seed=0)
    assert Path(summary["path"]).name == "problems.jsonl"
    for made in read_samples(Path(summary["path"])):
        before = originals[made.id.removesuffix("~1")]
        assert (made.answer, made.rationale, made.question) == (
            before.answer,
            before.rationale,
            before.question,
        )
        made.open_image()


@pytest.mark.parametrize("command", ["render", "augment"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, command):
    path = problems(tmp_path / "in") if command == "render" else pairs(tmp_path)

    def run(folder: Path):
        if command == "render":
            render_file(path, folder)
        else:
            augment_file(path, folder, copies=2, seed=0)

    run(tmp_path / "whole")
    run(tmp_path / "killed")
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    file = tmp_path / "killed" / "pairs.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:20])  # in the middle of the second record
    kept = json.loads(lines[0])["vision_rich"]["image"]
    for picture in (tmp_path / "killed").rglob("*.png"):
        if not picture.as_posix().endswith(kept):
            picture.unlink()
    before = (tmp_path / "killed" / kept).stat().st_mtime_ns
    run(tmp_path / "killed")
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    assert (tmp_path / "killed" / kept).stat().st_mtime_ns == before  # what was done is not done again


def test_a_folder_of_other_settings_is_refused(tmp_path):
    path = problems(tmp_path / "in")
    render_file(path, tmp_path / "out", width=200)
    with pytest.raises(VkitError, match="made with another width"):
        render_file(path, tmp_path / "out", width=300)
    path.write_text(path.read_text().replace("Find z", "Find w"))
    with pytest.raises(VkitError, match="made with another source"):
        render_file(path, tmp_path / "out", width=200)


def test_files_of_others_are_not_touched(tmp_path):
    path = pairs(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pairs.jsonl").write_text("{}\n")
    with pytest.raises(VkitError, match="was not made by this command"):
        render_file(tmp_path / "source" / "problems.jsonl", tmp_path / "mine")
    assert (tmp_path / "mine" / "pairs.jsonl").read_text() == "{}\n"
    with pytest.raises(VkitError, match=r"holds pairs\.jsonl and its pictures"):
        augment_file(path, path.parent, copies=1, seed=0)


BAD = Sample("bad", r"Find \foo.", rationale="1")


def test_a_bad_record_stops_the_run_or_is_told_and_counted(tmp_path):
    path = problems(tmp_path / "in", BAD)
    with path.open("a") as file:
        file.write('{"id": 3\n')
    with pytest.raises(VkitError, match=r"'bad': LaTeX command \\foo.*--skip-bad"):
        render_file(path, tmp_path / "out")
    told: list[str] = []
    summary = render_file(path, tmp_path / "out", skip_bad=True, report=told.append)
    assert (summary["records"], summary["bad"]) == (3, 2)
    assert "'bad'" in told[0]
    assert "problems.jsonl:5" in told[1]


def test_a_sample_without_picture_has_no_views(tmp_path):
    path = problems(tmp_path / "in")
    with pytest.raises(VkitError, match="record 'a' has no image"):
        augment_file(path, tmp_path / "out", copies=2, seed=0)
    summary = augment_file(path, tmp_path / "out", copies=2, seed=0, skip_bad=True, report=lambda line: None)
    assert (summary["records"], summary["bad"]) == (2, 2)


# The commands.


def test_the_commands_tell_their_result_as_json(tmp_path):
    path = problems(tmp_path / "in", BAD)
    run = CliRunner().invoke
    first = run(data_pairs.render, [str(path), "--out", str(tmp_path / "pairs"), "--skip-bad"])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["bad"] == 1
    assert "left out: record 'bad'" in first.stderr
    made = json.loads(first.stdout)["path"]
    second = run(data_pairs.augment, [made, "--copies", "3", "--seed", "1", "--out", str(tmp_path / "more")])
    assert second.exit_code == 0, second.output
    assert json.loads(second.stdout)["records"] == 9


@pytest.mark.parametrize("command", [data_pairs.render, data_pairs.augment])
def test_help_shows_an_example(command):
    assert f"vkit data {command.name} " in CliRunner().invoke(command, ["--help"]).output
