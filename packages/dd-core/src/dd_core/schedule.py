"""The learning rate of the pixels over the iterations."""

from __future__ import annotations

import math

from dd_core.settings import DistillSettings

__all__ = ["Schedule"]

_THRESHOLD = 1e-4  # a new minimum is this share below the last, as in PyTorch's ReduceLROnPlateau


class Schedule:
    """The rate of each iteration.

    Args:
        settings: Kind of schedule and its parameters.
        base: The rate that the schedule scales.

    Attributes:
        plateau: For ``plateau``: best loss, iterations since, factor of the rate. All else follows
            from the iteration's number.

    Example:
        >>> from dd_core.settings import DistillSettings
        >>> rates = Schedule(DistillSettings(iterations=4, schedule="cosine"), 1.0)
        >>> [round(rates.rate(i), 2) for i in range(4)]
        [1.0, 0.85, 0.5, 0.15]
    """

    def __init__(self, settings: DistillSettings, base: float) -> None:
        self._settings, self._base = settings, base
        self.plateau = (math.inf, 0, 1.0)

    def rate(self, iteration: int) -> float:
        """The rate of an iteration."""
        s = self._settings
        if s.schedule == "cosine":
            return self._base * 0.5 * (1 + math.cos(math.pi * iteration / s.iterations))
        if s.schedule == "step":
            passed = sum(iteration >= milestone * s.iterations for milestone in s.milestones)
            return float(self._base * s.gamma**passed)
        return self._base * self.plateau[2]

    def observe(self, loss: float) -> None:
        """Takes notice of an iteration's loss: after ``patience`` without a minimum, halve."""
        best, since, factor = self.plateau
        best, since = (loss, 0) if loss < best * (1 - _THRESHOLD) else (best, since + 1)
        if since > self._settings.patience:
            since, factor = 0, factor / 2
        self.plateau = (best, since, factor)
