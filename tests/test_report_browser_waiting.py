"""The page in a real browser while an item loads, where there is none, and where keys come fast."""

import shutil

import pytest
from browser import missing_browser
from report_browser_cases import chosen_token, go, select

from vkit.report.page import write_page

pytest_plugins = ["report_browser_fixtures"]
pytestmark = pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")


def hold_back_files(page):
    """Files that are asked for from now on arrive when `window.arrive()` is called."""
    page.run("""
        kept.clear();
        const append = document.head.append.bind(document.head);
        const held = [];
        document.head.append = (script) => held.push(script);
        window.arrive = () => { document.head.append = append; held.forEach((script) => append(script)); };
    """)


def test_what_is_left_of_the_item_before_takes_no_input_while_the_next_one_loads(page):
    go(page, "item=13&token=4")
    hold_back_files(page)
    page.run("document.getElementById('tokens').focus(); location.hash = 'item=11&token=7'")
    page.wait_for("state.item === null")
    page.press("Right", "End")
    page.run("document.getElementById('token-3').click()")  # the mouse may find something else on top
    page.hover("#token-5")
    page.run("document.querySelector('#steps button').click()")
    page.hover("#grid")
    select(page, "ramp", "cividis")
    select(page, "token-scale", "items")
    page.run("document.querySelector('#table summary').click(); arrive()")
    page.wait_for("state.item")
    assert (page.text("#item-title"), chosen_token(page)) == ("Item 11", 7)


def test_an_item_that_is_left_and_chosen_again_while_it_loads_is_shown(page):
    hold_back_files(page)
    page.run("""
        location.hash = 'item=13';
        follow();
        [...Array(40).keys()].forEach((k) => loadItem(`9-${k}`).catch(() => {}));
        location.hash = 'item=11';
        follow();
        location.hash = 'item=13';
        follow();
        arrive();
    """)
    page.wait_for("state.item && state.item.id === '13'")
    page.run("return Promise.allSettled(kept.values())")
    assert page.run("return document.getElementById('failure').checkVisibility()") is False
    page.run("kept.clear()")
    page.log("browser")  # which names the forty files that there are not


@pytest.mark.parametrize(("address", "pager"), [("item=none", False), ("run=7&item=13", True)])
def test_an_address_of_no_item_leaves_nothing_of_another_item_and_keys_do_no_harm(both_page, address, pager):
    go(both_page, "run=1&item=13&token=2")
    both_page.run("location.hash = arguments[0]", address)
    both_page.wait_for("document.getElementById('failure').checkVisibility()")
    assert both_page.text("#place-in-list") == ("3 of 5" if pager else "")
    assert both_page.run("return document.getElementById('next').disabled") is not pager
    assert both_page.run("return document.getElementById('run-switch').checkVisibility()") is pager
    both_page.press("r", "j")
    if pager:
        both_page.wait_for("state.item")
        assert both_page.text("#item-title") == "Item 14"
    both_page.press("Escape")
    both_page.wait_for("state.view === 'items'")


def test_escape_empties_the_search_before_it_leads_back(page):
    page.click("#tab-items")
    page.click("#search")
    page.press("1", "3", "Escape")
    page.wait_for("document.getElementById('search').value === ''")
    assert page.run("return state.view") == "items"
    page.press("Escape")
    page.wait_for("state.view === 'overview'")


def test_a_held_key_asks_for_one_new_address_not_for_hundreds(page):
    go(page, "item=13&token=0")
    page.run(
        "window.asked = 0; const write = history.replaceState.bind(history);"
        "history.replaceState = (...given) => { asked += 1; write(...given); }"
    )
    page.run("document.getElementById('tokens').focus()")
    page.press(*["Right"] * 30)
    page.wait_for("location.hash.endsWith('token=30')")
    assert page.run("return asked") < 5
    page.press("Right", "Escape")
    page.wait_for("state.view === 'items'")
    page.run("return new Promise((done) => setTimeout(done, 300))")
    assert page.run("return location.hash") == "#items", "an address that is due does not come after another"


def test_invisible_letters_are_named_and_joiners_left_alone(page):
    shown = page.run("return visible(arguments[0])", "a\u00adb\U000e0041c\u2066d\n\u06cc\u200c\u06a9")
    assert shown == "a⟨U+00AD⟩b⟨U+E0041⟩c⟨U+2066⟩d\n\u06cc\u200c\u06a9"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00015, "1.500 × 10⁻⁴"), (1.2, "1.200"), (9999.7, "10000"), (15361.2, "15361"), (0, "0.000")],
)
def test_figures_are_written_with_four_digits_and_never_with_an_e(page, value, shown):
    assert page.run("return format(arguments[0])", value) == shown


def test_a_token_outside_of_every_step_is_said_to_have_none(chromium, run, tmp_path):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("index*"))
    write_page(tmp_path / "run", single_file=True)
    chromium.open((tmp_path / "run/index.html").as_uri() + "#item=11")
    chromium.wait_for("state.item")
    chromium.run("state.item.steps.shift(); document.querySelector('#table summary').click()")
    chromium.wait_for("document.querySelector('#table tbody')")
    assert chromium.text("#table tbody td:last-child") == "none"


def test_print_shows_every_column_of_the_tables(both_page):
    both_page.run("location.hash = ''")
    both_page.emulate(width=700)
    both_page.devtools("Emulation.setEmulatedMedia", media="print")
    cut = both_page.run(
        "return [...document.querySelectorAll('#overview table')].map((table) =>"
        " Math.round(table.getBoundingClientRect().right - document.body.getBoundingClientRect().right))"
    )
    both_page.devtools("Emulation.setEmulatedMedia", media="")
    assert cut
    assert max(cut) <= 0


def test_an_address_without_a_run_shows_the_first_that_has_the_item(both_page, run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns("index*"))
    lines = (run / "items.jsonl").read_text().splitlines(keepends=True)
    (other / "items.jsonl").write_text("".join(lines[:2]))
    write_page([other, run], out=tmp_path / "page.html")
    both_page.open((tmp_path / "page.html").as_uri() + "#item=13")
    both_page.wait_for("state.item")
    assert both_page.run("return [state.run, state.item.id]") == [1, "13"]
    both_page.run("location.hash = 'run=0&item=13'")
    both_page.wait_for("document.getElementById('failure').checkVisibility()")
    assert both_page.text("#failure") == "The page has no item 13 of other; choose one under Items."
