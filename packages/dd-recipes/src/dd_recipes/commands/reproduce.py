"""``dd-recipes reproduce``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dd_recipes.commands._cluster import Jobs
from dd_recipes.commands._finish import finish
from dd_recipes.commands._options import hardware_options
from dd_recipes.commands._recipe import cell_option, load, recipe_options
from dd_recipes.jobs import is_torchrun, run_jobs

if TYPE_CHECKING:
    from dd_recipes.recipe import Recipe
    from dd_recipes.results import Results

__all__ = ["reproduce"]

_STOPPED = 130
_OF_THE_WHOLE = ("--jobs", "--out", "--cluster", "--cluster-option")  # not of each process


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
@click.option("--cluster", type=click.Choice(["slurm", "local"]),
              help="Run the --jobs as jobs of a cluster, through submitit.")  # fmt: skip
@click.option("--cluster-option", "cluster_options", multiple=True, metavar="KEY=VALUE",
              help="What submitit asks the cluster for, as in slurm_partition=gpu or "
              "timeout_min=600 (repeatable).")  # fmt: skip
@click.option("--rerun", multiple=True, metavar="GLOB",
              help="Measure these cells again, though they are done (repeatable).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--worker", type=int, hidden=True)
def reproduce(
    out: Path | None, data: Path | None, device: str, precision: str, compile: str, jobs: int,
    cluster: str | None, cluster_options: tuple[str, ...], rerun: tuple[str, ...],
    cells: tuple[str, ...], as_json: bool, worker: int | None,
    **options: Any,
) -> None:  # fmt: skip
    """Run a recipe, or go on with a run that was stopped.

    RECIPE is a name from 'list', or a .toml file. The run folder receives settings, log,
    distilled sets, figures and report; the same command again goes on where the run was. A cell
    that fails does not stop the others.

    Started by torchrun (torchrun --nproc-per-node N -m dd_recipes reproduce ...), N processes
    share the classes of each distillation, each with a GPU of its own where there are GPUs.
    """
    if cluster_options and cluster is None:
        raise click.UsageError("--cluster-option has no effect without --cluster.")
    if _helps_another(alone=jobs == 1 and cluster is None):
        return
    if cells or rerun:  # a wrong name is said before what is missing
        _chosen(load(**options), cells, rerun)
    refuse_without_data(options["recipe"], options["overrides"], data, out)

    from rich.console import Console

    from dd_recipes.helpers import joined
    from dd_recipes.progress import showing
    from dd_recipes.runner import Hardware
    from dd_recipes.runner import reproduce as run

    began, line = time.time(), ["dd-recipes", *sys.argv[1:]]
    recipe = load(**options)
    folder = out or Path("runs") / folder_name(recipe)
    log = Console(stderr=True)
    if worker is None:
        log.print(f"{recipe.title}\nrun folder: {folder}", markup=False, highlight=False)
    submitted = Jobs(recipe, folder, cells, rerun, began)
    with _saying_how_to_go_on(rerun):
        if cluster is not None:
            submitted.run(jobs, _arguments_of_a_job(folder), cluster, cluster_options)
        elif jobs > 1 and run_jobs(jobs, _arguments_of_a_job(folder), began=began) == _STOPPED:
            raise KeyboardInterrupt
        if cluster == "slurm":  # this machine is where jobs are submitted, not where they compute
            results = submitted.results(line)
        else:
            with showing(log) as listen, joined() as helpers:
                results = run(
                    recipe, folder, data_root=data, listen=listen,
                    command=() if worker else line, cells=cells, rerun=rerun,
                    hardware=Hardware(device, precision, compile),
                    began=began if jobs > 1 or cluster else None, helpers=helpers,
                )  # fmt: skip
        if worker is None:
            finish(results, folder, as_json=as_json)
    code = submitted.say_left(results) if cluster == "slurm" else 0
    failed = failed_cells(results, recipe, cells, rerun)
    if failed:
        command = "the same command without --rerun" if rerun else "the same command"
        click.echo(f"failed: {', '.join(failed)}; {command} tries them again", err=True)
    if failed or code:
        raise SystemExit(max(code, 1))


def _helps_another(*, alone: bool) -> bool:
    """Whether torchrun started this process beside another, which it has then helped.

    Args:
        alone: Whether the command starts no processes of its own.

    Raises:
        click.UsageError: Both start processes.
    """
    if not is_torchrun():
        return False
    if not alone:
        raise click.UsageError(
            "--jobs and --cluster start processes of their own, and torchrun has started "
            f"{os.environ['WORLD_SIZE']}; leave them out, or torchrun."
        )
    if os.environ.get("RANK", "0") == "0":
        return False
    from dd_recipes.helpers import joined

    with joined():
        return True


@contextmanager
def _saying_how_to_go_on(rerun: tuple[str, ...]) -> Iterator[None]:
    """Where Ctrl-C stops a run with --rerun: the same command would begin its cells once more.

    Raises:
        click.ClickException: The run was stopped.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not rerun:
            raise
        from dd_recipes.cli import Failure

        text = (
            "\nStopped. To go on, run the same command without --rerun; with it, cells that were "
            "measured anew would be removed once more."
        )
        raise Failure(text, _STOPPED) from None


def failed_cells(
    results: Results, recipe: Recipe, cells: tuple[str, ...], rerun: tuple[str, ...]
) -> list[str]:
    """Names of the cells that this command was asked for and that failed.

    Args:
        results: All cells of the run folder.
        recipe: The recipe.
        cells: Patterns of --cells; none means all.
        rerun: Patterns of --rerun.
    """
    chosen = _chosen(recipe, cells, rerun)
    return [row.name for row in results.failed if row.name in chosen]


def _chosen(recipe: Recipe, cells: tuple[str, ...], rerun: tuple[str, ...]) -> set[str]:
    """Names of the cells that the command was asked for."""
    from dd_recipes.selection import chosen_cells

    return {cell.name for cell in chosen_cells(recipe, cells, rerun)}


def refuse_without_data(
    recipe: str, overrides: tuple[str, ...], data: Path | None, out: Path | None = None
) -> None:
    """Ends the command at once where no cell has its data: PyTorch takes seconds to load.

    Args:
        recipe: What the user calls it.
        overrides: The pairs of --set.
        data: The folder of the data sets.
        out: The run folder; by default one under ``runs``.

    Raises:
        click.ClickException: No data set of the recipe is there.
    """
    from dd_recipes.catalog import entries
    from dd_recipes.cli import Failure
    from dd_recipes.missing import quick_refusal

    known = [entry for entry in entries() if entry.name == recipe]
    changed = (pair.partition("=")[0].split(".") for pair in overrides)
    if not known or any("data" in map(str.strip, parts) for parts in changed):
        return  # a file of the user's own, or other data: the reader looks closer
    if _has_begun(recipe, out):
        return  # the cells that are done need no data
    refusal = quick_refusal(known[0], data)
    if refusal:
        raise Failure(refusal, 2)


def _has_begun(recipe: str, out: Path | None) -> bool:
    """Whether there is a run to go on with; without ``out``, any of the recipe may be meant."""
    if out is not None:
        return (out / "run.json").exists()
    return any(Path("runs").glob(f"{escape(recipe)}*/run.json"))


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
        elif argument in _OF_THE_WHOLE:
            skip = True
        elif argument.partition("=")[0] not in _OF_THE_WHOLE and argument != "--json":
            kept.append(argument)
    return [*kept, "--out", str(folder)]
