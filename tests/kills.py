"""Kills a training at random moments, saves included, and resumes it, as often as one likes.

python -m tests.kills --kills 50                  # one process
python -m tests.kills --kills 50 --processes 2    # now one of them, now both

The run that was killed must end in exactly the weights and the log of one that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # a forked process has no threads
    from tests.kill_cases import assert_equal_runs, through_kills
    from tests.training_data import write_pairs

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, 9)
        steps, size = 3 * chosen.kills, chosen.processes
        through_kills(folder, folder / "whole", steps, 0, size=size)
        met = through_kills(folder, folder / "killed", steps, chosen.kills, size=size, seed=chosen.seed)
        assert_equal_runs(folder / "whole", folder / "killed")
    print(json.dumps({"processes": size, "steps": steps, **met, "equal to the bit": True}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
