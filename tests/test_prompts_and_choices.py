"""The study's prompts, and reading a choice out of an answer by rules."""

from dataclasses import replace

import pytest
from PIL import Image

from vkit.evaluate.choices import extract_choice
from vkit.models.protocol import Picture, Text
from vkit.prompts import PROMPTS, build_request
from vkit.records import Sample

CHOICES = ("30", "40", "60", "80")


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


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


def test_the_plain_prompt_adds_no_word():
    assert text_of(build_request(Sample("1", "Find x."), "plain")) == "Find x."
    assert text_of(build_request(Sample("1", "Find x.", CHOICES), "plain")) == (
        "Find x.\nChoices:\nA. 30\nB. 40\nC. 60\nD. 80"
    )


def test_where_the_picture_says_it_all_the_plain_prompt_is_the_picture_alone(picture):
    request = build_request(Sample("1", "", CHOICES, image=picture.name, folder=picture.parent), "plain")
    assert [type(part) for part in request.parts] == [Picture]


@pytest.mark.parametrize("prompt", ["direct", "cot", "finetuned"])
def test_an_empty_question_has_no_choices_in_its_text_either(prompt, picture):
    sample = Sample("1", "", CHOICES, image=picture.name, folder=picture.parent)
    request = build_request(sample, prompt)
    assert "Choices" not in text_of(request)
    assert all(part.text and not part.question for part in request.parts if isinstance(part, Text))
    asked = build_request(replace(sample, question="Find x."), prompt)
    assert text_of(request) == text_of(asked).replace("Find x.\nChoices:\nA. 30\nB. 40\nC. 60\nD. 80", "")


def test_a_problem_without_choices_is_not_asked_for_a_letter():
    for prompt in PROMPTS:
        assert "letter" not in text_of(build_request(Sample("1", "Find x."), prompt))
        assert "Choices" not in text_of(build_request(Sample("1", "Find x."), prompt))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_picture_stands_first(prompt, picture):
    sample = Sample("1", "Find x.", image=picture.name, folder=picture.parent)
    request = build_request(sample, prompt)
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
