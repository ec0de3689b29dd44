"""Asks a teacher for many problems at once, and writes down every answer the moment it is there.

    with ReplyStore(folder / "store.jsonl", prices) as store:
        stopped = ask_all(job.tasks, teacher.ask, store, max_tokens=1024, concurrency=8, max_cost_usd=20.0)

Threads do nothing but ask; the calling thread alone decides what is asked next and writes to the store. A
kill loses the requests that are under way at that moment, which may have to be paid, and nothing else.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from vkit.errors import VkitError
from vkit.teacher.outcome import Outcome
from vkit.teacher.store import ReplyStore
from vkit.teacher.task import Task

Ask = Callable[[Sequence[Task]], list[Outcome]]
Reply = tuple[list[Task], list[Outcome] | BaseException]

# Failures that are the endpoint's and not the problem's; so many in a row, at least, and it is down.
ENDPOINT_FAILURES = ("disconnected", "timeout", "rate_limited", "malformed")
MOST_FAILURES_IN_A_ROW = 25


def ask_all(
    tasks: Sequence[Task],
    ask: Ask,
    store: ReplyStore,
    *,
    max_tokens: int,
    concurrency: int = 1,
    batch_size: int = 1,
    max_cost_usd: float | None = None,
    on_outcomes: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    on_interrupt: Callable[[int], None] = lambda in_flight: None,
) -> str | None:
    """Ask for every task and store what comes; returns None, or why it stopped: max_cost or interrupted.

    Args:
        tasks: those to be asked; of several with one key the first is asked.
        ask: what became of a batch of tasks; called from ``concurrency`` threads.
        max_tokens: the limit of an answer.
        max_cost_usd: of all that the store holds; it needs prices for that. Before a request is sent, the
            most it can cost is set aside, so that no more is spent; where an endpoint counts more tokens for
            a picture than was expected, no more than the requests under way is overspent.
        on_outcomes: called with what has just been stored.
        on_interrupt: called at the first Ctrl-C with the number of requests under way, which are waited for;
            a second Ctrl-C leaves them.

    Raises:
        VkitError: ``ask`` refused, or the endpoint is down; all that had come is in the store. Or there is a
            highest cost, but no prices.
    """
    if max_cost_usd is not None and store.prices is None:
        raise VkitError("a highest cost needs prices; give the store prices for a million tokens")
    unique = list({task.key: task for task in reversed(tasks)}.values())[::-1]
    chunks = deque(unique[start : start + batch_size] for start in range(0, len(unique), batch_size))
    todo: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
    threads = min(concurrency, len(chunks))
    for _ in range(threads):
        threading.Thread(target=_work, args=(ask, todo, done), daemon=True).start()
    reserved: dict[str, float] = {}  # by key of a chunk's first task
    health = _Health(max(MOST_FAILURES_IN_A_ROW, 2 * concurrency))
    stopped: str | None = None
    refusal: BaseException | None = None
    with _interrupts(lambda: done.put(None)) as interrupted:
        while chunks or reserved:
            if interrupted.is_set() and stopped is None:
                stopped = "interrupted"
                on_interrupt(len(reserved))
            while chunks and len(reserved) < threads and not stopped and not refusal:
                most = _most_usd(chunks[0], store, max_tokens)
                spent = store.spent_usd + sum(reserved.values())
                if max_cost_usd is not None and spent + most > max_cost_usd:
                    stopped = None if reserved else "max_cost"  # what is under way may cost less
                    break
                reserved[chunks[0][0].key] = most
                todo.put(chunks.popleft())
            if not reserved:
                break
            outcomes: list[Outcome] = []
            for chunk, reply in _arrived(done):
                del reserved[chunk[0].key]
                if isinstance(reply, BaseException):
                    refusal = refusal or reply
                else:
                    store.add(zip(chunk, reply), max_tokens)
                    outcomes += reply
            refusal = refusal or health.refusal(outcomes)
            on_outcomes(outcomes)
    for _ in range(threads):
        todo.put(None)
    if refusal is not None:
        raise refusal
    return stopped


def is_endpoint_failure(outcome: Outcome) -> bool:
    """Whether a request failed by the endpoint's fault, so that it may be good another time.

    >>> [is_endpoint_failure(Outcome(failure=name)) for name in ("timeout", "http_503", "refused", None)]
    [True, True, False, False]
    """
    name = outcome.failure or ""
    return name in ENDPOINT_FAILURES or name.startswith("http_5")


def _most_usd(chunk: Sequence[Task], store: ReplyStore, max_tokens: int) -> float:
    return 0.0 if store.prices is None else sum(store.prices.most_usd(task, max_tokens) for task in chunk)


class _Health:
    """Tells an endpoint that is down from problems that fail."""

    def __init__(self, most_in_a_row: int) -> None:
        self._most, self._in_a_row = most_in_a_row, 0

    def refusal(self, outcomes: Sequence[Outcome]) -> VkitError | None:
        for outcome in outcomes:
            self._in_a_row = self._in_a_row + 1 if is_endpoint_failure(outcome) else 0
            if self._in_a_row == self._most:
                return VkitError(
                    f"the last {self._in_a_row} requests failed ({outcome.failure}: {outcome.detail}); "
                    "wait, and run again"
                )
        return None


def _work(
    ask: Ask, todo: queue.SimpleQueue[list[Task] | None], done: queue.SimpleQueue[Reply | None]
) -> None:
    while (chunk := todo.get()) is not None:
        try:
            done.put((chunk, ask(chunk)))
        except BaseException as error:  # raised again by the calling thread
            done.put((chunk, error))


def _arrived(done: queue.SimpleQueue[Reply | None]) -> Iterator[Reply]:
    """Waits for one reply, and takes all that are there; nothing where an interrupt comes first."""
    reply = done.get()
    while reply is not None:
        yield reply
        try:
            reply = done.get_nowait()
        except queue.Empty:
            return


@contextmanager
def _interrupts(wake: Callable[[], None]) -> Iterator[threading.Event]:
    """Within it the first Ctrl-C only sets the event, so that no write is cut short; the second raises."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        wake()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
