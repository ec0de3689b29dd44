"""Layers and decoders of all puzzles in one product, against one puzzle at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vkit.models.smarter_decoders import MLPDecoders, SequenceDecoders
from vkit.models.smarter_heads import ClassHeads, GroupedLinear, group_rows

# The heads ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_grouped_product_is_a_loop_over_rows_with_its_gradients(num_heads, heads):
    head = torch.tensor(heads) % num_heads
    layer = GroupedLinear(num_heads, 5, 3).double()
    rows = torch.randn(len(head), 5, dtype=torch.float64, requires_grad=True)
    grouping = group_rows(head, num_heads)
    together = grouping.gather(layer(grouping.spread(rows), grouping))
    alone = torch.stack([row @ layer.weight[g] + layer.bias[g] for row, g in zip(rows, head)])
    torch.testing.assert_close(together, alone)

    wanted = (rows, layer.weight, layer.bias)
    direction = torch.randn_like(together)
    grads = torch.autograd.grad(together, wanted, direction)
    torch.testing.assert_close(grads, torch.autograd.grad(alone, wanted, direction))
    for unused in set(range(num_heads)) - set(head.tolist()):
        assert not grads[1][unused].any()
        assert not grads[2][unused].any()


def test_few_heads_of_many_are_run_without_the_others():
    assert group_rows(torch.tensor([6, 6, 2]), 9).shape == (2, 2)
    assert group_rows(torch.tensor([6, 6, 2, 0, 4, 8]), 9).shape == (9, 2)


def test_class_heads_end_where_their_puzzle_does():
    layer = ClassHeads(4, (3, 1, 5)).double()
    rows, head = torch.randn(4, 4, dtype=torch.float64), torch.tensor([2, 0, 1, 0])
    logits = layer(rows, head)
    start = {0: 0, 1: 3, 2: 4}
    for row, g, scores in zip(rows, head.tolist(), logits):
        own = slice(start[g], start[g] + (3, 1, 5)[g])
        expected = layer.weight[own] @ row + layer.bias[own]
        torch.testing.assert_close(scores[: len(expected)], expected)
        assert scores[len(expected) :].isneginf().all()


# The decoders -------------------------------------------------------------------------------------------


def test_mlp_decoder_is_three_linear_layers_with_gelu():
    decoders = MLPDecoders(6, (3, 5)).double()
    rows, head = torch.randn(5, 6, dtype=torch.float64), torch.tensor([1, 0, 1, 1, 0])
    for row, g, logits in zip(rows, head, decoders(rows, head)):
        x = nn.functional.gelu(row @ decoders.first.weight[g] + decoders.first.bias[g])
        x = nn.functional.gelu(x @ decoders.second.weight[g] + decoders.second.bias[g])
        own = slice(0, 3) if g == 0 else slice(3, 8)
        expected = decoders.last.weight[own] @ x + decoders.last.bias[own]
        torch.testing.assert_close(logits[: len(expected)], expected)


@pytest.mark.parametrize(("cell", "peer"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_sequence_decoder_is_pytorchs_cell_fed_the_same_vector_at_each_step(cell, peer):
    decoders = SequenceDecoders(6, (3, 5), cell, steps=10).double()
    rows, head = torch.randn(4, 6, dtype=torch.float64), torch.tensor([1, 0, 1, 1])
    logits = decoders(rows, head)
    assert logits.shape == (4, 10, 5)
    for g, own in ((0, slice(0, 3)), (1, slice(3, 8))):
        alone = peer(6, 6, batch_first=True).double()
        with torch.no_grad():
            alone.weight_ih_l0.copy_(decoders.input.weight[g].T)
            alone.weight_hh_l0.copy_(decoders.recurrent.weight[g].T)
            alone.bias_ih_l0.copy_(decoders.input.bias[g])
            alone.bias_hh_l0.copy_(decoders.recurrent.bias[g])
        states, _ = alone(rows[head == g][:, None].expand(-1, 10, -1))
        expected = states @ decoders.last.weight[own].T + decoders.last.bias[own]
        torch.testing.assert_close(logits[head == g][..., : expected.shape[-1]], expected)
