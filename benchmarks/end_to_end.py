"""What `vkit attn-ratio` adds to generation: the replay with capture, beside generating the same tokens.

    python -m benchmarks end_to_end                       # this CPU, a TinyLLaVA of 30 million parameters
    python -m benchmarks end_to_end --size 3.1b --device cuda --dtype bfloat16 --tokens 256 --batch-size 8

The weights are random and generation is made to go on to the last token, so that the work is that of a real
answer. The replay is one forward over prompt and output, so its floor is a prompt's own forward, which
generation pays too; the target is 3% of generation's time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import environment, interleaved_ms, peak_mib, write_result
from vkit.attention.measure import measure
from vkit.models.protocol import Request
from vkit.models.tiny import STAND_IN, build_random
from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.prompts import build_request
from vkit.records import read_samples
from vkit.synthesis.sketches import write_sketches

TARGET = 0.03
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # text and vision
    "30m": (
        {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8},
        {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
    ),
    "3.1b": (  # Phi-2 and SigLIP so400m/14-384
        {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "partial_rotary_factor": 0.4,
            "vocab_size": 51200,
        },
        {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16},
    ),
}


def main(argv: list[str]) -> dict[str, Any]:
    """Measure what the arguments ask for, print it and return (and write) the result."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks end_to_end", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--size", choices=SIZES, default="30m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens an answer")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result there")
    arguments = parser.parse_args(argv)
    result = measure_overhead(
        arguments.size,
        arguments.device,
        getattr(torch, arguments.dtype),
        arguments.tokens,
        arguments.batch_size,
        arguments.repeats,
    )
    print(
        f"{arguments.size} on {result['environment']['device']}: generation {result['generate_ms']:.0f} ms, "
        f"measuring {result['measure_ms']:.0f} ms, {result['measure_ms'] / result['generate_ms']:.1%} more "
        f"(target {TARGET:.0%}); one plain forward {result['forward_ms']:.0f} ms"
    )
    if arguments.json:
        write_result(arguments.json, result)
    return result


def measure_overhead(
    size: str, device: str, dtype: torch.dtype, tokens: int, batch_size: int, repeats: int
) -> dict[str, Any]:
    """Median milliseconds of generating, of measuring with maps, and of a plain forward of the batch."""
    model = build(size, device, dtype)
    requests = example_requests(batch_size)
    prompts = model.encode(requests, padding_side="left")
    outputs = model.generate(prompts, max_new_tokens=tokens)
    if any(len(output) != tokens for output in outputs):
        raise RuntimeError("an answer ended early; the benchmark's model must go on to the last token")
    replay = model.encode(requests, outputs)

    def forward() -> None:
        with torch.no_grad():
            model.forward(replay)

    times = interleaved_ms(
        {
            "generate": lambda: model.generate(prompts, max_new_tokens=tokens),
            "measure": lambda: measure(model, requests, outputs, maps=True),
            "forward": forward,
        },
        device,
        repeats,
    )
    return {
        "benchmark": "end_to_end",
        "environment": environment(device),
        "size": size,
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "batch_size": batch_size,
        "prompt_columns": prompts.length,
        "tokens": tokens,
        **{f"{name}_ms": statistics.median(values) for name, values in times.items()},
        "measure_peak_mib": peak_mib(lambda: measure(model, requests, outputs, maps=True), device),
        "forward_peak_mib": peak_mib(forward, device),
        "target": TARGET,
    }


def build(size: str, device: str, dtype: torch.dtype) -> TinyLlavaModel:
    """A TinyLLaVA of that size with random weights, whose answers never end by themselves."""
    text, vision = SIZES[size]
    config = copy.deepcopy(STAND_IN)
    config["text_config"].update(text)
    config["vision_config"].update(vision, image_size=384)
    config.update(hidden_size=text["hidden_size"], vision_hidden_size=vision["hidden_size"])
    config["vocab_size"] = config["text_config"]["vocab_size"]
    model = build_random(config, name=size, device=device, dtype=dtype)
    with torch.no_grad():  # a head without the token that ends an answer, and without ids that are no token
        bias = model.lm_head.bias
        bias[model.eos_token_id] = -1e4
        bias[len(model.tokenizer) :] = -1e4
    return model


def example_requests(count: int) -> list[Request]:
    """Problems drawn by vkit, in the study's chain-of-thought prompt."""
    with tempfile.TemporaryDirectory() as folder:
        samples = list(read_samples(write_sketches(Path(folder), count, seed=0)))
        return [build_request(sample, "cot") for sample in samples]
