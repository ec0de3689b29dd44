"""Other views of a picture: scaled, stretched, its tones bent by gamma; never one that breaks the problem.

    picture, done = augment(image, random.Random(0), allowed="stretch")     # done: {"scale": 0.83, ...}
    copy = augment_sample(sample, random.Random("0/12/1"))

These are the transformations that Math-PUMA names (Data Construction, Data Augmentation). Which of them a
problem allows, its record says in ``meta["transforms"]``; one that says nothing is scaled evenly and no more.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

from PIL import Image

from vkit.errors import VkitError
from vkit.records import Sample

# What a record allows: "none" keeps the shape and size of all that is drawn, "similarity" its shape (a square
# stays a square, an angle keeps its size), "stretch" neither, as with labels alone or a sketch not to scale.
ALLOWED = ("none", "similarity", "stretch")

SCALE = (0.7, 1.3)
STRETCH = 1.25  # at most so much wider, or higher, than it was
GAMMA = 1.8  # and its inverse


def augment(
    image: Image.Image, rng: random.Random, allowed: str = "similarity"
) -> tuple[Image.Image, dict[str, float]]:
    """A view of an RGB picture, and what was done: "gamma", "scale", and "stretch" where it was allowed.

    gamma: each channel v (0 to 1) becomes v ** gamma, so that black and white stay; log-uniform.
    scale: of what is drawn. Smaller, it stands somewhere on paper of the old size; larger, the picture grows.
        Nothing is ever cut off.
    stretch: width over height, to what it was; log-uniform.

    Args:
        rng: the same state gives the same pixels.
        allowed: one of `ALLOWED`.

    >>> view, done = augment(Image.new("RGB", (100, 50), "white"), random.Random(0), allowed="none")
    >>> view.size, list(done)
    ((100, 50), ['gamma'])
    """
    if allowed not in ALLOWED:
        raise VkitError(f"transforms {allowed!r} are not known; give one of {', '.join(ALLOWED)}")
    done = {"gamma": round(GAMMA ** rng.uniform(-1, 1), 3)}
    image = image.convert("RGB")
    image = image.point([round(255 * (v / 255) ** done["gamma"]) for v in range(256)] * 3)
    if allowed == "none":
        return image, done
    done["scale"] = round(rng.uniform(*SCALE), 3)
    if allowed == "stretch":
        done["stretch"] = round(STRETCH ** rng.uniform(-1, 1), 3)
    wider = math.sqrt(done.get("stretch", 1.0))
    width = max(1, round(image.width * done["scale"] * wider))
    height = max(1, round(image.height * done["scale"] / wider))
    paper = Image.new("RGB", (max(image.width, width), max(image.height, height)), _paper(image))
    place = (rng.randint(0, paper.width - width), rng.randint(0, paper.height - height))
    paper.paste(image.resize((width, height), Image.Resampling.LANCZOS), place)
    return paper, done


def _paper(image: Image.Image) -> tuple[int, ...]:
    """The commonest colour along the picture's border."""
    right, bottom = image.width - 1, image.height - 1
    edges = [(0, 0, right + 1, 1), (0, bottom, right + 1, bottom + 1), (0, 0, 1, bottom + 1)]
    edges.append((right, 0, right + 1, bottom + 1))
    colours: Counter[Any] = Counter()
    for box in edges:
        edge = image.crop(box)
        for count, colour in edge.getcolors(edge.width * edge.height) or []:
            colours[colour] += count
    # of equally common ones the brightest: the same on every machine
    return max(colours, key=lambda colour: (colours[colour], colour))


def augment_sample(sample: Sample, rng: random.Random) -> tuple[Image.Image, dict[str, float]]:
    """`augment` of a record's picture, as far as its ``meta["transforms"]`` allows.

    Raises:
        VkitError: by id: it has no picture, the picture cannot be read, or what it allows is not known.
    """
    allowed = sample.meta.get("transforms", "similarity")
    if allowed not in ALLOWED:
        raise VkitError(
            f"record {sample.id!r}: meta 'transforms' is {allowed!r}; give one of {', '.join(ALLOWED)}"
        )
    return augment(sample.open_image(), rng, allowed)
