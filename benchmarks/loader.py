"""Training data at scale: indexing a million records, and making batches beside a step that learns from them.

    python -m benchmarks loader                           # three minutes; 500 MB of temporary files
    python -m benchmarks loader --records 20000 --pictures 64

The index is made by a process that holds nothing else, so that its memory is the index's own; beside it stand
its floors, reading the file with its digest and ``json.loads`` of every line. The loader reads pictures of
336 pixels and encodes them with their questions; beside it stand what a step of a small model takes of them
here, and the most that a GPU could take of them for LLaVA-1.5's 7 billion parameters: its data sheet's
operations, every one of them used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import environment, write_result
from vkit.models.tiny import CONFIG, build_random
from vkit.train.data import Order, open_examples
from vkit.train.loader import Loader
from vkit.train.recipes import SftRecipe
from vkit.train.sft import SftTask
from vkit.train.task import Micro, Totals

SIDE, BATCH = 336, 8
WORKERS = (0, 1, 2, 4)
INDEX_SECONDS, INDEX_MB = 20, 200  # targets for a million records

# LLaVA-1.5 7B: parameters, and columns of a record (576 of its picture, 100 of text). Of an H200's data sheet
# the dense bf16 operations a second. A parameter takes 6 operations a column forward and backward, 4 where
# its own gradient is not asked for (LoRA).
PARAMETERS, COLUMNS, H200_FLOPS = 7e9, 676, 989e12
OPERATIONS = {"all parameters": 6, "LoRA": 4}

KINDS = ("conversation", "pair")

# What the index's own process runs. Its peak is asked of Linux: `resource` would count its parent's with it.
_INDEX = """
import json, resource, sys, time
from pathlib import Path
from vkit.train.index import build_index
from vkit.train.recipes import AlignRecipe, SftRecipe

def peak_mb():
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6

kind, path = sys.argv[1:]
before, began = peak_mb(), time.perf_counter()
index = build_index([Path(path)], kind, AlignRecipe() if kind == "pair" else SftRecipe())
seconds = time.perf_counter() - began
own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "entries": len(index.entries), "digest": index.digest, "seconds": seconds,
    "cpu_seconds": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
    "before_mb": before, "peak_mb": peak_mb(), "largest_worker_mb": others.ru_maxrss * 1024 / 1e6}))
"""


def main(argv: list[str]) -> dict[str, Any]:
    """Measure the index and the loader, print them and return (and write) the result."""
    parser = argparse.ArgumentParser("python -m benchmarks loader", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, help="to index, of each kind")
    parser.add_argument("--pictures", type=int, default=512, help="to load, of each format")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result there")
    arguments = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        index = measure_index(Path(folder), arguments.records)
    with tempfile.TemporaryDirectory() as folder:
        loader = measure_loader(Path(folder), arguments.pictures, arguments.repeats)
    result = {
        "environment": {**environment(), "load_average_before": load},
        "settings": {key: value for key, value in vars(arguments).items() if key != "json"},
        "targets": {"seconds": INDEX_SECONDS, "mb": INDEX_MB},
        "index": index,
        "loader": loader,
        "most_records_a_second_of_an_h200": {
            name: H200_FLOPS / (operations * PARAMETERS * COLUMNS) for name, operations in OPERATIONS.items()
        },
    }
    _print(result)
    if arguments.json:
        write_result(arguments.json, result)
    return result


def measure_index(folder: Path, records: int) -> list[dict[str, Any]]:
    """Seconds and memory of indexing ``records`` of each kind, that share a tenth as many pictures."""
    pictures = _empty_pictures(folder, max(1, records // 10))
    rows = []
    for kind in KINDS:
        path = folder / f"{kind}.jsonl"
        with path.open("w") as file:
            file.writelines(_lines(kind, records, pictures))
        command = [sys.executable, "-c", _INDEX, kind, str(path)]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append({"kind": kind, "bytes": path.stat().st_size, **json.loads(found), **_floors(path)})
        path.unlink()
    return rows


def measure_loader(folder: Path, pictures: int, repeats: int) -> dict[str, Any]:
    """Records a second: made by workers, learned from by a small model, and both at once."""
    model = build_random(
        {**CONFIG, "vision_config": {**CONFIG["vision_config"], "image_size": SIDE}}, name="tiny-336"
    )
    rows: list[dict[str, Any]] = []
    for kind in ("jpeg", "png"):
        recipe = SftRecipe(precision="fp32")
        path = _problems(folder / kind, kind, pictures)
        task = SftTask(model, open_examples([path], recipe), recipe)
        chunks = list(_chunks(pictures))
        spent: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        for _ in range(repeats):
            for workers in WORKERS:
                spent[workers].append(_seconds(partial(_drain, task, chunks, workers)))
        for workers in WORKERS:
            rate = pictures / statistics.median(spent[workers])
            rows.append({"pictures": kind, "workers": workers, "records_a_second": rate})
    few = chunks[:4]
    count = sum(map(len, few))
    micros = [task.read(chunk)[0] for chunk in few]
    step = _stepper(task)
    step(micros[0])
    alone = count / _seconds(lambda: [step(micro) for micro in micros])
    return {"made": rows, "step_records_a_second": alone, "together": _together(task, few, count, step)}


def _together(
    task: SftTask, chunks: list[list[int]], count: int, step: Callable[[Micro | None], None]
) -> list[dict[str, Any]]:
    rows = []
    for workers in WORKERS[:3]:
        began = time.perf_counter()
        with Loader(task.read, chunks, workers=workers) as loader:
            for micro, _ in loader:
                step(micro)
        seconds = time.perf_counter() - began
        rows.append(
            {
                "workers": workers,
                "records_a_second": count / seconds,
                "waited_share": loader.waited_seconds / seconds,
            }
        )
    return rows


def _drain(task: SftTask, chunks: list[list[int]], workers: int) -> None:
    with Loader(task.read, chunks, workers=workers) as loader:
        for _ in loader:
            pass


def _stepper(task: SftTask) -> Callable[[Micro | None], None]:
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-4)

    def step(micro: Micro | None) -> None:
        assert micro is not None
        loss, _ = task(micro, Totals(micro.tokens, micro.items))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _chunks(count: int) -> Iterator[list[int]]:
    order = Order(count, seed=0)
    for start in range(0, count, BATCH):
        yield order.take(start, min(BATCH, count - start))


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _floors(path: Path) -> dict[str, float]:
    """CPU seconds of this process that no index can do without: reading with a digest, and parsing JSON."""
    began = time.process_time()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    read = time.process_time() - began
    with path.open("rb") as file:
        for line in file:
            json.loads(line.decode())
    return {"read_cpu_seconds": read, "json_cpu_seconds": time.process_time() - began - read}


def _empty_pictures(folder: Path, count: int) -> list[str]:
    """Files in ten folders; an index asks only whether they are there."""
    names = [f"images/{number % 10}/{number:06}.png" for number in range(count)]
    for number in range(10):
        (folder / "images" / str(number)).mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return names


_WORDS = (
    "the",
    "triangle",
    "angle",
    "is",
    "equal",
    "to",
    "line",
    "through",
    "circle",
    "area",
    "find",
    "value",
)


def _lines(kind: str, count: int, pictures: list[str]) -> Iterator[str]:
    """Records of 400 bytes or so."""
    generator = random.Random(0)
    texts = [" ".join(generator.choices(_WORDS, k=24)) for _ in range(1000)]
    for number in range(count):
        question, answer, image = (generator.choice(some) for some in (texts, texts, pictures))
        if kind == "conversation":
            turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
            record = {"id": f"{number}", "image": image, "conversations": turns}
        else:
            said = {"question": question, "answer": "12", "meta": {"version": "text-only"}}
            shown = {"question": "", "answer": "12", "image": image, "meta": {"version": "vision-only"}}
            record = {"id": f"p{number}", "text_rich": said, "vision_rich": shown, "response": answer}
        yield json.dumps(record) + "\n"


def _problems(folder: Path, kind: str, count: int) -> Path:
    """Problems with photograph-like pictures as JPEG, or drawings as PNG."""
    (folder / "images").mkdir(parents=True)
    draws = np.random.default_rng(0)
    with (folder / "problems.jsonl").open("w") as file:
        for number in range(count):
            colours = draws.integers(0, 256, (21, 21, 3), dtype=np.uint8)
            how = Image.Resampling.BICUBIC if kind == "jpeg" else Image.Resampling.NEAREST
            picture = Image.fromarray(colours).resize((SIDE, SIDE), how)
            name = f"images/{number}.{kind}"
            picture.save(folder / name, **({"quality": 90} if kind == "jpeg" else {}))
            text = " ".join(_WORDS)
            file.write(
                json.dumps({"id": str(number), "question": text, "rationale": text, "image": name}) + "\n"
            )
    return folder / "problems.jsonl"


def _print(result: dict[str, Any]) -> None:
    for row in result["index"]:
        print(
            f"index of {row['entries']} {row['kind']}s: {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of"
            f" CPU (floors: read {row['read_cpu_seconds']:.1f}, JSON {row['json_cpu_seconds']:.1f}),"
            f" {row['peak_mb']:.0f} MB, and {row['largest_worker_mb']:.0f} MB the largest of its workers"
        )
    for row in result["loader"]["made"]:
        print(f"{row['pictures']:4} by {row['workers']} workers: {row['records_a_second']:7.0f} records/s")
    print(f"a step of the small model: {result['loader']['step_records_a_second']:.1f} records/s")
    for row in result["loader"]["together"]:
        print(
            f"  with {row['workers']} workers: {row['records_a_second']:.1f} records/s,"
            f" {row['waited_share']:.1%} of the time waiting"
        )
    for name, rate in result["most_records_a_second_of_an_h200"].items():
        print(f"LLaVA 7B, {name}: an H200 takes no more than {rate:.0f} records/s")
