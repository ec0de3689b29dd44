"""The pictures of a run: every answer's token heat-map, and the diagram under the attention of chosen tokens.

draw_pictures(Path("runs/tiny"), overlays=3)      # runs/tiny/pictures/<item>/heatmap.png, token-012.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vkit.attention.run_folder import read_items, read_maps
from vkit.images import open_image, png_bytes, resolve_inside
from vkit.jsonl import write_bytes
from vkit.report.heatmap import draw_heatmap
from vkit.report.overlay import draw_overlay


def draw_pictures(folder: Path, *, overlays: int = 3, overlay_tokens: Sequence[str] = ()) -> list[Path]:
    """Draw the pictures of each item that has none yet; returns the paths of all.

    Args:
        folder: of the run.
        overlays: how many tokens to draw over the diagram, those of largest ratio.
        overlay_tokens: texts; every token that reads so (spaces around it aside) is drawn too.

    Raises:
        VkitError: the run cannot be read.
    """
    paths = []
    for item in read_items(folder):
        if not item["output_tokens"]:
            continue
        # An item's pictures live where its picture's name says: the names are safe there already.
        target = folder / "pictures" / Path(item["image"]).stem
        target.mkdir(parents=True, exist_ok=True)
        paths.append(target / "heatmap.png")
        if not paths[-1].exists():
            write_bytes(paths[-1], png_bytes(draw_heatmap(item["output_tokens"], item["ratio"])))
        chosen = {
            *largest_ratios(item, overlays),
            *(j for text in overlay_tokens for j in reads_so(item, text)),
        }
        paths += _draw_overlays(folder, item, sorted(chosen), target)
    return paths


def largest_ratios(item: dict[str, Any], count: int) -> list[int]:
    """The positions of the tokens of largest ratio, largest first; blanks and undefined ratios aside."""
    tokens, ratios = item["output_tokens"], item["ratio"]
    visible = [j for j, token in enumerate(tokens) if token.strip() and ratios[j] is not None]
    return sorted(visible, key=lambda j: -ratios[j])[:count]


def reads_so(item: dict[str, Any], text: str) -> list[int]:
    """The positions of the tokens that read ``text``, spaces around both aside."""
    return [j for j, token in enumerate(item["output_tokens"]) if token.strip() == text.strip()]


def token_title(item: dict[str, Any], j: int) -> str:
    """What stands above a token's overlay; the token last, since it may be cut off."""
    ratio = "undefined" if item["ratio"][j] is None else f"{item['ratio'][j]:.3f}"
    return f"token {j}, ratio {ratio}: “{item['output_tokens'][j].strip()}”"


def _draw_overlays(folder: Path, item: dict[str, Any], chosen: list[int], target: Path) -> list[Path]:
    maps = read_maps(folder, item)
    if maps is None:
        return []
    image: Image.Image | None = None
    paths = []
    for j in chosen:
        paths.append(target / f"token-{j:03d}.png")
        if paths[-1].exists():
            continue
        if image is None:
            image = open_image(resolve_inside(folder, item["image"]))
        title = token_title(item, j)
        write_bytes(paths[-1], png_bytes(draw_overlay(image, maps.boxes, maps.attention(j), title=title)))
    return paths
