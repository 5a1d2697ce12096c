"""What ``reproduce --cluster`` does where jobs are submitted: it waits, and puts them together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dd_recipes.recipe import Cell, Recipe
    from dd_recipes.results import Results

__all__ = ["Jobs"]

_STALE_SECONDS = 60.0  # for as long a network file system may show a folder as it was
_LOOK_SECONDS = 5.0


@dataclass
class Jobs:
    """Jobs of a cluster that measure cells of a recipe in one folder.

    Attributes:
        recipe: The recipe.
        folder: The run folder.
        cells: Patterns of --cells.
        rerun: Patterns of --rerun.
        began: When the command began.
        code: The worst exit code of the jobs, once they have ended.
    """

    recipe: Recipe
    folder: Path
    cells: tuple[str, ...]
    rerun: tuple[str, ...]
    began: float
    code: int = 0

    def run(self, n: int, arguments: Sequence[str], cluster: str, options: Sequence[str]) -> None:
        """Submits n jobs and waits for them.

        Raises:
            KeyboardInterrupt: The command was stopped, and with it the jobs.
            UserError: The cluster does not take them, or none of them began the run.
        """
        from dd_core.errors import UserError
        from dd_recipes.cluster import logs_of, parse_options, run_on_cluster
        from dd_recipes.runner import require_same

        require_same(self.recipe, self.folder, self.rerun)  # before jobs stand in a queue for it
        self.code = run_on_cluster(
            n, arguments, cluster=cluster, options=parse_options(options), folder=self.folder,
            began=self.began, watch=self._counting(),
        )  # fmt: skip
        if self.code and not (self.folder / "run.json").exists():
            where = logs_of(self.folder)
            raise UserError(f"No job began the run. What they printed is in {where}.")

    def results(self, command: Sequence[str]) -> Results:
        """What all processes measured in the folder; here nothing is computed.

        Args:
            command: The command line, for the report.
        """
        from dd_recipes.runner import gather

        until = time.monotonic() + (0.0 if self.code else _STALE_SECONDS)
        found = gather(self.recipe, self.folder, command)
        while self._left(found) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            found = gather(self.recipe, self.folder, command)
        return found

    def say_left(self, results: Results) -> int:
        """Says which of its cells nobody measured; the exit code that follows."""
        left = self._left(results)
        if not left:
            return 0
        again = "the same command without --rerun" if self.rerun else "the same command"
        on = "what the jobs said stands above" if self.code == 2 else f"{again} goes on"
        text = f"not measured, since jobs ended before: {', '.join(left)}; {on}"
        click.echo(text, err=True)
        return 2 if self.code == 2 else 1

    def _left(self, results: Results) -> list[str]:
        """Names of cells that the jobs were for and that nothing is known of."""
        status = {row.name: row.status for row in results.rows}
        open_ = [c.name for c in self._chosen() if status[c.name] in ("missing", "done")]
        measured = self._measured()
        return [name for name in open_ if name not in measured]

    def _chosen(self) -> tuple[Cell, ...]:
        from dd_recipes.selection import chosen_cells

        return chosen_cells(self.recipe, self.cells, self.rerun)

    def _measured(self) -> set[str]:
        """Names of the cells that are measured; those of --rerun, since the command began."""
        from dd_recipes.collect import measured
        from dd_recipes.runfolder import RunFolder
        from dd_recipes.selection import cells_again

        folder = RunFolder(self.folder)
        again = {cell.name for cell in cells_again(self.recipe, self.rerun)}
        found = {c.name: measured(folder, c, self.recipe.seed) for c in self._chosen()}
        return {
            name
            for name, values in found.items()
            if values and (name not in again or float(values.get("time", 0.0)) >= self.began)
        }

    def _counting(self) -> Callable[[], None]:
        """What says, whenever it is called, how many cells are measured, if that has changed."""
        all_, said = len(self._chosen()), -1

        def count() -> None:
            nonlocal said
            n = len(self._measured())
            if n != said:
                said = n
                click.echo(f"{n} of {all_} cells are measured", err=True)

        return count
