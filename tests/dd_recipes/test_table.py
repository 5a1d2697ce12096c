from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from dd_recipes.paper import PublishedValue
from dd_recipes.results import Results, Row
from dd_recipes.table import print_results

ROWS = (
    Row("random real", "real", "random", "", 1, 1, 1, (60.0, 62.0), (61.0, 63.0), None, 5.0),
    Row("NCFM", "ncfm", "distill", "", 1, 2, 4, (49.4, 49.8), (50.0, 50.2), 75.0, 7.0),
)
RESULTS = Results("name", "A title", 0, "data", ("a", "b"), 100, 50, "cpu", 12.0, ROWS, 2)


def printed(results: Results, width: int = 80) -> str:
    target = StringIO()
    print_results(results, Console(file=target, width=width))
    return target.getvalue()


def test_the_table_shows_accuracy_and_every_time() -> None:
    text = printed(RESULTS)
    for part in (
        "A title",
        "random real",
        "61.0 ± 1.4 (2)",
        "1 min 15 s",
        "extractors took 12.0 s",
    ):
        assert part in text
    assert "paper" not in text


def test_it_fits_80_columns() -> None:
    published = PublishedValue(49.5, 0.3, 10, "NCFM, Table 1", "Best epoch.")
    text = printed(replace(RESULTS, rows=(ROWS[0], replace(ROWS[1], published=published))))
    assert "…" not in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_published_values_come_with_a_verdict() -> None:
    published = PublishedValue(49.5, 0.3, 10, "NCFM, Table 1", "Best epoch.")
    text = printed(replace(RESULTS, rows=(ROWS[0], replace(ROWS[1], published=published))), 200)
    assert "49.5 ± 0.3" in text
    assert "NCFM against the paper, reproduced: +0.1 points" in text
    assert "Best epoch. Best epoch here: 50.1 ± 0.1 (2)." in text


def test_without_a_pool_no_pool_is_mentioned() -> None:
    assert "extractors" not in printed(replace(RESULTS, pool_seconds=None))
