"""What the page of a large run costs: to write, to open in a real browser, to walk through.

    python -m benchmarks page                                     # 500 answers of 512 tokens, a minute
    python -m benchmarks page --items 100 --json page.json

The run is made up: 27 x 27 patches, 32 layers of 32 heads, every token its own attention. Chromium opens the
page from the disk, as people do; its memory is the proportional share (PSS) of all its processes, which
counts what they share once. An empty one takes 350 MiB of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import environment, print_environment, write_result
from vkit.report.page import write_page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # the browser and the made-up run
from browser import Browser, missing_browser
from fake_run import draw_triangle, fake_item, grid_boxes, split, write_details, write_items, write_maps

TARGETS = {"mib_an_item": 0.8, "open_s": 2.0, "memory_mib": 500}
WALK = 60  # items
SENTENCES = "Since AB = AC, the base angles are equal. Step 1: 2x + 40 = 180.\nStep 2: So x = 70.\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args(arguments)
    if missing := missing_browser():
        sys.exit(f"benchmarks page: {missing}")
    found = environment()
    print_environment(found)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        make_run(run, options.items, options.tokens)
        result = {"environment": found, "items": options.items, "tokens": options.tokens, "targets": TARGETS}
        result |= measure(run)
    for name, value in result.items():
        if name not in ("environment", "targets"):
            print(f"{name:>24}  {value}" + (f"  (target {TARGETS[name]})" if name in TARGETS else ""))
    if options.json:
        write_result(options.json, result)


def make_run(folder: Path, items: int, tokens: int) -> None:
    for part in ("images", "maps", "details"):
        (folder / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    pieces = (split(SENTENCES) * (tokens // len(split(SENTENCES)) + 1))[:tokens]
    picture, boxes, written = draw_triangle(), grid_boxes(27), []
    for index in range(items):
        name = f"{index:04d}"
        files = {"image": f"images/{name}.png", "maps": f"maps/{name}.npz", "details": f"details/{name}.npz"}
        item = fake_item(random, name, pieces, correct=bool(random.random() < 0.4), **files)
        picture.putpixel((index % 800, index // 800), (255, 0, 0))  # no two pictures are the same
        picture.save(folder / files["image"])
        write_maps(folder / files["maps"], random, tokens, boxes)
        write_details(folder / files["details"], random, tokens, layers=32, heads=32, columns=len(boxes))
        written.append({**item, "image_columns": len(boxes), "text_columns": 40})
    write_items(folder, written)
    summary = {"model": "made up", "items": items, "accuracy": 0.4, "limits": "", "random_weights": False}
    summary["ratio"] = {"mean": 0.5, "sum": 256.0, "max": 1.0}
    (folder / "summary.json").write_text(json.dumps(summary))


def measure(run: Path) -> dict[str, Any]:
    start = time.perf_counter()
    page = write_page(run, single_file=False)
    result: dict[str, Any] = {"write_s": time.perf_counter() - start}
    assert page.files is not None
    sizes = [path.stat().st_size / 2**20 for path in page.files.iterdir()]
    result |= {"mib_an_item": max(sizes), "page_mib": page.path.stat().st_size / 2**20}
    with Browser() as browser:
        browser.emulate(width=1440, height=900)
        browser.open("about:blank")
        result["empty_memory_mib"] = memory_mib(browser)
        start = time.perf_counter()
        browser.open(page.path.as_uri())
        browser.run("return new Promise(requestAnimationFrame).then(() => true)")  # it is painted
        result |= {"open_s": time.perf_counter() - start, "opened_memory_mib": memory_mib(browser)}
        browser.click("#tab-items")
        browser.click("#items tbody tr:first-child a")
        browser.wait_for("state.item")
        start, highest = time.perf_counter(), 0.0
        for index in range(1, WALK + 1):
            browser.press("j")
            browser.wait_for(f"state.item && state.item.id === '{index:04d}'")
            browser.run("return drawPicture().then(() => true)")
            if index == 1:
                result["item_memory_mib"] = memory_mib(browser)
            if index % 10 == 0:
                highest = max(highest, memory_mib(browser))
        result |= {"next_item_ms": 1000 * (time.perf_counter() - start) / WALK, "memory_mib": highest}
        start = time.perf_counter()
        for _ in range(50):
            browser.press("Right")
            browser.run("return drawPicture().then(() => true)")
        result["next_token_ms"] = 1000 * (time.perf_counter() - start) / 50
        result["collected_memory_mib"] = collected_mib(browser)
    return {name: float(f"{value:.4g}") for name, value in result.items()}


def collected_mib(browser: Browser) -> float:
    """What is left once Chromium has collected what the walk left behind, which it does late."""
    browser.devtools("HeapProfiler.collectGarbage")
    return memory_mib(browser)


def memory_mib(browser: Browser) -> float:
    """Proportional set size of all processes of a browser."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    total = 0
    for line in listed.splitlines():
        process, _, command = line.strip().partition(" ")
        if browser.profile in command:
            try:
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            except OSError:  # it ended meanwhile
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


if __name__ == "__main__":
    main()
