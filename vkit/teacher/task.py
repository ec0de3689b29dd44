"""One thing to ask a teacher: its words, a key that tells it apart, and what it may cost.

settings = Settings(model="gpt-4o", max_tokens=1024)
task = make_task(sample, "What does this picture show?", "", settings)
task.key                                    # the same for the same words, picture and model
task.picture_url()                          # the picture as a data URL
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vkit.images import open_image, png_bytes, resolve_inside
from vkit.records import Sample

_ROTATED = 0x0112  # EXIF orientation


@dataclass(frozen=True)
class Settings:
    """How a teacher is asked.

    model: its name at the endpoint.
    max_tokens: where an answer is cut off. Not part of a task's key: a higher limit, to have the answers
        whole that were cut short, does not ask for the others again.
    temperature: None leaves it to the endpoint.
    image_tokens: what a picture counts in an estimate; None counts as GPT-4o does.
    """

    model: str
    max_tokens: int = 1024
    temperature: float | None = None
    image_tokens: int | None = None


@dataclass(frozen=True)
class Task:
    """One question to a teacher, about one problem.

    key: names the request by its content.
    before, after: the words around the picture.
    picture: its file, None without.
    picture_digest: of the file's bytes.
    input_tokens: at most so many, see `make_task`; picture_tokens: those of the picture among them.
    """

    sample: Sample
    key: str
    before: str
    after: str
    picture: Path | None
    picture_digest: str
    input_tokens: int
    picture_tokens: int = 0

    def picture_url(self) -> str:
        """The picture as a data URL: a JPEG as it is, everything else as vkit sees it, in PNG."""
        assert self.picture is not None
        with Image.open(self.picture) as file:
            as_it_is = file.format == "JPEG" and file.mode in ("L", "RGB")
            as_it_is = as_it_is and file.getexif().get(_ROTATED, 1) == 1
        data = self.picture.read_bytes() if as_it_is else png_bytes(open_image(self.picture))
        return f"data:image/{'jpeg' if as_it_is else 'png'};base64,{base64.b64encode(data).decode()}"


def make_task(
    sample: Sample, before: str, after: str, settings: Settings, *, like: Task | None = None
) -> Task:
    """What is asked about one problem, its picture between ``before`` and ``after``; the picture is opened.

    ``input_tokens`` is an upper bound for the text, one token a byte; for a picture it is what GPT-4o counts,
    or ``settings.image_tokens``.

    Args:
        like: an earlier task about the same picture under the same settings, which is then not opened again.

    Raises:
        VkitError: the picture cannot be read.
    """
    tokens = len((before + after).encode()) + 16  # what stands around a message
    picture, digest, picture_tokens = None, "", 0
    if like is not None:
        picture, digest, picture_tokens = like.picture, like.picture_digest, like.picture_tokens
    elif sample.image is not None:
        size = sample.open_image().size  # also refuses what cannot be read, before anything is paid
        picture = resolve_inside(sample.folder, sample.image)
        digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        counted = settings.image_tokens
        picture_tokens = gpt_4o_image_tokens(*size) if counted is None else counted
    content = [settings.model, settings.temperature, before, after, digest]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
    return Task(sample, key, before, after, picture, digest, tokens + picture_tokens, picture_tokens)


def gpt_4o_image_tokens(width: int, height: int) -> int:
    """What GPT-4o counts for a picture: 85, and 170 for each tile of 512 x 512 pixels.

    Before it is cut into tiles it is scaled down to 2048 x 2048, and its shorter side to 768.

    >>> gpt_4o_image_tokens(250, 251), gpt_4o_image_tokens(1024, 1024)
    (255, 765)
    """
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return 85 + 170 * math.ceil(width * scale / 512 - 1e-9) * math.ceil(height * scale / 512 - 1e-9)
