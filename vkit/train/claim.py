"""A folder belongs to the settings that made it: another training never mixes in.

claim(Path("runs/puma/stage1"), {"recipe": {"lr": 3e-5}, "data": digest})
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import read_json, write_json


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Write ``out/settings.json``, or compare it where it is there.

    Args:
        settings: what decides the result; the parts of its ``recipe`` are named singly.

    Raises:
        VkitError: the folder was made with other settings; names the first that differs.
    """
    path = out / "settings.json"
    if not path.exists():
        write_json(path, settings)
        return
    theirs = read_json(path)
    if theirs == settings:
        return
    ours, others = _singly(settings), _singly(theirs)
    differing = (key for key in (*ours, *others) if ours.get(key) != others.get(key))
    name = next(differing, "settings.json")
    raise VkitError(
        f"{out} was made with other settings ({name}: {others.get(name)!r} there, {ours.get(name)!r} now);"
        " choose another --out, or remove it"
    )


def _singly(settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's parts beside the other settings; a recipe that has no parts is one of these."""
    recipe = settings.get("recipe")
    if not isinstance(recipe, dict):
        return settings
    return {**recipe, **{name: value for name, value in settings.items() if name != "recipe"}}
