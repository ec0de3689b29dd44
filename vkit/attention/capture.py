"""Captures where a model's decoder looks, in one forward, without ever making an attention matrix.

    segment_ids = torch.tensor([[0, 0, 1, 1, 1, -1]])     # per column: 0 image, 1 question, -1 not reported
    with capture(model, segment_ids, rows=torch.tensor([4, 5]), maps=True) as record:
        model(**inputs)                                   # one forward, any attention implementation
    record.mass                                           # (L, B, H, R, S)
    record.mean_map                                       # (B, R, T)

Inside the context the language decoder's attention is `vkit.kernels.attention.segment_attention`, exchanged
through transformers' AttentionInterface; vision towers keep theirs, and everything is restored at the end.
What is measured is the softmax weight that the model uses, to rounding. A model or feature for which that
cannot be had (attention sinks, position biases, recurrent layers, images outside the decoder's sequence) is
refused by name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vkit.attention.decoder import find_decoder
from vkit.attention.masks import capture_mask, visibility
from vkit.errors import VkitError
from vkit.kernels.attention import attention_rows, segment_attention
from vkit.kernels.attention_checks import HEAD_SIZE_LIMIT

IMPLEMENTATION = "vkit_capture"  # our name in transformers' AttentionInterface

# Arguments that reach the attention function and change nothing in it: windows and packed positions are in
# the mask already, the others describe the model's inputs or steer what it returns.
HARMLESS = {
    "sliding_window", "position_ids", "cache_position", "use_cache", "return_dict", "logits_to_keep",
    "output_attentions", "output_hidden_states", "output_router_logits", "num_items_in_batch",
    "image_sizes", "token_type_ids", "mm_token_type_ids",
}  # fmt: skip

_active: dict[nn.Module, _Capture] = {}  # every module of a decoder under capture


class AttentionRecord:
    """What `capture` saw. Complete once its ``with`` block has ended without an error."""

    def __init__(self, segment_ids: Tensor, num_segments: int, rows: Tensor | None) -> None:
        self.segment_ids = segment_ids
        self.num_segments = num_segments
        self.rows = rows
        self._mass: Tensor | None = None
        self._mean_map: Tensor | None = None

    @property
    def mass(self) -> Tensor:
        """(L, B, H, R, S) float32: weight of row r on segment s in each layer and head; zeros at row -1.

        R is T, all queries, where no rows were chosen; rows of padding say nothing. Differentiable where the
        forward was. float64 for a float64 model.
        """
        if self._mass is None:
            raise VkitError("the attention record is empty; read it after the capture's with block")
        return self._mass

    @property
    def mean_map(self) -> Tensor:
        """(B, R, T) float32: rows of attention averaged over layers and heads. Not differentiable."""
        if self._mean_map is None:
            raise VkitError("the attention record has no map; capture with maps=True and read it afterwards")
        return self._mean_map

    @property
    def num_layers(self) -> int:
        return self.mass.shape[0]

    @property
    def num_heads(self) -> int:
        return self.mass.shape[2]


@contextmanager
def capture(
    model: Any,
    segment_ids: Tensor,
    rows: Tensor | None = None,
    maps: bool = False,
    *,
    num_segments: int | None = None,
) -> Iterator[AttentionRecord]:
    """Record where the decoder looks during exactly one forward.

    Args:
        model: a transformers model (vision-language or text, with or without a head or PEFT adapters), or an
            object whose ``decoder`` is one (`vkit.models.protocol.VisionLanguageModel`).
        segment_ids: (B, T) integers, the segment of each column of the decoder's sequence, padding included;
            -1 where a column takes part and is not reported.
        rows: (R,) or (B, R) integers, the queries to keep; -1 stands for none. All when left out.
        maps: keep ``mean_map`` too, B*R*T numbers.
        num_segments: S; the highest id plus one when left out.

    Raises:
        VkitError: the model, one of its layers or an argument of its attention cannot be captured exactly;
            the block ran no forward or several; ids or rows do not fit the decoder's sequence.

    >>> from transformers import LlamaConfig, LlamaModel
    >>> size = dict(vocab_size=32, hidden_size=16, intermediate_size=16, num_attention_heads=2)
    >>> model = LlamaModel(LlamaConfig(**size, num_hidden_layers=3))
    >>> with capture(model, torch.tensor([[0, 0, 1, -1]]), rows=torch.tensor([1])) as record:
    ...     _ = model(input_ids=torch.tensor([[4, 5, 6, 7]]))
    >>> record.mass.shape
    torch.Size([3, 1, 2, 1, 2])
    >>> record.mass[0, 0, :, 0].tolist()  # the second query sees the first two columns, both in segment 0
    [[1.0, 0.0], [1.0, 0.0]]
    """
    decoder, configs = find_decoder(model)
    if any(config._attn_implementation == IMPLEMENTATION for config in configs):
        raise VkitError(f"{type(decoder).__name__} is under capture already; end that capture first")
    state = _Capture(decoder, *_check_request(segment_ids, rows, num_segments), maps)
    _register()
    with ExitStack() as cleanup:
        for config in configs:
            cleanup.callback(_set_implementation, config, config._attn_implementation)
        for module in state.names:
            _active[module] = state
            cleanup.callback(_active.pop, module)
        hook = decoder.register_forward_pre_hook(state.count_forward)
        cleanup.callback(hook.remove)
        for config in configs:
            _set_implementation(config, IMPLEMENTATION)
        yield state.record
        state.finish()


class _Capture:
    """One capture under way: receives every attention call of a decoder and fills the record."""

    def __init__(
        self, decoder: Any, segment_ids: Tensor, num_segments: int, rows: Tensor | None, maps: bool
    ) -> None:
        self.record = AttentionRecord(segment_ids, num_segments, rows)
        self.name = type(decoder).__name__
        self.names = {module: name for name, module in decoder.named_modules()}
        self.num_layers = decoder.config.num_hidden_layers
        self.maps = maps
        self.highest_row = -1 if rows is None else int(rows.max())
        self.num_queries = self.forwards = 0
        self.masses: dict[nn.Module, Tensor] = {}  # in the order of the layers
        self.map_sums: dict[torch.device, Tensor] = {}  # a decoder may be spread over devices
        self._map_rows = rows
        self._moved: dict[tuple[torch.device, int], Tensor] = {}

    def count_forward(self, *_: Any) -> None:
        self.forwards += 1
        if self.forwards > 1:
            raise VkitError(
                f"{self.name} ran a second forward under one capture; replay prompt and output in one forward"
            )

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
        is_causal: bool, scale: float | None, softcap: float | None,
    ) -> Tensor:  # fmt: skip
        """Attention of one layer, (B, Hq, Tq, D) in and (B, Hq, Tq, Dv) out; its masses go to the record."""
        if module in self.masses:
            raise self.refusal(module, "attends twice in one forward, so its weights are not one softmax")
        self._check_shapes(module, query, key)
        # Keys and values of different sizes (multi-head latent attention): zeros change no score and no sum.
        size, value_size = query.shape[-1], value.shape[-1]
        query, key, value = (_widen(x, max(size, value_size)) for x in (query, key, value))
        segment_ids = self._on(query.device, self.record.segment_ids)
        try:
            options: dict[str, Any] = visibility(mask, query.shape[2], key.shape[2], is_causal)
            options.update(scale=size**-0.5 if scale is None else scale, softcap=softcap)
            num_segments = self.record.num_segments
            out, lse, mass = segment_attention(query, key, value, segment_ids, num_segments, **options)
            self.masses[module] = self._chosen(mass)
            if self.maps:
                self._add_map(query, key, lse, options)
        except ValueError as error:
            raise self.refusal(module, f"cannot be captured: {error}") from error
        return out[..., :value_size]

    def finish(self) -> None:
        """Fill the record, once the forward is over."""
        if self.forwards == 0 and not self.masses:
            raise VkitError(f"{self.name} ran no forward under capture; call the model inside the with block")
        if len(self.masses) != self.num_layers:
            seen = [self.names[module] for module in self.masses]
            raise VkitError(
                f"{self.name} has {self.num_layers} layers and {len(seen)} showed their attention "
                f"({', '.join(seen) or 'none'}); the others do not use transformers' AttentionInterface, or "
                "are not softmax attention, and cannot be captured exactly"
            )
        masses = list(self.masses.values())
        if len({mass.shape for mass in masses}) > 1:
            shapes = sorted({tuple(mass.shape) for mass in masses})
            raise VkitError(
                f"{self.name} has layers of different shapes {shapes}; they have no common record"
            )
        home = masses[0].device
        self.record._mass = torch.stack([mass.to(home) for mass in masses])
        if self.maps:
            sums = [x.to(home) for x in self.map_sums.values()]
            self.record._mean_map = torch.stack(sums).sum(0) / len(masses)

    def refusal(self, module: nn.Module, problem: str) -> VkitError:
        return VkitError(f"{self.name}: layer {self.names[module]} ({type(module).__name__}) {problem}")

    def _check_shapes(self, module: nn.Module, query: Tensor, key: Tensor) -> None:
        batch, columns = self.record.segment_ids.shape
        if (key.shape[0], key.shape[2]) != (batch, columns):
            raise self.refusal(
                module,
                f"sees {key.shape[0]} items of {key.shape[2]} keys, segment_ids are ({batch}, {columns}); "
                "give one id per column of the decoder's sequence, cached columns and padding included",
            )
        if max(query.shape[-1], key.shape[-1]) > HEAD_SIZE_LIMIT:
            raise self.refusal(module, f"has heads of {query.shape[-1]}, over the limit of {HEAD_SIZE_LIMIT}")
        self.num_queries = self.num_queries or query.shape[2]
        if query.shape[2] != self.num_queries:
            raise self.refusal(
                module,
                f"computes only {query.shape[2]} of {self.num_queries} queries; do not set logits_to_keep",
            )
        if self.highest_row >= self.num_queries:
            raise self.refusal(
                module, f"has {self.num_queries} queries; row {self.highest_row} does not exist"
            )

    def _chosen(self, mass: Tensor) -> Tensor:
        """(B, H, T, S) to (B, H, R, S)."""
        if self.record.rows is None:
            return mass
        rows = self._on(mass.device, self.record.rows)[:, None, :, None]
        return torch.take_along_dim(mass, rows.clamp(min=0), dim=2).masked_fill(rows < 0, 0.0)

    @torch.no_grad()
    def _add_map(self, query: Tensor, key: Tensor, lse: Tensor, options: dict[str, Any]) -> None:
        if self._map_rows is None:
            self._map_rows = torch.arange(query.shape[2])
        rows, total = self._on(query.device, self._map_rows), self.map_sums.get(query.device)
        self.map_sums[query.device] = attention_rows(query, key, lse, rows, out=total, **options)

    def _on(self, device: torch.device, tensor: Tensor) -> Tensor:
        """The tensor on a layer's device, moved there once."""
        if (device, id(tensor)) not in self._moved:
            self._moved[device, id(tensor)] = tensor.to(device)
        return self._moved[device, id(tensor)]


# Where transformers meets us ------------------------------------------------------------------------------


@functools.cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(IMPLEMENTATION, _attention_forward)
    AttentionMaskInterface.register(IMPLEMENTATION, capture_mask)


def _attention_forward(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, is_causal: bool | None = None,
    softcap: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """The attention function of transformers' AttentionInterface: (B, H, T, D) in, (B, T, H, D) out."""
    state = _active.get(module)
    if state is None:
        raise VkitError(
            f"{type(module).__name__} shares its configuration with a decoder under capture and is no part "
            "of it; give each model a configuration of its own"
        )
    unknown = [name for name, given in kwargs.items() if given is not None and name not in HARMLESS]
    if unknown:
        raise state.refusal(module, f"uses {', '.join(unknown)}, which cannot be captured exactly")
    if dropout:
        raise state.refusal(module, f"drops attention weights (dropout {dropout}); call model.eval() first")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    out = state.attend(module, query, key, value, attention_mask, bool(causal), scaling, softcap)
    return out.transpose(1, 2).contiguous(), None


def _set_implementation(config: Any, name: str | None) -> None:
    config._attn_implementation = {"": name}  # a dictionary leaves sub-configurations as they are


# Checks and small helpers ---------------------------------------------------------------------------------


def _check_request(
    segment_ids: Tensor, rows: Tensor | None, num_segments: int | None
) -> tuple[Tensor, int, Tensor | None]:
    """Ids as int32 (B, T), the number of segments, and rows as int64 (B, R)."""
    if segment_ids.dim() != 2 or segment_ids.is_floating_point() or not segment_ids.numel():
        raise VkitError(f"segment_ids must be integers (B, T); got {_describe(segment_ids)}")
    lowest, highest = (int(x) for x in segment_ids.aminmax())
    num_segments = highest + 1 if num_segments is None else num_segments
    if lowest < -1 or highest >= num_segments or num_segments < 1:
        raise VkitError(
            f"segment_ids must lie in -1..{num_segments - 1} and name a segment; got {lowest}..{highest}"
        )
    batch = segment_ids.shape[0]
    with torch.inference_mode(False):  # tensors made in inference mode have no version to check them by
        segment_ids = segment_ids.to(torch.int32, copy=True)
        if rows is not None:
            shape = _describe(rows)
            rows = rows.expand(batch, -1) if rows.dim() == 1 else rows
            if rows.dim() != 2 or rows.shape[0] != batch or rows.is_floating_point() or not rows.numel():
                raise VkitError(f"rows must be integers (R,) or ({batch}, R); got {shape}")
            if int(rows.min()) < -1:
                raise VkitError(f"rows must be -1 (none) or the index of a query; got {int(rows.min())}")
            rows = rows.to(torch.int64, copy=True)
    return segment_ids, num_segments, rows


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _widen(tensor: Tensor, size: int) -> Tensor:
    return nn.functional.pad(tensor, (0, size - tensor.shape[-1])) if tensor.shape[-1] < size else tensor
