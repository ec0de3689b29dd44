"""What the tests of the page in a browser work on: two runs of the same problems, their pages, a browser.

pytest_plugins = ["report_browser_fixtures"]

def test_something(page, items):         # the page of one run, and its items as the run wrote them
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from fake_run import write_fake_run, write_items
from report_browser_cases import read_items

from vkit.report.page import write_page


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with its page, whose items lie in files beside it."""
    folder = write_fake_run(tmp_path_factory.mktemp("report") / "run")
    write_page(folder, single_file=False)
    return folder


@pytest.fixture(scope="session")
def items(run: Path) -> list[dict[str, Any]]:
    return read_items(run)


@pytest.fixture(scope="session")
def both(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs: the second lacks item 12<b>&, is wrong on 11, and its answer to 13 is shorter."""
    folder = tmp_path_factory.mktemp("both")
    other = write_fake_run(folder / "cot <b>&")
    lines = [json.loads(line) for line in (other / "items.jsonl").read_text().splitlines()]
    del lines[1]
    lines[0]["correct"] = False
    lines[1] = {**lines[1], "maps": None, "details": None}
    lines[1] = {key: _shortened(value, 50) for key, value in lines[1].items()}
    write_items(other, lines)
    write_page([run, other], out=folder / "page.html", single_file=False)
    return folder / "page.html"


def _shortened(value: Any, most: int) -> Any:
    """Lists of a figure for each token, cut."""
    if isinstance(value, dict):
        return {key: _shortened(part, most) for key, part in value.items()}
    return value[:most] if isinstance(value, list) else value


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, run: Path) -> Iterator[Browser]:
    """The page of one run at its first item; the test may not leave a word in the console."""
    yield from _opened(chromium, run / "index.html")


@pytest.fixture
def both_page(chromium: Browser, both: Path) -> Iterator[Browser]:
    """The page of two runs at its first item, likewise."""
    yield from _opened(chromium, both)


def _opened(browser: Browser, path: Path) -> Iterator[Browser]:
    browser.emulate()
    browser.open(f"{path.as_uri()}#item=11")
    browser.wait_for("state.item")
    browser.log("browser")
    yield browser
    assert [entry["message"] for entry in browser.log("browser")] == []
