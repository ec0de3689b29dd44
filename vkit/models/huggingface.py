"""Any transformers VLM whose images stand in its decoder's sequence, behind vkit's protocol.

    model = load_huggingface("llava-hf/llava-1.5-7b-hf")       # vkit.models.huggingface_loading
    batch = model.encode([request], padding_side="left")
    output = model.generate(batch, max_new_tokens=64)
    hidden = model.forward(model.encode([request], output))    # the replay of that generation

A replay runs prompt and output in one forward. It sees what generation saw: the same images, positions and
masks, so its logits are those of generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vkit.errors import VkitError
from vkit.models.geometry import image_boxes
from vkit.models.huggingface_head import find_head
from vkit.models.huggingface_prompt import Prompt, PromptWriter
from vkit.models.lora import refuse_added
from vkit.models.protocol import (
    IGNORE_INDEX,
    IMAGE_COLUMN,
    Batch,
    History,
    ImageColumns,
    Layout,
    Request,
    Text,
    TrainingBatch,
    histories_of,
    outputs_of,
)
from vkit.models.sampling import GREEDY, Chooser, Sampling
from vkit.models.tensors import telling_full_disk

_ANY_REQUEST = Request("answer", (Text("?"),))  # what comes after a prompt is the same after all of them


class HuggingFaceModel:
    """A transformers VLM with its processor; implements `vkit.models.protocol.VisionLanguageModel`.

    model: from `AutoModelForImageTextToText`, in eval mode.
    processor: from `vkit.models.huggingface_loading.load_processor`.
    name: what people call it.

    Raises:
        VkitError: the family keeps its images outside the decoder's sequence, or has an unusual structure.
    """

    mixes_pictures = False

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        check_family(model.config, name)
        self.model, self.processor, self.name = model, processor, name
        self.random_weights = False
        self.tokenizer = processor.tokenizer
        self.image_token_id = _image_token_id(model.config)
        self._stop_ids = _stop_ids(model, self.tokenizer)
        self._writer = PromptWriter(processor, self.image_token_id, self._stop_ids)
        self._base = model.base_model
        self._head: nn.Module | None = None
        if self._base is model or any("cross_attn" in part for part, _ in self.decoder.named_modules()):
            raise VkitError(
                f"model {name!r}: {type(model).__name__} does not keep its images in a decoder's sequence; "
                "choose a family that does, such as LLaVA, Qwen-VL, InternVL, SmolVLM, PaliGemma or Gemma 3"
            )
        self._generation_config = model.generation_config
        _make_greedy(model, self._stop_ids, self.tokenizer.pad_token_id)

    @property
    def decoder(self) -> nn.Module:
        """The transformers model whose attention layers form the language decoder."""
        return self.model.get_decoder()

    @property
    def device(self) -> torch.device:
        """Where inputs go: of a model over several devices, the first that computes."""
        places = set(getattr(self.model, "hf_device_map", {}).values()) - {"cpu", "disk"}
        if places:
            return torch.device(min(places, key=str))
        offloaded = self.model.device.type == "meta"
        return torch.device("cpu") if offloaded else self.model.device

    @property
    def lm_head(self) -> nn.Module:
        """Maps hidden states (.., D) to the model's logits (.., V), soft-capping and scaling included.

        Raises:
            VkitError: the model's logits are made in a way that is not known.
        """
        if self._head is None:
            self._head = find_head(self.model, self.name)
        return self._head

    def encode(
        self,
        requests: Sequence[Request],
        outputs: Sequence[Sequence[int]] | None = None,
        *,
        padding_side: str = "right",
    ) -> Batch:
        """Prompts, each followed by its output tokens if given, padded to one length, on the model's device.

        Raises:
            VkitError: a request cannot be encoded exactly, or is longer than the model's positions; names it.
        """
        outputs = outputs_of(requests, outputs, padding_side)
        batch, _ = self._encode(requests, [()] * len(requests), outputs, padding_side)
        return batch

    def encode_training(
        self,
        requests: Sequence[Request],
        answers: Sequence[str],
        *,
        history: Sequence[History] | None = None,
        padding_side: str = "right",
    ) -> TrainingBatch:
        """Prompts with their answers, and labels of the answers of every turn.

        An answer ends as the chat template ends it, with its first stop token; where the template writes
        none, with the end-of-sequence token.

        Raises:
            VkitError: as `encode`; an answer is empty or holds a special token; the chat template writes the
                earlier turns of a conversation otherwise than when they were the last.
        """
        outputs_of(requests, None, padding_side)
        histories = histories_of(requests, answers, history)
        outputs = [self._output(request.id, answer) for request, answer in zip(requests, answers)]
        batch, prompts = self._encode(requests, histories, outputs, padding_side)
        labels = torch.full((len(requests), batch.length), IGNORE_INDEX)
        for row, prompt, layout in zip(labels, prompts, batch.layouts):
            columns = np.concatenate(
                [np.flatnonzero(prompt.answer), np.arange(layout.prompt_length, len(layout))]
            )
            row[layout.offset + columns] = torch.from_numpy(layout.token_ids[columns])
        return TrainingBatch(**vars(batch), labels=labels.to(self.device))

    def _encode(
        self,
        requests: Sequence[Request],
        histories: Sequence[History],
        outputs: Sequence[Sequence[int]],
        padding_side: str,
    ) -> tuple[Batch, list[Prompt]]:
        prompts, tensors = self._writer.write(requests, histories)
        rows = [[*prompt.ids.tolist(), *output] for prompt, output in zip(prompts, outputs, strict=True)]
        length = max(map(len, rows))
        for request, prompt, output in zip(requests, prompts, outputs):
            self._check_length(request.id, len(prompt.ids), len(output))
            if self.image_token_id in output:
                raise VkitError(
                    f"request {request.id!r}: its output holds the image token {self.image_token_id}, which "
                    "cannot be replayed; leave the request out"
                )
        offsets = [length - len(row) if padding_side == "left" else 0 for row in rows]

        def padded(values: list[list[int]], fill: int) -> Tensor:
            table = torch.full((len(rows), length), fill, dtype=torch.long)
            for i, (value, offset) in enumerate(zip(values, offsets)):
                table[i, offset : offset + len(value)] = torch.tensor(value, dtype=torch.long)
            return table.to(self.device)

        inputs: dict[str, Any] = {
            "input_ids": padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": padded([[1] * len(row) for row in rows], 0),
        }
        for key in prompts[0].types:
            kind = self._writer.output_type if key == "token_type_ids" else 0
            types = [
                [*prompt.types[key].tolist(), *[kind] * len(out)] for prompt, out in zip(prompts, outputs)
            ]
            inputs[key] = padded(types, 0)
        for key, value in tensors.items():
            dtype = self.model.dtype if torch.is_tensor(value) and value.is_floating_point() else None
            inputs[key] = value.to(self.device, dtype) if torch.is_tensor(value) else value
        layouts, seen = [], 0
        for prompt, row, offset in zip(prompts, rows, offsets):
            layouts.append(self._layout(prompt, row, offset, tensors, seen))
            seen += len(prompt.pictures)
        return Batch(inputs, layouts, length, [request.id for request in requests]), prompts

    def forward(self, batch: Batch) -> Tensor:
        """Last hidden states after the final norm, (B, T, D); ``lm_head`` of them gives the logits."""
        inputs = dict(batch.inputs)
        if any(layout.offset for layout in batch.layouts) and not hasattr(self._base, "get_rope_index"):
            # As in generation: positions start at an item's first column. Multimodal positions do so anyway.
            mask = inputs["attention_mask"]
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        hidden = self._base(**inputs, use_cache=False, return_dict=True).last_hidden_state
        if hidden.shape[1] != batch.length:
            raise VkitError(
                f"model {self.name!r}: its decoder saw {hidden.shape[1]} columns where the prompt has "
                f"{batch.length}; this family is not supported"
            )
        return hidden

    @torch.no_grad()
    def generate(self, batch: Batch, *, max_new_tokens: int, sampling: Sampling = GREEDY) -> list[list[int]]:
        """Continuation of each prompt, without the end-of-sequence token. Needs left padding."""
        for request_id, layout in zip(batch.ids, batch.layouts):
            if layout.offset + len(layout) != batch.length:
                raise ValueError("generate needs a batch that was encoded with padding_side='left'")
            self._check_length(request_id, len(layout), max_new_tokens)
        chooser = Chooser(sampling, batch.ids, self.device)

        def scores(input_ids: Tensor, logits: Tensor) -> Tensor:  # whose argmax comes next
            return chooser.scores(logits, input_ids.shape[1] - batch.length)

        output = self.model.generate(**batch.inputs, max_new_tokens=max_new_tokens, logits_processor=[scores])
        ids = output[:, batch.length :].tolist()
        return [row[: next((i for i, t in enumerate(row) if t in self._stop_ids), len(row))] for row in ids]

    def tokenize_answer(self, text: str) -> list[int]:
        """The ids of an answer as they follow the prompt, without the end-of-sequence token.

        Raises:
            VkitError: the tokenizer joins the answer's first letters with the prompt's last.
        """
        return self._answer_ids(text, "")

    def _answer_ids(self, text: str, ending: str) -> list[int]:
        prompt, lead = self._writer.chat.answer_lead(_ANY_REQUEST)
        ids = [
            self.tokenizer(t, add_special_tokens=False)["input_ids"]
            for t in (prompt, prompt + lead + text + ending)
        ]
        if ids[1][: len(ids[0])] != ids[0]:
            raise VkitError(
                f"answer {text[:40]!r} merges with the end of the prompt of {self.name!r}; rephrase it"
            )
        return ids[1][len(ids[0]) :]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of output ids, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors), configuration and processor in transformers' layout, for `load_model`.

        What the processor does with videos is left out, as it was when it was loaded.

        Raises:
            VkitError: the model holds a LoRA adapter that is not merged.
        """
        refuse_added(self.model)
        folder = Path(folder)
        with telling_full_disk(folder):
            self.model.save_pretrained(folder)
        # As the checkpoint had it: transformers would refuse to write some settings that it reads.
        self._generation_config.to_json_file(folder / "generation_config.json")
        self.processor.save_pretrained(folder)

    def _output(self, request_id: str, answer: str) -> list[int]:
        """The ids of an answer that is to be learned, up to its stop token."""
        chat = self._writer.chat
        chat.check_text(answer, f"request {request_id!r}: its answer")
        if not self._stop_ids:
            raise VkitError(
                f"model {self.name!r} has no stop token; set eos_token_id in its generation_config.json"
            )
        try:
            ids = self._answer_ids(answer, chat.ending(_ANY_REQUEST))
        except VkitError as error:
            raise VkitError(f"request {request_id!r}: {error}") from error
        if ids[-1] in self._stop_ids:
            return ids
        end = self.tokenizer.eos_token_id
        return [*ids, end if end in self._stop_ids else self._stop_ids[0]]

    def _check_length(self, request_id: str, prompt: int, more: int) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and prompt + more > limit:
            raise VkitError(
                f"request {request_id!r}: a prompt of {prompt} columns and {more} output tokens exceed the "
                f"{limit} positions of {self.name!r}; shorten the text, the image or the output"
            )

    def _layout(
        self,
        prompt: Prompt,
        row: list[int],
        offset: int,
        tensors: dict[str, Any],
        seen: int,
    ) -> Layout:
        token_ids = np.asarray(row, dtype=np.int64)
        images = []
        for i, (columns, image) in enumerate(zip(prompt.images, prompt.pictures)):
            token_ids[columns] = IMAGE_COLUMN
            grid = tensors["image_grid_thw"][seen + i].tolist() if "image_grid_thw" in tensors else None
            boxes = image_boxes(
                self.model.config,
                self.processor,
                image.size,
                columns=len(columns),
                grid=grid,
                replacement=prompt.replacements[i],
                alone=len(prompt.pictures) == 1,
            )
            images.append(ImageColumns(columns, boxes))
        question = np.zeros(len(row), dtype=bool)
        question[: len(prompt.ids)] = prompt.question
        return Layout(token_ids, len(prompt.ids), tuple(images), question, offset)


def check_family(config: Any, name: str) -> None:
    """Refuse a family whose images do not stand in a decoder's sequence, from its config alone."""
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    family = config.model_type
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise VkitError(
            f"model {name!r}: {family!r} is no image-text-to-text model of transformers; choose one"
        )
    if config.is_encoder_decoder or getattr(config.get_text_config(), "is_encoder_decoder", False):
        raise VkitError(f"model {name!r}: {family!r} is an encoder-decoder; choose a decoder-only model")
    if getattr(config.get_text_config(), "cross_attention_layers", None):
        raise VkitError(
            f"model {name!r}: {family!r} reads its images by cross-attention; "
            "choose a model that keeps them in its decoder's sequence"
        )
    if _image_token_id(config) is None:
        raise VkitError(
            f"model {name!r}: {family!r} names no image token in its config; "
            "choose a model whose image columns can be told"
        )


def _image_token_id(config: Any) -> Any:
    for key in ("image_token_id", "image_token_index"):
        if getattr(config, key, None) is not None:
            return getattr(config, key)
    return None


def _stop_ids(model: Any, tokenizer: Any) -> list[int]:
    ids = model.generation_config.eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _make_greedy(model: Any, stop_ids: list[int], pad_token_id: int) -> None:
    """Keep nothing of the checkpoint's sampling, penalties and limits: the argmax, until a stop id."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, eos_token_id=stop_ids or None, pad_token_id=pad_token_id
    )
