"""A whole measurement: problems in, a folder of results out, continued where it stopped.

    settings = RunSettings(model="tiny", data="problems.jsonl")
    summary = run(model, samples, Path("runs/tiny"), settings)

The folder holds

    run.json       the settings and a digest of the weights; a run with others is refused
    items.jsonl    one answered problem a line, in their order, added as soon as its batch is measured
    maps/          the attention on each image column, one .npz an item, 8 bits a value (see
                   `vkit.attention.run_folder.Maps`), where each column's place in the picture is known
    details/       the image's share in every layer and head, and the columns that draw most, one .npz an
                   item (see `vkit.attention.run_folder.Details`)
    images/        the pictures, as the page shows them
    summary.json   what `summarise` makes of the items

Batches are cut from the whole list of samples, and one of which some items are missing is run whole again: a
run that was killed, or shared among processes, writes what it would have written.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from vkit.attention.measure import Measurement, measure
from vkit.attention.spans import build_segments
from vkit.attention.summary import summarise
from vkit.errors import VkitError
from vkit.evaluate.answers import extract, judge
from vkit.images import png_bytes
from vkit.jsonl import changes, read_json, write_bytes, write_json
from vkit.models.processes import ALONE, Processes
from vkit.models.protocol import IMAGE_COLUMN, Request, VisionLanguageModel, token_pieces, weights_digest
from vkit.models.shared_lines import SharedLines, holds_lines
from vkit.prompts import build_request
from vkit.records import Sample

PICTURE_SIDE = 768  # the longer side of a stored picture, pixels
STRONGEST = 32  # image columns of an item whose exact attention is kept: those that draw most


@dataclass(frozen=True)
class RunSettings:
    """What makes the numbers of a run: two runs that differ in one of these never share a folder.

    model, adapter: as given on the command line.
    data: where the problems came from.
    prompt: one of `vkit.prompts.PROMPTS`.
    rows, spans: see `vkit.attention.spans`.
    max_new_tokens: where generation stops.
    dtype: of the weights.
    text: the file of given answers, None where the model wrote its own.
    device_map, quantize: see `vkit.models.loading.load_model`.
    """

    model: str
    data: str
    adapter: str | None = None
    prompt: str = "cot"
    rows: str = "predicting"
    spans: str = "study"
    max_new_tokens: int = 512
    dtype: str = "auto"
    text: str | None = None
    device_map: str | None = None
    quantize: str | None = None


def run(
    model: VisionLanguageModel,
    samples: Sequence[Sample],
    folder: Path,
    settings: RunSettings,
    *,
    batch_size: int = 1,
    reduce: str = "mean",
    answers: Mapping[str, str] | None = None,
    answer_ids: Mapping[str, Sequence[int]] | None = None,
    processes: Processes = ALONE,
    on_check: Callable[[], object] = lambda: None,
    on_start: Callable[[], None] = lambda: None,
    on_item: Callable[[dict[str, Any]], None] = lambda item: None,
) -> dict[str, Any]:
    """Answer and measure every sample that the folder does not hold yet; returns the summary.

    Args:
        samples: the problems, each with an image.
        folder: made if it is not there.
        reduce: which of `vkit.attention.names.REDUCTIONS` stands first in the summary.
        answers: given answers by id, measured instead of generated ones.
        answer_ids: the tokens of given answers where they are known, as `vkit.evaluate.generation` keeps
            them; taken where the model reads them as the same text, else the text is cut into tokens anew.
        processes: those that share the batches (`vkit.models.processes.join`), each of which calls this with
            a model of its own; what comes out is what one of them would have written.
        on_check: called after each record that was checked before the start; this and the next two in the
            main process only.
        on_start: called once the folder and every record have been found good.
        on_item: called with each item of `samples` once it is in the folder, the old ones first.

    Raises:
        VkitError: the folder holds another run, a record changed since it was measured, or a record or the
            model is refused.
    """
    # Also: every image can be read.
    found = processes.map(lambda sample: _digest(sample, answers), samples)
    digests = {sample.id: digest for sample, digest in zip(samples, found)}
    given = None if answers is None else _Given(model, answers, answer_ids or {})
    begun = processes.ask_main(lambda: _holds_items(folder))

    def check(sample: Sample) -> None:
        _check(model, sample, settings, given)

    if not begun:  # nothing is made before every record has been found good
        processes.map(check, samples, on_check)
    processes.ask_main(lambda: _open_folder(folder, {**asdict(settings), "weights": weights_digest(model)}))
    with SharedLines(folder / "items.jsonl", processes) as file:
        for record_id, digest in digests.items():
            if record_id in file.done and file.done[record_id] != digest:
                raise VkitError(
                    f"record {record_id!r} changed since it was measured into {folder}; use a new folder"
                )
        if begun:
            processes.map(check, [sample for sample in samples if sample.id not in file.done], on_check)
        if processes.is_main:
            on_start()
        batches = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]

        def answer(number: int) -> Iterator[dict[str, Any]]:
            for item in _answer(model, batches[number], folder, settings, given):
                yield {**item, "digest": digests[item["id"]]}

        file.fill(
            [[sample.id for sample in batch] for batch in batches],
            answer,
            lambda item, new: on_item(item),
        )

        def conclude() -> dict[str, Any]:
            summary = summarise([file.lines[sample.id] for sample in samples], reduce=reduce)
            summary = {**asdict(settings), "random_weights": model.random_weights, **summary}
            write_json(folder / "summary.json", summary)
            return summary

        return processes.ask_main(conclude)


class _Given:
    """Given answers as tokens of the model."""

    def __init__(
        self, model: VisionLanguageModel, answers: Mapping[str, str], ids: Mapping[str, Sequence[int]]
    ) -> None:
        self._model, self._answers, self._ids = model, answers, ids

    def tokens(self, record_id: str) -> list[int]:
        text, ids = self._answers[record_id], list(self._ids.get(record_id, ()))
        rows = next(self._model.lm_head.parameters()).shape[0]
        known = all(0 <= token < rows for token in ids)
        return ids if known and self._model.decode(ids) == text else self._model.tokenize_answer(text)


def file_name(record_id: str) -> str:
    """A file name for a record's id: readable, unique whatever the disk, and never a path.

    >>> file_name("11"), file_name("../11").startswith("-11-")
    ('11', True)
    """
    safe = re.sub(r"[^A-Za-z0-9_]+", "-", record_id)[:60]
    digest = hashlib.sha256(record_id.encode()).hexdigest()[:8]
    # Capitals get a digest: some disks do not tell "a" from "A". So does what looks like a name with one.
    plain = re.fullmatch(r"[a-z0-9_-]+", record_id) and not re.search(r"-[0-9a-f]{8}$", record_id)
    return safe if safe == record_id and plain else f"{safe}-{digest}"


def _open_folder(folder: Path, new: dict[str, Any]) -> None:
    path = folder / "run.json"
    if path.exists():
        changed = changes(read_json(path), new)
        if changed and _holds_items(folder):
            raise VkitError(f"{folder} holds a run with other settings ({changed}); use a new folder")
    elif _holds_items(folder):
        raise VkitError(f"{folder} holds items.jsonl but no run.json; use a new folder")
    try:
        for part in ("maps", "details", "images"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        write_json(path, new)
    except OSError as error:
        raise VkitError(f"{folder} cannot be written ({error.strerror}); choose another --out") from error


def _holds_items(folder: Path) -> bool:
    return holds_lines(folder / "items.jsonl")


def _check(model: VisionLanguageModel, sample: Sample, settings: RunSettings, given: _Given | None) -> None:
    """Refuse, before hours of work, what the model would refuse when its turn came."""
    output = [] if given is None else given.tokens(sample.id)
    batch = model.encode([build_request(sample, settings.prompt)], [output])
    build_segments(batch.layouts, batch.length, policy=settings.spans, names=[sample.id])


def _answer(
    model: VisionLanguageModel,
    samples: Sequence[Sample],
    folder: Path,
    settings: RunSettings,
    given: _Given | None,
) -> Iterator[dict[str, Any]]:
    """Answer and measure one batch; yields an item for each sample in order."""
    requests = {sample.id: build_request(sample, settings.prompt) for sample in samples}
    start = time.perf_counter()
    if given is None:
        prompts = model.encode([requests[sample.id] for sample in samples], padding_side="left")
        outputs = model.generate(prompts, max_new_tokens=settings.max_new_tokens)
    else:
        outputs = [given.tokens(sample.id) for sample in samples]
    generated = time.perf_counter()
    spoken = [(sample, output) for sample, output in zip(samples, outputs) if output]
    measured: dict[str, Measurement] = {}
    if spoken:
        measurements = measure(
            model,
            [requests[sample.id] for sample, _ in spoken],
            [output for _, output in spoken],
            policy=settings.spans,
            rows=settings.rows,
            maps=True,
        )
        measured = {sample.id: each for (sample, _), each in zip(spoken, measurements)}
    # What one item took: its part of the batch, reading of pictures left out.
    seconds = {
        "generate": round((generated - start) / len(samples), 6),
        "measure": round((time.perf_counter() - generated) / len(samples), 6),
    }

    for sample, output in zip(samples, outputs):
        measurement = measured.get(sample.id)
        name = file_name(sample.id)
        _write_picture(folder / "images" / f"{name}.png", requests[sample.id])
        yield {
            **_describe(model, sample, output, settings),
            "image": f"images/{name}.png",
            "maps": None if measurement is None else _write_maps(folder, f"maps/{name}.npz", measurement),
            "details": None
            if measurement is None
            else _write_details(folder, f"details/{name}.npz", measurement),
            **_numbers(measurement),
            "seconds": seconds,
        }


def _describe(
    model: VisionLanguageModel, sample: Sample, output: Sequence[int], settings: RunSettings
) -> dict[str, Any]:
    text = model.decode(output)
    return {
        "id": sample.id,
        "model": model.name,
        "question": sample.question,
        "choices": list(sample.choices),
        "answer": sample.answer,
        "extracted": extract(text, sample.choices),
        "correct": None if sample.answer is None else judge(text, sample.answer, sample.choices) is True,
        "output_text": text,
        "output_ids": list(output),
        "output_tokens": token_pieces(model, output),
        "row_convention": settings.rows,
        "span_policy": settings.spans,
    }


def _numbers(measurement: Measurement | None) -> dict[str, Any]:
    """The measured part of an item; an empty answer has none."""
    if measurement is None:
        nothing: dict[str, Any] = {"prompt_ids": [], "prompt_length": 0, "V": [], "P": [], "ratio": []}
        columns = {"image_columns": None, "text_columns": None, "first_column": None}
        return {**nothing, "reduced": None, "shares": {}, **columns}
    layout, ratio = measurement.layout, measurement.ratio
    prompt_ids = layout.token_ids[: layout.prompt_length]
    return {
        "prompt_ids": [None if i == IMAGE_COLUMN else int(i) for i in prompt_ids],
        "prompt_length": layout.prompt_length,
        "V": _numbers_or_none(ratio.image_attention),
        "P": _numbers_or_none(ratio.text_attention),
        "ratio": _numbers_or_none(ratio.ratio),
        "reduced": ratio.reduced(),
        "shares": {name: _numbers_or_none(share) for name, share in ratio.shares.items()},
        "image_columns": measurement.image_columns,
        "text_columns": measurement.text_columns,
        "first_column": measurement.first_column,
    }


def _numbers_or_none(values: np.ndarray) -> list[float | None]:
    """Seven significant digits, None for NaN, which JSON cannot say."""
    return [None if np.isnan(value) else float(f"{value:.7g}") for value in values]


def _write_picture(path: Path, request: Request) -> None:
    picture = request.images[0].copy()
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    write_bytes(path, png_bytes(picture))


def _write_maps(folder: Path, name: str, measurement: Measurement) -> str | None:
    """Square roots in 8 bits of each row's own maximum: for pictures, no number is made from them.

    Attention sinks are a hundred times stronger than what a picture should show beside them; the root keeps
    levels for both.

    Returns None, and writes nothing, where the family's geometry is not known: there is no place to draw at.
    """
    boxes = [image.boxes for image in measurement.layout.images]
    places = [box for box in boxes if box is not None]
    if measurement.image_maps is None or len(places) < len(boxes):
        return None
    scale = measurement.image_maps.max(1, initial=0.0)
    weights = np.rint(np.sqrt(measurement.image_maps / np.maximum(scale, 1e-30)[:, None]) * 255)
    return _write_arrays(
        folder,
        name,
        weights=weights.astype(np.uint8),
        scale=scale.astype(np.float32),
        boxes=np.concatenate(places).astype(np.float32),
    )


def _write_details(folder: Path, name: str, measurement: Measurement) -> str:
    """What a comparison and the page need beyond averages: layers, heads, the strongest columns."""
    attention = measurement.image_maps
    assert attention is not None  # a run measures with maps
    columns = np.argsort(-attention.mean(0), kind="stable")[:STRONGEST]
    return _write_arrays(
        folder,
        name,
        head_share=measurement.head_share,
        layer_share=measurement.layer_share,
        columns=columns.astype(np.int32),
        column_attention=attention[:, columns].astype(np.float32),
    )


def _write_arrays(folder: Path, name: str, **arrays: np.ndarray) -> str:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(folder / name, buffer.getvalue())
    return name


def _digest(sample: Sample, answers: Mapping[str, str] | None) -> str:
    """Tells whether a record is still the one that was measured: its text, its pixels, its given answer."""
    given = () if answers is None else (answers[sample.id],)
    digest = hashlib.sha256(repr((sample.question, sample.choices, sample.answer, *given)).encode())
    image = sample.open_image()
    digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()[:16]
