"""The four kinds of questions that a teacher makes from a problem: what it is asked, and how it is read.

    before, after = build_prompt(sample, "new", 5, demonstrations)     # the picture stands between them
    drafts = read_reply(said)                                           # what it wrote, not checked yet

The kinds of Math-LLaVA (Shi et al. 2024, section 3; the paper's prompts are not public, the words are ours):

new             other questions about the picture, after the example of problems of the same source.
complex         a question that needs more steps than the problem's.
rephrased       the problem in other words, with the same answer (logical consistency).
underspecified  the problem with less in its text: what the picture says is left out, the answer stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vkit.records import Sample

KINDS = ("new", "complex", "rephrased", "underspecified")
KEEP_THE_ANSWER = ("rephrased", "underspecified")

_TASKS = {
    "new": (
        "Write {count} new questions about this picture that need mathematical reasoning, each about "
        "something else that the picture shows, and none that the problem below asks already. "
    ),
    "complex": (
        "Write one question about this picture that is harder than the problem below: it needs more steps of "
        "reasoning, or puts together more of what the picture shows. "
    ),
    "rephrased": (
        "Write the question of the problem below in other words, so that its answer stays the same. Keep "
        "every number, name and label as it is, and what is asked for; change words and structure. "
    ),
    "underspecified": (
        "Shorten the question of the problem below: leave out what can be seen in the picture, so that it "
        "cannot be understood from its text alone, but with the picture still has the same answer. Add "
        "nothing that the question does not say. "
    ),
}
_WITH_ANSWERS = (
    "Every question must have exactly one right answer, which can be told from the picture and the question. "
    "Give choices where the problem below has them; make the answer a letter then, else a number or a few "
    "words, as short as it can be. Write each question in this form, and nothing else:\n"
    "1.\nQuestion: <the question>\nChoices:\n(A) <choice>\n(B) <choice>\nAnswer: <letter or value>\n"
    "Leave out the lines of the choices where there are none."
)
_WITHOUT_ANSWERS = (
    "Do not repeat choices or the answer. Write it in this form, and nothing else:\nQuestion: <the question>"
)

# A line that opens a field, its marks of lists and bold print included: "**1. New question 2:** Find x."
_FIELD = re.compile(
    r"[ >#*_-]*(?:\(?[0-9]{1,3}[.):\]]+[ *_]*)?"
    r"(?:(?:new|complex|harder|rephrased|simplified|shortened|underspecified|correct|final) )?"
    r"(question|(?:answer )?choices|options|answer) ?#?(?:[0-9]{1,3})?[*_]* ?[:：][*_]* ?(.*)",
    re.IGNORECASE,
)
_NUMBER_ALONE = re.compile(r"(?:\(?[0-9]{1,3}[.):\]]+)?")
_LETTER = re.compile(r"(?:^|(?<=[ ,;|]))([*_]*[(\[]?)([A-Za-z])([)\].:]+[*_]*)(?: |$)")
_CHOICES_WITHIN = re.compile(
    r"(?<![A-Za-z0-9])A[).:]\s*\S.*?(?<![A-Za-z0-9])B[).:]\s*\S", re.DOTALL
)  # (A) 3 (B) 4
_NO_CHOICES = ("", "none", "no choices", "no options", "n/a", "not applicable", "free-form", "free form")


@dataclass(frozen=True)
class Draft:
    """A question as a teacher wrote it.

    answer: what stands after "Answer:", None where nothing does.
    choices: None where the lines under "Choices:" cannot be read as (A), (B), ... in order.
    """

    question: str
    choices: tuple[str, ...] | None = ()
    answer: str | None = None


def build_prompt(
    sample: Sample, kind: str, count: int = 1, demonstrations: Sequence[Sample] = ()
) -> tuple[str, str]:
    """What stands before the picture and what after it.

    Args:
        count: of new questions; the other kinds are asked for one.
        demonstrations: problems about other pictures, shown for new questions.

    >>> print(*build_prompt(Sample("1", "Find x.", ("3", "4"), "B"), "rephrased"), sep="<picture>")
    ... # doctest: +ELLIPSIS
    Write the question of the problem below in other words, ...
    Question: <the question>
    <BLANKLINE>
    Picture: <picture>
    The problem:
    Question: Find x.
    Choices:
    (A) 3
    (B) 4
    Answer: B
    """
    form = _WITHOUT_ANSWERS if kind in KEEP_THE_ANSWER else _WITH_ANSWERS
    parts = [_TASKS[kind].format(count=count) + form]
    if kind == "new" and demonstrations:
        parts.append("Examples of such problems, about other pictures:")
        parts += [f"{number}.\n{_problem(each)}" for number, each in enumerate(demonstrations, 1)]
    return "\n\n".join([*parts, "Picture: "]), f"\nThe problem:\n{_problem(sample)}"


def verification_prompt(sample: Sample) -> tuple[str, str]:
    """The same for a question that a teacher is to answer, without being told the answer."""
    ending = "Answer: B" if sample.choices else "Answer: 12"
    task = (
        "Solve this problem from what its picture shows, in a few steps. End with a line that holds nothing "
        f"but the answer, as short as it can be, such as {ending}\n\nPicture: "
    )
    return task, f"\n{question_with_choices(sample)}"


def why_not_asked(sample: Sample, kind: str) -> str | None:
    """Why no question of this kind can be made from a problem, or None.

    >>> why_not_asked(Sample("1", "Find x."), "rephrased"), why_not_asked(Sample("1", "Find x."), "new")
    ('no_answer', None)
    """
    if kind in KEEP_THE_ANSWER:
        if not sample.question.strip():
            return "no_question"
        if sample.answer is None or not sample.answer.strip():
            return "no_answer"
        if not sample.choices and _CHOICES_WITHIN.search(sample.question):
            return "choices_in_question"  # which its new words would lose, and its answer with them
    return None


def question_with_choices(sample: Sample) -> str:
    """A question as LLaVA's records have it, a line for each choice.

    >>> question_with_choices(Sample("1", "Find x.", ("3", "4")))
    'Find x.\\nChoices:\\n(A) 3\\n(B) 4'
    """
    if not sample.choices:
        return sample.question
    lines = (f"({chr(65 + number)}) {choice}" for number, choice in enumerate(sample.choices))
    return "\n".join([sample.question, "Choices:", *lines])


def read_reply(said: str) -> list[Draft]:
    """The questions in a teacher's words, in order; empty where nothing is marked as a question.

    A question goes on up to the next field; where none follows, up to the first empty line. An answer is its
    first line, so that words after it do no harm.

    >>> read_reply("Sure!\\n1.\\nQuestion: How long is AB?\\nChoices:\\n(A) 3\\n(B) 4\\nAnswer: B")
    [Draft(question='How long is AB?', choices=('3', '4'), answer='B')]
    """
    blocks: list[list[tuple[str, list[str]]]] = []
    for line in said.splitlines():
        line = " ".join(line.split())
        if found := _FIELD.fullmatch(line):
            name, rest = found.group(1).lower(), found.group(2)
            if name == "question":
                blocks.append([])
            if blocks:
                blocks[-1].append((name if name in ("question", "answer") else "choices", [rest]))
        elif blocks:
            blocks[-1][-1][1].append(line)
    drafts = (_read_block(block) for block in blocks)
    return [draft for draft in drafts if draft != Draft("")]  # a heading alone: "Question 1:"


def read_choices(lines: Sequence[str]) -> tuple[str, ...] | None:
    """Choices that are marked A, B, ... in order, each on its line or several on one; None where others are.

    >>> read_choices(["A. 3", "B. 4"]), read_choices(["(a) 3, (b) 4"]), read_choices(["- 3", "- 4"])
    (('3', '4'), ('3', '4'), None)
    """
    lines = [_bare(line.removeprefix("- ").removeprefix("* ").removeprefix("• ")) for line in lines if line]
    if all(line.strip("()[].-–— ").casefold() in _NO_CHOICES for line in lines):
        return ()
    choices: list[str] = []
    style = None  # of the marks: a choice may hold a letter and a full stop of its own
    for line in lines:
        marks: list[re.Match[str]] = []
        for mark in _LETTER.finditer(line):
            style = style or mark.group(1, 3)
            if mark.group(1, 3) == style and mark[2].upper() == chr(65 + len(choices) + len(marks)):
                marks.append(mark)
        if not marks or marks[0].start():
            return None
        ends = [mark.start() for mark in marks[1:]] + [len(line)]
        choices += [_bare(line[mark.end() : end].rstrip(",;| ")) for mark, end in zip(marks, ends)]
    return tuple(choices)


def _problem(sample: Sample) -> str:
    lines = [f"Question: {question_with_choices(sample)}"] if sample.question.strip() else []
    lines += [f"Answer: {sample.answer}"] if sample.answer else []
    return "\n".join(lines) or "(all of it stands in the picture)"


def _read_block(block: list[tuple[str, list[str]]]) -> Draft:
    fields: dict[str, list[str]] = {}
    for name, lines in block:
        while lines and _NUMBER_ALONE.fullmatch(lines[-1].strip(" >#*_=-")):
            lines.pop()  # what stands around a block: an empty line, a rule, the next one's number
        fields.setdefault(name, lines)  # a field that comes twice counts once
    question = fields["question"]
    if len(fields) == 1:
        question = _up_to_an_empty_line(question)
    answer = next((line for line in fields.get("answer", []) if line), None)
    return Draft(
        _bare(" ".join(line for line in question if line)),
        read_choices(fields.get("choices", [])),
        None if answer is None else _bare(answer),
    )


def _up_to_an_empty_line(lines: list[str]) -> list[str]:
    """The first paragraph; the line of the field itself may be empty."""
    first = next((number for number, line in enumerate(lines) if line), len(lines))
    last = next((number for number in range(first, len(lines)) if not lines[number]), len(lines))
    return lines[first:last]


def _bare(text: str) -> str:
    """Without the marks of bold print around it."""
    text = text.strip()
    for mark in ("**", "__", "*"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return text[len(mark) : -len(mark)].strip()
    return text
