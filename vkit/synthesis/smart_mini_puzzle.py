"""What a puzzle of SMART-101 in miniature is, and how two questions are asked of each of its pictures.

    facts = puzzle.draw(rng)                    # what the picture shows, as JSON would hold it
    puzzle.questions(facts)                     # every question that fits: its one right answer
    first, second = ask_twice(puzzle, facts, rng)

Both questions of a picture have different answers, so who sees the picture alone is right once at most.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vkit.synthesis.smart_mini_sheet import Sheet

LETTERS = "ABCDE"
Facts = dict[str, Any]
_ANSWERS = 200  # to each question on other pictures: what else could be right


@dataclass(frozen=True)
class Puzzle:
    """A puzzle under the number of an official one of the same skill and kind of answer.

    draw: facts of a new picture, drawn at random.
    questions: every question that can be asked of it, and the answer.
    paint: puts the facts on paper; places may be loose, nothing else.
    lettered: answers are the letters A to E in the picture, and the options say so in their order.
    """

    number: int
    skill: str
    draw: Callable[[random.Random], Facts]
    questions: Callable[[Facts], dict[str, str]]
    paint: Callable[[Sheet, Facts], None]
    lettered: bool = False


@dataclass(frozen=True)
class Asked:
    """A question with its right answer and four wrong ones."""

    question: str
    answer: str
    wrong: tuple[str, ...]

    def options(self, letter: str, rng: random.Random) -> list[str]:
        """The five options in an order in which the right one stands at ``letter``."""
        options = rng.sample(self.wrong, len(self.wrong))
        options.insert(LETTERS.index(letter), self.answer)
        return options


def ask_twice(puzzle: Puzzle, facts: Facts, rng: random.Random) -> tuple[Asked, Asked] | None:
    """Two questions of different answers, or None where the picture has no two.

    Answers are drawn first, all alike, and then a question that has it: rare ones are as frequent as others.
    """
    by_answer: dict[str, list[str]] = {}
    for question, answer in puzzle.questions(facts).items():
        by_answer.setdefault(answer, []).append(question)
    if len(by_answer) < 2:
        return None
    first, second = rng.sample(list(by_answer), 2)
    asked = []
    for answer, twin in ((first, second), (second, first)):
        question = rng.choice(by_answer[answer])
        likely = rng.sample(_answers(puzzle)[question], _ANSWERS)
        elsewhere = [other for other in by_answer if other in likely]  # right, had another thing been asked
        # Drawn as the question's right answers are, so that the options alone do not tell them apart.
        wrong = dict.fromkeys([twin, *rng.sample(elsewhere, min(2, len(elsewhere))), *likely])
        wrong.pop(answer, None)
        asked.append(Asked(question, answer, tuple(wrong)[:4]))
    return asked[0], asked[1]


@lru_cache(maxsize=64)
def _answers(puzzle: Puzzle) -> dict[str, list[str]]:
    """Some answers to each question on other pictures, as often as they occur."""
    rng, found = random.Random(puzzle.number), dict[str, list[str]]()
    while not found or min(map(len, found.values())) < _ANSWERS:
        for question, answer in puzzle.questions(puzzle.draw(rng)).items():
            found.setdefault(question, []).append(answer)
    return {question: answers[:_ANSWERS] for question, answers in found.items()}
