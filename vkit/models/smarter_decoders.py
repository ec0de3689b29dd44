"""The decoders of SmarterVLM, one for each puzzle: from the fused vector of a question to its answer.

    decoders = MLPDecoders(128, classes=(5, 12, 40))
    logits = decoders(fused, puzzle)                         # (N, 128), (N,) -> (N, 40)
    steps = SequenceDecoders(128, classes=(27, 6), cell="gru")
    logits = steps(fused, puzzle)                            # (N, 128), (N,) -> (N, 10, 27)

`MLPDecoders`: three linear layers with GELU between. `SequenceDecoders`: a GRU (or an LSTM, the baseline's)
that reads the same vector at each of 10 steps, h_t = GRU(x, h_{t-1}), h_0 = 0, and a linear layer from its
state. The released code has no such layer: its state, as wide as the classes, is taken for the logits, which
tanh keeps within -1..1, so that no class can be more than e^2 times as likely as another.
Source: Roberts, "Smart Vision-Language Reasoners", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkit.models.smarter_heads import ClassHeads, GroupedLinear, group_rows

CELLS = {"gru": 3, "lstm": 4}  # gates of each


class MLPDecoders(nn.Module):
    """Linear, GELU, Linear, GELU, Linear, one of each for every puzzle."""

    def __init__(self, size: int, classes: Sequence[int]) -> None:
        super().__init__()
        self.first = GroupedLinear(len(classes), size, size)  # 128 -> 128
        self.second = GroupedLinear(len(classes), size, size)  # 128 -> 128
        self.last = ClassHeads(size, classes)  # 128 -> classes of the puzzle

    def forward(self, rows: Tensor, head: Tensor) -> Tensor:
        """Logits (N, C_max), -inf beyond a puzzle's classes, of rows (N, size) and head (N,) on the CPU."""
        grouping = group_rows(head, len(self.first.weight), rows.device)
        x = F.gelu(self.first(grouping.spread(rows), grouping))
        x = F.gelu(self.second(x, grouping))
        return self.last(grouping.gather(x), head.to(rows.device))


class SequenceDecoders(nn.Module):
    """A recurrent cell and a linear layer for every puzzle whose answer is a sequence.

    Gates stand in PyTorch's order: reset, update, new for the GRU; input, forget, cell, output for the LSTM.
    """

    def __init__(self, size: int, classes: Sequence[int], cell: str = "gru", steps: int = 10) -> None:
        super().__init__()
        self.cell, self.steps = cell, steps
        self.input = GroupedLinear(len(classes), size, CELLS[cell] * size)
        self.recurrent = GroupedLinear(len(classes), size, CELLS[cell] * size)
        self.last = ClassHeads(size, classes)

    def forward(self, rows: Tensor, head: Tensor) -> Tensor:
        """Logits (N, steps, C_max) of rows (N, size) and head (N,) int64 on the CPU."""
        grouping = group_rows(head, len(self.input.weight), rows.device)
        x = grouping.spread(rows)  # (U, n, size)
        from_input = self.input(x, grouping)  # the same at every step
        advance = _gru_step if self.cell == "gru" else _lstm_step
        state = memory = torch.zeros_like(x)
        states = []
        for _ in range(self.steps):
            state, memory = advance(from_input, self.recurrent(state, grouping), state, memory)
            states.append(grouping.gather(state))
        joined = torch.stack(states, 1).flatten(0, 1)  # (N * steps, size)
        logits = self.last(joined, head.to(rows.device).repeat_interleave(self.steps))
        return logits.unflatten(0, (len(rows), self.steps))


def _gru_step(from_input: Tensor, from_state: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    input_reset, input_update, input_new = from_input.chunk(3, -1)
    state_reset, state_update, state_new = from_state.chunk(3, -1)
    reset = torch.sigmoid(input_reset + state_reset)
    update = torch.sigmoid(input_update + state_update)
    new = torch.tanh(input_new + reset * state_new)
    return torch.lerp(new, state.to(new.dtype), update), memory


def _lstm_step(
    from_input: Tensor, from_state: Tensor, state: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    enter, forget, cell, leave = (from_input + from_state).chunk(4, -1)
    memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(cell)
    return torch.sigmoid(leave) * torch.tanh(memory), memory
