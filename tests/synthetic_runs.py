"""Writes run folders whose truth is known: what differs between two of them is exactly what was asked for.

    lengths = np.random.default_rng(0).integers(5, 60, size=40)
    write_run(tmp_path / "a", lengths, seed=1)
    write_run(tmp_path / "b", lengths * 4, seed=2)                 # differs in length only
    write_run(tmp_path / "c", lengths, seed=3, image_gain=1.5)     # looks more, at equal length

As in the study, V is flat and P falls with the position, so the ratio grows with it. Problem i has an effect
of its own, the same in every run, and each answer one more; noise is multiplicative, so differences are
skewed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.names import SHARES

IMAGE_COLUMNS, TEXT_COLUMNS, STORED = 100, 20, 4


def study_ratio(position: np.ndarray) -> np.ndarray:
    """0.2 at the first token, growing to 0.9."""
    return 0.2 + 0.7 * (1 - np.exp(-position / 60))


def write_run(
    folder: Path,
    lengths: Sequence[int] | np.ndarray,
    *,
    seed: int,
    ratio: Callable[[np.ndarray], np.ndarray] = study_ratio,
    image_gain: float = 1.0,
    text_gain: float = 1.0,
    sink_columns: Sequence[int] = (),
    sink_weight: float = 0.0,
    correct: Sequence[bool | None] | None = None,
    old: bool = False,
    change: Callable[[dict[str, Any]], None] = lambda item: None,
    **summary: Any,
) -> Path:
    """One run over problems "0", "1", ... with answers of ``lengths`` tokens.

    Args:
        ratio: V / P by position before gains, noise and effects of problem and answer.
        image_gain, text_gain: factors on V and on P.
        sink_columns, sink_weight: image columns that each draw this weight; the others share V as it was.
        correct: of each problem; all true when left out.
        old: as an older vkit wrote it, without columns and details.
        change: called on each item before it is written.
        summary: keys of summary.json.
    """
    (folder / "details").mkdir(parents=True)
    rng, problems = np.random.default_rng(seed), np.random.default_rng(99)
    items = []
    for index, tokens in enumerate(lengths):
        effect = np.exp(0.3 * problems.standard_normal() + 0.1 * rng.standard_normal())
        noise = np.exp(0.2 * rng.standard_normal(tokens))
        image = np.full(tokens, 1e-3) * image_gain * effect * noise
        text = 1e-3 / ratio(np.arange(tokens)) * text_gain
        others = IMAGE_COLUMNS - len(sink_columns)
        image = (others * image + len(sink_columns) * sink_weight) / IMAGE_COLUMNS
        columns = [*sink_columns, *(c for c in range(50, 60) if c not in sink_columns)][:STORED]
        attention = np.where(np.isin(columns, sink_columns), sink_weight, 1e-3) * np.ones((tokens, 1))
        item = _item(str(index), image, text, None if tokens == 0 else not correct or correct[index])
        item["correct"] = item["correct"] if tokens else False
        if not old:
            item |= {"image_columns": IMAGE_COLUMNS, "text_columns": TEXT_COLUMNS, "first_column": None}
            item["details"] = f"details/{index}.npz" if tokens else None
            np.savez(
                folder / "details" / f"{index}.npz",
                head_share=np.full((2, 3), 0.1, dtype=np.float32),
                layer_share=np.full((tokens, 2), 0.1, dtype=np.float32),
                columns=np.array(columns, dtype=np.int32),
                column_attention=attention.astype(np.float32),
            )
        change(item)
        items.append(item)
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    defaults = {"model": "synthetic", "adapter": None, "prompt": "cot", "text": None, "random_weights": False}
    figures = {
        "items": len(items),
        "accuracy": None,
        "ratio": dict.fromkeys(("mean", "sum", "max")),
        "limits": "",
    }
    (folder / "summary.json").write_text(json.dumps({**defaults, **figures, **summary}))
    return folder


def _item(name: str, image: np.ndarray, text: np.ndarray, correct: bool | None) -> dict[str, Any]:
    ratio = image / text
    whole = {"first_token": 0.13, "before_image": 0.02, "prompt_rest": 0.05}
    shares = {key: np.full(len(image), value) for key, value in whole.items()}
    shares |= {"image": image * IMAGE_COLUMNS, "question": text * TEXT_COLUMNS}
    shares["generated"] = 1 - sum(shares.values())
    reduced = {key: float(getattr(np, key)(ratio)) for key in ("mean", "sum", "max")} if len(ratio) else None
    return {
        "id": name,
        "question": f"Find x{name}.",
        "choices": ["1", "2"],
        "answer": "B",
        "extracted": "B",
        "correct": correct,
        "image": None,
        "output_tokens": [f" w{j}" for j in range(len(image))],
        "V": image.tolist(),
        "P": text.tolist(),
        "ratio": ratio.tolist(),
        "reduced": reduced,
        "shares": {key: shares[key].tolist() for key in SHARES} if len(ratio) else {},
        "span_policy": "study",
        "row_convention": "predicting",
    }
