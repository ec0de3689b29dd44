"""An item of the page in a real browser: what people see, choose and hear is what stands in the run."""

import re

import numpy as np
import pytest
from browser import missing_browser
from fake_run import HOSTILE
from PIL import Image
from report_browser_cases import canvas, chosen_token, go, pixels, read_items, select, shown_figures

from vkit.evaluate.steps import find_steps
from vkit.images import open_image
from vkit.report.colours import ramp
from vkit.report.overlay import FULL_ALPHA, STUDY_SCALE, density, inside

pytest_plugins = ["report_browser_fixtures"]
pytestmark = pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")


# ---- The chosen token ----


def test_a_click_chooses_a_token_and_shows_its_recorded_numbers(page, items):
    page.click("#token-12")
    item = items[0]
    assert page.text("#position") == "12"
    assert shown_figures(page) == [item["ratio"][12], item["V"][12], item["P"][12]]
    assert page.text("#ratio") == f"{item['ratio'][12]:.4g}"
    assert page.text("#step") == "1 of 3"
    shares = page.run(
        "return [...document.querySelectorAll('#shares data')].map((node) => Number(node.value))"
    )
    assert shares == [column[12] for column in item["shares"].values()]


def test_an_undefined_ratio_is_said_and_hatched_not_coloured(page):
    page.click("#token-3")
    assert page.text("#ratio") == "undefined"
    assert page.run("return document.getElementById('token-3').style.backgroundColor") == ""
    assert "repeating-linear-gradient" in page.run(
        "return getComputedStyle(document.getElementById('token-3')).backgroundImage"
    )


def test_arrow_keys_walk_through_tokens_and_lines_and_stop_at_the_ends(page, items):
    page.click("#token-4")
    page.press("Right", "Right", "Left")
    assert chosen_token(page) == 5
    page.press("Down")
    below = chosen_token(page)
    tops = page.run(
        "return arguments[0].map((j) => document.getElementById(`token-${j}`).getBoundingClientRect().top)",
        [5, below],
    )
    assert 10 < tops[1] - tops[0] < 60, "one line further down"
    page.press("Up")
    assert abs(chosen_token(page) - 5) <= 1
    page.press("End", "Right", "Down")
    assert chosen_token(page) == len(items[0]["output_tokens"]) - 1
    page.press("Home", "Left", "Up")
    assert chosen_token(page) == 0


def test_a_long_output_scrolls_in_its_own_box_to_the_chosen_token(page):
    go(page, "item=13&token=500")
    inside_box = (
        "const [box, token] = ['tokens', 'token-500'].map((id) => document.getElementById(id)"
        ".getBoundingClientRect()); return [token.top - box.top, box.bottom - token.bottom, scrollY]"
    )
    above, below, scrolled = page.run(inside_box)
    assert above > 0
    assert below > 0
    assert scrolled == 0


def test_the_card_tells_a_token_that_is_pointed_at_and_hides_neither_it_nor_the_chosen_one(page, items):
    for chosen, pointed in ((12, 13), (12, 40), (40, 20), (60, 61)):
        page.click(f"#token-{chosen}")
        page.hover(f"#token-{pointed}")
        card = page.text("#card")
        item = items[0]
        for value in (f"{item['ratio'][pointed]:.4g}", f"token {pointed}", "Patch 3", "of 3"):
            assert value in card
        overlaps = page.run(
            "const card = document.getElementById('card').getBoundingClientRect();"
            "return arguments[0].flatMap((j) => [...document.getElementById(`token-${j}`).getClientRects()])"
            ".filter((box) => box.left < card.right && card.left < box.right"
            " && box.top < card.bottom && card.top < box.bottom).length",
            [chosen, pointed],
        )
        assert overlaps == 0
    page.press("Right")
    assert page.run("return document.getElementById('card').checkVisibility()") is False


# ---- Colours of the output ----


def shown_colour(page, token):
    return page.run(
        "const { backgroundColor } = getComputedStyle(document.getElementById(arguments[0]));"
        "return backgroundColor.match(/\\d+/g).map(Number)",
        f"token-{token}",
    )


def on_the_sheet(name, position):
    """Colours of a ramp on the white sheet, the more the darker and the less see-through."""
    if name == "oranges":
        return ramp(name, position)
    alpha = FULL_ALPHA * (0.4 + 0.6 * np.asarray(position)[..., None])
    return np.rint(255 + alpha * (ramp(f"{name}_r", position).astype(float) - 255))


@pytest.mark.parametrize("name", ["viridis", "cividis", "oranges"])
def test_tokens_take_the_colours_of_their_ratios(page, items, name):
    select(page, "ramp", name)
    ratio = items[0]["ratio"]
    defined = [value for value in ratio if value is not None]
    for j in (0, 20, ratio.index(max(defined)), ratio.index(min(defined))):
        position = (ratio[j] - min(defined)) / (max(defined) - min(defined))
        assert np.abs(shown_colour(page, j) - on_the_sheet(name, position)).max() <= 1
    ends = page.run("return ['lowest', 'highest'].map((id) => Number(document.getElementById(id).value))")
    assert ends == [min(defined), max(defined)]


def test_the_scale_of_all_items_is_the_same_for_each_and_says_what_lies_beyond(both_page, run, both):
    select(both_page, "token-scale", "items")
    runs = [read_items(run), read_items(both.parent / "cot <b>&")]
    ratios = [r for items in runs for item in items for r in item["ratio"] if r is not None]
    expected = np.percentile(ratios, [2, 98])
    for address in ("item=11", "item=13&run=1", "item=13&run=0"):
        go(both_page, address)
        ends = both_page.run(
            "return ['lowest', 'highest'].map((id) => Number(document.getElementById(id).value))"
        )
        assert ends == pytest.approx(expected, rel=1e-6)
    beyond = sum(not expected[0] <= value <= expected[1] for value in runs[0][2]["ratio"])
    assert both_page.text("#clipped") == f"{beyond} beyond, drawn as the ends"
    highest = int(np.argmax(runs[0][2]["ratio"]))
    assert np.abs(shown_colour(both_page, highest) - on_the_sheet("viridis", 1.0)).max() <= 1


# ---- The picture ----


def picture_under(run, name, token, scale, colours="viridis_r"):
    """The overlay as the Python side computes it, from the files of the run."""
    picture = np.asarray(open_image(run / f"images/{name}.png"), dtype=float)
    with np.load(run / f"maps/{name}.npz") as maps:
        weights = (maps["weights"][token] / 255.0) ** 2 * maps["scale"][token]
        field = density(maps["boxes"], weights, picture.shape[1::-1])
    strength = np.clip(field / (scale or field.max()), 0, 1)[..., None]
    return picture + FULL_ALPHA * strength * (ramp(colours, strength[..., 0]) - picture)


@pytest.mark.parametrize(
    ("name", "token", "scale", "colours"),
    [
        ("11", 12, None, "viridis_r"),
        ("11", 40, STUDY_SCALE, "cividis_r"),
        ("13", 3, None, "oranges"),
        ("13", 3, STUDY_SCALE, "viridis_r"),
    ],
)
def test_the_canvas_shows_what_the_python_overlay_computes(page, run, name, token, scale, colours):
    go(page, f"item={name}&token={token}")
    select(page, "scale", "study" if scale else "token")
    select(page, "ramp", colours.removesuffix("_r"))
    difference = np.abs(canvas(page) - picture_under(run, name, token, scale, colours))
    assert difference.max() <= 2.5  # levels of 255: two roundings, and a table of 256 colours


def test_another_token_changes_the_canvas_and_the_switch_shows_the_bare_picture(page, run):
    page.click("#token-12")
    first = canvas(page)
    page.press("Right")
    assert (canvas(page) != first).any()
    page.click("#overlay")
    assert (canvas(page) == np.asarray(open_image(run / "images/11.png"))).all()


def test_the_top_patches_are_framed_where_they_lie_and_listed(page, run):
    page.click("#token-12")
    canvas(page)
    with np.load(run / "maps/11.npz") as maps:
        placed = inside(maps["boxes"])
        attention = (maps["weights"][12][placed] / 255.0) ** 2 * maps["scale"][12]
        boxes = maps["boxes"][placed]
    frames = page.run(
        "const whole = document.getElementById('picture').getBoundingClientRect();"
        "const boxes = [...document.querySelectorAll('#patches span')].map((n) => n.getBoundingClientRect());"
        "return boxes.map((box) => {"
        "return [(box.left + box.right) / 2 - whole.left, (box.top + box.bottom) / 2 - whole.top]"
        ".map((offset, axis) => offset / [whole.width, whole.height][axis]) })"
    )
    assert len(frames) == 3
    listed = page.run("return [...document.querySelectorAll('#places li')].map((node) => node.textContent)")
    for (x, y), words in zip(frames, listed):
        box = boxes[np.argmin(np.hypot(*((boxes[:, :2] + boxes[:, 2:]) / 2 - (x, y)).T))]
        clipped = np.clip(box, 0, 1)
        assert (x, y) == pytest.approx(
            ((clipped[0] + clipped[2]) / 2, (clipped[1] + clipped[3]) / 2), abs=0.005
        )
        level = attention[(boxes == box).all(1)][0]
        assert level >= np.sort(attention)[-3]
        assert words.startswith(f"{round(50 * float(box[0] + box[2]))}% across")


def test_a_picture_that_is_slow_to_decode_never_covers_the_one_chosen_after_it(page):
    go(page, "item=13")
    page.run(
        "const quick = pictureOf;"
        "pictureOf = () => new Promise((done) => { window.arrive = done; });"
        "drawPicture();"
        "pictureOf = quick;"
    )
    go(page, "item=14")
    page.run(
        "const frame = () => new Promise(requestAnimationFrame);"
        "return drawPicture().then(() => arrive()).then(frame).then(() => 1)"
    )
    assert page.run("return document.getElementById('picture').ariaLabel") == "Picture of item 14"


@pytest.mark.parametrize("choice", ["token", "percentile", "answer", "study"])
def test_the_legend_names_the_attention_that_is_drawn_in_full_colour(page, run, choice):
    page.click("#token-12")
    select(page, "scale", choice)
    canvas(page)
    with np.load(run / "maps/11.npz") as maps:
        attention = ((maps["weights"] / 255.0) ** 2 * maps["scale"][:, None])[:, inside(maps["boxes"])]
    expected = {
        "token": attention[12].max(),
        "percentile": np.percentile(attention[12], 98, method="lower"),
        "answer": attention.max(),
        "study": STUDY_SCALE,
    }[choice]
    digits, power = page.text("#picture-top").split(" × 10⁻")
    assert float(digits) * 10.0 ** -"⁰¹²³⁴⁵⁶⁷⁸⁹".index(power) == pytest.approx(expected, rel=1e-3)


def test_the_picture_is_described_in_words(page):
    page.click("#token-12")
    canvas(page)
    label = page.run("return document.getElementById('picture').ariaLabel")
    assert label.startswith("Picture of item 11. Token 12 attends most ")


def test_an_item_without_maps_shows_its_picture_and_says_why_nothing_is_drawn(page, run):
    go(page, "item=14")
    shown = canvas(page)
    assert shown.shape == (480, 640, 3), "a small picture is enlarged so that a grid would be legible"
    picture = open_image(run / "images/14.png").resize((640, 480), Image.Resampling.BILINEAR)
    assert np.abs(shown - np.asarray(picture, dtype=float)).mean() < 2
    assert "No overlay" in page.text("#no-picture")
    assert page.run("return document.getElementById('controls').checkVisibility()") is False


# ---- The answer as a whole ----


def test_an_empty_answer_is_said_and_has_no_token_to_choose(page):
    go(page, "item=15")
    assert page.text("#tokens") == "The model wrote nothing."
    assert page.text("#no-picture") == "No overlay: there is no token to draw it for."
    for name in ("token-panel", "courses", "steps"):
        assert page.run("return document.getElementById(arguments[0]).checkVisibility()", name) is False
    page.click("#tokens")
    page.press("Right", "Down", "End")
    canvas(page)


def test_a_click_into_a_chart_chooses_the_token_there_and_every_chart_marks_it(page, items):
    go(page, "item=13")
    page.run(
        "const box = document.querySelector('#courses svg').getBoundingClientRect();"
        "const at = { clientX: box.left + 0.25 * box.width, clientY: box.top + 5, bubbles: true };"
        "document.querySelector('#courses svg').dispatchEvent(new MouseEvent('click', at))"
    )
    assert chosen_token(page) == 128
    lines = page.run(
        "return [...document.querySelectorAll('#courses .here')].map((node) => node.getAttribute('d'))"
    )
    assert len(lines) == 5
    assert len(set(lines)) == 1
    shown = page.run(
        "return [...document.querySelectorAll('#courses output')].map((node) => node.textContent)"
    )
    assert shown[0] == f"{items[2]['ratio'][128]:#.3g}"
    assert shown[3] == f"{100 * items[2]['shares']['image'][128]:.1f}%"


def test_the_stacked_shares_fill_the_chart(page, items):
    heights = page.run(
        "return [...document.querySelectorAll('#courses path[class^=share-]')]"
        ".map((node) => Number(node.getAttribute('d').match(/^M0 [^L]+L0.00 (-?[\\d.]+)/)[1]))"
    )
    stacked = np.cumsum([column[0] for column in items[0]["shares"].values()])
    assert heights == pytest.approx(list(100 - 100 * stacked), abs=0.01)


def test_steps_are_told_with_their_mean_ratio_and_lead_to_their_first_token(page, items):
    item = items[0]
    steps = find_steps(item["output_tokens"])
    rows = page.run(
        "return [...document.querySelectorAll('#steps button')]"
        ".map((button) => [...button.children].map((part) => part.textContent))"
    )
    for (start, end), (text, _, ratio, length) in zip(steps, rows, strict=True):
        assert text == " ".join("".join(item["output_tokens"][start:end]).split())
        assert ratio == f"{np.mean([r for r in item['ratio'][start:end] if r is not None]):#.3g}"
        assert length == f"{end - start} tokens"
    page.click("#steps li:nth-child(2) button")
    assert chosen_token(page) == steps[1][0]
    assert page.run(
        "return document.querySelector('#steps [aria-current]').closest('li').matches(':nth-child(2)')"
    )


def test_the_grid_of_layers_and_heads_is_drawn_and_read_out_by_mouse_and_keys(page, run):
    page.click("#token-12")
    with np.load(run / "details/11.npz") as details:
        share, by_layer = details["head_share"], details["layer_share"]
    step = float(share.max()) / 255
    drawn = pixels(page.run("return document.getElementById('grid').toDataURL()"))
    assert np.abs(drawn - on_the_sheet("viridis", np.rint(share / step) / 255)).max() <= 1
    page.hover("#grid")
    layer, head = map(int, re.match(r"Layer (\d+), head (\d+): ", page.text("#cell")).groups())
    assert {layer, head} <= {15, 16}, "the middle of the grid"
    page.run("document.getElementById('grid').focus()")
    page.press("Right", "Up")
    words = page.text("#cell")
    assert words.startswith(f"Layer {layer - 1}, head {head + 1}: ")
    told = [float(word.rstrip("%")) for word in words.split() if word.endswith("%")]
    assert told[0] == pytest.approx(100 * share[layer - 1, head + 1], abs=100 * step)
    assert told[1] == pytest.approx(100 * by_layer[12, layer - 1], abs=float(by_layer.max()) / 2.55)
    best = np.unravel_index(share.argmax(), share.shape)
    label = page.run("return document.getElementById('grid').ariaLabel")
    assert f"Highest: layer {best[0]}, head {best[1]}, {100 * share.max():.1f}%" in label


def test_the_table_of_tokens_holds_every_token(page, items):
    page.click("#table summary")
    page.wait_for("document.querySelector('#table td')")
    rows = page.run(
        "return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[2].textContent)"
    )
    assert rows == ["undefined" if value is None else f"{value:#.4g}" for value in items[0]["ratio"]]


def test_hostile_text_is_shown_as_text(page):
    title = page.run("return document.title")
    go(page, "item=12%3Cb%3E%26")
    page.hover("#token-0")
    for selector in ("#question", "#token", "#choices li", "#extracted", "#steps .step-text"):
        text = page.text(selector).replace("␣", " ")
        assert text.startswith(HOSTILE[:30])
        assert "⟨U+202E⟩evil⟨U+200F⟩⟨U+D800⟩⟨U+0000⟩" in text
    assert HOSTILE[:30] in page.text("#card")
    assert page.run("return document.title") == title
    assert (
        page.run("return document.querySelectorAll('main img, #card img, iframe, article script').length")
        == 0
    )
    assert page.run("return document.documentElement.scrollWidth <= innerWidth"), "long words wrap"
    assert page.text("#no-picture") == "This item has no picture, so there is no overlay."
