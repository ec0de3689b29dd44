"""A folder belongs to the settings that made it: another training never mixes in.

claim(Path("runs/puma/stage1"), {"recipe": {"lr": 3e-5}, "data": digest})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json


def claim(
    out: Path, settings: dict[str, Any], *, names: Mapping[str, str] | None = None, data: Path | None = None
) -> None:
    """Write ``out/settings.json``, or compare it where it is there.

    Args:
        settings: what decides the result; the parts of its ``recipe`` are named singly.
        names: what people call the settings that are digests; kept beside them, and never compared.
        data: where the data lie whose digests are the settings "data" and "pictures".

    Raises:
        VkitError: the folder was made with other settings; names the first that differs.
    """
    if (out / "settings.json").exists():
        compare_claim(out, settings, names=names, data=data)
    else:
        write_json(out / "settings.json", {**settings, **({"names": dict(names)} if names else {})})


def compare_claim(
    out: Path, settings: dict[str, Any], *, names: Mapping[str, str] | None = None, data: Path | None = None
) -> None:
    """What `claim` does of a folder that is claimed already; arguments and errors as there."""
    theirs = read_json(out / "settings.json")
    their_names = theirs.pop("names", {}) if names else {}
    if theirs == settings:
        return
    ours, others = _singly(settings), _singly(theirs)
    differing = (key for key in (*ours, *others) if ours.get(key) != others.get(key))
    name = next(differing, "settings.json")
    there, now = their_names.get(name), (names or {}).get(name)
    if data is not None and name in ("data", "pictures"):
        what = f"the {name} in {data} changed"
    elif there is None or now is None:
        what = f"{name}: {others.get(name)!r} there, {ours.get(name)!r} now"
    elif there == now:
        what = f"{name}: {now}, whose weights changed"
    else:
        what = f"{name}: {there} there; {now} now"
    raise VkitError(f"{out} was made with other settings ({what}); choose another --out, or remove it")


def _singly(settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's parts beside the other settings; a recipe that has no parts is one of these."""
    recipe = settings.get("recipe")
    if not isinstance(recipe, dict):
        return settings
    return {**recipe, **{name: value for name, value in settings.items() if name != "recipe"}}
