"""``dd-recipes reproduce``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dd_recipes.commands._finish import finish
from dd_recipes.commands._options import hardware_options
from dd_recipes.commands._recipe import cell_option, load, recipe_options

if TYPE_CHECKING:
    from dd_recipes.recipe import Recipe

__all__ = ["reproduce"]

_STOPPED = 130


@click.command()
@recipe_options
@cell_option
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Run folder.  [default: runs/RECIPE, with variant and budget]")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the data sets.  [default: data]")  # fmt: skip
@hardware_options
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True,
              help="Processes that share the cells and the cores.")  # fmt: skip
@click.option("--rerun", multiple=True, metavar="GLOB",
              help="Measure these cells again, though they are done (repeatable).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--worker", type=int, hidden=True)
def reproduce(
    out: Path | None, data: Path | None, device: str, precision: str, compile: str, jobs: int,
    rerun: tuple[str, ...], cells: tuple[str, ...], as_json: bool, worker: int | None,
    **options: Any,
) -> None:  # fmt: skip
    """Run a recipe, or go on with a run that was stopped.

    RECIPE is a name from 'list', or a .toml file. The run folder receives settings, log,
    distilled sets, figures and report; the same command again goes on where the run was. A cell
    that fails does not stop the others.
    """
    refuse_without_data(options["recipe"], options["overrides"], data)

    from rich.console import Console

    from dd_recipes.progress import showing
    from dd_recipes.runner import Hardware
    from dd_recipes.runner import reproduce as run

    began = time.time()
    recipe = load(**options)
    folder = out or Path("runs") / folder_name(recipe)
    log = Console(stderr=True)
    if worker is None:
        log.print(f"{recipe.title}\nrun folder: {folder}", markup=False, highlight=False)
    if jobs > 1:
        from dd_recipes.jobs import run_jobs

        if run_jobs(jobs, _arguments_of_a_job(folder), began=began) == _STOPPED:
            raise KeyboardInterrupt
    with showing(log) as listen:
        results = run(
            recipe, folder, data_root=data, listen=listen, command=["dd-recipes", *sys.argv[1:]],
            hardware=Hardware(device, precision, compile), cells=cells, rerun=rerun,
            began=began if jobs > 1 else None,
        )  # fmt: skip
    if worker is None:
        finish(results, folder, as_json=as_json)
    if results.failed:
        names = ", ".join(row.name for row in results.failed)
        click.echo(f"failed: {names}; the same command tries them again", err=True)
        raise SystemExit(1)


def refuse_without_data(recipe: str, overrides: tuple[str, ...], data: Path | None) -> None:
    """Ends the command at once where no cell has its data: PyTorch takes seconds to load.

    Raises:
        click.ClickException: No data set of the recipe is there.
    """
    from dd_recipes.catalog import entries
    from dd_recipes.cli import Failure
    from dd_recipes.missing import quick_refusal

    known = [entry for entry in entries() if entry.name == recipe]
    if not known or any(".data." in f".{pair}" for pair in overrides):
        return  # a file of the user's own, or other data: the reader looks closer
    refusal = quick_refusal(known[0], data)
    if refusal:
        raise Failure(refusal, 2)


def folder_name(recipe: Recipe) -> str:
    """The run folder's name: the recipe, its variant where it has several, and its budget.

    Two variants of a recipe so never meet in one folder.
    """
    parts = [recipe.name]
    if len(recipe.variants) > 1:
        parts.append(recipe.variant)
    if recipe.budget != "full":
        parts.append(recipe.budget)
    return "-".join(parts)


def _arguments_of_a_job(folder: Path) -> list[str]:
    """The arguments of this command for one of its processes: the folder is said once for all."""
    kept: list[str] = []
    skip = False
    for argument in sys.argv[1:]:
        if skip:
            skip = False
        elif argument in ("--jobs", "--out"):
            skip = True
        elif not argument.startswith(("--jobs=", "--out=")) and argument != "--json":
            kept.append(argument)
    return [*kept, "--out", str(folder)]
