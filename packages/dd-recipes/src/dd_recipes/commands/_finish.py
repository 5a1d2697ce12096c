"""What the commands do with results: print them, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dd_recipes.results import Results

__all__ = ["finish"]


def finish(results: Results, folder: Path, *, as_json: bool) -> None:
    """Writes the report and prints the results.

    Args:
        results: A run's measurements.
        folder: The run folder.
        as_json: Print JSON in place of tables.
    """
    from dd_recipes.report import write_report

    try:  # first: whoever reads what is printed may stop, as 'head' does
        page = write_report(results, folder, warn=_warn)
    finally:  # a full disk hides no numbers
        _print(results, as_json=as_json)
    if not as_json:
        click.echo(f"\nreport: {page}\nfolder: {folder} (settings, log, distilled sets, figures)")


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _print(results: Results, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from dd_recipes.table import print_results

    if as_json:
        click.echo(json.dumps(results.as_json(), indent=2, ensure_ascii=False))
    else:
        print_results(results, Console())
