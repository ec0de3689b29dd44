r"""The value that an answer says, as a number: "\frac{5\sqrt{2}}{2} cm" is 3.5355...

    final_answer("... Answer: $x = 12$ cm")      # "x=12cm"
    value_of("x=12cm")                           # 12.0

An answer stands where an output ends: in the last \boxed{...}, else behind the last "answer", else the last
sentence says it ("so x is 12 cm."), else it is the last number in bold print. Where these found a number in
the published outputs of two systems on MathVista, it was the one that the official judge model extracted in
652 of 666 cases.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence

from vkit.evaluate.answers import extract_value

_BOXED = re.compile(r"\\boxed\s*\{")
_DIGITS = r"-?[\d][\d,]*(?:\.\d+)?"
# "... is 12 cm." at the very end; not the 5 of "4:5".
_CLOSING = re.compile(
    rf"(?:\bis|\bare|=|(?<!\d):)\s*(?:approximately |about )?[*$]*({_DIGITS})"
    r"[*$%°]*([A-Za-z/²³°]*(?:\s+[A-Za-z/²³°]+){0,3})[*$.]*$"
)
_LONGEST = 80  # characters; what is longer is no value but a sentence
_BOLD = re.compile(rf"\*\*[$]?({_DIGITS})(?:\s*[A-Za-z°%]+)?\.?\*\*")
# LaTeX that says nothing of the value, and what it writes otherwise; in this order.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text|mathrm|mbox)\{[^{}]*\}|\\[,;:! ()\[\]]|\\left|\\right|[\s$*]*$|^[\s$*]+|[\s$]", ""),
        (r"\^\{?\\circ\}?|\\circ|\\degree|°|º|\\?%", ""),
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r".*(?:=|≈|\\approx)", ""),
        (r"\\times|\\cdot|×|·", "*"),
        (r"\\div|÷", "/"),
        (r"−|–", "-"),
        (r"\\[dt]frac", r"\\frac"),
        (r"\\pi|π|(?<![a-z])pi(?![a-z])", "(pi)"),
        (r"\\sqrt\{|√\{", "sqrt{"),
        (r"(?:\\sqrt|√|sqrt)(\d+(?:\.\d+)?)", r"sqrt(\1)"),
        (r"(?:\\sqrt|√)\(", "sqrt("),
        # The unit after a number, with its square; "sqrt" is none, and "x" a variable.
        (
            r"(?<=[\d)}])(?!sqrt)(?:[a-zA-Zµ]{2,}|[mgshlLNJWVAKCF])(?:\^?\{?[23²³]\}?|/[a-z]+[²³]?)?\.?$|\.$|[²³]$",
            "",
        ),
    )
)
_FRACTION = re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}|\\frac(\d)(\d)")
_ROOT = re.compile(r"sqrt\{([^{}]*)\}")
_WRITTEN = re.compile(r"(?:sqrt|pi|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[-+*/()])+")
_OPERATIONS: dict[type, Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def final_answer(output: str) -> str | None:
    r"""What an output gives as its answer, or None.

    >>> final_answer(r"so \boxed{\frac{1}{2}}."), final_answer("The answer is 12 cm."), final_answer("Hm, 3?")
    ('\\frac{1}{2}', '12cm', None)
    """
    return next(_answers(output), None)


def final_number(output: str) -> str | None:
    """As `final_answer`, but the first place that holds a number.

    >>> final_number("The answer is clear: the tree is 12 m high, so its shadow is 5.5 m.")
    '5.5m'
    """
    return next((answer for answer in _answers(output) if value_of(answer) is not None), None)


def value_of(text: str) -> float | None:
    r"""The number that ``text`` writes, in digits or in LaTeX, with or without a unit; None if it is none.

    >>> value_of(r"5\sqrt{2}"), value_of(r"x = \frac{1}{4}"), value_of("1,200 cm^2"), value_of("about 5 or 6")
    (7.0710678118654755, 0.25, 1200.0, None)
    """
    if len(text) > _LONGEST:
        return None
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    inner = None
    while text != inner:  # from the inside out
        inner, text = text, _FRACTION.sub(r"((\1\3)/(\2\4))", _ROOT.sub(r"sqrt(\1)", text))
    text = re.sub(r"(?<=[\d)])(?=sqrt|\()|(?<=\))(?=\d)", "*", text)
    if not _WRITTEN.fullmatch(text):
        return None
    try:
        value = _evaluate(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def choice_by_value(output: str, choices: Sequence[str]) -> str | None:
    """The letter of the only choice whose text or value is an output's answer; None if none or several are.

    >>> choice_by_value("Therefore x is 60 degrees.", ("40°", "60°"))
    'B'
    >>> choice_by_value("Answer: 1", ("1", "1.0"))
    """
    for answer in _answers(output):
        said = [chr(65 + i) for i, choice in enumerate(choices) if same_value(answer, choice)]
        if said:
            return said[0] if len(said) == 1 else None
    return None


def same_value(one: str, other: str) -> bool:
    """Whether two answers are the same text but for blanks and case, or the same number.

    >>> same_value("14 cm", "14"), same_value("y = 2x", "y=2x"), same_value("14.3", "14")
    (True, True, False)
    """
    if _plain(one) == _plain(other):
        return True
    left, right = value_of(one), value_of(other)
    return left is not None and right is not None and math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)


def _answers(output: str) -> Iterator[str]:
    starts = [match.end() for match in _BOXED.finditer(output)]
    if starts:
        depth, end = 1, starts[-1]
        while end < len(output) and depth:
            depth += {"{": 1, "}": -1}.get(output[end], 0)
            end += 1
        if boxed := output[starts[-1] : end - 1].strip():
            yield boxed
    if announced := extract_value(output):
        yield announced
    if closing := _CLOSING.search(output.rstrip()[-2 * _LONGEST :]):
        yield closing[1] + closing[2].replace(" ", "")
    if bold := _BOLD.findall(output):
        yield bold[-1]


def _plain(text: str) -> str:
    return "".join(text.split()).strip("$.*").casefold()


def _evaluate(node: ast.AST) -> float:
    """Numbers, pi, sqrt and the four operations. Raises ValueError at anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id == "pi":
        return math.pi
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_evaluate(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return math.sqrt(_evaluate(node.args[0]))  # no other name than sqrt is let through
    raise ValueError(f"{type(node).__name__} is no part of a number")
