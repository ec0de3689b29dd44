"""The classes behind SMART-101's answers: what a model predicts for an option's text, and back.

    encode(58, "x4")                # 34
    encode(16, "3 and 5")           # (3, 5, 26, 26, 26, 26, 26, 26, 26, 26)
    decode(58, 34)                  # "x4"

Most puzzles count or measure: the class is the number, units aside. A letter is its place in the alphabet,
from 0. The rules are those of the release's code; what it cannot read either is refused here by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from vkit.errors import VkitError
from vkit.sources.smart101_puzzles import (
    HOUR_PUZZLE,
    ICON_CLASSES,
    ICON_PUZZLE,
    OPERATION_PUZZLE,
    OPERATIONS,
    SEQUENCE_END,
    SEQUENCE_STEPS,
)

if TYPE_CHECKING:
    from vkit.sources.smart101 import SmartItem

# One class; for a sequence puzzle one at each of the 10 steps.
Value: TypeAlias = int | tuple[int, ...]

# Six digits are more than any answer has, and as many classes as memory can bear.
_NUMBER = re.compile(r"([+-]?[0-9]{1,6})(?: *(?:hours?|cm|km))?")
_HOUR = re.compile(r"(0?[0-9]|1[0-2]):00 (AM|PM)")
_OPERATION = re.compile(rf"([{re.escape(OPERATIONS)}])([0-9]{{1,3}})")
_BETWEEN_STEPS = re.compile(r" *(?:, *(?:and|or)?|and|or) *")
_WORD_PUZZLES = (39, 100)  # letters without anything between them
_LETTER_PUZZLES = (35, *_WORD_PUZZLES)


def encode(puzzle: int, text: str, *, end: int | None = None) -> Value:
    """The class of an option's text; for a sequence puzzle a class at each of 10 steps.

    - puzzle 1: the place of the icon's class in `ICON_CLASSES`; a singular finds its plural
    - puzzle 25: the hour, and 12 more for PM
    - puzzle 58: 10 for +, 20 for -, 30 for x, 40 for /, and the number
    - puzzles 16, 18, 35, 39, 63, 100: each number or letter in order, then the puzzle's end class
    - others: a number without its unit (hours, cm, km), a letter from A = 0, "Impossible" = 0

    Args:
        text: as written; blanks around it do not count.
        end: of puzzle 63 alone, whose end class is the largest value of the puzzle's right answers; without
            it, the largest value of ``text``.

    Raises:
        VkitError: the text is no answer of this puzzle; says which form is expected.

    >>> encode(2, " 7 "), encode(21, "3 hours"), encode(44, "C"), encode(25, "3:00 PM"), encode(1, "book")
    (7, 3, 2, 15, 7)
    >>> encode(63, "only 1 or 3", end=5)
    (1, 3, 5, 5, 5, 5, 5, 5, 5, 5)
    >>> encode(2, "seven")
    Traceback (most recent call last):
    vkit.errors.VkitError: 'seven' is no answer of puzzle 2; expected a number, or one letter
    """
    text = text.strip()
    if puzzle in SEQUENCE_END:
        return _sequence(puzzle, text, end)
    if puzzle == ICON_PUZZLE:
        return _icon(text)
    if puzzle == HOUR_PUZZLE:
        if not (hour := _HOUR.fullmatch(text)):
            raise _refusal(puzzle, text, "an hour such as 3:00 PM")
        return int(hour[1]) + (12 if hour[2] == "PM" else 0)
    if puzzle == OPERATION_PUZZLE:
        if not (operation := _OPERATION.fullmatch(text)):
            raise _refusal(puzzle, text, f"one of {' '.join(OPERATIONS)} and a number")
        return (OPERATIONS.index(operation[1]) + 1) * 10 + int(operation[2])
    if (value := _number(text)) is not None:
        return value
    if len(text) == 1 and "A" <= text <= "Z":
        return ord(text) - 65
    raise _refusal(puzzle, text, "a number, or one letter")


def decode(puzzle: int, value: Value, item: SmartItem | None = None) -> str:
    """What a class says, for people; `encode` gives the class of it again, where it is any answer's.

    item: where one of its options has this value, that option's text as written.

    A sequence goes without the end classes that fill it up. Where the end class is a value of its own, in
    puzzles 18 and 63, those cannot all be told apart: of 18 five cards are shown, of 63 one end class. Amid
    letters an end class reads ``_``.

    >>> decode(25, 15), decode(16, (3, 5) + (26,) * 8), decode(18, (1, 2, 3, 4) + (5,) * 6)
    ('3:00 PM', '3, 5', '1-2-3-4-5')
    """
    if item is not None and value in item.values:
        return item.options[item.values.index(value)]
    if isinstance(value, tuple):
        return _sequence_text(puzzle, value)
    if puzzle == ICON_PUZZLE and 0 <= value < len(ICON_CLASSES):
        return ICON_CLASSES[value]
    if puzzle == HOUR_PUZZLE and 0 <= value <= 24:
        return f"{value}:00 AM" if value <= 12 else f"{value - 12}:00 PM"
    if puzzle == OPERATION_PUZZLE and value >= 10:
        sign = min(value // 10, len(OPERATIONS))
        return f"{OPERATIONS[sign - 1]}{value - 10 * sign}"
    return str(value)


def classes(puzzle: int, items: Iterable[SmartItem]) -> int:
    """How many classes a puzzle's head needs: one more than the largest right answer among ``items``.

    A sequence puzzle's head has one more than its end class, whatever the items. Give all items of the
    puzzle, as the release does: those of the training part alone may lack the largest answer.

    Raises:
        VkitError: none of the items is of this puzzle.
    """
    if (last := SEQUENCE_END.get(puzzle)) is not None:
        return last + 1
    targets = [item.target for item in items if item.puzzle == puzzle]
    if not targets:
        raise VkitError(f"there is no item of puzzle {puzzle}, so its classes are not known; give its items")
    return 1 + max(max(target) if isinstance(target, tuple) else target for target in targets)


def _number(text: str) -> int | None:
    if text.casefold() == "impossible":
        return 0
    return int(number[1]) if (number := _NUMBER.fullmatch(text)) else None


def _icon(text: str) -> int:
    name = text.replace(" ", "_")
    for spelled in (name, f"{name}s"):
        if spelled in ICON_CLASSES:
            return ICON_CLASSES.index(spelled)
    raise _refusal(ICON_PUZZLE, text, "the name of an icon's class")


def _sequence(puzzle: int, text: str, end: int | None) -> tuple[int, ...]:
    if puzzle in _WORD_PUZZLES:
        marks, form = list(text), "a word of capital letters"
    elif puzzle == 18:
        marks, form = text.split("-"), "numbers such as 5-2-3-1-4"
    else:
        marks = _BETWEEN_STEPS.split(text.replace("only", "").strip() if puzzle == 63 else text)
        form = "letters such as A, B and C" if puzzle in _LETTER_PUZZLES else "numbers such as 1, 2 and 3"
    steps = [_step(puzzle, mark.strip()) for mark in marks]
    last = SEQUENCE_END[puzzle]
    whole = [step for step in steps if step is not None and (last is None or step <= last)]
    if len(whole) < len(steps) or not steps:
        raise _refusal(puzzle, text, form if last is None else f"{form}, classes 0 to {last}")
    if len(whole) > SEQUENCE_STEPS:
        raise _refusal(puzzle, text, f"at most {SEQUENCE_STEPS} steps")
    if last is None:
        last = max(whole) if end is None else end
    return (*whole, *[last] * (SEQUENCE_STEPS - len(whole)))


def _step(puzzle: int, mark: str) -> int | None:
    if puzzle in _LETTER_PUZZLES:
        return ord(mark) - 65 if len(mark) == 1 and "A" <= mark <= "Z" else None
    step = _number(mark)
    return step if step is not None and step >= 0 else None


def _sequence_text(puzzle: int, value: tuple[int, ...]) -> str:
    end = SEQUENCE_END[puzzle]
    length = len(value)
    if end is None:  # the end class is the largest value, so the first of its run may be a step
        while length > 1 and value[length - 1] == value[length - 2]:
            length -= 1
    else:
        cards = 5 if puzzle == 18 else 0  # one of which may be 5, the end class
        while length > cards and value[length - 1] == end:
            length -= 1
    if puzzle in _LETTER_PUZZLES:
        marks = ["_" if step == end else chr(65 + step) for step in value[:length]]
    else:
        marks = [str(step) for step in value[:length]]
    return {18: "-", 39: "", 100: ""}.get(puzzle, ", ").join(marks)


def _refusal(puzzle: int, text: str, expected: str) -> VkitError:
    return VkitError(f"{text[:40]!r} is no answer of puzzle {puzzle}; expected {expected}")
