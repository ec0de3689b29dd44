"""Reads what an attention run left behind, and refuses what a page could only show wrongly.

    summary = read_summary(Path("run"))
    for item in read_items(Path("run")):
        maps = read_maps(Path("run"), item)

A run folder holds ``items.jsonl`` (one item a line), ``summary.json``, ``images/``, ``maps/`` and
``details/``. An item with ``"maps": "maps/11.npz"`` has attention grids; without the key, or with null, the
places of its image tokens are unknown and there is nothing to draw over its picture. ``"details"`` works
alike; older runs have none.
"""

from __future__ import annotations

import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vkit.attention.names import REDUCTIONS, SHARES
from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.jsonl import read_json, read_jsonl

_Arrays = TypeVar("_Arrays")
# What NumPy, zipfile and zlib raise on a damaged archive; the last three: a header, a size or a flag that
# nobody wrote.
_UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, MemoryError,
    RuntimeError,
)  # fmt: skip
# Of an item's arrays when unpacked: a hundred times what the longest answers have, and what memory bears.
ARRAYS_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Maps:
    """The attention of N output tokens to n image tokens: ``(weights / 255) ** 2 * scale[:, None]``.

    weights: uint8 (N, n).
    scale: float32 (N,).
    boxes: float32 (n, 4) left, top, right, bottom in fractions of the picture; may reach beyond 0..1. A
        row of NaN belongs to an image token without a place (the end of a row of patches, for instance).
    """

    weights: np.ndarray
    scale: np.ndarray
    boxes: np.ndarray

    def attention(self, token: int) -> np.ndarray:
        """(n,) float64, what one output token pays to each image token."""
        return (self.weights[token] / 255.0) ** 2 * float(self.scale[token])


@dataclass(frozen=True)
class Details:
    """What lies behind the averages of an item, exactly.

    head_share: float32 (L, H), the part of a row's weight that lies on the image, mean over the output.
    layer_share: float32 (N, L), the same for each output token, mean over the heads of a layer.
    columns: int32 (K,), the image columns that draw most over the answer, the strongest first; counted from
        0 over the columns of all images in order.
    column_attention: float32 (N, K), what each output token pays to them, averaged over layers and heads.
    """

    head_share: np.ndarray
    layer_share: np.ndarray
    columns: np.ndarray
    column_attention: np.ndarray


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of their parents' as it takes to tell them apart.

    >>> unique_names([Path("/a/cot"), Path("/b/cot")])
    ['a/cot', 'b/cot']
    """
    places = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def read_summary(folder: Path) -> dict[str, Any]:
    """The run's settings and figures.

    Raises:
        VkitError: ``summary.json`` is missing, or its figures are none; names file and reason.
    """
    path = folder / "summary.json"
    if not path.exists():
        if (folder / "items.jsonl").exists():
            raise VkitError(f"the run in {folder} is not finished; give its attn-ratio command again")
        raise VkitError(f"{folder} is no run of attn-ratio; name a folder that it wrote")
    summary = read_json(path)
    try:
        _require(summary, "model", _is_text, "text")
        _require(summary, "items", _is_number, "a number or null")
        _require(summary, "accuracy", _is_number, "a number or null")
        _require(summary, "ratio", lambda value: isinstance(value, dict), "an object")
        summary.setdefault("reduce", "mean")
        _require(summary, "reduce", lambda value: value in REDUCTIONS, f"one of {', '.join(REDUCTIONS)}")
        for name in REDUCTIONS:
            _require(summary["ratio"], name, _is_number, "a number or null")
        _require(summary, "limits", _is_text, "text")
        _require(summary, "random_weights", lambda value: isinstance(value, bool), "true or false")
    except VkitError as error:
        raise VkitError(f"{path}: {error}; run attn-ratio again") from error
    return summary


def read_items(folder: Path) -> Iterator[dict[str, Any]]:
    """The items of a run in order.

    Raises:
        VkitError: ``items.jsonl`` is missing, or a line is no item; names file, line and reason.
    """
    path = folder / "items.jsonl"
    for number, item in read_jsonl(path):
        try:
            _check(item)
        except VkitError as error:
            raise VkitError(f"{path}:{number}: {error}; run attn-ratio again") from error
        yield item


def read_maps(folder: Path, item: dict[str, Any]) -> Maps | None:
    """The attention grids of an item; None where it names none.

    Raises:
        VkitError: the file is missing, is no archive of arrays, or its arrays do not fit the item.
    """
    if item.get("maps") is None:
        return None
    path = resolve_inside(folder, item["maps"])
    maps = _read_arrays(path, item, Maps)
    tokens = len(item["output_tokens"])
    columns = maps.boxes.shape[0] if maps.boxes.ndim else 0
    expected = {"weights": (tokens, columns), "scale": (tokens,), "boxes": (columns, 4)}
    given = {name: getattr(maps, name).shape for name in expected}
    if given != expected or maps.weights.dtype != np.uint8:
        raise VkitError(
            f"maps {path}: {given} of {maps.weights.dtype} do not fit the {tokens} tokens of item "
            f"{item['id']!r}, expected {expected} of uint8; run it again"
        )
    if not (np.isfinite(maps.scale).all() and (maps.scale >= 0).all()):
        raise VkitError(f"maps {path}: a scale is negative or not finite; run item {item['id']!r} again")
    left, top, right, bottom = maps.boxes.T
    if ((right <= left) | (bottom <= top)).any():
        raise VkitError(f"maps {path}: a box is empty or turned around; run item {item['id']!r} again")
    return maps


def read_details(folder: Path, item: dict[str, Any]) -> Details | None:
    """The layers, heads and strongest columns of an item; None where it names none.

    Raises:
        VkitError: the file is missing, is no archive of arrays, or its arrays do not fit the item.
    """
    if item.get("details") is None:
        return None
    path = resolve_inside(folder, item["details"])
    details = _read_arrays(path, item, Details)
    tokens = len(item["output_tokens"])
    layers = details.head_share.shape[0] if details.head_share.ndim == 2 else 0
    columns = details.columns.size
    expected = {"layer_share": (tokens, layers), "columns": (columns,), "column_attention": (tokens, columns)}
    given = {name: getattr(details, name).shape for name in expected}
    if given != expected or not layers:
        raise VkitError(
            f"details {path}: {given} do not fit the {tokens} tokens and {layers} layers of item "
            f"{item['id']!r}; run it again"
        )
    arrays = (details.head_share, details.layer_share, details.column_attention)
    if details.columns.dtype != np.int32 or not all(a.dtype == np.float32 for a in arrays):
        raise VkitError(
            f"details {path}: not int32 columns and float32 shares; run item {item['id']!r} again"
        )
    if not all(np.isfinite(array).all() and (array >= 0).all() for array in arrays):
        raise VkitError(f"details {path}: a share is negative or not finite; run item {item['id']!r} again")
    known = item.get("image_columns")
    beyond = (details.columns < 0).any() or (known is not None and (details.columns >= known).any())
    if beyond or np.unique(details.columns).size < columns:
        raise VkitError(
            f"details {path}: a column stands twice or is none of the image; run item {item['id']!r} again"
        )
    return details


def _read_arrays(path: Path, item: dict[str, Any], kind: type[_Arrays]) -> _Arrays:
    """The arrays that ``kind`` names, from one archive."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    try:
        with zipfile.ZipFile(path) as members:  # tells sizes without unpacking anything
            size = sum(member.file_size for member in members.infolist())
        if size > ARRAYS_LIMIT_BYTES:
            raise ValueError(f"unpacked it has {size:,} bytes, over the limit of {ARRAYS_LIMIT_BYTES:,}")
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):  # one array, with an archive behind it
            raise ValueError("it is one array; an archive of several is expected")
        with archive:
            arrays = {name: archive[name] for name in names}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # NumPy gives a member that is none as bytes
                raise ValueError(f"{name!r} is no array")
    except _UNREADABLE as error:
        raise VkitError(f"{path} of item {item['id']!r} cannot be read ({error}); run it again") from error
    return kind(**arrays)


def _check(item: dict[str, Any]) -> None:
    _require(item, "id", _is_text, "text")
    _require(item, "question", _is_text, "text")
    _require(item, "choices", _is_texts, "a list of texts")
    for key in ("answer", "extracted", "image"):
        _require(item, key, lambda value: value is None or _is_text(value), "text or null")
    _require(item, "correct", lambda value: value is None or isinstance(value, bool), "true, false or null")
    for key in ("maps", "details"):
        if item.get(key) is not None:
            _require(item, key, _is_text, "text or null")
    for key in ("image_columns", "text_columns"):
        if item.get(key) is not None:
            _require(item, key, _is_count, "a positive count or null")
    if item.get("first_column") is not None:
        _require(item, "first_column", lambda side: side in ("image", "text"), '"image", "text" or null')
    _require(item, "output_tokens", _is_texts, "a list of texts")
    tokens = len(item["output_tokens"])
    for key in ("V", "P", "ratio"):
        _require(
            item, key, lambda value: _is_numbers(value, tokens), f"a list of {tokens} numbers >= 0 or nulls"
        )
    _require(item, "reduced", lambda value: value is None or isinstance(value, dict), "an object or null")
    if item["reduced"] is not None:
        for name in dict.fromkeys((*REDUCTIONS, *item["reduced"])):
            _require(item["reduced"], name, _is_number, "a number or null")
    _require(item, "shares", lambda value: isinstance(value, dict), "an object")
    needed = SHARES if tokens else ()  # an empty answer has no shares
    for key in dict.fromkeys((*needed, *item["shares"])):
        _require(
            item["shares"],
            key,
            lambda value: _is_numbers(value, tokens),
            f"a list of {tokens} numbers >= 0 or nulls",
        )


def _require(record: dict[str, Any], key: str, fits: Callable[[Any], bool], expected: str) -> None:
    if key not in record:
        raise VkitError(f"key {key!r} is missing")
    if not fits(record[key]):
        raise VkitError(f"{key!r} must be {expected}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # not NaN, not infinite, and no integer that no float can hold


def _is_numbers(value: Any, length: int) -> bool:
    """Whether these are attention weights, or quotients of such, one a token."""
    if not isinstance(value, list) or len(value) != length:
        return False
    return all(_is_number(number) and (number is None or number >= 0) for number in value)
