"""What would make a step fit, in a line each, and the plan as a table.

for choice in choices(plan, 80 * 2**30, again=lambda: empty_vlm(name)):
    print(choice.line)
print(table(plan, 80 * 2**30))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vkit.train.memory_plan import RESERVE, Plan, plan_memory

GIB = 2**30
LORA_RANK = 32
_PROCESSES = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Choice:
    """A change of settings, the step's peak with it in bytes, and the most records of a forward that fit."""

    settings: str
    peak: float
    moment: str
    fits: bool
    largest_micro_batch: int

    @property
    def line(self) -> str:
        verdict = "fits" if self.fits else "does not fit"
        if self.largest_micro_batch and not self.fits:
            verdict += f" as it is, but with micro_batch_size={self.largest_micro_batch}"
        elif self.fits:
            verdict += f", up to micro_batch_size={self.largest_micro_batch}"
        return f"{self.settings}: {self.peak / GIB:.1f} GiB; {verdict}"


def choices(plan: Plan, memory: float, again: Callable[[], Any]) -> list[Choice]:
    """Settings that lower the peak: each alone, and where none of them makes it fit, all together.

    Args:
        again: makes the empty model anew, for LoRA.
    """
    single = list(_changes(plan, again))
    found = [_choice(settings, changed, memory) for settings, changed in single]
    found += _sharded(plan, memory)
    if single and not plan.fits(memory) and not any(choice.fits for choice in found):
        names, together = ", ".join(settings for settings, _ in single), _together(plan, again)
        if len(single) > 1:
            found.append(_choice(names, together, memory))
        if not together.fits(memory):
            found += _sharded(together, memory, f"{names}, ")
    return found


def _changes(plan: Plan, again: Callable[[], Any]) -> Iterator[tuple[str, Plan]]:
    recipe = plan.recipe
    if not recipe.gradient_checkpointing:
        changed = replace(recipe, gradient_checkpointing=True)
        yield "gradient_checkpointing=true", replace(plan, recipe=changed)
    if recipe.precision == "fp32":
        yield "precision=bf16", replace(plan, recipe=replace(recipe, precision="bf16"))
    if not recipe.lora_rank and "language_model" in recipe.train:
        changed = replace(recipe, lora_rank=LORA_RANK)
        yield f"lora_rank={LORA_RANK}", plan_memory(again(), changed, plan.setting)


def _together(plan: Plan, again: Callable[[], Any]) -> Plan:
    """All changes at once."""
    recipe = replace(plan.recipe, gradient_checkpointing=True, precision="bf16")
    if not recipe.lora_rank and "language_model" in recipe.train:
        return plan_memory(again(), replace(recipe, lora_rank=LORA_RANK), plan.setting)
    return replace(plan, recipe=recipe)


def _sharded(plan: Plan, memory: float, before: str = "") -> list[Choice]:
    """The fewest processes that FSDP2 makes it fit with, or the most that were tried."""
    now = plan.setting
    counts = [count for count in _PROCESSES if count > now.processes or not now.sharded]
    counts = [count for count in counts if count >= now.processes and count <= plan.recipe.batch_size]
    choice = None
    for count in counts:
        micro_batch = min(now.micro_batch, math.ceil(plan.recipe.batch_size / count))
        setting = replace(now, processes=count, sharded=True, micro_batch=micro_batch)
        choice = _choice(f"{before}{count} processes, fsdp", replace(plan, setting=setting), memory)
        if choice.fits:
            break
    return [choice] if choice else []


def _choice(settings: str, plan: Plan, memory: float) -> Choice:
    return Choice(settings, plan.peak, plan.moment, plan.fits(memory), plan.largest_micro_batch(memory))


def table(plan: Plan, memory: float) -> str:
    """The plan for people: the terms of its highest moment, activations by layers, and what fits."""
    setting = plan.setting
    lines = [
        f"forwards of {setting.micro_batch} records x {setting.length} columns; most at: {plan.moment}",
        *(_row(name, value) for name, value in sorted(plan.terms.items(), key=lambda item: -item[1])),
        _row("sum, at least" if plan.unknown else "sum", plan.peak),
        "",
        f"{'activations of':28} {'layers':>6} {'kept':>11} {'checkpointed':>13}",
    ]
    for kind, (count, without, with_it) in plan.activations.items():
        lines.append(f"  {kind:26} {count:6} {without / GIB:7.2f} GiB {with_it / GIB:9.2f} GiB")
    if plan.unknown:
        lines += ["", *(f"not known: {reason}" for reason in plan.unknown)]
        return "\n".join(lines)
    left = f", of which {RESERVE / GIB:.1f} are left to CUDA" if setting.on_gpu else ""
    verdict = "fits" if plan.fits(memory) else "does not fit"
    lines += [
        "",
        f"{verdict} in {memory / GIB:g} GiB{left};"
        f" largest micro_batch_size that fits: {plan.largest_micro_batch(memory)}",
    ]
    return "\n".join(lines)


def _row(name: str, value: float) -> str:
    return f"  {name:26} {value / GIB:8.2f} GiB"
