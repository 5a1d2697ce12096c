from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from typing import Any

import pytest

from dd_recipes.paper import Claim, PublishedValue, Reference, Unit
from dd_recipes.results import Results, Row, duration, findings
from dd_recipes.verdict import judge, not_run

PAPER = PublishedValue(81.0, "Table 1", 0.5, 10)
REAL = Row(
    "real", "real", "10", "random", ipc=10, training_images=10, status="done", last=(60.0, 62.0),
    best=(61.0, 63.0), student_seconds=5.0, set="r", test_images=50, data="data",
)  # fmt: skip
PACKED = replace(
    REAL, name="packed", row="packed", factor=2, training_images=40, last=(70.0, 72.0),
    student_seconds=6.0, set="p",
)  # fmt: skip
DISTILLED = replace(
    REAL, name="ncfm", row="NCFM", kind="distill", factor=2, training_images=40,
    last=(80.0, 81.0, 82.0), best=(80.0, 81.0, 82.0), distill_seconds=30.0, student_seconds=7.0,
    set="n", published=PAPER, verdict=judge(81.0, 1.0, 3, PAPER),
)  # fmt: skip
FAILED = Row(
    "dm", "DM", "10", "distill", status="failed", note="the loss is NaN", published=PAPER,
    verdict=not_run("it failed"),
)  # fmt: skip
SPEED = Row(
    "speed", "NCFM", "speed", "distill", measure="speed", status="done", unit="GB", last=(1.25,),
    iteration_seconds=0.5, gigabytes=1.25,
)  # fmt: skip
CURVED = replace(
    DISTILLED, name="curve", column="figure", measure="dynamics",
    curve=((10, (60.0, 61.0)), (20, (80.0, 81.0))), published=None, verdict=None, x=0.5,
)  # fmt: skip
CLAIMS = (
    Claim("20 points over real images", "abstract", "ncfm", "real", 20.0),
    Claim("better than all before", "abstract", "ncfm", "references", 5.0),
    Claim("better than DM", "abstract", "ncfm", "dm", 5.0),
)
RESULTS = Results(
    "name", "title", "best", "full", 0, "cpu", 12.0, (REAL, PACKED, DISTILLED), ("10",),
    (Reference("MTT", "10", 70.0, 0.5), Reference("IDM", "10", 72.0)), CLAIMS[:2],
)  # fmt: skip


def test_row_statistics() -> None:
    assert DISTILLED.mean == 81.0
    assert DISTILLED.std == statistics.stdev(DISTILLED.last) == 1.0
    assert DISTILLED.accuracy == "81.0 ± 1.0 (3)"
    assert DISTILLED.value == "81.0 ± 1.0"
    assert REAL.best_accuracy == "62.0 ± 1.4 (2)"
    assert DISTILLED.seconds == 37.0


def test_an_accuracy_that_was_tested_once_has_no_best_epoch() -> None:
    assert replace(REAL, best=()).best_accuracy == "tested once"
    assert replace(SPEED, best=()).best_accuracy == replace(FAILED, best=()).best_accuracy == ""


def test_a_single_student_has_no_deviation() -> None:
    row = replace(REAL, last=(60.0,))
    assert row.std == 0.0
    assert row.accuracy == "60.0 (1)"
    (table,) = replace(RESULTS, rows=(row,), claims=()).as_json()["rows"]
    assert (table["n"], table["mean"], table["std"]) == (1, 60.0, None)


def test_what_was_not_measured_has_no_numbers() -> None:
    assert math.isnan(FAILED.mean) and FAILED.std == 0.0 and FAILED.sample is None
    assert FAILED.value == FAILED.accuracy == "failed"
    assert FAILED.best_accuracy == FAILED.speed == ""


def test_speed_shows_both_figures() -> None:
    assert SPEED.value == SPEED.accuracy == "1.25 GB"
    assert SPEED.speed == "0.5 s an iteration, 1.25 GB"


@pytest.mark.parametrize("rows", [RESULTS.rows, (REAL, FAILED, SPEED, CURVED)])
def test_json_reads_back_the_same(rows: tuple[Row, ...]) -> None:
    results = replace(RESULTS, rows=rows)
    text = json.dumps(results.as_json(), allow_nan=False)
    assert Results.from_json(json.loads(text)) == results


def test_json_says_what_follows() -> None:
    tables = RESULTS.as_json()
    assert tables["complete"] is True
    assert tables["rows"][2]["verdict"]["word"] == "undecided"
    assert tables["rows"][0]["verdict"] is None
    assert tables["rows"][0]["mean"] == 61.0
    assert [claim["verdict"]["word"] for claim in tables["claims"]] == ["holds", "holds"]
    tables = replace(RESULTS, rows=(*RESULTS.rows, FAILED)).as_json()
    assert tables["complete"] is False
    assert tables["rows"][3]["mean"] is None


def test_failed_and_done_rows_are_told_apart() -> None:
    results = replace(RESULTS, rows=(REAL, FAILED))
    assert results.failed == (FAILED,) and results.done == (REAL,)
    assert not results.complete and RESULTS.complete


def test_claims_are_judged_by_what_was_measured() -> None:
    results = replace(RESULTS, rows=(*RESULTS.rows, FAILED), claims=CLAIMS)
    over_real, over_references, over_failed = (verdict for _, verdict in results.verdicts)
    assert over_real.word == "holds" and over_real.difference == 20.0
    assert over_references.word == "holds" and over_references.difference == 9.0
    assert over_failed.word == "not measured"
    alone = replace(results, references=(), claims=CLAIMS[1:2])
    assert alone.verdicts[0][1].word == "not measured"


@pytest.mark.parametrize(("unit", "best"), [("%", 0.9), ("rho", 0.9), ("s", 0.4)])
def test_the_best_reference_is_the_largest_but_for_costs(unit: Unit, best: float) -> None:
    row = replace(DISTILLED, unit=unit)
    references = tuple(Reference(name, row.column, mean) for name, mean in (("a", 0.4), ("b", 0.9)))
    found = replace(RESULTS, references=references)._reference(row, "")
    assert found is not None and found.mean == best


@pytest.mark.parametrize("changed", [{"budget": "cpu"}, {"changed": ("synthetic.ipc",)}])
def test_claims_of_full_runs_are_not_judged_by_others(changed: dict[str, Any]) -> None:
    for _, verdict in replace(RESULTS, claims=CLAIMS[:2], **changed).verdicts:
        assert verdict.word == "not comparable" and verdict.difference in (20.0, 9.0)


def test_seconds_add_up_and_shared_sets_count_once() -> None:
    assert RESULTS.seconds == 12 + 5 + 6 + 30 + 7
    twin = replace(DISTILLED, name="twin")
    assert replace(RESULTS, rows=(*RESULTS.rows, twin)).seconds == RESULTS.seconds + 7


def test_findings_compare_with_both_controls() -> None:
    first, plain, packed = findings(RESULTS)
    assert "81.0% of 50 unseen" in first
    assert "61.0%: NCFM is 20.0 points better" in plain
    assert "Packing 4 real images" in packed
    assert "71.0%: NCFM is 10.0 points better" in packed


def test_findings_do_not_hide_a_loss() -> None:
    worse = replace(DISTILLED, last=(65.0, 65.1, 64.9))
    *_, packed = findings(replace(RESULTS, rows=(REAL, PACKED, worse)))
    assert "6.0 points worse" in packed


def test_findings_make_no_difference_of_rounding_and_say_what_one_student_is() -> None:
    close = replace(DISTILLED, last=(71.04,)), replace(PACKED, last=(71.05,))
    *_, packed = findings(replace(RESULTS, rows=(REAL, close[1], close[0])))
    assert "NCFM is as good (one student, no interval)." in packed
    apart = replace(DISTILLED, last=(81.0,)), replace(PACKED, last=(71.0,))
    *_, packed = findings(replace(RESULTS, rows=(REAL, apart[1], apart[0])))
    assert "NCFM is 10.0 points better (one student, no interval)." in packed


def test_findings_say_when_nothing_is_told_apart() -> None:
    same = replace(DISTILLED, last=(70.0, 71.0, 72.5))
    *_, packed = findings(replace(RESULTS, rows=(REAL, PACKED, same)))
    assert "do not tell the two apart" in packed


def test_differences_agree_with_the_printed_figures() -> None:
    close = replace(DISTILLED, last=(79.84, 79.84))
    *_, plain = findings(replace(RESULTS, rows=(replace(REAL, last=(66.05, 66.05)), close)))
    assert "66.0%: NCFM is 13.8 points" in plain or "66.1%: NCFM is 13.7 points" in plain


def test_findings_need_a_distilled_row_that_is_measured() -> None:
    assert findings(replace(RESULTS, rows=(REAL, PACKED, FAILED))) == []
    assert len(findings(replace(RESULTS, rows=(DISTILLED, FAILED)))) == 1
    assert findings(replace(RESULTS, rows=(SPEED, CURVED))) == []


def test_findings_compare_within_a_column() -> None:
    other = [replace(row, name=f"{row.name}-50", column="50") for row in (REAL, DISTILLED)]
    lone = replace(DISTILLED, name="lone", column="1")
    found = findings(replace(RESULTS, rows=(REAL, DISTILLED, *other, lone)))
    assert [sentence.partition(":")[0] for sentence in found] == ["10", "10", "50", "50"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"),
     (3660, "1 h 01 min")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
