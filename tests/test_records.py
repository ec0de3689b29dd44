"""Records: what is read is what was written, and whatever is wrong is named by file, line and reason."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vkit.errors import VkitError
from vkit.images import open_image
from vkit.records import (
    BadRecord,
    Pair,
    Sample,
    copy_picture,
    parse_pair,
    parse_sample,
    read_pairs,
    read_samples,
    scan_pairs,
    scan_samples,
    write_samples,
)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "problems.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


texts = st.text(st.characters(exclude_categories=["Cs"]))
samples = st.builds(
    Sample,
    id=texts.filter(bool),
    question=texts,
    choices=st.lists(texts, max_size=4).map(tuple),
    answer=st.none(),
    image=st.none() | texts.filter(bool),
    rationale=st.none() | texts.filter(bool),
    meta=st.dictionaries(texts, st.integers() | texts | st.none(), max_size=3),
)


def pair_of(text_rich: Sample, vision_rich: Sample, image: str, response: str) -> Pair:
    name = text_rich.id
    return Pair(name, text_rich, replace(vision_rich, id=name, image=image), response)


pairs = st.builds(pair_of, samples, samples, texts.filter(bool), texts.filter(str.strip))


@given(samples)
def test_a_sample_survives_json(sample):
    line = sample.to_json()
    assert "\n" not in line
    assert parse_sample(line, Path()) == sample


def test_a_file_survives_a_round_trip(tmp_path):
    written = [Sample("1", "Find x.", ("3", "4"), "B"), Sample("2", "Größe?", meta={"a": [1]})]
    write_samples(tmp_path / "out.jsonl", written)
    assert list(read_samples(tmp_path / "out.jsonl")) == written


@given(pairs)
def test_a_pair_survives_json(pair):
    line = pair.to_json()
    assert "\n" not in line
    assert parse_pair(line, Path()) == pair


def test_a_file_of_pairs_survives_a_round_trip(tmp_path):
    written = [
        Pair(name, Sample(name, "Find x in ABC.", ("3", "4"), "B"), Sample(name, "", image="b.png"), "x = 4")
        for name in ("1", "Größe")
    ]
    write_samples(tmp_path / "out.jsonl", written)
    read = list(read_pairs(tmp_path / "out.jsonl"))
    assert read == written
    assert {twin.folder for pair in read for twin in (pair.text_rich, pair.vision_rich)} == {tmp_path}


def test_a_file_whose_records_run_out_in_an_error_is_not_written(tmp_path):
    def records():
        yield Sample("1", "x")
        raise VkitError("the source broke")

    with pytest.raises(VkitError, match="the source broke"):
        write_samples(tmp_path / "out.jsonl", records())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ('{"question": "x"}', "'id' is missing"),
        ('{"id": "", "question": "x"}', "'id' is empty"),
        ('{"id": "1"}', "'question' is missing"),
        ('{"id": "1", "question": 3}', "'question' must be text"),
        ('{"id": "1", "question": null}', "'question' must be text"),
        ('{"id": "1", "question": "x", "choices": "AB"}', "list of texts"),
        ('{"id": "1", "question": "x", "choices": ["3", "4"], "answer": "C"}', "one of the 2 choices"),
        ('{"id": "1", "question": "x", "choices": ["3", "4"], "answer": ""}', "one of the 2 choices"),
        ('{"id": "1", "question": "x", "meta": []}', "'meta' must be an object"),
        ('{"id": "1", "question": "x", "picture": "a.png"}', "unknown key 'picture'"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, line, reason):
    path = write(tmp_path, '{"id": "a", "question": "x"}', line, '{"id": "b", "question": "y"}')
    first, bad, last = scan_samples(path)
    assert (first.id, last.id) == ("a", "b")
    assert isinstance(bad, BadRecord)
    assert bad.where == f"{path}:2"
    assert reason in bad.reason
    with pytest.raises(VkitError, match=r":2: .*vkit data check"):
        list(read_samples(path))


def test_ids_must_be_unique(tmp_path):
    path = write(tmp_path, '{"id": "a", "question": "x"}', '{"id": "a", "question": "y"}')
    assert "stands twice" in list(scan_samples(path))[1].reason


PAIR = {
    "id": "p",
    "text_rich": {"question": "Find x in ABC."},
    "vision_rich": {"question": "", "image": "b.png"},
    "response": "3",
}


def pair_line(left_out: str = "", **changes) -> str:
    return json.dumps({key: value for key, value in {**PAIR, **changes}.items() if key != left_out})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "not an object"),
        (pair_line("id"), "'id' is missing"),
        (pair_line("text_rich"), "'text_rich' is missing"),
        (pair_line("vision_rich"), "'vision_rich' is missing"),
        (pair_line("response"), "'response' is missing"),
        (pair_line(id=""), "'id' is empty"),
        (pair_line(id=[1]), "'id' must be text, not [1]"),
        (pair_line(response=" \n"), "'response' must be text that is not empty"),
        (pair_line(response=3), "'response' must be text that is not empty"),
        (pair_line(meta={}), "unknown key 'meta'"),
        (pair_line(text_rich="Find x."), "'text_rich' must be an object"),
        (pair_line(text_rich={"id": "q", "question": "x"}), "'text_rich' has an id of its own"),
        (pair_line(text_rich={}), "text_rich: key 'question' is missing"),
        (pair_line(vision_rich={"question": "", "img": "b.png"}), "vision_rich: unknown key 'img'"),
        (pair_line(vision_rich={"question": "x"}), "vision_rich has no image"),
        (pair_line(vision_rich={"question": "x", "image": None}), "vision_rich has no image"),
        (pair_line(response="\ud83d"), "half a character"),
    ],
)
def test_a_bad_pair_is_named_and_the_others_are_read(tmp_path, line, reason):
    path = write(tmp_path, pair_line(id="a"), line, pair_line(id="b"))
    first, bad, last = scan_pairs(path)
    assert (first.id, last.id) == ("a", "b")
    assert bad.where == f"{path}:2"
    assert reason in bad.reason
    with pytest.raises(VkitError, match=r":2: .*vkit data check"):
        list(read_pairs(path))


HALVES = [r"\ud800", r"\uD800", r"\uDC00\ud800", r"\\\uDbFF", r"\u0041\udfff"]
WHOLE = {r"\ud83d\uDE00": "\U0001f600", r"\\ud800": r"\ud800", r"\u0041": "A", "\U0001f600": "\U0001f600"}


@pytest.mark.parametrize("place", ["id", "question", "meta", "key"])
@pytest.mark.parametrize("spelt", HALVES)
def test_half_a_character_is_refused_however_it_is_spelt(place, spelt):
    line = json.dumps({"id": "1", "question": "x", "meta": {"key": ["value"]}})
    for old, new in {"id": ': "1"', "question": '"x"', "meta": '"value"', "key": '"key"'}.items():
        if old == place:
            line = line.replace(new, new[:-1] + spelt + '"')
    for parse, text in ((parse_sample, line), (parse_pair, pair_line(text_rich=None).replace("null", line))):
        with pytest.raises(VkitError, match="half a character"):
            parse(text, Path())


@pytest.mark.parametrize(("spelt", "text"), WHOLE.items())
def test_whole_characters_may_be_spelt_as_one_likes(spelt, text):
    assert parse_sample(f'{{"id": "1", "question": "{spelt}"}}', Path()).question == text


def test_the_twins_have_the_pairs_id(tmp_path):
    pair = parse_pair(pair_line(id=7), tmp_path)
    assert pair.id == pair.text_rich.id == pair.vision_rich.id == "7"


def test_missing_empty_and_binary_files_are_told(tmp_path):
    with pytest.raises(VkitError, match="cannot be read"):
        list(scan_samples(tmp_path / "none.jsonl"))
    with pytest.raises(VkitError, match="holds no records"):
        list(scan_samples(write(tmp_path, "", "  ")))
    (tmp_path / "image.jsonl").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(VkitError, match="not UTF-8"):
        list(scan_samples(tmp_path / "image.jsonl"))


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "a\0.png"]
)
def test_images_outside_the_folder_are_refused(tmp_path, path):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(VkitError, match=r"record '1': image .* outside its folder"):
        Sample("1", "x", image=path, folder=folder).open_image()


def test_a_corrupt_image_is_refused_with_its_name(tmp_path):
    Image.new("RGB", (400, 400), "red").save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(VkitError, match=f"{name} cannot be read"):
            open_image(tmp_path / name)
    with pytest.raises(VkitError, match=r"none\.png is missing"):
        open_image(tmp_path / "none.png")


def test_an_image_over_the_limit_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (3000, 3000)).save(tmp_path / "large.png")
    with pytest.raises(VkitError, match=r"3000 x 3000 pixels, over the limit of 1000000"):
        open_image(tmp_path / "large.png", pixel_limit=1_000_000)


def test_transparent_pixels_are_white_and_rotation_is_applied(tmp_path):
    Image.new("RGBA", (4, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (2, 4)


def test_numbers_serve_as_ids():
    assert parse_sample(json.dumps({"id": 7, "question": "x"}), Path()).id == "7"


def test_choices_beyond_z_have_no_letters():
    line = json.dumps({"id": "1", "question": "?", "choices": ["x"] * 27})
    with pytest.raises(VkitError, match="27 choices have no letters; give at most 26"):
        parse_sample(line, Path())


def test_a_grey_picture_of_16_bits_keeps_its_greys(tmp_path):
    grey = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "grey.png"))[..., 0], grey // 257)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_picture_whose_white_is_not_known_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4), 1).save(tmp_path / "deep.tif")
    with pytest.raises(VkitError, match=r"deep.tif has 32 bits a pixel.*convert it"):
        open_image(tmp_path / "deep.tif")


def test_a_copied_picture_is_the_one_that_was_read_whatever_lies_there(tmp_path):
    folder, data = tmp_path / "out", b"not looked into"
    (folder / "images").mkdir(parents=True)
    (tmp_path / "a.PNG").write_bytes(data)
    sample, digest = Sample("1", "", image="a.PNG", folder=tmp_path), hashlib.sha256(data).hexdigest()
    name = copy_picture(sample, digest, folder)
    (folder / name).write_bytes(b"junk")
    assert copy_picture(sample, digest, folder) == name == f"images/{digest[:32]}.png"
    assert (folder / name).read_bytes() == data
    (tmp_path / "a.PNG").write_bytes(b"another")
    (folder / name).unlink()
    with pytest.raises(VkitError, match="changed while it was read"):
        copy_picture(sample, digest, folder)
