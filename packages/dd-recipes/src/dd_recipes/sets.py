"""A small set as it lies in a run folder: the set, and ``set.json`` that says which it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dd_core.artifact import DistilledSet
from dd_core.errors import ArtifactError
from dd_recipes.runfiles import readable

__all__ = ["SET_FORMAT", "load_set"]

SET_FORMAT = 1


def load_set(folder: Path) -> tuple[DistilledSet, dict[str, Any]] | None:
    """A small set with its record; None where it is incomplete, damaged or another one.

    Args:
        folder: The set's folder.
    """
    record = readable(folder / "set.json")
    if record.get("format") != SET_FORMAT:
        return None
    try:
        distilled = DistilledSet.load(folder / "distilled")
    except ArtifactError:
        return None
    return (distilled, record) if distilled.fingerprint() == record.get("fingerprint") else None
