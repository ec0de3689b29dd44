"""Pictures into pixel values as the official processors make them, and each token's box where it looked."""

import copy

import numpy as np
import pytest
from PIL import Image

from vkit.errors import VkitError
from vkit.models.tiny import STAND_IN
from vkit.models.tinyllava_config import TinyLlavaConfig
from vkit.models.tinyllava_images import ImageSettings

SIZES = [(56, 56), (97, 41), (33, 120), (10, 11), (300, 200)]
CLIP_FILE = {
    "do_center_crop": True,
    "crop_size": {"height": 112, "width": 112},
    "size": {"shortest_edge": 112},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def config(kind="siglip_vision_model", aspect="square", strategy="cls_patch", **vision):
    values = copy.deepcopy(STAND_IN)
    values["vision_config"] |= {"model_type": kind, **vision}
    return TinyLlavaConfig.from_dict(
        {**values, "image_aspect_ratio": aspect, "vision_feature_select_strategy": strategy}
    )


def noise(size):
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_pixel_values_equal_those_of_siglips_processor(size):
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    processor = SiglipImageProcessorPil(
        size={"height": 112, "width": 112}, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    expected = np.asarray(processor(noise(size), return_tensors="np")["pixel_values"][0])
    ours = ImageSettings.from_dicts(None, config()).pixel_values(noise(size))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    assert ours.dtype == np.float32


@pytest.mark.parametrize("size", SIZES)
def test_pixel_values_equal_those_of_clips_processor(size):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(**CLIP_FILE)
    expected = np.asarray(processor(noise(size), return_tensors="np")["pixel_values"][0])
    for preprocessor in (None, CLIP_FILE):
        ours = ImageSettings.from_dicts(preprocessor, config("clip_vision_model")).pixel_values(noise(size))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(97, 41), (33, 120)])
def test_padding_is_gray_and_around_the_picture(size):
    settings = ImageSettings.from_dicts(None, config(aspect="pad"))
    side = max(size)
    square = Image.new("RGB", (side, side), (127, 127, 127))
    square.paste(noise(size), ((side - size[0]) // 2, (side - size[1]) // 2))
    plain = ImageSettings.from_dicts(None, config())
    assert np.array_equal(settings.pixel_values(noise(size)), plain.pixel_values(square))


KINDS = [
    ("siglip_vision_model", "square", "cls_patch"),
    ("siglip_vision_model", "square", "patch"),
    ("siglip_vision_model", "pad", "patch"),
    ("clip_vision_model", "square", "patch"),
    ("clip_vision_model", "pad", "cls_patch"),
]


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
@pytest.mark.parametrize("size", [(160, 80), (80, 160), (112, 112)])
def test_a_box_is_the_part_of_the_picture_that_its_token_sees(kind, size):
    """Paint one box at a time: the pixels that its token's patch reads are the ones that change."""
    settings, cfg = ImageSettings.from_dicts(None, config(*kind)), config(*kind)
    width, height = size
    black = settings.pixel_values(Image.new("RGB", size))
    boxes = settings.boxes(Image.new("RGB", size), cfg)
    assert boxes.shape == (cfg.num_image_tokens, 4)
    patch, grid = cfg.vision.patch_size, cfg.patches_per_side
    painted = 0
    for token, (left, top, right, bottom) in enumerate(boxes * [width, height, width, height]):
        if np.isnan(left):
            assert (kind[0], token) == ("clip_vision_model", 0)
            continue
        x0, y0, x1, y1 = np.round([left, top, right, bottom]).astype(int)
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            continue  # padding
        image = Image.new("RGB", size)
        image.paste((255, 255, 255), (x0, y0, x1, y1))
        change = np.abs(settings.pixel_values(image) - black).sum(axis=0)  # (H, W)
        cells = change[: grid * patch, : grid * patch].reshape(grid, patch, grid, patch).sum(axis=(1, 3))
        row, column = divmod(token + cfg.first_patch, grid)
        assert np.argmax(cells) == row * grid + column
        painted += 1
    assert painted >= grid * (grid // 2 - 1)


def test_the_boxes_of_a_728_token_picture_are_those_of_729_less_the_first():
    sizes = dict(image_size=384, patch_size=14)
    images = Image.new("RGB", (50, 50))
    whole, cut = config(strategy="cls_patch", **sizes), config(strategy="patch", **sizes)
    boxes = ImageSettings.from_dicts(None, whole).boxes(images, whole)
    assert (whole.num_image_tokens, cut.num_image_tokens) == (729, 728)
    assert np.array_equal(ImageSettings.from_dicts(None, cut).boxes(images, cut), boxes[1:])
    np.testing.assert_allclose(boxes[-1], [26 * 14 / 384, 26 * 14 / 384, 378 / 384, 378 / 384])


def test_padding_lies_outside_the_picture():
    cfg = config(aspect="pad")
    boxes = ImageSettings.from_dicts(None, cfg).boxes(Image.new("RGB", (200, 100)), cfg).reshape(8, 8, 4)
    assert (boxes[:2, :, 3] <= 0).all()
    assert (boxes[6:, :, 1] >= 1).all()
    np.testing.assert_allclose(boxes[2, 0], [0, 0, 1 / 8, 1 / 4])


@pytest.mark.parametrize(
    ("preprocessor", "aspect", "message"),
    [
        ({"size": "large"}, "square", "'size' in preprocessor_config.json must be"),
        ({"image_mean": 5}, "square", "is not valid"),
        ({"image_mean": [0.5]}, "square", "need three numbers"),
        ({"image_std": [0, 0, 0]}, "square", "none of image_std zero"),
        ({"resample": 99}, "square", "99 is not a valid Resampling"),
        ({"size": {"height": 384, "width": 384}}, "square", "but the vision tower takes 112 x 112"),
        ({"size": {"height": 112, "width": 112}, "do_center_crop": True}, "square", "the vision tower takes"),
        ({"do_rescale": False}, "square", "turns do_rescale off"),
        (None, "anyres", "image_aspect_ratio 'anyres' is not supported; known: square, pad"),
    ],
)
def test_settings_that_do_not_fit_are_refused(preprocessor, aspect, message):
    with pytest.raises(VkitError, match=message):
        ImageSettings.from_dicts(preprocessor, config(aspect=aspect))
