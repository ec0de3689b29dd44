"""The demo from nothing to its page: the mechanics, with a few steps of each stage."""

import json
from itertools import pairwise

import pytest
from click.testing import CliRunner

from vkit.cli.main import cli
from vkit.models.loading import load_model


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    arguments = ["demo", "--out", str(folder), "--pairs", "60", "--tests", "4", "--scale", "0.006"]
    result = CliRunner().invoke(cli, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return folder, result


def test_it_trains_all_stages_and_the_control_and_leaves_a_page(demo):
    folder, result = demo
    for place in ("stage0", "stage1", "stage2", "stage3", "without-stage2/stage3"):
        assert (folder / place / "model" / "model.safetensors").is_file()
    assert (folder / "index.html").stat().st_size > 10_000
    report = json.loads((folder / "report.json").read_text())
    assert [order["name"] for order in report["orders"]] == ["1-2-3", "1-3"]
    assert "1-3, after stage 3" in result.stdout
    assert not load_model(folder / "stage3" / "model").random_weights


def test_attention_is_measured_on_the_worked_solutions_before_and_after(demo):
    folder, _ = demo
    report = json.loads((folder / "report.json").read_text())
    attention = report["attention"]
    assert attention["before"]["ratio"] != attention["after"]["ratio"]
    for item in attention["items"]:
        assert "".join(item["tokens"]).strip().rpartition("Answer: ")[2].isdigit()
        for side in ("before", "after"):
            assert len(item[side]["maps"]) == len(item["tokens"])
            assert len(item[side]["maps"][0]) == item["grid"][0] * item["grid"][1]
    assert (folder / attention["before"]["page"]).is_file()


def test_the_curves_cover_every_stage_to_its_last_step(demo):
    folder, _ = demo
    for number, lines in enumerate(json.loads((folder / "report.json").read_text())["logs"].values(), 1):
        summary = json.loads((folder / f"stage{number}" / "summary.json").read_text())
        assert lines[-1]["step"] == summary["steps"]
        assert all(a["step"] < b["step"] for a, b in pairwise(lines))


def test_a_second_call_repeats_nothing(demo):
    folder, first = demo
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    arguments = ["demo", "--out", str(folder), "--pairs", "60", "--tests", "4", "--scale", "0.006"]
    again = CliRunner().invoke(cli, [*arguments, "--device", "cpu"])
    assert again.stdout == first.stdout
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
