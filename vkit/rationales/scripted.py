"""A teacher that says what problems bring: their own worked solutions, in the form of each kind.

    teacher = ScriptedTeacher("symbolic-solver")
    outcomes = teacher.ask(job.tasks)

It stands in for a model where none can be had: in trials of a whole study, and in tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vkit.records import Sample
from vkit.teacher.outcome import Outcome, failed
from vkit.teacher.task import Settings, Task

# A sentence with an equation; its last "=" parts it. A point before a digit is the number's.
_STEP = re.compile(r"((?:[^.;]|\.(?=\d))+)=\s*(?:[^=.;]|\.(?=\d))+[.;]")


class ScriptedTeacher:
    """Says the worked solution of each problem; one without fails by the name ``no_solution``."""

    settings = Settings("scripted")

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def ask(self, tasks: Sequence[Task]) -> list[Outcome]:
        return [self._say(task.sample) for task in tasks]

    def _say(self, sample: Sample) -> Outcome:
        if not (sample.rationale or "").strip():
            return failed("no_solution", "the problem brings no worked solution")
        text = str(sample.rationale)
        if self._kind == "symbolic-solver":
            text = in_notation(text)
        return Outcome(text, None, "", 0, 0)


def in_notation(solution: str) -> str:
    """A solution made of equations, in the symbolic solver's notation.

    >>> in_notation("35+72=107. Answer: 107")
    '35+72=107 [[var x1]] [[eq x1 = 35+72]] [[answer x1]] Answer: 107'
    >>> in_notation("r = 3.5 + 2 = 5.5. Answer: 5.5")
    'r = 3.5 + 2 = 5.5 [[var x1]] [[eq x1 = 3.5 + 2]] [[answer x1]] Answer: 5.5'
    """
    steps = [
        (match[0].strip(" .;"), match[1].rpartition("=")[2].strip()) for match in _STEP.finditer(solution)
    ]
    rest = _STEP.sub("", solution).strip()
    if not steps:  # one step then, the answer itself
        steps = [("", rest.rpartition(":")[2].strip(" .") or rest)]
    said = [f"{text} [[var x{n}]] [[eq x{n} = {value}]]".strip() for n, (text, value) in enumerate(steps, 1)]
    return f"{' '.join(said)} [[answer x{len(steps)}]] {rest}"
