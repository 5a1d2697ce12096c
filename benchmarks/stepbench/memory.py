"""Resident memory of this process, in MB (10^6 bytes)."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def _status_mb(field: str) -> float | None:
    """Read a field of Linux's process status, or None where there is none."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _rusage_mb() -> float:
    """Return the largest resident set so far as the operating system counts it."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def resident_mb() -> float:
    """Return what is resident now (outside Linux: the peak so far)."""
    now = _status_mb("VmRSS")
    return _rusage_mb() if now is None else now


def peak_mb() -> float:
    """Return the peak since the start of the process or the last :func:`reset_peak`.

    On Linux this is VmHWM: getrusage's peak survives exec, and so may be the parent's.

    >>> peak_mb() >= resident_mb() * 0.9
    True
    """
    peak = _status_mb("VmHWM")
    return _rusage_mb() if peak is None else peak


def reset_peak() -> bool:
    """Start the peak anew at what is resident now; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
