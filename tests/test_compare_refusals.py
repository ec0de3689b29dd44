"""`vkit compare` refuses figures that cannot be, and damaged files, rather than average them."""

import json
import os

import numpy as np
import pytest

from tests.synthetic_runs import IMAGE_COLUMNS, write_run
from vkit.attention.compare import compare
from vkit.attention.run_folder import read_details, read_items
from vkit.errors import VkitError

ITEMS = 12
SHORT = np.random.default_rng(0).integers(5, 40, size=ITEMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": [None]}, "item '0' is called measured"),
        ({"V": [None]}, "item '0' is called measured"),
        ({"V": [1e308]}, "item '0' is called measured"),
        ({"ratio": [-0.5]}, "items.jsonl:1: 'ratio' must be a list of 5 numbers >= 0"),
        ({"ratio": [1e308]}, "a ratio is not V / P"),
        ({"ratio": [10**400]}, "items.jsonl:1: 'ratio' must be a list of 5 numbers >= 0"),
        ({"output_tokens": [], "V": [], "P": [], "ratio": [], "shares": {}}, "item '0' is called measured"),
        ({"span_policy": None}, "do not say, span_policy"),
        ({"span_policy": ["study"]}, "not comparable"),
    ],
)
def test_figures_that_cannot_be_are_refused_in_one_line(tmp_path, change, message):
    def hurt(item):
        if item["id"] == "0" or "span_policy" in change:
            item.update({key: value * 5 if key in ("ratio", "V") else value for key, value in change.items()})

    lengths = [5] * ITEMS
    one = write_run(tmp_path / "a", lengths, seed=1)
    with pytest.raises(VkitError, match=message):
        compare([one, write_run(tmp_path / "b", lengths, seed=2, change=hurt)], resamples=200)


@pytest.mark.parametrize("name", ["b", os.fsdecode(b"b\xff")])
def test_what_no_json_file_can_hold_is_refused(tmp_path, name):
    one = write_run(tmp_path / "a", SHORT, seed=1)
    two = write_run(tmp_path / name, SHORT, seed=2, model="tiny" if name != "b" else "\ud800")
    with pytest.raises(VkitError, match="half a character"):
        compare([one, two], resamples=200)


@pytest.mark.parametrize("columns", [[5, 5, 1, 2], [5, -1, 1, 2], [5, 1, 2, IMAGE_COLUMNS]])
def test_stored_columns_that_are_none_of_the_image_are_refused(tmp_path, columns):
    folder = write_run(tmp_path / "a", SHORT, seed=1)
    path = folder / "details" / "0.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "columns": np.array(columns, dtype=np.int32)})
    with pytest.raises(VkitError, match="a column stands twice or is none of the image"):
        compare([folder, write_run(tmp_path / "b", SHORT, seed=2)], resamples=200)


def test_a_damaged_archive_is_refused_wherever_the_damage_lies(tmp_path):
    folder = write_run(tmp_path / "a", SHORT, seed=1)
    item = next(read_items(folder))
    path = folder / item["details"]
    with np.load(path) as archive:
        np.savez_compressed(path, **dict(archive))
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_details(folder, item)  # any other error fails
        except VkitError:
            refused += 1
    assert refused > 50


def test_an_answer_that_does_not_look_at_all_has_no_sinks(tmp_path):
    def blind(item):
        nothing = [0.0] * len(item["ratio"])
        item.update(V=nothing, ratio=nothing)

    blank = write_run(tmp_path / "blank", SHORT, seed=1, sink_columns=range(4), change=blind)
    result = compare([blank, write_run(tmp_path / "b", SHORT, seed=2)], resamples=200)
    assert (result["runs"][0]["sinks"]["columns"], result["runs"][0]["sinks"]["weight"]) == ([], 0.0)
    json.dumps(result, allow_nan=False)
