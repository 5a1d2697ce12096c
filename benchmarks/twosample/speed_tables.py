"""The tables of ``two_sample_speed.py``, and whether its targets are met."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from twosample import report
from twosample.catalogue import ENTRIES
from twosample.measure import Series
from twosample.worker import Job

Target: TypeAlias = tuple[str, str, bool | None]
"""What is wanted, what was measured, and whether that is enough; None where it cannot be told."""

HUNDREDFOLD = ("pted", "pted-torch", "dcor", "alibi-style")


def read(records: Sequence[dict[str, Any]]) -> list[Series]:
    """Read a part of the JSON file."""
    return [Series.from_record(record) for record in records]


def show(record: dict[str, Any]) -> None:
    """Print every table of a record."""
    targets: list[Target] = []
    if "peers" in record:
        _print_peers(read(record["peers"]), targets)
    if "million" in record:
        _print_million(read(record["million"]), targets)
    if "scaling" in record:
        _print_scaling(record["scaling"], targets)
    if "import" in record:
        found = record["import"]
        text = f"{found['seconds']:.2f} s, torch {'loaded' if found['torch'] else 'not loaded'}"
        met = found["seconds"] < 0.3 and not found["torch"]
        targets.append(("`import cfmetrics` under 0.3 s, without torch", text, met))
    quick = " (a quick run at small sizes: of no meaning)" if record["quick"] else ""
    print(f"\nTargets{quick}\n")
    words = {True: "yes", False: "**no**", None: "cannot be told"}
    rows = [(goal, measured, words[met]) for goal, measured, met in targets]
    print(report.table(("target", "measured", "met"), rows))


def _print_peers(series: Sequence[Series], targets: list[Target]) -> None:
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
        first = _find(series, key, counts[0])
        rows.append([*row, "-" if first.seconds is None else f"{first.extra_mb:.0f}"])
    print(report.table([*head, "extra MB"], rows))
    for threads in counts:
        _peer_targets(series, threads, targets)


def _peer_targets(series: Sequence[Series], threads: int, targets: list[Target]) -> None:
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
        met = None if least is None else least / ours.seconds >= factor
        if other.status == "over" and not met:
            met = None
        targets.append((f"{factor:g} times as fast as {other.entry.title}, {where}", text, met))
    text = f"{ours.extra_mb:.0f} MB"
    targets.append((f"extra memory under 100 MB, {where}", text, ours.extra_mb < 100))


def _print_million(series: Sequence[Series], targets: list[Target]) -> None:
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


def _print_scaling(scaling: dict[str, list[dict[str, Any]]], targets: list[Target]) -> None:
    names = {"n": "n", "frequencies": "frequencies F", "resamples": "relabelings B"}
    rows = []
    for axis, records in scaling.items():
        series = read(records)
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
    print(f"\nCost, one thread, d = {base.d}; where they do not vary: n = m = {base.n}, F = 128,")
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
    return float(found.get("n_frequencies", 128) if axis == "frequencies" else found[axis])


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
