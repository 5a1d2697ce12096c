"""A small set as it lies in a run folder: the set, and ``set.json`` that says which it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dd_core.artifact import DistilledSet
from dd_core.errors import ArtifactError
from dd_recipes.runfiles import digest_of, readable, write_json

__all__ = ["load_set", "read_record", "write_record"]

_FORMAT = 1


def write_record(folder: Path, distilled: DistilledSet, record: Mapping[str, Any]) -> None:
    """Writes ``set.json``, which says that the set is complete, with a checksum.

    Args:
        folder: The set's folder.
        distilled: The set.
        record: What is worth knowing of how it was made.
    """
    whole = {"format": _FORMAT, "fingerprint": distilled.fingerprint(), **record}
    write_json(folder / "set.json", {**whole, "sha256": digest_of(whole)})


def read_record(folder: Path) -> dict[str, Any]:
    """What ``set.json`` says; empty where it is missing, damaged or was changed.

    Files of earlier versions have no checksum.
    """
    record = readable(folder / "set.json")
    written = record.pop("sha256", None)
    sound = record.get("format") == _FORMAT and written in (None, digest_of(record))
    return record if sound else {}


def load_set(folder: Path) -> tuple[DistilledSet, dict[str, Any]] | None:
    """A small set with its record; None where it is incomplete, damaged or another one.

    Args:
        folder: The set's folder.
    """
    record = read_record(folder)
    if not record:
        return None
    try:
        distilled = DistilledSet.load(folder / "distilled")
    except ArtifactError:
        return None
    return (distilled, record) if distilled.fingerprint() == record.get("fingerprint") else None
