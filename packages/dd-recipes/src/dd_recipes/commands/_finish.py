"""What the commands do with results: print them, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dd_recipes.results import Results

__all__ = ["finish"]


def finish(results: Results, folder: Path, *, as_json: bool) -> None:
    """Prints the results and writes the report.

    Args:
        results: A run's measurements.
        folder: The run folder.
        as_json: Print JSON in place of tables.
    """
    import json

    from rich.console import Console

    from dd_recipes.report import write_report
    from dd_recipes.table import print_results

    if as_json:
        click.echo(json.dumps(results.as_json(), indent=2, ensure_ascii=False))
    else:
        print_results(results, Console())
    page = write_report(results, folder)  # last: a full disk hides no numbers
    if not as_json:
        click.echo(f"\nreport: {page}\nfolder: {folder} (settings, log, distilled sets, figures)")
