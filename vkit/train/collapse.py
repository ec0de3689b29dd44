"""Notices when alignment collapses: both branches become trivial together.

    watch = CollapseWatch()
    warning = watch.update(divergence=0.4, cross_entropy=2.1)    # None, or the sentence to tell once

With live, shared weights the strong side can move towards the weak one as well. Then the divergence falls
while the cross-entropy stays where it was: the two sides agree, and on nothing. Either number alone looks
healthy, so they are watched together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class CollapseWatch:
    """Compares the mean of the last ``window`` steps with the first window and the divergence's peak.

    It warns once, when the divergence has fallen below ``fallen`` of the highest window's mean while the
    cross-entropy is still above ``stayed`` of the first window's and above ``floor`` nats.

    >>> watch = CollapseWatch(window=2)
    >>> [bool(watch.update(kl, 2.0)) for kl in (1.0, 1.0, 0.9, 0.01, 0.01, 0.01)]
    [False, False, False, False, True, False]
    """

    window: int = 20
    fallen: float = 0.2
    stayed: float = 0.8
    floor: float = 0.5
    peak: float = 0.0
    first_cross_entropy: float | None = None
    warned: bool = False
    recent: deque[tuple[float, float]] = field(default_factory=deque)

    def update(self, divergence: float, cross_entropy: float) -> str | None:
        """Take one step's means per token, in nats; returns the warning at the step that calls for it."""
        self.recent.append((divergence, cross_entropy))
        if len(self.recent) > self.window:
            self.recent.popleft()
        if len(self.recent) < self.window:
            return None
        divergence = sum(kl for kl, _ in self.recent) / self.window
        cross_entropy = sum(ce for _, ce in self.recent) / self.window
        if self.first_cross_entropy is None:
            self.first_cross_entropy = cross_entropy
        self.peak = max(self.peak, divergence)
        if (
            self.warned
            or divergence >= self.fallen * self.peak
            or cross_entropy < self.stayed * self.first_cross_entropy
            or cross_entropy < self.floor
        ):
            return None
        self.warned = True
        return (
            f"alignment collapse: the divergence fell from {self.peak:.3g} to {divergence:.3g} nats,"
            f" but the cross-entropy stays at {cross_entropy:.3g} (from {self.first_cross_entropy:.3g}): the"
            " twins agree on something trivial; use teacher=frozen, a smaller lam, or strong_cross_entropy=1"
        )
