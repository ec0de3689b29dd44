"""SmarterVLM's training: repeatable, resumable to the byte, and scored as `vkit score` scores."""

import csv
import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from vkit.cli.main import cli
from vkit.errors import VkitError
from vkit.evaluate.smart101 import score_smart
from vkit.models.backbones import load_backbones
from vkit.synthesis.smart_mini import write_smart_mini
from vkit.train import smart_seed
from vkit.train.claim import claim
from vkit.train.features import LiveFeatures
from vkit.train.recipes import override
from vkit.train.smart import evaluate_smart, load_smarter, train_smart
from vkit.train.smart_data import open_smart, prefetch, sequence_puzzles
from vkit.train.smart_recipe import SMART_RECIPES, SmartRecipe
from vkit.train.smart_scores import over_seeds

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = replace(SMART_RECIPES["paper"], epochs=2, batch_size=32, repr_size=16, hidden=16)
TINY = {"vision": ["tiny-vit"], "text": "tiny", "device": "cpu"}


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """20 rows of each of 13 puzzles, and a folder of features that the tests share."""
    folder = tmp_path_factory.mktemp("smart")
    write_smart_mini(folder / "data", rows=20, seed=3, size=64, progress=False)
    return folder


@pytest.fixture(scope="module")
def trained(mini):
    """A run of two seeds: its summary."""
    return train(mini, mini / "run", seeds=(0, 42))


def train(mini, out, recipe=QUICK, **changes):
    arguments = {"cache": mini / "features", "seeds": (0,), **TINY, **changes}
    return train_smart(mini / "data", recipe, out, **arguments)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


# ---- the recipe ----


def test_the_defaults_are_the_papers():
    paper = asdict(SMART_RECIPES["paper"])
    expected = {"lr": 3e-4, "weight_decay": 0.2, "beta2": 0.98, "adam_eps": 1e-8, "warmup_steps": 10}
    expected |= {"max_grad_norm": 1.0, "batch_size": 128, "epochs": 3, "split": "paper", "dropout": 0.2}
    expected |= {"repr_size": 128, "hidden": 256, "heads": 2, "layer_norm_eps": 1e-6, "decoder": "gru"}
    assert paper | expected == paper


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qf": "both"}, "qf 'both' is not known; known: paper, tokens, none"),
        ({"decoder": "rnn"}, "decoder 'rnn' is not known"),
        ({"split": "random"}, "split 'random' is not known"),
        ({"lr": "0"}, "lr must be above 0"),
        ({"dropout": "1"}, "dropout must be at least 0 and below 1"),
        ({"patience": "-1"}, "patience must not be below 0"),
        ({"epochs": "1.5"}, "epochs must be a whole number"),
        ({"use_text": "false", "use_image": "false", "qf": "none"}, "nothing is left to answer from"),
        ({"momentum": "1"}, "the recipe has no 'momentum'"),
    ],
)
def test_a_recipe_refuses_what_makes_no_run(changes, message):
    with pytest.raises(VkitError, match=message):
        override(SmartRecipe(), changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"qf": "tokens"},
        {"qf": "none"},
        {"qf": "none", "use_text": False},
        {"use_image": False},
        {"single_image_head": True},
        {"decoder": "lstm"},
        {"max_grad_norm": 0.0, "warmup_steps": 0, "heads": 1},
    ],
)
def test_rows_of_the_papers_tables_train(mini, tmp_path, changes):
    summary = train(mini, tmp_path, replace(QUICK, epochs=1, batch_size=128, **changes))
    assert summary["seeds"]["0"]["steps"] == 2
    assert 0 <= summary["test"]["overall"]["S_acc"]["mean"] <= 100


# ---- what a run leaves ----


def test_a_run_leaves_its_files(trained, mini):
    out = mini / "run"
    assert trained["items"] == {"train": 156, "val": 52, "test": 52}
    assert trained == json.loads((out / "summary.json").read_text())
    for seed in ("seed-0", "seed-42"):
        names = {"best.safetensors", "config.json", "log.jsonl", "scores.json"}
        names |= {"predictions-val.jsonl", "predictions-test.jsonl"}
        assert {path.name for path in (out / seed).iterdir()} == names
    assert "<script" not in (out / "curves.html").read_text()
    assert (out / "curves.svg").read_text().startswith("<svg")


def test_the_log_has_every_step_and_every_epoch(trained, mini):
    lines = read(mini / "run" / "seed-0" / "log.jsonl")
    steps, epochs = ([line for line in lines if key in line] for key in ("step", "val"))
    assert [line["step"] for line in steps] == list(range(1, 11))  # 156 rows, 32 a step, two epochs
    assert [line["lr"] for line in steps] == pytest.approx([3e-4 * step / 10 for step in range(1, 11)])
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in steps)
    assert [line["epoch"] for line in epochs] == [1, 2]
    skills = {"algebra", "counting", "logic", "math", "measure", "order", "path", "pattern", "spatial"}
    assert set(epochs[0]["val"]["skills"]) == skills
    assert set(epochs[0]["val"]["overall"]) == {"S_acc", "O_acc", "five_option"}


def test_scores_over_seeds_are_their_mean_and_deviation(trained, mini):
    scores = [json.loads((mini / "run" / f"seed-{seed}" / "scores.json").read_text()) for seed in (0, 42)]
    values = [found["test"]["skills"]["path"]["O_acc"]["value"] for found in scores]
    joined = trained["test"]["skills"]["path"]["O_acc"]
    assert joined["values"] == values
    assert joined["mean"] == pytest.approx(sum(values) / 2)
    assert joined["deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert over_seeds([scores[0]["test"]])["overall"]["S_acc"]["deviation"] is None


@pytest.mark.parametrize("part", ["val", "test"])
def test_vkit_score_agrees_with_the_run(trained, mini, part):
    predictions = mini / "run" / "seed-42" / f"predictions-{part}.jsonl"
    result = run(
        *("score", "--suite", "smart101", "--data", mini / "data"),
        *("--predictions", predictions, "--part", part),
    )
    assert result.exit_code == 0, result.output
    scores = json.loads((mini / "run" / "seed-42" / "scores.json").read_text())[part]
    assert {key: json.loads(result.stdout)[key] for key in scores} == scores


def test_the_saved_weights_are_those_that_were_tested(trained, mini):
    data = open_smart(mini / "data", QUICK)
    features = LiveFeatures(data.items, load_backbones(["tiny-vit"], "tiny", device="cpu"), tokens=False)
    found = evaluate_smart(load_smarter(mini / "run" / "seed-0"), data, features, "test")
    scores = json.loads((mini / "run" / "seed-0" / "scores.json").read_text())
    assert found.report == scores["test"]


def test_evaluation_has_no_dropout_and_leaves_the_mode_alone(mini):
    data = open_smart(mini / "data", QUICK)
    backbones = load_backbones(["tiny-vit"], "tiny", device="cpu")
    features = LiveFeatures(data.items, backbones, tokens=False)
    model = smart_seed.Smarter(
        QUICK.smarter_config(data.classes, sequence_puzzles(data), backbones.vision_sizes, 128)
    )
    model.train()
    first, second = (evaluate_smart(model, data, features, "val", batch_size=size) for size in (7, 300))
    assert model.training
    assert first.predictions == second.predictions
    assert first.report == score_smart(data.of("val"), first.predictions)


# ---- the same result, however it is run ----


@pytest.mark.parametrize("qf", ["paper", "tokens"])
def test_training_from_the_cache_equals_training_without_it(mini, tmp_path, qf):
    recipe = replace(QUICK, epochs=1, qf=qf)
    train(mini, tmp_path / "cached", recipe)
    train(mini, tmp_path / "live", recipe, cached=False)
    assert not (tmp_path / "live" / "features").exists()
    assert weights(tmp_path / "cached") == weights(tmp_path / "live")


def test_a_run_repeats_to_the_byte_with_any_number_of_workers(trained, mini, tmp_path):
    train(mini, tmp_path, workers=3)
    assert weights(tmp_path) == weights(mini / "run")
    assert log_of(tmp_path) == log_of(mini / "run")


def test_seeds_differ(trained, mini):
    assert weights(mini / "run") != weights(mini / "run", "seed-42")


class Killed(BaseException):
    """What a kill looks like to the code: nothing catches it."""


@pytest.mark.parametrize("moment", ["in the second epoch", "before the checkpoint", "before the scores"])
def test_an_interrupted_seed_ends_in_the_same_bytes(trained, mini, tmp_path, monkeypatch, moment):
    calls = {"steps": 0, "checkpoints": 0}
    step, save = smart_seed._SeedRun._one_step, smart_seed._SeedRun._save
    monkeypatch.setattr(smart_seed, "_LOG_EVERY", 2)  # so that lines of the lost epoch stand in the log

    def one_step(self, batch, places):
        calls["steps"] += 1
        if moment == "in the second epoch" and calls["steps"] == 9:
            raise Killed
        return step(self, batch, places)

    def save_checkpoint(self):
        calls["checkpoints"] += 1
        if moment == "before the checkpoint" and calls["checkpoints"] == 2:
            raise Killed
        save(self)

    def no_test(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(smart_seed._SeedRun, "_one_step", one_step)
        patch.setattr(smart_seed._SeedRun, "_save", save_checkpoint)
        if moment == "before the scores":
            patch.setattr(smart_seed._SeedRun, "test", no_test)
        with pytest.raises(Killed):
            train(mini, tmp_path)
    told = []
    train(mini, tmp_path, tell=told.append)
    after = 2 if moment == "before the scores" else 1
    assert f"seed-0: resumed after epoch {after} of 2" in told
    assert weights(tmp_path) == weights(mini / "run")
    assert log_of(tmp_path) == log_of(mini / "run")
    assert not (tmp_path / "seed-0" / "checkpoint").exists()


def test_finished_seeds_are_kept_and_others_added(trained, mini, tmp_path, monkeypatch):
    shutil.copytree(mini / "run", tmp_path / "run")
    monkeypatch.setattr(smart_seed._SeedRun, "_one_step", None)  # training anew would fail
    again = train(mini, tmp_path / "run", seeds=(0, 42))
    assert again["test"] == trained["test"]
    monkeypatch.undo()
    more = train(mini, tmp_path / "run", seeds=(0, 42, 7))
    assert more["test"]["overall"]["S_acc"]["values"][:2] == trained["test"]["overall"]["S_acc"]["values"]
    assert list(more["seeds"]) == ["0", "42", "7"]


def test_seeds_that_are_left_out_but_finished_are_counted_and_told(trained, mini, tmp_path):
    shutil.copytree(mini / "run", tmp_path / "run")
    told = []
    again = train(mini, tmp_path / "run", seeds=(42,), tell=told.append)
    assert list(again["seeds"]) == ["42", "0"]
    assert again["test"]["overall"]["S_acc"]["values"] == trained["test"]["overall"]["S_acc"]["values"][::-1]
    assert "seeds 42, 0" in (tmp_path / "run" / "curves.html").read_text()
    assert f"seeds 0, 42: finished in {tmp_path / 'run'} earlier, and counted" in told


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [(replace(QUICK, lr=1e-3), {}), (QUICK, {"vision": ["tiny"]}), (replace(QUICK, rows=10), {})],
)
def test_other_settings_are_refused_the_folder(trained, mini, recipe, changes):
    with pytest.raises(VkitError, match="was made with other settings"):
        train(mini, mini / "run", recipe, **changes)


def test_backbones_of_other_settings_are_named(trained, mini):
    names = r"\(vision: tiny-vit there; tiny, tiny-vit now\)"
    with pytest.raises(VkitError, match=names):
        train(mini, mini / "run", vision=["tiny", "tiny-vit"])


@pytest.mark.parametrize("inside", ["", "2/run"])
def test_a_run_among_its_data_is_refused(mini, inside):
    with pytest.raises(VkitError, match="lies in the data"):
        train(mini, mini / "data" / inside)
    assert not (mini / "data" / "settings.json").exists()


@pytest.mark.parametrize(
    ("change", "named"), [("nothing", None), ("picture", "pictures"), ("option", "data")]
)
def test_a_run_is_not_continued_on_changed_data(trained, mini, tmp_path, change, named):
    for name in ("data", "run"):
        shutil.copytree(mini / name, tmp_path / name)
    pictures, table = tmp_path / "data" / "2" / "img", tmp_path / "data" / "2" / "puzzle_2.csv"
    if change == "picture":
        shutil.copyfile(pictures / "puzzle_2_2.png", pictures / "puzzle_2_1.png")
    elif change == "option":
        rows = list(csv.reader(table.open(newline="")))
        wrong = next(place for place, letter in enumerate("ABCDE", 3) if letter != rows[1][8])
        rows[1][wrong] = "77"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    arguments = {"cache": mini / "features", "seeds": (0,), **TINY}
    if named is None:
        assert train_smart(tmp_path / "data", QUICK, tmp_path / "run", **arguments)["items"]
        return
    with pytest.raises(VkitError, match=rf"other settings \(the {named} in {tmp_path / 'data'} changed\)"):
        train_smart(tmp_path / "data", QUICK, tmp_path / "run", **arguments)


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ({"recipe": {"lr": 2}, "data": "a"}, "lr: 2 there, 1 now"),
        ({"recipe": {"lr": 1}, "data": "b"}, "data: 'b' there, 'a' now"),
        ({"recipe": {"lr": 1}, "data": "a", "more": 3}, "more: 3 there, None now"),
        ({"recipe": [], "data": "a"}, "lr: None there, 1 now"),
    ],
)
def test_a_folders_settings_are_refused_by_the_first_that_differs(tmp_path, theirs, named):
    (tmp_path / "settings.json").write_text(json.dumps(theirs))
    with pytest.raises(VkitError, match=rf"was made with other settings \({named}\)"):
        claim(tmp_path, {"recipe": {"lr": 1}, "data": "a"})


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"vision": ["1"], "names": {"vision": "a"}}, "vision: a, whose weights changed"),
        ({"vision": ["1"]}, r"vision: \['1'\] there, \['2'\] now"),  # made before names were kept
    ],
)
def test_digests_are_told_by_name_where_there_is_one(tmp_path, theirs, told):
    (tmp_path / "settings.json").write_text(json.dumps(theirs))
    with pytest.raises(VkitError, match=rf"other settings \({told}\)"):
        claim(tmp_path, {"vision": ["2"]}, names={"vision": "a"})
    claim(tmp_path, {"vision": ["1"]}, names={"vision": "elsewhere/a"})  # a name decides nothing


def test_patience_stops_early_and_tests_the_best_epoch(mini, tmp_path, monkeypatch):
    evaluate, accuracies = smart_seed.evaluate_smart, iter([10.0, 30.0, 20.0, 30.0, 99.0])
    kept = []

    def scripted(model, data, features, part, **how):
        found = evaluate(model, data, features, part, **how)
        if (accuracy := next(accuracies)) < 99:  # the last call is the test of the best weights
            found.report["overall"]["S_acc"]["value"] = accuracy
            kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return found

    with monkeypatch.context() as patch:
        patch.setattr(smart_seed, "evaluate_smart", scripted)
        with pytest.raises(StopIteration):  # validation of four epochs, then val and test
            train(mini, tmp_path, replace(QUICK, epochs=9, patience=2, batch_size=128))
    assert len(kept) == 4
    saved = load_file(tmp_path / "seed-0" / "best.safetensors")
    assert all(torch.equal(saved[name], kept[1][name]) for name in saved)  # the first of equals
    summary = train(mini, tmp_path, replace(QUICK, epochs=9, patience=2, batch_size=128))
    assert summary["seeds"]["0"] == {"epochs": 4, "best_epoch": 2, "steps": 8}


def weights(out, seed="seed-0"):
    return (out / seed / "best.safetensors").read_bytes()


def log_of(out):
    """The log without what differs from run to run, its seconds."""
    lines = read(out / "seed-0" / "log.jsonl")
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


# ---- data ----


def test_batches_come_in_order_and_a_failure_is_raised():
    assert list(prefetch(lambda chunk: sum(chunk), [[1], [2, 3], [], [4]], workers=2)) == [1, 5, 0, 4]
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda chunk: 1 // len(chunk), [[1], []], workers=2))


def test_parts_are_the_papers_and_classes_are_of_all_rows(mini):
    data = open_smart(mini / "data", replace(QUICK, rows=10))
    assert {part: len(places) for part, places in data.parts.items()} == {"train": 78, "val": 26, "test": 26}
    assert {item.row for item in data.of("test")} == {8, 9}
    assert data.classes == open_smart(mini / "data", QUICK).classes


def test_bad_rows_are_refused_or_left_out_and_listed(mini, tmp_path):
    broken = tmp_path / "data"
    shutil.copytree(mini / "data", broken)
    (broken / "2" / "img" / "puzzle_2_3.png").write_bytes(b"no picture")  # two rows ask of it
    table = broken / "58" / "puzzle_58.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[5][1] = "why " * 120
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], ["not", "enough"], *rows[2:]])
    with pytest.raises(VkitError, match=r"puzzle_58.csv:2: .*--skip-bad leaves bad rows out"):
        train_smart(broken, QUICK, tmp_path / "out", **TINY)
    told = []
    how = {"seeds": (0,), "skip_bad": True, "tell": told.append, "cache": mini / "features", **TINY}
    summary = train_smart(broken, replace(QUICK, epochs=1), tmp_path / "out", **how)
    assert len(summary["refused"]) == 4
    assert [bad["id"] for bad in summary["refused"]][-1] == "58-5"
    assert "more than 110" in summary["refused"][-1]["reason"]
    assert summary["items"]["train"] == 156 - 4
    assert told[0].startswith("4 bad rows left out, first ")


def test_a_split_of_whole_puzzles_says_that_untrained_puzzles_are_left_to_chance(mini, tmp_path):
    told = []
    recipe = replace(QUICK, split="puzzle", epochs=1)  # of smart-mini's, 43 validates, 62 and 95 are tested
    summary = train(mini, tmp_path, recipe, tell=told.append)
    assert summary["items"] == {"train": 200, "val": 20, "test": 40}
    assert told[0].startswith("note: 2 puzzles of the test part have no row to train on")


# ---- the command ----

COMMAND = ["--vision", "tiny-vit", "--text", "tiny", "--device", "cpu"]


def test_the_command_trains_and_prints(mini, tmp_path):
    result = run(
        *("train-smart", "--data", mini / "data", *COMMAND, "--cache", mini / "features", "--seeds", "1,2"),
        *(
            "--recipe",
            "mini",
            "--qf",
            "none",
            "--epochs",
            1,
            "--set",
            "repr_size=8",
            "--out",
            tmp_path / "out",
        ),
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["recipe"]["qf"], report["recipe"]["repr_size"]) == ("none", 8)
    assert list(report["seeds"]) == ["1", "2"]
    assert "2 seeds, %" in result.stderr
    assert "overall" in result.stderr
    assert "29,623,375" not in result.stderr  # the paper's model is not this one
    assert report["parameters"]["total"] > 0
    assert "seed-1: epoch 1 of 1, loss " in result.stderr
    assert f"look at {tmp_path / 'out' / 'curves.html'}" in result.stderr
    again = run(
        *("train-smart", "--data", mini / "data", *COMMAND, "--cache", mini / "features", "--seeds", 1),
        *("--seeds", 2, "--recipe", "mini", "--qf", "none", "--set", "epochs=1", "--set", "repr_size=8"),
        *("--out", tmp_path / "out"),
    )
    assert json.loads(again.stdout) == report


def test_a_dry_run_says_what_would_run_and_writes_nothing(mini, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("lr: 0.001\nepochs: 5\n")
    arguments = ["--config", config, "--set", "lr=0.002", "--split", "merl", "--dry-run"]
    result = run("train-smart", "--data", mini / "data", *arguments, "--out", tmp_path / "out")
    plan = json.loads(result.stdout)
    assert (plan["recipe"]["lr"], plan["recipe"]["epochs"]) == (0.002, 5)
    assert plan["items"] == {"train": 208, "val": 13, "test": 39}
    assert (plan["steps"], plan["seeds"]) == (10, [0, 42, 7])
    assert plan["sequence_puzzles"] == [18, 100]
    assert plan["out"] == {"folder": str(tmp_path / "out"), "resumed": False, "finished_seeds": []}
    assert plan["cache"] == str(tmp_path / "out" / "features")
    assert plan["device"] in ("cpu", "cuda", "cuda:0")
    total = f"{plan['parameters']['total']:,}"
    assert ["total", total, "29,623,375"] in [line.split()[:3] for line in result.stderr.splitlines()]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", ["1,1", "4294967296"])
def test_a_dry_run_refuses_the_seeds_that_a_run_refuses(mini, tmp_path, seeds):
    arguments = ["--data", mini / "data", "--seeds", seeds, "--out", tmp_path / "out"]
    planned = run("train-smart", *arguments, "--dry-run")
    trained = run("train-smart", *arguments, *COMMAND)
    assert isinstance(planned.exception, VkitError)
    assert str(planned.exception) == str(trained.exception)


PLANNED = ["--set", "epochs=2", "--set", "batch_size=32", "--set", "repr_size=16", "--set", "hidden=16"]


def test_a_dry_run_says_what_is_finished(trained, mini):
    out = mini / "run"
    result = run("train-smart", "--data", mini / "data", *COMMAND, *PLANNED, "--dry-run", "--out", out)
    assert result.exit_code == 0, result.exception
    plan = json.loads(result.stdout)
    assert plan["out"] == {"folder": str(out), "resumed": True, "finished_seeds": [0, 42]}
    assert plan["parameters"] == trained["parameters"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "heads=3"], "3 heads do not divide the text size 128"),
        (
            ["--text", "google/siglip-base-patch16-224"],
            "text: tiny there; google/siglip-base-patch16-224 now",
        ),
        (["--set", "lr=1"], "lr: 0.0003 there, 1.0 now"),
        (["--vision", "tiny"], "vision: tiny-vit there; tiny-vit, tiny now"),
        (["--vision", "no/such/folder"], "cannot be loaded"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(trained, mini, arguments, message):
    base = ["train-smart", "--data", mini / "data", *COMMAND, *PLANNED]
    result = run(*base, *arguments, "--dry-run", "--out", mini / "run")
    assert message in str(result.exception)


def test_a_dry_run_knows_the_papers_backbones_and_says_where_it_knows_none(mini, tmp_path):
    how = ["train-smart", "--data", mini / "data", "--dry-run", "--out", tmp_path]
    assert "5 heads do not divide the text size 768" in str(run(*how, "--set", "heads=5").exception)
    result = run(*how, "--vision", "some/encoder")
    assert json.loads(result.stdout)["parameters"] is None
    assert "sizes are not checked" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--qf", "none", "--set", "qf=tokens"], "--qf none and --set qf=tokens differ"),
        (["--epochs", "1", "--set", "epochs=2"], "--epochs 1 and --set epochs=2 differ"),
        (["--seeds", "0,x"], "--seeds '0,x' must be whole numbers"),
        (["--cache", "a", "--no-cache"], "--cache and --no-cache exclude one another"),
    ],
)
def test_wrong_usage_exits_2(mini, tmp_path, arguments, message):
    result = run("train-smart", "--data", mini / "data", *COMMAND, *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1,1"], "each once"),
        (["--set", "alfa=1"], "the recipe has no 'alfa'"),
        (["--set", "drop_out=0"], "the recipe has no 'drop_out' (did you mean 'dropout'?)"),
        (["--config", "nope.yaml"], "nope.yaml cannot be read: it does not exist"),
        (["--set", "heads=3"], "3 heads do not divide the text size 128"),
        (["--vision", "no/such/folder"], "cannot be loaded"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(mini, tmp_path, arguments, message):
    result = run("train-smart", "--data", mini / "data", *COMMAND, *arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, VkitError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()
