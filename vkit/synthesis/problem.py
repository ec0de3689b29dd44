"""A problem before it is written: its facts, its figure, and the graph of steps that solves it.

    problem = Problem(
        form="third angle",
        description="A, B and C are the corners of a triangle.",
        facts=(angle("B", "A", "C", 50, name="a"), angle("A", "B", "C", 60, name="b")),
        question="Find ∠ACB.",
        figure=figure,
        steps=(Step("c", "∠ACB", "180 - a - b", "The angles of a triangle sum to 180°."),),
        mistakes=(Mistake("a + b", "the sum of the other two angles"), ...),
        unit="°",
    )
    problem.answer                          # 70

What a problem says is checked when it is made: its answer is recomputed from the graph, its facts are
measured in its figure. A family's error is a ValueError; numbers that make no good problem are `Rejected`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vkit.synthesis.exact import Exact, as_float, evaluate, names, pleasant, same, show, spell
from vkit.synthesis.facts import Fact
from vkit.synthesis.figure import Figure, Rejected
from vkit.synthesis.marks import Mark

TRANSFORMS = ("similarity", "stretch", "none")
MISTAKES = 3  # of a problem with choices


@dataclass(frozen=True)
class Step:
    """One step of the solution: a quantity computed from facts and earlier steps.

    name: what later steps call it.
    label: what readers call it: "∠ACB", "the area of the trapezoid".
    expression: how it is computed (`vkit.synthesis.exact`).
    reason: the rule: a whole sentence, or a phrase that ends in a comma and that the equation completes.
    unit: "°", "cm", "cm²" or nothing.
    """

    name: str
    label: str
    expression: str
    reason: str
    unit: str = ""


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, as an expression over facts and steps, and what went wrong."""

    expression: str
    why: str


@dataclass(frozen=True)
class Problem:
    """A problem with an exact answer.

    form: which question of its family; with the given values it tells problems apart.
    description: what can be seen in the figure without reading values (whole sentences).
    facts: what is given.
    question: whole sentences; says the unit where there is one and no fact does.
    figure: lines and letters; the facts' marks are no part of it.
    steps: the last one's value is the answer; each is used by a later one.
    mistakes: typical ones, most typical first; the first three good ones become choices.
    unit: of the answer.
    sizes: the answer and the mistakes are positive.
    extra_marks: drawn in every version with a picture: the asked unknown ("x", "?"); they say no value.
    transforms: how the picture may be changed without breaking what is stated: "similarity" keeps angles,
        "stretch" scales x and y apart, "none" leaves it as it is.
    answer_in_picture: the answer's number may stand in the picture because it says something else there.
    """

    form: str
    description: str
    facts: tuple[Fact, ...]
    question: str
    figure: Figure
    steps: tuple[Step, ...]
    mistakes: tuple[Mistake, ...]
    unit: str = ""
    sizes: bool = True
    extra_marks: tuple[Mark, ...] = ()
    transforms: str = "similarity"
    answer_in_picture: bool = False
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.transforms not in TRANSFORMS:
            raise ValueError(f"{self.form}: transforms must be one of {TRANSFORMS}, not {self.transforms!r}")
        self._check_graph()
        self._check_figure()
        if not pleasant(self.answer):
            raise Rejected(f"{self.form}: the answer {self.answer} is unpleasant")
        if self.sizes and as_float(self.answer) <= 0:
            raise Rejected(f"{self.form}: the answer {self.answer} is not positive")
        if not self.answer_in_picture:
            self._check_answer_is_not_printed()
        if len(self.wrong_answers) < MISTAKES:
            raise Rejected(f"{self.form}: only {len(self.wrong_answers)} mistakes differ from the answer")

    @cached_property
    def values(self) -> Mapping[str, Exact]:
        """Every given and computed quantity by name."""
        values: dict[str, Exact] = {}
        for fact in self.facts:
            values.update(fact.values)
        for step in self.steps:
            values[step.name] = evaluate(step.expression, values)
        return values

    @property
    def answer(self) -> Exact:
        """The exact answer."""
        return self.values[self.steps[-1].name]

    @cached_property
    def wrong_answers(self) -> tuple[tuple[Exact, str], ...]:
        """Up to three mistakes with their reasons: pleasant, distinct, and printed differently."""
        kept: list[tuple[Exact, str]] = []
        for mistake in self.mistakes:
            value = evaluate(mistake.expression, self.values)
            if not pleasant(value) or (self.sizes and as_float(value) <= 0):
                continue
            if not any(same(value, other) for other in (self.answer, *(wrong for wrong, _ in kept))):
                kept.append((value, mistake.why))
        return tuple(kept[:MISTAKES])

    @property
    def given(self) -> str:
        """The facts as one sentence, or nothing."""
        texts = [fact.text for fact in self.facts]
        return sentence(texts)

    @property
    def literals(self) -> str:
        """What tells this problem from others of its family: form, given values and answer."""
        values = {name: show(value) for fact in self.facts for name, value in fact.values.items()}
        return json.dumps([self.form, values, show(self.answer)], ensure_ascii=False)

    def rationale(self, ending: str) -> str:
        """The worked solution: what is given, each step, and ``Answer: ending``."""
        lines = [f"Given: {', '.join(fact.text for fact in self.facts)}."] if self.facts else []
        for step in self.steps:
            equation = self.equation(step)
            lines.append(f"{step.reason} {equation if step.reason.endswith(',') else capital(equation)}.")
        return "\n".join([*lines, f"Answer: {ending}"])

    def equation(self, step: Step) -> str:
        """A step as a line of arithmetic: "∠ACB = 180 - 50 - 60 = 70°"."""
        value, spelled = show(self.values[step.name]), spell(step.expression, self.values)
        parts = [step.label, *([spelled] if spelled != value else []), value + with_space(step.unit)]
        return " = ".join(parts)

    def _check_graph(self) -> None:
        known = {name for fact in self.facts for name in fact.values}
        if sum(len(fact.values) for fact in self.facts) != len(known):
            raise ValueError(f"{self.form}: two facts give the same name")
        used: set[str] = set()
        for step in self.steps:
            if unknown := names(step.expression) - known:
                raise ValueError(
                    f"{self.form}: step {step.name!r} uses {sorted(unknown)} before they are known"
                )
            if step.name in known:
                raise ValueError(f"{self.form}: {step.name!r} is computed twice")
            used |= names(step.expression)
            known.add(step.name)
        needed = {n for f in self.facts if not f.red_herring for n in f.values} | {
            s.name for s in self.steps[:-1]
        }
        if idle := needed - used:
            raise ValueError(f"{self.form}: {sorted(idle)} is used by no step")

    def _check_figure(self) -> None:
        for fact in self.facts:
            for claim in fact.claims:
                if wrong := claim.wrong(self.figure):
                    raise ValueError(f"{self.form}: the figure is wrong: {wrong}")

    def _check_answer_is_not_printed(self) -> None:
        answer = show(self.answer)
        for mark in (*(mark for fact in self.facts for mark in fact.marks), *self.extra_marks):
            text = getattr(mark, "text", "")
            if answer in numbers(text) or (" " in answer and answer in text):
                raise Rejected(f"{self.form}: the answer {answer} stands in the picture: {text!r}")


def sentence(texts: list[str]) -> str:
    """Clauses joined into one sentence.

    >>> sentence(["AB = 5", "AC = 7", "∠BAC = 60°"])
    'AB = 5, AC = 7 and ∠BAC = 60°.'
    """
    if not texts:
        return ""
    text = " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
    return f"{capital(text)}."


def capital(text: str) -> str:
    """The text as a sentence begins, where it begins with a word and not with a formula.

    >>> capital("the area is 5"), capital("it is a cube"), capital("cos A = 1/2")
    ('The area is 5', 'It is a cube', 'cos A = 1/2')
    """
    first = text.split(" ", 1)[0]
    word = first.isalpha() and len(first) > 1 and first not in ("sin", "cos", "tan", "log")
    return text[0].upper() + text[1:] if word else text


def numbers(text: str) -> set[str]:
    """The values printed in a text.

    >>> sorted(numbers("(3x + 10)°, 5√3 cm"))
    ['10', '3', '5√3']
    """
    found = set(re.findall(r"-?[0-9]*(?:π[²³]?)?(?:√[0-9]+)?(?:/[0-9]+)?", text)) - {"", "-"}
    return found | ({text} if text.startswith("(") and text.endswith(")") else set())


def with_space(unit: str) -> str:
    """The unit as it follows a number: a space before letters, none before °."""
    return f" {unit}" if unit and unit != "°" else unit
