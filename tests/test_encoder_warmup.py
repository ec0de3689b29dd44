"""Stage 0: the vision tower learns to read, and nothing else changes."""

import pytest
import torch

from vkit.errors import VkitError
from vkit.models.tiny import CONFIG, build_random, build_stand_in, build_tiny
from vkit.train.encoder_warmup import warm_up


def changed(before, after):
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_loss_falls_and_only_the_tower_learns():
    model = build_tiny()
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    losses = []
    report = warm_up(model, steps=25, batch_size=16, seed=0, progress=lambda step, loss: losses.append(loss))
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    assert report["loss"] == losses[-1]
    assert 0 <= report["glyph_accuracy"] <= 1
    assert changed(before, model.model.state_dict()) == {"vision_tower"}
    assert not model.model.vision_tower.training


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone():
    models = [build_tiny() for _ in range(3)]
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    reports = [warm_up(model, steps=2, batch_size=4, seed=seed) for model, seed in zip(models, (5, 5, 6))]
    assert torch.equal(torch.rand(2), expected)
    first, second, other = (model.model.state_dict() for model in models)
    assert not changed(first, second)
    assert reports[0] == reports[1]
    assert changed(first, other) == {"vision_tower"}


def test_progress_is_told_after_every_step():
    steps = []
    warm_up(build_tiny(), steps=3, batch_size=2, progress=lambda step, loss: steps.append(step))
    assert steps == [1, 2, 3]


def test_a_siglip_whose_patches_fit_the_cells_learns_too():
    warm_up(build_stand_in(), steps=1, batch_size=2)


def test_a_tower_whose_tokens_do_not_fit_the_cells_is_refused():
    vision = {**CONFIG["vision_config"], "image_size": 96}
    model = build_random({**CONFIG, "vision_config": vision}, name="wide")
    with pytest.raises(VkitError, match="8 x 8 cells, which the 36 image tokens of wide do not divide"):
        warm_up(model, steps=1, batch_size=2)
