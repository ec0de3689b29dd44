"""The page in a real browser: what people see, choose and hear is what stands in the run."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
from browser import Browser, missing_browser
from fake_run import HOSTILE, write_fake_run
from PIL import Image

from vkit.images import open_image
from vkit.report.colours import ramp
from vkit.report.overlay import FULL_ALPHA, STUDY_SCALE, density, inside
from vkit.report.page import write_page

pytestmark = pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")

# Contrast of every text against what lies behind it, as WCAG 2.2 computes it from the colours in use.
CONTRASTS = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, c) => {
  const value = channels(colour)[c] / 255;
  return sum + weight * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
}, 0);
const background = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour.startsWith("rgb(")) return colour;
  }
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script")) continue;
  const both = [luminance(getComputedStyle(node).color), luminance(background(node))];
  const [low, high] = both.sort((a, b) => a - b);
  found.push([(high + 0.05) / (low + 0.05), node.textContent.slice(0, 40)]);
}
return found;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_fake_run(tmp_path_factory.mktemp("report") / "run")
    write_page(folder)
    return folder


@pytest.fixture(scope="module")
def items(run):
    return [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(chromium, run):
    """The page as it opens; the test may not leave a word in the console."""
    chromium.emulate()
    chromium.open((run / "index.html").as_uri())
    chromium.log("browser")
    yield chromium
    assert [entry["message"] for entry in chromium.log("browser")] == []


def canvas(page):
    """The pixels on show, once the drawing that was begun is over."""
    source = page.run("return drawPicture().then(() => document.getElementById('picture').toDataURL())")
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))


def shown_figures(page):
    return page.run("return ['ratio', 'V', 'P'].map((id) => Number(document.getElementById(id).value))")


def chosen_token(page):
    return page.run("return Number(document.querySelector('[aria-selected=true]').id.slice(6))")


def test_a_click_chooses_a_token_and_shows_its_recorded_numbers(page, items):
    page.click("#token-12")
    item = items[0]
    assert page.text("#position") == "12"
    assert shown_figures(page) == [item["ratio"][12], item["V"][12], item["P"][12]]
    assert page.text("#ratio") == f"{item['ratio'][12]:.4g}"
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


def test_tokens_take_the_colours_of_their_ratios(page, items):
    ratio = items[0]["ratio"]
    defined = [value for value in ratio if value is not None]
    for j in (0, 20, ratio.index(max(defined)), ratio.index(min(defined))):
        expected = ramp("oranges", (ratio[j] - min(defined)) / (max(defined) - min(defined)))
        shown = page.run(
            "return getComputedStyle(document.getElementById(arguments[0])).backgroundColor", f"token-{j}"
        )
        assert shown == f"rgb({', '.join(map(str, expected))})"
    ends = page.run("return ['lowest', 'highest'].map((id) => Number(document.getElementById(id).value))")
    assert ends == [min(defined), max(defined)]


def picture_under(run, name, token, scale):
    """The overlay as the Python side computes it, from the files of the run."""
    picture = np.asarray(open_image(run / f"images/{name}.png"), dtype=float)
    with np.load(run / f"maps/{name}.npz") as maps:
        weights = (maps["weights"][token] / 255.0) ** 2 * maps["scale"][token]
        field = density(maps["boxes"], weights, picture.shape[1::-1])
    strength = np.clip(field / (scale or field.max()), 0, 1)[..., None]
    return picture + FULL_ALPHA * strength * (ramp("viridis_r", strength[..., 0]) - picture)


@pytest.mark.parametrize(
    ("name", "token", "scale"),
    [("11", 12, None), ("11", 40, STUDY_SCALE), ("13", 3, None), ("13", 3, STUDY_SCALE)],
)
def test_the_canvas_shows_what_the_python_overlay_computes(page, run, name, token, scale):
    page.run("location.hash = arguments[0]; follow()", f"item={name}&token={token}")
    page.run("document.getElementById('scale').value = arguments[0]", "study" if scale else "token")
    difference = np.abs(canvas(page) - picture_under(run, name, token, scale))
    assert difference.max() <= 2.5  # levels of 255: two roundings, and a table of 256 colours


def test_another_token_changes_the_canvas_and_the_switch_shows_the_bare_picture(page, run):
    page.click("#token-12")
    first = canvas(page)
    page.press("Right")
    assert (canvas(page) != first).any()
    page.click("#overlay")
    assert (canvas(page) == np.asarray(open_image(run / "images/11.png"))).all()


def test_a_picture_that_is_slow_to_decode_never_covers_the_one_chosen_after_it(page, run):
    page.run("""
        const [slow, quick] = [items[2], items[3]];
        slow.image = { decode: () => new Promise((done) => { window.decoded = done; }) };
        choose(slow, 0);
        choose(quick, 0);
        const frame = () => new Promise(requestAnimationFrame);
        return drawPicture().then(() => decoded()).then(frame).then(() => true);
    """)
    assert page.run("return document.getElementById('picture').ariaLabel") == "Picture of item 14"


@pytest.mark.parametrize("choice", ["token", "percentile", "answer", "study"])
def test_the_legend_names_the_attention_that_is_drawn_in_full_colour(page, run, choice):
    page.click("#token-12")
    page.run("document.getElementById('scale').value = arguments[0]", choice)
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


def test_an_empty_answer_is_said_and_has_no_token_to_choose(page):
    page.click("#items tbody tr:nth-child(5) button")
    assert page.text("#tokens") == "The model wrote nothing."
    assert page.run("return document.getElementById('token-panel').checkVisibility()") is False
    page.click("#tokens")
    page.press("Right", "Down", "End")
    canvas(page)
    assert page.text("#items tbody tr:nth-child(5) td:nth-child(3)") == "–"


def wait_for_table(page):
    """The table of tokens is filled when its frame is opened, which browsers report a little later."""
    page.run(
        "const cell = () => document.querySelector('#table td');"
        "const filled = () => cell() || new Promise(requestAnimationFrame).then(filled);"
        "return Promise.resolve(filled()).then(() => true)"
    )


def test_an_item_is_chosen_by_click_and_by_arrow_keys(page, items):
    page.click("#items tbody tr:nth-child(3) button")
    assert page.text("#item-title") == "Item 13"
    assert page.text("#mark") == "✗ wrong"
    assert page.text("#extracted") == "A"
    assert len(page.run("return document.getElementById('tokens').textContent")) > 1000
    page.press("Down")
    assert page.text("#item-title") == "Item 14"
    assert page.text("#mark") == "– not scored"
    assert page.text("#extracted") == "none found"


def test_items_sort_by_each_column_both_ways(page, items):
    cells = "[...document.querySelectorAll('#items tbody td:last-child')]"
    order = f"return {cells}.map((cell) => Number(cell.textContent))"
    lengths = [len(item["output_tokens"]) for item in items]
    page.click("[data-sort=length]")
    assert page.run(order) == sorted(lengths, reverse=True)
    page.click("[data-sort=length]")
    assert page.run(order) == sorted(lengths)
    assert page.run("return document.querySelector('[aria-sort]').ariaSort") == "ascending"
    page.click("[data-sort=order]")
    assert page.run(order) == lengths


def test_the_address_names_item_and_token_so_that_a_view_can_be_shared(page, run, items):
    page.click("#items tbody tr:nth-child(3) button")
    page.click("#token-77")
    address = page.run("return location.href")
    page.open(address)
    assert (page.text("#item-title"), chosen_token(page)) == ("Item 13", 77)
    assert shown_figures(page)[0] == items[2]["ratio"][77]


def test_hostile_text_is_shown_as_text(page, items):
    title = page.run("return document.title")
    page.click("#items tbody tr:nth-child(2) button")
    for selector in ("#question", "#token", "#choices li", "#extracted"):
        text = page.text(selector).replace("␣", " ")
        assert text.startswith(HOSTILE[:30])
        assert "⟨U+202E⟩evil⟨U+200F⟩⟨U+D800⟩⟨U+0000⟩" in text
    assert page.run("return document.title") == title
    assert page.run("return document.querySelectorAll('img, b, iframe').length") == 0
    assert page.run("return document.documentElement.scrollWidth <= innerWidth"), "long words wrap"
    assert page.text("#no-picture") == "This item has no picture, so there is no overlay."


def test_an_item_without_maps_shows_its_picture_and_says_why_nothing_is_drawn(page, run):
    page.click("#items tbody tr:nth-child(4) button")
    shown = canvas(page)
    assert shown.shape == (480, 640, 3), "a small picture is enlarged so that a grid would be legible"
    picture = open_image(run / "images/14.png").resize((640, 480), Image.Resampling.BILINEAR)
    assert np.abs(shown - np.asarray(picture, dtype=float)).mean() < 2
    assert "No overlay" in page.text("#no-picture")
    assert page.run("return document.getElementById('controls').checkVisibility()") is False


def test_the_table_of_tokens_holds_every_token(page, items):
    page.click("#table summary")
    wait_for_table(page)
    rows = page.run(
        "return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[2].textContent)"
    )
    assert rows == ["undefined" if value is None else f"{value:#.4g}" for value in items[0]["ratio"]]


def test_no_request_leaves_the_page(chromium, run):
    chromium.log("performance")
    chromium.open((run / "index.html").as_uri())
    for row in (1, 2, 3, 4, 5):
        chromium.click(f"#items tbody tr:nth-child({row}) button")
        canvas(chromium)
    messages = [json.loads(entry["message"])["message"] for entry in chromium.log("performance")]
    requests = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert (run / "index.html").as_uri() in requests
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:"))] == []


def test_the_policy_stops_a_script_and_a_request_that_got_in(chromium, run):
    chromium.open((run / "index.html").as_uri())
    chromium.run(
        "const node = document.createElement('script');"
        "node.textContent = 'window.broken = 1';"
        "document.body.append(node)"
    )
    assert chromium.run("return window.broken ?? null") is None
    assert (
        chromium.run("return fetch('https://example.org').then(() => 'sent', () => 'stopped')") == "stopped"
    )
    refusals = [entry["message"] for entry in chromium.log("browser")]
    assert any("script" in message and "Content Security Policy" in message for message in refusals)
    assert any("example.org" in message and "Content Security Policy" in message for message in refusals)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_the_contrast_of_aa_in_light_and_dark(page, dark):
    page.emulate(dark=dark)
    page.run("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    wait_for_table(page)
    found = page.run(CONTRASTS)
    assert len(found) > 400
    assert min(found)[0] >= 4.5, min(found)
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) is dark


def test_everything_that_takes_the_focus_has_a_name(page):
    page.devtools("Accessibility.enable")
    nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        node
        for node in nodes
        if not node["ignored"]
        and any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] not in ("RootWebArea", "generic")
    ]
    roles = {node["role"]["value"] for node in focusable}
    assert {"button", "checkbox", "combobox", "listbox"} <= roles
    assert [node for node in focusable if not node.get("name", {}).get("value")] == []
    page.devtools("Accessibility.disable")


def test_the_tab_key_reaches_list_switches_and_tokens_in_few_steps(page):
    reached = set()
    for _ in range(14):
        page.press("Tab")
        reached.add(page.run("return document.activeElement.id || document.activeElement.textContent"))
    assert {"11", "overlay", "scale", "tokens"} <= reached
    assert not {"13", "14"} & reached, "arrow keys, not tab stops, go through the items"


def test_the_picture_is_described_in_words(page):
    page.click("#token-12")
    canvas(page)
    label = page.run("return document.getElementById('picture').ariaLabel")
    assert label.startswith("Picture of item 11. Token 12 attends most ")


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_a_narrow_screen_needs_no_sideways_scrolling(page, width):
    page.emulate(width=width, height=800)
    for row in (1, 2, 3):
        page.run("document.querySelector(`#items tbody tr:nth-child(${arguments[0]}) button`).click()", row)
        assert page.run("return document.documentElement.scrollWidth") <= width
