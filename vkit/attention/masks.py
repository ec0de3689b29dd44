"""Attention masks of transformers in the form that the kernels like: causal, padding, window, no matrix.

    AttentionMaskInterface.register("name", capture_mask)    # transformers calls it once a forward
    options = visibility(attention_mask, query_length, key_length, module_is_causal)
    segment_attention(query, key, value, segment_ids, num_segments, **options)

transformers describes a mask by a function of indices. Where that function is causal, at most with a sliding
window and padding, a `CausalMask` carries just these facts; every other mask (bidirectional image blocks,
prefixes, chunks, packed sequences) is the boolean tensor that transformers itself makes. A function counts as
causal only where it is built from transformers' own parts, never by trying it on a sample, so a mask that is
not recognised costs memory and is as exact as the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class CausalMask(torch.Tensor):
    """A boolean (B, 1, Tq, Tk) mask that is written out only where somebody looks at its values.

    key_mask: (B, Tk) boolean, False at padding; None without padding.
    window: how many keys a query sees, its own among them; None for all.
    dense: the mask written out, once a tensor operation needed it. From then on it is the mask, so that
        models which slice or change their mask are served as with any other tensor.
    """

    key_mask: Tensor | None
    window: int | None
    dense: Tensor | None

    @staticmethod
    def __new__(
        cls,
        shape: tuple[int, int, int, int],
        device: torch.device | str,
        key_mask: Tensor | None,
        window: int | None,
    ) -> CausalMask:
        mask = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.bool, device=torch.device(device))
        mask.key_mask, mask.window, mask.dense = key_mask, window, None
        return mask

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") in (None, torch.bool):
            return args[0]._copy_to(kwargs.get("device"))  # for a layer on another device
        args, kwargs = tree_map_only(CausalMask, CausalMask.write_out, (args, kwargs))
        return func(*args, **kwargs)

    def _copy_to(self, device: torch.device | None) -> CausalMask:
        place = self.device if device is None else device
        mask = CausalMask(tuple(self.shape), place, self.key_mask, self.window)  # type: ignore[arg-type]
        mask.key_mask = None if self.key_mask is None else self.key_mask.to(place)
        mask.dense = None if self.dense is None else self.dense.to(place, copy=True)
        return mask

    def write_out(self) -> Tensor:
        """The mask as an ordinary boolean tensor (B, 1, Tq, Tk)."""
        if self.dense is None:
            batch, _, query_length, key_length = self.shape
            column = torch.arange(key_length, device=self.device)
            position = torch.arange(key_length - query_length, key_length, device=self.device)[:, None]
            seen = column <= position
            if self.window is not None:
                seen &= column > position - self.window
            self.dense = seen.expand(batch, 1, -1, -1).clone()
            if self.key_mask is not None:
                self.dense &= self.key_mask[:, None, None, :]
        return self.dense

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        padded = "with padding" if self.key_mask is not None else "no padding"
        return f"CausalMask({tuple(self.shape)}, {padded}, window={self.window})"


def capture_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable | None = None,
    attention_mask: Tensor | None = None,
    device: torch.device | str = "cpu",
    **kwargs: Any,
) -> Tensor | None:
    """A `CausalMask` where the mask is one, else the boolean of transformers; None: nothing is masked.

    The arguments are those of `transformers.masking_utils.sdpa_mask`.
    """
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    mask_function = causal_mask_function if mask_function is None else mask_function
    window = causal_window(mask_function)
    if window is None or int(q_offset) + q_length != kv_offset + kv_length:
        kwargs["allow_is_causal_skip"] = False  # its None means causal; ours is written out
        return sdpa_mask(
            batch_size=batch_size,
            q_length=q_length,
            kv_length=kv_length,
            q_offset=q_offset,
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            device=device,
            **kwargs,
        )
    key_mask = None
    if attention_mask is not None:
        missing = max(0, kv_offset + kv_length - attention_mask.shape[-1])
        key_mask = torch.nn.functional.pad(attention_mask.bool(), (0, missing))
        key_mask = key_mask[:, kv_offset : kv_offset + kv_length].to(device).expand(batch_size, -1)
        key_mask = None if bool(key_mask.all()) else key_mask.contiguous()
    limit = int(window) if window < kv_length else None
    return CausalMask((batch_size, 1, q_length, kv_length), device, key_mask, limit)


def causal_window(mask_function: Callable) -> float | None:
    """How many keys, its own included, a query sees under a causal mask function of transformers.

    Infinity for the plain causal mask; None for a function that is not, by its parts, causal with at most
    sliding windows.

    >>> from transformers import masking_utils
    >>> causal_window(masking_utils.sliding_window_causal_mask_function(4))
    4
    >>> causal_window(masking_utils.causal_mask_function)
    inf
    >>> causal_window(lambda batch, head, query, key: key <= query) is None
    True
    """
    from transformers.masking_utils import causal_mask_function

    window, causal = math.inf, False
    for part in _conjuncts(mask_function):
        limit = _window_of(part)
        if part is causal_mask_function:
            causal = True
        elif limit is not None:
            window = min(window, limit)
        else:
            return None
    return window if causal else None


def visibility(
    attention_mask: Tensor | None, query_length: int, key_length: int, is_causal: bool
) -> dict[str, Any]:
    """Which keys are seen, as keyword arguments of `vkit.kernels.attention.segment_attention`.

    Args:
        attention_mask: what a model hands to its attention function: a `CausalMask`, a boolean or additive
            (B or 1, H or 1, Tq, Tk), or None, which means causal for a causal module and several queries, as
            in transformers' own sdpa function.
        is_causal: what the module says of itself.

    Raises:
        ValueError: the mask is of another shape, or adds a bias to the scores.
    """
    if attention_mask is None:
        if is_causal and 1 < query_length < key_length:
            raise ValueError("there are earlier keys and no mask; pass attention_mask over all columns")
        return {"causal": is_causal and query_length > 1}
    if isinstance(attention_mask, CausalMask) and attention_mask.dense is None:
        if tuple(attention_mask.shape[2:]) != (query_length, key_length):
            raise ValueError(
                f"the mask is for {attention_mask.shape[2]} queries and {attention_mask.shape[3]} keys, "
                f"not {query_length} and {key_length}"
            )
        return {"causal": True, "key_mask": attention_mask.key_mask, "window": attention_mask.window}
    if isinstance(attention_mask, CausalMask):
        attention_mask = attention_mask.write_out()
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 4:
        shape = tuple(attention_mask.shape)
        raise ValueError(
            f"the mask is a {type(attention_mask).__name__} {shape}, not a tensor (B, H, Tq, Tk)"
        )
    if attention_mask.dtype != torch.bool:
        attention_mask = _from_additive(attention_mask)
    return {"causal": False, "mask": attention_mask}


def _from_additive(mask: Tensor) -> Tensor:
    """An additive mask of zeros and (near) negative infinities as a boolean; any other value is a bias."""
    if not mask.is_floating_point():
        raise ValueError(f"the mask is {mask.dtype}, neither boolean nor additive")
    seen = mask == 0
    if not bool((seen | (mask <= torch.finfo(mask.dtype).min / 2)).all()):
        raise ValueError("the mask adds a bias to the scores (ALiBi or a position bias)")
    return seen


def _conjuncts(mask_function: Callable) -> Iterator[Callable]:
    """The functions that transformers' `and_masks` joined, or the function itself."""
    joined = _closure(mask_function).get("mask_functions")
    if getattr(mask_function, "__code__", None) is _code_of("and_masks") and isinstance(joined, tuple):
        for part in joined:
            yield from _conjuncts(part)
    else:
        yield mask_function


def _window_of(mask_function: Callable) -> int | None:
    """The window of a function made by transformers' `sliding_window_overlay`, else None."""
    window = _closure(mask_function).get("sliding_window")
    made_by_overlay = getattr(mask_function, "__code__", None) is _code_of("sliding_window_overlay")
    return window if made_by_overlay and isinstance(window, int) and window > 0 else None


def _closure(function: Callable) -> dict[str, Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    return {name: cell.cell_contents for name, cell in zip(names, cells)}


@functools.cache
def _code_of(maker: str) -> Any:
    """The code that every function made by this maker of transformers' mask functions shares."""
    from transformers import masking_utils

    makers: dict[str, Callable[[], Callable]] = {
        "and_masks": lambda: masking_utils.and_masks(masking_utils.causal_mask_function),
        "sliding_window_overlay": lambda: masking_utils.sliding_window_overlay(1),
    }
    return makers[maker]().__code__
