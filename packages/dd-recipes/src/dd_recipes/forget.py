"""Removes what cells measured, so that they are computed anew."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dd_core.checkpoint import load_record, load_state
from dd_core.errors import CheckpointError
from dd_recipes.dynamics import moments
from dd_recipes.measured import damage, is_set_key, read_measured
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.runfolder import RunFolder, held, readable
from dd_recipes.sets import read_record
from dd_recipes.work import Keys

__all__ = ["forget"]


def forget(
    recipe: Recipe,
    folder: RunFolder,
    cells: Sequence[Cell],
    asked: Mapping[str, Mapping[str, Any]],
    before: float,
) -> list[str]:
    """Removes cells from a run folder, and small sets that no other cell of the recipe uses.

    Cells that are unfinished go on, but where they computed something else; where they failed, or
    cannot read what they stored, their students begin anew. Pools stay: their networks follow
    from settings and seed alone.

    Args:
        recipe: The recipe.
        folder: The run folder; the caller guards it.
        cells: The cells.
        asked: What each is to compute now, by name.
        before: Only what was measured before this time (of `time.time`) is removed, so that the
            processes of one command do not remove what another of them has just measured.

    Returns:
        Names of cells that stayed because another process is measuring them.
    """
    names = {cell.name for cell in cells}
    others = [cell for cell in recipe.cells if cell.name not in names]
    shared = {key for cell in others for key in _in_use(folder, cell, recipe.seed)}
    busy = []
    for cell in cells:
        path = folder.cell(cell.name)
        if not path.exists():
            continue
        with held(path) as ours:
            if not ours:
                busy.append(cell.name)
            elif _is_outdated(path, asked[cell.name], before):
                _remove(folder, cell, shared)
            elif _is_stuck(path, before):
                _remove_students(path)
    return busy


def _in_use(folder: RunFolder, cell: Cell, seed: int) -> set[str]:
    """The small sets that a cell was measured with, or will go on with."""
    there = readable(folder.cell(cell.name) / "cell.json")
    if "images" not in there or cell.measure == "speed":
        return _recorded(folder, cell)
    images, start = str(there["images"]).split("/")[0], str(there.get("start", ""))
    snapshots: tuple[int, ...] = ()
    if cell.measure == "dynamics" and cell.distill is not None:
        snapshots = moments(cell.distill.iterations)
    keys = Keys(cell, images, seed, start, snapshots)
    return {keys.set_key, keys.plain_key} | _recorded(folder, cell)


def _recorded(folder: RunFolder, cell: Cell) -> set[str]:
    """The small set that a cell was measured with, also as it was before it got soft labels."""
    key = readable(folder.cell(cell.name) / "measured.json").get("set")
    plain = read_record(folder.set(key)).get("unlabelled") if is_set_key(key) else None
    return {each for each in (key, plain) if is_set_key(each)}


def _is_outdated(path: Path, asked: Mapping[str, Any], before: float) -> bool:
    """Whether a cell was measured before this command, or began with something else."""
    if damage(path):
        return True
    if found := read_measured(path):
        return float(found.get("time", 0.0)) < before
    there = readable(path / "cell.json")
    return any(there.get(key, value) != value for key, value in asked.items())


def _is_stuck(path: Path, before: float) -> bool:
    """Whether a cell that is not measured would fail as it did, or over a damaged file."""
    if read_measured(path):
        return False
    failed = readable(path / "failed.json")
    if failed:
        return float(failed.get("time", 0.0)) < before
    return any(not _can_be_read(each) for each in (path / "students").rglob("student_*"))


def _can_be_read(path: Path) -> bool:
    """Whether what is stored of a student, finished or not, is whole."""
    try:
        if path.suffix == ".json":
            load_record(path, key=None)
        elif path.suffix == ".unfinished":
            load_state(path, key=None)
    except CheckpointError:
        return False
    return True


def _remove(folder: RunFolder, cell: Cell, shared: set[str]) -> None:
    path = folder.cell(cell.name)
    unused = _recorded(folder, cell) - shared
    (path / "measured.json").unlink(missing_ok=True)  # first: it says that all is there
    for name in ("curves.json", "cell.json"):
        (path / name).unlink(missing_ok=True)
    _remove_students(path)
    for key in unused:
        shutil.rmtree(folder.set(key), ignore_errors=True)


def _remove_students(path: Path) -> None:
    shutil.rmtree(path / "students", ignore_errors=True)
    (path / "failed.json").unlink(missing_ok=True)
