"""The index of training data is that of a plain loop over the lines, however many processes make it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.errors import VkitError
from vkit.images import resolve_inside
from vkit.sources.opening import PARSERS, has_unique_ids, holders
from vkit.train import index, index_block, index_workers
from vkit.train.data import Examples, open_examples, shards_of
from vkit.train.index import Refused, build_index
from vkit.train.recipes import AlignRecipe, SftRecipe
from vkit.train.sides import sides_of

SFT, ALIGN = SftRecipe(), AlignRecipe(strong="text-only")
RECIPES = {"sample": [SFT], "conversation": [SFT], "pair": [SFT, ALIGN, SftRecipe(twins="text")]}
KINDS = sorted(RECIPES)

MISSING = "image {} is missing; check the record's path"


def plain_index(files: list[Path], kind: str, recipe) -> SimpleNamespace:
    """The definition: every line parsed in turn, every picture asked for, every id kept."""
    entries, refused, left_out, seen = [], [], {}, set()
    digest, parse, sides = hashlib.sha256(), PARSERS[kind], sides_of(recipe)
    for number, path in enumerate(files):
        offset = count = 0
        for line in io.BytesIO(path.read_bytes()):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            count += 1
            digest.update(line)
            name = f"{path}, record {count}"
            try:
                try:
                    record = parse(line.decode(), path.parent)
                except UnicodeDecodeError as error:
                    raise VkitError(f"not UTF-8 text ({error.reason}); convert the file") from error
                name = record.id
                if has_unique_ids(kind) and name in seen:
                    raise VkitError("its id stands twice; make ids unique")
                seen.add(name)
                for holder in holders(record):
                    if not os.path.isfile(resolve_inside(holder.folder, holder.image)):
                        raise VkitError(MISSING.format(holder.image))
                chosen = sides(record)
            except VkitError as error:
                refused.append(Refused(name, str(error)))
                continue
            if isinstance(chosen, str):
                left_out[chosen] = left_out.get(chosen, 0) + 1
            else:
                entries += [(number, start, side) for side in chosen]
    digest.update(np.array(entries, dtype=np.int64).tobytes())
    return SimpleNamespace(
        entries=entries, refused=refused, left_out=left_out, digest=digest.hexdigest()[:16]
    )


def assert_same(found, expected) -> None:
    assert found.entries.tolist() == [list(entry) for entry in expected.entries]
    assert found.refused == expected.refused
    assert found.left_out == expected.left_out
    assert found.digest == expected.digest
    assert len(found.checks) == len(found.entries)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures in a folder that is listed, in one that is not, and behind links."""
    place = tmp_path_factory.mktemp("data") / "here"
    (place / "images").mkdir(parents=True)
    (place / "few").mkdir()
    for name in ("a.png", "ü 図.png", "b.png"):
        (place / "images" / name).write_bytes(b"")
    (place / "few" / "c.png").write_bytes(b"")
    (place / "images" / "folder.png").mkdir()
    (place.parent / "outside.png").write_bytes(b"")
    (place / "images" / "linked.png").symlink_to(place / "images" / "a.png")
    (place / "images" / "away.png").symlink_to(place.parent / "outside.png")
    (place / "images" / "broken.png").symlink_to(place / "nothing.png")
    (place / "up").symlink_to(place.parent)
    return place


PATHS = (
    "images/a.png, images/ü 図.png, few/c.png, images/../images/a.png, images//b.png, images/linked.png,"
    " images/away.png, images/broken.png, images/folder.png, images/none.png, up/outside.png, ../outside.png,"
    " /outside.png, nowhere/a.png, images/, a\0.png"
)
IMAGES = st.sampled_from([*PATHS.split(", "), "x" * 300])
TEXTS = st.sampled_from(["Find x.", "Ünï – 図形 \u2028 \x85", "😀", "\ud83d", ""])
IDS = st.sampled_from(["1", "2", "3", "é", 7])


def twin(version: str, image: str | None) -> dict:
    return {"question": "x", "answer": "5", "meta": {"version": version}} | (
        {"image": image} if image else {}
    )


def record_of(kind: str, id_, text: str, image: str | None, other: str, version: str) -> dict:
    if kind == "pair":
        twins = {"text_rich": twin(version, image), "vision_rich": twin("vision-only", other)}
        return {"id": id_, **twins, "response": text}
    shown = {"image": image} if image else {}
    if kind == "sample":
        return {"id": id_, "question": text, "rationale": version, **shown}
    turns = [{"from": "human", "value": text}, {"from": "gpt", "value": version}]
    return {"id": id_, "conversations": turns, **shown}


@st.composite
def lines_of(draw, kind: str) -> bytes:
    """One line: a record, nonsense or a blank, with an end of line or other."""
    good = st.builds(
        record_of,
        st.just(kind),
        IDS | st.integers(min_value=10).map(str),
        TEXTS,
        st.none() | IMAGES,
        IMAGES,
        st.sampled_from(["text-only", "vision-dominant", " "]),
    )
    text = draw(st.builds(json.dumps, good, ensure_ascii=st.booleans()).map(encoded) | st.sampled_from(ODD))
    return text + draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))


ODD = [b"", b" \t", b"\x0b\x0c", b"nonsense", b"{", b"[]", b'{"id": "\xff"}', b"\x85"]
ODD += [b'{"id": "1"}', b'{"id": \r\r"1"}', b"\r\r", b"1\r\r2"]


def encoded(line: str) -> bytes:
    return line.encode(errors="surrogatepass")


@st.composite
def shards(draw) -> tuple[str, list[bytes]]:
    kind = draw(st.sampled_from(KINDS))
    files = draw(st.lists(st.lists(lines_of(kind), max_size=14).map(b"".join), min_size=1, max_size=3))
    return kind, [data.rstrip(b"\n") if draw(st.booleans()) else data for data in files]


@settings(max_examples=60, deadline=None)
@given(drawn=shards(), block=st.sampled_from([1, 100, 10_000]), often=st.sampled_from([1, 3]))
def test_any_file_in_any_blocks_is_indexed_as_by_a_plain_loop(folder, drawn, block, often):
    kind, contents = drawn
    files = [folder / f"part-{number}.jsonl" for number in range(len(contents))]
    for path, data in zip(files, contents):
        path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "BLOCK", block)
        patch.setattr(index_block._Pictures, "_OFTEN", often)
        for recipe in RECIPES[kind]:
            expected = plain_index(files, kind, recipe)
            assert_same(build_index(files, kind, recipe, skip_bad=True, workers=0), expected)
            if not expected.refused:
                assert_same(build_index(files, kind, recipe, workers=0), expected)
                continue
            first = expected.refused[0]
            with pytest.raises(VkitError) as caught:
                build_index(files, kind, recipe, workers=0)
            assert str(caught.value).endswith(f": {first.reason}; --skip-bad leaves bad records out")
            assert str(caught.value).startswith(
                first.id if ", record " in first.id else f"{files[0].parent}{os.sep}part-"
            )


def many(kind: str, count: int) -> list[bytes]:
    """Records of which some are bad, one of them in the middle of the second shard."""
    found = []
    for number in range(count):
        image = "images/none.png" if number % 97 == 5 else "images/a.png"
        id_ = str(number % 101) if number % 89 == 3 else f"r{number}"
        record = record_of(kind, id_, "図 x" * (number % 7 + 1), image, "few/c.png", "text-only")
        found.append(encoded(json.dumps(record, ensure_ascii=number % 2 == 0)) + b"\n" * (1 + number % 3))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_index_does_not_depend_on_the_number_of_processes(folder, monkeypatch, kind):
    monkeypatch.setattr(index, "BLOCK", 3000)
    files = [folder / "part-0.jsonl", folder / "part-1.jsonl"]
    lines = many(kind, 300)
    files[0].write_bytes(b"".join(lines[:101]))
    files[1].write_bytes(b"".join(lines[101:]).rstrip())
    expected = plain_index(files, kind, SFT)
    assert expected.refused
    errors = set()
    for workers in (0, 3):
        assert_same(build_index(files, kind, SFT, skip_bad=True, workers=workers), expected)
        with pytest.raises(VkitError) as caught:
            build_index(files, kind, SFT, workers=workers)
        errors.add(str(caught.value))
    assert len(errors) == 1


def test_ids_of_one_hash_are_told_apart_by_the_ids_themselves(folder, monkeypatch):
    monkeypatch.setattr(index_block, "_hash", lambda text: len(text))
    path = folder / "part-0.jsonl"
    ids = ["a", "b", "cc", "b", "dd", "e", "b"]
    path.write_text("".join(f'{{"id": "{i}", "question": "", "rationale": "5"}}\n' for i in ids))
    found = build_index([path], "sample", SFT, skip_bad=True, workers=0)
    assert [refused.id for refused in found.refused] == ["b", "b"]
    assert len(found.entries) == 5
    with pytest.raises(VkitError, match=r"record 4 \('b'\): its id stands twice"):
        build_index([path], "sample", SFT, workers=0)


def problems(path: Path, *texts: str) -> Path:
    path.write_text(
        "".join(json.dumps({"id": text, "question": text, "rationale": "5"}) + "\n" for text in texts)
    )
    return path


def ids_of(examples: Examples) -> list[str]:
    return [examples[place].request.id for place in range(len(examples))]


def test_a_folder_is_its_shards_by_name(tmp_path):
    for name, texts in {"part-00002": "ef", "part-00000": "ab", "part-00001": "cd", "notes": "z"}.items():
        problems(tmp_path / f"{name}.jsonl", *texts)
    assert ids_of(open_examples([tmp_path], SFT)) == list("abcdef")
    apart = [tmp_path / f"part-0000{number}.jsonl" for number in (2, 0)]
    assert ids_of(open_examples(apart, SFT)) == list("efab")
    assert open_examples([tmp_path], SFT).digest == open_examples(shards_of(tmp_path), SFT).digest
    (tmp_path / "empty").mkdir()
    with pytest.raises(VkitError, match=r"is a folder without part-\*\.jsonl; give its files by name"):
        open_examples([tmp_path / "empty"], SFT)


def test_an_id_that_stands_in_two_shards_stands_twice(tmp_path):
    problems(tmp_path / "part-0.jsonl", "a", "b")
    problems(tmp_path / "part-1.jsonl", "c", "a")
    with pytest.raises(VkitError, match=r"part-1\.jsonl, record 2 \('a'\): its id stands twice"):
        open_examples([tmp_path], SFT)


def test_a_record_that_changed_is_never_read_by_its_old_place(tmp_path):
    path = problems(tmp_path / "problems.jsonl", "a", "b", "c")
    examples = open_examples([path], SFT)
    problems(path, "a", "B", "c")
    assert examples[0].request.id == "a"
    with pytest.raises(VkitError, match="has changed since it was indexed: another record stands at byte"):
        examples[1]
    path.write_text(path.read_text()[:10])
    with pytest.raises(VkitError, match="has changed"):
        examples[2]
    path.unlink()
    with pytest.raises(VkitError, match="cannot be read"):
        examples[0]


def test_records_may_be_added_to_a_file_that_is_in_use(tmp_path):
    path = problems(tmp_path / "problems.jsonl", "a", "b")
    path.write_text(path.read_text().rstrip("\n"))
    examples = open_examples([path], SFT)
    with path.open("a") as file:
        file.write('\n{"id": "c"}\n')
    assert ids_of(examples) == ["a", "b"]


def test_a_process_that_is_killed_is_told_in_one_line(folder, monkeypatch):
    workers = []
    begin = index_workers._Worker.__init__

    def watched(self, *arguments):
        begin(self, *arguments)
        workers.append(self._process)

    monkeypatch.setattr(index_workers._Worker, "__init__", watched)
    path = folder / "part-0.jsonl"
    path.write_bytes(b"".join(many("sample", 50)))
    pieces = index._pieces

    def killing(files):
        workers[0].kill()
        yield from pieces(files)

    monkeypatch.setattr(index, "_pieces", killing)
    with pytest.raises(VkitError, match=r"a process that indexes .* ended \(status -9\)"):
        build_index([path], "sample", SFT, workers=1)
    assert [process.poll() for process in workers] == [-9]


def test_no_process_is_left_when_the_caller_is_killed(folder):
    """A kill that no code can answer: the pipe's end is what tells the workers."""
    code = (
        "import sys, time\n"
        "from vkit.train.index_workers import readers\n"
        "from vkit.train.recipes import SftRecipe\n"
        "with readers('sample', SftRecipe(), workers=1) as read:\n"
        "    worker = read.__closure__[0].cell_contents.get()\n"
        "    print(worker._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    caller.kill()
    caller.communicate()
    assert gone(pid)


def gone(pid: int) -> bool:
    """Whether a process ends, in a minute at most."""
    for _ in range(600):
        status = Path(f"/proc/{pid}/status")
        try:
            if "State:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_an_interrupt_ends_the_processes(folder, monkeypatch):
    workers = []
    begin = index_workers._Worker.__init__

    def watched(self, *arguments):
        begin(self, *arguments)
        workers.append(self._process)

    monkeypatch.setattr(index_workers._Worker, "__init__", watched)
    monkeypatch.setattr(index, "BLOCK", 1)
    path = folder / "part-0.jsonl"
    path.write_bytes(b"".join(many("sample", 50)))
    pieces = index._pieces

    def interrupted(files):
        for number, piece in enumerate(pieces(files)):
            if number == 20:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
                time.sleep(60)
            yield piece

    monkeypatch.setattr(index, "_pieces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_index([path], "sample", SFT, skip_bad=True, workers=2)
    assert [process.poll() is not None for process in workers] == [True, True]


def test_a_process_that_indexes_needs_no_torch():
    code = "import sys, vkit.train.index, vkit.train.index_workers; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert result.stdout.strip() == "False", result.stderr
