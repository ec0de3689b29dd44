"""Any Hugging Face VLM behind one protocol: exact prompts, exact columns, replays that equal generation."""

import json
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from tests.tiny_checkpoints import BOS, EOS, FAMILIES, temporary_folder, write_checkpoint, write_processor
from tests.tiny_vlms import IMAGE_TOKEN, TEXT, VISION
from vkit.attention.capture import capture
from vkit.errors import VkitError
from vkit.models.huggingface import HuggingFaceModel
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.loading import load_model
from vkit.models.protocol import IMAGE_COLUMN, Picture, Request, Text, token_pieces

ALL = sorted(FAMILIES)
STRIPS = {"gemma3"}  # its chat template strips each text


@cache
def checkpoint(family):
    return write_checkpoint(family, temporary_folder())


@cache
def load(family):
    return load_huggingface(checkpoint(family), device="cpu")


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels))


WIDE, TALL = picture(30, 20), picture(16, 40, seed=1)
SHORT = Request("short", (WIDE, Text("Find x = 3.", question=True)))
LONG = Request("long", (Text("Look: "), TALL, Text(" What is y, in full? ", question=True), Text("Explain.")))


def steps(model, requests, tokens=5, **options):
    """What generation itself saw: its outputs, and one logits or attentions entry a step."""
    batch = model.encode(requests, padding_side="left")
    with torch.no_grad():
        result = model.model.generate(
            **batch.inputs, max_new_tokens=tokens, return_dict_in_generate=True, output_logits=True, **options
        )
    outputs = result.sequences[:, batch.length :].tolist()
    assert all(EOS not in output for output in outputs)
    return batch, outputs, result


# What stands in each column ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ALL)
def test_the_prompt_is_the_processors_own(family):
    model = load(family)
    batch = model.encode([LONG])
    if model.processor.chat_template is None:
        text = "<image>Look:  What is y, in full? Explain."
        expected = model.processor(text=[text], images=[[TALL.image]], return_tensors="pt")
    else:
        content = [
            {"type": "text", "text": "Look: "},
            {"type": "image", "image": TALL.image},
            {"type": "text", "text": " What is y, in full? Explain."},
        ]
        expected = model.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
            return_dict=True, return_tensors="pt", processor_kwargs={"padding": False},
        )  # fmt: skip
    assert batch.inputs["input_ids"].tolist() == expected["input_ids"].tolist()
    assert torch.equal(batch.inputs["pixel_values"], expected["pixel_values"])
    assert set(batch.inputs) == set(expected) - {"labels"}


@pytest.mark.parametrize(("family", "count"), [("llava", 1), ("gemma3", 1), ("qwen2-vl", 0)])
def test_the_first_token_is_written_once_whoever_writes_it(family, count):
    ids = load(family).encode([SHORT]).inputs["input_ids"][0].tolist()
    assert ids.count(BOS) == ids[:1].count(BOS) == count


@pytest.mark.parametrize("family", ALL)
def test_question_columns_hold_exactly_the_question(family):
    model = load(family)
    for layout, request in zip(model.encode([SHORT, LONG]).layouts, (SHORT, LONG)):
        question = "".join(part.text for part in request.parts if isinstance(part, Text) and part.question)
        found = model.tokenizer.decode(layout.token_ids[layout.question])
        assert found == (question.lstrip() if family in STRIPS else question)


@pytest.mark.parametrize("family", ALL)
def test_question_columns_are_not_taken_in_by_the_same_words_elsewhere(family):
    model = load(family)
    said = Request("s", (Text("as: s\n"), TALL, Text("s", question=True), Text(" a s user")))
    layout = model.encode([said]).layouts[0]
    column = np.flatnonzero(layout.question)
    assert model.decode(layout.token_ids[column]) == "s"
    after = [t for t in layout.token_ids[column[0] + 1 :].tolist() if t != IMAGE_COLUMN]
    assert model.tokenizer.decode(after).startswith(" a s user")


# columns of WIDE (30 x 20) and TALL (16 x 40) in one request
COLUMNS = {
    "llava": (9, 9),
    "paligemma": (9, 9),
    "gemma3": (4, 4),
    "llava-next": (24, 33),  # 9 of the whole; 3 rows of 5 - 1 patches and their ends, or 6 rows of 3
    "llava-onevision": (10, 10),  # several pictures are not tiled, and each has one end
    "qwen2-vl": (8, 10),
    "qwen2.5-vl": (8, 10),
    "qwen3-vl": (8, 10),
    "idefics3": (20, 12),  # 2 x 2 tiles, 2 x 1 tiles, each with the whole
    "smolvlm": (20, 12),
    "internvl": (20, 16),
}


@pytest.mark.parametrize("family", ALL)
def test_pictures_are_told_apart_even_side_by_side(family):
    model = load(family)
    layout = model.encode([Request("two", (WIDE, TALL, Text("Which?", question=True)))]).layouts[0]
    first, second = (image.columns for image in layout.images)
    assert (len(first), len(second)) == COLUMNS[family]
    assert first.max() < second.min()
    images = np.flatnonzero(layout.token_ids == IMAGE_COLUMN)
    assert np.array_equal(np.concatenate([first, second]), images)


@pytest.mark.parametrize("family", sorted(set(ALL) - {"paligemma"}))
def test_a_prompt_without_a_picture_is_encoded(family):
    model = load(family)
    batch = model.encode([Request("text", (Text("What is 1+1", question=True),))], padding_side="left")
    assert batch.layouts[0].images == ()
    assert model.decode(batch.layouts[0].token_ids[batch.layouts[0].question]) == "What is 1+1"
    assert len(model.generate(batch, max_new_tokens=2)[0]) == 2


@pytest.mark.parametrize("family", ALL)
def test_outputs_follow_the_prompt_and_offsets_tell_the_padding(family):
    model = load(family)
    outputs = [[70, 71], [72, 73, 74]]
    for side in ("left", "right"):
        batch = model.encode([SHORT, LONG], outputs, padding_side=side)
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        for row, (layout, output) in enumerate(zip(batch.layouts, outputs)):
            assert layout.token_ids[layout.prompt_length :].tolist() == output
            assert layout.offset == (batch.length - len(layout) if side == "left" else 0)
            columns = slice(layout.offset, layout.offset + len(layout))
            text = layout.token_ids != IMAGE_COLUMN
            assert ids[row, columns].numpy()[text].tolist() == layout.token_ids[text].tolist()
            assert mask[row].sum() == mask[row, columns].sum() == len(layout)


# Replays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ALL)
def test_a_replay_gives_the_logits_of_generation(family):
    model = load(family)
    _, outputs, result = steps(model, [SHORT, LONG])
    said = torch.stack(result.logits, dim=1)  # (B, steps, V)
    assert said.std() > 0.5
    for side in ("left", "right"):
        batch = model.encode([SHORT, LONG], outputs, padding_side=side)
        with torch.no_grad():
            logits = model.lm_head(model.forward(batch))
        for row, layout in enumerate(batch.layouts):
            first = layout.offset + layout.prompt_length - 1
            replayed = logits[row, first : first + len(outputs[row])]
            torch.testing.assert_close(replayed, said[row], atol=1e-4, rtol=1e-4)
            assert replayed.argmax(-1).tolist() == outputs[row]


def test_positions_start_at_an_items_first_column_as_in_generation():
    model, given = load("llava"), []
    batch = model.encode([SHORT, LONG], padding_side="left")
    handle = model.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["position_ids"]), with_kwargs=True
    )
    try:
        model.forward(batch)
    finally:
        handle.remove()
    for positions, layout in zip(given[0].tolist(), batch.layouts):
        assert positions[layout.offset :] == list(range(len(layout)))


@pytest.mark.parametrize("family", ALL)
def test_a_replay_attends_as_generation_did(family):
    model = load(family)
    model.model.set_attn_implementation("eager")
    try:
        batch, outputs, result = steps(model, [SHORT, LONG], output_attentions=True)
        replay = model.encode([SHORT, LONG], outputs, padding_side="left")
        with torch.no_grad():
            whole = model.model(**replay.inputs, use_cache=False, output_attentions=True).attentions
    finally:
        model.model.set_attn_implementation("sdpa")
    for step, layers in enumerate(result.attentions):
        row = batch.length - 1 + step
        for seen, replayed in zip(layers, whole, strict=True):
            keys = seen.shape[-1]  # a sliding window's cache forgets the oldest columns
            for item, layout in enumerate(replay.layouts):
                expected = replayed[item, :, row, : row + 1]
                got = seen[item, :, -1]
                recent = min(keys, row + 1 - layout.offset)
                torch.testing.assert_close(got[:, -recent:], expected[:, -recent:], atol=1e-5, rtol=1e-4)
                assert expected[:, :-recent].abs().sum() < 1e-6


@pytest.mark.parametrize("family", ALL)
def test_captured_masses_are_those_of_eager_attention(family):
    model = load(family)
    batch = model.encode([SHORT, LONG], [[70, 71], [72, 73, 74]])
    segments = torch.full((2, batch.length), -1)
    for row, layout in zip(segments, batch.layouts):
        row[: len(layout)] = torch.from_numpy(
            np.where(layout.token_ids == IMAGE_COLUMN, 0, 1 + layout.question)
        )
    with torch.no_grad(), capture(model, segments, num_segments=3) as record:
        model.forward(batch)
    model.model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            weights = torch.stack(
                model.model(**batch.inputs, use_cache=False, output_attentions=True).attentions
            )
    finally:
        model.model.set_attn_implementation("sdpa")
    for item, layout in enumerate(batch.layouts):
        for segment in range(3):
            expected = weights[:, item, :, : len(layout), segments[item] == segment].sum(-1)
            got = record.mass[:, item, :, : len(layout), segment]
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ALL)
def test_a_batch_generates_what_each_request_generates_alone(family):
    model = load(family)
    together = model.generate(model.encode([SHORT, LONG], padding_side="left"), max_new_tokens=4)
    for request, output in zip([SHORT, LONG], together):
        alone = model.generate(model.encode([request], padding_side="left"), max_new_tokens=4)
        assert alone == [output]
        assert "".join(token_pieces(model, output)) == model.decode(output)


def test_generation_stops_before_the_end_token_and_is_greedy_whatever_the_checkpoint_says(tmp_path):
    expected = load("llava").generate(load("llava").encode([SHORT], padding_side="left"), max_new_tokens=5)[0]
    folder = write_checkpoint("llava", tmp_path)
    config = {
        "do_sample": True,
        "temperature": 9.0,
        "repetition_penalty": 5.0,
        "num_beams": 3,
        "max_length": 20,
    }
    stop = expected[3]
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [EOS, stop]}))
    model = load_huggingface(folder, device="cpu")
    output = model.generate(model.encode([SHORT], padding_side="left"), max_new_tokens=5)[0]
    assert output == expected[: expected.index(stop)]


def test_generation_needs_left_padding():
    model = load("llava")
    with pytest.raises(ValueError, match="padding_side='left'"):
        model.generate(model.encode([SHORT, LONG]), max_new_tokens=1)


# Answers and heads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted(set(ALL) - {"paligemma"}))
def test_answer_ids_are_those_of_the_chat_template(family):
    model, answer = load(family), "x = 3. In full."
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    text = model.processor.apply_chat_template(turns, tokenize=False)
    whole = model.tokenizer(text[: text.index(answer) + len(answer)], add_special_tokens=False)["input_ids"]
    ids = model.tokenize_answer(answer)
    assert whole[-len(ids) :] == ids
    assert model.decode(ids).lstrip() == answer
    prompt = model.encode([Request("p", (Text("?"),))]).layouts[0].token_ids.tolist()
    assert [token for token in prompt + ids if token != BOS] == [token for token in whole if token != BOS]


def test_a_soft_capped_head_gives_the_models_logits():
    config = transformers.PaliGemmaConfig(
        text_config=transformers.Gemma2Config(**TEXT, head_dim=8, final_logit_softcapping=3.0),
        vision_config=transformers.SiglipVisionConfig(**VISION, projection_dim=32, vision_use_head=False),
        image_token_index=IMAGE_TOKEN,
        projection_dim=32,
    )
    vlm = transformers.PaliGemmaForConditionalGeneration(config).eval()
    model = HuggingFaceModel(vlm, load("paligemma").processor, "softcap")
    batch = model.encode([SHORT])
    with torch.no_grad():
        vlm.get_output_embeddings().weight.normal_()
        expected = vlm(**batch.inputs).logits
        got = model.lm_head(model.forward(batch))
    assert expected.abs().max() > 2.5
    torch.testing.assert_close(got, expected)


def test_logits_made_in_an_unknown_way_are_refused():
    config = load("llava").model.config
    vlm = transformers.LlavaForConditionalGeneration(config).eval()

    def shift(module, args, output):
        output.logits = output.logits + 1
        return output

    vlm.register_forward_hook(shift)
    model = HuggingFaceModel(vlm, load("llava").processor, "odd")
    with pytest.raises(
        VkitError, match=r"model 'odd': LlavaForConditionalGeneration makes its logits in a way"
    ):
        model.lm_head  # noqa: B018


# Refusals: one line, naming what and where -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "word"),
    [("llava", "<image>"), ("qwen2-vl", "<|im_end|>"), ("gemma3", "<start_of_image>"), ("internvl", "<eos>")],
)
def test_text_that_holds_a_special_token_is_refused(family, word):
    with pytest.raises(VkitError, match=r"request 'r7'.*" + word.replace("|", r"\|")):
        load(family).encode([Request("r7", (WIDE, Text(f"a {word} b")))])


def test_text_that_the_chat_template_changes_is_refused(tmp_path):
    folder = write_checkpoint("llava", tmp_path)
    template = FAMILIES["llava"]["template"].replace("c['text']", "c['text'] | upper")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(
        VkitError, match=r"request 'short': the chat template of LlavaProcessor changes the text"
    ):
        load_huggingface(folder, device="cpu").encode([SHORT])


def test_a_checkpoint_without_a_chat_template_is_refused(tmp_path):
    folder = write_checkpoint("llava", tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(VkitError, match="LlavaProcessor: the checkpoint has no chat template"):
        load_huggingface(folder, device="cpu").encode([SHORT])


def test_a_prompt_over_the_models_positions_is_refused_with_counts():
    model = load("llava")
    with pytest.raises(
        VkitError, match=r"request 'big': a prompt of \d{3} columns .* exceed the 512 positions"
    ):
        model.encode([Request("big", (WIDE, Text("y" * 600)))])
    batch = model.encode([SHORT], padding_side="left")
    with pytest.raises(VkitError, match="and 512 output tokens exceed the 512 positions"):
        model.generate(batch, max_new_tokens=512)


def test_a_batch_that_mixes_pictures_and_none_is_refused():
    with pytest.raises(VkitError, match="with and without images in one batch"):
        load("llava").encode([SHORT, Request("text", (Text("?"),))])


def test_paligemma_needs_a_picture():
    with pytest.raises(VkitError, match=r"request 'text': PaliGemmaProcessor refuses it \(.*images"):
        load("paligemma").encode([Request("text", (Text("?"),))])


def test_an_output_with_an_image_token_is_refused():
    with pytest.raises(VkitError, match=f"request 'short': its output holds the image token {IMAGE_TOKEN}"):
        load("llava").encode([SHORT], [[70, IMAGE_TOKEN]])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (transformers.MllamaConfig(), "'mllama' reads its images by cross-attention"),
        (transformers.Florence2Config(), "'florence2' is an encoder-decoder"),
        (transformers.LlamaConfig(), "'llama' is no image-text-to-text model"),
        (transformers.GitConfig(), "'git' names no image token"),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_families_with_images_outside_the_sequence_are_refused_before_their_weights_are_read(
    config, reason, tmp_path
):
    config.save_pretrained(tmp_path)
    with pytest.raises(VkitError, match=reason):
        load_huggingface(tmp_path, device="cpu")


def test_code_of_a_checkpoint_is_never_run(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "my-vlm", "auto_map": {"AutoConfig": "configuration_my.MyConfig"}})
    )
    (tmp_path / "configuration_my.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(VkitError, match=r"model .* cannot be loaded \("):
        load_huggingface(tmp_path, device="cpu")


def test_a_processor_that_is_not_in_transformers_is_refused(tmp_path):
    folder = write_checkpoint("llava", tmp_path)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "MyProcessor"}))
    with pytest.raises(VkitError, match="processor 'MyProcessor' is not in transformers"):
        load_huggingface(folder, device="cpu")


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = write_checkpoint("llava", tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    lost = next(key for key in tensors if "linear_1.weight" in key)
    del tensors[lost]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(VkitError, match=r"1 missing keys in its weights \(.*linear_1.weight\)"):
        load_huggingface(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "file", ["model.safetensors", "tokenizer.json", "processor_config.json", "config.json"]
)
def test_a_file_cut_short_is_told_in_one_line(file, tmp_path):
    path = write_checkpoint("llava", tmp_path) / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VkitError, match="cannot be loaded") as caught:
        load_huggingface(tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_are_loaded_in_the_dtype_that_was_asked_for():
    exact, rough = load("llava"), load_huggingface(checkpoint("llava"), device="cpu", dtype="bfloat16")
    assert {parameter.dtype for parameter in exact.model.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in rough.model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        expected, got = (m.lm_head(m.forward(m.encode([SHORT]))).float() for m in (exact, rough))
    assert (expected - got).abs().mean() < 0.1 * expected.std()


def test_load_model_hands_other_families_to_transformers():
    model = load_model(checkpoint("llava"), device="cpu")
    assert isinstance(model, HuggingFaceModel)
    assert model.name == str(checkpoint("llava"))


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path):
    with pytest.raises(VkitError, match="cannot be loaded") as caught:
        load_huggingface(tmp_path / "nothing", device="cpu")
    assert "\n" not in str(caught.value)


# Adapters ---------------------------------------------------------------------------------------------------


def adapter(folder, base="llava", vlm=None):
    from peft import LoraConfig, get_peft_model

    vlm = vlm or transformers.AutoModelForImageTextToText.from_pretrained(checkpoint(base))
    options = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    tuned = get_peft_model(vlm, options).eval()
    tuned.save_pretrained(folder)
    return tuned


def test_an_adapter_is_merged(tmp_path):
    tuned = adapter(tmp_path)
    model = load_huggingface(checkpoint("llava"), adapter=tmp_path, device="cpu")
    batch = model.encode([SHORT])
    with torch.no_grad():
        logits, expected = model.lm_head(model.forward(batch)), tuned(**batch.inputs).logits
        plain = load("llava").lm_head(load("llava").forward(batch))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert (logits - plain).abs().max() > 0.1


def test_an_adapter_of_another_model_is_refused(tmp_path):
    adapter(tmp_path / "idefics3", base="idefics3")
    with pytest.raises(VkitError, match=r"adapter .* does not fit the model"):
        load_huggingface(checkpoint("llava"), adapter=tmp_path / "idefics3", device="cpu")


def test_an_adapter_of_a_deeper_model_is_refused(tmp_path):
    config = transformers.AutoConfig.from_pretrained(checkpoint("llava"))
    config.text_config.num_hidden_layers += 1
    adapter(tmp_path, vlm=transformers.LlavaForConditionalGeneration(config))
    with pytest.raises(VkitError, match=r"does not fit the model \(it has 24 LoRA tensors, .* takes 20\)"):
        load_huggingface(checkpoint("llava"), adapter=tmp_path, device="cpu")


def test_a_folder_without_an_adapter_config_is_refused(tmp_path):
    with pytest.raises(VkitError, match=r"has no adapter_config\.json"):
        load_huggingface(checkpoint("llava"), adapter=tmp_path, device="cpu")


def test_a_chat_template_kept_with_the_tokenizer_is_used(tmp_path):
    folder = write_checkpoint("llava", tmp_path)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    model = load_huggingface(folder, device="cpu")
    expected = load("llava").encode([SHORT]).inputs["input_ids"]
    assert torch.equal(model.encode([SHORT]).inputs["input_ids"], expected)


def test_the_processor_class_is_the_one_that_the_files_name(tmp_path):
    folder = write_checkpoint("smolvlm", tmp_path)
    write_processor("idefics3", folder)  # as in checkpoints whose model type is another's
    assert type(load_huggingface(folder, device="cpu").processor).__name__ == "Idefics3Processor"
