"""Problems for the tiny model: exact, readable, the same for each seed, and split by their numbers."""

import random
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vkit.errors import VkitError
from vkit.synthesis.drawn import VERSIONS
from vkit.synthesis.miniature import (
    CELLS,
    FAMILIES,
    GLYPHS,
    SIDE,
    SPLITS,
    draw,
    glyph_cells,
    practice,
    split_of,
)

# What the unknown is, computed another way than the drawing does.
TRUTH = {
    "third_angle": lambda a, b: next(c for c in range(181) if a + b + c == 180),
    "angle_on_line": lambda a, b: next(c for c in range(181) if a + b + c == 180),
    "right_angle": lambda a, b: next(c for c in range(91) if a + b + c == 90),
    "perimeter": lambda a, b: a + b + a + b,
}


def problems(family, count=60, **more):
    return [draw(random.Random(f"{family}/{seed}"), family=family, **more) for seed in range(count)]


def picture(drawn, version):
    image = Image.open(BytesIO(drawn.versions[version].picture))
    image.load()
    return image


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_right_and_every_step_of_the_solution_holds(family):
    for drawn in problems(family):
        first, second = drawn.meta["numbers"]
        assert int(drawn.answer) == TRUTH[family](first, second) > 1
        *steps, last = drawn.response.split(". ")
        assert last == f"Answer: {drawn.answer}"
        values = []
        for step in steps:
            left, sign, right, value = re.fullmatch(r"(\d+)([-+*])(\d+)=(\d+)", step).groups()
            computed = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(left), int(right))
            assert computed == int(value)
            values.append(value)
        assert steps[0].startswith(f"{first}+{second}=")
        assert values[0] in steps[1]
        assert values[1] == drawn.answer


@pytest.mark.parametrize("family", FAMILIES)
def test_the_versions_carry_the_same_numbers_in_text_or_in_the_picture(family):
    for drawn in problems(family, 10):
        assert tuple(drawn.versions) == VERSIONS
        first, second = map(str, drawn.meta["numbers"])
        for name in ("text-only", "text-dominant", "text-lite"):
            assert re.findall(r"\d+", drawn.versions[name].text) == [first, second]
        assert drawn.versions["text-only"].text == drawn.versions["text-dominant"].text
        assert drawn.versions["text-only"].picture is None
        assert drawn.versions["vision-dominant"].text == "Find the unknown value."
        assert drawn.versions["vision-only"].text == ""
        assert drawn.versions["vision-only"].picture == drawn.versions["vision-dominant"].picture
        # The picture beside a full text says which is a and which is b, and no number.
        assert drawn.versions["text-lite"].picture == drawn.versions["text-dominant"].picture
        assert drawn.versions["text-lite"].picture != drawn.versions["vision-only"].picture


def test_pictures_are_64_pixels_gray_and_their_print_is_dark_on_white():
    for family in FAMILIES:
        for drawn in problems(family, 5):
            for version in ("text-dominant", "vision-only"):
                image = picture(drawn, version)
                assert (image.size, image.mode) == ((SIDE, SIDE), "L")
                pixels = np.asarray(image)
                assert 0.015 < (pixels < 60).mean() < 0.12  # print
                assert (pixels == 255).mean() > 0.7


def test_a_seed_gives_the_same_bytes_and_another_seed_another_problem():
    first, second, other = (draw(random.Random(seed)) for seed in (3, 3, 4))
    assert first == second
    assert first.versions != other.versions


def test_no_pair_of_numbers_is_in_both_splits_whatever_its_order_or_family():
    met = {split: set() for split in SPLITS}
    for split in SPLITS:
        for family in FAMILIES:
            for drawn in problems(family, 50, split=split):
                assert drawn.meta["split"] == split == split_of(*drawn.meta["numbers"])
                met[split].add(tuple(sorted(drawn.meta["numbers"])))
    assert not met["train"] & met["test"]
    share = np.mean([split_of(a, b) == "test" for a in range(10, 100) for b in range(10, a)])
    assert 0.08 < share < 0.17


def test_the_keys_tell_problems_apart():
    drawn = [problem for family in FAMILIES for problem in problems(family)]
    assert len({problem.key for problem in drawn}) == len(
        {(problem.family, *problem.meta["numbers"]) for problem in drawn}
    )


def test_what_is_not_known_is_refused():
    with pytest.raises(VkitError, match="split must be train or test, not 'val'"):
        draw(random.Random(0), split="val")
    with pytest.raises(VkitError, match="family 'cube' is not known; known: third_angle, "):
        draw(random.Random(0), family="cube")


# ---------------------------------------------------------------- what the encoder learns to read


def test_each_glyph_is_labelled_where_its_ink_is():
    """The print of a picture, read off the labels: dark pixels around the centre of every labelled cell."""
    for seed in range(30):
        image, cells = practice(random.Random(seed))
        pixels = np.asarray(image)
        size = SIDE // CELLS
        for row, column in np.argwhere(cells):
            top, left = max(row * size - 4, 0), max(column * size - 4, 0)
            assert (pixels[top : top + size + 8, left : left + size + 8] < 60).sum() >= 6
        far = np.ones_like(pixels, dtype=bool)
        for row, column in np.argwhere(cells):
            far[max(row * size - 8, 0) : row * size + 16, max(column * size - 8, 0) : column * size + 16] = (
                False
            )
        assert (pixels[far] < 60).sum() <= 10  # nothing is printed elsewhere but the sign after P


def test_labels_spell_two_numbers_of_the_training_split_or_the_letters():
    for seed in range(60):
        _, cells = practice(random.Random(seed))
        spelt = "".join(GLYPHS[label - 1] for row in cells for label in row if label)
        assert spelt.count("?") == 1
        digits = [character for character in spelt if character.isdigit()]
        assert len(digits) == 4 or sorted(set(spelt) - {"?", "P"}) == ["a", "b"]


def test_cells_hold_the_glyphs_whose_centre_they_hold():
    cells = glyph_cells([("7", 3.0, 60.0), ("=", 20.0, 20.0), ("b", 63.9, 0.0)])
    expected = np.zeros((CELLS, CELLS), dtype=np.uint8)
    expected[7, 0], expected[0, 7] = GLYPHS.index("7") + 1, GLYPHS.index("b") + 1
    np.testing.assert_array_equal(cells, expected)
