"""The benchmarks that vkit scores: how each is read, how an output is judged, what is summed up.

    suite = SUITES["mathvista"]
    samples = only_good(suite.scan(Path("MathVista")))
    report_marks(suite, mark_outputs(suite, samples, outputs))

One entry each; the rules stand in the benchmark's own module. "records" are any problems in JSON Lines.
SMART-101 is scored on classes, not on texts, by `vkit.evaluate.smart101`.
"""

from __future__ import annotations

from typing import Any

from vkit.evaluate import geometry3k, mathverse, mathvista, records, wemath
from vkit.evaluate.scoring import LETTER, Suite, correct_by_problem
from vkit.records import Sample, scan_samples
from vkit.sources.geometry3k import scan_geometry3k
from vkit.sources.mathverse import scan_mathverse
from vkit.sources.mathvista import scan_mathvista
from vkit.sources.wemath import scan_wemath


def _letter(_: Sample) -> str:
    return LETTER


def _nothing(*_: object) -> dict[str, Any]:
    return {}


SUITES: dict[str, Suite] = {
    "geometry3k": Suite(
        title="Geometry3K",
        scan=scan_geometry3k,
        extract=geometry3k.extract,
        right=geometry3k.is_right,
        problem=lambda sample: sample.id,
        groups=geometry3k.groups,
        details=lambda output, sample: {"value": geometry3k.says_value(output, sample)},
        figures=geometry3k.figures,
        more=geometry3k.more,
        ask=_letter,
        main="goal",
    ),
    "mathvista": Suite(
        title="MathVista",
        scan=lambda path: scan_mathvista(path, pictures=False),
        extract=mathvista.extract,
        right=mathvista.is_right,
        problem=lambda sample: sample.id,
        groups=mathvista.groups,
        details=_nothing,
        figures=lambda marks: {"accuracy": correct_by_problem(marks)},
        more=mathvista.more,
        ask=mathvista.answer_form,
        main="task",
    ),
    "mathverse": Suite(
        title="MathVerse",
        scan=lambda path: scan_mathverse(path, pictures=False),
        extract=mathverse.extract,
        right=mathverse.is_right,
        problem=lambda sample: sample.meta["problem_index"],
        groups=mathverse.groups,
        details=_nothing,
        figures=mathverse.figures,
        more=mathverse.more,
        ask=mathverse.answer_form,
        main="version",
    ),
    "wemath": Suite(
        title="We-Math",
        scan=lambda path: scan_wemath(path, pictures=False),
        extract=wemath.extract,
        right=wemath.is_right,
        problem=lambda sample: sample.meta["ID"],
        groups=wemath.groups,
        details=lambda output, sample: {"key": sample.meta["key"]},
        figures=wemath.figures,
        more=wemath.more,
        ask=_letter,
        main="steps",
    ),
    "records": Suite(
        title="Records",
        scan=scan_samples,
        extract=records.extract,
        right=records.is_right,
        problem=records.problem,
        groups=records.groups,
        details=_nothing,
        figures=lambda marks: {"accuracy": correct_by_problem(marks)},
        more=_nothing,
        ask=records.answer_form,
        main="version",
    ),
}
