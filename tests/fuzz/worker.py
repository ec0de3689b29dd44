"""Runs one target until its time is up, in a process of its own: ``python -m tests.fuzz.worker``.

Arguments: target, seconds, seed, out folder, engine ("atheris" or "random"). ``out`` gets ``figures.json`` as
it goes, ``input`` (the one that runs, for when the process dies of it) and a file for each finding.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

MEMORY_BYTES = (
    3 << 30
)  # beyond what the libraries take; a reader that wants more of a small file is a finding
_FIGURES_EVERY_S = 0.5


class Session:
    """Runs inputs, counts them, and keeps the first of each finding by the place where it was raised."""

    def __init__(self, run: Callable[[bytes], None], out: Path, seconds: float) -> None:
        self.run, self.out, self.seconds = run, out, seconds
        self.executions, self.findings = 0, dict[str, str]()
        self.start = self.written = time.monotonic()

    @property
    def over(self) -> bool:
        return time.monotonic() - self.start >= self.seconds

    def feed(self, data: bytes) -> None:
        from tests.fuzz.limits import Finding

        (self.out / "input").write_bytes(data)
        self.executions += 1
        try:
            self.run(data)
        except Finding as finding:
            place = place_of(finding)
            if place not in self.findings:
                self.findings[place] = str(finding)
                number = len(self.findings)
                (self.out / f"finding-{number}").write_bytes(data)
                (self.out / f"finding-{number}.txt").write_text("".join(traceback.format_exception(finding)))
                self.write()
        if time.monotonic() - self.written > _FIGURES_EVERY_S:
            self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        figures = {
            "executions": self.executions,
            "seconds": round(self.written - self.start, 1),
            "findings": [{"place": place, "what": what} for place, what in self.findings.items()],
        }
        part = self.out / "figures.part"
        part.write_text(json.dumps(figures))
        part.replace(self.out / "figures.json")


def place_of(finding: BaseException) -> str:
    """Where in vkit an input was mishandled: the last line of its code in the traceback."""
    frames = traceback.extract_tb((finding.__cause__ or finding).__traceback__)
    ours = [
        frame for frame in frames if any(f"/{name}/" in frame.filename for name in ("vkit", "cli", "kernels"))
    ]
    frame = (ours or list(frames))[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {type(finding.__cause__).__name__}"


def main(arguments: list[str]) -> None:
    name, seconds, seed, out, engine = arguments
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["vkit"]):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS

    import torch

    from tests.fuzz.limits import guarded, limit_memory
    from tests.fuzz.mutations import mutate

    torch.set_num_threads(1)
    target = TARGETS[name]
    folder, corpus = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())  # the caller cleans up: $TMPDIR
    run, seeds = target.prepare(folder)
    limit_memory(MEMORY_BYTES)
    session = Session(guarded(run, folder, seconds=target.seconds), Path(out), float(seconds))
    session.write()
    for data in seeds:
        session.feed(data)
    if engine == "random":
        random = Random(int(seed))
        while not session.over:
            session.feed(mutate(target.kind, seeds, random))
        session.write()
        return
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)

    def shaped(data: bytes, most: int, chance: int) -> bytes:
        """Half of the inputs damaged by their format, half by libFuzzer, which knows what code it reached."""
        random = Random(chance)
        if random.random() < 0.5:
            return mutate(target.kind, [data or seeds[0], *seeds], random)[:most]
        return atheris.Mutate(data, most)

    def feed(data: bytes) -> None:
        session.feed(data)
        if session.over:
            session.write()
            raise KeyboardInterrupt  # libFuzzer ends without returning

    options = [f"-seed={1 + int(seed)}", "-timeout=120", "-rss_limit_mb=0", "-max_len=262144", "-verbosity=0"]
    atheris.Setup(["fuzz", *options, str(corpus)], feed, custom_mutator=shaped)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
