"""The tiny preset: small, quick, the same everywhere, and honest about its random weights."""

import json

import pytest
import torch
from PIL import Image

from vkit.models.loading import load_model
from vkit.models.protocol import Picture, Request, Text
from vkit.models.tiny import VOCABULARY, build_tiny, build_tokenizer

REQUEST = Request("1", (Picture(Image.new("RGB", (90, 60), "teal")), Text("Find x.", question=True)))


def test_it_has_at_most_two_million_parameters_and_64_image_tokens():
    model = build_tiny()
    assert sum(parameter.numel() for parameter in model.model.parameters()) <= 2_000_000
    assert model.model.config.num_image_tokens == 64
    assert (model.name, model.random_weights) == ("tiny", True)


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
    assert build_tokenizer().to_str() == build_tokenizer().to_str()
    assert build_tokenizer().get_vocab_size() <= VOCABULARY


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
