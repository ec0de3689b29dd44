"""Boxes of image columns, proven by painting: what is painted in a column's box is what that column sees.

The vision tower's attention is switched off, so that a column's input depends on its own patches alone. Then
each box is painted in turn, and only columns whose boxes touch the paint may see it.
"""

import json
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_checkpoints import FAMILIES, temporary_folder, write_checkpoint
from vkit.models.geometry import grid_boxes, image_boxes
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.protocol import Picture, Request, Text

# Widths and heights, far from square and from multiples of a patch.
SIZES = [(120, 80), (70, 165), (96, 96)]


def nothing(module, args, output):
    return (
        tuple(torch.zeros_like(o) for o in output[:1]) + output[1:]
        if isinstance(output, tuple)
        else output * 0
    )


@cache
def load(family, changes=()):
    """A model whose columns see their own patches only; ``changes`` are (file, key, JSON value)."""
    folder = write_checkpoint(family, temporary_folder())
    for file, key, value in changes:
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, key: json.loads(value)}))
    model = load_huggingface(folder, device="cpu")
    vision = model.model.base_model
    vision = (
        vision.vision_tower
        if hasattr(vision, "vision_tower")
        else getattr(vision, "visual", None) or vision.vision_model
    )
    attentions = [m for m in vision.modules() if type(m).__name__.endswith("Attention")]
    assert attentions
    for attention in attentions:
        attention.register_forward_hook(nothing)
    return model


def columns_seen(model, images):
    """What the decoder is given in each image column, (images, columns, D), and the columns' boxes."""
    batch = model.encode([Request(str(i), (Picture(image), Text("?"))) for i, image in enumerate(images)])
    given = []
    handle = model.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        with torch.no_grad():
            model.forward(batch)
    finally:
        handle.remove()
    columns = [layout.images[0].columns for layout in batch.layouts]
    return np.stack([given[0][i, c].numpy() for i, c in enumerate(columns)]), batch.layouts[0].images[0].boxes


def noise(width, height):
    return np.random.default_rng(0).integers(90, 160, (height, width, 3), dtype=np.uint8)


def check_by_painting(model, size, *, part=0.5, slack=0.0):
    """Paint the inner part of each box: its column must see it, and no column whose box it does not touch.

    A column sees a paint that changes it by a third of what changes it most. Resampling carries a little of
    each paint further, and towers normalise it up.
    """
    width, height = size
    plain = noise(width, height)
    _, boxes = columns_seen(model, [Image.fromarray(plain)])
    assert boxes is not None
    placed = ~np.isnan(boxes).any(1)
    left, top, right, bottom = boxes[placed].T
    x, y = (right - left) * (1 - part) / 2, (bottom - top) * (1 - part) / 2
    inner = np.stack([left + x, top + y, right - x, bottom - y], axis=1)
    corners = np.round(inner.clip(0, 1) * [width, height, width, height]).astype(int)
    painted = [plain]
    for x0, y0, x1, y1 in corners:
        image = plain.copy()
        image[y0:y1, x0:x1] = 255
        painted.append(image)
    seen, _ = columns_seen(model, [Image.fromarray(image) for image in painted])
    change = np.abs(seen[1:] - seen[0]).max(-1)  # (paints, columns)
    assert not change[:, ~placed].any(), "a column without a place changed"
    sees = change[:, placed] > change[:, placed].max(0) / 3
    paints = (corners / [width, height, width, height])[:, None]  # against (columns, 4)
    near = paints + np.array([-slack, -slack, slack, slack])
    touches = (left < near[..., 2]) & (right > near[..., 0]) & (top < near[..., 3]) & (bottom > near[..., 1])
    inside = (paints[:, 0, 2] > paints[:, 0, 0]) & (paints[:, 0, 3] > paints[:, 0, 1])  # not in the padding
    assert inside.sum() >= 3
    blind = np.flatnonzero(inside & ~sees.diagonal())
    assert not len(blind), f"columns that do not see their boxes: {blind}, {boxes[placed][blind]}"
    astray = np.argwhere(sees & ~touches)
    assert not len(astray), f"(paint, column) that do not touch: {astray.tolist()} of {boxes[placed]}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_column_sees_what_is_painted_in_its_box(family, size):
    check_by_painting(load(family), size)


@pytest.mark.parametrize("size", SIZES)
def test_llava_padded_to_a_square(size):
    changes = (
        ("preprocessor_config.json", "image_processor_type", '"LlavaImageProcessor"'),
        ("preprocessor_config.json", "do_pad", "true"),
    )
    model = load("llava", changes)
    check_by_painting(model, size, part=0.9)  # of the outer boxes little more than an edge is picture
    boxes = columns_seen(model, [Image.fromarray(noise(*size))])[1]
    for axis in (0, 1):  # the padding lies outside 0..1; an odd pixel of it is at the right or the bottom
        padding = max(size) - size[axis]
        assert boxes[:, axis].min() == pytest.approx(-(padding // 2) / size[axis])
        assert boxes[:, axis + 2].max() == pytest.approx(1 + (padding - padding // 2) / size[axis])


def test_llava_crops_at_the_centre():
    boxes = columns_seen(load("llava"), [Image.fromarray(noise(120, 80))])[1]
    assert boxes[:, 0].min() == pytest.approx(3 / 18)  # 18 x 12 pixels, of which the middle 12 x 12 are kept
    assert boxes[:, 2].max() == pytest.approx(15 / 18)
    assert boxes[:, 1].min() == 0
    assert boxes[:, 3].max() == 1


@pytest.mark.parametrize("size", SIZES)
def test_a_large_onevision_picture_is_blended_to_a_coarser_grid(size):
    pinpoints = "[[48, 60], [60, 48], [60, 24]]"
    changes = (
        ("config.json", "image_grid_pinpoints", pinpoints),
        ("preprocessor_config.json", "image_grid_pinpoints", pinpoints),
    )
    model = load("llava-onevision", changes)
    boxes = columns_seen(model, [Image.fromarray(noise(*size))])[1]
    assert len(boxes) < 9 + 15 * 13  # fewer than the patches of the canvas
    # A column blends parts of up to four patches, which reach into the boxes beside it.
    check_by_painting(model, size, part=1.0, slack=0.05)


@pytest.mark.parametrize("size", [(240, 60), (60, 240)])
@pytest.mark.parametrize("family", ["internvl", "idefics3", "qwen2-vl", "llava-next"])
def test_very_long_pictures(family, size):
    check_by_painting(load(family), size)


def test_row_ends_have_no_place():
    boxes = columns_seen(load("llava-next"), [Image.fromarray(noise(120, 80))])[1]
    assert np.flatnonzero(np.isnan(boxes).any(1)).tolist() == [13, 18, 23]  # after 9 of the whole, rows of 4


# What is not known is not guessed ---------------------------------------------------------------------------


def test_a_family_without_a_rule_has_no_boxes():
    model = load("llava")
    config = type("Config", (), {"model_type": "unheard-of"})()
    assert image_boxes(config, model.processor, (12, 12), columns=9) is None


def test_a_count_that_the_geometry_does_not_explain_has_no_boxes():
    model = load("llava")
    assert image_boxes(model.model.config, model.processor, (12, 12), columns=8) is None


def test_pan_and_scan_crops_have_no_boxes():
    model = load("gemma3")
    assert len(image_boxes(model.model.config, model.processor, (120, 40), columns=4)) == 4
    assert image_boxes(model.model.config, model.processor, (120, 40), columns=12) is None


def test_several_onevision_pictures_have_no_boxes():
    model = load("llava-onevision")
    two = Request(
        "r", (Picture(Image.fromarray(noise(20, 20))), Picture(Image.fromarray(noise(20, 30))), Text("?"))
    )
    assert [image.boxes for image in model.encode([two]).layouts[0].images] == [None, None]


def test_grid_boxes_tile_their_region():
    boxes = grid_boxes(3, 5, (0.25, -0.5, 0.75, 1.0))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert areas == pytest.approx(np.full(15, 0.5 * 1.5 / 15))
    assert boxes[0].tolist() == [0.25, -0.5, 0.35, 0.0]
    assert boxes[6, 0] == pytest.approx(0.35)
