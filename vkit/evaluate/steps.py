"""The steps of a worked solution, as ranges of its tokens.

>>> find_steps(["Step", " 1:", " a", " =", " 3.", "\\n", "Step", " 2:", " b", " =", " 4."])
[(0, 6), (6, 11)]

A model marks its steps in one of three ways, tried in this order: lines that begin with a number or the word
"step" ("Step 2:", "2.", "**3)**"), lines, sentences. What stands before the first numbered line is a step of
its own. An answer without any mark is one step.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

# A line that says that it begins a step. A bare number must be followed by a mark and a blank: "3.5" is none.
# Marks and blanks are one class: repeated apart they would match a ruler of dashes in endless ways.
_NUMBERED = re.compile(
    r"^[ \t#>*_-]*(?:step[ \t]*\d+\b|\(?\d{1,2}[.):][ \t*_]*(?=\s))",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(r"^[ \t]*(?=\S)", re.MULTILINE)
# A sentence ends with . ! or ? before a blank and what begins another one, a calculation too: "= 63. 180-63";
# "sin. 30" and "2. 5" are none.
_SENTENCE = re.compile(
    r"\A|(?<=[.!?])[ \t]+(?=[\"'(\[]?[A-Z\u00c0-\u00de\u2220\u25b3\u2200-\u22ff])"
    r"|(?<=\d[.])[ \t]+(?=\d+(?:\.\d+)?\s*[-+*/=\u00d7\u00f7])"
)


def find_steps(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """The token ranges ``(start, end)`` of the steps; together they are all tokens, in order, none empty.

    Args:
        pieces: the text of each token; joined they are the answer.
    """
    text = "".join(pieces)
    if not text.strip():
        return [(0, len(pieces))] if pieces else []
    starts: list[int] = []
    for pattern in (_NUMBERED, _LINE, _SENTENCE):
        starts = [_first_letter(text, match.start()) for match in pattern.finditer(text)]
        if len(starts) > 1:
            break
    ends = list(accumulate(len(piece) for piece in pieces))  # in characters, of each token
    # The token that holds a step's first character begins it; what precedes the first step belongs to it,
    # unless it says something itself.
    borders = {min(bisect_right(ends, start), len(pieces) - 1) for start in starts}
    if starts and not text[: starts[0]].strip():
        borders.discard(min(borders))
    borders.add(0)
    ordered = [*sorted(borders), len(pieces)]
    return list(pairwise(ordered))


def _first_letter(text: str, place: int) -> int:
    """The first place from ``place`` on that is no blank: a token of full stop and blank ends a step."""
    return place + len(text[place:]) - len(text[place:].lstrip())
