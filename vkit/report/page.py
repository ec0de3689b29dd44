"""Writes the page on which a run is read: pictures under attention, answers as heat-maps, every number.

    page = write_page(Path("run"))
    print(page.path, page.shown, "of", page.total)

One HTML file holds everything: ``page.html`` with ``page.css``, the scripts and the data set in. It asks the
network for nothing, and its Content-Security-Policy would not let it: only the one script and the one style
with the right hashes run, only ``data:`` pictures load. Text of a record reaches the page as JSON data
(escaped) or as escaped HTML, never as markup or code.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vkit.attention.run_folder import Maps, read_items, read_maps, read_summary
from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside
from vkit.jsonl import write_bytes
from vkit.report.colours import RAMPS, anchors, to_hex
from vkit.report.overlay import FULL_ALPHA, SMALLEST_SIDE, STUDY_SCALE, contrasting_ramp, inside

LARGEST_SIDE = 1024  # pixels of the longer side of an embedded picture
JPEG_FROM_BYTES = 400_000  # a PNG above this size is a photograph; JPEG serves it better
REDUCED = {"mean": "Mean ratio", "sum": "Summed ratio", "max": "Highest ratio"}  # over an answer's tokens
RANDOM_WEIGHTS = "This model has random weights: the numbers show how the tool works and mean nothing else."


@dataclass(frozen=True)
class Page:
    """What was written: the file, how many of the run's items it shows, and its size."""

    path: Path
    shown: int
    total: int
    mib: float


def write_page(
    run_folder: Path, *, out: Path | None = None, max_items: int = 50, max_mib: float = 25.0
) -> Page:
    """Write one self-contained HTML page of a run.

    Args:
        run_folder: what ``vkit attn-ratio`` wrote (see `vkit.attention.run_folder`).
        out: the page's path; None: ``index.html`` in the run folder.
        max_items: at most so many items, the first of the run.
        max_mib: the page stays below this size (in MiB); items beyond it are left out, and the page says so.

    Raises:
        VkitError: the run cannot be read, holds no item, its first item alone exceeds ``max_mib``, or
            the folder of ``out`` does not exist.
    """
    summary = read_summary(run_folder)
    encoded: list[str] = []
    total, size, full = 0, 0, False
    for item in read_items(run_folder):
        total += 1
        if full or len(encoded) == max_items:
            continue
        text = as_data(_item_data(run_folder, item))
        full = size + len(text) > max_mib * 2**20
        if full and not encoded:
            raise VkitError(
                f"item {item['id']!r} of {run_folder} alone takes {len(text) / 2**20:.1f} MiB, over the "
                f"page's limit of {max_mib:g} MiB; raise max_mib"
            )
        if not full:
            encoded.append(text)
            size += len(text)
    if not encoded:
        raise VkitError(
            f"{run_folder / 'items.jsonl'} shows no item ({total} there); check the run and max_items"
        )
    constants = {
        "ramps": {name: [to_hex(colour) for colour in anchors(name)] for name in RAMPS},
        "studyScale": STUDY_SCALE,
        "fullAlpha": FULL_ALPHA,
        "smallestSide": SMALLEST_SIDE,
        "reduce": summary["reduce"],
    }
    data = f'{{"constants":{as_data(constants)},"items":[{",".join(encoded)}]}}'
    content = _fill_template(summary, data, _shown_line(len(encoded), total, max_items, max_mib))
    path = out or run_folder / "index.html"
    if not path.parent.is_dir():
        raise VkitError(f"folder {path.parent} for the page does not exist; create it first")
    write_bytes(path, content)
    return Page(path, len(encoded), total, len(content) / 2**20)


def _item_data(folder: Path, item: dict[str, Any]) -> dict[str, Any]:
    """What the page needs of an item: its record, its picture and its grids."""
    keys = (
        "id",
        "question",
        "choices",
        "answer",
        "extracted",
        "correct",
        "V",
        "P",
        "ratio",
        "reduced",
        "shares",
    )
    data = {key: item[key] for key in keys}
    data["tokens"] = item["output_tokens"]
    if item["image"] is None:
        return {**data, "picture": None, "map": None}
    try:
        image = open_image(resolve_inside(folder, item["image"]))
    except VkitError as error:
        raise VkitError(f"item {item['id']!r} of {folder}: {error}") from error
    return {**data, "picture": picture_data(image), "map": _map_data(read_maps(folder, item))}


def picture_data(image: Image.Image) -> dict[str, Any]:
    """The picture as a data URL, encoded anew: nothing hidden in the file travels along."""
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind, encoded = "png", _encode(image, "PNG", optimize=True)
    if len(encoded) > JPEG_FROM_BYTES:
        kind, encoded = "jpeg", _encode(image, "JPEG", quality=88)
    return {
        "source": f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}",
        "width": image.width,
        "height": image.height,
        "ramp": contrasting_ramp(image),
    }


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _map_data(maps: Maps | None) -> dict[str, Any] | None:
    """The grids of the image tokens that lie in the picture; None where none does."""
    placed = np.zeros(0, bool) if maps is None else inside(maps.boxes)
    if maps is None or not placed.any():
        return None
    return {
        "boxes": [[round(float(edge), 5) for edge in box] for box in maps.boxes[placed]],
        "weights": base64.b64encode(np.ascontiguousarray(maps.weights[:, placed]).tobytes()).decode(),
        "scale": [float(f"{value:.6g}") for value in maps.scale],
        "unplaced": int((~placed).sum()),
    }


def as_data(value: Any) -> str:
    """JSON in ASCII that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _shown_line(shown: int, total: int, max_items: int, max_mib: float) -> str:
    if shown == total:
        return f"All {total} items of the run." if total > 1 else "The one item of the run."
    limit = f"{max_items} items" if shown == max_items else f"{max_mib:g} MiB"
    return f"{shown} of {total} items shown: the first of the run, up to the page's limit of {limit}."


def _fill_template(summary: dict[str, Any], data: str, shown_line: str) -> bytes:
    folder = resources.files("vkit.report")
    template, style, overlay, page = (
        (folder / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "overlay.js", "page.js")
    )
    script = overlay + page
    parts = {
        "policy": (
            f"default-src 'none'; img-src data:; script-src {content_hash(script)};"
            f" style-src {content_hash(style)}; base-uri 'none'; form-action 'none'"
        ),
        "model": html.escape(summary["model"]),
        "banner": f'<p class="banner" role="note">{RANDOM_WEIGHTS}</p>' if summary["random_weights"] else "",
        "facts": _facts(summary),
        "limits": html.escape(summary["limits"]),
        "settings": _settings(summary),
        "shown": html.escape(shown_line),
        "style": style,
        "script": script,
        "data": data,
    }
    filled = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)
    return filled.encode("utf-8", errors="xmlcharrefreplace")  # half a surrogate pair is no UTF-8


def content_hash(source: str) -> str:
    """The hash by which a Content-Security-Policy knows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _facts(summary: dict[str, Any]) -> str:
    """The run's few figures that stand at the top."""
    accuracy, ratio = summary["accuracy"], summary["ratio"][summary["reduce"]]
    facts = {
        "Items": summary["items"],
        "Accuracy" if summary.get("text") is None else "Accuracy of given answers": None
        if accuracy is None
        else f"{100 * accuracy:.1f}%",
        REDUCED[summary["reduce"]]: None if ratio is None else f"{ratio:.4g}",
        "Prompt": summary.get("prompt"),
        "Text columns": summary.get("spans"),
        "Row of a token": summary.get("rows"),
    }
    return _terms({name: value for name, value in facts.items() if value is not None})


def _settings(summary: dict[str, Any]) -> str:
    """Everything that the summary says beside the limits, as it says it."""
    return _terms(
        {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in summary.items()
            if key != "limits"
        }
    )


def _terms(pairs: dict[str, Any]) -> str:
    return "\n".join(
        f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in pairs.items()
    )
