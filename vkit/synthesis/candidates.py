"""Draws candidates for a data set: each from its own random generator, so that any worker may draw any.

    plan = Recipe(seed=0, subjects=("plane",))
    candidate = draw_candidate(plan, "train", "plane", 12)
    candidate.drawn.family, candidate.names          # "sectors", ("text-only", "vision-only")

Candidate ``number`` of a lane (a subject) belongs to the lane's families in turn. A twentieth of all
problems, chosen by a hash of their numbers and not by the seed, is for testing only: no data set trains on
them.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache

from vkit.errors import VkitError
from vkit.synthesis import registry
from vkit.synthesis.drawn import VERSIONS, Drawn
from vkit.synthesis.figure import Rejected
from vkit.synthesis.pairs import check_pair, draw_pair
from vkit.synthesis.registry import Family
from vkit.synthesis.versions import draw_versions, problem_key

PRESETS = ("miniature",)
TEST_SHARE = 20  # one problem of so many is for testing
SMALLEST_PICTURE, LARGEST_PICTURE = 168, 1344  # pixels
_REJECTIONS = 500  # in a row: a family that never finds a good drawing is broken
_DRAWS = 3000  # of one candidate: a family with fewer problems may have none for testing


@dataclass(frozen=True)
class Recipe:
    """What decides which problems are drawn, and how.

    subjects: lanes of the data set, in turn. families: only these; empty: all of the subjects.
    size: side of the pictures, pixels. versions: of every pair; None draws two of the paper's
        four, or of those that the preset pairs.
    preset: "miniature" draws its own problems in its own size; subjects, families and size are left alone.
    """

    seed: int = 0
    subjects: tuple[str, ...] = registry.SUBJECTS
    families: tuple[str, ...] = ()
    size: int = 336
    versions: tuple[str, str] | None = None
    preset: str | None = None

    @property
    def lanes(self) -> tuple[str, ...]:
        """What takes turns."""
        return (self.preset,) if self.preset else self.subjects

    def families_of(self, lane: str) -> tuple[Family | None, ...]:
        """The families of a lane, in turn; None stands for those of a preset."""
        return (None,) if self.preset else _families_of(lane, self.families)

    def check(self) -> None:
        """Refuse what cannot be drawn. Raises `VkitError`."""
        if self.versions:
            check_pair(self.versions)
        if self.preset:
            if self.preset not in PRESETS:
                raise VkitError(f"there is no preset {self.preset!r}; known: {', '.join(PRESETS)}")
            if self.families or self.subjects != registry.SUBJECTS:
                raise VkitError(
                    f"preset {self.preset!r} has its own problems; leave subjects and families out"
                )
            return
        if not SMALLEST_PICTURE <= self.size <= LARGEST_PICTURE:
            raise VkitError(
                f"pictures of {self.size} pixels are not drawn; "
                f"choose {SMALLEST_PICTURE} to {LARGEST_PICTURE}"
            )
        if not self.subjects or len(set(self.subjects)) < len(self.subjects):
            raise VkitError(f"give each subject once: {', '.join(registry.SUBJECTS)}")
        known = {family.name for subject in self.subjects for family in registry.families(subject)}
        for name in self.families:
            if name not in known:
                raise VkitError(f"there is no family {name!r} here; known: {', '.join(sorted(known))}")
        for subject in self.subjects:
            if not self.families_of(subject):
                raise VkitError(f"none of the families is of subject {subject!r}; leave the subject out")


@dataclass(frozen=True)
class Candidate:
    """A drawn problem and the names of the versions that go to disk, text-richest first."""

    drawn: Drawn
    names: tuple[str, ...]


def draw_candidate(recipe: Recipe, split: str, lane: str, number: int) -> Candidate | None:
    """One candidate of ``split`` "train" (a pair of versions) or "test" (all five).

    None where the family seems to have no problem for this split.

    Raises:
        VkitError: the family rejects everything it draws.
    """
    rng = random.Random(f"{recipe.seed}/{split}/{lane}/{number}")
    names = VERSIONS if split == "test" else _twins(recipe, rng)
    families = recipe.families_of(lane)
    family = families[number % len(families)]
    if family is None:
        from vkit.synthesis import miniature

        return Candidate(miniature.draw(rng, split=split), tuple(names))
    rejections = 0
    for _ in range(_DRAWS):
        try:
            problem = family.draw(rng)
            if is_for_testing(problem_key(problem, family)) != (split == "test"):
                continue
            return Candidate(draw_versions(problem, family, rng, size=recipe.size, only=names), tuple(names))
        except Rejected as error:
            rejections += 1
            if rejections > _REJECTIONS:
                raise VkitError(
                    f"family {family.name!r} rejects all it draws ({error}); "
                    "choose a larger size or other families"
                ) from error
    return None


def _twins(recipe: Recipe, rng: random.Random) -> tuple[str, str]:
    """Names of the versions of a pair, the text-rich one first."""
    if recipe.versions:
        return recipe.versions
    if recipe.preset:
        from vkit.synthesis.miniature import TEXT_RICH, VISION_RICH

        return rng.choice(TEXT_RICH), rng.choice(VISION_RICH)
    return draw_pair(rng)


def is_for_testing(key: str) -> bool:
    """Whether a problem is kept for testing, by its numbers alone."""
    return int(digest(key), 16) % TEST_SHARE == 0


def digest(key: str) -> str:
    """A short name for a problem: the same for the same problem."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _families_of(lane: str, only: tuple[str, ...]) -> tuple[Family, ...]:
    return tuple(family for family in registry.families(lane) if not only or family.name in only)
