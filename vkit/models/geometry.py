"""Where in a picture each image column of the decoder looks, family by family.

    boxes = image_boxes(config, processor, image.size, columns=576)       # (576, 4) or None

Boxes are left, top, right, bottom as fractions of the picture, so a resize changes nothing, a crop scales
them, and what is padding lies outside 0..1. A family, or a setting of it, whose geometry is not known exactly
gives None: an overlay in the wrong place is worse than none.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def image_boxes(
    config: Any,
    processor: Any,
    size: tuple[int, int],
    *,
    columns: int,
    grid: Sequence[int] | None = None,
    replacement: str = "",
    alone: bool = True,
) -> np.ndarray | None:
    """The boxes of one picture's columns, (columns, 4) float32, NaN where a column shows no part of it.

    config: the model's config.
    size: the picture's width and height in pixels.
    grid: time, height and width in patches, where the processor returns them.
    replacement: the text that the processor put in the picture's place.
    alone: whether it is the only picture of its request (LLaVA-OneVision tiles only those).
    """
    rule = _RULES.get(config.model_type)
    if rule is None:
        return None
    boxes = rule(_Picture(config, processor, size, grid, replacement, alone))
    return None if boxes is None or len(boxes) != columns else boxes.astype(np.float32)


def grid_boxes(
    rows: int, columns: int, region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
) -> np.ndarray:
    """The cells of a grid over ``region``, row by row: (rows * columns, 4).

    >>> grid_boxes(1, 2).tolist()
    [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]
    """
    left, top, right, bottom = region
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    cells = np.empty((rows, columns, 4))
    cells[..., 0], cells[..., 2] = x[:-1], x[1:]
    cells[..., 1], cells[..., 3] = y[:-1, None], y[1:, None]
    return cells.reshape(-1, 4)


@dataclass(frozen=True)
class _Picture:
    config: Any
    processor: Any
    size: tuple[int, int]
    grid: Sequence[int] | None
    replacement: str
    alone: bool

    @property
    def images(self) -> Any:
        return self.processor.image_processor

    @property
    def patches(self) -> int:
        """Patches along a side of the vision tower's square input."""
        vision = self.config.vision_config
        return _side(vision.image_size) // _side(vision.patch_size)


def _llava(picture: _Picture) -> np.ndarray | None:
    """Padded to a square if asked, resized by the shorter edge, cropped at the centre."""
    images, (width, height) = picture.images, picture.size
    if type(images).__name__.removesuffix("Pil") not in (
        "LlavaImageProcessor",
        "CLIPImageProcessor",
        "SiglipImageProcessor",
    ):
        return None
    left = top = 0
    full_width, full_height = width, height
    if getattr(images, "do_pad", None):
        full_width = full_height = max(width, height)
        left, top = (full_width - width) // 2, (full_height - height) // 2
    if not images.do_resize:
        return None
    size = images.size
    if size.get("height") and size.get("width"):
        new_width, new_height = size["width"], size["height"]
    elif size.get("shortest_edge") and not size.get("longest_edge"):
        new_width, new_height = _shortest_edge(full_width, full_height, size["shortest_edge"])
    else:
        return None
    out_width, out_height = new_width, new_height
    if images.do_center_crop:
        out_width, out_height = images.crop_size["width"], images.crop_size["height"]
        if out_width > new_width or out_height > new_height:
            return None
    patch = _side(picture.config.vision_config.patch_size)
    if out_width % patch or out_height % patch:
        return None
    x0, y0 = (new_width - out_width) // 2, (new_height - out_height) // 2
    region = (
        (x0 / new_width * full_width - left) / width,
        (y0 / new_height * full_height - top) / height,
        ((x0 + out_width) / new_width * full_width - left) / width,
        ((y0 + out_height) / new_height * full_height - top) / height,
    )
    boxes = grid_boxes(out_height // patch, out_width // patch, region)
    if (
        picture.config.vision_feature_select_strategy == "full"
        and picture.processor.num_additional_image_tokens
    ):
        no_place = np.full(
            (picture.processor.num_additional_image_tokens, 4), np.nan
        )  # the CLS token comes first
        boxes = np.concatenate([no_place, boxes])
    return boxes


def _whole(picture: _Picture) -> np.ndarray | None:
    """Resized to the tower's square: one patch, one column."""
    return grid_boxes(picture.patches, picture.patches) if _resized_to_square(picture) else None


def _pooled(picture: _Picture) -> np.ndarray | None:
    """Gemma 3: resized to a square, patches averaged to a smaller grid; pan-and-scan is not followed."""
    side = math.isqrt(picture.config.mm_tokens_per_image)
    if picture.patches % side or side * side != picture.config.mm_tokens_per_image:
        return None
    return grid_boxes(side, side) if _resized_to_square(picture) else None


def _merged_grid(picture: _Picture) -> np.ndarray | None:
    """Qwen-VL: resized to a multiple of the merged patches, which come row by row."""
    if picture.grid is None or picture.grid[0] != 1:
        return None
    merge = picture.images.merge_size
    return grid_boxes(picture.grid[1] // merge, picture.grid[2] // merge)


def _canvas_tiles(picture: _Picture) -> np.ndarray | None:
    """InternVL: tiles of the picture stretched over the best canvas, then the whole again."""
    images, (width, height) = picture.images, picture.size
    choose = getattr(sys.modules[type(images).__module__], "get_optimal_tiled_canvas", None)
    side = math.isqrt(picture.processor.image_seq_length)
    if choose is None or side * side != picture.processor.image_seq_length:
        return None
    tile = (images.size["height"], images.size["width"])
    columns, rows = choose((height, width), tile, images.min_patches, images.max_patches)
    return _tiles(rows, columns, side)


def _row_col_tiles(picture: _Picture) -> np.ndarray | None:
    """Idefics 3 and SmolVLM: tiles of the stretched picture, then the whole; the text numbers the tiles."""
    side = math.isqrt(picture.processor.image_seq_len)
    if side * side != picture.processor.image_seq_len:
        return None
    places = re.findall(r"<row_(\d+)_col_(\d+)>", picture.replacement)
    rows, columns = (max(int(place[axis]) for place in places) for axis in (0, 1)) if places else (1, 1)
    return _tiles(rows, columns, side)


def _anyres(picture: _Picture) -> np.ndarray | None:
    """LLaVA-NeXT and OneVision: the whole picture, then the rows of its enlarged copy, each with a row end.

    The copy keeps its shape on a canvas of tiles; rows and columns of patches that are padding are cut off.
    """
    images, config, (width, height) = picture.images, picture.config, picture.size
    onevision = config.model_type == "llava_onevision"
    tile, patches = _side(config.vision_config.image_size), picture.patches
    if (
        getattr(images, "size", {}).get("shortest_edge", tile) != tile
        or images.size.get("height", tile) != tile
    ):
        return None
    if config.image_grid_pinpoints != images.image_grid_pinpoints or (onevision and not picture.alone):
        return None
    choose = getattr(sys.modules[type(images).__module__], "select_best_resolution", None)
    if choose is None:
        return None
    canvas_height, canvas_width = choose((height, width), images.image_grid_pinpoints)
    scale = min(canvas_width / width, canvas_height / height)
    if canvas_width / width < canvas_height / height:
        new_width, new_height = canvas_width, min(math.ceil(height * scale), canvas_height)
    else:
        new_width, new_height = min(math.ceil(width * scale), canvas_width), canvas_height
    left, top = (canvas_width - new_width) // 2, (canvas_height - new_height) // 2
    rows, columns = canvas_height // tile * patches, canvas_width // tile * patches
    cut_x = cut_y = 0
    if width / height > columns / rows:
        cut_y = (rows - int(round(height * (columns / width), 7))) // 2
    else:
        cut_x = (columns - int(round(width * (rows / height), 7))) // 2
    step_x, step_y = canvas_width / columns, canvas_height / rows
    region = (
        (cut_x * step_x - left) / new_width,
        (cut_y * step_y - top) / new_height,
        ((columns - cut_x) * step_x - left) / new_width,
        ((rows - cut_y) * step_y - top) / new_height,
    )
    rows, columns = rows - 2 * cut_y, columns - 2 * cut_x
    if onevision:
        limit = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (limit * patches**2))
        if ratio > 1.1:  # patches are blended to a coarser grid over the same region
            rows, columns = int(rows // ratio), int(columns // ratio)
    cells = grid_boxes(rows, columns, region).reshape(rows, columns, 4)
    ended = np.concatenate([cells, np.full((rows, 1, 4), np.nan)], axis=1)
    return np.concatenate([grid_boxes(patches, patches), ended.reshape(-1, 4)])


_RULES: dict[str, Callable[[_Picture], np.ndarray | None]] = {
    "llava": _llava,
    "paligemma": _whole,
    "gemma3": _pooled,
    "qwen2_vl": _merged_grid,
    "qwen2_5_vl": _merged_grid,
    "qwen3_vl": _merged_grid,
    "internvl": _canvas_tiles,
    "idefics3": _row_col_tiles,
    "smolvlm": _row_col_tiles,
    "llava_next": _anyres,
    "llava_onevision": _anyres,
}


def _tiles(rows: int, columns: int, side: int) -> np.ndarray:
    """side x side cells in each of rows x columns tiles, tile by tile; of several, then the whole."""
    if rows * columns == 1:
        return grid_boxes(side, side)
    tiles = [grid_boxes(side, side, tuple(tile)) for tile in grid_boxes(rows, columns).tolist()]
    return np.concatenate([*tiles, grid_boxes(side, side)])


def _resized_to_square(picture: _Picture) -> bool:
    images, side = picture.images, _side(picture.config.vision_config.image_size)
    plain = images.do_resize and not getattr(images, "do_center_crop", None)
    return bool(plain and images.size.get("height") == images.size.get("width") == side)


def _shortest_edge(width: int, height: int, edge: int) -> tuple[int, int]:
    """The size after a resize of the shorter edge to ``edge``, rounded as the processors round."""
    if width <= height:
        return edge, int(edge * height / width)
    return int(edge * width / height), edge


def _side(size: Any) -> int:
    """A side of a size given as one number or as a pair."""
    return size if isinstance(size, int) else size[0]
