"""LoRA adapters that are trained here: they start at nothing, and are saved, read back and merged exactly."""

import json
from functools import cache

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from tests.test_huggingface import LONG, SHORT, checkpoint
from vkit.errors import VkitError
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.loading import load_model
from vkit.models.lora import adapter_state, add_lora, merge_added, save_adapter
from vkit.models.tiny import build_stand_in, build_tiny
from vkit.models.tinyllava import next_token_loss
from vkit.models.training import choose_trainable, part_of

KINDS = ["phi", "tiny", "llava", "qwen2-vl"]
PHI = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]


def build(kind):
    if kind in ("phi", "tiny"):
        return build_stand_in() if kind == "phi" else build_tiny()
    return load_huggingface(checkpoint(kind), device="cpu")


@cache
def source(kind, folder):
    """A name that load_model reads the same model from."""
    if kind == "phi":
        build(kind).save(folder)
    return {"phi": folder, "tiny": "tiny-random"}.get(kind) or checkpoint(kind)


def stir(model):
    """Give the adapter an effect, as training does."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1


def logits(model):
    batch = model.encode_training([SHORT, LONG], ["x = 3", "y"])
    with torch.no_grad():
        return model.lm_head(model.forward(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_adapter_changes_nothing_and_alone_learns_in_the_language_model(kind):
    model = build(kind)
    before, parts = logits(model), part_of(model)
    frozen = next(name for name, part in parts.items() if part == "connector")
    model.model.get_parameter(frozen).requires_grad_(False)
    layers = add_lora(model, rank=2, alpha=4, dropout=0.5)
    assert torch.equal(logits(model), before)
    learns = {name for name, parameter in model.model.named_parameters() if parameter.requires_grad}
    adapter = {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    others = {name for name, part in parts.items() if part != "language_model"} - {frozen}
    assert learns == adapter | others
    assert set(choose_trainable(model, ["language_model"])) == adapter
    assert all(part_of(model)[name] == "language_model" for name in adapter)


def test_every_linear_layer_of_the_decoder_is_adapted_unless_some_are_named():
    assert {name.rpartition(".")[2] for name in add_lora(build("phi"), 2, 4)} == set(PHI)
    assert len(add_lora(build("phi"), 2, 4)) == 4 * len(PHI)
    layers = add_lora(build("llava"), 2, 4)
    assert len(layers) == 3 * 7  # not those of the same names in the vision tower
    assert all(name.startswith("model.language_model.layers.") for name in layers)
    named = add_lora(build("llava"), 2, 4, targets=["q_proj", "mlp.up_proj"])
    assert {name.rpartition(".")[2] for name in named} == {"q_proj", "up_proj"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_gives_the_same_logits_when_it_is_loaded(kind, tmp_path):
    model = build(kind)
    before = logits(model)
    add_lora(model, rank=2, alpha=6)
    stir(model)
    expected = logits(model)
    save_adapter(model, tmp_path / "adapter")
    again = load_model(source(kind, tmp_path / "base"), adapter=tmp_path / "adapter", device="cpu")
    assert (expected - before).abs().max() > 1e-2
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["phi", "llava"])
def test_peft_itself_loads_a_saved_adapter(kind, tmp_path):
    model = build(kind)
    add_lora(model, rank=2, alpha=6)
    stir(model)
    save_adapter(model, tmp_path)
    plain = build(kind)
    if kind == "phi":
        plain.model.language_model = PeftModel.from_pretrained(plain.model.language_model, tmp_path)
        got = plain.model(**plain.encode([SHORT]).inputs).logits
        expected = model.model(**model.encode([SHORT]).inputs).logits
    else:
        whole = AutoModelForImageTextToText.from_pretrained(checkpoint(kind))
        tuned = PeftModel.from_pretrained(whole, tmp_path)
        got, expected = (m(**model.encode([SHORT]).inputs).logits for m in (tuned, model.model))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_adapter_leaves_a_plain_model_that_can_be_saved(kind, tmp_path):
    model = build(kind)
    names = list(model.model.state_dict())
    add_lora(model, rank=2, alpha=6, dropout=0.1)
    stir(model)
    expected = logits(model)
    with pytest.raises(VkitError, match="holds a LoRA adapter that is not merged; call merge_added first"):
        model.save(tmp_path)
    merge_added(model)
    assert list(model.model.state_dict()) == names
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "merged")
    again = load_model(tmp_path / "merged", device="cpu")
    assert torch.equal(logits(again), logits(model))
    with pytest.raises(VkitError, match="holds no LoRA adapter"):
        merge_added(model)
    add_lora(model, rank=1, alpha=1)  # and may be adapted anew


def test_the_state_of_an_adapter_is_what_its_file_holds(tmp_path):
    from safetensors.torch import load_file

    model = build("phi")
    add_lora(model, rank=2, alpha=4, targets=["fc1"])
    state = adapter_state(model)
    assert len(state) == 8
    assert state["base_model.model.model.layers.3.mlp.fc1.lora_A.weight"].shape == (2, 128)
    save_adapter(model, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in state.items())


def test_an_adapter_learns_in_single_precision_and_gets_gradients():
    model = build_stand_in()
    model.model.to(torch.bfloat16)
    add_lora(model, rank=2, alpha=4, dropout=0.1)
    names = choose_trainable(model, ["language_model", "connector"])
    model.model.train()
    batch = model.encode_training([SHORT], ["x = 3"])
    next_token_loss(model.lm_head(model.forward(batch)), batch.labels).backward()
    learned = dict(model.model.named_parameters())
    assert {learned[name].dtype for name in names if "lora_" in name} == {torch.float32}
    assert all(learned[name].grad is not None for name in names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "LoRA of rank 0, alpha 4 and dropout 0.0: give a rank and an alpha above 0"),
        ({"alpha": 0}, "LoRA of rank 2, alpha 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"targets": ["up_proj"]}, "target 'up_proj' names no linear layer of 'stand-in'; it has dense, fc1"),
        ({"targets": []}, "give at least one target"),
    ],
)
def test_settings_that_make_no_adapter_are_refused(settings, message):
    with pytest.raises(VkitError, match=message):
        add_lora(build("phi"), **{"rank": 2, "alpha": 4, **settings})


def test_a_second_adapter_and_a_broken_one_are_refused():
    model = build("phi")
    with pytest.raises(VkitError, match="'stand-in' holds no LoRA adapter; call add_lora first"):
        adapter_state(model)
    add_lora(model, 2, 4)
    with pytest.raises(VkitError, match="holds a LoRA adapter that is not merged"):
        add_lora(model, 2, 4)
    for name, parameter in model.model.named_parameters():
        if "layers.1.mlp.fc1.lora_B" in name:
            parameter.data.fill_(float("nan"))
    with pytest.raises(VkitError, match=r"cannot be merged at 'model.layers.1.mlp.fc1'"):
        merge_added(model)
