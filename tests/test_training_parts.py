"""What training asks of models: their head and parts told apart; checkpoints and packing change nothing."""

import copy
from functools import cache

import pytest
import torch
from PIL import Image

from tests.test_huggingface import ALL, LONG, SHORT, WIDE, checkpoint
from vkit.errors import VkitError
from vkit.models.huggingface_head import ScaledHead
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.protocol import IGNORE_INDEX, Picture, Request, Text
from vkit.models.tiny import STAND_IN, build_random, build_tiny
from vkit.models.tinyllava import next_token_loss
from vkit.models.training import (
    PARTS,
    checkpoint_gradients,
    choose_trainable,
    forward_packed,
    head_of,
    part_of,
)

SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}


def build_siglip(**changes):
    """A TinyLLaVA with a transformer for its tower, whose last layer never runs."""
    values = {**STAND_IN, "vision_config": SIGLIP, "vision_hidden_size": 32, "vision_feature_layer": -2}
    values.update(changes)
    return build_random(values, name="siglip")


def picture(colour="red"):
    return Picture(Image.new("RGB", (20, 12), colour))


def ask(id_, text, *pictures):
    return Request(id_, (*pictures, Text(text, question=True)))


REQUESTS = [
    ask("a", "Find x.", picture()),
    ask("b", "What is 1 + 1?"),
    ask("c", "Find the measure of angle ABC in the figure.", picture("blue")),
    ask("d", "Find y."),
]
ANSWERS = ["x is 3.", "2", "Answer: B", "y is 40, as the sum of the angles is 180."]


def gradients(model, loss):
    model.model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.model.named_parameters() if p.grad is not None}


def close(got, expected, tolerance=1e-5):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert (got[name] - value).norm() <= tolerance * value.norm() + 1e-9, name


# The head ---------------------------------------------------------------------------------------------------


def logits_of(head, hidden):
    logits = torch.nn.functional.linear(hidden, head.weight, head.bias) * head.factor
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def test_a_head_taken_apart_gives_the_logits_of_the_whole():
    model = build_siglip()  # a Phi, whose head has a bias
    torch.manual_seed(0)
    torch.nn.init.normal_(model.lm_head.bias)
    hidden = torch.randn(5, model.lm_head.in_features)
    head = head_of(model)
    assert head.weight is model.lm_head.weight
    torch.testing.assert_close(logits_of(head, hidden), model.lm_head(hidden))


def test_a_scaled_and_capped_head_keeps_its_factor_and_cap():
    model = load_huggingface(checkpoint("llava"), device="cpu")
    model._head = ScaledHead(model.lm_head, factor=0.5, softcap=3.0)
    hidden = torch.randn(5, 32)
    head = head_of(model)
    assert (head.bias, head.factor, head.softcap) == (None, 0.5, 3.0)
    torch.testing.assert_close(logits_of(head, hidden), model.lm_head(hidden))


def test_looking_for_the_head_leaves_every_mode_as_it_was():
    model = load_huggingface(checkpoint("gemma3"), device="cpu")
    model.model.train()
    model.model.model.vision_tower.eval()
    before = [module.training for module in model.model.modules()]
    assert head_of(model).weight is model.model.get_output_embeddings().weight
    assert [module.training for module in model.model.modules()] == before


def test_a_head_that_is_not_linear_is_refused():
    model = load_huggingface(checkpoint("llava"), device="cpu")
    model._head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(VkitError, match="its head is a Sequential, not a linear layer"):
        head_of(model)


# Parts ------------------------------------------------------------------------------------------------------


@cache
def load(family):
    return build_tiny() if family == "tiny" else load_huggingface(checkpoint(family), device="cpu")


@pytest.mark.parametrize("family", ["tiny", *ALL])
def test_every_parameter_belongs_to_the_part_that_its_name_says(family):
    model = load(family)
    parts = part_of(model)
    assert list(parts) == [name for name, _ in model.model.named_parameters()]
    assert set(parts.values()) == set(PARTS)
    for name, part in parts.items():
        decoder = any(word in name for word in ("language_model", "text_model", "lm_head"))
        assert decoder == (part == "language_model"), name
        if part == "connector":
            assert any(word in name for word in ("projector", "connector", "merger", "image_newline")), name
        else:
            assert "projector" not in name.replace("_proj.", "").replace("patch_embed.proj", ""), name


@pytest.mark.parametrize("family", ["tiny", "qwen2-vl", "gemma3"])
def test_only_the_chosen_parts_learn(family):
    model = load(family)
    names = choose_trainable(model, ["connector", "language_model"])
    assert names == [name for name, part in part_of(model).items() if part != "vision_tower"]
    assert names == [name for name, parameter in model.model.named_parameters() if parameter.requires_grad]
    choose_trainable(model, PARTS)


def test_tied_weights_stand_once():
    model = build_tiny()
    model.model.language_model.lm_head.weight = model.model.language_model.model.embed_tokens.weight
    names = choose_trainable(model, ["language_model"])
    assert "language_model.lm_head.weight" not in names
    assert "language_model.model.embed_tokens.weight" in names


def test_layers_of_the_tower_that_never_run_do_not_learn():
    model = build_siglip()
    names = choose_trainable(model, PARTS)
    batch = model.encode_training(REQUESTS, ANSWERS)
    loss = next_token_loss(model.lm_head(model.forward(batch)), batch.labels)
    assert set(gradients(model, loss)) == set(names)
    assert not any("layers.2" in name or "post_layernorm" in name for name in names if "vision_tower" in name)
    assert any("layers.1" in name for name in names if "vision_tower" in name)


def test_parts_that_are_not_there_are_refused():
    model = build_tiny()
    with pytest.raises(
        VkitError, match="'decoder' is no part of a model; choose of vision_tower, connector,"
    ):
        choose_trainable(model, ["decoder"])
    with pytest.raises(VkitError, match="'tiny' has no parameters in no part"):
        choose_trainable(model, [])
    width = STAND_IN["hidden_size"]
    vision = {**SIGLIP, "hidden_size": width, "num_attention_heads": 4}
    same = build_siglip(connector_type="identity", vision_config=vision, vision_hidden_size=width)
    with pytest.raises(
        VkitError, match="'siglip' has no parameters in connector; choose of vision_tower, lang"
    ):
        choose_trainable(same, ["connector"])


def test_a_connector_without_a_known_name_is_not_trained_apart_from_the_tower():
    model = load_huggingface(checkpoint("llava"), device="cpu")
    inner = model.model.model
    inner.bridge = inner.multi_modal_projector
    del inner.multi_modal_projector
    with pytest.raises(
        VkitError, match="connector cannot be told from its vision tower; train both or neither"
    ):
        choose_trainable(model, ["connector", "language_model"])
    names = choose_trainable(model, ["connector", "vision_tower"])
    assert any("bridge" in name for name in names)
    assert any("vision_tower" in name for name in names)
    choose_trainable(model, ["language_model"])


# Checkpoints of gradients -----------------------------------------------------------------------------------


def trained(model, batch):
    loss = next_token_loss(model.lm_head(model.forward(batch)), batch.labels)
    return loss.item(), gradients(model, loss)


@pytest.mark.parametrize("family", ["siglip", "llava", "qwen2.5-vl", "gemma3"])
def test_checkpointing_changes_neither_loss_nor_gradients(family):
    model = build_siglip() if family == "siglip" else load_huggingface(checkpoint(family), device="cpu")
    batch = model.encode_training([SHORT, LONG], ["x = 3", "y is large"])
    model.lm_head  # noqa: B018 (found by a forward of its own)
    model.model.train()
    ran = []
    for name, module in model.model.named_modules():
        if name.endswith(("layers.0.self_attn", "blocks.0.attn")):
            module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    loss, expected = trained(model, batch)
    assert len(ran) == len(set(ran)) == 2  # a tower's layer and a decoder's
    checkpoint_gradients(model)
    again, got = trained(model, batch)
    assert again == pytest.approx(loss, abs=1e-6)
    close(got, expected)
    assert len(ran) == 2 + 2 * 2
    checkpoint_gradients(model, on=False)
    trained(model, batch)
    assert len(ran) == 2 + 2 * 2 + 2


# Packing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("family", ["phi", "llama"])
def test_packed_samples_have_the_loss_and_gradients_of_samples_in_rows(family, padding_side, attention):
    model = build_siglip() if family == "phi" else build_tiny()
    assert model.model.config.text.model_type == family
    model.model.language_model.set_attn_implementation(attention)
    batch = model.encode_training(REQUESTS, ANSWERS, padding_side=padding_side)
    longest = max(len(layout) for layout in batch.layouts)
    total = sum(len(layout) for layout in batch.layouts)
    loss, expected = trained(model, batch)
    for pack_to in (longest, 2 * longest, total):
        hidden, labels = forward_packed(model, batch, pack_to)
        assert hidden.shape[:2] == labels.shape
        assert labels.shape[1] <= pack_to
        assert len(labels) < len(REQUESTS) or pack_to == longest
        packed = next_token_loss(model.lm_head(hidden), labels)
        assert packed.item() == pytest.approx(loss, abs=1e-5)
        close(gradients(model, packed), expected)
    assert len(labels) == 1


def test_a_packed_sample_sees_nothing_of_its_neighbours():
    model = build_siglip()
    batch = model.encode_training(REQUESTS, ANSWERS)
    changed = model.encode_training([*REQUESTS[:3], ask("d", "Find x.")], ANSWERS)
    with torch.no_grad():
        (one, _), (other, _) = (forward_packed(model, each, 4000) for each in (batch, changed))
    start = sum(len(layout) for layout in batch.layouts[:3])
    assert len(one) == 1
    torch.testing.assert_close(one[:, :start], other[:, :start], atol=1e-6, rtol=1e-6)
    assert (one[:, start:] - other[:, start:]).abs().max() > 1e-3


def test_the_first_label_of_a_packed_sample_is_ignored():
    model = build_tiny()
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    output = model.model(ids, labels=ids, pack_to=8)
    assert output.labels.tolist() == [[IGNORE_INDEX, 6, 7, IGNORE_INDEX, 9, 10]]
    assert output.attention_mask.all()
    unpacked = model.model(ids, labels=ids)
    torch.testing.assert_close(output.loss, unpacked.loss)


def test_what_cannot_be_packed_is_refused():
    model = build_tiny()
    batch = model.encode_training(REQUESTS, ANSWERS)
    with pytest.raises(VkitError, match=r"request 'a' takes \d+ columns, over pack_to of 20; raise it"):
        forward_packed(model, batch, 20)
    with pytest.raises(VkitError, match=r"item 0 takes \d+ columns, over pack_to of 20"):
        model.model(**batch.inputs, pack_to=20)
    other = copy.deepcopy(model)
    other.model.language_model.config._attn_implementation = "flex_attention"
    with pytest.raises(VkitError, match="flex_attention attention does not keep packed items apart"):
        forward_packed(other, batch, 4000)
    llava = load_huggingface(checkpoint("llava"), device="cpu")
    with pytest.raises(VkitError, match="only TinyLLaVA packs samples; train without packing"):
        forward_packed(llava, llava.encode_training([Request("s", (WIDE, Text("?")))], ["B"]), 64)
