r"""A model's outputs on problems, kept as predictions: a file that a kill at any moment leaves whole.

    settings = GenerationSettings(model="tiny", data="problems.jsonl")
    summary = generate_predictions(model, samples, Path("predictions.jsonl"), settings, batch_size=8)

predictions.jsonl, in the samples' order, gets a line for each sample as soon as its batch is done:

    {"id": "12", "output": "40.", "ids": [1821, 13], "tokens": 2, "finish": "stop", "seconds": 0.2,
     "digest": "..."}

``ids`` are the tokens that the model wrote: its text may be cut into others when it is read again.
``finish`` is "length" where the output was cut at ``max_new_tokens``; ``seconds`` are the line's part of its
batch; ``digest`` tells whether the record is still the one that was answered. Beside it,
predictions.jsonl.settings.json says what wrote it, and nothing else may go on with it.

Decoding is greedy, or draws with noise of each record's own (`vkit.models.sampling`). Batches are cut from
the whole list of samples, and one of which some lines are missing is run whole again: a run that was killed,
or shared among processes, writes what it would have written, whatever rounding does to batches.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vkit.errors import VkitError
from vkit.jsonl import changes, read_json, write_json
from vkit.models.processes import ALONE, Processes
from vkit.models.protocol import Picture, Request, Text, VisionLanguageModel, weights_digest
from vkit.models.sampling import GREEDY, Sampling
from vkit.models.shared_lines import SharedLines, holds_lines
from vkit.prompts import PROMPTS, build_request
from vkit.records import Sample

LINE = ("id", "output", "ids", "tokens", "finish", "seconds", "digest")  # what every line holds

# The prompts that benchmarks come with: by name, of which source, and where they stand in its meta; None for
# We-Math, whose template is published beside the rows.
SUITE_PROMPTS: Mapping[str, Mapping[str, str | None]] = {
    "suite": {"mathvista": "query", "mathverse": "query_wo", "wemath": None},
    "suite-cot": {"mathverse": "query_cot"},
}

_WE_MATH = (
    "Now, we require you to solve a multiple-choice math question. Please briefly describe your thought "
    "process and provide the final answer(option).\n"
    "Question: {question}\n"
    "Regarding the format, please answer following the template below, and be sure to include two <> "
    "symbols:\n"
    "<Thought process>: <<your thought process>> <Answer>: <<your option>>"
)


@dataclass(frozen=True)
class GenerationSettings:
    """What makes the outputs: files that differ in one of these are never mixed.

    model, adapter: as given on the command line; a digest of the weights is kept beside them.
    data: where the problems came from.
    prompt: one of `vkit.prompts.PROMPTS` or `SUITE_PROMPTS`.
    max_new_tokens: where generation stops.
    dtype: of the weights.
    device_map, quantize: see `vkit.models.loading.load_model`.
    temperature, top_p, seed: see `vkit.models.sampling.Sampling`; greedy without.

    Raises:
        VkitError: a number is out of range.
    """

    model: str
    data: str
    adapter: str | None = None
    prompt: str = "cot"
    max_new_tokens: int = 512
    dtype: str = "auto"
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    device_map: str | None = None
    quantize: str | None = None

    def __post_init__(self) -> None:
        _ = self.sampling  # refuses what it cannot do

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.seed)


def generate_predictions(
    model: VisionLanguageModel,
    samples: Sequence[Sample],
    path: Path,
    settings: GenerationSettings,
    *,
    batch_size: int = 1,
    processes: Processes = ALONE,
    on_check: Callable[[], object] = lambda: None,
    on_start: Callable[[], object] = lambda: None,
    on_line: Callable[[dict[str, Any], bool], object] = lambda line, new: None,
) -> dict[str, Any]:
    """Answer every sample that the file does not hold yet; returns the summary.

    Args:
        samples: the problems, with unique ids; those without a picture are asked in words alone.
        path: made with its folder if it is not there, else continued; a torn last line is dropped.
        processes: those that share the batches (`vkit.models.processes.join`), each of which calls this with
            a model of its own; what comes out is what one of them would have written.
        on_check: called after each record that was checked before the start; this and the next two in the
            main process only.
        on_start: called once every record has been found good.
        on_line: called with each line of ``samples`` once it is on the disk, and whether it is new; the old
            ones come first.

    Returns:
        the settings, ``weights`` (a digest), ``weights_dtype``, ``random_weights``, ``items``, ``new``
        (answered by this call), ``tokens``, ``seconds``, ``tokens_per_second``, and how many outputs came to
        a ``stop``, were cut at the ``length``, are ``empty``.

    Raises:
        VkitError: the file was written with other settings or weights, or is in use; a record changed since
            it was answered; a picture cannot be read; the model refuses a record (it has no picture and the
            model needs one, or it is too long with ``max_new_tokens``), named by its id. All of these before
            the first output. A batch that does not fit in memory is refused when it comes.
    """
    if not samples:
        raise VkitError("there is no problem to answer; give at least one")
    begun = processes.ask_main(lambda: holds_lines(path))
    if not begun:  # nothing is made before every record has been found good
        digests = _check(model, samples, {}, path, settings, processes, on_check)
    tied = processes.ask_main(lambda: _tied(model, path, settings))
    with SharedLines(path, processes) as file:
        processes.ask_main(lambda: _tie(path, tied, file.lines))
        if begun:
            digests = _check(model, samples, file.done, path, settings, processes, on_check)
        if processes.is_main:
            on_start()
        batches = list(_batches(samples, batch_size, mixes_pictures=model.mixes_pictures))

        def answer(number: int) -> Iterator[dict[str, Any]]:
            for id_, output in _answer(model, batches[number], settings).items():
                yield {"id": id_, **output, "digest": digests[id_]}

        file.fill([[sample.id for sample in batch] for batch in batches], answer, on_line)
        return processes.ask_main(
            lambda: {
                **tied,
                "random_weights": model.random_weights,
                "new": sum(sample.id not in file.done for sample in samples),
                **_summarise([file.lines[sample.id] for sample in samples]),
            }
        )


def build_prompt(sample: Sample, prompt: str) -> Request:
    r"""The request for one sample in one of `vkit.prompts.PROMPTS`, or in its benchmark's own words.

    Raises:
        VkitError: the benchmark has no such prompt, the record lacks it, or the picture cannot be read.

    >>> meta = {"source": "mathvista", "query": "Hint: give an integer.\nQuestion: How many?"}
    >>> build_prompt(Sample("1", "How many?", meta=meta), "suite").parts[0].text
    'Hint: give an integer.\nQuestion: How many?'
    """
    if prompt in PROMPTS:
        return build_request(sample, prompt)
    own, source = SUITE_PROMPTS[prompt], str(sample.meta.get("source", "its source"))
    if source not in own:
        raise VkitError(
            f"record {sample.id!r}: {source} has no prompt {prompt!r}, only {', '.join(own)};"
            f" choose --prompt {', '.join(PROMPTS)}"
        )
    key = own[source]
    text = _we_math(sample) if key is None else sample.meta.get(key)
    if not isinstance(text, str) or not text.strip():
        raise VkitError(
            f"record {sample.id!r} has no {key!r} in its meta; take the row from the release, or choose one"
            f" of {', '.join(PROMPTS)}"
        )
    picture = [] if sample.image is None else [Picture(sample.open_image())]
    return Request(sample.id, (*picture, Text(text, question=True)))


def settings_path(path: Path) -> Path:
    """Where the settings of a file of predictions stand."""
    return path.with_name(f"{path.name}.settings.json")


def _we_math(sample: Sample) -> str:
    """Its template; options that could not be told apart stand below the question as it is."""
    options = "; ".join(f"{chr(65 + i)}. {choice}" for i, choice in enumerate(sample.choices))
    question = f"{sample.question}\nOption: {options}" if options else sample.question
    return _WE_MATH.format(question=question)


def _tied(model: VisionLanguageModel, path: Path, settings: GenerationSettings) -> dict[str, Any]:
    """What the file belongs to; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    precision = str(next(model.model.parameters()).dtype).removeprefix("torch.")  # what "auto" came to
    return {**asdict(settings), "weights": weights_digest(model), "weights_dtype": precision}


def _tie(path: Path, new: dict[str, Any], lines: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what the file is made by, or refuse a file that something else made."""
    place = settings_path(path)
    if not lines:
        write_json(place, new)
        return
    if not place.exists():
        raise VkitError(f"{path} holds predictions, but {place.name} is not there; choose another --out")
    # Files of before there was sampling do not name it: what wrote them was greedy.
    if changed := changes({**asdict(GREEDY), **read_json(place)}, new):
        raise VkitError(f"{path} was written with other settings ({changed}); choose another --out")
    for id_, line in lines.items():
        if absent := [key for key in LINE if key not in line]:
            raise VkitError(f"{path}: the line of {id_!r} lacks {absent[0]!r}; choose another --out")


def _check(
    model: VisionLanguageModel,
    samples: Sequence[Sample],
    done: Mapping[str, str],
    path: Path,
    settings: GenerationSettings,
    processes: Processes,
    on_check: Callable[[], object],
) -> dict[str, str]:
    """The digest of each record; refuses, before hours of work, what would be refused when its turn came.

    done: the digests of the records that were answered, by id.
    """

    def check(sample: Sample) -> str:
        request = build_prompt(sample, settings.prompt)
        digest = _digest(request)
        if sample.id not in done:
            # With as many tokens as may come, whichever they are: the longest output must have its place too.
            model.encode([request], [[0] * settings.max_new_tokens])
        elif done[sample.id] != digest:
            raise VkitError(
                f"record {sample.id!r} changed since it was answered in {path}; choose another --out"
            )
        return digest

    digests = processes.map(check, samples, on_check)
    return {sample.id: digest for sample, digest in zip(samples, digests)}


def _digest(request: Request) -> str:
    """Of what the model is shown: its words and its pixels. The right answer may be corrected later."""
    digest = hashlib.sha256("".join(p.text for p in request.parts if isinstance(p, Text)).encode())
    for image in request.images:
        digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()[:16]


def _batches(samples: Sequence[Sample], size: int, *, mixes_pictures: bool) -> Iterator[Sequence[Sample]]:
    """Neighbours in the file, so that lines come in its order; a batch ends where pictures begin or end."""
    start = 0
    for stop in range(1, len(samples) + 1):
        whole = stop == len(samples) or stop - start == size
        if whole or (not mixes_pictures and (samples[stop].image is None) != (samples[start].image is None)):
            yield samples[start:stop]
            start = stop


def _answer(
    model: VisionLanguageModel, samples: Sequence[Sample], settings: GenerationSettings
) -> dict[str, dict[str, Any]]:
    """What a line says of each output, by id."""
    requests = [build_prompt(sample, settings.prompt) for sample in samples]
    start = time.perf_counter()
    try:
        batch = model.encode(requests, padding_side="left")
        outputs = model.generate(batch, max_new_tokens=settings.max_new_tokens, sampling=settings.sampling)
    except torch.OutOfMemoryError as error:
        raise VkitError(
            f"records {samples[0].id!r} to {samples[-1].id!r} do not fit in the device's memory as one batch;"
            " give a smaller --batch-size, what is written is kept"
        ) from error
    seconds = round((time.perf_counter() - start) / len(samples), 6)
    return {
        sample.id: {
            "output": model.decode(ids),
            "ids": list(ids),
            "tokens": len(ids),
            "finish": "length" if len(ids) >= settings.max_new_tokens else "stop",
            "seconds": seconds,
        }
        for sample, ids in zip(samples, outputs)
    }


def _summarise(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tokens, seconds = sum(line["tokens"] for line in lines), sum(line["seconds"] for line in lines)
    return {
        "items": len(lines),
        "tokens": tokens,
        "seconds": round(seconds, 6),
        "tokens_per_second": round(tokens / seconds, 2) if seconds else None,
        "stop": sum(line["finish"] == "stop" for line in lines),
        "length": sum(line["finish"] == "length" for line in lines),
        "empty": sum(not line["output"].strip() for line in lines),
    }
