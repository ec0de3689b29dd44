"""What a run leaves on the disk, and where it goes on: any checkpoint, a full disk, a loss that is none."""

import json
import resource
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from tests.training_data import write_pairs
from vkit.errors import VkitError
from vkit.models.tiny import build_tiny
from vkit.train import checkpoint, loop, stages
from vkit.train.data import open_examples
from vkit.train.loop import train
from vkit.train.recipes import SftRecipe

SFT = SftRecipe(lr=1e-3, batch_size=12, micro_batch_size=4, max_steps=6)


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 9)


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """The weights of a run that nothing interrupted."""
    return weights(run(pairs, tmp_path_factory.mktemp("whole")))


def run(pairs, out, recipe=SFT, **how):
    task = stages.make_task(build_tiny(seed=3), open_examples([pairs], recipe), recipe)
    train(task, recipe, out, **{"checkpoint_every": 1, **how})
    return task


def weights(task):
    return {name: parameter.detach().clone() for name, parameter in task.trainable()}


def before_step(monkeypatch, at, what):
    """Call ``what(run)`` before the step that is number ``at``, counted from 1."""
    one_step = loop._Run.one_step

    def step(self, tell):
        if self.step == at - 1:
            what(self)
        return one_step(self, tell)

    monkeypatch.setattr(loop._Run, "one_step", step)


def kill(_):
    raise Killed


def killed_before(pairs, out, at, **how):
    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, at, kill)
        with pytest.raises(Killed):
            run(pairs, out, **how)


def kept(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (3, [3, 4, 5])])
def test_the_last_checkpoints_stay(pairs, tmp_path, keep, left):
    killed_before(pairs, tmp_path, 6, keep_checkpoints=keep)
    assert kept(tmp_path) == [f"step-{step:08d}" for step in left]


def test_a_run_goes_back_to_a_chosen_checkpoint(pairs, tmp_path, whole):
    killed_before(pairs, tmp_path, 6, keep_checkpoints=4)
    told = []
    chosen = tmp_path / "checkpoints" / "step-00000003"
    killed_before(pairs, tmp_path, 4, resume=str(chosen), tell=told.append)
    assert told == ["resumed at step 3 of 6"]
    assert kept(tmp_path) == ["step-00000002", "step-00000003"]  # auto would take a later one
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert equal(weights(run(pairs, tmp_path, resume=chosen)), whole)


def test_going_back_to_a_damaged_checkpoint_removes_none(pairs, tmp_path, whole):
    killed_before(pairs, tmp_path, 5, keep_checkpoints=3)
    chosen = tmp_path / "checkpoints" / "step-00000002"
    (chosen / "tensors.safetensors").write_bytes(b"torn")
    with pytest.raises(VkitError, match=r"step-00000002/tensors\.safetensors cannot be read"):
        run(pairs, tmp_path, resume=chosen)
    assert kept(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]
    assert equal(weights(run(pairs, tmp_path)), whole)


def test_copies_that_people_make_of_a_checkpoint_stay_theirs(pairs, tmp_path):
    killed_before(pairs, tmp_path, 3)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "step-00000001", folder / "step-00000001-good")
    shutil.copytree(folder / "step-00000001", folder / "step-9.bak")
    told = []
    killed_before(pairs, tmp_path, 5, tell=told.append)
    assert told == ["resumed at step 2 of 6"]
    assert kept(tmp_path) == ["step-00000001-good", "step-00000003", "step-00000004", "step-9.bak"]


def test_a_checkpoint_that_is_not_the_runs_is_refused(pairs, tmp_path):
    killed_before(pairs, tmp_path / "one", 3)
    killed_before(pairs, tmp_path / "other", 3)
    theirs = tmp_path / "other" / "checkpoints" / "step-00000002"
    with pytest.raises(VkitError, match=r"step-00000002 is no checkpoint of .*one; those stand in"):
        run(pairs, tmp_path / "one", resume=theirs)
    missing = tmp_path / "one" / "checkpoints" / "step-00000009"
    with pytest.raises(VkitError, match="it has step-00000001, step-00000002 in"):
        run(pairs, tmp_path / "one", resume=missing)
    assert kept(tmp_path / "one") == ["step-00000001", "step-00000002"]


def test_never_refuses_a_folder_that_holds_a_run(pairs, tmp_path, vkit):
    run(pairs, tmp_path / "new", resume="never", recipe=replace(SFT, max_steps=1))
    with pytest.raises(VkitError, match="new holds a run already; choose another --out, or give --resume"):
        run(pairs, tmp_path / "new", resume="never", recipe=replace(SFT, max_steps=1))
    command = ("train-puma", "--model", "tiny-random", "--data", pairs, "--recipe", "tiny", "--device", "cpu")
    (tmp_path / "puma" / "stage3").mkdir(parents=True)
    (tmp_path / "puma" / "stage3" / "settings.json").write_text("{}")
    code, _, err = vkit(*command, "--resume", "never", "--out", tmp_path / "puma")
    assert code == 1
    assert "stage3 holds a run already" in err
    code, _, err = vkit(*command, "--resume", tmp_path / "new", "--out", tmp_path / "puma")
    assert code == 1
    assert "stage3; give one that is" in err
    assert not (tmp_path / "puma" / "stage1").exists()


def test_a_kill_while_an_old_checkpoint_is_removed_leaves_none_of_it(pairs, tmp_path, monkeypatch, whole):
    rmtree = shutil.rmtree

    def dying(place, **how):
        if str(place).endswith(".gone.part") and place.is_dir():
            next(place.glob("*.safetensors")).unlink()  # as far as it came
            raise Killed
        rmtree(place, **how)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", dying)
        with pytest.raises(Killed):
            run(pairs, tmp_path, keep_checkpoints=1)
    assert kept(tmp_path) == [".step-00000001.gone.part", "step-00000002"]
    assert checkpoint.latest_checkpoint(tmp_path / "checkpoints").name == "step-00000002"
    assert equal(weights(run(pairs, tmp_path)), whole)


def test_checkpoints_that_a_kill_at_the_very_end_left_are_removed(pairs, tmp_path, monkeypatch):
    def die(_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "remove", die)
        with pytest.raises(Killed):
            run(pairs, tmp_path)
    assert (tmp_path / "checkpoints").is_dir()
    run(pairs, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_may_lie_on_another_disk(pairs, tmp_path, whole):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").symlink_to(scratch)
    killed_before(pairs, tmp_path / "out", 4)
    assert sorted(path.name for path in scratch.iterdir()) == ["step-00000002", "step-00000003"]
    assert equal(weights(run(pairs, tmp_path / "out")), whole)
    assert not scratch.exists()
    assert run(pairs, tmp_path / "out")  # which has nothing left to do


def test_a_name_is_gone_from_the_disk_before_its_folder_is_emptied(tmp_path, monkeypatch):
    """A loss of power between the two would leave half a checkpoint that has its name."""
    (tmp_path / "step-00000001").mkdir()
    done = []
    monkeypatch.setattr(checkpoint, "_sync", lambda path: done.append(("sync", path.name)))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", lambda path, **_: done.append(("remove", path.name)))
    checkpoint.remove(tmp_path / "step-00000001")
    gone = ".step-00000001.gone.part"
    assert done == [("remove", gone), ("sync", tmp_path.name), ("remove", gone)]


@pytest.mark.parametrize("lost", ["model.", "refused"])
def test_a_checkpoint_that_lacks_something_is_named(pairs, tmp_path, lost):
    killed_before(pairs, tmp_path, 3)
    place = tmp_path / "checkpoints" / "step-00000002"
    tensors, state = checkpoint.load_checkpoint(place)
    state.pop(lost, None)
    checkpoint.write_json(place / "state.json", state)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(lost)}
    checkpoint.write_tensors(place / "tensors.safetensors", kept)
    with pytest.raises(VkitError, match=rf"step-00000002 lacks '{lost}.*; remove this checkpoint"):
        run(pairs, tmp_path)


# ---- a full disk ----


@pytest.fixture
def disk(tmp_path):
    """A file system of its own that holds two checkpoints and a half."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    try:
        result = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if result.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {result.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


DISK_MIB = 32


def test_a_disk_that_is_full_leaves_the_last_checkpoint_whole_and_says_so(pairs, disk, whole):
    filler = disk / "filler"

    def fill(run):
        free = shutil.disk_usage(disk).free
        size = sum(path.stat().st_size for path in (disk / "out/checkpoints/step-00000002").iterdir())
        filler.write_bytes(bytes(free - size // 2))

    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, 3, fill)
        with pytest.raises(VkitError, match=FULL) as error:
            run(pairs, disk / "out")
    assert_first_two_are_whole(disk / "out", error)
    filler.unlink()
    assert equal(weights(run(pairs, disk / "out")), whole)


def test_files_that_may_not_grow_are_told_as_a_full_disk_is(pairs, tmp_path, whole):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.MonkeyPatch.context() as patch:
            limit = (100_000, before[1])
            before_step(patch, 3, lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
            with pytest.raises(VkitError, match=FULL) as error:
                run(pairs, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_first_two_are_whole(tmp_path / "out", error)
    assert equal(weights(run(pairs, tmp_path / "out")), whole)


FULL = (
    r"out/checkpoints cannot be written \(.*\); the last checkpoint is .*/step-00000002; free some space, the"
    " same command goes on"
)


def assert_first_two_are_whole(out, error):
    assert "\n" not in str(error.value)
    assert kept(out) == ["step-00000001", "step-00000002"]  # and no torn one takes room
    for step in (1, 2):
        tensors, state = checkpoint.load_checkpoint(out / "checkpoints" / f"step-{step:08d}")
        assert state["step"] == step
        assert tensors


def test_a_full_disk_is_one_line_of_the_command_and_exit_1(pairs, tmp_path, monkeypatch, vkit):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    code, out, err = vkit(
        *("train-sft", "--model", "tiny-random", "--data", pairs, "--recipe", "tiny", "--device", "cpu"),
        *("--set", "max_steps=3", "--checkpoint-every", 1, "--out", tmp_path / "out"),
    )
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"vkit: {tmp_path}/out/checkpoints cannot be written (No space left on device); there is no"
        " checkpoint yet; free some space, the same command goes on"
    )


# ---- a loss that is no number ----


def test_a_loss_that_is_no_number_stops_the_run_before_it_does_harm(pairs, tmp_path, whole):
    def spoil(run):
        forward = run.task.loss

        def loss(micro, totals):
            value, parts = forward(micro, totals)
            return (value * float("inf") if "p3" in " ".join(micro.ids) else value), parts

        run.task.loss = loss

    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, 4, spoil)
        with pytest.raises(VkitError) as error:
            run(pairs, tmp_path)
    message = str(error.value)
    stopped = json.loads((tmp_path / "stopped.json").read_text())
    assert stopped["step"] in (4, 5, 6)
    assert stopped["values"]["loss"] in ("inf", "nan")
    assert len(stopped["records"]) == 12
    assert any(id_.startswith("p3") for id_ in stopped["records"])
    last = f"step-{stopped['step'] - 1:08d}"
    assert message.startswith(f"step {stopped['step']}: loss")
    assert f"and 4 others (all in {tmp_path / 'stopped.json'})" in message
    assert all(id_ in message for id_ in stopped["records"][:8])
    assert f"the last checkpoint is {tmp_path / 'checkpoints' / last}" in message
    tensors, _ = checkpoint.load_checkpoint(tmp_path / "checkpoints" / last)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert equal(weights(run(pairs, tmp_path)), whole)  # where the cause is gone
    assert not (tmp_path / "stopped.json").exists()


def test_what_a_kill_during_the_last_removal_left_is_removed(pairs, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", lambda *_, **__: None)  # as if it died before
        run(pairs, tmp_path)
    assert (tmp_path / ".checkpoints.gone.part").is_dir()
    run(pairs, tmp_path)
    assert not (tmp_path / ".checkpoints.gone.part").exists()
