r"""LLaVA's conversations: the format of MathV360K (Shi et al. 2024, Math-LLaVA) and of most instruction data.

    {"id": "7", "image": "clock.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat time is it?"}, {"from": "gpt", "value": "Ten past three."}]}

    for record in scan_conversations(Path("math360.jsonl")):
        (request, answer), *later = record.turns_with_requests()

One record a line; image paths are relative to the file's folder. Releases are one JSON array, and some repeat
the id of an image in all its records; this makes lines with ids of their own:

    jq -c 'to_entries[] | .value + {id: "\(.value.id)-\(.key)"}' release.json > conversations.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vkit.errors import VkitError
from vkit.records import BadRecord, Sample, parse_whole, record_id, scan_records
from vkit.sources.json_array import refuse_array

if TYPE_CHECKING:
    from vkit.models.protocol import Request

IMAGE_TAG = "<image>"

# What other tools put beside the conversation and the model would have to read; the rest is for people.
UNREAD = ("images", "video", "videos", "audio", "audios", "system", "tools")


@dataclass(frozen=True)
class Conversation:
    """What a user and a model said in turn, about one picture or none.

    image: path relative to ``folder``; None where all is text.
    turns: what the user says and what the model answers; the first may hold one ``<image>`` tag, as written.
    """

    id: str
    image: str | None
    turns: tuple[tuple[str, str], ...]
    folder: Path = field(default=Path(), compare=False)

    def open_image(self) -> Image.Image:
        """The picture in RGB. Raises `VkitError` naming the record."""
        return Sample(self.id, "", image=self.image, folder=self.folder).open_image()

    def turns_with_requests(self) -> list[tuple[Request, str]]:
        """A request and its answer for each turn, the picture in the first: where its tag stands, else first.

        All that the user says is ``question``. Blanks between the tag and the turn's edge belong to the tag.

        Raises:
            VkitError: the picture cannot be read.
        """
        from vkit.models.protocol import Picture, Request, Text  # brings torch, which reading needs not

        picture = [] if self.image is None else [Picture(self.open_image())]
        requests = []
        for number, (said, answer) in enumerate(self.turns):
            before, after = split_at_tag(said)
            parts = (
                Text(before, question=True),
                *(picture if number == 0 else ()),
                Text(after, question=True),
            )
            kept = tuple(part for part in parts if isinstance(part, Picture) or part.text)
            requests.append((Request(self.id, kept), answer))
        return requests


def scan_conversations(path: Path) -> Iterator[Conversation | BadRecord]:
    """Every conversation of a JSON Lines file in order, the bad ones as `BadRecord`.

    Raises:
        VkitError: the file is missing, is not text, is a JSON array, or holds no record.
    """
    refuse_array(path)
    return scan_records(path, parse_conversation)


def parse_conversation(line: str, folder: Path) -> Conversation:
    """A conversation from its line of JSON. Raises `VkitError` with the reason.

    Turns go human, gpt, human, gpt ...; the model brings its own system prompt. Keys that LLaVA does not know
    are passed over, except those that would have the model read more (`UNREAD`).

    >>> parse_conversation('{"id": 1, "conversations": [{"from": "human", "value": "2 + 3?"}]}', Path())
    Traceback (most recent call last):
    vkit.errors.VkitError: turn 1 (human) has no answer; add one from gpt, or take it out
    """
    record = parse_whole(line)
    name = record_id(record)
    for key in UNREAD:
        if record.get(key):
            raise VkitError(f"{key!r} is not read by vkit; put one picture in 'image', and take {key!r} out")
    image = record.get("image")
    if image is not None and (not isinstance(image, str) or not image):
        raise VkitError(
            f"'image' must be the path of one picture, not {json.dumps(image)[:40]};"
            " leave the key out where there is none"
        )
    if "conversations" not in record:
        raise VkitError("key 'conversations' is missing; add it")
    return Conversation(name, image, _turns(record["conversations"], image is not None), folder)


def split_at_tag(text: str) -> tuple[str, str]:
    r"""The words before and after the ``<image>`` tag, without the blanks between it and the text's edge.

    >>> split_at_tag("<image>\nFind x."), split_at_tag("In <image> find x."), split_at_tag("Find x.")
    (('', 'Find x.'), ('In ', ' find x.'), ('', 'Find x.'))
    """
    before, tag, after = text.rpartition(IMAGE_TAG)
    if tag and not before.strip():
        before, after = "", after.lstrip()
    if tag and not after.strip():
        before, after = before.rstrip(), ""
    return before, after


def _turns(said: Any, has_image: bool) -> tuple[tuple[str, str], ...]:
    if not isinstance(said, list) or not said:
        raise VkitError("'conversations' must be a list of turns that is not empty")
    values = [_value(turn, number, has_image) for number, turn in enumerate(said, 1)]
    if len(values) % 2:
        raise VkitError(f"turn {len(values)} (human) has no answer; add one from gpt, or take it out")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _value(turn: Any, number: int, has_image: bool) -> str:
    """The text of a turn, which has to be that of the speaker whose turn it is."""
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str) or "from" not in turn:
        raise VkitError(f"turn {number} must be {{'from': ..., 'value': text}}, not {json.dumps(turn)[:60]}")
    speaker, value = turn["from"], turn["value"]
    expected = "human" if number % 2 else "gpt"
    if speaker == "system":
        raise VkitError(f"turn {number} is from system; the model has its own system prompt, take it out")
    if speaker not in ("human", "gpt"):
        raise VkitError(
            f"turn {number} is from {json.dumps(speaker)[:40]}; LLaVA's speakers are human and gpt"
        )
    if speaker != expected:
        raise VkitError(f"turn {number} is from {speaker} where {expected} is due; turns go human, gpt, ...")
    tags = value.count(IMAGE_TAG)
    if tags and number > 1:
        raise VkitError(f"turn {number} ({speaker}) holds {IMAGE_TAG}; the picture belongs to the first turn")
    if tags > has_image:
        pictures = "one picture" if has_image else "no 'image'"
        raise VkitError(
            f"turn 1 holds {IMAGE_TAG} {tags} times, but the record has {pictures}; make them agree"
        )
    if not value.strip() and not (number == 1 and has_image):  # a picture may say it all
        raise VkitError(f"turn {number} ({speaker}) is empty; fill it, or take it out")
    return value
