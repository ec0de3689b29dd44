"""Builds vkit; everything that is not code is in pyproject.toml.

The C++ kernels need torch and a C++17 compiler (GCC or Clang). Where either is missing the install goes on
without them: `vkit.kernels` then runs in plain PyTorch, and `vkit doctor` says so. Install with
``pip install --no-build-isolation .`` so that the torch in use is the one that is built against.
"""

import os
import platform
import shlex
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = [*find_packages(include=["vkit", "vkit.*"]), "vkit.kernels", "vkit.cli"]
# The stable ABI of torch 2.11: one binary serves every later torch, and every Python from 3.10.
TORCH_TARGET_VERSION = "0x020b000000000000"


def extension() -> dict:
    """The arguments of `setup` that build ``vkit/kernels/_cpp``, or none where that cannot be."""
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        return without_kernels("torch is not importable here (use --no-build-isolation)")
    if platform.system() == "Windows":
        return without_kernels("they need GCC or Clang, which are not used on Windows")
    compiler = os.environ.get("CXX") or "c++"
    if shutil.which(shlex.split(compiler)[0]) is None:
        return without_kernels(f"there is no C++ compiler ({compiler} is not found; CXX can name one)")

    class BuildKernels(BuildExtension):
        """An install goes on without the kernels when they do not compile; a build in place does not."""

        def run(self) -> None:
            self.for_development = self.inplace or self.editable_mode  # both change while the build runs
            super().run()

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:  # ninja, the compiler and the linker each raise their own
                if self.for_development:
                    raise
                self.extensions.clear()
                without_kernels(f"they do not compile: {error}")

    module = CppExtension(
        "vkit.kernels._cpp",
        sorted(str(path) for path in Path("csrc").glob("*.cpp")),
        depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
        define_macros=[("TORCH_TARGET_VERSION", TORCH_TARGET_VERSION), ("Py_LIMITED_API", "0x030A0000")],
        extra_compile_args=["-O3", "-g0", "-std=c++17", "-ffp-contract=fast", "-fvisibility=hidden"],
        py_limited_api=True,
    )
    return {
        "ext_modules": [module],
        "cmdclass": {"build_ext": BuildKernels},
        "options": {"bdist_wheel": {"py_limited_api": "cp310"}},
    }


def without_kernels(reason: str) -> dict:
    print(f"vkit: WARNING: the C++ kernels are not built, PyTorch stands in: {reason}", file=sys.stderr)
    return {}


setup(
    packages=PACKAGES,
    package_dir={"vkit": "vkit", "vkit.kernels": "kernels", "vkit.cli": "cli"},
    **extension(),
)
