"""The overview of a page says what the runs say: each figure against the items it comes from."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_run import fake_item, write_fake_run, write_items
from synthetic_runs import write_run

from vkit.attention.compare import compare
from vkit.attention.names import SHARES
from vkit.attention.run_folder import read_details, read_items, read_summary
from vkit.attention.summary import summarise
from vkit.evaluate.statistics import wilson
from vkit.report.charts import Area, Bar, Chart, Cloud, Line, draw_grid, even_ticks
from vkit.report.overview import draw_overview
from vkit.report.page import write_page
from vkit.report.page_items import row_data
from vkit.report.run_figures import ByPosition, RunFigures


def figures_of(folder, name="run"):
    run = RunFigures(name, folder, read_summary(folder))
    for number, item in enumerate(read_items(folder)):
        run.add(item, read_details(folder, item), row_data(f"0-{number}", item, run.reduce))
    return run


@pytest.fixture
def run(tmp_path):
    return write_fake_run(tmp_path / "run")


def judged_run(folder, random=None, **changes):
    """Forty answers whose ratio, length and mark are known."""
    random = random or np.random.default_rng(3)
    write_fake_run(folder)
    items = [
        fake_item(random, str(i), [" x"] * int(random.integers(5, 60)), correct=bool(i % 3))
        for i in range(40)
    ]
    write_items(folder, items)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "items": 40, **changes}))
    return folder, items


def texts(markup):
    """The texts of a piece of HTML, in order."""
    return [html.unescape(text) for text in re.findall(r">([^<>]+)<", markup)]


def rows_of(markup, table):
    """The cells of the body of the table with that id or class, as texts."""
    body = re.search(rf'"{table}".*?<tbody>(.*?)</tbody>', markup, re.DOTALL)[1]
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell))
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body)
    ]


# ---- Tables ----


def test_the_table_of_runs_says_what_the_summary_of_its_items_says(tmp_path):
    folder, items = judged_run(tmp_path / "cot")
    ((name, model, prompt, count, accuracy, interval, *figures),) = rows_of(
        draw_overview([figures_of(folder, "cot")], None), "runs"
    )
    assert (name, model, prompt, count) == ("cot", "tiny-llava <preset>", "cot", "40")
    correct = sum(item["correct"] for item in items)
    low, high = wilson(correct, 40)
    assert accuracy == f"{100 * correct / 40:.1f}%"
    assert interval == f"{100 * low:.1f}–{100 * high:.1f}%"
    seconds = {"generate": 0.0, "measure": 0.0}
    total = summarise([{**item, "output_ids": item["output_tokens"], "seconds": seconds} for item in items])
    assert figures == [
        f"{total['ratio']['mean']:#.4g}",
        f"{total['median_output_tokens']:g}",
        f"{np.mean([np.mean(item['V']) for item in items]):#.4g}",
        f"{np.mean([np.mean(item['P']) for item in items]):#.4g}",
        f"{100 * total['shares']['image']:.1f}%",
        f"{100 * total['shares']['first_token']:.1f}%",
        "0",
        "0",
    ]


def test_the_reduction_that_was_asked_for_is_the_one_shown(tmp_path):
    folder, items = judged_run(tmp_path / "sums", reduce="sum")
    markup = draw_overview([figures_of(folder)], None)
    assert "Summed ratio" in texts(markup)
    total = np.mean([item["reduced"]["sum"] for item in items])
    assert rows_of(markup, "runs")[0][6] == f"{total:#.4g}"


def test_correct_and_wrong_stand_side_by_side_with_their_lengths(tmp_path):
    folder, items = judged_run(tmp_path / "cot")
    rows = rows_of(draw_overview([figures_of(folder, "cot")], None), "marks")
    assert [row[:2] for row in rows] == [["cot", "correct"], ["cot", "wrong"]]
    for row, mark in zip(rows, (True, False)):
        chosen = [item for item in items if item["correct"] is mark]
        assert row[2] == str(len(chosen))
        assert row[3] == f"{np.mean([item['reduced']['mean'] for item in chosen]):#.4g}"
        assert row[4] == f"{np.median([len(item['output_tokens']) for item in chosen]):g}"


def test_a_summary_of_fewer_items_than_the_folder_holds_is_said(tmp_path):
    folder, _ = judged_run(tmp_path / "cot", items=10)
    said = " ".join(texts(draw_overview([figures_of(folder)], None)))
    assert "summary.json speaks of 10 items, the folder holds 40" in said


def test_given_answers_are_said_to_be_given(tmp_path):
    folder, _ = judged_run(tmp_path / "cot", text="answers.jsonl")
    assert "Answers were given, not generated" in draw_overview([figures_of(folder)], None)


def test_the_name_of_a_run_leads_to_its_first_item(run):
    markup = draw_overview([figures_of(run)], None)
    assert 'href="#run=0&amp;item=11&amp;token=0"' in markup


def test_a_run_of_nothing_but_empty_answers_has_an_overview_without_charts(run):
    write_items(run, [fake_item(np.random.default_rng(0), "1", [], correct=None)])
    markup = draw_overview([figures_of(run)], None)
    assert "<svg" not in markup
    assert rows_of(markup, "runs")[0][4:7] == ["–", "–", "–"]


# ---- Along the output ----


def test_means_by_position_are_over_the_answers_that_reach_it():
    course = ByPosition(1)
    course.add(np.array([[1.0, 2.0, 3.0]]))
    course.add(np.array([[3.0, np.nan]]))
    assert course.course(100, 1) == [(0.0, [2.0], 2), (1.0, [2.0], 1), (2.0, [3.0], 1)]
    assert course.course(100, 2) == [(0.0, [2.0], 2)], "ends where too few answers are left"


def test_a_long_course_is_thinned_into_bins_that_lose_no_weight():
    random = np.random.default_rng(0)
    values = random.random((2, 1003))
    course = ByPosition(2)
    course.add(values)
    bins = course.course(200, 1)
    assert len(bins) <= 200
    assert bins[0][1] == pytest.approx(values[:, :6].mean(1).tolist())
    assert bins[-1][0] == pytest.approx(1002), "the last bin holds one position"


def test_shares_are_stacked_to_the_whole(run):
    markup = draw_overview([figures_of(run)], None)
    markup = markup[markup.index("Where the attention goes") :]
    for name in SHARES:
        assert f'class="share-{name}"' in markup
    last = re.search(r'class="share-generated"><path class="area" d="M([\d. L]+)', markup)[1]
    heights = {float(point.split()[1]) for point in last.split("L")[: len(last.split("L")) // 2]}
    assert len(heights) == 1, "its upper edge is the whole"


def test_heads_are_averaged_over_the_items_that_have_them(run):
    figures = figures_of(run)
    details = [read_details(run, item) for item in read_items(run)]
    shares = [each.head_share for each in details if each is not None]
    np.testing.assert_allclose(figures.head_share, np.mean(shares, axis=0), rtol=1e-6)
    layer, head = np.unravel_index(figures.head_share.argmax(), figures.head_share.shape)
    said = " ".join(texts(draw_overview([figures], None)))
    assert f"over 2 answers; most: layer {layer} head {head} {100 * figures.head_share.max():.1f}%" in said


# ---- Several runs ----


def test_more_than_three_runs_are_folded_away_but_none_is_left_out(tmp_path):
    folder, _ = judged_run(tmp_path / "run")
    runs = [figures_of(folder, f"run{k}") for k in range(5)]
    markup = draw_overview(runs, None)
    assert "2 more runs" in markup
    for run in runs:
        assert markup.count(f"<figcaption>{run.name}</figcaption>") == 3


def test_the_comparison_shows_the_figures_and_sentences_of_compare(tmp_path):
    lengths = np.random.default_rng(0).integers(8, 30, 20)
    folders = [
        write_run(tmp_path / name, lengths, seed=seed, image_gain=gain)
        for seed, (name, gain) in enumerate([("blind", 1.0), ("looking", 1.6)])
    ]
    page = write_page(folders, out=tmp_path / "both.html")
    markup = page.path.read_text(encoding="utf-8")
    markup = markup[markup.index('id="comparison"') :]
    (pair,) = compare(folders)["pairs"]
    said = set(texts(markup))
    assert set(pair["conclusions"]["may"] + pair["conclusions"]["may_not"]) <= said
    rows = {row[0]: row[1:] for row in rows_of(markup, "figures-table differences")}
    matched = pair["position_matched"]["ratio"]
    assert rows["Ratio at equal positions"] == [
        *(f"{matched[key]:#.4g}" for key in ("baseline", "other")),
        f"{matched['value']:#.3g}",
        f"{matched['low']:#.3g} to {matched['high']:#.3g}",
    ]


def test_runs_that_cannot_be_compared_still_have_a_page_that_says_why(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    write_items(other, [fake_item(np.random.default_rng(1), "unshared", [" x"])])
    page = write_page([run, other], out=tmp_path / "both.html")
    markup = page.path.read_text(encoding="utf-8")
    assert '<p class="refusal">Not compared: run and other share no problem' in markup
    assert str(tmp_path) not in markup, "a page that travels names no folder"


def test_a_refusal_names_runs_where_they_stand_for_folders_and_nowhere_else(run, tmp_path, monkeypatch):
    other = shutil.copytree(run, run.parent / "e")
    write_items(other, [fake_item(np.random.default_rng(1), "unshared", [" x"])])
    monkeypatch.chdir(run)
    page = write_page([Path("."), Path("../e")], out=tmp_path / "both.html")
    line = "run and e share no problem; measure both on the same data"
    assert f"Not compared: {line}</p>" in page.path.read_text(encoding="utf-8")
    monkeypatch.chdir(run.parent)
    page = write_page([Path("run"), Path("e")], out=tmp_path / "both.html")
    assert f"Not compared: {line}</p>" in page.path.read_text(encoding="utf-8")


# ---- Charts ----


def test_marks_of_all_kinds_lie_in_one_frame():
    chart = Chart(
        [Line("line", "k0", [(0, 0), (10, 10)])],
        [(0, "0"), (10, "10")],
        [(0, "0"), (10, "10")],
        areas=[Area("area", "share-image", [(0, 0, 10), (10, 0, 10)])],
        bars=[Bar("correct", 0, 10, 0, 10)],
        clouds=[Cloud("wrong", "triangle", [(0, 0), (10, 10)])],
        x_title="across <",
        y_title="up",
    )
    svg = chart.draw("all", width=600, height=300)
    (line,) = re.findall(r'class="line" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', svg)
    left, bottom, right, top = map(float, line)
    bar = re.search(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    assert [float(value) for value in bar.groups()] == pytest.approx(
        [left, top, right - left - 1, bottom - top]
    )
    area = re.search(r'class="area" d="M([\d.]+) ([\d.]+)L', svg)
    assert (float(area[1]), float(area[2])) == (left, top)
    points = re.search(r'class="marker wrong"[^>]* d="M([\d.]+) ([\d.]+)m', svg)
    assert (float(points[1]), float(points[2])) == (left, bottom)
    assert "across &lt;" in svg


def test_a_line_that_ends_early_is_named_where_it_ends_and_the_others_on_the_right():
    lines = [Line(name, "k0", [(0, 0), (x, 5)]) for name, x in (("early", 20), ("late", 99), ("last", 100))]
    svg = Chart(lines, [(0, "0"), (100, "100")], [(0, "0"), (10, "10")]).draw("names", width=900, height=340)
    places = {
        name: (float(x), float(y))
        for x, y, name in re.findall(r'<text x="([\d.]+)" y="([\d.]+)">(\w+)<', svg)
    }
    assert places["early"][0] < 300 < places["late"][0] == places["last"][0]
    assert abs(places["late"][1] - places["last"][1]) >= 17, "names do not lie over each other"


def test_names_of_lines_that_end_early_together_do_not_lie_on_each_other():
    lines = [Line(name, "k0", [(0, 1), (10, 1)]) for name in ("one", "two")]
    chart = Chart([*lines, Line("three", "k1", [(0, 2), (500, 2)])], [(0, "0")], [(0, "0"), (2, "2")])
    heights = re.findall(r'y="([^"]+)">(?:one|two)</text>', chart.draw("x", width=900, height=340))
    assert abs(float(heights[0]) - float(heights[1])) >= 17


def test_a_correlation_below_zero_changes_no_run_s_name(tmp_path):
    folder, _ = judged_run(tmp_path / "a-run")
    figures = figures_of(folder, "a-run")
    for row in figures.rows:
        row["ratio"] = 1 / row["length"]
    assert re.search(r"Correlation of ratio and length: a-run −0\.\d\d\.", draw_overview([figures], None))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 3e-7), (0, 0.99), (-4.1, 0.2), (-2, -1), (7, 812)])
def test_even_ticks_hold_all_values_and_zero_in_few_equal_steps(low, high):
    places = [place for place, _ in even_ticks(low, high)]
    assert places[0] <= min(low, 0)
    assert places[-1] >= max(high, 0)
    assert np.ptp(np.diff(places)) < 1e-9 * max(1, high)
    assert 2 <= len(places) <= 8


def test_a_grid_holds_each_cell_once_at_its_level():
    svg = draw_grid([[0.0, 0.49, 0.5], [1.0, 0.99, 0.51]], levels=2, row_name="layer", column_name="head")
    cells = {kind: path.count("M") for kind, path in re.findall(r'class="(h\d)" d="([^"]+)"', svg)}
    assert cells == {"h0": 2, "h1": 4}
