"""Merges a LoRA adapter into TinyLLaVA's language model.

    merge_lora(model.language_model, Path("adapter"))

Two layouts are read: peft's own (saved from the language model: ``base_model.model.model.layers...``) and
the Factory's (saved from the whole model: ``base_model.model.language_model.model.layers...``). What the
adapter changes is taken from its tensors, and each of them must find its place: peft alone would only warn
of one that does not, and go on without it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkit.errors import VkitError
from vkit.models.tensors import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

_PEFT = "base_model.model."
_FACTORY = "base_model.model.language_model."


def merge_lora(language_model: nn.Module, folder: Path) -> None:
    """Add the adapter in ``folder`` to the weights of ``language_model``, in place.

    Raises:
        VkitError: there is no ``adapter_config.json`` or no weights, it is no LoRA adapter, or it was trained
            on another model (a module is not there, or has another shape).
    """
    from peft import LoraModel, PeftConfig, PeftType, set_peft_model_state_dict

    if not (folder / "adapter_config.json").is_file():
        raise VkitError(f"adapter {folder} has no adapter_config.json; give the folder of a PEFT adapter")
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError) as error:
        raise VkitError(f"adapter {folder}: adapter_config.json is not valid ({error})") from error
    if config.peft_type != PeftType.LORA:
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise VkitError(f"adapter {folder} is of type {kind}; only LoRA is supported")
    tensors = _read_adapter(folder)
    targets = {match.group(1) for key in tensors if (match := re.match(r"(.+)\.lora_", key))}
    modules = dict(language_model.named_modules())
    strangers = sorted(target for target in targets if target not in modules)
    if strangers:
        raise VkitError(
            f"adapter {folder} changes {strangers[0]!r}, which the model does not have; give the model it was"
            f" trained on ({config.base_model_name_or_path or 'not named in its config'})"
        )
    config.target_modules, config.layers_to_transform, config.exclude_modules = targets, None, None
    try:
        adapted = LoraModel(language_model, config, "default")
        named = {f"model.{key}": tensor for key, tensor in tensors.items()}
        result: Any = set_peft_model_state_dict(adapted, named)
        left_out = sorted(result.unexpected_keys) + [key for key in result.missing_keys if "lora_" in key]
        if left_out:
            raise VkitError(f"adapter {folder} does not fit the model at {left_out[0]!r}; download it again")
        adapted.merge_and_unload(progressbar=False, safe_merge=True)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VkitError(
            f"adapter {folder} does not fit the model ({reason}); give the model it was trained on"
        ) from error


def _read_adapter(folder: Path) -> dict[str, Tensor]:
    """The adapter's tensors, named from the language model on."""
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).is_file():
            tensors = dict(read_tensors(folder / name))
            break
    else:
        raise VkitError(f"adapter {folder} has no adapter_model.safetensors (or .bin); download it")
    named = {}
    for key, tensor in tensors.items():
        prefix = _FACTORY if key.startswith(_FACTORY) else _PEFT
        if not key.startswith(prefix) or "lora_" not in key:
            raise VkitError(
                f"adapter {folder} holds {key!r}, which is no LoRA tensor of the language model; only such"
                " adapters are supported"
            )
        named[key[len(prefix) :]] = tensor
    if not named:
        raise VkitError(f"adapter {folder} holds no tensors; download it again")
    return named
