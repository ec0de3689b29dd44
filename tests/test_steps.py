"""Steps of a solution: found however a model marks them, and always a partition of the tokens."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkit.evaluate.steps import find_steps


def tokens(text):
    return re.findall(r"\n| ?\w+| ?[^\w\s]|\s", text)


def texts(text):
    pieces = tokens(text)
    assert "".join(pieces) == text
    return ["".join(pieces[a:b]).strip() for a, b in find_steps(pieces)]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Step 1: a = 3.\nSo b.\nStep 2: c.", ["Step 1: a = 3.\nSo b.", "Step 2: c."]),
        ("We know AB.\n1. First. Then.\n2. Second.", ["We know AB.", "1. First. Then.", "2. Second."]),
        ("**Step 1**: x\n\n**Step 2**: y\n", ["**Step 1**: x", "**Step 2**: y"]),
        ("1) x\n2) y", ["1) x", "2) y"]),
        ("- Step 1: x\n- Step 2: y", ["- Step 1: x", "- Step 2: y"]),
        ("a = 3.5\nb = 4\n\nc = 7", ["a = 3.5", "b = 4", "c = 7"]),
        ("3.5 is a.\n2.5 is b.", ["3.5 is a.", "2.5 is b."]),
        (
            "The angle is 30. Thus x = 2.5 and so on. So B.",
            ["The angle is 30.", "Thus x = 2.5 and so on.", "So B."],
        ),
        ("29+44=63. 180-63=117. Answer: 117", ["29+44=63.", "180-63=117.", "Answer: 117"]),
        ("Angle 2. 5 is no step", ["Angle 2. 5 is no step"]),
        ("Find sin. of x", ["Find sin. of x"]),
        ("Answer: 70", ["Answer: 70"]),
        ("\n\nx = 1\ny = 2", ["x = 1", "y = 2"]),
    ],
)
def test_numbered_lines_then_lines_then_sentences(text, steps):
    assert texts(text) == steps


def test_nothing_has_no_step_and_blanks_have_one():
    assert find_steps([]) == []
    assert find_steps(["\n", " ", ""]) == [(0, 3)]


@given(
    st.lists(
        st.sampled_from(["Step", " 1", ":", "\n", " a", ".", " B", "2.", " ", "", "é", "\u2029"]), max_size=30
    )
)
def test_steps_are_a_partition_of_the_tokens(pieces):
    steps = find_steps(pieces)
    assert [start for start, _ in steps] == [0, *(end for _, end in steps[:-1])][: len(steps)]
    assert all(start < end for start, end in steps)
    assert (steps[-1][1] if steps else 0) == len(pieces)


@pytest.mark.parametrize("mark", ["-", "*", "_", "> ", "# "])
def test_a_long_ruler_takes_no_longer_than_its_length(mark):
    ruler = mark * 5_000  # as Markdown tables have them; a pattern that backtracks would never end
    assert texts(f"a = 1\n{ruler}\n1. b\n2. c") == [f"a = 1\n{ruler.strip()}", "1. b", "2. c"]


def test_a_border_inside_a_token_belongs_to_the_step_that_begins_there():
    assert find_steps(["a.", "\nStep 1", ": x\nStep", " 2: y"]) == [(0, 1), (1, 2), (2, 4)]


def test_a_token_that_ends_a_sentence_and_its_blank_does_not_begin_the_next():
    assert find_steps(["a = 3", ". ", "So", " b."]) == [(0, 2), (2, 4)]
