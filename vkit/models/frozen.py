"""What frozen encoders of every kind share: no gradients, their states, and a digest of what decides them.

freeze(model)
digest = digest_of(model, {"config": stable(model.config.to_dict())})
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

BATCH_SIZE = 32


def is_pooler(key: str) -> bool:
    """Whether a weight belongs to what stands above the states and is never read (ViT's, BERT's)."""
    return key.startswith("pooler.") or ".pooler." in key


def freeze(model: nn.Module) -> nn.Module:
    """The model itself, in eval mode and without gradients."""
    return model.eval().requires_grad_(False)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def last_state(output: Any) -> Tensor:
    """The last hidden state of what a model returns, or the tensor itself."""
    return output if isinstance(output, Tensor) else output.last_hidden_state


def digest_of(model: nn.Module, settings: dict[str, Any]) -> str:
    """sha256 of the settings and of every weight's name, shape, dtype and bytes, but for the pooler's."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for key, value in sorted(model.state_dict().items()):
        if not is_pooler(key):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def stable(values: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from place to place and changes no feature."""
    volatile = ("_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype")
    return {
        key: stable(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in volatile
    }
