"""A vision tower that learns to read from scratch in minutes: three convolutions, then attention on a grid.

    tower = ConvVisionTower(ConvVisionConfig())
    tower(pixel_values)                      # (N, 3, 64, 64) -> (N, 16, 256)

    (N, 3, H, H) -- 3 convolutions of stride 2 --> cells (N, (H/8)^2, D/4) -- attention layers -->
    2 x 2 cells side by side in one token: (N, (H/16)^2, D)

A patch embedding needs hundreds of millions of pictures before it reads print; a convolutional stem needs a
few thousand. Used by the ``tiny`` preset in SigLIP's place.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig

STRIDE = 8  # pixels along each side of a cell


class ConvVisionConfig(PretrainedConfig):
    """Sizes of the tower, under the names of transformers' vision configurations.

    hidden_size: of an image token, which is four cells. intermediate_size: of a layer's MLP.
    patch_size: pixels along each side of an image token; always two cells.
    """

    model_type = "conv_vision_model"

    def __init__(
        self,
        hidden_size: int = 256,
        intermediate_size: int = 128,
        num_hidden_layers: int = 1,
        num_attention_heads: int = 4,
        image_size: int = 64,
        patch_size: int = 2 * STRIDE,
        **kwargs: Any,
    ) -> None:
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.image_size = image_size
        self.patch_size = patch_size
        super().__init__(**kwargs)
        if patch_size != 2 * STRIDE or image_size % patch_size:
            raise ValueError(
                f"patch_size must be {2 * STRIDE} and image_size a multiple of it, not {patch_size} and"
                f" {image_size}"
            )
        if hidden_size % (4 * num_attention_heads):
            raise ValueError(
                f"hidden_size {hidden_size} must be a multiple of four times the {num_attention_heads} heads"
            )


class ConvVisionTower(nn.Module):
    """Pictures (N, 3, H, H) to image tokens (N, (H / 16)^2, hidden_size), row by row."""

    def __init__(self, config: ConvVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size // 4
        self.side = config.image_size // STRIDE
        self.stem = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in ((3, width // 2), (width // 2, width), (width, width))
        )
        self.position_embedding = nn.Embedding(self.side**2, width)
        self.layers = nn.ModuleList(
            _Layer(width, config.intermediate_size, config.num_attention_heads)
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        hidden = pixel_values
        for convolution in self.stem:
            hidden = F.relu(convolution(hidden))
        cells = hidden.flatten(2).transpose(1, 2) + self.position_embedding.weight  # (N, side^2, width)
        for layer in self.layers:
            cells = layer(cells)
        half = self.side // 2
        blocks = cells.unflatten(1, (half, 2, half, 2)).permute(0, 1, 3, 2, 4, 5)
        return self.norm(blocks.reshape(len(cells), half * half, -1))


class _Layer(nn.Module):
    """A pre-norm transformer layer without a mask."""

    def __init__(self, width: int, intermediate: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, intermediate)
        self.fc2 = nn.Linear(intermediate, width)

    def forward(self, hidden: Tensor) -> Tensor:
        # (3, N, heads, cells, width / heads)
        qkv = self.qkv(self.norm1(hidden)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv.unbind())
        hidden = hidden + self.proj(mixed.transpose(1, 2).flatten(2))
        return hidden + self.fc2(F.gelu(self.fc1(self.norm2(hidden)), approximate="tanh"))
