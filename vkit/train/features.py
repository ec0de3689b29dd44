"""What frozen backbones say of a data set, computed once and read from the disk: no epoch opens a picture.

    cache = FeatureCache.build(items, load_backbones(["tiny", "tiny-vit"], "tiny"), Path("features"))
    features = cache.batch([4, 0, 7])            # pooled (3, 384), patches, text (3, T, 128), text_mask

Features are float16. `LiveFeatures` gives the same numbers without a cache: both round by `quantise`, and
backbones give a picture the same numbers in every batch (on one thread bit for bit, on several but for a last
bit that survives the rounding seldom). Keys are of content (the picture's
bytes, the question's text, the backbone's weights and settings), so that a change is a new key and never a
stale hit; several data sets and backbones may share a folder. Each distinct picture and question is encoded
once. A kill at any moment costs at most the work of one shard, 64 MiB or a minute's; see
`vkit.train.feature_store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vkit.models.backbones import Backbones
from vkit.train.feature_store import FeatureStore, readable
from vkit.train.feature_work import (
    Item,
    Keys,
    Work,
    encode_images,
    encode_texts,
    keys_of,
    picture_digests,
    progress_bars,
)


@dataclass(frozen=True)
class Features:
    """A batch of B items, in float16 as it is stored.

    pooled: (B, sum of D_k), of each image encoder the mean over its tokens, side by side.
    patches: of each image encoder its tokens (B, P_k, D_k); None where they were left out.
    text: (B, T, Dt), a state for each token of the question, zero beyond its end; T is the longest one's.
    text_mask: (B, T) bool, True at states.
    """

    pooled: Tensor
    patches: tuple[Tensor, ...] | None
    text: Tensor
    text_mask: Tensor


class FeatureCache:
    """The features of items, read from memory-mapped files."""

    def __init__(self, store: FeatureStore, keys: Keys, vision: int) -> None:
        self._store, self._keys, self._vision = store, keys, vision

    @classmethod
    def build(
        cls,
        items: Sequence[Item],
        backbones: Backbones,
        folder: Path,
        *,
        tokens: bool = True,
        pictures: Sequence[str] | None = None,
        batch_size: int = 128,
        progress: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> FeatureCache:
        """The cache of ``items`` in ``folder``: computes what the folder does not hold yet, and opens it.

        Args:
            items: problems with a picture each.
            backbones: what encodes them.
            folder: made where it is missing; may hold other data sets' and backbones' features.
            tokens: also keep every token of a picture, which takes as many times the space as there are
                tokens (DINOv2-base: 257 times, 386 KiB a picture).
            pictures: the items' `picture_digests`, where they are known; None reads every picture for them.
            batch_size: pictures or questions that are read together.
            progress: show bars on stderr, if that is a terminal.
            say: is told in one line what will be computed, and how much space it takes.

        Raises:
            VkitError: an item has no picture, or one that cannot be read; a question is longer than a text
                encoder takes, or empty; both name the item. Or: the disk has too little space, or another
                run writes into the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        bar = progress_bars(progress)
        keys = keys_of(items, pictures or picture_digests(items, bar), backbones, tokens)
        store = FeatureStore(folder)
        if all(key in store for row in keys.rows for key in row):
            return cls(store, keys, len(backbones.vision))
        with store.writer() as writer:  # it may find what another run has written since
            work = Work(items, backbones, keys, store)
            store.check_space(work.needed_bytes)
            say(
                f"features of {len(work.images)} pictures and {len(work.questions)} questions:"
                f" {readable(work.needed_bytes)} in {folder}"
            )
            work.encode_images(writer, batch_size, bar)
            work.encode_questions(writer, batch_size, bar)
        return cls(store, keys, len(backbones.vision))

    def __len__(self) -> int:
        return len(self._keys.rows)

    def batch(self, indices: Sequence[int]) -> Features:
        """The features of some items, by their places in the sequence the cache was built of."""
        return _join([[self._store[key] for key in self._keys.rows[i]] for i in indices], self._vision)


class LiveFeatures:
    """The features of items, computed by the backbones every time; the numbers of a cache."""

    def __init__(self, items: Sequence[Item], backbones: Backbones, *, tokens: bool = True) -> None:
        self._items, self._backbones, self._tokens = items, backbones, tokens

    def __len__(self) -> int:
        return len(self._items)

    def batch(self, indices: Sequence[int]) -> Features:
        """As `FeatureCache.batch`."""
        images = [self._items[i].open_image() for i in indices]
        columns: list[Iterable[np.ndarray]] = []
        for backbone in self._backbones.vision:
            columns += encode_images(backbone, images, self._tokens)
        columns.append(encode_texts(self._backbones.text, [self._items[i].question for i in indices]))
        return _join([list(row) for row in zip(*columns)], len(self._backbones.vision))


def _join(rows: Sequence[Sequence[np.ndarray]], vision: int) -> Features:
    """A batch of items' blocks: of each image encoder pooled (1, D) and maybe tokens (P, D), then text."""
    *columns, texts = zip(*rows)
    step = len(columns) // vision
    pooled = [np.concatenate(column) for column in columns[::step]]
    patches = [torch.from_numpy(np.stack(column)) for column in columns[1::2]] if step == 2 else None
    text = np.zeros((len(texts), max(map(len, texts)), texts[0].shape[1]), dtype=np.float16)
    mask = np.zeros(text.shape[:2], dtype=bool)
    for row, states in enumerate(texts):
        text[row, : len(states)] = states
        mask[row, : len(states)] = True
    return Features(
        torch.from_numpy(np.concatenate(pooled, axis=1)),
        None if patches is None else tuple(patches),
        torch.from_numpy(text),
        torch.from_numpy(mask),
    )
