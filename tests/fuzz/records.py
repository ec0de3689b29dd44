"""Targets: files of records, releases of benchmarks, and the pictures that they name."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.fuzz.registry import Prepared, target
from vkit.images import open_image
from vkit.records import (
    BadRecord,
    Pair,
    Sample,
    parse_pair,
    parse_sample,
    read_pairs,
    read_samples,
    scan_samples,
)
from vkit.sources.llava import Conversation, parse_conversation
from vkit.sources.math_puma import copied, in_place, scan_math_puma
from vkit.sources.opening import scan, scan_whole

_SAMPLE = {
    "id": "1",
    "question": "Find x.",
    "choices": ["3", "4"],
    "answer": "B",
    "image": "images/1.png",
    "rationale": "x = 4.",
    "meta": {"source": "a", "literals": ["Line(A, B)"], "n": 1.5},
}
_PAIR = {
    "id": "1",
    "text_rich": {"question": "a = 3. Find x.", "image": "images/1.png"},
    "vision_rich": {"question": "Find x.", "image": "images/1.png", "choices": ["3", "4"], "answer": "A"},
    "response": "x = 4.",
}
_TALK = [{"from": "human", "value": "<image>\nWhat time is it?"}, {"from": "gpt", "value": "Ten past three."}]
_CONVERSATION = {
    "id": "7",
    "image": "images/1.png",
    "conversations": [*_TALK, _TALK[0] | {"value": "Why?"}, _TALK[1]],
}
_PUMA = {
    "image_url": "1.png",
    "instruction": "In triangle ABC ...",
    "output": "x",
    "image_url_2": "1.png",
    "instruction_2": "<image>\nFind x.",
    "output_2": "x",
    "id": 3,
    "source": "web",
}
_VISTA = {
    "pid": "1",
    "question": "What?",
    "image": "images/1.png",
    "choices": ["3", "4"],
    "answer": "4",
    "question_type": "multi_choice",
    "answer_type": "text",
    "precision": None,
    "unit": "cm",
    "metadata": {"task": "geometry problem solving", "skills": ["a"]},
    "query": "Hint: ...",
}
_VERSE = {
    "sample_index": "1",
    "problem_index": "1",
    "problem_version": "Text Dominant",
    "image": "1.png",
    "question": "Find x.\nChoices:\nA:40\nB:60",
    "answer": "B",
    "question_type": "multi-choice",
    "metadata": {"subject": "Plane"},
    "query_wo": "q",
    "query_cot": "q",
}
_WEMATH = {
    "ID": "2steps_1",
    "key": "2steps_multi",
    "knowledge concept": "Area",
    "option": "A. 3; B. 4",
    "question": "What?",
    "answer": "B",
    "image_path": "images/1.png",
    "split": "testmini",
}
_GEOMETRY = {
    "id": 1,
    "problem_text": "Find x.",
    "choices": ["3", "4"],
    "answer": "B",
    "compact_text": "Find x.",
    "precise_value": [3.0, 4.0],
    "problem_type_graph": ["Triangle"],
    "problem_type_goal": ["Length"],
}


def _layout(folder: Path) -> Path:
    """One good picture, a file that nobody may open, and paths that lead out of the folder or nowhere."""
    root = folder / "data"
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (6, 4), "red").save(root / "images" / "1.png")
    Image.new("RGB", (6, 4), "black").save(folder / "canary.png")
    (root / "outside.png").symlink_to(folder / "canary.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    return root


def _lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _look(folder: Path, records: Iterable[Any]) -> None:
    """Open the pictures of good records: they are the good one. What was read is written as it was read."""
    for record in records:
        if isinstance(record, BadRecord):
            assert record.where, "a bad record without its place"
            assert record.reason, "a bad record without its reason"
            continue
        for holder in (record.text_rich, record.vision_rich) if isinstance(record, Pair) else (record,):
            if holder.image is not None:
                inside = os.path.realpath(holder.folder / holder.image)
                assert os.path.isfile(inside), f"{holder.image!r} passed for a picture"
                assert os.path.commonpath([inside, os.path.realpath(folder)]) == os.path.realpath(folder), (
                    inside
                )
        if isinstance(record, Conversation):
            record.turns_with_requests()
        else:
            json.loads(record.to_json())


def _written_alike(parse: Callable[[str, Path], Any], records: Iterable[Any]) -> None:
    for record in records:
        if "NaN" not in (line := record.to_json()):
            assert parse(line, Path()) == record, line


@target("samples", "lines")
def samples(folder: Path) -> Prepared:
    path = _layout(folder) / "samples.jsonl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        good = [record for record in scan_samples(path) if isinstance(record, Sample)]
        _written_alike(parse_sample, good)
        _look(path.parent, scan_whole(path))
        list(read_samples(path))

    bare = {"id": 2, "question": ""}
    return run, [_lines(_SAMPLE), _lines(_SAMPLE, bare), _lines(bare)]


@target("pairs", "lines")
def pairs(folder: Path) -> Prepared:
    path = _layout(folder) / "pairs.jsonl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _look(path.parent, scan_whole(path))
        _written_alike(parse_pair, read_pairs(path))

    return run, [_lines(_PAIR), _lines(_PAIR, _PAIR | {"id": 2})]


@target("conversations", "lines")
def conversations(folder: Path) -> Prepared:
    path = _layout(folder) / "conversations.jsonl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _look(path.parent, scan_whole(path))
        for line in data.decode("utf-8", "replace").splitlines():
            parse_conversation(line, path.parent)

    return run, [_lines(_CONVERSATION), _lines(_CONVERSATION, {"id": "b", "conversations": _TALK[1:] * 2})]


@target("math-puma", "json")
def math_puma(folder: Path) -> Prepared:
    root = _layout(folder)
    path, copies = root / "release.json", folder / "copies"
    copies.mkdir()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        list(scan_math_puma(path, copied(root / "images", copies)))
        _written_alike(
            parse_pair,
            (r for r in scan_math_puma(path, in_place(root / "images", root)) if isinstance(r, Pair)),
        )

    return run, [json.dumps([_PUMA, _PUMA | {"id": 4}]).encode(), _lines(_PUMA)]


@target("geometry3k", "json")
def geometry3k(folder: Path) -> Prepared:
    return _problem(folder, "data.json", json.dumps(_GEOMETRY).encode())


@target("geometry3k-logic", "json")
def geometry3k_logic(folder: Path) -> Prepared:
    return _problem(folder, "logic_form.json", json.dumps({"diagram_logic_form": ["Line(A, B)"]}).encode())


def _problem(folder: Path, name: str, seed: bytes) -> Prepared:
    root = _layout(folder)
    problem = root / "1"
    problem.mkdir()
    (problem / "data.json").write_text(json.dumps(_GEOMETRY))
    (problem / "logic_form.json").write_text("{}")
    (problem / "img_diagram.png").symlink_to(root / "images" / "1.png")

    def run(data: bytes) -> None:
        (problem / name).write_bytes(data)
        _look(root, scan_whole(root))

    return run, [seed]


@target("benchmarks", "json")
def benchmarks(folder: Path) -> Prepared:
    """MathVista, MathVerse and We-Math, which are told apart by their rows."""
    path = _layout(folder) / "testmini.json"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _look(path.parent, scan_whole(path))
        list(scan(path.parent))

    rows = [[_VISTA], [_VERSE, _VERSE | {"problem_version": "Vision Only", "sample_index": "2"}], [_WEMATH]]
    return run, [*(json.dumps(row).encode() for row in rows), json.dumps({"1": _VISTA}).encode()]


@target("parquet", "bytes")
def parquet(folder: Path) -> Prepared:
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = _layout(folder) / "testmini.parquet"
    picture = {"bytes": (path.parent / "images" / "1.png").read_bytes(), "path": "1.png"}
    seeds = []
    for row in (
        _VISTA | {"decoded_image": picture},
        _VERSE | {"image": picture},
        _WEMATH | {"image_path": picture},
    ):
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row, row]), buffer)
        seeds.append(buffer.getvalue())

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _look(path.parent, scan_whole(path))

    return run, seeds


@target("smart101", "text")
def smart101(folder: Path) -> Prepared:
    root = _layout(folder)
    columns = ["id", "Question", "image", "A", "B", "C", "D", "E", "Answer", "Note"]
    options = {
        2: list("34567"),
        16: ["1 and 2", "3", "4, 5 and 6", "7", "8"],
        25: [f"{h}:00 PM" for h in range(1, 6)],
        58: ["-3", "/8", "+2", "x6", "/6"],
        63: ["only 5", "2, 3, or 4", "only 3", "1", "2"],
    }
    seeds, tables = [], []
    for puzzle, texts in options.items():
        place = root / str(puzzle)
        (place / "img").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(place / "img" / "1.png")
        buffer = io.StringIO()
        csv.writer(buffer).writerows([columns, ["1", "What is it?", "1.png", *texts, "B", ""]])
        seeds.append(buffer.getvalue().encode())
        tables.append(place / f"puzzle_{puzzle}.csv")

    def run(data: bytes) -> None:
        for table in tables:
            table.write_bytes(data)
        _look(root, scan_whole(root))

    return run, seeds


@target("images", "bytes", seconds=10)
def images(folder: Path) -> Prepared:
    path = folder / "picture"
    picture = Image.effect_noise((24, 16), 90)
    seeds = []
    for kind, mode in (
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("JPEG", "L"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "F"),
        ("WEBP", "RGB"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
        ("ICO", "RGBA"),
    ):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        more = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
        (picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)).save(
            buffer, kind, **more
        )
        seeds.append(buffer.getvalue())
    seeds.append(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\n%%EOF\n")

    def run(data: bytes) -> None:
        path.write_bytes(data)
        image = open_image(path, pixel_limit=4_000_000)
        assert image.mode == "RGB", image.mode
        assert image.width * image.height <= 4_000_000, image.size

    return run, seeds
