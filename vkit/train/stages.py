"""One stage from a model's name to a trained model, and Math-PUMA's stages one after the other.

    run_stage("checkpoints/base", [Path("pairs.jsonl")], RECIPES["paper"][2], Path("out/stage2"))
    run_puma("tiny", {1: [pairs], 2: [pairs], 3: [pairs]}, RECIPES["tiny"], Path("out"), tests=[test])

Each stage starts from the model that the one before it left, whatever their order, so that the paper's
ablations (Table 3) are orders: (1, 3), (1, 3, 2). Finished stages are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.evaluate.versions import by_version, evaluate_versions
from vkit.jsonl import read_json, write_json
from vkit.models.loading import load_model
from vkit.models.protocol import VisionLanguageModel
from vkit.records import read_samples
from vkit.train.align import AlignTask
from vkit.train.data import Examples, describe, open_examples, settings_digest
from vkit.train.distributed import join
from vkit.train.loop import planned_steps, train
from vkit.train.recipes import AlignRecipe, Recipe, SftRecipe
from vkit.train.saving import RESUME, check_resume
from vkit.train.sft import SftTask
from vkit.train.task import Task
from vkit.train.trackers import check_trackers

Tell = Callable[[str], None]
EVALUATION = "evaluation.json"


def run_puma(
    model: str,
    data: Mapping[int, Sequence[Path]],
    recipes: Mapping[int, SftRecipe | AlignRecipe],
    out: Path,
    *,
    order: Sequence[int] = (1, 2, 3),
    tests: Path | None = None,
    max_new_tokens: int = 64,
    eval_batch_size: int = 64,
    **how: Any,
) -> dict[str, Any]:
    """Train ``model`` through stages in ``order``, each in ``out/stage<n>``.

    Of several processes the main one answers the tests, while the others wait.

    Args:
        data: the files of each stage.
        tests: samples with versions, answered after each stage, eval_batch_size at once.
        how: as for `run_stage`.

    Returns:
        ``{"model": path of the last one, "stages": {n: summary}, "evaluations": {n: without items}}``
    """
    # What is wrong with a later stage's files is told before the first trains.
    skip_bad = how.get("skip_bad", False)
    examples = {n: open_examples(data[n], recipes[n], skip_bad=skip_bad) for n in order}
    for number in order:
        planned_steps(len(examples[number]), recipes[number])
    if tests is not None:
        by_version(read_samples(tests))
    check_trackers(how.get("track", ()))
    world = join(how.get("device", "auto"), how.get("parallel", "auto"))
    resume = how.pop("resume", "auto")
    froms = world.ask_main(lambda: _resumes(resume, [out / f"stage{number}" for number in order]))
    stages, evaluations = {}, {}
    for number, where in zip(order, froms):
        place = out / f"stage{number}"
        stages[number] = run_stage(model, examples[number], recipes[number], place, resume=where, **how)
        model = str(place / "model")
        if tests is not None:
            evaluate = partial(
                evaluate_once,
                model,
                tests,
                place / EVALUATION,
                prompt=recipes[number].prompt,
                max_new_tokens=max_new_tokens,
                batch_size=eval_batch_size,
                device=world.device,
                progress=how.get("progress", False),
            )
            evaluations[number] = world.ask_main(evaluate)
    return {"model": model, "stages": stages, "evaluations": evaluations}


def _resumes(resume: str | Path, places: Sequence[Path]) -> list[str | Path]:
    """Where each stage goes on: a checkpoint is one stage's, and the others go on by themselves."""
    if resume in RESUME:
        for place in places:
            check_resume(resume, place)
        return ["auto"] * len(places)
    owners = [place for place in places if place.resolve() in Path(resume).resolve().parents]
    if not owners:
        raise VkitError(f"{resume} is no checkpoint of {', '.join(map(str, places))}; give one that is")
    return [resume if place in owners else "auto" for place in places]


def run_stage(
    model: str,
    files: Sequence[Path] | Examples[Any],
    recipe: SftRecipe | AlignRecipe,
    out: Path,
    *,
    device: str = "auto",
    parallel: str = "auto",
    skip_bad: bool = False,
    checkpoint_every: int = 500,
    keep_checkpoints: int = 2,
    resume: str | Path = "auto",
    track: Sequence[str] = (),
    workers: int = 1,
    progress: bool = False,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Train one stage; returns the summary that stands in ``out/summary.json``.

    Where several processes were launched, each calls this. They see one file system, and may be as many as
    they like each time that a run goes on.

    Args:
        model: as `load_model` takes it.
        files: the stage's data, or what `open_examples` made of them.
        device: as `load_model` takes it; several processes take cuda or cpu. parallel: how these share the
            work, as `vkit.train.distributed.join` takes it.
        skip_bad: leave out bad records, and list them, instead of stopping at the first.
        checkpoint_every, keep_checkpoints, resume, track, workers: as `vkit.train.loop.train` takes them.
        progress: show bars on stderr; tell: takes lines for people.
    """
    examples = files if isinstance(files, Examples) else open_examples(files, recipe, skip_bad=skip_bad)
    tell(f"{out.name}: {describe(examples)}; {planned_steps(len(examples), recipe)} steps")
    check_trackers(track)
    world = join(device, parallel)
    world.ask_main(lambda: check_resume(resume, out))
    # One that is to be shared out may not fit where its parts will.
    adapter = load_model(model, device="cpu" if world.sharded else world.device, dtype="float32")
    task = make_task(adapter, examples, recipe, skip_bad=skip_bad)
    return train(
        task,
        recipe,
        out,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
        resume=resume,
        track=track,
        workers=workers,
        progress=progress,
        tell=tell,
        world=world,
    )


def make_task(
    model: VisionLanguageModel,
    examples: Examples[Any],
    recipe: SftRecipe | AlignRecipe,
    *,
    skip_bad: bool = False,
) -> Task:
    """The stage's task on a model whose trainable parameters are chosen as the recipe says."""
    from vkit.models.training import checkpoint_gradients

    prepare(model, recipe)
    if recipe.gradient_checkpointing:
        checkpoint_gradients(model)
    kind = AlignTask if isinstance(recipe, AlignRecipe) else SftTask
    return kind(model, examples, recipe, skip_bad=skip_bad)


def prepare(model: VisionLanguageModel, recipe: Recipe) -> None:
    """Give a model the LoRA layers of a recipe, and choose what trains."""
    from vkit.models.lora import add_lora
    from vkit.models.training import choose_trainable

    torch.manual_seed(recipe.seed)  # LoRA's factors start at random
    if recipe.lora_rank:
        if "language_model" not in recipe.train:
            raise VkitError("lora_rank is for the language model, which train leaves out; add language_model")
        add_lora(model, rank=recipe.lora_rank, alpha=recipe.lora_alpha, dropout=recipe.lora_dropout)
    choose_trainable(model, recipe.train)


def evaluate_once(
    model: str,
    tests: Path,
    place: Path,
    *,
    prompt: str,
    max_new_tokens: int = 64,
    batch_size: int = 64,
    device: str = "auto",
    progress: bool = False,
) -> dict[str, Any]:
    """`evaluate_versions` of a model on a file of samples, kept in ``place``; without its items.

    A report of the same model and file that is there already is taken as it is.
    """
    samples = list(read_samples(tests))
    made_of = {
        "tests": str(tests),
        "digest": settings_digest([sample.to_json() for sample in samples]),
        "prompt": prompt,
        "max_new_tokens": max_new_tokens,
    }
    if place.is_file():
        report = read_json(place)
        if (theirs := report.get("made_of")) != made_of:
            raise VkitError(f"{place} was made of {theirs}; remove it, or choose another --out")
    else:
        adapter = load_model(model, device=device, dtype="float32")
        report = evaluate_versions(
            adapter,
            samples,
            prompt=prompt,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            progress=progress,
        )
        report["made_of"] = made_of
        write_json(place, report)
    return {key: value for key, value in report.items() if key not in ("items", "made_of")}


def with_stage(
    recipes: Mapping[int, SftRecipe | AlignRecipe], *layers: Mapping[str, Any]
) -> dict[int, SftRecipe | AlignRecipe]:
    """Recipes with settings of one stage (``stage2.lam``, or a mapping ``stage2``) or of all that have them.

    A later layer overrules an earlier one; within a layer, a stage's own value overrules that for all.

    Raises:
        VkitError: no stage that runs has the setting, or its value is refused.
    """
    from vkit.train.recipes import override

    known = [f"stage{number}" for number in recipes]
    chosen: dict[str, dict[str, Any]] = {stage: {} for stage in known}
    for values in layers:
        plain, by_stage = _split_by_stage(values)
        for stage in by_stage:
            if stage not in known:
                raise VkitError(f"settings for {stage!r}, which does not run; it may be {', '.join(known)}")
        for name in plain:
            if not any(hasattr(recipe, name) for recipe in recipes.values()):
                raise VkitError(
                    f"no stage that runs has a setting {name!r}; they have {_settings_of(recipes)}"
                )
        for stage, recipe in zip(known, recipes.values()):
            chosen[stage].update({name: value for name, value in plain.items() if hasattr(recipe, name)})
            chosen[stage].update(by_stage.get(stage, {}))
    return {number: override(recipe, chosen[f"stage{number}"]) for number, recipe in recipes.items()}


def _split_by_stage(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Settings of all stages, and those of one by its name."""
    plain: dict[str, Any] = {}
    by_stage: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        stage, dot, field = name.partition(".")
        if stage.startswith("stage") and isinstance(value, Mapping) and not dot:
            by_stage.setdefault(stage, {}).update(value)
        elif stage.startswith("stage") and dot:
            by_stage.setdefault(stage, {})[field] = value
        else:
            plain[name] = value
    return plain, by_stage


def _settings_of(recipes: Mapping[int, Recipe]) -> str:
    return ", ".join(dict.fromkeys(name for recipe in recipes.values() for name in vars(recipe)))
