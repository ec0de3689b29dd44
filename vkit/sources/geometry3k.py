"""Geometry3K (Lu et al. 2021, Inter-GPS) in its official layout.

    <id>/data.json           problem text, choices, the right letter
    <id>/logic_form.json     the diagram in literals
    <id>/img_diagram.png     the diagram

    for record in scan_geometry3k(Path("geometry3k")):
        ...

A folder of problems is read as it is, and so is the release with its ``train``, ``val`` and ``test``
folders. The 2101 + 300 problems of train and val are the study's 2401 training problems; ids 2401-3001 are
its 601 test problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vkit.errors import VkitError
from vkit.jsonl import read_json
from vkit.records import BadRecord, Sample

SPLITS = ("train", "val", "test")


def is_geometry3k(folder: Path) -> bool:
    """Whether a folder looks like Geometry3K or one of its splits."""
    return any(_problem_folders(folder))


def scan_geometry3k(folder: Path) -> Iterator[Sample | BadRecord]:
    """Every problem in order of split and id, the bad ones as `BadRecord`.

    ``meta`` keeps ``source`` ("geometry3k"), ``precise_value`` (one number a choice), ``literals`` (the
    diagram's), ``compact_text``, ``problem_type_graph``, ``problem_type_goal`` and ``data_type``.

    Raises:
        VkitError: the folder is missing or holds no problem.
    """
    if not folder.is_dir():
        raise VkitError(f"{folder} is not a folder; give the Geometry3K folder")
    empty, seen = True, set()
    for problem in _problem_folders(folder):
        empty = False
        try:
            sample = _read_problem(problem, folder)
            if sample.id in seen:
                raise VkitError(f"id {sample.id!r} stands twice; read one split at a time")
        except VkitError as error:
            yield BadRecord(str(problem), str(error))
        else:
            seen.add(sample.id)
            yield sample
    if empty:
        raise VkitError(f"{folder} holds no <id>/data.json; give the folder of problems, or of the splits")


def _problem_folders(folder: Path) -> Iterator[Path]:
    splits = [folder / name for name in SPLITS if (folder / name).is_dir()] or [folder]
    for split in splits:
        problems = (path.parent for path in split.glob("*/data.json"))
        yield from sorted(problems, key=lambda path: (not path.name.isdigit(), path.name.zfill(12)))


def _read_problem(problem: Path, folder: Path) -> Sample:
    data = read_json(problem / "data.json")
    logic = read_json(problem / "logic_form.json")
    for key in ("id", "problem_text", "choices", "answer"):
        if key not in data:
            raise VkitError(f"data.json has no {key!r}; take the file from the release")
    choices, answer = data["choices"], data["answer"]
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices) or not choices:
        raise VkitError("'choices' in data.json must be a list of texts")
    if not isinstance(answer, str) or answer not in [chr(65 + i) for i in range(len(choices))]:
        raise VkitError(f"'answer' in data.json must be the letter of a choice, not {answer!r}")
    if not isinstance(data["problem_text"], str):
        raise VkitError("'problem_text' in data.json must be text")
    image = problem / "img_diagram.png"
    if not image.is_file():
        raise VkitError("img_diagram.png is missing; take the file from the release")
    kept = ("compact_text", "precise_value", "problem_type_graph", "problem_type_goal", "data_type")
    return Sample(
        id=str(data["id"]),
        question=data["problem_text"],
        choices=tuple(choices),
        answer=answer,
        image=image.relative_to(folder).as_posix(),
        meta={
            "source": "geometry3k",
            **{key: data[key] for key in kept if key in data},
            "literals": logic.get("diagram_logic_form", []),
        },
        folder=folder,
    )
