"""The command line: test two files, print a verdict in words."""

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cfmetrics._files import Sample, csv_header, read_sample
from cfmetrics.two_sample.attribution import Attribution, cf_attribution
from cfmetrics.two_sample.dispatch import TESTS, two_sample_test
from cfmetrics.two_sample.result import TestResult

_DESCRIPTION = """\
Test whether two samples have one distribution. A row of a file is an observation, a column a
feature. The ending of a file says its format: .npy, .npz (an array in it), .csv (commas, with or
without a header line), or .pt (a tensor, or a dict of tensors; needs torch).
"""

_EPILOG = """\
tests:
  cf                  characteristic functions, at random frequencies for one length scale
  cf_agg              the same at 12 length scales at once
  cf_learned          frequencies learned on half of the data, tested on the other half
  scf                 smooth characteristic functions, without resampling
  mmd                 maximum mean discrepancy (Gaussian kernel, all pairs)
  energy              energy distance (all pairs)
  sliced_wasserstein  sliced Wasserstein distance

The default is cf, as in the library: its time is linear in the number of rows, its memory does
not grow with them, and its p-value is valid for any sizes and distributions. It looks at one
length scale, the median distance. Choose cf_agg where the difference may be much finer than that,
or in a few columns.

examples:
  python -m cfmetrics a.npy b.npy
  python -m cfmetrics before.csv after.csv --columns age,income --test cf_agg
  python -m cfmetrics data.npz data.npz --key-a train --key-b test --attribution

The exit status is 0 whatever the verdict, and 2 where the input or the arguments are wrong.
"""

_SHOWN = 3
"""Number of frequencies that an attribution prints."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments, by default those of the process.

    Returns:
        Exit status: 0, or 2 for bad input, which is said in one line on stderr.
    """
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What they say, the verdict or an error says too.
            x, y = _read(arguments)
            result, attribution, seconds = _compute(arguments, x, y)
    except OSError as error:
        return _fail(f"{error.filename}: cannot be read: {error.strerror}")
    except (ImportError, MemoryError, TypeError, ValueError) as error:
        return _fail(_in_words_of_the_command(arguments, error))
    if arguments.json:
        print(json.dumps(_as_object(arguments, result, attribution, seconds)))
    else:
        print(_as_text(arguments, x, y, result, attribution, seconds))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cfmetrics",
        usage="python -m cfmetrics [options] A B",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="file of the first sample")
    add("b", type=Path, metavar="B", help="file of the second sample")
    add("--test", choices=tuple(TESTS), default="cf", metavar="TEST", help="see below (default cf)")
    add("--level", type=_level, default=0.05, metavar="P", help="level of the verdict (0.05)")
    add("--resamples", type=_at_least(1), default=999, metavar="N", help="relabelings (999)")
    add("--seed", type=_at_least(0), default=0, metavar="N", help="seed of all that is drawn (0)")
    add(
        "--nan-policy",
        choices=("raise", "omit", "propagate"),
        default="raise",
        help="rows with NaN, or with empty fields of a .csv: an error, left out, or p = NaN",
    )
    add("--key-a", metavar="NAME", help="name of the array in A, if A is .npz or .pt")
    add("--key-b", metavar="NAME", help="the same for B")
    add("--columns", metavar="LIST", help="columns of both: names of a .csv, or numbers from 0")
    add("--attribution", action="store_true", help="say also at which frequencies they differ")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def _level(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _at_least(least: int) -> Any:
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return whole_number


def _read(arguments: argparse.Namespace) -> tuple[Sample, Sample]:
    x = read_sample(arguments.a, key=arguments.key_a, columns=arguments.columns)
    y = read_sample(arguments.b, key=arguments.key_b, columns=arguments.columns)
    if arguments.columns is None and all(
        path.suffix.lower() == ".csv" for path in (arguments.a, arguments.b)
    ):
        first, second = csv_header(arguments.a), csv_header(arguments.b)
        if first is not None and second is not None and first != second:
            raise ValueError(
                f"{arguments.b}: has the columns {', '.join(second)}, but {arguments.a} has "
                f"{', '.join(first)}; choose those to compare with --columns"
            )
    return x, y


def _compute(
    arguments: argparse.Namespace, x: Sample, y: Sample
) -> tuple[TestResult, Attribution | None, float]:
    common: dict[str, Any] = {
        "n_resamples": arguments.resamples,
        "rng": arguments.seed,
        "nan_policy": arguments.nan_policy,
    }
    start = time.perf_counter()
    result = two_sample_test(x, y, statistic=arguments.test, **common)
    seconds = time.perf_counter() - start
    attribution = None
    if arguments.attribution:
        attribution = cf_attribution(x, y, level=arguments.level, **common)
    return result, attribution, seconds


def _fail(message: str) -> int:
    print(f"cfmetrics: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _in_words_of_the_command(arguments: argparse.Namespace, error: Exception) -> str:
    """Give the message of an error, with the files and options for the arguments of a function."""
    message = str(error) or "not enough memory"
    for ours, theirs in (
        ("nan_policy='omit'", "--nan-policy omit"),
        ("nan_policy is 'propagate'", "--nan-policy is propagate"),
        ("n_resamples", "--resamples"),
    ):
        message = message.replace(ours, theirs)
    if message.startswith((str(arguments.a), str(arguments.b))):
        return message
    return f"{message} (x is {arguments.a}, y is {arguments.b})"


def _verdict(result: TestResult, level: float) -> str:
    p = result.pvalue
    if math.isnan(p):
        return "no verdict: the samples hold NaN (--nan-policy omit leaves out those rows)"
    if p <= level:
        return f"the samples differ (p = {p:.4g} <= {level:g})"
    return f"no evidence of a difference (p = {p:.4g} > {level:g})"


def _notes(result: TestResult, level: float) -> list[str]:
    """Say where chance, or the number of relabelings, has decided."""
    null = result.null_distribution
    if null is None:
        return []
    if result.method == "exact":
        if 1 / len(null) > level:
            return [f"note: the samples have {len(null)} relabelings only, too few for this level"]
        return []
    if 1 / (len(null) + 1) > level:
        return [f"note: {len(null)} resamples are too few for this level; raise --resamples"]
    low, high = result.confidence_interval()
    if low <= level <= high:
        return ["note: the interval holds the level; more --resamples could change the verdict"]
    return []


def _method(result: TestResult) -> str:
    if result.null_distribution is None:
        return result.method
    count = len(result.null_distribution)
    return f"all {count} relabelings" if result.method == "exact" else f"{count} random relabelings"


def _as_text(
    arguments: argparse.Namespace,
    x: Sample,
    y: Sample,
    result: TestResult,
    attribution: Attribution | None,
    seconds: float,
) -> str:
    low, high = result.confidence_interval() if result.pvalue == result.pvalue else (math.nan,) * 2
    interval = f"   95% Monte-Carlo interval {low:.4g} to {high:.4g}" if low < high else ""
    d = result.n_features
    features = f"{d} feature{'s' * (d > 1)}"
    used = [
        f"{count} of {len(s)}" if count != len(s) else str(count)
        for count, s in ((result.n, x), (result.m, y))
    ]
    lines = [
        _verdict(result, arguments.level),
        *_notes(result, arguments.level),
        "",
        f"  test       {arguments.test} ({_method(result)})",
        f"  statistic  {result.statistic:.6g}",
        f"  p-value    {result.pvalue:.4g}{interval}",
        f"  samples    {used[0]} and {used[1]} observations, {features}",
        f"  time       {seconds:.2f} s",
    ]
    return "\n".join(lines + (_attribution_lines(attribution) if attribution else []))


def _attribution_lines(found: Attribution) -> list[str]:
    share = 100 * found.amplitude_share
    lines = [
        "",
        "attribution",
        f"  amplitude  {share:.0f}%, p = {found.amplitude_pvalue:.4g}   (spread and shape)",
        f"  phase      {100 - share:.0f}%, p = {found.phase_pvalue:.4g}   (location)",
        f"  {len(found.significant())} of {len(found.frequencies)} frequencies are significant at "
        f"{found.level:g}, adjusted for looking at all; the strongest:",
    ]
    return lines + [f"    {line}" for line in map(_frequency_line, _strongest(found))]


def _strongest(found: Attribution) -> list[dict[str, Any]]:
    order = np.argsort(-(found.amplitude + found.phase), kind="stable")[:_SHOWN]
    return [
        {
            "frequency": found.frequencies[row].tolist(),
            "amplitude": float(found.amplitude[row]),
            "amplitude_pvalue": float(found.amplitude_pvalues[row]),
            "phase": float(found.phase[row]),
            "phase_pvalue": float(found.phase_pvalues[row]),
        }
        for row in order
    ]


def _frequency_line(entry: dict[str, Any]) -> str:
    t = np.array(entry["frequency"])
    length = float(np.linalg.norm(t))
    period = 2 * math.pi / length if length else math.inf
    weights = (t / length) ** 2 if length else np.zeros_like(t)
    columns = np.argsort(-weights, kind="stable")[:_SHOWN]
    parts = ", ".join(f"{int(column)} ({100 * weights[column]:.0f}%)" for column in columns)
    kind = "amplitude" if entry["amplitude"] >= entry["phase"] else "phase"
    return (
        f"period {period:.3g}, mostly {kind} (p = {entry[f'{kind}_pvalue']:.4g}), "
        f"along column{'s' * (len(columns) > 1)} {parts}"
    )


def _as_object(
    arguments: argparse.Namespace,
    result: TestResult,
    attribution: Attribution | None,
    seconds: float,
) -> dict[str, Any]:
    defined = not math.isnan(result.pvalue)
    null = result.null_distribution
    values: dict[str, Any] = {
        "test": arguments.test,
        "method": result.method,
        "statistic": result.statistic if defined else None,
        "pvalue": result.pvalue if defined else None,
        "pvalue_interval": list(result.confidence_interval()) if defined else None,
        "level": arguments.level,
        "differ": result.pvalue <= arguments.level if defined else None,
        "verdict": _verdict(result, arguments.level),
        "n": result.n,
        "m": result.m,
        "n_features": result.n_features,
        "relabelings": None if null is None else len(null),
        "seed": arguments.seed,
        "seconds": seconds,
        "details": {
            k: v for k, v in result.details.items() if isinstance(v, str | int | float | dict)
        },
    }
    if attribution is not None:
        values["attribution"] = {
            "amplitude_share": attribution.amplitude_share,
            "amplitude_pvalue": attribution.amplitude_pvalue,
            "phase_pvalue": attribution.phase_pvalue,
            "n_frequencies": len(attribution.frequencies),
            "n_significant": len(attribution.significant()),
            "strongest": _strongest(attribution),
        }
    return values
