"""How often each two-sample test rejects a true hypothesis, on five nulls.

    python levels.py --repetitions 1000 --processes 2 --table levels.md

Both samples of every repetition come from one distribution, and a test of level 0.05 is done. A
permutation test must reject in 0.05 of the repetitions: with 99 relabelings p <= 0.05 has exactly
that probability where statistics have no ties, and at most that with ties. Asymptotic tests are
given more observations, and may miss the level a little: from 0.03 to 0.06. Four times as many are
enough for the pooled covariance; the Epps-Singleton test, here in one dimension as in SciPy, gets
sixteen times as many: with four times it rejects in 0.09 for the unequal sizes.

The bounds are the central 99% of the binomial distribution of the number of rejections. Among sixty
cells one is expected to lie outside by chance; such a cell is measured again with four times the
repetitions, all of them new, and that measurement counts.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import cfmetrics

LEVEL = 0.05
RESAMPLES = 99
CHUNK = 50
"""Repetitions that a process does at a time."""


@dataclass(frozen=True)
class Null:
    """A distribution and two sample sizes."""

    draw: Callable[[np.random.Generator, tuple[int, int]], Any]
    n: int = 60
    m: int = 60
    d: int = 3
    ties: bool = False


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Draw from the standard normal distribution."""
    return rng.standard_normal(shape)


def student(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Draw from Student's t with 1.5 degrees of freedom: no variance."""
    return rng.standard_t(1.5, shape)


def counts(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Draw Poisson counts with mean 1."""
    return rng.poisson(1.0, shape)


NULLS = {
    "normal": Null(normal),
    "heavy tails": Null(student),
    "counts": Null(counts, d=2, ties=True),
    "unequal sizes": Null(normal, n=40, m=160),
    "d > n": Null(normal, n=50, m=50, d=100),
}


@dataclass(frozen=True)
class Test:
    """A function of two samples and a generator that gives a p-value.

    An approximate one gets `more` times the observations.
    """

    pvalue: Callable[[Any, Any, np.random.Generator], float]
    more: int = 1
    one_feature: bool = False

    @property
    def asymptotic(self) -> bool:
        """Whether the p-value is approximate."""
        return self.more > 1


def named(statistic: str, **options: Any) -> Callable[[Any, Any, np.random.Generator], float]:
    """Make the p-value function of a named test."""

    def pvalue(x: Any, y: Any, rng: np.random.Generator) -> float:
        return cfmetrics.two_sample_test(
            x, y, statistic=statistic, n_resamples=RESAMPLES, rng=rng, **options
        ).pvalue

    return pvalue


def attribution(x: Any, y: Any, rng: np.random.Generator) -> float:
    """Give the smallest adjusted p-value: its level is the family-wise error."""
    found = cfmetrics.cf_attribution(x, y, n_resamples=RESAMPLES, rng=rng)
    return float(min(found.amplitude_pvalues.min(), found.phase_pvalues.min()))


def state(x: Any, y: Any, rng: np.random.Generator) -> float:
    """Test two states at five frequencies, chosen before the samples were seen."""
    frequencies = cfmetrics.normal_frequencies(5, x.shape[1], scale=x.shape[1] ** -0.5, rng=rng)
    first, second = (
        cfmetrics.CFState(frequencies, covariance=True).update(sample) for sample in (x, y)
    )
    return first.test(second).pvalue


EPPS_SINGLETON = {
    "method": "epps_singleton",
    "frequencies": [0.4, 0.8],
    "bandwidth": "semi-iqr",
}

TESTS = {
    "cf_2samp": Test(named("cf")),
    "cf_agg_2samp": Test(named("cf_agg")),
    "cf_learned_2samp": Test(named("cf_learned")),
    "scf_2samp (permutation)": Test(named("scf", method="permutation")),
    "mmd_2samp": Test(named("mmd")),
    "energy_2samp": Test(named("energy")),
    "sliced_wasserstein_2samp": Test(named("sliced_wasserstein")),
    "cf_attribution (any of 128)": Test(attribution),
    "cf_2samp (asymptotic)": Test(named("cf", method="asymptotic"), more=4),
    "cf_2samp (epps_singleton)": Test(named("cf", **EPPS_SINGLETON), more=16, one_feature=True),
    "scf_2samp (asymptotic)": Test(named("scf"), more=4),
    "CFState.test": Test(state, more=4),
}


def cells(tests: list[str]) -> list[tuple[str, str]]:
    """List the pairs of test and null that make sense."""
    pairs = [(test, null) for test in tests for null in NULLS]
    return [pair for pair in pairs if pair[1] != "d > n" or not TESTS[pair[0]].one_feature]


def bounds(test: str, null: str, repetitions: int) -> tuple[int, int]:
    """Give the least and the largest number of rejections of a test that holds its level."""
    low, high = (0.03, 0.06) if TESTS[test].asymptotic else (LEVEL, LEVEL)
    least = 0 if NULLS[null].ties else int(stats.binom.ppf(0.005, repetitions, low))
    return least, int(stats.binom.ppf(0.995, repetitions, high))


def rejections(test: str, null: str, first: int, count: int) -> int:
    """Count the rejections in repetitions `first` to `first + count`."""
    one, how = TESTS[test], NULLS[null]
    d = 1 if one.one_feature else how.d * (one.more if how.d > how.n else 1)
    number = 0
    for repetition in range(first, first + count):
        rng = np.random.default_rng([zlib.crc32(f"{test} {null}".encode()), repetition])
        x, y = (how.draw(rng, (one.more * size, d)) for size in (how.n, how.m))
        number += one.pvalue(x, y, rng) <= LEVEL + 1e-9
    return number


def measure(
    pairs: list[tuple[str, str]], first: int, repetitions: int, pool: Any
) -> list[dict[str, Any]]:
    """Measure cells in a pool of processes."""
    starts = range(first, first + repetitions, CHUNK)
    stop = first + repetitions
    tasks = {
        pair: [pool.submit(rejections, *pair, s, min(CHUNK, stop - s)) for s in starts]
        for pair in pairs
    }
    results = []
    for (test, null), parts in tasks.items():
        least, most = bounds(test, null, repetitions)
        number = sum(part.result() for part in parts)
        results.append(
            {
                "test": test,
                "null": null,
                "repetitions": repetitions,
                "rejections": number,
                "least": least,
                "most": most,
                "inside": least <= number <= most,
            }
        )
    return results


def calibrate(tests: list[str], repetitions: int, processes: int) -> list[dict[str, Any]]:
    """Measure all cells, and those outside their bounds again."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        results = measure(cells(tests), 0, repetitions, pool)
        again = [(r["test"], r["null"]) for r in results if not r["inside"]]
        second = {
            (r["test"], r["null"]): r for r in measure(again, repetitions, 4 * repetitions, pool)
        }
    return [{**r, "second": second.get((r["test"], r["null"]))} for r in results]


def table(results: list[dict[str, Any]], repetitions: int, seconds: float) -> str:
    """Format results as Markdown."""
    names = list(dict.fromkeys(r["test"] for r in results))
    found = {(r["test"], r["null"]): r for r in results}
    exact, approximate = (
        " to ".join(f"{number / repetitions:.3f}" for number in bounds(name, "normal", repetitions))
        for name in ("cf_2samp", "CFState.test")
    )
    lines = [
        f"Share of rejections of a true hypothesis at level {LEVEL}: {repetitions} repetitions of "
        f"every cell, {seconds:.0f} s. Permutation tests, with {RESAMPLES} relabelings, may show "
        f"{exact} (central 99%); with ties (counts) only the upper bound holds. Asymptotic tests "
        f"have four times the observations (and d, where d > n), Epps-Singleton sixteen times; "
        f"0.03 to 0.06 is granted, so they may show {approximate}. A cell outside was measured "
        f"again, with four times as many new repetitions: that is after the arrow, and counts.",
        "",
        "| test | " + " | ".join(map(describe, NULLS)) + " |",
        "| --- |" + " ---: |" * len(NULLS),
    ]
    for name in names:
        row = [share(found[name, null]) if (name, null) in found else "" for null in NULLS]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def describe(null: str) -> str:
    """Head of a null's column."""
    how = NULLS[null]
    return f"{null} ({how.n}, {how.m}; d = {how.d})"


def share(result: dict[str, Any]) -> str:
    """Text of one cell."""
    text = f"{result['rejections'] / result['repetitions']:.3f}"
    again = result["second"]
    if again is None:
        return text
    mark = "" if again["inside"] else " outside"
    return f"{text} → {again['rejections'] / again['repetitions']:.4f}{mark}"


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description="Measure the level of the two-sample tests.")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tests", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    parser.add_argument("--json", type=Path, help="JSON file to write")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # Of the processes to come.
    start = time.perf_counter()
    results = calibrate(options.tests, options.repetitions, options.processes)
    text = table(results, options.repetitions, math.ceil(time.perf_counter() - start))
    print(text)
    if options.table is not None:
        options.table.write_text(text, encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    failed = [r for r in results if r["second"] is not None and not r["second"]["inside"]]
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
