"""The loop: exact resume, refusals, what it leaves behind."""

import itertools
import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from tests.training_data import write_pairs
from vkit.errors import VkitError
from vkit.jsonl import JsonlStore
from vkit.models.loading import load_model
from vkit.models.tiny import build_tiny
from vkit.train import checkpoint, loop, stages
from vkit.train.collapse import CollapseWatch
from vkit.train.data import Order, open_examples
from vkit.train.loop import planned_steps, train
from vkit.train.optimizer import rate_factor
from vkit.train.recipes import AlignRecipe, Recipe, SftRecipe
from vkit.train.sft import SftTask
from vkit.train.task import Totals

SFT = SftRecipe(lr=1e-3, batch_size=4, micro_batch_size=2, max_steps=6, twins="both", weight_decay=0.1)
MEASURES = ("seconds", "waited_seconds", "tokens_per_second", "peak_mib")
ALIGN = AlignRecipe(lr=1e-3, batch_size=4, micro_batch_size=0, max_steps=6, teacher="ema", ema_decay=0.5)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 9)


def make_task(pairs, recipe, **settings):
    return stages.make_task(build_tiny(seed=3), open_examples([pairs], recipe), recipe, **settings)


def without_measures(line):
    return {name: value for name, value in line.items() if name not in MEASURES}


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def kill_at(monkeypatch, step):
    one_step = loop._Run.one_step

    def dying(self, tell):
        if self.step == step:
            raise Killed
        return one_step(self, tell)

    monkeypatch.setattr(loop._Run, "one_step", dying)


LORA = {"lora_rank": 2, "lora_dropout": 0.5, "train": ("connector", "language_model")}


@pytest.mark.parametrize(
    "recipe",
    [SFT, ALIGN, replace(SFT, **LORA), replace(ALIGN, teacher="frozen", lam=0.9, **LORA)],
    ids=["sft", "align", "sft-lora", "align-lora-frozen"],
)
def test_a_resumed_run_ends_in_the_same_weights(pairs, tmp_path, monkeypatch, recipe):
    whole = make_task(pairs, recipe)
    expected = train(whole, recipe, tmp_path / "whole", workers=0)
    with monkeypatch.context() as patch:
        kill_at(patch, 5)
        with pytest.raises(Killed):
            train(make_task(pairs, recipe), recipe, tmp_path / "killed", checkpoint_every=2, workers=3)
    assert not (tmp_path / "killed" / "model").exists()
    (tmp_path / "killed" / "checkpoints" / ".step-00000099.part").mkdir()  # and once more inside a save
    with (tmp_path / "killed" / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')
    told = []
    task = make_task(pairs, recipe)
    summary = train(task, recipe, tmp_path / "killed", checkpoint_every=2, tell=told.append)
    assert told == ["resumed at step 4 of 6"]
    for (name, one), (_, other) in zip(whole.trainable(), task.trainable()):
        assert torch.equal(one, other), name
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "killed")]
    logs = [[without_measures(json.loads(line)) for line in lines] for lines in logs]
    assert logs[0] == logs[1]
    assert {**summary, "seconds": 0} == {**expected, "seconds": 0}


def test_the_ema_teacher_is_resumed_too(pairs, tmp_path, monkeypatch):
    task = make_task(pairs, ALIGN)
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        train(task, ALIGN, tmp_path, checkpoint_every=4)
    again = make_task(pairs, ALIGN)
    run = loop._Run(again, ALIGN, tmp_path)
    with JsonlStore(tmp_path / "log.jsonl") as log:
        run.resume(log, lambda line: None)
    for (name, one), other in zip(task.extra_tensors().items(), again.extra_tensors().values()):
        assert torch.equal(one, other), name


def test_training_learns(pairs, tmp_path):
    recipe = replace(SFT, max_steps=25, lr=3e-3, batch_size=9, micro_batch_size=0, twins="text")
    train(make_task(pairs, recipe), recipe, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.6 * losses[0]


def test_the_model_is_left_where_load_model_reads_it(pairs, tmp_path):
    task = make_task(pairs, SFT)
    train(task, SFT, tmp_path)
    model = load_model(tmp_path / "model")
    assert not model.random_weights
    for (name, one), (_, other) in zip(task.network.named_parameters(), model.model.named_parameters()):
        assert torch.equal(one, other), name
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log.jsonl",
        "model",
        "settings.json",
        "summary.json",
    ]


def test_a_finished_run_is_not_repeated(pairs, tmp_path, monkeypatch):
    summary = train(make_task(pairs, SFT), SFT, tmp_path)
    kill_at(monkeypatch, 0)
    assert train(make_task(pairs, SFT), SFT, tmp_path) == summary


def test_another_run_is_refused_the_folder(pairs, tmp_path):
    train(make_task(pairs, SFT), SFT, tmp_path)
    other = replace(SFT, lr=2e-3)
    with pytest.raises(VkitError, match=r"lr: 0\.001 there, 0\.002 now"):
        train(make_task(pairs, other), other, tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_records(pairs, tmp_path):
    task = make_task(pairs, SFT)
    with torch.no_grad():
        task.adapter.lm_head.weight[0] = float("nan")
    with pytest.raises(VkitError, match=r"step 1: loss, .*not a number; records p\d"):
        train(task, SFT, tmp_path)
    assert not (tmp_path / "model").exists()


def test_micro_batches_do_not_change_the_step(pairs, tmp_path):
    """Answers differ in length: the mean is over tokens, not over micro-batches."""
    weights = []
    for size in (0, 1, 3):
        recipe = replace(SFT, micro_batch_size=size, max_steps=1, lr=1e-4)
        task = make_task(pairs, recipe)
        run = loop._Run(task, recipe, tmp_path)
        run.optimizer = torch.optim.SGD([p for _, p in task.trainable()], lr=1.0)
        run.one_step(lambda line: None)
        weights.append(torch.cat([p.detach().flatten() for _, p in task.trainable()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-6)
    assert torch.allclose(weights[0], weights[2], atol=1e-6)


def test_a_step_is_clipped_adamw_at_the_logged_rate(pairs, tmp_path):
    """Written out: gradients of at most this norm; decay of matrices, not of norms and biases."""
    recipe = replace(SFT, max_steps=3, micro_batch_size=0, max_grad_norm=0.1, warmup_ratio=0.5, lr=1e-2)
    task, plain = make_task(pairs, recipe), make_task(pairs, recipe)
    train(task, recipe, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in log] == pytest.approx([0.005, 0.01, 0.01])

    parameters = [p for _, p in plain.trainable()]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    for step, line in enumerate(log, 1):
        micro = plain.read(Order(18, seed=0).take(4 * (step - 1), 4))[0]
        gradients = torch.autograd.grad(plain(micro, Totals(micro.tokens, micro.items))[0], parameters)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        assert line["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
        assert norm > 0.1
        for p, gradient, (first, second) in zip(parameters, gradients, moments):
            gradient = gradient * 0.1 / norm
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient**2, 0.001)
            with torch.no_grad():
                p *= 1 - line["lr"] * (0.1 if p.ndim > 1 else 0.0)
                move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
                p -= line["lr"] * move
    for (name, one), (_, other) in zip(task.trainable(), plain.trainable()):
        assert (one - other).abs().max() < 2e-3 * log[0]["lr"], name


def test_frozen_parts_stay_as_they_are(pairs, tmp_path):
    recipe = replace(SFT, train=("connector",), max_steps=2)
    task = make_task(pairs, recipe)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    train(task, recipe, tmp_path)
    after = task.network.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not value.equal(before[name])}
    assert changed == {"connector"}


def test_bad_records_are_left_out_and_listed(pairs, tmp_path, monkeypatch):
    recipe = replace(ALIGN, teacher="live", max_steps=3)
    task = make_task(pairs, recipe, skip_bad=True)
    encode = task.adapter.encode_training

    def refuse(requests, answers, **how):
        if any(request.id == "p3" for request in requests):
            raise VkitError("request 'p3': made to fail")
        return encode(requests, answers, **how)

    monkeypatch.setattr(task.adapter, "encode_training", refuse)
    summary = train(task, recipe, tmp_path / "all")  # 12 of 9 records: it comes again
    assert [refused["id"] for refused in summary["refused"]] == ["p3"]

    alone = replace(recipe, batch_size=1, max_steps=9)
    task = make_task(pairs, alone, skip_bad=True)
    monkeypatch.setattr(task.adapter, "encode_training", refuse)
    with pytest.raises(VkitError, match=r"none of its 1 records .*'p3': made to fail; .* raise batch_size"):
        train(task, alone, tmp_path / "alone")


@pytest.fixture(scope="module")
def pairs_with_a_torn_picture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torn")
    path = write_pairs(folder, 9)
    (folder / "images" / "p4-vision-only.png").write_bytes(b"torn")  # which only shows when it is opened
    return path


@pytest.mark.parametrize(
    "recipe",
    [replace(SFT, **LORA, batch_size=5, max_steps=0, epochs=1.6), replace(ALIGN, micro_batch_size=1)],
    ids=["sft-lora", "align-ema"],
)
def test_nothing_depends_on_the_workers(pairs_with_a_torn_picture, tmp_path, monkeypatch, recipe):
    one_step, refused_by_step = loop._Run.one_step, []

    def noting(self, tell):
        line = one_step(self, tell)
        refused_by_step.append([refused.id for refused in self.task.refused])
        return line

    monkeypatch.setattr(loop._Run, "one_step", noting)
    runs = []
    for workers in (0, 1, 3):
        task = make_task(pairs_with_a_torn_picture, recipe, skip_bad=True)
        summary = train(task, recipe, tmp_path / str(workers), workers=workers)
        assert ["'p4': image" in refused["reason"] for refused in summary["refused"]] == [True]
        lines = [json.loads(line) for line in (tmp_path / str(workers) / "log.jsonl").open()]
        assert all(0 <= line["waited_seconds"] <= line["seconds"] for line in lines)
        weights = [parameter.detach().clone() for _, parameter in task.trainable()]
        runs.append(({**summary, "seconds": 0}, list(map(without_measures, lines)), weights))
    assert refused_by_step == 3 * refused_by_step[: len(refused_by_step) // 3]
    assert refused_by_step[0] == []  # what is made ahead is not told yet
    for summary, lines, weights in runs[1:]:
        assert (summary, lines) == runs[0][:2]
        assert all(map(torch.equal, weights, runs[0][2]))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_bad_record_stops_the_run_at_its_step_and_not_before(pairs_with_a_torn_picture, tmp_path, workers):
    task = make_task(pairs_with_a_torn_picture, SFT)
    order = Order(18, seed=0).take(0, 24)
    bad = next(index for index in range(18) if torn(task, index))
    with pytest.raises(VkitError, match=r"'p4': image .* cannot be read"):
        train(task, SFT, tmp_path, workers=workers)
    steps = len((tmp_path / "log.jsonl").read_text().splitlines())
    assert steps == order.index(bad) // 4 > 0


def torn(task, index):
    try:
        task.read([index])
    except VkitError:
        return True
    return False


def test_a_full_disk_is_one_line_and_the_run_goes_on_from_it(pairs, tmp_path, monkeypatch):
    whole = make_task(pairs, SFT)
    expected = train(whole, SFT, tmp_path / "whole")
    out = tmp_path / "full"
    save_file = safetensors.torch.save_file
    left = iter(["the last checkpoint is .*step-00000002", "the last checkpoint is .*step-00000003"])
    for every in (2, 3):  # the checkpoint of step 4 fails; then, resumed at step 2, the model after that of 3
        room = iter([True])

        def save(tensors, path, metadata=None, room=room):
            if not next(room, False):
                raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
            save_file(tensors, path, metadata)

        monkeypatch.setattr(safetensors.torch, "save_file", save)
        with pytest.raises(
            VkitError, match=rf"cannot be written \(.*No space.*\); {next(left)}; free some space, the"
        ):
            train(make_task(pairs, SFT), SFT, out, checkpoint_every=every)
        assert not (out / "model").exists()
    monkeypatch.undo()
    task = make_task(pairs, SFT)
    summary = train(task, SFT, out, checkpoint_every=2)
    assert {**summary, "seconds": 0} == {**expected, "seconds": 0}
    for (name, one), (_, other) in zip(whole.trainable(), task.trainable()):
        assert torch.equal(one, other), name
    assert sorted(path.name for path in out.iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )


def test_a_second_run_into_the_folder_is_refused_and_spoils_nothing(pairs, tmp_path, monkeypatch):
    one_step = loop._Run.one_step

    def second_run_in_between(self, tell):
        if self.step == 3:
            with monkeypatch.context() as patch:
                patch.setattr(loop._Run, "one_step", one_step)
                with pytest.raises(VkitError, match="in use by another run"):
                    train(make_task(pairs, SFT), SFT, tmp_path)
        return one_step(self, tell)

    monkeypatch.setattr(loop._Run, "one_step", second_run_in_between)
    train(make_task(pairs, SFT), SFT, tmp_path, checkpoint_every=2)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_other_data_are_refused_the_folder(tmp_path):
    path = write_pairs(tmp_path, 4)
    train(make_task(path, SFT), SFT, tmp_path / "out")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    with pytest.raises(VkitError, match="made with other settings \\(data:"):
        train(make_task(path, SFT), SFT, tmp_path / "out")

    picture = tmp_path / "images" / "p0-vision-only.png"
    picture.rename(tmp_path / "kept.png")
    without_first = open_examples([path], SFT, skip_bad=True)
    (tmp_path / "images" / "p1-vision-only.png").rename(picture)
    without_second = open_examples([path], SFT, skip_bad=True)
    assert len(without_first) == len(without_second)
    assert without_first.digest != without_second.digest


def test_memory_that_is_full_is_one_line(pairs, tmp_path, monkeypatch):
    def full(self, micro, totals):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(SftTask, "loss", full)
    with pytest.raises(VkitError, match="does not hold 2 records at once; lower micro_batch_size"):
        train(make_task(pairs, SFT), SFT, tmp_path)


def test_epochs_are_logged_as_far_as_the_records_go(pairs, tmp_path):
    recipe = replace(SFT, batch_size=12, max_steps=0)  # 18 records: both twins of 9 pairs
    train(make_task(pairs, recipe), recipe, tmp_path)
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert epochs == [0.6667, 1.0]


def test_steps_and_order():
    assert planned_steps(10, Recipe(batch_size=4)) == 3
    assert planned_steps(10, Recipe(batch_size=4, epochs=2)) == 5
    with pytest.raises(VkitError, match=r"come to 0\.01 records"):
        planned_steps(10, Recipe(epochs=0.001))
    order = Order(10, seed=1)
    first, second = order.take(0, 10), order.take(10, 10)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert Order(10, seed=1).take(7, 6) == [*first, *second][7:13]
    assert Order(10, seed=2).take(0, 10) != first


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    rates = [rate_factor(step, 100, 0.05) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    assert rates[-1] < 0.001
    assert max(rates) == 1.0


def test_only_whole_checkpoints_are_found(tmp_path):
    assert checkpoint.latest_checkpoint(tmp_path) is None
    for step in (2, 4, 6):
        checkpoint.save_checkpoint(tmp_path, step=step, tensors={"a": torch.ones(step)}, state={"step": step})
    (tmp_path / "step-00000008").mkdir()  # as some tools leave them: newer, and empty
    found = checkpoint.latest_checkpoint(tmp_path)
    tensors, state = checkpoint.load_checkpoint(found)
    assert (found.name, len(tensors["a"]), state) == ("step-00000006", 6, {"step": 6})
    assert not (tmp_path / "step-00000002").exists()
    (found / "tensors.safetensors").write_bytes(b"torn")
    with pytest.raises(VkitError, match="remove this checkpoint"):
        checkpoint.load_checkpoint(found)


class TestCollapse:
    """MINIATURE, trap 2: the divergence falls, the cross-entropy does not."""

    def run(self, values):
        watch = CollapseWatch(window=5)
        return [warning for kl, ce in values if (warning := watch.update(kl, ce))]

    def test_is_named_once(self):
        falling = [(2.0 * 0.8**i, 2.5) for i in range(40)]
        (warning,) = self.run(falling)
        assert warning.startswith("alignment collapse: the divergence fell from")

    def test_learning_is_no_collapse(self):
        assert not self.run([(2.0 * 0.8**i, 2.5 * 0.85**i) for i in range(40)])

    def test_a_steady_divergence_is_no_collapse(self):
        assert not self.run([(1.0, 2.5)] * 40)

    def test_a_small_cross_entropy_is_no_collapse(self):
        assert not self.run([(2.0 * 0.8**i, 0.1) for i in range(40)])
