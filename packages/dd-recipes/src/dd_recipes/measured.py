"""What a cell measured, in its folder: ``curves.json``, and ``measured.json`` with a checksum."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from dd_recipes.runfiles import digest_of, readable, write_json

__all__ = ["damage", "is_set_key", "read_measured", "write_measured"]

_NEEDED = {"last", "best", "unit", "set", "data", "distill_seconds", "student_seconds"}
_LIMITS = {"%": (0.0, 100.0), "s": (0.0, math.inf), "GB": (0.0, math.inf), "rho": (-1.0, 1.0)}
_TIMES = ("distill_seconds", "student_seconds", "whole_seconds", "iteration_seconds", "gigabytes")
_COUNTS = ("train_images", "test_images")


def write_measured(folder: Path, curves: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Writes both files of a cell, the one last that says that it is done.

    Args:
        folder: The cell's folder.
        curves: What was found on the way.
        found: What was measured.
    """
    write_json(folder / "curves.json", curves)
    write_json(folder / "measured.json", {**found, "sha256": digest_of([found, curves])})


def read_measured(folder: Path) -> dict[str, Any]:
    """What a cell measured; empty where it has not, or where a file is damaged or was changed.

    Files of earlier versions have no checksum; of them only the values are looked at.
    """
    found, curves = readable(folder / "measured.json"), readable(folder / "curves.json")
    if not curves or not found.keys() >= _NEEDED or not _is_sound(found):
        return {}
    written = found.pop("sha256", None)
    return found if written in (None, digest_of([found, curves])) else {}


def damage(folder: Path) -> str:
    """Why a cell that says that it is done counts as not measured; empty where it does not."""
    if not (folder / "measured.json").exists() or read_measured(folder):
        return ""
    return (
        f"{folder.name} counts as not measured: measured.json or curves.json in {folder} is "
        "damaged or was changed; the command of the run measures it again"
    )


def is_set_key(value: object) -> TypeGuard[str]:
    """Whether it can be the name of a small set's folder, and of no other."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value) is not None


def _is_sound(found: Mapping[str, Any]) -> bool:
    """Whether all values are of their type and in their range."""
    limits = _LIMITS.get(str(found["unit"]))
    return (
        limits is not None
        and _are_numbers(found["last"], *limits)
        and bool(found["last"])
        and _are_numbers(found["best"], *limits)
        and _is_curve(found.get("curve", []))
        and (found["set"] is None or is_set_key(found["set"]))
        and all(isinstance(found.get(name, ""), str) for name in ("data", "also"))
        and _are_numbers([v for name in _TIMES if (v := found.get(name)) is not None], 0.0)
        and _are_numbers([found.get(name, 0) for name in (*_COUNTS, "time")], 0.0)
        and all(isinstance(found.get(name, 0), int) for name in _COUNTS)
    )


def _are_numbers(values: object, low: float, high: float = math.inf) -> bool:
    """Whether it is a list of finite numbers between these."""
    return isinstance(values, list) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
        for value in values
    )


def _is_curve(curve: object) -> bool:
    """Whether it is pairs of a place and the accuracies there."""
    return isinstance(curve, list) and all(
        isinstance(point, list)
        and len(point) == 2
        and _are_numbers(point[:1], 0.0)
        and bool(point[1])
        and _are_numbers(point[1], *_LIMITS["%"])
        for point in curve
    )
