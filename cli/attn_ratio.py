"""``vkit attn-ratio``: generate, replay with capture, write numbers and pictures."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

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


@click.command("attn-ratio")
@MODEL
@ADAPTER
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="JSON Lines file or Geometry3K folder."
)
@click.option(
    "--prompt",
    type=click.Choice(["direct", "cot", "finetuned", "plain"]),
    default="cot",
    show_default=True,
    help="The study's inference prompts (Figure 8), or the problem with no word added.",
)
@click.option(
    "--rows",
    type=click.Choice(["predicting", "own"]),
    default="predicting",
    show_default=True,
    help="Which row is an output token's: the one that predicts it, or its own.",
)
@click.option(
    "--spans",
    type=click.Choice(["study", "question"]),
    default="study",
    show_default=True,
    help="The text side: as the study cut it, or exactly question and choices.",
)
@click.option(
    "--reduce",
    type=click.Choice(["mean", "sum", "max"]),
    default="mean",
    show_default=True,
    help="Over an answer's tokens; all three are written.",
)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True)
@DEVICE
@DTYPE
@DEVICE_MAP
@QUANTIZE
@click.option("--max-new-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option(
    "--problem-version",
    metavar="NAME",
    help="Only problems of this version, as their meta names it: vision-dominant, ...",
)
@LIMIT
@click.option(
    "--text",
    "answers_file",
    type=click.Path(path_type=Path),
    help='Measure given answers, a line {"id": ..., "output": ...} each, instead of generating; those of '
    "vkit generate hold their tokens too.",
)
@click.option(
    "--overlay",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Draw the picture with the attention of this many tokens, those of largest ratio.",
)
@click.option(
    "--overlay-token",
    multiple=True,
    help="Draw it for every token that reads so, spaces aside; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run; continued if there.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on a terminal too.")
@shared
def command(
    model: str,
    adapter: str | None,
    data: Path,
    prompt: str,
    rows: str,
    spans: str,
    reduce: str,
    batch_size: int,
    device: str,
    dtype: str,
    device_map: str | None,
    quantize: str | None,
    max_new_tokens: int,
    problem_version: str | None,
    limit: int | None,
    answers_file: Path | None,
    overlay: int,
    overlay_token: tuple[str, ...],
    out: Path,
    as_json: bool,
    processes: Processes,
) -> None:
    """Measure how much a model looks at the picture while it answers.

    The model answers each problem; prompt and answer are replayed once, and the exact attention of every
    output token on the picture and on the problem's text gives the image-to-text attention ratio (Tey).

    \b
    vkit attn-ratio --model tiny --data geometry3k/ --out runs/tiny
    vkit attn-ratio --model checkpoints/TinyLLaVA-3.1B --adapter runs/lora \\
        --data geometry3k/test --prompt finetuned --batch-size 8 --device cuda --out runs/visual-cot
    torchrun --nproc-per-node 8 -m vkit attn-ratio --model Qwen/Qwen2.5-VL-3B-Instruct ...

    The offline model 'tiny' knows the problems of `vkit data synthesize --preset miniature` only, and answers
    them with --prompt plain; 'tiny-random' is the same without training.

    A record of a JSON Lines file: {"id": "1", "question": "Find x.", "choices": ["3", "4"], "answer": "B",
    "image": "images/1.png"}; the answer is a choice's letter, the image lies in the file's folder.

    OUT gets items.jsonl (every token of every item), summary.json (also on stdout where that is no
    terminal), index.html to look at, and pictures/. An interrupted run continues where it stopped.

    Started by torchrun or accelerate launch, the processes share the batches, a GPU and a whole model each,
    and write the same folder as one would; another number of them may go on with it.
    """
    from tqdm import tqdm

    from vkit.attention.given import read_answers
    from vkit.attention.run import RunSettings, run
    from vkit.cli.tables import echo_summary
    from vkit.errors import VkitError
    from vkit.models.loading import load_model
    from vkit.records import only_good
    from vkit.report.page import write_page
    from vkit.report.pictures import draw_pictures
    from vkit.sources.opening import scan

    found = only_good(scan(data))
    if problem_version is not None:
        found = (sample for sample in found if sample.meta.get("version") == problem_version)
    samples = list(islice(found, limit))
    if not samples:
        raise VkitError(f"{data} holds no problem of version {problem_version!r}; see the records' meta")
    answers: dict[str, str] | None = None
    answer_ids: dict[str, list[int]] = {}
    if answers_file is not None:
        answers, answer_ids = read_answers(answers_file, [sample.id for sample in samples])
    loaded = load_model(
        model,
        adapter=adapter,
        device=processes.own_device(device, device_map),
        dtype=dtype,
        device_map=device_map,
        quantize=quantize,
    )
    note_other_base(adapter, model)
    settings = RunSettings(
        model=model,
        adapter=adapter,
        data=str(data.resolve()),
        prompt=prompt,
        rows=rows,
        spans=spans,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
        text=None if answers_file is None else str(answers_file.resolve()),
        device_map=device_map,
        quantize=quantize,
    )
    try:
        with ExitStack() as closing:
            # Bars that show nothing at once: an error in the first moments stands alone on its line.
            count = len(samples)
            checking = closing.enter_context(
                tqdm(total=count, desc="checking", unit=" items", delay=2, leave=False)
            )
            bars: list[tqdm] = []

            def start() -> None:
                checking.close()
                bars.append(
                    closing.enter_context(tqdm(total=count, desc="attn-ratio", unit=" items", delay=1))
                )

            summary = run(
                loaded,
                samples,
                out,
                settings,
                batch_size=batch_size,
                reduce=reduce,
                answers=answers,
                answer_ids=answer_ids,
                processes=processes,
                on_check=lambda: checking.update(),
                on_start=start,
                on_item=lambda item: bars[0].update(),
            )
    except KeyboardInterrupt:
        if not (out / "items.jsonl").exists():
            raise  # nothing is measured yet
        click.echo(
            f"stopped; what is measured is kept in {out}, the same command goes on from there", err=True
        )
        raise click.exceptions.Exit(130) from None
    if not processes.is_main:
        return
    draw_pictures(out, overlays=overlay, overlay_tokens=overlay_token)
    page = write_page(out)
    if sys.stdout.isatty() and not as_json:
        echo_summary(summary)
    else:
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
        if not as_json:
            echo_summary(summary, err=True)
    beside = "" if page.files is None else f"; keep {page.files.name} beside it"
    click.echo(f"look at {page.path}{beside}", err=True)
