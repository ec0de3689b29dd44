"""All targets, by name: ``TARGETS["samples"]``."""

from tests.fuzz import checkpoints, records, runs, texts
from tests.fuzz.registry import TARGETS, Target

__all__ = ["TARGETS", "Target", "checkpoints", "records", "runs", "texts"]
