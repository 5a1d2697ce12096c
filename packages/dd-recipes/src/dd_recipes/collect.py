"""The results of a run folder, put together from what its cells left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dd_recipes.paper import Unit
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.results import Results, Row
from dd_recipes.runfolder import RunFolder, readable
from dd_recipes.verdict import Verdict, judge, not_run

__all__ = ["collect", "is_done", "measured"]

_MEASURED = {"last", "best", "unit", "set", "data", "distill_seconds", "student_seconds"}


def measured(folder: RunFolder, cell: Cell) -> dict[str, Any]:
    """What a cell measured; empty where it has not, or where a file of it is damaged."""
    found = readable(folder.cell(cell.name) / "measured.json")
    whole = found.keys() >= _MEASURED and readable(folder.cell(cell.name) / "curves.json")
    return found if whole else {}


def is_done(folder: RunFolder, cell: Cell) -> bool:
    """Whether a cell has been measured."""
    return bool(measured(folder, cell))


def collect(
    recipe: Recipe,
    folder: RunFolder,
    runtime: str,
    *,
    why_not: Mapping[str, str] | None = None,
    elsewhere: set[str] | None = None,
) -> Results:
    """The results so far.

    Args:
        recipe: The recipe.
        folder: The run folder.
        runtime: How it is computed, one line.
        why_not: Why cells cannot be measured, by name.
        elsewhere: Names of cells that another process is measuring.
    """
    rows = []
    for cell in recipe.cells:
        why = (why_not or {}).get(cell.name, "")
        rows.append(_row(recipe, cell, folder, why, runtime, cell.name in (elsewhere or set())))
    return Results(
        recipe=recipe.name, title=recipe.title, variant=recipe.variant, budget=recipe.budget,
        seed=recipe.seed, runtime=runtime, pool_seconds=folder.pool_seconds, rows=tuple(rows),
        columns=recipe.columns or tuple(dict.fromkeys(cell.column for cell in recipe.cells)),
        references=recipe.references, claims=recipe.claims,
    )  # fmt: skip


def _row(
    recipe: Recipe, cell: Cell, folder: RunFolder, why: str, runtime: str, elsewhere: bool
) -> Row:
    common: dict[str, Any] = {
        "name": cell.name, "row": cell.row, "column": cell.column, "kind": cell.kind,
        "measure": cell.measure, "about": cell.about, "ipc": cell.synthetic.ipc,
        "factor": cell.factor, "training_images": cell.views, "x": cell.x,
        "published": cell.published,
    }  # fmt: skip
    found = measured(folder, cell)
    if found:
        row = Row(**common, status="done", **_values(found))
        return _judged(row, recipe.budget, runtime)
    failed = readable(folder.cell(cell.name) / "failed.json")
    if elsewhere:
        return _unmeasured(common, "running elsewhere", "")
    if why:
        return _unmeasured(common, "not run", why)
    if failed:
        return _unmeasured(common, "failed", str(failed.get("message", "")))
    return _unmeasured(common, "missing", "")


def _unmeasured(common: dict[str, Any], status: Any, note: str) -> Row:
    verdict: Verdict | None = None
    if common["published"] is not None:
        reason = {"failed": "it failed", "missing": "not measured yet"}.get(status, note or status)
        verdict = not_run(reason)
    return Row(**common, status=status, note=note, verdict=verdict)


def _values(found: Mapping[str, Any]) -> dict[str, Any]:
    plain = (
        "unit", "iteration_seconds", "gigabytes", "distill_seconds", "student_seconds", "set",
        "data", "train_images", "test_images",
    )  # fmt: skip
    curve = tuple((x, tuple(values)) for x, values in found.get("curve", ()))
    values = {name: found[name] for name in plain if name in found}
    return {**values, "last": tuple(found["last"]), "best": tuple(found["best"]), "curve": curve}


def _judged(row: Row, budget: str, runtime: str) -> Row:
    if row.published is None:
        return row
    reason = _other_machine(row.unit, runtime)
    if row.unit != row.published.unit:
        reason = f"measured in {row.unit}, published in {row.published.unit}"
    verdict = judge(row.mean, row.std, row.n, row.published, budget=budget, reason=reason)
    return replace(row, verdict=verdict)


def _other_machine(unit: Unit, runtime: str) -> str:
    """Why seconds or memory say nothing about the paper's."""
    return "measured on the CPU" if unit != "%" and runtime.startswith("cpu") else ""
