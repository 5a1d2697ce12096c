"""``dd-recipes plan``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dd_recipes.commands._options import hardware_options
from dd_recipes.commands._recipe import cell_option, load, recipe_options

if TYPE_CHECKING:
    from dd_recipes.plan import Estimate, Plan

__all__ = ["plan"]


@click.command()
@recipe_options
@cell_option
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the data sets.  [default: data]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    cells: tuple[str, ...], data: Path | None, device: str, precision: str, compile: str,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Say what a recipe would do here, from a few trial steps: time, memory, data.

    Nothing is written. The estimate is for one cell after the other on this machine, if nothing
    else runs on it.
    """
    from dd_core.runtime import choose_runtime
    from dd_recipes.plan import make_plan
    from dd_recipes.selection import select_cells

    recipe = load(**options)
    runtime = choose_runtime(device, precision, compile)
    made = make_plan(recipe, select_cells(recipe, cells), data, runtime)
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=2, ensure_ascii=False))
        return
    click.echo(f"{recipe.title}\n{made.variant} variant, {made.budget} budget; {made.runtime}\n")
    for line in _lines(made):
        click.echo(line)


def _lines(made: Plan) -> Iterator[str]:
    from dd_recipes.results import duration

    width = max(len(cell.name) for cell in made.cells)
    yield f"{'cell':<{width}}  {'data':<11}  {'pool':>11}  {'distil':>11}  {'students':>11}  memory"
    for cell in made.cells:
        yield f"{cell.name:<{width}}  {_data(cell):<11}  {_times(cell)}  {_memory(cell)}"
    if any(cell.found for cell in made.cells):
        yield f"\nin all, for cells whose data are here: about {duration(made.seconds)}"
    if any(cell.memory is not None for cell in made.cells):
        yield "memory: what a distillation takes besides the program itself"
    if not all(cell.measured for cell in made.cells):
        yield "~ scaled from the trial of a cell that is alike"
    missing = dict.fromkeys(cell.problem for cell in made.cells if not cell.found)
    yield from (f"\n{problem}" for problem in missing)


def _data(cell: Estimate) -> str:
    return {"found": cell.data, "missing": "missing", "incomplete": "unusable"}[cell.state]


def _times(cell: Estimate) -> str:
    from dd_recipes.results import duration

    phases = (cell.pool_seconds, cell.set_seconds, cell.student_seconds)
    marks = ("", "" if cell.measured else "~", "")
    shown = [mark + duration(s) if s else "–" for s, mark in zip(phases, marks, strict=True)]
    return "  ".join(f"{text:>11}" for text in shown)


def _memory(cell: Estimate) -> str:
    return "–" if cell.memory is None else f"{cell.memory / 2**30:.1f} GB"
