"""`vkit.kernels.attention` as its users see it, on whatever code the CPU has, and the plain definition.

The C++ and Triton kernels have files of tests of their own; here stand the promises of the public functions.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vkit.kernels import attention, attention_blocked
from vkit.kernels.attention import attention_implementation, attention_rows, segment_attention
from vkit.kernels.attention_reference import attention_rows_reference, segment_attention_reference
from vkit.kernels.attention_scoring import Scoring

FEATURES = {
    "causal": {},
    "full": {"causal": False},
    "key_mask": {"key_mask": True},
    "mask": {"mask": (2, 4), "causal": False},
    "mask for all heads": {"mask": (2, 1)},
    "mask for all items": {"mask": (1, 4)},
    "window": {"window": 5},
    "softcap": {"softcap": 3.0},
    "everything": {"mask": (1, 1), "key_mask": True, "window": 7, "softcap": 3.0, "scale": 0.3},
}


def make(feature, dtype=torch.float64, queries=13, keys=19, heads=(4, 2), size=8, segments=3, seed=0):
    """Inputs with peaked attention, so that a key too many or too few shows."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return (2 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)

    query = normal(2, heads[0], queries, size)
    key, value = normal(2, heads[1], keys, size), normal(2, heads[1], keys, size)
    segment_ids = torch.randint(-1, segments, (2, keys), generator=generator)
    options = dict(FEATURES[feature])
    if "mask" in options:
        batch, head = options["mask"]
        options["mask"] = torch.rand(batch, head, queries, keys, generator=generator) > 0.3
    if "key_mask" in options:
        options["key_mask"] = torch.rand(2, keys, generator=generator) > 0.3
    return (query, key, value, segment_ids, segments), options


def relative_error(actual, expected):
    """Largest deviation beside the largest expected value."""
    return ((actual.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_results_agree_with_float64(feature, dtype, tolerance):
    arguments, options = make(feature, dtype, size=80)
    exact = [x.double() if x.is_floating_point() else x for x in arguments[:4]]
    out, lse, mass = segment_attention(*arguments, **options)
    expected = segment_attention_reference(*exact, 3, **options)
    assert (out.dtype, lse.dtype, mass.dtype) == (dtype, torch.float32, torch.float32)
    finite = expected[1].isfinite()
    assert torch.equal(lse.isfinite(), finite)
    assert relative_error(out, expected[0]) < tolerance
    assert relative_error(lse[finite], expected[1][finite]) < tolerance
    assert (mass.double() - expected[2]).abs().max() < tolerance
    rows = torch.tensor([[0, 12, -1], [5, -1, -1]])
    maps = attention_rows(arguments[0], arguments[1], lse, rows, **options)
    assert maps.dtype == torch.float32
    expected_maps = attention_rows_reference(exact[0], exact[1], expected[1], rows, **options)
    assert (maps.double() - expected_maps).abs().max() < tolerance
    assert maps[1, 1:].count_nonzero() == 0


@pytest.mark.parametrize("feature", FEATURES)
def test_gradients_flow_through_out_lse_and_mass(feature):
    arguments, options = make(feature)
    leaves = [x.requires_grad_() for x in arguments[:3]]
    results = {}
    for function in (segment_attention, segment_attention_reference):
        out, lse, mass = function(*arguments, **options)
        lse = torch.where(lse.isfinite(), lse, 0)
        weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x) for x in (out, lse, mass)]
        loss = sum((x * w).sum() for x, w in zip((out, lse, mass), weights, strict=True))
        results[function] = torch.autograd.grad(loss, leaves)
    for actual, expected in zip(*results.values(), strict=True):
        assert relative_error(actual, expected) < 1e-12
        assert expected.abs().max() > 1e-3


def test_the_definition_passes_gradcheck():
    arguments, options = make("everything", queries=3, keys=5, size=2)
    leaves = [x.requires_grad_() for x in arguments[:3]]

    def results(query, key, value):
        out, lse, mass = segment_attention_reference(query, key, value, *arguments[3:], **options)
        return out, torch.where(lse.isfinite(), lse, 0), mass

    assert torch.autograd.gradcheck(results, leaves)


@pytest.mark.parametrize("feature", FEATURES)
def test_opcheck_passes(feature):
    (query, key, value, ids, segments), options = make(feature, torch.float32)
    options = {"causal": True, "mask": None, "key_mask": None, "window": None, "softcap": None, **options}
    rest = [options[name] for name in ("causal", "mask", "key_mask", "window", "softcap")]
    leaves = [x.requires_grad_() for x in (query, key, value)]
    torch.library.opcheck(
        torch.ops.vkit.segment_attention.default, (*leaves, ids.int(), segments, *rest, 0.3)
    )
    lse = segment_attention(query, key, value, ids, segments, **options)[1].detach()
    rows, out = torch.tensor([[0, 3], [2, -1]], dtype=torch.int32), torch.zeros(2, 2, 19)
    arguments = (query.detach(), key.detach(), lse, rows, out, *rest, 0.3)
    torch.library.opcheck(torch.ops.vkit.attention_rows_.default, arguments)


def test_compiles_without_a_graph_break():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    query.requires_grad_()

    def loss(query):
        out, _, mass = segment_attention(query, key, value, ids, segments, window=4)
        return out.square().sum() + mass[..., 0].sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(query), query)[0]
    torch.testing.assert_close(torch.autograd.grad(compiled(query), query)[0], expected)


@settings(deadline=None, max_examples=60)
@given(
    feature=st.sampled_from(sorted(FEATURES)),
    queries=st.integers(1, 40),
    extra=st.integers(0, 30),
    groups=st.integers(1, 3),
    size=st.sampled_from([1, 5, 16, 80]),
    segments=st.integers(1, 9),
    seed=st.integers(0, 10**6),
)
def test_masses_are_a_partition_of_the_softmax(feature, queries, extra, groups, size, segments, seed):
    if "mask" in FEATURES[feature] and FEATURES[feature]["mask"][1] == 4:
        groups = 2
    (query, key, value, ids, _), options = make(
        feature, torch.float32, queries, queries + extra, (2 * groups, 2), size, segments, seed
    )
    _, lse, mass = segment_attention(query, key, value, ids, segments, **options)
    assert mass.min() >= 0
    assert mass.max() <= 1 + 1e-5
    everything = segment_attention(query, key, value, torch.zeros_like(ids), 1, **options)[2]
    seen = lse.isfinite()
    torch.testing.assert_close(everything[..., 0][seen], torch.ones(int(seen.sum())), atol=1e-5, rtol=0)
    assert everything[..., 0][~seen].count_nonzero() == 0
    exact = segment_attention_reference(
        query.double(), key.double(), value.double(), ids, segments, **options
    )
    assert (mass - exact[2]).abs().max() < 2e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_query_that_sees_nothing_gives_zeros_and_zero_gradients(dtype):
    (query, key, value, ids, segments), _ = make("full", dtype)
    leaves = [x.requires_grad_() for x in (query, key, value)]
    key_mask = torch.zeros(2, 19, dtype=torch.bool)
    key_mask[1] = True
    out, lse, mass = segment_attention(query, key, value, ids, segments, key_mask=key_mask)
    assert out[0].count_nonzero() == 0
    assert mass[0].count_nonzero() == 0
    assert torch.equal(lse[0], torch.full_like(lse[0], -torch.inf))
    for gradient in torch.autograd.grad(out.sum() + mass[..., 0].sum(), leaves):
        assert gradient.isfinite().all()
        assert gradient[0].count_nonzero() == 0
    assert attention_rows(query, key, lse, torch.tensor([3]), key_mask=key_mask)[0].count_nonzero() == 0


@pytest.mark.parametrize("factor", [1e4, 1e-8])
def test_extreme_scores_stay_finite(factor):
    (query, key, value, _, _), _ = make("causal", torch.float32)
    ids = torch.zeros(2, 19, dtype=torch.int32)
    out, lse, mass = segment_attention(query * factor, key, value, ids, 1)
    assert out.isfinite().all()
    assert lse.isfinite().all()
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=1e-5, rtol=0)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_nan_stays_one_for_the_queries_that_see_it_and_for_no_other(dtype, softcap):
    for name in ("query", "key"):
        (query, key, value, ids, segments), _ = make("causal", dtype, queries=19)
        ids = ids.clamp(min=0)
        {"query": query, "key": key}[name][0, 0, 7, 3] = torch.nan
        out, lse, mass = segment_attention(query, key, value, ids, segments, softcap=softcap)
        expected = torch.zeros(2, 4, 19, dtype=torch.bool)
        if name == "query":
            expected[0, 0, 7] = True
        else:
            expected[0, :2, 7:] = True  # the heads that share the key head, from the key on
        assert torch.equal(lse.isnan(), expected)
        assert torch.equal(out.isnan().all(-1), expected)
        assert torch.equal(mass.sum(-1).isnan(), expected)
        maps = attention_rows(query, key, lse, torch.tensor([6, 7]), softcap=softcap)
        assert maps[:, 0].isfinite().all()
        assert maps[0, 1, :8].isnan().any()


def test_rows_are_added_to_out():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    lse = segment_attention(query, key, value, ids, segments)[1]
    out = torch.ones(2, 2, 19)
    returned = attention_rows(query, key, lse, torch.tensor([1, 7]), out=out)
    assert returned is out
    torch.testing.assert_close(out.sum(-1), torch.full((2, 2), 20.0))


def test_a_small_budget_changes_nothing_in_the_blocked_path(monkeypatch):
    arguments, options = make("everything", queries=30, keys=40)
    scoring = Scoring(causal=True, **options)
    expected = attention_blocked.segment_attention(*arguments, scoring)
    monkeypatch.setattr(attention_blocked, "BLOCK_BUDGET_MIB", 0)
    for actual, whole in zip(attention_blocked.segment_attention(*arguments, scoring), expected, strict=True):
        torch.testing.assert_close(actual, whole)


REFUSALS = {
    "query and key must be": lambda a: {"query": a["query"][0]},
    "share a floating dtype": lambda a: {"query": a["query"].half()},
    "share batch and head size": lambda a: {"query": a["query"][..., :4]},
    "must divide": lambda a: {"query": a["query"][:, :3]},
    "the 2 key heads must divide the 0 query heads": lambda a: {"query": a["query"][:, :0]},
    "more queries": lambda a: {"query": torch.zeros(2, 4, 20, 8)},
    "head size must be in 1..256": lambda a: {
        "query": torch.zeros(2, 4, 3, 257),
        "key": torch.zeros(2, 4, 3, 257),
    },
    "value must be as key": lambda a: {"value": a["value"][:, :, 1:]},
    "segment_ids must be integers": lambda a: {"segment_ids": a["segment_ids"].float()},
    r"must lie in -1\.\.2 \(num_segments=3\); got -1\.\.3": lambda a: {"segment_ids": a["segment_ids"] + 1},
    "num_segments must be at least 1": lambda a: {"num_segments": 0},
    "mask must be boolean": lambda a: {"mask": torch.ones(2, 3, 13, 19, dtype=torch.bool)},
    "key_mask must be boolean": lambda a: {"key_mask": torch.ones(2, 19)},
    "window must be at least 1": lambda a: {"window": 0},
    "needs causal=True": lambda a: {"window": 3, "causal": False},
    "softcap must be a positive": lambda a: {"softcap": 0.0},
    "got 1e-50": lambda a: {"softcap": 1e-50},  # zero in float32, which would switch it off
    "scale must be finite; got nan": lambda a: {"scale": math.nan},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_does_not_fit_is_refused_by_name(message):
    names = ("query", "key", "value", "segment_ids", "num_segments")
    arguments = dict(zip(names, make("causal", torch.float32)[0], strict=True))
    arguments["segment_ids"][0, 0], arguments["segment_ids"][0, 1] = -1, 2
    if message.startswith("must lie"):
        arguments["segment_ids"][0, 0] = -2
        arguments["segment_ids"][1] = 0
        arguments["segment_ids"][0, 2] = 2
    with pytest.raises(ValueError, match=message):
        segment_attention(**{**arguments, **REFUSALS[message](arguments)})


def test_segment_ids_changed_in_place_are_checked_again():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    segment_attention(query, key, value, ids, segments)
    ids[0, 0] = 3
    with pytest.raises(ValueError, match="must lie in"):
        segment_attention(query, key, value, ids, segments)


def test_inference_mode_is_no_way_around_the_check():
    with torch.inference_mode():
        (query, key, value, ids, segments), _ = make("causal", torch.float32)
        for _ in range(2):
            mass = segment_attention(query, key, value, ids, segments)[2]
        assert mass.shape == (2, 4, 13, 3)
        ids[0, 0] = 3
        with pytest.raises(ValueError, match="must lie in"):
            segment_attention(query, key, value, ids, segments)


def test_rows_that_are_not_there_are_refused():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    lse = segment_attention(query, key, value, ids, segments)[1]
    for rows in (torch.tensor([13]), torch.tensor([-2]), torch.zeros(3, 1, dtype=torch.int32)):
        with pytest.raises(ValueError, match="rows must"):
            attention_rows(query, key, lse, rows)
    with pytest.raises(ValueError, match="out must be"):
        attention_rows(query, key, lse, torch.tensor([1]), out=torch.zeros(2, 2, 19))
    for wrong in (lse[:, :2], lse.double()):
        with pytest.raises(ValueError, match="lse must be"):
            attention_rows(query, key, wrong, torch.tensor([1]))


def test_rows_are_numbers_and_not_a_mask():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    lse = segment_attention(query, key, value, ids, segments)[1]
    with pytest.raises(ValueError, match="rows must be integers"):
        attention_rows(query, key, lse, torch.ones(13, dtype=torch.bool))


def test_out_must_hold_every_row_by_itself():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)
    lse = segment_attention(query, key, value, ids, segments)[1]
    for out in (torch.zeros(2, 2, 19, dtype=torch.bfloat16), torch.zeros(2, 1, 19).expand(2, 2, 19)):
        with pytest.raises(ValueError, match="out must be"):
            attention_rows(query, key, lse, torch.tensor([1, 2]), out=out)


def test_what_autograd_cannot_do_is_refused_and_not_zero():
    (query, key, value, ids, segments), _ = make("causal", torch.float32)

    def masses(query):
        return segment_attention(query, key, value, ids, segments)[2]

    with pytest.raises(ValueError, match="forward-mode"):
        torch.func.jvp(masses, (query,), (query,))
    query.requires_grad_()
    (gradient,) = torch.autograd.grad(masses(query)[..., 0].sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        torch.autograd.grad(gradient.square().sum(), query)


def test_the_implementation_is_told():
    assert attention_implementation("cpu", torch.float64) == "pytorch"
    assert attention_implementation("cpu", torch.float32) in ("cpp", "pytorch")
    assert attention_implementation("cuda", torch.bfloat16) == "triton"


def test_a_gpu_without_triton_or_too_old_for_it_gets_plain_pytorch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert attention_implementation("cuda", torch.float16) == "pytorch"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert attention_implementation("cuda", torch.float16) == "triton"
    monkeypatch.setattr(attention, "_has_triton", lambda: False)
    assert attention_implementation("cuda", torch.float16) == "pytorch"
