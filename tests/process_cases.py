"""Processes for `tests.test_processes`: a command of vkit, or the cases below, as a launcher would start it.

become(["vkit", "generate", ...], {"RANK": "0", "WORLD_SIZE": "2", ...}, Path("out"))

What is imported here is there when a process is forked, so that it starts at once.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from vkit.cli.main import main as vkit_main
from vkit.models.loading import load_model
from vkit.models.processes import join

for name in ("vkit.cli.generate", "vkit.evaluate.generation", "vkit.sources.opening", "tqdm"):
    importlib.import_module(name)
load_model("tiny-random", device="cpu")  # imports what a model needs


def become(command: list[str], environment: dict[str, str], output: Path) -> None:
    """Be one process of a launched command, with ``output``.stdout and ``output``.stderr."""
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(f"{output}.{name}", "w")  # noqa: SIM115 (until the process ends)
        os.dup2(stream.fileno(), number)
        setattr(sys, name, stream)
    try:
        if command[0] == "cases":
            main()
        else:
            sys.argv = command
            vkit_main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main() -> None:
    processes = join()
    seen: dict[str, object] = {"rank": processes.rank, "size": processes.size, "main": processes.is_main}
    seen["asked"] = processes.ask_main(lambda: processes.rank)
    done: list[int] = []
    seen["squares"] = processes.map(lambda n: n * n, range(7), lambda: done.append(1))
    seen["told"] = len(done)
    seen["first"], seen["second"] = list(processes.share(5)), list(processes.share(4))
    waited: list[int] = []
    processes.wait(lambda: waited.append(1))
    seen["waited"] = bool(waited)
    try:
        processes.map(refuse_some, range(6))
    except Exception as error:
        seen["refused"] = [type(error).__name__, str(error)]
    try:
        with processes.together():
            fail_in_the_second(processes)
    except Exception as error:
        seen["failed"] = [type(error).__name__, str(error)]
    print(json.dumps(seen))


def refuse_some(item: int) -> None:
    """Every process meets a bad item; the first of the list is told."""
    if item in (3, 4):
        raise ValueError(f"item {item} is bad")


def fail_in_the_second(processes) -> None:
    """One process fails at its work while the other waits for it."""
    if processes.rank == 1:
        raise KeyError("lost")
    processes.wait()
