"""The results as a table on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from dd_recipes.paper import Reference
from dd_recipes.results import Results, Row, duration, findings

__all__ = ["print_results"]

_UNLIMITED = 10_000
_MOST_NOTED = 8
# Whether times are shown, and the width of names: the first that fits is taken.
_LAYOUTS = ((True, _UNLIMITED), (False, _UNLIMITED), (False, 24), (False, 12))
_SHORT = {"running elsewhere": "elsewhere", "missing": "–"}


def print_results(results: Results, console: Console) -> None:
    """Prints the table, times, verdicts, claims and findings.

    Rows are methods and columns those of the paper's table, with the published value below the
    measured one. Where that is wider than the console, or there is one column only, each cell has
    a line of its own, without a table where even this is too wide.
    """
    columns = [name for name in results.columns if any(r.column == name for r in results.rows)]
    grid = _grid(results, columns)
    rows_of = Counter((row.row, row.column) for row in results.rows)
    alone = max(rows_of.values(), default=0) == 1
    if len(columns) > 1 and alone and _fits(grid, console):
        console.print(grid)
        brackets = any(row.published for row in results.rows)
    else:
        many, brackets = len(columns) > 1, False
        narrow = _narrowest(results, console, many=many)
        if narrow is not None:
            console.print(narrow)
        else:
            for line in _plain(results, many=many):
                console.print(line, markup=False, highlight=False)
    for line in _notes(results, brackets=brackets):
        console.print(line, markup=False, highlight=False)


def _grid(results: Results, columns: list[str]) -> Table:
    """Methods by columns."""
    table = _titled(results)
    table.add_column("method")
    for column in columns:
        table.add_column(escape(column), justify="right")
    rows = {(row.row, row.column): row for row in results.rows}
    for name in dict.fromkeys(row.row for row in results.rows):
        table.add_row(escape(name), *(_stacked(rows.get((name, column))) for column in columns))
    for name, values in _references(results).items():
        shown = [values[column].text if column in values else "" for column in columns]
        table.add_row(f"{escape(name)} (paper)", *shown, style="dim")
    return table


def _narrowest(results: Results, console: Console, *, many: bool) -> Table | None:
    """A line for each cell, with as many figures as fit; None where the names alone do not."""
    for times, name_width in _LAYOUTS:
        table = _lines(results, many=many, times=times, name_width=name_width)
        if _fits(table, console):
            return table
    return None


def _plain(results: Results, *, many: bool) -> Iterator[str]:
    """A sentence for each cell, for consoles that are too narrow for a table."""
    yield f"{_title(results)}\n"
    for row in _shown(results):
        measured = row.accuracy if row.done else row.status
        paper = f"; paper {_published(row)}" if row.published else ""
        yield f"{row.row}{f', {row.column}' if many else ''}: {measured}{paper}"
    for (name, column), text in _published_alone(results).items():
        yield f"{name} (paper){f', {column}' if many else ''}: {text}"
    yield ""


def _fits(table: Table, console: Console) -> bool:
    """Whether the table needs no more than the console's width."""
    unlimited = console.options.update(max_width=_UNLIMITED)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _lines(results: Results, *, many: bool, times: bool, name_width: int) -> Table:
    rows, references = _shown(results), _published_alone(results)
    published = any(row.published for row in rows) or bool(references)
    table = _titled(results)
    table.add_column("method")
    if many:
        table.add_column("column")
    table.add_column("images\na class", justify="right", no_wrap=True)
    unit = "measured" if any(row.unit != "%" for row in rows) else "accuracy % (n)"
    table.add_column(unit, justify="right", style="bold", no_wrap=True)
    if published:
        table.add_column("paper", justify="right", no_wrap=True)
    if times:
        table.add_column("time to\ndistil", justify="right", no_wrap=True)
        table.add_column("time for\nstudents", justify="right", no_wrap=True)
    for row in rows:
        paper = [_published(row)] if published else []
        took = [duration(row.distill_seconds), duration(row.student_seconds)] if times else []
        where = [_name_in(row.column, name_width)] if many else []
        measured = row.accuracy if row.done else _SHORT.get(row.status, row.status)
        table.add_row(_name_in(row.row, name_width), *where, str(row.ipc), measured, *paper, *took)
    for (name, column), text in references.items():
        where = [_name_in(column, name_width)] if many else []
        name = _name_in(f"{name} (paper)", name_width)
        table.add_row(name, *where, "", "", text, style="dim")
    return table


def _shown(results: Results) -> list[Row]:
    """The rows that have a line: where nothing else is there, those that are missing too."""
    return [row for row in results.rows if row.status != "missing"] or list(results.rows)


def _published_alone(results: Results) -> dict[tuple[str, str], str]:
    """Published values that were not measured, by row and column, in the columns shown."""
    columns = {row.column for row in _shown(results)}
    return {
        (name, column): value.text
        for name, values in _references(results).items()
        for column, value in values.items()
        if column in columns
    }


def _name_in(name: str, width: int) -> str:
    """A name in lines of this width, as far as its words allow."""
    return escape("\n".join(wrap(name, width, break_long_words=False)))


def _titled(results: Results) -> Table:
    return Table(
        title=escape(_title(results)),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )


def _title(results: Results) -> str:
    budget = "" if results.budget == "full" else f" ({results.budget} budget)"
    return f"{results.title}{budget}"


def _references(results: Results) -> dict[str, dict[str, Reference]]:
    rows: dict[str, dict[str, Reference]] = {}
    for each in results.references:
        rows.setdefault(each.row, {})[each.column] = each
    return rows


def _stacked(row: Row | None) -> str:
    """The measured value, and the published one below it in brackets."""
    if row is None:
        return ""
    measured = f"[bold]{row.value}[/]" if row.done else _SHORT.get(row.status, row.status)
    return f"{measured}\n\\[{_published(row)}]" if row.published else measured


def _published(row: Row) -> str:
    if row.published is None:
        return ""
    return row.published.text + ("" if row.published.unit == "%" else f" {row.published.unit}")


def _notes(results: Results, *, brackets: bool) -> Iterator[str]:
    if any(row.done and row.unit == "%" for row in results.rows):
        paper = "; in brackets the paper's" if brackets else ""
        yield (
            "accuracy: percent of test images right after the last epoch, mean ± standard "
            f"deviation over n students{paper}"
        )
    if results.changed:
        yield f"changed by --set: {', '.join(results.changed)}"
    trained = ""
    if results.pool_seconds is not None:
        took = duration(results.pool_seconds)
        trained = f"the extractors took {took} once for all that share them; "
    if results.done:
        yield f"time: {trained}in all {duration(results.seconds)}"
    yield from _unmeasured(results)
    yield from _against_paper(results)
    for claim, verdict in results.verdicts:
        if verdict.difference is not None or results.complete:
            yield f"claim ({claim.source}): {_sentence(claim.text)} Measured: {verdict.text}"
    for row in results.done:
        if row.speed:
            yield f"{_name(row, results)}: {row.speed}"
    if found := findings(results):
        yield ""
        yield from found


def _unmeasured(results: Results) -> Iterator[str]:
    """What failed or has no data, cells with one reason together."""
    for status in ("failed", "not run"):
        rows = [row for row in results.rows if row.status == status]
        for note in dict.fromkeys(row.note for row in rows):
            names = ", ".join(row.name for row in rows if row.note == note)
            yield f"{status}: {names}: {note}"
    missing = sum(row.status == "missing" for row in results.rows)
    elsewhere = sum(row.status == "running elsewhere" for row in results.rows)
    if missing:
        yield f"{missing} of {len(results.rows)} cells have not been measured yet"
    if elsewhere:
        yield f"{elsewhere} of {len(results.rows)} cells are being measured by other processes"


def _against_paper(results: Results) -> Iterator[str]:
    judged = [row for row in results.done if row.verdict is not None]
    if len(judged) > 1:
        counts = Counter(row.verdict.word for row in judged if row.verdict)
        words = ", ".join(f"{count} {word}" for word, count in counts.items())
        yield f"against the paper: {words}"
    for row in judged:
        if row.verdict is None or row.published is None:
            continue
        yield f"{_name(row, results)} against the paper, {row.verdict.text}; {row.published.source}"
        if len(judged) <= _MOST_NOTED:
            told = row.verdict.reason == row.published.note
            note = "" if told else _sentence(row.published.note)
            best = f"Best epoch here: {row.best_accuracy}." if row.best else ""
            if note or best:
                yield f"{note} {best}".strip()


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _name(row: Row, results: Results) -> str:
    """The method, with its column where there are several."""
    several = len({each.column for each in results.rows}) > 1
    return f"{row.row}, {row.column}" if several else row.row
