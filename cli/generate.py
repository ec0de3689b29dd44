"""``vkit generate``: what a model says to each problem, as predictions that ``vkit score`` reads."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vkit.cli.model_options import (
    ADAPTER,
    DEVICE,
    DEVICE_MAP,
    DTYPE,
    LIMIT,
    MODEL,
    QUANTIZE,
    note_other_base,
    shared,
)

if TYPE_CHECKING:
    from vkit.models.processes import Processes
    from vkit.records import Sample

SUITES = ("geometry3k", "mathvista", "mathverse", "wemath")
OWN_PROMPT = SUITES[1:]  # those that come with one; Geometry3K's are the study's


@click.command("generate")
@MODEL
@ADAPTER
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="JSON Lines file, or the release of a benchmark.",
)
@click.option(
    "--suite", type=click.Choice(SUITES), help="The benchmark: other records are refused, its prompt is used."
)
@click.option(
    "--prompt",
    type=click.Choice(["direct", "cot", "finetuned", "plain", "suite", "suite-cot"]),
    help="The study's inference prompts (Figure 8); plain: the problem with no word added; suite: the "
    "benchmark's own, suite-cot: the one of MathVerse that asks for reasoning.  "
    "[default: suite with a --suite that has its own, else cot]",
)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Longer outputs are cut, and counted.",
)
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    show_default=True,
    help="0: greedy. Above it, tokens are drawn from the softmax of the logits divided by it.",
)
@click.option(
    "--top-p",
    type=float,
    default=1.0,
    show_default=True,
    help="Draw from the fewest most likely tokens whose probabilities sum to this; 1: from all.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other draws.")
@LIMIT
@DEVICE
@DTYPE
@DEVICE_MAP
@QUANTIZE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File of predictions; continued if there. Its settings go beside it.",
)
@shared
def command(
    model: str,
    adapter: str | None,
    data: Path,
    suite: str | None,
    prompt: str | None,
    batch_size: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    limit: int | None,
    device: str,
    dtype: str,
    device_map: str | None,
    quantize: str | None,
    out: Path,
    processes: Processes,
) -> None:
    """Let a model answer problems, for `vkit score` and `vkit attn-ratio --text`.

    \b
    vkit generate --model tiny --data problems.jsonl --prompt plain --out tiny.jsonl
    vkit generate --model Qwen/Qwen2.5-VL-3B-Instruct --adapter runs/lora --suite mathvista \\
        --data MathVista --batch-size 16 --max-new-tokens 1024 --out qwen.jsonl
    vkit score --suite mathvista --data MathVista --predictions qwen.jsonl
    torchrun --nproc-per-node 8 -m vkit generate --model Qwen/Qwen2.5-VL-3B-Instruct ...

    Decoding is greedy unless a --temperature is given. A draw takes its chance from --seed and the record's
    id alone: batches, other records, their order and interruptions change nothing.

    OUT gets a line for each problem, in their order, with id, output, tokens, finish, seconds and digest;
    finish is "length" where the output was cut, else "stop". An interrupted run continues where it stopped,
    even after a kill; a file that another model, prompt or setting has written is never continued. The
    summary goes to stdout as JSON.

    Started by torchrun or accelerate launch, the processes share the batches, a GPU and a whole model each,
    and write the same file as one would; another number of them may go on with it.
    """
    from vkit.evaluate.generation import GenerationSettings, generate_predictions
    from vkit.models.loading import load_model
    from vkit.records import only_good
    from vkit.sources.opening import scan

    if prompt is None:
        prompt = "suite" if suite in OWN_PROMPT else "cot"
    settings = GenerationSettings(
        model=model,
        adapter=adapter,
        data=str(data.resolve()),
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        device_map=device_map,
        quantize=quantize,
    )
    samples = list(islice(only_good(scan(data)), limit))
    if suite is not None:
        _refuse_others(samples, suite, data)
    loaded = load_model(
        model,
        adapter=adapter,
        device=processes.own_device(device, device_map),
        dtype=dtype,
        device_map=device_map,
        quantize=quantize,
    )
    note_other_base(adapter, model)
    try:
        with ExitStack() as closing:
            progress = _Progress(closing, len(samples))
            summary = generate_predictions(
                loaded,
                samples,
                out,
                settings,
                batch_size=batch_size,
                processes=processes,
                on_check=progress.check,
                on_start=progress.start,
                on_line=progress.line,
            )
    except KeyboardInterrupt:
        if not out.exists():
            raise  # nothing is written yet
        click.echo(f"stopped; what is in {out} is kept, the same command goes on from there", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(json.dumps({**summary, "out": str(out)}, ensure_ascii=False))
    cut, empty = summary["length"], summary["empty"]
    counts = [f"{summary['items']} predictions ({summary['new']} new)"]
    counts += [f"{cut} cut at {max_new_tokens} tokens, --max-new-tokens raises that"] if cut else []
    counts += [f"{empty} empty"] if empty else []
    if summary["random_weights"]:
        counts.append("the weights are random, the outputs say nothing")
    click.echo(f"{out}: {'; '.join(counts)}", err=True)


def _refuse_others(samples: list[Sample], suite: str, data: Path) -> None:
    from vkit.errors import VkitError

    for sample in samples:
        source = sample.meta.get("source")
        if source != suite:
            what = "names no source" if source is None else f"is of {source}"
            raise VkitError(
                f"{data}: record {sample.id!r} {what}, but --suite {suite} was asked for; give its release,"
                " or leave --suite out"
            )


class _Progress:
    """A bar of checks, then one of predictions with the tokens per second of this run.

    Both show nothing at once: an error in the first moments stands alone on its line.
    """

    def __init__(self, closing: ExitStack, count: int) -> None:
        from tqdm import tqdm

        self._tqdm, self._closing, self._count = tqdm, closing, count
        self._tokens, self._seconds = 0, 0.0
        self._bar = self._open("checking", delay=2, leave=False)

    def check(self) -> None:
        self._bar.update()

    def start(self) -> None:
        self._bar.close()
        self._bar = self._open("generate", delay=1)

    def line(self, line: dict[str, Any], new: bool) -> None:
        if new:
            self._tokens += line["tokens"]
            self._seconds += line["seconds"]
            rate = self._tokens / self._seconds if self._seconds else 0
            self._bar.set_postfix_str(f"{rate:.1f} tokens/s", refresh=False)
        self._bar.update()

    def _open(self, name: str, **options: Any) -> Any:
        bar = self._tqdm(total=self._count, desc=name, unit=" items", **options)
        return self._closing.enter_context(bar)
