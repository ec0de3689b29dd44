"""Which sides of a record a recipe learns from: said when the files are indexed, used when they are read.

    choose = sides_of(SftRecipe(twins="both"))
    choose(pair)                                          # [TEXT_RICH, VISION_RICH]

Brings no torch, so that a process that only indexes starts at once and stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vkit.errors import VkitError
from vkit.records import Pair, Sample
from vkit.train.recipes import AlignRecipe, SftRecipe

COMPLETE_TEXTS = ("text-only", "text-dominant")  # versions whose text says everything
WHOLE, TEXT_RICH, TEXT_ALONE, VISION_RICH = range(4)

_INCOMPLETE = "whose text-rich twin's text is not complete"


def sides_of(recipe: SftRecipe | AlignRecipe) -> Callable[[Any], list[int] | str]:
    """What a record gives the recipe: its sides, or why it is of no use.

    Raises (what is returned):
        VkitError: the record has nothing to learn, though it should have.
    """
    return _align_sides(recipe) if isinstance(recipe, AlignRecipe) else _sft_sides(recipe)


def text_is_complete(sample: Sample) -> bool:
    """Whether the text alone says everything, so that the picture may be dropped."""
    return sample.image is None or sample.meta.get("version") in COMPLETE_TEXTS


def target_of(sample: Sample, recipe: SftRecipe) -> str:
    """What is learned of a sample. Raises `VkitError` where it has none."""
    target = sample.rationale if recipe.target == "rationale" else sample.answer
    if target is None or not target.strip():
        raise VkitError(f"has no {recipe.target} to learn; add it, or set target to what it has")
    return target


def _align_sides(recipe: AlignRecipe) -> Callable[[Pair], list[int] | str]:
    def sides(pair: Pair) -> list[int] | str:
        if recipe.strong == "text-only" and not text_is_complete(pair.text_rich):
            return _INCOMPLETE
        return [WHOLE]

    return sides


def _sft_sides(recipe: SftRecipe) -> Callable[[Any], list[int] | str]:
    def sides(record: Any) -> list[int] | str:
        if isinstance(record, Sample):
            target_of(record, recipe)
        if not isinstance(record, Pair):
            return [WHOLE]
        if recipe.target == "answer" and record.text_rich.answer is None:
            raise VkitError("has no answer to learn; add it or use target=rationale")
        if recipe.twins == "text":
            return [TEXT_ALONE] if text_is_complete(record.text_rich) else _INCOMPLETE
        return [VISION_RICH] if recipe.twins == "vision" else [TEXT_RICH, VISION_RICH]

    return sides
