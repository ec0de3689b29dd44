"""The page as a whole in a real browser: items on demand, the table of items, keys, addresses, the policy."""

import json
import shutil

import pytest
from browser import CONTRASTS, missing_browser, served
from fake_run import HOSTILE
from report_browser_cases import canvas, chosen_token, go, read_items, select, shown_figures

from vkit.report.page import write_page

pytest_plugins = ["report_browser_fixtures"]
pytestmark = pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")


def requests(browser):
    """The addresses that the page asked for since the last look at the log."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def shown_items(page):
    return page.run("return [...document.querySelectorAll('#items tbody a')].map((link) => link.textContent)")


# ---- Items on demand ----


def test_only_the_file_of_the_chosen_item_is_asked_for(page, run):
    requests(page)
    go(page, "item=13&token=7")
    asked = [url for url in requests(page) if not url.startswith("data:")]
    assert len(asked) == 1
    assert asked[0].startswith((run / "index_files/0-2-").as_uri())
    go(page, "item=11")
    go(page, "item=13")
    assert [url for url in requests(page) if url.startswith("file:")] == [], "both are kept"


def test_the_dozen_items_asked_for_last_are_kept_and_older_ones_let_go(page):
    held = page.run("""
        const arrive = (script) => { // each file brings an item, as the real ones do
          const key = script.src.match(/([^/]+)\\.js$/)[1];
          vkitItem(key, { id: key });
        };
        const append = document.head.append.bind(document.head);
        document.head.append = arrive;
        const keys = [...Array(40).keys()].map((k) => `9-${k}`);
        keys.forEach(loadItem);
        loadItem("9-30");
        loadItem("9-99");
        document.head.append = append;
        return [...kept.keys()];
    """)
    assert held == [*(f"9-{k}" for k in (29, *range(31, 40))), "9-30", "9-99"]
    page.run("kept.clear()")


@pytest.mark.parametrize("content", [None, 'vkitItem("0-3"', 'vkitItem("0-9-torn", {});\n'])
def test_a_file_that_is_missing_or_torn_is_named_and_the_page_stays_usable(chromium, run, tmp_path, content):
    shutil.copytree(run, tmp_path / "run")
    (file,) = (tmp_path / "run/index_files").glob("0-2-*.js")
    file.unlink()
    if content:
        file.write_text(content)
    chromium.open((tmp_path / "run/index.html").as_uri() + "#item=13")
    chromium.wait_for("document.getElementById('failure').checkVisibility()")
    assert chromium.text("#failure") == (
        f"The item's file index_files/{file.name} is missing: keep the folder beside the page, or write the "
        "page with --single-file"
    )
    assert chromium.run("return document.getElementById('item').checkVisibility()") is False
    go(chromium, "item=11&token=2")
    assert chromium.run("return document.getElementById('failure').checkVisibility()") is False
    assert chosen_token(chromium) == 2
    chromium.log("browser")


def test_the_page_works_over_http_and_as_a_single_file(chromium, run, items, tmp_path):
    single = tmp_path / "single.html"
    write_page(run, out=single, single_file=True)
    with served(run) as root:
        for address in (f"{root}/index.html", single.as_uri()):
            chromium.open(f"{address}#item=13&token=9")
            chromium.wait_for("state.item")
            canvas(chromium)
            item = items[2]
            assert shown_figures(chromium) == [item["ratio"][9], item["V"][9], item["P"][9]]
    assert [entry for entry in chromium.log("browser") if "favicon" not in entry["message"]] == []


# ---- The table of items ----


def test_items_sort_by_each_column_both_ways_and_what_is_missing_comes_last(page, items):
    page.click("#tab-items")
    cells = (
        "return [...document.querySelectorAll('#items tbody tr')]"
        ".map((row) => row.cells[arguments[0]].textContent)"
    )
    lengths = [str(len(item["output_tokens"])) for item in items]
    assert page.run(cells, 3) == lengths
    page.click("[data-sort=length]")
    assert page.run(cells, 3) == sorted(lengths, key=int, reverse=True)
    page.click("[data-sort=length]")
    assert page.run(cells, 3) == sorted(lengths, key=int)
    assert page.run("return document.querySelector('[aria-sort]').ariaSort") == "ascending"
    for descending in (True, False):
        page.click("[data-sort=ratio]")
        shown = page.run(cells, 2)
        ratios = [item["reduced"]["mean"] for item in items if item["reduced"]]
        assert shown == [f"{r:#.3g}" for r in sorted(ratios, reverse=descending)] + ["–", "–"]
    page.click("[data-sort=order]")
    assert page.run(cells, 3) == lengths


def test_items_are_filtered_by_mark_and_name(page):
    page.click("#tab-items")
    select(page, "filter", "wrong")
    assert shown_items(page) == ["13", "15"]
    assert page.text("#shown") == "2 of 5 items"
    select(page, "filter", "all")
    page.click("#search")
    page.press("<", "B")
    assert shown_items(page) == ["12<b>&"]


def test_the_table_shows_both_runs_and_where_they_differ(both_page, run, both):
    both_page.click("#tab-items")
    select(both_page, "filter", "differs")
    assert shown_items(both_page) == ["11"]
    marks = "return [...document.querySelectorAll('#items tbody td.first')].map((cell) => cell.ariaLabel)"
    assert both_page.run(marks) == ["✓ correct", "✗ wrong"]
    select(both_page, "filter", "all")
    assert both_page.run(marks)[3] == "not in cot <b>&"
    both_page.click("#items tbody tr:nth-child(3) td:nth-of-type(10)")
    both_page.wait_for("state.item")
    assert both_page.run("return [state.run, state.item.id, state.item.tokens.length]") == [1, "13", 50]


# ---- Going on ----


def test_letter_keys_walk_through_the_items_in_the_order_of_the_table(page):
    page.click("#tab-items")
    page.click("[data-sort=length]")
    page.click("#items tbody tr:first-child a")
    walked = []
    for key in ("j", "j", "k", "k", "k"):
        page.wait_for("state.item")
        walked.append(page.text("#item-title"))
        page.press(key)
    page.wait_for("state.item")
    assert walked == ["Item 13", "Item 11", "Item 12<b>&", "Item 11", "Item 13"]
    assert page.text("#item-title") == "Item 13", "there is none before the first"
    page.click("#keys")
    page.press("j")
    assert page.text("#item-title") == "Item 13", "the letters are switched off"


def test_escape_leads_back_to_the_table_and_to_the_overview(page):
    go(page, "item=13")
    page.press("Escape")
    page.wait_for("state.view === 'items'")
    assert page.run("return document.activeElement.textContent") == "13"
    page.press("Down", "Enter")
    page.wait_for("state.view === 'item' && state.item")
    assert page.text("#item-title") == "Item 14"
    page.press("Escape")
    page.wait_for("state.view === 'items'")
    page.press("Escape")
    page.wait_for("state.view === 'overview'")
    assert page.run("return document.getElementById('overview').checkVisibility()")


def test_the_other_run_shows_the_same_position_where_its_answer_is_long_enough(both_page, run, both):
    other = read_items(both.parent / "cot <b>&")
    go(both_page, "item=13&token=40")
    both_page.press("r")
    both_page.wait_for("state.item && state.run === 1")
    assert chosen_token(both_page) == 40
    assert shown_figures(both_page)[0] == other[1]["ratio"][40]
    assert "✗ wrong" in both_page.text("#verdict")
    go(both_page, "run=0&item=13&token=300")
    both_page.click("#run-switch button:nth-child(2)")
    both_page.wait_for("state.item && state.run === 1")
    assert chosen_token(both_page) == 49
    go(both_page, "item=12%3Cb%3E%26")
    assert both_page.run("return document.getElementById('run-switch').checkVisibility()") is False


def test_the_address_names_item_run_and_token_so_that_a_view_can_be_shared(both_page, both):
    go(both_page, "run=1&item=13&token=33")
    both_page.press("Right")
    both_page.wait_for("location.hash.endsWith('token=34')")
    address = both_page.run("return location.href")
    both_page.open(address)
    both_page.wait_for("state.item")
    assert both_page.run("return state.run") == 1
    assert (both_page.text("#item-title"), chosen_token(both_page)) == ("Item 13", 34)
    both_page.run("location.hash = 'item=none'")
    both_page.wait_for("document.getElementById('failure').checkVisibility()")
    assert both_page.text("#failure") == "The page has no item none; choose one under Items."


def test_the_overview_leads_to_each_run(both_page):
    both_page.run("location.hash = ''")
    both_page.wait_for("state.view === 'overview'")
    both_page.click("#runs tbody tr:nth-child(2) a")
    both_page.wait_for("state.run === 1 && state.item")
    assert both_page.run("return [state.run, state.item.id]") == [1, "11"]


# ---- Safety ----


def test_no_request_leaves_the_page(chromium, run):
    requests(chromium)
    chromium.open((run / "index.html").as_uri())
    for name in ("11", "12%3Cb%3E%26", "13", "14", "15"):
        go(chromium, f"item={name}")
        canvas(chromium)
    asked = requests(chromium)
    assert (run / "index.html").as_uri() in asked
    root = (run / "index_files").as_uri()
    assert len([url for url in asked if url.startswith(root)]) == 5
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []


def test_the_policy_stops_a_script_and_a_request_that_got_in(chromium, run):
    chromium.open((run / "index.html").as_uri())
    chromium.log("browser")
    chromium.run(
        "for (const made of [{ textContent: 'window.broken = 1' }, { src: 'https://example.org/a.js' }]) {"
        "document.body.append(Object.assign(document.createElement('script'), made)) }"
    )
    assert chromium.run("return window.broken ?? null") is None
    sent = "return fetch('https://example.org').then(() => 'sent', () => 'stopped')"
    assert chromium.run(sent) == "stopped"
    refusals = [entry["message"] for entry in chromium.log("browser")]
    for refused in ("inline script", "example.org/a.js", "'https://example.org"):
        assert any(refused in m and "Content Security Policy" in m for m in refusals), (refused, refusals)


def test_hostile_text_in_the_table_and_the_overview_is_shown_as_text(chromium, run, tmp_path):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("index*"))
    lines = [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]
    lines[0]["id"] = HOSTILE
    (tmp_path / "run/items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {**json.loads((run / "summary.json").read_text()), "model": HOSTILE, "prompt": HOSTILE}
    (tmp_path / "run/summary.json").write_text(json.dumps(summary))
    write_page(tmp_path / "run", single_file=False)
    chromium.open((tmp_path / "run/index.html").as_uri())
    title = chromium.run("return document.title")
    assert HOSTILE[:30] in title
    assert "⟨U+202E⟩evil" in chromium.text("h1")
    chromium.click("#tab-items")
    assert chromium.text("#items tbody a").startswith(HOSTILE[:30])
    chromium.click("#items tbody a")
    chromium.wait_for("state.item")
    assert chromium.text("#item-title").startswith(f"Item {HOSTILE[:30]}")
    assert chromium.run("return document.querySelectorAll('img, iframe').length") == 0
    assert chromium.run("return document.title") == title


# ---- For every reader ----


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_the_contrast_of_aa_in_light_and_dark(both_page, dark):
    both_page.emulate(dark=dark)
    open_all = "document.querySelectorAll('details').forEach((node) => { node.open = true })"
    for address, least in (("", 60), ("items", 30), ("item=11&token=12", 400), ("item=12%3Cb%3E%26", 60)):
        both_page.run("location.hash = arguments[0]; follow()", address)
        both_page.wait_for("state.view !== 'item' || state.item")
        both_page.run(open_all)
        found = both_page.run(CONTRASTS)
        assert len(found) > least
        assert min(found)[0] >= 4.5, (address, min(found))
    paper = both_page.run("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) is dark


def test_everything_that_takes_the_focus_has_a_name(both_page):
    both_page.devtools("Accessibility.enable")
    roles = set()
    for address in ("", "items", "item=11"):
        both_page.run("location.hash = arguments[0]; follow()", address)
        both_page.wait_for("state.view !== 'item' || state.item")
        nodes = both_page.devtools("Accessibility.getFullAXTree")["nodes"]
        focusable = [
            node
            for node in nodes
            if not node["ignored"]
            and any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
            and node["role"]["value"] not in ("RootWebArea", "generic")
        ]
        roles |= {node["role"]["value"] for node in focusable}
        assert [node for node in focusable if not node.get("name", {}).get("value")] == []
    assert {"link", "button", "checkbox", "combobox", "listbox", "searchbox", "region", "image"} <= roles
    both_page.devtools("Accessibility.disable")


def test_ids_are_unique_and_what_labels_refer_to_exists(page):
    assert page.run("""
        const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
        const wanted = ["aria-labelledby", "aria-describedby", "aria-activedescendant"].flatMap((name) =>
          [...document.querySelectorAll(`[${name}]`)].flatMap((node) => node.getAttribute(name).split(" ")));
        return [ids.filter((id, k) => ids.indexOf(id) !== k), wanted.filter((id) => !ids.includes(id))];
    """) == [[], []]


def test_the_tab_key_reaches_switches_and_tokens_in_few_steps(page):
    reached = set()
    page.run("document.getElementById('tab-overview').focus()")
    for _ in range(10):
        page.press("Tab")
        reached.add(page.run("return document.activeElement.id || document.activeElement.textContent"))
    assert {"tab-items", "next", "overlay", "scale", "tokens", "token-scale", "ramp"} <= reached


def test_tab_stops_at_one_item_of_the_table_and_arrow_keys_go_on_from_there(page):
    page.click("#tab-items")
    page.wait_for("document.activeElement.matches('#items tbody a')")
    assert page.run("return document.querySelectorAll('#items tbody a[tabindex=\"0\"]').length") == 1
    page.press("Down", "Down")
    assert page.run("return document.activeElement.textContent") == "13"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1440, 800), (1280, 720)])
def test_picture_token_figures_and_output_are_seen_together_on_a_low_screen(both_page, width, height):
    both_page.emulate(width=width, height=height)
    for name in ("11", "13"):
        go(both_page, f"item={name}&token=12")
        canvas(both_page)
        both_page.run("scrollTo(0, 0)")
        bottoms = both_page.run(
            "return ['picture', 'tokens', 'ratio', 'P', 'shares', 'places'].map((id) =>"
            " document.getElementById(id).getBoundingClientRect().bottom)"
        )
        assert max(bottoms) <= height


@pytest.mark.parametrize("width", [320, 390, 768, 1100])
def test_a_narrow_screen_needs_no_sideways_scrolling(both_page, width):
    both_page.emulate(width=width, height=800)
    for address in ("", "items", "item=11", "item=12%3Cb%3E%26", "item=13&run=1"):
        both_page.run("location.hash = arguments[0]; follow()", address)
        both_page.wait_for("state.view !== 'item' || state.item")
        assert both_page.run("return document.documentElement.scrollWidth") <= width, address


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_letters_in_charts_are_legible_and_none_is_cut_off(both_page, width):
    both_page.run("location.hash = ''; follow()")
    both_page.emulate(width=width)
    found = both_page.run("""
        return [...document.querySelectorAll("#overview svg text")].filter((text) => text.checkVisibility())
          .map((text) => {
            const [box, svg] = [text, text.ownerSVGElement].map((node) => node.getBoundingClientRect());
            const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
            const beyond = Math.max(svg.left - box.left, box.right - svg.right);
            return { text: text.textContent, beyond, size };
          });
    """)
    assert len(found) > 30
    assert [each for each in found if each["beyond"] > 0] == []
    assert [each for each in found if not 9.5 < each["size"] < 19] == []
