"""Removes what cells measured, so that they are computed anew."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from dd_recipes.collect import measured
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.runfolder import RunFolder, held, readable

__all__ = ["forget"]


def forget(
    recipe: Recipe,
    folder: RunFolder,
    cells: Sequence[Cell],
    asked: Mapping[str, Mapping[str, Any]],
    before: float,
) -> list[str]:
    """Removes cells from a run folder, and small sets that no other cell of the recipe uses.

    Cells that are unfinished go on, but where they computed something else. Pools stay: their
    networks follow from settings and seed alone.

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
    shared = {
        found.get("set")
        for cell in recipe.cells
        if cell.name not in names and (found := measured(folder, cell))
    }
    busy = []
    for cell in cells:
        path = folder.cell(cell.name)
        if not path.exists():
            continue
        with held(path) as ours:
            if not ours:
                busy.append(cell.name)
            elif _is_outdated(folder, cell, asked[cell.name], before):
                _remove(folder, cell, shared)
    return busy


def _is_outdated(
    folder: RunFolder, cell: Cell, asked: Mapping[str, Any], before: float
) -> bool:  # fmt: skip
    found = measured(folder, cell)
    if found:
        return float(found.get("time", 0.0)) < before
    there = readable(folder.cell(cell.name) / "cell.json")
    return any(there.get(key, value) != value for key, value in asked.items())


def _remove(folder: RunFolder, cell: Cell, shared: set[Any]) -> None:
    path = folder.cell(cell.name)
    key = measured(folder, cell).get("set")
    (path / "measured.json").unlink(missing_ok=True)  # first: it says that all is there
    for name in ("curves.json", "failed.json", "cell.json"):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "students", ignore_errors=True)
    if key is not None and key not in shared:
        shutil.rmtree(folder.set(key), ignore_errors=True)
