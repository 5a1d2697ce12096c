"""Power and type-I error of the two-sample tests of cfmetrics and of their peers.

    python benchmarks/two_sample_power.py [--settings shift,blobs] [--json OUT] [--images FOLDER]

All tests meet the same samples. Each process has one thread. README.md beside this file says what
is measured and what is left out.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments import whole_number
from twosample import report
from twosample.catalogue import ENTRIES
from twosample.measure import environment
from twosample.power import LEVEL, SETTINGS, Cell, Tally, default_processes, measure

TESTS = (
    "cf", "cf_agg", "cf_learned", "scf", "mmd", "energy", "sliced_wasserstein",
    "pted", "pted-landmarks", "ctt-4", "hyppo-scf", "hyppo-mmd", "epps-singleton", "ks",
)  # fmt: skip
N = 500
_ORDER = (500, 200, 1000, 100)  # What the targets are about comes first.
_USER_ERROR, _UNFINISHED = 2, 3


class WrongUse(Exception):
    """The user asked for something that cannot be done; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit code is 0, 1 (a test failed), 2 (wrong use), 3 (time ran out)."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.repetitions = min(options.repetitions, 10)
    try:
        if options.replot:
            record, complete = json.loads(options.replot.read_text()), True
        else:
            record, complete = _measure(options)
        _print(record)
        if options.images:
            _draw(record, options.images)
    except WrongUse as error:
        print(f"two_sample_power.py: {error}", file=sys.stderr)
        return _USER_ERROR
    if not complete:
        print("\nThe time is over and not all is measured; run again with --continue.")
        return _UNFINISHED
    tallies = [Tally.from_record(each) for each in record["tallies"]]
    return 1 if any(each.failures for each in tallies if ENTRIES[each.test].ours) else 0


def _measure(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    missing = {key: ENTRIES[key].missing for key in options.tests if ENTRIES[key].missing}
    for key, message in missing.items():
        if ENTRIES[key].ours:
            raise WrongUse(f"cfmetrics is {message}")
    tests = [key for key in options.tests if key not in missing]
    record = _begin(options, tests, missing)
    seen = {(each["setting"], each["n"]) for each in record["tallies"]}
    cells = [cell for cell in _cells(options) if (cell.setting, cell.n) not in seen]
    estimate = _minutes(cells, tests, options)
    print(report.describe(record["machine"]))
    print(f"{options.processes} processes of one thread; about {estimate:.0f} minutes.", flush=True)
    end = time.monotonic() + 60 * options.minutes
    longest = 0.0
    begun = time.monotonic()

    def finished(tallies: list[Tally]) -> None:
        nonlocal longest, begun
        longest, begun = max(longest, time.monotonic() - begun), time.monotonic()
        record["tallies"] += [tally.as_record() for tally in tallies]
        if options.json:
            report.write(options.json, record)
        report.progress(f"{tallies[0].setting}, n = {tallies[0].n} done")

    os.environ.update(environment(1))
    complete = measure(
        cells,
        tests,
        repetitions=options.repetitions,
        resamples=options.resamples,
        processes=options.processes,
        finished=finished,
        stop=lambda: time.monotonic() + longest > end,
    )
    report.clear_progress()
    return record, complete


def _begin(
    options: argparse.Namespace, tests: list[str], missing: dict[str, str | None]
) -> dict[str, Any]:
    """Make the record, or take up that of an earlier run."""
    fixed = {
        "quick": options.quick,
        "repetitions": options.repetitions,
        "resamples": options.resamples,
        "tests": tests,
        "missing": missing,
    }
    if options.resume:
        if not options.json or not options.json.exists():
            raise WrongUse("--continue needs the file of the earlier run; pass it with --json")
        earlier: dict[str, Any] = json.loads(options.json.read_text())
        if {name: earlier.get(name) for name in fixed} != fixed:
            raise WrongUse(f"{options.json} was measured with other options; use another file")
        return earlier
    return {"machine": report.machine(), **fixed, "tallies": []}


def _cells(options: argparse.Namespace) -> list[Cell]:
    settings = [SETTINGS[key] for key in options.settings]
    sizes = (100,) if options.quick else _ORDER
    return [Cell(each.key, n) for n in sizes for each in settings if n in each.sizes]


def _minutes(cells: Sequence[Cell], tests: Sequence[str], options: argparse.Namespace) -> float:
    """Estimate from the seconds that all tests took together on an older core."""
    cost = {100: 0.07, 200: 0.17, 500: 0.38, 1000: 0.55}
    total = sum(
        cost[cell.n]
        * options.repetitions
        * SETTINGS[cell.setting].factor
        * len(cell.tests(tests))
        / len(cell.tests(TESTS))
        for cell in cells
    )
    return (total / options.processes + 20) / 60


def _draw(record: dict[str, Any], folder: Path) -> None:
    try:
        from twosample.power_plots import draw
    except ImportError as error:
        raise WrongUse(f"{error}; run: pip install matplotlib") from None
    for path in draw(record, folder):
        print(f"wrote {path}")


def _print(record: dict[str, Any]) -> None:
    """Print every table of a record."""
    tallies = [Tally.from_record(each) for each in record["tallies"]]
    print(f"\nLevel {LEVEL}, {record['resamples']} relabelings; in brackets 95% intervals.")
    sizes = sorted({tally.n for tally in tallies}, key=lambda n: (n != N, n))
    for n in sizes:
        some = [each for each in tallies if each.n == n and not SETTINGS[each.setting].null]
        if some:
            print(f"\nPower at n = m = {n}\n\n{_table(some, record, timed=True)}")
    nulls = [each for each in tallies if SETTINGS[each.setting].null]
    if nulls:
        print(f"\nType-I error: should be {LEVEL} or less\n\n{_table(nulls, record, timed=False)}")
        print(
            f"\n**Bold**: the 99% interval lies above {LEVEL}. (low): it lies below, so the test "
            f"gives power away."
        )
    for tally in tallies:
        if tally.failures:
            title = ENTRIES[tally.test].title
            print(f"\n{title} failed {len(tally.failures)} of {tally.repetitions} times on "
                f"{tally.setting}, n = {tally.n}: {tally.failures[0]}")  # fmt: skip
    _print_targets(tallies)


def _table(tallies: Sequence[Tally], record: dict[str, Any], *, timed: bool) -> str:
    columns = list(dict.fromkeys((each.setting, each.n) for each in tallies))
    columns.sort(key=lambda column: (list(SETTINGS).index(column[0]), column[1]))
    cells = {(each.test, each.setting, each.n): each for each in tallies}
    rows = []
    for key in record["tests"]:
        row = [ENTRIES[key].title]
        found = [cells.get((key, *column)) for column in columns]
        if not any(found):
            continue
        row += [_entry(tally) for tally in found]
        if timed:
            seconds = [tally.median_seconds for tally in found if tally]
            row.append(report.seconds_text(max(seconds)))
        rows.append(row)
    for key, message in record["missing"].items():
        rows.append([ENTRIES[key].title, message, *[""] * (len(columns) - 1 + timed)])
    titles = [
        SETTINGS[setting].title + (f", n = {n}" if SETTINGS[setting].null else "")
        for setting, n in columns
    ]
    return report.table(["test", *titles] + ["a test takes (up to)"] * timed, rows)


def _entry(tally: Tally | None) -> str:
    if tally is None:
        return "-"
    low, high = report.interval(tally.rejections, tally.repetitions)
    if not SETTINGS[tally.setting].null:
        return f"{tally.rate:.2f} ({low:.2f} to {high:.2f})"
    text = f"{tally.rate:.3f} ({low:.3f} to {high:.3f})"
    low, high = report.interval(tally.rejections, tally.repetitions, 0.99)
    return f"**{text}**" if low > LEVEL else text + " (low)" * (high < LEVEL)


def _print_targets(tallies: Sequence[Tally]) -> None:
    found = {(each.test, each.setting): each for each in tallies if each.n == N}
    goals = (
        ("cf_agg", "shift", 0.45),
        ("cf_agg", "blobs", 0.40),
        ("cf_learned", "blobs", 0.60),
    )
    rows = []
    ours, full = found.get(("cf", "shift")), found.get(("mmd", "shift"))
    if ours and full:
        difference, error = paired_difference(ours.decisions, full.decisions)
        text = f"{difference:+.3f} ± {error:.3f} (95%, paired)"
        goal = "power of cf_2samp less that of mmd_2samp, mean shift, at least -0.05"
        rows.append((goal, text, "yes" if difference >= -0.05 else "**no**"))
    for test, setting, least in goals:
        tally = found.get((test, setting))
        if tally:
            goal = f"power of {ENTRIES[test].title}, {SETTINGS[setting].title}, at least {least}"
            rows.append((goal, _entry(tally), "yes" if tally.rate >= least else "**no**"))
    if rows:
        print(f"\nTargets, n = m = {N}\n")
        print(report.table(("target", "measured", "met"), rows))


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    """Difference of two rejection rates on the same samples, and half its 95% interval.

    >>> paired_difference([True, True, False, False], [True, False, False, False])
    (0.25, 0.424)
    """
    steps = [int(a) - int(b) for a, b in zip(first, second, strict=True)]
    mean = sum(steps) / len(steps)
    variance = sum((step - mean) ** 2 for step in steps) / len(steps)
    return mean, round(1.96 * math.sqrt(variance / len(steps)), 3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Power and type-I error of two-sample tests, cfmetrics and peers, on a CPU."
    )
    add = parser.add_argument
    add("--settings", type=_among(SETTINGS), default=list(SETTINGS), metavar="a,b",
        help=f"pairs of distributions, of {', '.join(SETTINGS)} (default: all)")  # fmt: skip
    add("--tests", type=_among(TESTS), default=list(TESTS), metavar="a,b",
        help=f"which tests, of {', '.join(TESTS)} (default: all)")  # fmt: skip
    add("--repetitions", type=whole_number, default=200, help="pairs of samples (default: 200)")
    add("--resamples", type=whole_number, default=199, help="relabelings (default: 199)")
    add("--processes", type=whole_number, default=default_processes(), help="default: all cores")
    add("--minutes", type=float, default=math.inf,
        help="stop before this time; what is measured is kept for --continue")  # fmt: skip
    add("--continue", dest="resume", action="store_true", help="go on with the run in --json")
    add("--json", type=Path, metavar="OUT", help="write the results to this file")
    add("--images", type=Path, metavar="FOLDER", help="draw the plots into this folder")
    add("--replot", type=Path, metavar="JSON", help="measure nothing; tables and plots of a file")
    add(
        "--quick", action="store_true", help="n = 100, ten repetitions, to see that everything runs"
    )
    return parser


def _among(choices: Sequence[str] | dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        unknown = [name for name in found if name not in choices]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}; choose from {', '.join(choices)}"
            )
        return [name for name in choices if name in found]

    return parse


if __name__ == "__main__":
    sys.exit(main())
