"""What is done for one variant: its rationales, its fine-tune, its answers, its attention.

    rationales = write_rationales(plan, variant, problems, steps, asked)
    adapter = fine_tune(plan, variant, rationales, steps, model)

Each is a step of `vkit.study.steps` in a folder named after the variant, or after the kind of its rationales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkit.errors import VkitError
from vkit.rationales.prompts import KINDS
from vkit.study.plan import Plan, Teacher, Variant
from vkit.study.problems import Problems
from vkit.study.steps import Steps, digest, file_digest, model_digest

if TYPE_CHECKING:
    from vkit.rationales.job import Job
    from vkit.teacher.asking import Ask
    from vkit.teacher.store import ReplyStore
    from vkit.teacher.task import Settings, Task

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Rationales:
    """A file of problems with rationales; ``report``: how many, what was set aside, what it cost."""

    path: Path
    digest: str
    report: dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """What answers for a variant: a model, and LoRA factors where there are some.

    digest: of all its weights. report: of its training; None for the model as it is.
    """

    model: str
    adapter: str | None
    digest: str
    report: dict[str, Any] | None = None


def write_rationales(
    plan: Plan, variant: Variant, problems: Problems, steps: Steps, *, progress: bool
) -> Rationales:
    """The variant's rationales: written by the teacher, or given.

    What a teacher says stands in ``teacher/store.jsonl`` for all kinds, so that nothing is paid for twice.

    Raises:
        VkitError: the teacher cannot be asked, its cost would pass ``max_cost``, or no rationale is good.
    """
    kind = str(variant.rationales)
    if kind not in KINDS:
        path = plan.place(kind)
        return Rationales(path, _digest_with_pictures(path), {"file": kind})
    assert plan.teacher is not None  # of a checked plan
    teacher, name = plan.teacher, f"rationales/{kind}"
    spoken = ("model", "local", "scripted", "base_url", "temperature", "max_tokens")
    inputs = {
        "kind": kind,
        "problems": problems.train_digest,
        "teacher": {key: getattr(teacher, key) for key in spoken},
    }
    report = steps.run(
        name,
        inputs,
        lambda place: _ask(plan, teacher, kind, problems, place, steps, progress),
        makes=["rationales.jsonl"],
    )
    path = steps.out / name / "rationales.jsonl"
    return Rationales(path, file_digest(path), report)  # pictures are named after their bytes there


def fine_tune(
    plan: Plan,
    variant: Variant,
    rationales: Rationales,
    steps: Steps,
    base: str,
    *,
    progress: bool,
    tell: Tell,
) -> Tuned:
    """Train the variant on its rationales; ``base``: the digest of the model as it is."""
    from vkit.train.stages import run_stage

    recipe = plan.recipe(variant)
    name = f"train/{variant.slug}"
    inputs = {"model": base, "rationales": rationales.digest, "recipe": asdict(recipe)}

    def work(place: Path) -> dict[str, Any]:
        summary = run_stage(
            plan.model_path,
            [rationales.path],
            recipe,
            place,
            device=plan.device,
            checkpoint_every=plan.training.checkpoint_every,
            progress=progress,
            tell=tell,
        )
        return {key: summary[key] for key in ("examples", "steps", "tokens", "loss", "seconds")}

    learned = "adapter" if recipe.lora_rank else "model"
    report = steps.run(name, inputs, work, makes=[learned])
    place = str(steps.out / name / learned)
    if recipe.lora_rank:
        return Tuned(plan.model_path, place, digest([base, model_digest(place)]), report)
    return Tuned(place, None, model_digest(place), report)


def predict(
    plan: Plan, variant: Variant, tuned: Tuned, problems: Problems, steps: Steps, *, progress: bool
) -> Path:
    """What the variant says to each problem, as a file of predictions."""
    from vkit.evaluate.generation import GenerationSettings, generate_predictions
    from vkit.models.loading import load_model

    name = f"predictions/{variant.slug}"
    inputs = {
        "model": tuned.digest,
        "problems": problems.test_digest,
        "prompt": variant.prompt,
        "max_new_tokens": plan.generate.max_new_tokens,
        "dtype": plan.dtype,
    }

    def work(place: Path) -> dict[str, Any]:
        model = load_model(tuned.model, adapter=tuned.adapter, device=plan.device, dtype=plan.dtype)
        settings = GenerationSettings(
            model=plan.model,
            adapter=None if tuned.report is None else f"train/{variant.slug}",
            data="the study's problems",
            prompt=variant.prompt,
            max_new_tokens=plan.generate.max_new_tokens,
            dtype=plan.dtype,
        )
        with _bar(len(problems.test), name, progress) as bar:
            summary = generate_predictions(
                model,
                problems.test,
                place / "predictions.jsonl",
                settings,
                batch_size=plan.generate.batch_size,
                on_line=lambda line, new: bar.update(),
            )
        names = ("items", "tokens", "stop", "length", "empty", "random_weights")
        return {key: summary[key] for key in names}

    steps.run(name, inputs, work, makes=["predictions.jsonl"])
    return steps.out / name / "predictions.jsonl"


def measure(
    plan: Plan,
    variant: Variant,
    tuned: Tuned,
    predictions: Path,
    problems: Problems,
    steps: Steps,
    *,
    progress: bool,
) -> Path:
    """Where the variant looks while it says what it said, as a run folder of ``vkit attn-ratio``."""
    from vkit.attention.given import read_answers
    from vkit.attention.run import RunSettings, run
    from vkit.models.loading import load_model

    name = f"attention/{variant.slug}"
    inputs = {
        "model": tuned.digest,
        "predictions": file_digest(predictions),
        "problems": problems.test_digest,
        "prompt": variant.prompt,
        "rows": plan.attention.rows,
        "spans": plan.attention.spans,
        "dtype": plan.dtype,
    }

    def work(place: Path) -> dict[str, Any]:
        answers, ids = read_answers(predictions, [sample.id for sample in problems.test])
        model = load_model(tuned.model, adapter=tuned.adapter, device=plan.device, dtype=plan.dtype)
        settings = RunSettings(
            model=plan.model,
            adapter=None if tuned.report is None else f"train/{variant.slug}",
            data="the study's problems",
            prompt=variant.prompt,
            rows=plan.attention.rows,
            spans=plan.attention.spans,
            max_new_tokens=plan.generate.max_new_tokens,
            dtype=plan.dtype,
        )
        with _bar(len(problems.test), name, progress) as bar:
            summary = run(
                model,
                problems.test,
                place,
                settings,
                batch_size=plan.attention.batch_size,
                answers=answers,
                answer_ids=ids,
                on_item=lambda item: bar.update(),
            )
        return {"items": summary["items"], "ratio": summary["ratio"]["mean"]}

    steps.run(name, inputs, work, makes=["items.jsonl", "summary.json"])
    return steps.out / name


def _digest_with_pictures(path: Path) -> str:
    """Of a file of records and the pictures that they name."""
    from vkit.images import resolve_inside
    from vkit.records import only_good, scan_records
    from vkit.sources.opening import PARSERS, has_unique_ids, holders, kind_of

    kind = kind_of(path)
    found = [file_digest(path)]
    for record in only_good(scan_records(path, PARSERS[kind], unique=has_unique_ids(kind))):
        for each in holders(record):
            found.append(file_digest(resolve_inside(each.folder, str(each.image))))
    return digest(found)


def _ask(
    plan: Plan, teacher: Teacher, kind: str, problems: Problems, place: Path, steps: Steps, progress: bool
) -> dict[str, Any]:
    """Ask for what is missing, and write the step's files from the store."""
    from vkit.rationales.job import prepare
    from vkit.rationales.output import gather, summarise, write_rationales
    from vkit.teacher.asking import ask_all
    from vkit.teacher.store import Prices, ReplyStore
    from vkit.teacher.task import Settings

    settings = Settings(
        str(teacher.model or teacher.local or "scripted"), teacher.max_tokens, teacher.temperature
    )
    settings, ask = _voice(plan, teacher, kind, settings)
    job = prepare(problems.train, kind, settings)
    _refuse_unfit(job)
    (steps.out / "teacher").mkdir(exist_ok=True)
    with ReplyStore(
        steps.out / "teacher" / "store.jsonl", Prices.of(teacher.price_in, teacher.price_out)
    ) as store:
        stopped = None
        for _ in range(2):  # the second time for what failed by the endpoint's fault
            if stopped is None and (left := _unanswered(job, store)):
                with _bar(len(left), f"rationales/{kind}", progress) as bar:
                    stopped = ask_all(
                        left,
                        ask,
                        store,
                        max_tokens=teacher.max_tokens,
                        concurrency=teacher.concurrency if teacher.model else 1,
                        max_cost_usd=teacher.max_cost,
                        on_outcomes=lambda outcomes: bar.update(len(outcomes)),
                    )
        found = gather(job, store)
        write_rationales(place, found, job)
        if stopped == "interrupted":
            raise KeyboardInterrupt
        if stopped is not None:
            raise VkitError(
                f"rationales/{kind}: stopped before teacher: max_cost would be passed, {len(found.left)} "
                "problems are left; raise it and run again, all that came is kept"
            )
        if not found.good:
            reasons = ", ".join(sorted({each.reason for each in found.aside.values()}))
            raise VkitError(f"rationales/{kind}: none is good ({reasons}); see {place / 'set-aside.jsonl'}")
        if failed := _unanswered(job, store):
            steps.tell(
                f"rationales/{kind}: {len(failed)} of {len(job.tasks)} problems have none, by the endpoint's"
                f" fault; to ask for them again, stop, remove {place} (the store stays), and run again"
            )
        return {"kind": kind, "model": settings.model, **summarise(found, store)}


def _unanswered(job: Job, store: ReplyStore) -> list[Task]:
    """Tasks that were never asked, and those that only the endpoint failed at."""
    from vkit.rationales.output import gather
    from vkit.teacher.asking import is_endpoint_failure

    found = gather(job, store)
    failed = (task for task in found.retryable if is_endpoint_failure(store.outcomes(task.key)[-1]))
    return [*found.left, *failed]


def _voice(plan: Plan, teacher: Teacher, kind: str, settings: Settings) -> tuple[Settings, Ask]:
    """What asks, and the settings under which its replies are kept."""
    if teacher.scripted:
        from vkit.rationales.scripted import ScriptedTeacher

        return settings, ScriptedTeacher(kind).ask
    if teacher.local is not None:
        from vkit.teacher.local import LocalTeacher

        beside = plan.place(teacher.local)
        local = LocalTeacher(
            str(beside) if beside.is_dir() else teacher.local, settings, device=plan.device, dtype=plan.dtype
        )
        return local.settings, local.ask
    from vkit.teacher.client import ApiTeacher

    client = ApiTeacher(
        settings,
        base_url=teacher.base_url,
        key_variable=teacher.api_key_env,
        limit_parameter=teacher.limit_parameter,
        max_retries=teacher.max_retries,
        timeout_s=teacher.timeout_s,
    )
    return settings, client.ask


def _refuse_unfit(job: Job) -> None:
    if not job.tasks:
        first = job.unfit[0] if job.unfit else None
        reason = "there is none" if first is None else f"{first.reason} of {first.sample.id!r} {first.detail}"
        raise VkitError(
            f"rationales/{job.kind}: no problem can be asked ({reason.strip()}); check data: train"
        )


def _bar(total: int, name: str, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=total, desc=name, unit=" items", delay=1, leave=False, disable=None if progress else True
    )
