"""What a teacher is asked for each kind of rationale, what becomes of its words, and whether they are right.

    before, after = build_prompt(sample, "visual-cot")     # the picture stands between them
    reason = find_fault(sample, "visual-cot", said)          # None where the rationale is good
    rationale = finish(sample, "visual-cot", said)

The kinds of Tey's study (section 4.1, Figures 2 and 3):

visual-cot        the prompt of Figure 3, the only one that the paper prints: the teacher is told the answer.
diagram-literals  the visual CoT rationale with the diagram's literals prepended. The teacher is asked the
                  same as for visual-cot, so whoever has paid for one has paid for both.
symbolic-solver   follows "the prompting rules of the Peano symbolic solver" (He-Yueya et al. 2023,
                  arXiv:2304.09102): sentences that declare a variable, state an equation, or name the goal,
                  each with its formal counterpart in double brackets. The words are ours, after those rules.
"""

from __future__ import annotations

import re

from vkit.evaluate.answers import judge
from vkit.records import Sample

KINDS = ("visual-cot", "diagram-literals", "symbolic-solver")

_ENDING_WITH_CHOICES = "You must end with the definitive answer, e.g. Answer: {A, B, C or D}"
_ENDING_WITHOUT = "You must end with the definitive answer, e.g. Answer: 12"
_VISUAL_COT = (
    "Please analyze the question and provide a concise (max. 5 steps), structured step-by-step reasoning "
    "that leads to the correct answer. Clearly indicate how the visual diagram is used at each step. "
)
_SYMBOLIC_SOLVER = (
    _VISUAL_COT
    + "Leave every computation to a symbolic solver, in this notation: a sentence either introduces one new "
    "variable and ends with [[var x]], or states one equation and ends with [[eq x = 2 * y + 3]]. An "
    "equation only uses numbers and variables that were introduced before it, and each quantity is named by "
    "one variable only. The last sentence of the reasoning says which variable is asked for and ends with "
    "[[answer x]]. "
)
_NOTATION = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_BRACED_LETTER = re.compile(r"(?i:(\banswer:\s*\**\s*))\{\s*([A-Z])\s*\}")


def build_prompt(sample: Sample, kind: str) -> tuple[str, str]:
    """What stands before the picture and what after it; for a problem without picture the first is all.

    A problem without choices gets the same words without those about letters.

    >>> print(*build_prompt(Sample("1", "Find x.", ("3", "4"), "B", "1.png"), "visual-cot"), sep="<picture>")
    ... # doctest: +ELLIPSIS
    Please analyze the question ... e.g. Answer: {A, B, C or D}
    <BLANKLINE>
    Diagram: <picture>
    Question: Find x.
    Choices: A. 3, B. 4
    Correct Answer: B
    """
    task = _SYMBOLIC_SOLVER if kind == "symbolic-solver" else _VISUAL_COT
    ending = _ENDING_WITH_CHOICES if sample.choices else _ENDING_WITHOUT
    lines = [f"Question: {sample.question}"] if sample.question else []
    if sample.choices:
        choices = (f"{chr(65 + i)}. {choice}" for i, choice in enumerate(sample.choices))
        lines.append(f"Choices: {', '.join(choices)}")
    lines.append(f"Correct Answer: {sample.answer}")
    problem = "\n".join(lines)
    if sample.image is None:
        return f"{task}{ending}\n\n{problem}", ""
    return f"{task}{ending}\n\nDiagram: ", f"\n{problem}"


def why_not_asked(sample: Sample, kind: str) -> str | None:
    """Why no rationale of this kind can be had for a problem, or None.

    >>> why_not_asked(Sample("1", "Find x."), "visual-cot")
    'no_answer'
    """
    if sample.answer is None or not sample.answer.strip():
        return "no_answer"
    return "no_literals" if kind == "diagram-literals" and not _literals(sample) else None


def find_fault(sample: Sample, kind: str, said: str) -> str | None:
    """Why a rationale must not be learned from, or None: its answer is wrong or cannot be read.

    >>> sample = Sample("1", "Find x.", ("3", "4"), "B")
    >>> [find_fault(sample, "visual-cot", said) for said in ("2+2=4. Answer: {B}", "Answer: A", "2+2=4")]
    [None, 'wrong_answer', 'unreadable_answer']
    """
    if kind == "symbolic-solver":
        heads = {found.split()[0] for found in _NOTATION.findall(said) if found.split()}
        if not heads >= {"var", "eq", "answer"}:
            return "no_notation"
    right = judge(_NOTATION.sub("", finish(sample, "visual-cot", said)), str(sample.answer), sample.choices)
    if right is None:
        return "unreadable_answer"
    return None if right else "wrong_answer"


def finish(sample: Sample, kind: str, said: str) -> str:
    """The rationale as a student learns it.

    The braces around the letter that the prompt's "Answer: {A, B, C or D}" invites are taken off.

    >>> sample = Sample("1", "Find x.", ("3", "4"), "B", meta={"literals": ["Line(A, B)", "Circle(O)"]})
    >>> finish(sample, "diagram-literals", "2+2=4. Answer: {B}")
    'Diagram literals: Line(A, B), Circle(O)\\n\\n2+2=4. Answer: B'
    """
    text = _BRACED_LETTER.sub(r"\1\2", said.strip())
    if kind != "diagram-literals":
        return text
    return f"Diagram literals: {', '.join(_literals(sample))}\n\n{text}"


def _literals(sample: Sample) -> list[str]:
    """What `vkit.sources.geometry3k` keeps of logic_form.json; other sources may bring their own."""
    literals = sample.meta.get("literals")
    return [str(literal) for literal in literals] if isinstance(literals, list) else []
