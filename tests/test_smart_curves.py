"""Validation curves: a panel a skill in one picture, on a page that asks nothing of the network."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from vkit.report.smart_curves import Curves, curves_page, curves_svg

SVG = "{http://www.w3.org/2000/svg}"


def epoch(value, **skills):
    def scores(number):
        return {"S_acc": number, "O_acc": 0.0, "five_option": 0.0}

    return {"overall": scores(value), "skills": {name: scores(number) for name, number in skills.items()}}


TWO_SEEDS = Curves(
    {
        0: [epoch(10.0, logic=5.0, path=40.0), epoch(20.0, logic=8.0, path=60.0)],
        7: [epoch(12.0, logic=7.0, path=20.0)],  # stopped early
    },
    {0: [(2.0, 2.1), (1.5, 1.9)], 7: [(2.2, 2.3)]},
)


def drawn_lines(panel):
    """(class, points) of each line of a panel."""
    groups = [group for group in panel.iter("g") if group.find("path") is not None]
    return [(g.get("class"), re.findall(r"[-\d.]+ [-\d.]+", g.find("path").get("d"))) for g in groups]


def panels(svg):
    root = ElementTree.fromstring(svg.replace('xmlns="http://www.w3.org/2000/svg" ', ""))
    return [panel for panel in root.iter("svg") if panel is not root], [t.text for t in root.findall("text")]


def test_every_skill_and_the_loss_have_a_panel():
    found, titles = panels(curves_svg(TWO_SEEDS))
    assert len(found) == 4
    names = ["overall, S_acc %", "logic, S_acc %", "path, S_acc %", "loss, training and validation (dashed)"]
    assert titles == names
    assert [panel.get("aria-label") for panel in found[:2]] == ["overall by epoch", "logic by epoch"]


def test_a_line_a_seed_and_their_mean_as_far_as_all_got():
    found, _ = panels(curves_svg(TWO_SEEDS))
    lines = drawn_lines(found[0])
    assert [(kind, len(points)) for kind, points in lines] == [("seed", 2), ("seed", 1), ("mean", 1)]
    heights = [float(points[0].split()[1]) for _, points in lines]
    assert heights[2] == pytest.approx((heights[0] + heights[1]) / 2, abs=0.1)  # pixels, rounded


def test_panels_share_their_axes():
    found, _ = panels(curves_svg(TWO_SEEDS))
    ticks = [[text.text for text in panel.findall("text")] for panel in found[:3]]
    assert ticks[0] == ticks[1] == ticks[2]
    assert "60" in ticks[0]


def test_the_chosen_column_is_of_the_epoch_that_is_best_overall():
    """And not each skill's own maximum."""
    epochs = [epoch(30.0, path=10.0), epoch(30.0, path=60.0), epoch(20.0, path=90.0)]
    page = curves_page(Curves({0: epochs}, {0: [(2.0, 2.0)] * 3}), {})
    (path,) = re.findall(r'<th scope="row">path</th>(.*?)</tr>', page)
    assert re.findall(r"<td>(.*?)</td>", path) == ["10.0", "10.0", "90.0"]


def test_the_axis_of_epochs_has_a_name_and_begins_at_the_first():
    found, _ = panels(curves_svg(TWO_SEEDS))
    for panel in found:
        assert "epoch" in [text.text for text in panel.findall("text")]
        assert [tick.text for tick in panel.iter("tspan")] == ["1", "2"]


def test_the_page_is_self_contained_and_says_the_numbers():
    page = curves_page(TWO_SEEDS, {"qf": "<tokens>", "lr": 3e-4})
    assert "default-src 'none'" in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "&lt;tokens&gt;" in page
    rows = re.findall(r'<th scope="row">path</th>(.*?)</tr>', page)
    assert re.findall(r"<td>(.*?)</td>", rows[0]) == ["30.0", "40.0", "40.0"]
