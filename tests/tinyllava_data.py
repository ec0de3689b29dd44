"""A TinyLLaVA checkpoint that the official code wrote, and what that code computes with it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vkit.models.protocol import Picture, Request, Text

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "tinyllava-tiny"

needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the official code's recordings (../shared/data/tinyllava-tiny) are not here"
)


@dataclass
class Recording:
    """values: from expected.json; arrays: from the .npz file beside it."""

    values: dict
    arrays: dict

    @property
    def request(self) -> Request:
        # The pictures were not kept, but they are the pixel values turned back, at the size they were fed in.
        pixels = self.arrays["pixel_values"][0].transpose(1, 2, 0) / 2 + 0.5
        image = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
        return Request(self.values["pid"], (Picture(image), Text(self.values["question"], question=True)))


def recordings() -> list[Recording]:
    if not FOLDER.is_dir():
        return []
    values = json.loads((FOLDER / "expected.json").read_text())
    return [Recording(v, dict(np.load(FOLDER / f"expected_{v['pid']}.npz"))) for v in values]
