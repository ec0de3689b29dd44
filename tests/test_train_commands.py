"""``vkit train-puma`` and ``vkit train-sft`` as people call them."""

import json
import shutil

import pytest
from click.testing import CliRunner

from tests.training_data import write_pairs, write_tests
from vkit.cli.main import cli
from vkit.errors import VkitError
from vkit.models.loading import load_model

TINY = ["--model", "tiny", "--recipe", "tiny", "--device", "cpu"]
TINY += ["--set", "max_steps=2", "--set", "batch_size=4"]


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder, 6)
    write_tests(folder, 1)
    return folder


def test_three_stages_and_their_accuracies(data, tmp_path):
    arguments = ["train-puma", *TINY, "--data", data, "--eval", data / "test.jsonl", "--out", tmp_path]
    result = run(*arguments, "--max-new-tokens", 4)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report["stages"]) == ["1", "2", "3"]
    assert "kl_weak_strong" in report["stages"]["2"]
    assert set(report["evaluations"]["3"]["accuracy"]) >= {"text-dominant", "vision-only", "all"}
    assert "after stage 3: text-only" in result.stderr
    model = load_model(report["model"])
    assert not model.random_weights
    again = run(*arguments, "--max-new-tokens", 4)
    assert json.loads(again.stdout) == report


def test_other_orders(data, tmp_path):
    result = run("train-puma", *TINY, "--data", data, "--order", "1,3", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage1", "stage3"]


@pytest.mark.parametrize("command", ["train-puma", "train-sft"])
def test_a_folder_is_its_pairs_or_its_shards(data, tmp_path, command):
    lines = (data / "pairs.jsonl").read_text().splitlines(keepends=True)
    shards = tmp_path / "shards"
    shards.mkdir()
    shutil.copytree(data / "images", shards / "images")
    for number in range(2):
        (shards / f"part-{number}.jsonl").write_text("".join(lines[number::2]))

    def planned(folder=shards):
        result = run(command, *TINY, "--data", folder, "--dry-run", "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        plan = json.loads(result.stdout)
        return plan.get("stage2", plan)

    assert planned()["data"] == [str(shards)]
    assert planned()["examples"] == planned(data)["examples"]
    (shards / "pairs.jsonl").write_text("".join(lines[:2]))  # which goes before shards
    assert planned()["data"] == [str(shards / "pairs.jsonl")]
    for path in shards.glob("*.jsonl"):
        path.unlink()
    refused = run(command, *TINY, "--data", shards, "--dry-run", "--out", tmp_path / "out")
    assert isinstance(refused.exception, VkitError)
    assert "is a folder without part-*.jsonl" in str(refused.exception)


def test_a_dry_run_says_what_would_run_and_writes_nothing(data, tmp_path):
    out = tmp_path / "out"
    arguments = ["train-puma", *TINY, "--data", data, "--lam", 0.5, "--teacher", "frozen", "--dry-run"]
    plans = json.loads(run(*arguments, "--out", out).stdout)
    assert plans["stage2"]["recipe"]["lam"] == 0.5
    assert plans["stage2"]["recipe"]["teacher"] == "frozen"
    assert (plans["stage1"]["examples"], plans["stage3"]["examples"], plans["stage3"]["steps"]) == (6, 12, 2)
    assert not out.exists()


def test_lora_is_for_the_stages_that_train_the_language_model(data, tmp_path):
    arguments = ["train-puma", "--model", "tiny", "--data", data, "--lora", 4, "--dry-run"]
    plans = json.loads(run(*arguments, "--out", tmp_path / "out").stdout)
    assert [plans[f"stage{n}"]["recipe"]["lora_rank"] for n in (1, 2, 3)] == [4, 0, 4]


def test_lora_leaves_an_adapter(data, tmp_path):
    result = run(
        "train-sft",
        *("--model", "tiny", "--recipe", "tey", "--device", "cpu", "--lora", 4, "--set", "precision=fp32"),
        *("--set", "max_steps=2", "--set", "batch_size=4", "--set", "prompt=plain"),
        *("--data", data, "--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "adapter" / "adapter_config.json").is_file()
    assert load_model(tmp_path / "out" / "model")


@pytest.mark.parametrize(
    "more", [["--set", "precision=bf16"], ["--pack-to", "200"], ["--workers", "0"], ["--workers", "3"]]
)
def test_options_of_sft(data, tmp_path, more):
    result = run("train-sft", *TINY, *more, "--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["loss"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--order", "1,4"], "--order '1,4' must be stages"),
        (["--order", "3,3"], "names a stage twice"),
        (["--order", "1,3", "--stage", "2"], "exclude one another"),
        (["--stage", "2", "--stage3-data", "x.jsonl"], "--stage3-data is given, but stage 3 does not run"),
    ],
)
def test_wrong_usage_exits_2(data, tmp_path, arguments, message):
    result = run("train-puma", *TINY, "--data", data, *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "alfa=1"], "no stage that runs has a setting 'alfa'"),
        (["--set", "lr"], "write it as name=value"),
        (["--config", "none.yaml"], "none.yaml cannot be read"),
        (["--stage3-data", "none.jsonl"], "none.jsonl cannot be read"),
        (["--eval", "none.jsonl"], "none.jsonl cannot be read"),
        (["--eval", "{data}/pairs.jsonl"], "unknown key 'text_rich'"),
        (["--set", "stage3.epochs=0.001", "--set", "stage3.max_steps=0"], "records to learn from"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_before_any_stage_trains(data, tmp_path, arguments, message):
    arguments = [argument.format(data=data) for argument in arguments]
    result = run("train-puma", *TINY, "--data", data, *arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, VkitError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_command_line_overrules_the_settings_file_for_one_stage_too(data, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("lr: 0.5\nstage2: {lam: 0.3, lr: 0.25, teacher: live}\n")
    arguments = ["--config", config, "--set", "lr=0.125", "--lam", 0.7, "--set", "stage1.lr=0.75"]
    result = run("train-puma", *TINY, "--data", data, *arguments, "--dry-run", "--out", tmp_path / "out")
    recipes = [plan["recipe"] for plan in json.loads(result.stdout).values()]
    assert [recipe["lr"] for recipe in recipes] == [0.75, 0.125, 0.125]
    assert (recipes[1]["lam"], recipes[1]["teacher"]) == (0.7, "live")


def test_accuracies_of_other_problems_are_not_taken_for_those_of_these(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    tests = tmp_path / "data" / "test.jsonl"
    arguments = ["train-puma", *TINY, "--stage", "1", "--data", data, "--max-new-tokens", 2, "--eval", tests]
    assert run(*arguments, "--out", tmp_path / "out").exit_code == 0
    tests.write_text(tests.read_text().replace('"answer": "', '"answer": "1'))
    result = run(*arguments, "--out", tmp_path / "out")
    assert "evaluation.json was made of" in str(result.exception)


def test_a_stage_beside_the_model_of_the_one_before_says_where_it_starts(data, tmp_path):
    out = tmp_path / "out"
    assert run("train-puma", *TINY, "--data", data, "--stage", 1, "--out", out).exit_code == 0
    result = run("train-puma", *TINY, "--data", data, "--stage", 2, "--dry-run", "--out", out)
    assert "note: stage 2 starts from tiny; to go on from" in result.stderr
