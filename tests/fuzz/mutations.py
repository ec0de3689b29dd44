"""Damages inputs as their format allows: JSON by values, archives by members, all else by bytes.

    random = Random(0)
    mutate("lines", [b'{"id": "1"}'], random)         # b'{"id": ["1"]}', for instance

`random` may be Hypothesis's as well: nothing else is asked for chance.
"""

from __future__ import annotations

import copy
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

LONGEST = 1 << 20  # bytes of an input

# Texts that stand in JSON as raw code, since no value of Python spells them (or not in little memory).
_RAW = {
    "@deep": "[" * 20_000 + "]" * 20_000,
    "@deep object": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "@digits": "9" * 5000,
    "@nan": "NaN",
    "@infinity": "-Infinity",
    "@float": "1e400",
}
TEXTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "\udfff x",
    "\u202e",
    "\u2028",
    "é" * 300,
    "a" * 5000,
    "../../canary.png",
    "/etc/passwd",
    "images/../../canary.png",
    "outside.png",
    "loop.png",
    "pipe.png",
    "C:\\x.png",
    "file:///etc/passwd",
    "~",
    ".",
    "images/1.png",
    "x" * 300 + ".png",
    "<image>",
    "<image><image>",
    "</script><script>alert(1)</script>",
    '" onload="alert(1)',
    "{{data}}",
    "%s%n",
    "${HOME}",
    "{0.__class__}",
    "NaN",
    "null",
    "-1",
    "1e999",
    "٣",
    "²",
    "__import__('os').mkdir('x')",
    "!!python/object/apply:os.mkdir [x]",
    "A",
    "B",
    "Z",
    "answer: 9**9**9",
    "a\nb",
]
NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2,
    3,
    255,
    65536,
    2**31,
    -(2**31),
    2**53 + 1,
    2**63,
    2**64,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    1e-320,
    True,
    False,
    None,
]


def mutate(kind: str, seeds: Sequence[bytes], random: Random) -> bytes:
    """A seed with one to four damages; ``kind`` is a key of `KINDS`."""
    data = random.choice(seeds)
    if len(seeds) > 1 and random.random() < 0.1:
        other = random.choice(seeds)
        data = data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]
    for _ in range(random.randint(1, 4)):
        data = KINDS[kind](data, random)
    return data[:LONGEST]


def _bytes(data: bytes, random: Random) -> bytes:
    """Bits flipped, bytes overwritten, taken out, doubled, cut off."""
    way = random.randint(0, 6)
    at = random.randint(0, len(data))
    length = random.randint(1, 16)
    if way == 0 and data:
        at = random.randint(0, len(data) - 1)
        return data[:at] + bytes([data[at] ^ (1 << random.randint(0, 7))]) + data[at + 1 :]
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + data[at + length :]
    if way == 3:
        return data[:at] + data[at : at + length] * random.randint(2, 40) + data[at + length :]
    if way == 4:  # a length or an offset
        number = random.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1])
        form = random.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
        spelled = struct.pack(form, number % 2 ** (8 * struct.calcsize(form)))
        return data[:at] + spelled + data[at + len(spelled) :]
    if way == 5:
        return data[:at] + bytes(random.randint(0, 255) for _ in range(length)) + data[at + length :]
    return data[:at] + bytes([random.choice(b'\0\xff"{}[]\\\n,:;')]) + data[at:]


def _text(data: bytes, random: Random) -> bytes:
    """Words swapped for hostile ones, or doubled; sometimes as bytes."""
    if random.random() < 0.3:
        return _bytes(data, random)
    words = data.decode("utf-8", "surrogateescape").split(" ")
    at = random.randint(0, len(words) - 1)
    way = random.randint(0, 3)
    if way == 0:
        words[at] = random.choice(TEXTS)
    elif way == 1:
        words[at] = random.choice(words)
    elif way == 2:
        words.insert(at, words[at] * random.choice([2, 3, 50]))
    else:
        del words[at]
    return " ".join(words).encode("utf-8", "replace")


def _lines(data: bytes, random: Random) -> bytes:
    """One line of JSON Lines damaged as JSON; or lines doubled, or without their end."""
    lines = data.split(b"\n")
    at = random.randint(0, len(lines) - 1)
    way = random.randint(0, 9)
    if way == 0:
        lines.insert(at, lines[random.randint(0, len(lines) - 1)])
    elif way == 1:
        lines[at] = random.choice([b"[", b"{}", b"null", b"\xff\xfe", b"\xef\xbb\xbf", b'"x"', b"{" * 2000])
    else:
        lines[at] = _json(lines[at], random)
    return b"\n".join(lines)


def _json(data: bytes, random: Random) -> bytes:
    """A value of the document swapped, renamed, taken out or nested; a document that is none by bytes."""
    if random.random() < 0.15:
        return _bytes(data, random)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(data, random)
    holders: list[tuple[Any, Any]] = [([document], 0), *_places(document)]
    holder, key = random.choice(holders)
    way = random.randint(0, 7)
    if way == 0 and isinstance(holder, dict):
        holder[random.choice(TEXTS)] = holder.pop(key)
    elif way == 1:
        del holder[key]
    elif way == 2:
        other, place = random.choice(holders)
        holder[key] = copy.deepcopy(other[place])
    elif way == 3:
        holder[key] = random.choice([[holder[key]], {"a": holder[key]}, [holder[key]] * 40])
    elif way == 4 and isinstance(holder[key], str) and holder[key]:
        text = holder[key]
        at = random.randint(0, len(text))
        holder[key] = text[:at] + random.choice(TEXTS) + text[at:]
    else:
        holder[key] = random.choice([*TEXTS, *NUMBERS, *_RAW, [], {}, [None], [[]], {"": ""}])
    top = holders[0][0]
    return _dumped(top[0] if top else {}).encode()


def _dumped(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "[]"
    for name, code in _RAW.items():
        text = text.replace(json.dumps(name), code)
    return text


def _places(value: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    """Every place in a document where a value stands: its holder, and its key or index."""
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    if isinstance(value, list):
        keys = list(range(min(len(value), 40)))
    if depth > 40:
        return []
    return [place for key in keys for place in ((value, key), *_places(value[key], depth + 1))]


def _archive(data: bytes, random: Random) -> bytes:
    """A member of a zip damaged, left out, renamed or made enormous; or the zip by bytes."""
    if random.random() < 0.3:
        return _bytes(data, random)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # damaged before; every way of zipfile to say so
        return _bytes(data, random)
    if not members:
        return _bytes(data, random)
    name = random.choice(list(members))
    way = random.randint(0, 5)
    if way == 0:
        members[random.choice(["../canary.npy", "/tmp/canary.npy", *members])] = members.pop(name)
    elif way == 1:
        del members[name]
    elif way == 2:
        members[name] += bytes(1 << 22)
    else:
        members[name] = _bytes(members[name], random)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that stands twice
        with zipfile.ZipFile(
            buffer, "w", random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        ) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    return buffer.getvalue()


def _safetensors(data: bytes, random: Random) -> bytes:
    """The header damaged as JSON, its length right; or the file by bytes."""
    length = int.from_bytes(data[:8], "little")
    if random.random() < 0.3 or not 0 < length <= len(data) - 8:
        return _bytes(data, random)
    header = _json(data[8 : 8 + length], random)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


KINDS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bytes": _bytes,
    "text": _text,
    "lines": _lines,
    "json": _json,
    "archive": _archive,
    "safetensors": _safetensors,
}
