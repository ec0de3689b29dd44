"""The tiny preset: small, quick, the same everywhere, and honest about its random weights."""

import json
import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.models.protocol import Picture, Request, Text
from vkit.models.tiny import CONFIG, WEIGHTS, build_stand_in, build_tiny, build_trained, pack_trained
from vkit.models.tiny_tokenizer import PHRASES, VOCABULARY, build_tokenizer
from vkit.synthesis.miniature import FAMILIES, draw

REQUEST = Request("1", (Picture(Image.new("RGB", (90, 60), "teal")), Text("Find x.", question=True)))


def parameters(model):
    return sum(parameter.numel() for parameter in model.model.parameters())


def test_it_has_less_than_a_million_parameters_and_16_image_tokens():
    model = build_tiny()
    assert parameters(model) < 1_000_000
    assert model.model.config.num_image_tokens == 16
    assert (model.name, model.random_weights) == ("tiny", True)


def test_the_stand_in_has_the_official_families_and_64_image_tokens():
    model = build_stand_in()
    assert parameters(model) <= 2_000_000
    assert model.model.config.num_image_tokens == 64
    config = model.model.config
    assert (config.text.model_type, config.vision.model_type) == ("phi", "siglip_vision_model")
    assert (model.name, model.random_weights) == ("stand-in", True)


def test_image_tokens_stand_for_a_grid_of_four_by_four_parts_row_by_row():
    images = build_tiny().encode([Request("1", (Picture(Image.new("RGB", (64, 64))),))]).layouts[0].images[0]
    assert images.boxes[0].tolist() == [0, 0, 0.25, 0.25]
    assert images.boxes[1].tolist() == [0.25, 0, 0.5, 0.25]
    assert images.boxes[4].tolist() == [0, 0.25, 0.25, 0.5]
    assert images.boxes[-1].tolist() == [0.75, 0.75, 1, 1]


@torch.no_grad()
def test_an_image_token_sees_its_own_part_before_attention_mixes_them():
    tower = build_tiny().model.vision_tower._vision_tower["vision_model"]
    tower.layers = torch.nn.ModuleList()
    blank = torch.zeros(1, 3, 64, 64)
    for token in range(16):
        marked = blank.clone()
        row, column = divmod(token, 4)
        marked[..., row * 16 + 8, column * 16 + 8] = 1  # a pixel in the middle of its part
        changed = (tower(marked) != tower(blank)).any(dim=-1)[0]
        assert changed.nonzero().flatten().tolist() == [token]


def test_a_seed_gives_the_same_model_and_another_seed_another():
    first, second, other = (build_tiny(seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["language_model.lm_head.weight"], other["language_model.lm_head.weight"])


def test_torchs_generator_is_left_alone_and_does_not_matter():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = build_tiny().model.state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = build_tiny().model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_tokenizer_is_deterministic_and_fits_the_vocabulary():
    first, second = (build_tokenizer("</s>", vocabulary=512, phrases=PHRASES) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() <= CONFIG["vocab_size"]
    assert build_tokenizer("<|endoftext|>").get_vocab_size() <= VOCABULARY


@pytest.mark.parametrize("family", FAMILIES)
def test_the_miniatures_texts_take_few_tokens(family):
    """A token costs training time: four digits, three sentences around them, or the words of a question."""
    model = build_tiny()
    drawn = draw(random.Random(1), family=family)
    tokens = {name: len(model.tokenizer(each.text)["input_ids"]) for name, each in drawn.versions.items()}
    expected = {"text-only": 7, "text-dominant": 7, "text-lite": 12, "vision-dominant": 5, "vision-only": 0}
    assert tokens == expected
    assert len(model.tokenize_answer(drawn.response)) <= 28
    framed = model.encode([Request("1", (Text(drawn.versions["text-only"].text),))])
    assert framed.length <= 1 + 7 + 2  # what stands before, the problem, and ASSISTANT: with its blank


@pytest.mark.parametrize("text", ["Find m \\angle ABC.", "107", "角度 37° 😀\n\tx", ""])
def test_every_text_has_ids_that_decode_to_it(text):
    model = build_tiny()
    assert model.decode(model.tokenizer(text)["input_ids"]) == text


def test_each_digit_is_a_token_of_its_own():
    model = build_tiny()
    assert [model.decode([id_]) for id_ in model.tokenize_answer("107")] == [" ", "1", "0", "7"]


def test_saved_and_loaded_again_it_gives_identical_results(tmp_path):
    model = build_tiny(5)
    model.save(tmp_path / "tiny")
    again = load_model(tmp_path / "tiny", device="cpu")
    assert (again.name, again.random_weights) == ("tiny", True)
    ours, theirs = (each.encode([REQUEST], padding_side="left") for each in (model, again))
    assert torch.equal(ours.inputs["input_ids"], theirs.inputs["input_ids"])
    assert torch.equal(ours.inputs["pixel_values"], theirs.inputs["pixel_values"])
    assert torch.equal(model.forward(ours), again.forward(theirs))
    assert model.generate(ours, max_new_tokens=6) == again.generate(theirs, max_new_tokens=6)
    assert model.tokenize_answer("The angle is 40°.") == again.tokenize_answer("The angle is 40°.")


def test_a_model_that_was_trained_does_not_say_that_its_weights_are_random(tmp_path):
    model = build_tiny()
    model.random_weights = False
    model.save(tmp_path / "trained")
    assert "random_weights" not in json.loads((tmp_path / "trained" / "config.json").read_text())
    assert not load_model(tmp_path / "trained", device="cpu").random_weights


def test_trained_weights_are_packed_in_half_precision_and_read_back(tmp_path):
    model = build_tiny(7)
    pack_trained(model, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 2_000_000
    again = build_trained(tmp_path / "weights.safetensors")
    assert (again.name, again.random_weights) == ("tiny", False)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor.half().float())


def test_weights_of_other_sizes_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    for write in (lambda: pack_trained(build_stand_in(), path), lambda: path.write_bytes(b"no"), path.unlink):
        write()
        with pytest.raises(VkitError, match=r"does not hold the tiny preset's weights .*; reinstall vkit"):
            build_trained(path)


def test_by_name_there_are_the_packages_weights_and_random_ones():
    tiny, fresh = load_model("tiny", device="cpu"), load_model("tiny-random", device="cpu")
    assert (fresh.name, fresh.random_weights) == ("tiny-random", True)
    assert (tiny.name, tiny.random_weights) == ("tiny", not Path(WEIGHTS).is_file())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_feature_layer": 0}, "set vision_feature_layer to -1"),
        ({"vision_feature_select_strategy": "patch"}, "vision_feature_select_strategy to cls_patch"),
        ({"vision_config": {**CONFIG["vision_config"], "image_size": 60}}, "image_size a multiple"),
        (
            {"vision_config": {**CONFIG["vision_config"], "hidden_size": 36}},
            "multiple of four times the 4 heads",
        ),
    ],
)
def test_a_tower_that_cannot_be_is_refused(tmp_path, changes, message):
    build_tiny().save(tmp_path / "tiny")
    path = tmp_path / "tiny" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(VkitError, match=message) as refusal:
        load_model(tmp_path / "tiny", device="cpu")
    assert "\n" not in str(refusal.value)


def test_it_learns_an_answer_by_heart_in_a_few_steps():
    model = build_tiny()
    batch = model.encode_training([REQUEST], ["The angle is 40."])
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=2e-3)
    labels = torch.full_like(batch.inputs["input_ids"], -100)
    answer = batch.layouts[0].output_length
    labels[:, -answer:] = batch.inputs["input_ids"][:, -answer:]
    for _ in range(25):
        optimizer.zero_grad()
        model.model(**batch.inputs, labels=labels).loss.backward()
        optimizer.step()
    output = model.generate(model.encode([REQUEST], padding_side="left"), max_new_tokens=20)[0]
    assert model.decode(output) == " The angle is 40."
