"""Text set into pictures: where the ink stands, what is refused, and that nothing is lost on the way."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vkit.errors import VkitError
from vkit.synthesis.typeset import typeset, typeset_into, typeset_size
from vkit.synthesis.typeset_boxes import OVER, Glyphs, lay_out
from vkit.synthesis.typeset_glyphs import GLYPHS, has_glyph, in_font
from vkit.synthesis.typeset_latex import parse
from vkit.synthesis.typeset_symbols import ALIASES, FUNCTIONS, MARKS, OPERATORS, SYMBOLS
from vkit.synthesis.typeset_tree import Fraction, Run, Scripts


def ink(text: str, **options) -> np.ndarray:
    """Where there is ink, (height, width)."""
    return np.asarray(typeset(text, **options).convert("L")) < 128


def pieces(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of the ink between empty columns, from left to right."""
    columns = np.flatnonzero(mask.any(0))
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    found = []
    for run in runs:
        rows = np.flatnonzero(mask[:, run].any(1))
        found.append((run[0], rows[0], run[-1], rows[-1]))
    return found


def bars(mask: np.ndarray) -> list[tuple[int, int]]:
    """Row and length of each row's longest unbroken ink."""
    found = []
    for row, line in enumerate(mask):
        best = run = 0
        for dot in line:
            run = run + 1 if dot else 0
            best = max(best, run)
        found.append((row, best))
    return found


def letters(text: str, width: int, size: int = 16) -> str:
    """The font's characters as they were laid out, in order."""
    lines = lay_out(parse(text), width=width, size=size)
    return "".join(mark.text for line in lines for mark in line.marks if isinstance(mark, Glyphs))


# Where the ink stands. 64 pixels a letter, so that a pixel more or less does not matter.
BIG = dict(font_size=64, width=640, margin=20)


def test_a_subscript_is_smaller_and_lower_than_its_base():
    base, script = pieces(ink("H_8", **BIG))
    assert script[3] > base[3] + 5
    assert script[1] > base[1] + 5
    assert script[3] - script[1] < 0.8 * (base[3] - base[1])


def test_a_superscript_is_smaller_and_higher_than_its_base():
    base, script = pieces(ink("H^8", **BIG))
    assert script[1] < base[1] - 2
    assert script[3] < base[3] - 10
    assert script[3] - script[1] < 0.8 * (base[3] - base[1])


def test_scripts_on_one_base_do_not_touch():
    mask = ink("$x_8^8$", **BIG)
    left, _, right, _ = pieces(mask)[-1]
    rows = np.flatnonzero(mask[:, left : right + 1].any(1))
    assert (np.diff(rows) > 2).sum() == 1


def test_a_fraction_has_its_parts_over_and_under_a_bar():
    mask = ink(r"\frac{8}{88}", **BIG)
    row, length = max(bars(mask), key=lambda bar: bar[1])
    (left, _, right, _) = pieces(mask)[0]
    assert length == right - left + 1  # the bar is the widest of all
    above, below = mask[: row - 4], mask[row + 8 :]
    assert len(pieces(above)) == 1
    assert len(pieces(below)) == 2
    middle = (left + right) / 2
    for part in (above, below):
        assert abs((pieces(part)[0][0] + pieces(part)[-1][2]) / 2 - middle) < 4


def test_a_root_reaches_over_all_that_is_under_it():
    row, length = max(bars(ink("√888", **BIG)), key=lambda bar: bar[1])
    digits = ink("888", **BIG)
    assert length >= pieces(digits)[-1][2] - pieces(digits)[0][0]
    assert not ink("√888", **BIG)[:row].sum(1).max() > length  # nothing stands over the bar
    assert max(bars(ink("√8 88", **BIG)), key=lambda bar: bar[1])[1] < 0.6 * length


def test_a_line_over_a_name_is_as_wide_as_the_name():
    with_line, without = ink(r"\overline{HH}", **BIG), ink("HH", **BIG)
    assert pieces(with_line)[0][1] < 20 + 0.1 * 64
    _, length = bars(with_line)[pieces(with_line)[0][1] + 1]
    assert length == pytest.approx(pieces(without)[-1][2] - pieces(without)[0][0], abs=14)  # bearings


@pytest.mark.parametrize("pair", ["()", "[]", "||", r"\{\}"])
def test_delimiters_grow_with_what_they_enclose(pair):
    left, right = (pair[:2], pair[2:]) if len(pair) == 4 else pair
    first, *_, last = pieces(ink(rf"\left{left}\frac{{\frac{{1}}{{2}}}}{{3}}\right{right}", **BIG))
    plain = pieces(ink("(", **BIG))[0]
    for delimiter in (first, last):
        assert delimiter[3] - delimiter[1] > 1.4 * (plain[3] - plain[1])


def test_perpendicular_and_parallel_are_strokes_that_stand():
    (stroke, other) = pieces(ink("∥", **BIG))
    assert stroke[3] - stroke[1] == other[3] - other[1] > 0.6 * 64
    mask = ink("⊥", **BIG)
    row, length = max(bars(mask), key=lambda bar: bar[1])
    assert row > pieces(mask)[0][3] - 8  # the long line lies at the foot
    assert length > 0.55 * 64


# Characters.


@pytest.mark.parametrize("character", sorted(GLYPHS) + [c for c in string.printable if c.strip()])
def test_every_character_leaves_its_own_ink(character):
    assert has_glyph(character)
    text = {"$": r"\$", "\\": r"\backslash"}.get(character, character)
    mask = ink(text, font_size=32, width=80)
    assert mask.sum() > 4
    if character in GLYPHS:
        assert not in_font(character) or character in "·"


def test_no_two_strokes_look_alike():
    seen = {}
    for character in GLYPHS:
        picture = typeset(character, font_size=32, width=80).tobytes()
        assert picture not in seen, f"{character} looks as {seen.get(picture)}"
        seen[picture] = character


@pytest.mark.parametrize("command", sorted({*SYMBOLS, *OPERATORS, *FUNCTIONS}))
def test_every_command_can_be_drawn(command):
    assert ink(rf"$\{command} $", font_size=24, width=120).any()


@pytest.mark.parametrize("character", sorted(ALIASES))
def test_every_alias_can_be_drawn(character):
    assert ink(character, font_size=24, width=120).any()


def test_every_mark_has_its_path():
    assert set(MARKS.values()) <= set(OVER)


def test_an_accented_letter_has_its_accent_over_it():
    plain, accented = ink("HeH", **BIG), ink("HéH", **BIG)
    (_, top, _, foot), (_, accent, _, accented_foot) = pieces(plain)[1], pieces(accented)[1]
    assert accented_foot - accent > foot - top + 8
    letter = accented[accented_foot - (foot - top) : accented_foot + 1]
    assert (letter[-20:] == plain[foot - 19 : foot + 1]).mean() > 0.99


# The same thing in several spellings.


@pytest.mark.parametrize(
    "spellings",
    [
        ["x²", "x^2", "x^{2}", "$x^2$", r"\(x^{2}\)", "$$x^2$$", r"$x^\text{2}$"],
        ["x₁", "x_1", "$x_1$", "$x_{1}$"],
        ["x^-10", "x⁻¹⁰", "x^{-10}", "$x^{-10}$"],
        ["√π", r"√\pi", r"\sqrt{π}"],
        ["√3", r"\sqrt3", r"\sqrt{3}", "√(3)"],
        ["½", r"\frac12", r"$\frac{1}{2}$", r"\dfrac{1}{2}"],
        ["90°", r"90^\circ", r"$90^{\circ}$", r"90\degree"],
        ["∠ABC", r"\angle ABC", r"$\angle ABC$", r"\angle{}ABC".replace("{}", " ")],
        ["2π", r"2\pi", r"$2\pi$"],
        ["a ∥ b", "a ‖ b"],
        ["µ", "μ"],
        ["a−b", "$a-b$"],
        [r"\{1\}", "{1}"],
        ["100%", r"100\%"],
        ["a b", "a\u00a0b", "a  b", "a\tb"],
    ],
)
def test_spellings_of_the_same_look_the_same(spellings):
    pictures = {typeset(spelling).tobytes() for spelling in spellings}
    assert len(pictures) == 1


def test_money_is_no_mathematics():
    assert letters("It costs $5 and $3.", 400) == "Itcosts$5and$3."
    assert letters("$5-$3_1", 400).count("$") == 2


def test_signs_in_plain_text_are_themselves():
    assert parse("____") == (Run("____"),)
    assert parse("file_name") == (Run("file_name"),)
    assert parse("{1, 2}")[0] == Run("{1,")


def test_an_exponent_in_plain_text_is_a_whole_number():
    assert parse("x^12y") == (Scripts((Run("x"),), (Run("12"),)), Run("y"))
    assert parse("$x^12$") == (Scripts((Run("x"),), (Run("1"),)), Run("2"))  # as LaTeX has it


def test_a_fraction_may_stand_in_a_fraction():
    assert parse(r"\frac{1}{\frac{2}{3}}") == (Fraction((Run("1"),), (Fraction((Run("2"),), (Run("3"),)),)),)


def test_a_command_ends_where_another_begins():
    assert typeset(r"$\left(x \rightarrow 2\right)$").size[0] == 336
    with pytest.raises(VkitError, match=r"\\leftx"):
        typeset(r"\leftx")


# Lines.


def test_a_line_break_is_kept():
    one, two = typeset("H").height, typeset("H\nH").height
    assert typeset("H\n\nH").height - two == two - one > 16


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(string.ascii_letters + "πθ∠²", min_size=1, max_size=40), min_size=1, max_size=12),
    st.integers(60, 300),
)
def test_no_line_leaves_the_width_and_no_letter_is_lost(words, width):
    text = " ".join(words)
    if text[0] == "²":
        text = "x" + text
    mask = np.asarray(typeset(text, width=width, margin=8).convert("L")) < 250
    assert not mask[:, :6].any()
    assert not mask[:, -6:].any()
    assert all(line.advance <= width - 16 for line in lay_out(parse(text), width=width - 16, size=16))
    expected = "".join(c for c in text if c.isascii() and c != " ")
    assert letters(text.replace("²", ""), width - 16) == expected


TOKENS = [*"ab1 $\\{}^_()√²½\né中", r"\frac", r"\left(", r"\right)", r"\sqrt", r"\text", r"\pi", r"\overline"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_any_text_is_set_or_refused(text):
    try:
        picture = typeset(text, width=200)
    except VkitError:
        return
    assert picture.width == 200


def test_lines_with_fractions_do_not_overlap():
    text = "\n".join([r"\frac{8}{8}"] * 3)
    rows = np.flatnonzero(ink(text, font_size=32).any(1))
    heights = [len(part) for part in np.split(rows, np.flatnonzero(np.diff(rows) > 4) + 1)]
    assert len(heights) == 3


def test_a_word_wider_than_the_line_is_broken():
    assert letters("W" * 50, 100) == "W" * 50
    assert typeset("W" * 50, width=100).height > 5 * 16


# Into a picture.


def test_the_size_is_known_before_and_kept():
    text = r"Find \frac{x}{2} for all triangles in the picture."
    size = typeset_size(text, width=150, font_size=20)
    picture = Image.new("RGB", (300, 300), "yellow")
    assert typeset_into(picture, (70, 40), text, width=150, font_size=20, ink="blue") == size
    changed = (np.asarray(picture) != (255, 255, 0)).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert columns[0] >= 69
    assert columns[-1] <= 70 + size[0]
    assert rows[0] >= 39
    assert rows[-1] <= 40 + size[1]
    assert (np.asarray(picture) == (0, 0, 255)).all(2).any()


def test_the_same_text_gives_the_same_pixels():
    text = r"In △ABC, $AB = \sqrt{5}$."
    assert typeset(text).tobytes() == typeset(text).tobytes()


# Refusals.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("角", r"'角' \(CJK UNIFIED IDEOGRAPH-89D2\) cannot be drawn"),
        ("\U0001f600", "GRINNING FACE"),
        (r"\begin{cases}", r"\\begin cannot be drawn"),
        (r"$\frac{1}$", r"\\frac has nothing to work on"),
        (r"\frac{1", "'}' is missing"),
        (r"\left( x", r"'\\\\right' is missing"),
        (r"\(x", "is missing"),
        (r"\left< x \right>", "delimiter '<'"),
        ("√ ", "√ has nothing under it"),
        ("$a}$", "closes nothing"),
        ("a\\", "ends in a backslash"),
        ("  \n", "no text"),
        ("$" + "{" * 100 + "x" + "}" * 100 + "$", "levels deep"),
        (r"\sqrt" * 5000 + "x", "levels deep"),
        ("2^3^2", "two scripts stand at the same place"),
        (r"\sqrt{" + "W" * 60 + "}", "cannot be broken"),
        ("W\n" * 2000, "pixels high"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(text, reason):
    with pytest.raises(VkitError, match=reason):
        typeset(text)


def test_text_that_leaves_its_picture_is_refused():
    with pytest.raises(VkitError, match="leaves its picture"):
        typeset_into(Image.new("RGB", (50, 20)), (0, 10), "Find x.", width=50)


def test_a_size_that_nobody_reads_is_refused():
    with pytest.raises(VkitError, match="cannot be read"):
        typeset("x", width=40)
