"""``vkit doctor``: what runs here, and what to do about the rest."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click

PACKAGES = ("torch", "triton", "transformers", "peft", "numpy", "pillow", "safetensors")


@click.command("doctor")
def command() -> None:
    """Say what runs here: versions, kernels, devices.

    Facts go to stdout as JSON, advice to stderr.

    \b
    vkit doctor
    """
    import torch

    from vkit import __version__
    from vkit.errors import VkitError
    from vkit.kernels._extension import load_extension
    from vkit.kernels.attention import attention_implementation
    from vkit.kernels.divergence_rows import divergence_implementation

    why_not = load_extension()
    try:
        capability = torch.ops.vkit_cpp.cpu_capability() if why_not is None else None
    except RuntimeError as error:  # a wrong VKIT_CPU_CAPABILITY
        raise VkitError(str(error).splitlines()[0]) from error
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    report = {
        "vkit": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "attention": {
            "cpu": attention_implementation("cpu", torch.float32),
            "cuda": attention_implementation("cuda", torch.bfloat16) if gpus else None,
        },
        "divergence": {
            "cpu": divergence_implementation("cpu", torch.float32),
            "cuda": divergence_implementation("cuda", torch.float32) if gpus else None,
        },
        "cpu_capability": capability,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }
    click.echo(json.dumps(report, indent=2))
    if why_not:
        click.echo(
            f"{why_not}: attention and divergence on the CPU run in plain PyTorch, exact but slower. "
            "To build it, install a C++17 compiler and run: "
            "pip install --no-build-isolation --force-reinstall --no-deps .",
            err=True,
        )
    if not gpus:
        click.echo("no CUDA device: the Triton kernels are not used", err=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
