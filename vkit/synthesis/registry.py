"""The families of problems, found by name: a family draws one problem from a random generator.

    @family("angles at a point", "plane")
    def angles_at_a_point(rng: random.Random) -> Problem: ...

    families("plane")          # every family of plane geometry, by name

A family may raise `Rejected`; it is then asked again.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vkit.errors import VkitError
from vkit.synthesis.figure import Rejected
from vkit.synthesis.problem import Problem

SUBJECTS = ("plane", "solid", "functions")
_ATTEMPTS = 400  # of a form's numbers, in a row


@dataclass(frozen=True)
class Family:
    """A kind of problem: ``draw`` makes one, or raises `Rejected`."""

    name: str
    subject: str
    draw: Callable[[random.Random], Problem]


FAMILIES: dict[str, Family] = {}


def family(name: str, subject: str) -> Callable[[Callable[[random.Random], Problem]], Callable]:
    """Register a function as a family; names are unique over all subjects."""

    def register(draw: Callable[[random.Random], Problem]) -> Callable[[random.Random], Problem]:
        if subject not in SUBJECTS:
            raise ValueError(f"subject must be one of {', '.join(SUBJECTS)}, not {subject!r}")
        if name in FAMILIES:
            raise ValueError(f"there are two families {name!r}; rename one")
        FAMILIES[name] = Family(name, subject, draw)
        return draw

    return register


def families(subject: str) -> tuple[Family, ...]:
    """The families of a subject, by name.

    Raises:
        VkitError: the subject is not known.
    """
    if subject not in SUBJECTS:
        raise VkitError(f"there is no subject {subject!r}; known: {', '.join(SUBJECTS)}")
    importlib.import_module(f"vkit.synthesis.{subject}")
    return tuple(sorted((f for f in FAMILIES.values() if f.subject == subject), key=lambda f: f.name))


def subjects_of(names: Collection[str]) -> tuple[str, ...]:
    """The subjects that hold one of the named families; all where none of them does."""
    found = tuple(s for s in SUBJECTS if any(family.name in names for family in families(s))) if names else ()
    return found or SUBJECTS


def one_of(rng: random.Random, *forms: Callable[[random.Random], Problem]) -> Problem:
    """A problem of one of the forms, each as often as the others, however many numbers it rejects."""
    form = rng.choice(forms)
    for _ in range(_ATTEMPTS):
        try:
            return form(rng)
        except Rejected:
            continue
    raise Rejected(f"{form.__name__} rejects its numbers {_ATTEMPTS} times in a row")
