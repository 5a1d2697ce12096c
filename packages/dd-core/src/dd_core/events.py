"""What happens in a run, as typed events; the caller draws progress bars or writes logs.

Every long function takes ``listen``, a callable that receives each event. The library itself
prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = [
    "Event",
    "Listener",
    "Message",
    "PhaseAdvanced",
    "PhaseFinished",
    "PhaseStarted",
    "as_record",
    "ignore",
]


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A long phase begins, or goes on at ``done`` of ``total`` after an interruption."""

    phase: str
    total: int
    unit: str
    done: int = 0


@dataclass(frozen=True, slots=True)
class PhaseAdvanced:
    """``done`` of ``total`` units are complete; ``values`` holds figures such as losses."""

    phase: str
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseFinished:
    """The phase is complete and stored; ``seconds`` is its time summed over all attempts."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Message:
    """One line for the log."""

    text: str
    level: Literal["info", "warning"] = "info"


Event = PhaseStarted | PhaseAdvanced | PhaseFinished | Message
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""


def as_record(event: Event) -> dict[str, object]:
    """The event as a JSON-able dictionary, with its name under ``event``.

    Example:
        >>> as_record(Message("pool ready"))
        {'event': 'Message', 'text': 'pool ready', 'level': 'info'}
    """
    return {"event": type(event).__name__, **asdict(event)}
