"""What reports promise without a browser: honest colours, exact overlays, a page none can break into."""

import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest
from fake_run import HOSTILE, fake_item, grid_boxes, split, write_fake_run, write_items
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vkit.attention import run_folder
from vkit.errors import VkitError
from vkit.report.colours import RAMPS, contrast, ramp, text_colour
from vkit.report.heatmap import draw_heatmap, normalise
from vkit.report.overlay import FULL_ALPHA, STUDY_SCALE, density, draw_overlay
from vkit.report.page import RANDOM_WEIGHTS, write_page

POSITIONS = np.linspace(0, 1, 256)


# ---- Colours ----


@pytest.mark.parametrize("name", RAMPS)
def test_a_ramp_rises_or_falls_in_lightness_throughout_so_that_no_hue_is_needed_to_read_it(name):
    lightness = [contrast(colour, (0, 0, 0)) for colour in ramp(name, POSITIONS[::8])]
    steps = np.diff(lightness)
    assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("name", RAMPS)
def test_text_on_any_colour_of_a_ramp_meets_aa(name):
    assert min(contrast(text_colour(colour), colour) for colour in ramp(name, POSITIONS)) >= 4.5


def test_a_ramp_runs_backwards_with_r_and_stops_at_its_ends():
    assert (ramp("viridis_r", POSITIONS) == ramp("viridis", 1 - POSITIONS)).all()
    assert (ramp("oranges", [-3.0, 9.0]) == ramp("oranges", [0.0, 1.0])).all()


def test_an_unknown_ramp_is_refused_by_name():
    with pytest.raises(VkitError, match="'jet' is unknown; choose one of oranges, viridis, cividis"):
        ramp("jet", 0.5)


# ---- Heat-maps of tokens ----


def colours_of(picture, below=10_000):
    """The set of colours in the rows above ``below`` that fill more than a glyph's edge."""
    pixels = np.asarray(picture)[:below].reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(map(int, colour)) for colour, count in zip(found, counts) if count > 40}


def test_the_highest_token_is_darkest_orange_and_the_lowest_is_lightest():
    colours = colours_of(draw_heatmap(["low", " mid", " high"], [0.2, 0.3, 0.4], width=600), below=80)
    assert {tuple(ramp("oranges", position).tolist()) for position in (0.0, 0.5, 1.0)} <= colours


def test_values_are_stretched_within_the_answer_so_its_scale_does_not_matter():
    tokens = split("The answer is B.")
    values = [0.1, 0.5, 0.3, 0.2, 0.4]
    shades = [
        np.asarray(draw_heatmap(tokens, [factor * v for v in values], width=600))[:80] for factor in (1, 1000)
    ]
    assert (shades[0] == shades[1]).all()


def test_an_undefined_token_is_hatched_and_never_coloured():
    pixels = np.asarray(draw_heatmap(["never"], [None], width=600)).astype(int)
    assert np.ptp(pixels, axis=-1).max() == 0, "grey only"
    assert len(colours_of(draw_heatmap(["never"], [None], width=600), below=80)) > 2, "hatching is drawn"


def test_equal_values_take_the_low_end():
    assert normalise([0.3, 0.3, None]) == [0.0, 0.0, None]


def test_a_long_output_wraps_and_a_word_wider_than_the_page_goes_on_below():
    one, many, wide = (
        draw_heatmap(tokens, [0.5] * len(tokens), width=600).height
        for tokens in (["word"], [" word"] * 100, ["w" * 10_000])
    )
    assert one < many < wide


def test_a_word_is_not_broken_between_its_tokens_where_it_fits_a_line():
    picture = draw_heatmap(["x" * 36, " iso", "sceles"], [0.0, 1.0, 1.0], width=700, font_size=32)
    dark = (np.asarray(picture) == ramp("oranges", 1.0)).all(-1)[: 32 + 2 * 56]
    assert dark[32 + 56 :].any(), "the word stands in the second line"
    assert not dark[: 32 + 56].any(), "and no part of it in the first, where ' iso' alone would fit"


@pytest.mark.parametrize(
    "token", ["", " ", "\n", "\r\n\n", "\t", HOSTILE, "三角形∠", "\ud800", "👩‍🔬", "w" * 3000]
)
def test_no_token_breaks_the_picture(token):
    picture = draw_heatmap(["a", token, "b"], [0.1, None, 0.9], width=500)
    assert picture.width == 500


def test_an_empty_answer_gives_a_picture_that_says_nothing():
    assert colours_of(draw_heatmap([], [], width=500), below=60) == {(255, 255, 255)}


@pytest.mark.parametrize(
    ("tokens", "values", "width", "reason"),
    [
        (["a"], [0.1, 0.2], 500, "1 tokens but 2 values"),
        (["a"], [float("nan")], 500, "not finite; give None"),
        (["a"], [0.1], 50, "width 50 is too small"),
    ],
)
def test_a_heatmap_of_bad_input_is_refused(tokens, values, width, reason):
    with pytest.raises(VkitError, match=reason):
        draw_heatmap(tokens, values, width=width)


# ---- Attention over the picture ----


def brute_density(boxes, weights, size):
    """The definition: what the boxes over a pixel's centre hold, times the median area over their own."""
    width, height = size
    placed = [
        (box, weight)
        for box, weight in zip(boxes, weights)
        if box[0] < 1 and box[1] < 1 and box[2] > 0 and box[3] > 0
    ]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box, _ in placed]
    field = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for (box, weight), area in zip(placed, areas):
                if (
                    box[0] * width <= x + 0.5 < box[2] * width
                    and box[1] * height <= y + 0.5 < box[3] * height
                ):
                    field[y, x] += weight * np.median(areas) / area
    return field


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_density_is_the_sum_over_boxes_whatever_overlaps_or_hangs_over_the_edge(data):
    width, height, count = (data.draw(st.integers(1, 12)) for _ in range(3))
    edge = st.tuples(st.integers(-4, 14), st.integers(1, 9))
    boxes = np.array(
        [
            (left / width, top / height, (left + wide) / width, (top + high) / height)
            for (left, wide), (top, high) in (data.draw(st.tuples(edge, edge)) for _ in range(count))
        ]
    )
    boxes[data.draw(st.lists(st.integers(0, count - 1)))] = np.nan
    weights = np.array(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
    expected = brute_density(boxes, weights, (width, height))
    np.testing.assert_allclose(density(boxes, weights, (width, height)), expected, atol=1e-12)


def test_no_attention_is_lost_where_tiles_lie_over_a_thumbnail():
    whole = np.array([[0.0, 0.0, 1.0, 1.0]])
    columns = np.array([[k / 4, 0.0, (k + 1) / 4, 1.0] for k in range(4)])
    weights = np.array([0.5, 0.1, 0.2, 0.0, 0.2])
    drawn = density(np.concatenate([whole, columns]), weights, (640, 480))
    assert drawn.mean() / 0.25 == pytest.approx(weights.sum())  # 0.25: the median box's area


def test_the_study_scale_draws_alpha_as_attention_over_0_0002():
    picture = Image.new("RGB", (640, 640), (255, 255, 255))
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    drawn = np.asarray(draw_overlay(picture, boxes, np.array([0.0001, 0.0003]), scale=STUDY_SCALE))
    for x, strength in ((24 + 160, 0.5), (24 + 480, 1.0)):
        over = ramp("viridis_r", strength).astype(float)
        expected = 255 * (1 - FULL_ALPHA * strength) + FULL_ALPHA * strength * over
        assert np.abs(drawn[24 + 320, x] - expected).max() <= 0.5


def test_a_picture_without_attention_stays_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    drawn = draw_overlay(Image.fromarray(noise), grid_boxes(27), np.zeros(729), title="三 \u202e \ud800")
    top = 24 + 40
    assert (np.asarray(drawn)[top : top + 640, 24 : 24 + 640] == noise).all()


def test_strong_attention_stands_out_on_light_and_on_dark_pictures():
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    for level in (255, 0):
        drawn = np.asarray(
            draw_overlay(Image.new("RGB", (640, 640), (level,) * 3), boxes, np.array([0.0, 1.0]))
        )
        assert contrast(drawn[300, 100], drawn[300, 500]) > 4.5


@pytest.mark.parametrize(
    ("boxes", "weights", "scale", "reason"),
    [
        (np.zeros((3, 4)), np.zeros(2), None, r"boxes \(3, 4\) and weights \(2,\) disagree"),
        (np.array([[0, 0, 1, 1]]), np.array([np.nan]), None, "negative or not finite"),
        (np.array([[1, 0, 0, 1]]), np.array([0.1]), None, "empty or turned around"),
        (np.array([[0, 0, 1, 1]]), np.array([0.1]), 0.0, "scale is 0.0; give a positive"),
    ],
)
def test_an_overlay_of_bad_input_is_refused(boxes, weights, scale, reason):
    with pytest.raises(VkitError, match=reason):
        draw_overlay(Image.new("RGB", (40, 40)), boxes, weights, scale=scale)


# ---- The page ----


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


def written(run, **options):
    page = write_page(run, **options)
    return page, page.path.read_text(encoding="utf-8")


def test_the_page_holds_every_item_as_it_stands_in_the_run(run):
    page, text = written(run)
    assert page.path == run / "index.html"
    assert (page.shown, page.total) == (5, 5)
    shown = json.loads(Elements(text).texts["data"])["items"]
    recorded = [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]
    for item, record in zip(shown, recorded, strict=True):
        assert item["tokens"] == record["output_tokens"]
        for key in (
            "id",
            "question",
            "choices",
            "answer",
            "extracted",
            "correct",
            "V",
            "P",
            "ratio",
            "shares",
        ):
            assert item[key] == record[key]


def test_hostile_text_never_becomes_markup(run):
    _, text = written(run)
    elements = Elements(text)
    assert [tag for tag, _ in elements.tags if tag == "script"] == ["script", "script"]
    assert not [tag for tag, _ in elements.tags if tag in ("img", "b", "preset", "iframe", "link img")]
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert not set("<>&\u2028\u2029\u202e") & set(elements.texts["data"])
    assert elements.texts["title"].startswith("tiny-llava <preset>")


def test_only_the_one_script_and_style_may_run_and_nothing_may_load(run):
    _, text = written(run)
    elements = Elements(text)
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(elements.texts[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert not [a for _, a in elements.tags if "style" in a], "a style attribute would need unsafe-inline"
    addresses = [a[key] for _, a in elements.tags for key in ("src", "href") if key in a]
    assert addresses == ["data:,"]


def test_random_weights_are_said_in_plain_words_and_only_then(run):
    assert RANDOM_WEIGHTS in written(run)[1]
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "random_weights": False}))
    assert RANDOM_WEIGHTS not in written(run)[1]


def test_the_measure_s_limits_stand_on_the_page(run):
    text = re.sub(r"\s+", " ", written(run)[1])
    assert "to a token of the problem’s text. It grows with &lt;position&gt;.</p>" in text


def test_the_shares_are_those_that_a_run_writes():
    from vkit.attention import ratio, spans

    assert run_folder.SHARES == spans.SHARES
    assert tuple(ratio.REDUCTIONS) == run_folder.REDUCTIONS


def test_the_page_shows_the_reduction_that_was_asked_for(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "reduce": "sum"}))
    text = written(run)[1]
    assert "<dt>Summed ratio</dt><dd>61.2</dd>" in text
    assert '"reduce":"sum"' in text
    (run / "summary.json").write_text(json.dumps({**summary, "reduce": "median"}))
    with pytest.raises(VkitError, match="'reduce' must be one of mean, sum, max"):
        write_page(run)


def test_weak_attention_beside_a_sink_keeps_its_levels(tmp_path):
    from vkit.attention.measure import Measurement
    from vkit.attention.ratio import Ratio
    from vkit.attention.run import _write_maps
    from vkit.models.protocol import ImageColumns, Layout

    attention = np.geomspace(1e-4, 1, 64, dtype=np.float32)[None] * 0.3
    image = ImageColumns(np.arange(64), grid_boxes(8))
    layout = Layout(np.zeros(65, int), 64, (image,), np.zeros(65, bool))
    (tmp_path / "maps").mkdir()
    nothing = np.zeros(1)
    ratio = Ratio(nothing, nothing, nothing, {})
    measurement = Measurement(layout, ratio, 64, 1, None, np.ones((1, 1)), np.ones((1, 1)), attention)
    name = _write_maps(tmp_path, "maps/1.npz", measurement)
    maps = run_folder.read_maps(tmp_path, {"id": "1", "maps": name, "output_tokens": ["x"]})
    shown = maps.attention(0)
    assert np.abs(shown - attention[0]).max() < 0.3 / 255
    weak = attention[0] < 0.3 * 1e-2
    np.testing.assert_allclose(shown[weak], attention[0][weak], rtol=0.45)
    assert len(np.unique(shown[weak])) > 10


def test_a_font_with_more_letters_is_taken_where_there_is_one():
    from vkit.report.lettering import load_font, printable

    try:
        load_font(20, "DejaVuSans.ttf")
    except VkitError:
        pytest.skip("DejaVu Sans is not installed here")
    assert printable("é × ∠ 40° √3 ≅ 三", load_font(20)) == "é × ∠ 40° √3 ≅ \\u4e09"


def test_items_beyond_the_limit_are_left_out_and_the_page_says_so(run):
    page, text = written(run, max_items=2)
    assert (page.shown, page.total) == (2, 5)
    assert "2 of 5 items shown: the first of the run, up to the page’s limit of 2 items." in text.replace(
        "&#x27;", "’"
    )


def test_items_beyond_the_size_are_left_out_and_the_page_says_so(run):
    page, text = written(run, max_mib=0.3)
    assert (page.shown, page.total) == (2, 5), "the third item, of 512 tokens, is too large"
    assert "2 of 5 items shown" in text
    assert "0.3 MiB" in text


def test_512_tokens_over_729_patches_take_little_more_than_half_a_megabyte(tmp_path):
    run = write_fake_run(tmp_path / "run")
    item = fake_item(np.random.default_rng(1), "1", [" x"] * 512, image="images/11.png", maps="maps/1.npz")
    weights = np.random.default_rng(1).integers(0, 256, (512, 729), dtype=np.uint8)
    np.savez(run / "maps/1.npz", weights=weights, scale=np.ones(512, np.float32), boxes=grid_boxes(27))
    write_items(run, [item])
    assert write_page(run).mib < 0.75


def test_a_page_goes_where_it_is_told(run, tmp_path):
    assert write_page(run, out=tmp_path / "elsewhere.html").path == tmp_path / "elsewhere.html"
    assert not (run / "index.html").exists()


def test_a_page_for_a_folder_that_does_not_exist_is_refused(run, tmp_path):
    with pytest.raises(VkitError, match=r"folder .*absent for the page does not exist"):
        write_page(run, out=tmp_path / "absent" / "index.html")


def test_half_a_surrogate_pair_in_the_model_s_name_is_no_reason_to_fail(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "model": "m\ud800"}))
    assert "m&#55296;" in written(run)[1]


def test_image_tokens_without_a_place_are_counted_and_an_item_with_none_placed_has_no_overlay(run):
    shown = json.loads(Elements(written(run)[1]).texts["data"])["items"]
    assert [item["map"] and item["map"]["unplaced"] for item in shown] == [
        27 * 27 - 27 * 21,
        None,
        1,
        None,
        None,
    ]
    with np.load(run / "maps/11.npz") as archive:
        arrays = dict(archive)
    np.savez(run / "maps/11.npz", **{**arrays, "boxes": np.full((729, 4), np.nan)})
    assert json.loads(Elements(written(run)[1]).texts["data"])["items"][0]["map"] is None


def rewrite_first(run, **changes):
    items = [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]
    items[0] = {key: value for key, value in {**items[0], **changes}.items() if value is not ...}
    write_items(run, items)


def rewrite_maps(run, **changes):
    with np.load(run / "maps/11.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(run / "maps/11.npz", **{name: value for name, value in arrays.items() if value is not ...})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: (run / "summary.json").unlink(), "summary.json cannot be read"),
        (lambda run: (run / "summary.json").write_text("{}"), "summary.json: key 'model' is missing"),
        (lambda run: (run / "items.jsonl").write_text(""), "shows no item"),
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
        (lambda run: (run / "maps/11.npz").unlink(), "of item '11' cannot be read"),
        (lambda run: (run / "maps/11.npz").write_bytes(b"PK\3\4no"), "of item '11' cannot be read"),
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
    assert not list(run.glob("*index.html*"))


def test_a_first_item_that_exceeds_the_page_alone_is_refused(run):
    with pytest.raises(
        VkitError, match=r"item '11' .* alone takes 0\.\d MiB, over the page's limit of 0.01 MiB"
    ):
        write_page(run, max_mib=0.01)
