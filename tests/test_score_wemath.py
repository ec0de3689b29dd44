"""We-Math: outcomes of problems by their parts, and the public leaderboard from its counts."""

import csv
import re
from itertools import product
from pathlib import Path

import pytest

from vkit.errors import VkitError
from vkit.evaluate.scoring import compare_marks, mark_outputs, report_marks
from vkit.evaluate.suites import SUITES
from vkit.evaluate.wemath import OUTCOMES, count_outcomes, extract, rates
from vkit.records import Sample

LEADERBOARD = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "wemath" / "leaderboard.csv"
SUITE = SUITES["wemath"]


def problem(name, steps):
    keys = [f"{steps}steps_{part}" for part in (*range(1, steps + 1), "multi")]
    return [
        Sample(
            f"{name}:{key.split('_')[1]}",
            "?",
            ("1", "2"),
            "B",
            meta={"ID": name, "key": key, "knowledge concept": "Angles"},
        )
        for key in keys
    ]


def marks_of(*rights):
    """Marks of problems whose parts are right as said, the whole last."""
    samples, outputs = [], {}
    for number, right in enumerate(rights):
        parts = problem(f"p{number}", len(right) - 1)
        samples += parts
        outputs |= {part.id: f"Answer: {'B' if good else 'A'}" for part, good in zip(parts, right)}
    return mark_outputs(SUITE, samples, outputs)


def published(cell):
    """Rate, as written, and count of a cell such as "31.24% (164)"."""
    match = re.fullmatch(r"([\d.]+)%(?: \((\d+)\))?", cell)
    return match[1], match[2] and int(match[2])


@pytest.mark.skipif(not LEADERBOARD.is_file(), reason="We-Math's leaderboard is not at ../shared/data")
def test_counts_give_the_leaderboards_rates_but_for_its_typo():
    typos = []
    with LEADERBOARD.open() as file:
        for row in csv.DictReader(file):
            for rule, suffix in (("strict", ""), ("loose", "_loose")):
                shown = {name: published(row[f"{name}{suffix}"]) for name in OUTCOMES}
                counts = {name: count for name, (_, count) in shown.items()}
                if sum(counts.values()) != 525:
                    typos.append((row["model"][:8], rule, counts["CM"]))
                    counts["CM"] += 525 - sum(counts.values())
                found = rates({rule: counts})[rule]
                assert f"{found['score']:.2f}" == published(row[f"{rule}_score"])[0]
                assert {name: f"{found[name]:.2f}" for name in OUTCOMES} == {
                    n: r for n, (r, _) in shown.items()
                }
    assert typos == [("Qwen2-VL", "strict", 115)]  # 155


@pytest.mark.parametrize("steps", [2, 3])
def test_outcomes_follow_their_definitions(steps):
    for right in product((False, True), repeat=steps + 1):
        counts = count_outcomes(marks_of(right))
        *parts, whole = right
        strict, loose = (
            next(name for name in OUTCOMES if counts[rule][name]) for rule in ("strict", "loose")
        )
        assert (
            strict
            == {(True, True): "CM", (False, True): "RM", (True, False): "IG", (False, False): "IK"}[
                all(parts), whole
            ]
        )
        assert loose == ("CM" if any(parts) else "RM" if whole else strict) if whole else loose == strict


def test_the_score_is_in_percent_with_an_interval_over_problems():
    rights = (
        [(True, True, True)] * 6
        + [(True, True, False)] * 4
        + [(False, True, True)] * 5
        + [(True, False, False)] * 5
    )
    report = report_marks(SUITE, marks_of(*rights))
    strict, loose = report["figures"]["score (strict)"], report["figures"]["score (loose)"]
    assert strict["value"] == pytest.approx(100 * (6 + 0.5 * 4) / 20)
    assert loose["value"] == pytest.approx(100 * (6 + 5 + 0.5 * 4) / 20)
    assert strict["low"] < strict["value"] < strict["high"]
    assert strict["value"] == pytest.approx(report["rates"]["strict"]["score"])
    assert report["rates"]["strict"]["RM"] == pytest.approx(100 * 5 / 11)
    assert report["groups"]["steps"]["one-step"]["count"] == 40
    assert report["groups"]["steps"]["two-step"]["accuracy"]["value"] == pytest.approx(55)
    assert report["groups"]["knowledge concept"]["Angles"]["count"] == 40


def test_two_runs_are_compared_by_problems():
    mine = marks_of(*[(True, True, True)] * 12, *[(True, True, False)] * 8)
    theirs = marks_of(*[(True, True, True)] * 4, *[(True, True, False)] * 16)
    found = compare_marks(SUITE, mine, theirs)
    assert found["score (strict)"]["difference"] == pytest.approx(20)  # a half for 8 of 20
    assert (found["score (strict)"]["won"], found["score (strict)"]["lost"]) == (8, 0)
    assert found["score (strict)"]["p"] is None
    assert found["groups"]["two-step"]["p"] == pytest.approx(2 * 0.5**8)


def test_a_problem_without_all_its_parts_is_refused():
    samples = problem("p", 3)[:-1]
    marks = mark_outputs(SUITE, samples, {sample.id: "B" for sample in samples})
    with pytest.raises(VkitError, match="problem 'p' lacks 3steps_multi"):
        report_marks(SUITE, marks)


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("<Thought process>: Answer or not <Answer>: C", "C"),
        ("<Answer>: <<D.>>", "D"),
        ("B. 40", "B"),
        ("Answer: the second", None),
        ("The Answer is B", None),  # what follows begins with another word
        ("Answer: b", None),
        ("Answer: I", None),
        ("", None),
    ],
)
def test_the_letter_is_read_by_the_official_rule_alone(output, letter):
    reading = extract(output, Sample("1", "?", ("1", "2"), "B"))
    assert reading == (None if letter is None else (letter, "official"))
