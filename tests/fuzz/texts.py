"""Targets: texts that people and models write: settings, questions to typeset, answers, a judge's replies."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.registry import Prepared, target
from vkit.evaluate.answers import judge
from vkit.evaluate.judge import read_reply
from vkit.evaluate.scoring import LETTER
from vkit.evaluate.steps import find_steps
from vkit.evaluate.suites import SUITES
from vkit.evaluate.values import choice_by_value, final_answer, final_number, value_of
from vkit.records import Sample
from vkit.report.markup import as_data, escaped, visible
from vkit.synthesis.typeset import typeset
from vkit.train.recipes import RECIPES, SFT_RECIPES, override, read_settings
from vkit.train.stages import with_stage

_OUTPUTS = [
    r"Since 2x + 40 = 180, so x = 70. Therefore the answer is \boxed{\frac{1}{2}\sqrt{3} cm^2}.",
    "The correct option is (B). **Answer: B** 12,000.5 km/h",
    "Step 1: x^2 = 9.\nStep 2: x = 3.\n\nFinal answer: $x = 3$, y = 4:5",
]
_QUESTIONS = [
    r"Find $\frac{x^{2}+1}{\sqrt[3]{y_1}}$ in \triangle ABC, \angle A = 40^\circ; "
    r"$$\left( \overline{AB} \right)$$",
    "√(x+1) and x² ½ ≤ 3, a file_name ____ costs $5 and $6; \\text{if} \\widehat {AB} \\\\ next",
]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@target("settings", "text")
def settings(folder: Path) -> Prepared:
    """YAML of ``--config``, as the recipes take it."""
    path = folder / "settings.yaml"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        values = read_settings(path)
        with_stage(RECIPES["paper"], values)
        override(SFT_RECIPES["llava"], values)

    return run, [
        b"lr: 1e-4\nbatch_size: 8\nstage2:\n  lam: 0.5\n  teacher: frozen\n"
        b"train: [connector, language_model]\n",
        b"lr: 0.001 # peak\nepochs: 2\nprecision: bf16\nseed: 0\n",
        b"lr: 2001-01-01 x\nepochs: !!int 0x1\ntrain: [[[[]]]]\n",
        _multiplying().encode(),
    ]


def _multiplying() -> str:
    """A list of nine lists of nine lists ...: little to read, and gigabytes to write out."""
    lists = ["&a0 [x, x, x, x, x, x, x, x, x]"]
    lists += [f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return f"lr: [{', '.join(lists)}]\n"


@target("typeset", "text")
def typeset_text(folder: Path) -> Prepared:
    def run(data: bytes) -> None:
        typeset(_text(data)[:3000], width=320)

    return run, [question.encode() for question in _QUESTIONS]


@target("answers", "text")
def answers(folder: Path) -> Prepared:
    """A model's outputs, as every benchmark's rules read them."""
    meta = {
        "vista": {"question_type": "free_form", "answer_type": "float", "precision": 1, "metadata": {}},
        "other": {
            "problem_index": "1",
            "version": "text-only",
            "question_type": "free-form",
            "key": "2steps_1",
            "ID": "1",
            "precise_value": [3.0, 4.0],
        },
    }

    def run(data: bytes) -> None:
        text = _text(data)
        for read in (final_answer, final_number, value_of):
            read(text)
        choice_by_value(text, ("40", "60°"))
        judge(text, "B", ("40", "60"))
        judge(text, "3", ())
        pieces = text.split(" ")
        find_steps(pieces)
        for name, suite in SUITES.items():
            for choices in ((), ("3", "4", text[:40])):
                values = meta["vista"] if name == "mathvista" else meta["other"]
                if name == "mathvista" and choices:
                    values = {**values, "question_type": "multi_choice", "answer_type": "text"}
                if name in ("geometry3k", "wemath") and not choices:
                    continue
                sample = Sample("1", "Find x.", choices, "A" if choices else "3", meta=values)
                reading = suite.extract(text, sample)
                if reading is not None:
                    suite.right(reading.answer, sample)

    return run, [output.encode() for output in _OUTPUTS]


@target("judge-replies", "text")
def judge_replies(folder: Path) -> Prepared:
    def run(data: bytes) -> None:
        for form in (LETTER, "a whole number"):
            read_reply(_text(data), form)

    return run, [b"Answer: (B) 40", b"The final answer is: **NONE**.", b"[C] because ..."]


@target("markup", "text")
def markup(folder: Path) -> Prepared:
    """Whatever a page shows stays text."""

    def run(data: bytes) -> None:
        text = (
            data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
            if _is_text(data)
            else _text(data)
        )
        for shown in (escaped(text), as_data({text: [text]})):
            assert not set("<>") & set(shown), shown
            assert '"' not in escaped(text), shown
            shown.encode()
        assert visible(text).replace("\n", "").replace("\u00a0", "").isprintable()

    return run, ["</script><b onclick='x'>&\u202e\u2028".encode(), "\ud800".encode("utf-8", "surrogatepass")]


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
