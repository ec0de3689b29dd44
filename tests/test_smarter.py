"""SmarterVLM: its parts and switches, its loss and its answers."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vkit.errors import VkitError
from vkit.models.qf import masked_mean
from vkit.models.smarter import SmartBatch, Smarter, SmartOutput, predict, smart_loss
from vkit.models.smarter_config import SEQUENCE_STEPS, SmarterConfig
from vkit.models.smarter_parameters import count_parameters, explain_parameters

# Puzzles 3, 7, 9 and 11 have 4, 9, 2 and 5 classes; 16 and 18 answer with sequences.
CONFIG = SmarterConfig(
    puzzles=(3, 16, 7, 18, 9, 11),
    classes=(4, 7, 9, 3, 2, 5),
    sequence=(False, True, False, True, False, False),
    vision_sizes=(5, 3),
    text_size=6,
    repr_size=8,
    hidden=7,
)
ROWS_OF_THE_PAPERS_TABLES = {
    "smarterVLM": {},
    "QF over tokens": {"qf": "tokens"},
    "no QF": {"qf": None},
    "no text in the composite": {"use_text": False},
    "no image in the composite": {"use_image": False},
    "r1 only": {"qf": None, "use_text": False},
    "text only": {"qf": None, "use_image": False},
    "LSTM decoder": {"decoder": "lstm"},
    "single image head": {"single_image_head": True},
    "single backbone": {"vision_sizes": (5,), "qf": "tokens"},
    "three heads": {"heads": 3},
}


def smarter(**switches: object) -> Smarter:
    torch.manual_seed(0)
    return Smarter(replace(CONFIG, **switches)).double().eval()


def batch_of(puzzle: list[int], config: SmarterConfig = CONFIG, seed: int = 1) -> SmartBatch:
    """Random features and answers for these places in ``config.puzzles``."""
    generator = torch.Generator().manual_seed(seed)
    size, text_tokens = len(puzzle), 5

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    places = torch.tensor(puzzle)
    classes, sequence = torch.tensor(config.classes)[places], torch.tensor(config.sequence)[places]
    steps = (torch.rand(size, SEQUENCE_STEPS, generator=generator) * classes[:, None]).long()
    return SmartBatch(
        pooled=draw(size, sum(config.vision_sizes)),
        patches=tuple(draw(size, 4 + k, width) for k, width in enumerate(config.vision_sizes)),
        text=draw(size, text_tokens, config.text_size),
        text_mask=torch.arange(text_tokens) < torch.randint(1, 6, (size, 1), generator=generator),
        puzzle=places,
        target=(torch.rand(size, generator=generator) * classes).long(),
        sequence=steps.masked_fill(~sequence[:, None], -100),
    )


# The model ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_model_is_its_parts_in_the_order_of_the_paper():
    model, batch = smarter(), batch_of([0, 2, 5, 0])
    encoders, gelu = model.image_encoders, nn.functional.gelu
    r1 = torch.stack(
        [
            gelu(y @ encoders.first.weight[p] + encoders.first.bias[p]) @ encoders.second.weight[p]
            + encoders.second.bias[p]
            for y, p in zip(batch.pooled, batch.puzzle)
        ]
    )
    r2 = model.qf(batch.text, r1, batch.text_mask)
    r3 = masked_mean(batch.text, batch.text_mask)
    composite = nn.functional.layer_norm(
        torch.cat([r1, r2, r3], 1), (8 + 6 + 6,), model.composite.weight, model.composite.bias, 1e-6
    )
    first, second, norm = model.fusion[0], model.fusion[2], model.fusion[4]
    fused = norm(gelu(second(gelu(first(composite)))))
    kind = torch.tensor([0, 1, 3, 0])  # places among the puzzles whose answer is one class
    torch.testing.assert_close(model(batch).logits, model.decoders(fused, kind))


@pytest.mark.parametrize("row", ROWS_OF_THE_PAPERS_TABLES)
def test_each_row_of_the_papers_tables_learns_from_a_mixed_batch(row):
    model = smarter(**ROWS_OF_THE_PAPERS_TABLES[row]).train()
    batch = batch_of([1, 0, 3, 4, 0, 2, 1, 5], model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = smart_loss(model(batch), batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0], losses


@torch.no_grad()
@pytest.mark.parametrize(
    ("switches", "reads"),
    [
        ({"qf": None, "use_text": False}, {"pooled"}),
        ({"qf": None, "use_image": False}, {"text"}),
        ({"qf": None}, {"pooled", "text"}),
        ({"qf": "paper", "use_text": False}, {"pooled"}),
        ({"qf": "paper", "use_image": False}, {"pooled", "text"}),
        ({"qf": "tokens"}, {"pooled", "text", "patches"}),
        ({"qf": "tokens", "use_text": False, "use_image": False}, {"text", "patches"}),
    ],
)
def test_a_switch_decides_what_the_answer_depends_on(switches, reads):
    model, batch = smarter(**switches), batch_of([0, 2, 4, 5])
    expected = model(batch).logits
    changes = {
        "pooled": replace(batch, pooled=batch.pooled.flip(0)),
        "text": replace(batch, text=batch.text.flip(0)),
        "patches": replace(batch, patches=tuple(states.flip(0) for states in batch.patches)),
    }
    seen = {
        name
        for name, changed in changes.items()
        if not torch.allclose(model(changed).logits, expected, rtol=0, atol=1e-9)
    }
    assert seen == reads


@torch.no_grad()
@pytest.mark.parametrize("qf", ["paper", "tokens", None])
def test_neither_padding_nor_the_rest_of_the_batch_changes_an_answer(qf):
    model, batch = smarter(qf=qf), batch_of([1, 0, 2, 1, 5, 3])
    output = model(batch)
    spoiled = torch.where(batch.text_mask[..., None], batch.text, torch.full_like(batch.text, 99.0))
    torch.testing.assert_close(model(replace(batch, text=spoiled)).logits, output.logits)
    for row, place in enumerate(batch.puzzle.tolist()):
        alone = model(select(batch, torch.tensor([row])))
        if CONFIG.sequence[place]:
            torch.testing.assert_close(alone.sequence_logits[0], output.sequence_logits[row])
        else:
            torch.testing.assert_close(alone.logits[0], output.logits[row])


def select(batch: SmartBatch, rows: torch.Tensor) -> SmartBatch:
    fields = {
        name: getattr(batch, name)[rows]
        for name in ("pooled", "text", "text_mask", "puzzle", "target", "sequence")
    }
    return SmartBatch(patches=tuple(states[rows] for states in batch.patches), **fields)


def test_puzzles_outside_the_batch_get_no_gradient():
    model, batch = smarter(), batch_of([2, 1, 2])
    smart_loss(model(batch), batch).backward()
    encoders = model.image_encoders.first.weight.grad.abs().amax((1, 2))
    assert (encoders > 0).tolist() == [False, True, True, False, False, False]
    decoders = model.decoders.first.weight.grad.abs().amax((1, 2))  # of puzzles 3, 7, 9, 11
    assert (decoders > 0).tolist() == [False, True, False, False]
    last = model.decoders.last.weight.grad.abs().amax(1)  # 4, 9, 2 and 5 classes
    assert (last > 0).tolist() == [False] * 4 + [True] * 9 + [False] * 7
    recurrent = model.sequence_decoders.recurrent.weight.grad.abs().amax((1, 2))  # of puzzles 16 and 18
    assert (recurrent > 0).tolist() == [True, False]


def test_cached_half_precision_features_are_read():
    model, batch = smarter().float(), batch_of([0, 1, 2])
    half = replace(batch, pooled=batch.pooled.half(), text=batch.text.half())
    torch.testing.assert_close(model(half).logits, model(batch).logits, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("decoder", ["gru", "lstm"])
def test_autocast_trains_near_full_precision(decoder):
    model, batch = smarter(qf="tokens", decoder=decoder).float(), batch_of([0, 1, 2, 3, 1])
    expected = smart_loss(model(batch), batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = smart_loss(model(batch), batch)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# The loss -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 99))
def test_loss_is_the_mean_over_puzzles_of_their_mean_cross_entropy(puzzle, seed):
    batch = batch_of(puzzle, seed=seed)
    ended = batch.sequence.clone()
    ended[:, 7:] = -100  # steps that do not count
    batch = replace(batch, sequence=ended)
    output = smarter()(batch)
    means = []
    for place in sorted(set(puzzle)):
        losses = []
        for row in (batch.puzzle == place).nonzero().flatten().tolist():
            if CONFIG.sequence[place]:
                scores, labels = output.sequence_logits[row, :7], batch.sequence[row, :7]
            else:
                scores, labels = output.logits[row, None], batch.target[row, None]
            likelihood = torch.softmax(scores[:, : CONFIG.classes[place]], -1)
            losses.append(-likelihood.gather(1, labels[:, None]).log().mean())
        means.append(torch.stack(losses).mean())
    torch.testing.assert_close(smart_loss(output, batch), torch.stack(means).mean())


def test_gradients_of_the_loss_are_finite_everywhere():
    model, batch = smarter(), batch_of([0, 1, 2, 3, 4, 5])
    smart_loss(model(batch), batch).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("field", "value"),
    [("target", 4), ("target", 400), ("target", -100), ("sequence", 7), ("sequence", -100)],
)
def test_an_answer_that_is_no_class_of_its_puzzle_is_refused(field, value):
    batch = batch_of([2, 0, 1])  # the row to spoil: 1 has 4 classes; 2 is a sequence of 7
    row = 1 if field == "target" else 2
    labels = getattr(batch, field).clone()
    labels[row] = value
    spoiled = replace(batch, **{field: labels})
    with pytest.raises(VkitError, match=f"row {row} of the batch has no finite loss"):
        smart_loss(smarter()(spoiled), spoiled)


# Answers ------------------------------------------------------------------------------------------------


def test_predict_gives_a_class_or_a_tuple_of_ten():
    output = SmartOutput(
        logits=torch.tensor([[0.0, 2.0, 1.0], [-torch.inf] * 3, [5.0, 0.0, -torch.inf]]),
        sequence_logits=torch.nn.functional.one_hot(torch.arange(30).view(3, 10) % 4, 4).float(),
        is_sequence=torch.tensor([False, True, False]),
    )
    assert predict(output) == [1, (2, 3, 0, 1, 2, 3, 0, 1, 2, 3), 0]
    assert predict(replace(output, sequence_logits=None, is_sequence=torch.zeros(3, dtype=torch.bool)))[
        ::2
    ] == [
        1,
        0,
    ]


@torch.no_grad()
def test_predictions_are_classes_of_their_puzzle():
    puzzle = [0, 1, 2, 3, 4, 5] * 4
    for place, value in zip(puzzle, predict(smarter()(batch_of(puzzle)))):
        values = value if isinstance(value, tuple) else (value,)
        assert len(values) == (SEQUENCE_STEPS if CONFIG.sequence[place] else 1)
        assert all(0 <= each < CONFIG.classes[place] for each in values)


# Parameters ---------------------------------------------------------------------------------------------


def test_parameters_at_the_papers_sizes_explain_the_papers_count():
    puzzles = tuple(range(1, 102))
    sequence = tuple(puzzle in (16, 18, 35, 39, 63, 100) for puzzle in puzzles)
    with torch.device("meta"):
        model = Smarter(SmarterConfig(puzzles, (10,) * 101, sequence))
    counts = count_parameters(model)
    assert counts == {
        "image_encoders": 101 * (1536 * 128 + 128 + 128 * 128 + 128),
        "qf": 3_124_480 - 168_192,
        "composite": 2 * 1664,
        "fusion": 229_888,
        "decoders": 95 * (2 * (128 * 128 + 128) + 129 * 10),
        "sequence_decoders": 6 * (2 * (128 * 384 + 384) + 129 * 10),
        "total": sum(parameter.numel() for parameter in model.parameters()),
    }
    table = explain_parameters(model).splitlines()
    assert table[-1].split()[1:3] == [f"{counts['total']:,}", "29,623,375"]
    released = [int(line[30:42].replace(",", "")) for line in table[1:-1]]
    assert sum(released) == 29_623_375
    assert min(released) >= 0


def test_parts_that_are_switched_off_have_no_parameters():
    counts = count_parameters(smarter(qf=None, use_image=False))
    assert counts["qf"] == counts["image_encoders"] == 0
    one, many = (count_parameters(smarter(single_image_head=single)) for single in (True, False))
    assert many["image_encoders"] == 6 * one["image_encoders"]


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"classes": (4, 7)}, "got 6, 2 and 6"),
        ({"classes": (4, 7, 9, 0, 2, 5)}, "puzzle 18 has 0 classes"),
        ({"decoder": "rnn"}, "no decoder is called 'rnn'"),
        ({"qf": None, "use_image": False, "use_text": False}, "nothing is left to answer from"),
        ({"qf": "plain"}, "no QF layer is called 'plain'"),
    ],
)
def test_a_configuration_that_is_no_model_is_refused(switches, message):
    with pytest.raises(VkitError, match=message):
        smarter(**switches)


def test_a_batch_that_does_not_fit_the_model_is_refused():
    batch = batch_of([0, 2])
    for spoiled, message in (
        (replace(batch, puzzle=torch.tensor([0, 6])), "puzzles 0 to 6, the model has places 0 to 5"),
        (replace(batch, puzzle=torch.tensor([-1, 0])), "puzzles -1 to 0"),
        (replace(batch, pooled=batch.pooled[:, :5]), r"\(5, 6\) wide, the model was built for \(8, 6\)"),
        (replace(batch, patches=None), r"reads patches of widths \(5, 3\), the batch has none"),
    ):
        with pytest.raises(VkitError, match=message):
            smarter(qf="tokens")(spoiled)


def test_a_question_without_text_is_refused():
    batch = batch_of([0, 2])
    with pytest.raises(VkitError, match="row 1 of the batch has no text"):
        replace(batch, text_mask=torch.tensor([[True] * 5, [False] * 5]))


def test_a_batch_moves_all_but_its_plan():
    moved = batch_of([0, 1]).to("meta")
    assert moved.puzzle.device.type == "cpu"
    for name in ("pooled", "text", "text_mask", "target", "sequence"):
        assert getattr(moved, name).device.type == "meta", name
    assert all(states.device.type == "meta" for states in moved.patches)
