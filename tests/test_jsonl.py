"""Files that survive a kill: whole lines stay, a torn one goes, nobody else writes meanwhile."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, read_json, read_jsonl, write_bytes, write_json


def test_what_was_added_is_there_again(tmp_path):
    path = tmp_path / "items.jsonl"
    for number in range(3):
        with JsonlStore(path) as store:
            assert store.items == [{"id": i, "text": "ü\n"} for i in range(number)]
            store.append({"id": number, "text": "ü\n"})
    assert [item["id"] for _, item in read_jsonl(path)] == [0, 1, 2]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_dropped_wherever_it_was_cut(tmp_path, cut):
    path = tmp_path / "items.jsonl"
    with JsonlStore(path) as store:
        store.append({"id": 1})
        store.append({"id": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    with JsonlStore(path) as store:
        kept = 1 if cut <= 10 else 0
        assert store.items == [{"id": 1}][:kept]
        store.append({"id": 3})
    assert [item["id"] for _, item in read_jsonl(path)] == [1, 3][-kept - 1 :]


def test_a_broken_line_in_the_middle_is_told_and_nothing_is_lost(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": 1}\n{"id"\n{"id": 3}\n')
    before = path.read_bytes()
    with pytest.raises(VkitError, match=r"items\.jsonl:2: not JSON"):
        JsonlStore(path)
    assert path.read_bytes() == before


def test_a_store_is_cut_to_its_first_items(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": 1}\n{"id": 22}\n{"id": 3}\n{"id"')
    with JsonlStore(path) as store:
        store.cut(2)
        store.append({"id": 4})
    assert path.read_text() == '{"id": 1}\n{"id": 22}\n{"id": 4}\n'


def test_a_second_writer_is_refused(tmp_path):
    path = tmp_path / "items.jsonl"
    code = (
        "import sys; from pathlib import Path\n"
        "from vkit.errors import VkitError; from vkit.jsonl import JsonlStore\n"
        "try: JsonlStore(Path(sys.argv[1]))\n"
        "except VkitError as error: print(error)\n"
    )
    with JsonlStore(path):
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "in use by another run" in run.stdout, run.stderr


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    path = tmp_path / "items.jsonl"
    code = (
        "import itertools, sys; from pathlib import Path; from vkit.jsonl import JsonlStore\n"
        "store = JsonlStore(Path(sys.argv[1]))\n"
        "for i in itertools.count(): store.append({'id': i, 'text': 'x' * 5000})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    while not path.exists() or path.stat().st_size < 50_000:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    with JsonlStore(path) as store:
        assert [item["id"] for item in store.items] == list(range(len(store.items)))
        assert len(store.items) >= 9


def test_json_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    write_bytes(path, b"[1]")
    with pytest.raises(VkitError, match="holds no object"):
        read_json(path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_append_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "items.jsonl"
    with JsonlStore(path) as store:
        store.append({"id": 1})
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(OSError, match="full"):
                store.append({"id": 2})
        assert path.read_bytes() == before
        store.append({"id": 3})
    assert [item["id"] for _, item in read_jsonl(path)] == [1, 3]


def test_a_file_that_cannot_be_written_leaves_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="full"):
        write_bytes(tmp_path / "file", b"content")
    assert not list(tmp_path.iterdir())


def fails(file):
    raise OSError(errno.ENOSPC, "the disk is full")
