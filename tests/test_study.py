"""`vkit study`: a whole study at tiny scale, repeated, changed, killed, and refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.fake_endpoint import FakeEndpoint
from vkit.errors import VkitError
from vkit.records import read_samples
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
