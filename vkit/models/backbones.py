"""Frozen encoders of pictures and of text: any of transformers', or small ones that need no network.

    dino, siglip = load_vision("facebook/dinov2-base"), load_vision("google/siglip-base-patch16-224")
    pooled, tokens = dino.encode(images)               # (B, 768) and (B, 257, 768)
    words = load_text("google/siglip-base-patch16-224")
    states, mask = words.encode(["How many circles are there?"])       # (B, T, 768) and (B, T)

A checkpoint of two towers (SigLIP, CLIP) gives the one that is asked for. ``pooled`` is the mean over all
tokens, a class token included, as SmarterVLM's released code takes it of DINOv2's 257 (On VLM reasoners,
appendix A.2, says no more than "average"). A text has one state for each of its tokens, at most 110.

Every forward has the same shape: pictures and texts go in batches of ``batch_size``, the last one filled up,
texts padded to one length. On one thread the kernels of a shape give the same numbers for a picture whatever
stands beside it, which is what lets a cache equal the encoder it was made from. Several threads divide a
product by place, so that a picture at another place of its batch may differ in the last bit of float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.backbones_text import TextBackbone
from vkit.models.devices import resolve_device, resolve_dtype
from vkit.models.frozen import BATCH_SIZE, device_of, digest_of, freeze, is_pooler, last_state, stable
from vkit.models.tensors import first_line


@dataclass(frozen=True)
class Backbones:
    """The frozen encoders of a reasoner.

    vision: image encoders, whose features stand side by side. text: of the questions.
    """

    vision: tuple[VisionBackbone, ...]
    text: TextBackbone

    @property
    def vision_sizes(self) -> tuple[int, ...]:
        return tuple(backbone.size for backbone in self.vision)


def load_backbones(
    vision: Sequence[str], text: str, *, device: str = "auto", dtype: str = "auto"
) -> Backbones:
    """Backbones by name; arguments and errors as for `load_vision` and `load_text`."""
    if not vision:
        raise VkitError("no image encoder is named; give at least one, such as 'tiny'")
    return Backbones(
        tuple(load_vision(name, device=device, dtype=dtype) for name in vision),
        load_text(text, device=device, dtype=dtype),
    )


def load_vision(
    name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", batch_size: int = BATCH_SIZE
) -> VisionBackbone:
    """An image encoder, frozen.

    Args:
        name: the folder of a checkpoint in transformers' layout or a hub id; ``tiny`` (the convolutional
            tower of the ``tiny`` preset, which learned to read signs) or ``tiny-vit`` (a small ViT with
            random weights), both always the same and without network.
        device, dtype: see `vkit.models.devices`.
        batch_size: pictures of one forward; another one may change the last bits of the features.

    Raises:
        VkitError: the checkpoint cannot be read, lacks weights, or has no image encoder.
    """
    from vkit.models import backbones_tiny

    name = os.fspath(name)
    if name in backbones_tiny.VISION:
        model, prepare, settings = backbones_tiny.VISION[name]()
        place = resolve_device(device)
        model = model.to(place, resolve_dtype(dtype, place, "float32"))
        return VisionBackbone(name, model, prepare, settings=settings, batch_size=batch_size)
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    with _told_in_one_line(f"image encoder {name!r} cannot be loaded"):
        model = _load_tower(name, "vision", device, dtype)
        processor: Any = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)

        def prepare_images(images: Sequence[Image.Image]) -> Tensor:
            values = processor(images=list(images), return_tensors="pt")
            if set(values) != {"pixel_values"}:
                raise VkitError(
                    f"image encoder {name!r} asks for {sorted(set(values) - {'pixel_values'})} beside the"
                    " pixels; choose one of pictures of a fixed size"
                )
            return values["pixel_values"]

        settings = {"config": stable(model.config.to_dict()), "processor": stable(processor.to_dict())}
        return VisionBackbone(name, model, prepare_images, settings=settings, batch_size=batch_size)


def load_text(
    name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", batch_size: int = BATCH_SIZE
) -> TextBackbone:
    """A text encoder, frozen.

    Args:
        name: as for `load_vision`; ``tiny`` is a small BERT with random weights, which tells words and their
            order apart and knows nothing of their meaning.
        device, dtype, batch_size: as for `load_vision`.

    Raises:
        VkitError: the checkpoint cannot be read, lacks weights, or has no text encoder.
    """
    from transformers import AutoTokenizer

    from vkit.models import backbones_tiny

    name = os.fspath(name)
    if name in backbones_tiny.TEXT:
        model, tokenizer = backbones_tiny.TEXT[name]()
        place = resolve_device(device)
        model = model.to(place, resolve_dtype(dtype, place, "float32"))
        return TextBackbone(name, model, tokenizer, batch_size=batch_size)
    with _told_in_one_line(f"text encoder {name!r} cannot be loaded"):
        model = _load_tower(name, "text", device, dtype)
        read: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        return TextBackbone(name, model, read, batch_size=batch_size)


class VisionBackbone:
    """A frozen image encoder.

    name: what it was loaded by. size: D, width of a token. tokens: P, tokens of a picture.
    digest: of the weights and of everything else that decides the features, but not the device.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        prepare: Callable[[Sequence[Image.Image]], Tensor],
        *,
        settings: dict[str, Any],
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """``prepare``, called in several threads, makes (B, 3, H, W) of pictures, one H and W for all."""
        self.name, self.batch_size = name, batch_size
        self._model, self._prepare = freeze(model), prepare
        pixels = prepare([Image.new("RGB", (64, 48), "white")])
        self._shape = tuple(pixels.shape[1:])
        _, self.tokens, self.size = self._forward(pixels).shape
        self.digest = digest_of(model, {"kind": "vision", **settings})

    def encode(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """pooled (B, D), the mean over all tokens, and tokens (B, P, D), in float32 on the model's device.

        Args:
            images: pictures in RGB, of any size.

        Raises:
            VkitError: the image processor makes pictures of several sizes.
        """
        batches = [torch.zeros(0, self.tokens, self.size, device=device_of(self._model))]
        with ThreadPoolExecutor() as pool:  # resizing takes longer than a small model's forward
            for start in range(0, len(images), self.batch_size):
                pixels = list(pool.map(self._pixels, images[start : start + self.batch_size]))
                batch = torch.zeros(self.batch_size, *self._shape)
                batch[: len(pixels)] = torch.stack(pixels)
                batches.append(self._forward(batch)[: len(pixels)])
        tokens = torch.cat(batches)
        return tokens.mean(dim=1), tokens

    def _pixels(self, image: Image.Image) -> Tensor:
        """(3, H, W) of a picture."""
        (pixels,) = self._prepare([image])
        if tuple(pixels.shape) != self._shape:
            raise VkitError(
                f"image encoder {self.name!r} makes pixels of {tuple(pixels.shape)} beside {self._shape};"
                " choose one of pictures of a fixed size"
            )
        return pixels

    @torch.no_grad()
    def _forward(self, pixels: Tensor) -> Tensor:
        """(B, P, D) of (B, 3, H, W)."""
        weight = next(self._model.parameters())
        hidden = last_state(self._model(pixels.to(weight.device, weight.dtype))).float()
        if hidden.ndim == 4:  # a convolutional network's cells, (B, D, H', W')
            hidden = hidden.flatten(2).transpose(1, 2)
        if hidden.ndim != 3:
            raise VkitError(
                f"image encoder {self.name!r} gives states of shape {tuple(hidden.shape)}; choose one that"
                " gives (pictures, tokens, width)"
            )
        return hidden


def _load_tower(name: str, kind: str, device: str, dtype: str) -> Any:
    """The checkpoint's ``vision`` or ``text`` tower, or the whole of a model that has but one."""
    from transformers import AutoConfig, AutoModel

    place = resolve_device(device)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    weights_dtype = resolve_dtype(dtype, place, config.dtype)
    loaded: Any = AutoModel.from_pretrained(
        name, config=config, dtype=weights_dtype, trust_remote_code=False, output_loading_info=True
    )
    model, report = loaded
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        towers = {part: getattr(model, f"{part}_model", None) for part in ("vision", "text")}
        if towers[kind] is None:
            raise VkitError(f"{name!r} ({config.model_type}) has no {kind} tower; choose another")
        model = towers[kind]
    elif (model.main_input_name == "pixel_values") != (kind == "vision"):
        raise VkitError(f"{name!r} ({config.model_type}) is no {kind} encoder; choose another")
    lacking = sorted(key for key in map(str, report["missing_keys"]) if not is_pooler(key))
    lacking += sorted(map(str, report["mismatched_keys"]))
    if lacking:
        raise VkitError(
            f"{name!r} lacks {len(lacking)} weights ({', '.join(lacking[:3])}); the checkpoint is incomplete"
            " or another model's, download it again"
        )
    return model.to(place)


@contextmanager
def _told_in_one_line(what: str) -> Iterator[None]:
    """The many ways in which transformers refuses a name or a folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = first_line(error).rstrip(".:") or type(error).__name__
        raise VkitError(
            f"{what} ({reason}); check the name or folder, its files, and for a hub id the network"
        ) from error
