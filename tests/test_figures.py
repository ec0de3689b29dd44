"""What figures for papers promise: one layout in three formats, true sizes, text that stays text."""

import base64
import io
import re
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from fake_run import HOSTILE, grid_boxes, split, write_fake_run, write_items
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vkit.attention.run import file_name
from vkit.attention.run_folder import read_items, read_maps
from vkit.cli.figures import command
from vkit.errors import VkitError
from vkit.report import surfaces
from vkit.report.colours import RAMPS, contrast, ramp, to_hex
from vkit.report.figures import write_figures
from vkit.report.heatmap import heatmap_on, normalise
from vkit.report.lettering import font_source, load_font, printable
from vkit.report.marks import hatch, shorten
from vkit.report.overlay import (
    FULL_ALPHA,
    STUDY_SCALE,
    contrasting_ramp,
    density,
    inside,
    overlay_on,
    strongest,
)
from vkit.report.surfaces import KINDS, PdfSurface, RasterSurface, SvgSurface, open_surface

POINTS = 84 / 25.4 * 72  # width of one column
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_fake_run(tmp_path_factory.mktemp("figures") / "run")


def need(kind):
    if kind == "pdf":
        pytest.importorskip("fpdf", reason="PDF needs fpdf2")


def item_of(run, name):
    return next(item for item in read_items(run) if item["id"] == name)


def text_of(path):
    return ElementTree.parse(path).iter(f"{SVG}text")


def pictures_of(path):
    """The embedded pictures of an SVG."""
    for element in ElementTree.parse(path).iter(f"{SVG}image"):
        yield Image.open(io.BytesIO(base64.b64decode(element.get("href").split(",", 1)[1])))


# ---- What is written ----


@pytest.mark.parametrize("kind", KINDS)
def test_without_further_words_the_first_item_and_its_token_of_largest_ratio_are_drawn(run, tmp_path, kind):
    need(kind)
    ratios = item_of(run, "11")["ratio"]
    largest = max((value, j) for j, value in enumerate(ratios) if value is not None)[1]
    paths = write_figures(run, tmp_path, kind=kind)
    assert [path.name for path in paths] == [f"11-heatmap.{kind}", f"11-token-{largest}.{kind}"]
    assert sorted(tmp_path.iterdir()) == sorted(paths), "and nothing else is left"


def test_items_and_tokens_are_drawn_as_asked_for_by_position_or_by_text(run, tmp_path):
    paths = write_figures(run, tmp_path, kind="svg", items=["13", "11", "13"], tokens=["equal", 2])
    tokens = {name: item_of(run, name)["output_tokens"] for name in ("13", "11")}
    expected = []
    for name, texts in tokens.items():
        chosen = sorted({2} | {j for j, text in enumerate(texts) if text == " equal"})
        expected += [f"{name}-heatmap.svg", *(f"{name}-token-{j}.svg" for j in chosen)]
    assert [path.name for path in paths] == expected
    assert len(expected) > 6, "a long answer says 'equal' more than once"


def test_a_number_is_a_position_and_in_quotes_a_text(run, tmp_path):
    tokens = item_of(run, "11")["output_tokens"]
    arguments = [str(run), "--out", str(tmp_path), "--svg", "--item", "11"]
    for given_token, at in (("40", 40), ('"40"', tokens.index(" 40"))):
        result = CliRunner().invoke(command, [*arguments, "--token", given_token], catch_exceptions=False)
        assert result.stdout.splitlines()[1] == str(tmp_path / f"11-token-{at}.svg")


def test_several_formats_come_from_one_command(run, tmp_path):
    need("pdf")
    result = CliRunner().invoke(command, [str(run), "--out", str(tmp_path), "--png", "--svg", "--pdf"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 6
    assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_a_command_that_names_no_format_is_wrong_usage(run, tmp_path):
    result = CliRunner().invoke(command, [str(run), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "--pdf, --svg or --png" in result.output
    assert not (tmp_path / "out").exists()


def test_an_item_without_maps_has_its_heatmap_alone_and_it_is_said_once(run, tmp_path):
    result = CliRunner().invoke(command, [str(run), "--out", str(tmp_path), "--png", "--svg", "--item", "14"])
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["14-heatmap.png", "14-heatmap.svg"]
    assert result.stderr == "note: item '14' has no maps of attention: its heat-map alone is drawn\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (dict(kind="gif"), "'gif' is no kind of figure; choose one of png, svg, pdf"),
        (dict(items=["1l"]), "holds no item '1l'; the nearest ids are '1"),
        (dict(items=["15"]), "the answer of item '15' is empty"),
        (dict(items=["14"], tokens=[0]), "item '14' has no maps of attention"),
        (dict(tokens=[66]), "no token 66; its positions are 0 to 65, and the text 66 is written '\"66\"'"),
        (dict(tokens=[-1]), "no token -1"),
        (dict(tokens=["isoceles"]), "no token 'isoceles'; the nearest are 'isosceles'"),
        (dict(width_mm=20), "width 20 mm is out of range; give 43 to 2000 mm with letters of 8 points"),
        (dict(width_mm=float("nan")), "width nan mm is out of range"),
        (dict(dpi=0), "0 dots per inch is out of range; give 50 to 2400, for print 300"),
        (dict(font_size=0), "font size 0 is out of range"),
        (dict(colour="jet"), "'jet' is unknown"),
        (dict(scale="page"), "'page' is unknown; choose one of token, study, answer"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line_before_anything_is_written(
    run, tmp_path, options, reason
):
    with pytest.raises(VkitError, match=re.escape(reason)) as refusal:
        write_figures(run, tmp_path / "out", **{"kind": "svg", **options})
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\x89PNG")])
def test_a_picture_that_cannot_be_read_is_refused_before_anything_is_written(run, tmp_path, damage):
    copy = shutil.copytree(run, tmp_path / "run")
    damage(copy / item_of(copy, "13")["image"])
    with pytest.raises(VkitError, match=r"images/13\.png"):
        write_figures(copy, tmp_path / "out", kind="svg", items=["11", "13"])
    assert not (tmp_path / "out").exists()


def test_a_very_tall_picture_still_fits_a_page(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    Image.new("RGB", (100, 3000), "white").save(copy / "images" / "11.png")
    _, overlay = write_figures(copy, tmp_path / "out", kind="svg")
    height = ElementTree.parse(overlay).getroot().get("height")
    assert 1.5 * 84 < float(height.removesuffix("mm")) < 1.5 * 84 + 15  # title and legend


def test_an_answer_of_blanks_alone_has_no_overlay_and_says_why(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    items = list(read_items(copy))
    items[0]["output_tokens"] = ["", " ", *["\n"] * (len(items[0]["ratio"]) - 2)]
    write_items(copy, items)
    notes = []
    paths = write_figures(copy, tmp_path / "out", kind="svg", on_note=notes.append)
    assert [path.name for path in paths] == ["11-heatmap.svg"]
    assert notes == ["item '11' has no visible token with a ratio: its heat-map alone is drawn"]


def test_without_fpdf2_a_pdf_is_refused_and_the_other_formats_work(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(VkitError, match=r"needs fpdf2, .* run: pip install fpdf2, or choose SVG"):
        write_figures(run, tmp_path / "out", kind="pdf")
    assert not (tmp_path / "out").exists()
    assert write_figures(run, tmp_path, kind="svg")


# ---- True sizes ----


def media_box(data):
    return [float(side) for side in re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data).groups()]


@pytest.mark.parametrize("width_mm", [84, 174])
def test_a_figure_has_the_width_that_was_asked_for_in_millimetres(run, tmp_path, width_mm):
    svg, png = (write_figures(run, tmp_path, kind=kind, width_mm=width_mm) for kind in ("svg", "png"))
    for path in svg:
        assert ElementTree.parse(path).getroot().get("width") == f"{width_mm}mm"
    for path in png:
        with Image.open(path) as image:
            assert image.width == round(width_mm / 25.4 * 300)
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    need("pdf")
    for path in write_figures(run, tmp_path, kind="pdf", width_mm=width_mm):
        assert media_box(path.read_bytes())[0] == pytest.approx(width_mm / 25.4 * 72, abs=0.01)


def test_letters_have_their_size_in_points_and_the_legend_is_smaller(run, tmp_path):
    heatmap, overlay = write_figures(run, tmp_path, kind="svg", font_size=9)
    assert {element.get("font-size") for element in text_of(heatmap)} == {"9", "7.2"}
    assert {element.get("font-size") for element in text_of(overlay)} == {"9"}


@pytest.mark.parametrize(
    ("native", "kept"), [((800, 600), (992, 744)), ((3000, 2250), (3000, 2250))], ids=["small", "large"]
)
def test_a_picture_keeps_its_pixels_and_where_they_are_few_has_300_to_the_inch(native, kept):
    surface = SvgSurface()
    assert surface.picture_pixels(POINTS, POINTS * 0.75, native) == kept


def test_a_tall_picture_is_drawn_smaller_and_in_the_middle():
    surface = SvgSurface()
    overlay_on(
        surface,
        Image.new("RGB", (10, 200), "white"),
        grid_boxes(3),
        np.ones(9),
        width=238,
        height=357,
        margin=0.5,
    )
    (picture,) = ElementTree.fromstring(surface.data()).iter(f"{SVG}image")
    left, wide, high = (float(picture.get(side)) for side in ("x", "width", "height"))
    assert (wide, high) == (17.85, 357)
    assert left + wide / 2 == pytest.approx(238 / 2, abs=0.01)


def test_a_figure_of_too_many_pixels_is_refused():
    with pytest.raises(VkitError, match="10000 x 20000 pixels, over the limit"):
        RasterSurface().page(10_000, 20_000)


def test_a_figure_too_tall_for_pdf_is_refused():
    need("pdf")
    with pytest.raises(VkitError, match="5292 mm tall, over the 5080 mm of a PDF page"):
        PdfSurface().page(238, 15_000)


# ---- Text ----


def test_hostile_text_stays_text_in_valid_xml(run, tmp_path):
    (path,) = write_figures(run, tmp_path, kind="svg", items=["12<b>&"])
    assert path.name == f"{file_name('12<b>&')}-heatmap.svg"
    root = ElementTree.parse(path).getroot()
    assert {element.tag for element in root.iter()} == {
        SVG + tag for tag in ("svg", "rect", "polyline", "text")
    }
    drawn = "".join(element.text.replace(" ", "") for element in root.iter(f"{SVG}text"))
    assert printable(HOSTILE, load_font(24)).replace(" ", "") in drawn


def test_an_svg_runs_nothing_and_loads_nothing(run, tmp_path):
    _, overlay = write_figures(run, tmp_path, kind="svg")
    for element in ElementTree.parse(overlay).iter():
        assert element.tag != f"{SVG}script"
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert "url(" not in value
            assert name != "href" or value.startswith("data:image/png;base64,")


@settings(max_examples=40, deadline=None)
@given(tokens=st.lists(st.text(st.characters(), max_size=8), max_size=6))
def test_no_text_makes_an_svg_invalid_or_leaves_the_page(tokens):
    surface = SvgSurface()
    heatmap_on(surface, tokens, [0.5] * len(tokens), width=96, margin=1)
    for element in ElementTree.fromstring(surface.data()).iter(f"{SVG}text"):
        assert float(element.get("x")) >= 0
        assert float(element.get("x")) + float(element.get("textLength")) <= 96


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", ["", "\n", "\r\n\n", HOSTILE, "三角形∠", "\ud800", "אב", "w" * 3000])
def test_no_token_breaks_a_figure(kind, token):
    need(kind)
    surface = open_surface(kind)
    heatmap_on(surface, ["a", token, "b"], [0.1, None, 0.9], width=POINTS, margin=0.5)
    assert len(surface.data()) > 500


def test_text_is_as_wide_as_its_font_makes_it():
    face = load_font(1000)
    for surface in (SvgSurface(), RasterSurface(pixels_per_unit=10)):
        assert surface.measure("isosceles", 8) == pytest.approx(face.getlength("isosceles") * 0.008, rel=0.02)


def test_a_pdf_holds_its_font_and_measures_text_as_it_draws_it():
    need("pdf")
    surface = open_surface("pdf")
    surface.page(200, 50)
    surface.text(10, 20, "isosceles × 40°" if b"DejaVu" in font_source() else "isosceles", size=8)
    surface._pdf.set_font("figure", size=8)
    assert surface.measure("isosceles", 8) == pytest.approx(
        surface._pdf.get_string_width("isosceles"), rel=2e-3
    )
    data = surface.data()
    assert b"/FontFile2" in data
    assert not re.search(rb"/(JavaScript|JS|URI|Launch)\b", data)


def test_a_line_begins_with_its_first_word_not_with_the_blank_before_it():
    surface = SvgSurface()
    tokens = ["word", *[" word"] * 40]
    heatmap_on(surface, tokens, [0.5] * len(tokens), width=POINTS, margin=0.5)
    lines = {}
    for element in text_of(io.BytesIO(surface.data())):
        if element.text == "word":
            lines.setdefault(element.get("y"), []).append(float(element.get("x")))
    assert len(lines) > 3
    assert len({min(places) for places in lines.values()}) == 1


def test_hebrew_reads_from_right_to_left_in_a_pdf():
    need("pdf")
    assert PdfSurface()._visual_order("x אב y") == "x בא y"


def test_a_title_too_long_is_cut_with_dots_and_a_short_one_is_not():
    surface = SvgSurface()
    assert shorten(surface, "token 3", 8, 100) == "token 3"
    cut = shorten(surface, "token 3: " + "w" * 100, 8, 100)
    assert cut.startswith("token 3: w")
    assert cut.endswith("w...")
    assert surface.measure(cut, 8) <= 100 < surface.measure(cut + "w", 8)


# ---- Colours ----


def test_tokens_stand_on_the_colours_of_their_ratios_in_their_order(run, tmp_path):
    heatmap, _ = write_figures(run, tmp_path, kind="svg", colour="cividis")
    strengths = [s for s in normalise(item_of(run, "11")["ratio"]) if s is not None]
    expected = [to_hex(ramp("cividis", strength)) for strength in strengths]
    fills = [element.get("fill") for element in ElementTree.parse(heatmap).iter(f"{SVG}rect")]
    paper, *cells = [fill for fill in fills if fill != "none"]
    assert paper == "#ffffff"
    undefined = item_of(run, "11")["ratio"].index(None)
    assert cells.pop(undefined) == "#ffffff"
    assert cells[: len(expected)] == expected


@settings(max_examples=40, deadline=None)
@given(left=st.floats(0, 50), top=st.floats(0, 50), width=st.floats(0.1, 40), height=st.floats(0.1, 40))
def test_hatching_stays_in_its_box(left, top, width, height):
    surface = SvgSurface()
    hatch(surface, (left, top, left + width, top + height), step=2, ink=(0, 0, 0), outline=(0, 0, 0))
    drawing = ElementTree.fromstring(f"<g>{''.join(surface._parts)}</g>")
    for element in drawing.iter("polyline"):
        for point in element.get("points").split():
            x, y = map(float, point.split(","))
            assert left - 0.01 <= x <= left + width + 0.01
            assert top - 0.01 <= y <= top + height + 0.01


def test_an_overlay_blends_every_box_flat_over_the_picture():
    boxes, weights = grid_boxes(27), np.random.default_rng(0).random(729)
    surface = SvgSurface()
    white = Image.new("RGB", (800, 600), "white")
    overlay_on(surface, white, boxes, weights, width=POINTS, height=POINTS, margin=0.5)
    (drawn,) = map(np.asarray, pictures_of(io.BytesIO(surface.data())))
    height, width = drawn.shape[:2]
    strength = density(boxes, weights, (width, height))[..., None] / weights[inside(boxes)].max()
    over = ramp("viridis_r", strength[..., 0])
    expected = 255 * (1 - FULL_ALPHA * strength) + FULL_ALPHA * strength * over
    assert np.abs(drawn - expected).max() <= 0.5 + 1e-9
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) <= inside(boxes).sum(), "no smoothing between boxes"


def test_a_pdf_holds_the_same_picture_without_loss(run, tmp_path):
    need("pdf")
    (_, svg), (_, pdf) = (write_figures(run, tmp_path, kind=kind, tokens=[5]) for kind in ("svg", "pdf"))
    (expected,) = map(np.asarray, pictures_of(svg))
    height, width = expected.shape[:2]
    start = re.search(rb"/Subtype /Image.*?stream\r?\n", pdf.read_bytes(), re.DOTALL)
    stream = zlib.decompressobj().decompress(pdf.read_bytes()[start.end() :])
    rows = np.frombuffer(stream, np.uint8).reshape(height, 1 + 3 * width)  # a row begins with its PNG filter
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:].reshape(expected.shape) == expected).all()


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("level", [0, 255])
def test_the_high_end_of_any_ramp_stands_out_over_light_and_dark_pictures(name, level):
    low, high = ramp(contrasting_ramp(Image.new("RGB", (9, 9), (level,) * 3), name), [0.0, 1.0])
    assert contrast(high, (level,) * 3) > max(7, contrast(low, (level,) * 3))


def test_full_colour_is_the_token_s_highest_the_answer_s_or_the_study_s(run, tmp_path):
    maps = read_maps(run, item_of(run, "11"))
    peaks = [density(maps.boxes, maps.attention(j), (640, 480)).max() for j in range(len(maps.weights))]
    expected = {"token": peaks[7], "answer": max(peaks), "study": STUDY_SCALE}
    assert len({f"{value:.3g}" for value in expected.values()}) == 3
    for scale, value in expected.items():
        _, path = write_figures(run, tmp_path, kind="svg", tokens=[7], scale=scale)
        beyond = " and above" if peaks[7] > value else ""
        assert [element.text for element in text_of(path)][-1] == f"{value:.3g}{beyond}"


def test_the_overlay_has_the_colours_asked_for(run, tmp_path):
    drawn = []
    for colour in (None, *RAMPS):
        _, overlay = write_figures(run, tmp_path, kind="svg", tokens=[7], colour=colour)
        drawn.append(overlay.read_bytes())
    assert len(set(drawn)) == len(RAMPS)
    assert drawn[0] == drawn[1 + list(RAMPS).index("viridis")]


def test_an_answer_without_any_attention_has_no_highest():
    assert strongest(grid_boxes(3), iter([np.zeros(9)]), (300, 200)) == 0.0


# ---- The same bytes at any time ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_figure_is_the_same_file_on_another_day(run, tmp_path, monkeypatch, kind):
    need(kind)
    first = [path.read_bytes() for path in write_figures(run, tmp_path / "1", kind=kind)]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert [path.read_bytes() for path in write_figures(run, tmp_path / "2", kind=kind)] == first
    if kind == "pdf":
        assert {date for data in first for date in re.findall(rb"D:(\d{8})", data)} == {b"20000101"}


def test_every_surface_lays_out_the_same_lines():
    tokens = split("Since AB = AC, triangle ABC is isosceles, so the base angles at B and C are equal. " * 3)
    heights = set()
    for kind in KINDS:
        need(kind)
        surface = open_surface(kind, dpi=600)
        heights.add(page_height(surface, tokens))
    assert len(heights) == 1


def page_height(surface, tokens):
    pages = []
    original = surface.page
    surface.page = lambda width, height: (pages.append(round(height, 3)), original(width, height))
    heatmap_on(surface, tokens, [0.5] * len(tokens), width=POINTS, margin=0.5)
    surface.data()
    return pages[0]


def test_pillow_s_own_font_can_be_embedded(monkeypatch):
    """Where no wide font is installed."""
    need("pdf")
    monkeypatch.setattr("vkit.report.lettering._installed_font", lambda: None)
    load_font.cache_clear()
    try:
        assert font_source()[:4] == b"\0\1\0\0", "a TrueType file"
        surface = surfaces.open_surface("pdf")
        surface.page(100, 30)
        surface.text(5, 20, surface.spell("x = 5"), size=8)
        assert b"/FontFile2" in surface.data()
    finally:
        load_font.cache_clear()


def test_the_legend_says_where_attention_lies_beyond_the_scale():
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    picture = Image.new("RGB", (80, 60), "white")
    for weights, said in (([1e-4, 2e-4], False), ([1e-4, 3e-4], True)):
        surface = open_surface("svg")
        draw = {"width": 240, "height": 240, "margin": 1, "scale": 2e-4}
        overlay_on(surface, picture, boxes, np.array(weights), **draw)
        assert (b"0.0002 and above" in surface.data()) is said
