"""The demo's page in a real browser: what stands in the report is what people see, choose and hear."""

import copy
import json
import re

import numpy as np
import pytest
from browser import CONTRASTS, Browser, missing_browser
from fake_puma_report import example, fake_report
from fake_run import HOSTILE, LONG_WORD

from vkit.attention.names import SHARES
from vkit.attention.summary import LIMITS
from vkit.errors import VkitError
from vkit.images import open_image
from vkit.report.charts import LABEL_STEP, decades, spread_labels
from vkit.report.colours import ramp
from vkit.report.overlay import FULL_ALPHA
from vkit.report.puma_attention import SHARE_NAMES
from vkit.report.puma_page import MAX_EXAMPLES, write_puma_page

in_a_browser = pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")
SHOWN = "⟨U+202E⟩evil⟨U+200F⟩⟨U+D800⟩⟨U+0000⟩"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def report(folder):
    return fake_report(folder)


@pytest.fixture(scope="module")
def plain(folder, report):
    return write_puma_page(folder / "index.html", report)


@pytest.fixture(scope="module")
def hostile(folder, report):
    """The same report with texts that mean harm wherever a text comes from a model or a record."""
    bad = copy.deepcopy(report)
    bad["warnings"] = [HOSTILE]
    outputs = {"1-2-3": HOSTILE + LONG_WORD, "1-3": ""}
    correct = {"1-2-3": False, "1-3": True}
    more = {"id": HOSTILE, "question": HOSTILE, "answer": HOSTILE, "outputs": outputs, "correct": correct}
    bad["examples"] = [example("bad", report["examples"][0]["picture"], **more)]
    bad["attention"]["items"][0]["tokens"][:3] = [HOSTILE, "\n", LONG_WORD]
    bad["attention"]["items"][0]["id"] = HOSTILE
    bad["attention"]["after"]["page"] = "javascript:alert(1)"
    bad["orders"][1]["name"] = HOSTILE
    bad["model"] = HOSTILE
    return write_puma_page(folder / "hostile.html", bad)


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(chromium, plain):
    """The page as it opens; the test may not leave a word in the console."""
    chromium.emulate()
    load(chromium, plain)
    yield chromium
    assert [entry["message"] for entry in chromium.log("browser")] == []


def load(browser, path):
    browser.log("browser")
    browser.open(path.as_uri())
    browser.run(
        "const wait = () => document.body.dataset.ready || new Promise(requestAnimationFrame).then(wait);"
        "return Promise.resolve(wait()).then(() => true)"
    )


def chosen_token(page):
    return page.run("return Number(document.querySelector('[aria-selected=true]').id.slice(6))")


def pixels(page, side):
    """The canvas of a side, (height, width, 3)."""
    found = page.run(
        "const canvas = document.getElementById(`map-${arguments[0]}`);"
        "const { data, width, height } = canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height);"
        "return [height, width, ...data]",
        side,
    )
    return np.array(found[2:], dtype=float).reshape(found[0], found[1], 4)[..., :3]


def figures(page):
    names = [f"{name}-{side}" for name in ("ratio", "image", "cell") for side in ("before", "after")]
    return [page.text(f"#{name}") for name in names]


def expected_figures(item, token):
    sides = [item["before"], item["after"]]
    ratios = [
        "undefined" if side["ratio"][token] is None else f"{side['ratio'][token]:#.3g}" for side in sides
    ]
    maps = [side["maps"][token] for side in sides]
    return [*ratios, *(f"{100 * sum(m):.1f}%" for m in maps), *(f"{100 * max(m):.1f}%" for m in maps)]


# ---- The words and numbers, without a browser ----


def test_the_first_sentence_gives_both_accuracies_beside_each_gap(plain):
    sentence = re.search(r"<h1>(.*?)</h1>", plain.read_text(), re.DOTALL)[1]
    assert re.sub(r"<.*?>", "", sentence).replace("\u2011", "-") == (
        "After stages 1-2-3 the model solves 86.2% of the problems that stand only in the picture and 92.5% "
        "of those told in text (gap 7%); without stage 2 (1-3), 45.0% and 92.5% (gap 106%)."
    )


def test_the_table_repeats_both_accuracies_beside_the_gap_and_names_an_undefined_one(plain):
    rows = re.findall(r"<tr class=.*?</tr>", plain.read_text())
    cells = [re.sub(r"<.*?>", "|", row) for row in rows]
    assert [cell.count("%") for cell in cells] == [8, 9, 9, 9]
    assert "undefined |1.2% to 0.0%" in cells[0]
    assert "−92% |5.0% to 62.5%" in cells[1]
    assert "106% |92.5% to 45.0%" in cells[3]


def test_the_page_says_what_chance_and_the_measures_leave_open(plain):
    text = plain.read_text()
    assert "86.2% of 80 problems leaves 77 to 92% open, 45.0% of 80 problems leaves 35 to 56% open" in text
    assert LIMITS.replace("'", "&#x27;") in text
    assert "A gap alone misleads" in text
    assert "python -m benchmarks reproduction" in text


def test_shares_are_those_that_a_summary_has():
    assert tuple(SHARE_NAMES) == SHARES


def test_absent_parts_are_left_out_and_no_script_is_allowed_without_the_panel(folder, report):
    small = {key: report[key] for key in ("problems", "pairs", "seconds", "orders")}
    text = write_puma_page(folder / "small.html", small).read_text()
    assert "<script" not in text
    assert "script-src 'none'" in text
    assert not re.search(r"\{\{|examples-title|attention-title|loss-title|None", text)
    assert text.count("<section") == 3


def test_data_cannot_end_its_script_element(hostile):
    data = re.search(r'id="data">(.*?)</script>', hostile.read_text(), re.DOTALL)[1]
    assert not re.search(r"[<>&\u2028\u2029]", data)
    assert json.loads(data)["items"][0]["tokens"][0].startswith("</script><img")


def test_a_dozen_examples_are_shown_at_most(folder, report):
    many = report | {"examples": report["examples"] * 5}
    assert write_puma_page(folder / "many.html", many).read_text().count('class="asked"') == MAX_EXAMPLES


def test_a_picture_that_is_missing_is_named_with_its_problem(folder, report):
    broken = report | {"examples": [report["examples"][0] | {"picture": str(folder / "none.png")}]}
    with pytest.raises(VkitError, match=r"'third angle/vision-only' of the report: .*none\.png"):
        write_puma_page(folder / "broken.html", broken)
    assert not (folder / "broken.html").exists()


def test_attention_that_does_not_fit_its_tokens_is_refused(folder, report):
    broken = copy.deepcopy(report)
    broken["attention"]["items"][0]["after"]["maps"].pop()
    with pytest.raises(VkitError, match="problem '0' of the report needs a ratio and 4 x 4 figures"):
        write_puma_page(folder / "broken.html", broken)


def test_names_at_the_ends_of_lines_keep_their_order_and_their_distance():
    for levels in ([100, 100, 100, 100], [298, 299, 300, 5], [1, 2, 150]):
        spread = spread_labels(levels, 12, 300)
        assert np.diff(sorted(spread)).min() >= LABEL_STEP
        assert sorted(range(len(levels)), key=lambda i: (levels[i], i)) == sorted(
            range(len(levels)), key=lambda i: spread[i]
        )
        assert max(spread) <= 300


def test_a_logarithmic_axis_spans_the_values_and_stands_a_zero():
    assert [value for value, _ in decades([0.0, 0.03, 40.0])] == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert len(decades([1e-12, 1.0])) == 6
    assert len(decades([0.0])) == 2


# ---- In a browser ----


@in_a_browser
def test_a_click_and_the_arrow_keys_choose_the_token_whose_numbers_are_shown(page, report):
    item = report["attention"]["items"][0]
    assert figures(page) == expected_figures(item, 0)
    page.click("#token-4")
    assert figures(page) == expected_figures(item, 4)
    page.press("Right", "Right", "Left", "Left", "Left", "Left", "Left")
    assert chosen_token(page) == 1
    assert figures(page) == expected_figures(item, 1)
    assert figures(page)[0] == "undefined"
    page.press("End", "Right")
    assert chosen_token(page) == len(item["tokens"]) - 1
    page.press("Home", "Left")
    assert chosen_token(page) == 0
    assert page.text("#position") == f"1 of {len(item['tokens'])}"


@in_a_browser
def test_the_maps_are_drawn_over_the_picture_in_the_same_colours_on_both_sides(page, report):
    item = report["attention"]["items"][0]
    page.click("#token-4")
    top = max(max(item[side]["maps"][4]) for side in ("before", "after"))
    picture = np.asarray(open_image(item["picture"]), dtype=float).repeat(6, axis=0).repeat(6, axis=1)
    for side in ("before", "after"):
        field = np.array(item[side]["maps"][4]).reshape(4, 4).repeat(96, axis=0).repeat(96, axis=1)
        strength = (field / top)[..., None]
        expected = picture + FULL_ALPHA * strength * (ramp("viridis_r", strength[..., 0]) - picture)
        assert np.abs(pixels(page, side) - expected).max() <= 2.5
    assert page.text("#top") == f"{100 * top:.1f}%"
    label = page.run("return document.getElementById('map-after').ariaLabel")
    assert label.startswith("Picture of problem 0, after: token 5 attends most ")


@in_a_browser
def test_another_problem_is_chosen_by_click_and_by_keyboard(page, report):
    first = pixels(page, "after")
    page.click("#problem-1")
    assert figures(page) == expected_figures(report["attention"]["items"][1], 0)
    assert (pixels(page, "after") != first).any()
    page.press("Left")
    assert figures(page) == expected_figures(report["attention"]["items"][0], 0)


@in_a_browser
def test_every_cell_stands_in_a_table_too(page, report):
    page.click("#token-7")
    cells = page.run("return [...document.querySelectorAll('#numbers-after td')].map((c) => c.textContent)")
    assert cells == [f"{100 * value:.1f}" for value in report["attention"]["items"][0]["after"]["maps"][7]]


@in_a_browser
def test_right_and_wrong_are_words_and_signs(page, report):
    marks = page.run("return [...document.querySelectorAll('.mark')].map((node) => node.textContent)")
    correct = [value for item in report["examples"] for value in item["correct"].values()]
    assert marks == ["✓ right" if value else "✗ wrong" for value in correct]


@in_a_browser
def test_the_full_pages_are_linked_beside_this_one(page, plain):
    links = page.run("return [...document.querySelectorAll('.attention a')].map((node) => node.href)")
    names = ("attention-before/index.html", "attention-after/index.html")
    assert links == [(plain.parent / name).as_uri() for name in names]


@in_a_browser
def test_hostile_text_is_shown_as_text(chromium, hostile):
    chromium.emulate()
    load(chromium, hostile)
    for selector in (".banner", ".asked p bdi", ".asked h3", ".said", "#token", "footer dl", "table tbody"):
        text = chromium.text(selector).replace("␣", " ")
        assert HOSTILE[:30] in text
        assert SHOWN in text
    assert chromium.text(".examples dl div:nth-child(2) .said") == "(nothing)"
    assert "more characters" in chromium.text(".examples dd small")
    assert chromium.run("return document.title") == "Math-PUMA in miniature"
    assert chromium.run("return document.querySelectorAll('iframe, img[onerror], main script').length") == 0
    assert chromium.run("return document.documentElement.scrollWidth <= innerWidth"), "long words wrap"
    links = chromium.run("return [...document.querySelectorAll('a')].map((node) => node.protocol)")
    assert links == ["file:", "file:"]
    assert [entry["message"] for entry in chromium.log("browser")] == []


@in_a_browser
def test_no_request_leaves_the_page_and_the_policy_would_stop_one(chromium, plain):
    chromium.log("performance")
    load(chromium, plain)
    chromium.click("#problem-1")
    messages = [json.loads(entry["message"])["message"] for entry in chromium.log("performance")]
    requests = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert plain.as_uri() in requests
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:"))] == []
    sent = "return fetch('https://example.org').then(() => 'sent', () => 'stopped')"
    assert chromium.run(sent) == "stopped"
    assert any("Content Security Policy" in entry["message"] for entry in chromium.log("browser"))


@in_a_browser
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (True, 390)])
def test_every_text_has_the_contrast_of_aa(page, dark, width):
    page.emulate(dark=dark, width=width)
    page.run("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    found = page.run(CONTRASTS)
    assert len(found) > 200
    assert min(found)[0] >= 4.5, min(found)
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) is dark


@in_a_browser
@pytest.mark.parametrize("width", [320, 390, 840])
def test_a_narrow_screen_needs_no_sideways_scrolling_and_keeps_legible_charts(page, width):
    page.emulate(width=width, height=800)
    assert page.run("return document.documentElement.scrollWidth") <= width
    shown = page.run(
        "return [...document.querySelectorAll('.chart')].filter((node) => node.checkVisibility())"
        ".map((node) => 13 * node.getBoundingClientRect().width / node.viewBox.baseVal.width)"
    )
    assert len(shown) == 2, "one drawing of each chart"
    assert min(shown) >= 9, "pixels of a chart's letters"


@in_a_browser
def test_everything_that_takes_the_focus_and_every_picture_has_a_name(page):
    page.devtools("Accessibility.enable")
    nodes = [n for n in page.devtools("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    page.devtools("Accessibility.disable")

    def focusable(node):
        return any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))

    kept = [
        node
        for node in nodes
        if (focusable(node) or node["role"]["value"] in ("image", "img"))
        and node["role"]["value"] not in ("RootWebArea", "generic")
    ]
    roles = {node["role"]["value"] for node in kept}
    assert {"radio", "listbox", "link", "region", "image"} <= roles
    assert [node["role"]["value"] for node in kept if not node.get("name", {}).get("value")] == []


@in_a_browser
def test_the_tab_key_reaches_everything_in_few_steps(page):
    reached = []
    for _ in range(9):
        page.press("Tab")
        reached.append(page.run("return document.activeElement.id || document.activeElement.localName"))
    assert reached[:6] == ["div", "problem-0", "tokens", "summary", "summary", "a"]
