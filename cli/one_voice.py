"""One voice for a command that a launcher has started several times over.

in_one_voice(join, run)     # run(processes) in each of them: rank 0 talks, an error stands there once
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vkit.models.processes import Processes

# A launcher ends all processes as soon as one has ended; the one that tells the error shall be that one.
_LAST_WORDS_SECONDS = 3
_BEGUN = "vkit.cli.one_voice"  # in a click context's meta


def in_one_voice(join: Callable[[], Processes], run: Callable[[Processes], None]) -> None:
    """Run a command that torchrun or ``accelerate launch`` may have started several times over.

    An error in one process ends all: that one raises it, the others exit 1 without a word.

    Args:
        join: finds the other processes; called where a launcher was. What it refuses, it refuses in each of
            a machine, whose first one tells it.
        run: the command, given the processes; `ALONE` where nothing launched it.
    """
    from vkit.errors import VkitError
    from vkit.models.launcher import launched
    from vkit.models.processes import ALONE, ToldElsewhere

    told = launched()
    if told is None:
        return run(ALONE)
    if context := click.get_current_context(silent=True):
        context.meta[_BEGUN] = True
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what DDP says of unused parameters is known
    try:
        with ExitStack() as stack:
            if not told.is_main:
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(redirect_stdout(nowhere))
                stack.enter_context(redirect_stderr(nowhere))
            try:
                processes = join()
            except VkitError as error:
                # A machine may have less than the main process's: its own first one speaks.
                raise error if told.local_rank == 0 else ToldElsewhere(str(error)) from error
            with processes.together():
                run(processes)
            processes.leave()
        _end()
    except ToldElsewhere:
        time.sleep(_LAST_WORDS_SECONDS)
        sys.exit(1)
    except KeyboardInterrupt:
        if told.is_main:
            raise
        sys.exit(130)


def _end() -> None:
    """End this process, whose work is done, at once.

    While Python takes itself apart, a thread of the processes' group can still abort it, seldom and on busy
    machines, and the launcher would call the whole run failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def end_as_echo(error: click.ClickException) -> None:
    """End without a word where a launcher started this process beside others, and all misread their words.

    The first one of each machine tells it; what one of several meets later is its own to tell.
    """
    place = os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0"))
    context = error.ctx if isinstance(error, click.UsageError) else None
    if place != "0" and (context is None or _BEGUN not in context.meta):
        time.sleep(_LAST_WORDS_SECONDS)
        sys.exit(error.exit_code)
