"""Several processes train as one does: the same losses and weights, the same files, one voice.

Two processes on the CPU (gloo), DDP and FSDP2, against one process at the same global batch.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed_cases import (
    EQUAL,
    RESUMED,
    RESUMED_RECIPE,
    stop_or_go_on,
    train_case,
    train_equal,
    train_smart_case,
)
from tests.tiny_checkpoints import write_checkpoint
from tests.training_data import write_pairs
from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.synthesis.smart_mini import write_smart_mini
from vkit.train.distributed import World, check_precision, join

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parent.parent
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m")


def launch(*command, **more):
    """The command in two processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TORCH_CPP_LOG_LEVEL": "ERROR", **more}
    command = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten pairs, the picture of one of them broken, which only shows when it is opened."""
    folder = tmp_path_factory.mktemp("distributed")
    write_pairs(folder, 10)
    (folder / "images" / "p3-vision-only.png").write_bytes(b"torn")
    return folder


@pytest.fixture(scope="module")
def runs(data):
    """What `tests.distributed_cases` trains, with two processes and with one."""
    write_checkpoint("llava", data / "llava")
    write_smart_mini(data / "smart", rows=16, seed=3, size=64, progress=False)
    stop_or_go_on(data, World("cpu"), "", stop=True)
    result = launch(*TORCHRUN, "tests.distributed_cases", data)
    assert result.returncode == 0, result.stderr
    stop_or_go_on(data, World("cpu"), "", stop=False)
    train_equal(data, World("cpu"), "")
    train_case(data, data / "resumed-never", "llava", RESUMED_RECIPE, World("cpu"))
    train_smart_case(data, data / "smart-one")
    return data


def weights(folder):
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def assert_same(one, other, tolerance=1e-5):
    """Two finished runs: logs to the tolerance, and weights nearly so (AdamW enlarges what is near 0)."""
    logs = [read(run / "log.jsonl") for run in (one, other)]
    assert len(logs[0]) == len(logs[1])
    for mine, theirs in zip(*logs):
        for name in mine.keys() - {"seconds", "waited_seconds", "tokens_per_second", "peak_mib"}:
            assert theirs[name] == pytest.approx(mine[name], rel=tolerance, abs=tolerance), (
                mine["step"],
                name,
            )
    mine, theirs = weights(one / "model"), weights(other / "model")
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(theirs[name], mine[name], rtol=0, atol=2e-4, msg=name)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_as_one(runs, name, kind):
    one, two = runs / f"{name}-one", runs / f"{name}-{kind}"
    assert len(read(one / "log.jsonl")) == EQUAL[name][1].max_steps
    assert_same(one, two)
    mine, theirs = (json.loads((run / "summary.json").read_text()) for run in (one, two))
    assert mine["refused"] == theirs["refused"] != []
    for key in ("steps", "tokens", "trainable_parameters", "examples"):
        assert mine[key] == theirs[key]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_what_gets_no_gradient_anywhere_is_not_decayed(runs, kind):
    """A LLaVA's last vision layer runs and is not read."""
    base, one, two = (weights(runs / place) for place in ("llava", "sft-one/model", f"sft-{kind}/model"))
    still = [name for name in base if torch.equal(base[name], one[name])]
    assert any("vision_tower" in name and name.endswith("weight") for name in still)
    assert all(torch.equal(base[name], two[name]) for name in still)


def test_the_settings_do_not_know_the_number_of_processes(runs):
    texts = {(runs / f"sft-{kind}" / "settings.json").read_text() for kind in ("one", "ddp", "fsdp")}
    assert len(texts) == 1


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_the_log_says_once_how_many_trained(runs, kind):
    lines = read(runs / f"sft-{kind}" / "log.jsonl")
    assert [(line["processes"], line["parallel"]) for line in lines if "processes" in line] == [(2, kind)]
    assert "processes" in lines[0]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_leave_the_files_of_one(runs, kind):
    for name in ("sft", "align-frozen-lora"):
        one, two = ({p.name for p in (runs / f"{name}-{k}").rglob("*")} for k in ("one", kind))
        assert one == two
    adapters = [weights(runs / f"align-frozen-lora-{k}" / "adapter") for k in ("one", kind)]
    assert adapters[0].keys() == adapters[1].keys()
    assert load_model(runs / f"sft-{kind}" / "model", device="cpu")


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_with_another_number_of_processes(runs, name):
    assert_same(runs / "resumed-never", runs / f"resumed-{name}")


def test_train_smart_shares_the_rows_of_a_step(runs):
    """With dropout, each process draws its own; the loss weighs puzzles as in one process."""
    one, two = (read(runs / f"smart-{kind}" / "seed-0" / "log.jsonl") for kind in ("one", "ddp"))
    steps = [(mine, theirs) for mine, theirs in zip(one, two, strict=True) if "step" in mine]
    assert len(steps) >= 20
    for mine, theirs in steps:
        for key in ("loss", "grad_norm", "lr"):
            assert theirs[key] == pytest.approx(mine[key], rel=1e-5, abs=1e-5)
    results = [json.loads((runs / f"smart-{kind}" / "summary.json").read_text()) for kind in ("one", "ddp")]
    assert results[0]["test"] == results[1]["test"]


def test_an_error_in_one_process_ends_the_others_with_its_words(runs):
    (own, text), (other, told) = (json.loads((runs / f"failed-{rank}.json").read_text()) for rank in (1, 0))
    assert own == "VkitError"
    assert other == "ToldElsewhere"
    assert "does not hold 1 records at once; lower micro_batch_size" in text
    assert told == text


def test_a_loss_that_is_no_number_in_one_process_stops_all_with_the_records_of_all(runs):
    (one, text), (other, told) = (json.loads((runs / f"lost-{rank}.json").read_text()) for rank in (0, 1))
    assert {one, other} == {"ToldElsewhere", "VkitError"}
    assert text == told
    stopped = json.loads((runs / "lost" / "stopped.json").read_text())
    step, records = stopped["step"], stopped["records"]
    assert step > 1
    assert len(records) > 2  # a process has two at most
    assert text.startswith(f"step {step}: loss, ")
    assert f"is not a number; records {', '.join(records)} (all in " in text
    last = runs / "lost" / "checkpoints" / f"step-{step - 1:08d}"
    assert f"the last checkpoint is {last}; " in text
    assert last.is_dir()
    assert not last.with_name(f"step-{step:08d}").exists()


# ---- the commands ----

TINY = ("--model", "tiny", "--recipe", "tiny", "--device", "cpu", "--set", "max_steps=2")
QUICK = (*TINY, "--set", "batch_size=5", "--set", "micro_batch_size=2")


def test_accelerate_launch_trains_by_fsdp_and_one_process_talks(data, tmp_path):
    result = launch(
        *("accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2", "--num_processes", "2"),
        *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no"),
        *("-m", "vkit", "train-puma", *QUICK, "--stage", "2", "--skip-bad", "--teacher", "frozen"),
        *("--data", data / "pairs.jsonl", "--out", tmp_path / "out"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["stages"]["2"]["steps"] == 2
    assert result.stderr.count("stage2: 2 processes: FSDP2, a part of the model in each") == 1


def test_torchrun_tells_a_bad_record_once_whoever_met_it(data, tmp_path):
    result = launch(
        *(*TORCHRUN, "vkit", "train-sft", *TINY, "--set", "batch_size=20", "--set", "micro_batch_size=1"),
        *("--data", data / "pairs.jsonl", "--out", tmp_path / "out"),
    )
    assert result.returncode == 1
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("vkit: "))
    assert "p3" in line
    assert result.stdout == ""
    assert not (tmp_path / "out" / "model").exists()


# ---- what was launched ----


def test_a_program_that_nothing_launched_is_one_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    world = join("cpu")
    assert (world.rank, world.size, world.is_main, world.sharded) == (0, 1, True, False)
    assert world.gather(3) == [3]
    with pytest.raises(VkitError, match="fsdp shares a model out among processes, and this is the only one"):
        join("cpu", "fsdp")
    with pytest.raises(VkitError, match="'tp' is not known; known: auto, ddp, fsdp"):
        join("cpu", "tp")


@pytest.mark.parametrize(
    ("told", "device", "message"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "cpu", "means FSDP1; give --fsdp_version 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            "cpu",
            "offload",
        ),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "cpu", "told to use DEEPSPEED"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "cpu", "it follows from the recipe"),
        ({}, "mps", "is not there|cannot serve several processes"),
    ],
)
def test_what_a_launcher_was_told_is_done_or_refused(monkeypatch, told, device, message):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", **told}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(VkitError, match=message):
        join(device)


def test_a_launchers_precision_must_be_the_recipes(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    check_precision("bf16")
    with pytest.raises(VkitError, match="told --mixed_precision bf16, the recipe says fp32"):
        check_precision("fp32")
