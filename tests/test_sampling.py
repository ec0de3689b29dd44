"""Sampling: the frequencies of the softmax, and draws that belong to the record and to nothing else."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from tests.tiny_checkpoints import temporary_folder, write_checkpoint
from vkit.errors import VkitError
from vkit.models import sampling
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.loading import load_model
from vkit.models.protocol import Request, Text
from vkit.models.sampling import GREEDY, Chooser, Sampling, gumbel, philox

WORD = 0xFFFFFFFF
CPU = torch.device("cpu")


@cache
def load(adapter):
    """A random model whose logits lie wide apart."""
    if adapter == "huggingface":
        return load_huggingface(write_checkpoint("llava", temporary_folder()), device="cpu")
    model = load_model("tiny-random", device="cpu")
    with torch.no_grad():
        model.lm_head.weight.normal_(std=0.4, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture(params=["tinyllava", "huggingface"])
def model(request):
    return load(request.param)


def ask(id_, text="In a right triangle, find x."):
    return Request(id_, (Text(text, question=True),))


def draw(model, requests, how, tokens=6):
    """The output of each request by its id, from one batch."""
    batch = model.encode(requests, padding_side="left")
    return dict(zip(batch.ids, model.generate(batch, max_new_tokens=tokens, sampling=how)))


def chi_square_p(counts, probability):
    """Of counts (V,) under probability (V,); the cells where less than 5 are expected are one cell."""
    expected = counts.sum() * probability
    cell = np.where(expected < 5, len(expected), np.arange(len(expected)))
    observed, expected = np.bincount(cell, counts), np.bincount(cell, expected)
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert len(observed) > 10
    return stats.chisquare(observed, expected).pvalue


# The noise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),  # the known answers that the authors' Random123 comes with
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([WORD] * 4, [WORD] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_generator_gives_its_published_words(counter, key, expected):
    words = philox([torch.tensor([word]) for word in counter], [torch.tensor([word]) for word in key])
    assert [word.item() for word in words] == expected


def test_the_noise_is_gumbels():
    streams = torch.tensor([[1, 2, 3, 4], [WORD, 0, WORD, 7]])
    for step in (0, 1000):
        for row in gumbel(streams, step, 40_001).numpy():
            assert stats.kstest(row, "gumbel_r").pvalue > 0.001
            assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("word", [0, 1, WORD - 1, WORD])
def test_the_rarest_noise_is_finite(monkeypatch, word):
    monkeypatch.setattr(sampling, "philox", lambda counter, key: [torch.full((1, 1), word)] * 4)
    noise = gumbel(torch.zeros(1, 4, dtype=torch.long), 0, 3)
    assert noise.isfinite().all()
    assert (noise[0, 0] > 21) if word < 2 else (noise[0, 0] < -2.8)


def test_noise_belongs_to_the_seed_the_record_the_step_and_the_token():
    def noise(seed, id_, step):
        return Chooser(Sampling(1.0, seed=seed), [id_], CPU).scores(torch.zeros(1, 2001), step).numpy()[0]

    assert np.array_equal(noise(1, "a", 2), noise(1, "a", 2))
    others = [noise(*key) for key in ((2, "a", 2), (1, "b", 2), (1, "a", 3), (-1, "a", 2), (1, "A", 2))]
    assert np.abs(np.corrcoef([noise(1, "a", 2), *others]) - np.eye(6)).max() < 0.1
    # The seed and the id do not run into each other.
    assert not np.array_equal(noise(1, "1 a", 0), noise(11, "a", 0))


def test_scores_are_the_same_bit_for_bit_in_every_batch():
    torch.manual_seed(0)
    ids, logits = [f"record {n}" for n in range(7)], torch.randn(7, 1013) * 5
    for how in (Sampling(0.7, seed=3), Sampling(1.3, top_p=0.8)):
        whole = Chooser(how, ids, CPU).scores(logits, 5)
        for row, id_ in enumerate(ids):
            assert torch.equal(Chooser(how, [id_], CPU).scores(logits[row : row + 1], 5)[0], whole[row])
        assert torch.equal(Chooser(how, ids[::-1], CPU).scores(logits.flip(0), 5).flip(0), whole)


# The draws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "top_p"), [(2.0, 1.0), (4.0, 1.0), (4.0, 0.7)])
def test_first_tokens_come_as_often_as_the_softmax_says(model, temperature, top_p):
    count = 1500
    batch = model.encode([ask("probe")])
    with torch.no_grad():
        logits = model.lm_head(model.forward(batch)[:, -1])[0].double()
    probability = torch.softmax(logits / temperature, 0).numpy()
    order = np.argsort(-probability)
    kept = order[: np.searchsorted(probability[order].cumsum(), top_p) + 1]
    probability = np.where(np.isin(np.arange(len(probability)), kept), probability, 0)
    probability /= probability.sum()
    counts = np.zeros_like(probability)
    how = Sampling(temperature, top_p=top_p, seed=11)
    for start in range(0, count, 500):
        requests = [ask(f"r{number}") for number in range(start, start + 500)]
        for output in draw(model, requests, how, tokens=1).values():
            counts[output or model.tokenizer.eos_token_id] += 1  # the end is cut off
    assert counts.sum() == count
    assert not counts[probability == 0].any()
    assert chi_square_p(counts, probability) > 0.001


def test_later_tokens_are_drawn_anew(model):
    """With nearly flat logits, the tokens of one output are as good as independent: few stand twice."""
    outputs = draw(model, [ask("a")], Sampling(1e6), tokens=30)["a"]
    assert len(set(outputs)) > 0.7 * len(outputs)


def test_a_temperature_near_0_is_greedy(model):
    requests = [ask("a"), ask("b", "What is 3 + 4?"), ask("c", "Find y.")]
    greedy = draw(model, requests, GREEDY)
    batch = model.encode(requests, padding_side="left")
    assert list(greedy.values()) == model.generate(batch, max_new_tokens=6)
    for temperature in (1e-3, 1e-30, 1e-320):
        assert draw(model, requests, Sampling(temperature, seed=5)) == greedy
    assert draw(model, requests, Sampling(1.0, top_p=1e-9)) == greedy


def test_a_draw_knows_nothing_of_its_batch(model):
    requests = [ask("a"), ask("b", "What is 3 + 4?"), ask("c", "Find y in the figure."), ask("d", "x?")]
    how = Sampling(2.0, top_p=0.95, seed=1)
    alone = {request.id: draw(model, [request], how)[request.id] for request in requests}
    assert draw(model, requests, how) == alone
    assert draw(model, requests[::-1], how) == alone
    assert draw(model, requests[1:3], how) == {id_: alone[id_] for id_ in "bc"}


def test_another_seed_or_id_draws_otherwise(model):
    how = Sampling(4.0, seed=1)
    drawn = draw(model, [ask("a")], how)["a"]
    assert draw(model, [ask("a")], Sampling(4.0, seed=2))["a"] != drawn
    assert draw(model, [ask("b")], how)["b"] != drawn


def test_adapters_share_their_noise():
    """Flat logits leave the noise alone: the same record's first token is the noise's own argmax."""
    for adapter in ("tinyllava", "huggingface"):
        model = load(adapter)
        width = model.lm_head(torch.zeros(1, model.lm_head.weight.shape[1])).shape[-1]
        noise = Chooser(Sampling(1e30), ["a"], CPU).scores(torch.zeros(1, width), 0)
        assert draw(model, [ask("a")], Sampling(1e30), tokens=1)["a"] == [int(noise.argmax())]


# Scores -----------------------------------------------------------------------------------------------------


def test_greedy_scores_are_the_logits_themselves():
    logits = torch.randn(2, 9, dtype=torch.bfloat16)
    assert Chooser(GREEDY, ["a", "b"], CPU).scores(logits, 0) is logits


def test_half_precision_is_drawn_from_in_float32():
    logits = torch.randn(2, 9, dtype=torch.bfloat16)
    scores = Chooser(Sampling(0.5), ["a", "b"], CPU).scores(logits, 0)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, Chooser(Sampling(0.5), ["a", "b"], CPU).scores(logits.float(), 0))


@pytest.mark.parametrize("temperature", [1e-320, 0.3, 1e300])
def test_a_token_that_the_model_rules_out_is_never_drawn(temperature):
    logits = torch.tensor([[0.0, -math.inf, 1.0]]).expand(300, 3)
    chooser = Chooser(Sampling(temperature), [str(n) for n in range(300)], CPU)
    drawn = chooser.scores(logits, 0).argmax(-1)
    assert set(drawn.tolist()) == ({2} if temperature < 1e-9 else {0, 2})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_logits_that_are_no_numbers_stay_seen(bad, top_p):
    scores = Chooser(Sampling(0.5, top_p=top_p), ["a"], CPU).scores(torch.tensor([[0.0, bad, 1.0]]), 0)
    assert not scores.max().isfinite()


def test_the_nucleus_is_the_one_of_transformers():
    from transformers import TopPLogitsWarper

    torch.manual_seed(1)
    logits = torch.randn(5, 301) * 3
    for top_p in (0.05, 0.5, 0.9, 0.999):
        kept = Chooser(Sampling(1.0, top_p=top_p), list("abcde"), CPU).scores(logits, 0).isfinite()
        assert torch.equal(kept, TopPLogitsWarper(top_p)(torch.zeros(5, 1), logits).isfinite())


def test_of_equals_on_the_border_the_nucleus_keeps_the_fewest():
    kept = Chooser(Sampling(1.0, top_p=0.5), ["a"], CPU).scores(torch.zeros(1, 8), 0).isfinite()
    assert kept.tolist() == [[True] * 4 + [False] * 4]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": -0.5}, "temperature -0.5: give 0 for greedy decoding, or a finite number above it"),
        ({"temperature": math.nan}, "temperature nan: give"),
        ({"temperature": math.inf}, "temperature inf: give"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p 0.0: give a probability above 0, up to 1"),
        ({"temperature": 1.0, "top_p": 1.01}, "top_p 1.01: give"),
        ({"temperature": 1.0, "top_p": math.nan}, "top_p nan: give"),
        (
            {"seed": 3},
            "seed 3 has no effect on greedy decoding; give a temperature above 0, or leave seed out",
        ),
        ({"top_p": 0.9}, "top_p 0.9 has no effect on greedy decoding"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(given, said):
    with pytest.raises(VkitError, match=f"^{said}"):
        Sampling(**given)
