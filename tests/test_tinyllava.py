"""TinyLLaVA's module and adapter: equal to the official code, and exact in its splice, batches and labels."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tinyllava_data import FOLDER, needs_recordings, recordings
from vkit.attention.capture import capture
from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.models.protocol import IMAGE_COLUMN, Picture, Request, Text
from vkit.models.tiny import STAND_IN, build_stand_in
from vkit.models.tinyllava import IGNORE_INDEX, IMAGE_TOKEN, Connector, TinyLlava, next_token_loss
from vkit.models.tinyllava_adapter import TinyLlavaModel
from vkit.models.tinyllava_config import TinyLlavaConfig

TOLERANCE = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def official():
    return load_model(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def tiny():
    return build_stand_in()


def picture(colour="red", size=(40, 30)):
    return Picture(Image.new("RGB", size, colour))


def request(id_, *parts):
    return Request(id_, tuple(Text(part, question=True) if isinstance(part, str) else part for part in parts))


# ---------------------------------------------------------------- what the official code recorded


@needs_recordings
@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.values["pid"])
class TestOfficialCode:
    def test_prompt_ids_and_pixel_values_are_equal(self, official, recording):
        batch = official.encode([recording.request])
        assert batch.inputs["input_ids"][0].tolist() == recording.values["input_ids"]
        np.testing.assert_allclose(
            batch.inputs["pixel_values"], recording.arrays["pixel_values"], rtol=0, atol=1e-6
        )

    @torch.no_grad()
    def test_logits_are_equal(self, official, recording):
        batch = official.encode([recording.request])
        expected = torch.from_numpy(recording.arrays["last_logits"])
        torch.testing.assert_close(official.model(**batch.inputs).logits[0, -4:], expected, **TOLERANCE)
        torch.testing.assert_close(official.lm_head(official.forward(batch))[0, -4:], expected, **TOLERANCE)

    def test_greedy_tokens_are_equal(self, official, recording):
        batch = official.encode([recording.request], padding_side="left")
        assert official.generate(batch, max_new_tokens=12) == [recording.values["generated"]]

    @torch.no_grad()
    def test_training_ids_labels_and_loss_are_equal(self, official, recording):
        batch = official.encode_training([recording.request], [recording.values["answer"]])
        assert batch.inputs["input_ids"][0].tolist() == recording.values["train_ids"]
        output = official.model(**batch.inputs, labels=torch.tensor([recording.values["labels"]]))
        assert torch.equal(output.labels, batch.labels)
        assert output.loss.item() == pytest.approx(recording.values["loss"], abs=1e-5)
        assert next_token_loss(output.logits, batch.labels) == output.loss
        expected = torch.from_numpy(recording.arrays["train_last_logits"])
        torch.testing.assert_close(output.logits[0, -14:], expected, **TOLERANCE)

    @torch.no_grad()
    def test_averaged_attention_is_equal(self, recording):
        model = load_model(FOLDER, device="cpu")
        model.model.language_model.set_attn_implementation("eager")
        batch = model.encode_training([recording.request], [recording.values["answer"]])
        spliced = model.model.splice(**batch.inputs)
        attentions = model.decoder(
            inputs_embeds=spliced.inputs_embeds, position_ids=spliced.position_ids, output_attentions=True
        ).attentions
        mean = torch.stack(attentions)[:, 0].mean(dim=(0, 1))  # over layers and heads
        np.testing.assert_allclose(mean, recording.arrays["mean_attention"], rtol=0, atol=1e-6)

    @torch.no_grad()
    def test_captured_attention_is_equal(self, official, recording):
        batch = official.encode_training([recording.request], [recording.values["answer"]])
        segments = torch.zeros(1, batch.length, dtype=torch.int32)
        with capture(official, segments, rows=torch.arange(batch.length), maps=True) as record:
            official.forward(batch)
        np.testing.assert_allclose(record.mean_map[0], recording.arrays["mean_attention"], rtol=0, atol=1e-6)


@needs_recordings
def test_a_tower_without_class_token_loses_its_first_patch_where_the_checkpoint_was_trained_so(official):
    config = official.model.config
    assert (config.select_strategy, config.patches_per_side, config.num_image_tokens) == ("patch", 4, 15)
    images = official.encode([request("1", picture(), "Find x.")]).layouts[0].images[0]
    assert len(images.columns) == 15
    assert images.boxes[0].tolist() == [0.25, 0, 0.5, 0.25]  # the patch at the top left has no token


# ---------------------------------------------------------------- the splice


def splice_by_hand(model, input_ids, pixel_values, mask, padding_side):
    """One item at a time, one token at a time."""
    features = iter(model.encode_images(pixel_values)) if pixel_values is not None else iter(())
    rows = []
    for ids, real in zip(input_ids, mask):
        columns = []
        for token, present in zip(ids, real):
            if present and token == IMAGE_TOKEN:
                columns += list(next(features))
            elif present:
                columns.append(model.language_model.get_input_embeddings()(token))
        rows.append(torch.stack(columns))
    length = max(map(len, rows))
    embeds = torch.zeros(len(rows), length, rows[0].shape[-1])
    attended = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        start = length - len(row) if padding_side == "left" else 0
        embeds[index, start : start + len(row)] = row
        attended[index, start : start + len(row)] = True
    return embeds, attended


@pytest.mark.parametrize("padding_side", ["left", "right"])
@torch.no_grad()
def test_splice_equals_one_by_hand_for_any_number_and_place_of_pictures(tiny, padding_side):
    generator = torch.Generator().manual_seed(0)
    items = [
        [5, IMAGE_TOKEN, 6, 7],
        [IMAGE_TOKEN, IMAGE_TOKEN],
        [1, 2, 3],
        [9, 9, IMAGE_TOKEN, 8, IMAGE_TOKEN],
    ]
    input_ids = torch.full((len(items), 5), 11)
    mask = torch.zeros_like(input_ids)
    for row, item in enumerate(items):
        place = slice(5 - len(item), 5) if padding_side == "left" else slice(len(item))
        input_ids[row, place], mask[row, place] = torch.tensor(item), 1
    pixel_values = torch.randn(5, 3, 112, 112, generator=generator)
    labels = input_ids.clone()
    spliced = tiny.model.splice(input_ids, pixel_values, mask, labels)
    embeds, attended = splice_by_hand(tiny.model, input_ids, pixel_values, mask, padding_side)
    assert torch.equal(spliced.attention_mask, attended)
    torch.testing.assert_close(spliced.inputs_embeds, embeds)
    assert spliced.position_ids[1][attended[1]].tolist() == list(range(128))
    for row, item in enumerate(items):  # labels: the text's own, none at image columns or padding
        learned = spliced.labels[row][spliced.labels[row] != IGNORE_INDEX].tolist()
        assert learned == [token for token in item if token != IMAGE_TOKEN]
        assert (spliced.labels[row][~attended[row]] == IGNORE_INDEX).all()


def test_placeholders_and_pictures_must_match_in_number(tiny):
    ids = torch.tensor([[1, IMAGE_TOKEN, 2]])
    with pytest.raises(VkitError, match=r"hold 1 placeholder\(s\) but 0 picture\(s\)"):
        tiny.model(ids)
    with pytest.raises(VkitError, match=r"hold 1 placeholder\(s\) but 2 picture\(s\)"):
        tiny.model(ids, torch.zeros(2, 3, 112, 112))


@torch.no_grad()
def test_a_prompt_without_a_picture_is_the_language_model_alone(tiny):
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(tiny.model(ids).logits, tiny.model.language_model(ids).logits)


def test_gradients_reach_every_part_that_runs(tiny):
    model = copy.deepcopy(tiny.model)
    ids = torch.tensor([[1, IMAGE_TOKEN, 2, 3]])
    model(ids, torch.rand(1, 3, 112, 112), labels=ids.clamp(min=IGNORE_INDEX)).loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # hidden_states[-2]: the last layer, the final norm and the pooling head of the tower never run.
    tower = "vision_tower._vision_tower.vision_model."
    unused = (tower + "encoder.layers.3.", tower + "post_layernorm.", tower + "head.")
    assert idle == {name for name, _ in model.named_parameters() if name.startswith(unused)}


def test_labels_that_are_all_ignored_are_refused(tiny):
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(VkitError, match="every label of the batch is ignored"):
        tiny.model(ids, labels=torch.full_like(ids, IGNORE_INDEX))


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("linear", ["weight", "bias"]),
        ("mlp1x_gelu", ["0.weight", "0.bias"]),
        ("mlp3x_gelu", [f"{n}.{p}" for n in (0, 2, 4) for p in ("weight", "bias")]),
    ],
)
def test_connectors_have_the_official_names(kind, keys):
    connector = Connector(kind, 6, 10)
    assert list(connector.state_dict()) == [f"_connector.{key}" for key in keys]
    assert connector(torch.zeros(2, 5, 6)).shape == (2, 5, 10)


def test_the_identity_connector_needs_equal_widths():
    features = torch.rand(2, 6)
    assert torch.equal(Connector("identity", 6, 6)(features), features)
    with pytest.raises(VkitError, match="vision tower has 6 and the language model 10"):
        Connector("identity", 6, 10)


def with_parts(**changes):
    config = copy.deepcopy(STAND_IN)
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return TinyLlavaConfig.from_dict(config)


CLIP = {"vision_config": {"model_type": "clip_vision_model", "projection_dim": 96}}


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"vision_feature_select_strategy": "patch"}, 63),
        ({"vision_feature_select_strategy": "cls_patch"}, 64),
        ({**CLIP, "vision_feature_select_strategy": "patch"}, 64),
        ({**CLIP, "vision_feature_select_strategy": "cls_patch"}, 65),
    ],
)
@torch.no_grad()
def test_the_number_of_image_tokens_is_the_towers_own(changes, tokens):
    config = with_parts(**changes)
    assert config.num_image_tokens == tokens
    assert TinyLlava(config).encode_images(torch.zeros(2, 3, 112, 112)).shape == (2, tokens, 128)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("layer", [-2, -1, 0, 3])
@torch.no_grad()
def test_features_are_the_chosen_hidden_state(clip, layer):
    model = TinyLlava(with_parts(**(CLIP if clip else {}), vision_feature_layer=layer)).eval()
    pixel_values = torch.rand(1, 3, 112, 112)
    tower = model.vision_tower._vision_tower["vision_model"]
    states = []
    hooks = [
        tower.encoder.layers[0].register_forward_pre_hook(lambda _, args: states.append(args[0])),
        *(each.register_forward_hook(lambda *args: states.append(args[-1])) for each in tower.encoder.layers),
    ]
    tower(pixel_values)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(model.vision_tower(pixel_values), states[layer])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"connector_type": "qformer"}, "connector 'qformer' is not supported"),
        ({"connector_type": None}, "connector 'none' is not supported"),
        ({"vision_config": {"model_type": "dinov2"}}, "vision tower 'dinov2' is not supported"),
        ({"vision_feature_select_strategy": "cls"}, "vision_feature_select_strategy 'cls' is not known"),
        ({"vision_feature_layer": 9}, "vision_feature_layer 9 is not one of the tower's 5 hidden states"),
        ({"text_config": {"model_type": "phi-unheard-of"}}, "'phi-unheard-of' is not known"),
        ({"text_config": {"quantization_config": {}}}, "quantised TinyLLaVA checkpoints are not supported"),
        ({"text_config": {"hidden_size": "wide"}}, "text_config is not valid"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(changes, message):
    with pytest.raises(VkitError, match=message) as refusal:
        TinyLlava(with_parts(**changes))
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------- the adapter


def requests():
    return [
        request("a", picture("red"), "Find x."),
        request("b", picture("green", (30, 50)), "Find the measure of angle ABC.\nA. 3\nB. 4"),
        request("c", "What is 3 + 4?"),
        request("d", "Compare ", picture("blue"), " with ", picture("white"), "."),
    ]


@pytest.mark.parametrize("padding_side", ["left", "right"])
@torch.no_grad()
def test_a_batch_equals_its_items_one_by_one(tiny, padding_side):
    outputs = [[5, 6, 7], [8], [], [9, 10]]
    batch = tiny.encode(requests(), outputs, padding_side=padding_side)
    hidden = tiny.forward(batch)
    assert hidden.shape == (4, batch.length, 128)
    for index, layout in enumerate(batch.layouts):
        alone = tiny.encode(requests()[index : index + 1], outputs[index : index + 1])
        columns = slice(layout.offset, layout.offset + len(layout))
        torch.testing.assert_close(hidden[index, columns], tiny.forward(alone)[0], rtol=1e-4, atol=1e-5)
        assert layout.token_ids[layout.prompt_length :].tolist() == outputs[index]
        assert layout.output_length == len(outputs[index])


def test_generation_in_a_batch_equals_one_by_one_and_stops_at_the_end_token(tiny):
    together = tiny.generate(tiny.encode(requests(), padding_side="left"), max_new_tokens=9)
    alone = [
        tiny.generate(tiny.encode([item], padding_side="left"), max_new_tokens=9)[0] for item in requests()
    ]
    assert together == alone
    assert [len(output) for output in together] == [9] * 4
    model = build_stand_in()
    model.eos_token_id = alone[0][2]
    stopped = model.generate(model.encode(requests(), padding_side="left"), max_new_tokens=9)
    expected = [row[: row.index(alone[0][2])] if alone[0][2] in row else row for row in alone]
    assert stopped == expected
    assert len(stopped[0]) <= 2
    steps = []
    model.decoder.register_forward_hook(lambda *_: steps.append(1))
    model.generate(model.encode(requests()[:1], padding_side="left"), max_new_tokens=9)
    assert len(steps) == len(stopped[0]) + 1


@torch.no_grad()
def test_replaying_prompt_and_output_predicts_the_output(tiny):
    prompts = tiny.encode(requests(), padding_side="left")
    outputs = tiny.generate(prompts, max_new_tokens=7)
    batch = tiny.encode(requests(), outputs)
    logits = tiny.lm_head(tiny.forward(batch))
    for row, layout in enumerate(batch.layouts):
        start = layout.offset + layout.prompt_length
        assert logits[row, start - 1 : start + 6].argmax(dim=-1).tolist() == outputs[row]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_is_near_to_float32(tiny, dtype):
    model = build_stand_in()
    model.model.to(dtype)
    batch = model.encode(requests(), padding_side="left")
    hidden, exact = model.forward(batch), tiny.forward(batch)
    assert hidden.dtype == dtype
    real = tiny.model.splice(**batch.inputs).attention_mask
    error = (hidden.float() - exact)[real].norm() / exact[real].norm()
    assert error < 2e-2
    assert len(model.generate(batch, max_new_tokens=2)) == 4


def test_generation_refuses_prompts_padded_on_the_right(tiny):
    with pytest.raises(
        VkitError, match=r"request 'a' is padded on the right; encode with padding_side='left'"
    ):
        tiny.generate(tiny.encode(requests()), max_new_tokens=1)


def test_generation_leaves_the_mode_of_the_model_as_it_was(tiny):
    model = build_stand_in()
    model.model.train()
    model.generate(model.encode(requests()[:1], padding_side="left"), max_new_tokens=1)
    assert model.model.training


def test_training_labels_are_the_answer_and_the_end_token(tiny):
    batch = tiny.encode_training(requests()[:3], ["The angle is 40.", "x", "Answer: B"], padding_side="left")
    for row, layout in enumerate(batch.layouts):
        start = layout.offset + layout.prompt_length
        learned = batch.labels[row, start : layout.offset + len(layout)]
        assert learned.tolist() == layout.token_ids[layout.prompt_length :].tolist()
        assert learned[-1] == tiny.eos_token_id
        assert (batch.labels[row] != IGNORE_INDEX).sum() == layout.output_length
    assert tiny.decode(batch.layouts[0].token_ids[batch.layouts[0].prompt_length :]) == " The angle is 40."


def test_an_empty_answer_is_refused_by_the_name_of_its_request(tiny):
    with pytest.raises(VkitError, match="request 'b': the answer is empty"):
        tiny.encode_training(requests()[:2], ["x", " \n"])


def test_a_prompt_too_long_is_refused_with_its_length_and_never_cut(tiny):
    long = request("long", picture(), "7" * 2000)
    with pytest.raises(VkitError, match=r"request 'long': the prompt takes 21\d\d columns, .* of 2048"):
        tiny.encode([long])
    with pytest.raises(VkitError, match=r"request 'a': prompt and output take 2\d\d\d columns, .* of 2048"):
        tiny.encode(requests()[:1], [[1] * 2000])
    batch = tiny.encode(requests()[:1], padding_side="left")
    with pytest.raises(VkitError, match=r"request 'a': prompt and new tokens take 2\d\d\d columns"):
        tiny.generate(batch, max_new_tokens=2000)


def test_outputs_that_do_not_fit_are_refused(tiny):
    with pytest.raises(VkitError, match="4 requests but 1 outputs"):
        tiny.encode(requests(), [[1]])
    with pytest.raises(VkitError, match="request 'a': an output id lies outside the vocabulary of 640"):
        tiny.encode(requests()[:1], [[IMAGE_TOKEN]])
    with pytest.raises(VkitError, match="no request to encode"):
        tiny.encode([])


def test_image_columns_stand_where_the_layout_says(tiny):
    layout = tiny.encode(requests()[3:]).layouts[0]
    columns = np.concatenate([image.columns for image in layout.images])
    assert np.array_equal(np.flatnonzero(layout.token_ids == IMAGE_COLUMN), columns)
    assert [image.boxes.shape for image in layout.images] == [(64, 4), (64, 4)]
    assert not layout.question[columns].any()


def test_the_rotary_settings_of_phi_2_are_heeded():
    """Its head size of 80 is rotated by 40%; transformers' own default of Phi is half."""
    phi_2 = {"hidden_size": 320, "partial_rotary_factor": 0.4, "rope_theta": 10000.0}  # 4 heads
    model = TinyLlava(with_parts(text_config=phi_2))
    frequencies = model.language_model.model.rotary_emb.inv_freq
    torch.testing.assert_close(frequencies, 10000.0 ** -(torch.arange(0, 32, 2) / 32))


def test_a_llama_inside_is_prompted_and_runs(tiny):
    config = with_parts(text_config={"model_type": "llama", "num_key_value_heads": 2, "vocab_size": 641})
    tokenizer = build_stand_in().tokenizer
    tokenizer.add_special_tokens({"eos_token": "</s>", "bos_token": "</s>"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TinyLlavaModel(TinyLlava(config), tokenizer, tiny.images, name="llama")
    assert "language_model.model.norm.weight" in model.model.state_dict()
    assert model.eos_token_id == 640
    batch = model.encode_training(requests()[:1], ["B"])
    assert batch.labels[0][batch.labels[0] != IGNORE_INDEX].tolist() == [*model.tokenize_answer("B"), 640]
    together = model.generate(model.encode(requests(), padding_side="left"), max_new_tokens=5)
    alone = [model.encode([item], padding_side="left") for item in requests()]
    assert together == [model.generate(batch, max_new_tokens=5)[0] for batch in alone]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_a_gpu_gives_what_the_cpu_gives(tiny):
    model = load_model("tiny", device="cuda", dtype="float32")
    batch, expected = model.encode(requests()), tiny.forward(tiny.encode(requests()))
    real = tiny.model.splice(**tiny.encode(requests()).inputs).attention_mask
    assert batch.inputs["pixel_values"].device.type == "cuda"
    torch.testing.assert_close(model.forward(batch).cpu()[real], expected[real], rtol=1e-3, atol=1e-3)
    assert len(model.generate(model.encode(requests(), padding_side="left"), max_new_tokens=3)) == 4


def test_language_models_with_another_template_are_refused_by_name(tiny):
    config = with_parts(text_config={"model_type": "gemma", "num_key_value_heads": 4, "head_dim": 32})
    with pytest.raises(VkitError, match="prompt template of 'gemma' models is not known; known: phi, llama"):
        type(tiny)(TinyLlava(config), tiny.tokenizer, tiny.images, name="x")
