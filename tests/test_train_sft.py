"""Supervised fine-tuning: answers are learned, questions are not."""

import json

import pytest
import torch

from tests.tiny_checkpoints import write_checkpoint
from tests.training_data import write_pairs, write_tests
from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.models.protocol import Text
from vkit.models.tiny import build_tiny
from vkit.models.tinyllava import next_token_loss
from vkit.models.training import choose_trainable
from vkit.records import Sample, write_samples
from vkit.train.data import open_examples
from vkit.train.recipes import SftRecipe
from vkit.train.sft import SftTask
from vkit.train.task import Totals


def make_task(path, **values):
    recipe = SftRecipe(**values)
    model = build_tiny(seed=2)
    choose_trainable(model, recipe.train)
    model.model.eval()
    return SftTask(model, open_examples([path], recipe), recipe)


def step_loss(task, indices):
    micro = task.read(indices)[0]
    return task(micro, Totals(micro.tokens, micro.items))[0]


def gradients(task, loss):
    task.network.zero_grad(set_to_none=True)
    loss.backward()
    return torch.cat([p.grad.flatten() for _, p in task.trainable() if p.grad is not None])


def test_the_loss_is_plain_cross_entropy_of_the_answers(tmp_path):
    task = make_task(write_tests(tmp_path, 1))
    batch = task.encode([task.examples[i] for i in range(5)]).batches[0]
    expected = next_token_loss(task.adapter.lm_head(task.adapter.forward(batch)), batch.labels)
    found = step_loss(task, range(5))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    one, other = gradients(task, found), gradients(task, expected)
    assert (one - other).norm() <= 1e-5 * other.norm()


def test_packing_changes_nothing_but_the_shape(tmp_path):
    path = write_tests(tmp_path, 1)
    plain, packed = make_task(path), make_task(path, pack_to=300)
    one, other = step_loss(plain, range(5)), step_loss(packed, range(5))
    assert one.item() == pytest.approx(other.item(), rel=1e-5)
    expected = gradients(plain, one)
    assert (gradients(packed, other) - expected).norm() <= 1e-5 * expected.norm()


def conversation(turns, **more):
    said = [{"from": who, "value": text} for pair in turns for who, text in zip(("human", "gpt"), pair)]
    return {"id": "c", "conversations": said, **more}


def test_every_answer_of_a_conversation_is_learned(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(conversation([("1+1?", "2"), ("And 2+2?", "4"), ("Thanks.", "Fine.")])) + "\n")
    task = make_task(path)
    labels = task.read([0])[0].batches[0].labels[0]
    learned = task.adapter.tokenizer.decode(labels[labels != -100].tolist())
    assert [text.strip() for text in learned.split("<|endoftext|>") if text] == ["2", "4", "Fine."] or [
        text.strip() for text in learned.split("</s>") if text
    ] == ["2", "4", "Fine."]


def test_conversations_may_share_an_id_and_problems_may_not(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text(2 * (json.dumps(conversation([("1+1?", "2")])) + "\n"))
    assert len(open_examples([path], SftRecipe())) == 2


@pytest.mark.parametrize(
    ("twins", "expected"), [("text", (3, False)), ("both", (6, None)), ("vision", (3, True))]
)
def test_pairs_are_learned_by_their_sides(tmp_path, twins, expected):
    examples = open_examples([write_pairs(tmp_path, 3)], SftRecipe(twins=twins))
    pictures = {bool(examples[i].request.images) for i in range(len(examples))}
    assert len(examples) == expected[0]
    assert pictures == ({True, False} if expected[1] is None else {expected[1]})


def test_text_alone_is_learned_without_the_picture_that_its_twin_has(tmp_path):
    path = write_pairs(tmp_path, 3, strong="text-dominant")
    whole, alone = (open_examples([path], SftRecipe(twins=twins))[0].request for twins in ("both", "text"))
    assert whole.images
    assert not alone.images
    words = [[part.text for part in request.parts if isinstance(part, Text)] for request in (whole, alone)]
    assert words[0] == words[1]


def test_a_problem_without_a_rationale_is_refused_by_id(tmp_path):
    path = tmp_path / "problems.jsonl"
    write_samples(
        path, [Sample("a", "1+1?", answer="2", rationale="1+1=2."), Sample("b", "2+2?", answer="4")]
    )
    with pytest.raises(VkitError, match=r"record 2 \('b'\): has no rationale to learn"):
        open_examples([path], SftRecipe())
    assert len(open_examples([path], SftRecipe(), skip_bad=True)) == 1
    assert open_examples([path], SftRecipe(target="answer"))[1].answer == "4"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "question": "x", "rationale": "y", "choises": []}', "unknown key 'choises'"),
        ("nonsense", "not JSON"),
        ('{"id": "1", "question": "x", "rationale": "y", "image": "../up.png"}', "lies outside its folder"),
        ('{"id": "0", "question": "x", "rationale": "y"}', "stands twice"),
        ('{"id": "1", "question": "\\ud800", "rationale": "y"}', "half a character"),
    ],
)
def test_bad_records_are_named_by_file_and_line(tmp_path, line, reason):
    path = tmp_path / "problems.jsonl"
    path.write_text('{"id": "0", "question": "x", "rationale": "y"}\n' + line + "\n")
    with pytest.raises(VkitError, match=f"record 2.*{reason}"):
        open_examples([path], SftRecipe())


def test_a_line_that_is_no_text_is_a_bad_record_like_others(tmp_path):
    path = tmp_path / "problems.jsonl"
    good = b'{"id": "%d", "question": "Find x.", "rationale": "5"}\n'
    path.write_bytes(good % 1 + b'{"id": "\xff"}\n' + good % 3)
    with pytest.raises(VkitError, match=r"record 2: not UTF-8 text .*--skip-bad"):
        open_examples([path], SftRecipe())
    examples = open_examples([path], SftRecipe(), skip_bad=True)
    assert [examples[i].request.id for i in range(len(examples))] == ["1", "3"]


def test_files_of_different_kinds_are_refused(tmp_path):
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"id": "0", "question": "x", "rationale": "y"}\n')
    with pytest.raises(VkitError, match="different kinds"):
        open_examples([problems, write_pairs(tmp_path, 1)], SftRecipe())


@pytest.mark.parametrize("family", ["llava", "qwen2-vl"])
def test_hugging_face_models_learn_too(tmp_path, family):
    recipe = SftRecipe(train=("connector", "language_model"))
    model = load_model(write_checkpoint(family, tmp_path / "model"), device="cpu")
    choose_trainable(model, recipe.train)
    task = SftTask(model, open_examples([write_pairs(tmp_path, 2)], recipe), recipe)
    loss = step_loss(task, range(4))  # texts with and without pictures, in batches of their own
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.any() for _, p in task.trainable())
