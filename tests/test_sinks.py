"""Sinks are found where they are, and a ratio without them is that of the matrix without their columns."""

from dataclasses import replace

import numpy as np
import pytest

from tests.synthetic_runs import IMAGE_COLUMNS, write_run
from vkit.attention.compare import compare
from vkit.attention.compare_runs import load_run
from vkit.attention.sinks import find_sinks, ratio_without

ITEMS = 30
SHORT = np.random.default_rng(0).integers(5, 40, size=ITEMS)


def test_sinks_are_found_and_a_difference_that_rests_on_them_is_told(tmp_path):
    plain = write_run(tmp_path / "plain", SHORT, seed=1)
    sunk = write_run(tmp_path / "sunk", SHORT, seed=2, sink_columns=(3, 7), sink_weight=0.05)
    result = compare([plain, sunk], resamples=400)
    assert [run["sinks"]["columns"] for run in result["runs"]] == [[], [3, 7]]
    one, two = (run["ratio_without"]["sinks"]["value"] for run in result["runs"])
    assert one == pytest.approx(result["runs"][0]["ratio"]["mean"])
    assert two == pytest.approx(one, rel=0.1)
    pair = result["pairs"][0]
    assert pair["position_matched"]["ratio"]["low"] > 0
    assert pair["without"]["sinks"]["low"] < 0 < pair["without"]["sinks"]["high"]
    assert pair["without"]["sinks"]["columns"] == [3, 7]
    words = " ".join(pair["conclusions"]["may_not"])
    assert "Without 2 sink columns the difference is" in words
    assert "'sunk': 2 of 100 image columns are sinks and draw" in " ".join(result["notes"])
    assert "may rest on columns that draw weight whatever is asked" in words


def answer_of_matrix(folder, first_column, rng):
    """An answer whose whole attention matrix is known, and the matrix's two sides."""
    answer = load_run(write_run(folder, [6], seed=0), "run").answers["0"]
    image, text = rng.random((6, 12)) / 20, rng.random((6, 5)) / 20
    first = {"image": image, "text": text, None: rng.random((6, 1))}[first_column][:, 0]
    strongest = np.array([0, 9, 4])
    answer = replace(
        answer,
        image=image.mean(1),
        text=text.mean(1),
        ratio=image.mean(1) / text.mean(1),
        shares={**answer.shares, "first_token": first},
        image_columns=12,
        text_columns=5,
        first_column=first_column,
        strongest=strongest,
        strongest_attention=image[:, strongest],
    )
    return answer, image, text


@pytest.mark.parametrize("first_column", ["image", "text", None])
def test_a_ratio_without_columns_is_that_of_the_matrix_without_them(tmp_path, first_column):
    answer, image, text = answer_of_matrix(tmp_path / "run", first_column, np.random.default_rng(0))
    without_sinks = np.delete(image, [0, 9], axis=1)
    np.testing.assert_allclose(
        ratio_without(answer, sinks=(0, 9, 11)),  # 11 is not stored, so it stays in
        without_sinks.mean(1) / text.mean(1),
    )
    image_rest = image[:, 1:] if first_column == "image" else image
    text_rest = text[:, 1:] if first_column == "text" else text
    np.testing.assert_allclose(
        ratio_without(answer, first_token=True), image_rest.mean(1) / text_rest.mean(1)
    )
    np.testing.assert_allclose(
        ratio_without(answer, sinks=(0, 9), first_token=True), without_sinks.mean(1) / text_rest.mean(1)
    )


def test_a_side_of_which_nothing_is_left_has_no_ratio(tmp_path):
    answer, *_ = answer_of_matrix(tmp_path / "run", "text", np.random.default_rng(0))
    alone = replace(answer, text_columns=1, text=answer.shares["first_token"])
    assert ratio_without(alone, first_token=True) is None


def test_sinks_are_looked_for_where_columns_mean_the_same(tmp_path):
    def smaller(item):
        if item["id"] in ("0", "1"):
            item["image_columns"] = 60

    folder = write_run(tmp_path / "a", SHORT, seed=1, sink_columns=(3,), sink_weight=0.1, change=smaller)
    sinks = find_sinks(load_run(folder, "a").measured)
    assert (sinks.columns, sinks.image_columns) == ((3,), IMAGE_COLUMNS)
    assert (sinks.items, sinks.left_out) == (ITEMS - 2, 2)
    assert 0.1 < sinks.weight < 1

    def other(item):
        item["image_columns"] = 64

    second = write_run(tmp_path / "b", SHORT, seed=2, change=other)
    pair = compare([folder, second], resamples=400)["pairs"][0]
    assert pair["without"]["sinks"]["value"] is None
    assert "100 image columns against 64" in pair["without"]["sinks"]["reason"]


def test_each_ratio_without_columns_stands_under_its_name_for_runs_and_pairs(tmp_path):
    def on_text(item):
        item["first_column"] = "text"
        item["shares"]["first_token"] = [0.5 * 20 * p for p in item["P"]]

    folders = [
        write_run(tmp_path / name, SHORT, seed=k, sink_columns=(3,), sink_weight=0.01 * k, change=on_text)
        for k, name in enumerate("ab", 1)
    ]
    result = compare(folders, resamples=200)
    answers = [load_run(folder, folder.name).answers for folder in folders]
    columns = {"sinks": {"sinks": (3,)}, "first_token": {"first_token": True}}
    columns["both"] = columns["sinks"] | columns["first_token"]
    values = []
    for name, taken in columns.items():
        means = [
            np.mean([ratio_without(answer, **taken).mean() for answer in of_run.values()])
            for of_run in answers
        ]
        assert [run["ratio_without"][name]["value"] for run in result["runs"]] == pytest.approx(means)
        found = result["pairs"][0]["without"][name]
        assert (found["baseline"], found["other"]) == pytest.approx(means)
        values += means
    assert min(abs(np.diff(sorted(values)))) > 1e-3  # no two are alike, so none stands for another


def test_a_column_is_a_sink_from_five_times_the_mean_in_half_of_the_answers(tmp_path):
    # 99 others draw 1e-3 or so: V is about (0.099 + w) / 100, and a sink needs five times that.
    weak = write_run(tmp_path / "weak", SHORT, seed=1, sink_columns=(3,), sink_weight=0.003)
    assert find_sinks(load_run(weak, "run").measured).columns == ()

    def mostly_plain(item):
        if int(item["id"]) >= ITEMS // 3:
            item["details"] = f"details/plain-{item['id']}.npz"

    rare = write_run(
        tmp_path / "rare", SHORT, seed=1, sink_columns=(3,), sink_weight=0.1, change=mostly_plain
    )
    for index in range(ITEMS // 3, ITEMS):
        with np.load(rare / f"details/{index}.npz") as archive:
            arrays = dict(archive)
        np.savez(rare / f"details/plain-{index}.npz", **{**arrays, "columns": arrays["columns"] + 4})
    assert find_sinks(load_run(rare, "run").measured).columns == (7,)
