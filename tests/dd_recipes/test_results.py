from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest

from dd_recipes.paper import PublishedValue
from dd_recipes.results import Results, Row, duration, findings

REAL = Row("real", "real", "random", "", 10, 1, 10, (60.0, 62.0), (61.0, 63.0), None, 5.0)
PACKED = Row("packed", "packed", "random", "", 10, 2, 40, (70.0, 72.0), (70.0, 72.0), None, 6.0)
DISTILLED = Row(
    "NCFM", "ncfm", "distill", "", 10, 2, 40, (80.0, 81.0, 82.0), (80.0, 81.0, 82.0), 30.0, 7.0,
    PublishedValue(81.0, 0.5, 10, "Table 1"),
)  # fmt: skip
RESULTS = Results(
    "name", "title", 0, "data", ("a", "b"), 100, 50, "cpu", 12.0, (REAL, PACKED, DISTILLED), 3
)


def test_row_statistics() -> None:
    assert DISTILLED.mean == 81.0
    assert DISTILLED.std == statistics.stdev(DISTILLED.last) == 1.0
    assert DISTILLED.accuracy == "81.0 ± 1.0 (3)"
    assert DISTILLED.training_images == 40
    assert REAL.best_accuracy == "62.0 ± 1.4 (2)"


def test_a_single_student_has_no_deviation() -> None:
    row = replace(REAL, last=(60.0,))
    assert row.std == 0.0
    assert row.accuracy == "60.0 (1)"


def test_json_reads_back_the_same() -> None:
    text = json.dumps(RESULTS.as_json(), allow_nan=False)
    assert Results.from_json(json.loads(text)) == RESULTS


def test_json_says_what_follows() -> None:
    tables = RESULTS.as_json()
    assert tables["complete"] is True
    assert tables["rows"][2]["verdict"]["word"] == "reproduced"
    assert tables["rows"][0]["verdict"] is None
    assert replace(RESULTS, methods=4).as_json()["complete"] is False


def test_seconds_add_up() -> None:
    assert RESULTS.seconds == 12 + 5 + 6 + 30 + 7


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


def test_findings_say_when_nothing_is_told_apart() -> None:
    same = replace(DISTILLED, last=(70.0, 71.0, 72.5))
    *_, packed = findings(replace(RESULTS, rows=(REAL, PACKED, same)))
    assert "do not tell the two apart" in packed


def test_differences_agree_with_the_printed_figures() -> None:
    close = replace(DISTILLED, last=(79.84, 79.84))
    *_, plain = findings(replace(RESULTS, rows=(replace(REAL, last=(66.05, 66.05)), close)))
    assert "66.0%: NCFM is 13.8 points" in plain or "66.1%: NCFM is 13.7 points" in plain


def test_findings_need_a_distilled_row() -> None:
    assert findings(replace(RESULTS, rows=(REAL, PACKED))) == []
    assert len(findings(replace(RESULTS, rows=(DISTILLED,)))) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"),
     (3660, "1 h 01 min")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
