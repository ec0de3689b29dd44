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
        chosen = _chosen_tokens(item, overlays, overlay_tokens)
        paths += _draw_overlays(folder, item, chosen, target)
    return paths


def _chosen_tokens(item: dict[str, Any], overlays: int, texts: Sequence[str]) -> list[int]:
    """The positions of the tokens to draw, in their order."""
    tokens, ratios = item["output_tokens"], item["ratio"]
    visible = [j for j, token in enumerate(tokens) if token.strip() and ratios[j] is not None]
    largest = sorted(visible, key=lambda j: -ratios[j])[:overlays]
    wanted = {text.strip() for text in texts}
    return sorted({*largest, *(j for j, token in enumerate(tokens) if token.strip() in wanted)})


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
        ratio = "undefined" if item["ratio"][j] is None else f"{item['ratio'][j]:.3f}"
        title = f"“{item['output_tokens'][j].strip()}”  token {j}, ratio {ratio}"
        write_bytes(paths[-1], png_bytes(draw_overlay(image, maps.boxes, maps.attention(j), title=title)))
    return paths
