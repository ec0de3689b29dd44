"""LoRA: adds an adapter to a model's decoder, writes it, and merges one that was trained before.

    add_lora(model, rank=128, alpha=256)         # of any vkit.models.protocol.VisionLanguageModel
    save_adapter(model, Path("adapter"))         # peft's own layout: load_model(name, adapter="adapter")
    merge_added(model)                           # a plain model again
    merge_lora(model.model.language_model, Path("adapter"))

For TinyLLaVA two layouts are read: peft's own (saved from the language model:
``base_model.model.model.layers...``) and the Factory's (saved from the whole model:
``base_model.model.language_model.model.layers...``). What the adapter changes is taken from its tensors, and
each of them must find its place: peft alone would only warn of one that does not, and go on without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkit.errors import VkitError
from vkit.jsonl import read_json
from vkit.models.tensors import first_line, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vkit.models.protocol import VisionLanguageModel

_ADAPTER = "default"
_PEFT = "base_model.model."
_FACTORY = "base_model.model.language_model."


def add_lora(
    model: VisionLanguageModel,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
) -> list[str]:
    """Give linear layers of the decoder trainable low-rank updates; the rest of the language model freezes.

    The update starts at zero, so that the model's outputs do not change; it is kept in float32 where the
    model is in half precision. The vision tower and the connector are left as they are.
    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", section 4.

    Args:
        model: without an adapter that is not merged.
        rank, alpha: the update is ``alpha / rank`` times a product of two matrices of this rank.
        dropout: of the update's input while training, 0 <= dropout < 1.
        targets: the last names of layers, such as ``q_proj``; None: every linear layer of the decoder (of a
            Phi q_proj, k_proj, v_proj, dense, fc1 and fc2, as in the Factory's recipe).

    Returns:
        The names of the layers that were given one, from ``model.model`` on.

    Raises:
        VkitError: a number is out of range, a target names no linear layer, or there is an adapter already.
    """
    import torch
    from peft import LoraConfig, LoraModel

    if rank < 1 or alpha <= 0 or not 0 <= dropout < 1:
        raise VkitError(
            f"LoRA of rank {rank}, alpha {alpha} and dropout {dropout}: give a rank and an alpha above 0,"
            " and a dropout from 0 to below 1"
        )
    if targets is not None and not targets:
        raise VkitError("LoRA without targets changes nothing; give at least one target, or None for all")
    refuse_added(model.model)
    root, prefix = _root(model)
    inside = {id(module) for module in model.decoder.modules()}
    layers = [
        name
        for name, module in root.named_modules()
        if id(module) in inside and isinstance(module, torch.nn.Linear)
    ]
    for target in targets or ():
        if not any(_ends(name, target) for name in layers):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise VkitError(f"LoRA target {target!r} names no linear layer of {model.name!r}; it has {known}")
    if targets is not None:
        layers = [name for name in layers if any(_ends(name, target) for target in targets)]
    language = {id(parameter) for part in (model.decoder, model.lm_head) for parameter in part.parameters()}
    trained = {name: parameter.requires_grad for name, parameter in model.model.named_parameters()}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=layers,
        base_model_name_or_path=model.name,
    )
    LoraModel(root, config, _ADAPTER)  # works on root itself, and freezes all of it
    root.train(root.training)  # new layers are born in training mode
    for name, parameter in model.model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
        elif id(parameter) not in language:
            parameter.requires_grad_(trained[name])
    return [prefix + name for name in layers]


def adapter_state(model: VisionLanguageModel) -> dict[str, Tensor]:
    """The tensors of the adapter that `add_lora` gave, named as peft names them in a file.

    Raises:
        VkitError: there is none.
    """
    from peft import get_peft_model_state_dict

    root = _added(model)
    state = get_peft_model_state_dict(root, adapter_name=_ADAPTER, save_embedding_layers=False)
    return {f"{_PEFT}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def save_adapter(model: VisionLanguageModel, folder: Path) -> None:
    """Write the adapter that `add_lora` gave; `load_model` and peft itself read it.

    peft reads TinyLLaVA's from its language model, and any other from the whole model.

    Raises:
        VkitError: there is none.
    """
    root: Any = _added(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "adapter_model.safetensors", adapter_state(model))
    root.peft_config[_ADAPTER].save_pretrained(str(folder))


def merge_added(model: VisionLanguageModel) -> None:
    """Add the adapter that `add_lora` gave to the weights, and leave a plain model.

    Raises:
        VkitError: there is none, or its numbers are not finite.
    """
    from peft.tuners.lora import LoraLayer

    root: Any = _added(model)
    for name, layer in list(root.named_modules()):
        if isinstance(layer, LoraLayer):
            try:
                layer.merge(safe_merge=True)
            except ValueError as error:
                raise VkitError(
                    f"the adapter of {model.name!r} cannot be merged at {name!r} ({error}); its training"
                    " went wrong, lower the learning rate"
                ) from error
            parent, _, leaf = name.rpartition(".")
            setattr(root.get_submodule(parent), leaf, layer.get_base_layer())
    del root.peft_config


def refuse_added(module: nn.Module) -> None:
    """Refuse a model with an adapter of `add_lora` that is not merged, whose layers have other names."""
    if any(name.endswith(f".lora_A.{_ADAPTER}") for name, _ in module.named_modules()):
        raise VkitError("the model holds a LoRA adapter that is not merged; call merge_added first")


def _added(model: VisionLanguageModel) -> nn.Module:
    root, _ = _root(model)
    if not hasattr(root, "peft_config"):
        raise VkitError(f"{model.name!r} holds no LoRA adapter; call add_lora first")
    return root


def _root(model: VisionLanguageModel) -> tuple[nn.Module, str]:
    """The module from which adapters name their layers, as `load_model` reads them, and its own prefix."""
    from vkit.models.tinyllava import TinyLlava

    whole = model.model
    return (whole.language_model, "language_model.") if isinstance(whole, TinyLlava) else (whole, "")


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")


def merge_lora(language_model: nn.Module, folder: Path) -> None:
    """Add the adapter in ``folder`` to the weights of ``language_model``, in place.

    Raises:
        VkitError: there is no ``adapter_config.json`` or no weights, it is no LoRA adapter, or it was trained
            on another model (a module is not there, or has another shape).
    """
    from peft import LoraModel, PeftConfig, PeftType, set_peft_model_state_dict

    if not (folder / "adapter_config.json").is_file():
        raise VkitError(
            f"adapter {folder} has no adapter_config.json; give the folder of a PEFT adapter, or "
            "a model that was trained whole as the model"
        )
    refuse_imports(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # peft takes what stands there as it is, and stumbles in many ways
        reason = first_line(error) or type(error).__name__
        raise VkitError(f"adapter {folder}: adapter_config.json is not valid ({reason})") from error
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
    except VkitError:
        raise
    except Exception as error:  # as above: a setting of another type is met where it is used
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise VkitError(
            f"adapter {folder} does not fit the model ({reason}); give the model it was trained on"
        ) from error


def refuse_imports(folder: Path) -> None:
    """Raise `VkitError` where an adapter's settings would have peft import a module of their choice."""
    try:
        settings = read_json(folder / "adapter_config.json")
    except VkitError as error:
        raise VkitError(f"adapter {folder}: adapter_config.json is not valid ({error})") from error
    if settings.get("megatron_config") is not None:
        raise VkitError(
            f"adapter {folder} is for Megatron (megatron_config), which is not supported; take one without it"
        )


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
