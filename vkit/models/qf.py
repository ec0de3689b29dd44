"""The QF layer: what a question asks of a picture, as one vector.

    layer = QFLayer(text_size=768, image_size=(768, 768), variant="tokens")
    r2 = layer(text, [dino_patches, siglip_patches], text_mask)          # (B, 768)

Two variants, with H (B, T, Dt) the text model's states:

``paper``, as the paper writes it and its released code computes it; r1 (B, Di) is one vector a picture:

    X  = mean_t CrossAttention(query = SelfAttention(H), key = value = r1)
    r2 = LayerNorm(X + Drop(FC(GELU(FC(X)))))

With a single key the softmax is 1 whatever the query, so X = W_V r1 + b: **the output does not depend on the
text**, and self-attention, queries and keys get no gradient. It is kept to be compared with.

``tokens``, what the paper describes: words look at patches V_k (B, P_k, D_k) of every backbone k, and each
step adds to the one before:

    S  = LayerNorm(H + Drop(SelfAttention(H)))
    X  = LayerNorm(S + Drop(CrossAttention(query = S, key = value = [LayerNorm(V_1), LayerNorm(V_2), ...])))
    R  = LayerNorm(X + Drop(FC(GELU(FC(X)))))
    r2 = mean_t R

Means and softmaxes run over real text tokens only. Source: Roberts, "Smart Vision-Language Reasoners",
section 3 and appendix A.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkit.errors import VkitError

VARIANTS = ("paper", "tokens")


class QFLayer(nn.Module):
    """Text states and a picture to one vector; see the equations of this file.

    Args:
        text_size: Dt, width of the text states and of the result; a multiple of ``heads``.
        image_size: Di, width of the image vector (``paper``), or D_k of each backbone's patches (``tokens``).
        variant: ``paper`` or ``tokens``.
        heads: of both attentions.
        hidden: width between the two fully connected layers.
        dropout: probability, where the equations say Drop.
        eps: of every LayerNorm.

    Raises:
        VkitError: the sizes do not go with the variant or the heads.

    >>> layer = QFLayer(text_size=8, image_size=(6, 4), variant="tokens", hidden=16).eval()
    >>> text, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    >>> layer(text, [torch.randn(2, 9, 6), torch.randn(2, 7, 4)], mask).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        text_size: int = 768,
        image_size: int | Sequence[int] = 128,
        variant: str = "paper",
        heads: int = 2,
        hidden: int = 256,
        dropout: float = 0.2,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise VkitError(f"no QF layer is called {variant!r}; choose one of {', '.join(VARIANTS)}")
        if isinstance(image_size, int) != (variant == "paper"):
            raise VkitError(
                f"the {variant} QF layer takes one image size for paper and one for each backbone for tokens;"
                f" got {image_size!r}"
            )
        if text_size % heads:
            raise VkitError(f"{heads} heads do not divide the text size {text_size}; choose others")
        self.variant = variant
        sizes = (image_size,) if isinstance(image_size, int) else tuple(image_size)
        tokens = variant == "tokens"
        self.self_attention = Attention(text_size, (text_size,), heads, output=tokens)
        self.cross_attention = Attention(text_size, sizes, heads, output=tokens)
        if tokens:
            # Backbones differ in scale by an order of magnitude; the louder one must not win by that.
            self.patch_norms = nn.ModuleList(nn.LayerNorm(size, eps=eps) for size in sizes)
            self.self_norm = nn.LayerNorm(text_size, eps=eps)
            self.cross_norm = nn.LayerNorm(text_size, eps=eps)
        self.expand = nn.Linear(text_size, hidden)  # 768 -> 256
        self.contract = nn.Linear(hidden, text_size)  # 256 -> 768
        self.norm = nn.LayerNorm(text_size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, image: Tensor | Sequence[Tensor], text_mask: Tensor) -> Tensor:
        """r2, pooled over the text.

        Args:
            text: (B, T, Dt) states of the text tokens; finite at padding too.
            image: (B, Di) for ``paper``; one (B, P_k, D_k) for each backbone for ``tokens``.
            text_mask: (B, T) bool, True at real tokens, one of them at least in each row.

        Returns:
            (B, Dt).

        Raises:
            VkitError: ``image`` is not what the variant reads.
        """
        if isinstance(image, Tensor) != (self.variant == "paper"):
            raise VkitError(
                "the paper QF layer reads one image vector (B, Di), the tokens QF layer a list of patches"
                f" (B, P, D); the {self.variant} layer got a {type(image).__name__}"
            )
        if isinstance(image, Tensor):
            attended = self.self_attention(text, [text], text_mask)  # (B, T, Dt)
            x = masked_mean(self.cross_attention(attended, [image[:, None]]), text_mask)  # (B, Dt)
            return self._feed_forward(x)
        patches = [norm(states) for norm, states in zip(self.patch_norms, image, strict=True)]
        s = self.self_norm(text + self.dropout(self.self_attention(text, [text], text_mask)))  # (B, T, Dt)
        x = self.cross_norm(s + self.dropout(self.cross_attention(s, patches)))  # (B, T, Dt)
        return masked_mean(self._feed_forward(x), text_mask)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.contract(F.gelu(self.expand(x)))))


class Attention(nn.Module):
    """Multi-head attention whose keys may come from several sources of different widths, side by side.

    ``output``: a last linear layer over the joined heads; the paper's released code has none.
    """

    def __init__(self, size: int, source_sizes: Sequence[int], heads: int, *, output: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.ModuleList(nn.Linear(source, size) for source in source_sizes)
        self.value = nn.ModuleList(nn.Linear(source, size) for source in source_sizes)
        self.output = nn.Linear(size, size) if output else nn.Identity()

    def forward(self, query: Tensor, sources: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """(B, T, D) from queries (B, T, D), sources (B, P_k, D_k) and mask (B, sum P_k) bool, True: seen."""
        keys = torch.cat([linear(x) for linear, x in zip(self.key, sources, strict=True)], 1)
        values = torch.cat([linear(x) for linear, x in zip(self.value, sources, strict=True)], 1)
        attended = F.scaled_dot_product_attention(
            self._split(self.query(query)),  # (B, heads, T, D / heads)
            self._split(keys),
            self._split(values),
            attn_mask=None if mask is None else mask[:, None, None, :],
        )
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens: (B, D) from states (B, T, D) and mask (B, T) bool.

    >>> masked_mean(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([[True, True, False]])).item()
    3.0
    """
    weights = mask.to(states.dtype) / mask.sum(1, keepdim=True)  # (B, T)
    return (weights[:, None] @ states).squeeze(1)
