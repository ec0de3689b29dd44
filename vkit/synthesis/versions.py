"""The five versions of a problem: the same information, standing in words or in the picture.

    drawn = draw_versions(problem, family, rng, size=336)
    drawn.versions["vision-dominant"].text       # "Find ∠ACB."

| version         | text                               | picture                                     |
| --------------- | ---------------------------------- | ------------------------------------------- |
| text-only       | description, facts, question       | none                                        |
| text-dominant   | description, facts, question       | figure                                      |
| text-lite       | facts, question                    | figure, which shows what is described       |
| vision-dominant | question                           | figure with the facts' marks                |
| vision-only     | nothing                            | figure with marks, question and choices     |

A fact that no mark can say stays in words where the others are marks. Choices, answer and worked solution are
the same in all.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from vkit.synthesis.drawn import VERSIONS, Drawn, Version
from vkit.synthesis.exact import show
from vkit.synthesis.layout import Layout, lay_out
from vkit.synthesis.marks import Mark
from vkit.synthesis.problem import Problem, sentence, with_space
from vkit.synthesis.registry import Family
from vkit.synthesis.render import paint, picture_png, with_text_below

FREE_FORM_SHARE = 0.25  # of the problems; the others have four choices


@dataclass(frozen=True)
class Plan:
    """What a version says, and where.

    text: what the user says.
    marks: the marks that the picture shows; None: there is no picture.
    written, choices: the text under the figure, and the options under it.
    """

    text: str
    marks: tuple[Mark, ...] | None
    written: str = ""
    choices: tuple[str, ...] = ()


def draw_versions(
    problem: Problem,
    family: Family,
    rng: random.Random,
    *,
    size: int = 336,
    only: Collection[str] = VERSIONS,
) -> Drawn:
    """A problem as it is written to disk, in the versions that are asked for.

    Raises:
        Rejected: the figure and its labels find no room in a picture of ``size`` pixels.
    """
    wrong = [value for value, _ in problem.wrong_answers]
    options = [problem.answer, *wrong]
    rng.shuffle(options)
    unit = with_space(problem.unit)
    free_form = rng.random() < FREE_FORM_SHARE
    choices = () if free_form else tuple(show(option) + unit for option in options)
    answer = show(problem.answer) if free_form else chr(65 + options.index(problem.answer))
    layout = lay_out(problem.figure, every_mark(problem), size)
    return Drawn(
        key=problem_key(problem, family),
        family=family.name,
        subject=family.subject,
        versions={name: _version(plan(problem, name, choices), layout) for name in VERSIONS if name in only},
        choices=choices,
        answer=answer,
        response=problem.rationale(answer),
        meta=_meta(problem),
    )


def problem_key(problem: Problem, family: Family) -> str:
    """The same for problems that differ in letters and in how they are drawn only."""
    return f"{family.name}/{problem.literals}"


def plan(problem: Problem, version: str, choices: tuple[str, ...]) -> Plan:
    """What one version says in words, by marks, and in writing under the figure."""
    words = _joined(problem.description, problem.given, problem.question)
    if version == "text-only":
        return Plan(words, None)
    if version == "text-dominant":
        return Plan(words, problem.extra_marks)
    if version == "text-lite":
        return Plan(_joined(problem.given, problem.question), problem.extra_marks)
    unmarked = sentence([fact.text for fact in problem.facts if not fact.marks])
    question = _joined(unmarked, problem.question)
    if version == "vision-dominant":
        return Plan(question, every_mark(problem))
    return Plan("", every_mark(problem), question, choices)


def every_mark(problem: Problem) -> tuple[Mark, ...]:
    """The marks of all facts, and those that every picture shows."""
    return (*(mark for fact in problem.facts for mark in fact.marks), *problem.extra_marks)


def _version(plan: Plan, layout: Layout) -> Version:
    if plan.marks is None:
        return Version(plan.text, None)
    picture = paint(layout, plan.marks)
    if plan.written:
        picture = with_text_below(picture, layout, plan.written, plan.choices)
    return Version(plan.text, picture_png(picture))


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _meta(problem: Problem) -> dict:
    steps = [
        {
            "label": step.label,
            "expression": step.expression,
            "value": show(problem.values[step.name]),
            "unit": step.unit,
            "reason": step.reason,
            "name": step.name,
        }
        for step in problem.steps
    ]
    given = {name: show(value) for fact in problem.facts for name, value in fact.values.items()}
    return {
        "form": problem.form,
        "given": given,
        "steps": steps,
        "mistakes": {show(value): why for value, why in problem.wrong_answers},
        "transforms": problem.transforms,
        **problem.meta,
    }
