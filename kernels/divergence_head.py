"""Products with the language model's head in the precision that the divergence promises.

    head = Head(weight, bias, hidden.dtype)
    head.logits(hidden, out=logits)
    grad_logits = head.for_products(grad)
    grad_hidden = head.hidden_gradient(grad_logits)

Logits are float32, or float64 where an input is. A GPU multiplies bfloat16 and float16 itself and adds in
float32. Elsewhere, and where hidden states and weight differ, both are multiplied in float32: the hidden
states of a chunk are copied so, and the weight a block of the vocabulary at a time, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_MIB = 16  # of weight that is copied in another dtype
WORDS_PER_SUM = 8192  # a product adds so many in a row at most: one of few rows would lose digits with more


class Head:
    """A head with weight (V, D) and bias (V,), for hidden states (n, D) of one dtype."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        hidden_dtype: torch.dtype,
        precision: torch.dtype | None = None,
    ) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        if precision is None:
            widest = torch.promote_types(weight.dtype, hidden_dtype)
            precision = torch.promote_types(widest, torch.float32)
        self.precision = precision
        half = weight.dtype == hidden_dtype and weight.dtype in (torch.bfloat16, torch.float16)
        self.multiplies_half = half and weight.is_cuda and precision == torch.float32
        # Gradients of logits below 6e-8 would be zero in float16.
        self.multiplies_half_gradients = self.multiplies_half and weight.dtype == torch.bfloat16

    def logits(self, hidden: Tensor, out: Tensor) -> None:
        """Writes hidden @ weight.T + bias to ``out`` (n, V)."""
        if self.multiplies_half:
            torch.mm(hidden, self.weight.mT, out_dtype=self.precision, out=out)
            if self.bias is not None:
                out += self.bias
            return
        hidden = hidden.to(self.precision)
        for words, weight in self._blocks():
            if self.bias is None:
                torch.mm(hidden, weight.mT, out=out[:, words])
            else:
                torch.addmm(self.bias[words].to(self.precision), hidden, weight.mT, out=out[:, words])

    def for_products(self, grad_logits: Tensor, spare: Tensor | None = None) -> Tensor:
        """The gradient of the logits in the dtype in which it is multiplied.

        ``spare``, as grad_logits, is memory that is not needed any more.
        """
        if not self.multiplies_half_gradients:
            return grad_logits
        dtype = self.weight.dtype
        if spare is None:
            return grad_logits.to(dtype)
        return spare.view(dtype)[:, : spare.shape[1]].copy_(grad_logits)

    def hidden_gradient(self, grad_logits: Tensor) -> Tensor:
        """grad_logits @ weight, (n, D)."""
        if self.multiplies_half_gradients:
            return torch.mm(grad_logits, self.weight)
        total = grad_logits.new_zeros(grad_logits.shape[0], self.weight.shape[1])
        for words, weight in self._blocks(WORDS_PER_SUM):
            total += grad_logits[:, words] @ weight
        return total

    def add_weight_gradient(self, grad_logits: Tensor, hidden: Tensor, total: Tensor) -> None:
        """Adds grad_logits.T @ hidden to ``total`` (V, D), in float32 or more."""
        if self.multiplies_half_gradients:
            torch.addmm(total, grad_logits.mT, hidden, out_dtype=self.precision, out=total)
        else:
            total.addmm_(grad_logits.mT, hidden.to(self.precision))

    def _blocks(self, most: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """The weight in the precision, ``most`` words at a time; fewer where it must be copied."""
        vocabulary, size = self.weight.shape
        words = vocabulary if most is None else most
        if self.weight.dtype != self.precision:
            block_words = int(BLOCK_MIB * 2**20 / max(1, size * self.precision.itemsize))
            words = max(1, min(words, block_words))
        for start in range(0, vocabulary, words):
            block = slice(start, min(start + words, vocabulary))
            yield block, self.weight[block].to(self.precision)
