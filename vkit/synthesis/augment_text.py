"""Turns any text problem into a pair: the text as it is, and the same text set into a picture.

    pair, pictures = text_to_pair(sample, stem="images/0000/0000012")

So Math-PUMA makes pairs of problems that have no drawing (Data Construction, Data Augmentation). A problem
with a diagram keeps it: beside the text on the one side, under it in the picture on the other.
"""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from vkit.errors import VkitError
from vkit.images import png_bytes
from vkit.records import Pair, Sample
from vkit.synthesis.typeset import typeset


def text_to_pair(
    sample: Sample, *, stem: str, width: int = 336, font_size: int = 16, margin: int = 8
) -> tuple[Pair, dict[str, bytes]]:
    """The pair of a problem, and its pictures as PNG bytes by their path, which starts with ``stem``.

    The text-rich twin is the sample; the vision-rich one has no text, for question, choices (as "A. ...") and
    diagram stand in its picture, which is ``width`` pixels wide. The response is the sample's rationale.

    Raises:
        VkitError: by id: there is no rationale, no question, or the text holds what cannot be drawn.
    """
    if not (sample.rationale or "").strip():
        raise VkitError(f"record {sample.id!r} has no rationale, which is a pair's response; add one")
    if not sample.question.strip():
        raise VkitError(f"record {sample.id!r} has no question to set into a picture; add one")
    diagram = sample.open_image() if sample.image is not None else None
    try:
        picture = typeset(problem_text(sample), width=width, font_size=font_size, margin=margin)
    except VkitError as error:
        raise VkitError(f"record {sample.id!r}: {error}") from error
    if diagram is not None:
        picture = _with_diagram(picture, diagram, margin)
    text_rich = replace(sample, rationale=None)
    vision_rich = replace(text_rich, question="", image=f"{stem}-vision.png")
    pictures = {f"{stem}-vision.png": png_bytes(picture)}
    if diagram is None:  # letters may be stretched; a diagram only as its record says
        vision_rich = replace(vision_rich, meta={**sample.meta, "transforms": "stretch"})
    else:
        text_rich = replace(text_rich, image=f"{stem}-text.png")
        pictures[f"{stem}-text.png"] = png_bytes(diagram)
    return Pair(sample.id, text_rich, vision_rich, str(sample.rationale)), pictures


def problem_text(sample: Sample) -> str:
    """Question and choices as they stand in a picture.

    >>> problem_text(Sample("1", "Find x.", ("3", "4")))
    'Find x.\\nA. 3\\nB. 4'
    """
    choices = [f"{chr(65 + i)}. {choice}" for i, choice in enumerate(sample.choices)]
    return "\n".join([sample.question, *choices])


def _with_diagram(text: Image.Image, diagram: Image.Image, margin: int) -> Image.Image:
    """The diagram centred under the text, made smaller where it is wider, never larger."""
    room = text.width - 2 * margin
    if diagram.width > room:
        size = (room, max(1, round(diagram.height * room / diagram.width)))
        diagram = diagram.resize(size, Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (text.width, text.height + diagram.height + margin), "white")
    picture.paste(text, (0, 0))
    picture.paste(diagram, ((text.width - diagram.width) // 2, text.height))
    return picture
