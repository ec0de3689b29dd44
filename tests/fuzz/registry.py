"""How a target is announced, so that the runner and the tests find it.

@target("samples", "lines")
def samples(folder):            # prepares what stands around the input
    def run(data): ...          # reads one input: returns, or raises VkitError
    return run, seeds           # and inputs that are valid, to be damaged
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

# The function of bytes, and its seeds.
Prepared: TypeAlias = "tuple[Callable[[bytes], None], list[bytes]]"


@dataclass(frozen=True)
class Target:
    """prepare: makes the function in an empty folder. kind: of `tests.fuzz.mutations.KINDS`.

    seconds: that one input may take. share: of the examples that the ordinary suite tries.
    """

    name: str
    kind: str
    prepare: Callable[[Path], Prepared]
    seconds: float
    share: float


TARGETS: dict[str, Target] = {}


def target(
    name: str, kind: str, *, seconds: float = 5.0, share: float = 1.0
) -> Callable[[Callable[[Path], Prepared]], Callable[[Path], Prepared]]:
    """Put a function that prepares a target into `TARGETS`."""

    def register(prepare: Callable[[Path], Prepared]) -> Callable[[Path], Prepared]:
        TARGETS[name] = Target(name, kind, prepare, seconds, share)
        return prepare

    return register
