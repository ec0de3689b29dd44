"""Labels of pictures, and the CSV that they are read from and written to.

    labels, notes = read_labels(Path("labels.csv"), pool, digests)
    labels[digests[0]]                                       # Label(clarity=1, complexity=2, by="teacher")
    write_labels(Path("all/labels.csv"), pool, digests, labels)

The file is anybody's: a spreadsheet's, with a byte order mark, CRLF, or 1.0 for 1. It needs a column ``id``
or ``image`` that says which problem of the pool, and ``complexity``; where it has no ``clarity``, all of its
pictures are clear.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vkit.errors import VkitError
from vkit.jsonl import write_bytes
from vkit.records import Sample

CLARITIES = (0, 1)
COMPLEXITIES = (0, 1, 2, 3)
COLUMNS = ("id", "image", "clarity", "complexity", "by")


@dataclass(frozen=True)
class Label:
    """What is said of a picture (Shi et al. 2024, section 3).

    clarity: 0 blurred or of poor quality, 1 clear.
    complexity: of comprehending it, 0 to 3; None for an unclear picture that has none.
    by: who says so: "teacher", "classifier", "csv", or the name that a CSV gives.
    """

    clarity: int
    complexity: int | None
    by: str


def read_labels(
    path: Path, pool: Sequence[Sample], digests: Sequence[str]
) -> tuple[dict[str, Label], list[str]]:
    """The labels of a CSV by the digests of their pictures, and what people should be told about the file.

    Raises:
        VkitError: the file cannot be read, or has none of the columns; a row says a value that is none, names
            a problem that the pool has not, or contradicts another row about its picture. Names the line.
    """
    of_id = {sample.id: digest for sample, digest in zip(pool, digests, strict=True)}
    of_image = {str(sample.image): digest for sample, digest in zip(pool, digests)}
    labels: dict[str, Label] = {}
    lines: dict[str, int] = {}
    columns: list[str] = []
    for line, row in _rows(path):
        columns = list(row)
        try:
            digest, label = _picture(row, of_id, of_image), _label(row)
            said = (label.clarity, label.complexity)
            if digest in labels and said != (labels[digest].clarity, labels[digest].complexity):
                raise VkitError(
                    f"says clarity {label.clarity}, complexity {label.complexity} of the picture that line"
                    f" {lines[digest]} says otherwise of; keep one of them"
                )
        except VkitError as error:
            raise VkitError(f"{path}:{line}: {error}") from error
        labels.setdefault(digest, label)
        lines.setdefault(digest, line)
    if not labels:
        raise VkitError(f"{path} holds no labels; check the file")
    return labels, _notes(path, columns)


def write_labels(
    path: Path, pool: Sequence[Sample], digests: Sequence[str], labels: Mapping[str, Label]
) -> None:
    """Write the labels of all problems that have one, in the pool's order, complete or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample, digest in zip(pool, digests, strict=True):
        if (label := labels.get(digest)) is not None:
            writer.writerow([sample.id, sample.image, label.clarity, label.complexity, label.by])
    write_bytes(path, text.getvalue().encode())


def count_values(values: Iterable[int | None], known: Sequence[int]) -> dict[str, int]:
    """How often each known value stands.

    >>> count_values([1, 1, None], (0, 1))
    {'0': 0, '1': 2}
    """
    counts = Counter(values)
    return {str(value): counts[value] for value in known}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of each row by column; blank rows are none."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise VkitError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise VkitError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise VkitError(f"{path}:{reader.line_num}: not CSV ({error}); correct the line") from error
        if not any(map(str.strip, cells)):
            continue
        if columns is None:
            columns = _columns(cells, f"{path}:{reader.line_num}")
        elif len(cells) != len(columns):
            raise VkitError(
                f"{path}:{reader.line_num}: {len(cells)} cells under {len(columns)} columns; quote cells that"
                " hold a comma"
            )
        else:
            yield reader.line_num, dict(zip(columns, cells))


def _columns(cells: Sequence[str], where: str) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise VkitError(f"{where}: column {twice[0]!r} stands twice; take one out")
    named = ", ".join(cells)[:60]
    if not {"id", "image"} & set(columns):
        raise VkitError(f"{where}: no column 'id' or 'image', but {named!r}; say which problem, with commas")
    if "complexity" not in columns:
        raise VkitError(f"{where}: no column 'complexity', but {named!r}; add it, with values 0 to 3")
    return columns


def _picture(row: Mapping[str, str], of_id: Mapping[str, str], of_image: Mapping[str, str]) -> str:
    """The digest of the picture that a row names, by id, by image, or by both where they agree."""
    found = []
    for column, known in (("id", of_id), ("image", of_image)):
        name = row.get(column, "")
        if name not in known:  # a blank of its own counts, one around it does not
            name = name.strip()
        if name and name not in known:
            raise VkitError(f"{column} {name!r} is not in the pool; give the pool that was labelled")
        if name:
            found.append(known[name])
    if not found:
        raise VkitError("neither id nor image is given; say which problem")
    if found[0] != found[-1]:
        raise VkitError(
            f"id {row['id']!r} has another picture in the pool than {row['image']!r}; give the pool that was"
            " labelled"
        )
    return found[0]


def _label(row: Mapping[str, str]) -> Label:
    clarity = _value(row.get("clarity", "1").strip(), "clarity", CLARITIES)
    said, by = row["complexity"].strip(), row.get("by", "").strip() or "csv"
    if clarity == 0 and not said:
        return Label(clarity, None, by)
    return Label(clarity, _value(said, "complexity", COMPLEXITIES), by)


def _value(text: str, column: str, known: Sequence[int]) -> int:
    whole = text.removesuffix(".0")  # what a spreadsheet may make of whole numbers
    if whole not in map(str, known):
        raise VkitError(f"{column} is {text!r}; write one of {', '.join(map(str, known))}")
    return int(whole)


def _notes(path: Path, columns: Sequence[str]) -> list[str]:
    notes = []
    if "clarity" not in columns:
        notes.append(f"{path} has no column 'clarity': all of its pictures are taken as clear")
    if unread := [name for name in columns if name and name not in COLUMNS]:
        notes.append(f"{path}: columns passed over: {', '.join(unread)}")
    return notes
