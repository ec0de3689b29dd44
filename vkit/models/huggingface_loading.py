"""Reads any image-text-to-text checkpoint of transformers from a folder or the hub, with its processor.

    model = load_huggingface("Qwen/Qwen2-VL-2B-Instruct", device="cuda")

Code that a checkpoint brings along is never run. Weights that the checkpoint lacks are never filled in at
random. Processors are read without their part for videos, which needs packages that images do not.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkit.errors import VkitError
from vkit.models.devices import resolve_device, resolve_dtype

if TYPE_CHECKING:
    from vkit.models.huggingface import HuggingFaceModel


def load_huggingface(
    name: str | os.PathLike[str],
    *,
    adapter: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | Mapping[str, int | str] | None = None,
    quantize: str | None = None,
) -> HuggingFaceModel:
    """The checkpoint ``name`` (a folder or a hub id), ready for inference.

    adapter: folder of a PEFT adapter, merged into the weights.
    device, dtype: see `vkit.models.devices`.
    device_map, quantize: see `vkit.models.loading.load_model`.

    Raises:
        VkitError: the checkpoint cannot be read, needs its own code, lacks weights, is of a family whose
            images do not stand in the decoder's sequence, or has a processor that is not known.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    from vkit.models.huggingface import HuggingFaceModel, check_family

    name = os.fspath(name)
    place = resolve_device(device)
    if adapter is not None and not (Path(adapter) / "adapter_config.json").is_file():
        raise VkitError(
            f"adapter {os.fspath(adapter)!r} has no adapter_config.json; give a PEFT adapter's folder"
        )
    with _told_in_one_line(f"model {name!r} cannot be loaded"):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_family(config, name)
    weights_dtype = resolve_dtype(dtype, place, config.dtype or config.get_text_config().dtype)
    processor = load_processor(name, config)
    with _told_in_one_line(f"model {name!r} cannot be loaded"):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            name,
            config=config,
            dtype=weights_dtype,
            trust_remote_code=False,
            output_loading_info=True,
            **_placement(place, weights_dtype, device_map, quantize),
        )
    model, report = loaded
    for what in ("missing_keys", "mismatched_keys"):
        if keys := sorted(map(str, report[what])):
            raise VkitError(
                f"model {name!r}: {len(keys)} {what.replace('_', ' ')} in its weights "
                f"({', '.join(keys[:3])}); the checkpoint is incomplete or another model's, download it again"
            )
    if adapter is not None:
        if any(tensor.is_meta for tensor in model.parameters()):
            raise VkitError(
                f"model {name!r} does not fit the GPUs as a whole, and adapter {os.fspath(adapter)!r} cannot"
                " be merged into it; save a merged copy first, load_model(model, adapter=...).save(folder)"
            )
        model = _merge_adapter(model, Path(adapter))
    if device_map is None and quantize is None:
        model = model.to(place)
    return HuggingFaceModel(model.eval(), processor, name)


def _placement(
    place: Any, dtype: Any, device_map: str | Mapping[str, int | str] | None, quantize: str | None
) -> dict[str, Any]:
    """What `from_pretrained` is told of the devices and of how many bits a weight has."""
    if quantize is None:
        return {} if device_map is None else {"device_map": device_map}
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a warning at each product in 8 bits
    four = dict(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    bits = BitsAndBytesConfig(**{f"load_in_{quantize}": True}, **(four if quantize == "4bit" else {}))
    return {"device_map": {"": place} if device_map is None else device_map, "quantization_config": bits}


def load_processor(name: str, config: Any) -> Any:
    """The checkpoint's processor, images by Pillow, videos left out; see `recording_processor`.

    Raises:
        VkitError: no processor class is named or known, or one of its files cannot be read.
    """
    import transformers
    from transformers import AutoTokenizer
    from transformers.models.auto.image_processing_auto import (
        AutoImageProcessor,
    )  # older ones hide it at the top
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    from vkit.models.huggingface_prompt import NoVideos, recording_processor

    with _told_in_one_line(f"model {name!r}: its processor cannot be loaded"):
        class_name = _named_processor(name) or PROCESSOR_MAPPING_NAMES.get(config.model_type)
    base = getattr(transformers, class_name or "", None)
    if base is None:
        raise VkitError(
            f"model {name!r}: processor {class_name!r} is not in transformers {transformers.__version__}; "
            "a checkpoint's own code is never run, choose one in transformers' layout"
        )
    loaders = {
        "image_processor": lambda: AutoImageProcessor.from_pretrained(
            name, backend="pil", trust_remote_code=False
        ),
        "tokenizer": lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False),
        "video_processor": NoVideos,
    }
    with _told_in_one_line(f"model {name!r}: its processor {class_name} cannot be loaded"):
        unknown = [part for part in base.get_attributes() if part not in loaders]
        if unknown:
            raise VkitError(
                f"model {name!r}: processor {class_name} needs a {unknown[0]}; only images are supported"
            )
        settings, _ = base.get_processor_dict(name)
        with _without_num2words():
            processor = recording_processor(base).from_args_and_dict(
                [loaders[part]() for part in base.get_attributes()], settings
            )
    if processor.chat_template is None:  # older checkpoints keep it with the tokenizer
        processor.chat_template = processor.tokenizer.chat_template
    return processor


def _named_processor(name: str) -> str | None:
    """The processor class that a checkpoint's files name, looked up in the order of transformers."""
    from transformers.utils import cached_file

    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            named = json.loads(Path(path).read_text(encoding="utf-8")).get("processor_class")
            if named is not None:
                return named
    return None


@contextmanager
def _without_num2words() -> Iterator[None]:
    """SmolVLM's processor asks for num2words when it is made, though it only counts the frames of videos."""
    from transformers.models.smolvlm import processing_smolvlm

    present = processing_smolvlm.num2words
    processing_smolvlm.num2words = present or str
    try:
        yield
    finally:
        processing_smolvlm.num2words = present


def _merge_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    from vkit.models.lora import refuse_imports

    refuse_imports(adapter)
    with _told_in_one_line(f"adapter {str(adapter)!r} does not fit the model"), warnings.catch_warnings():
        # peft only warns where the adapter's tensors have no place in the model, and leaves them out.
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        tuned = PeftModel.from_pretrained(model, adapter)
        given, taken = (
            sum("lora_" in key for key in tensors)
            for tensors in (load_peft_weights(str(adapter), device="cpu"), get_peft_model_state_dict(tuned))
        )
        if given != taken:  # it says nothing at all of tensors for layers that the model does not have
            raise ValueError(f"it has {given} LoRA tensors, of which the model takes {taken}")
        return tuned.merge_and_unload()


@contextmanager
def _told_in_one_line(what: str) -> Iterator[None]:
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    bad_input = (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError)
    try:
        yield
    except VkitError:
        raise
    except UnpicklingError as error:
        raise VkitError(
            f"{what} (its pickle holds code, which is never run); convert the weights to safetensors"
        ) from error
    except (*bad_input, UserWarning) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".:") if lines else type(error).__name__
        raise VkitError(
            f"{what} ({reason}); check the name or folder, its files, and for a hub id the network"
        ) from error
