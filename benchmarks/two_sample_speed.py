"""Seconds and memory of the two-sample tests of cfmetrics and of their peers.

    python benchmarks/two_sample_speed.py [--parts peers,million,scaling,import] [--json OUT]

Every measurement is a process of its own, with its threads set before NumPy is loaded. README.md
beside this file says what is measured and what is left out.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arguments import whole_number
from twosample import report
from twosample.catalogue import ENTRIES
from twosample.measure import Series, import_seconds, measure
from twosample.speed_tables import read, show
from twosample.worker import Job

PARTS = ("peers", "million", "scaling", "import")
PEERS = (
    "cf", "cf-torch", "cf_agg", "mmd", "energy", "scf",
    "pted-landmarks", "pted-landmarks-torch", "ctt-2", "ctt-4", "hyppo-scf",
    "pted", "pted-torch", "dcor", "alibi-style",
)  # fmt: skip
SCALING = ("cf", "cf_agg", "mmd", "pted-landmarks", "ctt-2")
_USER_ERROR = 2
_LONG = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, 1 (cfmetrics failed), 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    if options.replot:
        record: dict[str, Any] = json.loads(options.replot.read_text())
    elif ENTRIES["cf"].missing:
        return _stop(f"cfmetrics is {ENTRIES['cf'].missing}")
    else:
        record = _measure(options)
    show(record)
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


def _ours(record: dict[str, Any]) -> list[Series]:
    parts = [record.get("peers", []), record.get("million", [])]
    parts += list(record.get("scaling", {}).values())
    return [each for part in parts for each in read(part) if each.entry.ours]


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
    add("--rounds", type=whole_number, default=3, help="rounds of quick tests (default: 3)")
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


def _threads(text: str) -> list[int]:
    return [whole_number(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
