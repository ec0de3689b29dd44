"""A judge: a model that reads the answer off an output that the rules cannot read; it never marks it.

    judge = Judge(lambda prompts: [ask_my_model(prompt) for prompt in prompts])
    mark_outputs(SUITES["mathvista"], samples, outputs, judge=judge)

    with endpoint_judge(Path("judge.jsonl"), model="gpt-4o-mini", base_url=url) as judge:
        ...                                # asks an endpoint, and nothing twice: replies stay in the file

The judge sees the question, the output and the form of an answer, but not the right one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vkit.errors import VkitError
from vkit.evaluate.scoring import LETTER, Question
from vkit.records import Sample

if TYPE_CHECKING:
    from vkit.teacher.store import Prices

# A model's reply to each prompt, in their order; None where none came.
Ask: TypeAlias = "Callable[[Sequence[str]], Sequence[str | None]]"

NO_ANSWER = "NONE"
MAX_TOKENS = 1024  # an answer is a few, but models that reason want room
_LABEL = re.compile(r"^(?:the )?(?:final )?answer(?: is)?\s*[:=]?\s*", re.IGNORECASE)
_LETTER = re.compile(r"[\s(\[*]*([A-Z])[\s)\].:*]*(?![A-Za-z])")


class Judge:
    """Gives the answer of each `Question`, or None; keeps count.

    asked: questions so far. failed: those to which no reply came.
    cost_usd, input_tokens, output_tokens: of `endpoint_judge`, when it is closed; None where not known.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.asked = self.failed = 0
        self.cost_usd: float | None = None
        self.input_tokens = self.output_tokens = 0

    def __call__(self, questions: Sequence[Question]) -> list[str | None]:
        replies = self._ask([judge_prompt(question) for question in questions])
        self.asked += len(questions)
        self.failed += sum(reply is None for reply in replies)
        return [
            None if reply is None else read_reply(reply, question.form)
            for reply, question in zip(replies, questions, strict=True)
        ]


def judge_prompt(question: Question) -> str:
    """What the judge is asked."""
    sample, output, form = question
    lines = [
        "Below are a mathematics question and what somebody replied to it. Find the final answer that the "
        "reply commits to. Do not solve the question and do not correct the reply.",
        f"Write {form}, and nothing else. Where the reply commits to no answer, write {NO_ANSWER}.",
        f"Question:\n{sample.question or '(it stands in a picture that you do not see)'}",
    ]
    if sample.choices:
        lines.append("Choices:\n" + "\n".join(f"({chr(65 + i)}) {c}" for i, c in enumerate(sample.choices)))
    return "\n\n".join([*lines, f"Reply:\n{output.strip()}", "Final answer of the reply:"])


def read_reply(reply: str, form: str) -> str | None:
    """The answer in a judge's reply, in the form that was asked for; None where it found none.

    >>> read_reply("Answer: (B) 40", LETTER), read_reply("40", LETTER), read_reply("NONE.", "a whole number")
    ('B', None, None)
    """
    answer = _LABEL.sub("", reply.strip().strip("*`")).strip()
    if not answer or answer.strip(".*").upper() == NO_ANSWER:
        return None
    if form != LETTER:
        return answer
    letter = _LETTER.match(answer)
    return letter[1] if letter else None


@contextmanager
def endpoint_judge(
    cache: Path,
    *,
    model: str,
    base_url: str,
    key_variable: str = "OPENAI_API_KEY",
    prices: Prices | None = None,
    concurrency: int = 4,
) -> Iterator[Judge]:
    """A judge behind an OpenAI-compatible endpoint; each reply is kept in ``cache``, by prompt and model.

    Raises:
        VkitError: the ``openai`` package or the key is missing, the endpoint refuses or is down, Ctrl-C, or
            another process holds the file; what was paid for is in it.
    """
    from tqdm import tqdm

    from vkit.teacher.asking import ask_all
    from vkit.teacher.client import ApiTeacher
    from vkit.teacher.store import ReplyStore
    from vkit.teacher.task import Settings, make_task

    settings = Settings(model=model, max_tokens=MAX_TOKENS)
    teacher: list[ApiTeacher] = []  # made when it is needed: a full cache wants no key

    with ReplyStore(cache, prices) as store:

        def replies(prompts: Sequence[str]) -> list[str | None]:
            tasks = [make_task(Sample("judge", ""), prompt, "", settings) for prompt in prompts]
            todo = [task for task in tasks if _said(store.outcomes(task.key)) is None]
            if todo:
                if not teacher:
                    teacher.append(ApiTeacher(settings, base_url=base_url, key_variable=key_variable))
                with tqdm(total=len(todo), desc="judge", unit=" replies", leave=False, disable=None) as bar:
                    stopped = ask_all(
                        todo,
                        teacher[0].ask,
                        store,
                        max_tokens=MAX_TOKENS,
                        concurrency=concurrency,
                        on_outcomes=lambda outcomes: bar.update(len(outcomes)),
                    )
                if stopped:
                    raise VkitError(
                        f"the judge was {stopped}; its replies are in {cache}, run again to go on"
                    )
            return [_said(store.outcomes(task.key)) for task in tasks]

        judge = Judge(replies)
        try:
            yield judge
        finally:
            judge.cost_usd = store.cost_usd
            judge.input_tokens, judge.output_tokens = store.input_tokens, store.output_tokens


def _said(outcomes: Sequence[object]) -> str | None:
    """What the last whole reply says."""
    from vkit.teacher.outcome import Outcome

    whole = [each.text for each in outcomes if isinstance(each, Outcome) and each.failure is None]
    return whole[-1] if whole else None
