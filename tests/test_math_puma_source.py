"""Math-PUMA's records become pairs: whatever cannot be trained on is named, and nothing is half written."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from vkit.cli.data import check
from vkit.cli.data_import import pairs
from vkit.errors import VkitError
from vkit.records import BadRecord, Pair, read_pairs
from vkit.sources.math_puma import copied, in_place, scan_math_puma

GOOD = {
    "image_url": "a.png",
    "instruction": "<image>\nABC is a triangle, its angles are 50 and 60 degrees. Find x.",
    "output": "x = 70",
    "image_url_2": "deep/b.png",
    "instruction_2": "Find x.<image>",
    "output_2": "x = 70",
}


@pytest.fixture
def release(tmp_path):
    """A folder `puma` with pictures; the caller writes the records."""
    images = tmp_path / "puma" / "images"
    (images / "deep").mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(images / "a.png")
    Image.new("RGB", (8, 6), "blue").save(images / "deep" / "b.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "secret.png")
    return tmp_path / "puma"


def write(release, *records, lines=False):
    path = release / "stage2.json"
    texts = [text if isinstance(text, str) else json.dumps(text) for text in records]
    path.write_text("\n".join(texts) if lines else f"[{', '.join(texts)}]")
    return path


def scan(release, *records, lines=False):
    path = write(release, *records, lines=lines)
    return list(scan_math_puma(path, in_place(release / "images", release)))


def vkit(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("lines", [False, True])
def test_a_record_is_a_pair_of_twins_without_tags(release, lines):
    (pair,) = scan(release, GOOD, lines=lines)
    assert isinstance(pair, Pair)
    assert (pair.id, pair.response) == ("1", "x = 70")
    assert pair.text_rich.question == "ABC is a triangle, its angles are 50 and 60 degrees. Find x."
    assert pair.vision_rich.question == "Find x."
    assert (pair.text_rich.image, pair.vision_rich.image) == ("images/a.png", "images/deep/b.png")


@pytest.mark.parametrize("nothing", [{"image_url": ""}, {"image_url": None}, {}])
def test_the_text_rich_twin_may_have_no_picture(release, nothing):
    text_only = {key: value for key, value in GOOD.items() if key != "image_url"}
    (pair,) = scan(release, {**text_only, "instruction": "Find x in ABC.", **nothing})
    assert pair.text_rich.image is None


def test_the_vision_rich_twin_may_have_no_text(release):
    (pair,) = scan(release, {**GOOD, "instruction_2": "<image>"})
    assert pair.vision_rich.question == ""


def test_ids_are_kept_or_counted_and_other_keys_are_kept_in_meta(release):
    one, two = scan(release, {**GOOD, "id": 40, "origin": "GeoQA"}, GOOD)
    assert (one.id, two.id) == ("40", "2")
    assert one.text_rich.meta == one.vision_rich.meta == {"source": "math-puma", "origin": "GeoQA"}


BAD = [
    ({"output_2": "x = 71"}, "'output' and 'output_2' differ from character 6 on: '0' and '1'"),
    ({"output_2": "x = 70 "}, "differ from character 7 on: '' and ' '"),
    ({"output": " ", "output_2": " "}, "'output' must be text that is not empty"),
    ({"output_2": None}, "'output_2' must be text that is not empty"),
    ({"output": 70, "output_2": 70}, "'output' must be text"),
    ({"output": "<image>", "output_2": "<image>"}, "'output' holds <image>"),
    ({"image_url_2": ""}, "'image_url_2' is missing or empty"),
    ({"image_url_2": None}, "'image_url_2' is missing or empty"),
    ({"image_url_2": "c.png"}, "image 'c.png' is missing in"),
    ({"image_url_2": "deep"}, "image 'deep' is missing in"),
    ({"image_url": "c.png"}, "image 'c.png' is missing in"),
    ({"image_url_2": "../../secret.png"}, "outside its folder"),
    ({"image_url_2": "/etc/passwd"}, "outside its folder"),
    ({"image_url_2": "a\0.png"}, "outside its folder"),
    ({"image_url_2": ["a.png"]}, "'image_url_2' must be a path"),
    ({"instruction": None}, "'instruction' must be text, not null"),
    ({"instruction": "<image> "}, "'instruction' is empty"),
    ({"instruction_2": "<image><image>"}, "'instruction_2' holds <image> 2 times"),
    ({"image_url": ""}, "'instruction' holds <image> 1 times, but 'image_url' names none"),
    ({"instruction": "\ud83d"}, "half a character"),
    ({"id": ""}, "'id' is empty"),
    ({"Image_url_3": "a.png"}, "unknown key 'Image_url_3'"),
]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_bad_record_is_named_and_the_others_are_read(release, change, reason, lines):
    if change.get("image_url_2", "there") in ("", None):
        change = {**change, "instruction_2": "Find x."}
    first, bad, last = scan(release, GOOD, {**GOOD, **change}, GOOD, lines=lines)
    assert (first.id, last.id) == ("1", "3")
    assert isinstance(bad, BadRecord)
    assert bad.where.endswith("stage2.json:2" if lines else "stage2.json, item 2")
    assert reason in bad.reason
    assert "\n" not in bad.reason


def test_the_id_of_a_bad_record_is_told(release):
    (bad,) = scan(release, {**GOOD, "id": "puma-9", "output": ""})
    assert bad.reason.startswith("record 'puma-9': ")


def test_ids_must_be_unique(release):
    _, bad = scan(release, {**GOOD, "id": 2}, GOOD)  # the second is called by its place
    assert "'2' stands twice" in bad.reason


def test_a_line_that_is_no_json_is_named_and_the_others_are_read(release):
    bad, other, good = scan(release, '{"image_url":', "7", GOOD, lines=True)
    assert "not JSON" in bad.reason
    assert "not an object but int" in other.reason
    assert good.id == "3"


@pytest.mark.parametrize("text", ["", "  \n", "[]", "[ ]\n"])
def test_an_empty_release_is_refused(release, text):
    (release / "empty.json").write_text(text)
    with pytest.raises(VkitError, match="holds no records"):
        list(scan_math_puma(release / "empty.json", in_place(release / "images", release)))


def test_the_command_writes_pairs_that_check_finds_good(release):
    out = release / "pairs.jsonl"
    code, stdout, _ = vkit(pairs, write(release, GOOD, GOOD), "--images", release / "images", "--out", out)
    assert (code, json.loads(stdout)) == (0, {"path": str(out), "pairs": 2, "bad": 0})
    assert [pair.vision_rich.open_image().getpixel((0, 0)) for pair in read_pairs(out)] == [(0, 0, 255)] * 2
    code, stdout, _ = vkit(check, out)
    assert (code, json.loads(stdout)["images"]) == (0, 4)


def test_a_bad_record_stops_the_command_before_anything_is_written(release):
    source = write(release, GOOD, {**GOOD, "output": ""})
    before = sorted(release.rglob("*"))
    with pytest.raises(VkitError, match=r"item 2: record '2': 'output' must be .*; --skip-bad leaves"):
        vkit(pairs, source, "--images", release / "images", "--out", release / "pairs.jsonl")
    assert sorted(release.rglob("*")) == before


def test_bad_records_are_left_out_and_counted_on_demand(release):
    source = write(release, GOOD, {**GOOD, "output": ""}, GOOD)
    arguments = [source, "--images", release / "images", "--out", release / "pairs.jsonl", "--skip-bad"]
    code, stdout, stderr = vkit(pairs, *arguments)
    assert code == 0
    assert json.loads(stdout) == {"path": str(release / "pairs.jsonl"), "pairs": 2, "bad": 1}
    assert "stage2.json, item 2: record '2': 'output' must be" in stderr
    assert [pair.id for pair in read_pairs(release / "pairs.jsonl")] == ["1", "3"]


def test_where_no_record_is_good_nothing_is_written(release):
    source = write(release, {**GOOD, "output": ""})
    with pytest.raises(VkitError, match="holds no good record"):
        vkit(pairs, source, "--images", release / "images", "--out", release / "pairs.jsonl", "--skip-bad")
    assert not (release / "pairs.jsonl").exists()


def test_a_file_that_is_there_is_never_written_over(release):
    source = write(release, GOOD)
    before = source.read_bytes()
    with pytest.raises(VkitError, match="is there already"):
        vkit(pairs, source, "--images", release / "images", "--out", source)
    assert source.read_bytes() == before


def test_pictures_outside_the_written_files_folder_are_refused_or_copied(release, tmp_path):
    source, out = write(release, GOOD, GOOD), tmp_path / "elsewhere" / "pairs.jsonl"
    arguments = [source, "--images", release / "images", "--out", out]
    with pytest.raises(VkitError, match=r"lie outside .*--copy-images"):
        vkit(pairs, *arguments)
    assert not out.parent.exists()
    assert vkit(pairs, *arguments, "--copy-images")[0] == 0
    (release / "images").rename(release / "gone")
    assert vkit(check, out)[0] == 0
    copies = [path.relative_to(out.parent).as_posix() for path in out.parent.rglob("*.png")]
    assert sorted(copies) == ["images/a.png", "images/deep/b.png"]


def test_a_copy_goes_on_after_a_break_but_never_over_another_picture(release, tmp_path):
    pictures = copied(release / "images", tmp_path / "out")
    assert pictures("a.png") == pictures("a.png") == "images/a.png"
    Image.new("RGB", (8, 6), "green").save(tmp_path / "out" / "images" / "a.png")
    with pytest.raises(VkitError, match=r"images/a\.png is there and differs from"):
        pictures("a.png")


def test_a_link_out_of_the_folder_is_no_way_out(release, tmp_path):
    (release / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (bad,) = scan(release, {**GOOD, "image_url_2": "link.png"})
    assert "outside its folder" in bad.reason
    (release / "linked").symlink_to(tmp_path)
    with pytest.raises(VkitError, match="lie outside"):
        in_place(release / "linked", release)


def test_what_is_no_folder_of_images_is_refused(release):
    with pytest.raises(VkitError, match="is not a folder"):
        in_place(release / "none", release)
    with pytest.raises(VkitError, match="is not a folder"):
        copied(release / "images" / "a.png", release)


def test_help_shows_an_example():
    assert "vkit data pairs puma/stage2.json" in vkit(pairs, "--help")[1]
