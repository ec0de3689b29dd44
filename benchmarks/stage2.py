"""One step of stage 2 as the trainer runs it, beside the step of an eager trainer with the same model.

    python -m benchmarks stage2                           # this CPU, vocabulary 51200
    python -m benchmarks stage2 --device cuda --layers 24 --width 2048 --batch-size 32

The eager step is what one writes without a fused loss: logits of every column of both twins, kept for the
backward pass, gathered at the response, log-softmax and both divergences by autograd. The same batch, the
same weights, the same loss; forward and backward, no optimizer. Memory is what the step needs beyond the
model, its gradients included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import environment, interleaved_ms, peak_mib, write_result
from vkit.models.tiny import STAND_IN, build_random
from vkit.models.training import choose_trainable
from vkit.synthesis.engine import synthesize
from vkit.train.align import AlignTask
from vkit.train.data import open_examples
from vkit.train.recipes import RECIPES, AlignRecipe, override
from vkit.train.task import Micro, Totals, answer_rows


def main(argv: list[str]) -> dict[str, Any]:
    """Measure both steps, print them and return (and write) the result."""
    parser = argparse.ArgumentParser("python -m benchmarks stage2", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--vocabulary", type=int, default=51200)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder), pairs=arguments.batch_size, subjects=("plane",), progress=False)
        task = _task(arguments, Path(folder) / "pairs.jsonl")
        micro = task.read(range(arguments.batch_size))[0]
    assert micro is not None
    steps = {"ours": lambda: _ours(task, micro), "eager": lambda: _eager(task, micro)}
    losses = {name: step() for name, step in steps.items()}
    difference = abs(losses["ours"] - losses["eager"]) / losses["eager"]
    if difference > 1e-5:
        raise SystemExit(f"benchmarks: the losses differ by {difference:.1e}: {losses}")
    times = interleaved_ms(steps, arguments.device, arguments.repeats)
    rows = {
        name: {"ms": statistics.median(times[name]), "peak_mib": peak_mib(step, arguments.device)}
        for name, step in steps.items()
    }
    result = {
        "environment": environment(arguments.device),
        "settings": {key: value for key, value in vars(arguments).items() if key != "json"},
        "response_tokens": micro.tokens,
        "columns": [batch.length for batch in micro.batches[0]],
        "rows": rows,
        "memory_of_eager": rows["ours"]["peak_mib"] / rows["eager"]["peak_mib"],
        "time_of_eager": rows["ours"]["ms"] / rows["eager"]["ms"],
    }
    for name, row in rows.items():
        print(f"{name:6} {row['ms']:8.1f} ms {row['peak_mib']:8.1f} MiB")
    print(f"ours / eager: time {result['time_of_eager']:.2f}, memory {result['memory_of_eager']:.2f}")
    if arguments.json:
        write_result(arguments.json, result)
    return result


def _task(arguments: argparse.Namespace, pairs: Path) -> AlignTask:
    config = {**STAND_IN, "vocab_size": arguments.vocabulary, "hidden_size": arguments.width}
    config["text_config"] = {
        **config["text_config"],
        "vocab_size": arguments.vocabulary,
        "hidden_size": arguments.width,
        "intermediate_size": 4 * arguments.width,
        "num_hidden_layers": arguments.layers,
    }
    recipe = RECIPES["paper"][2]
    assert isinstance(recipe, AlignRecipe)
    recipe = override(recipe, {"precision": "fp32"})
    model = build_random(config, name="stage2", device=arguments.device)
    choose_trainable(model, recipe.train)
    model.model.eval()  # the same network for both: no dropout
    return AlignTask(model, open_examples([pairs], recipe), recipe)


def _ours(task: AlignTask, micro: Micro) -> float:
    loss, _ = task(micro, Totals(micro.tokens, micro.items))
    loss.backward()
    task.network.zero_grad(set_to_none=True)
    return loss.item()


def _eager(task: AlignTask, micro: Micro) -> float:
    recipe = task.recipe
    weak, strong = micro.batches[0]
    with torch.no_grad():
        teacher = _logits(task, strong)
    student = _logits(task, weak)
    rows, labels = answer_rows(student, weak.labels)
    log_p = (rows / recipe.temperature).log_softmax(-1)
    log_q = (answer_rows(teacher, strong.labels)[0] / recipe.temperature).log_softmax(-1)
    weak_strong = F.kl_div(log_q, log_p, log_target=True, reduction="sum") / len(labels)
    strong_weak = F.kl_div(log_p, log_q, log_target=True, reduction="sum") / len(labels)
    divergence = recipe.temperature**2 * (recipe.alpha * weak_strong + (1 - recipe.alpha) * strong_weak)
    loss = recipe.lam * divergence + (1 - recipe.lam) * F.cross_entropy(rows, labels)
    loss.backward()
    task.network.zero_grad(set_to_none=True)
    return loss.item()


def _logits(task: AlignTask, batch: Any) -> Tensor:
    """(B, T, V) in fp32, of every column, as a model's own forward returns them."""
    return task.adapter.lm_head(task.adapter.forward(batch)).float()
