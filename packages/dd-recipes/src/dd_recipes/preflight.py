"""What cannot be measured, found out before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dd_core.artifact import DistilledSet
from dd_core.datasets import split_per_class
from dd_core.errors import ArtifactError, DistillationError, UserError
from dd_core.evaluation.search import held_out_per_class
from dd_core.images import ImageData, LabeledImages
from dd_core.networks import network_for
from dd_core.synthetic import initial_pixels
from dd_recipes.missing import nothing_to_run
from dd_recipes.recipe import Cell, DataSource, Recipe
from dd_recipes.shelf import Shelf

__all__ = ["Plan", "computation", "plan_cells"]

_FEWEST = 3  # networks that a rank correlation means anything of


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a run can be measured.

    Attributes:
        cells: The chosen cells that can be, or have been, measured.
        not_run: Why others cannot: by the name of the cell.
    """

    cells: tuple[Cell, ...]
    not_run: Mapping[str, str]


def computation(cell: Cell, seed: int, images: str | None) -> dict[str, Any]:
    """All that a cell's numbers depend on, as its ``cell.json`` holds it.

    Args:
        cell: The cell.
        seed: Seed of the run.
        images: What identifies the images; None where they are not at hand.

    Returns:
        Seed, ``images`` where they are known, ``start`` (the fingerprint of the set in
        ``init_file``) where there is one that can be read, and the settings.
    """
    known = {} if images is None else {"images": images}
    return {"seed": seed, **known, **_start(cell), **cell.settings()}


def _start(cell: Cell) -> dict[str, str]:
    """What identifies the set that the pixels start from; empty without, or without its file."""
    if cell.synthetic.init != "file":
        return {}
    folder = Path(cell.synthetic.init_file)
    try:
        files = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
        stamps = tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in files)
        return {"start": _fingerprint(folder, stamps)}
    except (ArtifactError, OSError):
        return {}


@lru_cache(maxsize=16)
def _fingerprint(folder: Path, stamps: tuple[tuple[str, int, int, int], ...]) -> str:
    """The fingerprint of a stored set, which is read again only where its files changed."""
    return DistilledSet.load(folder).fingerprint()[:16]


def plan_cells(recipe: Recipe, chosen: Sequence[Cell], done: set[str], shelf: Shelf) -> Plan:
    """Looks at the data of all cells that are to be measured, and whether the cells fit them.

    Args:
        recipe: The recipe.
        chosen: The cells that were asked for.
        done: Names of those that have been measured, which need no data.
        shelf: Reads the data.

    Raises:
        UserError: A cell cannot be made from its data, or there are no data for any.
    """
    todo = [cell for cell in chosen if cell.name not in done]
    problems = _problems([cell.data for cell in todo], shelf)
    impossible = [
        f"cells.{cell.name}: {why}"
        for cell in todo
        if cell.data not in problems and (why := _impossible(cell, recipe.seed, shelf))
    ]
    if impossible:
        shown = "".join(f"\n  {line}" for line in impossible)
        raise UserError(f"{recipe.name} cannot be run; nothing was computed:{shown}")
    not_run = {cell.name: problems[cell.data] for cell in todo if cell.data in problems}
    cells = tuple(cell for cell in chosen if cell.name not in not_run)
    if not cells and not_run:
        raise UserError(_nothing_to_run(recipe, todo, problems, shelf))
    return Plan(cells, not_run)


def _problems(sources: Sequence[DataSource], shelf: Shelf) -> dict[DataSource, str]:
    """Why data cannot be read; nothing is read where the names of files tell it of all."""
    wanted = list(dict.fromkeys(sources))
    problems = {source: why for source in wanted if (why := shelf.look(source).problem)}
    for source in wanted:
        if source not in problems:
            try:
                shelf.images(source)
            except (DistillationError, OSError) as error:
                problems[source] = str(error)
    return problems


def _impossible(cell: Cell, seed: int, shelf: Shelf) -> str:
    """Why a cell cannot be made from its data; empty where it can."""
    data = shelf.load(cell.data)
    try:
        for network in (cell.network, cell.student_network):
            network_for(data.train, network, 0)
        initial_pixels(_distilled_from(cell, data, seed), cell.synthetic, seed)
    except DistillationError as error:
        return str(error)
    return "; ".join(_unfit(cell, data))


def _distilled_from(cell: Cell, data: ImageData, seed: int) -> LabeledImages:
    """The training images that the small set is made of; a search holds some of them out."""
    if cell.measure != "search":
        return data.train
    for network in cell.search.networks(data.train.size).values():
        network_for(data.train, network, 0)
    n = held_out_per_class(data.train, cell.search.held_out)
    return split_per_class(data.train, n, seed)[0]


def _unfit(cell: Cell, data: ImageData) -> Iterator[str]:
    if cell.measure in ("speed", "dynamics") and cell.kind != "distill":
        yield f"measure is {cell.measure!r}, which needs kind = 'distill', not {cell.kind!r}."
    if cell.measure in ("speed", "dynamics") and cell.soft_labels != "none":
        yield f"soft_labels is {cell.soft_labels!r}, which measure {cell.measure!r} does not take."
    if cell.measure == "continual" and data.train.n_classes < cell.continual.steps:
        yield (
            f"continual.steps is {cell.continual.steps}, and each step brings a class at least, "
            f"but {data.name} has {data.train.n_classes} classes."
        )
    if cell.measure == "search" and (n := len(cell.search.networks(data.train.size))) < _FEWEST:
        yield (
            f"search has {n} networks for images of {data.train.size} px; give a grid of "
            f"{_FEWEST} at least, with depths that the images allow."
        )


def _nothing_to_run(
    recipe: Recipe, cells: Sequence[Cell], problems: Mapping[DataSource, str], shelf: Shelf
) -> str:
    """Which columns need which data, and how to get them."""
    needed: dict[str, list[str]] = {}
    told: dict[str, list[str]] = {}
    for cell in cells:
        columns = needed.setdefault(cell.data.source, [])
        if cell.column not in columns:
            columns.append(cell.column)
        problem, name = problems[cell.data], cell.data.source
        missing = shelf.look(cell.data).state == "missing"
        if not missing and problem not in told.get(name, ()):
            told.setdefault(name, []).append(problem)
    return nothing_to_run(recipe.name, needed, shelf.root, told)
