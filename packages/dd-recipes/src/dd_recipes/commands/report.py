"""``dd-recipes report``."""

from __future__ import annotations

from pathlib import Path

import click

from dd_recipes.commands._finish import finish

__all__ = ["report"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def report(run: Path, as_json: bool) -> None:
    """Print the table of a run folder and write its report anew."""
    from dd_core.errors import UserError
    from dd_recipes.collect import collect_again
    from dd_recipes.measured import damage
    from dd_recipes.results import Results
    from dd_recipes.runfiles import read_json
    from dd_recipes.runfolder import RunFolder

    folder = RunFolder(run)
    folder.require_readable()
    if not (run / "results.json").exists():
        raise UserError(f"{run} has no complete cell yet; give the run's command again.")
    stored = read_json(run / "results.json")
    try:
        results = collect_again(Results.from_json(stored), folder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{run / 'results.json'} is damaged or of another version. The command of the run "
            "writes it anew."
        ) from error
    for row in results.rows:
        if why := damage(folder.cell(row.name)):
            click.echo(f"warning: {why}", err=True)
    finish(results, run, as_json=as_json)
