"""The results of a run folder, put together from what its cells left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dd_recipes.measured import read_measured
from dd_recipes.paper import Unit
from dd_recipes.preflight import computation
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.results import Results, Row
from dd_recipes.runfolder import RunFolder, readable
from dd_recipes.verdict import Verdict, judge, not_run

__all__ = ["collect", "collect_again", "is_done", "measured"]

_ABOUT = (
    "name", "row", "column", "kind", "measure", "about", "ipc", "factor", "training_images", "x",
    "published",
)  # fmt: skip


def measured(folder: RunFolder, cell: Cell, seed: int) -> dict[str, Any]:
    """What a cell measured with these settings; empty where it has not, see `read_measured`."""
    path = folder.cell(cell.name)
    return read_measured(path) if _is_of(readable(path / "cell.json"), cell, seed) else {}


def _is_of(there: Mapping[str, Any], cell: Cell, seed: int) -> bool:
    """Whether a ``cell.json`` is of this computation; of which images, it does not ask."""
    asked = computation(cell, seed, None)
    return all(key in there and there[key] == value for key, value in asked.items())


def is_done(folder: RunFolder, cell: Cell, seed: int) -> bool:
    """Whether a cell has been measured, with these settings."""
    return bool(measured(folder, cell, seed))


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
        references=recipe.references, claims=recipe.claims, changed=recipe.changed,
    )  # fmt: skip


def collect_again(results: Results, folder: RunFolder) -> Results:
    """Stored results with the rows as the folders of their cells have them, judged again.

    Args:
        results: What ``results.json`` says.
        folder: The run folder. A cell whose files are gone, damaged or changed is missing.
    """

    def again(row: Row) -> Row:
        common = {name: getattr(row, name) for name in _ABOUT}
        if found := read_measured(folder.cell(row.name)):
            done = Row(**common, status="done", **_values(found))
            done = done if row.best else replace(done, best=())
            return _judged(done, results, results.runtime)
        return _unmeasured(common, "missing", "")

    return replace(results, rows=tuple(again(row) if row.done else row for row in results.rows))


def _row(
    recipe: Recipe, cell: Cell, folder: RunFolder, why: str, runtime: str, elsewhere: bool
) -> Row:
    common: dict[str, Any] = {
        "name": cell.name, "row": cell.row, "column": cell.column, "kind": cell.kind,
        "measure": cell.measure, "about": cell.about, "ipc": cell.synthetic.ipc,
        "factor": cell.factor, "training_images": cell.views, "x": cell.x,
        "published": cell.published,
    }  # fmt: skip
    found = measured(folder, cell, recipe.seed)
    if found:
        row = Row(**common, status="done", **_values(found))
        if cell.students.evaluations == 1:
            row = replace(row, best=())  # of one test, after the last epoch
        return _judged(row, recipe, runtime)
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
        "data", "train_images", "test_images", "also", "whole_seconds",
    )  # fmt: skip
    curve = tuple((x, tuple(values)) for x, values in found.get("curve", ()))
    values = {name: found[name] for name in plain if name in found}
    return {**values, "last": tuple(found["last"]), "best": tuple(found["best"]), "curve": curve}


def _judged(row: Row, recipe: Recipe | Results, runtime: str) -> Row:
    if row.published is None:
        return row
    reason = _other_machine(row.unit, runtime)
    if row.unit != row.published.unit:
        reason = f"measured in {row.unit}, published in {row.published.unit}"
    if recipe.changed and not reason:
        reason = f"changed by --set: {', '.join(recipe.changed)}"
    verdict = judge(row.mean, row.std, row.n, row.published, budget=recipe.budget, reason=reason)
    return replace(row, verdict=verdict)


def _other_machine(unit: Unit, runtime: str) -> str:
    """Why seconds or memory say nothing about the paper's."""
    return "measured on the CPU" if unit in ("s", "GB") and runtime.startswith("cpu") else ""
