"""Writes docs/reproductions.md from the result files in reproductions/.

    python tools/reproductions.py add RUN [--note WORDS]   # takes the results of a run folder
    python tools/reproductions.py                          # writes the page anew
    python tools/reproductions.py --check                  # exit code 1 where the page is old

A result file is what a run measured (results.json) with its environment, as it was; the page says
nothing that is not in one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dd_recipes.catalog import entries
from dd_recipes.results import Results
from dd_recipes.rows import Row, duration

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "reproductions"
PAGE = ROOT / "docs" / "reproductions.md"
HEAD = """# Reproductions

What was run with these packages, on what, and what came out. This page is written by
`tools/reproductions.py` from the result files in the folder `reproductions` of the repository;
nothing in it is typed by hand but the notes.

When you compare with a paper, look at these first:

- Our result is the accuracy at the last epoch of training the students. The NCFM code reports the
  best of the tested epochs; that column is chosen on the test images and stands here only for
  comparison.
- The *cpu* budget uses fewer and shorter trained extractors, fewer iterations and shorter trained
  students than the papers. Such cells are not judged: the word is *not comparable*.
- The deviation is that over the students of one distilled set. It does not cover another
  distillation.
- The supplement of NCFM and the tables of the CSDM and DDM papers could not be obtained; what only
  they define cannot be reproduced.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "add":
        _add(options.run, options.note)
    text = page()
    if options.check:
        if PAGE.read_text("utf-8") == text:
            return 0
        print(f"{PAGE} is not up to date; run python tools/reproductions.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


def page() -> str:
    """The page that the result files make."""
    files = sorted(FOLDER.glob("*.json"))
    tables = _tables([json.loads(path.read_text("utf-8")) for path in files])
    lines = (line for table in tables for line in table.lines())
    return "\n".join([HEAD, *_overview(tables), *lines]) + "\n"


def _overview(tables: list[_Table]) -> Iterator[str]:
    """Which cells of which recipe were measured."""
    yield "## Recipes\n"
    yield "| recipe | title | measured here |"
    yield "|---|---|---|"
    for entry in entries():
        found = [t.results for t in tables if t.results.recipe == entry.name]
        words = "; ".join(map(_measured, found)) or "nothing yet"
        yield f"| `{entry.name}` | {entry.title} | {words} |"
    yield ""


def _measured(results: Results) -> str:
    return (
        f"{len(results.done)} of {len(results.rows)} cells, {results.variant} variant, "
        f"{results.budget} budget{_changes(results)}"
    )


def _changes(results: Results) -> str:
    """What ``--set`` changed, in words that follow the budget."""
    changed = ", ".join(f"`{each}`" for each in results.changed)
    return f" with changed {changed}" if changed else ""


def _tables(records: list[dict[str, Any]]) -> list[_Table]:
    """One table a recipe, variant and budget; runs of the same settings fill one together."""
    tables: dict[tuple[Any, ...], _Table] = {}
    for record in records:
        results = Results.from_json(record["results"])
        key = (results.recipe, results.variant, results.budget, results.seed, results.changed)
        tables.setdefault(key, _Table([])).runs.append((results, record))
    for table in tables.values():
        table.runs.sort(key=lambda run: run[1]["begun"])
    return list(tables.values())


@dataclass(frozen=True, slots=True)
class _Table:
    """The runs whose cells make one table, the earliest first, each with its record."""

    runs: list[tuple[Results, dict[str, Any]]]

    @property
    def results(self) -> Results:
        """The latest run's, with what it did not measure from earlier ones."""
        *earlier, (latest, _) = self.runs
        rows = list(latest.rows)
        for results, _ in reversed(earlier):
            known = {row.name: row for row in results.done}
            rows = [row if row.done else known.get(row.name, row) for row in rows]
        return replace(latest, rows=tuple(rows))

    def lines(self) -> Iterator[str]:
        """Table, verdicts and claims; runtime, note, time and command of each run."""
        results = self.results
        yield f"## {results.title}\n"
        yield (
            f"Recipe `{results.recipe}`, variant {results.variant}, {results.budget} budget"
            f"{_changes(results)}, seed {results.seed}.\n"
        )
        yield from self._rows(results)
        yield ""
        left = [row for row in results.rows if not row.done]
        if left:
            yield f"Not measured: {len(left)} of {len(results.rows)} cells.\n"
        for claim, verdict in results.verdicts:
            yield f"Claim “{claim.text}” ({claim.source}): **{verdict.text}**\n"
        for number, (run, record) in enumerate(self.runs, 1):
            name = f"Run {number}, begun" if len(self.runs) > 1 else "Begun"
            yield f"{name} {record['begun'][:10]}. {run.runtime}.\n"
            if record["note"]:
                yield f"{record['note']}\n"
            pools = run.pool_seconds
            extractors = f"The extractors took {duration(pools)}; all" if pools else "All"
            yield f"{extractors} phases together {duration(run.seconds)}.\n"
            commands = "\n".join(map(_broken, record["environment"]["command"].splitlines()))
            yield f"```bash\n{commands}\n```\n"

    def _rows(self, results: Results) -> Iterator[str]:
        """What was measured, and in which run where there are several."""
        lines = list(_table(results))
        if len(self.runs) == 1:
            yield from lines
            return
        yield f"| run {lines[0]}"
        yield f"|--:{lines[1]}"
        for row, line in zip(results.done, lines[2:], strict=True):
            number = max(n for n, (run, _) in enumerate(self.runs, 1) if row in run.done)
            yield f"| {number} {line}"


def _table(results: Results) -> Iterator[str]:
    """What was measured; with the paper's columns where a cell has a published value."""
    # Cells of other images a class than the paper's are other cells than the published ones.
    published = "synthetic.ipc" not in results.changed and any(r.published for r in results.done)
    best = any(row.best not in ((), row.last) for row in results.done)  # else it says nothing
    head = " best epoch |" * best + " paper | verdict |" * published
    yield f"| cell | measured, last epoch (n) |{head} distillation | students |"
    yield f"|---|--:|{'--:|' * best}{'--:|---|' * published}--:|--:|"
    yield from (_line(row, len(results.columns) > 1, best, published) for row in results.done)


def _line(row: Row, several: bool, best: bool, published: bool) -> str:
    name = f"{row.row}: `{row.name}`" if several else row.row
    value = row.published.text if row.published else ""
    verdict = row.verdict.text if row.published and row.verdict else ""
    paper = f" {value} | {verdict} |" if published else ""
    times = f"{duration(row.distill_seconds)} | {duration(row.student_seconds)}"
    best_epoch = f" {row.best_accuracy} |" if best else ""
    return f"| {name} | {row.accuracy} |{best_epoch}{paper} {times} |"


_WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+""")


def _broken(command: str) -> str:
    """A command of a shell with every option on a line of its own."""
    words = _WORD.findall(command)
    return "".join(f" \\\n  {w}" if w.startswith("--") else f" {w}" for w in words).lstrip()


def _add(run: Path, note: str) -> None:
    results = json.loads((run / "results.json").read_text("utf-8"))
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    name = "-".join((results["recipe"], results["variant"], results["budget"]))
    begun = json.loads((run / "run.json").read_text("utf-8"))["created"]
    record = {"note": note, "begun": begun, "results": results, "environment": environment}
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    _file(name, begun).write_text(f"{text}\n", "utf-8")


def _file(name: str, begun: str) -> Path:
    """The run's own result file where it has one, else the next that is free."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    paths = (FOLDER / f"{each}.json" for each in names)
    return next(
        path for path in paths
        if not path.exists() or json.loads(path.read_text("utf-8"))["begun"] == begun
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Writes docs/reproductions.md.")
    parser.add_argument("command", nargs="?", choices=["add"], help="take a run's results")
    parser.add_argument("run", nargs="?", type=Path, help="run folder")
    parser.add_argument("--note", default="", help="words for the page")
    parser.add_argument("--check", action="store_true", help="only compare")
    return parser


if __name__ == "__main__":
    sys.exit(main())
