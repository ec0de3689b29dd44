"""The whole measure on a model, against the study's way: eager attention, whole matrices, span by span."""

import numpy as np
import pytest
import torch

from vkit.attention.measure import measure
from vkit.models.tiny import build_tiny
from vkit.models.tinyllava import IMAGE_TOKEN
from vkit.prompts import build_request
from vkit.records import read_samples
from vkit.synthesis.sketches import write_sketches


@pytest.fixture(scope="module")
def model():
    """The tiny model with peaked attention, so that a wrong span or row shows."""
    tiny = build_tiny()
    with torch.no_grad():
        for name, weight in tiny.model.language_model.named_parameters():
            if "q_proj.weight" in name or "k_proj.weight" in name:
                weight.mul_(3)
    return tiny


@pytest.fixture(scope="module")
def answered(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("problems")
    samples = list(read_samples(write_sketches(folder, 3, seed=5)))
    requests = [build_request(sample, "finetuned") for sample in samples]
    return requests, [model.tokenize_answer(text) for text in ("So x is 40. Answer: B", "C", "It is 7")]


def eager_attention(model, request, output):
    """(T, T): attention averaged over layers and heads, by transformers' own eager path."""
    batch = model.encode([request], [output])
    module = model.model
    module.language_model.set_attn_implementation("eager")
    try:
        spliced = module.splice(batch.inputs["input_ids"], batch.inputs["pixel_values"])
        with torch.no_grad():
            result = module.language_model.get_decoder()(
                inputs_embeds=spliced.inputs_embeds, output_attentions=True
            )
    finally:
        module.language_model.set_attn_implementation("sdpa")
    return torch.stack(result.attentions)[:, 0].double().numpy(), batch


@pytest.mark.parametrize("rows", ["predicting", "own"])
@pytest.mark.parametrize("policy", ["study", "question"])
def test_a_batch_measures_what_eager_matrices_show(model, answered, policy, rows):
    requests, outputs = answered
    measured = measure(model, requests, outputs, policy=policy, rows=rows, maps=True)
    for request, output, item in zip(requests, outputs, measured, strict=True):
        weights, batch = eager_attention(model, request, output)  # (L, H, T, T)
        attention = weights.mean((0, 1))
        ids = batch.inputs["input_ids"][0].tolist()
        image_start = ids.index(IMAGE_TOKEN)
        image = np.arange(image_start, image_start + len(attention) - len(ids) + 1)
        prompt_length = len(attention) - len(output)
        text = np.arange(image[-1] + 2, prompt_length - 3)
        if policy == "question":
            text = np.flatnonzero(item.layout.question)
        for j in range(len(output)):
            row = attention[prompt_length + j - (rows == "predicting")]
            assert item.ratio.image_attention[j] == pytest.approx(row[image].mean(), abs=1e-6)
            assert item.ratio.text_attention[j] == pytest.approx(row[text].mean(), abs=1e-6)
            assert item.ratio.ratio[j] == pytest.approx(row[image].mean() / row[text].mean(), rel=1e-4)
            np.testing.assert_allclose(item.image_maps[j], row[image], rtol=1e-3, atol=1e-5)
        queries = prompt_length + np.arange(len(output)) - (rows == "predicting")
        share = weights[:, :, queries][..., image].sum(-1)  # (L, H, n)
        np.testing.assert_allclose(item.head_share, share.mean(2), atol=1e-5)
        np.testing.assert_allclose(item.layer_share, share.mean(1).T, atol=1e-5)
        assert (item.image_columns, item.text_columns) == (len(image), len(text))


def test_the_question_is_exactly_the_problem_and_its_choices(model, answered):
    requests, outputs = answered
    for request, item in zip(requests, measure(model, requests, outputs, policy="question"), strict=True):
        ids = item.layout.token_ids[item.layout.question]
        asked = [part.text for part in request.parts if getattr(part, "question", False)]
        assert "".join(model.decode(ids).split()) == "".join("".join(asked).split())
        assert item.image_maps is None


def test_generation_and_replay_agree_on_every_token(model, answered):
    """What is measured is what happened: the replay's logits choose the generated tokens."""
    requests, _ = answered
    outputs = model.generate(model.encode(requests, padding_side="left"), max_new_tokens=8)
    batch = model.encode(requests, outputs)
    with torch.no_grad():
        logits = model.lm_head(model.forward(batch))
    for index, (layout, output) in enumerate(zip(batch.layouts, outputs, strict=True)):
        first = layout.offset + layout.prompt_length - 1
        assert logits[index, first : first + len(output)].argmax(-1).tolist() == output
