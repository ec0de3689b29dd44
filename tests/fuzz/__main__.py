"""``python -m tests.fuzz``: every target for its share of the time; figures as JSON, exit 1 at a finding."""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import worker

ROOT = Path(__file__).resolve().parent.parent.parent
_QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
START_S = 120.0  # a worker imports torch; what goes on for longer past its time hangs


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    for name, value in _QUIET.items():  # before torch and transformers are imported
        os.environ.setdefault(name, value)
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in options.target if name not in TARGETS]
    if unknown:
        sys.exit(f"fuzz: target {unknown[0]!r} is not known; known: {', '.join(TARGETS)}")
    if options.replay:
        return _replay(TARGETS[options.target[0]], options.replay)
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "random")
    names = options.target or list(TARGETS)
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    start = time.monotonic()
    for name in names:
        share = 60 * options.minutes / len(names)
        found[name] = _fuzz(name, share, options.seed, options.out / name, engine)
        print(
            f"{name:18} {found[name]['executions']:>9,} inputs, {len(found[name]['findings'])} findings",
            file=sys.stderr,
        )
    findings = sum(len(figures["findings"]) for figures in found.values())
    report = {
        "engine": engine,
        "seed": options.seed,
        "executions": sum(figures["executions"] for figures in found.values()),
        "seconds": round(sum(figures["seconds"] for figures in found.values()), 1),
        "wall_seconds": round(time.monotonic() - start, 1),
        "findings": findings,
        "targets": found,
    }
    print(json.dumps(report, indent=2))
    return 1 if findings else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="of all targets together, starting not counted"
    )
    parser.add_argument(
        "--target", action="append", default=[], help="one of them; may be given several times"
    )
    parser.add_argument(
        "--engine", choices=["atheris", "random"], help="default: atheris where it is installed"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("build/fuzz"), help="where inputs that fail are kept"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one target once, on this input")
    options = parser.parse_args(arguments)
    if options.replay and len(options.target) != 1:
        parser.error("--replay needs one --target")
    return options


def _fuzz(name: str, seconds: float, seed: int, out: Path, engine: str) -> dict[str, Any]:
    """Figures of one target, run in a process of its own, so that its death is a finding too."""
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    arguments = [name, str(seconds), str(seed), str(out.resolve()), engine]
    with tempfile.TemporaryDirectory(prefix="vkit-fuzz-") as scratch:
        run = _in_a_program if engine == "atheris" else _in_a_fork
        died = run(arguments, scratch, out / "log", seconds + START_S)
    place = out / "figures.json"
    figures = (
        json.loads(place.read_text()) if place.exists() else {"executions": 0, "seconds": 0.0, "findings": []}
    )
    if died is None and figures["seconds"] < min(1.0, seconds) * 0.5:
        died = "ended too early"
    if died:
        figures["findings"].append(
            {"place": str(out / "input"), "what": f"the process {died}; see {out / 'log'}"}
        )
    return figures


def _in_a_fork(arguments: list[str], scratch: str, log: Path, seconds: float) -> str | None:
    """Run a worker that has imported all there is; returns how it died, if it did."""

    def work() -> None:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        tempfile.tempdir = scratch
        worker.main(arguments)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return "hung and was killed"
    return f"ended with {process.exitcode}" if process.exitcode else None


def _in_a_program(arguments: list[str], scratch: str, log: Path, seconds: float) -> str | None:
    """Run a worker of its own from the start, for atheris instruments what is imported."""
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    environment = {**os.environ, "TMPDIR": scratch}
    with log.open("w") as file:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return "hung and was killed"
    return f"died of signal {-done.returncode}" if done.returncode < 0 else None


def _replay(target: Any, path: Path) -> int:
    from tests.fuzz.limits import guarded

    with tempfile.TemporaryDirectory() as folder:
        run, _ = target.prepare(Path(folder))
        guarded(run, Path(folder), seconds=target.seconds)(path.read_bytes())
    print("nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
