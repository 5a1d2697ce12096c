"""The results as a table on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dd_recipes.results import Results, duration, findings

__all__ = ["print_results"]


def print_results(results: Results, console: Console) -> None:
    """Prints the table, the time of the shared pool, verdicts and findings."""
    table = Table(title=results.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("method")
    table.add_column("images\na class", justify="right")
    table.add_column("accuracy % (n)", justify="right", style="bold")
    published = any(row.published for row in results.rows)
    if published:
        table.add_column("paper %", justify="right")
    table.add_column("time to\ndistil", justify="right")
    table.add_column("time for\nstudents", justify="right")
    for row in results.rows:
        paper = [f"{row.published.mean} ± {row.published.std}" if row.published else ""]
        table.add_row(
            row.label, str(row.ipc), row.accuracy, *(paper if published else []),
            duration(row.distill_seconds), duration(row.student_seconds),
        )  # fmt: skip
    console.print(table)
    for line in _notes(results):
        console.print(line, markup=False, highlight=False)


def _notes(results: Results) -> list[str]:
    notes = [
        "accuracy: test images right after the last epoch, mean ± standard deviation over n "
        "students"
    ]
    if results.pool_seconds is not None:
        notes.append(
            f"time: the extractors took {duration(results.pool_seconds)} once for all methods; "
            f"in all {duration(results.seconds)}"
        )
    for row in results.rows:
        if row.verdict and row.published:
            source = row.published.source
            notes.append(f"{row.label} against the paper, {row.verdict.text}; {source}")
            if row.published.note and row.published.comparable:
                notes.append(f"{row.published.note} Best epoch here: {row.best_accuracy}.")
    return [*notes, *(["", *findings(results)] if findings(results) else [])]
