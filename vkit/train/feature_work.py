"""The work behind `vkit.train.features`: content keys, and running backbones over what a folder lacks.

    pictures = picture_digests(items, progress_bars(True))
    keys = keys_of(items, pictures, backbones, tokens=True)
    work = Work(items, backbones, keys, store)           # work.needed_bytes, and then
    work.encode_images(writer, batch_size=128, bar=progress_bars(True))

Rounding is here too, so that features of a cache and of no cache are made by the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.models.backbones import Backbones, VisionBackbone
from vkit.models.backbones_text import TextBackbone
from vkit.train.feature_store import FeatureStore, Writer

if TYPE_CHECKING:
    from tqdm import tqdm

_FORMAT = 1  # of the keys: what else decides a feature beside backbone and content

T = TypeVar("T")
Bars = Callable[[str, int], "tqdm"]  # what is done, and how many of them


class Item(Protocol):
    """A problem with a picture: `vkit.sources.smart101.SmartItem`, `vkit.records.Sample`."""

    @property
    def id(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def image(self) -> str | None: ...
    @property
    def folder(self) -> Path: ...
    def open_image(self) -> Image.Image: ...


def encode_images(backbone: VisionBackbone, images: Sequence[Image.Image], tokens: bool) -> list[np.ndarray]:
    """pooled (B, 1, D), and tokens (B, P, D) where they are wanted, as they are stored."""
    mean, every = backbone.encode(images)
    kinds = [mean[:, None], every] if tokens else [mean[:, None]]
    return [quantise(values, backbone.name) for values in kinds]


def encode_texts(backbone: TextBackbone, texts: Sequence[str]) -> list[np.ndarray]:
    """Of each text (its tokens, D) as it is stored."""
    states, mask = backbone.encode(texts)
    lengths = mask.sum(dim=1).tolist()
    return [row[:length].copy() for row, length in zip(quantise(states, backbone.name), lengths)]


def quantise(values: Tensor, name: str) -> np.ndarray:
    """Features as they are stored: float16, rounded to nearest, on the CPU.

    Raises:
        VkitError: a value is beyond float16 or not a number; ``name`` says whose.

    >>> quantise(torch.tensor([0.1]), "tiny").item()
    0.0999755859375
    """
    half = values.to(torch.float16)
    if not torch.isfinite(half).all():
        largest = values.abs().max().item()
        raise VkitError(f"backbone {name!r} gives {largest:.3g}, which float16 cannot hold; choose another")
    return half.cpu().numpy()


@dataclass(frozen=True)
class Keys:
    """What items are stored under.

    rows: of each item, for each image encoder the key of pooled and maybe of tokens, and last its question's.
    images: of each item the sha256 of its picture's bytes.
    """

    rows: list[tuple[str, ...]]
    images: list[str]


def picture_digests(items: Sequence[Item], bar: Bars) -> list[str]:
    """sha256 of the bytes of each item's picture, each file read once. Raises `VkitError` naming the item."""
    shown = {(item.folder, item.image): item for item in reversed(items)}  # the first of those that share one
    with ThreadPoolExecutor() as pool, bar("read pictures", len(shown)) as reading:
        digests = {}
        for place, digest in zip(shown, pool.map(_image_digest, shown.values())):
            digests[place] = digest
            reading.update()
    return [digests[item.folder, item.image] for item in items]


def keys_of(items: Sequence[Item], pictures: Sequence[str], backbones: Backbones, tokens: bool) -> Keys:
    """The keys of items; ``pictures`` are their `picture_digests`."""
    kinds = ("pooled", "tokens") if tokens else ("pooled",)
    of_image = {
        image: tuple(_key(kind, b.digest, image) for b in backbones.vision for kind in kinds)
        for image in dict.fromkeys(pictures)
    }
    of_text = {text: _key("states", backbones.text.digest, text) for text in {i.question for i in items}}
    rows = [(*of_image[image], of_text[item.question]) for image, item in zip(pictures, items)]
    return Keys(rows, list(pictures))


def _image_digest(item: Item) -> str:
    """sha256 of the bytes of an item's picture."""
    if item.image is None:
        raise VkitError(f"record {item.id!r} has no image; give it an 'image' path")
    try:
        return hashlib.sha256(resolve_inside(item.folder, item.image).read_bytes()).hexdigest()
    except VkitError as error:
        raise VkitError(f"record {item.id!r}: {error}") from error
    except OSError as error:
        raise VkitError(
            f"record {item.id!r}: image {item.image!r} in {item.folder} cannot be read ({error.strerror});"
            " check the record's path"
        ) from error


def _key(kind: str, backbone: str, content: str) -> str:
    """128 bits of sha256: half the index's size, and still no two alike."""
    return hashlib.sha256(f"{_FORMAT}\0{kind}\0{backbone}\0{content}".encode()).hexdigest()[:32]


class Work:
    """What a folder lacks of a data set."""

    def __init__(self, items: Sequence[Item], backbones: Backbones, keys: Keys, store: FeatureStore) -> None:
        self._backbones, self._store = backbones, store
        # Of each distinct picture and question that lacks a feature: its keys and an item that has it.
        self.images: dict[tuple[str, ...], tuple[Item, str]] = {}
        self.questions: dict[str, Item] = {}
        for item, row, image in zip(items, keys.rows, keys.images):
            if not all(key in store for key in row[:-1]):
                self.images.setdefault(row[:-1], (item, image))
            if row[-1] not in store:
                self.questions.setdefault(row[-1], item)
        self._kinds = (len(keys.rows[0]) - 1) // len(backbones.vision)
        self.needed_bytes = self._image_bytes() + self._text_bytes()

    def _image_bytes(self) -> int:
        sizes = [2 * b.size * rows for b in self._backbones.vision for rows in (1, b.tokens)[: self._kinds]]
        return sum(size for keys in self.images for key, size in zip(keys, sizes) if key not in self._store)

    def _text_bytes(self) -> int:
        """Also reads every question, so that one that is too long is refused before the work begins."""
        states = 0
        for item in self.questions.values():
            try:
                states += self._backbones.text.length(item.question)
            except VkitError as error:
                raise VkitError(f"record {item.id!r}: {error}") from error
        return 2 * self._backbones.text.size * states

    def encode_images(self, writer: Writer, batch_size: int, bar: Bars) -> None:
        """Every picture that lacks a feature, once; the next ones are read while these are encoded."""
        batches = list(_chunks(list(self.images.items()), batch_size))
        with ThreadPoolExecutor() as pool, bar("encode pictures", len(self.images)) as shown:
            ahead = [pool.submit(_open, item, image) for _, (item, image) in batches[0]] if batches else []
            for number, batch in enumerate(batches):
                images = [future.result() for future in ahead]
                following = batches[number + 1] if number + 1 < len(batches) else []
                ahead = [pool.submit(_open, item, image) for _, (item, image) in following]
                self._encode_batch(writer, [keys for keys, _ in batch], images)
                writer.flush_if_due()
                shown.update(len(batch))

    def _encode_batch(
        self, writer: Writer, keys: Sequence[tuple[str, ...]], images: Sequence[Image.Image]
    ) -> None:
        for place, backbone in enumerate(self._backbones.vision):
            own = slice(place * self._kinds, (place + 1) * self._kinds)
            lacking = [
                row
                for row, of_image in enumerate(keys)
                if any(key not in self._store for key in of_image[own])
            ]
            blocks = encode_images(backbone, [images[row] for row in lacking], self._kinds == 2)
            for number, row in enumerate(lacking):
                for key, block in zip(keys[row][own], blocks):
                    if key not in self._store:
                        writer.add(key, block[number])

    def encode_questions(self, writer: Writer, batch_size: int, bar: Bars) -> None:
        """Every question that lacks its states, once."""
        with bar("encode questions", len(self.questions)) as shown:
            for batch in _chunks(list(self.questions.items()), batch_size):
                blocks = encode_texts(self._backbones.text, [item.question for _, item in batch])
                for (key, _), block in zip(batch, blocks):
                    writer.add(key, block)
                writer.flush_if_due()
                shown.update(len(batch))


def _open(item: Item, digest: str) -> Image.Image:
    """An item's picture, refused where it is no longer the one whose key was made."""
    image = item.open_image()
    if _image_digest(item) != digest:
        raise VkitError(f"record {item.id!r}: its image changed while it was read; run again")
    return image


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def progress_bars(progress: bool) -> Bars:
    """Bars on stderr, where that is a terminal; none with ``progress=False``."""
    from tqdm import tqdm

    return lambda what, total: tqdm(desc=what, total=total, leave=False, disable=None if progress else True)
