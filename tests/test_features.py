"""The feature cache: the backbones' own numbers, once for each content, without a picture ever after."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.models.backbones import Backbones, VisionBackbone, load_backbones, load_text
from vkit.records import Sample
from vkit.train import feature_store
from vkit.train.feature_work import quantise
from vkit.train.features import FeatureCache, LiveFeatures

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(pixels, np.ones((6, 6, 1), dtype=np.uint8)))


def problems(folder, pictures, questions=None):
    """A problem for each of ``pictures``, which are seeds; alike seeds have files of their own."""
    folder.mkdir(exist_ok=True)
    for i, seed in enumerate(pictures):
        (folder / f"{i}.png").write_bytes(png_bytes(picture(seed)))
    questions = questions or [f"How many of the {seed} stars are {'red ' * (1 + i % 4)}?" for i, seed in
                              enumerate(pictures)]  # fmt: skip
    return [
        Sample(id=f"p{i}", question=question, image=f"{i}.png", folder=folder)
        for i, question in enumerate(questions)
    ]


class Cells(nn.Module):
    """Pictures to the cells of one convolution: (B, D, 3, 3)."""

    def __init__(self, width, scale=1.0):
        super().__init__()
        torch.manual_seed(width)
        self.convolution = nn.Conv2d(3, width, 8, stride=8)
        self.scale = scale

    def forward(self, pixels):
        return self.scale * self.convolution(pixels)


class CountingVision(VisionBackbone):
    """Counts the pictures it encodes."""

    def __init__(self, width=5, scale=1.0):
        super().__init__(f"cells-{width}", Cells(width, scale), self.pixels, settings={}, batch_size=4)
        self.seen = 0

    @staticmethod
    def pixels(images):
        arrays = [np.asarray(image.resize((24, 24)), dtype=np.float32) / 255 for image in images]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def encode(self, images):
        self.seen += len(images)
        return super().encode(images)


class CountingText:
    """The tiny text encoder, counting the texts it encodes."""

    def __init__(self, inner):
        self.inner, self.name, self.size, self.digest = inner, inner.name, inner.size, inner.digest
        self.length, self.seen = inner.length, 0

    def encode(self, texts):
        self.seen += len(texts)
        return self.inner.encode(texts)


@pytest.fixture(scope="module")
def tiny_text():
    return load_text("tiny", device="cpu")


@pytest.fixture
def counting(tiny_text):
    return Backbones((CountingVision(5), CountingVision(3)), CountingText(tiny_text))


def seen(backbones):
    return [b.seen for b in (*backbones.vision, backbones.text)]


def assert_same(one, other):
    assert torch.equal(one.pooled, other.pooled)
    assert torch.equal(one.text, other.text)
    assert torch.equal(one.text_mask, other.text_mask)
    assert (one.patches is None) == (other.patches is None)
    for mine, theirs in zip(one.patches or (), other.patches or ()):
        assert torch.equal(mine, theirs)


# The same numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [True, False])
def test_the_cache_gives_the_backbones_numbers_bit_for_bit(tmp_path, tokens):
    backbones = load_backbones(["tiny", "tiny-vit"], "tiny", device="cpu")
    items = problems(tmp_path / "data", range(37))
    cache = FeatureCache.build(items, backbones, tmp_path / "cache", tokens=tokens, batch_size=10)
    live = LiveFeatures(items, backbones, tokens=tokens)
    assert len(cache) == len(live) == 37
    for indices in ([36], [3, 3, 0], torch.randperm(37).tolist()):
        assert_same(cache.batch(indices), live.batch(indices))


def test_features_are_the_rounded_mean_tokens_and_states(tmp_path, counting):
    items = problems(tmp_path / "data", range(3))
    batch = FeatureCache.build(items, counting, tmp_path / "cache").batch([2, 0])
    images = [items[i].open_image() for i in (2, 0)]
    encoded = [backbone.encode(images) for backbone in counting.vision]
    states, mask = counting.text.encode([items[i].question for i in (2, 0)])
    assert torch.equal(batch.pooled, torch.cat([pooled for pooled, _ in encoded], dim=1).half())
    assert [patches.shape for patches in batch.patches] == [(2, 9, 5), (2, 9, 3)]
    for patches, (_, tokens) in zip(batch.patches, encoded):
        assert torch.equal(patches, tokens.half())
    assert torch.equal(batch.text, states.half())
    assert torch.equal(batch.text_mask, mask)


def test_training_from_the_cache_equals_training_without_it(tmp_path, counting):
    items = problems(tmp_path / "data", range(12))
    targets = torch.arange(12) % 3

    def train(features):
        torch.manual_seed(0)
        head = nn.Linear(8 + counting.text.size, 3)
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
        order = torch.Generator().manual_seed(1)
        for _ in range(3):
            for indices in torch.randperm(12, generator=order).split(5):
                batch = features.batch(indices.tolist())
                question = batch.text.float().sum(dim=1) / batch.text_mask.sum(dim=1, keepdim=True)
                logits = head(torch.cat([batch.pooled.float(), question], dim=1))
                nn.functional.cross_entropy(logits, targets[indices]).backward()
                optimizer.step()
                optimizer.zero_grad()
        return head.weight

    cached = train(FeatureCache.build(items, counting, tmp_path / "cache"))
    assert torch.equal(cached, train(LiveFeatures(items, counting)))
    assert not torch.equal(cached, train(LiveFeatures(items[::-1], counting)))


def test_what_float16_cannot_hold_is_refused(tmp_path, tiny_text):
    backbones = Backbones((CountingVision(5, scale=1e7),), tiny_text)
    with pytest.raises(VkitError, match=r"backbone 'cells-5' gives .* which float16 cannot hold"):
        FeatureCache.build(problems(tmp_path / "data", [1]), backbones, tmp_path / "cache")
    with pytest.raises(VkitError, match="gives nan"):
        quantise(torch.tensor([0.0, float("nan")]), "tiny")


# Once ------------------------------------------------------------------------------------------------------


def test_an_epoch_touches_no_picture(tmp_path, counting):
    items = problems(tmp_path / "data", range(5))
    cache = FeatureCache.build(items, counting, tmp_path / "cache")
    before = seen(counting)
    shutil.rmtree(tmp_path / "data")
    assert cache.batch(range(5)).pooled.shape == (5, 8)
    assert seen(counting) == before


def test_each_distinct_picture_and_question_is_encoded_once(tmp_path, counting):
    items = problems(tmp_path / "data", [1, 2, 1, 1, 3], ["a", "b", "b", "b", "c"])
    cache = FeatureCache.build(items, counting, tmp_path / "cache", batch_size=2)
    assert seen(counting) == [3, 3, 3]
    assert_same(cache.batch(range(5)), LiveFeatures(items, counting).batch(range(5)))


def test_a_second_build_computes_only_what_is_new(tmp_path, counting):
    items = problems(tmp_path / "data", range(6))
    FeatureCache.build(items[:4], counting, tmp_path / "cache")
    FeatureCache.build(items[:4], counting, tmp_path / "cache")
    assert seen(counting) == [4, 4, 4]
    said = []
    FeatureCache.build(items, counting, tmp_path / "cache", say=said.append)
    assert seen(counting) == [6, 6, 6]
    assert said[0].startswith("features of 2 pictures and 2 questions:")


def test_a_complete_cache_is_read_while_another_run_writes_into_the_folder(tmp_path, counting):
    items = problems(tmp_path / "data", range(3))
    FeatureCache.build(items, counting, tmp_path / "cache")
    with feature_store.FeatureStore(tmp_path / "cache").writer():
        assert len(FeatureCache.build(items, counting, tmp_path / "cache")) == 3
        with pytest.raises(VkitError, match="in use by another run"):
            FeatureCache.build(problems(tmp_path / "more", [9]), counting, tmp_path / "cache")


def test_tokens_are_added_to_a_cache_without_them_and_not_asked_for_again(tmp_path, counting):
    items = problems(tmp_path / "data", range(3))
    without = FeatureCache.build(items, counting, tmp_path / "cache", tokens=False)
    assert without.batch([0]).patches is None
    with_tokens = FeatureCache.build(items, counting, tmp_path / "cache")
    added = json.loads((tmp_path / "cache" / "index.jsonl").read_text().splitlines()[-1])["tensors"]
    assert [lengths for _, lengths in added.values()] == [[9, 9, 9], [9, 9, 9]]  # no mean for a second time
    assert_same(with_tokens.batch(range(3)), LiveFeatures(items, counting).batch(range(3)))
    before = seen(counting)
    FeatureCache.build(items, counting, tmp_path / "cache", tokens=False)
    assert seen(counting) == before


def test_backbones_share_a_folder_and_each_encodes_only_what_it_lacks(tmp_path, counting):
    items = problems(tmp_path / "data", range(3))
    FeatureCache.build(items, replace(counting, vision=counting.vision[:1]), tmp_path / "cache")
    both = FeatureCache.build(items, counting, tmp_path / "cache")
    assert seen(counting) == [3, 3, 3]
    assert_same(both.batch(range(3)), LiveFeatures(items, counting).batch(range(3)))


# Content, not names ----------------------------------------------------------------------------------------


def test_a_changed_picture_is_never_a_stale_hit(tmp_path, counting):
    """Even one of the same name, size and time."""
    items = problems(tmp_path / "data", range(2))
    path = tmp_path / "data" / "1.png"
    Image.new("RGB", (48, 36), (10, 20, 30)).save(path, "BMP")
    before = FeatureCache.build(items, counting, tmp_path / "cache").batch([0, 1])
    stat = path.stat()
    Image.new("RGB", (48, 36), (30, 20, 10)).save(path, "BMP")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    after = FeatureCache.build(items, counting, tmp_path / "cache").batch([0, 1])
    assert torch.equal(before.pooled[0], after.pooled[0])
    assert_same(after, LiveFeatures(items, counting).batch([0, 1]))
    assert not torch.equal(before.pooled[1], after.pooled[1])


def test_a_changed_backbone_is_never_a_stale_hit(tmp_path, counting, tiny_text):
    items = problems(tmp_path / "data", range(2))
    FeatureCache.build(items, counting, tmp_path / "cache")
    changed = CountingVision(5)
    with torch.no_grad():
        changed._model.convolution.weight.mul_(1.01)
    again = VisionBackbone("cells-5", changed._model, CountingVision.pixels, settings={})
    cache = FeatureCache.build(items, Backbones((again,), tiny_text), tmp_path / "cache")
    live = LiveFeatures(items, Backbones((again,), tiny_text))
    assert_same(cache.batch([0, 1]), live.batch([0, 1]))


def test_a_picture_that_changes_while_it_is_read_is_refused(tmp_path, counting):
    class Changing(Sample):
        def open_image(self):
            image = super().open_image()
            (self.folder / self.image).write_bytes(png_bytes(picture(99)))
            return image

    (item,) = problems(tmp_path / "data", [1])
    changing = Changing(id="x", question="?", image=item.image, folder=item.folder)
    with pytest.raises(VkitError, match=r"record 'x': its image changed while it was read; run again"):
        FeatureCache.build([changing], counting, tmp_path / "cache")


# What is refused -------------------------------------------------------------------------------------------


def test_a_question_that_is_too_long_is_refused_by_name_before_the_work_begins(tmp_path, counting):
    items = problems(tmp_path / "data", range(3), ["a", "b", "star " * 120])
    with pytest.raises(VkitError, match=r"record 'p2': text .* more than 110; shorten it"):
        FeatureCache.build(items, counting, tmp_path / "cache")
    assert seen(counting) == [0, 0, 0]


@pytest.mark.parametrize(
    ("image", "reason"),
    [(None, "has no image"), ("gone.png", "cannot be read"), ("../0.png", "outside its folder")],
)
def test_an_item_without_its_picture_is_refused_by_name(tmp_path, counting, image, reason):
    items = problems(tmp_path / "data", range(2))
    with pytest.raises(VkitError, match=rf"record 'p1'.*{reason}"):
        FeatureCache.build([items[0], replace(items[1], image=image)], counting, tmp_path / "cache")
    assert seen(counting) == [0, 0, 0]


def test_a_picture_that_cannot_be_read_is_refused_by_name_and_what_was_done_stays(tmp_path, counting):
    items = problems(tmp_path / "data", range(5))
    (tmp_path / "data" / "3.png").write_bytes(b"no picture")
    with pytest.raises(VkitError, match=r"record 'p3': image .* cannot be read"):
        FeatureCache.build(items, counting, tmp_path / "cache", batch_size=2)
    FeatureCache.build(items[:2], counting, tmp_path / "cache")
    assert seen(counting)[:2] == [2, 2]


def test_the_space_that_is_needed_is_said_and_checked_before_the_work_begins(tmp_path, counting, monkeypatch):
    items = problems(tmp_path / "data", [1, 2, 2])
    said, asked = [], []
    monkeypatch.setattr(feature_store.FeatureStore, "check_space", lambda store, needed: asked.append(needed))
    FeatureCache.build(items, counting, tmp_path / "cache", say=said.append)
    states = sum(counting.text.length(item.question) for item in items)
    needed = 2 * (2 * (1 + 9) * (5 + 3) + states * counting.text.size)
    assert asked == [needed]
    assert said == [
        f"features of 2 pictures and 3 questions: {feature_store.readable(needed)} in {tmp_path / 'cache'}"
    ]
    (shard,) = (tmp_path / "cache").glob("*.safetensors")
    assert needed < shard.stat().st_size < needed + 1000

    def refuse(store, needed):
        raise VkitError("too little")

    monkeypatch.setattr(feature_store.FeatureStore, "check_space", refuse)
    before = seen(counting)
    with pytest.raises(VkitError, match="too little"):
        FeatureCache.build(problems(tmp_path / "more", [9]), counting, tmp_path / "cache")
    assert seen(counting) == before


# A kill ----------------------------------------------------------------------------------------------------

KILLED = """
import sys, time
from pathlib import Path
from tests.test_features import CountingVision, problems
from vkit.models.backbones import Backbones, load_text
from vkit.train import feature_store
from vkit.train.features import FeatureCache

class Slow(CountingVision):
    def encode(self, images):
        time.sleep(0.05)
        return super().encode(images)

feature_store.Writer.flush_if_due = feature_store.Writer.flush
folder = Path(sys.argv[1])
backbones = Backbones((Slow(5),), load_text("tiny", device="cpu"))
FeatureCache.build(problems(folder / "data", range(60)), backbones, folder / "cache", batch_size=2)
"""


def test_a_build_killed_at_work_is_taken_up_where_it_was(tmp_path, tiny_text):
    index = tmp_path / "cache" / "index.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, env=environment)
    try:
        while process.poll() is None and not (index.is_file() and index.read_bytes().count(b"\n") >= 3):
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    items = problems(tmp_path / "data", range(60))
    backbones = Backbones((CountingVision(5),), CountingText(tiny_text))
    cache = FeatureCache.build(items, backbones, tmp_path / "cache")
    assert 0 < backbones.vision[0].seen <= 54
    assert_same(cache.batch(range(60)), LiveFeatures(items, backbones).batch(range(60)))
