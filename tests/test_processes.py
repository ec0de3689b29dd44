"""Several processes share the problems of a run, and leave what one process would have left."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
from torch.distributed import HashStore

from tests.process_cases import become
from tests.training_data import write_tests
from vkit.cli import main, one_voice
from vkit.cli.one_voice import in_one_voice
from vkit.errors import VkitError
from vkit.evaluate.generation import GenerationSettings, generate_predictions
from vkit.jsonl import write_json
from vkit.models.launcher import Launch, launched
from vkit.models.loading import load_model
from vkit.models.processes import ALONE, Launched, Processes, ToldElsewhere, join
from vkit.models.shared_lines import SharedLines, part_files
from vkit.records import read_samples

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parent.parent
LOST = "vkit: another process of this run ended before its time"


@pytest.fixture(autouse=True)
def _goes_on(monkeypatch):
    """A launched process ends itself at once; this one has further tests."""
    monkeypatch.setattr(one_voice, "_end", lambda: None)


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """Twenty problems, a fifth of them without a picture."""
    return write_tests(tmp_path_factory.mktemp("shared"), 4)


@pytest.fixture(scope="module")
def pictured(problems):
    """Those of them that have a picture."""
    path = problems.with_name("pictured.jsonl")
    lines = [line for line in problems.read_text().splitlines() if json.loads(line).get("image")]
    path.write_text("".join(f"{line}\n" for line in lines[:6]))
    return path


def options(problems, out):
    return ["generate", "--model", "tiny-random", "--data", problems, "--max-new-tokens", 60,
            "--batch-size", 2, "--out", out]  # fmt: skip


def start(size, name, *arguments):
    """The processes of a run that no launcher watches over, by rank; forked, so that they start at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.process_cases"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp())
    processes = []
    for rank in range(size):
        environment = {
            "RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)
        }  # fmt: skip
        output = folder / str(rank)
        command = [*map(str, (name, *arguments))]
        process = context.Process(target=become, args=(command, environment, output))
        process.output = output
        process.start()
        processes.append(process)
    return processes


def ended(processes):
    """Exit code, stdout and stderr of each."""
    results = []
    for process in processes:
        process.join(timeout=120)
        stdout, stderr = (Path(f"{process.output}.{name}").read_text() for name in ("stdout", "stderr"))
        results.append((process.exitcode, stdout, stderr))
    shutil.rmtree(processes[0].output.parent)
    return results


def launch(*command):
    """What a launcher and all that it starts leave behind."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def wait_for_lines(out, count):
    """Until the processes have written so many lines, wherever these stand."""
    end = time.monotonic() + 60
    while sum(path.read_bytes().count(b"\n") for path in (out, *part_files(out)) if path.exists()) < count:
        assert time.monotonic() < end
        time.sleep(0.005)


def lines_of(path):
    """The lines of a file, without what differs from run to run."""
    return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]


def copy_of(out, place):
    """A broken run's files, for another command to go on with."""
    for path in out.parent.glob(f"{out.name}*"):
        place.with_name(place.name + path.name.removeprefix(out.name)).write_bytes(path.read_bytes())
    return place


@pytest.fixture(scope="module")
def whole(problems):
    """What one process writes that nothing interrupts."""
    out = problems.with_name("whole.jsonl")
    settings = GenerationSettings(
        model="tiny-random", data=str(problems.resolve()), prompt="cot", max_new_tokens=60
    )
    model = load_model("tiny-random", device="cpu")
    generate_predictions(model, list(read_samples(problems)), out, settings, batch_size=2)
    return lines_of(out)


def test_processes_share_exchange_and_end_together():
    first, second = ended(start(2, "cases"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    one, two = json.loads(first[1]), json.loads(second[1])
    assert [(seen["rank"], seen["size"], seen["main"]) for seen in (one, two)] == [
        (0, 2, True),
        (1, 2, False),
    ]
    assert (one["asked"], two["asked"]) == (0, 0)
    assert one["squares"] == two["squares"] == [0, 1, 4, 9, 16, 25, 36]
    assert (one["told"], two["told"]) == (7, 0)
    assert sorted(one["first"] + two["first"]) == [0, 1, 2, 3, 4]
    assert sorted(one["second"] + two["second"]) == [0, 1, 2, 3]
    assert one["waited"]
    assert two["waited"]
    assert two["refused"] == ["ValueError", "item 3 is bad"]
    assert one["refused"] == ["ToldElsewhere", "ValueError: item 3 is bad"]
    assert two["failed"] == ["KeyError", "'lost'"]
    assert one["failed"] == ["ToldElsewhere", "KeyError: 'lost'"]


def test_one_process_needs_no_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert join() is ALONE
    assert ALONE.own_device("cuda:3") == "cuda:3"
    assert ALONE.map(str, [1, 2]) == ["1", "2"]
    assert list(ALONE.share(3)) == [0, 1, 2]


def test_a_killed_run_goes_on_with_any_number_of_processes(vkit, problems, whole, tmp_path):
    out = tmp_path / "out.jsonl"
    running = start(2, "vkit", *options(problems, out))
    wait_for_lines(out, 6)
    for process in running:
        process.kill()
    assert [code for code, _, _ in ended(running)] == [-signal.SIGKILL] * 2
    begun = lines_of(out)
    assert begun == whole[: len(begun)]  # at any moment the beginning of what one process writes
    assert part_files(out)
    three = copy_of(out, tmp_path / "three.jsonl")
    assert vkit(*options(problems, out))[0] == 0
    assert [code for code, _, _ in ended(start(3, "vkit", *options(problems, three)))] == [0, 0, 0]
    for path in (out, three):
        assert lines_of(path) == whole
        assert not part_files(path)


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_is_killed_the_others_end_and_nothing_is_lost(vkit, problems, whole, tmp_path, rank):
    out = tmp_path / "out.jsonl"
    running = start(2, "vkit", *options(problems, out))
    wait_for_lines(out, 4)
    running[rank].kill()
    results = ended(running)
    code, stdout, stderr = results[1 - rank]
    assert (code, stdout) == (1, "")
    assert stderr.count("vkit: ") == 1
    assert stderr.splitlines()[-1].startswith(LOST)
    written = {line["id"] for path in (out, *part_files(out)) for line in lines_of(path)}
    code, stdout, _ = vkit(*options(problems, out))
    assert (code, json.loads(stdout)["new"]) == (0, len(whole) - len(written))
    assert lines_of(out) == whole


def test_torchrun_tells_an_error_once_whoever_met_it(problems, tmp_path):
    lines = problems.read_text().splitlines()
    second = json.loads(lines[1])  # checked by the second process
    bad = problems.with_name("bad.jsonl")
    bad.write_text("\n".join([lines[0], json.dumps({**second, "question": "7 + " * 1500}), *lines[2:6]]))
    out = tmp_path / "new" / "out.jsonl"
    done = launch(
        "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "vkit", *options(bad, out)
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("vkit: ")]
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(told) == 1
    assert f"request {second['id']!r}" in told[0]
    assert not out.parent.exists()


def test_accelerate_shares_a_measurement(vkit, pictured, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    how = ["attn-ratio", "--model", "tiny-random", "--data", pictured, "--max-new-tokens", 12, "--out"]
    assert vkit(*how, one)[0] == 0
    # --multi_gpu: without a GPU, accelerate would start one process for two
    accelerate = (
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        2,
        "--main_process_port",
        0,
        "-m",
        "vkit",
    )
    done = launch(*accelerate, *how, two)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == 6
    files = [sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()) for run in (one, two)]
    assert files[0] == files[1]
    assert lines_of(one / "items.jsonl") == lines_of(two / "items.jsonl")
    for name in files[0]:
        if name.startswith(("maps", "details", "images")):
            assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_lines_left_in_parts_take_their_place(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "a", "digest": 1}\n')
    path.with_name("out.jsonl.rank-4").write_text('{"id": "c", "digest": 1}\n{"id": "d", "dig')
    told, asked = [], []

    def answer(number):
        asked.append(number)
        return [{"id": id_, "digest": 1} for id_ in batches[number]]

    batches = [["a", "b"], ["c"], ["d"]]
    with SharedLines(path) as file:
        assert file.done == {"a": 1, "c": 1}
        file.fill(batches, answer, lambda line, new: told.append((line["id"], new)))
    assert asked == [0, 2]  # a batch that lacks a line is answered whole
    assert told == [("a", False), ("c", False), ("b", True), ("d", True)]
    assert [line["id"] for line in lines_of(path)] == ["a", "b", "c", "d"]
    assert not part_files(path)


def test_lines_that_were_not_asked_for_wait_in_their_part(tmp_path):
    path, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.rank-0"
    part.write_text('{"id": "z", "digest": 1}\n')
    for ids in (["a"], ["a", "z"]):
        with SharedLines(path) as file:
            file.fill([[id_] for id_ in ids], lambda number: [{"id": "a"}])
        assert part.exists() == ("z" not in ids)
    assert [line["id"] for line in lines_of(path)] == ["a", "z"]


def test_a_part_that_another_run_writes_is_refused(tmp_path):
    path = tmp_path / "out.jsonl"
    with (
        SharedLines(path.with_name("out.jsonl.rank-1")),
        pytest.raises(VkitError, match="rank-1 is in use by another run"),
    ):
        SharedLines(path)


def test_parts_of_a_run_with_other_settings_are_refused(vkit, problems, tmp_path):
    out = tmp_path / "out.jsonl"
    out.with_name("out.jsonl.rank-1").write_text('{"id": "1"}\n')
    code, _, stderr = vkit(*options(problems, out))
    assert (code, "settings.json is not there; choose another --out" in stderr) == (1, True)
    write_json(out.with_name("out.jsonl.settings.json"), {"model": "other"})
    code, _, stderr = vkit(*options(problems, out))
    assert (code, "model 'other' -> 'tiny-random'" in stderr) == (1, True)


def test_processes_that_do_not_see_one_folder_are_told(tmp_path):
    class Elsewhere(Processes):
        """Two processes, of which the other takes all the work, to a disk of its own."""

        size = 2

        def share(self, count):
            return iter(())

    with (
        SharedLines(tmp_path / "out.jsonl", Elsewhere()) as file,
        pytest.raises(VkitError, match="the line of 'a' was written by another process and is not here"),
    ):
        file.fill([["a"]], lambda number: [])


@pytest.fixture
def one_of_two(monkeypatch):
    """The second of two processes on a machine, before any exchange."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    return Launched(launched(), HashStore())


def test_each_process_has_a_gpu_of_its_own(one_of_two, monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert [one_of_two.own_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert chosen == [1, 1]
    with pytest.raises(VkitError, match="'cuda:0' cannot serve several processes"):
        one_of_two.own_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(VkitError, match="there are 3 processes and 2 GPUs here; start one for each"):
        launched().own_device("auto")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")  # of a launcher that does not say it
    with pytest.raises(VkitError, match="there are 2 processes and 1 GPUs here; start one for each"):
        launched().own_device("auto")


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"RANK": "0"}, Launch(0, 1, 0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Launch(2, 4, 2, 4)),  # all on one machine
        ({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}, Launch(9, 16, 1, 1)),  # how many is not known
        (
            {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"},
            Launch(9, 16, 1, 8),
        ),
    ],
)
def test_a_launcher_tells_a_process_its_place(monkeypatch, environment, place):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == place


def test_a_place_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(VkitError, match="RANK='first' in the environment is no whole number"):
        launched()


# ---- one voice ----


class Failing(Processes):
    """A process that meets an error of its own, or is told of another's."""

    def __init__(self, error):
        self.error = error

    def together(self):
        raise self.error


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(("error", "ends"), [(ToldElsewhere("no"), SystemExit), (VkitError("no"), VkitError)])
def test_only_the_process_that_tells_an_error_raises_it(monkeypatch, rank, error, ends):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("vkit.cli.one_voice._LAST_WORDS_SECONDS", 0)
    with pytest.raises(ends) as caught:
        in_one_voice(lambda: Failing(error), lambda _: None)
    assert getattr(caught.value, "code", 1) == 1


def refuse():
    raise VkitError("no")


@pytest.mark.parametrize(
    ("rank", "local_rank", "ends"),
    [("0", "0", VkitError), ("1", "1", SystemExit), ("8", "0", VkitError), ("9", "1", SystemExit)],
)
def test_what_all_of_a_machine_refuse_its_first_process_tells(monkeypatch, rank, local_rank, ends):
    """Another machine's main process may have refused nothing, and would never say it."""
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr("vkit.cli.one_voice._LAST_WORDS_SECONDS", 0)
    with pytest.raises(ends):
        in_one_voice(refuse, lambda _: None)


@pytest.mark.parametrize(("rank", "ends"), [("0", KeyboardInterrupt), ("1", SystemExit)])
def test_an_interrupt_is_told_by_the_main_process(monkeypatch, rank, ends):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setenv("RANK", rank)
    with pytest.raises(ends) as caught:
        in_one_voice(Processes, interrupted)
    assert getattr(caught.value, "code", 130) == 130


def test_the_main_process_talks(monkeypatch, capsys):
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        in_one_voice(Processes, lambda _, rank=rank: print("process", rank))
    assert capsys.readouterr().out == "process 0\n"


@pytest.mark.parametrize(("rank", "words"), [("0", "--nonsense"), ("1", "")])
def test_arguments_that_all_misread_are_told_once(monkeypatch, vkit, rank, words):
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("vkit.cli.one_voice._LAST_WORDS_SECONDS", 0)
    for command in ("generate", "train-sft"):
        code, _, stderr = vkit(command, "--nonsense")
        assert code == 2
        assert words in stderr
        assert bool(words) == bool(stderr)


def test_wrong_usage_that_one_process_meets_later_is_its_own_to_tell(monkeypatch, capsys):
    def misuse(_):
        raise click.UsageError("neither fish nor fowl")

    @click.command()
    def command():
        in_one_voice(Processes, misuse)

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(main, "cli", command)
    monkeypatch.setattr("sys.argv", ["vkit"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2
    assert "neither fish nor fowl" in capsys.readouterr().err


def test_a_command_that_nothing_launched_looks_for_no_others(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    given = []
    in_one_voice(refuse, given.append)
    assert given == [ALONE]


def test_a_device_map_is_for_one_process(one_of_two):
    with pytest.raises(VkitError, match="auto spreads one model over all GPUs, and 2 processes would"):
        one_of_two.own_device("auto", "auto")
