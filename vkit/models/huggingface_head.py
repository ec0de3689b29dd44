"""What makes a transformers model's logits of its hidden states, found by trying it out.

head = find_head(model, "llava-hf/llava-1.5-7b-hf")
logits = head(hidden)                       # (.., D) -> (.., V), soft-capping and scaling included
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vkit.errors import VkitError


@torch.no_grad()
def find_head(model: Any, name: str) -> nn.Module:
    """The head that makes the model's logits of hidden states, found by handing the model states of our own.

    The states are large, so that soft-capping shows.

    Raises:
        VkitError: no known head gives the model's logits.
    """
    linear, text = model.get_output_embeddings(), model.config.get_text_config()
    candidates: list[nn.Module] = [] if linear is None else [linear]
    if (softcap := getattr(text, "final_logit_softcapping", None)) is not None:
        candidates.append(ScaledHead(linear, softcap=softcap))
    for key, invert in (("logit_scale", False), ("logits_scaling", True)):
        if isinstance(scale := getattr(text, key, None), (int, float)):
            candidates.append(ScaledHead(linear, factor=1 / scale if invert else scale))
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 4, text.hidden_size, generator=generator).to(model.device, model.dtype) * 30

    def replace(module: nn.Module, args: Any, output: Any) -> Any:
        output.last_hidden_state = hidden
        return output

    modes = {module: module.training for module in model.modules()}
    handle = model.base_model.register_forward_hook(replace)
    model.eval()  # in training some families ask for more inputs
    try:
        ids = torch.zeros(1, 4, dtype=torch.long, device=model.device)
        logits = model(input_ids=ids, use_cache=False, return_dict=True).logits
    finally:
        handle.remove()
        for module, mode in modes.items():
            module.training = mode
    for candidate in candidates:
        if torch.allclose(candidate(hidden).to(logits.dtype), logits, rtol=1e-3, atol=1e-3):
            return candidate
    raise VkitError(f"model {name!r}: {type(model).__name__} makes its logits in a way that is not known")


class ScaledHead(nn.Module):
    """A linear head whose logits are multiplied by ``factor`` and soft-capped: cap * tanh(logits / cap)."""

    def __init__(self, linear: nn.Module, *, factor: float = 1.0, softcap: float | None = None) -> None:
        super().__init__()
        self.linear, self.factor, self.softcap = linear, factor, softcap

    def forward(self, hidden: Tensor) -> Tensor:
        logits = self.linear(hidden) * self.factor
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap
