"""How the cost of one iteration of dd-core grows with images, classes, resolution, frequencies.

    python benchmarks/step_growth.py [--only ipc,frequencies] [--json OUT] [--plot PNG]

One factor at a time is changed, the others stay; all sizes take turns. README.md beside this file
says what is measured.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arguments import whole_number
from stepbench import growth
from stepbench.growth import FACTORS, MOST_RATIO, OFFICIAL, TITLES, Point, Timing
from twosample.report import clear_progress, progress, seconds_text, table, write

_CHOICES = (*FACTORS, "official")
_FAILED, _USER_ERROR = 1, 2


class WrongUse(Exception):
    """The user asked for something that cannot be done; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit code is 0, 1 (out of memory), 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    try:
        record = json.loads(options.replot.read_text()) if options.replot else _measure(options)
        _print(record)
        if options.plot:
            _draw(record, options.plot)
    except (WrongUse, ImportError, OSError) as error:
        return _stop(str(error), _USER_ERROR)
    except MemoryError:
        return _stop("the memory is used up; choose fewer parts with --only", _FAILED)
    except KeyboardInterrupt:
        return _stop("interrupted", 130)
    return 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    from dd_core import environment

    for path in (options.json, options.plot):
        if path and not path.resolve().parent.is_dir():
            raise WrongUse(f"cannot write {path}: there is no folder {path.resolve().parent}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    wanted = {name: growth.points_of(name) for name in FACTORS if name in options.only}
    official = list(OFFICIAL) if "official" in options.only else []
    points = list(dict.fromkeys([*(p for some in wanted.values() for p in some), *official]))
    small = [growth.quick(point) for point in points] if options.quick else points
    runtime, found = growth.measure(
        small, rounds=options.repeats, seconds=options.seconds, threads=options.threads,
        precision=options.precision, say=progress,
    )  # fmt: skip
    clear_progress()
    timings = dict(zip(points, found, strict=True))
    record: dict[str, Any] = {
        "environment": environment(),
        "load_before": load,
        "runtime": runtime,
        "repeats": options.repeats,
        "quick": options.quick,
        "base": asdict(small[0]),
        "factors": {name: _rows(name, some, timings) for name, some in wanted.items()},
    }
    if official:
        record["official"] = _official(*(timings[point] for point in official))
    if options.json:
        write(options.json, record)
    return record


def _rows(name: str, points: Sequence[Point], timings: dict[Point, Timing]) -> list[dict[str, Any]]:
    values = [getattr(timings[point].point, name) for point in points]
    seconds = [timings[point].seconds for point in points]
    slopes = {
        "slope": growth.slope(values, seconds),
        "slope_of_last": growth.slope(values[-2:], seconds[-2:]),
    }
    return [
        {"value": value, "seconds": timings[point].seconds, "turns": timings[point].turns, **slopes}
        for value, point in zip(values, points, strict=True)
    ]


def _official(ten: Timing, fifty: Timing) -> dict[str, Any]:
    pairs = zip(ten.turns, fifty.turns, strict=True)
    return {
        "point": asdict(ten.point),
        "seconds": {"10": ten.seconds, "50": fifty.seconds},
        "ratio": fifty.seconds / ten.seconds,
        "ratio_rounds": [b / a for a, b in pairs],
        "at_most": MOST_RATIO,
    }


def _print(record: dict[str, Any]) -> None:
    """Print the tables and slopes of a record."""
    machine, load = record["environment"], record["load_before"]
    busy = "; other programs were running, so the figures are not reliable" * bool(
        load is not None and load > 0.5
    )
    print(f"{machine['processor']}, {machine['cores']} cores; load before: {load}{busy}")
    print(f"dd-core: {record['runtime']}")
    base = record["base"]
    print(
        f"NCFM, rho = 2, {base['real']} real images a class, ConvNet of width {base['width']}; one "
        "factor at a time is changed. Median (range) of "
        f"{record['repeats']} rounds.\n"
    )
    for name, rows in record["factors"].items():
        head = [TITLES[name], "seconds an iteration", "range"]
        cells = [
            [
                str(row["value"]),
                seconds_text(row["seconds"]),
                f"{seconds_text(min(row['turns']))} to {seconds_text(max(row['turns']))}",
            ]
            for row in rows
        ]
        print(table(head, cells))
        print(
            f"\nslope {rows[0]['slope']:.2f}; between the last two {rows[0]['slope_of_last']:.2f}\n"
        )
    if "official" in record:
        _print_official(record["official"])
    if record["quick"]:
        print("\nA quick run, with smaller sizes than the titles say: the values mean nothing.")


def _print_official(found: dict[str, Any]) -> None:
    ratio, rounds, point = found["ratio"], found["ratio_rounds"], found["point"]
    seconds = {ipc: seconds_text(value) for ipc, value in found["seconds"].items()}
    met = "met" if ratio <= found["at_most"] else "**not met**"
    print(
        f"Official settings ({point['real']} real images a class, {point['frequencies']} "
        f"frequencies, 10 classes, 32 px):\nIPC 50 takes {ratio:.2f} times as long as IPC 10 "
        f"({min(rounds):.2f} to {max(rounds):.2f}; {seconds['50']} against {seconds['10']}); at "
        f"most {found['at_most']} is the aim: {met}."
    )


def _draw(record: dict[str, Any], path: Path) -> None:
    if not record["factors"]:
        raise WrongUse(f"there is nothing to plot; choose one of {', '.join(FACTORS)} with --only")
    try:
        from stepbench.growth_plot import draw

        draw(record["factors"], path, quick=record["quick"])
    except ImportError as error:
        raise WrongUse(f"{error}; run: python -m pip install matplotlib") from None
    print(f"\nwrote {path}")


def _stop(message: str, code: int) -> int:
    print(f"step_growth.py: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Seconds of one iteration of dd-core against images a class, classes, "
        "resolution and frequencies (CPU)."
    )
    add = parser.add_argument
    add("--only", type=_parts, default=list(_CHOICES), metavar="a,b",
        help=f"what to measure, of {', '.join(_CHOICES)} (default: all)")  # fmt: skip
    add("--repeats", type=whole_number, default=3, help="rounds (default: 3)")
    add("--seconds", type=float, default=1.0, help="least length of a turn (default: 1)")
    add("--threads", type=whole_number, default=2, help="CPU threads (default: 2)")
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    add("--json", type=Path, metavar="OUT", help="write the results to this file")
    add("--plot", type=Path, metavar="PNG", help="draw the plot into this file")
    add("--replot", type=Path, metavar="JSON", help="measure nothing; table and plot of a file")
    add("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    return parser


def _parts(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",")]
    unknown = [name for name in found if name not in _CHOICES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(unknown)}; choose from {', '.join(_CHOICES)}"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
