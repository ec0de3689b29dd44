"""Whether a question that a teacher wrote may be trained on: every fault has a name.

    settled = settle(draft, original, "rephrased")          # the question as a sample, or its fault
    repeated = find_repeated(settled.question, earlier)      # the earlier question that it repeats, or None

What can be told from words alone is told here; whether an answer is right, only a teacher can tell that
looks at the picture (``--verify``).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from vkit.curate.questions import KEEP_THE_ANSWER, Draft
from vkit.evaluate.answers import extract, judge
from vkit.records import Sample

# Two questions are the same from this share of common letter triples on, where their numbers and labels are.
NEAR_DUPLICATE = 0.85

_MOST_CHOICES = 26
_NO_ANSWERS = ("none", "n/a", "unknown", "cannot be determined", "not enough information")
_LETTERED = re.compile(r"[(\[]?([A-Za-z])[)\].:]*(?: (.*))?", re.DOTALL)
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}.])[-−])?"  # a sign, not what stands between two numbers
    r"(?:(?<![0-9])[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])|[0-9]*\.?[0-9]+)"
)
_NEGATIVE = re.compile(r"\bnegative (?=[0-9.])", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_SPECIAL = re.compile(r"<\|[^<>|]{1,40}\|>|<(?:image|video|audio|s|/s|unk|pad|bos|eos)>|\[/?INST\]")
# Capitals, and small letters but for those that are a word or a unit: 5 m may become 5 metres.
_LABEL = re.compile(r"(?<![A-Za-z0-9'’\\])(?:[A-Z]{1,6}|[bcefijknopqruvwxyz])(?![A-Za-z0-9'’])")
_NO_LABELS = ("A", "I", "NOT", "AND", "OR", "ALL")  # words
_NO_MATTER = re.compile(r"[.,](?![0-9])|[?!;:\"'’“”`*_$\\]")


@dataclass(frozen=True)
class Fault:
    """Why a question must not be trained on, in a name to count by and in words."""

    reason: str
    detail: str = ""


def settle(draft: Draft, original: Sample, kind: str) -> Sample | Fault:
    """A question with its choices and its answer, as `Sample` wants them, or the first fault found.

    What keeps the original's answer gets it from there, choices too; the id, picture and meta are the
    original's, for the caller to change.

    >>> original = Sample("1", "How long is AB, if BC is 3?", answer="4")
    >>> settle(Draft("If BC is 3, what length has AB?"), original, "rephrased").answer
    '4'
    >>> settle(Draft("If BC is 5, what length has AB?"), original, "rephrased")
    Fault(reason='changed_numbers', detail='3 is missing, 5 is new')
    >>> settle(Draft("How many sides?", ("3", "4"), "5"), original, "new").reason
    'answer_not_among_choices'
    """
    if not draft.question:
        return Fault("empty_question")
    if token := special_token(draft.question, *(draft.choices or ()), draft.answer or ""):
        return Fault("special_token", f"{token} is not text to a model")
    if kind in KEEP_THE_ANSWER:
        return _keeping_the_answer(draft, original, kind)
    answered = _own_answer(draft)
    if isinstance(answered, Fault):
        return answered
    return replace(
        original, question=draft.question, choices=draft.choices or (), answer=answered, rationale=None
    )


def find_repeated(question: str, earlier: Iterable[str]) -> str | None:
    """The first of some questions that another one repeats, in its words or nearly so.

    Nearly: at least `NEAR_DUPLICATE` of the letter triples of both are common to both (Jaccard), and they
    speak of the same numbers and labels: what the length of AB is, and of CD, are two questions.

    >>> find_repeated("How long is AB?", ["How long is CD?", "how long  is AB"])
    'how long  is AB'
    """
    for other in earlier:
        if _normal(question) == _normal(other):
            return other
        alike = _jaccard(_triples(question), _triples(other)) >= NEAR_DUPLICATE
        if alike and _numbers(question) == _numbers(other) and _labels(question) == _labels(other):
            return other
    return None


def special_token(*texts: str) -> str | None:
    """The first thing in some texts that models read as a token of its own, or None.

    >>> special_token("Is a <b?", "The end.<|im_end|>")
    '<|im_end|>'
    """
    return next((found[0] for text in texts if (found := _SPECIAL.search(text))), None)


def value_sentence(answer: str) -> str:
    """How an answer is said, so that `vkit.evaluate.answers` reads it back: a letter or a value."""
    return f"The answer is {answer}."


def answer_within(sample: Sample) -> str:
    """The answer that must be found: of free text what it gives as its answer, if it does, else all of it.

    >>> [answer_within(Sample("1", "?", answer=text)) for text in ("2 + 2, so the answer is 4.", "4 cm")]
    ['4', '4 cm']
    """
    answer = sample.answer or ""
    return answer if sample.choices else extract(answer, ()) or answer


def _own_answer(draft: Draft) -> str | Fault:
    """The answer in the form that `Sample` wants it: a letter where there are choices, else a value."""
    if draft.choices is None:
        return Fault("unreadable_choices", "they are not marked (A), (B), ... in order")
    answer = (draft.answer or "").strip()
    if not answer or answer.strip(" .-").casefold() in _NO_ANSWERS:
        return Fault("no_answer", answer)
    if draft.choices:
        return _letter(answer, draft.choices)
    value = answer.rstrip(".").strip()
    if not value or judge(value_sentence(value), value, ()) is not True:
        return Fault("unreadable_answer", answer)
    return value


def _letter(answer: str, choices: tuple[str, ...]) -> str | Fault:
    texts = [_normal(choice) for choice in choices]
    if not 2 <= len(choices) <= _MOST_CHOICES:
        return Fault("number_of_choices", f"{len(choices)}")
    if "" in (choice.strip() for choice in choices):
        return Fault("empty_choice")
    if len(set(choices)) < len(choices) or len(set(texts)) < len(texts):
        return Fault("repeated_choices", ", ".join(choices))
    named = _LETTERED.fullmatch(answer)
    letter, after = (named[1].upper(), named[2]) if named else ("", None)
    if (said := _normal(answer)) in texts:
        of_text = chr(65 + texts.index(said))
        if letter and after is None and ord(letter) - 65 < len(choices) and letter != of_text:
            return Fault("ambiguous_answer", f"{answer} is a choice's letter, and the text of ({of_text})")
        return of_text
    if not letter or ord(letter) - 65 >= len(choices):
        return Fault("answer_not_among_choices", answer)
    chosen = ord(letter) - 65
    if after and _normal(after) != texts[chosen]:
        return Fault("answer_not_among_choices", f"{answer}, but ({letter}) is {choices[chosen]}")
    return letter


def _keeping_the_answer(draft: Draft, original: Sample, kind: str) -> Sample | Fault:
    question = draft.question
    if draft.answer is not None:
        said = _own_answer(replace(draft, choices=original.choices))
        given = answer_within(original)
        if said != given and judge(value_sentence(str(said)), given, original.choices) is not True:
            return Fault("changed_answer", f"{draft.answer}, but it was {given}")
    before, after = _numbers(original.question), _numbers(question)
    new = after - before - _number_words(original.question)
    if kind == "underspecified":
        if len(_normal(question)) >= len(_normal(original.question)):
            return Fault("not_shorter")
        if new:
            return Fault("new_numbers", f"{_listed(new)} is new")
        return replace(original, question=question, rationale=None)
    missing = before - after - _number_words(question)
    if missing or new:
        parts = [f"{_listed(missing)} is missing"] if missing else []
        return Fault("changed_numbers", ", ".join([*parts, *([f"{_listed(new)} is new"] if new else [])]))
    # Letter by letter, because A B may become AB; without A and I, which alone are words.
    lost = set("".join(_labels(original.question))) - set("".join(_labels(question))) - {"A", "I"}
    if lost:
        return Fault("changed_labels", f"{', '.join(sorted(lost))} is missing")
    return replace(original, question=question, rationale=None)


@lru_cache(1 << 16)
def _normal(text: str) -> str:
    """The text without what makes no other question of it: case, blanks, and marks that end a sentence.

    >>> _normal("What is  x?"), _normal("what is x - 1.5")
    ('what is x', 'what is x - 1.5')
    """
    return " ".join(_NO_MATTER.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())


@lru_cache(1 << 16)
def _triples(text: str) -> frozenset[str]:
    padded = f"  {_normal(text)}  "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


@lru_cache(1 << 16)
def _numbers(text: str) -> Counter[str]:
    """The numbers in digits with their signs, each in one form: 1,200.50 is 1200.5, negative 3 is -3."""
    found = (number.replace(",", "") for number in _NUMBER.findall(_NEGATIVE.sub("-", text)))
    return Counter(_shortest(number) for number in found)


def _shortest(number: str) -> str:
    sign = "-" if number[0] in "-−" else ""
    whole, point, part = number.lstrip("-−").partition(".")
    part = part.rstrip("0")
    return sign + (whole.lstrip("0") or "0") + (f".{part}" if point and part else "")


def _number_words(text: str) -> Counter[str]:
    """The numbers that are spelled out: they may stand for digits, and digits for them."""
    words = _WORD.findall(text.casefold())
    return Counter(str(_WORDS.index(word)) for word in words if word in _WORDS)


@lru_cache(1 << 16)
def _labels(text: str) -> frozenset[str]:
    """Points, segments, angles and variables: AB, P, x."""
    return frozenset(_LABEL.findall(text)) - frozenset(_NO_LABELS)


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(sorted(numbers.elements()))
