"""Replays prompts with their outputs once and measures every output token.

    outputs = model.generate(model.encode(requests, padding_side="left"), max_new_tokens=512)
    for item in measure(model, requests, outputs):
        print(item.ratio.reduced())

Generation runs at full speed with the model's own attention; one forward over prompt and output with
`capture` then gives the weights, which causal attention makes the same as those during generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vkit.attention.capture import capture
from vkit.attention.ratio import Ratio, ratio_of
from vkit.attention.spans import Segments, build_segments, output_rows
from vkit.errors import VkitError
from vkit.models.protocol import Layout, Request, VisionLanguageModel


@dataclass(frozen=True)
class Measurement:
    """What one answer paid attention to.

    layout: what stands in each column.
    ratio: per output token.
    image_columns, text_columns: how many columns either side of the ratio has.
    first_column: the side that the sequence's first column belongs to, "image" or "text"; None: neither.
    head_share: (L, H) float32, the part of a row's weight that lies on the image, mean over the output.
    layer_share: (n, L) float32, the same part for each output token, mean over the heads of a layer.
    image_maps: (n, image columns) float32, the rows of the averaged attention at the columns of all images
        in order; None when maps were not asked for.
    """

    layout: Layout
    ratio: Ratio
    image_columns: int
    text_columns: int
    first_column: str | None
    head_share: np.ndarray
    layer_share: np.ndarray
    image_maps: np.ndarray | None


def measure(
    model: VisionLanguageModel,
    requests: Sequence[Request],
    outputs: Sequence[Sequence[int]],
    *,
    policy: str = "study",
    rows: str = "predicting",
    maps: bool = False,
) -> list[Measurement]:
    """Measure the outputs of a batch of requests in one forward.

    Args:
        outputs: the output ids of each request, none of them empty.
        policy: which text is the text side, one of `spans.POLICIES`.
        rows: which row belongs to an output token, one of `spans.ROW_CONVENTIONS`.
        maps: keep the attention on each image column too.

    Raises:
        VkitError: an item has no image or no text side, the model cannot be captured exactly, or what it
            computes is not a number.
    """
    batch = model.encode(requests, outputs)
    names = [request.id for request in requests]
    segments = build_segments(batch.layouts, batch.length, policy=policy, names=names)
    chosen = output_rows(batch.layouts, rows).to(model.device)
    with (
        torch.no_grad(),
        capture(
            model,
            segments.ids.to(model.device),
            rows=chosen,
            maps=maps,
            num_segments=segments.num_atoms,
        ) as record,
    ):
        model.forward(batch)
    sound = record.mass.isfinite().all(dim=4).all(dim=3).all(dim=2).all(dim=0)  # (B,)
    if not sound.all():
        raise VkitError(
            f"item {names[int(sound.int().argmin())]!r}: the model's attention is not a number, as where "
            "float16 overflows or a weight is damaged; try --dtype float32"
        )
    measurements = []
    for index, layout in enumerate(batch.layouts):
        image_maps = None
        if maps:
            columns = layout.offset + np.concatenate([image.columns for image in layout.images])
            item = record.mean_map[index, : layout.output_length]
            image_maps = item[:, torch.from_numpy(columns).to(item.device)].float().cpu().numpy()
        looking = _image_share(record.mass, segments, index, layout.output_length)
        measurements.append(
            Measurement(
                layout=layout,
                ratio=ratio_of(record.mass, segments, index, layout.output_length),
                image_columns=int(segments.image_lengths[index]),
                text_columns=int(segments.text_lengths[index]),
                first_column=_first_side(segments, index, layout),
                head_share=looking.mean(2),
                layer_share=looking.mean(1).T,
                image_maps=image_maps,
            )
        )
    return measurements


def _image_share(mass: Tensor, segments: Segments, item: int, output_length: int) -> np.ndarray:
    """(L, H, n) float32: how much of each row's weight lies on the image, in every layer and head."""
    rows = mass[:, item, :, :output_length]
    return rows[..., torch.from_numpy(segments.image).to(rows.device)].sum(-1).float().cpu().numpy()


def _first_side(segments: Segments, item: int, layout: Layout) -> str | None:
    atom = int(segments.ids[item, layout.offset])
    if segments.image[atom]:
        return "image"
    return "text" if segments.text[atom] else None
