"""Refuses a plan that would only fail after hours of work, or after a teacher was paid.

check_plan(plan)          # of `vkit.study.plan.read_plan`, which calls it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vkit.attention.compare import MIN_RESAMPLES
from vkit.errors import VkitError
from vkit.models.devices import DTYPES
from vkit.prompts import PROMPTS
from vkit.rationales.prompts import KINDS
from vkit.synthesis.drawn import VERSIONS
from vkit.teacher.client import LIMIT_PARAMETERS
from vkit.train.recipes import SFT_RECIPES

if TYPE_CHECKING:
    from vkit.study.plan import Plan

SUITES = ("geometry3k", "records")
MOST_TOKENS = 10**6  # more than any model holds
LONGEST_NAME = 200  # bytes; a disk's names have room for 255, and what a step adds to this
PICTURED = tuple(version for version in VERSIONS if version != "text-only")


def check_plan(plan: Plan) -> None:
    """Check what the plan's sections say of each other, and every name and number.

    Raises:
        VkitError: says which name or number, and what it may be.
    """
    _check_variants(plan)
    _check_numbers(plan)
    _check_data(plan)
    _check_teacher(plan)
    if plan.compare.baseline is not None:
        _one_of("compare: baseline", plan.compare.baseline, tuple(v.name for v in plan.variants))
    _one_of("dtype", plan.dtype, ("auto", *DTYPES))
    _one_of("attention: rows", plan.attention.rows, ("predicting", "own"))
    _one_of("attention: spans", plan.attention.spans, ("study", "question"))
    if plan.score.suite is not None:
        _one_of("score: suite", plan.score.suite, SUITES)
    judge = plan.score.judge
    if judge is not None:
        _both_prices("score: judge", judge.price_in, judge.price_out)
    _one_of("training: recipe", plan.training.recipe, tuple(SFT_RECIPES))
    for name in plan.training.set:
        if not isinstance(name, str):
            raise VkitError(f"training: set: {name!r} is no name of a setting; write it as lr: 1e-4")
    if "prompt" in plan.training.set:
        raise VkitError("training: set: prompt is told by each variant; leave it out here")
    for variant in plan.variants:
        plan.recipe(variant)  # what it does not take is refused here


def _check_variants(plan: Plan) -> None:
    slugs = [variant.slug for variant in plan.variants]
    for variant in plan.variants:
        if not variant.slug or slugs.count(variant.slug) > 1:
            raise VkitError(f"variant {variant.name!r}: its name is empty or like another's; rename it")
        if len(variant.slug.encode()) > LONGEST_NAME:
            raise VkitError(f"variant {variant.name[:40]!r}...: its name is too long; shorten it")
        _one_of(f"variant {variant.name!r}: prompt", variant.prompt, tuple(PROMPTS))
        given = variant.rationales
        if given is not None and given not in KINDS and not plan.place(given).is_file():
            raise VkitError(
                f"variant {variant.name!r}: rationales {given!r} are neither a file nor one of "
                f"{', '.join(KINDS)}"
            )


def _check_numbers(plan: Plan) -> None:
    """Whole numbers must lie between two bounds."""
    any_count, any_seed = (1, 10**15), (0, 2**32 - 1)
    numbers = {
        "generate: batch_size": (plan.generate.batch_size, *any_count),
        "generate: max_new_tokens": (plan.generate.max_new_tokens, 1, MOST_TOKENS),
        "attention: batch_size": (plan.attention.batch_size, *any_count),
        "training: checkpoint_every": (plan.training.checkpoint_every, *any_count),
        "data: train_limit": (plan.data.train_limit, *any_count),
        "data: test_limit": (plan.data.test_limit, *any_count),
        "compare: resamples": (plan.compare.resamples, MIN_RESAMPLES, 10**6),
        "compare: seed": (plan.compare.seed, *any_seed),
    }
    if (drawn := plan.data.miniature) is not None:
        for name in ("pairs", "tests"):
            numbers[f"data: miniature: {name}"] = (getattr(drawn, name), *any_count)
        numbers["data: miniature: seed"] = (drawn.seed, *any_seed)
        _one_of("data: miniature: version", drawn.version, PICTURED)
    if (teacher := plan.teacher) is not None:
        numbers["teacher: max_tokens"] = (teacher.max_tokens, 1, MOST_TOKENS)
        numbers["teacher: concurrency"] = (teacher.concurrency, 1, 1000)
        numbers["teacher: max_retries"] = (teacher.max_retries, 0, 1000)
    for name, (value, least, most) in numbers.items():
        if value is not None and value < least:
            raise VkitError(f"{name} must be {least} or more, not {value}")
        if value is not None and value > most:
            raise VkitError(f"{name} must be {most} or less, not {value}")


def _check_data(plan: Plan) -> None:
    data = plan.data
    given = bool(data.train) or data.test is not None
    if data.miniature is not None and given:
        raise VkitError("data: miniature draws all problems; leave train and test out")
    if data.miniature is None and data.test is None:
        raise VkitError("data: test is missing; give the problems to answer")
    asked = [variant for variant in plan.variants if variant.rationales in KINDS]
    if asked and plan.teacher is None:
        raise VkitError(
            f"variant {asked[0].name!r} wants rationales, but there is no teacher; add one, or give a file"
        )
    if asked and data.miniature is None and not data.train:
        raise VkitError("data: train is missing; give the problems to write rationales for")


def _check_teacher(plan: Plan) -> None:
    teacher = plan.teacher
    if teacher is None:
        return
    kinds = [teacher.model is not None, teacher.local is not None, teacher.scripted]
    if sum(kinds) != 1:
        raise VkitError("teacher: give one of model (an endpoint's), local (a folder) and scripted: true")
    _both_prices("teacher", teacher.price_in, teacher.price_out)
    if teacher.max_cost is not None and teacher.price_in is None:
        raise VkitError("teacher: max_cost needs price_in and price_out")
    _one_of("teacher: limit_parameter", teacher.limit_parameter, LIMIT_PARAMETERS)
    for name in ("temperature", "max_cost"):
        value = getattr(teacher, name)
        if value is not None and value < 0:
            raise VkitError(f"teacher: {name} must be 0 or more, not {value}")
    if not teacher.timeout_s > 0:
        raise VkitError(f"teacher: timeout_s must be above 0 seconds, not {teacher.timeout_s}")


def _both_prices(where: str, price_in: float | None, price_out: float | None) -> None:
    if (price_in is None) != (price_out is None):
        raise VkitError(f"{where}: give both price_in and price_out, or neither")
    for name, price in (("price_in", price_in), ("price_out", price_out)):
        if price is not None and price < 0:
            raise VkitError(f"{where}: {name} must be 0 or more, not {price}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise VkitError(f"{name} {value!r} is not known; known: {', '.join(known)}")
