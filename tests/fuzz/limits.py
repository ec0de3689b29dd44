"""What a target may not do while it runs: take seconds or gigabytes, start a program, write elsewhere.

run = guarded(target, folder, seconds=5)
run(b"...")                                     # returns, or raises `Finding`
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vkit.errors import VkitError

# What no reader has a reason to do; other events than these are files being opened.
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
    "subprocess.Popen", "socket.connect", "socket.bind", "socket.getaddrinfo", "ctypes.dlopen",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Where Python and libraries keep what they compile and cache; no input chooses a name there.
_CACHES = ("__pycache__", "/dev/null")


class Finding(Exception):
    """What a target did with an input and should not have done; the cause is what was raised."""


class _Stopped(BaseException):
    """Raised into the target, past every ``except Exception``."""


_watched: list[Path] = []  # the folder of the target that runs, or nothing
_breach: list[Exception] = []  # what it did, also where it swallowed the exception
_hooked: list[bool] = []


def guarded(target: Callable[[bytes], None], folder: Path, *, seconds: float) -> Callable[[bytes], None]:
    """``target`` as a function that returns where the input was read or refused, and else raises `Finding`.

    folder: the only place where files may be written; temporary ones too.
    seconds: of this process's own time, so that a busy machine is no finding.
    """
    if not _hooked:
        sys.addaudithook(_watch)  # for good: hooks cannot be taken away
        _hooked.append(True)

    def run(data: bytes) -> None:
        previous = signal.signal(signal.SIGPROF, _stop)
        temporary, tempfile.tempdir = tempfile.tempdir, str(folder)
        del _breach[:]
        _watched.append(folder)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            target(data)
        except VkitError as error:
            if not str(error).strip():
                raise Finding("an error that says nothing") from error
        except _Stopped as error:
            raise Finding(f"ran for more than {seconds} s") from error
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}"[:500]) from error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
            _watched.pop()
            tempfile.tempdir = temporary
        if _breach:
            raise Finding(str(_breach[0])) from _breach[0]

    return run


def limit_memory(more_bytes: int) -> None:
    """Let this process take so much address space beyond what it has; then allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _stop(*_: object) -> None:
    raise _Stopped


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event in _FORBIDDEN:
        if event == "ctypes.dlopen" and arguments[0] is None:
            return  # the process itself
        _breach.append(PermissionError(f"{event}{arguments!r}"[:300]))
        raise _breach[-1]
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        path = arguments[0]
        if isinstance(path, bytes | str | os.PathLike) and not _inside(os.fsdecode(path)):
            _breach.append(PermissionError(f"opened {path!r} to write"))
            raise _breach[-1]


def _inside(path: str) -> bool:
    if any(cache in path for cache in _CACHES):
        return True
    place = os.path.realpath(path)
    root = os.path.realpath(_watched[-1])
    return os.path.commonpath([root, place]) == root
