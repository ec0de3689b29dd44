"""`vkit compare` as people call it, its tables, and the words that follow from figures."""

import json
import sys

import numpy as np
import pytest

from tests.synthetic_runs import write_run
from vkit.attention.compare_words import conclude
from vkit.cli.main import main
from vkit.cli.tables import Cell, echo_summary, format_table

SHORT = np.random.default_rng(0).integers(5, 40, size=30)


def figure(value, low, high):
    return {"value": value, "low": low, "high": high, "baseline": 0.4, "reason": None}


def words_on(raw, matched, controlled):
    nothing = figure(0.0, -0.1, 0.1)
    pair = {
        "baseline": "a", "other": "b", "measured": 600, "raw": raw, "length_controlled": controlled,
        "position_matched": {"ratio": matched, "V": nothing, "P": nothing},
        "without": {"first_column": None, "both": {"value": None, "reason": "old"}},
        "overlap": {"baseline": 1.0, "other": 0.9, "median_tokens": 50},
        "accuracy": {"judged": 0},
    }  # fmt: skip
    found = conclude(pair, {}, {}, pairs=1)
    return " ".join(found["may"]), " ".join(found["may_not"])


NONE, UP, DOWN = figure(0.01, -0.02, 0.03), figure(0.12, 0.05, 0.20), figure(-0.12, -0.20, -0.05)


def test_the_words_follow_the_intervals():
    some = figure(0.15, -0.02, 0.32)
    assert (
        "length explains a part, and whether anything remains is open"
        in words_on(figure(0.45, 0.40, 0.50), some, some)[1]
    )
    far, wide = figure(0.45, 0.40, 0.50), figure(0.1, -0.5, 0.7)
    may, _ = words_on(far, UP, UP)
    assert may.startswith(
        "At equal positions 'b' has a ratio 0.12 higher than 'a' (95% interval 0.05 to 0.20, 600 problems)"
    )
    assert "0.12 lower than 'a' (95% interval 0.05 to 0.20" in words_on(far, DOWN, DOWN)[0]
    may, may_not = words_on(far, NONE, NONE)
    assert not may
    assert "length explains the difference, and nothing follows about looking" in may_not
    assert "too uncertain to tell length from looking" in words_on(far, wide, wide)[1]
    assert "No difference in ratio is shown" in words_on(NONE, NONE, NONE)[1]
    for matched, controlled in ((UP, DOWN), (UP, NONE), (NONE, UP)):
        may, may_not = words_on(far, matched, controlled)
        assert not may
        assert "The two controls disagree" in may_not
    may, may_not = words_on(far, UP, wide)
    assert "over the positions that both have" in may
    assert "too uncertain to confirm it" in may_not


@pytest.fixture
def folders(tmp_path):
    return [write_run(tmp_path / "direct", SHORT, seed=1), write_run(tmp_path / "cot", SHORT * 5, seed=2)]


@pytest.fixture
def vkit(monkeypatch, capsys):
    """Call ``vkit`` in this process: exit code, stdout, stderr."""

    def call(*arguments, terminal=False):
        monkeypatch.setattr(sys, "argv", ["vkit", *map(str, arguments)])
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        monkeypatch.setenv("COLUMNS", "300")
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_json_goes_to_a_pipe_and_words_to_people(vkit, folders, tmp_path):
    out = tmp_path / "comparison.json"
    code, stdout, stderr = vkit("compare", *folders, "--resamples", 200, "--out", out)
    assert code == 0, stderr
    assert json.loads(stdout) == json.loads(out.read_text())
    assert "length explains the difference" in " ".join(stderr.split())
    assert "\x1b" not in stdout + stderr


def test_a_terminal_gets_the_table_in_colours_unless_told_otherwise(vkit, folders, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, stdout, stderr = vkit("compare", *folders, "--resamples", 200, terminal=True)
    assert (code, stderr) == (0, "")
    assert "length controlled" in stdout
    assert "\x1b[36m+0." in stdout  # a difference
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in vkit("compare", *folders, "--resamples", 200, terminal=True)[1]
    assert json.loads(vkit("compare", *folders, "--resamples", 200, "--json", terminal=True)[1])["pairs"]


def test_errors_are_one_line(vkit, folders, tmp_path):
    code, stdout, stderr = vkit("compare", folders[0], tmp_path / "nowhere")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("vkit: ")
    assert stderr.count("\n") == 1
    code, _, stderr = vkit("compare", *folders, "--resamples", 200, "--out", tmp_path / "no" / "place.json")
    assert code == 1
    assert stderr.count("\n") == 1


def test_tables_cut_names_and_never_numbers():
    rows = [["a-very-long-name-of-a-run", Cell("+0.25 (0.10 to 0.40)", "cyan")]]
    for width in (10, 30, 40):
        lines = format_table(["run", "difference"], rows, align="lr", width=width)
        assert "+0.25 (0.10 to 0.40)" in lines[1]
        assert len(lines[1]) <= max(width, 30)
    assert "…" in lines[1]
    assert "\x1b[36m" in format_table(["run", "x"], rows, align="lr", colours=True)[1]
    assert "\x1b" not in format_table(["run", "x"], [["evil\x1b[31m", "1"]], align="lr")[1]


def test_a_summary_is_told_in_a_few_lines(capsys):
    summary = {
        "model": "tiny", "items": 3, "accuracy": 2 / 3, "judged": 3, "not_extracted": 1, "empty": 1,
        "ratio": {"mean": 0.4125, "sum": 61.2, "max": None}, "shares": {"image": 0.11},
        "median_output_tokens": 34.0,
    }  # fmt: skip
    echo_summary(summary)
    told = capsys.readouterr().out
    for part in ("tiny", "66.7% of 3 problems", "mean 0.412", "max -", "image 11%", "median 34"):
        assert part in told
