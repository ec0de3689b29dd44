"""Models larger than a GPU: spread over devices and the disk, or in fewer bits, and measured all the same."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_checkpoints import write_checkpoint
from tests.training_data import write_tests
from vkit.attention.capture import capture
from vkit.attention.masks import CausalMask
from vkit.attention.measure import measure
from vkit.attention.run import RunSettings
from vkit.errors import VkitError
from vkit.evaluate.generation import GenerationSettings, settings_path
from vkit.models.loading import load_model
from vkit.models.lora import add_lora, save_adapter
from vkit.models.protocol import Picture, Request, Text, weights_digest

# The second of the decoder's three layers is read from the disk each time it runs.
SPLIT = {
    "model.vision_tower": "cpu",
    "model.multi_modal_projector": "cpu",
    "model.language_model.embed_tokens": "cpu",
    "model.language_model.layers.0": "cpu",
    "model.language_model.layers.1": "disk",
    "model.language_model.layers.2": "cpu",
    "model.language_model.norm": "cpu",
    "model.language_model.rotary_emb": "cpu",
    "lm_head": "cpu",
}
# The first that runs, and with it what the model would call its device, is on the disk.
FIRST_AWAY = {**SPLIT, "model.vision_tower": "disk", "model.language_model.embed_tokens": "disk"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint("llava", tmp_path_factory.mktemp("device_map") / "llava")


@pytest.fixture(scope="module")
def plain(folder):
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def requests():
    noise = [Image.effect_noise((12, 12), sigma).convert("RGB") for sigma in (40, 90)]
    return [
        Request(str(i), (Picture(image), Text("what is " + "x" * i, question=True)))
        for i, image in enumerate(noise, 1)
    ]


def seen(model, requests):
    """What a model says, and where it looks."""
    outputs = model.generate(model.encode(requests, padding_side="left"), max_new_tokens=6)
    found = measure(model, requests, [[5, 6, 7], [8, 9]], maps=True)
    return outputs, [
        array for each in found for array in (each.head_share, each.layer_share, each.image_maps)
    ]


def assert_same(one, other):
    assert one[0] == other[0]
    for mine, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("device_map", ["auto", SPLIT, FIRST_AWAY], ids=["auto", "split", "first-away"])
def test_a_spread_model_says_and_sees_what_a_whole_one_does(folder, plain, requests, device_map):
    model = load_model(folder, device_map=device_map)
    away = any(parameter.is_meta for parameter in model.model.parameters())
    assert away == (device_map != "auto")
    assert model.device == torch.device("cpu")
    assert weights_digest(model) == weights_digest(plain)
    assert_same(seen(model, requests), seen(plain, requests))
    assert weights_digest(model) == weights_digest(plain)  # what was fetched has gone again
    assert any(parameter.is_meta for parameter in model.model.parameters()) == away


def test_a_mask_that_was_copied_to_a_layer_s_device_is_the_same_mask(plain, requests):
    """As accelerate copies what a layer on another device is given; a causal mask needs no matrix there."""
    batch = plain.encode(requests, padding_side="left")
    ids = torch.zeros(2, batch.length, dtype=torch.int32)
    ids[:, 4:] = 1

    def copied(module, arguments, options):
        copies = {k: v.to("cpu", copy=True) if torch.is_tensor(v) else v for k, v in options.items()}
        given.append((options["attention_mask"], copies["attention_mask"]))
        return arguments, copies

    masses, given = [], []
    for layers in ((), plain.decoder.layers[1:]):
        hooks = [layer.register_forward_pre_hook(copied, with_kwargs=True) for layer in layers]
        with torch.no_grad(), capture(plain, ids) as record:
            plain.forward(batch)
        for hook in hooks:
            hook.remove()
        masses.append(record.mass)
    assert len(given) == 2
    for mask, copy in given:
        assert isinstance(copy, CausalMask)
        assert copy is not mask
        assert (copy.dense, copy.window) == (None, mask.window)
    offset = max(layout.offset for layout in batch.layouts)  # rows of padding say nothing
    torch.testing.assert_close(masses[0][:, :, :, offset:], masses[1][:, :, :, offset:])


def test_an_adapter_is_merged_where_the_weights_are_whole(folder, tmp_path):
    trained = load_model(folder, device="cpu")
    add_lora(trained, rank=2, alpha=4)
    with torch.no_grad():
        for name, parameter in trained.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    save_adapter(trained, tmp_path)
    merged = load_model(folder, adapter=tmp_path, device="cpu")
    assert weights_digest(load_model(folder, adapter=tmp_path, device_map="auto")) == weights_digest(merged)
    with pytest.raises(VkitError, match="does not fit the GPUs as a whole, and adapter"):
        load_model(folder, adapter=tmp_path, device_map=SPLIT)
    with pytest.raises(VkitError, match="rounded anew after quantize; save a merged copy"):
        load_model(folder, adapter=tmp_path, quantize="4bit")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"device_map": "auto", "device": "cpu"}, "device 'cpu' and a device_map were given"),
        ({"device_map": "balanced"}, "device_map 'balanced' is not known"),
        ({"quantize": "3bit"}, "quantize '3bit' is not known; use 4bit or 8bit"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, arguments, said):
    with pytest.raises(VkitError, match=said):
        load_model(folder, **arguments)


def test_bitsandbytes_is_asked_for_where_it_is_missing(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VkitError, match=r"quantize needs bitsandbytes; pip install 'vkit\[quantized\]'"):
        load_model(folder, quantize="4bit")


@pytest.mark.parametrize("option", ["--device-map", "--quantize"])
@pytest.mark.parametrize("command", ["generate", "attn-ratio"])
def test_tinyllava_has_neither(vkit, tmp_path, monkeypatch, command, option):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    value = {"--device-map": "auto", "--quantize": "8bit"}[option]
    data = write_tests(tmp_path, 1)
    code, stdout, stderr = vkit(
        command, "--model", "tiny", "--data", data, option, value, "--out", tmp_path / "out"
    )
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert f"is a TinyLLaVA, for which there is no {option[2:].replace('-', '_')}" in stderr


def test_weights_that_are_nowhere_have_no_digest(plain):
    class Empty:
        name, model = "empty", torch.nn.Linear(2, 2, device="meta")

    with pytest.raises(VkitError, match="model 'empty' has no values for 'bias'"):
        weights_digest(Empty())


def test_both_make_the_numbers_and_so_the_run(vkit, tmp_path):
    data, out = write_tests(tmp_path, 1), tmp_path / "out.jsonl"
    options = ("generate", "--model", "tiny", "--data", data, "--prompt", "plain", "--out", out, "--limit")
    assert vkit(*options, 1)[0] == 0
    place = settings_path(out)
    old = json.loads(place.read_text())
    assert (old.pop("device_map"), old.pop("quantize")) == (None, None)
    place.write_text(json.dumps(old))  # a file of before these settings
    assert vkit(*options, 2)[0] == 0
    place.write_text(json.dumps({**old, "quantize": "8bit"}))
    code, _, stderr = vkit(*options, 3)
    assert (code, "quantize '8bit' -> None" in stderr) == (1, True)
    for settings in (GenerationSettings, RunSettings):
        assert (settings("m", "d").device_map, settings("m", "d").quantize) == (None, None)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_quantized_weights_have_a_digest_of_their_own(folder, plain, requests, bits):
    pytest.importorskip("bitsandbytes")
    model, again = load_model(folder, quantize=bits), load_model(folder, quantize=bits, device_map="auto")
    assert weights_digest(model) == weights_digest(again) != weights_digest(plain)
    if bits == "4bit" and model.device.type == "cpu":
        return  # bitsandbytes has no product of such small matrices on all processors
    outputs, arrays = seen(model, requests)
    assert len(outputs) == 2
    for mine, theirs in zip(arrays, seen(plain, requests)[1], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.02)
    assert weights_digest(model) == weights_digest(again)
