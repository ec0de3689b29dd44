"""A file of lines in the order of a list of work, written by one process or by several, whole after any kill.

    with SharedLines(Path("predictions.jsonl"), processes) as file:
        file.fill([["1", "2"], ["3"]], answer)      # answer(0) gives the lines of "1" and "2"

One process appends to the file itself. Of several, each appends to a part of its own beside it
(``predictions.jsonl.rank-1``), and the main one moves the lines into the file as soon as all before them are
there: at any moment the file is what one process would have written up to there. What a kill leaves in the
parts is taken up by the next run, whatever its number of processes; the parts go when the file is complete.
"""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import JsonlStore, parse_object
from vkit.models.processes import ALONE, Processes

Line = dict[str, Any]


class SharedLines:
    """The lines of a file, by the ``id`` that each has; every process opens it, the main one writes it.

    done: the ``digest`` of each line that was there, by id; in every process.
    lines: all lines so far, by id; in the main process only.

    Raises:
        VkitError: another run has the file, or one of its parts, in use; a line is no JSON object.
    """

    def __init__(self, path: Path, processes: Processes = ALONE) -> None:
        self.path, self.processes = path, processes
        self.lines: dict[str, Line] = {}
        self._store: JsonlStore | None = None
        self._written: set[str] = set()  # ids in the file itself
        self._ahead: deque[str] = deque()  # ids that the file lacks, in order
        self._read: dict[Path, int] = {}  # bytes of each part that are in `lines`
        self.done: dict[str, Any] = processes.ask_main(self._open)

    def fill(
        self,
        batches: Sequence[Sequence[str]],
        answer: Callable[[int], Iterable[Line]],
        on_line: Callable[[Line, bool], object] = lambda line, new: None,
    ) -> None:
        """Have every batch that lacks a line answered, by one process each.

        Args:
            batches: the ids of each; together they give the file its order.
            answer: the number of a batch to the lines of its ids; those that the file has already are not
                written again.
            on_line: called in the main process with each line, and whether it is new: first with what was
                there, in order, then with the others as they come to the disk.

        Raises:
            VkitError: the processes do not see one and the same folder.
        """
        todo = [number for number, ids in enumerate(batches) if any(id_ not in self.done for id_ in ids)]
        if self.processes.is_main:
            order = [id_ for ids in batches for id_ in ids]
            self._ahead.extend(id_ for id_ in order if id_ not in self._written)
            for id_ in order:
                if id_ in self.done:
                    on_line(self.lines[id_], False)
            self._move()

        def new_lines(number: int) -> list[Line]:
            return [line for line in answer(number) if line["id"] not in self.done]

        if self.processes.size == 1:
            for number in self.processes.share(len(todo)):
                self._take(new_lines(todo[number]), on_line)
        else:
            with JsonlStore(_part(self.path, self.processes.rank)) as own:
                for number in self.processes.share(len(todo)):
                    own.extend(new_lines(todo[number]))
                    self._collect(on_line)
            self.processes.wait(lambda: self._collect(on_line))
        self.processes.ask_main(self._finish)

    def __enter__(self) -> SharedLines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.__exit__()

    def _open(self) -> dict[str, Any]:
        store = JsonlStore(self.path)
        try:
            self.lines = {line.get("id", ""): line for line in store.items}
            self._written = set(self.lines)
            for part in part_files(self.path):
                with JsonlStore(part) as left:  # refused while a process of another run still writes it
                    for line in left.items:
                        self.lines.setdefault(line.get("id", ""), line)
                self._read[part] = part.stat().st_size
        except BaseException:
            store.__exit__()
            raise
        self._store = store
        return {id_: line.get("digest") for id_, line in self.lines.items()}

    def _take(self, lines: Iterable[Line], on_line: Callable[[Line, bool], object]) -> None:
        """New lines: into the file where their turn has come."""
        added = [line for line in lines if line["id"] not in self.lines]
        self.lines.update((line["id"], line) for line in added)
        self._move()
        for line in added:
            on_line(line, True)

    def _move(self) -> None:
        """Append to the file what comes next in order and is there."""
        assert self._store is not None
        ready = []
        while self._ahead and self._ahead[0] in self.lines:
            ready.append(self._ahead.popleft())
        if ready:
            try:
                self._store.extend(self.lines[id_] for id_ in ready)
            except BaseException:
                self._ahead.extendleft(reversed(ready))
                raise
            self._written.update(ready)

    def _collect(self, on_line: Callable[[Line, bool], object]) -> None:
        """Take what the processes have added to their parts."""
        if not self.processes.is_main:
            return
        for part in part_files(self.path):
            with part.open("rb") as file:
                file.seek(self._read.get(part, 0))
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]  # the rest is being written
            self._read[part] = self._read.get(part, 0) + len(whole)
            self._take((parse_object(line) for line in whole.split(b"\n")[:-1]), on_line)

    def _finish(self) -> None:
        if self._ahead:
            raise VkitError(
                f"{self.path}: the line of {self._ahead[0]!r} was written by another process and is not here;"
                " give an --out that all processes share"
            )
        for part in part_files(self.path):
            with JsonlStore(part, keep=lambda line: line.get("id", "")) as left:
                # Of records that this run was not asked for: they wait for one that is.
                settled = all(id_ in self._written for id_ in left.items)
            if settled:
                part.unlink()


def part_files(path: Path) -> list[Path]:
    """What processes left beside a file that is not complete."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.rank-*"))


def holds_lines(path: Path) -> bool:
    """Whether a run has written anything yet."""
    return any(place.exists() and place.stat().st_size > 0 for place in (path, *part_files(path)))


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.rank-{rank}")
