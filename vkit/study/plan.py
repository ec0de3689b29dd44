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
from vkit.study.check import check_plan
from vkit.train.recipes import SFT_RECIPES, SftRecipe, override, read_settings

PRESETS = ("tey", "tiny")


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

    train: one or several. train_limit, test_limit: only the first so many of each.
    """

    train: tuple[str, ...] = ()
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
    """A whole study; ``note`` stands on its page, ``base`` is the folder that its paths are relative to."""

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
    note: str = ""
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
    if str(source) in PRESETS and not Path(source).is_file():  # a folder of that name may be the study itself
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
        if "base" in values:
            raise VkitError("the plan has no 'base': its paths are relative to its folder; leave it out")
        plan = _section(Plan, {**values, "base": base}, "the plan")
        check_plan(plan)
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
_HUGE = 10**15
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
    if kind.startswith("tuple[str"):
        paths = [value] if isinstance(value, str) else value
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise VkitError(f"{where} must be text, or a list of texts, not {value!r}")
        return tuple(paths)
    if kind.startswith("dict"):
        if not isinstance(value, dict):
            raise VkitError(f"{where} must be a mapping of names and values, not {value!r}")
        return value
    if kind == "Path":
        return value
    if kind == "float" and isinstance(value, str):
        value = _number(value)  # to YAML 1e-6 is text, and 1.0e-6 a number
    if not isinstance(value, _KINDS[kind]) or (kind == "bool") != isinstance(value, bool):
        hint = "; put it in quotes" if kind == "str" and not isinstance(value, (list, dict)) else ""
        raise VkitError(f"{where} must be {_WORDS[kind]}, not {value!r}{hint}")
    if isinstance(value, (int, float)) and not abs(value) < _HUGE:  # nan too
        raise VkitError(f"{where} must be {_WORDS[kind]} below 10^15, not {value!r}")
    if isinstance(value, str) and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
        raise VkitError(f"{where} holds a zero or half a character ({value!r}); take it out")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
