"""The QF layer: its equations, what it reads, and what padding may not change."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.errors import VkitError
from vkit.models.qf import Attention, QFLayer, masked_mean

DT, SIZES = 6, (5, 3)  # text width; widths of two backbones' patches


def layer(variant: str, **options: object) -> QFLayer:
    torch.manual_seed(0)
    sizes = SIZES if variant == "tokens" else 7
    return QFLayer(DT, sizes, variant, hidden=9, **options).double().eval()


def inputs(variant: str, batch: int = 3, text_tokens: int = 5, seed: int = 1) -> tuple:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    text = draw(batch, text_tokens, DT)
    image = draw(batch, 7) if variant == "paper" else [draw(batch, 4, SIZES[0]), draw(batch, 9, SIZES[1])]
    lengths = torch.randint(1, text_tokens + 1, (batch, 1), generator=generator)
    return text, image, torch.arange(text_tokens) < lengths


def explicit_attention(module: Attention, query: torch.Tensor, sources: list, mask=None) -> torch.Tensor:
    """One item, one head, one query at a time, with the softmax written out."""
    result = torch.zeros_like(query)
    size = query.shape[-1] // module.heads
    for item in range(len(query)):
        q = module.query(query[item])
        keys = torch.cat([linear(x[item]) for linear, x in zip(module.key, sources)])
        values = torch.cat([linear(x[item]) for linear, x in zip(module.value, sources)])
        for head in range(module.heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(q)):
                weights = torch.exp(keys[:, part] @ q[t, part] / math.sqrt(size))
                if mask is not None:
                    weights = weights * mask[item]
                result[item, t, part] = weights @ values[:, part] / weights.sum()
    return module.output(result)


def layer_norm(norm: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    deviation = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + norm.eps)
    return (x - x.mean(-1, keepdim=True)) / deviation * norm.weight + norm.bias


def feed_forward(module: QFLayer, x: torch.Tensor) -> torch.Tensor:
    h = x @ module.expand.weight.T + module.expand.bias
    h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
    return layer_norm(module.norm, x + h @ module.contract.weight.T + module.contract.bias)


def mean_of_real(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.stack([item[real].mean(0) for item, real in zip(states, mask)])


@torch.no_grad()
def test_paper_is_the_equation_of_the_paper():
    module, (text, r1, mask) = layer("paper"), inputs("paper")
    attended = explicit_attention(module.self_attention, text, [text], mask)
    x = explicit_attention(module.cross_attention, attended, [r1[:, None]])
    expected = feed_forward(module, mean_of_real(x, mask))
    torch.testing.assert_close(module(text, r1, mask), expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 99))
def test_tokens_is_the_equation_of_its_docstring(batch, text_tokens, seed):
    module, (text, patches, mask) = layer("tokens"), inputs("tokens", batch, text_tokens, seed)
    normed = [layer_norm(norm, x) for norm, x in zip(module.patch_norms, patches)]
    s = layer_norm(module.self_norm, text + explicit_attention(module.self_attention, text, [text], mask))
    x = layer_norm(module.cross_norm, s + explicit_attention(module.cross_attention, s, normed))
    expected = mean_of_real(feed_forward(module, x), mask)
    torch.testing.assert_close(module(text, patches, mask), expected, rtol=1e-11, atol=1e-11)


@torch.no_grad()
def test_paper_ignores_the_text_and_tokens_does_not():
    for variant, reads_text in (("paper", False), ("tokens", True)):
        module, (text, image, mask) = layer(variant), inputs(variant)
        difference = (module(text, image, mask) - module(text.flip(0) * 3, image, mask)).abs().max()
        assert bool(difference > 1e-3) is reads_text, f"{variant}: {difference}"


def test_paper_teaches_nothing_to_the_layers_that_read_the_text():
    module, (text, r1, mask) = layer("paper"), inputs("paper")
    (module(text, r1, mask) * torch.arange(DT)).sum().backward()
    cross = module.cross_attention
    for part in (module.self_attention, cross.query, cross.key):
        for parameter in part.parameters():
            assert parameter.grad.abs().max() < 1e-15
    assert all(parameter.grad.abs().max() > 1e-3 for parameter in cross.value.parameters())


def test_tokens_teaches_every_layer():
    module, (text, patches, mask) = layer("tokens"), inputs("tokens")
    (module(text, patches, mask) * torch.arange(DT)).sum().backward()
    for name, parameter in module.named_parameters():
        if ".key." in name and name.endswith("bias") and "self_attention" in name:
            continue  # the same for every key: a softmax does not see it
        assert parameter.grad.abs().max() > 1e-9, name


@torch.no_grad()
@pytest.mark.parametrize("variant", ["paper", "tokens"])
def test_padded_text_changes_nothing(variant):
    module, (text, image, mask) = layer(variant), inputs(variant, batch=4, text_tokens=6)
    assert not mask.all()
    expected = module(text, image, mask)
    spoiled = torch.where(mask[..., None], text, torch.full_like(text, 1e3))
    torch.testing.assert_close(module(spoiled, image, mask), expected, rtol=0, atol=0)
    longer, longer_mask = F.pad(text, (0, 0, 0, 4), value=-7.0), F.pad(mask, (0, 4))
    torch.testing.assert_close(module(longer, image, longer_mask), expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_tokens_reads_each_backbone_and_not_the_order_of_patches():
    module, (text, patches, mask) = layer("tokens"), inputs("tokens")
    expected = module(text, patches, mask)
    shuffled = [states.flip(1) for states in patches]
    torch.testing.assert_close(module(text, shuffled, mask), expected, rtol=1e-12, atol=1e-12)
    for number in range(2):
        changed = list(patches)
        changed[number] = patches[number].roll(1, 0)
        assert (module(text, changed, mask) - expected).abs().max() > 1e-4


@torch.no_grad()
def test_tokens_is_not_led_by_the_scale_of_a_backbone():
    module, (text, patches, mask) = layer("tokens", eps=1e-12), inputs("tokens")
    louder = [patches[0] * 100, patches[1]]
    torch.testing.assert_close(module(text, louder, mask), module(text, patches, mask), rtol=1e-6, atol=1e-8)


def test_dropout_acts_in_training_only():
    module, (text, patches, mask) = layer("tokens", dropout=0.5), inputs("tokens")
    torch.testing.assert_close(module(text, patches, mask), module(text, patches, mask), rtol=0, atol=0)
    module.train()
    assert (module(text, patches, mask) - module(text, patches, mask)).abs().max() > 1e-3


def test_half_precision_stays_near_float64():
    module, (text, patches, mask) = layer("tokens"), inputs("tokens")
    expected = module(text, patches, mask)
    module = module.to(torch.bfloat16)
    result = module(text.bfloat16(), [states.bfloat16() for states in patches], mask)
    assert result.dtype == torch.bfloat16
    assert (result.double() - expected).abs().max() < 0.05 * expected.abs().max()


def test_masked_mean_counts_real_tokens_only():
    states, mask = (
        torch.randn(3, 5, 2),
        torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 1]]).bool(),
    )
    torch.testing.assert_close(masked_mean(states, mask), mean_of_real(states, mask))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((DT, 7, "plain"), "no QF layer is called 'plain'"),
        ((DT, (7, 3), "paper"), "one image size for paper"),
        ((DT, 7, "tokens"), "one for each backbone"),
        ((7, 7, "paper"), "2 heads do not divide the text size 7"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(VkitError, match=message):
        QFLayer(*arguments)


def test_an_image_of_the_other_variant_is_refused():
    text, patches, mask = inputs("tokens")
    with pytest.raises(VkitError, match="the paper layer got a list"):
        layer("paper")(text, patches, mask)
    with pytest.raises(VkitError, match="the tokens layer got a Tensor"):
        layer("tokens")(text, patches[0], mask)
