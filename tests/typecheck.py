"""Runs mypy over vkit as it is installed: ``kernels`` and ``cli`` inside the package.

python -m tests.typecheck
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "vkit"
        package.mkdir()
        for source in [*(ROOT / "vkit").iterdir(), ROOT / "kernels", ROOT / "cli"]:
            if source.suffix == ".py" or source.is_dir():
                (package / source.name).symlink_to(source)
        config, cache = ROOT / "pyproject.toml", ROOT / ".mypy_cache"
        command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache, "-p", "vkit"]
        return subprocess.run(command, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
