"""Finds the language decoder of a model, and refuses one whose attention cannot be captured exactly.

    decoder, configs = find_decoder(model)      # configs: where its attention implementation is written

What can be told from a model before its forward is told here; `vkit.attention.capture` refuses the rest as it
happens.
"""

from __future__ import annotations

from typing import Any

from vkit.errors import VkitError

# Softmax attention over the decoder's columns; every other layer type mixes columns in another way.
LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention"}


def find_decoder(model: Any) -> tuple[Any, list[Any]]:
    """The language decoder of a model, and the configurations that choose its attention.

    Args:
        model: a transformers model, one wrapped by PEFT, or an object whose ``decoder`` is one.

    Raises:
        VkitError: there is none, or one that cannot be captured exactly.
    """
    from transformers import PreTrainedConfig, PreTrainedModel

    if not isinstance(model, PreTrainedModel) and hasattr(model, "get_base_model"):  # PEFT
        model = model.get_base_model()
    whole = isinstance(model, PreTrainedModel)
    decoder = model.get_decoder() if whole else getattr(model, "decoder", None)
    if not isinstance(decoder, PreTrainedModel):
        raise VkitError(
            f"{type(model).__name__} has no transformers decoder to capture; give a transformers model, or "
            "an object whose .decoder is one"
        )
    found = [decoder.config] + [getattr(module, "config", None) for module in decoder.modules()]
    configs = list({id(config): config for config in found if isinstance(config, PreTrainedConfig)}.values())
    _refuse_mixtures(decoder, configs, model.config if whole else decoder.config)
    _refuse_layers(decoder)
    _refuse_modes(decoder)
    return decoder, configs


def _refuse_mixtures(decoder: Any, configs: list[Any], whole: Any) -> None:
    """Decoders that do not hold image and text in one sequence, or hold more than the language decoder."""
    name, config = type(decoder).__name__, decoder.config
    if any(getattr(c, "is_encoder_decoder", False) for c in [whole, *configs]):
        raise VkitError(f"{name} belongs to an encoder-decoder, whose images are not in its sequence")
    crossing = [path for path, _ in decoder.named_modules() if "cross" in path.rpartition(".")[2].lower()]
    if crossing or getattr(config, "cross_attention_layers", None):
        where = f" ({crossing[0]})" if crossing else ""
        raise VkitError(f"{name} sees images by cross-attention{where}, not in its sequence")
    others = sorted({type(c).__name__ for c in configs if type(c) is not type(config)})
    if others or config.get_text_config(decoder=True) is not config:
        raise VkitError(f"{name} holds more than a language decoder ({', '.join(others) or 'composite'})")


def _refuse_layers(decoder: Any) -> None:
    name, config = type(decoder).__name__, decoder.config
    if not isinstance(getattr(config, "num_hidden_layers", None), int):
        raise VkitError(f"{name} does not say how many layers it has (num_hidden_layers)")
    other = sorted(set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES)
    if other or getattr(decoder, "_is_stateful", False):
        kinds = ", ".join(other) or "recurrent state"
        raise VkitError(f"{name} has layers beyond softmax attention ({kinds}), which cannot be captured")


def _refuse_modes(decoder: Any) -> None:
    """Ways of running under which a layer's attention runs twice, or where we cannot see it."""
    name = type(decoder).__name__
    for path, module in decoder.named_modules():
        if getattr(module, "gradient_checkpointing", False) and module.training:
            raise VkitError(
                f"{name} trains with gradient checkpointing, which runs attention twice; turn it off first"
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise VkitError(f"{name} is compiled at {path or 'its root'}; capture it before .compile()")
