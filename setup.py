"""Builds vkit; everything that is not code is in pyproject.toml.

The C++ kernels need torch and a C++17 compiler. Where either is missing the install goes on without them:
`vkit.kernels` then runs in plain PyTorch, and `vkit doctor` says so. Install with
``pip install --no-build-isolation .`` so that the torch in use is the one that is built against.
"""

import platform
import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = (
    find_packages(include=["vkit", "vkit.*"])
    + ["vkit.kernels"]
    + ["vkit.cli"]
)
# The stable ABI of torch 2.11: one binary serves every later torch, and every Python from 3.10.
TORCH_TARGET_VERSION = "0x020b000000000000"


def extension() -> dict:
    """The arguments of `setup` that build ``vkit/kernels/_cpp``, or none where torch is not installed."""
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        print("vkit: torch is not importable here, so the C++ kernels are not built", file=sys.stderr)
        return {}
    sources = sorted(str(path) for path in Path("csrc").glob("*.cpp"))
    if not sources:
        return {}
    module = CppExtension(
        "vkit.kernels._cpp",
        sources,
        define_macros=[("TORCH_TARGET_VERSION", TORCH_TARGET_VERSION), ("Py_LIMITED_API", "0x030A0000")],
        extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden"],
        py_limited_api=True,
        optional=True,
    )
    return {
        "ext_modules": [module],
        "cmdclass": {"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
        "options": {"bdist_wheel": {"py_limited_api": "cp310"}},
    }


setup(
    packages=PACKAGES,
    package_dir={"vkit": "vkit", "vkit.kernels": "kernels", "vkit.cli": "cli"},
    **extension(),
)
