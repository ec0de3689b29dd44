"""Loads the C++ ops of `csrc/`, or says why they are not there."""

from __future__ import annotations

import functools
from pathlib import Path

import torch


@functools.cache
def load_extension() -> str | None:
    """Make ``torch.ops.vkit_cpp`` available; returns None, or the reason why it is not."""
    found = sorted(Path(__file__).parent.glob("_cpp*.so")) + sorted(Path(__file__).parent.glob("_cpp*.pyd"))
    if not found:
        return (
            "the C++ extension was not built (it needs a C++17 compiler, and torch at install time; "
            "in a checkout: python setup.py build_ext --inplace)"
        )
    try:
        torch.ops.load_library(str(found[0]))
    except OSError as error:
        return f"the C++ extension {found[0]} does not load: {error}"
    return None
