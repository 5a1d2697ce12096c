"""Seconds and memory of the two-sample tests of cfmetrics and of their peers.

    python benchmarks/two_sample_speed.py [--parts peers,million,scaling,import] [--json OUT]

Every measurement is a process of its own, with its threads set before NumPy is loaded. README.md
beside this file says what is measured and what is left out.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twosample import report
from twosample.catalogue import ENTRIES
from twosample.measure import Series, import_seconds, measure
from twosample.worker import Job

PARTS = ("peers", "million", "scaling", "import")
PEERS = (
    "cf", "cf-torch", "cf_agg", "mmd", "energy", "scf",
    "pted-landmarks", "pted-landmarks-torch", "ctt-2", "ctt-4", "hyppo-scf",
    "pted", "pted-torch", "dcor", "alibi-style",
)  # fmt: skip
HUNDREDFOLD = ("pted", "pted-torch", "dcor", "alibi-style")
SCALING = ("cf", "cf_agg", "mmd", "pted-landmarks", "ctt-2")
_USER_ERROR = 2
_LONG = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, 1 (cfmetrics failed), 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    if options.replot:
        record = json.loads(options.replot.read_text())
    elif ENTRIES["cf"].missing:
        return _stop(f"cfmetrics is {ENTRIES['cf'].missing}")
    else:
        record = _measure(options)
    _print(record)
    if options.images:
        try:
            from twosample.speed_plots import draw
        except ImportError as error:
            return _stop(f"{error}; run: pip install matplotlib")
        for path in draw(record, options.images):
            print(f"wrote {path}")
    return 0 if all(each.status == "measured" for each in _ours(record)) else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    record: dict[str, Any] = {"machine": report.machine(), "quick": options.quick}
    print(report.describe(record["machine"]))
    print(f"About {_minutes(options):.0f} minutes.", flush=True)
    for part in options.parts:
        record[part] = _MEASURE[part](options)
        if options.json:
            report.write(options.json, record)
    report.clear_progress()
    return record


def _minutes(options: argparse.Namespace) -> float:
    """Estimate how long the chosen parts take on two cores."""
    # Starting the processes, the quick tests, and four slow ones, two of which reach the limit.
    peers = len(options.threads) * (60 + 25 * options.rounds + 3 * options.limit)
    seconds = {"peers": peers, "million": 60, "scaling": 150, "import": 5}
    return sum(seconds[part] for part in options.parts) / (60 * (10 if options.quick else 1))


def _measure_peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    n, d, resamples = (400, 50, 50) if options.quick else (8000, 50, 200)
    found: list[Series] = []
    for threads in options.threads:
        jobs = [Job(key, n, d, resamples, threads, options.limit) for key in options.tests]
        found += measure(jobs, options.rounds, report.progress)
    return [each.as_record() for each in found]


def _measure_million(options: argparse.Namespace) -> list[dict[str, Any]]:
    n = 20_000 if options.quick else 1_000_000
    job = Job("cf", n, 100, 199, threads=2, limit=300, seconds=0.0)
    return [each.as_record() for each in measure([job], options.rounds, report.progress)]


def _measure_scaling(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    base = Job("cf", 20_000, 10, 199, 1, limit=60, seconds=0.3)
    if options.quick:
        base = replace(base, n=2000, seconds=0.05)
    sizes = [round(10 ** (3 + i / 2)) for i in range(3 if options.quick else 7)]
    counts = [2**i for i in range(5, 9 if options.quick else 12)]
    resamples = [100 * 2**i for i in range(3 if options.quick else 7)]
    chosen = [key for key in SCALING if key in options.tests]
    return {
        "n": [one for key in chosen for one in _climb(replace(base, key=key), sizes, options)],
        "frequencies": _points([replace(base, options={"n_frequencies": f}) for f in counts]),
        "resamples": _points([replace(base, resamples=b) for b in resamples]),
    }


def _climb(base: Job, sizes: Sequence[int], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a test at growing n, as long as it takes seconds."""
    found: list[dict[str, Any]] = []
    for n in sizes:
        (record,) = _points([replace(base, n=n)])
        found.append(record)
        if record["seconds"] is None or (record["seconds"] > _LONG and base.key != "cf"):
            break
    return found


def _points(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    return [each.as_record() for each in measure(jobs, 1, report.progress)]


def _measure_import(options: argparse.Namespace) -> dict[str, Any]:
    seconds, torch = import_seconds()
    return {"seconds": seconds, "torch": torch}


_MEASURE = {
    "peers": _measure_peers,
    "million": _measure_million,
    "scaling": _measure_scaling,
    "import": _measure_import,
}


def _series(records: Sequence[dict[str, Any]]) -> list[Series]:
    return [Series.from_record(record) for record in records]


def _ours(record: dict[str, Any]) -> list[Series]:
    parts = [record.get("peers", []), record.get("million", [])]
    parts += list(record.get("scaling", {}).values())
    return [each for part in parts for each in _series(part) if each.entry.ours]


def _print(record: dict[str, Any]) -> None:
    """Print every table of a record."""
    targets: list[tuple[str, str, bool]] = []
    if "peers" in record:
        _print_peers(_series(record["peers"]), targets)
    if "million" in record:
        _print_million(_series(record["million"]), targets)
    if "scaling" in record:
        _print_scaling(record["scaling"], targets)
    if "import" in record:
        found = record["import"]
        text = f"{found['seconds']:.2f} s, torch {'loaded' if found['torch'] else 'not loaded'}"
        met = found["seconds"] < 0.3 and not found["torch"]
        targets.append(("`import cfmetrics` under 0.3 s, without torch", text, met))
    quick = " (a quick run at small sizes: of no meaning)" if record["quick"] else ""
    print(f"\nTargets{quick}\n")
    rows = [(goal, measured, "yes" if met else "**no**") for goal, measured, met in targets]
    print(report.table(("target", "measured", "met"), rows))


def _print_peers(series: Sequence[Series], targets: list[tuple[str, str, bool]]) -> None:
    job = series[0].job
    print(f"\nn = m = {job.n}, d = {job.d}, {job.resamples} relabelings\n")
    counts = sorted({each.job.threads for each in series})
    head = ["test"]
    for threads in counts:
        label = f"{threads} thread{'s' * (threads > 1)}"
        head += [label, "times cf_2samp", "rounds"]
    rows = []
    for key in dict.fromkeys(each.job.key for each in series):
        row = [ENTRIES[key].title]
        for threads in counts:
            one = _find(series, key, threads)
            row += [_time(one), _ratio(one, _find(series, "cf", threads)), str(len(one.rounds))]
        rows.append([*row, f"{_find(series, key, counts[0]).extra_mb:.0f}"])
    print(report.table([*head, "extra MB"], rows))
    for threads in counts:
        _peer_targets(series, threads, targets)


def _peer_targets(
    series: Sequence[Series], threads: int, targets: list[tuple[str, str, bool]]
) -> None:
    ours = _find(series, "cf", threads)
    if ours.seconds is None:
        return
    where = f"{threads} thread{'s' * (threads > 1)}"
    keys = {each.job.key for each in series}
    goals = [(key, 2.0) for key in ("pted-landmarks", "pted-landmarks-torch")]
    for key, factor in goals + [(key, 100.0) for key in HUNDREDFOLD]:
        if key not in keys:
            continue
        other = _find(series, key, threads)
        least = _least(other)
        text = _ratio(other, ours) if least else other.message
        met = least is not None and least / ours.seconds >= factor
        targets.append((f"{factor:g} times as fast as {other.entry.title}, {where}", text, met))
    text = f"{ours.extra_mb:.0f} MB"
    targets.append((f"extra memory under 100 MB, {where}", text, ours.extra_mb < 100))


def _print_million(series: Sequence[Series], targets: list[tuple[str, str, bool]]) -> None:
    job = series[0].job
    data = 2 * job.n * job.d * 8 / 1e6
    print(f"\nn = m = {job.n}, d = {job.d}, {job.resamples} relabelings; data: {data:.0f} MB\n")
    rows = [
        (each.entry.title, str(each.job.threads), _time(each), f"{each.extra_mb:.0f}",
         str(len(each.rounds)))
        for each in series
    ]  # fmt: skip
    print(report.table(("test", "threads", "seconds", "extra MB", "rounds"), rows))
    for each in series:
        seconds, where = each.seconds, f"n = {job.n}, {each.job.threads} threads"
        if seconds is not None:
            targets.append((f"under 60 s, {where}", f"{seconds:.1f} s", seconds < 60))
            extra = each.extra_mb
            targets.append((f"extra memory under 500 MB, {where}", f"{extra:.0f} MB", extra < 500))


def _print_scaling(
    scaling: dict[str, list[dict[str, Any]]], targets: list[tuple[str, str, bool]]
) -> None:
    names = {"n": "n", "frequencies": "frequencies F", "resamples": "relabelings B"}
    rows = []
    for axis, records in scaling.items():
        series = _series(records)
        for key in dict.fromkeys(each.job.key for each in series):
            points = curve(series, key, axis)
            if len(points) < 2:
                continue
            whole, upper = slope(points), slope(points[len(points) // 2 :])
            listed = ", ".join(f"{size:g}: {report.seconds_text(s)}" for size, s in points)
            rows.append((ENTRIES[key].title, names[axis], f"{whole:.2f}", f"{upper:.2f}", listed))
            if key == "cf":
                goal = f"cost of cf_2samp at most linear in {names[axis]} (slope of larger half)"
                targets.append((goal, f"{upper:.2f}", upper <= 1.1))
    base = Series.from_record(scaling["frequencies"][0]).job
    print(f"\nCost, one thread, d = {base.d}; where they do not vary: n = m = {base.n}, F = 256,")
    print(f"B = {base.resamples}. Slopes: least squares of log seconds on log size.\n")
    head = ("test", "against", "slope", "larger half", "points")
    print(report.table(head, rows))


def curve(series: Sequence[Series], key: str, axis: str) -> list[tuple[float, float]]:
    """Give the points (size, seconds) of one test."""
    return [
        (_size(each.job, axis), each.seconds)
        for each in series
        if each.job.key == key and each.seconds is not None
    ]


def _size(job: Job, axis: str) -> float:
    found = {"n": job.n, "resamples": job.resamples, **job.options}
    return float(found.get("n_frequencies", 256) if axis == "frequencies" else found[axis])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of log seconds on log size.

    >>> slope([(1.0, 3.0), (10.0, 300.0), (100.0, 30000.0)])
    2.0
    """
    xs, ys = ([math.log10(value) for value in axis] for axis in zip(*points, strict=True))
    centre_x, centre_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - centre_x) * (y - centre_y) for x, y in zip(xs, ys, strict=True))
    return round(covariance / sum((x - centre_x) ** 2 for x in xs), 6)


def _find(series: Sequence[Series], key: str, threads: int) -> Series:
    return next(each for each in series if (each.job.key, each.job.threads) == (key, threads))


def _least(series: Series) -> float | None:
    """Seconds, or the limit where that was passed; None where nothing is known."""
    return series.job.limit if series.status == "over" else series.seconds


def _time(series: Series) -> str:
    if series.seconds is None:
        return series.message
    return report.seconds_text(series.seconds)


def _ratio(series: Series, base: Series) -> str:
    least = _least(series)
    if least is None or base.seconds is None:
        return "-"
    ratio = least / base.seconds
    text = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    if series.status == "over":
        return f"> {text}"
    if len(series.rounds) < 2 or len(base.rounds) < len(series.rounds) or series is base:
        return text
    ratios = [a / b for a, b in zip(series.rounds, base.rounds, strict=False)]
    digits = 0 if ratio >= 10 else 1
    return f"{text} ({min(ratios):.{digits}f} to {max(ratios):.{digits}f})"


def _stop(message: str) -> int:
    print(f"two_sample_speed.py: {message}", file=sys.stderr)
    return _USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Seconds and extra memory of two-sample tests, cfmetrics and peers, on a CPU."
    )
    add = parser.add_argument
    add("--parts", type=_among(PARTS), default=list(PARTS), metavar="a,b",
        help=f"what to measure, of {', '.join(PARTS)} (default: all)")  # fmt: skip
    add("--tests", type=_among(PEERS), default=list(PEERS), metavar="a,b",
        help=f"which tests, of {', '.join(PEERS)} (default: all)")  # fmt: skip
    add("--rounds", type=_count, default=3, help="rounds of quick tests (default: 3)")
    add("--limit", type=float, default=45.0, metavar="S",
        help="seconds after which a call of a peer is given up (default: 45)")  # fmt: skip
    add("--threads", type=_threads, default=[1, 2], metavar="1,2", help="threads (default: 1,2)")
    add("--json", type=Path, metavar="OUT", help="write the results to this file")
    add("--images", type=Path, metavar="FOLDER", help="draw the plots into this folder")
    add("--replot", type=Path, metavar="JSON", help="measure nothing; tables and plots of a file")
    add("--quick", action="store_true", help="small sizes, to see that everything runs")
    return parser


def _among(choices: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        unknown = [name for name in found if name not in choices]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}; choose from {', '.join(choices)}"
            )
        # cf_2samp is what the others are compared with.
        return [name for name in choices if name in found or (name == "cf" and "cf" in choices)]

    return parse


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _threads(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
