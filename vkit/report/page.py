"""Writes the page on which runs are read: a summary, and each item's picture under attention.

    page = write_page(Path("runs/cot"))                       # runs/cot/index.html
    page = write_page([Path("runs/direct"), Path("runs/cot")], out=Path("both.html"))
    print(page.path, page.files)                              # files: the folder to keep beside it, or None

``page.html`` is filled with ``page.css``, the scripts, an overview made here and the figures of all items;
the items themselves lie in the page or in files beside it (`vkit.report.page_files`). The page asks the
network for nothing, and its Content-Security-Policy would not let it: only the one inline script and style
with the right hashes run, only ``data:`` pictures load, and scripts only from where the page lies. Text of a
record reaches the page as JSON data (escaped) or as escaped HTML, never as markup or code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.run_folder import read_details, read_items, read_summary, unique_names
from vkit.errors import VkitError
from vkit.jsonl import write_chunks
from vkit.report.colours import RAMPS, anchors, to_hex
from vkit.report.markup import as_data, asset, content_hash, escaped
from vkit.report.overlay import FULL_ALPHA, SMALLEST_SIDE, STUDY_SCALE
from vkit.report.overview import draw_overview
from vkit.report.page_files import ItemStore
from vkit.report.page_items import Pictures, item_data, row_data
from vkit.report.run_figures import RunFigures

SCRIPTS = ("overlay.js", "page_data.js", "page_items.js", "page_tokens.js", "page_charts.js", "page.js")
RANDOM_WEIGHTS = "This model has random weights: the numbers show how the tool works and mean nothing else."
COLOUR_RANGE = (2, 98)  # percentiles of all tokens' ratios, between which the scale of all items lies


@dataclass(frozen=True)
class Page:
    """What was written.

    path: of the page. files: the folder that must stay beside it; None where the page is all.
    items: problems on it. mib: of the page and its files.
    """

    path: Path
    items: int
    files: Path | None
    mib: float


def write_page(
    runs: Path | Sequence[Path],
    *,
    out: Path | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    lead: str = "",
    comparison: Mapping[str, Any] | None = None,
    single_file: bool | None = None,
    max_mib: float = 25.0,
    on_item: Callable[[], object] = lambda: None,
) -> Page:
    """Write one HTML page of one or several runs. A kill leaves the old page or the new one, whole.

    Args:
        runs: folders that ``vkit attn-ratio`` wrote (see `vkit.attention.run_folder`).
        out: the page's path; None: ``index.html`` in the run's folder, for one run only.
        names: what the runs are called, each another name; None: as their folders.
        title: of the page; None: of the model, or the runs' names.
        lead: HTML that stands before the overview, made of escaped text.
        comparison: what `vkit.attention.compare.compare` found between the runs; None: it is asked.
        single_file: True: all items in the page; False: each in a file of its own in the folder
            ``<out>_files`` beside it, loaded when it is looked at; None: in the page while they are small.
        max_mib: the limit of a page that holds its items (in MiB), with ``single_file``.
        on_item: called after each item of each run.

    Raises:
        VkitError: a run cannot be read or holds no item, a run is given twice, an id stands twice in a run,
            items exceed ``max_mib``, the folder of ``out`` does not exist or ``out`` does not end in
            ``.html``, or ``<out>_files`` is not ours.
    """
    folders = [runs] if isinstance(runs, Path) else list(runs)
    path = _page_path(folders, out)
    store = ItemStore(path.parent / f"{path.stem}_files", embed=single_file, most_mib=max_mib)
    try:
        figures = _read_runs(folders, names or unique_names(folders), store, on_item)
        found = comparison or _comparison(figures)
        pieces = [*_fill_template(figures, store, title or _title(figures), lead, found)]
    except BaseException:
        store.discard()  # not once the page itself is written: it might be the new one that needs them
        raise
    size = _write(path, pieces)
    store.remove_stale()
    items = len({record_id for run in figures for record_id in run.ids})
    beside = store.mib if store.folder else 0.0
    return Page(path, items, store.folder, size / 2**20 + beside)


def _page_path(folders: Sequence[Path], out: Path | None) -> Path:
    """Where the page goes; refuses what no page can be made of before anything is read."""
    if not folders:
        raise VkitError("no run given; name one or more run folders")
    places = [folder.resolve() for folder in folders]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise VkitError(f"{folders[index]} is given twice; name each run folder once")
    if strangers := [folder for folder in folders if not folder.is_dir()]:
        raise VkitError(f"{strangers[0]} is no folder; name one that attn-ratio wrote")
    if out is None and len(folders) > 1:
        raise VkitError(
            f"{len(folders)} runs go on one page, which lies in none of them; say where with --out"
        )
    path = out or folders[0] / "index.html"
    if not path.name or path.is_dir():
        raise VkitError(f"{path} is a folder; name a file for the page, as {path / 'page.html'}")
    if path.suffix.lower() != ".html":  # items.jsonl, for instance, would be lost
        raise VkitError(f"{path} is no name of a page; choose one that ends in .html")
    if not path.parent.is_dir():
        raise VkitError(f"folder {path.parent} for the page does not exist; create it first")
    return path


def _read_runs(
    folders: Sequence[Path], names: Sequence[str], store: ItemStore, on_item: Callable[[], object]
) -> list[RunFigures]:
    """Every run's figures; its items go into the store."""
    figures, pictures = [], Pictures()
    for number, (folder, name) in enumerate(zip(folders, names)):
        run = RunFigures(name, folder, read_summary(folder))
        _add_items(number, run, store, pictures, on_item)
        figures.append(run)
    return figures


def _add_items(
    number: int, run: RunFigures, store: ItemStore, pictures: Pictures, on_item: Callable[[], object]
) -> None:
    """Read a run's items one by one into its figures and the store."""
    seen: set[str] = set()
    for place, item in enumerate(read_items(run.folder)):
        if item["id"] in seen:
            raise VkitError(f"{run.folder} holds item {item['id']!r} twice; measure into a new folder")
        seen.add(item["id"])
        details = read_details(run.folder, item)
        key = store.add(number, place, item_data(run.folder, item, details, pictures))
        run.add(item, details, row_data(key, item, run.reduce))
        on_item()
    if not seen:
        raise VkitError(f"{run.folder / 'items.jsonl'} holds no item; run attn-ratio into {run.folder} first")


def _write(path: Path, pieces: Iterable[str]) -> int:
    """Write the page, complete or not at all; returns its bytes."""
    size = 0

    def encoded() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            data = piece.encode("utf-8", errors="xmlcharrefreplace")  # half a surrogate pair is no UTF-8
            size += len(data)
            yield data

    write_chunks(path, encoded())
    return size


def _fill_template(
    runs: Sequence[RunFigures],
    store: ItemStore,
    title: str,
    lead: str,
    comparison: Mapping[str, Any] | str | None,
) -> Iterator[str]:
    """The page, piece by piece: with many embedded items it is large."""
    style, script = asset("page.css"), "".join(asset(name) for name in SCRIPTS)
    scripts_from = content_hash(script) + (" 'self'" if store.folder else "")
    parts = {
        "policy": (
            f"default-src 'none'; img-src data:; script-src {scripts_from};"
            f" style-src {content_hash(style)}; base-uri 'none'; form-action 'none'"
        ),
        "title": escaped(title),
        "banner": _banner(runs),
        "lead": lead,
        "overview": draw_overview(runs, comparison),
        "limits": " ".join(dict.fromkeys(escaped(run.summary["limits"]) for run in runs)),
        "style": style,
        "script": script,
    }
    # At even places text, at odd ones the names of slots.
    for place, piece in enumerate(re.split(r"\{\{(\w+)\}\}", asset("page.html"))):
        if not place % 2:
            yield piece
        elif piece == "data":
            yield from _data(runs, store)
        else:
            yield parts[piece]


def _title(runs: Sequence[RunFigures]) -> str:
    return runs[0].summary["model"] if len(runs) == 1 else ", ".join(run.name for run in runs)


def _banner(runs: Sequence[RunFigures]) -> str:
    random = [run.name for run in runs if run.summary["random_weights"]]
    if not random:
        return ""
    line = RANDOM_WEIGHTS
    if len(runs) > 1:
        line = f"Random weights in {', '.join(random)}: those numbers show how the tool works, nothing else."
    return f'<p class="banner" role="note">{escaped(line)}</p>'


def _comparison(runs: Sequence[RunFigures]) -> dict[str, Any] | str | None:
    """What `compare` finds between several runs, or the line with which it refuses them."""
    if len(runs) < 2:
        return None
    from vkit.attention.compare import compare

    try:
        return compare([run.folder for run in runs])
    except VkitError as error:
        names = {str(run.folder): run.name for run in runs}  # a page that travels names no folder of ours
        folders = "|".join(re.escape(folder) for folder in sorted(names, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])({folders})(?![\w/-])", lambda found: names[found[0]], str(error))


def _data(runs: Sequence[RunFigures], store: ItemStore) -> Iterator[str]:
    """The page's data as JSON: constants, runs, a row of figures per item, and the embedded items."""
    ratios = np.concatenate([ratios for run in runs for ratios in run.token_ratios])
    low, high = (
        (None, None)
        if not ratios.size
        else (float(f"{value:.7g}") for value in np.percentile(ratios, COLOUR_RANGE))
    )
    rows = [dict(zip(run.ids, run.rows)) for run in runs]
    ids = dict.fromkeys(record_id for run in runs for record_id in run.ids)
    data = {
        "constants": {
            "ramps": {name: [to_hex(colour) for colour in anchors(name)] for name in RAMPS},
            "studyScale": STUDY_SCALE,
            "fullAlpha": FULL_ALPHA,
            "smallestSide": SMALLEST_SIDE,
        },
        "runs": [{"name": run.name, "reduce": run.reduce, "low": low, "high": high} for run in runs],
        "items": [{"id": record_id, "runs": [row.get(record_id) for row in rows]} for record_id in ids],
        "folder": store.folder.name if store.folder else None,
    }
    yield as_data(data)[:-1] + ',"embedded":{'
    for place, (key, text) in enumerate(store.embedded.items()):
        yield f'{"," if place else ""}"{key}":{text}'
    yield "}}"
