"""JSON arrays: read item by item wherever a chunk ends, and told apart from JSON Lines."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.errors import VkitError
from vkit.sources import json_array
from vkit.sources.json_array import array_items, is_array


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.recursive(st.none() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5)),
    st.integers(1, 9),
)
def test_an_array_is_read_item_by_item_wherever_the_chunks_end(tmp_path_factory, items, chunk):
    path = tmp_path_factory.getbasetemp() / "array.json"
    path.write_text(
        " " + json.dumps(items, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline=""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK", chunk)
        assert list(array_items(path)) == list(enumerate(items, 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1}, {"a": ', "item 2: not JSON"),
        ('[{"a": 1}', "item 1: not JSON (a comma or the closing"),
        ('[{"a": 1} {"a": 2}]', "item 1: not JSON (a comma or the closing"),
        ('[{"a": 1},]', "item 2: not JSON"),
        ("[", "item 1: not JSON"),
        ("[1.", "item 1: not JSON"),
        ("{}", "is not a JSON array"),
        ("[" * 100_000, "item 1: not JSON"),
        ("[1] [2]", "goes on after its array ends"),
        ("[1]" + "\n" * 40 + "7", "goes on after its array ends"),
    ],
)
def test_a_broken_array_is_told(tmp_path, monkeypatch, text, reason):
    monkeypatch.setattr(json_array, "CHUNK", 30 if len(text) < 100 else 1 << 20)
    path = tmp_path / "array.json"
    path.write_text(text)
    with pytest.raises(VkitError) as refusal:
        list(array_items(path))
    assert reason in str(refusal.value)


def test_an_item_that_never_ends_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_array, "CHUNK", 100)
    monkeypatch.setattr(json_array, "ITEM_LIMIT", 1000)
    path = tmp_path / "array.json"
    path.write_text('["' + "x" * 2000 + '"]')
    with pytest.raises(VkitError, match="item 1: not JSON"):
        list(array_items(path))


@pytest.mark.parametrize(
    ("start", "array"),
    [
        (b"[", True),
        (b" \n\t[{", True),
        (b"\xef\xbb\xbf[", True),
        (b"{", False),
        (b"", False),
        (b"7\n[", False),
    ],
)
def test_the_first_sign_tells_an_array(tmp_path, start, array):
    (tmp_path / "file.json").write_bytes(start)
    assert is_array(tmp_path / "file.json") is array


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "file.json").write_bytes(b"[\xff\xfe")
    with pytest.raises(VkitError, match="not UTF-8"):
        list(array_items(tmp_path / "file.json"))
    with pytest.raises(VkitError, match="cannot be read"):
        list(array_items(tmp_path))
