"""One door to every source: a path in, records out.

for record in scan(Path("problems.jsonl")): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample, scan_samples
from vkit.sources.geometry3k import is_geometry3k, scan_geometry3k


def scan(path: Path) -> Iterator[Sample | BadRecord]:
    """The records of a JSON Lines file or of an official folder, the bad ones as `BadRecord`.

    Raises:
        VkitError: nothing is there, or it is no source that vkit knows.
    """
    if not path.exists():
        raise VkitError(f"{path} does not exist; give a JSON Lines file or a Geometry3K folder")
    if path.is_file():
        return scan_samples(path)
    if is_geometry3k(path):
        return scan_geometry3k(path)
    raise VkitError(f"{path} is no folder that vkit knows; give a JSON Lines file or a Geometry3K folder")
