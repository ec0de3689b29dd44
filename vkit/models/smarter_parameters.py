"""Where SmarterVLM's parameters are, beside those of the paper.

    print(explain_parameters(Smarter(config)))

The paper reports 29,623,375 trainable parameters. Its released code, part by part, explains 28,279,554 of
them; the other 1,343,821 depend on its data (answer classes of each puzzle, words of its vocabulary). With
the ``paper`` QF layer 2,461,440 of them, its self-attention, queries and keys, never get a gradient.
"""

from __future__ import annotations

from vkit.models.smarter import Smarter

PAPER_TOTAL = 29_623_375

# Part: parameters in the released code, and why ours may differ.
RELEASED: dict[str, tuple[int, str]] = {
    "image_encoders": (
        101 * (1536 * 128 + 128 + 128 * 128 + 128) + 129,  # 21,538,177
        "two layers a puzzle; in the release 129 more for a puzzle 0",
    ),
    "qf": (
        3 * (768 * 768 + 768)  # self-attention
        + (768 * 768 + 768) + 2 * (128 * 768 + 768)  # cross-attention
        + 2 * 219 * 384  # distances
        + 768 * 256 + 256 + 256 * 768 + 768 + 2 * 768,  # feed-forward and norm: 3,124,480 together
        "the release adds 168,192 for token distances, and overwrites them",
    ),
    "composite": (2 * 1664, "the LayerNorm over r1, r2, r3"),
    "fusion": (1664 * 128 + 128 + 128 * 128 + 128 + 2 * 128, "two layers and a LayerNorm"),
    "decoders": (
        95 * 2 * (128 * 128 + 128) + 129,  # 3,137,409
        "here with the last layers, 129 a class",
    ),
    "sequence_decoders": (0, "in the release as wide as the classes, without a last layer"),
    "unused": (
        (768 * 256 + 256 + 256 * 128 + 128) + (128 * 128 + 128),  # 246,272
        "of the release: layers for questions and options that it never calls",
    ),
}  # fmt: skip


def count_parameters(model: Smarter) -> dict[str, int]:
    """Trainable parameters of each part, and their ``total``; 0 for a part that the model does not have."""
    parts = {name: 0 for name in RELEASED if name != "unused"}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts[name.split(".")[0]] += parameter.numel()
    return {**parts, "total": sum(parts.values())}


def explain_parameters(model: Smarter) -> str:
    """A table for people: each part's parameters, the released code's, and what tells them apart.

    >>> from vkit.models.smarter_config import SmarterConfig
    >>> small = SmarterConfig((7, 18), (12, 6), (False, True), vision_sizes=(6, 4), text_size=8, repr_size=4)
    >>> print(explain_parameters(Smarter(small)).splitlines()[-1])
    total                    5,274  29,623,375  of this model, and of the paper's
    """
    counts = count_parameters(model)
    lines = [f"{'part':<18}{'here':>12}{'released':>12}  "]
    for part, (released, reason) in RELEASED.items():
        lines.append(f"{part:<18}{counts.get(part, 0):>12,}{released:>12,}  {reason}")
    rest = PAPER_TOTAL - sum(released for released, _ in RELEASED.values())
    lines.append(
        f"{'of the data':<18}{'':>12}{rest:>12,}  of the release: last layers, GRUs, word vectors never read"
    )
    lines.append(f"{'total':<18}{counts['total']:>12,}{PAPER_TOTAL:>12,}  of this model, and of the paper's")
    return "\n".join(line.rstrip() for line in lines)
