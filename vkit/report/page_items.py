"""What the page holds of an item: the whole of it, for its own view, and a row of figures for the tables.

    details = read_details(folder, item)
    data = item_data(folder, item, details, Pictures())     # JSON-ready, about 0.6 MB at 512 tokens
    row = row_data("0-12-3f9a1c0b77e2", item, "mean")

Grids and heads travel as bytes in base64, numbers with the seven digits that a run writes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vkit.attention.names import SHARES
from vkit.attention.run_folder import Details, Maps, read_maps
from vkit.errors import VkitError
from vkit.evaluate.steps import find_steps
from vkit.images import open_image, png_bytes, resolve_inside
from vkit.report.overlay import contrasting_ramp, inside

LARGEST_SIDE = 1024  # pixels of the longer side of an embedded picture
PNG_BYTES = 120_000  # a PNG above this size is a photograph; JPEG serves it better
JPEG_BYTES = 150_000  # with it, an item of 512 tokens and 729 patches stays below 0.8 MB
CACHE_BYTES = 64 * 2**20  # of encoded pictures, kept for the other runs of the same problems

TEXTS = ("id", "question", "choices", "answer", "extracted", "correct")


class Pictures:
    """Encodes each distinct picture once, as long as what it keeps stays below `CACHE_BYTES`."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._room = CACHE_BYTES

    def encode(self, path: Path) -> dict[str, Any]:
        """As `picture_data`. Raises `VkitError` where the file is no picture."""
        if not path.is_file():
            return picture_data(open_image(path))  # refuses, and says why
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in self._known:
            return self._known[digest]
        data = picture_data(open_image(path))
        if len(data["source"]) <= self._room:
            self._known[digest] = data
            self._room -= len(data["source"])
        return data


def item_data(
    folder: Path, item: dict[str, Any], details: Details | None, pictures: Pictures
) -> dict[str, Any]:
    """Everything that the page shows of an item.

    Args:
        folder: of the run.
        item: as `read_items` gives it.
        details: as `read_details` gives them.
        pictures: where its picture is encoded, or was before.

    Raises:
        VkitError: its picture or its grids cannot be read; names the item.
    """
    figures = {key: _short(item[key]) for key in ("V", "P", "ratio")}
    reduced = item["reduced"]
    data = {
        **{key: item[key] for key in TEXTS},
        "tokens": item["output_tokens"],
        **figures,
        "reduced": None if reduced is None else {name: _short([reduced[name]])[0] for name in reduced},
        "shares": {name: _short(item["shares"].get(name, [])) for name in SHARES},
        "steps": [list(step) for step in find_steps(item["output_tokens"])],
        "heads": None if details is None else _head_data(details),
    }
    if item["image"] is None:
        return {**data, "picture": None, "map": None}
    try:
        picture = pictures.encode(resolve_inside(folder, item["image"]))
    except VkitError as error:
        raise VkitError(f"item {item['id']!r} of {folder}: {error}") from error
    return {**data, "picture": picture, "map": _map_data(read_maps(folder, item))}


def row_data(key: str, item: dict[str, Any], reduce: str) -> dict[str, Any]:
    """An item's figures for the tables; means are over its tokens, null where none is defined."""
    reduced = item["reduced"]
    means = {
        "V": mean_defined(item["V"]),
        "P": mean_defined(item["P"]),
        "image": mean_defined(item["shares"].get("image", [])),
        "first": mean_defined(item["shares"].get("first_token", [])),
    }
    return {
        "key": key,
        "correct": item["correct"],
        "ratio": None if reduced is None else _short([reduced[reduce]])[0],
        "length": len(item["output_tokens"]),
        **dict(zip(means, _short(list(means.values())))),
        "steps": len(find_steps(item["output_tokens"])),
    }


def mean_defined(values: Sequence[float | None]) -> float | None:
    """The mean of what is not None; None where nothing is.

    >>> mean_defined([1.0, None, 3.0]), mean_defined([None])
    (2.0, None)
    """
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def picture_data(image: Image.Image) -> dict[str, Any]:
    """The picture as a data URL, encoded anew: nothing hidden in the file travels along."""
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    ramp = contrasting_ramp(image)
    kind, encoded = "png", png_bytes(image)
    if len(encoded) > PNG_BYTES:
        kind, encoded = "jpeg", _jpeg_bytes(image)
        while len(encoded) > JPEG_BYTES:  # noise, or nearly so
            image = image.resize([max(1, round(0.8 * side)) for side in image.size], Image.Resampling.LANCZOS)
            encoded = _jpeg_bytes(image)
    return {
        "source": f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}",
        "width": image.width,
        "height": image.height,
        "ramp": ramp,
    }


def _jpeg_bytes(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _map_data(maps: Maps | None) -> dict[str, Any] | None:
    """The grids of the image tokens that lie in the picture; None where none does."""
    placed = np.zeros(0, bool) if maps is None else inside(maps.boxes)
    if maps is None or not placed.any():
        return None
    return {
        "boxes": [[round(float(edge), 5) for edge in box] for box in maps.boxes[placed]],
        "weights": _base64(maps.weights[:, placed]),
        "scale": [float(f"{value:.6g}") for value in maps.scale],
        "unplaced": int((~placed).sum()),
    }


def _head_data(details: Details) -> dict[str, Any]:
    """The image's share in each layer and head, and of each token in each layer, in 8 bits of the largest."""
    share, top = _quantised(details.head_share)
    by_layer, layer_top = _quantised(details.layer_share)
    layers, heads = details.head_share.shape
    return {
        "layers": layers,
        "heads": heads,
        "share": share,
        "top": top,
        "byLayer": by_layer,
        "layerTop": layer_top,
    }


def _quantised(values: np.ndarray) -> tuple[str, float]:
    top = float(values.max(initial=0.0))
    levels = np.rint(values * (255 / top)) if top > 0 else np.zeros_like(values)
    return _base64(levels.astype(np.uint8)), float(f"{top:.7g}")


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Seven significant digits, as a run writes them."""
    return [None if value is None else float(f"{value:.7g}") for value in values]
