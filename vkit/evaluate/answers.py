"""Whether an output gives the right answer, with or without choices, by rules alone.

judge("35+72=107; 180-107=73. Answer: 73", "73", ())        # True
judge("so it is 60. Answer: C", "C", ("30", "40", "60"))    # True
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vkit.evaluate.choices import extract_choice

_ANSWER = re.compile(r"(?i:\banswer\b\s*(?:is\b\s*)?[:=]?)\s*")
_ALONE = re.compile(r"\s*([^\s=;]*\d[^\s=;]*)\s*")


def judge(output: str, answer: str, choices: Sequence[str]) -> bool | None:
    """True or False, or None where no answer can be read from ``output``.

    Args:
        answer: the letter of a choice where there are choices, else the value as text.
    """
    found = extract(output, choices)
    return None if found is None else found == _normal(answer)


def extract(output: str, choices: Sequence[str]) -> str | None:
    """The answer that an output gives: a choice's letter where there are choices, else a value; or None."""
    return extract_choice(output, choices) if choices else extract_value(output)


def extract_value(text: str) -> str | None:
    """What follows the last "answer" on its line, without blanks and the full stop; None if nothing does.

    Without that word a text counts that is one number or expression and nothing else, as a model says that
    was trained on answers alone.

    >>> extract_value("The answer is 12 cm.\\n"), extract_value("I do not know")
    ('12cm', None)
    """
    ends = [match.end() for match in _ANSWER.finditer(text)]
    if not ends:
        alone = _ALONE.fullmatch(text)
        return _normal(alone.group(1)) or None if alone else None
    line = text[ends[-1] :].partition("\n")[0]
    return _normal(line) or None


def _normal(value: str) -> str:
    return "".join(value.split()).lstrip("*$").rstrip(".*$")  # also the marks of bold print and of LaTeX
