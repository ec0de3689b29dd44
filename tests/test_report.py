"""What pictures promise: honest colours, exact overlays, and no text that breaks them."""

import numpy as np
import pytest
from fake_run import HOSTILE, grid_boxes, split
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vkit.attention import run_folder
from vkit.errors import VkitError
from vkit.report.colours import RAMPS, contrast, ramp, text_colour
from vkit.report.heatmap import draw_heatmap, normalise
from vkit.report.overlay import FULL_ALPHA, STUDY_SCALE, density, draw_overlay

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
