from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from dd_recipes.paper import Claim, PublishedValue, Reference
from dd_recipes.results import Results, Row
from dd_recipes.table import print_results
from dd_recipes.verdict import judge, not_run

PAPER = PublishedValue(49.5, "NCFM, Table 1", 0.3, 10, note="Best epoch.")


def row(name: str, method: str, column: str, *last: float, paper: bool = False) -> Row:
    made = Row(
        name, method, column, "distill" if method != "real" else "random", status="done",
        last=last, best=tuple(value + 0.5 for value in last), student_seconds=7.0, set=name,
        distill_seconds=75.0 if method != "real" else None, test_images=100, ipc=10,
    )  # fmt: skip
    if not paper:
        return made
    return replace(made, published=PAPER, verdict=judge(made.mean, made.std, made.n, PAPER))


ONE = Results(
    "name", "A title", "best", "full", 0, "cpu", 12.0,
    (row("real", "real", "10", 60.0, 62.0), row("ncfm", "NCFM", "10", 49.4, 49.8)), ("10",),
)  # fmt: skip
CELLS = tuple(
    row(f"{method}-{column}".lower(), method, column, 49.4, 49.8, paper=method == "NCFM")
    for method in ("real", "NCFM")
    for column in ("CIFAR-10, 1", "CIFAR-10, 10", "CIFAR-10, 50")
)
MANY = replace(
    ONE, rows=CELLS, columns=("CIFAR-10, 1", "CIFAR-10, 10", "CIFAR-10, 50"),
    references=(Reference("MTT", "CIFAR-10, 1", 46.3, 0.8), Reference("MTT", "CIFAR-10, 50", 71.6)),
)  # fmt: skip


def printed(results: Results, width: int = 80) -> str:
    target = StringIO()
    print_results(results, Console(file=target, width=width))
    return target.getvalue()


def table_of(text: str) -> list[str]:
    return text.partition("accuracy: ")[0].splitlines()


def test_one_column_shows_accuracy_and_every_time() -> None:
    text = printed(ONE)
    for part in ("A title", "real", "61.0 ± 1.4 (2)", "1 min 15 s", "extractors took 12.0 s"):
        assert part in text
    assert "against the paper" not in text and "brackets" not in text


def test_many_columns_make_the_papers_table() -> None:
    lines = table_of(printed(MANY))
    heading = next(line for line in lines if "method" in line)
    assert heading.split("  ")[0] == "" and heading.count("CIFAR-10") == 3
    ncfm = next(i for i, line in enumerate(lines) if "NCFM" in line)
    assert lines[ncfm].count("49.6 ± 0.3") == 3
    assert lines[ncfm + 1].count("[49.5 ± 0.3]") == 3
    mtt = next(line for line in lines if "MTT (paper)" in line)
    assert "46.3 ± 0.8" in mtt and "71.6" in mtt
    assert "brackets" in printed(MANY)


def test_a_table_that_is_too_wide_has_a_line_a_cell() -> None:
    wide = [f"a data set with a long name, {number}" for number in range(4)]
    cells = [replace(cell, column=wide[i % 4]) for i, cell in enumerate((*CELLS, *CELLS[:2]))]
    text = printed(replace(MANY, rows=tuple(cells), columns=tuple(wide), references=()))
    assert text.count("49.6 ± 0.3 (2)") == 8
    # The same method twice in a column, as in an ablation, has lines of its own too.
    twice = replace(MANY, rows=(*CELLS, replace(CELLS[0], name="again")))
    assert printed(twice).count("49.6 ± 0.3 (2)") == 7


@pytest.mark.parametrize("results", [ONE, MANY, replace(MANY, columns=MANY.columns[::-1])])
def test_it_fits_80_columns(results: Results) -> None:
    rows = tuple(replace(r, published=PAPER) if r.row == "NCFM" else r for r in results.rows)
    text = printed(replace(results, rows=rows))
    assert "…" not in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("width", [24, 40, 56])
@pytest.mark.parametrize("results", [ONE, MANY])
def test_a_narrow_console_cuts_neither_names_nor_numbers(results: Results, width: int) -> None:
    shown = " ".join(table_of(printed(results, width)))
    words = " ".join(shown.split())
    assert "…" not in words
    for row in results.rows:
        assert row.row in words
        assert results is ONE or row.column in words
    assert words.count("49.6 ± 0.3 (2)") == (1 if results is ONE else 6)
    assert results is ONE or (words.count("49.5 ± 0.3") == 3 and "46.3 ± 0.8" in words)


def test_published_values_come_with_a_verdict() -> None:
    rows = (ONE.rows[0], row("ncfm", "NCFM", "10", 49.4, 49.8, paper=True))
    text = printed(replace(ONE, rows=rows), 200)
    assert "49.5 ± 0.3" in text
    assert "NCFM against the paper, undecided: +0.1 points" in text  # two students: 2.5 wide
    assert "Best epoch. Best epoch here: 50.1 ± 0.3 (2)." in text
    text = printed(MANY, 200)
    assert "against the paper: 3 undecided" in text
    assert "NCFM, CIFAR-10, 50 against the paper" in text


def test_what_was_not_measured_says_why() -> None:
    rows = (
        ONE.rows[0],
        replace(ONE.rows[1], status="failed", note="the loss is NaN", last=(), published=PAPER,
                verdict=not_run("it failed")),
        replace(ONE.rows[1], name="far", row="far", status="not run", note="CIFAR-10 is missing"),
        replace(ONE.rows[1], name="off", row="off", status="running elsewhere"),
        replace(ONE.rows[1], name="later", row="later", status="missing"),
    )  # fmt: skip
    text = printed(replace(ONE, rows=rows), 200)
    assert "failed: ncfm: the loss is NaN" in text
    assert "not run: far: CIFAR-10 is missing" in text
    assert "1 of 5 cells have not been measured yet" in text
    assert "1 of 5 cells are being measured by other processes" in text
    assert "elsewhere" in text and "nan" not in text


def test_claims_and_budgets_are_shown() -> None:
    claim = Claim("NCFM is 11 points below real images.", "Section 4", "ncfm", "real", -11.4)
    shown = "claim (Section 4): NCFM is 11 points below real images. Measured: "
    assert shown + "holds" in printed(replace(ONE, claims=(claim,)), 200)
    text = printed(replace(ONE, claims=(claim,), budget="cpu"), 200)
    assert "A title (cpu budget)" in text
    assert shown + "not comparable (cpu budget): -11.4 points" in text


def test_speed_is_shown_with_its_unit() -> None:
    speed = Row(
        "speed", "NCFM", "10", "distill", measure="speed", status="done", unit="s", last=(0.5,),
        iteration_seconds=0.5, gigabytes=1.25, published=PublishedValue(0.4, "Table 5", unit="s"),
        verdict=judge(0.5, 0.0, 1, PublishedValue(0.4, "Table 5", unit="s")),
    )  # fmt: skip
    text = printed(replace(ONE, rows=(speed,), pool_seconds=None))
    assert "0.5 s" in text and "0.4 s" in text and "measured" in text
    assert "0.5 s an iteration, 1.25 GB" in text
    assert "students" not in text.partition("time:")[0].split("measured")[0]


def test_names_are_not_taken_for_markup() -> None:
    text = printed(replace(ONE, rows=(replace(ONE.rows[0], row="a [bold] b"),)))
    assert "a [bold] b" in text


def test_without_a_pool_no_pool_is_mentioned() -> None:
    assert "extractors" not in printed(replace(ONE, pool_seconds=None))
