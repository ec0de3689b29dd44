"""vkit: see, and teach, where vision-language models look when they do mathematics."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# In a checkout `vkit.kernels` and `vkit.cli` are the top-level folders; an installed vkit holds them itself.
_ROOT = _Path(__file__).resolve().parent.parent
if (_ROOT / "pyproject.toml").is_file() and (_ROOT / "kernels" / "attention.py").is_file():
    __path__.append(str(_ROOT))
