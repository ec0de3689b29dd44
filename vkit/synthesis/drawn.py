"""A synthesised problem in the form that is written to disk: its five versions, one answer.

    drawn.versions["vision-dominant"].text        # "Find the length of BC."
    drawn.versions["vision-dominant"].picture     # PNG

The versions carry the same information and differ in where it stands: Math-PUMA (Data Construction) draws
pairs from four of them, MathVerse evaluates on "text-lite" too. They are named from the most text to the
most picture, and that order tells which twin of a pair is the text-rich one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSIONS = ("text-only", "text-dominant", "text-lite", "vision-dominant", "vision-only")


@dataclass(frozen=True)
class Version:
    """What the user says (empty where the picture says it all) and the picture, PNG bytes or None."""

    text: str
    picture: bytes | None


@dataclass(frozen=True)
class Drawn:
    """A problem, ready to be written.

    key: the same for problems that differ in nothing that matters; a data set holds each key once.
    versions: one for each of `VERSIONS`.
    choices: options in order, empty for free-form questions; the same in all versions.
    answer: the letter of a choice, or the value as text.
    response: the worked solution, ending in "Answer: ..."; the same in all versions.
    meta: JSON values to keep beside (steps of the solution, allowed transforms, literals).
    """

    key: str
    family: str
    subject: str
    versions: Mapping[str, Version]
    choices: tuple[str, ...]
    answer: str
    response: str
    meta: dict[str, Any] = field(default_factory=dict)
