"""Math-PUMA's own pairs (Zhuang et al. 2025, stage 2): a JSON array, or JSON Lines, of

    {"image_url": "a.png", "instruction": "In triangle ABC ...", "output": "...",   text-rich, strong
     "image_url_2": "b.png", "instruction_2": "Find x.", "output_2": "..."}         vision-rich, weak

    pictures = in_place(images=Path("puma/images"), folder=Path("puma"))
    write_samples(Path("puma/pairs.jsonl"), only_good(scan_math_puma(Path("puma/release.json"), pictures)))

The two outputs have to be the same: the divergence is taken token by token. Large files are streamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.jsonl import parse_object, refuse_half_characters, text_lines, write_bytes
from vkit.records import BadRecord, Pair, Sample, record_id
from vkit.sources.json_array import array_items, is_array
from vkit.sources.llava import IMAGE_TAG, split_at_tag

KEYS = ("image_url", "instruction", "output", "image_url_2", "instruction_2", "output_2")

# From an image path of the release to that of the written record; raises VkitError where there is no picture.
Pictures = Callable[[str], str]


def scan_math_puma(path: Path, pictures: Pictures) -> Iterator[Pair | BadRecord]:
    """Every pair of the release's file in order, the bad ones as `BadRecord`.

    A record without an ``id`` is called by its place, from 1. Keys that are not Math-PUMA's go into ``meta``
    of both twins; one that looks like a misspelt key of the format is refused.

    path: the release's file.
    pictures: finds each record's pictures; `in_place` or `copied`.

    Raises:
        VkitError: the file is missing, is no text, holds no record, or is a JSON array that is broken.
    """
    seen: set[str] = set()
    number = 0
    for number, (where, record) in enumerate(_records(path), 1):
        try:
            if isinstance(record, VkitError):
                raise record
            pair = _pair(record, number, pictures)
            if pair.id in seen:
                raise VkitError(f"id {pair.id!r} stands twice; make ids unique")
        except VkitError as error:
            yield BadRecord(where, str(error))
        else:
            seen.add(pair.id)
            yield pair
    if number == 0:
        raise VkitError(f"{path} holds no records; check the file")


def in_place(images: Path, folder: Path) -> Pictures:
    """Pictures stay in ``images``, which lies inside ``folder``, where the written file will be.

    Raises:
        VkitError: ``images`` is no folder, or lies outside ``folder``, where no record may name a picture.
    """
    root = os.path.realpath(folder)
    if os.path.commonpath([root, _folder(images)]) != root:
        raise VkitError(
            f"images {images} lie outside {folder}, and records name no picture outside their folder;"
            " write the file into a folder that holds them, or copy them (--copy-images)"
        )
    return lambda name: Path(os.path.relpath(_picture(images, name), root)).as_posix()


def copied(images: Path, folder: Path) -> Pictures:
    """Pictures are copied from ``images`` to ``folder``/images, each complete or not at all.

    A picture that is there already is kept, so that a run that was broken off goes on.

    Raises:
        VkitError: ``images`` is no folder; later, a file with other content is in a picture's place.
    """
    root = _folder(images)

    def copy(name: str) -> str:
        source = _picture(images, name)
        place = Path("images", os.path.relpath(source, root))
        target, data = folder / place, source.read_bytes()
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, data)
        elif target.read_bytes() != data:
            raise VkitError(f"{target} is there and differs from {source}; choose another folder")
        return place.as_posix()

    return copy


def _folder(images: Path) -> str:
    if not images.is_dir():
        raise VkitError(f"{images} is not a folder; give the folder where the records' image paths start")
    return os.path.realpath(images)


def _picture(images: Path, name: str) -> Path:
    path = resolve_inside(images, name)
    if not os.path.isfile(path):  # a name too long for the disk is missing too
        raise VkitError(f"image {name!r} is missing in {images}; check the path")
    return path


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each record stands, and the record; an error in its place where a line is no JSON."""
    if is_array(path):
        for number, item in array_items(path):
            yield f"{path}, item {number}", item
        return
    for number, line in text_lines(path):
        try:
            yield f"{path}:{number}", parse_object(line)
        except VkitError as error:
            yield f"{path}:{number}", error


def _pair(record: Any, number: int, pictures: Pictures) -> Pair:
    if not isinstance(record, dict):
        raise VkitError(f"not an object but {type(record).__name__}; take the file from the release")
    refuse_half_characters(record)
    name = record_id(record) if "id" in record else str(number)
    try:
        text_rich, vision_rich = _side(record, ""), _side(record, "_2")
        response = _response(record)
        if vision_rich[1] is None:
            raise VkitError("'image_url_2' is missing or empty; the vision-rich twin needs its picture")
        if not text_rich[0]:
            raise VkitError("'instruction' is empty; the text-rich twin needs its text")
        meta = {"source": "math-puma", **_other_keys(record)}
        twins = [
            Sample(name, text, image=None if image is None else pictures(image), meta=meta)
            for text, image in (text_rich, vision_rich)
        ]
    except VkitError as error:
        raise VkitError(f"record {name!r}: {error}") from error
    return Pair(name, twins[0], twins[1], response)


def _side(record: dict[str, Any], suffix: str) -> tuple[str, str | None]:
    """Text and image path of one twin; the release writes no picture as an empty path, or not at all."""
    text, image = record.get(f"instruction{suffix}"), record.get(f"image_url{suffix}")
    if not isinstance(text, str):
        raise VkitError(f"'instruction{suffix}' must be text, not {json.dumps(text)[:40]}")
    if image is not None and not isinstance(image, str):
        raise VkitError(f"'image_url{suffix}' must be a path, not {json.dumps(image)[:40]}")
    tags = text.count(IMAGE_TAG)
    if tags > bool(image):
        raise VkitError(
            f"'instruction{suffix}' holds {IMAGE_TAG} {tags} times, but 'image_url{suffix}' names"
            f" {'one picture' if image else 'none'}; make them agree"
        )
    return "".join(split_at_tag(text)).strip(), image or None


def _response(record: dict[str, Any]) -> str:
    outputs = []
    for key in ("output", "output_2"):
        value = record.get(key)
        if not isinstance(value, str) or not value.strip():
            raise VkitError(f"{key!r} must be text that is not empty")
        if IMAGE_TAG in value:
            raise VkitError(f"{key!r} holds {IMAGE_TAG}, but a response has no picture; take it out")
        outputs.append(value)
    one, other = outputs
    if one != other:
        differing = (i for i, (a, b) in enumerate(zip(one, other)) if a != b)
        place = next(differing, min(len(one), len(other)))
        raise VkitError(
            f"'output' and 'output_2' differ from character {place + 1} on: {one[place : place + 20]!r} and"
            f" {other[place : place + 20]!r}; both sides need the same response"
        )
    return one


def _other_keys(record: dict[str, Any]) -> dict[str, Any]:
    others = {key: value for key, value in record.items() if key not in ("id", *KEYS)}
    for key in others:
        if key.lower().startswith(("image", "instruction", "output")):
            raise VkitError(f"unknown key {key!r}; Math-PUMA's are {', '.join(KEYS)}")
    return others
