"""`vkit curate questions`: how replies are read, what passes the checks, and what is shown as an example."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.curate.checks import Fault, find_repeated, settle
from vkit.curate.demonstrations import Demonstrations, spread
from vkit.curate.questions import KINDS, Draft, build_prompt, read_choices, read_reply, why_not_asked
from vkit.curate.records import conversation, why_no_record
from vkit.evaluate.answers import judge
from vkit.records import Sample
from vkit.sources.llava import parse_conversation


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_names_the_form_that_the_reader_reads(kind):
    before, _ = build_prompt(Sample("1", "Find x.", answer="3", image="1.png"), kind)
    drafts = read_reply(before)
    assert [draft.question for draft in drafts] == ["<the question>"]
    assert drafts[0].answer == (None if kind in ("rephrased", "underspecified") else "<letter or value>")


def test_demonstrations_differ_from_each_other_and_never_show_the_own_picture():
    texts = [
        "How many red bars?",
        "How many blue bars?",
        "How many bars?",
        "Find angle ABC.",
        "What time is it?",
    ]
    samples = [Sample(str(n), text, answer="3", image=f"{n}.png") for n, text in enumerate(texts)]
    spread_out = spread(samples, 3)
    assert len({sample.question.split()[0] for sample in spread_out}) == 3
    assert spread(samples[::-1], 3) != []
    shown = Demonstrations(samples, 2, lambda sample: "all")
    for sample in samples:
        found = shown.of(sample)
        assert len(found) == 2
        assert sample not in found
    assert Demonstrations(samples, 0, lambda sample: "all").of(samples[0]) == []


def test_demonstrations_need_words_and_answers_of_their_own():
    same = [Sample(str(n), "How many bars?", answer="3", image=f"{n}.png") for n in range(3)]
    poor = [Sample("no answer", "Why?", image="a.png"), Sample("no words", " ", answer="3", image="b.png")]
    found = Demonstrations([*same, *poor], 5, lambda sample: "all").of(same[2])
    assert [sample.id for sample in found] == ["0"]  # three that say the same are one


READ = {
    "**1. Question:** Find x.\n**Choices:**\n- (A) 3\n- (B) 4\n**Answer:** (B) 4\n\n---\n2.": [
        Draft("Find x.", ("3", "4"), "(B) 4")
    ],
    "### Question 1: Find x.\nAnswer: 3\n### Question 2:\nFind y.\nAnswer:\n4\nHope it helps!": [
        Draft("Find x.", (), "3"),
        Draft("Find y.", (), "4"),
    ],
    "Question: Find x\n\nin the picture.\nAnswer: 3": [Draft("Find x in the picture.", (), "3")],
    "Question: Find x.\n\nI kept its meaning.": [Draft("Find x.")],
    "Question: Find x.\nOptions: A. 3, B. 4, C. vitamin B. 12\nAnswer: A": [
        Draft("Find x.", ("3", "4", "vitamin B. 12"), "A")
    ],
    "Question: Find x.\nChoices: None\nAnswer: 3": [Draft("Find x.", (), "3")],
    "Question: Find x.\nChoices:\n1) 3\n2) 4\nAnswer: 1": [Draft("Find x.", None, "1")],
    "Question: Find x.\nChoices:\n(A) 3\n(C) 4\nAnswer: A": [Draft("Find x.", None, "A")],
    "Question 1\nQuestion: Find x.\nCorrect answer: **3**": [Draft("Find x.", (), "3")],
    "Question: Find x.\nAnswer: 3\nAnswer: or 4": [Draft("Find x.", (), "3")],
    "I cannot see a picture.": [],
    "Answer: 3": [],
    "Question:\nAnswer: 3": [Draft("", (), "3")],
    "": [],
}


@pytest.mark.parametrize("said", READ)
def test_replies_are_read_in_the_forms_that_teachers_use(said):
    assert read_reply(said) == READ[said]


FRAGMENTS = [
    "Question:",
    "Choices:",
    "Answer:",
    "(A) 3",
    "(B)",
    "B.",
    "1.",
    "**",
    "\n",
    "\n\n",
    " ",
    "<image>",
    "x",
]
replies = st.one_of(
    st.text(), st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4))).map("".join)
)


@settings(max_examples=300, deadline=None)
@given(replies, st.sampled_from(KINDS), st.sampled_from([(), ("3", "5")]))
def test_no_reply_makes_the_reader_or_the_checks_fail(said, kind, choices):
    answer = "A" if choices else "3"
    original = Sample("1", "How many of the 12 bars are red?", choices, answer, "1.png")
    for draft in read_reply(said.encode("utf-8", "replace").decode()):
        settled = settle(draft, original, kind)
        if isinstance(settled, Fault):
            assert settled.reason
        else:  # what passes can be written, and its answer be read back
            assert why_no_record(settled) is None
            record = conversation(settled)
            [(_, told)] = parse_conversation(json.dumps(record), Path()).turns
            assert judge(told, settled.answer, settled.choices) is True


@settings(max_examples=200, deadline=None)
@given(st.lists(st.from_regex(r"[0-9a-z]{1,5}( [a-z0-9]{2,4})?", fullmatch=True), min_size=1, max_size=26))
def test_choices_are_read_back_from_the_lines_that_records_have(texts):
    lines = [f"({chr(65 + n)}) {text}" for n, text in enumerate(texts)]
    assert read_choices(lines) == tuple(texts)
    assert read_choices([" ".join(lines)]) == tuple(texts)


ORIGINAL = Sample("1", "In circle O, how long is chord AB, if the radius is 5?", ("6", "8"), "B", "1.png")
FAULTS = [
    ("new", Draft("", (), "3"), "empty_question"),
    ("new", Draft("How long is CD?"), "no_answer"),
    ("new", Draft("How long is CD?", (), "Cannot be determined."), "no_answer"),
    ("new", Draft("How long is CD?", (), "..."), "unreadable_answer"),
    ("new", Draft("How long is CD?", (), "the answer: 3 or answer"), "unreadable_answer"),
    ("new", Draft("How long is CD?", None, "A"), "unreadable_choices"),
    ("new", Draft("How long is CD?", ("3",), "A"), "number_of_choices"),
    ("new", Draft("How long is CD?", ("3", " "), "A"), "empty_choice"),
    ("new", Draft("How long is CD?", ("3 cm", "3  CM."), "A"), "repeated_choices"),
    ("new", Draft("How long is CD?", ("3", "4"), "C"), "answer_not_among_choices"),
    ("new", Draft("How long is CD?", ("3", "4"), "A. 4"), "answer_not_among_choices"),
    ("new", Draft("How long is CD?", ("3", "4"), "a circle"), "answer_not_among_choices"),
    ("new", Draft("Which point is it?", ("B", "A"), "B"), "ambiguous_answer"),
    ("complex", Draft("How long is CD in <image>?", (), "3"), "special_token"),
    ("new", Draft("How long is CD?</s>", (), "3"), "special_token"),
    ("rephrased", Draft("If the radius is 6, what length has chord AB of circle O?"), "changed_numbers"),
    ("rephrased", Draft("What length has chord AB of circle O?"), "changed_numbers"),
    ("rephrased", Draft("If the radius is 5, what length have the 2 ends of AB in O?"), "changed_numbers"),
    ("rephrased", Draft("If the radius is 5, what length has the chord of circle O?"), "changed_labels"),
    ("rephrased", Draft("The radius is 5: what is AB in circle O?", (), "A"), "changed_answer"),
    (
        "underspecified",
        Draft("In circle O, how long is the chord AB, if the radius is 5 long?"),
        "not_shorter",
    ),
    ("underspecified", Draft(ORIGINAL.question.replace("In circle", "So circle")), "not_shorter"),
    ("underspecified", Draft("How long is AB at 10?"), "new_numbers"),
]


@pytest.mark.parametrize(("kind", "draft", "reason"), FAULTS)
def test_every_fault_has_its_name(kind, draft, reason):
    found = settle(draft, ORIGINAL, kind)
    assert isinstance(found, Fault)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("question", "passes"),
    [("What is f(-2)-5 then?", True), ("What is f(negative 2) - 5?", True), ("What is f(2)-5 then?", False)],
)
def test_a_sign_is_part_of_its_number(question, passes):
    original = Sample("1", "Tell what f(−2)-5 is.", (), "8", "1.png")
    found = settle(Draft(question), original, "rephrased")
    assert isinstance(found, Sample) is passes, found


SENTENCE = Sample("1", "In circle O, how long is AB, if the radius is 5?", (), "So the answer is 8.", "1.png")


def test_an_answer_within_a_sentence_may_be_repeated():
    draft = Draft("If the radius is 5, what length has AB in circle O?", (), "8")
    assert settle(draft, SENTENCE, "rephrased").answer == "So the answer is 8."
    assert settle(replace(draft, answer="9"), SENTENCE, "rephrased").reason == "changed_answer"


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Which is it?\nChoices:\n(A) red\n(B) blue", "choices_in_question"),
        ("Which is it? A. red B. blue", "choices_in_question"),
        ("Which is it?\nA) red\nB) blue", "choices_in_question"),
        ("In triangle ABC, is A larger than B?", None),
        ("In figure A. Find B.", None),
    ],
)
def test_a_question_with_its_choices_inside_keeps_no_answer(question, reason):
    """A conversation has them there; in other words, or shortened, the question would lose them."""
    for kind, expected in (("rephrased", reason), ("underspecified", reason), ("new", None)):
        assert why_not_asked(Sample("1", question, answer="The answer is B."), kind) == expected
    assert why_not_asked(Sample("1", question, ("red", "blue"), "B"), "rephrased") is None


PASSES = [
    ("new", Draft("How long is CD?", (), "3.5 cm."), ((), "3.5 cm")),
    ("new", Draft("How long is CD?", ("3", "4"), "4"), (("3", "4"), "B")),
    ("new", Draft("Which is it?", ("a square", "a circle"), "A circle"), (("a square", "a circle"), "B")),
    ("complex", Draft("How long is CD?", ("3", "4"), "b) 4"), (("3", "4"), "B")),
    ("rephrased", Draft("Given a radius of five, what length has chord AB of circle O?"), (("6", "8"), "B")),
    ("rephrased", Draft("Radius 5: how long is AB in O?", (), "(B) 8"), (("6", "8"), "B")),
    ("rephrased", Draft("How many m is A B long in circle O, if its radius is 5?"), (("6", "8"), "B")),
    ("underspecified", Draft("How long is AB?"), (("6", "8"), "B")),
]


@pytest.mark.parametrize(("kind", "draft", "expected"), PASSES)
def test_what_keeps_the_rules_passes_with_its_answer(kind, draft, expected):
    found = settle(draft, ORIGINAL, kind)
    assert isinstance(found, Sample), found
    assert (found.choices, found.answer) == expected


LONG = "What is the average number of visitors to the museum in the months from March to June in "


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Find x.", "find  X", True),
        ("Find x.", "Find y.", False),
        (LONG + "total?", LONG + "all?", True),
        (LONG + "2012?", LONG + "2013?", False),
        (LONG + "f(-2)?", LONG + "f(2)?", False),
        (LONG + "angle ABC?", LONG + "angle ACB?", False),
        ("What is 2 + 3?", "What is 2 - 3?", False),
    ],
)
def test_questions_repeat_each_other_in_words_not_in_numbers_or_labels(one, other, same):
    assert (find_repeated(one, ["Why?", other]) == other) is same


def test_a_rationale_stands_before_the_answer_unless_it_says_it():
    sample = Sample("1", "Find x.", ("3", "4"), "B", "1.png", rationale="It is 2 + 2.")
    said = [conversation(Sample(**{**vars(sample), "rationale": text}))["conversations"][1]["value"]
            for text in ("It is 2 + 2.", "It is 2 + 2. Answer: B")]  # fmt: skip
    assert said == ["It is 2 + 2.\nThe answer is B.", "It is 2 + 2. Answer: B"]


@pytest.mark.parametrize("answer", ["Two lines:\nthree and four.", "The answer is B"])
def test_free_text_is_said_as_it_is(answer):
    sample = Sample("1", "Describe it.", answer=answer, image="1.png")
    assert conversation(sample)["conversations"][1]["value"] == answer
    assert why_no_record(sample) is None


@pytest.mark.parametrize("field", ["question", "answer", "rationale"])
def test_a_problem_with_a_models_own_token_is_no_record(field):
    sample = Sample("1", **{"question": "Find x.", "answer": "3", "image": "1.png", field: "An <|im_end|>"})
    aside = why_no_record(sample)
    assert (aside.kind, aside.reason) == ("original", "special_token")
