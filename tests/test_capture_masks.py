"""`CausalMask` is transformers' own mask without its matrix; every other mask is transformers' own matrix."""

import pytest
import torch
from transformers import masking_utils
from transformers.masking_utils import sdpa_mask

from vkit.attention.masks import CausalMask, capture_mask, causal_window, visibility
from vkit.kernels.attention_reference import visible_keys

CAUSAL = masking_utils.causal_mask_function


def both(**options):
    """Our mask, and transformers' matrix for the same arguments."""
    return capture_mask(**options), sdpa_mask(**options, allow_is_causal_skip=False)


def padding(batch, length, side):
    column = torch.arange(length)
    lengths = torch.arange(batch)[:, None] * 2
    return column >= lengths if side == "left" else column < length - lengths


@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("window", [None, 1, 4, 100])
@pytest.mark.parametrize(("queries", "earlier"), [(9, 0), (1, 6), (4, 5)])
def test_causal_masks_stay_unwritten_and_say_the_same(side, window, queries, earlier):
    function = CAUSAL if window is None else masking_utils.sliding_window_causal_mask_function(window)
    keys = queries + earlier
    ours, theirs = both(
        batch_size=3,
        q_length=queries,
        kv_length=keys,
        q_offset=earlier,
        mask_function=function,
        attention_mask=None if side is None else padding(3, keys, side),
    )
    assert isinstance(ours, CausalMask)
    options = visibility(ours, queries, keys, is_causal=True)
    assert ours.dense is None
    assert torch.equal(visible_keys(queries, keys, **options).expand(3, 1, queries, keys), theirs)
    assert torch.equal(ours.write_out(), theirs)


def test_a_window_over_everything_is_no_window():
    ours, _ = both(
        batch_size=1,
        q_length=5,
        kv_length=5,
        mask_function=masking_utils.sliding_window_causal_mask_function(5),
    )
    assert ours.window is None


@pytest.mark.parametrize(
    "function",
    [
        masking_utils.or_masks(
            CAUSAL, masking_utils.blockwise_overlay(torch.tensor([[-1, 0, 0, 0, -1, -1]]))
        ),
        masking_utils.chunked_causal_mask_function(3, torch.zeros(1, dtype=torch.long)),
        masking_utils.and_masks(
            CAUSAL, masking_utils.packed_sequence_mask_function(torch.tensor([[0, 0, 0, 1, 1, 1]]))
        ),
        masking_utils.bidirectional_mask_function,
        masking_utils.sliding_window_bidirectional_mask_function(2),
        masking_utils.sliding_window_overlay(2),
        lambda batch, head, query, key: key <= query,
    ],
    ids=["image block", "chunks", "packed", "bidirectional", "two-sided window", "window alone", "unknown"],
)
def test_every_other_mask_is_the_matrix_of_transformers(function):
    ours, theirs = both(batch_size=1, q_length=6, kv_length=6, mask_function=function)
    assert causal_window(function) is None
    assert type(ours) is torch.Tensor
    assert torch.equal(ours, theirs)


def test_a_static_cache_longer_than_the_sequence_is_the_matrix_of_transformers():
    ours, theirs = both(batch_size=1, q_length=4, kv_length=10, mask_function=CAUSAL)
    assert type(ours) is torch.Tensor
    assert torch.equal(ours, theirs)


def test_a_model_may_slice_a_causal_mask():
    ours, theirs = both(batch_size=1, q_length=5, kv_length=5, mask_function=CAUSAL)
    assert torch.equal(ours[:, :, 1:, :4], theirs[:, :, 1:, :4])
    assert torch.equal(torch.where(ours, 0.0, -1.0), torch.where(theirs, 0.0, -1.0))


def test_a_model_may_change_a_causal_mask_in_place():
    ours, theirs = both(batch_size=1, q_length=5, kv_length=5, mask_function=CAUSAL)
    for mask in (ours, theirs):
        mask[:, :, 3, 2] = False
        mask &= torch.tensor([True, False, True, True, True])
    options = visibility(ours, 5, 5, is_causal=True)
    assert torch.equal(visible_keys(5, 5, **options), theirs)


def test_no_mask_means_what_the_module_says():
    assert visibility(None, 5, 5, is_causal=True) == {"causal": True}
    assert visibility(None, 1, 5, is_causal=True) == {"causal": False}  # one query sees what there is
    assert visibility(None, 5, 5, is_causal=False) == {"causal": False}
    with pytest.raises(ValueError, match="earlier keys and no mask"):
        visibility(None, 3, 5, is_causal=True)


@pytest.mark.parametrize("low", [torch.finfo(torch.float16).min, -torch.inf])
def test_additive_masks_become_boolean(low):
    mask = torch.tensor([[[[0.0, low], [0.0, 0.0]]]], dtype=torch.float16)
    assert torch.equal(visibility(mask, 2, 2, is_causal=True)["mask"], mask == 0)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (torch.full((1, 1, 2, 2), -0.5), "adds a bias"),
        (torch.ones(1, 1, 2, 2, dtype=torch.long), "neither boolean nor additive"),
        (torch.ones(1, 2), r"a Tensor \(1, 2\), not a tensor \(B, H, Tq, Tk\)"),
        (CausalMask((1, 1, 3, 3), "cpu", None, None), "3 queries and 3 keys, not 2 and 2"),
    ],
)
def test_masks_that_cannot_be_followed(mask, problem):
    with pytest.raises(ValueError, match=problem):
        visibility(mask, 2, 2, is_causal=True)
