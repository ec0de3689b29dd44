"""`vkit.kernels.divergence.linear_puma_loss`: the loss through a head, what it costs, and how it trains.

The expected results are those of the plain definition in float64; test_divergence.py holds it to the paper.
"""

from __future__ import annotations

import math

import pytest
import torch
from divergence_cases import OPTIONS, assert_same_loss, gradients, in_float64, make_head, norm_error
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from vkit.kernels.divergence import linear_puma_loss
from vkit.kernels.divergence_reference import linear_puma_loss_reference

# With the head ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("chunk_mib", [None, 1e-6, 0.0017], ids=["one chunk", "row by row", "odd chunks"])
def test_loss_and_gradients_of_hidden_states_and_head_agree_with_float64(options, chunk_mib):
    head = make_head(11, 33)
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, chunk_mib=chunk_mib, **options)
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, **options)
    assert_same_loss(loss, expected)
    for grad, exact_grad in zip(grads, exact):
        assert grad.dtype == torch.float32
        assert norm_error(grad, exact_grad) < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-3)])
@pytest.mark.parametrize("vocabulary", [51200, 151936])
def test_real_vocabularies_agree_with_float64(vocabulary, dtype, tolerance):
    head = make_head(6, vocabulary, size=32, dtype=dtype)
    head["labels"][2] = -100
    options = {"lam": 0.5, "chunk_mib": 4 * vocabulary * 8 / 2**20}  # four rows, then one
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, **options)
    del options["chunk_mib"]
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, **options)
    assert_same_loss(loss, expected)
    for grad, exact_grad in zip(grads, exact):
        assert grad.dtype == dtype
        assert norm_error(grad, exact_grad) < tolerance


@pytest.mark.parametrize("hidden_dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("weight_dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_hidden_states_and_head_may_differ_in_dtype(hidden_dtype, weight_dtype, monkeypatch):
    monkeypatch.setattr("vkit.kernels.divergence_head.BLOCK_MIB", 0.01)  # several blocks of the vocabulary
    head = make_head(7, 200)
    dtypes = {"student_hidden": hidden_dtype, "teacher_hidden": torch.float32, "weight": weight_dtype}
    head = {name: x.to(dtypes.get(name, x.dtype)) for name, x in head.items()}
    wanted = ["student_hidden", "weight", "bias"]
    loss, grads = gradients(linear_puma_loss, head, wanted, lam=0.5)
    expected, exact = gradients(linear_puma_loss_reference, in_float64(head), wanted, lam=0.5)
    assert_same_loss(loss, expected)
    for name, grad, exact_grad in zip(wanted, grads, exact):
        assert grad.dtype == head[name].dtype
        tolerance = {torch.bfloat16: 3e-3, torch.float16: 5e-4}.get(grad.dtype, 1e-5)
        assert norm_error(grad, exact_grad) < tolerance, name


@pytest.mark.parametrize("ignored", [False, True])
def test_the_teacher_may_have_another_head_and_hidden_size(ignored):
    head = make_head(9, 40)
    other = make_head(9, 40, size=20, seed=1)
    head |= {"teacher_hidden": other["teacher_hidden"], "teacher_weight": other["weight"]}
    head["teacher_bias"] = other["bias"]
    if ignored:
        head["labels"][[0, 4, 5]] = -100
    wanted = ["student_hidden", "weight", "bias"]
    for names in (set(head), set(head) - {"teacher_bias"}):
        tensors = {name: x for name, x in head.items() if name in names}
        loss, grads = gradients(linear_puma_loss, tensors, wanted, lam=0.7, chunk_mib=0.001)
        expected, exact = gradients(linear_puma_loss_reference, in_float64(tensors), wanted, lam=0.7)
        assert_same_loss(loss, expected)
        assert all(norm_error(*pair) < 1e-5 for pair in zip(grads, exact))


def test_the_teacher_gets_no_gradient():
    head = {name: x.requires_grad_(x.is_floating_point()) for name, x in make_head(4, 10).items()}
    teacher_weight = torch.randn(10, 48, requires_grad=True)
    linear_puma_loss(**head, teacher_weight=teacher_weight).total.backward()
    assert teacher_weight.grad is None
    assert head["teacher_hidden"].grad is None
    assert head["weight"].grad is not None


def test_without_divergence_it_is_a_linear_cross_entropy():
    head = make_head(8, 25)
    head["labels"][1] = -100
    loss, grads = gradients(linear_puma_loss, head | {}, ["student_hidden", "weight"], lam=0.0)
    alone = {name: x for name, x in head.items() if name != "teacher_hidden"}

    def cross_entropy(student_hidden, weight, labels, bias):
        return linear_puma_loss(student_hidden, None, weight, labels, bias=bias, lam=0.0)

    without, other_grads = gradients(cross_entropy, alone, ["student_hidden", "weight"])
    expected = torch.nn.functional.cross_entropy(
        head["student_hidden"] @ head["weight"].T + head["bias"], head["labels"]
    )
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert without.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.kl_student_teacher > 0.01  # reported, though it weighs nothing
    assert [x.item() for x in without[1:3]] == [0, 0]
    assert all(norm_error(*pair) < 1e-5 for pair in zip(grads, other_grads))


# Cost ---------------------------------------------------------------------------------------------------


class Observed(TorchDispatchMode):
    """What ran: how many matrix products, and the most elements that a new tensor had."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name
        self.products += name in ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::matmul")
        given = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, Tensor)]
        memory = {x.untyped_storage().data_ptr() for x in given}
        if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in memory:
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize(
    ("wanted", "products"),
    [([], 1), (["student_hidden"], 2), (["weight"], 2), (["student_hidden", "weight"], 3), (["bias"], 1)],
)
def test_only_the_products_that_are_needed_are_computed(wanted, products):
    """A common head is multiplied once for student and teacher; a frozen one has no gradient."""
    head = {name: x.requires_grad_(name in wanted) for name, x in make_head(6, 30).items()}
    with Observed() as seen:
        linear_puma_loss(**head)
    assert seen.products == products


def test_no_grad_computes_the_loss_alone():
    head = {name: x.requires_grad_(x.is_floating_point()) for name, x in make_head(6, 30).items()}
    with torch.no_grad(), Observed() as seen:
        loss = linear_puma_loss(**head)
    assert seen.products == 1
    assert not loss.total.requires_grad
    assert loss.total.item() == pytest.approx(linear_puma_loss(**head).total.item(), rel=1e-6)


def test_memory_is_that_of_a_chunk_and_not_of_all_logits():
    rows, vocabulary = 64, 2000
    head = make_head(rows, vocabulary, size=16)
    head["student_hidden"].requires_grad_()
    with Observed() as seen:
        loss = linear_puma_loss(**head, chunk_mib=2 * 4 * 5 * vocabulary / 2**20)
        loss.total.backward()
    assert seen.largest <= 2 * 5 * vocabulary
    assert seen.products == 2 * math.ceil(rows / 5)


def test_ignored_rows_are_not_multiplied():
    head = make_head(64, 100)
    head["labels"][1:] = -100
    with Observed() as seen:
        linear_puma_loss(**head)
    assert seen.largest <= 2 * 100


def test_a_half_precision_head_is_never_copied_whole():
    head = make_head(4, 40_000, size=128, dtype=torch.bfloat16)
    head["student_hidden"].requires_grad_()
    with Observed() as seen:
        linear_puma_loss(**head).total.backward()
    assert seen.largest < head["weight"].numel()


# As part of training ------------------------------------------------------------------------------------


def test_gradient_is_scaled_by_what_follows_and_may_be_taken_twice():
    head = make_head(5, 20)
    hidden = head["student_hidden"].requires_grad_()
    loss = linear_puma_loss(**head)
    once = torch.autograd.grad(loss.total, hidden, retain_graph=True)[0]
    scaled = torch.autograd.grad(-3 * loss.total, hidden, retain_graph=True)[0]
    assert norm_error(scaled, -3 * once) < 1e-6
    assert torch.equal(torch.autograd.grad(loss.total, hidden)[0], once)


def test_a_factor_of_the_loss_is_not_rounded_to_bfloat16():
    """As gradient accumulation over three steps would have it: bfloat16's third is 0.2% too large."""
    head = make_head(40, 300, dtype=torch.bfloat16)
    wanted = ["student_hidden", "weight", "bias"]
    leaves = [head[name].requires_grad_() for name in wanted]
    total = linear_puma_loss(**head).total
    whole = torch.autograd.grad(total, leaves, retain_graph=True)
    for grad, third in zip(whole, torch.autograd.grad(total / 3, leaves)):
        assert torch.equal(third, (grad.double() / 3).bfloat16())


def test_a_loss_scale_reaches_float16_before_rounding():
    """A small head gives gradients of which float16 would keep two digits."""
    head = make_head(5, 3000)
    head = {name: (x * 3e-5).half() if name == "weight" else x for name, x in head.items()}
    head["student_hidden"] = head["student_hidden"].half().requires_grad_()
    _, (exact,) = gradients(linear_puma_loss_reference, in_float64(head), ["student_hidden"])
    loss = linear_puma_loss(**head).total * 2**14
    (scaled,) = torch.autograd.grad(loss, head["student_hidden"])
    assert norm_error(scaled.double() / 2**14, exact) < 5e-4


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_nothing(reentrant):
    head = make_head(5, 20)
    hidden, weight = head.pop("student_hidden").requires_grad_(), head.pop("weight").requires_grad_()

    def run(hidden, weight):
        return linear_puma_loss(hidden, head["teacher_hidden"], weight, head["labels"]).total

    expected = torch.autograd.grad(run(hidden, weight), (hidden, weight))
    checkpoint(run, hidden, weight, use_reentrant=reentrant).backward()
    assert torch.equal(hidden.grad, expected[0])
    assert torch.equal(weight.grad, expected[1])


def test_a_head_tied_to_the_embedding_gets_both_gradients():
    embedding = torch.nn.Embedding(30, 16)
    words, teacher = torch.tensor([3, 7, 29]), torch.randn(3, 16)
    linear_puma_loss(embedding(words), teacher, embedding.weight, words).total.backward()
    leaf = embedding.weight.detach().double().requires_grad_()
    linear_puma_loss_reference(leaf[words], teacher.double(), leaf, words).total.backward()
    assert norm_error(embedding.weight.grad, leaf.grad) < 1e-5


def test_steps_accumulate():
    head = make_head(8, 20)
    head["weight"].requires_grad_()
    for half in (slice(0, 4), slice(4, 8)):
        rows = {name: head[name][half] for name in ("student_hidden", "teacher_hidden", "labels")}
        linear_puma_loss(**(head | rows), reduction="sum").total.backward()
    accumulated, head["weight"].grad = head["weight"].grad, None
    linear_puma_loss(**head, reduction="sum").total.backward()
    assert norm_error(accumulated, head["weight"].grad) < 1e-6


def test_autocast_does_not_round_the_logits():
    head = make_head(6, 50)
    plain, expected = gradients(linear_puma_loss, head, ["student_hidden"])
    with torch.autocast("cpu", torch.bfloat16):
        loss, grads = gradients(linear_puma_loss, head, ["student_hidden"])
    assert torch.equal(loss.total, plain.total)
    assert torch.equal(grads[0], expected[0])


def test_results_do_not_depend_on_the_rest_of_the_batch():
    head = make_head(7, 60)
    rows = {name: head[name][:3] for name in ("student_hidden", "teacher_hidden", "labels")}
    whole = linear_puma_loss(**head, reduction="sum", chunk_mib=1e-6)
    rest = {name: head[name][3:] for name in rows}
    parts = [linear_puma_loss(**(head | half), reduction="sum") for half in (rows, rest)]
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-6)


def test_parts_and_teacher_carry_no_gradient_and_second_derivatives_are_refused():
    head = make_head(3, 10)
    hidden = head["student_hidden"].requires_grad_()
    loss = linear_puma_loss(**head)
    assert not any(part.requires_grad for part in loss[1:4])
    (grad,) = torch.autograd.grad(loss.total * hidden.sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_torch_compile_gives_the_same():
    head = make_head(6, 40)
    hidden = head.pop("student_hidden").requires_grad_()

    def run(hidden):
        return linear_puma_loss(hidden * 2, head["teacher_hidden"], head["weight"], head["labels"]).total

    expected = torch.autograd.grad(run(hidden), hidden)[0]
    compiled = torch.compile(run, backend="aot_eager", dynamic=True)
    assert norm_error(torch.autograd.grad(compiled(hidden), hidden)[0], expected) < 1e-6


def test_a_compiled_graph_holds_nothing_of_what_depends_on_the_labels():
    """Else every number of rows that count would be compiled anew."""
    head, graphs = make_head(6, 40), []

    def run(labels):
        return linear_puma_loss(**(head | {"labels": labels})).total

    def backend(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(run, backend=backend)
    for ignored in range(1, 6):
        labels = head["labels"].clone()
        labels[:ignored] = -100
        assert torch.equal(compiled(labels), run(labels))
        assert len(graphs) <= 2
    assert not any("nonzero" in graph.code for graph in graphs)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(run, backend="eager", fullgraph=True)(head["labels"])


@pytest.mark.parametrize("standardize", [False, True])
def test_gradients_pass_gradcheck(standardize):
    head = in_float64(make_head(3, 7, size=4))
    options = dict(standardize=standardize, temperature=1.5, softcap=5.0, lam=0.6)

    def total(hidden, weight, bias):
        tensors = head | {"student_hidden": hidden, "weight": weight, "bias": bias}
        return linear_puma_loss(
            **tensors, teacher_weight=head["weight"], teacher_bias=head["bias"], **options
        ).total

    leaves = [head[name].clone().requires_grad_() for name in ("student_hidden", "weight", "bias")]
    assert torch.autograd.gradcheck(total, leaves)
