"""SMART-101 as SmarterVLM learns it: the rows of a split, and batches of their features.

data = open_smart(Path("SMART101-Data"), SMART_RECIPES["paper"])
features = FeatureCache.build(data.items, backbones, Path("features"), tokens=False)
batch = data.batch(features, data.parts["train"][:128])          # a SmartBatch
for batch in prefetch(lambda places: data.batch(features, places), chunks, workers=2): ...
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from vkit.errors import VkitError
from vkit.models.backbones_text import TextBackbone
from vkit.models.protocol import IGNORE_INDEX
from vkit.models.smarter import SmartBatch
from vkit.sources.smart101 import PARTS, SmartItem, scan_smart101, split_of
from vkit.sources.smart101_answers import classes
from vkit.sources.smart101_puzzles import SEQUENCE_PUZZLES, SEQUENCE_STEPS
from vkit.train.data import Refused
from vkit.train.features import Features
from vkit.train.loader import prefetch as prefetch
from vkit.train.smart_recipe import SmartRecipe


class FeatureSource(Protocol):
    """Features of items by their places: a `FeatureCache` or `LiveFeatures`."""

    def batch(self, indices: Sequence[int]) -> Features: ...


@dataclass(frozen=True)
class SmartData:
    """The rows that a run uses.

    items: of all three parts, puzzle by puzzle. parts: of "train", "val" and "test" the places in ``items``.
    classes: of each puzzle's head, puzzles in order; over all rows of the puzzle, used or not.
    refused: bad rows that were left out.
    """

    items: list[SmartItem]
    parts: dict[str, list[int]]
    classes: dict[int, int]
    refused: list[Refused]

    @property
    def digest(self) -> str:
        """Of the rows, their options and their parts, so that a resumed run can tell a change."""
        digest = hashlib.sha256(json.dumps([self.parts, self.classes]).encode())
        for item in self.items:
            row = [item.id, item.question, item.image, item.answer, item.values]
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()[:16]

    def of(self, part: str) -> list[SmartItem]:
        """The items of a part."""
        return [self.items[place] for place in self.parts[part]]

    def batch(self, features: FeatureSource, places: Sequence[int]) -> SmartBatch:
        """Features and answers of the items at some places."""
        found = features.batch(places)
        head = {puzzle: number for number, puzzle in enumerate(self.classes)}
        items = [self.items[place] for place in places]
        nothing = (IGNORE_INDEX,) * SEQUENCE_STEPS
        return SmartBatch(
            pooled=found.pooled,
            patches=found.patches,
            text=found.text,
            text_mask=found.text_mask,
            puzzle=torch.tensor([head[item.puzzle] for item in items]),
            target=torch.tensor([t if isinstance(t := i.target, int) else IGNORE_INDEX for i in items]),
            sequence=torch.tensor([t if isinstance(t := i.target, tuple) else nothing for i in items]),
        )

    def without_long_questions(self, text: TextBackbone) -> SmartData:
        """The data without the questions that the text encoder refuses, which become ``refused``."""
        reasons: dict[str, str | None] = {}
        for item in self.items:
            if item.question not in reasons:
                reasons[item.question] = _reason(text, item.question)
        bad = [Refused(i.id, reason) for i in self.items if (reason := reasons[i.question]) is not None]
        if not bad:
            return self
        kept = {part: [i for i in self.of(part) if reasons[i.question] is None] for part in PARTS}
        return replace(_arranged(kept, self.classes), refused=[*self.refused, *bad])


def open_smart(folder: Path, recipe: SmartRecipe, *, skip_bad: bool = False) -> SmartData:
    """The rows of SMART-101 in ``folder`` that ``recipe`` uses, by part.

    Args:
        skip_bad: leave out bad rows, those with a broken picture among them, and list them in ``refused``.
            Without it a broken picture is told when its features are made.

    Raises:
        VkitError: the folder is no SMART-101's, a row is bad, or a part has no row.
    """
    items: list[SmartItem] = []
    refused: list[Refused] = []
    for found in scan_smart101(folder, pictures=skip_bad):
        if isinstance(found, SmartItem):
            items.append(found)
        elif not skip_bad:
            raise VkitError(f"{found}; --skip-bad leaves bad rows out, `vkit data check` lists them")
        else:
            refused.append(Refused(found.where, found.reason))
    parts = {part: split_of(items, part, split=recipe.split, rows=recipe.rows or None) for part in PARTS}
    used = {item.puzzle for chosen in parts.values() for item in chosen}
    by_puzzle: dict[int, list[SmartItem]] = {}
    for item in items:
        by_puzzle.setdefault(item.puzzle, []).append(item)
    counts = {puzzle: classes(puzzle, of_it) for puzzle, of_it in by_puzzle.items() if puzzle in used}
    return replace(_arranged(parts, counts), refused=refused)


def _arranged(parts: dict[str, list[SmartItem]], counts: dict[int, int]) -> SmartData:
    """The data of some parts: their items side by side. Raises `VkitError` where a part has none."""
    items: list[SmartItem] = []
    places: dict[str, list[int]] = {}
    for part, chosen in parts.items():
        if not chosen:
            raise VkitError(f"the {part} part has no good row; choose another split, or give more rows")
        places[part] = list(range(len(items), len(items) + len(chosen)))
        items += chosen
    return SmartData(items, places, counts, [])


def _reason(text: TextBackbone, question: str) -> str | None:
    """Why the text encoder refuses a question; None where it takes it."""
    try:
        text.length(question)
    except VkitError as error:
        return str(error)
    return None


def sequence_puzzles(data: SmartData) -> frozenset[int]:
    """The puzzles of the data whose answers are sequences."""
    return SEQUENCE_PUZZLES & frozenset(data.classes)
