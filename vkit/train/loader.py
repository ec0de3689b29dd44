"""Makes what the next steps need while the present one runs: in order, a bounded number ahead, by threads.

    with Loader(task.read, chunks, workers=2) as loader:  # chunks: lists of records' indices
        for chunk, micro in zip(chunks, loader): ...
        loader.waited_seconds                             # of these the loop stood still

What is made, its order and the place where an error is raised are those of a plain loop, whatever the number
of workers. They are threads: pictures are decoded and scaled, and texts tokenized, outside Python's lock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")
Made = TypeVar("Made")


class Loader(Generic[Chunk, Made]):
    """What ``make`` makes of each of ``chunks``, in their order.

    Args:
        make: must not depend on what it was called with before.
        chunks: may be endless; taken from by the thread that asks for what is made.
        workers: threads; 0 makes each when it is asked for.
        ahead: at most so many are made ahead of the one that is handed out; None: as many as workers. Where
            several are asked for at once and then none for a while, so many fill the while.

    waited_seconds: that the caller has waited so far.

    >>> with Loader(sum, [[1, 2], [3]], workers=2) as loader:
    ...     list(loader)
    [3, 3]
    """

    def __init__(
        self,
        make: Callable[[Chunk], Made],
        chunks: Iterable[Chunk],
        *,
        workers: int = 1,
        ahead: int | None = None,
    ) -> None:
        self.waited_seconds = 0.0
        self._made = prefetch(make, chunks, workers=workers, ahead=ahead)

    def __iter__(self) -> Loader[Chunk, Made]:
        return self

    def __next__(self) -> Made:
        """The next one. Raises what ``make`` raised for it; the loader is then at its end."""
        began = time.perf_counter()
        try:
            return next(self._made)
        finally:
            self.waited_seconds += time.perf_counter() - began

    def close(self) -> None:
        """Make no more; waits for what is being made."""
        self._made.close()

    def __enter__(self) -> Loader[Chunk, Made]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prefetch(
    make: Callable[[Chunk], Made], chunks: Iterable[Chunk], *, workers: int = 1, ahead: int | None = None
) -> Generator[Made, None, None]:
    """What `Loader` hands out, without its clock.

    >>> list(prefetch(lambda places: sum(places), [[1, 2], [3]], workers=3))
    [3, 3]
    """
    if workers == 0:
        for chunk in chunks:
            yield make(chunk)
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(make, chunk))
                if len(waiting) > (workers if ahead is None else ahead):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
