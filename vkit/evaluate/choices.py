"""Which choice an answer names, by rules alone.

    extract_choice("so the angle is 60. Answer: C", ("30", "40", "60", "80"))   # "C"

The rules are few and strict: what they cannot read is None, to be counted, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# A capital letter that ends there, after words that announce it: "Answer: C", "the answer is (C)"; then,
# weaker, "option C". Small letters are not taken: "the answer is a circle".
_LETTER = r"[\s(\[*$\"']*([A-Z])(?![A-Za-z0-9'])"
_ANSWER = re.compile(r"(?i:\banswer\b\s*(?:is\b)?\s*[:=]?\s*(?:option|choice)?)" + _LETTER)
_OPTION = re.compile(r"(?i:\b(?:option|choice)\b\s*(?:is|:|=)?)" + _LETTER)
_ALONE = re.compile(r"^[\s(\[*\"']*([A-Za-z])[\s)\].:*\"']*$")
_LEADING = re.compile(r"^\s*[(\[]?([A-Z])[)\].:,]+(?:\s|$)")


def extract_choice(text: str, choices: Sequence[str]) -> str | None:
    """The letter of the choice that ``text`` names, or None.

    In this order: the last "answer ... X", the last "option X", the whole text being a letter, the text
    starting with "X." or "(X)", the whole text being one choice's text. A letter beyond the choices is not
    taken.

    >>> extract_choice("(B) 40", ("30", "40")), extract_choice("a triangle", ("30", "40"))
    ('B', None)
    """
    letters = [chr(65 + i) for i in range(len(choices))]
    candidates = [*reversed(_ANSWER.findall(text)), *reversed(_OPTION.findall(text))]
    candidates += [match.group(1).upper() for p in (_ALONE, _LEADING) if (match := p.match(text))]
    candidates += [letter for letter, choice in zip(letters, choices) if choice.strip() == text.strip()]
    return next((letter for letter in candidates if letter in letters), None)
