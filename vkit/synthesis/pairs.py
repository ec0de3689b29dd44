"""Two versions of a problem as a pair: Math-PUMA's pair constructor (Data Construction).

    names = draw_pair(rng)                                   # ("text-only", "vision-dominant")
    pair = to_pair("0-000012", drawn, names, {"text-only": None, "vision-dominant": "images/000/....png"})

Two of four versions are drawn; the one with more of its information in the picture is the vision-rich twin.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from vkit.errors import VkitError
from vkit.records import Pair, Sample
from vkit.synthesis.drawn import VERSIONS, Drawn

PAIRED = ("text-only", "text-dominant", "vision-dominant", "vision-only")  # the paper's four
_OF_BOTH = ("version", "subject", "family", "transforms", "problem")  # keys of meta


def draw_pair(rng: random.Random) -> tuple[str, str]:
    """Two different versions, the text-rich one first."""
    text_rich, vision_rich = sorted(rng.sample(PAIRED, 2), key=VERSIONS.index)
    return text_rich, vision_rich


def check_pair(names: tuple[str, str]) -> None:
    """Refuse what cannot be twins. Raises `VkitError`."""
    for name in names:
        if name not in VERSIONS:
            raise VkitError(f"there is no version {name!r}; known: {', '.join(VERSIONS)}")
    if VERSIONS.index(names[0]) >= VERSIONS.index(names[1]):
        raise VkitError(f"{names[0]} is not text-richer than {names[1]}; give the text-rich version first")


def to_pair(id: str, drawn: Drawn, names: tuple[str, str], images: Mapping[str, str | None]) -> Pair:
    """The pair of two versions of a problem; ``images``: the path of each version's picture.

    The steps of the solution stand in the text-rich twin's meta only, and the response only once.
    """
    text_rich, vision_rich = (to_sample(id, drawn, name, images[name]) for name in names)
    shared = {key: vision_rich.meta[key] for key in _OF_BOTH if key in vision_rich.meta}
    return Pair(
        id,
        replace(text_rich, rationale=None),
        replace(vision_rich, rationale=None, meta=shared),
        drawn.response,
    )


def to_sample(id: str, drawn: Drawn, name: str, image: str | None) -> Sample:
    """One version of a problem as a record."""
    return Sample(
        id=id,
        question=drawn.versions[name].text,
        choices=drawn.choices,
        answer=drawn.answer,
        image=image,
        rationale=drawn.response,
        meta={"version": name, "subject": drawn.subject, "family": drawn.family, **drawn.meta},
    )
