"""A layer for every puzzle, run as one matrix product over a batch that mixes the puzzles.

    grouping = group_rows(puzzle, num_heads=101)              # puzzle (B,) int64: the head of each row
    layer = GroupedLinear(101, 1536, 128)
    y = grouping.gather(layer(grouping.spread(x), grouping))  # (B, 1536) -> (B, 128)

Row b needs y_b = x_b W_{g(b)} + b_{g(b)}. Gathering a weight for each row would copy B of them (100 MB at
the paper's sizes); a loop over heads would launch 101 small products. Instead the rows of a head are put side
by side, padded to the n of the largest group, and one batched product reads every weight where it lies:

    x (B, in) -- spread --> (U, n, in) @ weight (U, in, out) -- gather --> (B, out)

Padding is zeros on the way in and left behind on the way out, so it adds nothing to a gradient, and a head
whose puzzle is not in the batch gets exactly zero. U is all heads, or, where a batch meets less than half of
them (an evaluation in the order of the puzzles), those it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Grouping:
    """Where each row of a batch stands among the rows of its head.

    heads (U,) int64, the heads in use, or None for all of them in order; slot (B,) int64, the place of row b
    among U * n; shape (U, n).
    """

    heads: Tensor | None
    slot: Tensor
    shape: tuple[int, int]

    def spread(self, rows: Tensor) -> Tensor:
        """(B, D) to (U, n, D), zeros at the places without a row."""
        places = rows.new_zeros(self.shape[0] * self.shape[1], rows.shape[1])
        return places.index_copy(0, self.slot, rows).unflatten(0, self.shape)

    def gather(self, grouped: Tensor) -> Tensor:
        """(U, n, D) back to (B, D)."""
        return grouped.flatten(0, 1).index_select(0, self.slot)

    def select(self, parameter: Tensor) -> Tensor:
        """(G, ...) to (U, ...); no copy where all heads are in use."""
        return parameter if self.heads is None else parameter.index_select(0, self.heads)


def group_rows(head: Tensor, num_heads: int, device: torch.device | str = "cpu") -> Grouping:
    """Group the rows of a batch by head.

    Args:
        head: (B,) int64 on the CPU, B >= 1, each in 0..num_heads-1.
        num_heads: G.
        device: of the rows that will be grouped.

    >>> grouping = group_rows(torch.tensor([2, 0, 2]), num_heads=3)
    >>> grouping.shape, grouping.slot.tolist()
    ((3, 2), [4, 0, 5])
    """
    counts = torch.bincount(head, minlength=num_heads)
    order = head.argsort(stable=True)
    start = counts.cumsum(0) - counts
    rank = torch.empty_like(head)
    rank[order] = torch.arange(len(head)) - start[head[order]]
    used = counts.nonzero().squeeze(1)
    size = int(counts.max())
    if 2 * len(used) >= num_heads:
        return Grouping(None, (head * size + rank).to(device), (num_heads, size))
    place = torch.searchsorted(used, head)
    return Grouping(used.to(device), (place * size + rank).to(device), (len(used), size))


class GroupedLinear(nn.Module):
    """G linear layers of one shape: weight (G, in, out), bias (G, out), initialised as `nn.Linear` is."""

    def __init__(self, num_heads: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(num_heads, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_heads, out_features).uniform_(-bound, bound))

    def forward(self, grouped: Tensor, grouping: Grouping) -> Tensor:
        """(U, n, in) to (U, n, out); what stands at places without a row is not to be read."""
        bias, weight = grouping.select(self.bias), grouping.select(self.weight)
        return torch.baddbmm(bias[:, None], grouped, weight)


class ClassHeads(nn.Module):
    """G linear layers to different numbers of classes, stored end to end: weight (sum C, in), bias (sum C,).

    Puzzles have from two to some thousand classes; padding each to the most would store mostly padding. One
    product scores every class of every puzzle, and each row keeps those of its own.

    >>> ClassHeads(4, (2, 3))(torch.zeros(1, 4), torch.tensor([0])).isinf().tolist()
    [[False, False, True]]
    """

    classes: Tensor
    offset: Tensor

    def __init__(self, in_features: int, classes: Sequence[int]) -> None:
        super().__init__()
        bound, total = in_features**-0.5, sum(classes)
        self.widest = max(classes)
        self.weight = nn.Parameter(torch.empty(total, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(total).uniform_(-bound, bound))
        counts = torch.tensor(classes)
        self.register_buffer("classes", counts, persistent=False)
        self.register_buffer("offset", counts.cumsum(0) - counts, persistent=False)

    def forward(self, rows: Tensor, head: Tensor) -> Tensor:
        """Logits (N, C_max), -inf beyond a head's classes, of rows (N, in) and head (N,) on their device."""
        every = F.linear(rows, self.weight, self.bias)  # (N, sum C)
        column = torch.arange(self.widest, device=rows.device)
        beyond = column >= self.classes[head][:, None]  # (N, C_max)
        own = (self.offset[head][:, None] + column).masked_fill(beyond, 0)
        return every.gather(1, own).masked_fill(beyond, -torch.inf)
