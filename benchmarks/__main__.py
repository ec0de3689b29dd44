"""Runs a benchmark by name, or all of them.

python -m benchmarks                        # all that need no GPU, into benchmarks/results (8 minutes)
python -m benchmarks attention --quick      # one, with its own options
python -m benchmarks divergence
python -m benchmarks stage2
python -m benchmarks end_to_end
python -m benchmarks page                   # a page of 500 answers, written and opened in Chromium
python -m benchmarks loader                 # a million records indexed, and pictures made ready by threads
python -m benchmarks micro                  # pytest-benchmark over the kernels
python -m benchmarks gpu                    # everything that needs a GPU
python -m benchmarks smart                  # SmarterVLM's ablation in miniature, its cache and its heads
python -m benchmarks reproduction           # Math-PUMA's ablation with two controls (an hour on two cores)
"""

from __future__ import annotations

import datetime
import importlib
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CPU_BENCHMARKS = ("attention", "divergence", "stage2", "end_to_end", "loader")
NAMES = (*CPU_BENCHMARKS, "page", "micro", "gpu", "compile_report", "reproduction", "smart")


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if not arguments:
        date = datetime.date.today().isoformat()
        for name in CPU_BENCHMARKS:
            run(name, ["--json", str(RESULTS / f"{date}-cpu-{name}.json")])
        return 0
    name, *rest = arguments
    if name not in NAMES:
        print(f"benchmarks: no benchmark {name!r}; one of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if name == "micro":
        import pytest

        files = [str(path) for path in sorted(Path(__file__).parent.glob("micro_*.py"))]
        return int(pytest.main([*files, "-p", "no:cacheprovider", *rest]))
    return run(name, rest)


def run(name: str, arguments: list[str]) -> int:
    result = importlib.import_module(f"benchmarks.{name}").main(arguments)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
