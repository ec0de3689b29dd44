"""`vkit compare` as people call it, its tables, and the words that follow from figures."""

import json
import re
import sys

import numpy as np
import pytest

from tests.synthetic_runs import write_run
from vkit.attention.compare_words import conclude, conclude_run
from vkit.cli.tables import SHARES, Cell, echo_summary, format_table

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
    may, may_not = words_on(far, wide, UP)  # the position-matched interval holds +0.12 as well
    assert not may
    assert "but at equal positions by +0.1 (-0.5 to 0.7): too uncertain to confirm it" in may_not
    assert "disagree" not in may_not
    may, may_not = words_on(far, UP, wide)
    assert "over the positions that both have" in may
    assert "too uncertain to confirm it" in may_not


def correlation(r, p):
    return {"r": r, "p": p, "items": 60, "reason": None if r is not None else "correctness does not vary"}


@pytest.mark.parametrize(
    ("raw", "given", "said", "words"),
    [
        ((0.4, 0.001), (0.3, 0.01), "may", "right answers have larger ratios at equal length"),
        ((0.4, 0.001), (-0.3, 0.01), "may", "right answers have smaller ratios at equal length"),
        ((0.1, 0.4), (0.3, 0.01), "may", "(r = +0.10, p = 0.4; at equal length r = +0.30, p = 0.01; 60"),
        ((0.4, 0.001), (0.1, 0.4), "may_not", "go together only through length, as far as shown"),
        ((0.1, 0.4), (0.1, 0.5), "may_not", "no relation of ratio and right answers is shown"),
        ((None, None), (None, None), "may_not", "is open: correctness does not vary"),
    ],
)
def test_words_on_right_answers_follow_the_correlation_at_equal_length(raw, given, said, words):
    found = conclude_run("a", {"correct": correlation(*raw), "correct_given_length": correlation(*given)})
    assert words in found[said][0]
    assert sum(map(len, found.values())) == 1


def test_the_direction_of_each_sentence_is_that_of_its_figure():
    def on(*, up, fewer=False, overlap=0.9, without=UP):
        ratio, image, text = (UP, NONE, DOWN) if up else (DOWN, NONE, UP)
        pair = {
            "baseline": "a", "other": "b", "measured": 600, "raw": ratio, "length_controlled": ratio,
            "position_matched": {"ratio": ratio, "V": image, "P": text},
            "without": {"first_column": "text", "both": {**without, "columns": [3, 7]}},
            "overlap": {"baseline": 1.0, "other": overlap, "median_tokens": 50},
            "accuracy": {**figure(-0.1 if fewer else 0.1, -0.2, 0.2), "judged": 600, "p": 0.01},
        }  # fmt: skip
        found = conclude(pair, {}, {}, pairs=1)
        return " ".join(found["may"]), " ".join(found["may_not"])

    may, may_not = on(up=True)
    assert "The ratio is higher because weight on the text fell" in may_not
    assert "that is not looking more" in may_not
    assert "'b' solves more problems than 'a'" in may
    assert "The difference stays without 2 sink columns and the first token" in may
    assert "Only" not in may_not
    may, may_not = on(up=False, fewer=True, overlap=0.1)
    assert "The ratio is lower because weight on the text rose" in may_not
    assert "that is not looking less" in may_not
    assert "'b' solves fewer problems than 'a'" in may
    assert "Without 2 sink columns and the first token the difference is +0.12" in may_not
    assert "Only 10% of the tokens of 'b' are at positions that both runs have" in may_not


@pytest.fixture
def folders(tmp_path):
    return [write_run(tmp_path / "direct", SHORT, seed=1), write_run(tmp_path / "cot", SHORT * 5, seed=2)]


def test_json_goes_to_a_pipe_and_words_to_people(vkit, folders, tmp_path):
    out = tmp_path / "comparison.json"
    code, stdout, stderr = vkit("compare", *folders, "--resamples", 200, "--out", out)
    assert code == 0, stderr
    assert json.loads(stdout) == json.loads(out.read_text())
    assert "length explains the difference" in " ".join(stderr.split())
    assert "\x1b" not in stdout + stderr


def test_each_figure_stands_under_its_heading(vkit, tmp_path):
    correct = [i % 3 > 0 for i in range(30)]
    run = write_run(
        tmp_path / "a", SHORT, seed=1, sink_columns=(3,), sink_weight=0.1, correct=correct
    )  # its ratio differs without sinks
    other = write_run(tmp_path / "b", SHORT * 3, seed=2, correct=correct[::-1])
    _, stdout, stderr = vkit("compare", run, other, "--resamples", 200)
    result, lines = json.loads(stdout), stderr.splitlines()
    first, pair = result["runs"][0], result["pairs"][0]
    correlations = (first["correlation"][name]["r"] for name in ("correct", "correct_given_length"))
    assert lines[1].split() == [
        "a", "67%", f"{first['ratio']['mean']:.3g}", f"{first['ratio_without']['sinks']['value']:.3g}",
        f"{first['median_output_tokens']:.3g}", f"{first['shares']['image']:.0%}",
        *(f"{r:.3g}" for r in correlations),
    ]  # fmt: skip
    table = {
        line[:30].strip(): line[30:].split()
        for line in lines[lines.index("b less a") + 2 :]
        if line[:1] != " "
    }
    matched, controlled = pair["position_matched"], pair["length_controlled"]
    for name, figure in (
        ("ratio, means", pair["raw"]),
        ("ratio, equal positions", matched["ratio"]),
        ("ratio, length controlled", controlled),
        ("V, equal positions", matched["V"]),
        ("P, equal positions", matched["P"]),
        ("image share, equal positions", matched["shares"]["image"]),
    ):
        value, low, to, high = table[name]
        assert value == f"{figure['value']:+.3g}"
        assert to == "to"
        assert float(low) == pytest.approx(figure["low"], rel=0.1, abs=1e-4)
        assert float(high) == pytest.approx(figure["high"], rel=0.1, abs=1e-4)
    assert table["correct"][0] == f"{pair['accuracy']['value']:+.1%}"
    assert table["tokens at positions of both"] == [f"{pair['overlap']['other']:.0%}"]


def test_a_file_that_is_no_comparison_is_not_overwritten(vkit, folders, tmp_path):
    summary = folders[0] / "summary.json"
    before = summary.read_bytes()
    code, stdout, stderr = vkit("compare", *folders, "--resamples", 200, "--out", summary)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert "is no comparison and would be lost" in stderr
    assert summary.read_bytes() == before
    for _ in range(2):  # one of its own is replaced
        assert vkit("compare", *folders, "--resamples", 200, "--out", tmp_path / "c.json")[0] == 0


def test_a_terminal_gets_the_table_in_colours_unless_told_otherwise(vkit, folders, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, stdout, stderr = vkit("compare", *folders, "--resamples", 200, terminal=True)
    assert (code, stderr) == (0, "")
    assert "length controlled" in stdout
    assert re.search(r"\x1b\[36m *\+0\.", stdout)  # a difference
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


def test_a_summary_keeps_its_numbers_on_eighty_columns(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    summary = {
        "model": "tiny", "items": 300, "accuracy": 2 / 3, "not_extracted": 12,
        "ratio": {"mean": 0.4125, "sum": 61.2, "max": 1.25}, "shares": dict.fromkeys(SHARES, 0.16),
        "median_output_tokens": 34.0,
    }  # fmt: skip
    echo_summary(summary)
    told = capsys.readouterr().out
    assert told.count("16%") == len(SHARES)
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 80


def test_sentences_fit_the_terminal_and_names_cannot_command_it(vkit, tmp_path, monkeypatch):
    evil = write_run(tmp_path / "e\x1b]0;vil", SHORT, seed=1)
    monkeypatch.setenv("NO_COLOR", "1")
    _, stdout, _ = vkit(
        "compare",
        evil,
        write_run(tmp_path / "b", SHORT, seed=2),
        "--resamples",
        200,
        terminal=True,
        columns=70,
    )
    assert "\x1b" not in stdout
    sentences = [line for line in stdout.splitlines() if line.startswith(("  - ", "    "))]
    assert len(sentences) > 5
    assert max(map(len, sentences)) <= 70
