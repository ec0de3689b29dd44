"""The study's prompts, and reading a choice out of an answer by rules."""

import pytest

from vkit.evaluate.choices import extract_choice
from vkit.models.protocol import Picture, Text
from vkit.prompts import PROMPTS, build_request
from vkit.records import Sample

CHOICES = ("30", "40", "60", "80")


def text_of(request) -> str:
    return "".join(part.text for part in request.parts if isinstance(part, Text))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_only_problem_and_choices_are_the_question(prompt):
    request = build_request(Sample("1", "Find x.", CHOICES), prompt)
    question = [part.text for part in request.parts if isinstance(part, Text) and part.question]
    assert question == ["Find x.", "A. 30\nB. 40\nC. 60\nD. 80"]


def test_the_direct_prompt_is_that_of_figure_8():
    assert text_of(build_request(Sample("1", "Find x.", CHOICES), "direct")) == (
        "Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.\n"
        "Question: Find x.\nChoices:\nA. 30\nB. 40\nC. 60\nD. 80\nAnswer:"
    )


def test_a_problem_without_choices_is_not_asked_for_a_letter():
    for prompt in PROMPTS:
        assert "letter" not in text_of(build_request(Sample("1", "Find x."), prompt))
        assert "Choices" not in text_of(build_request(Sample("1", "Find x."), prompt))


def test_the_picture_stands_first(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    request = build_request(Sample("1", "Find x.", image="a.png", folder=tmp_path), "cot")
    assert isinstance(request.parts[0], Picture)
    assert len(request.images) == 1


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer: C", "C"),
        ("The angle is 60. Answer: C", "C"),
        ("the answer is (B).", "B"),
        ("Answer: A because option B is wrong", "A"),
        ("Answer: A ... wait. Answer: D", "D"),
        ("The correct option is **B**", "B"),
        ("D", "D"),
        (" (b) ", "B"),
        ("B. 40", "B"),
        ("60", "C"),
        ("The answer is a circle", None),
        ("A triangle has three sides", None),
        ("Answer: E", None),
        ("Answer: 60", None),
        ("Answer: Because", None),
        ("", None),
    ],
)
def test_a_choice_is_read_or_left_out_never_guessed(text, choice):
    assert extract_choice(text, CHOICES) == choice
