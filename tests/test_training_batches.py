"""Batches to learn from: labels are the answers of every turn, each to its stop token, and nothing else."""

import json
from functools import cache

import pytest
import torch
from PIL import Image

from tests.test_huggingface import ALL, LONG, SHORT, TALL, WIDE, checkpoint
from tests.tiny_checkpoints import EOS, FAMILIES, TURNS, temporary_folder, write_checkpoint
from vkit.errors import VkitError
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.protocol import IGNORE_INDEX, IMAGE_COLUMN, Picture, Request, Text, TrainingBatch
from vkit.models.tiny import build_stand_in, build_tiny
from vkit.models.tinyllava import IMAGE_TOKEN, next_token_loss
from vkit.models.tinyllava_prompt import SYSTEM
from vkit.models.training import PARTS, part_of

PICTURE = Picture(Image.new("RGB", (20, 12), "red"))
FIRST = Request("t1", (PICTURE, Text("Find x.", question=True)))
SECOND = Request("t2", (Text(" And y?", question=True),))
THIRD = Request("t3", (Text("Why?", question=True),))


def learned(model, batch, row=0):
    """The learned text of an item, runs parted by |, and a check that each label is its column's token."""
    layout, text, last = batch.layouts[row], "", None
    for column in (batch.labels[row] != IGNORE_INDEX).nonzero().flatten().tolist():
        token = batch.labels[row, column].item()
        assert token == layout.token_ids[column - layout.offset]
        text += "|" if last is not None and column > last + 1 else ""
        text += model.tokenizer.decode([token])
        last = column
    return text


# TinyLLaVA --------------------------------------------------------------------------------------------------


@cache
def llava_of(kind):
    return build_stand_in() if kind == "phi" else build_tiny()


@pytest.mark.parametrize("kind", ["phi", "llama"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_answers_of_every_turn_are_learned_and_nothing_else(kind, side):
    model = llava_of(kind)
    end = model.eos
    batch = model.encode_training(
        [SECOND, THIRD, FIRST],
        ["y is 4.", "It is so.", "x"],
        history=[[(FIRST, "x is 3.")], [(FIRST, "x is 3."), (SECOND, " (B)\n")], []],
        padding_side=side,
    )
    assert isinstance(batch, TrainingBatch)
    assert learned(model, batch) == f" x is 3.{end}| y is 4.{end}"
    assert learned(model, batch, 1) == f" x is 3.{end}|  (B)\n{end}| It is so.{end}"
    assert learned(model, batch, 2) == f" x{end}"
    last = batch.layouts[1]
    assert model.decode(last.token_ids[last.prompt_length :]) == " It is so."


@pytest.mark.parametrize("kind", ["phi", "llama"])
def test_turns_follow_an_answers_end_with_nothing_between(kind):
    model = llava_of(kind)
    history = [[(FIRST, "x is 3."), (SECOND, "4")]]
    ids = model.encode_training([THIRD], ["So."], history=history).inputs["input_ids"][0].tolist()
    place = ids.index(IMAGE_TOKEN)
    assert ids[:place] == model.tokenizer(f"{SYSTEM} USER: ")["input_ids"]
    turns = ("\nFind x. ASSISTANT: x is 3.", "USER:  And y? ASSISTANT: 4", "USER: Why? ASSISTANT: So.")
    rest = "".join(turn + model.eos for turn in turns)
    assert ids[place + 1 :] == model.tokenizer(rest)["input_ids"]


def test_questions_of_every_turn_are_marked():
    model = llava_of("phi")
    layout = model.encode_training([SECOND], ["4"], history=[[(FIRST, "Find 3")]]).layouts[0]
    assert model.decode(layout.token_ids[layout.question]) == "Find x. And y?"
    assert (layout.token_ids == IMAGE_COLUMN).sum() == len(layout.images[0].columns) == 64


def test_a_conversation_without_history_is_a_single_turn():
    model = llava_of("phi")
    plain, empty = (model.encode_training([FIRST], ["4"], history=history) for history in (None, [[]]))
    assert torch.equal(plain.labels, empty.labels)
    assert torch.equal(plain.inputs["input_ids"], empty.inputs["input_ids"])


@pytest.mark.parametrize(
    ("request_", "answer", "history", "message"),
    [
        (FIRST, "x", [(SECOND, "y")], "request 't1': turn 2 shows a picture, .* show it there"),
        (SECOND, "x", [(FIRST, " \n")], "request 't2': the answer is empty, nothing to learn"),
        (SECOND, "", [(FIRST, "x")], "request 't2': the answer is empty, nothing to learn"),
        (SECOND, "x", [(FIRST, "a <image>")], "request 't2' holds the text '<image>'"),
        (SECOND, "a <|endoftext|>", [(FIRST, "x")], "request 't2': answer .* holds the text '<|endoftext|>'"),
        (SECOND, "7" * 2000, [(FIRST, "x")], r"request 't2': prompt and output take 2\d\d\d columns"),
        (SECOND, "7", [(FIRST, "9" * 2000)], r"request 't2': the prompt takes 2\d\d\d columns"),
    ],
)
def test_conversations_that_cannot_be_learned_from_are_refused_by_id(request_, answer, history, message):
    with pytest.raises(VkitError, match=message.replace("|", r"\|")):
        llava_of("phi").encode_training([request_], [answer], history=[history])


def test_an_earlier_answer_that_joins_the_words_around_it_is_refused():
    from tokenizers import pre_tokenizers

    model = build_stand_in()
    model.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    model.tokenizer.backend_tokenizer.add_tokens([": yes"])
    with pytest.raises(VkitError, match="request 't2': an earlier answer shares a token with the prompt"):
        model.encode_training([SECOND], ["x"], history=[[(FIRST, "yes")]])


def test_answers_and_histories_must_be_one_for_each_request():
    with pytest.raises(VkitError, match="2 requests but 1 answers; give one for each"):
        llava_of("phi").encode_training([FIRST, FIRST], ["x"])
    with pytest.raises(VkitError, match="1 requests but 2 histories; give one for each"):
        llava_of("phi").encode_training([FIRST], ["x"], history=[[], []])


def test_models_say_whether_pictures_and_none_may_share_a_batch():
    assert llava_of("phi").mixes_pictures
    assert learned(llava_of("phi"), llava_of("phi").encode_training([FIRST, SECOND], ["a", "b"]), 1)
    assert not load("llava").mixes_pictures
    with pytest.raises(VkitError, match="with and without images in one batch"):
        load("llava").encode_training([SHORT, SECOND], ["a", "b"])


# Hugging Face -----------------------------------------------------------------------------------------------


@cache
def load(family):
    return load_huggingface(checkpoint(family), device="cpu")


ENDS = {"qwen2-vl": "<|im_end|>", "gemma3": "<end_of_turn>", "idefics3": "<end_of_utterance>"}
LEADS = {"idefics3": " "}


@cache
def chatty(family="qwen2-vl"):
    """A model whose turns end with a stop token, as those on the hub do."""
    folder = write_checkpoint(family, temporary_folder())
    stops = [EOS, FAMILIES[family]["tokens"][ENDS[family]]]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops, "temperature": 0.7}))
    return load_huggingface(folder, device="cpu")


@pytest.mark.parametrize("family", ["qwen2-vl", "gemma3", "idefics3"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_answer_ends_with_the_templates_stop_token(family, side):
    model = chatty(family)
    batch = model.encode_training([SHORT, LONG], ["x = 3", "y"], padding_side=side)
    lead = LEADS.get(family, "")
    assert learned(model, batch) == f"{lead}x = 3{ENDS[family]}"
    assert learned(model, batch, 1) == f"{lead}y{ENDS[family]}"


def test_an_answer_ends_with_the_end_token_where_the_template_writes_none():
    assert learned(load("llava"), load("llava").encode_training([SHORT], ["x = 3"])) == " x = 3<eos>"
    assert learned(load("paligemma"), load("paligemma").encode_training([SHORT], ["x = 3"])) == "x = 3<eos>"
    # A template's own end that the model does not stop at is learned with it, and the closing blanks are not.
    batch = load("qwen2-vl").encode_training([SHORT], ["x = 3"])
    assert learned(load("qwen2-vl"), batch) == "x = 3<|im_end|><eos>"


@pytest.mark.parametrize("family", ["qwen2-vl", "gemma3", "idefics3"])
def test_every_turn_of_a_conversation_is_learned_as_the_template_writes_it(family):
    model, lead, end = chatty(family), LEADS.get(family, ""), ENDS[family]
    history = [[(SHORT, "x is 3."), (Request("2", (TALL, Text("Why?"))), "So.")]]
    batch = model.encode_training([THIRD], ["It is."], history=history)
    assert learned(model, batch) == f"{lead}x is 3.{end}|{lead}So.{end}|{lead}It is.{end}"
    said = [
        ("user", [{"type": "image", "image": WIDE.image}, {"type": "text", "text": "Find x = 3."}]),
        ("assistant", [{"type": "text", "text": "x is 3."}]),
        ("user", [{"type": "image", "image": TALL.image}, {"type": "text", "text": "Why?"}]),
        ("assistant", [{"type": "text", "text": "So."}]),
        ("user", [{"type": "text", "text": "Why?"}]),
        ("assistant", [{"type": "text", "text": "It is."}]),
    ]
    whole = model.processor.apply_chat_template(
        [{"role": role, "content": content} for role, content in said], tokenize=True, return_dict=True,
        return_tensors="pt", processor_kwargs={"padding": False},
    )  # fmt: skip
    ids = batch.inputs["input_ids"][0].tolist()
    assert whole["input_ids"][0].tolist()[: len(ids)] == ids
    assert torch.equal(batch.inputs["pixel_values"], whole["pixel_values"])
    assert len(batch.layouts[0].images) == 2


def test_a_template_without_a_stop_token_takes_one_turn():
    with pytest.raises(VkitError, match=r"request 't2': .* writes no stop token after an answer"):
        load("llava").encode_training([SECOND], ["x"], history=[[(SHORT, "x")]])
    with pytest.raises(VkitError, match="request 't2': PaliGemmaProcessor has no chat template"):
        load("paligemma").encode_training([SECOND], ["x"], history=[[(SHORT, "x")]])


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path):
    """As those that leave the thoughts out of all answers but the last."""
    folder = write_checkpoint("qwen2-vl", tmp_path)
    template = FAMILIES["qwen2-vl"]["template"].replace(
        "<|im_start|>{{ m['role'] }}",
        "<|im_start|>{{ m['role'] }}{% if m['role'] == 'assistant' and loop.last %} thinks{% endif %}",
    )
    (folder / "chat_template.jinja").write_text(template)
    stops = [EOS, TURNS["<|im_end|>"]]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    model = load_huggingface(folder, device="cpu")
    with pytest.raises(
        VkitError, match=r"request 't2': .* writes an earlier turn otherwise than when it was"
    ):
        model.encode_training([SECOND], ["x"], history=[[(SHORT, "x")]])


def test_answers_that_cannot_be_learned_are_refused_by_id():
    with pytest.raises(VkitError, match="request 'short': the answer is empty"):
        load("llava").encode_training([SHORT], [" "])
    with pytest.raises(VkitError, match="request 'short': its answer holds '<image>'"):
        load("llava").encode_training([SHORT], ["an <image>"])
    with pytest.raises(VkitError, match=r"request 't2': its text holds '<\|im_end\|>'"):
        chatty().encode_training([SECOND], ["x"], history=[[(SHORT, "x<|im_end|>")]])
    with pytest.raises(VkitError, match=r"request 'short': a prompt of \d+ columns and 6\d\d output tokens"):
        load("llava").encode_training([SHORT], ["7" * 600])


@pytest.mark.parametrize("family", ALL)
def test_a_forward_in_training_carries_gradients_and_computes_what_evaluation_does(family):
    model = load_huggingface(checkpoint(family), device="cpu")
    batch = model.encode_training([SHORT, LONG], ["x = 3", "y is 4"])
    with torch.no_grad():
        expected = model.forward(batch)
    model.model.train()
    hidden = model.forward(batch)
    for row, layout in enumerate(batch.layouts):
        columns = slice(len(layout))
        torch.testing.assert_close(hidden[row, columns], expected[row, columns], atol=1e-5, rtol=1e-5)
    next_token_loss(model.lm_head(hidden), batch.labels).backward()
    assert model.model.training
    reached = {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None}
    assert {part_of(model)[name] for name in reached} == set(PARTS)
    assert {name for name, part in part_of(model).items() if part == "language_model"} <= reached.keys()
    assert all(gradient.isfinite().all() for gradient in reached.values())


@pytest.mark.parametrize("family", ALL)
def test_a_saved_model_is_read_back_whole(family, tmp_path):
    model = load(family)
    model.save(tmp_path / "saved")
    assert list((tmp_path / "saved").glob("*.safetensors"))
    again = load_huggingface(tmp_path / "saved", device="cpu")
    one, other = (each.encode_training([SHORT, LONG], ["x = 3", "y"]) for each in (model, again))
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.inputs["input_ids"], other.inputs["input_ids"])
    assert torch.equal(one.inputs["pixel_values"], other.inputs["pixel_values"])
    with torch.no_grad():
        assert torch.equal(model.lm_head(model.forward(one)), again.lm_head(again.forward(other)))


def test_a_saved_model_keeps_the_checkpoints_generation_settings(tmp_path):
    chatty().save(tmp_path)
    kept = json.loads((tmp_path / "generation_config.json").read_text())
    assert kept["temperature"] == 0.7
    assert kept["eos_token_id"] == [EOS, TURNS["<|im_end|>"]]
