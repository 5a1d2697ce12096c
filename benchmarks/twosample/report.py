"""What both benchmarks print: the machine, Markdown tables, binomial intervals, JSON."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from stepbench.measure import processor

_PACKAGES = (
    "cfmetrics", "numpy", "scipy", "torch", "pted", "goodpoints", "hyppo", "dcor", "numba",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Describe what the figures depend on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": {"python": platform.python_version(), **_versions()},
    }


def describe(facts: dict[str, Any]) -> str:
    """Put the description of the machine into two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    load = facts["load_before"]
    busy = "; other programs were running, so the figures are not reliable" * bool(
        load is not None and load > 0.5
    )
    load_text = "" if load is None else f"; load before: {load:.1f}{busy}"
    return f"{facts['processor']}, {facts['cores']} cores, {facts['date']}{load_text}\n{versions}"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "from the source tree" if package == "cfmetrics" else "not installed"
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a Markdown table, aligned for reading as it is."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, *rows)
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def seconds_text(seconds: float) -> str:
    """Write seconds with three digits, in milliseconds below one second."""
    return f"{seconds * 1e3:#.3g} ms".replace(". ", " ") if seconds < 1 else f"{seconds:.3g} s"


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Give the Clopper-Pearson interval of a binomial probability.

    >>> [round(bound, 3) for bound in interval(10, 200)]
    [0.024, 0.09]
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)


def write(path: Path, record: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(path)


def progress(text: str) -> None:
    """Say on the terminal what is being measured, and nothing where there is none."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Leave the terminal's line empty."""
    progress("")
