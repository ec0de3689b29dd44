"""A demo's report with figures made up, and its pictures: ``report = fake_report(tmp_path)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vkit.attention.names import SHARES
from vkit.synthesis.drawn import VERSIONS

SOLUTION = "35+72=107. 180-107=73. Answer: 73"
EXAMPLES = ("third angle", "angle on line", "right angle", "perimeter")


def fake_report(folder: Path) -> dict[str, Any]:
    """What `vkit.train.demo.run_demo` returns, with four examples and two problems in the attention panel."""
    random = np.random.default_rng(0)
    pictures = [str(_draw(folder / f"{i}.png", i)) for i in range(len(EXAMPLES))]
    return {
        "problems": 80,
        "pairs": 12_000,
        "seconds": {"data": 20.1, "stage 0": 25.0, "stages 1, 2, 3": 140.4, "attention": 3.2},
        "orders": [
            {
                "name": "1-2-3",
                "after": {
                    "1": evaluation(92.5, 1.25, 1.25, 0, 0),
                    "2": evaluation(8.75, 5, 7.5, 61.25, 62.5),
                    "3": evaluation(93.75, 92.5, 91.25, 87.5, 86.25),
                },
            },
            {"name": "1-3", "after": {"3": evaluation(93.75, 92.5, 83.75, 47.5, 45)}},
        ],
        "logs": {"stage1": [], "stage2": list(curve()), "stage3": []},
        "warnings": [],
        "examples": [example(name, picture) for name, picture in zip(EXAMPLES, pictures)],
        "attention": {
            "before": side(0.41, [0.3, 0.02, 0.12, 0.33, 0.03, 0.2])
            | {"page": "attention-before/index.html"},
            "after": side(0.93, [0.22, 0.02, 0.31, 0.21, 0.03, 0.21])
            | {"page": "attention-after/index.html"},
            "items": [attention_item(random, str(i), pictures[i]) for i in (0, 3)],
        },
        "model": "demo/stage3/model",
    }


def evaluation(*accuracies: float) -> dict[str, Any]:
    """Accuracies in the order of `VERSIONS`, as `vkit.evaluate.versions` reports them."""
    by_version = dict(zip(VERSIONS, map(float, accuracies)))
    text, vision = by_version["text-dominant"], by_version["vision-only"]
    return {
        "accuracy": {**by_version, "all": sum(accuracies) / len(accuracies)},
        "count": dict.fromkeys(VERSIONS, 80),
        "gap_percent": 100 * (text - vision) / vision if vision else None,
    }


def curve():
    for step in range(3, 451, 3):
        kl = 0.0005 + 2.2 * np.exp(-step / 60) + 0.05 * np.exp(-((step - 40) ** 2) / 800)
        yield {
            "step": step,
            "loss": 0.1 + 3 * np.exp(-step / 80),
            "kl_weak_strong": float(kl * (1 + 0.2 * np.sin(step))),
            "kl_strong_weak": float(1.7 * kl * (1 + 0.2 * np.cos(step))),
            "cross_entropy": float(0.08 + 3 * np.exp(-step / 80) * (1 + 0.1 * np.sin(2 * step))),
        }


def example(name: str, picture: str, **more: Any) -> dict[str, Any]:
    outputs = {
        "after stage 1": "10+10=20. 180-20=160. Answer: 160",
        "after stage 2": "35+72=107. 180-107=73. Answer: 73",
        "1-2-3": "35+72=107. 180-107=73. Answer: 73",
        "1-3": "35+12=47. 180-47=133. Answer: 133",
    }
    correct = {name: output.endswith(" 73") for name, output in outputs.items()}
    record = {"id": f"{name}/vision-only", "version": "vision-only", "question": "Find what is asked."}
    return {**record, "picture": picture, "answer": "73", "outputs": outputs, "correct": correct, **more}


def side(ratio: float, shares: list[float]) -> dict[str, Any]:
    return {"ratio": ratio, "shares": dict(zip(SHARES, shares))}


def attention_item(random: np.random.Generator, name: str, picture: str) -> dict[str, Any]:
    tokens = list(SOLUTION)
    before = 0.1 * random.dirichlet(np.full(16, 0.6), size=len(tokens))
    after = 0.3 * random.dirichlet(np.full(16, 0.25), size=len(tokens))
    item = {"id": name, "picture": picture, "tokens": tokens, "grid": [4, 4]}
    for key, maps in (("before", before), ("after", after)):
        ratio = [round(float(value), 4) for value in 3 * maps.sum(1) * random.uniform(0.5, 1.5, len(tokens))]
        item[key] = {"ratio": ratio, "maps": maps.round(5).tolist()}
    item["before"]["ratio"][1] = None
    return item


def _draw(path: Path, place: int) -> Path:
    image = Image.new("L", (64, 64), 255)
    draw = ImageDraw.Draw(image)
    corners = [(6, 56), (58, 56), (20 + 8 * place, 8)]
    draw.polygon(corners, outline=120)
    draw.text((12, 42), "35", fill=0)
    draw.text((40, 42), "72", fill=0)
    draw.text((20 + 6 * place, 18), "?", fill=0)
    image.save(path)
    return path
