"""From a picture to TinyLLaVA's pixel values, and from image tokens back to parts of the picture.

    settings = ImageSettings.from_dicts(preprocessor, config)
    pixels = settings.pixel_values(image)              # (3, H, W) float32
    boxes = settings.boxes(image, config)              # (P, 4) fractions of the picture

Pillow and numpy do here what the official image processors (SigLIP's, CLIP's) do, step by step: pad to a
square if the checkpoint asks for it, resize, crop, rescale, normalise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vkit.errors import VkitError

if TYPE_CHECKING:
    from vkit.models.tinyllava_config import TinyLlavaConfig

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageSettings:
    """How pictures are prepared.

    image_size: side of the square that the vision tower takes, in pixels.
    crop: False: both sides are resized to image_size. True (CLIP): the shorter one is, then the centre cut.
    pad: the picture is first padded to a square, centred, with the mean colour.
    mean, std: per channel, of values in 0..1.
    resample: a `PIL.Image.Resampling` number; 3 is bicubic.
    """

    image_size: int
    crop: bool = False
    pad: bool = False
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    rescale: float = 1 / 255
    resample: int = 3

    @classmethod
    def from_dicts(cls, preprocessor: dict[str, Any] | None, config: TinyLlavaConfig) -> ImageSettings:
        """The settings of a ``preprocessor_config.json``, or of the tower's family where there is none.

        Raises:
            VkitError: the two files disagree on the size, or ask for a step that is not supported.
        """
        if config.image_aspect_ratio not in ("square", "pad"):
            raise VkitError(
                f"image_aspect_ratio {config.image_aspect_ratio!r} is not supported; known: square, pad"
            )
        side, clip = config.vision.image_size, config.vision.model_type == "clip_vision_model"
        values: dict[str, Any] = {
            "size": {"shortest_edge": side} if clip else {"height": side, "width": side},
            "crop_size": {"height": side, "width": side},
            "do_center_crop": clip,
            "image_mean": _CLIP_MEAN if clip else (0.5, 0.5, 0.5),
            "image_std": _CLIP_STD if clip else (0.5, 0.5, 0.5),
            **(preprocessor or {}),
        }
        for step in ("do_resize", "do_rescale", "do_normalize"):
            if values.get(step) is False:
                raise VkitError(f"preprocessor_config.json turns {step} off; only true is supported")
        size = values["size"]
        if isinstance(size, int):  # as old CLIP files have it
            size = {"shortest_edge": size}
        if not isinstance(size, dict):
            raise VkitError(f"'size' in preprocessor_config.json must be a number or an object, not {size!r}")
        crop = "shortest_edge" in size
        crop_size = values["crop_size"]
        asked = (
            [size["shortest_edge"], *(crop_size.values() if isinstance(crop_size, dict) else [crop_size])]
            if crop
            else [size.get("height"), size.get("width")]
        )
        if any(length != side for length in asked) or crop != bool(values.get("do_center_crop")):
            raise VkitError(
                f"preprocessor_config.json makes pictures of {values['size']}, but the vision tower takes"
                f" {side} x {side}; copy the preprocessor_config.json of that tower"
            )
        try:
            mean, std = (tuple(map(float, values[key])) for key in ("image_mean", "image_std"))
            rescale, resample = float(values.get("rescale_factor", 1 / 255)), values.get("resample", 3)
            if not len(mean) == len(std) == 3 or 0.0 in std:
                raise ValueError("image_mean and image_std need three numbers, none of image_std zero")
            if not all(map(math.isfinite, (*mean, *std, rescale))):
                raise ValueError("a number is not finite")
            Image.Resampling(resample)
        except (TypeError, ValueError, OverflowError) as error:
            raise VkitError(f"preprocessor_config.json is not valid ({error}); correct it") from error
        return cls(
            image_size=side,
            crop=crop,
            pad=config.image_aspect_ratio == "pad",
            mean=mean,
            std=std,
            rescale=rescale,
            resample=resample,
        )

    def pixel_values(self, image: Image.Image) -> np.ndarray:
        """(3, image_size, image_size) float32 of an RGB picture."""
        image = image.convert("RGB")
        if self.pad and image.width != image.height:
            side = max(image.size)
            colour = tuple(int(value * 255) for value in self.mean)
            square = Image.new("RGB", (side, side), colour)
            square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            image = square
        width, height = self._resized(*image.size)
        image = image.resize((width, height), resample=Image.Resampling(self.resample))
        if self.crop:
            left, top = (width - self.image_size) // 2, (height - self.image_size) // 2
            image = image.crop((left, top, left + self.image_size, top + self.image_size))
        values = np.asarray(image, dtype=np.float32) * np.float32(self.rescale)
        mean, std = np.array([self.mean, self.std], dtype=np.float32)
        return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1))

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of what the tower sees, as fractions of a picture's width and height.

        >>> ImageSettings(384).window(800, 400)
        (0.0, 0.0, 1.0, 1.0)
        >>> ImageSettings(384, pad=True).window(800, 400)  # half of the square lies above or below it
        (0.0, -0.5, 1.0, 1.5)
        """
        if self.pad:
            side = max(width, height)
            left, top = -((side - width) // 2), -((side - height) // 2)
            return left / width, top / height, (left + side) / width, (top + side) / height
        if self.crop:
            wide, high = self._resized(width, height)
            left, top = (wide - self.image_size) // 2, (high - self.image_size) // 2
            return left / wide, top / high, (left + self.image_size) / wide, (top + self.image_size) / high
        return 0.0, 0.0, 1.0, 1.0

    def boxes(self, image: Image.Image, config: TinyLlavaConfig) -> np.ndarray:
        """(P, 4) the part of the picture that each image token was made from; see `protocol.ImageColumns`.

        Patches are placed by their pixels: 27 patches of 14 pixels cover 378 of SigLIP's 384, so the last
        row and column end short of the picture's edge. A class token's box is NaN.
        """
        left, top, right, bottom = self.window(image.width, image.height)
        side, patch = config.patches_per_side, config.vision.patch_size
        edges = np.arange(side + 1) * patch / self.image_size  # of the tower's square
        x, y = left + edges * (right - left), top + edges * (bottom - top)
        boxes = np.stack(
            [np.tile(x[:-1], side), np.repeat(y[:-1], side), np.tile(x[1:], side), np.repeat(y[1:], side)],
            axis=1,
        )  # (side * side, 4), row by row
        if config.first_patch < 0:
            return np.concatenate([np.full((-config.first_patch, 4), np.nan), boxes])
        return boxes[config.first_patch :]

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if not self.crop:
            return self.image_size, self.image_size
        short, long = sorted((width, height))
        longer = int(self.image_size * long / short)
        return (self.image_size, longer) if width <= height else (longer, self.image_size)
