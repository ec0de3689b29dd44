"""What the page promises without a browser: every figure of the run, files that survive a kill, no way in."""

import base64
import hashlib
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from fake_run import HOSTILE, fake_item, grid_boxes, write_details, write_fake_run, write_items
from PIL import Image

from vkit.attention import run_folder
from vkit.cli.report import command
from vkit.errors import VkitError
from vkit.report import page_files, page_items
from vkit.report.page import RANDOM_WEIGHTS, write_page

KEY = r"\d+-\d+-[0-9a-f]{12}"


class Elements(html.parser.HTMLParser):
    """The start tags of a page with their attributes, and the texts of its title, style, script and data."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.inside = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = "data" if ("id", "data") in attributes else tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("title", "style", "script", "data"):
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


@pytest.fixture
def run(tmp_path):
    return write_fake_run(tmp_path / "run")


def written(runs, **options):
    page = write_page(runs, **options)
    return page, page.path.read_text(encoding="utf-8")


def data_of(page):
    return json.loads(Elements(page.path.read_text(encoding="utf-8")).texts["data"])


def records(run):
    return [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]


def item_of(page, row):
    """An item as the page gets it: from itself, or from its file."""
    if page.files is None:
        return data_of(page)["embedded"][row["key"]]
    text = (page.files / f"{row['key']}.js").read_text(encoding="ascii")
    assert text.startswith(f'vkitItem("{row["key"]}",')
    assert text.endswith(");\n")
    return json.loads(text[len(f'vkitItem("{row["key"]}",') : -3])


def short(values):
    return [None if value is None else float(f"{value:.7g}") for value in values]


# ---- What it holds ----


@pytest.mark.parametrize("single_file", [True, False])
def test_the_page_holds_every_item_as_it_stands_in_the_run(run, single_file):
    page = write_page(run, single_file=single_file)
    assert (page.path, page.items) == (run / "index.html", 5)
    assert page.files == (None if single_file else run / "index_files")
    entries = data_of(page)["items"]
    for entry, record in zip(entries, records(run), strict=True):
        (row,) = entry["runs"]
        item = item_of(page, row)
        assert entry["id"] == record["id"]
        assert item["tokens"] == record["output_tokens"]
        for key in ("id", "question", "choices", "answer", "extracted", "correct"):
            assert item[key] == record[key]
        for key in ("V", "P", "ratio"):
            assert item[key] == short(record[key])
        for name in run_folder.SHARES:
            assert item["shares"][name] == short(record["shares"].get(name, []))


def test_a_row_of_the_table_says_what_the_item_says(run):
    rows = [entry["runs"][0] for entry in data_of(write_page(run))["items"]]
    for row, record in zip(rows, records(run), strict=True):
        assert re.fullmatch(KEY, row["key"])
        assert (row["correct"], row["length"]) == (record["correct"], len(record["output_tokens"]))
        assert row["ratio"] == (record["reduced"] and pytest.approx(record["reduced"]["mean"], rel=1e-6))
        for key, values in (
            ("V", record["V"]),
            ("P", record["P"]),
            ("image", record["shares"].get("image")),
            ("first", record["shares"].get("first_token")),
        ):
            assert row[key] == (pytest.approx(np.mean(values), rel=1e-6) if values else None)
    assert rows[4]["length"] == rows[4]["steps"] == 0
    assert rows[0]["steps"] == 3, "a first line and two numbered steps"


def test_steps_heads_and_layers_stand_as_in_the_run(run):
    page = write_page(run)
    rows = [entry["runs"][0] for entry in data_of(page)["items"]]
    items = [item_of(page, row) for row in rows]
    for item, row in zip(items, rows):
        assert len(item["steps"]) == row["steps"]
        assert [j for start, end in item["steps"] for j in range(start, end)] == [*range(row["length"])]
    assert items[1]["heads"] is None
    for item, record in ((items[0], records(run)[0]), (items[2], records(run)[2])):
        heads, details = item["heads"], run_folder.read_details(run, record)
        for name, top, expected in (
            ("share", "top", details.head_share),
            ("byLayer", "layerTop", details.layer_share),
        ):
            levels = np.frombuffer(base64.b64decode(heads[name]), np.uint8).reshape(expected.shape)
            np.testing.assert_allclose(levels / 255 * heads[top], expected, atol=heads[top] / 500)
        assert (heads["layers"], heads["heads"]) == (32, 32)


def test_image_tokens_without_a_place_are_counted_and_an_item_with_none_placed_has_no_overlay(run):
    def unplaced():
        page = write_page(run)
        items = [item_of(page, entry["runs"][0]) for entry in data_of(page)["items"]]
        return [item["map"] and item["map"]["unplaced"] for item in items]

    assert unplaced() == [27 * 27 - 27 * 21, None, 1, None, None]
    rewrite_maps(run, boxes=np.full((729, 4), np.nan))
    assert unplaced()[0] is None


def test_the_colour_scale_of_all_items_lies_between_percentiles_of_all_runs(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    items = records(other)
    for item in items:
        item["ratio"] = [None if value is None else 3 * value for value in item["ratio"]]
    write_items(other, items)
    runs = data_of(write_page([run, other], out=tmp_path / "both.html"))["runs"]
    ratios = [value for item in records(run) + items for value in item["ratio"] if value is not None]
    for each in runs:
        assert [each["low"], each["high"]] == pytest.approx(np.percentile(ratios, [2, 98]), rel=1e-6)


def test_512_tokens_over_729_patches_with_a_photograph_add_at_most_0_8_megabytes(tmp_path):
    run, random = write_fake_run(tmp_path / "run"), np.random.default_rng(1)
    item = fake_item(random, "1", [" x"] * 512, image="images/11.png", maps="maps/1.npz")
    weights = random.integers(0, 256, (512, 729), dtype=np.uint8)
    np.savez(run / "maps/1.npz", weights=weights, scale=np.ones(512, np.float32), boxes=grid_boxes(27))
    item.update(details="details/1.npz")
    write_details(run / "details/1.npz", random, 512, layers=32, heads=32, columns=729)
    noise = random.integers(0, 256, (768, 768, 3), dtype=np.uint8)  # no picture is harder to encode
    Image.fromarray(noise).save(run / "images/11.png")
    write_items(run, [item])
    (path,) = write_page(run, single_file=False).files.iterdir()
    assert 0.5e6 < path.stat().st_size <= 0.8e6


def test_a_picture_is_encoded_once_however_many_items_and_runs_show_it(run, tmp_path, monkeypatch):
    encoded = []
    encode = page_items.picture_data
    monkeypatch.setattr(page_items, "picture_data", lambda image: encoded.append(image) or encode(image))
    other = shutil.copytree(run, tmp_path / "other")
    write_page([run, other], out=tmp_path / "both.html")
    assert len(encoded) == 3
    monkeypatch.setattr(page_items, "CACHE_BYTES", 0)
    write_page(run)
    assert len(encoded) == 3 + 4, "nothing is kept where there is no room"


# ---- Several runs ----


def test_runs_stand_side_by_side_by_the_ids_of_their_items(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "elsewhere" / "run")
    items = records(other)
    write_items(other, [fake_item(np.random.default_rng(5), "only here", [" x"]), *items[1:4]])
    data = data_of(write_page([run, other], out=tmp_path / "both.html"))
    assert [each["name"] for each in data["runs"]] == [f"{tmp_path.name}/run", "elsewhere/run"]
    found = {entry["id"]: [row is not None for row in entry["runs"]] for entry in data["items"]}
    assert found == {
        "11": [True, False],
        "12<b>&": [True, True],
        "13": [True, True],
        "14": [True, True],
        "15": [True, False],
        "only here": [False, True],
    }


def test_a_run_given_twice_or_two_without_a_place_for_their_page_are_refused(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    with pytest.raises(VkitError, match="is given twice; name each run folder once"):
        write_page([run, run.parent / "." / run.name], out=tmp_path / "page.html")
    with pytest.raises(VkitError, match=r"2 runs go on one page.*say where with --out"):
        write_page([run, other])
    with pytest.raises(VkitError, match="no run given"):
        write_page([])


def test_an_id_that_stands_twice_in_a_run_is_refused(run):
    write_items(run, [*records(run), records(run)[0]])
    with pytest.raises(VkitError, match="holds item '11' twice; measure into a new folder"):
        write_page(run)


# ---- One file or many ----


def test_items_stay_in_the_page_while_they_are_small_and_go_into_files_when_not(run, monkeypatch):
    assert write_page(run).files is None
    monkeypatch.setattr(page_files, "SMALL_PAGE_MIB", 0.3)
    page = write_page(run)
    assert page.files == run / "index_files"
    assert data_of(page)["folder"] == "index_files"
    assert data_of(page)["embedded"] == {}
    assert sorted(path.stem for path in page.files.iterdir()) == sorted(
        entry["runs"][0]["key"] for entry in data_of(page)["items"]
    )
    on_disk = page.path.stat().st_size + sum(path.stat().st_size for path in page.files.iterdir())
    assert page.mib == pytest.approx(on_disk / 2**20, rel=0.01)


def test_a_single_file_over_its_limit_is_refused_and_leaves_the_old_page(run):
    before = written(run, single_file=True)[1]
    with pytest.raises(VkitError, match=r"over the limit of 0.3 MiB .*\(--with-files\), or raise --max-mib"):
        write_page(run, single_file=True, max_mib=0.3)
    assert (run / "index.html").read_text(encoding="utf-8") == before


def test_files_of_an_earlier_page_go_and_those_of_others_stay(run):
    first = write_page(run, single_file=False)
    old = {path.name for path in first.files.iterdir()}
    write_items(run, records(run)[1:])
    second = write_page(run, single_file=False)
    new = {path.name for path in second.files.iterdir()}
    assert len(new) == 4
    assert not new & old, "their places in the run changed"
    assert write_page(run, single_file=True).files is None
    assert not (run / "index_files").exists()


def test_what_a_file_manager_leaves_in_the_folder_stays_and_is_no_reason_to_refuse(run):
    page = write_page(run, single_file=False)
    (page.files / ".DS_Store").write_bytes(b"\0")
    assert len(list(write_page(run, single_file=False).files.iterdir())) == 6
    write_page(run, single_file=True)
    assert [path.name for path in page.files.iterdir()] == [".DS_Store"]


def test_a_run_that_turns_out_damaged_half_way_leaves_the_old_page_and_nothing_new(run):
    page = write_page(run, single_file=False)
    before = {path.name: path.read_bytes() for path in [page.path, *page.files.iterdir()]}
    items = records(run)
    items[0]["question"] = "Another one?"
    write_items(run, items)
    (run / "maps/13.npz").unlink()
    with pytest.raises(VkitError, match="of item '13' cannot be read"):
        write_page(run, single_file=False)
    assert {path.name: path.read_bytes() for path in [page.path, *page.files.iterdir()]} == before


def test_what_did_not_change_is_not_written_again(run):
    page = write_page(run, single_file=False)
    stamps = {path.name: path.stat().st_ino for path in page.files.iterdir()}
    items = records(run)
    items[3]["correct"] = True
    write_items(run, items)
    write_page(run, single_file=False)
    after = {path.name: path.stat().st_ino for path in page.files.iterdir()}
    assert len(stamps.items() & after.items()) == 4


def test_a_kill_while_items_are_written_leaves_the_old_page_with_all_its_files(run, monkeypatch):
    page = write_page(run, single_file=False)
    before = {path.name: path.read_bytes() for path in [page.path, *page.files.iterdir()]}
    items = records(run)
    for item in items:
        item["question"] += " Again."
    write_items(run, items)
    calls = []

    def killed(path, content):
        calls.append(path)
        if len(calls) == 3:
            (path.parent / f".{path.name}.part").write_bytes(content[:9])
            raise KeyboardInterrupt
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(page_files, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            write_page(run, single_file=False)
    after = {path.name: path.read_bytes() for path in [page.path, *page.files.iterdir()]}
    assert before.items() <= after.items()
    write_page(run, single_file=False)
    assert len(list(page.files.iterdir())) == 5, "what the kill left is gone"


@pytest.mark.parametrize("kind", ["stranger", "file"])
def test_a_folder_that_is_not_the_page_s_own_is_refused_untouched(run, kind):
    place = run / "index_files"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "thesis.tex").write_text("mine")
    reason = "holds 'thesis.tex', which is no page's" if kind == "stranger" else "is no folder"
    with pytest.raises(VkitError, match=reason):
        write_page(run, single_file=False)
    assert not (run / "index.html").exists()
    assert (place if kind == "file" else place / "thesis.tex").read_text() == "mine"
    assert write_page(run).files is None, "a page that needs no folder minds none"


# ---- Nothing gets in, nothing gets out ----


@pytest.mark.parametrize("single_file", [True, False])
def test_hostile_text_never_becomes_markup(run, tmp_path, single_file):
    hostile = shutil.copytree(run, tmp_path / "<img src=x onerror=alert(1)>{{data}}")
    summary = {**json.loads((run / "summary.json").read_text()), "model": HOSTILE, "prompt": HOSTILE}
    (hostile / "summary.json").write_text(json.dumps(summary))
    page, text = written([hostile, run], out=tmp_path / "page.html", single_file=single_file)
    elements = Elements(text)
    assert [tag for tag, _ in elements.tags if tag == "script"] == ["script", "script"]
    assert not [tag for tag, _ in elements.tags if tag in ("img", "b", "preset", "iframe")]
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert not set("<>&\u2028\u2029\u202e") & set(elements.texts["data"])
    assert "\u202e" not in text
    if page.files is not None:
        files = [path.read_text(encoding="ascii") for path in page.files.iterdir()]
        assert not any(set("<>&") & set(each) for each in files)


@pytest.mark.parametrize("single_file", [True, False])
def test_only_the_one_script_and_style_may_run_and_nothing_may_load_from_elsewhere(run, single_file):
    _, text = written(run, single_file=single_file)
    elements = Elements(text)
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = {
        kind: f"'sha256-{base64.b64encode(hashlib.sha256(elements.texts[kind].encode()).digest()).decode()}'"
        for kind in ("script", "style")
    }
    assert rules["script-src"] == digests["script"] + ("" if single_file else " 'self'")
    assert rules["style-src"] == digests["style"]
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    assert "unsafe" not in policy
    assert not [a for _, a in elements.tags if "style" in a], "a style attribute would need unsafe-inline"
    addresses = [a[key] for _, a in elements.tags for key in ("src", "href") if key in a]
    assert all(address == "data:," or address.startswith("#") for address in addresses)


def test_random_weights_are_said_in_plain_words_and_only_then(run, tmp_path):
    assert RANDOM_WEIGHTS in written(run)[1]
    trained = shutil.copytree(run, tmp_path / "trained")
    summary = json.loads((run / "summary.json").read_text())
    (trained / "summary.json").write_text(json.dumps({**summary, "random_weights": False}))
    assert RANDOM_WEIGHTS not in written(trained)[1]
    both = written([trained, run], out=tmp_path / "both.html")[1]
    assert "Random weights in run: those numbers show" in both


def test_the_measure_s_limits_stand_on_the_page(run):
    assert "It grows with &lt;position&gt;." in written(run)[1]


def test_half_a_surrogate_pair_is_no_reason_to_fail(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "model": "m\ud800"}))
    items = records(run)
    items[0]["id"] = "i\udfff"
    write_items(run, items)
    assert "m⟨U+D800⟩" in written(run)[1]


# ---- Where it goes, and what is refused ----


def test_a_page_goes_where_it_is_told(run, tmp_path):
    page = write_page(run, out=tmp_path / "elsewhere.html", single_file=False)
    assert (page.path, page.files) == (tmp_path / "elsewhere.html", tmp_path / "elsewhere_files")
    assert not (run / "index.html").exists()


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("absent/index.html", r"folder .*absent for the page does not exist"),
        (".", "is a folder; name a file for the page"),
        ("run/items.jsonl", "is no name of a page; choose one that ends in .html"),
    ],
)
def test_a_place_where_no_page_can_stand_is_refused(run, tmp_path, out, reason):
    with pytest.raises(VkitError, match=reason):
        write_page(run, out=tmp_path / out)
    assert records(run)


def rewrite_first(run, **changes):
    items = records(run)
    items[0] = {key: value for key, value in {**items[0], **changes}.items() if value is not ...}
    write_items(run, items)


def rewrite_maps(run, **changes):
    with np.load(run / "maps/11.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(run / "maps/11.npz", **{name: value for name, value in arrays.items() if value is not ...})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: shutil.rmtree(run), "is no folder; name one that attn-ratio wrote"),
        (lambda run: (run / "summary.json").unlink(), "is not finished; give its attn-ratio command again"),
        (lambda run: [path.unlink() for path in run.glob("*.json*")], "is no run of attn-ratio"),
        (lambda run: (run / "summary.json").write_text("{}"), "summary.json: key 'model' is missing"),
        (lambda run: (run / "items.jsonl").write_text(""), "items.jsonl holds no item; run attn-ratio"),
        (lambda run: rewrite_first(run, V=...), "items.jsonl:1: key 'V' is missing"),
        (lambda run: rewrite_first(run, ratio=[0.1]), "items.jsonl:1: 'ratio' must be a list of 66 numbers"),
        (
            lambda run: rewrite_first(run, P=[float("nan")] * 66),
            "items.jsonl:1: 'P' must be a list of 66 numbers",
        ),
        (lambda run: rewrite_first(run, question=3), "items.jsonl:1: 'question' must be text"),
        (lambda run: rewrite_first(run, image="../../secret.png"), "item '11' .* lies outside its folder"),
        (lambda run: rewrite_first(run, maps="../maps/11.npz"), "lies outside its folder"),
        (lambda run: (run / "images/11.png").unlink(), "item '11' .* is missing"),
        (lambda run: (run / "images/11.png").write_bytes(b"\x89PNG"), "item '11' .* cannot be read"),
        (lambda run: (run / "maps/11.npz").unlink(), "of item '11' cannot be read"),
        (lambda run: (run / "maps/11.npz").write_bytes(b"PK\3\4no"), "of item '11' cannot be read"),
        (lambda run: (run / "details/11.npz").unlink(), "of item '11' cannot be read"),
        (lambda run: rewrite_maps(run, boxes=...), "of item '11' cannot be read"),
        (lambda run: rewrite_maps(run, scale=np.ones(3)), "do not fit the 66 tokens of item '11'"),
        (lambda run: rewrite_maps(run, weights=np.zeros((66, 729))), "of float64 do not fit"),
        (lambda run: rewrite_maps(run, scale=np.full(66, np.inf)), "a scale is negative or not finite"),
        (lambda run: rewrite_maps(run, boxes=np.zeros((729, 4))), "a box is empty or turned around"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line_and_leaves_no_page(run, damage, reason):
    damage(run)
    with pytest.raises(VkitError, match=reason) as refusal:
        write_page(run)
    assert "\n" not in str(refusal.value)
    assert not list(run.glob("*index*"))


# ---- The command ----


def test_the_command_says_on_stdout_what_was_written_and_on_stderr_what_to_keep(run, tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(command, [str(run), "--out", str(page), "--with-files"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == {
        "page": str(page),
        "items": 5,
        "files": str(tmp_path / "page_files"),
        "mib": pytest.approx(0.75, abs=0.2),
    }
    assert f"look at {page} (5 items" in result.stderr
    assert "keep page_files beside it" in result.stderr
    alone = CliRunner().invoke(command, [str(run), "--out", str(page)])
    assert json.loads(alone.stdout)["files"] is None
    assert "one file" in alone.stderr
