"""A small run folder as ``vkit attn-ratio`` leaves it, with figures made up and texts that mean harm.

folder = write_fake_run(tmp_path / "run")
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vkit.attention.run_folder import SHARES

HOSTILE = (
    '</script><img src=x onerror="document.title=1">&amp;<!--<b>\u2028\u2029\u202eevil\u200f\ud800\0 {{data}}'
)
LONG_WORD = "w" * 10_000
SOLUTION = (
    "Since AB = AC, triangle ABC is isosceles, so the base angles at B and C are equal.\n"
    "Step 1: The angles of a triangle add up to 180°, hence 2x + 40 = 180.\n"
    "Step 2: Solving for x gives 2x = 140, so x = 70.\n\nThe answer is B."
)


def write_fake_run(folder: Path) -> Path:
    """A triangle, a hostile text without a picture, 512 tokens, a picture without maps, no answer."""
    (folder / "images").mkdir(parents=True)
    (folder / "maps").mkdir()
    random = np.random.default_rng(0)
    pieces = split(SOLUTION)
    items = [
        fake_item(random, "11", pieces, image="images/11.png", maps="maps/11.npz"),
        fake_item(
            random,
            "12<b>&",
            [HOSTILE, "", " \u05d0\u05d1", LONG_WORD, "\n\n", " 三角形", "<|endoftext|>"],
            question=HOSTILE + LONG_WORD,
            choices=[HOSTILE, ""],
            extracted=HOSTILE,
            correct=None,
        ),
        fake_item(
            random,
            "13",
            (pieces * 10)[:512],
            image="images/13.png",
            maps="maps/13.npz",
            correct=False,
            extracted="A",
        ),
        fake_item(random, "14", pieces[:7], image="images/14.png", correct=None, extracted=None),
    ]
    items.append(fake_item(random, "15", [], image="images/14.png", correct=False, extracted=None))
    items[0]["ratio"][3] = None
    items[0]["reduced"] = None  # an answer with an undefined token has no ratio
    draw_triangle().save(folder / "images" / "11.png")
    draw_triangle().resize((720, 540)).save(folder / "images" / "13.png")
    draw_triangle().resize((320, 240)).save(folder / "images" / "14.png")
    (folder / "details").mkdir()
    for item, boxes in ((items[0], grid_boxes(27)), (items[2], tile_boxes())):
        tokens = len(item["output_tokens"])
        write_maps(folder / item["maps"], random, tokens, boxes)
        item.update(details=f"details/{item['id']}.npz", image_columns=len(boxes), text_columns=40)
        write_details(folder / item["details"], random, tokens, layers=32, heads=32, columns=len(boxes))
    write_items(folder, items)
    summary = {
        "model": "tiny-llava <preset>",
        "items": len(items),
        "accuracy": 0.5,
        "ratio": {"mean": 0.41256, "sum": 61.2, "max": 1.9},
        "random_weights": True,
        "prompt": "cot",
        "spans": "question",
        "rows": "predicting",
        "max_new_tokens": 512,
        "limits": "It grows with <position>.",
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def fake_item(
    random: np.random.Generator,
    name: str,
    pieces: list[str],
    *,
    question: str = "In triangle ABC, AB = AC and the angle at A is 40°. Find the measure of the angle at B.",
    choices: list[str] | None = None,
    extracted: str | None = "B",
    correct: bool | None = True,
    **files: str,
) -> dict[str, Any]:
    """An item whose ratio grows with position, as in the study, since P falls faster than V."""
    position = np.arange(len(pieces))
    image_mean = 1.6e-4 * np.exp(-position / 3000) * np.exp(0.25 * random.standard_normal(len(pieces)))
    text_mean = 8e-4 * np.exp(-position / 90) * np.exp(0.15 * random.standard_normal(len(pieces))) + 1e-4
    ratio = image_mean / text_mean
    shares = random.dirichlet([3, 1, 4, 4, 1, 5], size=len(pieces))
    return {
        "id": name,
        "model": "tiny-llava",
        "question": question,
        "choices": ["40", "70", "100", "140"] if choices is None else choices,
        "answer": "B",
        "extracted": extracted,
        "correct": correct,
        "image": None,
        "output_text": "".join(pieces),
        "output_tokens": pieces,
        "V": image_mean.tolist(),
        "P": text_mean.tolist(),
        "ratio": ratio.tolist(),
        "reduced": {"mean": ratio.mean(), "sum": ratio.sum(), "max": ratio.max()} if pieces else None,
        "shares": {key: shares[:, k].tolist() for k, key in enumerate(SHARES)} if pieces else {},
        "span_policy": "question",
        "row_convention": "predicting",
        **files,
    }


def write_items(folder: Path, items: list[dict[str, Any]]) -> None:
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))


def write_maps(path: Path, random: np.random.Generator, tokens: int, boxes: np.ndarray) -> None:
    """Attention that wanders over the picture, with a few sinks that always draw it."""
    centres = np.nan_to_num((boxes[:, :2] + boxes[:, 2:]) / 2)
    at = 0.5 + 0.35 * np.stack([np.cos(np.arange(tokens) / 5), np.sin(np.arange(tokens) / 7)], axis=1)
    near = np.exp(-((centres[None] - at[:, None]) ** 2).sum(-1) / 0.01)  # (tokens, columns)
    attention = 2e-4 * near + 2e-5 * random.random((tokens, len(boxes)))
    attention[:, :: len(boxes) // 5] += 3e-4
    scale = attention.max(axis=1, keepdims=True)
    weights = np.rint(255 * np.sqrt(attention / scale)).astype(np.uint8)
    np.savez(path, weights=weights, scale=scale[:, 0].astype(np.float32), boxes=boxes.astype(np.float32))


def write_details(
    path: Path, random: np.random.Generator, tokens: int, *, layers: int, heads: int, columns: int
) -> None:
    """Heads that differ: most look little at the picture, a few of the middle layers look much."""
    depth = np.sin(np.pi * np.arange(layers) / layers)[:, None]
    head_share = 0.9 * depth * random.beta(0.4, 2.0, (layers, heads))
    layer_share = head_share.mean(1) * np.exp(0.2 * random.standard_normal((tokens, layers)))
    np.savez(
        path,
        head_share=head_share.astype(np.float32),
        layer_share=layer_share.clip(0, 1).astype(np.float32),
        columns=np.arange(0, columns, columns // 5, dtype=np.int32),
        column_attention=np.full((tokens, len(range(0, columns, columns // 5))), 3e-4, np.float32),
    )


def grid_boxes(side: int) -> np.ndarray:
    """``side * side`` equal boxes over a picture that was padded at top and bottom to a square of 4:3."""
    row, column = np.divmod(np.arange(side * side), side)
    edges = np.stack([column, row, column + 1, row + 1], axis=1) / side
    return edges * (1, 4 / 3, 1, 4 / 3) - (0, 1 / 6, 0, 1 / 6)


def tile_boxes() -> np.ndarray:
    """A coarse grid and a fine one over the whole picture, and a column that has no place."""
    whole, tiles = np.clip(grid_boxes(12), 0, 1), np.clip(grid_boxes(24), 0, 1)
    both = np.concatenate([whole, tiles])
    both = both[both[:, 3] - both[:, 1] > 1e-3]
    return np.concatenate([both, np.full((1, 4), np.nan)])


def draw_triangle() -> Image.Image:
    picture = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(picture)
    corners = {"A": (400, 80), "B": (210, 520), "C": (590, 520)}
    draw.polygon(list(corners.values()), outline="black", width=5)
    for name, (x, y) in corners.items():
        draw.text((x, y + (40 if y > 300 else -40)), name, fill="black", font_size=40, anchor="mm")
    draw.text((400, 190), "40°", fill="black", font_size=34, anchor="mm")
    draw.text((265, 480), "x°", fill="black", font_size=34, anchor="mm")
    return picture


def split(text: str) -> list[str]:
    """Word-like pieces that join to the text again."""
    return re.findall(r"\n| ?\w+| ?[^\w\s]+|\s", text)
