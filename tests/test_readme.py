"""What the README shows runs as it stands, with the tiny model in place of a downloaded one."""

import json
import re
from pathlib import Path

import pytest
import torch

from vkit.synthesis.sketches import write_sketches

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
MEASURE, CAPTURE, KERNELS, LOSS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_measuring_example_runs(tmp_path, monkeypatch, capsys):
    write_sketches(tmp_path, 2, seed=0)
    monkeypatch.chdir(tmp_path)
    assert "Qwen/Qwen2.5-VL-3B-Instruct" in MEASURE
    code = MEASURE.replace("Qwen/Qwen2.5-VL-3B-Instruct", "tiny").replace("256", "4")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert all("'mean'" in line for line in printed)


def test_the_capture_example_runs():
    from tests.tiny_vlms import build

    tiny = build("llama")
    inputs = {"input_ids": torch.randint(0, 50, (2, 9))}
    segment_ids = torch.tensor([[0, 0, 0, 1, 1, 1, -1, -1, -1]] * 2)
    names = dict(
        torch=torch, model=tiny.model, inputs=inputs, segment_ids=segment_ids, rows=torch.tensor([7, 8])
    )
    exec(compile(CAPTURE, "README.md", "exec"), names)
    assert names["record"].mass.shape[3:] == (2, 2)
    assert names["record"].mean_map.shape == (2, 2, 9)


def test_the_kernel_example_runs():
    query, key, value = torch.randn(3, 1, 2, 6, 16).unbind()
    names = dict(query=query, key=key, value=value, segment_ids=torch.tensor([[0, 0, 1, 1, 2, 2]]))
    names["rows"] = torch.tensor([5])
    exec(compile(KERNELS, "README.md", "exec"), names)
    assert names["mass"].shape == (1, 2, 6, 3)
    assert names["maps"].shape == (1, 1, 6)


def test_the_loss_example_runs():
    weak, strong = torch.randn(2, 5, 8).unbind()
    names = dict(weak_hidden=weak.requires_grad_(), strong_hidden=strong, head_weight=torch.randn(11, 8))
    exec(compile(LOSS, "README.md", "exec"), {**names, "labels": torch.arange(5)})
    assert weak.grad.any()


def test_the_record_example_is_a_record():
    from vkit.records import parse_sample

    line = next(line for line in README.splitlines() if line.startswith('{"id": "1", "question"'))
    assert parse_sample(line, Path()).answer == json.loads(line)["answer"]


@pytest.mark.parametrize("figure", ["float32", "bfloat16"])
def test_the_table_is_that_of_the_committed_run(figure):
    """The README's milliseconds and ratios at T = 2048 stand in the benchmark's file."""
    path = re.search(r"benchmarks/results/[\w.-]+-cpu-attention\.json", README)[0]
    result = json.loads((Path(__file__).resolve().parent.parent / path).read_text())
    (case,) = (c for c in result["cases"] if c["case"]["describe"] == f"T=2048 H=32 D=80 {figure}")
    column = 2 if figure == "float32" else 5
    for name, start in (
        ("sdpa", "| PyTorch SDPA"),
        ("segment_attention", "| **`segment_attention`"),
        ("sdpa one-hot", "| SDPA with one-hot"),
        ("eager", "| eager attention"),
    ):
        cells = next(line for line in README.splitlines() if line.startswith(start)).split("|")
        shown = [cell.strip(" *") for cell in cells]
        measured = case["ways"][name]
        assert shown[column] == f"{measured['median_ms']:.0f}"
        assert shown[column + 1] == f"{measured['time / sdpa']:.2f}"
        assert shown[column + 2] == f"{measured['peak_mib']:.0f}"


def test_the_losss_tables_are_those_of_the_committed_runs():
    root = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
    divergence = json.loads(next(root.glob("*-cpu-divergence.json")).read_text())
    (case,) = (c for c in divergence["cases"] if c["case"]["describe"].endswith("float32, frozen head"))
    ours = case["ways"]["linear_puma_loss"]
    cells = next(line for line in README.splitlines() if line.startswith("| **`linear_puma_loss`")).split("|")
    shown = [cell.strip(" *") for cell in cells]
    assert shown[2:6] == [
        f"{ours['median_ms']:.0f}",
        f"{ours['time / floor']:.2f}",
        f"{ours['time / eager']:.2f}",
        f"{ours['peak_mib']:.0f}",
    ]
    stage2 = json.loads(next(root.glob("*-cpu-stage2.json")).read_text())["rows"]["ours"]
    step = f"| **`train-puma`'s step** | **{stage2['ms']:.0f}** | **{stage2['peak_mib']:.0f}** |"
    assert step in README


def test_the_ablations_table_is_that_of_the_committed_run():
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
    result = json.loads(next(path.glob("*-cpu-reproduction.json")).read_text())
    for name, row in result["conditions"].items():
        line = next((line for line in README.splitlines() if line.startswith(f"| {name} | ")), None)
        if line is not None:
            assert f"{row['accuracy']['vision-only']:.1f} ± {row['deviation']['vision-only']:.1f}" in line
    assert "| 1-3, equal compute | " in README


def test_the_qf_layers_table_is_that_of_the_committed_run():
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
    ablation = json.loads(next(path.glob("*-cpu-smart.json")).read_text())["ablation"]
    names = {
        "tokens QF": "QF over tokens, as described (`tokens`)",
        "no QF": "no QF layer",
        "baseline": "no QF layer, LSTM decoder",
        "paper QF": "QF as written (`paper`)",
        "r1 only": "picture alone (r1)",
        "no text": "QF as written, no text beside it",
    }
    for row, name in names.items():
        scores = [ablation["rows"][row]["overall"][measure] for measure in ("S_acc", "five_option")]
        shown = " | ".join(f"{score['mean']:.1f} ± {score['deviation']:.1f}" for score in scores)
        assert f"| {name} | {shown} | {ablation['rows'][row]['parameters']:,} |" in README
    tokens = ablation["comparisons"][0]["S_acc"]
    low, high = tokens["by_picture"]
    assert f"{tokens['difference']:.1f}\npoints (95% interval {low:.1f} to {high:.1f} over pictures" in README


def test_the_pages_figures_are_those_of_the_committed_run():
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
    page = json.loads(next(path.glob("*-cpu-page.json")).read_text())
    for figure in ("opened_memory_mib", "item_memory_mib", "memory_mib", "collected_memory_mib"):
        assert f"{page[figure]:.0f}" in README
    assert f"written in {page['write_s']:.0f} s, {page['mib_an_item']:.2f} MiB each" in README
