"""Time and progress of one long phase that may be interrupted and go on."""

from __future__ import annotations

import time
from collections.abc import Mapping

from dd_core.events import Listener, PhaseAdvanced, PhaseFinished, PhaseStarted

__all__ = ["Phase"]

_REPORT_SECONDS = 0.25


class Phase:
    """Emits the events of a phase, at most a few a second, and adds up its time.

    Args:
        name: Name of the phase in the events.
        total: Units in all.
        unit: What is counted, such as ``step``.
        listen: Receiver of the events.
        done: Units complete from earlier attempts.
        seconds: Time of earlier attempts.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str,
        listen: Listener,
        *,
        done: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self.name, self.total, self.done = name, total, done
        self._listen = listen
        self._earlier = seconds
        self._start = self._reported = time.perf_counter()
        listen(PhaseStarted(name, total, unit, done))

    @property
    def seconds(self) -> float:
        """Time of the phase so far, over all attempts."""
        return self._earlier + time.perf_counter() - self._start

    def due(self) -> bool:
        """Whether the next call of `advance` will be reported."""
        return time.perf_counter() - self._reported >= _REPORT_SECONDS

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Sets the units complete; reports if the last report is some time ago."""
        self.done = done
        if self.due():
            self._reported = time.perf_counter()
            self._listen(PhaseAdvanced(self.name, done, self.total, dict(values or {})))

    def finish(self, values: Mapping[str, float] | None = None) -> float:
        """Reports the end and returns the seconds over all attempts."""
        seconds = self.seconds
        self._listen(PhaseAdvanced(self.name, self.total, self.total, dict(values or {})))
        self._listen(PhaseFinished(self.name, seconds))
        return seconds
