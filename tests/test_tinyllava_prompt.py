"""TinyLLaVA's prompt: the official words, pictures in their places, and exactly the question marked."""

import pytest
from PIL import Image

from vkit.errors import VkitError
from vkit.models.protocol import Picture, Request, Text
from vkit.models.tiny import build_stand_in
from vkit.models.tinyllava import IMAGE_TOKEN
from vkit.models.tinyllava_prompt import SYSTEM, tokenize_answer, tokenize_prompt

PICTURE = Picture(Image.new("RGB", (4, 4)))


@pytest.fixture(scope="module")
def tokenizer():
    return build_stand_in().tokenizer


def words(tokenizer, *parts):
    """The prompt's text, with the question in brackets and pictures as <>."""
    prompt = tokenize_prompt(Request("1", parts), tokenizer)
    text, inside = "", False
    for id_, question in zip(prompt.ids, prompt.question):
        if question != inside:
            text += "[" if question else "]"
        inside = question
        text += "<>" if id_ == IMAGE_TOKEN else tokenizer.decode([id_])
    assert text.startswith(f"{SYSTEM} USER:")
    return text.removeprefix(f"{SYSTEM} USER:")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((PICTURE, Text("Find x.", True)), " <>\n[Find x.] ASSISTANT:"),
        # One picture goes first wherever it stood, and blanks around the text go, as in the official code.
        ((Text("  Find ", True), PICTURE, Text("x. \n", True)), " <>\n[Find x.] ASSISTANT:"),
        ((PICTURE,), " <> ASSISTANT:"),
        ((Text("Find x.", True),), "[ Find x.] ASSISTANT:"),
        # Several stay in their places.
        (
            (PICTURE, Text(" and ", True), PICTURE, Text(" alike? ", True)),
            " <>[ and ]<>[ alike?] ASSISTANT:",
        ),
        ((PICTURE, PICTURE), " <><> ASSISTANT:"),
        # Only what is marked is question, and a word's leading blank belongs to the word.
        (
            (Text("Hint: think.\nQuestion: "), Text("Find x.", True), Text(" Answer:"), PICTURE),
            " <>\nHint: think.\nQuestion:[ Find x.] Answer: ASSISTANT:",
        ),
        (
            (PICTURE, Text("Find x. ", True), Text("Then stop.")),
            " <>\n[Find x.] Then stop. ASSISTANT:",
        ),
        ((PICTURE, Text("Find 37°.", True)), " <>\n[Find 37��.] ASSISTANT:"),
        ((PICTURE, Text("x\n\n\ny", True)), " <>\n[x\n\n\ny] ASSISTANT:"),
    ],
)
def test_words_and_question_of_the_prompt(tokenizer, parts, expected):
    assert words(tokenizer, *parts) == expected


def test_tokenizers_that_cut_blanks_off_their_spans_mark_the_same_question(tokenizer):
    from tokenizers import processors

    trimming = build_stand_in().tokenizer
    trimming.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    parts = (PICTURE, Text("Hint: think. "), Text("x\n\n\ny  \n 37°", True), Text(" Answer:"))
    assert trimming("a b", return_offsets_mapping=True)["offset_mapping"][1] == (2, 3)
    assert words(trimming, *parts) == words(tokenizer, *parts)


def test_pieces_around_a_picture_are_tokenised_apart(tokenizer):
    ids = tokenize_prompt(Request("1", (PICTURE, Text("Find x.", True))), tokenizer).ids
    place = ids.index(IMAGE_TOKEN)
    assert ids[:place] == tokenizer(f"{SYSTEM} USER: ")["input_ids"]
    assert ids[place + 1 :] == tokenizer("\nFind x. ASSISTANT:")["input_ids"]


@pytest.mark.parametrize("answer", ["The angle is 40. Answer: B", "B", " B", "(3)", "\n\nB", "37°", "B\n"])
def test_answer_ids_follow_the_prompt_as_tokenised_in_one(tokenizer, answer):
    prompt = tokenize_prompt(Request("1", (PICTURE, Text("Find x."))), tokenizer).ids
    place = prompt.index(IMAGE_TOKEN)
    in_one = tokenizer(f"\nFind x. ASSISTANT: {answer}<|endoftext|>")["input_ids"]
    assert [*prompt[place + 1 :], *tokenize_answer(answer, tokenizer), 0] == in_one


@pytest.mark.parametrize("literal", ["<image>", "<|endoftext|>"])
def test_a_text_that_spells_a_token_is_refused_by_the_name_of_its_request(tokenizer, literal):
    with pytest.raises(VkitError, match="request '7' holds the text '<") as refusal:
        tokenize_prompt(Request("7", (PICTURE, Text(f"Find {literal} x."))), tokenizer)
    assert literal in str(refusal.value)
    with pytest.raises(VkitError, match="answer 'It is"):
        tokenize_answer(f"It is {literal}", tokenizer)


def test_a_begin_token_that_the_tokenizer_adds_stands_once():
    from tokenizers import processors

    tokenizer = build_stand_in().tokenizer
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    prompt = tokenize_prompt(Request("1", (PICTURE, Text("Find x.", True))), tokenizer)
    assert prompt.ids.count(0) == 1
    assert prompt.ids[0] == 0
    assert tokenizer.decode([i for i, q in zip(prompt.ids, prompt.question) if q]) == "Find x."
    assert 0 not in tokenize_answer("B", tokenizer)
