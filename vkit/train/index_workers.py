"""Processes that read blocks of records: plain interpreters that talk over pipes.

    with readers("pair", recipe, workers=2) as read:
        block = read(path.parent, data)                   # by a process that is free; threads may call it

They are neither forked, which is unsafe beside torch's threads and a GPU, nor made by multiprocessing, which
runs the caller's own script again in each of them and so brings torch. They end when their pipe does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from vkit.errors import VkitError
from vkit.train.index_block import Block, BlockReader
from vkit.train.recipes import AlignRecipe, SftRecipe

Read = Callable[[Path, bytes], Block]


@contextmanager
def readers(kind: str, recipe: SftRecipe | AlignRecipe, *, workers: int) -> Iterator[Read]:
    """`BlockReader.read`, done by ``workers`` processes; 0: by this one.

    Raises (what is yielded):
        VkitError: a process was ended from outside.
    """
    if workers == 0:
        yield BlockReader(kind, recipe).read
        return
    with ExitStack() as stack:
        free: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers):
            free.put(stack.enter_context(_Worker(kind, recipe)))

        def read(folder: Path, data: bytes) -> Block:
            worker = free.get()
            try:
                return worker.read(folder, data)
            finally:
                free.put(worker)

        yield read


class _Worker:
    """One process, asked one thing at a time."""

    def __init__(self, kind: str, recipe: SftRecipe | AlignRecipe) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import work; work()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._kind, self._recipe = kind, recipe
        self._told = False

    def read(self, folder: Path, data: bytes) -> Block:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if not self._told:
                pickle.dump((self._kind, self._recipe), self._process.stdin)
                self._told = True
            pickle.dump((folder, data), self._process.stdin, protocol=5)
            self._process.stdin.flush()
            found: Block = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            status = self._process.wait()
            raise VkitError(
                f"a process that indexes {folder} ended (status {status}); is the memory full? try again"
            ) from error
        return found

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing that could be lost
        self._process.communicate()


def work() -> None:
    """Answer blocks on stdin until it ends; what runs in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the caller's, who ends the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    try:
        reader = BlockReader(*pickle.load(sys.stdin.buffer))
        while True:
            folder, data = pickle.load(sys.stdin.buffer)
            pickle.dump(reader.read(folder, data), answers, protocol=5)
            answers.flush()
    except (EOFError, BrokenPipeError):
        return
