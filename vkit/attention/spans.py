"""Which columns are the image, the text, and the rest: the two sides of the ratio, and the mass shares.

    segments = build_segments(batch.layouts, batch.length, policy="study")
    with capture(model.decoder, segments.ids, rows=output_rows(batch.layouts, "predicting")) as record: ...

Kernels sum over disjoint segments, while the sides of a ratio and the shares overlap (the question is part of
the study's text). So the columns are cut into *atoms*, each wholly inside or outside every part, and a part
is a set of atoms.

Policies for the text side (Tey's study measures `study`):

    study      every column after the last image, less the one right after it and the prompt's last three
    question   exactly the user's question and choices

Shares cut the sequence into `SHARES`. The very first column is counted apart wherever it belongs: about an
eighth of all weight rests on it as a sink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vkit.attention.names import SHARES
from vkit.errors import VkitError
from vkit.models.protocol import Layout

POLICIES = ("study", "question")
ROW_CONVENTIONS = ("predicting", "own")


@dataclass(frozen=True)
class Segments:
    """The atoms of a batch and the parts that they make up.

    ids: (B, T) int32, the atom of each column, -1 for padding.
    num_atoms: A, the number of segments to ask the kernel for.
    image, text: (A,) bool, the atoms on either side of the ratio.
    shares: (len(SHARES), A) bool, each atom in exactly one share.
    image_lengths, text_lengths: (B,) columns on either side.
    """

    ids: Tensor
    num_atoms: int
    image: np.ndarray
    text: np.ndarray
    shares: np.ndarray
    image_lengths: np.ndarray
    text_lengths: np.ndarray


def build_segments(
    layouts: Sequence[Layout], length: int, *, policy: str = "study", names: Sequence[str] | None = None
) -> Segments:
    """Cut the columns of a batch into atoms.

    Args:
        layouts: the B items.
        length: T, columns of the batch with padding.
        policy: one of `POLICIES`.
        names: what to call the items in an error; their place in the batch when left out.

    Raises:
        VkitError: an item has no image, or no text on the text side.
    """
    # One row of features a column: in the image, in the text side, and the share.
    features = np.full((len(layouts), length, 3), -1, dtype=np.int8)
    for index, layout in enumerate(layouts):
        name = repr(names[index]) if names else f"{index} of the batch"
        inside = slice(layout.offset, layout.offset + len(layout))
        features[index, inside, 0] = _image_columns(layout, name)
        features[index, inside, 1] = _text_columns(layout, policy, name)
        features[index, inside, 2] = _share_of_columns(layout)
    atoms, ids = np.unique(features.reshape(-1, 3), axis=0, return_inverse=True)
    ids = ids.reshape(len(layouts), length)
    if atoms[0, 0] == -1:  # padding sorts first
        atoms, ids = atoms[1:], ids - 1
    return Segments(
        ids=torch.from_numpy(ids.astype(np.int32)),
        num_atoms=len(atoms),
        image=atoms[:, 0] == 1,
        text=atoms[:, 1] == 1,
        shares=atoms[None, :, 2] == np.arange(len(SHARES))[:, None],
        image_lengths=(features[:, :, 0] == 1).sum(1),
        text_lengths=(features[:, :, 1] == 1).sum(1),
    )


def output_rows(layouts: Sequence[Layout], convention: str = "predicting") -> Tensor:
    """The row of each output token, (B, R) int64 over the batch's columns, -1 past an item's output.

    ``predicting``: the row whose logits chose the token, ``prompt_length - 1 + j``. ``own``: the row of the
    token itself, ``prompt_length + j``, as in the study's overlays.
    """
    longest = max((layout.output_length for layout in layouts), default=0)
    rows = np.full((len(layouts), longest), -1, dtype=np.int64)
    for index, layout in enumerate(layouts):
        first = layout.offset + layout.prompt_length - (1 if convention == "predicting" else 0)
        rows[index, : layout.output_length] = first + np.arange(layout.output_length)
    return torch.from_numpy(rows)


def _image_columns(layout: Layout, name: str) -> np.ndarray:
    columns = np.zeros(len(layout), dtype=bool)
    for image in layout.images:
        columns[image.columns] = True
    if not columns.any():
        raise VkitError(f"item {name} has no image in its prompt; the ratio needs one")
    return columns


def _text_columns(layout: Layout, policy: str, name: str) -> np.ndarray:
    if policy == "question":
        columns = layout.question.copy()
    else:
        columns = np.zeros(len(layout), dtype=bool)
        image_end = max(int(image.columns[-1]) for image in layout.images) + 1
        columns[image_end + 1 : layout.prompt_length - 3] = True
    columns[layout.prompt_length :] = False
    if not columns.any():
        remedy = "take a version of the problem that has its question in text"
        if layout.question.any() == (policy == "study"):
            remedy = f"try --spans {'question' if policy == 'study' else 'study'}, or {remedy}"
        raise VkitError(f"item {name} has no text on the {policy!r} side of the ratio; {remedy}")
    return columns


def _share_of_columns(layout: Layout) -> np.ndarray:
    share = np.full(len(layout), SHARES.index("prompt_rest"))
    first_image = min(int(image.columns[0]) for image in layout.images)
    share[:first_image] = SHARES.index("before_image")
    share[layout.question] = SHARES.index("question")
    for image in layout.images:
        share[image.columns] = SHARES.index("image")
    share[layout.prompt_length :] = SHARES.index("generated")
    share[0] = SHARES.index("first_token")
    return share
