"""Takes candidates in turn from lanes, drops what was seen, and lets any number of processes draw ahead.

    lanes = [Lane("plane", families=14), Lane("solid", families=8)]
    with drawing(recipe, workers=2) as draw:
        for lane, number, candidate in candidates_in_turn("train", lanes, range(1000), draw): ...

Which candidates are taken depends on the candidates alone: not on the workers, nor on where a run was
interrupted, because a lane's state follows from the numbers it accepted.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from vkit.errors import VkitError
from vkit.synthesis.candidates import Candidate, Recipe, digest, draw_candidate

PATIENCE = 400  # problems seen before, in a row: then a family has no others
_AHEAD = 6  # candidates that are drawn ahead for each worker and lane

Draw = Callable[[str, str, int], "Future[Candidate | None]"]


class Lane:
    """What a subject has given so far.

    number: of its next candidate, which is of family ``number % families``; a family that gave nothing new
    for long is passed over.
    """

    def __init__(self, name: str, families: int) -> None:
        self.name = name
        self.number = 0
        self.dropped = 0
        self._idle = [0] * families
        self._seen: set[str] = set()

    def next_number(self) -> int:
        """The number of the next candidate. Raises `VkitError` where every family is exhausted."""
        self.number = self.after(self.number)
        return self.number

    def after(self, number: int) -> int:
        """The first number from ``number`` on whose family is not exhausted."""
        for step in range(len(self._idle)):
            if self._idle[(number + step) % len(self._idle)] < PATIENCE:
                return number + step
        raise VkitError(
            f"{self.name!r} has only {len(self._seen)} different problems; "
            "ask for fewer, or for more subjects or families"
        )

    def offer(self, problem: str | None) -> bool:
        """Whether the candidate is new; None: there was none. Goes on to the next number."""
        family = self.number % len(self._idle)
        new = problem is not None and problem not in self._seen
        self._idle[family] = 0 if new else self._idle[family] + 1
        self.dropped += not new
        self.number += 1
        if problem is not None:
            self._seen.add(problem)
        return new

    def replay(self, number: int, problem: str) -> None:
        """Accept a candidate again that a file holds: all before it were dropped."""
        while self.next_number() < number:
            self.offer(None)
        if self.number != number or not self.offer(problem):
            raise VkitError(
                f"candidate {number} of {self.name!r} stands twice or out of order; draw into a new folder"
            )


def candidates_in_turn(
    split: str, lanes: list[Lane], problems: Iterable[int], draw: Draw, ahead: int
) -> Iterator[tuple[int, Candidate]]:
    """A new candidate for each problem, and its number in its lane; lanes take turns."""
    queues = [_Ahead(split, lane, draw, ahead) for lane in lanes]
    try:
        for problem in problems:
            queue = queues[problem % len(queues)]
            while True:
                number, candidate = queue.take()
                if queue.lane.offer(digest(candidate.drawn.key) if candidate else None):
                    assert candidate is not None
                    yield number, candidate
                    break
    finally:
        for queue in queues:
            queue.cancel()


class _Ahead:
    """Candidates of one lane that are being drawn before they are needed."""

    def __init__(self, split: str, lane: Lane, draw: Draw, ahead: int) -> None:
        self.lane, self._split, self._draw, self._ahead = lane, split, draw, ahead
        self._waiting: deque[tuple[int, Future[Candidate | None]]] = deque()

    def take(self) -> tuple[int, Candidate | None]:
        wanted = self.lane.next_number()
        while self._waiting and self._waiting[0][0] < wanted:
            self._waiting.popleft()[1].cancel()  # of a family that is exhausted by now
        number = self._waiting[-1][0] + 1 if self._waiting else wanted
        while len(self._waiting) < self._ahead:
            number = self.lane.after(number)
            self._waiting.append((number, self._draw(self._split, self.lane.name, number)))
            number += 1
        at, future = self._waiting.popleft()
        try:
            return at, future.result()
        except BrokenProcessPool as error:
            raise VkitError(
                "a worker was killed (out of memory?); run again to go on, with fewer workers"
            ) from error

    def cancel(self) -> None:
        for _, future in self._waiting:
            future.cancel()


@contextmanager
def drawing(recipe: Recipe, workers: int) -> Iterator[tuple[Draw, int]]:
    """A function that draws a candidate, and how many to ask for ahead; 1 worker draws in this process."""
    if workers == 1:
        yield (lambda *candidate: _drawn_here(recipe, *candidate)), 1
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_with_parent
    )
    try:
        yield (lambda *candidate: pool.submit(draw_candidate, recipe, *candidate)), _AHEAD * workers
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drawn_here(recipe: Recipe, *candidate: Any) -> Future[Candidate | None]:
    future: Future[Candidate | None] = Future()
    future.set_result(draw_candidate(recipe, *candidate))
    return future


def _leave_with_parent() -> None:
    """End this worker when the process that started it is killed, which no pool does by itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
