"""Runs a recipe in a folder, cell by cell; what was stopped goes on where it was.

Cells are independent. Each is computed by the process that holds its folder; pools of extractors
and small sets are shared by all cells that need the same. What a cell measured is not computed
again, and a cell that fails stops no other.
"""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dd_core.checkpoint import write_atomically
from dd_core.errors import DistillationError, UserError
from dd_core.events import Event, Listener, Message, ignore
from dd_core.memory import is_out_of_memory
from dd_core.runtime import Runtime, choose_runtime, environment
from dd_recipes.collect import collect, is_done
from dd_recipes.config import as_toml
from dd_recipes.forget import forget
from dd_recipes.helpers import Helpers
from dd_recipes.jobs import ALONE, BEGAN
from dd_recipes.measure import measure
from dd_recipes.measured import damage
from dd_recipes.phases import Bench
from dd_recipes.preflight import Plan, computation, plan_cells
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.results import Results
from dd_recipes.runfolder import (
    EventLog,
    RunFolder,
    held,
    read_json,
    readable,
    run_folder,
    write_json,
)
from dd_recipes.selection import cells_again, chosen_cells
from dd_recipes.shelf import Shelf
from dd_recipes.work import Work

__all__ = ["Hardware", "gather", "reproduce", "require_same"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the user asks of the hardware; ``auto`` leaves the choice to dd-core.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        compile: ``auto``, ``on`` or ``off``.
    """

    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"


@dataclass(frozen=True, slots=True)
class _Run:
    """What the loop over the cells needs."""

    recipe: Recipe
    plan: Plan
    bench: Bench
    began: float
    elsewhere: set[str] = field(default_factory=set)

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return self.bench.folder

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell has been measured."""
        return is_done(self.folder, cell, self.recipe.seed)


def reproduce(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path | None = None,
    hardware: Hardware | None = None,
    listen: Listener = ignore,
    command: Sequence[str] = (),
    cells: Sequence[str] = (),
    rerun: Sequence[str] = (),
    checkpoint_seconds: float = 5.0,
    began: float | None = None,
    helpers: Helpers | None = None,
) -> Results:
    """Runs the cells of a recipe, or goes on with them.

    Args:
        recipe: The recipe.
        out: Run folder; new, empty, or that of the same recipe, variant, budget and seed. Several
            processes may share it.
        data_root: Folder of the data sets, for recipes that need one.
        hardware: Wishes for device, precision and compile; a run that goes on keeps its own.
        listen: Receives every event.
        command: The command line, for the report; none where this process is one of a command's.
        cells: Names or patterns of the cells to run, by default all.
        rerun: Names or patterns of cells to compute anew; their small sets too, where no other
            cell shares them, and the pools never. What cells without data measured stays.
        checkpoint_seconds: Time between two stored states inside a phase.
        began: When the command began (`time.time`), where several processes run for it: cells
            that failed, or were computed anew, since then are left alone. By default what
            `dd_recipes.jobs.run_jobs` told this process, or now.
        helpers: Other processes, which share the distillations; from `dd_recipes.helpers.joined`.
            With them the run ends where a distillation fails.

    Returns:
        The measurements so far, also of earlier runs in the folder. `Results.failed` are cells
        that could not be measured although there were data; the next run tries them again.

    Raises:
        UserError: The folder, a name, the data of all cells, or a wish does not fit.
        OSError: The disk is full.
    """
    began = float(os.environ.get(BEGAN, time.time())) if began is None else began
    again, chosen = cells_again(recipe, rerun), chosen_cells(recipe, cells, rerun)
    embedded = {cell.data.source == "embedded" for cell in recipe.cells}
    folder, shelf = run_folder(out), Shelf(data_root, listen, mixed=len(embedded) > 1)
    names = {cell.name for cell in again}
    kept = [cell for cell in recipe.cells if cell.name not in names]
    done = {cell.name for cell in kept if is_done(folder, cell, recipe.seed)}
    identity = _identity(recipe)
    require_same(recipe, out, rerun)
    plan = plan_cells(recipe, chosen, done, shelf)
    seen = {c.name: computation(c, recipe.seed, shelf.known(c.data)) for c in recipe.cells}
    asked = {k: v for k, v in seen.items() if k not in names}
    folder.require_same(identity, asked)
    with folder.guarded():
        folder.require_same(identity, asked)
        runtime = _runtime(folder, identity, hardware or Hardware())
        _write_settings(folder, recipe, command)
        possible = [cell for cell in again if cell in plan.cells]
        forget(recipe, folder, possible, seen, began)
    with _logged(folder, listen) as both:
        both(Message(runtime.summary))
        helpers = helpers or Helpers()
        if (n := helpers.ranks.size) > 1:
            both(Message(f"{n} processes share the classes of each distillation"))
        bench = Bench(folder, recipe.seed, runtime, both, checkpoint_seconds, shelf, helpers)
        return _cells(_Run(recipe, plan, bench, began))


def require_same(recipe: Recipe, out: Path, rerun: Sequence[str] = ()) -> None:
    """Refuses a folder with another run, or with other settings of the cells that stay.

    Args:
        recipe: The recipe.
        out: The run folder.
        rerun: Names or patterns of cells that are computed anew.

    Raises:
        UserError: The folder is not a run folder, or not of this run.
    """
    again = cells_again(recipe, rerun)
    kept = [cell for cell in recipe.cells if cell not in again]
    settings = {cell.name: computation(cell, recipe.seed, None) for cell in kept}
    run_folder(out).require_same(_identity(recipe), settings)


def gather(recipe: Recipe, out: Path, command: Sequence[str] = ()) -> Results:
    """Puts together what other processes measured, and stores it; nothing is computed.

    Needs neither the data nor the hardware of the run.

    Args:
        recipe: The recipe.
        out: Its run folder.
        command: The command line, for the report.

    Raises:
        UserError: It is no run folder.
    """
    folder = run_folder(out)
    folder.require_readable()
    stored = readable(out / "results.json").get("rows", [])
    why_not = {row["name"]: row["note"] for row in stored if row["status"] == "not run"}
    elsewhere = {c.name for c in recipe.cells if _is_taken(folder.cell(c.name))}
    runtime = Runtime.from_record(read_json(out / "run.json")["runtime"])
    with folder.guarded():
        _write_command(folder, command)
    return _store(recipe, folder, runtime, why_not, elsewhere)


def _is_taken(cell: Path) -> bool:
    """Whether a process is measuring a cell."""
    if not cell.exists():
        return False
    with held(cell) as ours:
        return not ours


def _identity(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.name, "variant": recipe.variant, "budget": recipe.budget,
        "seed": recipe.seed,
    }  # fmt: skip


def _cells(run: _Run) -> Results:
    """Computes the cells that are missing; those that are held are looked at again at the end."""
    listen = run.bench.listen
    for cell in run.recipe.cells:
        if why := damage(run.folder.cell(cell.name)):
            listen(Message(why, "warning"))
    for why in dict.fromkeys(run.plan.not_run.values()):
        names = ", ".join(name for name, given in run.plan.not_run.items() if given == why)
        listen(Message(f"not run: {names}: {why}", "warning"))
    cells = list(_now(run))
    complete = [cell.name for cell in cells if run.is_done(cell)]
    if complete and len(complete) < len(cells):
        listen(Message(f"already complete: {', '.join(complete)}"))
    for cell in _attempt_all(run, _attempt_all(run, cells)):
        listen(Message(f"{cell.name} is being measured by another process"))
        run.elsewhere.add(cell.name)
    return _store_results(run)


def _attempt_all(run: _Run, cells: Sequence[Cell]) -> list[Cell]:
    """Measures cells as far as they are still to do; returns those that another process holds."""
    passed_over = []
    for cell in cells:
        if run.bench.helpers.lost:
            text = (
                "the run ends here: after an error nobody knows what the other processes wait for"
            )
            run.bench.listen(Message(text, "warning"))
            return []
        if not _attempt(run, cell):
            passed_over.append(cell)
    return passed_over


def _now(run: _Run) -> Iterator[Cell]:
    """The cells that this process may measure now.

    Where several processes of a machine run for one command, speed is left to the one that comes
    after them.
    """
    shared = BEGAN in os.environ and ALONE not in os.environ
    for cell in run.plan.cells:
        if cell.measure == "speed" and shared and not run.is_done(cell):
            text = f"{cell.name} is left for the end, when no other process computes"
            run.bench.listen(Message(text))
        else:
            yield cell


def _attempt(run: _Run, cell: Cell) -> bool:
    """Measures a cell, if that is still to do; False where another process holds it."""
    if _is_settled(run, cell):
        return True
    with held(run.folder.cell(cell.name)) as ours:
        if not ours:
            return False
        if not _is_settled(run, cell):
            _measure(run, cell)
    _store_results(run)
    return True


def _is_settled(run: _Run, cell: Cell) -> bool:
    """Whether a cell is complete, or failed since this run began."""
    failed = readable(run.folder.cell(cell.name) / "failed.json")
    return run.is_done(cell) or float(failed.get("time", 0)) > run.began


def _measure(run: _Run, cell: Cell) -> None:
    """Measures a cell in its folder, or writes down why it failed."""
    folder = run.folder.cell(cell.name)
    images = run.bench.shelf.images(cell.data)
    asked = computation(cell, run.recipe.seed, images)
    if readable(folder / "cell.json") != asked:
        run.folder.require_same({}, {cell.name: asked})
        (folder / "measured.json").unlink(missing_ok=True)  # of what, nobody knows
        write_json(folder / "cell.json", asked)
    (folder / "failed.json").unlink(missing_ok=True)
    try:
        keys = (images.split("/")[0], run.recipe.seed, asked.get("start", ""))
        measure(run.bench, Work(cell, *keys, data=run.bench.shelf.load(cell.data)))
    except Exception as error:
        if not _is_failure(error):
            raise
        text = str(error) or type(error).__name__
        run.bench.listen(Message(f"{cell.name} failed: {text}", "warning"))
        failed = {"time": time.time(), "kind": type(error).__name__, "message": text}
        write_json(folder / "failed.json", failed)


def _is_failure(error: Exception) -> bool:
    """Whether an error is of one cell, so that the others can go on."""
    if isinstance(error, OSError):
        return error.errno not in _FULL
    return isinstance(error, DistillationError) or is_out_of_memory(error)


def _store_results(run: _Run) -> Results:
    """Puts together what all processes measured, and stores it."""
    return _store(run.recipe, run.folder, run.bench.runtime, run.plan.not_run, run.elsewhere)


def _store(
    recipe: Recipe, folder: RunFolder, runtime: Runtime, why_not: Mapping[str, str], at: set[str]
) -> Results:
    with folder.guarded():
        results = collect(recipe, folder, runtime.summary, why_not=why_not, elsewhere=at)
        write_json(folder.path / "results.json", results.as_json())
    return results


def _runtime(folder: RunFolder, identity: dict[str, Any], wish: Hardware) -> Runtime:
    """Chooses the runtime of a new run, or takes that of the run in the folder."""
    if folder.is_new:
        runtime = choose_runtime(wish.device, wish.precision, wish.compile)
        folder.create(identity, runtime.as_record())
        return runtime
    began = Runtime.from_record(read_json(folder.path / "run.json")["runtime"])
    compile_ = "on" if began.compile else "off"
    fresh = choose_runtime(began.device_name, began.precision, compile_)
    if fresh.compile != began.compile:
        raise UserError(
            f"{folder.path} holds a run that used torch.compile, which does not work here now. "
            "Mend the compiler, or give another folder with --out."
        )
    wished_compile = wish.compile
    if wished_compile == "on" and not choose_runtime(began.device_name, compile="on").compile:
        wished_compile = "auto"  # where no compiler works, "on" means eager too
    for name, wished, there in (
        ("--device", wish.device, began.device_name),
        ("--precision", wish.precision, began.precision),
        ("--compile", wished_compile, compile_),
    ):
        if wished not in ("auto", there):
            raise UserError(
                f"{folder.path} holds a run with {name} {there}, and {wished} was asked for; "
                f"leave {name} out to go on, or give another folder with --out."
            )
    return replace(began, threads=fresh.threads)


def _write_settings(folder: RunFolder, recipe: Recipe, command: Sequence[str]) -> None:
    """Writes what ran: the recipe as TOML, which runs again, and the environment."""
    write_json(folder.path / "config.json", recipe.tables())
    write_atomically(folder.path / "config.toml", as_toml(recipe).encode())
    _write_command(folder, command)


def _write_command(folder: RunFolder, command: Sequence[str]) -> None:
    """Writes the environment, and beside it the command, after those that made the run so far."""
    path, line = folder.path / "environment.json", shlex.join(command)
    known = readable(path) or environment()
    commands = str(known.get("command", "")).splitlines()
    if line and line not in commands:  # a run may be put together by several, with other --cells
        commands.append(line)
    write_json(path, {**known, "command": "\n".join(commands)})


@contextmanager
def _logged(folder: RunFolder, listen: Listener) -> Iterator[Listener]:
    log = EventLog.of_process(folder.path)

    def both(event: Event) -> None:
        log(event)
        listen(event)

    try:
        yield both
    finally:
        log.close()
