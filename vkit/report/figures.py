"""Figures of a run for a paper: an answer's token heat-map, and the picture under chosen tokens' attention.

    write_figures(Path("runs/tiny"), Path("figures"), kind="pdf", items=["11"], tokens=["isosceles"])
    # figures/11-heatmap.pdf, figures/11-token-8.pdf

Sizes are those of the printed page: included at its own width, a figure has letters of the size asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image

from vkit.attention.run import file_name
from vkit.attention.run_folder import Maps, read_items, read_maps
from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside
from vkit.jsonl import write_bytes
from vkit.report.colours import anchors
from vkit.report.heatmap import heatmap_on
from vkit.report.overlay import STUDY_SCALE, contrasting_ramp, overlay_on, strongest
from vkit.report.pictures import largest_ratios, reads_so, token_title
from vkit.report.surfaces import POINTS_PER_INCH, PRINT_DPI, open_surface

SCALES = ("token", "study", "answer")
ONE_COLUMN_MM = 84.0  # of a page of two columns, whose whole width is 174
_NARROWEST = 15  # font sizes, for the legends
_TALLEST = 1.5  # a picture's height in widths of the figure


def write_figures(
    run_folder: Path,
    out_folder: Path,
    *,
    kind: str,
    items: Sequence[str] | None = None,
    tokens: Sequence[int | str] = (),
    width_mm: float = ONE_COLUMN_MM,
    dpi: float = PRINT_DPI,
    font_size: float = 8,
    colour: str | None = None,
    scale: str = "token",
    on_note: Callable[[str], object] = lambda note: None,
) -> list[Path]:
    """Write each chosen item's heat-map and one overlay a token; returns the paths.

    Args:
        run_folder: as `vkit attn-ratio` wrote it.
        out_folder: gets ``<item>-heatmap.<kind>`` and ``<item>-token-<position>.<kind>``; files of these
            names are replaced.
        kind: "png", "svg" or "pdf" (which needs fpdf2).
        items: ids; None: the run's first.
        tokens: a position from 0, or a text: every token that reads so, spaces around it aside. None given:
            the token of largest ratio, where the item has maps of attention.
        width_mm: of each figure; 84 is one column, 174 both.
        dpi: of a PNG. In SVG and PDF pictures keep their pixels and have at least 300 to the inch.
        font_size: points.
        colour: a ramp of `vkit.report.colours`; None: oranges for tokens, viridis over pictures. Over a
            picture the ramp runs so that strong attention stands out.
        scale: the attention at full strength: the highest of the "token", of the whole "answer", or 0.0002,
            that of the "study".
        on_note: told, in one line, why an item has no overlay where none was asked for by its token.

    Raises:
        VkitError: the run cannot be read, an id or a token is not in it, the item has no answer or no
            attention to draw, a setting is out of range, or fpdf2 is missing.
    """
    _check(kind, width_mm, dpi, font_size, colour, scale)
    width = width_mm / 25.4 * POINTS_PER_INCH
    margin = font_size / 16  # room for the outlines at the edge
    chosen = [(item, *_looks(run_folder, item, tokens, on_note)) for item in _chosen_items(run_folder, items)]
    out_folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for item, maps, positions in chosen:
        stem = file_name(item["id"])
        surface = open_surface(kind, dpi=dpi)
        heatmap_on(
            surface,
            item["output_tokens"],
            item["ratio"],
            width=width,
            margin=margin,
            colour=colour or "oranges",
            font_size=font_size,
        )
        paths.append(out_folder / f"{stem}-heatmap.{kind}")
        write_bytes(paths[-1], surface.data())
        if maps is None:
            continue
        image = open_image(resolve_inside(run_folder, item["image"]))
        full = _full_strength(scale, maps, image)
        for j in positions:
            surface = open_surface(kind, dpi=dpi)
            overlay_on(
                surface,
                image,
                maps.boxes,
                maps.attention(j),
                width=width,
                height=_TALLEST * width,
                margin=margin,
                font_size=font_size,
                scale=full,
                colour=contrasting_ramp(image, colour or "viridis"),
                title=token_title(item, j),
            )
            paths.append(out_folder / f"{stem}-token-{j}.{kind}")
            write_bytes(paths[-1], surface.data())
    return paths


def _check(kind: str, width_mm: float, dpi: float, font_size: float, colour: str | None, scale: str) -> None:
    """Refuse settings before anything is read or written."""
    open_surface(kind)
    if scale not in SCALES:
        raise VkitError(f"scale {scale!r} is unknown; choose one of {', '.join(SCALES)}")
    if colour is not None:
        anchors(colour)
    if not 50 <= dpi <= 2400:
        raise VkitError(f"{dpi:g} dots per inch is out of range; give 50 to 2400, for print {PRINT_DPI}")
    if not 1 <= font_size <= 100:
        raise VkitError(f"font size {font_size:g} is out of range; give 1 to 100 points")
    least = _NARROWEST * font_size / POINTS_PER_INCH * 25.4
    if not least <= width_mm <= 2000:
        raise VkitError(
            f"width {width_mm:g} mm is out of range; give {math.ceil(least)} to 2000 mm "
            f"with letters of {font_size:g} points"
        )


def _chosen_items(folder: Path, ids: Sequence[str] | None) -> list[dict[str, Any]]:
    """The items of these ids in the order asked for, each once; without ids the first of the run."""
    wanted = None if ids is None else list(dict.fromkeys(ids))
    known: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for item in read_items(folder):
        known.append(item["id"])
        if wanted is None or item["id"] in wanted:
            found[item["id"]] = item
        if wanted is None or len(found) == len(wanted):
            break
    if wanted is None:
        wanted = known
        if not known:
            raise VkitError(f"{folder} holds no item; run attn-ratio first")
    for name in wanted:
        if name not in found:
            nearest = ", ".join(map(repr, get_close_matches(name, known, n=3, cutoff=0.0)))
            raise VkitError(f"{folder} holds no item {name!r}; the nearest ids are {nearest or 'none'}")
        if not found[name]["output_tokens"]:
            raise VkitError(f"the answer of item {name!r} is empty; choose an item with an answer")
    return [found[name] for name in wanted]


def _looks(
    folder: Path, item: dict[str, Any], tokens: Sequence[int | str], on_note: Callable[[str], object]
) -> tuple[Maps | None, list[int]]:
    """An item's maps and the positions to draw over its picture; no maps where there is nothing to draw."""
    maps = None if item["image"] is None else read_maps(folder, item)
    if maps is not None:
        open_image(resolve_inside(folder, item["image"]))  # a damaged one is refused before anything is drawn
    if tokens:
        if maps is None:
            raise VkitError(f"item {item['id']!r} has no maps of attention; choose no token, or another item")
        return maps, sorted({j for token in tokens for j in _positions(item, token)})
    if maps is None:
        on_note(f"item {item['id']!r} has no maps of attention: its heat-map alone is drawn")
        return None, []
    largest = largest_ratios(item, 1)
    if not largest:
        on_note(f"item {item['id']!r} has no visible token with a ratio: its heat-map alone is drawn")
    return maps, largest


def _positions(item: dict[str, Any], token: int | str) -> list[int]:
    texts = item["output_tokens"]
    if isinstance(token, int):
        if not 0 <= token < len(texts):
            raise VkitError(
                f"item {item['id']!r} has no token {token}; its positions are 0 to {len(texts) - 1}, "
                f"and the text {token} is written '\"{token}\"'"
            )
        return [token]
    if found := reads_so(item, token):
        return found
    stripped = sorted({text.strip() for text in texts} - {""})
    nearest = ", ".join(repr(text[:40]) for text in get_close_matches(token, stripped, n=3, cutoff=0.0))
    raise VkitError(f"item {item['id']!r} has no token {token!r}; the nearest are {nearest or 'none'}")


def _full_strength(scale: str, maps: Maps, image: Image.Image) -> float | None:
    """The attention drawn at full strength; None: the highest drawn."""
    if scale == "token":
        return None
    if scale == "study":
        return STUDY_SCALE
    attention = (maps.attention(j) for j in range(len(maps.weights)))
    return strongest(maps.boxes, attention, image.size) or None  # no attention at all has no scale
