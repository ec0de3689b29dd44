"""What `capture` measures is what eager attention of the same model computes, whatever the family does.

The oracle is transformers' eager attention with `output_attentions=True`: whole matrices, summed by segment.
"""

import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch
from tiny_vlms import IMAGE, IMAGE_TOKEN, LANGUAGE_MODELS, TEXT, VLMS, build
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

from vkit.attention.capture import capture
from vkit.errors import VkitError

TOLERANCE = 1e-5
TEXT_PROMPTS = [[5, 6, 7, 8, 9] * 2, [15, 16, 17, 18, 19, 20, 21] * 2]
IMAGE_PROMPTS = [[5, IMAGE, 6, 7, IMAGE, 8, 9], [8, 9, IMAGE, 10, IMAGE, 11, 12, 13, 14, 15]]


def segments_of(input_ids):
    """0 at images, 1 and 2 in turn at text, -1 (not reported) at every fifth column of text."""
    column = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    text = torch.where(column % 5 == 4, -1, 1 + column // 6 % 2)
    return torch.where(input_ids == IMAGE_TOKEN, 0, text)


def eager(model, inputs):
    """Attention (L, B, H, T, T) and logits of the same weights under eager attention."""
    before = model.get_decoder().config._attn_implementation
    model.set_attn_implementation({"text_config": "eager", "": "eager"})
    output = model(**inputs, output_attentions=True)
    model.set_attn_implementation({"text_config": before, "": before})
    return torch.stack(output.attentions), output.logits


def mass_of(attention, segment_ids, num_segments):
    membership = torch.nn.functional.one_hot(segment_ids + 1, num_segments + 1)[..., 1:].to(attention.dtype)
    return torch.einsum("lbhqk,bks->lbhqs", attention, membership)


def largest_difference(found, expected, real):
    """Over the rows (B, T) that are no padding; tensors are (B, T, ...)."""
    return (found - expected)[real].abs().max().item()


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("family", [*VLMS, *LANGUAGE_MODELS])
@torch.no_grad()
def test_masses_and_maps_are_those_of_eager_attention(family, padding_side):
    tiny = build(family)
    prompts = IMAGE_PROMPTS if family in VLMS else TEXT_PROMPTS
    inputs = tiny.inputs(prompts, padding_side=padding_side)
    segment_ids, real = segments_of(inputs["input_ids"]), inputs["attention_mask"].bool()
    attention, logits = eager(tiny.model, inputs)
    # far from uniform, so that a wrong mask or scale would show
    assert attention.max(-1).values.mean() > 3 / attention.shape[-1]

    with capture(tiny.model, segment_ids, maps=True, num_segments=3) as record:
        captured_logits = tiny.model(**inputs).logits

    expected = mass_of(attention, segment_ids, 3)
    assert record.mass.shape == expected.shape
    assert record.mass.dtype == record.mean_map.dtype == torch.float32
    by_row = (1, 3, 0, 2, 4)
    assert largest_difference(record.mass.permute(by_row), expected.permute(by_row), real) < TOLERANCE
    assert largest_difference(record.mean_map, attention.mean((0, 2)), real) < TOLERANCE
    assert largest_difference(captured_logits, logits, real) < TOLERANCE


@torch.no_grad()
def test_chosen_rows_are_those_rows_and_an_absent_row_is_zero():
    tiny = build("qwen2-vl")
    inputs = tiny.inputs(IMAGE_PROMPTS)
    segment_ids = segments_of(inputs["input_ids"])
    rows = torch.tensor([[14, 2, -1], [17, 17, 3]])
    attention, _ = eager(tiny.model, inputs)
    expected = mass_of(attention, segment_ids, 3)

    with capture(tiny.model, segment_ids, rows, maps=True) as record:
        tiny.model(**inputs)

    assert record.mass.shape == (3, 2, 4, 3, 3)
    assert record.mean_map.shape == (2, 3, segment_ids.shape[1])
    for item, item_rows in enumerate(rows.tolist()):
        for place, row in enumerate(item_rows):
            mass = expected[:, item, :, row] if row >= 0 else torch.zeros(3, 4, 3)
            mean = attention[:, item, :, row].mean((0, 1)) if row >= 0 else torch.zeros(segment_ids.shape[1])
            torch.testing.assert_close(record.mass[:, item, :, place], mass, atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(record.mean_map[item, place], mean, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_rows_in_one_dimension_are_the_same_for_all_items():
    tiny = build("llama")
    inputs = tiny.inputs(TEXT_PROMPTS)
    segment_ids = segments_of(inputs["input_ids"])
    with capture(tiny.model, segment_ids) as whole:
        tiny.model(**inputs)
    with capture(tiny.model, segment_ids, torch.tensor([7, 3])) as chosen:
        tiny.model(**inputs)
    assert torch.equal(chosen.mass, whole.mass[:, :, :, [7, 3]])
    assert (chosen.num_layers, chosen.num_heads) == (3, 4)


@torch.no_grad()
def test_earlier_keys_in_a_cache_count_as_columns():
    tiny = build("llama")
    inputs = tiny.inputs([list(range(5, 17)), list(range(30, 40))], padding_side="left")
    input_ids, attention_mask = inputs["input_ids"], inputs["attention_mask"]
    segment_ids = segments_of(input_ids)
    with capture(tiny.model, segment_ids) as whole:
        tiny.model(**inputs)

    cache = DynamicCache(config=tiny.model.config)
    tiny.model(input_ids=input_ids[:, :7], attention_mask=attention_mask[:, :7], past_key_values=cache)
    with capture(tiny.model, segment_ids) as record:
        tiny.model(input_ids=input_ids[:, 7:], attention_mask=attention_mask, past_key_values=cache)

    torch.testing.assert_close(record.mass, whole.mass[:, :, :, 7:], atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_sequences_packed_into_one_item_do_not_see_each_other():
    tiny = build("qwen3")
    inputs = {
        "input_ids": torch.arange(5, 18)[None],
        "position_ids": torch.tensor([[*range(6), *range(7)]]),
        "use_cache": False,
    }
    segment_ids = torch.tensor([[0] * 6 + [1] * 7])
    attention, _ = eager(tiny.model, inputs)
    with capture(tiny.model, segment_ids) as record:
        tiny.model(**inputs)
    torch.testing.assert_close(record.mass, mass_of(attention, segment_ids, 2), atol=TOLERANCE, rtol=0)
    assert record.mass[:, :, :, 6:, 0].max() == 0


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@torch.no_grad()
def test_a_mask_of_the_users_own_is_followed(dtype):
    tiny = build("llama")
    seen = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(3)) < 0.5
    seen |= torch.eye(9, dtype=torch.bool)
    additive = torch.zeros(2, 1, 9, 9).masked_fill(~seen, torch.finfo(torch.float32).min)
    input_ids = torch.arange(5, 23).view(2, 9)
    segment_ids = segments_of(input_ids)
    attention, _ = eager(tiny.model, {"input_ids": input_ids, "attention_mask": additive})
    with capture(tiny.model, segment_ids, num_segments=3) as record:
        tiny.model(input_ids=input_ids, attention_mask=seen if dtype == torch.bool else additive)
    torch.testing.assert_close(record.mass, mass_of(attention, segment_ids, 3), atol=TOLERANCE, rtol=0)


def test_masses_carry_the_gradient_of_eager_attention():
    tiny = build("gemma2")
    inputs = tiny.inputs(TEXT_PROMPTS)
    segment_ids, real = segments_of(inputs["input_ids"]), inputs["attention_mask"].bool()
    weights = [layer.self_attn.q_proj.weight for layer in tiny.model.model.layers]
    tiny.model.train()

    def gradients(mass):
        return torch.autograd.grad(mass.permute(1, 3, 0, 2, 4)[real][..., 0].square().sum(), weights)

    expected = gradients(mass_of(eager(tiny.model, inputs)[0], segment_ids, 3))
    with capture(tiny.model, segment_ids, num_segments=3) as record:
        tiny.model(**inputs)
    for found, wanted in zip(gradients(record.mass), expected):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_without_gradients_the_record_keeps_no_graph():
    tiny = build("llama")
    inputs = tiny.inputs(TEXT_PROMPTS)
    with capture(tiny.model, segments_of(inputs["input_ids"]), maps=True) as record:
        tiny.model(**inputs)
    assert not record.mass.requires_grad
    assert not record.mean_map.requires_grad


def test_inference_mode_is_served():
    tiny = build("llama")
    with torch.inference_mode():
        inputs = tiny.inputs(TEXT_PROMPTS)
        rows = torch.tensor([4, 5])
        with capture(tiny.model, segments_of(inputs["input_ids"]), rows, maps=True) as record:
            tiny.model(**inputs)
    assert record.mass.shape == (3, 2, 4, 2, 3)


@torch.no_grad()
def test_half_precision_models_give_masses_in_float32():
    tiny = build("llama")
    inputs = tiny.inputs(TEXT_PROMPTS)
    segment_ids = torch.zeros_like(inputs["input_ids"])
    with capture(tiny.model.bfloat16(), segment_ids) as record:
        tiny.model(**inputs)
    assert record.mass.dtype == torch.float32
    real = record.mass.permute(1, 3, 0, 2, 4)[inputs["attention_mask"].bool()]
    torch.testing.assert_close(real, torch.ones_like(real), atol=1e-5, rtol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation outside the kernels returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        sizes = [t.untyped_storage().nbytes() for t in tensors if type(t) is torch.Tensor]
        self.elements = max([self.elements, *sizes])
        return result


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@torch.no_grad()
def test_no_matrix_of_queries_by_keys_is_made_for_causal_masks_with_padding_and_windows(family):
    decoder = build(family).model.get_decoder()
    length = 512
    input_ids = torch.arange(length)[None] % 140 + 5
    attention_mask = (torch.arange(length) >= 40)[None].long()
    with (
        capture(decoder, torch.arange(length)[None] // 256, torch.tensor([500])),
        LargestTensor() as largest,
    ):
        decoder(input_ids=input_ids, attention_mask=attention_mask)
    assert 0 < largest.elements < length * length  # bytes: not even a boolean one


# What capture leaves behind -------------------------------------------------------------------------------


def implementations(model):
    return {id(m): m.config._attn_implementation for m in model.modules() if hasattr(m, "config")}


@pytest.mark.parametrize("before", ["sdpa", "eager"])
@torch.no_grad()
def test_only_the_decoder_changes_and_everything_is_restored(before):
    tiny = build("qwen2.5-vl")
    tiny.model.set_attn_implementation(before)
    inputs = tiny.inputs(IMAGE_PROMPTS)
    expected, logits = implementations(tiny.model), tiny.model(**inputs).logits
    with capture(tiny.model, segments_of(inputs["input_ids"])):
        assert tiny.model.get_decoder().config._attn_implementation == "vkit_capture"
        assert tiny.model.model.visual.config._attn_implementation == before
        assert tiny.model.config._attn_implementation == before
        tiny.model(**inputs)
    assert implementations(tiny.model) == expected
    assert torch.equal(tiny.model(**inputs).logits, logits)


@torch.no_grad()
def test_an_error_in_the_block_passes_through_and_restores_the_model():
    tiny = build("llama")
    with (
        pytest.raises(ZeroDivisionError),
        capture(tiny.model, torch.zeros(1, 4, dtype=torch.long)) as record,
    ):
        raise ZeroDivisionError
    assert tiny.model.config._attn_implementation == "sdpa"
    tiny.model(input_ids=torch.tensor([[5, 6, 7]]))  # of any length, any number of times
    with pytest.raises(VkitError, match="record is empty"):
        _ = record.mass


@torch.no_grad()
def test_no_model_is_kept_alive():
    tiny = build("llama")
    with capture(tiny.model, torch.zeros(1, 3, dtype=torch.long)):
        tiny.model(input_ids=torch.tensor([[5, 6, 7]]))
    decoder = weakref.ref(tiny.model.get_decoder())
    del tiny
    gc.collect()
    assert decoder() is None


@torch.no_grad()
def test_two_models_can_be_captured_at_once():
    one, two = build("llama"), build("mistral", seed=1)
    inputs = one.inputs(TEXT_PROMPTS)
    segment_ids = segments_of(inputs["input_ids"])
    with capture(one.model, segment_ids) as alone:
        one.model(**inputs)
    with capture(one.model, segment_ids) as first, capture(two.model, segment_ids) as second:
        two.model(**inputs)
        one.model(**inputs)
    assert torch.equal(first.mass, alone.mass)
    assert not torch.allclose(second.mass, alone.mass)


# Whom capture accepts -------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_model_its_decoder_an_adapter_and_a_peft_model_give_the_same_record():
    peft = pytest.importorskip("peft")
    tiny = build("llava")
    inputs = tiny.inputs(IMAGE_PROMPTS)
    segment_ids = segments_of(inputs["input_ids"])

    def mass(of, model=tiny.model):
        with capture(of, segment_ids) as record:
            model(**inputs)
        return record.mass

    expected = mass(tiny.model)
    assert torch.equal(mass(tiny.model.get_decoder()), expected)
    assert torch.equal(mass(SimpleNamespace(decoder=tiny.model.get_decoder())), expected)
    lora = peft.LoraConfig(target_modules=r".*language_model.*\.q_proj", r=2)
    adapted = peft.get_peft_model(tiny.model, lora).eval()  # a fresh adapter adds nothing
    torch.testing.assert_close(mass(adapted, adapted), expected)


@torch.no_grad()
def test_models_that_share_one_configuration_are_told_apart():
    config = LlamaConfig(**TEXT)
    captured, other = (AutoModelForCausalLM.from_config(config) for _ in range(2))
    with (
        pytest.raises(VkitError, match="shares its configuration"),
        capture(captured, torch.zeros(1, 3, dtype=torch.long)),
    ):
        other(input_ids=torch.tensor([[5, 6, 7]]))


def test_transformers_is_imported_only_where_a_model_is_captured():
    code = "import sys, vkit.attention.capture; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
