"""What the loss of `vkit.kernels.divergence` is made of, as its implementations hand it on.

    scoring = Divergence(alpha=0.2, lam=0.1, temperature=1.0, standardize=False, softcap=None)
    parts = divergence_rows_(student, teacher, labels, scoring, scale=1 / 512, gradient=True)

Every implementation has a function of that name, which takes checked arguments and keeps this contract:

    student  (N, V) contiguous, float32 (float64 too, in plain PyTorch): raw logits x. With ``gradient`` it
             is overwritten by ``scale`` times the gradient of each row's loss with respect to x.
    teacher  (N, V), likewise, is left as it is; or None, which counts as no divergence.
    labels   (N,) int64, all in 0..V-1.
    parts    (N, 3), as student: KL(student||teacher), KL(teacher||student) and the cross-entropy of each row.
             The divergences are at the temperature, and none of the three is weighted.

Logits beyond ±`LOGIT_LIMIT`, infinite ones among them, are taken as that, before anything else, and their
gradient is zero: differences of such numbers are finite, so no NaN arises. A NaN makes its row's parts NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

LOGIT_LIMIT = 1e30
STD_EPSILON = 1e-6  # added to the standard deviation of a z-score, as the released Math-PUMA does


class PumaLoss(NamedTuple):
    """The loss, and what it is made of; each part is a scalar in the loss's reduction.

    The parts are detached and bear no weight: neither ``lam`` nor ``alpha`` nor the temperature's square.
    """

    total: Tensor
    kl_student_teacher: Tensor
    kl_teacher_student: Tensor
    cross_entropy: Tensor
    num_tokens: int

    @classmethod
    def of(cls, total: Tensor, parts: Tensor, num_tokens: int) -> PumaLoss:
        """From the parts (3,) in the order of a row's."""
        kl_student_teacher, kl_teacher_student, cross_entropy = parts.unbind()
        return cls(total, kl_student_teacher, kl_teacher_student, cross_entropy, num_tokens)


@dataclass(frozen=True)
class Divergence:
    """How two rows of logits and a label become one number; checked, with the meaning of the arguments of
    `vkit.kernels.divergence.puma_loss`."""

    alpha: float
    lam: float
    temperature: float
    standardize: bool
    softcap: float | None

    @property
    def weights(self) -> tuple[float, float, float]:
        """The factors of the three parts in the loss.

        >>> Divergence(0.25, 0.5, 2.0, False, None).weights
        (0.5, 1.5, 0.5)
        """
        divergence = self.lam * self.temperature**2
        return divergence * self.alpha, divergence * (1 - self.alpha), 1 - self.lam
