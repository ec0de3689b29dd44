"""Small pieces that the pages are made of; every text on them goes through `escaped` or `as_data`.

>>> escaped("a < b\\u202e"), percent(86.04), percent(None)
('a &lt; b⟨U+202E⟩', '86.0%', '–')
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.images import open_image
from vkit.report.page_items import picture_data


def escaped(value: object) -> str:
    """A value as text of HTML or of a quoted attribute, with `visible` applied."""
    return html.escape(visible(str(value)))


def visible(text: str) -> str:
    """``text`` with control characters, marks of direction and half surrogate pairs named: none hides.

    >>> visible("7\\u202e3\\n")
    '7⟨U+202E⟩3\\n'
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\u00a0" else f"⟨U+{ord(letter):04X}⟩"
        for letter in text
    )


def as_data(value: Any) -> str:
    """JSON in ASCII that cannot end the script element it stands in.

    >>> as_data({"text": "</script>"})
    '{"text":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def content_hash(source: str) -> str:
    """The hash by which a Content-Security-Policy knows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def percent(value: float | None) -> str:
    """An accuracy, which is in percent already."""
    return "–" if value is None else f"{value:.1f}%"


def bar(value: float | None) -> str:
    """A bar of 0 to 100 percent, said elsewhere in words; the page's style colours it."""
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect width="{value or 0:.1f}" height="8"/></svg>'
    )


def picture(record: Mapping[str, Any]) -> dict[str, Any]:
    """The picture of an example or a problem, as `vkit.report.page_items` embeds it.

    Raises:
        VkitError: it cannot be read; names the record.
    """
    try:
        return picture_data(open_image(Path(record["picture"])))
    except VkitError as error:
        raise VkitError(f"problem {record['id']!r} of the report: {error}") from error


def asset(name: str) -> str:
    """A file that lies beside this one."""
    return (resources.files("vkit.report") / name).read_text(encoding="utf-8")
