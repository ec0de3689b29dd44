"""The value that an answer says: from LaTeX, units and sentences to a number, or to none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkit.evaluate.values import final_answer, final_number, same_value, value_of

whole = st.integers(1, 999)


@given(whole, whole, whole)
def test_every_way_to_write_a_number_says_the_same(a, b, c):
    root = a * math.sqrt(b) / c
    for text in (
        rf"\frac{{{a}\sqrt{{{b}}}}}{{{c}}}",
        rf"\dfrac {{ {a} \sqrt {{ {b} }} }} {{ {c} }} \text{{ cm}}",
        f"x = {a}*sqrt({b})/{c}",
        f"${a}√{b}/{c}$",
    ):
        assert value_of(text) == pytest.approx(root), text


@given(
    st.decimals(-(10**6), 10**6, places=2),
    st.sampled_from(["", " cm", "°", "%", r"^\circ", " square units", " m^2"]),
)
def test_units_are_no_part_of_the_number(number, unit):
    assert value_of(f"{number}{unit}") == pytest.approx(float(number))
    assert value_of(f"{number:,}{unit}") == pytest.approx(float(number))


@pytest.mark.parametrize(
    "text",
    ["", "A", "x", "about 5 or 6", "12 or 13", "2+", "9**9", "0x10", "1_000", "sqrt(-1)", "1/0", "(" * 70],
)
def test_what_is_no_number_has_no_value(text):
    assert value_of(text) is None


@given(st.text(max_size=90))
def test_no_text_breaks_it(text):
    assert value_of(text) is None or math.isfinite(value_of(text))
    final_answer(text)
    final_number(text)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (r"first \boxed{3}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("Answer: 7 cm\nThat is all.", "7cm"),
        ("So the area of the field is 12.5 square metres.", "12.5squaremetres"),
        ("It is **42** apples, I think, as I said", "42"),
        ("the ratio is 4:5", None),
        ("I see 3 dogs and 4 cats in the picture", None),
        ("", None),
        (r"\boxed{", None),
    ],
)
def test_the_answer_stands_where_the_output_ends(output, answer):
    assert final_answer(output) == answer


def test_values_are_the_same_as_numbers_or_as_texts():
    assert same_value("0.5", r"\frac{1}{2}")
    assert same_value("y = 2x + 1", "y=2x+1")
    assert same_value("Yes", "yes.")
    assert not same_value("y = 2x", "y = 3x")
    assert not same_value("2x", "2")
    assert not same_value("14.3", "14")
