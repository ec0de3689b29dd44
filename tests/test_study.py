"""`vkit study`: a whole study at tiny scale, repeated, changed, killed, and refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.fake_endpoint import FakeEndpoint
from vkit.errors import VkitError
from vkit.records import read_samples, write_samples
from vkit.study.plan import PRESETS, read_plan
from vkit.study.run import run_study

TINY = {
    "title": "A study <b>of</b> two",
    "model": "tiny",
    "device": "cpu",
    "data": {"miniature": {"pairs": 8, "tests": 4}},
    "teacher": {"scripted": True},
    "training": {"recipe": "tiny", "set": {"lora_rank": 2, "batch_size": 4, "max_steps": 2}},
    "generate": {"batch_size": 4, "max_new_tokens": 40},
    "attention": {"batch_size": 4},
    "compare": {"resamples": 200},
    "variants": [
        {"name": "Vanilla", "prompt": "plain", "published": {"accuracy": 15.97, "ratio": 0.2}},
        {"name": "Literals", "prompt": "plain", "rationales": "diagram-literals"},
        {"name": "Solver", "prompt": "plain", "rationales": "symbolic-solver"},
    ],
}

GEOMETRY3K = Path(__file__).parents[2] / "shared" / "data" / "geometry3k"


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    """Results are compared bit by bit."""


@pytest.fixture
def write_plan(tmp_path):
    """Writes the tiny plan with changes, dotted; returns its file."""

    def write(**changes) -> Path:
        values = json.loads(json.dumps(TINY))
        for name, value in changes.items():
            *parents, last = name.split("__")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study: its folder and its table."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return folder / "out", run_study(read_plan(path), folder / "out")


def lines_of(table: dict) -> dict:
    """What must not depend on when or how often a study ran: the table without seconds."""
    return json.loads(json.dumps(table))


def test_a_study_ends_in_a_table_and_a_page(study):
    out, table = study
    assert [row["variant"] for row in table["rows"]] == ["Vanilla", "Literals", "Solver"]
    vanilla, literals, solver = table["rows"]
    assert vanilla["published"] == {"accuracy": 15.97, "ratio": 0.2}
    assert solver["published"] is None
    assert vanilla["accuracy"]["value"] > 50  # the tiny model knows these problems
    assert all(row["ratio"]["mean"] > 0 for row in table["rows"])
    assert "accuracy_difference" in solver
    assert "accuracy_difference" not in vanilla
    assert literals["rationales"]["rationales"] == 8
    assert literals["training"]["steps"] == 2
    page = (out / "index.html").read_text()
    assert "Table 1" in page
    assert "15.97" not in page
    assert "16.0%" in page
    assert "A study &lt;b&gt;of&lt;/b&gt; two" in page
    assert "<b>of</b>" not in page
    assert json.loads((out / "table.json").read_text()) == lines_of(table)


def test_fine_tunes_learn_from_rationales_of_their_kind(study):
    out, _ = study
    first = next(iter(read_samples(out / "rationales" / "diagram-literals" / "rationales.jsonl")))
    assert first.rationale.startswith("Diagram literals: a = ")
    first = next(iter(read_samples(out / "rationales" / "symbolic-solver" / "rationales.jsonl")))
    assert "[[var x1]] [[eq x1 = " in first.rationale
    assert "[[answer x2]] Answer: " in first.rationale


def test_answers_are_measured_as_they_were_generated(study):
    out, _ = study
    for name in ("vanilla", "literals"):
        said = [json.loads(line) for line in (out / "predictions" / name / "predictions.jsonl").open()]
        measured = [json.loads(line) for line in (out / "attention" / name / "items.jsonl").open()]
        assert [line["output"] for line in said] == [item["output_text"] for item in measured]
        assert [line["tokens"] for line in said] == [len(item["output_ids"]) for item in measured]


def test_a_finished_study_is_not_repeated(study, tmp_path):
    out, table = study
    before = {path: path.stat().st_mtime_ns for path in (out / "train").rglob("*") if path.is_file()}
    log = (out / "steps.jsonl").read_text()
    told = []
    again = run_study(read_plan(out.parent / "study.yaml"), out, tell=told.append)
    assert lines_of(again) == lines_of(table)
    assert all(line.endswith(": done before") for line in told)
    assert len(told) == 14
    assert (out / "steps.jsonl").read_text() == log
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_only_what_depends_on_a_change_is_done_again(write_plan, tmp_path):
    out = tmp_path / "out"
    run_study(read_plan(write_plan()), out)
    told: list[str] = []
    run_study(read_plan(write_plan(generate__max_new_tokens=30)), out, tell=told.append)
    again = {line.partition(":")[0] for line in told if line.endswith(": begins")}
    assert {"predictions/vanilla", "predictions/literals", "predictions/solver"} <= again
    assert not {name for name in again if name.startswith(("data", "train", "rationales"))}
    assert any("max_new_tokens 40 -> 30" in line for line in told)
    kept = [path.name for path in (out / "old").iterdir()]
    assert any(name.startswith("predictions-vanilla-") for name in kept)
    assert (
        out / "old" / next(n for n in kept if n.startswith("predictions-vanilla-")) / "predictions.jsonl"
    ).is_file()


def test_another_recipe_trains_anew_and_keeps_the_answers_of_the_model_as_it_is(write_plan, tmp_path):
    out = tmp_path / "out"
    plan = write_plan(variants=TINY["variants"][:2])
    run_study(read_plan(plan), out)
    told: list[str] = []
    run_study(read_plan(plan, {"training.set.max_steps": "3"}), out, tell=told.append)
    again = {line.partition(":")[0] for line in told if line.endswith(": begins")}
    assert {"train/literals", "predictions/literals"} <= again
    assert not again & {"predictions/vanilla", "attention/vanilla", "rationales/diagram-literals"}


def test_a_page_that_was_removed_is_written_again(study):
    out, _ = study
    before = (out / "index.html").read_bytes()
    (out / "index.html").unlink()
    run_study(read_plan(out.parent / "study.yaml"), out)
    assert (out / "index.html").read_bytes() == before


def test_kills_end_in_the_table_of_a_study_that_was_left_alone(study, write_plan, tmp_path):
    _, table = study
    plan, out = write_plan(), tmp_path / "killed"
    command = [sys.executable, "-m", "vkit.cli.main", "study", str(plan), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    chance = random.Random(3)
    for _ in range(3):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        steps = (
            1 + len((out / "steps.jsonl").read_text().splitlines()) if (out / "steps.jsonl").exists() else 1
        )
        wanted, deadline = steps + chance.randint(0, 3), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            log = out / "steps.jsonl"
            if log.exists() and len(log.read_text().splitlines()) >= wanted:
                break
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = run_study(read_plan(plan), out)
    assert without_seconds(found) == without_seconds(table)


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(each) for key, each in value.items() if key != "seconds"}
    return [without_seconds(each) for each in value] if isinstance(value, list) else value


def test_given_rationales_need_no_teacher(study, write_plan, tmp_path):
    out, _ = study
    given = out / "rationales" / "diagram-literals" / "rationales.jsonl"
    variants = [TINY["variants"][0], {"name": "Given", "prompt": "plain", "rationales": str(given)}]
    table = run_study(read_plan(write_plan(teacher=None, variants=variants)), tmp_path / "out")
    assert table["rows"][1]["rationales"] == {"file": str(given)}
    assert table["rows"][1]["training"]["examples"] == 8


def test_a_teacher_at_an_endpoint_is_paid_once_for_two_kinds(vkit, write_plan, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret-0123456789")
    two = [
        {**TINY["variants"][1], "rationales": kind, "name": kind}
        for kind in ("visual-cot", "diagram-literals")
    ]
    with FakeEndpoint(lambda request: "right") as endpoint:
        teacher = {"model": "gpt-4o", "base_url": endpoint.url, "price_in": 2.5, "price_out": 10.0}
        plan = write_plan(teacher={**teacher, "max_cost": 1e-6}, variants=[TINY["variants"][0], *two])
        code, _, err = vkit("study", plan, "--out", tmp_path / "out")
        assert code == 1
        assert "max_cost would be passed" in err.splitlines()[-1]
        asked = len(endpoint.requests)
        plan = write_plan(teacher={**teacher, "max_cost": 100.0}, variants=[TINY["variants"][0], *two])
        code, out, err = vkit("study", plan, "--out", tmp_path / "out")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert asked == 0
    assert len(endpoint.requests) == 8
    assert rows[1]["rationales"]["rationales"] == rows[2]["rationales"]["rationales"] > 0
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"verysecret" not in path.read_bytes(), path


def test_a_model_or_a_judge_that_cannot_be_had_is_told_before_a_teacher_is_paid(
    vkit, write_plan, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret-0123456789")
    with FakeEndpoint(lambda request: "right") as endpoint:
        teacher = {"model": "gpt-4o", "base_url": endpoint.url}
        judge = {"model": "gpt-4o", "base_url": "https://example.org/v1", "api_key_env": "VKIT_NO_KEY"}
        for changes, words in (
            ({"model": "no/such model"}, "is not a folder"),
            ({"score__judge": judge}, "VKIT_NO_KEY"),
        ):
            plan = write_plan(teacher=teacher, **changes)
            code, _, err = vkit("study", plan, "--out", tmp_path / "out")
            assert code == 1
            assert words in err.splitlines()[-1]
    assert not endpoint.requests


@pytest.mark.parametrize("name", PRESETS)
def test_presets_print_as_plans_that_can_be_read(name, vkit, tmp_path):
    code, out, _ = vkit("study", name, "--print")
    assert code == 0
    (tmp_path / "kept.yaml").write_text(out)
    plan = read_plan(tmp_path / "kept.yaml")
    assert [variant.name for variant in plan.variants] == [v.name for v in read_plan(name).variants]
    assert len(plan.variants) == 5


def test_the_papers_plan_has_the_papers_values():
    plan = read_plan("tey")
    recipe = plan.recipe(plan.variants[2])
    assert (recipe.lora_rank, recipe.lora_alpha, recipe.lr, recipe.epochs) == (32, 64.0, 2e-5, 3)
    assert [variant.prompt for variant in plan.variants] == ["direct", "cot", *["finetuned"] * 3]
    assert [v.published.accuracy for v in plan.variants] == [15.97, 20.63, 26.96, 28.95, 23.46]
    assert [v.published.ratio for v in plan.variants] == [0.20, 0.80, 0.93, 1.14, 0.93]


def test_a_dry_run_says_what_is_done_and_makes_nothing(study, vkit, tmp_path):
    out, _ = study
    code, said, _ = vkit("study", out.parent / "study.yaml", "--out", out, "--dry-run")
    assert code == 0
    assert set(json.loads(said)["steps"].values()) == {"done"}
    code, said, _ = vkit("study", out.parent / "study.yaml", "--out", tmp_path / "new", "--dry-run")
    assert set(json.loads(said)["steps"].values()) == {"to do"}
    assert not (tmp_path / "new").exists()


REFUSED = [
    ({"modle": "tiny"}, "no 'modle' (did you mean 'model'?)"),
    ({"model": None}, "lacks 'model'; add it"),
    ({"data__miniature__pairs": "many"}, "data: miniature: pairs must be a whole number, not 'many'"),
    ({"data__test": "test.jsonl"}, "leave train and test out"),
    ({"data": {}}, "test is missing"),
    ({"teacher": None}, "there is no teacher"),
    ({"teacher": {"scripted": True, "model": "gpt-4o"}}, "give one of model"),
    ({"teacher": {"model": "gpt-4o", "max_cost": 3.0}}, "max_cost needs price_in"),
    ({"training__recipe": "tay"}, "recipe 'tay' is not known"),
    ({"training__set": {"lora_rnk": 3}}, "did you mean 'lora_rank'"),
    ({"generate__batch_size": 0}, "batch_size must be 1 or more"),
    ({"variants": []}, "at least one"),
    ({"variants": [{"name": "a", "prompt": "plian"}]}, "prompt 'plian' is not known"),
    ({"variants": [{"name": "a b", "prompt": "plain"}, {"name": "a-b", "prompt": "cot"}]}, "rename it"),
    ({"variants": [{"name": "a", "prompt": "plain", "rationales": "x.jsonl"}]}, "neither a file nor one of"),
    ({"compare__baseline": "Nobody"}, "baseline 'Nobody' is not known"),
    ({"attention__rows": "all"}, "rows 'all' is not known"),
    ({"score__suite": "mathvista"}, "suite 'mathvista' is not known"),
    ({"base": "/elsewhere"}, "the plan has no 'base'"),
    ({"title": False}, "title must be text, not False; put it in quotes"),
    ({"title": "a\0"}, "holds a zero or half a character"),
    ({"dtype": "float8"}, "dtype 'float8' is not known"),
    ({"training__set": {1: 2}}, "set: 1 is no name of a setting"),
    ({"training__set": {"prompt": "cot"}}, "prompt is told by each variant; leave it out here"),
    ({"generate__max_new_tokens": 10**30}, "max_new_tokens must be a whole number below 10^15"),
    ({"compare__resamples": 100}, "resamples must be 200 or more, not 100"),
    ({"compare__seed": -1}, "compare: seed must be 0 or more, not -1"),
    ({"data__miniature__tests": 0}, "miniature: tests must be 1 or more, not 0"),
    ({"data__miniature__version": "text-only"}, "version 'text-only' is not known"),
    ({"teacher": {"model": "gpt-4o", "price_in": -1, "price_out": 1}}, "price_in must be 0 or more, not -1"),
    ({"teacher": {"model": "gpt-4o", "temperature": float("nan")}}, "temperature must be a number below"),
    ({"teacher": {"model": "gpt-4o", "timeout_s": 0}}, "timeout_s must be above 0"),
    ({"teacher": {"model": "gpt-4o", "limit_parameter": "tokens"}}, "limit_parameter 'tokens' is not known"),
    ({"score": {"judge": {"model": "gpt-4o", "price_in": 1}}}, "give both price_in and price_out"),
    ({"variants": [{"name": "a" * 300, "prompt": "plain"}]}, "its name is too long; shorten it"),
    ({"variants": [{"name": "a", "prompt": "plain", "published": {"ratio": float("inf")}}]}, "ratio must be"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_a_plan_that_cannot_be_run_is_refused_before_anything_is_made(
    vkit, write_plan, tmp_path, changes, words
):
    code, out, err = vkit("study", write_plan(**changes), "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert words in err
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_set_are_refused(vkit, write_plan, tmp_path):
    for assignment, words in (
        ("device.x=1", "no settings of its own"),
        ("title=[", "is no YAML"),
        ("x=1", "no 'x'"),
    ):
        code, _, err = vkit("study", write_plan(), "--out", tmp_path / "out", "--set", assignment)
        assert code == 1
        assert words in err
        assert err.count("\n") == 1
    code, _, err = vkit("study", tmp_path / "nowhere.yaml", "--out", tmp_path / "out")
    assert code == 1
    assert "presets tey, tiny" in err


def test_two_studies_never_share_a_folder_at_a_time(write_plan, tmp_path):
    from vkit.study.steps import Steps

    plan = read_plan(write_plan())
    with Steps(tmp_path / "out"), pytest.raises(VkitError, match="in use by another run"):
        run_study(plan, tmp_path / "out")


def told_by(plan: Path | str, out: Path, changes=None) -> dict[str, str]:
    """What a run said of each step."""
    told: list[str] = []
    run_study(read_plan(plan, changes), out, tell=told.append)
    return dict(line.split(": ", 1) for line in told if line.count(": ") == 1 and ";" not in line)


@pytest.fixture
def copied(study, tmp_path):
    """A finished study in another place, to be damaged; its plan and folder."""
    out, _ = study
    shutil.copytree(out, tmp_path / "moved")
    return out.parent / "study.yaml", tmp_path / "moved"


def test_a_study_that_moved_is_not_repeated(copied):
    assert set(told_by(*copied).values()) == {"done before"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("data", "test.jsonl"),
        ("rationales/symbolic-solver", "rationales.jsonl"),
        ("predictions/solver", "predictions.jsonl"),
        ("attention/solver", "items.jsonl"),
        ("attention/solver", "summary.json"),
        ("scores", "solver.jsonl"),
        ("compare", "comparison.json"),
    ],
)
def test_a_step_whose_files_were_taken_away_is_done_again(study, copied, name, file):
    (copied[1] / name / file).unlink()
    assert told_by(*copied)[name] == "goes on"
    assert (copied[1] / name / file).is_file()


def test_a_fine_tune_that_lost_its_weights_says_what_to_do(copied):
    plan, out = copied
    shutil.rmtree(out / "train" / "solver" / "adapter")
    with pytest.raises(VkitError, match=r"adapter was taken away; remove the folder .*solver, and run again"):
        run_study(read_plan(plan), out)
    shutil.rmtree(out / "train" / "solver")
    told = told_by(plan, out)
    assert told["train/solver"] == "begins"
    assert told["predictions/solver"] == "done before"  # the same weights came of it


def test_weights_of_a_fine_tune_that_were_changed_answer_anew(copied):
    plan, out = copied
    weights = out / "train" / "solver" / "adapter" / "adapter_model.safetensors"
    weights.write_bytes((out / "train" / "literals" / "adapter" / "adapter_model.safetensors").read_bytes())
    told = told_by(plan, out)
    assert (told["train/solver"], told["predictions/solver"]) == ("done before", "begins")
    assert told["predictions/literals"] == "done before"


def test_predictions_without_an_answer_are_refused_in_one_line(vkit, copied):
    plan, out = copied
    path = out / "predictions" / "solver" / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    code, _, err = vkit("study", plan, "--out", out)
    assert code == 1
    assert "has no answer for 1 of 4 problems" in err.splitlines()[-1]


def test_predictions_that_were_edited_are_measured_and_scored_anew(copied):
    plan, out = copied
    path = out / "predictions" / "solver" / "predictions.jsonl"
    lines = [json.loads(line) for line in path.open()]
    lines[0] |= {"output": "Answer: 7"}
    lines[1] = {"id": lines[1]["id"], "output": "Answer: 8"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = told_by(plan, out)
    assert {"predictions/solver", "attention/vanilla", "train/solver"} <= {
        name for name, words in told.items() if words == "done before"
    }
    assert (told["attention/solver"], told["scores"], told["page"]) == ("begins", "begins", "begins")
    said = [json.loads(line)["output_text"].strip() for line in (out / "attention/solver/items.jsonl").open()]
    assert said[:2] == ["Answer: 7", "Answer: 8"]


def test_a_step_whose_state_is_damaged_says_what_to_do(vkit, copied):
    plan, out = copied
    (out / "scores" / "step.json").write_text("{}")
    code, _, err = vkit("study", plan, "--out", out)
    assert code == 1
    assert "does not say what the step was made from; remove the folder" in err.splitlines()[-1]


def test_a_dry_run_tells_what_a_changed_plan_would_do(vkit, copied):
    plan, out = copied
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    def steps(*arguments) -> dict[str, str]:
        return json.loads(vkit("study", plan, "--out", out, "--dry-run", *arguments)[1])["steps"]

    assert set(steps().values()) == {"done"}
    found = steps("--set", "training.set.max_steps=3")
    assert found["train/solver"] == found["train/literals"] == "changed"
    assert found["predictions/solver"] == found["attention/literals"] == found["scores"] == "waits"
    assert found["predictions/vanilla"] == found["rationales/symbolic-solver"] == "done"
    found = steps("--set", "compare.seed=1")
    assert {name for name, state in found.items() if state != "done"} == {"compare", "page"}
    (out / "index.html").unlink()
    del before[out / "index.html"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path != out} == {
        path: when for path, when in before.items() if path != out
    }


def test_other_pictures_under_given_rationales_train_anew(study, write_plan, tmp_path):
    from PIL import Image

    out, _ = study
    shutil.copytree(out / "rationales" / "diagram-literals", tmp_path / "given")
    variants = [{"name": "Given", "prompt": "plain", "rationales": "given/rationales.jsonl"}]
    plan, place = write_plan(teacher=None, variants=variants), tmp_path / "out"
    told_by(plan, place)
    assert told_by(plan, place)["train/given"] == "done before"
    picture = next((tmp_path / "given" / "images").iterdir())
    Image.new("RGB", Image.open(picture).size, "red").save(picture)
    assert told_by(plan, place)["train/given"] == "begins"


def test_a_model_is_another_where_any_of_its_bytes_is(tmp_path):
    from vkit.study.steps import model_digest

    size = 20 << 20  # a part of it could be overlooked
    (tmp_path / "model.safetensors").write_bytes(bytes(size))
    before = model_digest(str(tmp_path))
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(size // 64 + (1 << 17))
        file.write(b"x")
    assert model_digest(str(tmp_path)) != before
    (tmp_path / "notes.md").write_text("no part of the model")
    after = model_digest(str(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert model_digest(str(tmp_path)) != after


def test_one_variant_alone_has_a_table_and_a_page(vkit, write_plan, tmp_path):
    plan = write_plan(variants=TINY["variants"][:1])
    code, out, _ = vkit("study", plan, "--out", tmp_path / "out")
    assert code == 0
    assert json.loads(out)["rows"][0]["correlation"] is None
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Table 1" in page
    assert "Ratio and right answers" not in page  # no table without rows
    _, said, _ = vkit("study", plan, "--out", tmp_path / "out", "--dry-run")
    assert set(json.loads(said)["steps"].values()) == {"done"}


def test_every_table_compares_with_the_plans_baseline(vkit, study, copied):
    plan, out = copied
    code, said, _ = vkit("study", plan, "--out", out, "--set", "compare.baseline=Literals")
    table = json.loads(said)
    assert code == 0
    assert table["baseline"] == "Literals"
    against = ("accuracy_difference", "ratio_difference", "equal_positions", "length_controlled")
    for row in table["rows"]:
        assert [name in row for name in against] == [row["variant"] != "Literals"] * 4
    assert [each["variant"] for each in table["conclusions"]] == ["Vanilla", "Solver"]
    assert json.loads((out / "compare" / "comparison.json").read_text())["baseline"] == "Literals"
    assert "each variant against Literals" in (out / "index.html").read_text()
    theirs = study[1]["rows"][1]["accuracy_difference"]["difference"]
    assert table["rows"][0]["accuracy_difference"]["difference"] == -theirs


@pytest.mark.parametrize("lacks", ["image", "answer"])
def test_a_test_set_that_cannot_be_measured_is_refused_before_a_teacher_is_asked(
    study, vkit, write_plan, tmp_path, lacks
):
    out, _ = study
    shutil.copytree(out / "data", tmp_path / "data")
    path = tmp_path / "data" / "test.jsonl"
    lines = [json.loads(line) for line in path.open()]
    del lines[2][lacks]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plan = write_plan(data={"train": "data/train.jsonl", "test": "data/test.jsonl"})
    code, _, err = vkit("study", plan, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert f"has no {'picture' if lacks == 'image' else 'answer'}" in err
    assert not (tmp_path / "out" / "teacher").exists()


def test_a_device_that_is_not_there_is_refused_before_anything_is_made(vkit, write_plan, tmp_path):
    code, _, err = vkit("study", write_plan(device="gpu"), "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "device 'gpu' is not known" in err
    assert not (tmp_path / "out").exists()


def test_a_folder_named_as_a_preset_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()  # vkit study tiny --out tiny
    assert read_plan("tiny").model == "tiny"


def test_numbers_as_people_write_them_are_numbers(write_plan):
    teacher = {"model": "gpt-4o", "price_in": "1e-1", "price_out": 1, "max_cost": 2}
    plan = read_plan(write_plan(teacher=teacher, training__set={"lr": "2e-5"}), {"teacher.max_cost": "5e-1"})
    assert plan.teacher is not None
    assert (plan.teacher.price_in, plan.teacher.max_cost) == (0.1, 0.5)
    assert plan.recipe(plan.variants[0]).lr == 2e-5


@pytest.mark.skipif(not GEOMETRY3K.is_dir(), reason="../shared/data/geometry3k is not there")
def test_geometry3ks_release_is_scored_by_its_own_rules(study, write_plan, tmp_path):
    given = study[0] / "rationales" / "diagram-literals" / "rationales.jsonl"
    variants = [TINY["variants"][0], {"name": "Given", "prompt": "direct", "rationales": str(given)}]
    plan = write_plan(data={"test": str(GEOMETRY3K), "test_limit": 3}, teacher=None, variants=variants)
    table = run_study(read_plan(plan, {"generate.max_new_tokens": "4"}), tmp_path / "out")
    assert json.loads((tmp_path / "out/scores/step.json").read_text())["inputs"]["suite"] == "geometry3k"
    assert [row["accuracy"]["count"] for row in table["rows"]] == [3, 3]


def test_how_often_the_judge_was_asked_and_failed_stands_in_the_table(vkit, copied, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret-0123456789")
    plan, out = copied
    path = out / "predictions" / "solver" / "predictions.jsonl"
    lines = [json.loads(line) for line in path.open()]
    lines[0]["output"], lines[1]["output"] = "I do not know.", "Hard to tell."
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with FakeEndpoint(lambda request: "refusing" if "Hard" in request.text else "say:NONE") as endpoint:
        judge = f"{{model: gpt-4o, base_url: '{endpoint.url}'}}"
        code, said, _ = vkit("study", plan, "--out", out, "--set", f"score.judge={judge}")
    assert code == 0
    rows = {row["run"]: row for row in json.loads(said)["rows"]}
    assert rows["solver"]["judge"] == {"asked": 2, "failed": 1}
    assert rows["solver"]["unread"] == 2
    assert rows["vanilla"]["judge"] == {"asked": 0, "failed": 0}


def test_problems_that_the_endpoint_failed_at_are_told_and_can_be_asked_again(
    vkit, write_plan, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret-0123456789")
    out, down = tmp_path / "out", True
    with FakeEndpoint(lambda request: "500" if down and request.text == first else "right") as endpoint:
        plan = write_plan(
            teacher={"model": "gpt-4o", "base_url": endpoint.url, "max_retries": 0, "concurrency": 1},
            variants=[{"name": "Tuned", "prompt": "plain", "rationales": "visual-cot"}],
        )
        first = ""
        assert vkit("study", plan, "--out", out)[0] == 0
        first, tasks = endpoint.requests[0].text, len(endpoint.requests)
        shutil.rmtree(out)
        code, _, err = vkit("study", plan, "--out", out)
        assert code == 0
        told = f"1 of {tasks} problems have none, by the endpoint's fault"
        assert told in err
        down = False
        shutil.rmtree(out / "rationales" / "visual-cot")
        asked = len(endpoint.requests)
        code, said, err = vkit("study", plan, "--out", out)
    assert len(endpoint.requests) == asked + 1
    assert told not in err
    assert json.loads(said)["rows"][0]["training"]["examples"] == tasks


def test_problems_without_words_are_refused_before_anything_is_trained(vkit, study, write_plan, tmp_path):
    out, _ = study
    samples = list(read_samples(out / "data" / "test.jsonl"))
    picture = Path(samples[0].folder) / str(samples[0].image)
    shutil.copy(picture, tmp_path / "p.png")
    write_samples(tmp_path / "test.jsonl", [replace(samples[0], question="", image="p.png", id="silent")])
    plan = write_plan(data={"train": ["test.jsonl"], "test": "test.jsonl"})
    code, _, err = vkit("study", plan, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "record 'silent' has no question in words" in err


def test_train_may_be_several_files_whose_ids_differ(vkit, study, write_plan, tmp_path):
    out, _ = study
    source = out / "data"
    shutil.copytree(source, tmp_path / "data")
    both = ["data/train.jsonl", "data/test.jsonl"]
    plan = read_plan(write_plan(data={"train": both, "test": "data/test.jsonl"}))
    assert plan.data.train == tuple(both)
    code, _, err = vkit(
        "study", write_plan(data={"train": [both[0]] * 2, "test": both[1]}), "--out", tmp_path / "out"
    )
    assert code == 1
    assert "stands in two of the files" in err


def test_variants_are_called_by_their_names_on_the_page(study):
    out, table = study
    page = (out / "index.html").read_text()
    assert "Literals against Vanilla" in page
    assert [found["variant"] for found in table["conclusions"]] == ["Literals", "Solver"]
    assert not any("'vanilla'" in line for line in (*table["notes"], *table["conclusions"][0]["may_not"]))


def test_a_note_of_the_plan_stands_on_the_page(vkit, study, copied):
    plan, out = copied
    code, _, _ = vkit("study", plan, "--out", out, "--set", "note=Only a <trial>.")
    assert code == 0
    assert "Only a &lt;trial&gt;." in (out / "index.html").read_text()
