"""Stage 2: the loss and its gradients are those of plain autograd through the whole model."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.training_data import write_pairs
from vkit.errors import VkitError
from vkit.models.tiny import build_tiny
from vkit.models.training import choose_trainable
from vkit.records import Pair, read_pairs, write_samples
from vkit.train.align import AlignTask
from vkit.train.data import open_examples
from vkit.train.recipes import AlignRecipe
from vkit.train.task import Totals


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 6, strong="text-dominant")


def make_task(pairs, **values):
    recipe = AlignRecipe(batch_size=4, **values)
    model = build_tiny(seed=1)
    sharpen(model)
    choose_trainable(model, recipe.train)
    model.model.eval()  # no dropout: both computations see the same network
    return AlignTask(model, open_examples([pairs], recipe), recipe)


def sharpen(model):
    """Random weights give nearly equal logits on both sides; larger ones make the divergence count."""
    with torch.no_grad():
        model.lm_head.weight.mul_(20)


def eager_loss(task, teacher, indices):
    """Equation 5 with plain logits and autograd, in float64 from the logits on."""
    recipe = task.recipe
    examples = [task.examples[i] for i in indices]
    micro = task.encode(examples)
    (weak, strong) = micro.batches[0]
    logits = [
        (adapter.model.language_model.get_output_embeddings()(adapter.forward(batch))).double()
        for adapter, batch in ((task.adapter, weak), (teacher, strong))
    ]
    own = task.adapter.lm_head(task.adapter.forward(strong)).double() if recipe.strong_cross_entropy else None

    def rows(values, batch, shift):
        picked = [
            values[b, t - 1 if shift else t]
            for b in range(len(values))
            for t in range(values.shape[1])
            if batch.labels[b, t] != -100
        ]
        return torch.stack(picked)

    targets = weak.labels[weak.labels != -100]
    hard = F.cross_entropy(rows(logits[0], weak, True), targets)
    s, t = rows(logits[0], weak, recipe.shift), rows(logits[1].detach(), strong, recipe.shift)
    if recipe.standardize:
        s, t = ((x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) for x in (s, t))
    log_p, log_q = ((x / recipe.temperature).log_softmax(-1) for x in (s, t))
    weak_strong = (log_p.exp() * (log_p - log_q)).sum()
    strong_weak = (log_q.exp() * (log_q - log_p)).sum()
    divisor = len(targets) if recipe.kl_per == "token" else len(indices)
    divergence = (recipe.alpha * weak_strong + (1 - recipe.alpha) * strong_weak) / divisor
    loss = recipe.lam * recipe.temperature**recipe.temperature_power * divergence + (1 - recipe.lam) * hard
    if own is not None:
        loss = loss + recipe.strong_cross_entropy * F.cross_entropy(rows(own, strong, True), targets)
    return loss


SETTINGS = {
    "paper": {"lam": 0.5},
    "hot": {"lam": 0.5, "temperature": 2.0, "alpha": 0.7},
    "text only": {"lam": 0.5, "strong": "text-only"},
    "released": {
        "lam": 0.5,
        "alpha": 0.5,
        "standardize": True,
        "temperature": 1.5,
        "temperature_power": 4.0,
        "kl_per": "item",
        "shift": False,
    },
    "strong side learns": {"lam": 0.5, "strong_cross_entropy": 1.0},
    "frozen teacher": {"lam": 0.9, "teacher": "frozen"},
    "no divergence": {"lam": 0.0},
    "divergence alone": {"lam": 1.0},
    "connector alone": {"lam": 0.5, "train": ("connector",)},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradients_equal_eager_autograd(pairs, name):
    task = make_task(pairs, **SETTINGS[name])
    if task.recipe.teacher == "frozen":  # as after some steps: the student is no longer the teacher
        with torch.no_grad():
            for parameter in task.adapter.model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    indices = [0, 2, 3, 5]
    expected = eager_loss(task, task.teacher, indices)
    expected.backward()
    gradients = {name: parameter.grad for name, parameter in task.trainable()}
    task.network.zero_grad(set_to_none=True)

    micro = task.read(indices)[0]
    loss, _ = task(micro, Totals(micro.tokens, micro.items))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    difference = reference = 0.0
    for name, parameter in task.trainable():
        if gradients[name] is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        difference += (parameter.grad - gradients[name]).double().square().sum().item()
        reference += gradients[name].double().square().sum().item()
    assert reference > 0
    assert (difference / reference) ** 0.5 <= 1e-5


def test_micro_batches_add_up_to_the_whole_batch(pairs):
    task = make_task(pairs, lam=0.5)
    whole = task.read(range(6))[0]
    totals = Totals(whole.tokens, whole.items)
    loss, parts = task(whole, totals)
    shares = [task(task.read(some)[0], totals) for some in ([0], [1, 2, 3], [4, 5])]
    assert sum(share.item() for share, _ in shares) == pytest.approx(loss.item(), rel=1e-5)
    for name in parts:
        assert sum(found[name].item() for _, found in shares) == pytest.approx(parts[name].item(), rel=1e-4)


def test_parts_make_up_the_loss(pairs):
    task = make_task(pairs, lam=0.3, alpha=0.2)
    micro = task.read([0, 1, 2])[0]
    loss, parts = task(micro, Totals(micro.tokens, micro.items))
    divergence = 0.2 * parts["kl_weak_strong"] + 0.8 * parts["kl_strong_weak"]
    assert loss.item() == pytest.approx((0.3 * divergence + 0.7 * parts["cross_entropy"]).item(), rel=1e-5)
    assert parts["kl_weak_strong"] > 1e-4


def test_frozen_parts_get_no_gradient(pairs):
    task = make_task(pairs, lam=0.5, train=("connector",))
    micro = task.read([0, 1])[0]
    task(micro, Totals(micro.tokens, micro.items))[0].backward()
    touched = {name.split(".")[0] for name, p in task.network.named_parameters() if p.grad is not None}
    assert touched == {"connector"}


def test_the_teacher_is_live_frozen_or_follows(pairs):
    live, frozen, moving = (make_task(pairs, teacher=kind) for kind in ("live", "frozen", "ema"))
    assert live.teacher is live.adapter
    assert not any(p.requires_grad for p in frozen.teacher.model.parameters())
    for task in (frozen, moving):
        before = copy.deepcopy(task.teacher.model.state_dict())
        with torch.no_grad():
            for _, parameter in task.trainable():
                parameter.add_(1.0)
        task.after_step({"kl_weak_strong": 0.1, "kl_strong_weak": 0.1, "cross_entropy": 1.0})
        moved = {
            name: (value - before[name]).abs().max().item()
            for name, value in task.teacher.model.state_dict().items()
        }
        expected = 0.0 if task is frozen else 1 - moving.recipe.ema_decay
        for name, _ in task.trainable():
            assert moved[name] == pytest.approx(expected, rel=1e-2, abs=1e-6), name


def test_the_watch_for_a_collapse_goes_on_where_a_checkpoint_left_it(pairs):
    fallen = [(1.0, 2.0)] * 20 + [(0.01, 2.0)] * 20
    steps = [{"kl_weak_strong": kl, "kl_strong_weak": 0.0, "cross_entropy": ce} for kl, ce in fallen]
    whole, first, second = (make_task(pairs) for _ in range(3))
    expected = [whole.after_step(step) for step in steps]
    warnings = [first.after_step(step) for step in steps[:30]]
    second.restore(json.loads(json.dumps(first.state())), [])
    warnings += [second.after_step(step) for step in steps[30:]]
    assert warnings == expected
    assert sum(warning is not None for warning in expected) == 1


def test_the_teachers_weights_are_not_the_tasks(pairs):
    task = make_task(pairs, teacher="frozen")
    mine = {id(parameter) for parameter in task.parameters()}
    assert not mine & {id(parameter) for parameter in task.teacher.model.parameters()}


def test_the_strong_side_can_be_the_text_without_its_picture(pairs):
    task = make_task(pairs, strong="text-only")
    (weak, strong) = task.encode([task.examples[0]]).batches[0]
    assert weak.layouts[0].images
    assert not strong.layouts[0].images


def test_pairs_whose_text_is_incomplete_are_left_out_and_counted(tmp_path):
    path = write_pairs(tmp_path, 3, strong="vision-dominant")
    with pytest.raises(VkitError, match="text is not complete"):
        open_examples([path], AlignRecipe(strong="text-only"))
    assert len(open_examples([path], AlignRecipe())) == 3


def test_responses_that_tokenise_differently_are_refused_by_id(pairs, monkeypatch):
    task = make_task(pairs)
    encode = task.adapter.encode_training

    def other_end(requests, answers, **how):
        with_picture = bool(requests[0].images)
        return encode(requests, [a if with_picture else a + " cm" for a in answers], **how)

    monkeypatch.setattr(task.adapter, "encode_training", other_end)
    task.recipe = replace(task.recipe, strong="text-only")
    with pytest.raises(VkitError, match="pair 'p2': its response"):
        task.read([2])


def test_a_missing_image_is_refused_by_id_before_training(tmp_path):
    path = write_pairs(tmp_path, 3)
    (tmp_path / "images" / "p1-vision-only.png").unlink()
    with pytest.raises(VkitError, match=r"record 2 \('p1'\): image .* is missing"):
        open_examples([path], AlignRecipe())
    examples = open_examples([path], AlignRecipe(), skip_bad=True)
    assert len(examples) == 2
    assert [refused.id for refused in examples.refused] == ["p1"]


def test_a_response_too_long_for_the_model_is_refused_not_cut(tmp_path):
    path = write_pairs(tmp_path, 2)
    first, second = read_pairs(path)
    write_samples(path, [first, Pair(second.id, second.text_rich, second.vision_rich, "1+1=2. " * 3000)])
    task = make_task(path)
    with pytest.raises(VkitError, match=r"'p1'.*take \d+ columns, over"):
        task.read([0, 1])
    task.skip_bad = True
    micro, refused = task.read([0, 1])
    assert micro.ids == ["p0"]
    assert [record.id for record in refused] == ["p1"]
    assert task.refused == []
