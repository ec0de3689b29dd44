"""What the tests of the page in a browser do again and again: choose, wait, read what is shown.

go(page, "item=11&token=12")
assert shown_figures(page) == [0.4, 1.6e-4, 4e-4]
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from browser import Browser
from PIL import Image


def read_items(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``items.jsonl`` with seven digits, as a run writes them."""
    lines = (folder / "items.jsonl").read_text().splitlines()
    return [json.loads(line, parse_float=lambda text: float(f"{float(text):.7g}")) for line in lines]


def go(page: Browser, address: str) -> None:
    """Choose an item and a token by the address, and wait until they are shown."""
    # No event of a changed hash, which would come later and choose once more.
    page.run("history.replaceState(null, '', `#${arguments[0]}`); follow()", address)
    page.wait_for("state.item")


def canvas(page: Browser) -> np.ndarray:
    """The pixels on show, (height, width, 3), once the drawing that was begun is over."""
    return pixels(page.run("return drawPicture().then(() => document.getElementById('picture').toDataURL())"))


def pixels(source: str) -> np.ndarray:
    """What a data URL of a picture holds, uint8 (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))


def shown_figures(page: Browser) -> list[float]:
    return page.run("return ['ratio', 'V', 'P'].map((id) => Number(document.getElementById(id).value))")


def chosen_token(page: Browser) -> int:
    return page.run(
        "return Number(document.querySelector('#tokens [aria-selected=true]').id.slice('token-'.length))"
    )


def select(page: Browser, name: str, value: str) -> None:
    """Choose an entry of a list, as a person would."""
    page.run(
        "const node = document.getElementById(arguments[0]); node.value = arguments[1];"
        "node.dispatchEvent(new Event('change'))",
        name,
        value,
    )
