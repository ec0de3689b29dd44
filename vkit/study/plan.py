"""What a study does, read from one YAML file; every name is checked before anything is done.

    plan = read_plan(Path("study.yaml"), {"generate.batch_size": "4"})
    plan = read_plan("tiny")                       # one of PRESETS, which come with the package
    plan.variants[0].prompt                        # 'direct'

Paths in the file are relative to its folder, those of a preset to the folder in which one stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from vkit.errors import VkitError
from vkit.prompts import PROMPTS
from vkit.rationales.prompts import KINDS
from vkit.train.recipes import SFT_RECIPES, SftRecipe, override, read_settings

PRESETS = ("tey", "tiny")
SUITES = ("geometry3k", "records")


@dataclass(frozen=True)
class Miniature:
    """Problems drawn for the tiny model, instead of given ones.

    pairs: to learn from; tests: to answer; seed: of both.
    version: which version of a problem is asked (see `vkit.synthesis.versions`).
    """

    pairs: int
    tests: int
    seed: int = 0
    version: str = "vision-dominant"


@dataclass(frozen=True)
class Data:
    """The problems: files or folders as `vkit.sources.opening.scan` takes them, or drawn ones.

    train_limit, test_limit: only the first so many of each.
    """

    train: str | None = None
    test: str | None = None
    miniature: Miniature | None = None
    train_limit: int | None = None
    test_limit: int | None = None


@dataclass(frozen=True)
class Teacher:
    """Who writes rationales: a model at an endpoint, one on this machine, or the problems' own solutions.

    model, base_url, api_key_env, limit_parameter, temperature, max_tokens, concurrency, max_retries,
        timeout_s, price_in, price_out, max_cost: as the options of `vkit rationales`.
    local: a model on this machine, as `load_model` takes it.
    scripted: the teacher says each problem's own worked solution, for trials without a model.
    """

    model: str | None = None
    local: str | None = None
    scripted: bool = False
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    limit_parameter: str = "max_completion_tokens"
    temperature: float | None = None
    max_tokens: int = 1024
    concurrency: int = 8
    max_retries: int = 5
    timeout_s: float = 120.0
    price_in: float | None = None
    price_out: float | None = None
    max_cost: float | None = None


@dataclass(frozen=True)
class Training:
    """Of every fine-tune: a recipe of `vkit.train.recipes.SFT_RECIPES`, and settings that overrule it."""

    recipe: str = "tey"
    set: dict[str, Any] = field(default_factory=dict)
    checkpoint_every: int = 500


@dataclass(frozen=True)
class Generate:
    batch_size: int = 8
    max_new_tokens: int = 512


@dataclass(frozen=True)
class Judge:
    """A model that reads answers which the rules cannot read, as the study's GPT-4o did."""

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    price_in: float | None = None
    price_out: float | None = None


@dataclass(frozen=True)
class Score:
    """suite: the rules by which answers are read; None: those of the release, else of plain records."""

    suite: str | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Attention:
    """How the ratio is measured; see `vkit.attention.run.RunSettings`."""

    rows: str = "predicting"
    spans: str = "study"
    batch_size: int = 1


@dataclass(frozen=True)
class Compare:
    """baseline: the variant that the others are compared with; None: the first."""

    baseline: str | None = None
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Published:
    """A row of the paper's Table 1: accuracy in percent, and the ratio."""

    accuracy: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    prompt: one of `vkit.prompts.PROMPTS`, in fine-tuning and in answering.
    rationales: None for the model as it is; one of `vkit.rationales.prompts.KINDS`, which the teacher writes;
        or a file of problems with rationales.
    """

    name: str
    prompt: str
    rationales: str | None = None
    published: Published | None = None

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.name.lower()).split()
        return "-".join(words)


@dataclass(frozen=True)
class Plan:
    """A whole study; ``base`` is the folder that its paths are relative to."""

    title: str
    model: str
    variants: tuple[Variant, ...]
    data: Data
    teacher: Teacher | None = None
    training: Training = Training()
    generate: Generate = Generate()
    score: Score = Score()
    attention: Attention = Attention()
    compare: Compare = Compare()
    device: str = "auto"
    dtype: str = "auto"
    base: Path = Path()

    def place(self, path: str) -> Path:
        return self.base / path

    @property
    def model_path(self) -> str:
        """The model's name for `load_model`: a folder beside the plan, else the name as it is."""
        beside = self.base / self.model
        return str(beside) if beside.is_dir() else self.model

    @property
    def baseline(self) -> int:
        """Which variant the others are compared with."""
        names = [variant.name for variant in self.variants]
        return 0 if self.compare.baseline is None else names.index(self.compare.baseline)

    def recipe(self, variant: Variant) -> SftRecipe:
        """How a variant is fine-tuned; its prompt is the one it will be asked with."""
        return override(SFT_RECIPES[self.training.recipe], {"prompt": variant.prompt, **self.training.set})


def read_plan(source: Path | str, changes: Mapping[str, str] | None = None) -> Plan:
    """A plan from a YAML file, or from one of `PRESETS`.

    Args:
        changes: dotted names and values as YAML, such as ``{"data.test_limit": "20"}``; they overrule.

    Raises:
        VkitError: the file cannot be read, or a name or value in it is none; says where.
    """
    if str(source) in PRESETS and not Path(source).exists():
        values, base, where = _preset(str(source)), Path(), f"preset {source}"
    else:
        path = Path(source)
        if not path.exists():
            raise VkitError(
                f"{path} does not exist; give a YAML file, or one of the presets {', '.join(PRESETS)}"
            )
        values, base, where = read_settings(path), path.parent, str(path)
    for name, value in (changes or {}).items():
        _assign(values, name, value)
    try:
        plan = _section(Plan, {**values, "base": base}, "the plan")
        _check(plan)
    except VkitError as error:
        raise VkitError(f"{where}: {error}") from error
    return plan


def preset_text(name: str) -> str:
    """The YAML of a preset, to be kept and changed."""
    return (resources.files("vkit.study") / f"{name}.yaml").read_text(encoding="utf-8")


def _preset(name: str) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(preset_text(name))


def _assign(values: dict[str, Any], name: str, text: str) -> None:
    import yaml

    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise VkitError(f"--set {name}: {parent!r} has no settings of its own")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise VkitError(f"--set {name}={text}: the value is no YAML; put it in quotes") from error


_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_SECTIONS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Data, Miniature, Teacher, Training, Generate, Score, Judge, Attention, Compare, Published,
    )
}  # fmt: skip

Section = TypeVar("Section")


def _section(kind: type[Section], values: Any, where: str) -> Section:
    """A dataclass from a mapping, its names and types checked."""
    if not isinstance(values, Mapping):
        raise VkitError(f"{where} must be a mapping of names and values, not {values!r}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            shown = ", ".join(n for n in known if n != "base")
            raise VkitError(f"{where} has no {name!r}{hint}; it has {shown}")
    for name, field_ in known.items():
        if name not in values and field_.default is MISSING and field_.default_factory is MISSING:
            raise VkitError(f"{where} lacks {name!r}; add it")
    return kind(
        **{name: _value(value, str(known[name].type), f"{where}: {name}") for name, value in values.items()}
    )


def _value(value: Any, kind: str, where: str) -> Any:
    if kind.endswith(" | None"):
        if value is None:
            return None
        kind = kind.removesuffix(" | None")
    if kind in _SECTIONS:
        return _section(_SECTIONS[kind], value, where)
    if kind.startswith("tuple[Variant"):
        if not isinstance(value, list) or not value:
            raise VkitError(f"{where} must be a list of variants, at least one")
        return tuple(_section(Variant, each, f"{where}[{number}]") for number, each in enumerate(value))
    if kind.startswith("dict"):
        if not isinstance(value, dict):
            raise VkitError(f"{where} must be a mapping of names and values, not {value!r}")
        return value
    if kind == "Path":
        return value
    if isinstance(value, _KINDS[kind]) and (kind == "bool") == isinstance(value, bool):
        return value
    raise VkitError(f"{where} must be {_WORDS[kind]}, not {value!r}")


def _check(plan: Plan) -> None:
    """Refuse what would only fail after hours of work."""
    slugs = [variant.slug for variant in plan.variants]
    for variant in plan.variants:
        if not variant.slug or slugs.count(variant.slug) > 1:
            raise VkitError(f"variant {variant.name!r}: its name is empty or like another's; rename it")
        _one_of(f"variant {variant.name!r}: prompt", variant.prompt, tuple(PROMPTS))
        given = variant.rationales
        if given is not None and given not in KINDS and not plan.place(given).is_file():
            known = ", ".join(KINDS)
            raise VkitError(
                f"variant {variant.name!r}: rationales {given!r} are neither a file nor one of {known}"
            )
    _check_numbers(plan)
    _check_data(plan)
    if plan.compare.baseline is not None:
        _one_of("compare: baseline", plan.compare.baseline, tuple(v.name for v in plan.variants))
    _one_of("attention: rows", plan.attention.rows, ("predicting", "own"))
    _one_of("attention: spans", plan.attention.spans, ("study", "question"))
    if plan.score.suite is not None:
        _one_of("score: suite", plan.score.suite, SUITES)
    _one_of("training: recipe", plan.training.recipe, tuple(SFT_RECIPES))
    for variant in plan.variants:
        plan.recipe(variant)  # what it does not take is refused here


def _check_numbers(plan: Plan) -> None:
    counts = {
        "generate: batch_size": plan.generate.batch_size,
        "generate: max_new_tokens": plan.generate.max_new_tokens,
        "attention: batch_size": plan.attention.batch_size,
        "training: checkpoint_every": plan.training.checkpoint_every,
        "data: train_limit": plan.data.train_limit,
        "data: test_limit": plan.data.test_limit,
    }
    if plan.teacher is not None:
        counts |= {f"teacher: {name}": getattr(plan.teacher, name) for name in ("max_tokens", "concurrency")}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise VkitError(f"{name} must be 1 or more, not {count}")


def _check_data(plan: Plan) -> None:
    data, teacher = plan.data, plan.teacher
    given = (data.train is not None) or (data.test is not None)
    if data.miniature is not None and given:
        raise VkitError("data: miniature draws all problems; leave train and test out")
    if data.miniature is None and data.test is None:
        raise VkitError("data: test is missing; give the problems to answer")
    asked = [variant for variant in plan.variants if variant.rationales in KINDS]
    if asked and teacher is None:
        raise VkitError(
            f"variant {asked[0].name!r} wants rationales, but there is no teacher; add one, or give a file"
        )
    if asked and data.miniature is None and data.train is None:
        raise VkitError("data: train is missing; give the problems to write rationales for")
    if teacher is not None:
        kinds = [teacher.model is not None, teacher.local is not None, teacher.scripted]
        if sum(kinds) != 1:
            raise VkitError("teacher: give one of model (an endpoint's), local (a folder) and scripted: true")
        if (teacher.price_in is None) != (teacher.price_out is None):
            raise VkitError("teacher: give both price_in and price_out, or neither")
        if teacher.max_cost is not None and teacher.price_in is None:
            raise VkitError("teacher: max_cost needs price_in and price_out")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise VkitError(f"{name} {value!r} is not known; known: {', '.join(known)}")
